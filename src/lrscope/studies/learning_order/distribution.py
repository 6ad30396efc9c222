"""The data of learning_order, Sec. 2: examples with a pattern P (high-dimensional, linearly separable), a pattern Q (three
directions, not linearly separable), or both (eq. 2.1 to 2.5).

Coordinates are chosen so that w* is the first unit vector of the space of x1, z the first one of the space of x2, and
zeta r times the second. Gaussian initialisation and noise look the same in all directions, so nothing depends on this choice,
and x2 has two coordinates. Its scale, its side and r are kept apart: x2 = scale (z + side zeta), so runs with different r can
share examples.

S data sets, N examples, d dimensions of x1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from lrscope.checked import Count, Seed, checked
from lrscope.errors import LrscopeError
from lrscope.readers import Number
from lrscope.tasks.streams import generator

P_ONLY, Q_ONLY, BOTH = 0, 1, 2
SIDES = (-1, 0, 1)  # of z - zeta, z, z + zeta
Fraction = Annotated[float, Number(0, 1)]


@dataclass(frozen=True)
class Examples:
    """S data sets of N examples."""

    first: Tensor  # x1 [S, N, d]; 0 where there is no P
    scale: Tensor  # alpha [S, N]; 0 where there is no Q
    side: Tensor  # b [S, N]: -1, 0 or 1; of no meaning where there is no Q
    labels: Tensor  # y [S, N]: -1 or 1
    kind: Tensor  # [S, N]: P_ONLY, Q_ONLY or BOTH
    seeds: tuple[int, ...]  # of the data sets

    @property
    def has_first(self) -> Tensor:
        """M_1 of Sec. 2: the examples with a P component [S, N]."""
        return self.kind != Q_ONLY

    @property
    def has_second(self) -> Tensor:
        """M_2: the examples with a Q component [S, N]."""
        return self.kind != P_ONLY

    @property
    def on_sides(self) -> Tensor:
        """[S, N, 3]: the scale in the column of the example's side, 0 elsewhere. Times g(z + b zeta) [3] this is g(x2)."""
        sides = torch.tensor(SIDES, device=self.side.device)
        return self.scale[..., None] * (self.side[..., None] == sides)

    def by_kind(self) -> Examples:
        """The same examples, those with P alone first, then those with both: so they lie side by side by either pattern."""
        place = torch.tensor([0, 2, 1])[self.kind]  # of P_ONLY, Q_ONLY and BOTH
        if bool((place.diff(dim=1) >= 0).all()):
            return self
        order = place.argsort(dim=1, stable=True)

        def sorted_(values: Tensor) -> Tensor:
            return torch.stack([of_set[at] for of_set, at in zip(values, order, strict=True)])

        return Examples(
            first=sorted_(self.first),
            scale=sorted_(self.scale),
            side=sorted_(self.side),
            labels=sorted_(self.labels),
            kind=sorted_(self.kind),
            seeds=self.seeds,
        )

    def second(self, r: float) -> Tensor:
        """x2 [S, N, 2] for |zeta| = r (eq. 2.5)."""
        return torch.stack([self.scale, self.scale * self.side * r], -1)


@checked
def sample(
    examples: Count,
    dimension: Count,
    *,
    p: Fraction,
    q: Fraction,
    seeds: Sequence[Seed],
    purpose: Literal["training", "test"] = "training",
    dtype: torch.dtype = torch.float32,
) -> Examples:
    """Draw a data set of `examples` (N) in `dimension` (d) for each seed, i.i.d. by eq. 2.1 to 2.5, with margin 1/sqrt(d).

    Args:
        p, q: probabilities of an example with P alone and with Q alone (p_0, q_0).
        seeds: each names a data set, which depends on nothing else but sizes, p, q and purpose.
        purpose: training and test examples of a seed come from different streams.
        dtype: of x1 and the scales; torch.float64 draws other numbers than torch.float32.

    Raises:
        LrscopeError: p + q above 1; no seeds.
    """
    if p + q > 1:
        raise LrscopeError(f"p: {p:g} and q: {q:g} add up to more than 1: they are shares of the examples")
    if not seeds:
        raise LrscopeError("seeds: there are none: pass one for each data set")
    drawn = [_drawn(examples, dimension, p, q, seed, purpose, dtype) for seed in seeds]
    first, scale, side, labels, kind = (torch.stack(tensors) for tensors in zip(*drawn, strict=True))
    return Examples(first, scale, side, labels, kind, tuple(seeds))


def _drawn(n: int, d: int, p: float, q: float, seed: int, purpose: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """One data set: x1, scale, side, labels and kind."""
    rng = generator("learning order", purpose, "examples", n, d, seed)
    labels = 2 * torch.randint(2, (n,), generator=rng) - 1
    place = torch.rand(n, generator=rng, dtype=torch.float64)
    kind = torch.where(place < p, P_ONLY, torch.where(place < p + q, Q_ONLY, BOTH))
    scale = torch.rand(n, generator=rng, dtype=dtype) * (kind != P_ONLY)
    side = torch.where(labels > 0, 0, 2 * torch.randint(2, (n,), generator=rng) - 1)
    first = torch.randn(n, d, generator=rng, dtype=dtype)
    first[:, 0] = labels * (1 + first[:, 0].abs())  # a half Gaussian, moved by the margin 1/sqrt(d)
    first *= (kind != Q_ONLY)[:, None] / d**0.5
    return first, scale, side, labels.to(dtype), kind
