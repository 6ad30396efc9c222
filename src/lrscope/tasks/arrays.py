"""Whatever holds numbers - tensors, NumPy, pandas and its kin, lists - as plain tensors that nobody else can change."""

from __future__ import annotations

from array import array as PythonArray
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrscope.errors import LrscopeError

NUMBERS = "biuf"  # NumPy's kinds of types that are trained on: truth values, whole numbers, floats
WIDER = (torch.uint16, torch.uint32, torch.uint64)  # PyTorch can hardly index these
PLAIN = (list, tuple, range, int, float, complex, np.generic, PythonArray, memoryview)  # besides what converts to NumPy
MODES = ("1", "L", "LA", "RGB", "RGBA")  # of pictures: truth values, and whole numbers from 0 to 255
GREY = ("1", "L")  # whose pixels may be class numbers, too
MASK = "class numbers by numpy.array(picture), colours by torchvision's ToTensor()"
SHOWN = 3  # columns named in a message


def own_tensor(name: str, value: Any) -> Tensor:
    """A plain tensor on the CPU, with memory of its own, of the same values as `value`.

    Floats of any size become float32. Whole numbers and truth values keep their type; uint16, uint32 and uint64, which
    PyTorch can hardly index, become int64.

    Args:
        name: how messages begin, such as "train: the inputs".
        value: a tensor of any device, an array, a data frame or a column of one, (nested) lists of numbers, a number, a
            picture of Pillow's (which becomes floats [C, H, W] from 0 to 1).

    Raises:
        LrscopeError: what it holds are no real numbers, or not in a rectangle, or not in memory.
    """
    if isinstance(value, Tensor):
        return _of_tensor(name, value)
    if is_array(value):
        return _of_array(name, value)
    if is_picture(value):
        return _of_picture(name, value)
    if not isinstance(value, PLAIN):
        raise _no_numbers(name, value)
    if isinstance(value, list | tuple) and any(isinstance(v, Tensor) or is_array(v) or is_picture(v) for v in value):
        return stacked(name, [own_tensor(name, v) for v in value])
    try:
        numbers = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise LrscopeError(f"{name} differ in length or hold no numbers: crop or pad them to one shape") from error
    return _of_numpy(name, numbers, value)


def own_labels(name: str, value: Any) -> Tensor:
    """`own_tensor` of labels.

    Raises:
        LrscopeError: they are pictures, of which nobody can say whether they hold class numbers or colours.
    """
    first = value
    while isinstance(first, list | tuple) and first:
        first = first[0]
    if is_picture(first):
        raise LrscopeError(f"{name} are pictures, whose pixels may be class numbers or colours: pass {MASK}")
    return own_tensor(name, value)


def is_array(value: Any) -> bool:
    """Does it hold an array in one piece: NumPy's, pandas', or anything else that converts to NumPy?"""
    if isinstance(value, type | Tensor | np.generic) or is_picture(value):
        return False
    return isinstance(value, np.ndarray) or any(hasattr(value, n) for n in ("to_numpy", "__array__", "toarray"))


def stacked(name: str, parts: list[Tensor]) -> Tensor:
    """Tensors of one shape as one tensor with a leading axis.

    Raises:
        LrscopeError: their shapes differ.
    """
    shapes = list(dict.fromkeys(tuple(part.shape) for part in parts))
    if len(shapes) > 1:
        raise LrscopeError(
            f"{name} differ in shape ({shapes[0]} and {shapes[1]}): crop or pad them to one shape, for example in the "
            "data set's transform"
        )
    return torch.stack(parts)


def is_picture(value: Any) -> bool:
    """Is it a picture of Pillow's?"""
    return type(value).__module__.partition(".")[0] == "PIL"


def is_grey(value: Any) -> bool:
    """Is it a picture whose pixels may be class numbers as well as brightness?"""
    return is_picture(value) and getattr(value, "mode", "") in GREY


def _of_picture(name: str, value: Any) -> Tensor:
    """Pixels of a picture [C, H, W] from 0 to 1, as torchvision's ToTensor gives them."""
    mode = getattr(value, "mode", "")
    if mode not in MODES:
        raise LrscopeError(
            f"{name} hold pictures of mode {mode}, whose pixels are no brightness from 0 to 255: convert them first, such as by "
            f".convert('RGB'), or pass {MASK}"
        )
    try:
        pixels = np.asarray(value)
    except Exception as error:  # a file that is cut off, in any way
        raise LrscopeError(f"{name} hold a picture that cannot be read ({error}): repair it or leave it out") from error
    channels_last = torch.from_numpy(np.array(pixels, dtype=np.float32)).reshape(*pixels.shape[:2], -1)
    return channels_last.permute(2, 0, 1).contiguous() / (1 if mode == "1" else 255)


def _no_numbers(name: str, value: Any) -> LrscopeError:
    """The sentence for a thing that is no array of numbers."""
    kind = type(value).__name__
    if isinstance(value, Mapping):
        keys = ", ".join(map(str, list(value)[:SHOWN]))
        return LrscopeError(
            f"{name} are a dict ({keys}): a model gets one tensor, so join the parts into one and take it apart in the "
            "model's forward, or write the loss as loss(model, batch), which gets batches of any form"
        )
    return LrscopeError(
        f"{name} hold {kind}, which are no numbers: turn them into numbers first, in an array or a tensor"
    )


