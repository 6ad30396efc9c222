"""Where batches come from: numbered examples of several splits. B batch.

A task of such batches has the numbers 0, 1, ... as its inputs, so orders, held-out examples, chunks and checkpoints are those
of any task; what stands behind a number is asked for when a batch is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from lrscope.errors import LrscopeError
from lrscope.tasks.batches.collated import Collated
from lrscope.tasks.batches.columns import Columns, appended
from lrscope.tasks.batches.trees import Tree


class Part(Protocol):
    """The examples of a split."""

    @property
    def size(self) -> int:
        """How many there are."""

    @property
    def by_run(self) -> str:
        """Why many runs' batches cannot be had at once, in words; empty if they can."""

    @property
    def whole(self) -> bool:
        """Is each of its examples a ready-made batch, which has a `weight`?"""

    @property
    def in_order(self) -> bool:
        """Are its examples to be asked for in their own order?"""

    def weight(self, number: int) -> float:
        """How much an example counts in a mean over all; 1 on average."""

    def batch(self, numbers: Tensor, dtype: torch.dtype) -> Tree:
        """The batch of these examples [B], on the device of `numbers`, floats in `dtype`."""

    def digest(self) -> str:
        """A hash of what the examples and their batches are."""


class Source:
    """The examples of all splits, numbered one split after the other.

    Args:
        parts: by split, such as "train" and "test".
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self.splits = {}
        start = 0
        for split, part in parts.items():
            self.splits[split] = range(start, start + part.size)
            start += part.size
        given = list(parts.values())
        columns = [part for part in given if isinstance(part, Columns)]
        self._parts = [appended(columns, list(parts))] if len(columns) == len(given) else given

    def __deepcopy__(self, memo: dict[int, Any]) -> Source:
        """Itself: examples are shared by all copies of a model."""
        return self

    @property
    def by_run(self) -> str:
        """Why runs train one at a time; empty if they need not."""
        return next((part.by_run for part in self._parts if part.by_run), "")

    def numbers(self, split: str) -> Tensor:
        """The numbers of a split's examples [N]."""
        span = self.splits[split]
        return torch.arange(span.start, span.stop)

    def located(self, numbers: Tensor) -> tuple[Part, Tensor]:
        """The part that these examples [B] are of, and their numbers in it [B].

        Raises:
            LrscopeError: they are of several splits, which only examples in memory can be.
        """
        if len(self._parts) == 1:
            return self._parts[0], numbers
        low, high = int(numbers.min()), int(numbers.max())
        for span, part in zip(self.splits.values(), self._parts, strict=True):
            if low in span and high in span:
                return part, numbers - span.start
        raise LrscopeError(
            "train_groups, test_groups: they put examples of both sets into one batch, which is possible only for examples in "
            "memory, all of one shape: leave one of them out"
        )

    def batch(self, numbers: Tensor, dtype: torch.dtype) -> Tree:
        """The batch of these examples [B], all of one split unless all are in memory."""
        part, own = self.located(numbers)
        return part.batch(own, dtype)

    @property
    def train(self) -> Part:
        """The part that is trained on."""
        return self._parts[0]

    @property
    def draws(self) -> bool:
        """Do training examples draw from global generators as they are fetched?"""
        return isinstance(self.train, Collated) and self.train.draws

    def digest(self) -> str:
        """A hash of all that the batches depend on."""
        return " ".join(part.digest() for part in self._parts)
