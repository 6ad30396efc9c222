"""Why a large step moves along the manifold: how far finite steps carry a run towards the minimum-norm interpolator.

docs/late_decay_theory.md derives the formulas. They hold for any source of steps: batches, label noise, an unstable rate.

S data sets, R runs on each, B times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from lrscope.checked import Count, Positive, checked
from lrscope.dynamics.descend import PointRecord, Recorded, StepRecord, Update, descend
from lrscope.errors import LrscopeError
from lrscope.studies.late_decay.invariant import distance_of, log_invariant
from lrscope.studies.late_decay.norm_power import NormPower

Array = NDArray[np.float64]
ACCURACY = 1e-8  # ours: relative, of the slow flow


def predicted_change(gamma: ArrayLike, across: ArrayLike, radial: ArrayLike) -> Array:
    """The change of log(|v| |w|^(-gamma / (1 + gamma))), which gradient flow conserves, that steps bring about.

    Args:
        gamma: of the run.
        across, radial: squared lengths of the steps over |w|^2, summed over the steps: of their parts across w and along w. Shapes
            of all arguments are broadcast.

    Returns:
        -gamma / (2 (1 + gamma)) (across - radial / (1 + gamma)): exact to second order in the length of each step.
    """
    gamma = np.asarray(gamma, float)
    push = np.asarray(across, float) - np.asarray(radial, float) / (1 + gamma)
    return np.asarray(-gamma / (2 * (1 + gamma)) * push, dtype=np.float64)


class Drift(NamedTuple):
    """What happened in windows of steps, all [W, S, R]; NaN from where a run overflowed."""

    measured: Array  # change of the invariant's logarithm
    predicted: Array  # the same by `predicted_change`
    destination: Array  # at the end of each window, as `invariant.destination` has it


@checked
def drift(model: NormPower, start: Tensor, lr: Any, steps: Count, *, windows: Count = 20) -> Drift:
    """Train, and hold the movement along the manifold against what `predicted_change` makes of the lengths of the steps.

    Args:
        start: weights [S R, d].
        lr: as in `descend`.
        steps: a multiple of `windows` (W), which are equally long.

    Raises:
        LrscopeError: steps that are no multiple of the windows; whatever `descend` refuses.
    """
    if steps % windows:
        raise LrscopeError(f"windows: {windows} do not divide {steps} steps: use a divisor")
    record: dict[str, Recorded] = {
        "steps": StepRecord(_squared_steps),
        "log": PointRecord(lambda points: log_invariant(model, points).view(-1), range(0, steps + 1, steps // windows)),
    }
    found = descend(model, start, lr, steps, record=record).recorded
    shape, gamma = (model.sets, model.count), model.gamma[:, 0].double()
    across, radial = found["steps"].double().view(windows, -1, *shape, 2).sum(1).unbind(-1)
    logs = found["log"].double().view(windows + 1, *shape)
    least = model.problems.minimum_norm.double().norm(dim=1)[:, None]
    predicted = predicted_change(gamma.numpy(), across.numpy(), radial.numpy())
    return Drift(logs.diff(dim=0).numpy(), predicted, distance_of(logs[1:], gamma, least).numpy())


def _squared_steps(update: Update) -> Tensor:
    """Squared length of each run's step over |w|^2, across and along w [R, 2]."""
    move, square = update.after - update.before, update.before.square().sum(1)
    radial = (move * update.before).sum(1).square() / square.square()
    return torch.stack([move.square().sum(1) / square - radial, radial], 1)


def label_noise_rate(model: NormPower, lr: float, along: Tensor) -> Tensor:
    """Change of log(along) in a step that label noise brings about, where `along` [S, R] is the distance of interpolators from the
    minimum-norm one. A batch of all examples counts as one of N."""
    problems, gamma = model.problems, model.gamma[:, 0]
    least = problems.minimum_norm.square().sum(1)[:, None]
    norm = least + along.square()  # |alpha|^2
    square = norm ** (1 / (1 + gamma))  # |w|^2
    variance = (lr * model.noise_std[:, 0]).square() / (model.batch or model.examples)
    inputs, labels = problems.mean_square[:, None], problems.label_square[:, None]
    pushed = square ** (gamma - 1) * inputs - (2 + gamma) * labels / square.square()  # across - radial / (1 + gamma)
    leverage = gamma * (1 + gamma) / (1 + gamma * (2 + gamma) * least / norm)
    return -0.5 * leverage * variance * pushed


@checked
def label_noise_drift(model: NormPower, lr: Positive, along: Tensor, at: Sequence[float]) -> Array:
    """The distance from the minimum-norm interpolator [B, S, R] that label noise is predicted to leave after numbers of steps.

    It is the slow flow along the manifold in the limit of small steps: lr times `sharpness` far below 2.

    Args:
        model: with label noise.
        lr: of all runs.
        along: the distances at step 0 [S, R], above 0.
        at: numbers of steps, increasing from 0 or more.

    Raises:
        LrscopeError: distances of another shape, or not above 0; no times, or times that do not increase.
    """
    if along.shape != (model.sets, model.count) or not bool((along > 0).all()):
        raise LrscopeError(
            f"along: its shape is {tuple(along.shape)}: pass distances above 0 [{model.sets} data sets, {model.count} runs]"
        )
    times = np.asarray(at, float)
    if not len(times) or times[0] < 0 or not (np.diff(times) > 0).all():
        raise LrscopeError("at: these are no increasing numbers of steps from 0 on: pass some, such as (0, 100, 1000)")

    def rate(_: float, log_along: Array) -> Array:
        points = torch.from_numpy(log_along).view(along.shape).exp()
        return label_noise_rate(model, lr, points).double().flatten().numpy()

    start = along.double().log().flatten().numpy()
    found = solve_ivp(rate, (0, times[-1] or 1.0), start, t_eval=times, rtol=ACCURACY, atol=ACCURACY)
    return np.asarray(np.exp(found.y.T).reshape(len(times), *along.shape))


def attracts(model: NormPower) -> Tensor:
    """Whether label noise drives small excess norms to 0 [S, R]: |alpha_min|^2 mean |x|^2 > (2 + gamma) mean y^2.

    Otherwise the walk ends where |alpha|^2 mean |x|^2 = (2 + gamma) mean y^2, on interpolators of larger norm: there the sharpness
    is least.
    """
    problems = model.problems
    least = problems.minimum_norm.square().sum(1) * problems.mean_square
    return least[:, None] > (2 + model.gamma[:, 0]) * problems.label_square[:, None]
