"""Examples that a user's collate_fn puts into batches as these are drawn: of several lengths, or padded. B batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrscope.tasks.arrays import is_picture
from lrscope.tasks.batches.trees import Tree, mapped, placed
from lrscope.tasks.examples import spread
from lrscope.tasks.identity import digest
from lrscope.tasks.loaders import attempt, fetch
from lrscope.tasks.random_state import seeded, states

FEW = 4  # ours: examples of a batch that is tried


class Collated:
    """Examples of a map-style data set, fetched and collated for each batch in the training process.

    What the data set or the collate_fn draws from the global generators is drawn anew in every training step, from the run's
    stream; of test and validation examples it is the same in every evaluation.

    Args:
        field: how messages name them.
        dataset: the user's own.
        indices: of the examples, in their order.
        collate: makes a batch of a list of examples.
    """

    by_run = "its batches are collated as they are drawn"
    whole = in_order = False

    def __init__(self, field: str, dataset: Any, indices: Sequence[Any], collate: Callable[[list[Any]], Tree]) -> None:
        self.field, self.dataset, self.indices, self.collate = field, dataset, indices, collate
        self.size = len(indices)

    def batch(self, numbers: Tensor, dtype: torch.dtype) -> Tree:
        """The examples of these numbers [B], collated; tensors on their device, floats in `dtype`."""
        chosen = [self.indices[number] for number in numbers.tolist()]
        with nullcontext() if self.field == "train" else seeded(int(numbers[0])):
            made = attempt(self.field, f"a batch of {len(chosen)}", lambda: self.collate(fetch(self.dataset, chosen)))
        return placed(made, numbers.device, dtype)

    @cached_property
    def draws(self) -> bool:
        """Do some of the examples, or a small batch of them, draw from global generators? Those seeded by `batch` do not."""
        places = spread(self.size)
        with seeded(0):
            before = states()
            for numbers in (places[:FEW], *([place] for place in places)):
                self.batch(torch.tensor(numbers), torch.float32)
            return states() != before

    def weight(self, number: int) -> float:
        """All count alike."""
        return 1.0

    def digest(self) -> str:
        """A hash of the examples' values, of their order and of what collates them."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        sha = hashlib.sha256(digest(self.collate).encode())
        for number, index in enumerate(self.indices):
            with seeded(0):
                (item,) = attempt(self.field, f"example {number}", lambda index=index: fetch(self.dataset, [index]))  # type: ignore[misc]
            sha.update(digest_of_example(item).encode())
        return sha.hexdigest()[:16]


def digest_of_example(item: Tree) -> str:
    """A hash of an example as a data set gives it, with pictures by their pixels."""
    return digest(mapped(lambda _, leaf: np.asarray(leaf) if is_picture(leaf) else leaf, item))
