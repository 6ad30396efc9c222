"""Reading the examples that a user hands over into two tensors in memory: inputs [N, ...] and labels [N, ...].

A pair of arrays, a map-style data set, a stream, or a `DataLoader` (`tasks/loaders.py`). What is read is what was handed
over - which examples, and how they look - or it is refused by name.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lrscope.errors import LrscopeError
from lrscope.tasks.arrays import is_array, own_labels, own_tensor, stacked
from lrscope.tasks.random_state import seeded
from lrscope.terminal import warn

REREAD = 64  # ours: a transform that changes one example in 20 goes unnoticed once in 27 data sets
ROUNDING = 1e-5  # ours: vector units round in another order than one number at a time
PER_ROW = 1024  # ours, bytes: what one example costs beside its numbers while a stream is read
RANDOM = (
    "{field}: reading the same example twice gives different {what}, so a transform is random; lrscope reads every example "
    "once and trains on that copy. Remove random transforms, or use augment=True for crops and flips"
)
BATCHES = "or write the loss as loss(model, batch), which gets batches of any form"
Examples = tuple[Any, Any] | Dataset[Any] | DataLoader[Any] | Sequence[Any]
Pair = tuple[Tensor, Tensor]
END = object()  # of a stream


def as_tensors(field: str, examples: Any) -> Pair:
    """Read examples into memory: inputs [N, ...] and labels [N, ...], copies that nobody else can change.

    Args:
        field: how messages name them, such as "train".
        examples: (inputs, labels), each a tensor, an array, a data frame or column, or lists of numbers; a map-style data
            set or a list of (input, label); an `IterableDataset` that ends; a `DataLoader`.

    A map-style data set is read in the order of its index, also behind a `DataLoader`.

    Raises:
        LrscopeError: what cannot be read, or not be honoured as it was given.
    """
    notes: list[str] = []
    with seeded(0):
        x, y = _read(field, examples, notes)
    for note in notes:
        warn(note)
    if len(x) != len(y):
        raise LrscopeError(f"{field}: {len(x)} inputs but {len(y)} labels: pass as many of one as of the other")
    if not len(x):
        raise LrscopeError(f"{field}: the data set is empty: pass at least one batch of examples")
    return x, y


def batch_size_of(examples: Any) -> int | None:
    """The batch size that a `DataLoader` states; None where nothing does."""
    if not isinstance(examples, DataLoader):
        return None
    size = (
        examples.batch_size if examples.batch_size is not None else getattr(examples.batch_sampler, "batch_size", None)
    )
    return size if isinstance(size, int) and size > 0 else None


def _read(field: str, examples: Any, notes: list[str]) -> Pair:
    if isinstance(examples, DataLoader):
        from lrscope.tasks.loaders import read_loader

        return read_loader(field, examples, notes)
    pair = _pair(field, examples)
    if pair is not None:
        return pair
    if isinstance(examples, IterableDataset):
        read = stack(field, read_stream(field, examples))
        again = islice(_rows_again(field, examples), len(read[0]) + 1)
        compare_with_another_pass(field, "stream", read, again, notes)
        return read
    if isinstance(examples, Mapping):
        keys = ", ".join(map(str, list(examples)[:4]))
        raise LrscopeError(
            f"{field}: a dict ({keys}) does not say what is input and what is label: pass (inputs, labels), such as "
            f"(data['x'], data['y']), {BATCHES}"
        )
    if is_array(examples) or isinstance(examples, Tensor):
        raise LrscopeError(
            f"{field}: {type(examples).__name__} has no labels beside it: pass the two as (inputs, labels)"
        )
    if (
        hasattr(examples, "__getitem__")
        and hasattr(examples, "__len__")
        and not isinstance(examples, str | bytes | type)
    ):
        return _read_rows(field, examples, notes)
    raise LrscopeError(
        f"{field}: {type(examples).__name__} is not readable: pass (inputs, labels) as tensors or arrays, a Dataset or a "
        "DataLoader"
    )


# -- (inputs, labels) ------------------------------------------------------------------------------------------------


def _pair(field: str, examples: Any) -> Pair | None:
    """Inputs and labels side by side; None if `examples` is something else."""
    if not isinstance(examples, tuple | list):
        return None
    if len(examples) != 2:
        if any(isinstance(part, Tensor) or is_array(part) for part in examples):
            raise LrscopeError(
                f"{field}: it has {len(examples)} parts: pass two, (inputs, labels); a model gets one tensor, so join several "
                f"inputs into one and take it apart in the model's forward, {BATCHES}"
            )
        return None
    x, y = examples
    if isinstance(examples, list) and not any(isinstance(part, Tensor) or is_array(part) for part in examples):
        if not all(isinstance(part, list) for part in examples):
            return None  # a list of two examples
        if len(x) == len(y) == 2:
            raise LrscopeError(
                f"{field}: a list of two lists of two may be (inputs, labels) or two examples: write a tuple (inputs, labels)"
            )
    _check_one_input(field, x, y)
    _check_index(field, x, y)
    return own_rows(f"{field}: the inputs", x), own_rows(f"{field}: the labels", y, own_labels)


def own_rows(name: str, value: Any, own: Callable[[str, Any], Tensor] = own_tensor) -> Tensor:
    """`own_tensor`, or `own_labels`, of something that has a row for each example."""
    tensor = own(name, value)
    if tensor.dim() == 0:
        raise LrscopeError(f"{name} are a single number: pass one row for each example")
    return tensor


def _check_one_input(field: str, x: Any, y: Any) -> None:
    """Refuse several inputs per example: a tuple of arrays, or a list of fewer arrays than there are labels."""
    if not isinstance(x, tuple | list) or not any(isinstance(part, Tensor) or is_array(part) for part in x):
        return
    if isinstance(x, tuple) or (hasattr(y, "__len__") and len(x) != len(y)):
        raise LrscopeError(
            f"{field}: the inputs are {len(x)} arrays side by side: a model gets one tensor, so join them into one "
            f"(torch.cat along the features) and take it apart in the model's forward, {BATCHES}"
        )


def _check_index(field: str, x: Any, y: Any) -> None:
    """Refuse frames and columns whose rows are named differently: pandas would pair them by name, arrays by place."""
    index = [getattr(part, "index", None) for part in (x, y)]
    if all(hasattr(i, "equals") for i in index) and len(x) == len(y) and not index[0].equals(index[1]):  # type: ignore[union-attr]
        raise LrscopeError(
            f"{field}: the rows of inputs and labels have different names (index): put both in one order first "
            "(labels.loc[inputs.index]), or pass .to_numpy() of both if their places agree"
        )


# -- examples one by one ---------------------------------------------------------------------------------------------


def _read_rows(field: str, examples: Any, notes: list[str]) -> Pair:
    """All examples of a map-style data set; notes a random transform."""
    count = len(examples)
    if count == 0:
        raise LrscopeError(f"{field}: the data set is empty: pass at least one batch of examples")
    rows = [read_row(field, 0, lambda: examples[0])]
    check_fits(field, count, sum(t.nbytes for t in rows[0]))
    rows += [read_row(field, i, lambda i=i: examples[i]) for i in range(1, count)]
    for i in spread(count):
        again = read_row(field, i, lambda i=i: examples[i])
        changed = differing(rows[i], again)
        if changed:
            notes.append(RANDOM.format(field=field, what=changed))
            break
    return stack(field, rows)


def spread(count: int) -> list[int]:
    """Up to `REREAD` of `count` places, evenly spread."""
    return list(dict.fromkeys(i * count // REREAD for i in range(REREAD)))


def differing(one: Pair, other: Pair) -> str:
    """What differs by more than rounding: "inputs", "labels" or nothing."""
    for name, a, b in zip(("inputs", "labels"), one, other, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            return name
        if not torch.equal(a, b) and not torch.allclose(a, b, rtol=ROUNDING, atol=ROUNDING, equal_nan=True):
            return name
    return ""


def read_stream(field: str, examples: Iterable[Any]) -> list[Pair]:
    """All examples of a stream.

    Raises:
        LrscopeError: it does not end before half of the machine's memory is full.
    """
    rows: list[Pair] = []
    used, most = 0, memory_for_streams()
    iterator = iter(examples)
    while True:
        try:
            row = next(iterator)
        except StopIteration:
            break
        except Exception as error:  # a user's code may raise anything
            raise _unreadable(field, f"example {len(rows)}", error) from error
        rows.append(read_row(field, len(rows), lambda row=row: row))
        used += sum(t.nbytes for t in rows[-1]) + PER_ROW
        if used > most:
            raise endless(field, f"{len(rows)} examples")
    if not rows:
        raise LrscopeError(f"{field}: the stream is empty: pass at least one batch of examples (a stream may be spent)")
    return rows


def _rows_again(field: str, stream: Iterable[Any]) -> Iterator[Pair]:
    """The examples of another pass through a stream, each [1, ...]; none of one that can be read once."""
    try:
        iterator = iter(stream)
        row = next(iterator, END)
    except Exception:  # a stream may say so in any way
        return
    number = 0
    while row is not END:
        x, y = read_row(field, number, lambda row=row: row)
        yield x[None], y[None]
        number += 1
        try:
            row = next(iterator, END)
        except Exception as error:  # a user's code may raise anything
            raise _unreadable(field, f"example {number}", error) from error


def compare_with_another_pass(
    field: str, kind: str, read: Pair, again: Iterable[Pair], notes: list[str], *, once: bool = True
) -> None:
    """Note where another pass through a loader or stream gives other inputs, in whatever order. One that gives nothing then can
    be read `once`.

    Raises:
        LrscopeError: it gives another number of examples, or other labels.
    """
    inputs, labels = Counter[bytes](), Counter[bytes]()
    for x, y in again:
        inputs.update(_digests(x))
        labels.update(_digests(y))
    if once and not inputs:
        return
    if labels != Counter(_digests(read[1])):
        raise LrscopeError(
            f"{field}: the {kind} gives other examples when it is gone through again, where lrscope needs the same ones: pass "
            f"a data set, or a {kind} that gives all of its examples in every epoch"
        )
    if inputs != Counter(_digests(read[0])):
        notes.append(RANDOM.format(field=field, what="inputs"))


def _digests(rows: Tensor) -> Iterator[bytes]:
    for row in rows:
        yield hashlib.blake2b(row.contiguous().numpy().tobytes(), digest_size=16).digest()


def memory_for_streams() -> int:
    """Bytes that a stream's examples may take: half of the machine's memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # not known on this system
        return 2**33


