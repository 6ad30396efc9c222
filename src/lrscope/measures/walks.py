"""Steps on the sphere, one by one: how far training moves the weights, and a random walk that moves them as far.

three_regimes, App. M: in regime 3 the weights of adjacent iterations are hardly correlated, as in a random walk with
the same step sizes, yet the losses differ. Two facts about one step theta' = rho (theta - eta g) / |theta - eta g| with
effective step size s = eta |g| / rho:

- g is orthogonal to theta for an SI net, so |theta - eta g|^2 = rho^2 (1 + s^2) and cos(theta, theta') =
  1 / sqrt(1 + s^2), exactly;
- if the direction of g is uniform among those orthogonal to theta, E[theta' | theta] = theta / sqrt(1 + s^2), so over k
  steps of a random walk E cos(theta_t, theta_t+k) is the product of the k factors: (1 + s^2)^(-k/2) at a constant s.

P parameters, T steps, M full passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from lrscope.checked import Positive, Seed, Steps, checked
from lrscope.dynamics.sphere import sphere_step
from lrscope.engine.material import Material
from lrscope.engine.order import BatchOrder
from lrscope.engine.program import Program
from lrscope.engine.step import Named
from lrscope.errors import LrscopeError
from lrscope.measures.common import evaluation, one_run, outputs, undisturbed
from lrscope.tasks.streams import generator
from lrscope.trained import State, Trained

PASSES = ("train_loss", "train_error", "constant_loss")


@dataclass
class Track:
    """What is noted on the way: per step, and per full pass over the training set."""

    weights: Tensor  # [1, P], where the walk stands
    step_loss: list[float] = field(default_factory=list)
    step_size: list[float] = field(default_factory=list)
    cosine: list[float] = field(default_factory=list)
    moment: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    train_error: list[float] = field(default_factory=list)
    constant_loss: list[float] = field(default_factory=list)

    def dataset(self) -> xr.Dataset:
        """The same on the dimensions `step` (0 is the first step taken) and `moment` (steps taken before the pass)."""
        steps = {name: ("step", np.array(getattr(self, name))) for name in ("step_loss", "step_size", "cosine")}
        passes = {name: ("moment", np.array(getattr(self, name))) for name in PASSES}
        return xr.Dataset(steps | passes, {"step": np.arange(len(self.cosine)), "moment": np.array(self.moment)})


@checked
def training(
    trained: Trained, state: State, *, elr: Positive, steps: Steps, every: Steps, seed: Seed = 0, data_seed: Seed = 0
) -> xr.Dataset:
    """Go on training a stored state at the effective learning rate `elr`, with batches from a stream named by `seed`.

    Returns, per `step`: `step_loss`, the mini-batch's loss (nat) before the step; `step_size`, the total ESS (eq. 4); and
    `cosine` between the weights before and after it. Per `moment`, every `every` steps from 0 on, of a pass over the
    training set in train mode: `train_loss` (nat), `train_error` (NaN for regression) and `constant_loss`, the loss (nat)
    if every example had the mean output of its mini-batch: what a net's offset alone costs.

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
    data_seed: Seed = 0,
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
    track = Track(weights_1P.clone())
    rho = one_run(weights_1P).norm()[None]
    with undisturbed(program.net, "walk"):
        for t, (x, y) in enumerate(_batches(material, seed, steps)):
            if t % every == 0:
                _full_pass(program, material, frozen, track, t)
            program.net.module.train()
            gradient, loss, _ = program.gradients(track.weights, frozen, x, y)
            _move(program, track, gradient, elr * rho**2, rho, float(loss))
        if steps % every == 0:
            _full_pass(program, material, frozen, track, steps)
    return track


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
    track = Track(weights_1P.clone())
    rho = one_run(weights_1P).norm()[None]
    directions = generator("random walk", material.data_seed, seed)
    batches = _batches(material, seed, count)
    with undisturbed(program.net, "walk"):
        for t in range(count):
            if t % every == 0:
                _full_pass(program, material, frozen, track, t)
            loss = float("nan")
            if sizes is not None:
                length = sizes[t] * rho
                lr = torch.ones_like(rho)
            else:
                program.net.module.train()
                gradient, found, _ = program.gradients(track.weights, frozen, *next(batches))
                length, loss = gradient.norm()[None], float(found)
                lr = float(elr or 0.0) * rho**2
            drawn = torch.randn(track.weights.shape, generator=directions, dtype=torch.float64).to(track.weights)
            _move(program, track, tangent_step(track.weights, drawn, length), lr, rho, loss)
        if count % every == 0:
            _full_pass(program, material, frozen, track, count)
    return track


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


def _move(program: Program, track: Track, gradient: Tensor, lr_1: Tensor, rho_1: Tensor, loss: float) -> None:
    before = track.weights
    step = (lr_1 * gradient.norm() / rho_1).double()
    track.weights, _ = sphere_step(before, gradient, lr_1.to(before), rho_1, program.net.segments)
    a, b = before[0].double(), track.weights[0].double()
    track.step_loss.append(loss)
    track.step_size.append(float(step))
    track.cosine.append(float(a @ b / (a.norm() * b.norm())))


def _full_pass(program: Program, material: Material, frozen: Named, track: Track, moment: int) -> None:
    loss, accuracy = program.train_mode_metrics(track.weights, frozen, *material.batches())
    track.moment.append(moment)
    track.train_loss.append(float(loss))
    track.train_error.append(1 - float(accuracy) if program.classification else float("nan"))
    track.constant_loss.append(_constant_loss(program, material, track.weights[0], frozen))


def _constant_loss(program: Program, material: Material, weights_P: Tensor, frozen: Named) -> float:
    x, y = material.batches()
    total = 0.0
    with torch.no_grad():
        for xb, yb in zip(x, y, strict=True):
            found = outputs(program, weights_P, frozen, xb)
            total += float(program.loss(found.mean(0, keepdim=True).expand_as(found), yb).mean())
    return total / len(x)


def _batches(material: Material, seed: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Mini-batches x [1, B, ...], y [1, B] in an order of their own, augmented if training was."""
    config = material.config
    order = BatchOrder(
        [("walk", material.data_seed, seed)],
        material.train_size,
        config.batch_size,
        material.device,
        augmented=bool(material.augmentation),
    )
    for step in range(steps):
        index, draws = order.at(step)
        x = material.train_x[index[0, 0]]
        if draws is not None:
            x = material.augmentation(x, draws[0, 0])
        yield x[None], material.train_y[index[0, 0]][None]


def _check(program: Program, *, elr: float, steps: int, every: int) -> None:
    if not program.net.scale_invariant:
        raise LrscopeError(
            "walks: this net is not scale-invariant, so it does not live on a sphere: train it in space sphere, or in space "
            "whole with scale_invariant=True"
        )
    for name, value in (("elr", elr), ("steps", steps), ("every", every)):
        if not value > 0:
            raise LrscopeError(f"{name}: {value:g} is not positive: use a number above 0")
