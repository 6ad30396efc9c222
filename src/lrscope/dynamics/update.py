"""One optimizer step for many runs at once. R runs, P parameters, G groups.

`segments` lists the flat ranges of the groups: for each group a tuple of (start, stop) over P.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BETAS = (0.9, 0.999)  # Kingma & Ba 2015, Alg. 1
EPSILON = 1e-8  # the same
Segments = tuple[tuple[tuple[int, int], ...], ...]


def group_squares(flat_RP: Tensor, segments: Segments) -> Tensor:
    """Squared norms of the groups: [R, P] to [R, G]."""
    return torch.stack(
        [
            torch.stack([flat_RP[:, a:b].square().sum(1) for a, b in group], 1).sum(1)
            if len(group) > 1
            else flat_RP[:, group[0][0] : group[0][1]].square().sum(1)
            for group in segments
        ],
        1,
    )


def sphere_step(
    weights_RP: Tensor, gradient_RP: Tensor, lr_R: Tensor, rho_R: Tensor, segments: Segments
) -> tuple[Tensor, Tensor]:
    """Projected gradient step (three_regimes, eq. 2): step with lr, then rescale all weights together to norm rho.

    Returns the new weights [R, P] and their groups' squared norms [R, G].
    """
    moved = weights_RP - lr_R[:, None] * gradient_RP
    squares = group_squares(moved, segments)
    scale_R = rho_R / squares.sum(1).sqrt()
    return moved * scale_R[:, None], squares * scale_R[:, None].square()


def whole_step(
    weights_RP: Tensor,
    velocity_RP: Tensor,
    gradient_RP: Tensor,
    lr_R: Tensor,
    momentum: float,
    weight_decay: float,
    segments: Segments,
) -> tuple[Tensor, Tensor, Tensor]:
    """SGD with momentum and weight decay as `torch.optim.SGD` does it (dampening 0, no Nesterov).

    Returns weights [R, P], velocity [R, P] (untouched for momentum 0) and the groups' squared norms [R, G].
    """
    direction = gradient_RP + weight_decay * weights_RP if weight_decay else gradient_RP
    if momentum:
        velocity_RP = momentum * velocity_RP + direction
        direction = velocity_RP
    weights_RP = weights_RP - lr_R[:, None] * direction
    return weights_RP, velocity_RP, group_squares(weights_RP, segments)


def adam_step(
    weights_RP: Tensor,
    moments_RM: Tensor,
    gradient_RP: Tensor,
    lr_R: Tensor,
    weight_decay: float,
    segments: Segments,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adam (Kingma & Ba 2015, Alg. 1), weight decay added to the gradient as `torch.optim.Adam` does it.

    `moments_RM` [R, M = 2 P + 1] holds a run's first moments, its second moments and its number of steps so far, which
    float32 counts exactly up to 2^24; zeros before the first step. A run's state is one row, so that it is checkpointed
    and divided among chunks as a velocity is.

    Returns weights [R, P], moments [R, M] and the groups' squared norms [R, G].
    """
    size = weights_RP.shape[1]
    gradient_RP = gradient_RP + weight_decay * weights_RP if weight_decay else gradient_RP
    first_RP = BETAS[0] * moments_RM[:, :size] + (1 - BETAS[0]) * gradient_RP
    second_RP = BETAS[1] * moments_RM[:, size:-1] + (1 - BETAS[1]) * gradient_RP.square()
    steps_R1 = moments_RM[:, -1:] + 1
    first_share, second_share = (-torch.expm1(steps_R1 * math.log(beta)) for beta in BETAS)  # 1 - beta^t
    scale_RP = (second_RP / second_share).sqrt() + EPSILON
    weights_RP = weights_RP - lr_R[:, None] * (first_RP / first_share) / scale_RP
    return weights_RP, torch.cat([first_RP, second_RP, steps_R1], 1), group_squares(weights_RP, segments)


def optimizer_state(weights_RP: Tensor, optimizer: str, momentum: float) -> Tensor:
    """What the optimizer remembers before the first step: of Adam [R, 2 P + 1], of momentum [R, P], else a lone zero."""
    if optimizer == "adam":
        return weights_RP.new_zeros(len(weights_RP), 2 * weights_RP.shape[1] + 1)
    return torch.zeros_like(weights_RP) if momentum else weights_RP.new_zeros(())
