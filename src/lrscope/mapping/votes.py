"""What each single run votes: regime 1, 2 or 3, from its own training curve. Array kernels without labels.

U units (runs of one learning rate: data seed x seed), W logging windows. All thresholds stand here, one set for every task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Rules:
    """Thresholds of the rules; the same for every task."""

    least_windows: int = 8  # ours: two values in each quarter of the curve
    falling_logs: float = 0.1  # ours: 1/t decay falls 0.34 between the third and fourth quarter, noise 0.03
    falling_errors: float = 3.0  # ours: standard errors
    floor_factor: float = 3.0  # ours: within this factor of the best converging run counts as converged
    smooth_share: float = 0.8  # ours: share of windows that go down in a curve that is slow, not stationary
    jump_factor: float = 5.0  # ours: a window this far above its neighbours is a jump
    random_error: float = 1.645  # one-sided 5% level of the comparison with random points
    accuracy_quantile: float = 0.95  # one-sided 5% level among random points


RULES = Rules()
CONVERGENCE, EQUILIBRIUM, DIVERGENCE, UNKNOWN = 1, 2, 3, 0


def quarters(loss_UW: Array) -> tuple[Array, Array, Array, Array]:
    """Mean log losses of the third and fourth quarter of the curves, their difference and its standard error [U]."""
    windows = loss_UW.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.maximum(loss_UW, np.finfo(np.float64).tiny))
    third, fourth = logs[:, windows // 2 : 3 * windows // 4], logs[:, 3 * windows // 4 :]
    error = np.sqrt(_mean_error(third) ** 2 + _mean_error(fourth) ** 2)
    a, b = third.mean(1), fourth.mean(1)
    return a, b, a - b, error


def _mean_error(values_UN: Array) -> Array:
    """Standard error of the mean of an autocorrelated series, first-order: sd / sqrt(n) * sqrt((1 + r) / (1 - r))."""
    n = values_UN.shape[1]
    centred = values_UN - values_UN.mean(1, keepdims=True)
    variance = (centred**2).mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (centred[:, 1:] * centred[:, :-1]).mean(1) / variance
    r = np.clip(np.nan_to_num(r), 0.0, 0.9)
    return np.sqrt(variance * n / max(n - 1, 1) / n * (1 + r) / (1 - r))


@dataclass(frozen=True)
class Ballot:
    """Votes [U] of the runs at one learning rate, with what was noticed: slow [U], jumps [U]."""

    votes: NDArray[np.int64]
    slow: NDArray[np.bool_]
    jumps: NDArray[np.bool_]


def final_window(windows: int) -> slice:
    """The last quarter of a curve."""
    return slice(3 * windows // 4, None)


def no_better_than_random(
    loss_U: Array, error_U: Array, accuracy_U: Array | None, random_loss_UK: Array, random_accuracy_UK: Array | None
) -> NDArray[np.bool_]:
    """Is each run's final loss no lower than the mean of random points with its own readout? One-sided, 5%.

    A loss clearly above that mean settles it: a random walk's loss bounds regime 3's from below (three_regimes, App. M).
    A loss about equal to it must come with an accuracy no higher than the random points' (95% quantile of single
    points: every step still follows the gradient, so a diverging run's mean accuracy lies a little above chance).
    """
    count = random_loss_UK.shape[1]
    mean, deviation = random_loss_UK.mean(1), random_loss_UK.std(1, ddof=1)
    margin = RULES.random_error * np.sqrt(deviation**2 / count + error_U**2)
    bad = loss_U >= mean - margin
    if accuracy_U is not None and random_accuracy_UK is not None:
        guessing = accuracy_U <= np.quantile(random_accuracy_UK, RULES.accuracy_quantile)
        bad &= guessing | (loss_U > mean + margin)
    return bad


def jumps(loss_UW: Array) -> NDArray[np.bool_]:
    """Does the curve's second half jump up and come back: a window far above the medians of both its sides?"""
    half = loss_UW[:, loss_UW.shape[1] // 2 :]
    found = np.zeros(len(half), bool)
    for i in range(2, half.shape[1] - 2):
        before = np.median(half[:, max(0, i - 5) : i], axis=1)
        after = half[:, i + 1 : i + 6].min(1)
        found |= (half[:, i] > RULES.jump_factor * before) & (half[:, i] > RULES.jump_factor * after)
    return found


def vote(
    loss_UW: Array,
    accuracy_UW: Array | None,
    floor: float,
    random_loss_UK: Array,
    random_accuracy_UK: Array | None,
    *,
    divergence_exists: bool,
) -> Ballot:
    """Votes of the runs at one learning rate.

    Args:
        loss_UW, accuracy_UW: training curves [U, W].
        floor: lowest final loss that any learning rate's typical run reached.
        random_loss_UK, random_accuracy_UK: random points of the same space, per unit [U, K].
        divergence_exists: False for networks that are not SI, where regime 3 shows as overflow instead.
    """
    units, windows = loss_UW.shape
    votes = np.full(units, UNKNOWN, np.int64)
    none = np.zeros(units, bool)
    if windows < RULES.least_windows:
        return Ballot(votes, none, none)
    finite = np.isfinite(loss_UW).all(1)
    clean = np.where(finite[:, None], loss_UW, 1.0)
    _, last, drop, error = quarters(clean)
    final = clean[:, final_window(windows)].mean(1)
    falls = (drop > RULES.falling_logs) & (drop > RULES.falling_errors * error)
    at_floor = np.exp(last) <= RULES.floor_factor * floor
    going_down = (np.diff(clean[:, windows // 2 :], axis=1) < 0).mean(1)
    slow = ~falls & ~at_floor & (going_down >= RULES.smooth_share) & (drop > RULES.falling_errors * error)
    slow |= falls & (going_down >= RULES.smooth_share) & (np.exp(last) > 100 * floor)
    votes[finite] = np.where(falls | at_floor | slow, CONVERGENCE, EQUILIBRIUM)[finite]
    if divergence_exists:
        loss_error = error * final  # error of the log times the level
        accuracy = None if accuracy_UW is None else accuracy_UW[:, final_window(windows)].mean(1)
        lost = no_better_than_random(final, loss_error, accuracy, random_loss_UK, random_accuracy_UK)
        votes[finite & lost & ~slow & ~at_floor] = DIVERGENCE
    return Ballot(votes, slow & finite, jumps(clean) & finite)
