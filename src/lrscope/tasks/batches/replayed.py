"""Batches as a stream gives them, never taken apart: each counts as one example of the sweep. K batches.

They are kept in memory as far as half of it goes. A longer stream is read anew, in its own order, as often as it is needed; each
batch is compared with what was read first.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import _get_current_function_mode_stack, _pop_mode_temporarily

from lrscope.errors import LrscopeError
from lrscope.tasks.batches.trees import Tree, leaves, mapped, placed
from lrscope.tasks.examples import memory_for_streams
from lrscope.tasks.identity import digest
from lrscope.tasks.loaders import attempt
from lrscope.tasks.random_state import seeded

COMPARED = 64  # ours: batches of a long stream that are read once more
OTHER_SEEDS = 2**31  # beyond the number of any stream's batches
PER_BATCH = 1024  # ours, bytes: what a batch costs beside its numbers
_END = object()


class Replayed:
    """The batches of a stream.

    Args:
        field: how messages name it.
        stream: gives batches; one that does not fit into memory must give the same ones each time it is gone through, and
            state their number (`len`).

    Raises:
        LrscopeError: it gives none, it fails, or it has not ended when memory is full and states no number.
    """

    by_run = "its batches come ready-made from a stream"
    whole = True

    def __init__(self, field: str, stream: Iterable[Any]) -> None:
        self.field, self.stream = field, stream
        self.kept: list[Tree] | None = []
        self.digests: list[str] = []
        self.sizes: list[int] = []
        used, most = 0, memory_for_streams()
        stated: float = math.inf
        for batch in self._passed():
            self.digests.append(digest(batch))
            self.sizes.append(_examples(batch))
            used += sum(_bytes(leaf) for _, leaf in leaves(batch)) + PER_BATCH
            if self.kept is not None:
                self.kept.append(batch)
            if used > most and self.kept is not None:
                stated, self.kept = self._stated(), None
            if len(self.digests) > stated:
                raise LrscopeError(
                    f"{field}: the stream gives more batches than the {stated} that its __len__ states: correct one of the two"
                )
        if not self.digests:
            raise LrscopeError(f"{field}: the stream gives no batches: it may be spent, so pass one that begins anew")
        self.size = len(self.digests)
        self._weights = _weights(self.sizes)
        self._pass: Iterator[Tree] = iter(())
        self._at, self._last = -1, _END

    @property
    def in_order(self) -> bool:
        """Are batches to be asked for in the stream's own order?"""
        return self.kept is None

    def batch(self, numbers: Tensor, dtype: torch.dtype) -> Tree:
        """The batch of this number [1], a copy on its device, floats in `dtype`.

        Raises:
            LrscopeError: the stream gives another one than when it was first read.
        """
        with outside_modes():
            found = self._read(int(numbers))
        own = mapped(lambda _, leaf: _copy(leaf), found)
        return placed(own, numbers.device, dtype)

    def weight(self, number: int) -> float:
        """A batch's examples over their mean number, where all parts agree on them; else 1."""
        return self._weights[number]

    def changes(self) -> bool:
        """Does another pass, under other random numbers, give other batches? Those in memory may come in any order; of a longer
        stream the first ones are compared. One that gives none can be read once."""
        most = COMPARED if self.kept is None else self.size + 1
        try:
            again = [digest(batch) for batch in islice(self._passed(OTHER_SEEDS), most)]
        except LrscopeError:
            again = []
        if self.kept is None:
            return again != self.digests[: len(again)]
        return bool(again) and Counter(again) != Counter(self.digests)

    def digest(self) -> str:
        """A hash of all batches in their order."""
        return hashlib.sha256(" ".join(self.digests).encode()).hexdigest()[:16]

    def _stated(self) -> int:
        """The number of batches that the stream states; refused without, as it may have no end."""
        try:
            return len(self.stream)  # type: ignore[arg-type]
        except TypeError:  # it has none, or a loader's data set has none
            raise LrscopeError(
                f"{self.field}: the stream has not ended after {len(self.digests)} batches, which fill half of this machine's "
                "memory: give it a __len__, its number of batches, to have it read anew as training goes, or pass its beginning, "
                "such as itertools.islice(stream, 1000)"
            ) from None

    def _passed(self, first: int = 0) -> Iterator[Tree]:
        """The batches of a pass. Each is drawn under a seed of its own, `first` on, so that passes draw alike."""
        with seeded(first):
            iterator = attempt(self.field, "the first batch", lambda: iter(self.stream), of="the stream")
        number = 0
        while True:
            with seeded(first + number):
                batch = attempt(self.field, f"batch {number}", lambda: next(iterator, _END), of="the stream")
            if batch is _END:
                return
            yield batch
            number += 1

    def _read(self, number: int) -> Tree:
        if self.kept is not None:
            return self.kept[number]
        if number < self._at or self._at < 0:
            self._pass, self._at = self._passed(), -1
        while self._at < number:
            self._at += 1
            self._last = next(self._pass, _END)
        if self._last is _END or digest(self._last) != self.digests[number]:
            self._at = -1
            raise LrscopeError(
                f"{self.field}: batch {number} of the stream is another one than when it was first read, where lrscope needs the "
                "same ones in every pass: shuffle by a fixed seed, or pass a data set whose examples have numbers"
            )
        return self._last


@contextmanager
def outside_modes() -> Iterator[None]:
    """Inside, lrscope's function modes on top of the stack are not active, such as those that make floats float64 or draw noise
    by keys: a batch that is read while a network runs is made, and known, as it was at first."""
    with ExitStack() as stack:
        for mode in reversed(_get_current_function_mode_stack()):  # type: ignore[no-untyped-call]
            if not type(mode).__module__.startswith("lrscope."):
                break
            stack.enter_context(_pop_mode_temporarily())
        yield


def _examples(batch: Tree) -> int:
    """How many examples a batch has, if all its tensors agree on it; else 0."""
    sizes = {len(leaf) if leaf.dim() else 0 for _, leaf in leaves(batch) if isinstance(leaf, Tensor)}
    return sizes.pop() if len(sizes) == 1 else 0


def _bytes(leaf: Any) -> int:
    """Of a tensor, an array or a packed sequence."""
    return int(getattr(leaf.data if isinstance(leaf, PackedSequence) else leaf, "nbytes", 0))


def _copy(leaf: Any) -> Any:
    """Numbers of our own: a loss may change its batch, and the stream's stay."""
    if isinstance(leaf, Tensor):
        return leaf.clone()
    return copy.deepcopy(leaf) if isinstance(leaf, np.ndarray | PackedSequence) else leaf


def _weights(sizes: list[int]) -> list[float]:
    if not all(sizes):
        return [1.0] * len(sizes)
    mean = sum(sizes) / len(sizes)
    return [size / mean for size in sizes]
