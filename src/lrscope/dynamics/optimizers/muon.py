"""Muon: momentum whose matrices are made orthogonal. R runs, P parameters, [M, N] one matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lrscope.dynamics.layout import Slots
from lrscope.dynamics.optimizers.adam import AdamW

if TYPE_CHECKING:
    from torch import Tensor

    from lrscope.dynamics.optimizers.protocol import State

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024, "Muon", quintic Newton-Schulz iteration
ITERATIONS = 5  # the same
LEAST_NORM = 1e-7  # the same
MATCHED = (
    0.2  # Liu et al. 2025, Sec. 2.2: an update's root mean square as AdamW's, so that both share one learning rate
)


@dataclass(frozen=True, kw_only=True)
class Muon:
    """Muon (Jordan et al. 2024) for the weights of two and more dimensions, convolutions as matrices [out, in x kernel];
    AdamW with the same learning rate for biases and gains, which is why updates are scaled to AdamW's (`torch.optim.Muon` with
    `match_rms_adamw`; Liu et al. 2025). Weight decay is decoupled.

    The iteration runs in the weights' own precision; `torch.optim.Muon` rounds it to bfloat16.
    """

    slots: Slots
    muon_momentum: float = 0.95  # Jordan et al. 2024
    betas: tuple[float, float] = AdamW.betas
    epsilon: float = AdamW.epsilon
    weight_decay: float = 0.0

    radius_power: ClassVar[int] = 1

    @property
    def _rest(self) -> AdamW:
        return AdamW(betas=self.betas, epsilon=self.epsilon, weight_decay=self.weight_decay)

    def init(self, weights_RP: Tensor) -> State:
        """A momentum buffer [R, P] for matrices beside the state of AdamW."""
        return {"buffer": weights_RP.new_zeros(weights_RP.shape), **self._rest.init(weights_RP)}

    def update(self, gradient_RP: Tensor, state: State, weights_RP: Tensor, lr_R: Tensor) -> tuple[Tensor, State]:
        """One step."""
        import torch

        moved_RP, others = self._rest.update(gradient_RP, state, weights_RP, lr_R)
        buffer_RP = torch.lerp(state["buffer"], gradient_RP, 1 - self.muon_momentum)
        update_RP = torch.lerp(gradient_RP, buffer_RP, self.muon_momentum)  # Nesterov's
        shrunk_RP = weights_RP * (1 - lr_R[:, None] * self.weight_decay)
        parts = []
        for slot in self.slots:
            part = slice(slot.start, slot.stop)
            if len(slot.shape) < 2:
                parts.append(moved_RP[:, part])
                continue
            matrices = update_RP[:, part].reshape(-1, slot.shape[0], math.prod(slot.shape[1:]))
            scale = MATCHED * math.sqrt(max(matrices.shape[1:]))
            step = orthogonal(matrices).reshape(len(weights_RP), -1)
            parts.append(shrunk_RP[:, part] - (lr_R[:, None] * scale) * step)
        return torch.cat(parts, 1), {"buffer": buffer_RP, **others}


def orthogonal(matrices_RMN: Tensor) -> Tensor:
    """Matrices with the singular vectors of those given and singular values near 1 (between about 0.7 and 1.2)."""
    a, b, c = COEFFICIENTS
    tall = matrices_RMN.shape[1] > matrices_RMN.shape[2]
    found = matrices_RMN.mT if tall else matrices_RMN
    norm = found.square().sum((1, 2), keepdim=True).sqrt()
    found = found / norm.clamp(min=LEAST_NORM)
    for _ in range(ITERATIONS):
        gram = found @ found.mT
        found = a * found + (b * gram + c * (gram @ gram)) @ found
    return found.mT if tall else found
