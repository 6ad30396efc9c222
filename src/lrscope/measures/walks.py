"""Steps on the sphere, one by one: how far training moves the weights, and a random walk that moves them as far.

three_regimes, App. M: in regime 3 the weights of adjacent iterations are hardly correlated, as in a random walk with
the same step sizes, yet the losses differ. Facts about steps theta' = rho (theta - eta g) / |theta - eta g| with
effective step size s = eta |g| / rho:

- g is orthogonal to theta for an SI net, so |theta - eta g|^2 = rho^2 (1 + s^2) and cos(theta, theta') =
  1 / sqrt(1 + s^2), exactly;
- if the direction of g is uniform among those orthogonal to theta, E[theta' | theta] = theta / sqrt(1 + s^2), so over k
  steps of a random walk E cos(theta_t, theta_t+k) is the product of the k factors: (1 + s^2)^(-k/2) at a constant s;
- an update u = theta' - theta has the squared length 2 rho^2 (1 - 1 / sqrt(1 + s^2)), so with a_t = 1 - 1 / sqrt(1 + s_t^2)
  a random walk has E cos(u_t-1, u_t) = -sqrt(a_t-1 a_t) / 2: the projection alone turns large steps back, by up to 120
  degrees.

So a cosine of adjacent weights tells the step size and nothing else; cosines over several steps and those of successive
updates tell whether training turns back, goes on or walks at random.

P parameters, T steps, M full passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from lrscope.checked import Positive, Seed, Steps, checked
from lrscope.dynamics.descend import PointRecord, Recorded, StepRecord, Update, descend
from lrscope.dynamics.objective import Objective
from lrscope.engine.material import Material
from lrscope.engine.program import Program
from lrscope.engine.step import Named
from lrscope.errors import LrscopeError
from lrscope.measures.common import evaluation, one_run, outputs, undisturbed
from lrscope.measures.lagged import Lag, UpdateLag, cosine_between
from lrscope.measures.objectives import TrainingLoss, shuffled_batches
from lrscope.tasks.streams import generator
from lrscope.trained import State, Trained

PASSES = ("train_loss", "train_error", "constant_loss")


@dataclass(frozen=True)
class Track:
    """What is noted on the way: per step [T], and per full pass over the training set [M]; float64."""

    weights: Tensor  # [1, P], where the walk ends
    step_loss: np.ndarray
    step_size: np.ndarray
    cosine: np.ndarray
    update_cosine: np.ndarray
    moment: np.ndarray
    moment_cosine: np.ndarray
    train_loss: np.ndarray
    train_error: np.ndarray
    constant_loss: np.ndarray

    def dataset(self) -> xr.Dataset:
        """The same on the dimensions `step` (0 is the first step taken) and `moment` (steps taken before the pass)."""
        steps = {name: ("step", getattr(self, name)) for name in ("step_loss", "step_size", "cosine", "update_cosine")}
        passes = {name: ("moment", getattr(self, name)) for name in (*PASSES, "moment_cosine")}
        return xr.Dataset(steps | passes, {"step": np.arange(len(self.cosine)), "moment": self.moment})


@checked
def training(
    trained: Trained,
    state: State,
    *,
    elr: Positive,
    steps: Steps,
    every: Steps,
    seed: Seed = 0,
    data_seed: Seed | None = None,
) -> xr.Dataset:
    """Go on training a stored state at the effective learning rate `elr`, with batches from a stream named by `seed`.

    Returns, per `step`: `step_loss`, the mini-batch's loss (nat) before the step; `step_size`, the total ESS (eq. 4);
    `cosine` between the weights before and after it; and `update_cosine` between its update of the weights and the one
    before (NaN at the first). Per `moment`, every `every` steps from 0 on: `moment_cosine` between the weights there and at
    the moment before (NaN at the first); and of a pass over the training set in train mode `train_loss` (nat),
    `train_error` (NaN for regression) and `constant_loss`, the loss (nat) if every example had the mean output of its
    mini-batch: what a net's offset alone costs.

    Raises:
        LrscopeError: a net that is not SI; `elr`, `steps` or `every` not positive.
    """
    program, material = evaluation(trained, state, data_seed)
    return train_on(
        program, material, state.weights, state.frozen, elr=elr, steps=steps, every=every, seed=seed
    ).dataset()


@checked
def random_walk(
    trained: Trained,
    state: State,
    *,
    elr: Positive | None = None,
    step_sizes: ArrayLike | None = None,
    steps: Steps | None = None,
    every: Steps,
    seed: Seed = 0,
    data_seed: Seed | None = None,
) -> xr.Dataset:
    """A random walk on the sphere from a stored state: a Gaussian vector instead of each gradient (App. M).

    Its length is that of the mini-batch gradient where the walk stands, at learning rate `elr`, for `steps` steps; or give
    the effective `step_sizes` [T] themselves, such as those of `training`. The vector is made orthogonal to the weights
    first, as the gradient of an SI net is (ours: the step size is then met exactly).

    Returns and raises as `training`; with `step_sizes` there is no mini-batch, and `step_loss` is NaN.
    """
    program, material = evaluation(trained, state, data_seed)
    return walk_from(
        program,
        material,
        state.weights,
        state.frozen,
        elr=elr,
        step_sizes=step_sizes,
        steps=steps,
        every=every,
        seed=seed,
    ).dataset()


@checked
def train_on(
    program: Program,
    material: Material,
    weights_1P: Tensor,
    frozen: Named,
    *,
    elr: Positive,
    steps: Steps,
    every: Steps,
    seed: Seed = 0,
) -> Track:
    """The kernel of `training`: steps of projected SGD (eq. 2) from weights [1, P]."""
    _check(program, elr=elr, steps=steps, every=every)
    objective = TrainingLoss(program, frozen, shuffled_batches(material, seed))
    rho = one_run(weights_1P).norm()[None]
    return _walk(objective, program, material, weights_1P, frozen, lr=elr * rho**2, rho=rho, steps=steps, every=every)


@checked
def walk_from(
    program: Program,
    material: Material,
    weights_1P: Tensor,
    frozen: Named,
    *,
    elr: Positive | None = None,
    step_sizes: ArrayLike | None = None,
    steps: Steps | None = None,
    every: Steps,
    seed: Seed = 0,
) -> Track:
    """The kernel of `random_walk`."""
    if (elr is None) == (step_sizes is None) or (elr is None) == (steps is not None):
        raise LrscopeError(
            f"elr, steps and step_sizes: give elr={elr} with steps={steps}, or step_sizes alone, whose number is the steps"
        )
    sizes = None if step_sizes is None else np.atleast_1d(np.asarray(step_sizes, float))
    if sizes is not None and (sizes.ndim != 1 or not (np.isfinite(sizes) & (sizes >= 0)).all()):
        raise LrscopeError("step_sizes: they must be a list of finite numbers of 0 or more: one for each step")
    count = steps if sizes is None else len(sizes)
    assert count is not None
    _check(program, elr=1.0 if elr is None else elr, steps=count, every=every)
    rho = one_run(weights_1P).norm()[None]
    directions = generator("random walk", material.data_seed, seed)
    if sizes is not None:
        lengths = RandomWalk(program.net.size, directions, lambda _, step: (sizes[step] * rho, None))
        lr = torch.ones_like(rho)
    else:
        training_loss = TrainingLoss(program, frozen, shuffled_batches(material, seed))
        lengths = RandomWalk(program.net.size, directions, partial(_gradient_length, training_loss))
        lr = float(elr or 0.0) * rho**2
    return _walk(lengths, program, material, weights_1P, frozen, lr=lr, rho=rho, steps=count, every=every)


class RandomWalk:
    """Steps of one run in Gaussian directions tangent to the sphere, as an objective.

    Args:
        length: (weights [1, P], step) to the length [1] of the vector and the loss [1] there, or None.
    """

    def __init__(
        self, size: int, directions: torch.Generator, length: Callable[[Tensor, int], tuple[Tensor, Tensor | None]]
    ) -> None:
        self.size, self.directions, self.length = size, directions, length

    def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor | None]:
        """The vector [1, P] and the loss [1]. Each call draws the stream's next direction."""
        length, loss = self.length(points, step)
        drawn = torch.randn(points.shape, generator=self.directions, dtype=torch.float64).to(points)
        return tangent_step(points, drawn, length), loss


