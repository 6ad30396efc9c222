"""Per-example losses and accuracies. B batch, K classes."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrscope.errors import LrscopeError, nearest, shown

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Logits [B, K] and class numbers [B], or probabilities [B, K] of the classes, to losses [B], in nats."""
    return functional.cross_entropy(output, target, reduction="none")


def binary_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """One logit [B] or [B, 1] and labels 0/1 or probabilities of a 1 [B] to losses [B], in nats."""
    logit = output.reshape(target.shape)
    return functional.binary_cross_entropy_with_logits(logit, target.to(logit.dtype), reduction="none")


def mean_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Outputs and targets of one shape [B, ...] to the mean squared error of each example [B]."""
    error = output.reshape(target.shape) - target
    return error.reshape(error.shape[0], -1).pow(2).mean(1)


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mse": mean_squared_error,
}
CLASSIFICATION = ("cross_entropy", "binary_cross_entropy")


def name_of(loss: Loss) -> str:
    """A name for a user's loss, never one of the table's."""
    inner = loss
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = str(getattr(inner, "__qualname__", type(inner).__qualname__))
    return f"{name} (own)" if name in LOSSES else name


def check_loss(loss: Loss) -> None:
    """Refuse what is no function of (outputs, labels), and a module with parameters of its own: only the model's are
    trained. Others that a function reaches are found when it is tried (`tasks.outputs`)."""
    if isinstance(loss, type):
        remedy = f"pass {loss.__name__}(reduction='none')" if issubclass(loss, nn.Module) else "pass an instance of it"
        raise LrscopeError(f"loss: {loss.__name__} is a class: {remedy}")
    if not callable(loss):
        raise LrscopeError(
            f"loss: {shown(loss)} is no loss: pass one of {', '.join(LOSSES)}, or a function of (outputs, labels)"
        )
    trained = [n for n, p in loss.named_parameters() if p.requires_grad] if isinstance(loss, nn.Module) else []
    if trained:
        raise LrscopeError(
            f"loss: its parameters {', '.join(trained[:3])} would not be trained: make them part of the model, or freeze "
            "them (requires_grad_(False))"
        )


def placed_loss(loss: Loss, device: torch.device, dtype: torch.dtype) -> Loss:
    """The loss, or a metric, with the tensors that it holds, such as class weights, on the device and in the training precision;
    a function is returned as it is, whatever its closure holds."""

    def placed(value: object) -> object:
        if isinstance(value, nn.Module):
            return copy.deepcopy(value).to(device).to(dtype)
        if isinstance(value, Tensor):
            return value.to(device, dtype if value.is_floating_point() else None)
        return value

    if isinstance(loss, functools.partial):
        keywords = {name: placed(value) for name, value in loss.keywords.items()}
        inner: Callable[..., Tensor] = placed_loss(loss.func, device, dtype)
        return functools.partial(inner, *map(placed, loss.args), **keywords)
    if isinstance(loss, nn.Module):
        module: Loss = copy.deepcopy(loss).to(device).to(dtype)
        return module
    return loss


def named_loss(name: str) -> Loss:
    """A loss by name."""
    if name not in LOSSES:
        raise LrscopeError(f"loss: {name!r} is unknown: {nearest(name, LOSSES)}, or pass a function")
    return LOSSES[name]


def correct(output: Tensor, target: Tensor) -> Tensor:
    """1.0 where the prediction is right. Shape [B].

    K logits: their argmax is the class number, or the argmax of K probabilities [B, K]. One logit: it is positive where
    the label is above 1/2: of 0 and 1, of -1 and 1, of probabilities.
    """
    if output.dim() > 1 and output.shape[-1] > 1:
        if target.dim() == output.dim():
            target = target.argmax(-1) if target.shape[-1] > 1 else target.squeeze(-1)
        return (output.argmax(-1) == target).to(torch.float32)
    right: Tensor = (output.reshape(target.shape) > 0) == (target > 0.5)
    return (right if right.dim() == 1 else right.squeeze(-1)).to(torch.float32)
