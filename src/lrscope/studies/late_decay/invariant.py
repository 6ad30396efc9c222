"""What gradient flow of late_decay's model conserves, and so where it ends: the interpolator that a decay leads to.

Let v be the part of w that no example sees. On every flow, of the training loss or of a batch's, `|v| |w|^(-gamma / (1 +
gamma))` stays as it is (docs/late_decay_theory.md). On the manifold it grows with the distance from the minimum-norm interpolator.

S data sets, R runs on each, d dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrscope.studies.late_decay.norm_power import NormPower

MOST_STEPS = 200  # ours: of Newton's method, which comes from one side; about ten are taken


def log_invariant(model: NormPower, points: Tensor) -> Tensor:
    """log(|v| |w|^(-gamma / (1 + gamma))) [S, R] of weights [S R, d]; minus infinity where v is 0."""
    w = points.view(model.sets, model.count, model.size)
    unseen = w - (w @ model.problems.rows.mT) @ model.problems.rows
    gamma = model.gamma[:, 0]
    lengths: list[Tensor] = [torch.linalg.vector_norm(part, dim=-1) for part in (unseen, w)]
    return lengths[0].log() - gamma / (1 + gamma) * lengths[1].log()


def destination(model: NormPower, points: Tensor) -> Tensor:
    """The distance [S, R] from the minimum-norm interpolator to the one in which gradient flow from weights [S R, d] ends."""
    return distance_of(
        log_invariant(model, points), model.gamma[:, 0], model.problems.minimum_norm.norm(dim=1)[:, None]
    )


def distance_of(invariant: Tensor, gamma: Tensor, least: Tensor) -> Tensor:
    """The distance of the interpolator with a logarithm of the invariant from the minimum-norm one, whose norm is `least`.

    With s = gamma (2 + gamma) / (1 + gamma)^2 it is the root of log(distance) - s / 2 log(least^2 + distance^2) = invariant.
    The left side is increasing and concave, so Newton's method comes from below and never turns back. Shapes are broadcast.
    """
    s = gamma * (2 + gamma) / (1 + gamma).square()
    log = invariant + s * least.log()
    for _ in range(MOST_STEPS):
        square = (2 * log).exp()
        excess = square / (least.square() + square)
        step = (invariant - log + s / 2 * (least.square() + square).log()) / (1 - s * excess)
        log = torch.where(torch.isfinite(step), log + step, log)
        if not bool((step.abs() > 1e-13 * (1 + log.abs())).any()):
            break
    return log.exp()
