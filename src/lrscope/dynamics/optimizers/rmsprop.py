"""RMSprop. R runs, P parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from lrscope.dynamics.optimizers.protocol import State


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    """RMSprop (Tieleman & Hinton 2012, lecture 6.5) as `torch.optim.RMSprop`, not centered.

    Weight decay is added to the gradient; momentum is a heavy ball of the divided gradients.
    """

    rmsprop_alpha: float = 0.99  # torch.optim.RMSprop; the lecture has 0.9
    epsilon: float = 1e-8  # torch.optim.RMSprop
    momentum: float = 0.0
    weight_decay: float = 0.0

    radius_power: ClassVar[int] = 1

    def init(self, weights_RP: Tensor) -> State:
        """The average of squared gradients [R, P] and, with momentum, a velocity [R, P]."""
        names = ("second_moment", "velocity") if self.momentum else ("second_moment",)
        return {name: weights_RP.new_zeros(weights_RP.shape) for name in names}

    def update(self, gradient_RP: Tensor, state: State, weights_RP: Tensor, lr_R: Tensor) -> tuple[Tensor, State]:
        """One step. The average begins at 0 without a correction, so the first steps have lengths of lr / sqrt(1 - alpha)."""
        if self.weight_decay:
            gradient_RP = gradient_RP + self.weight_decay * weights_RP
        alpha = self.rmsprop_alpha
        second_RP = alpha * state["second_moment"] + (1 - alpha) * gradient_RP.square()
        direction_RP = gradient_RP / (second_RP.sqrt() + self.epsilon)
        after = {"second_moment": second_RP}
        if self.momentum:
            direction_RP = self.momentum * state["velocity"] + direction_RP
            after["velocity"] = direction_RP
        return weights_RP - lr_R[:, None] * direction_RP, after
