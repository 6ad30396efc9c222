"""One optimizer step for many runs at once. R runs, P parameters, G groups.

`segments` lists the flat ranges of the groups: for each group a tuple of (start, stop) over P.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
