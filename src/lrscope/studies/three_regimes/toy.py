"""The toy function of three_regimes (eq. 6, 7) under the library's step on the sphere.

F(x, y) = sum_i alpha_i x_i^2 / (x_i^2 + y_i^2); weights are (x_1, y_1, ..., x_n, y_n) on the unit sphere, so lr = ELR.
R runs (an ELR and a starting point each), n pairs, T kept steps, S starting points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrscope.dynamics.update import group_squares, sphere_step
from lrscope.tasks.streams import generator

ALPHA = (1.0, 2.0, 4.0)  # three_regimes, Sec. 3.2
THRESHOLD = 1 / sum(ALPHA)  # eq. 8
PAPER_ELRS = (0.1, 0.2, 0.5)  # Fig. 2: one in each regime


@dataclass(frozen=True)
class Kept:
    """The kept steps: subfunctions [T, ELR, S, n] and individual ELRs [T, ELR, S, n]."""

    values: Tensor
    elr_i: Tensor


def values(weights: Tensor, alpha: Tensor) -> Tensor:
    """alpha_i f(x_i, y_i): [R, n]."""
    x, y = weights[:, 0::2], weights[:, 1::2]
    return alpha * x.square() / (x.square() + y.square())


def gradient(weights: Tensor, alpha: Tensor) -> Tensor:
    """Eq. 18 for every pair: [R, 2n]."""
    x, y = weights[:, 0::2], weights[:, 1::2]
    shared = 2 * alpha * x * y / (x.square() + y.square()).square()
    return torch.stack([shared * y, -shared * x], 2).flatten(1)


def optimise(
    alpha: Sequence[float], elrs: Sequence[float], steps: int, *, keep: int, starts: int = 4, key: str = "toy"
) -> Kept:
    """Projected gradient descent (eq. 2) from the same few random points of the sphere for every ELR; the last `keep`
    steps are kept."""
    a, n = torch.tensor(alpha, dtype=torch.float64), len(alpha)
    start = torch.randn(starts, 2 * n, generator=generator(key, "start", n), dtype=torch.float64)
    weights = (start / start.norm(dim=1, keepdim=True)).repeat(len(elrs), 1)
    lr = torch.tensor(elrs, dtype=torch.float64).repeat_interleave(starts)
    rho, segments = torch.ones(len(weights), dtype=torch.float64), tuple(((2 * i, 2 * i + 2),) for i in range(n))
    kept, norms = [], []
    for step in range(steps):
        if step >= steps - keep:
            kept.append(values(weights, a))
            norms.append(group_squares(weights, segments))
        weights, _ = sphere_step(weights, gradient(weights, a), lr, rho, segments)
    shape = (keep, len(elrs), starts, n)
    return Kept(torch.stack(kept).view(shape), (lr[:, None] / torch.stack(norms)).view(shape))


def equilibrium(elr: float, alpha: Sequence[float] = ALPHA) -> Tensor:
    """The groups' ELRs in equilibrium [n], eq. 9."""
    return elr * sum(alpha) / torch.tensor(alpha, dtype=torch.float64)
