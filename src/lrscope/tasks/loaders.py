"""Reading a `DataLoader` as it was given: its sampler says which examples there are, its collate_fn how they look.

Batches are drawn anew by lrscope, at random and by its own seeds, so a loader's order does not matter; everything else
does. A sampler is asked for two epochs: what differs between them beyond the order cannot be honoured, and is refused.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, default_collate

from lrscope.errors import LrscopeError
from lrscope.tasks.arrays import own_labels, own_tensor
from lrscope.tasks.examples import (
    BATCHES,
    RANDOM,
    Pair,
    check_fits,
    compare_with_another_pass,
    differing,
    endless,
    memory_for_streams,
    spread,
    two_parts,
)

ROUNDS = 100  # ours: a sampler that names each example more often than this on average is taken to be endless


def read_loader(field: str, loader: DataLoader[Any], notes: list[str]) -> Pair:
    """Inputs [N, ...] and labels [N, ...] of the examples that an epoch of the loader goes through.

    A map-style data set's examples come in the order of its index, those of a stream as the loader gives them. An index
    that the sampler names twice in every epoch stands there twice. Its worker processes read; pinned memory plays no part.

    Raises:
        LrscopeError: the sampler draws other examples every epoch, a collated example depends on its batch, or anything
            that cannot be read.
    """
    with generators_kept(loader):
        if not is_plain(loader):
            return _iterated(field, loader, notes, stream=_is_stream(loader))
        indices = epoch_indices(field, loader, notes)
        if not indices:
            raise LrscopeError(f"{field}: the loader gives no examples: check its sampler and drop_last")
        return _collated(field, loader, indices, notes)


def is_plain(loader: DataLoader[Any]) -> bool:
    """Can its examples be asked for by the indices that its sampler names?"""
    as_given = type(loader).__iter__ is DataLoader.__iter__
    return not _is_stream(loader) and as_given and loader.batch_sampler is not None


def _is_stream(loader: DataLoader[Any]) -> bool:
    return isinstance(loader.dataset, IterableDataset) or not hasattr(loader.dataset, "__len__")


@contextmanager
def generators_kept(loader: DataLoader[Any]) -> Iterator[None]:
    """Generators that the user gave to the loader or its samplers are left as they were."""
    owners = (loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None))
    found = {id(g): g for g in (getattr(o, "generator", None) for o in owners) if isinstance(g, torch.Generator)}
    states = [(g, g.get_state()) for g in found.values()]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


# -- which examples --------------------------------------------------------------------------------------------------


def epoch_indices(field: str, loader: DataLoader[Any], notes: list[str]) -> list[Any]:
    """The indices of an epoch, in the data set's order."""
    plain = type(loader.batch_sampler) is BatchSampler
    sampler = loader.batch_sampler.sampler if plain else loader.batch_sampler  # type: ignore[union-attr]
    most = ROUNDS * len(loader.dataset) + ROUNDS  # type: ignore[arg-type]
    kind = type(sampler).__name__

    def epoch(of: Any) -> list[Any]:
        drawn = list(islice(iter(of), most + 1))
        flat = drawn if plain else [index for batch in drawn for index in batch]
        if len(drawn) > most:
            raise LrscopeError(f"{field}: the loader's {kind} does not end: pass one that ends after an epoch")
        return flat

    first, second = epoch(sampler), epoch(_next_epoch(sampler))
    if Counter(first) != Counter(second):
        raise LrscopeError(
            f"{field}: the loader's {kind} draws other examples in every epoch, where lrscope goes through the same ones: pass "
            "a loader with shuffle=True or a Subset, and weight examples in a loss function of your own"
        )
    if plain and loader.drop_last and first == second:  # the same ones are left out every time
        size = loader.batch_sampler.batch_size  # type: ignore[union-attr]
        first = first[: len(first) // size * size]
    if not plain and field == "train":
        notes.append(
            f"{field}: lrscope draws its batches at random, of batch_size examples; how {kind} puts them together plays no part"
        )
    try:
        return sorted(first)
    except TypeError:  # names that have no order
        return first


def _next_epoch(sampler: Any) -> Any:
    """The sampler in the epoch after its present one, where it counts them (as `DistributedSampler` does); a copy."""
    if not hasattr(sampler, "set_epoch"):
        return sampler
    later = copy.copy(sampler)
    later.set_epoch(getattr(sampler, "epoch", 0) + 1)
    return later


# -- how they look ---------------------------------------------------------------------------------------------------


def _collated(field: str, loader: DataLoader[Any], indices: Sequence[Any], notes: list[str]) -> Pair:
    """The examples of these indices, fetched and collated as the loader does."""
    size = batch_size_for(loader, len(indices))
    parts = [list(indices[start : start + size]) for start in range(0, len(indices), size)]
    fetched = fetched_parts(loader, parts)
    collate = loader.collate_fn
    batches = []
    for number in range(len(parts)):
        where = f"batch {number}"
        items = attempt(field, where, lambda: next(fetched))
        batches.append(_batch(field, where, lambda items=items: collate(items)))  # type: ignore[misc]
        if number == 0:
            check_fits(field, len(indices), sum(t.nbytes for t in batches[0]) / max(len(batches[0][0]), 1))
        if collate is not default_collate:
            _check_collate(field, items, batches[-1], collate)
    x, y = _joined(field, batches)
    if len(x) == len(indices):
        _note_random(field, loader, indices, (x, y), notes)
    return x, y


def _note_random(field: str, loader: DataLoader[Any], indices: Sequence[Any], read: Pair, notes: list[str]) -> None:
    """Read some examples again, one by one, and note a random transform."""
    places = spread(len(indices))
    fetched = fetched_parts(loader, [[indices[i]] for i in places])
    for i in places:
        items = attempt(field, f"example {i}", lambda: next(fetched))
        again = _batch(field, f"example {i}", lambda items=items: loader.collate_fn(items))  # type: ignore[misc]
        before = read[0][i : i + 1], read[1][i : i + 1]
        if any(a.shape != b.shape for a, b in zip(before, again, strict=True)):
            raise _depends_on_batch(field)
        changed = differing(before, again)
        if changed:
            notes.append(RANDOM.format(field=field, what=changed))
            return


def batch_size_for(loader: DataLoader[Any], count: int) -> int:
    size = getattr(loader.batch_sampler, "batch_size", None)
    return min(size, count) if isinstance(size, int) and size > 0 else min(64, count)


def fetched_parts(loader: DataLoader[Any], parts: list[list[Any]]) -> Iterator[list[Any]]:
    """Items of each part, fetched by as many worker processes as the loader has."""
    if not loader.num_workers:
        return (fetch(loader.dataset, part) for part in parts)
    return iter(
        DataLoader(
            loader.dataset,
            batch_sampler=parts,
            collate_fn=_as_they_are,
            num_workers=loader.num_workers,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            timeout=loader.timeout,
        )
    )


def _as_they_are(items: list[Any]) -> list[Any]:
    return items


def fetch(dataset: Any, indices: Sequence[Any]) -> list[Any]:
    """Items as PyTorch's fetcher gets them."""
    several = getattr(dataset, "__getitems__", None)
    return list(several(list(indices))) if several else [dataset[i] for i in indices]


def attempt(field: str, where: str, read: Callable[[], Any], *, of: str = "the loader") -> Any:
    """What `read` returns.

    Raises:
        LrscopeError: it fails; names `where` in what it does, and why.
    """
    try:
        return read()
    except Exception as error:  # a user's code may raise anything
        lines = str(error).strip().splitlines() or [""]
        reason = lines[-1 if lines[0].startswith("Caught ") else 0]  # of a worker process, which adds its traceback
        hint = "repair the data set, its transform or the collate_fn"
        if "stack expects each tensor to be equal size" in str(error):
            hint = "the examples differ in shape, so crop or pad them to one shape"
        elif "default_collate: batch must contain" in str(error):
            hint = "give the data set a transform, such as torchvision's ToTensor(), or tensors and numbers"
        raise LrscopeError(
            f"{field}: {where} of {of} cannot be read ({type(error).__name__}{': ' + reason if reason else ''}): {hint}"
        ) from error


def _batch(field: str, where: str, collate: Callable[[], Any]) -> Pair:
    """One batch as inputs [B, ...] and labels [B, ...]."""
    given = attempt(field, where, collate)
    _check_form(field, where, given)
    x, y = two_parts(field, f"{where} of the loader", given)
    inputs, labels = own_tensor(f"{field}: the inputs of {where}", x), own_labels(f"{field}: the labels of {where}", y)
    if not inputs.dim() or not labels.dim() or len(inputs) != len(labels):
        raise LrscopeError(
            f"{field}: {where} of the loader has inputs of shape {tuple(inputs.shape)} and labels of shape "
            f"{tuple(labels.shape)}: give batches of both, or pass the data set itself"
        )
    return inputs, labels


def _check_form(field: str, where: str, given: Any) -> None:
    """Refuse a dict and lists of tensors, with words for a batch; `two_parts` has words for one example."""
    if isinstance(given, Mapping):
        keys = ", ".join(map(str, list(given)[:4]))
        raise LrscopeError(
            f"{field}: {where} of the loader is a dict ({keys}): give the loader a collate_fn that returns (inputs, labels), "
            f"or pass pairs of its data set, such as [(row['x'], row['y']) for row in loader.dataset], {BATCHES}"
        )
    lists = isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(p, tuple | list) for p in given)
    if lists and given[0] and isinstance(given[0][0], Tensor):
        raise LrscopeError(
            f"{field}: {where} of the loader has lists of {len(given[0])} and {len(given[1])}: return one tensor of inputs and "
            "one of labels (torch.stack in the collate_fn, or no collate_fn at all)"
        )


