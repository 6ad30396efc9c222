"""Stochastic gradient descent. R runs, P parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from lrscope.dynamics.optimizers.protocol import State


@dataclass(frozen=True, kw_only=True)
class SGD:
    """SGD as `torch.optim.SGD` with dampening 0: weight decay is added to the gradient, momentum is a heavy ball or, with
    `nesterov`, looks one step ahead (Sutskever et al. 2013)."""

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    radius_power: ClassVar[int] = 2

    def init(self, weights_RP: Tensor) -> State:
        """A velocity [R, P], with momentum only."""
        return {"velocity": weights_RP.new_zeros(weights_RP.shape)} if self.momentum else {}

    def update(self, gradient_RP: Tensor, state: State, weights_RP: Tensor, lr_R: Tensor) -> tuple[Tensor, State]:
        """One step."""
        direction_RP = gradient_RP + self.weight_decay * weights_RP if self.weight_decay else gradient_RP
        if self.momentum:
            velocity_RP = self.momentum * state["velocity"] + direction_RP
            state = {"velocity": velocity_RP}
            direction_RP = direction_RP + self.momentum * velocity_RP if self.nesterov else velocity_RP
        return weights_RP - lr_R[:, None] * direction_RP, state
