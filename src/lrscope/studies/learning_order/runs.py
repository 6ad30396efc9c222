"""What is trained: algorithms L-S and S of learning_order, Sec. 3, and the noise that their learning rates leave in the weights.

Time is T = learning rate x steps. The noise part of the weights (eq. 3.4) is the same Gaussian process in every neuron and
coordinate: a step multiplies it by 1 - lr lambda and adds variance lr^2 tau_xi^2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from lrscope.checked import Positive, checked, checked_fields
from lrscope.errors import LrscopeError
from lrscope.readers import Number, Real

Nonnegative = Annotated[float, Number(0, 1e30)]


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: how far the directions of Q lie apart, weight decay, and one of the two algorithms.

    Args:
        r: |zeta|, the distance of the three directions of Q.
        weight_decay: lambda.
        large_lr: eta_1. It sets the noise of the gradients by eq. 3.3, for both algorithms.
        small_lr: eta_2.
        anneal_below: the training loss under which the learning rate falls from eta_1 to eta_2 (L-S: eps_1 + q log 2).
            Infinity: eta_2 from the start (S). 0: never.
        activation_noise: standard deviation, in units of tau_0, of noise that is drawn anew in every step and added to the
            weights where they decide activations, until the training loss is below `quiet_below` (ours: the mitigation of
            Sec. 6 and App. F.1 in this setting, as far as the paper's main text tells it).
        quiet_below: see there; 0: the noise stays.
        frozen: the initial weights decide activations all the time, whatever the noise does: a linear model with a convex
            loss (ours: the control of Sec. 1).
    """

    r: Positive
    weight_decay: Nonnegative
    large_lr: Positive
    small_lr: Positive
    anneal_below: Annotated[float, Real()]
    activation_noise: Nonnegative = 0.0
    quiet_below: Nonnegative = 0.0
    frozen: bool = False

    def __post_init__(self) -> None:
        if not self.small_lr <= self.large_lr:
            raise LrscopeError(f"small_lr: {self.small_lr:g} is above large_lr {self.large_lr:g}: swap them")
        if not self.large_lr * self.weight_decay < 1:
            raise LrscopeError(
                f"weight_decay: {self.weight_decay:g} times large_lr {self.large_lr:g} is not below 1: choose smaller ones"
            )
        if not self.anneal_below >= 0:
            raise LrscopeError(f"anneal_below: {self.anneal_below:g} is no loss: use 0, a loss, or infinity")
        if self.frozen and self.activation_noise > 0:
            raise LrscopeError(
                f"activation_noise: {self.activation_noise:g} would decide nothing where activations are frozen: use 0"
            )

    @property
    def gradient_noise(self) -> float:
        """tau_xi in units of tau_0, by eq. 3.3."""
        keep = 1 - self.large_lr * self.weight_decay
        return math.sqrt(1 - keep**2) / self.large_lr


@checked
def large_then_small(
    *, eps: Positive, q: Nonnegative, r: Positive, weight_decay: Nonnegative, large_lr: Positive, small_lr: Positive
) -> Run:
    """Algorithm 1 (L-S): annealed at training loss eps + q log 2, where `q` is the share of examples with Q alone."""
    return Run(
        r=r,
        weight_decay=weight_decay,
        large_lr=large_lr,
        small_lr=small_lr,
        anneal_below=eps + q * math.log(2),
    )


@checked
def small(*, r: Positive, weight_decay: Nonnegative, large_lr: Positive, small_lr: Positive) -> Run:
    """Algorithm 2 (S): the small learning rate from the start."""
    return Run(r=r, weight_decay=weight_decay, large_lr=large_lr, small_lr=small_lr, anneal_below=math.inf)


def over_runs(runs: Sequence[Run], name: str) -> Tensor:
    """A field of all runs: float64 [R]."""
    return torch.tensor([float(getattr(run, name)) for run in runs], dtype=torch.float64)


def decay_rate(lr: Tensor, weight_decay: Tensor) -> Tensor:
    """Logarithm of what is left of a weight after a time T, over T: log(1 - lr lambda) / lr, about -lambda."""
    return torch.log1p(-lr * weight_decay) / lr


def settled_variance(lr: Tensor, large_lr: Tensor, weight_decay: Tensor) -> Tensor:
    """Variance of the noise part in units of tau_0^2 where a learning rate has been kept long; 1 for the large one (eq. 3.3).

    With v = (1 - lr lambda)^2 v + lr^2 tau_xi^2 and tau_xi of eq. 3.3 it is lr / eta_1 times (2 - eta_1 lambda) /
    (2 - lr lambda).
    """
    return lr / large_lr * (2 - large_lr * weight_decay) / (2 - lr * weight_decay)


def variance_after(
    elapsed: Tensor | float, start: Tensor, lr: Tensor, large_lr: Tensor, weight_decay: Tensor
) -> Tensor:
    """Variance of the noise part, in units of tau_0^2, a time `elapsed` after it was `start`. Exact after whole steps."""
    kept = torch.exp(2 * elapsed * decay_rate(lr, weight_decay))
    return kept * start + (1 - kept) * settled_variance(lr, large_lr, weight_decay)
