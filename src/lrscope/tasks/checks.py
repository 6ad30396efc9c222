"""The check at the door of a task: is this data that can be trained on?"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lrscope.errors import LrscopeError
from lrscope.tasks.data import held_out
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.features import check_features
from lrscope.tasks.groups import check_groups
from lrscope.tasks.labels import as_labels, check_finite
from lrscope.tasks.losses import LOSSES


def check_data(data: DataSet) -> None:
    """Refuse data that would poison every run: NaN, labels that the loss does not take, no examples, two shapes."""
    inputs = {"train": data.train_x, "test": data.test_x}
    labels = {"train": data.train_y, "test": data.test_y}
    own = held_out.fields(data)
    if own:
        inputs["validation"], labels["validation"] = (tensor for _, tensor in own)
    for split, x in inputs.items():
        _check_inputs(split, x, data.train_x)
    if data.loss in LOSSES:
        _check_labels(data, labels)
    check_groups(data)
    check_features(data)


def _check_inputs(split: str, x: Tensor, train_x: Tensor) -> None:
    """Refuse inputs that are not finite, or of another kind than those of training."""
    check_finite(f"{split} inputs", x)
    if not x[0].numel():
        raise LrscopeError(
            f"data: the {split} inputs have shape {tuple(x.shape[1:])}, which holds no numbers: pass some"
        )
    if x.shape[1:] != train_x.shape[1:]:
        raise LrscopeError(
            f"data: the {split} inputs have shape {tuple(x.shape[1:])}, the train inputs {tuple(train_x.shape[1:])}: make them "
            "alike"
        )
    if x.dtype != train_x.dtype:
        raise LrscopeError(
            f"data: the {split} inputs are {x.dtype}, the train inputs {train_x.dtype}: give both one type, such as by "
            ".float(), and the same scale"
        )


def _check_labels(data: DataSet, labels: Mapping[str, Tensor]) -> None:
    """Refuse labels that are not in the form of `as_labels`, or outside the data set's classes."""
    found, _ = as_labels(data.loss, data.classes > 0, labels)
    for split, y in labels.items():
        form = found[split]
        if y.shape != form.shape or y.is_floating_point() != form.is_floating_point():
            raise LrscopeError(
                f"data: the {split} labels are {y.dtype} of shape {tuple(y.shape)}: make them {form.dtype} of shape "
                f"{tuple(form.shape)}"
            )
        if data.classes and not y.is_floating_point() and int(y.max()) >= data.classes:
            raise LrscopeError(
                f"data: the {split} labels hold {int(y.max())}, but there are {data.classes} classes: number them from 0 to "
                f"{data.classes - 1}"
            )


def check_alike(first: DataSet, later: DataSet) -> None:
    """Refuse data seeds that name their example groups or feature sets differently: they share an axis."""
    held_out.check_alike(first, later)
    if later.feature_names != first.feature_names:
        raise LrscopeError(
            f"feature_names: {list(later.feature_names)}, but {list(first.feature_names)} for data seed 0: use the same feature "
            "sets for all data seeds"
        )
    for split in ("train", "test"):
        ours, theirs = (getattr(data, f"{split}_group_names") for data in (later, first))
        if ours != theirs or len({getattr(data, f"{split}_groups") is None for data in (later, first)}) > 1:
            raise LrscopeError(
                f"{split}_group_names: {list(ours)}, but {list(theirs)} for data seed 0: use the same groups for all data seeds"
            )