def check_fits(field: str, count: int, each: float) -> None:
    """Refuse examples that half of the machine's memory does not hold, before all of them are read.

    Args:
        count, each: how many there are, and the bytes of one.
    """
    most = memory_for_streams()
    if count * each > most:
        raise LrscopeError(
            f"{field}: {count:,} examples of {each / 1e6:.3g} MB take {count * each / 1e9:,.3g} GB, more than half of this "
            f"machine's memory ({most / 1e9:,.3g} GB): pass fewer of them (torch.utils.data.Subset) or smaller ones, {BATCHES}, "
            "which are read again for every run"
        )


def endless(field: str, read: str) -> LrscopeError:
    """The sentence for a stream that goes on and on."""
    return LrscopeError(
        f"{field}: the stream has not ended after {read}, which fill half of this machine's memory: pass its beginning, such "
        "as list(itertools.islice(data_set, 10_000))"
    )


def stack(field: str, rows: list[Pair]) -> Pair:
    """Examples one by one as inputs [N, ...] and labels [N, ...]."""
    return tuple(  # type: ignore[return-value]
        stacked(f"{field}: the {name} of the examples", [row[part] for row in rows])
        for part, name in enumerate(("inputs", "labels"))
    )


def read_row(field: str, number: int, read: Any) -> Pair:
    """One example as (input, label)."""
    where = f"example {number}"
    try:
        row = read()
    except Exception as error:  # a user's code may raise anything
        raise _unreadable(field, where, error) from error
    x, y = two_parts(field, where, row)
    return own_tensor(f"{field}: the inputs of {where}", x), own_labels(f"{field}: the labels of {where}", y)


