"""Per-example losses and accuracies. B batch, K classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from lrscope.errors import LrscopeError, nearest

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Logits [B, K] and class numbers [B] to losses [B], in nats."""
    return functional.cross_entropy(output, target, reduction="none")


def binary_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """One logit [B] or [B, 1] and labels 0/1 [B] to losses [B], in nats."""
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


def named_loss(name: str) -> Loss:
    """A loss by name."""
    if name not in LOSSES:
        raise LrscopeError(f"loss: {name!r} is unknown: {nearest(name, LOSSES)}, or pass a function")
    return LOSSES[name]


def hits(output: Tensor, target: Tensor) -> Tensor:
    """1.0 where the prediction is right: argmax over K logits, or the sign of one logit. Shape [B]."""
    if output.dim() > 1 and output.shape[-1] > 1:
        return (output.argmax(-1) == target).to(torch.float32)
    return ((output.reshape(target.shape) > 0) == (target > 0)).to(torch.float32)
