"""Example groups: a labelled partition of the training or of the test examples, such as clean and corrupted labels, or classes.

N examples, E groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lrscope.errors import LrscopeError, shown
from lrscope.tasks.arrays import own_tensor
from lrscope.tasks.data.dataset import DataSet

NOISE_GROUPS = ("clean", "corrupted")
WORDS = {"train": "training", "test": "test"}  # what the examples of a split are called
MOST = 100  # ours: more curves a run than anybody reads; numbers of examples passed by mistake end here


def noise_groups(noisy: Tensor, clean: Tensor) -> Tensor:
    """Group of each example [N]: 1 (corrupted) where label noise changed the label. A label that was redrawn and came out
    as it was is clean (ours: nothing about the example tells that it was drawn)."""
    return (noisy != clean).to(torch.int64)


def as_groups(
    groups: Any, names: Sequence[str] | None, count: int, split: str = "train"
) -> tuple[Tensor, tuple[str, ...]]:
    """A partition as a user gives it: group numbers [N] int64 and the groups' names.

    Args:
        groups: one whole number from 0 on (or truth value) for each of the `count` examples, in a tensor, an array,
            a column or a list.
        names: of the groups; None: their numbers. A name may stand for a group without examples.
        split: which examples they are of, `train` or `test`.

    Raises:
        LrscopeError: wrong length, numbers that are negative or not whole, names that do not fit.
    """
    numbers = own_tensor(f"{split}_groups: its values", groups)
    if numbers.dim() != 1 or len(numbers) != count:
        raise LrscopeError(
            f"{split}_groups: its shape is {tuple(numbers.shape)}, but there are {count} {WORDS[split]} examples: "
            "pass one group number per example"
        )
    if numbers.is_floating_point() or numbers.is_complex():
        raise LrscopeError(f"{split}_groups: its type is {numbers.dtype}: number the groups 0, 1, ... in whole numbers")
    numbers = numbers.to(torch.int64)
    if not count:  # refused as empty later
        return numbers, tuple(names or ())
    if names is None:
        names = [str(number) for number in range(min(int(numbers.max()) + 1, MOST + 1))]
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise LrscopeError(
            f"{split}_group_names: {shown(names)} is not a list of names: pass one for each group, in a list"
        )
    named = tuple(names)
    _check(numbers, named, split)
    return numbers, named


def given_groups(groups: Any, names: Sequence[str] | None, count: int, split: str) -> dict[str, Any]:
    """The same as fields of a `DataSet`; those of no partition where there is none.

    Raises:
        LrscopeError: as `as_groups`, or names without a partition.
    """
    if groups is None:
        if names is not None:
            raise LrscopeError(f"{split}_group_names: given without {split}_groups: pass the partition too")
        return {}
    numbers, named = as_groups(groups, names, count, split)
    return {f"{split}_groups": numbers, f"{split}_group_names": named}


def group_sizes(groups: Tensor | None, names: Sequence[str]) -> dict[str, int]:
    """How many examples are in each group, by name; empty without a partition."""
    if groups is None:
        return {}
    return dict(zip(names, torch.bincount(groups, minlength=len(names)).tolist(), strict=True))


def with_classes(data: DataSet) -> DataSet:
    """The data set with a group for each class, of the training examples (by their labels before label noise) and of the
    test examples. The groups are named by the classes' numbers.

    Raises:
        LrscopeError: no class numbers, or more than 100 classes.
    """
    if not data.classes or data.train_y.is_floating_point():
        raise LrscopeError(
            f"groups: the data {shown(data.name)} has no classes: leave it out, or number groups of your own"
        )
    train_y = data.train_y if data.clean_train_y is None else data.clean_train_y
    names = [str(label) for label in range(data.classes)]
    return replace(
        data,
        **given_groups(train_y, names, len(train_y), "train"),
        **given_groups(data.test_y, names, len(data.test_y), "test"),
    )


def check_groups(data: DataSet) -> None:
    """Refuse a data set whose partitions do not fit its examples."""
    if data.train_groups is not None:
        as_groups(data.train_groups, data.train_group_names, len(data.train_y))
    if data.test_groups is not None:
        as_groups(data.test_groups, data.test_group_names, len(data.test_y), "test")


def _check(numbers: Tensor, names: tuple[str, ...], split: str) -> None:
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0:
        raise LrscopeError(f"{split}_groups: it holds {low}: number the groups from 0")
    if len(names) > MOST:
        raise LrscopeError(f"{split}_groups: it holds {high}, so there are over {MOST} groups: join some of them")
    if high >= len(names):
        raise LrscopeError(
            f"{split}_group_names: {len(names)} names, but {split}_groups holds {high}: name every group"
        )
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise LrscopeError(
            f"{split}_group_names: {list(names)} are not different words: give each group a name of its own"
        )