def _gradient_length(objective: TrainingLoss, weights_1P: Tensor, step: int) -> tuple[Tensor, Tensor]:
    gradient, loss = objective.gradient(weights_1P, step)
    return gradient.norm()[None], loss


def tangent_step(weights_1P: Tensor, drawn_1P: Tensor, length_1: Tensor) -> Tensor:
    """`drawn_1P` made orthogonal to the weights and of the given length: [1, P]."""
    unit = weights_1P / weights_1P.norm()
    flat = drawn_1P - (drawn_1P * unit).sum() * unit
    step: Tensor = flat * (length_1 / flat.norm())
    return step


@checked
def expected_cosine(step_sizes: ArrayLike, lag: int) -> np.ndarray:
    """Expected cosines [T - lag + 1] of a random walk with effective step sizes [T] over `lag` steps: from moment t to
    t + lag the product of 1 / sqrt(1 + s^2)."""
    factors = -0.5 * np.log1p(np.asarray(step_sizes, float) ** 2)
    total = np.concatenate([[0.0], np.cumsum(factors)])
    found: np.ndarray = np.exp(total[lag:] - total[: len(total) - lag])
    return found


@checked
def expected_update_cosine(step_sizes: ArrayLike) -> np.ndarray:
    """Expected cosines [T] between each update and the one before in a random walk with effective step sizes [T]:
    -sqrt(a_t-1 a_t) / 2 with a = 1 - 1 / sqrt(1 + s^2); NaN at the first."""
    short = np.sqrt(1 - 1 / np.sqrt(1 + np.atleast_1d(np.asarray(step_sizes, float)) ** 2))
    return np.concatenate([[np.nan], -short[1:] * short[:-1] / 2])[: len(short)]


