"""The toy function of three_regimes (eq. 6, 7) under the library's step on the sphere.

F(x, y) = sum_i alpha_i x_i^2 / (x_i^2 + y_i^2); weights are (x_1, y_1, ..., x_n, y_n) on the unit sphere, so lr = ELR.
R runs (an ELR and a starting point each), n pairs, T recorded steps, S starting points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from lrscope.dynamics.descend import PointRecord, descend
from lrscope.dynamics.layout import Segments, group_squares
from lrscope.studies.types import StudyResults
from lrscope.tasks.streams import generator

ALPHA = (1.0, 2.0, 4.0)  # three_regimes, Sec. 3.2
THRESHOLD = 1 / sum(ALPHA)  # eq. 8
PAPER_ELRS = (0.1, 0.2, 0.5)  # Fig. 2: one in each regime


@dataclass(frozen=True)
class Recorded:
    """The recorded steps: subfunctions [T, ELR, S, n] and individual ELRs [T, ELR, S, n]."""

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


@dataclass(frozen=True)
class Pairs:
    """Eq. 6 as an objective over (x_1, y_1, ..., x_n, y_n); `groups` are the pairs."""

    alpha: Tensor

    @property
    def size(self) -> int:
        """Two weights for each pair."""
        return 2 * len(self.alpha)

    @property
    def groups(self) -> Segments:
        """The flat range of each pair."""
        return tuple(((2 * i, 2 * i + 2),) for i in range(len(self.alpha)))

    def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Gradient [R, 2n] and value [R]."""
        return gradient(points, self.alpha), values(points, self.alpha).sum(1)


def optimise(
    alpha: Sequence[float],
    elrs: Sequence[float],
    steps: int,
    *,
    keep: int,
    starts: int = 4,
    key: str = "toy",
    seed: int = 0,
) -> Recorded:
    """Projected gradient descent (eq. 2) from the same few random points of the sphere, those of `seed`, for every ELR; the
    last `keep` steps are recorded."""
    pairs, n = Pairs(torch.tensor(alpha, dtype=torch.float64)), len(alpha)
    start = torch.randn(
        starts, 2 * n, generator=generator(key, "start", n, *([seed] if seed else [])), dtype=torch.float64
    )
    lr = torch.tensor(elrs, dtype=torch.float64).repeat_interleave(starts)
    last = range(steps - keep, steps)
    found = descend(
        pairs,
        (start / start.norm(dim=1, keepdim=True)).repeat(len(elrs), 1),
        lr,
        steps,
        radius=1.0,
        groups=pairs.groups,
        record={
            "values": PointRecord(lambda weights: values(weights, pairs.alpha), last),
            "squares": PointRecord(lambda weights: group_squares(weights, pairs.groups), last),
        },
    ).recorded
    shape = (keep, len(elrs), starts, n)
    return Recorded(found["values"].view(shape), (lr[:, None] / found["squares"]).view(shape))


def equilibrium(elr: float, alpha: Sequence[float] = ALPHA) -> Tensor:
    """The groups' ELRs in equilibrium [n], eq. 9."""
    return elr * sum(alpha) / torch.tensor(alpha, dtype=torch.float64)


def toy_pair(results: StudyResults) -> xr.Dataset:
    """One pair over multiples of 1/alpha: final value over alpha, and the rate of |x / y| per step."""
    multiple, alpha = np.array([0.05, 0.3, 0.8, 0.95, 1.02, 1.1, 1.5, 2.0, 5.0, 10.0]), 2.0
    drawn: dict[str, Any] = {"starts": 16, "key": "three_regimes", "seed": results.first_seed}
    last = optimise((alpha,), tuple(multiple / alpha), 4000, keep=4, **drawn)
    early = optimise((alpha,), tuple(multiple / alpha), 120, keep=21, **drawn)
    ratio = (early.values / (alpha - early.values)).sqrt()[..., 0]  # |x / y|, eq. 17
    rate = (ratio[-1] / ratio[0]) ** (1 / 20)
    value = last.values[..., 0].mean(0) / alpha
    return xr.Dataset(
        {"value": (("multiple", "start"), value.numpy()), "rate": (("multiple", "start"), rate.numpy())},
        {"multiple": multiple},
    )


def toy_three(results: StudyResults) -> xr.Dataset:
    """The paper's three pairs: settled values and mean group ELRs, and the first steps at the paper's three ELRs."""
    elrs = (0.1, 0.97 * THRESHOLD, 1.03 * THRESHOLD, 0.2, 0.5)
    last = optimise(ALPHA, elrs, 12_000, keep=6000, starts=16, key="three_regimes", seed=results.first_seed)
    drawn = optimise(ALPHA, PAPER_ELRS, 500, keep=500, starts=1, key="three_regimes", seed=results.first_seed)
    mean, spread = last.elr_i.mean(0), last.elr_i.std(0) / last.elr_i.mean(0)
    return xr.Dataset(
        {
            "value": (("elr", "start"), last.values.sum(-1).mean(0).numpy()),
            "final": (("elr", "start"), last.values[-1].sum(-1).numpy()),
            "mean_group_elr": (("elr", "start", "pair"), mean.numpy()),
            "spread": (("elr", "start", "pair"), spread.numpy()),
            "equilibrium": (("elr", "pair"), np.stack([equilibrium(e).numpy() for e in elrs])),
            "curve": (("drawn", "step"), drawn.values.sum(-1)[:, :, 0].T.numpy()),
            "group_elr": (("drawn", "step", "pair"), drawn.elr_i[:, :, 0].transpose(0, 1).numpy()),
            "drawn_equilibrium": (("drawn", "pair"), np.stack([equilibrium(e).numpy() for e in PAPER_ELRS])),
        },
        {"elr": list(elrs), "drawn": list(PAPER_ELRS), "step": np.arange(500)},
        {"threshold": THRESHOLD},
    )
