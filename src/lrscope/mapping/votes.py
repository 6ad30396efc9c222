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
    slow_share: float = 0.25  # ours: a creeping run above this share of the random points' loss has not got anywhere yet
    jump_factor: float = 5.0  # ours: a window this far above its neighbours is a jump
    random_error: float = 1.645  # one-sided 5% level of the comparison with random points
    accuracy_quantile: float = 0.95  # one-sided 5% level among random points


RULES = Rules()
CONVERGENCE, EQUILIBRIUM, DIVERGENCE, UNKNOWN = 1, 2, 3, 0


@dataclass(frozen=True)
class Decline:
    """How the curves' second halves go [U]: log level of the last quarter, drop from the third to the fourth quarter,
    the drop's standard error, share of windows that go down."""

    level: Array
    drop: Array
    error: Array
    down: Array

    @property
    def falls(self) -> NDArray[np.bool_]:
        """Does the loss clearly fall?"""
        return (self.drop > RULES.falling_logs) & (self.drop > RULES.falling_errors * self.error)

    @property
    def creeps(self) -> NDArray[np.bool_]:
        """Does the loss go down steadily, however slowly?"""
        return (self.down >= RULES.smooth_share) & (self.drop > RULES.falling_errors * self.error)


def decline(loss_UW: Array) -> Decline:
    """Measure the second halves of curves [U, W] on the log scale, jumps cut off at four robust standard deviations."""
    windows = loss_UW.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        half = np.log(np.maximum(loss_UW[:, windows // 2 :], np.finfo(np.float64).tiny))
    n = half.shape[1]
    cut = n // 2
    third, fourth = np.median(half[:, :cut], axis=1), np.median(half[:, cut:], axis=1)
    t = np.arange(n) - (n - 1) / 2
    line = ((third + fourth) / 2)[:, None] + ((fourth - third) / (n / 2))[:, None] * t
    bound = 4 * 1.4826 * np.median(np.abs(half - line), axis=1, keepdims=True)
    clipped = line + np.clip(half - line, -bound, bound)
    error = _scatter(clipped) * np.sqrt(1 / cut + 1 / (n - cut))
    level = clipped[:, cut:].mean(1)
    drop = clipped[:, :cut].mean(1) - level
    return Decline(level=level, drop=drop, error=error, down=(np.diff(half, axis=1) < 0).mean(1))


def _scatter(values_UN: Array) -> Array:
    """Standard deviation about a straight line, inflated for first-order autocorrelation r by sqrt((1 + r) / (1 - r)).

    About a line, because a curve that falls smoothly has no noise however far it falls.
    """
    n = values_UN.shape[1]
    t = np.arange(n) - (n - 1) / 2
    slope = values_UN @ t / (t @ t)
    residuals = values_UN - values_UN.mean(1, keepdims=True) - slope[:, None] * t
    squares = (residuals**2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (residuals[:, 1:] * residuals[:, :-1]).sum(1) / squares
    r = np.clip(np.nan_to_num(r), 0.0, 0.9)
    return np.sqrt(squares / max(n - 2, 1) * (1 + r) / (1 - r))


def convergence_floor(loss_LUW: Array) -> float:
    """The lowest level that converging runs of this length get to: the least final loss, in the median over units, among
    learning rates where most runs clearly fall. 0 if none does: then nothing counts as converged by its level."""
    levels = [0.0]
    for loss_UW in loss_LUW:
        finite = np.isfinite(loss_UW).all(1)
        if finite.any() and loss_UW.shape[1] >= RULES.least_windows:
            seen = decline(loss_UW[finite])
            if seen.falls.mean() > 0.5:
                levels.append(float(np.exp(np.median(seen.level))))
    return min(levels[1:], default=0.0)


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
        floor: level that converging runs get to (`convergence_floor`).
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
    seen = decline(clean)
    final = clean[:, final_window(windows)].mean(1)
    at_floor = np.exp(seen.level) <= RULES.floor_factor * floor
    converging = seen.falls | seen.creeps | at_floor
    high = final > RULES.slow_share * random_loss_UK.mean(1)
    slow = seen.creeps & ~at_floor & (~seen.falls | high)
    votes[finite] = np.where(converging, CONVERGENCE, EQUILIBRIUM)[finite]
    if divergence_exists:
        loss_error = seen.error * final  # a drop has sqrt(2) times the error of one quarter: on the safe side
        accuracy = None if accuracy_UW is None else accuracy_UW[:, final_window(windows)].mean(1)
        lost = no_better_than_random(final, loss_error, accuracy, random_loss_UK, random_accuracy_UK)
        votes[finite & lost & ~converging] = DIVERGENCE
    return Ballot(votes, slow & finite, jumps(clean) & finite)
