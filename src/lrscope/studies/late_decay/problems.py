"""The data of late_decay's theory: linear regression with fewer examples than dimensions, so that many predictors fit.

A linear predictor is a vector alpha; it fits where X alpha = y. These interpolators are an affine space, the manifold of the
training loss. Its point next to 0 is the minimum-norm interpolator; the test loss has one minimum, the teacher.

S data sets, N examples, d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lrscope.checked import Count, Positive, Seed, checked
from lrscope.errors import LrscopeError
from lrscope.tasks.streams import generator


@dataclass(frozen=True)
class Problems:
    """S data sets of N examples in d > N dimensions."""

    x: Tensor  # [S, N, d]
    labels: Tensor  # [S, N], <teacher, x>
    teacher: Tensor  # [S, d]
    seeds: tuple[int, ...]  # of the data sets

    @cached_property
    def rows(self) -> Tensor:
        """An orthonormal basis [S, N, d] of what the examples span."""
        basis: Tensor = torch.linalg.qr(self.x.mT).Q.mT.contiguous()
        return basis

    @cached_property
    def minimum_norm(self) -> Tensor:
        """The interpolators of least norm [S, d]."""
        dual: Tensor = torch.linalg.solve(self.x @ self.x.mT, self.labels[..., None])
        return (self.x.mT @ dual)[..., 0]

    @cached_property
    def mean_square(self) -> Tensor:
        """Mean of |x|^2 over the examples [S]: the trace of X^T X / N."""
        return self.x.square().sum(-1).mean(-1)

    @cached_property
    def label_square(self) -> Tensor:
        """Mean of y^2 over the examples [S]."""
        return self.labels.square().mean(-1)

    def only(self, number: int) -> Problems:
        """One of the data sets, by its number."""
        one = slice(number, number + 1)
        return Problems(self.x[one], self.labels[one], self.teacher[one], self.seeds[one])

    def parts(self, predictors: Tensor) -> tuple[Tensor, Tensor]:
        """Of linear predictors [S, R, d]: what lies between each and the next interpolator, and from there to the minimum-norm
        one, both [S, R, d]. They are orthogonal, and add up to the difference from the minimum-norm interpolator."""
        spanned = (predictors @ self.rows.mT) @ self.rows
        return spanned - self.minimum_norm[:, None], predictors - spanned


@checked
def sample(
    examples: Count,
    dimension: Count,
    *,
    seeds: Sequence[Seed],
    teacher_norm: Positive = 1.0,
    dtype: torch.dtype = torch.float64,
) -> Problems:
    """Draw a data set of `examples` (N) in `dimension` (d) for each seed: x ~ N(0, I), labels by a teacher of random direction.

    Args:
        seeds: each names a data set, which depends on nothing else but the sizes.
        teacher_norm: of the teacher. Ours is 1.
        dtype: of all tensors; the numbers are drawn in float64.

    Raises:
        LrscopeError: as many examples as dimensions, or more; no seeds.
    """
    if examples >= dimension:
        raise LrscopeError(
            f"examples: {examples} in {dimension} dimensions leave at most one interpolator: use fewer than {dimension}"
        )
    if not seeds:
        raise LrscopeError("seeds: there are none: pass one for each data set")
    drawn = [_drawn(examples, dimension, seed) for seed in seeds]
    x, directions = (torch.stack(tensors) for tensors in zip(*drawn, strict=True))
    teacher = teacher_norm * directions / directions.norm(dim=1, keepdim=True)
    labels = (x @ teacher[..., None])[..., 0]
    return Problems(x.to(dtype), labels.to(dtype), teacher.to(dtype), tuple(seeds))


def _drawn(examples: int, dimension: int, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs [N, d] and the teacher's direction [d], not of length 1."""
    rng = generator("late decay", "examples", examples, dimension, seed)
    x = torch.randn(examples, dimension, generator=rng, dtype=torch.float64)
    return x, torch.randn(dimension, generator=rng, dtype=torch.float64)


def directions(problems: Problems) -> Tensor:
    """A random unit vector [S, d] for each data set, where training starts: the same for all gammas and learning rates."""
    size = problems.x.shape[-1]
    streams = (generator("late decay", "start", size, seed) for seed in problems.seeds)
    drawn = torch.stack([torch.randn(size, generator=stream, dtype=torch.float64) for stream in streams])
    lengths: Tensor = torch.linalg.vector_norm(drawn, dim=1, keepdim=True)
    return (drawn / lengths).to(problems.x)
