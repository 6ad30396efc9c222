"""What is descended: a loss of P weights that gives its gradient at R points at once. R runs, P weights.

A theory model is a class with `size` and `gradient`; a network's loss is `lrscope.measures.objectives.TrainingLoss`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lrscope.checked import Count, checked
from lrscope.errors import LrscopeError


@runtime_checkable
class Objective(Protocol):
    """A loss with its gradient, at the weights of R independent runs."""

    @property
    def size(self) -> int:
        """P, the number of weights."""

    def gradient(self, points: Tensor, step: int, /) -> tuple[Tensor, Tensor | None]:
        """Gradient [R, P] and loss [R] at points [R, P] in step number `step`, which names the mini-batch or the draw.

        A run's numbers depend on its own row and the step only. The loss is None where there is none.
        """


class Differentiated:
    """A function differentiated by autograd.

    Args:
        loss: takes points [R, P] to losses [R], each from its own row, with PyTorch's functions.
        size: P.
    """

    @checked
    def __init__(self, loss: Callable[[Tensor], Tensor], size: Count) -> None:
        self.loss = loss
        self.size = size

    def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Gradient [R, P] and loss [R]; the step makes no difference.

        Raises:
            LrscopeError: the function does not return a differentiable loss for each run.
        """
        with torch.enable_grad():
            free = points.detach().requires_grad_()
            loss = self.loss(free)
            if not isinstance(loss, Tensor) or loss.shape != points.shape[:1]:
                given = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
                raise LrscopeError(
                    f"loss: it returned {given} for {len(points)} points: return a tensor with one loss for each point"
                )
            if not loss.requires_grad:
                raise LrscopeError(
                    "loss: it does not depend on the points in a way that PyTorch can differentiate: compute it from them "
                    "with PyTorch's functions, without detach"
                )
            (gradient,) = torch.autograd.grad(loss.sum(), free)
        return gradient, loss.detach()
