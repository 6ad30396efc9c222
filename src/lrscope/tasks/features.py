"""Feature sets: modified test sets on which a network's accuracy says how much it relies on a feature.

feature_learning, Sec. 3 and App. A: Fourier bands of images ("bands"), or what a user makes of the test inputs.
F feature sets, M test examples, C channels, H x W pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lrscope.errors import LrscopeError, shown
from lrscope.tasks import bands
from lrscope.tasks.arrays import is_array, own_tensor
from lrscope.tasks.random_state import seeded

if TYPE_CHECKING:
    from lrscope.tasks.data.dataset import DataSet

WORD = "bands"
SCALED, REMOVED = "scaled", "removed"
WITHOUT = "without "  # begins the name of a set from which a group of bands was removed
MOST = 64  # ours: each costs an evaluation of a whole test set per phase; ticks have 16
SYNTAX = (
    f"write {WORD}, or {WORD}:1-6,7-24 with ranges of your own, each as FIRST-LAST or NAME=FIRST-LAST; {WORD}/{SCALED} divides "
    f"by the standard deviation, {WORD}/{REMOVED} adds images without each group"
)
Feature = Callable[[Tensor], Any] | Tensor | Sequence[Any]
Features = str | Mapping[str, Feature]


@dataclass(frozen=True)
class BandSets:
    """Bands as the command line names them: `bands/scaled/removed:low=1-6,mid=7-24`.

    Args:
        ranges: first and last band by name; None: those of the paper (`bands.paper_bands`).
        scaled: divide images of single groups by the standard deviation too (`bands.masked_set`).
        removed: besides the images that hold one group alone, those that hold all but that group.
    """

    ranges: Mapping[str, tuple[int, int]] | None = None
    scaled: bool = False
    removed: bool = False

    def of(self, data: DataSet) -> dict[str, Tensor]:
        """The test images [M, C, H, W] of each set by name."""
        _check_images(data, WORD)
        height, width = data.test_x.shape[-2:]
        chosen = bands.paper_bands(height, width) if self.ranges is None else self.ranges
        bands.check_bands(chosen, height, width)
        masks = {name: bands.mask(height, width, *ends) for name, ends in chosen.items()}
        sets = {name: _of_mask(data, name, kept, scaled=self.scaled) for name, kept in masks.items()}
        if self.removed:
            # What is left is nearly a whole image, so it is normalised as in training whatever is removed.
            sets |= {WITHOUT + name: _of_mask(data, name, ~kept, scaled=True) for name, kept in masks.items()}
        return sets


def parse_features(text: str) -> BandSets:
    """Bands as the command line names them; a range without a name is its own.

    Raises:
        LrscopeError: another word, a range that cannot be read, or a name that comes twice.
    """
    words, colon, rest = text.strip().partition(":")
    first, *options = (word.strip() for word in words.split("/"))
    if first != WORD or len(set(options)) < len(options) or set(options) - {SCALED, REMOVED}:
        raise LrscopeError(f"features: {text!r} is unknown: {SYNTAX}")
    ranges = _ranges(rest, text) if colon else None
    return BandSets(ranges, scaled=SCALED in options, removed=REMOVED in options)


def _ranges(rest: str, text: str) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for part in rest.split(","):
        read = re.fullmatch(r"\s*(?:([^=]+?)\s*=)?\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if read is None:
            raise LrscopeError(f"features: cannot read {part.strip()!r} in {text!r}: {SYNTAX}")
        first, last = int(read[2]), int(read[3] or read[2])
        name = read[1] or (f"{first}-{last}" if last != first else str(first))
        if name in found:
            raise LrscopeError(f"features: {name!r} comes twice in {text!r}: give every range a name of its own")
        found[name] = (first, last)
    return found


def with_features(data: DataSet, features: Features) -> DataSet:
    """The data set with these feature sets in place of any it had; all have the test labels.

    Args:
        data: its `normalisation`, if known, is undone before frequencies are taken and handled as the paper does.
        features: `bands`, `bands/scaled/removed` or `bands:...` (`BandSets`), or for each name one of:
            a function of the test inputs [M, ...] as the network sees them that returns modified ones of that shape
            (random numbers that it draws from PyTorch, NumPy or Python start from one fixed state, which is put back
            afterwards);
            a Fourier mask [H, W], bool or weights, in the order of `torch.fft.fft2`, as a tensor or array;
            a range of bands (first, last), both kept (`lrscope.tasks.bands`).

    What keeps frequency 0 is normalised as in training, what does not is fed as it is (feature_learning, App. A).

    Raises:
        LrscopeError: it names the feature and what is wrong with it.
    """
    if isinstance(features, str):
        return _with_sets(data, parse_features(features).of(data))
    chosen = features
    if not isinstance(chosen, Mapping):
        raise LrscopeError(
            f"features: {type(chosen).__name__} is not readable: pass 'bands', or a dict of names and functions"
        )
    if not chosen:
        raise LrscopeError("features: there are none: name at least one, or leave features out")
    for name in chosen:
        if not (isinstance(name, str) and name.strip()):
            raise LrscopeError(f"features: {name!r} is no name: name every feature with a word")
    ranges = {name: _ends(name, value) for name, value in chosen.items() if _is_range(value)}
    if ranges:
        _check_images(data, f"feature {next(iter(ranges))!r}")
        bands.check_bands(ranges, *data.test_x.shape[-2:])
    sets = {
        name: _of_bands(data, name, *ranges[name]) if name in ranges else _modified(data, name, value)
        for name, value in chosen.items()
    }
    return _with_sets(data, sets)


def _with_sets(data: DataSet, sets: Mapping[str, Tensor]) -> DataSet:
    """The data set with these feature sets [M, ...] by name, all with the test labels."""
    if len(sets) > MOST:
        raise LrscopeError(f"features: {len(sets)} are too many: name at most {MOST}")
    labels = data.test_y.expand(len(sets), *data.test_y.shape)
    return replace(
        data,
        feature_x=torch.stack([*sets.values()]),
        feature_y=labels.contiguous(),
        feature_names=tuple(map(str, sets)),
    )


def with_only_bands(data: DataSet, group: str) -> DataSet:
    """The data set whose images, of training too, hold one group of bands alone: what can be learned from it.

    Args:
        group: a name of `bands.paper_bands` (background, low, mid, high), or a range such as 9-24. It lies on a card of the
            mean's colour and keeps its contrast (`bands.masked_set`, scaled).

    Raises:
        LrscopeError: no images, an unknown name, or a range that they do not have.
    """
    _check_images(data, f"only_bands {group!r}")
    height, width = data.test_x.shape[-2:]
    known = bands.paper_bands(height, width)
    read = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", group)
    if read is None and group not in known:
        raise LrscopeError(f"only_bands: {group!r} is unknown: write {', '.join(known)} or a range such as 9-24")
    ends = known[group] if read is None else (int(read[1]), int(read[2] or read[1]))
    bands.check_bands({group: ends}, height, width)
    kept = bands.mask(height, width, *ends)
    mean, std = data.normalisation or ((0.0,), (1.0,))

    def only(x: Tensor) -> Tensor:
        return bands.masked_set(x, mean, std, kept, scaled=True)

    validation = None if data.validation_x is None else only(data.validation_x)
    return replace(data, train_x=only(data.train_x), test_x=only(data.test_x), validation_x=validation)


def check_features(data: DataSet) -> None:
    """Refuse feature sets whose names do not fit them."""
    names = data.feature_names
    if not names:
        return
    count = 0 if data.feature_x is None else len(data.feature_x)
    if len(names) != count or len(set(names)) < count or not all(isinstance(n, str) and n for n in names):
        raise LrscopeError(
            f"feature_names: {list(names)} for {count} feature sets: give each one word of its own, or none a name"
        )


def _is_range(value: Any) -> bool:
    return isinstance(value, tuple | list) and not any(
        isinstance(v, tuple | list | Tensor) or is_array(v) for v in value
    )


def _ends(name: str, value: Any) -> tuple[int, int]:
    whole = [isinstance(end, int | np.integer) and not isinstance(end, bool) for end in value]
    if len(value) != 2 or not all(whole):
        raise LrscopeError(f"features: {name!r} is {shown(value)}: give the first and the last band, such as (1, 8)")
    return int(value[0]), int(value[1])


def _check_images(data: DataSet, what: str) -> None:
    shape = tuple(data.test_x.shape[1:])
    if len(shape) != 3 or not data.test_x.is_floating_point():
        raise LrscopeError(
            f"features: {what} needs images [channels, height, width], but the inputs of {data.name!r} have shape "
            f"{shape}: leave it out, or pass a function of the inputs"
        )


def _of_bands(data: DataSet, name: str, first: int, last: int) -> Tensor:
    height, width = data.test_x.shape[-2:]
    return _of_mask(data, name, bands.mask(height, width, first, last))


def _of_mask(data: DataSet, name: str, kept: Tensor, *, scaled: bool = False) -> Tensor:
    """Test images [M, C, H, W] with the frequencies of a mask [H, W]: the rule of `bands.masked_set`."""
    _check_images(data, f"feature {name!r}")
    if kept.shape != data.test_x.shape[-2:]:
        raise LrscopeError(
            f"features: the mask of {name!r} has shape {tuple(kept.shape)}, the images "
            f"{tuple(data.test_x.shape[-2:])}: make them alike"
        )
    if kept.is_complex() or not bool(torch.isfinite(kept).all()):
        raise LrscopeError(
            f"features: the mask of {name!r} holds what is no weight: use numbers from 0 to 1, or a bool"
        )
    mean, std = data.normalisation or ((0.0,), (1.0,))
    return bands.masked_set(data.test_x, mean, std, kept, scaled=scaled)


def _modified(data: DataSet, name: str, value: Any) -> Tensor:
    """What a user's function or mask makes of the test inputs."""
    if isinstance(value, Tensor):
        return _of_mask(data, name, value.detach().cpu())
    if is_array(value) or isinstance(value, tuple | list):
        return _of_mask(data, name, own_tensor(f"features: the masks of {name!r}", value))
    if not callable(value):
        raise LrscopeError(
            f"features: {name!r} is a {type(value).__name__}: pass a function of the test inputs, a Fourier mask, or "
            "(first, last) band"
        )
    with torch.no_grad(), seeded(0):
        try:
            made = value(data.test_x.clone())
        except LrscopeError:
            raise
        except Exception as error:  # a user's code may raise anything
            raise LrscopeError(
                f"features: the function of {name!r} fails ({type(error).__name__}: {error}): it gets test inputs of shape "
                f"{tuple(data.test_x.shape)} and type {data.test_x.dtype}"
            ) from error
    if is_array(made):
        made = own_tensor(f"features: what the function of {name!r} returns", made)
    if not isinstance(made, Tensor):
        raise LrscopeError(f"features: the function of {name!r} returns {type(made).__name__}: return a tensor")
    made = made.detach().cpu()
    if made.shape != data.test_x.shape:
        raise LrscopeError(
            f"features: the function of {name!r} returns shape {tuple(made.shape)}, the test inputs have "
            f"{tuple(data.test_x.shape)}: return that"
        )
    if made.is_floating_point() != data.test_x.is_floating_point() or made.is_complex() or made.dtype == torch.bool:
        raise LrscopeError(
            f"features: the function of {name!r} returns {made.dtype}, the test inputs are {data.test_x.dtype}: "
            "return that type"
        )
    made = made.to(data.test_x.dtype)
    if made.is_floating_point() and not bool(torch.isfinite(made).all()):
        raise LrscopeError(f"features: the function of {name!r} returns NaN or infinity: make it finite")
    if not made.is_floating_point() and int(made.min()) < min(0, int(data.test_x.min())):
        raise LrscopeError(f"features: the function of {name!r} returns {int(made.min())}: words are numbered from 0")
    return made
