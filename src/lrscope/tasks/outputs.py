"""Do a model's outputs fit the labels, and does the loss take both? Tried on a few examples before anything is planned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrscope.errors import LrscopeError
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.factory import weights_type
from lrscope.tasks.losses import Loss
from lrscope.tasks.random_state import seeded

FEW = 4  # ours: examples tried


def check_outputs(model: nn.Module, loss: Loss, loss_name: str, data: DataSet) -> None:
    """Try model and loss on the first training examples, in eval mode.

    Raises:
        LrscopeError: one of them fails, or shapes do not fit; names which and what to change.
    """
    n = min(FEW, len(data.train_x))
    y = data.train_y[:n]
    output = _output(model.eval(), data.train_x[:n])
    _check_shape(output, loss_name, data, y)
    _check_loss(loss, output, y)


def as_weights(x: Tensor, model: nn.Module) -> Tensor:
    """Examples in the floating type of the model's parameters; whole numbers as they are."""
    return x.to(weights_type(model)) if x.is_floating_point() else x


def _output(model: nn.Module, x: Tensor) -> Tensor:
    try:
        with torch.no_grad(), seeded(0):
            output = model(as_weights(x, model))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise LrscopeError(
            f"model: it cannot take a batch of shape {tuple(x.shape)} ({error}): change the model or the data"
        ) from error
    if not isinstance(output, Tensor):
        raise LrscopeError(f"model: it returns {type(output).__name__}: return one tensor of outputs")
    return output


def _check_shape(output: Tensor, loss_name: str, data: DataSet, y: Tensor) -> None:
    shape, n = tuple(output.shape), len(y)
    if loss_name == "cross_entropy" and (len(shape) != 2 or shape[1] < data.classes):
        raise LrscopeError(
            f"model: its output has shape {shape} for a batch of {n}, but the labels go up to {data.classes - 1}: "
            f"return logits of shape (batch, {data.classes})"
        )
    if loss_name == "binary_cross_entropy" and (output.numel() != n or data.classes > 2):
        raise LrscopeError(
            f"model: its output has shape {shape} and the labels go up to {data.classes - 1}: binary cross-entropy "
            "needs one logit per example and labels 0 and 1"
        )
    if loss_name == "mse" and output.numel() != y.numel():
        raise LrscopeError(
            f"model: its output has shape {shape}, the targets {tuple(y.shape)}: return one output per target"
        )


def _check_loss(loss: Loss, output: Tensor, y: Tensor) -> None:
    try:
        with torch.no_grad(), seeded(0):
            losses = loss(output, y.to(output.dtype) if y.is_floating_point() else y)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise LrscopeError(
            f"loss: it cannot take outputs of shape {tuple(output.shape)} and labels of shape {tuple(y.shape)}, type "
            f"{y.dtype} ({error}): change the labels or the loss"
        ) from error
    if not isinstance(losses, Tensor):
        raise LrscopeError(f"loss: it returned {type(losses).__name__}: return a tensor with one loss per example")
    if losses.shape != (len(y),):
        raise LrscopeError(
            f"loss: it returned shape {tuple(losses.shape)} for a batch of {len(y)}: return one loss per example "
            "(reduction='none')"
        )