def _walk(
    objective: Objective,
    program: Program,
    material: Material,
    weights_1P: Tensor,
    frozen: Named,
    *,
    lr: Tensor,
    rho: Tensor,
    steps: int,
    every: int,
) -> Track:
    """Descend on the sphere of radius `rho` [1], noting steps and, every `every` of them, full passes."""
    moments = range(0, steps + 1, every)
    record: dict[str, Recorded] = {
        "step_loss": StepRecord(_step_loss),
        "step_size": StepRecord(lambda update: (update.lr * update.gradient.norm() / rho).double()),
        "cosine": StepRecord(lambda update: cosine_between(update.before, update.after)),
        "update_cosine": StepRecord(UpdateLag()),
        "moment_cosine": PointRecord(Lag(), moments),
        "passes": PointRecord(lambda weights: _full_pass(program, material, frozen, weights), moments),
    }
    with undisturbed(program.net, "walk"):
        found = descend(objective, weights_1P, lr, steps, radius=rho, groups=program.net.segments, record=record)
    noted = {name: value[:, 0].cpu().numpy() for name, value in found.recorded.items()}
    passes = dict(zip(PASSES, noted.pop("passes").T, strict=True))
    return Track(found.weights, **noted, moment=np.array(moments), **passes)


def _step_loss(update: Update) -> Tensor:
    loss = update.lr.new_full((1,), torch.nan) if update.loss is None else update.loss
    return loss.double()


def _full_pass(program: Program, material: Material, frozen: Named, weights_1P: Tensor) -> Tensor:
    """`PASSES` at the weights: [1, 3] float64."""
    loss, accuracy = program.train_mode_metrics(weights_1P, frozen, *material.batches())
    error = 1 - float(accuracy) if program.classification else float("nan")
    constant = _constant_loss(program, material, weights_1P[0], frozen)
    return torch.tensor([[float(loss), error, constant]], dtype=torch.float64, device=weights_1P.device)


def _constant_loss(program: Program, material: Material, weights_P: Tensor, frozen: Named) -> float:
    x, y = material.batches()
    total = 0.0
    with torch.no_grad():
        for xb, yb in zip(x, y, strict=True):
            found = outputs(program, weights_P, frozen, xb)
            total += float(program.loss(found.mean(0, keepdim=True).expand_as(found), yb).mean())
    return total / len(x)


def _check(program: Program, *, elr: float, steps: int, every: int) -> None:
    if not program.net.scale_invariant:
        raise LrscopeError(
            "walks: this net is not scale-invariant, so it does not live on a sphere: train it in space sphere, or in space "
            "whole with scale_invariant=True"
        )
    for name, value in (("elr", elr), ("steps", steps), ("every", every)):
        if not value > 0:
            raise LrscopeError(f"{name}: {value:g} is not positive: use a number above 0")
