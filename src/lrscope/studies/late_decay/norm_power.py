"""The nonlinear model of late_decay, y = |w|^gamma <w, x>, as an objective with its own gradient.

It is linear regression in other coordinates: the linear predictor is alpha = |w|^gamma w. gamma = 0 is the linear model; the
paper reads gamma as the depth of a network.

S data sets, R runs on each, N examples, B examples in a batch, d dimensions. Points are S x R rows; row s R + j is run j on
data set s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from lrscope.checked import Count, checked
from lrscope.errors import LrscopeError
from lrscope.readers import Number
from lrscope.studies.late_decay.problems import Problems
from lrscope.tasks.streams import generator

MOST_GAMMA = 64.0  # ours: 2^64 is as far from 1 as a norm's power needs to get
BLOCK = 1024  # ours: steps whose batches are drawn at a time
Gamma = Annotated[float, Number(0, MOST_GAMMA)]
Nonnegative = Annotated[float, Number(0, 1e30)]


def predictors(weights: Tensor, gamma: Tensor | float) -> Tensor:
    """alpha = |w|^gamma w of weights [..., d], with gamma [..., 1] or a number."""
    norm: Tensor = torch.linalg.vector_norm(weights, dim=-1, keepdim=True)
    return norm**gamma * weights


def weights_of(alpha: Tensor, gamma: Tensor | float) -> Tensor:
    """The weights w with |w|^gamma w = alpha, for predictors [..., d] and gamma [..., 1] or a number: w = |alpha|^(-gamma / (1 +
    gamma)) alpha. 0 for alpha = 0."""
    norm = alpha.norm(dim=-1, keepdim=True)
    return torch.where(norm > 0, norm ** (1 / (1 + gamma)) * (alpha / norm), torch.zeros_like(alpha))


class NormPower:
    """Half the mean squared error of y = |w|^gamma <w, x>, over batches that are drawn anew in each step.

    Args:
        problems: S data sets. Batches and label noise of a step depend on a data set's seed and the step: all runs on it see
            the same.
        gamma: of each run on a data set [R].
        batch: examples in a batch (B), drawn with replacement. None: all examples, full-batch gradient descent.
        label_noise: standard deviation of Gaussian noise that is added to the labels anew in each step, for each run [R].

    Raises:
        LrscopeError: no runs; label noise for another number of runs.
    """

    @checked
    def __init__(
        self,
        problems: Problems,
        gamma: Sequence[Gamma],
        *,
        batch: Count | None = None,
        label_noise: Sequence[Nonnegative] = (0.0,),
    ) -> None:
        if not gamma:
            raise LrscopeError("gamma: there is none: pass one for each run")
        if len(label_noise) not in (1, len(gamma)):
            raise LrscopeError(
                f"label_noise: {len(label_noise)} values for {len(gamma)} runs: pass one, or one for each run"
            )
        self.problems, self.batch = problems, batch
        self.sets, self.examples, self.size = problems.x.shape
        self.count = len(gamma)
        self.gamma = torch.tensor(gamma, dtype=problems.x.dtype)[:, None]  # [R, 1]
        self.noise_std = torch.tensor(label_noise, dtype=problems.x.dtype)[:, None]  # [R, 1] or [1, 1]
        self._drawn = Batches(problems, batch, bool((self.noise_std > 0).any()))

    def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Gradient [S R, d] and loss [S R] on the batch of a step, whose labels have its noise."""
        w = points.view(self.sets, self.count, self.size)
        x, labels, noise = self._drawn.at(step)
        targets = labels[:, None] if noise is None else labels[:, None] + self.noise_std * noise[:, None]
        square = w.square().sum(-1, keepdim=True)
        power = square ** (self.gamma / 2)
        height = w @ x.mT  # [S, R, B]
        error = power * height - targets
        pull = power * error / x.shape[1]
        radial = self.gamma * (pull * height).sum(-1, keepdim=True) / square.clamp_min(torch.finfo(w.dtype).tiny)
        gradient = radial * w
        # One example's outer products: as a product of matrices they take five times as long (ours).
        gradient = gradient.addcmul_(pull, x) if x.shape[1] == 1 else gradient.baddbmm_(pull, x)
        return gradient.view(points.shape), 0.5 * error.square().mean(-1).view(-1)

    def predictors(self, points: Tensor) -> Tensor:
        """alpha [S, R, d] of points [S R, d]."""
        return predictors(points.view(self.sets, self.count, self.size), self.gamma)

    def loss(self, points: Tensor) -> Tensor:
        """Half the mean squared error [S R] over all training examples, without label noise."""
        error = self.predictors(points) @ self.problems.x.mT - self.problems.labels[:, None]
        return 0.5 * error.square().mean(-1).view(-1)

    def test_loss(self, points: Tensor) -> Tensor:
        """Half the expected squared error [S R] on new examples x ~ N(0, I): half the squared distance from the teacher."""
        return 0.5 * (self.predictors(points) - self.problems.teacher[:, None]).square().sum(-1).view(-1)

    def sharpness(self, points: Tensor) -> Tensor:
        """The trace [S R] of the Gauss-Newton matrix, which is the Hessian where the model interpolates."""
        return self.example_sharpness(points).mean(-1)

    def example_sharpness(self, points: Tensor) -> Tensor:
        """The squared gradient norm of the model's output on each example [S R, N]: the one curvature that its own loss has."""
        w = points.view(self.sets, self.count, self.size)
        square = w.square().sum(-1, keepdim=True)
        along = (w @ self.problems.x.mT).square() / square
        inputs = self.problems.x.square().sum(-1)[:, None]
        found = square**self.gamma * (inputs + self.gamma * (2 + self.gamma) * along)
        return found.view(-1, self.examples)


class Batches:
    """The examples and the standard normal label noise of each step, by a data set's seed and the step alone."""

    def __init__(self, problems: Problems, batch: int | None, noisy: bool) -> None:
        self.problems, self.batch, self.noisy = problems, batch, noisy
        self.count = problems.x.shape[1]
        self._block = -1
        self._chosen = self._noise = torch.empty(0)
        self._first = (
            torch.arange(len(problems.seeds))[:, None] * self.count
        )  # [S, 1], each set's first among all examples

    def at(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inputs [S, B, d], labels [S, B] and noise [S, B], or None where there is none."""
        block, place = divmod(step, BLOCK)
        if block != self._block and (self.noisy or self.batch is not None):
            self._draw(block)
        noise = self._noise[place] if self.noisy else None
        if self.batch is None:
            return self.problems.x, self.problems.labels, noise
        chosen = (self._first + self._chosen[place]).flatten()
        x = self.problems.x.flatten(0, 1).index_select(0, chosen)
        labels = self.problems.labels.flatten().index_select(0, chosen)
        return x.view(len(self._first), self.batch, -1), labels.view(-1, self.batch), noise

    def _draw(self, block: int) -> None:
        shape = (BLOCK, self.count if self.batch is None else self.batch)
        chosen, noise = [], []
        for seed in self.problems.seeds:
            rng = generator("late decay", "batches", *shape, seed, block)
            chosen.append(torch.randint(self.count, shape, generator=rng))
            noise.append(torch.randn(shape, generator=rng, dtype=torch.float64) if self.noisy else torch.empty(0))
        self._block, self._chosen = block, torch.stack(chosen, 1)
        self._noise = torch.stack(noise, 1).to(self.problems.x)
