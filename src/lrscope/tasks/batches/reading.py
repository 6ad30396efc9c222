"""Reading what a user hands over for a loss of (model, batch): arrays by name, data sets, loaders. N examples, B batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from lrscope.errors import LrscopeError
from lrscope.tasks.arrays import is_array
from lrscope.tasks.batches.collated import Collated, digest_of_example
from lrscope.tasks.batches.columns import of_arrays, of_batches, of_rows
from lrscope.tasks.batches.replayed import Replayed
from lrscope.tasks.batches.source import Part
from lrscope.tasks.batches.trees import Tree, form, joined, leaves
from lrscope.tasks.examples import END, PER_ROW, ROUNDING, memory_for_streams, spread
from lrscope.tasks.loaders import attempt, batch_size_for, epoch_indices, fetched_parts, generators_kept, is_plain
from lrscope.tasks.random_state import seeded
from lrscope.terminal import warn

ANOTHER = (
    "{field}: the stream gives other {what} when it is gone through again, as random transforms and shuffling do; lrscope reads "
    "it once and keeps {kept}. A data set whose examples have numbers, or a DataLoader of one, is drawn from anew in every step"
)
ALL_KEPT = (
    "{field}: the stream gives its examples in another order in each pass, so drop_last would leave out others each time; "
    "lrscope keeps all {count}"
)
FEW_ARRAYS = 8  # ours: a list of fewer arrays may be columns as well as examples


def as_part(field: str, examples: Any) -> Part:
    """The examples of a split.

    Args:
        field: how messages name them, such as "train".
        examples: a dict or tuple of arrays, nested as batches shall be; a map-style data set or a list of examples, each of
            them such a tree without the axis of examples; a `DataLoader`; an `IterableDataset` of examples; any other
            iterable, of batches.

    Raises:
        LrscopeError: what cannot be read, or not be honoured as it was given.
    """
    notes: list[str] = []
    with seeded(0):
        part = _read(field, examples, notes)
    for note in notes:
        warn(note)
    return part


def _read(field: str, examples: Any, notes: list[str]) -> Part:
    if isinstance(examples, DataLoader):
        return _of_loader(field, examples, notes)
    if isinstance(examples, Mapping | tuple | torch.Tensor) or is_array(examples):
        return of_arrays(field, examples)
    if isinstance(examples, list) and 0 < len(examples) < FEW_ARRAYS and all(_is_column(item) for item in examples):
        raise LrscopeError(
            f"{field}: a list of {len(examples)} arrays may be columns or examples: write a tuple or a dict of columns, or a "
            "list of tuples"
        )
    if isinstance(examples, IterableDataset):  # with a __len__, too
        remedy = "pass a DataLoader of it, whose batches are then read as training goes"
        return of_rows(field, _listed(field, examples, remedy, notes)[0])
    if (
        hasattr(examples, "__getitem__")
        and hasattr(examples, "__len__")
        and not isinstance(examples, str | bytes | type)
    ):
        return _of_items(field, examples)
    if hasattr(examples, "__iter__") and not isinstance(examples, str | bytes | type):
        return _replayed(field, examples, notes)
    raise LrscopeError(
        f"{field}: {type(examples).__name__} is not readable: pass a dict or tuple of arrays, a Dataset, a DataLoader or an "
        "iterable of batches"
    )


def _is_column(value: Any) -> bool:
    return (isinstance(value, torch.Tensor) or is_array(value)) and len(getattr(value, "shape", ())) > 0


def _of_items(field: str, examples: Any) -> Part:
    """All examples of a map-style data set, in the order of its index; fetched as they are needed if memory is too small for them
    or if they are drawn at random."""
    if not len(examples):
        raise LrscopeError(f"{field}: the data set is empty: pass at least one batch of examples")
    anew = Collated(field, examples, range(len(examples)), together)
    read, used = list[Tree](), 0
    for number in range(len(examples)):
        read.append(_item(field, number, examples))
        used += PER_ROW + _bytes(read[-1])
        if used > memory_for_streams():
            return anew
    try:
        found = of_rows(field, read)
    except LrscopeError as error:
        if "differ in shape" not in str(error):
            raise
        raise LrscopeError(f"{error}, or pass a DataLoader whose collate_fn pads") from error
    return found if _repeats(field, examples, read) else anew


def together(items: list[Tree]) -> Tree:
    """Examples of one shape as a batch."""
    return of_rows("a batch", items).tree


def _bytes(tree: Tree) -> int:
    return sum(getattr(leaf, "nbytes", 0) for _, leaf in leaves(tree))


def _item(field: str, number: int, examples: Any) -> Tree:
    return attempt(field, f"example {number}", lambda: examples[number], of="the data set")


def _repeats(field: str, examples: Any, read: list[Tree]) -> bool:
    """Are some of the examples the same when they are read again?"""
    return all(same(read[number], _item(field, number, examples)) for number in spread(len(read)))


def same(one: Tree, other: Tree) -> bool:
    """Are two trees alike to rounding?"""
    if form(one) != form(other):
        return False
    return all(_same(a, b) for (_, a), (_, b) in zip(leaves(one), leaves(other), strict=True))


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return bool(torch.as_tensor(one == other).all()) if type(one) is type(other) else False
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or torch.allclose(one, other, rtol=ROUNDING, atol=ROUNDING, equal_nan=True)


# -- loaders ----------------------------------------------------------------------------------------------------------


def _of_loader(field: str, loader: DataLoader[Any], notes: list[str]) -> Part:
    """The examples that an epoch of a loader goes through: in memory where its collate_fn gives each example one form in any
    batch, else collated anew for each batch."""
    if not is_plain(loader):
        return _of_stream(field, loader, notes)
    with generators_kept(loader):
        indices = epoch_indices(field, loader, notes)
        if not indices:
            raise LrscopeError(f"{field}: the loader gives no examples: check its sampler and drop_last")
        batches = _separable(field, loader, indices)
    if batches is None:
        return Collated(field, loader.dataset, indices, loader.collate_fn)
    return of_batches(field, batches)


def _of_stream(field: str, loader: DataLoader[Any], notes: list[str]) -> Part:
    """A loader without numbered examples: those of a stream that ends in memory, else its batches as they come.

    With `drop_last` the examples of an incomplete last batch are left out where another pass leaves out the same ones, and kept,
    with a note, where it leaves out others.
    """
    as_given = type(loader).__iter__ is DataLoader.__iter__
    if not as_given or loader.batch_size is None or not isinstance(loader.dataset, IterableDataset):
        return _replayed(field, loader, notes)
    try:
        examples, shuffled = _listed(field, loader.dataset, "", notes)
    except _TooLong:
        return _replayed(field, loader, notes)
    dropping = loader.drop_last and not shuffled
    if loader.drop_last and shuffled and len(examples) % loader.batch_size:
        notes.append(ALL_KEPT.format(field=field, count=len(examples)))
    plain: DataLoader[Any] = DataLoader(
        examples,  # type: ignore[arg-type]
        loader.batch_size,
        collate_fn=loader.collate_fn,
        drop_last=dropping,
    )
    return _of_loader(field, plain, [])


def _replayed(field: str, stream: Iterable[Any], notes: list[str]) -> Part:
    """The batches of a stream; notes that another pass gives other ones."""
    part = Replayed(field, stream)
    if part.changes():
        notes.append(ANOTHER.format(field=field, what="batches", kept="those batches"))
    return part


class _TooLong(LrscopeError):
    """A stream that half of the memory does not hold."""


def _listed(field: str, stream: Iterable[Any], remedy: str, notes: list[str]) -> tuple[list[Any], bool]:
    """All examples of a stream, and whether another pass gives the same ones in another order; notes that it gives other ones.

    Raises:
        LrscopeError: it fails, gives none, another number of them in another pass, or half of the memory does not hold them
            (`_TooLong`).
    """
    found: list[Any] = []
    used, most = 0, memory_for_streams()
    iterator = iter(stream)
    while (row := attempt(field, f"example {len(found)}", lambda: next(iterator, END), of="the stream")) is not END:
        found.append(row)
        used += PER_ROW + _bytes(row)
        if used > most:
            raise _TooLong(
                f"{field}: the stream has not ended after {len(found)} examples, which fill half of this machine's memory: "
                f"{remedy}"
            )
    if not found:
        raise LrscopeError(f"{field}: the stream is empty: pass at least one batch of examples (a stream may be spent)")
    first, second = [digest_of_example(row) for row in found], _another_pass(field, stream, len(found) + 1)
    if second and len(second) != len(first):
        raise LrscopeError(
            f"{field}: the stream gives {len(first)} examples, and others when it is gone through again, where lrscope "
            "needs the same ones: pass a data set, or a stream that gives all of its examples in every pass"
        )
    if second and Counter(first) != Counter(second):
        notes.append(ANOTHER.format(field=field, what="examples", kept="that copy"))
    return found, bool(second) and first != second and Counter(first) == Counter(second)


def _another_pass(field: str, stream: Iterable[Any], most: int) -> list[str]:
    """Hashes of the examples of another pass, in its order, up to `most`; none of a stream that can be read once."""
    try:
        iterator = iter(stream)
        row = next(iterator, END)
    except Exception:  # a stream may say so in any way
        return []
    found: list[str] = []
    while row is not END and len(found) < most:
        found.append(digest_of_example(row))
        row = attempt(field, f"example {len(found)}", lambda: next(iterator, END), of="the stream's second pass")
    return found


def _separable(field: str, loader: DataLoader[Any], indices: list[Any]) -> list[Tree] | None:
    """All batches, if an example looks alike in any batch and at any time and memory holds them; None if not."""
    size, collate = batch_size_for(loader, len(indices)), loader.collate_fn
    parts = [indices[start : start + size] for start in range(0, len(indices), size)]
    fetched, batches, used = fetched_parts(loader, parts), list[Tree](), 0
    for number, part in enumerate(parts):
        items = attempt(field, f"batch {number}", lambda: next(fetched))
        batches.append(attempt(field, f"batch {number}", lambda items=items: collate(items)))  # type: ignore[misc]
        used += _bytes(batches[-1])
        if used > memory_for_streams():
            return None
        half = (len(items) + 1) // 2
        try:
            halves = [collate(some) for some in (items[:half], items[half:]) if some]
        except Exception:  # a collate_fn that takes its items apart
            return None
        if not _stack(batches[-1], len(part)) or not same(batches[-1], _joined(halves)):
            return None
        if not _stack_together(batches[0], batches[-1]):
            return None
    again = attempt(field, "batch 0", lambda: collate(next(fetched_parts(loader, parts[:1]))))
    return batches if same(batches[0], again) else None


def _stack(batch: Tree, count: int) -> bool:
    """Is it made of tensors with an axis of `count` examples?"""
    found = [leaf for _, leaf in leaves(batch)]
    return bool(found) and all(isinstance(leaf, torch.Tensor) and leaf.dim() and len(leaf) == count for leaf in found)


def _stack_together(one: Tree, other: Tree) -> bool:
    pairs = zip(leaves(one), leaves(other), strict=False)
    return form(one) == form(other) and all(
        a.shape[1:] == b.shape[1:] and a.dtype == b.dtype for (_, a), (_, b) in pairs
    )


def _joined(batches: list[Tree]) -> Tree:
    """Batches one after the other; None where they are not alike."""
    if not all(_stack_together(batches[0], batch) for batch in batches):
        return None
    return joined(batches, lambda name, tensors: torch.cat(tensors))