def _check_collate(field: str, items: list[Any], whole: Pair, collate: Callable[[list[Any]], Any]) -> None:
    """Refuse a collate_fn that gives an example another form in another batch, or at another time."""
    half = (len(items) + 1) // 2
    parts = [_batch(field, "batch 0", lambda p=p: collate(p)) for p in (items[:half], items[half:]) if p]  # type: ignore[misc]
    try:
        again = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
    except RuntimeError:  # of different shapes
        again = parts[0]
    if differing(whole, again):
        raise _depends_on_batch(field)


def _depends_on_batch(field: str) -> LrscopeError:
    return LrscopeError(
        f"{field}: the loader's collate_fn gives examples another form in another batch or at another time (it pads, mixes "
        "or draws at random), and lrscope draws its own batches: do what it does to each example by itself, in the data set, "
        f"{BATCHES}"
    )


def _joined(field: str, batches: Sequence[Pair]) -> Pair:
    for name, part in (("inputs", 0), ("labels", 1)):
        shapes = list(dict.fromkeys(tuple(batch[part].shape[1:]) for batch in batches))
        if len(shapes) > 1:
            raise LrscopeError(
                f"{field}: the {name} differ in shape from batch to batch ({shapes[0]} and {shapes[1]}): crop or pad all "
                "examples to one shape"
            )
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


# -- streams and loaders of other makes ------------------------------------------------------------------------------


def _iterated(field: str, loader: Iterable[Any], notes: list[str], *, stream: bool) -> Pair:
    """What an epoch gives, batch by batch. A second epoch must give the same examples, in any order."""
    batches = list(_batches(field, loader))
    if not batches:
        raise LrscopeError(
            f"{field}: the loader gives no batches: check its sampler and drop_last (a stream may be spent)"
        )
    read = _joined(field, batches)
    compare_with_another_pass(field, "loader", read, _batches(field, loader), notes, once=stream)
    return read


def _batches(field: str, loader: Iterable[Any]) -> Iterator[Pair]:
    used, most, number = 0, memory_for_streams(), 0
    iterator = attempt(field, "the first batch", lambda: iter(loader))
    end = object()
    while True:
        given = attempt(field, f"batch {number}", lambda: next(iterator, end))
        if given is end:
            return
        batch = _batch(field, f"batch {number}", lambda given=given: given)  # type: ignore[misc]
        number += 1
        used += sum(t.nbytes for t in batch)
        if used > most:
            raise endless(field, f"{number} batches")
        yield batch
