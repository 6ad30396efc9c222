"""Which training examples are for validation: unused ones of a data set, or some held out of the training data.

N examples, V validation examples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lrscope.errors import LrscopeError
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.subsets import subset
from lrscope.tasks.streams import generator
from lrscope.tasks.validation import GIVEN, HELD_OUT, NONE, UNUSED, Size, count


@dataclass(frozen=True)
class Drawn:
    """Indices of the examples that are trained on [N] and of those for validation [V], ascending; where the latter come from."""

    train: Tensor
    validation: Tensor
    source: str


def draw(order: Tensor, train: int, size: Size, data_seed: int) -> Drawn:
    """Training and validation examples of a data set.

    Args:
        order: indices of all examples that may be trained on, at random; the first `train` of them are drawn for training.
        train: how many.
        size: of the validation set (`validation.count`).
        data_seed: draws the validation examples, from the stream `validation`.
    """
    number, from_unused = count(size, train, len(order) - train)
    drawn, unused = order[:train].sort().values, order[train:].sort().values
    chosen = subset(len(unused if from_unused else drawn), number, generator("validation", data_seed))
    if from_unused:
        return Drawn(drawn, unused[chosen], UNUSED)
    kept = torch.ones(train, dtype=torch.bool)
    kept[chosen] = False
    return Drawn(drawn[kept], drawn[chosen], HELD_OUT if number else NONE)


def arrays(drawn: Drawn, read: Callable[[Tensor], tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Training and validation fields of a `DataSet`; `read` returns inputs and labels of the examples with these indices."""
    train_x, train_y = read(drawn.train)
    found = {"train_x": train_x, "train_y": train_y, "validation_source": drawn.source}
    if not len(drawn.validation):
        return found
    x, y = read(drawn.validation)
    return {**found, "validation_x": x, "validation_y": y}


def hold_out(data: DataSet, size: Size, data_seed: int) -> DataSet:
    """The data set with its validation examples held out of its training examples, and of the partition of these. Without any
    (`validation.count`) it is returned as it is."""
    drawn = draw(torch.arange(len(data.train_y)), len(data.train_y), size, data_seed)
    if not len(drawn.validation):
        return data
    kept = drawn.train
    return replace(
        data,
        train_x=data.train_x[kept],
        train_y=data.train_y[kept],
        clean_train_y=None if data.clean_train_y is None else data.clean_train_y[kept],
        train_groups=None if data.train_groups is None else data.train_groups[kept],
        validation_x=data.train_x[drawn.validation],
        validation_y=data.train_y[drawn.validation],
        validation_source=drawn.source,
    )


def given(data: DataSet, examples: tuple[Tensor, Tensor]) -> DataSet:
    """The data set with validation examples x [V, ...], y [V, ...] of a user's own."""
    return replace(data, validation_x=examples[0], validation_y=examples[1], validation_source=GIVEN)


def by_data_seed(data: DataSet, size: Size) -> Callable[[int], DataSet] | None:
    """What holds out each data seed's own validation examples; None if none are held out. Kept once made."""
    first = hold_out(data, size, 0)
    if first is data:
        return None
    made = {0: first}

    def lookup(data_seed: int) -> DataSet:
        if data_seed not in made:
            made[data_seed] = hold_out(data, size, data_seed)
        return made[data_seed]

    return lookup


def fields(data: DataSet) -> tuple[tuple[str, Tensor], ...]:
    """Validation inputs and labels under their names, for checks; empty without a validation set.

    Raises:
        LrscopeError: inputs without labels, or inputs or labels of another shape than those of training.
    """
    x, y = data.validation_x, data.validation_y
    if x is None and y is None:
        return ()
    if x is None or y is None:
        raise LrscopeError("validation: inputs without labels, or labels without inputs: give both, or neither")
    for what, ours, theirs in (("inputs", x, data.train_x), ("labels", y, data.train_y)):
        if ours.shape[1:] != theirs.shape[1:]:
            raise LrscopeError(
                f"validation: its {what} have shape {tuple(ours.shape[1:])}, those of training {tuple(theirs.shape[1:])}: "
                "make them alike"
            )
        if ours.is_floating_point() != theirs.is_floating_point():
            raise LrscopeError(
                f"validation: its {what} are {ours.dtype}, those of training {theirs.dtype}: make them alike"
            )
    return ("validation inputs", x), ("validation labels", y)


def summary(data: DataSet) -> dict[str, Any]:
    """How many validation examples there are and where they come from, JSON-ready."""
    return {"size": 0 if data.validation_y is None else len(data.validation_y), "source": data.validation_source}


def left_to_train(data: DataSet) -> str:
    """The training examples in words, for a message that there are too few."""
    held = len(data.validation_y) if data.validation_source == HELD_OUT and data.validation_y is not None else 0
    beside = f" that are left beside {held} for validation" if held else ""
    return f"{len(data.train_y)} training examples{beside}"


def check_alike(first: DataSet, later: DataSet) -> None:
    """Refuse data seeds of which only some have a validation set: they share the variables of a result."""
    if (first.validation_x is None) != (later.validation_x is None):
        having, lacking = (
            ("data seed 0", "this one") if later.validation_x is None else ("this data seed", "data seed 0")
        )
        raise LrscopeError(
            f"validation: {having} has validation examples, {lacking} has none: give all data seeds some, or none"
        )
