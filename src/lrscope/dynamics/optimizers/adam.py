"""Adam and AdamW. R runs, P parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from lrscope.dynamics.optimizers.protocol import State


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma & Ba 2015, Alg. 1) as `torch.optim.Adam`: weight decay is added to the gradient."""

    betas: tuple[float, float] = (0.9, 0.999)  # Kingma & Ba 2015, Alg. 1
    epsilon: float = 1e-8  # the same
    weight_decay: float = 0.0

    radius_power: ClassVar[int] = 1

    def init(self, weights_RP: Tensor) -> State:
        """Both moments [R, P] and the number of steps so far [R], which float32 counts exactly up to 2^24."""
        return {
            "first_moment": weights_RP.new_zeros(weights_RP.shape),
            "second_moment": weights_RP.new_zeros(weights_RP.shape),
            "steps": weights_RP.new_zeros(len(weights_RP)),
        }

    def update(self, gradient_RP: Tensor, state: State, weights_RP: Tensor, lr_R: Tensor) -> tuple[Tensor, State]:
        """One step."""
        if self.weight_decay:
            gradient_RP = gradient_RP + self.weight_decay * weights_RP
        return self._step(gradient_RP, state, weights_RP, lr_R)

    def _step(self, gradient_RP: Tensor, state: State, weights_RP: Tensor, lr_R: Tensor) -> tuple[Tensor, State]:
        first_beta, second_beta = self.betas
        first_RP = first_beta * state["first_moment"] + (1 - first_beta) * gradient_RP
        second_RP = second_beta * state["second_moment"] + (1 - second_beta) * gradient_RP.square()
        steps_R = state["steps"] + 1
        first_weight_R1 = _seen(first_beta, steps_R)[:, None]
        second_weight_R1 = _seen(second_beta, steps_R)[:, None]
        scale_RP = (second_RP / second_weight_R1).sqrt() + self.epsilon
        moved_RP = weights_RP - lr_R[:, None] * (first_RP / first_weight_R1) / scale_RP
        return moved_RP, {"first_moment": first_RP, "second_moment": second_RP, "steps": steps_R}


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """AdamW (Loshchilov & Hutter 2019, Alg. 2) as `torch.optim.AdamW`: weights shrink by lr x weight_decay before the step."""

    def update(self, gradient_RP: Tensor, state: State, weights_RP: Tensor, lr_R: Tensor) -> tuple[Tensor, State]:
        """One step."""
        if self.weight_decay:
            weights_RP = weights_RP * (1 - lr_R[:, None] * self.weight_decay)
        return self._step(gradient_RP, state, weights_RP, lr_R)


def _seen(beta: float, steps_R: Tensor) -> Tensor:
    """1 - beta^t, the weight that an average has collected after t steps; 1 for beta 0."""
    return -(steps_R * (math.log(beta) if beta else -math.inf)).expm1()