def _unreadable(field: str, where: str, error: Exception) -> LrscopeError:
    reason = str(error).strip().splitlines()
    return LrscopeError(
        f"{field}: {where} cannot be read ({type(error).__name__}{': ' + reason[0] if reason else ''}): repair the data set "
        "or its transform"
    )


def two_parts(field: str, where: str, row: Any) -> tuple[Any, Any]:
    """The input and the label of an example, or those of a batch.

    Raises:
        LrscopeError: it is a dict, has another number of parts, or several inputs.
    """
    if isinstance(row, Mapping):
        keys = ", ".join(map(str, list(row)[:4]))
        raise LrscopeError(
            f"{field}: {where} is a dict ({keys}): pass pairs (input, label), such as [(row['x'], row['y']) for row in data], "
            f"{BATCHES}"
        )
    if not isinstance(row, tuple | list) or len(row) != 2:
        what = (
            f"has {len(row)} part{'s'[: len(row) != 1]}"
            if isinstance(row, tuple | list)
            else f"is one {type(row).__name__}"
        )
        raise LrscopeError(
            f"{field}: {where} {what}: give (input, label); join several inputs into one tensor and take it apart in the "
            f"model's forward, {BATCHES}"
        )
    x, y = row
    for name, part in (("input", x), ("label", y)):
        several = isinstance(part, tuple | list) and any(isinstance(p, Tensor) or is_array(p) for p in part)
        if isinstance(part, Mapping) or several:
            what = f"a dict ({', '.join(map(str, list(part)[:4]))})" if isinstance(part, Mapping) else "several arrays"
            raise LrscopeError(
                f"{field}: the {name} of {where} is {what}: a model gets one tensor and a loss one, so join the parts into "
                f"one and take it apart in the model's forward or in the loss, {BATCHES}"
            )
    return x, y
