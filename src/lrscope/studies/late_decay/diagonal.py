"""Another overparameterised model: the diagonal linear network y = <u * u - v * v, x>, with a teacher of few entries.

Its manifold of interpolators is that of late_decay's model, in other coordinates. There label noise lowers the sum of u^2 and v^2, which
favours few entries (HaoChen and others 2021, https://arxiv.org/abs/2006.08680), not a small norm.

S data sets, R runs on each, N examples, B examples in a batch, d dimensions. Points are S x R rows of u, then v.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrscope.checked import Count, checked
from lrscope.errors import LrscopeError
from lrscope.studies.late_decay.norm_power import Batches, Nonnegative
from lrscope.studies.late_decay.problems import Problems


@checked
def sparse_teachers(problems: Problems, entries: Count) -> Problems:
    """The same inputs with the first entries of each teacher alone, at its length.

    Raises:
        LrscopeError: more entries than dimensions.
    """
    size = problems.x.shape[-1]
    if entries > size:
        raise LrscopeError(f"entries: {entries} of a teacher in {size} dimensions: use {size} or fewer")
    kept = torch.where(torch.arange(size) < entries, problems.teacher, 0.0)
    teacher = kept * (problems.teacher.norm(dim=1) / kept.norm(dim=1))[:, None]
    return Problems(problems.x, (problems.x @ teacher[..., None])[..., 0], teacher, problems.seeds)


class Diagonal:
    """Half the mean squared error of y = <u * u - v * v, x>, over batches that are drawn anew in each step, as in `NormPower`.

    Args:
        problems: S data sets.
        count: runs on each (R).
        batch: examples in a batch (B), drawn with replacement; None: all.
        label_noise: standard deviation of Gaussian noise that is added to the labels anew in each step.
    """

    @checked
    def __init__(
        self, problems: Problems, count: Count, *, batch: Count | None = None, label_noise: Nonnegative = 0.0
    ) -> None:
        self.problems, self.count, self.noise_std = problems, count, label_noise
        self.sets, _, self.dimension = problems.x.shape
        self.size = 2 * self.dimension
        self._drawn = Batches(problems, batch, label_noise > 0)

    def start(self, height: float) -> Tensor:
        """All of u and v at one value, so that the predictor is 0 [S R, 2 d]."""
        return torch.full((self.sets * self.count, self.size), height, dtype=self.problems.x.dtype)

    def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Gradient [S R, 2 d] and loss [S R] on the batch of a step, whose labels have its noise."""
        x, labels, noise = self._drawn.at(step)
        targets = labels if noise is None else labels + self.noise_std * noise
        error = self.predictors(points) @ x.mT - targets[:, None]  # [S, R, B]
        by_alpha = error @ x / x.shape[1]
        signs = torch.stack([by_alpha, -by_alpha], 2)  # [S, R, 2, d]
        gradient = 2 * signs * points.view(signs.shape)
        return gradient.view(points.shape), 0.5 * error.square().mean(-1).view(-1)

    def predictors(self, points: Tensor) -> Tensor:
        """alpha [S, R, d] of points [S R, 2 d]."""
        u, v = points.view(self.sets, self.count, 2, self.dimension).unbind(2)
        return u.square() - v.square()

    def loss(self, points: Tensor) -> Tensor:
        """Half the mean squared error [S R] over all training examples, without label noise."""
        error = self.predictors(points) @ self.problems.x.mT - self.problems.labels[:, None]
        return 0.5 * error.square().mean(-1).view(-1)

    def test_loss(self, points: Tensor) -> Tensor:
        """Half the expected squared error [S R] on new examples x ~ N(0, I): half the squared distance from the teacher."""
        return 0.5 * (self.predictors(points) - self.problems.teacher[:, None]).square().sum(-1).view(-1)
