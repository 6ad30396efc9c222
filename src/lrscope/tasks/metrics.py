"""A task's own metrics: functions of outputs and labels, measured beside loss and accuracy. N examples, B batch, M metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from lrscope.errors import LrscopeError, first_line, shown
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.losses import placed_loss
from lrscope.tasks.outputs import as_weights, telling_rows
from lrscope.tasks.random_state import seeded

Metric = Callable[[Tensor, Tensor], Tensor]
MOST = 64  # ours: a coordinate of names that a page can show


def checked_metrics(metrics: Any) -> Mapping[str, Metric]:
    """The metrics by name, in their order.

    Raises:
        LrscopeError: something that is no function under a name.
    """
    if metrics is None:
        return MappingProxyType({})
    if not isinstance(metrics, Mapping):
        raise LrscopeError(
            f"metrics: {shown(metrics)} is no mapping: pass functions of (outputs, labels) by name, such as "
            "{'error': lambda outputs, labels: (outputs.argmax(1) != labels).float()}"
        )
    if len(metrics) > MOST:
        raise LrscopeError(f"metrics: there are {len(metrics)}, more than {MOST}: pass fewer")
    for name, metric in metrics.items():
        if not isinstance(name, str) or not name.strip():
            raise LrscopeError(f"metrics: {shown(name)} is no name: use a text")
        if not callable(metric):
            raise LrscopeError(f"metrics: {name} is {shown(metric)}: pass a function of (outputs, labels)")
    return MappingProxyType(dict(metrics))


def try_metrics(metrics: Mapping[str, Metric], model: nn.Module, data: DataSet) -> None:
    """Try each metric on a few training examples.

    Raises:
        LrscopeError: one fails, or does not return one number per example.
    """
    rows = telling_rows(data.train_y)
    with torch.no_grad(), seeded(0):
        output = model.eval()(as_weights(data.train_x[rows], model))
    y = data.train_y[rows]
    y = y.to(output.dtype) if y.is_floating_point() else y
    for name, metric in metrics.items():
        try:
            found = placed_loss(metric, output.device, output.dtype)(output.clone(), y.clone())
        except Exception as error:  # a user's code may raise anything
            raise LrscopeError(
                f"metrics: {name} fails on outputs {tuple(output.shape)} and labels {tuple(y.shape)} ({type(error).__name__}: "
                f"{first_line(error)}): write it as a function of (outputs, labels) of a batch"
            ) from error
        if not isinstance(found, Tensor) or tuple(found.shape) != (len(rows),):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise LrscopeError(
                f"metrics: {name} returns {shape} for a batch of {len(rows)}: return one number per example, without mean()"
            )


def values(metrics: Mapping[str, Metric], output: Tensor, y: Tensor) -> Tensor:
    """The metrics of each example in the outputs' type: [B, M]."""
    return torch.stack([metric(output, y).to(output.dtype) for metric in metrics.values()], 1)
