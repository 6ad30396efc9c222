"""The check at the door of a task: is this data that can be trained on?"""

from __future__ import annotations

import torch
from torch import Tensor

from lrscope.errors import LrscopeError
from lrscope.tasks.data import held_out
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.features import check_probes
from lrscope.tasks.groups import check_groups


def count_classes(*labels: Tensor) -> int:
    """Classes from 0 up to the largest label; labels that `check_data` will refuse are passed over."""
    return max(
        (int(y.max()) + 1 for y in labels if len(y) and bool(torch.isfinite(y).all()) and y.max() >= 0), default=1
    )


def check_data(data: DataSet) -> None:
    """Refuse data that would poison every run: NaN or infinite values, negative labels, no examples, two shapes."""
    for field, tensor in (
        ("train inputs", data.train_x),
        ("train labels", data.train_y),
        ("test inputs", data.test_x),
        ("test labels", data.test_y),
        *held_out.fields(data),
    ):
        if len(tensor) == 0:
            raise LrscopeError(f"data: the {field} are empty: pass at least one example")
        if tensor.is_floating_point():
            bad = ~torch.isfinite(tensor).reshape(len(tensor), -1).all(1)
            if bool(bad.any()):
                first = int(bad.nonzero()[0])
                raise LrscopeError(
                    f"data: {int(bad.sum())} of the {field} hold NaN or infinity (the first is number {first}): "
                    "remove or repair them"
                )
        elif data.classes and int(tensor.min()) < 0 and "labels" in field:
            raise LrscopeError(f"data: the {field} hold {int(tensor.min())}: number the classes from 0")
        elif data.classes and "labels" in field and int(tensor.max()) >= data.classes:
            raise LrscopeError(
                f"data: the {field} hold {int(tensor.max())}, but there are {data.classes} classes: number them from 0 to "
                f"{data.classes - 1}"
            )
    if data.test_x.shape[1:] != data.train_x.shape[1:]:
        raise LrscopeError(
            f"data: the test inputs have shape {tuple(data.test_x.shape[1:])}, the train inputs "
            f"{tuple(data.train_x.shape[1:])}: make them alike"
        )
    check_groups(data)
    check_probes(data)


def check_alike(first: DataSet, later: DataSet) -> None:
    """Refuse data seeds that name their example groups or feature sets differently: they share an axis."""
    held_out.check_alike(first, later)
    if later.probe_names != first.probe_names:
        raise LrscopeError(
            f"probe_names: {list(later.probe_names)}, but {list(first.probe_names)} for data seed 0: use the same feature "
            "sets for all data seeds"
        )
    if later.train_group_names != first.train_group_names or (later.train_groups is None) != (
        first.train_groups is None
    ):
        raise LrscopeError(
            f"train_group_names: {list(later.train_group_names)}, but {list(first.train_group_names)} for data seed 0: "
            "use the same groups for all data seeds"
        )
