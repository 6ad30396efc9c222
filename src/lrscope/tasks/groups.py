"""Example groups: a labelled partition of the training examples, such as those with clean and with corrupted labels.

N examples, E groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from lrscope.errors import LrscopeError, shown
from lrscope.tasks.arrays import own_tensor
from lrscope.tasks.data.dataset import DataSet

NOISE_GROUPS = ("clean", "corrupted")
MOST = 100  # ours: more curves a run than anybody reads; numbers of examples passed by mistake end here


def noise_groups(noisy: Tensor, clean: Tensor) -> Tensor:
    """Group of each example [N]: 1 (corrupted) where label noise changed the label. A label that was redrawn and came out
    as it was is clean (ours: nothing about the example tells that it was drawn)."""
    return (noisy != clean).to(torch.int64)


def as_groups(groups: Any, names: Sequence[str] | None, count: int) -> tuple[Tensor, tuple[str, ...]]:
    """A partition as a user gives it: group numbers [N] int64 and the groups' names.

    Args:
        groups: one whole number from 0 on (or truth value) for each of the `count` training examples, in a tensor, an array,
            a column or a list.
        names: of the groups; None: their numbers. A name may stand for a group without examples.

    Raises:
        LrscopeError: wrong length, numbers that are negative or not whole, names that do not fit.
    """
    numbers = own_tensor("train_groups: its values", groups)
    if numbers.dim() != 1 or len(numbers) != count:
        raise LrscopeError(
            f"train_groups: its shape is {tuple(numbers.shape)}, but there are {count} training examples: "
            "pass one group number per example"
        )
    if numbers.is_floating_point() or numbers.is_complex():
        raise LrscopeError(f"train_groups: its type is {numbers.dtype}: number the groups 0, 1, ... in whole numbers")
    numbers = numbers.to(torch.int64)
    if not count:  # refused as empty later
        return numbers, tuple(names or ())
    if names is None:
        names = [str(number) for number in range(min(int(numbers.max()) + 1, MOST + 1))]
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise LrscopeError(
            f"train_group_names: {shown(names)} is not a list of names: pass one for each group, in a list"
        )
    named = tuple(names)
    _check(numbers, named)
    return numbers, named


def check_groups(data: DataSet) -> None:
    """Refuse a data set whose partition does not fit its training examples."""
    if data.train_groups is not None:
        as_groups(data.train_groups, data.train_group_names, len(data.train_y))


def _check(numbers: Tensor, names: tuple[str, ...]) -> None:
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0:
        raise LrscopeError(f"train_groups: it holds {low}: number the groups from 0")
    if len(names) > MOST:
        raise LrscopeError(f"train_groups: it holds {high}, so there are over {MOST} groups: join some of them")
    if high >= len(names):
        raise LrscopeError(f"train_group_names: {len(names)} names, but train_groups holds {high}: name every group")
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise LrscopeError(
            f"train_group_names: {list(names)} are not different words: give each group a name of its own"
        )