def _of_tensor(name: str, value: Tensor) -> Tensor:
    if value.is_nested or value.layout is not torch.strided:
        what = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
        remedy = "pad them to one shape" if value.is_nested else "pass them with .to_dense()"
        raise LrscopeError(f"{name} are a {what} tensor: {remedy}")
    if value.is_quantized:
        raise LrscopeError(f"{name} are quantized: pass them with .dequantize()")
    if value.is_meta:
        raise LrscopeError(f"{name} are on the meta device and have no values: pass real ones")
    plain = value.detach().as_subclass(Tensor).resolve_conj().resolve_neg()
    if plain.is_complex():
        raise _complex(name)
    if plain.dtype in WIDER:
        return _of_numpy(name, plain.cpu().numpy(), value)
    kind = torch.float32 if plain.is_floating_point() else plain.dtype
    own = plain.to(device="cpu", dtype=kind, copy=True, memory_format=torch.contiguous_format)
    if plain.dtype == torch.float64 and bool((plain.isfinite().cpu() & own.isinf()).any()):
        raise _too_large(name)
    return own


def _of_array(name: str, value: Any) -> Tensor:
    """An array, a data frame, a column, a SciPy matrix."""
    if hasattr(value, "toarray") and not isinstance(value, np.ndarray):
        raise LrscopeError(f"{name} are a sparse matrix: pass them with .toarray()")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise LrscopeError(f"{name} have masked values: fill them in (.filled(...)) or leave those examples out")
    kinds = _kinds(name, value)
    try:
        array = value.to_numpy() if hasattr(value, "to_numpy") else np.asarray(value)
        if (
            array.dtype.kind == "O" and kinds and set(kinds) <= set(NUMBERS)
        ):  # columns of several types, or nullable ones
            array = value.to_numpy(dtype=float if "f" in kinds else np.int64)
    except Exception as error:  # somebody else's array type may raise anything
        raise LrscopeError(
            f"{name} do not convert to NumPy ({type(error).__name__}: {error}): fill in what is missing and pass numbers"
        ) from error
    return _of_numpy(name, array, value)


def _kinds(name: str, value: Any) -> str:
    """NumPy's letters for the types of a data frame's columns, or of a column; "" if it is neither.

    Raises:
        LrscopeError: a data frame with columns that are no numbers; it names them.
    """
    types: Any = getattr(value, "dtypes", None)
    if not hasattr(value, "columns") or not hasattr(types, "items"):
        return str(getattr(getattr(value, "dtype", None), "kind", ""))
    kinds = {str(column): (getattr(kind, "kind", "O"), kind) for column, kind in types.items()}
    other = [f"{column} ({kind})" for column, (letter, kind) in kinds.items() if letter not in NUMBERS]
    if other:
        more = f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
        raise LrscopeError(
            f"{name} have columns that are no numbers: {', '.join(other[:SHOWN])}{more}: encode them (such as by "
            "pandas.get_dummies or .cat.codes) or leave them out"
        )
    return "".join(letter for letter, _ in kinds.values())


def _of_numpy(name: str, array: np.ndarray, value: Any) -> Tensor:
    kind = array.dtype.kind
    if kind == "c":
        raise _complex(name)
    if kind not in NUMBERS:
        raise _of_wrong_kind(name, array, value)
    if kind == "f":
        with np.errstate(over="ignore"):
            own = np.array(array, dtype=np.float32, order="C", copy=True)
        if array.dtype.itemsize > own.dtype.itemsize and bool((np.isfinite(array) & np.isinf(own)).any()):
            raise _too_large(name)
        return torch.from_numpy(own)
    if array.dtype.itemsize > 1 and kind == "u":
        if array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise LrscopeError(
                f"{name} hold {int(array.max())}, which is beyond 64-bit whole numbers: pass smaller ones"
            )
        return torch.from_numpy(np.array(array, dtype=np.int64, order="C", copy=True))
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True))


def _of_wrong_kind(name: str, array: np.ndarray, value: Any) -> LrscopeError:
    first = next((v for v in array.reshape(-1)[:1]), None)
    if array.dtype.kind in "US" or isinstance(first, str | bytes):
        return LrscopeError(
            f"{name} hold words, such as {str(first)[:40]!r}: number them first, as "
            "numpy.unique(words, return_inverse=True)[1] does"
        )
    if array.dtype.kind == "O" and array.shape == ():
        return _no_numbers(name, value)
    if array.dtype.kind == "O":
        kinds = sorted({type(v).__name__ for v in array.reshape(-1)[:1000]})
        return LrscopeError(
            f"{name} hold objects ({', '.join(kinds[:SHOWN])}): pass numbers in one rectangular array (numpy.stack joins "
            "arrays of one shape), with nothing missing"
        )
    return LrscopeError(f"{name} are of type {array.dtype}: pass real numbers")


def _complex(name: str) -> LrscopeError:
    return LrscopeError(f"{name} are complex: pass real numbers, such as torch.view_as_real gives")


def _too_large(name: str) -> LrscopeError:
    return LrscopeError(f"{name} hold values beyond 3.4e38, which float32 cannot hold: rescale them")
