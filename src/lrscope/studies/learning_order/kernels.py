"""What two gradients have in common where the activations are decided by Gaussian weights.

Weights at two times are Gaussian with correlation rho. A neuron is then active on x at the one time and on x' at the other
with probability (pi - arccos(rho cos)) / (2 pi), where cos is the cosine between x and x'. K_rho(x, x') is that times <x, x'>.

R runs, S data sets, H past times; the three directions of Q come in the order z - zeta, z, z + zeta.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lrscope.studies.learning_order.distribution import SIDES


def both_active(cosine: Tensor) -> Tensor:
    """P(a > 0, b > 0) for Gaussian a and b with mean 0 and this correlation: 1/2 at 1, 1/4 at 0, 0 at -1."""
    return 0.25 + own_excess(cosine)


def own_excess(rho: Tensor) -> Tensor:
    """What an example's kernel with itself has beyond the 1/4 of orthogonal inputs, over |x|^2: arcsin(rho) / (2 pi)."""
    return torch.asin(rho.clamp(-1, 1)) / (2 * math.pi)


def directions(r: Tensor) -> Tensor:
    """z - zeta, z and z + zeta [R, 3, 2] for |zeta| = r [R]."""
    side = torch.tensor(SIDES, dtype=r.dtype) * r[:, None]
    return torch.stack([torch.ones_like(side), side], -1)


class Three(NamedTuple):
    """The three directions of Q, for each run."""

    gram: Tensor  # [R, 3, 3]
    cosine: Tensor  # [R, 3, 3]

    @classmethod
    def of(cls, r: Tensor) -> Three:
        """For |zeta| = r [R]."""
        points = directions(r)
        gram = points @ points.transpose(1, 2)
        norm = points.norm(dim=2)
        return cls(gram, gram / (norm[:, :, None] * norm[:, None, :]))

    def kernel(self, rho: Tensor) -> Tensor:
        """K_rho between the directions [..., R, 3, 3] for rho [..., R]."""
        return self.gram * both_active(rho[..., None, None] * self.cosine)


def curvature(g: Tensor) -> Tensor:
    """g(z + zeta) + g(z - zeta) - 2 g(z) [...] of the outputs [..., 3] (Lemma 4.2)."""
    return g[..., 0] + g[..., 2] - 2 * g[..., 1]
