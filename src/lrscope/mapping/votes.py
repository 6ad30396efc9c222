"""What each single run votes: regime 1, 2 or 3, from its own training curve. Array kernels without labels.

L learning rates, U units (runs of one learning rate: data seed x seed), W logging windows, K random points.
All thresholds stand here, one set for every task.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    floor_logs: float = (
        1.1  # ours: below the best converging learning rate, within a factor 3 of it counts as converged
    )
    risen_logs: float = 0.1  # ours: above it, 10% more loss counts as risen
    smooth_share: float = 0.8  # ours: share of windows that go down in a curve that is slow, not stationary
    slow_share: float = (
        0.25  # ours: a creeping run above this share of the random points' loss has not got anywhere yet
    )
    converged_share: float = 1e-6  # ours: losses below this share of the random points' loss are all the same
    least_learned: float = 0.01  # ours: share of the way from chance to perfect that is worth calling learned
    jump_factor: float = 5.0  # ours: a window this far above its neighbours is a jump
    random_error: float = 1.645  # one-sided 5% level of the comparisons with random points


RULES = Rules()
OUTLIER = 4.0  # ours: robust standard deviations from a line, beyond which a value is cut off
MAD_TO_DEVIATION = 1.4826  # a normal distribution's standard deviation over its median absolute deviation
SHARES = 10_001  # of the most frequent class that are tried: a ten-thousandth is enough to tell accuracies
CONVERGENCE, EQUILIBRIUM, DIVERGENCE, UNKNOWN = 1, 2, 3, 0


@dataclass(frozen=True)
class Ballot:
    """Votes [L, U] of all runs, with what was noticed: slow [L, U], jumps [L, U], the log of the final loss [L, U] (NaN
    where the curve is not finite) and the position of the best converging learning rate."""

    votes: NDArray[np.int64]
    slow: NDArray[np.bool_]
    jumps: NDArray[np.bool_]
    level: NDArray[np.float64]
    best: int | None = None


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
    """Measure the second halves of curves [U, W] on the log scale, jumps cut off at `OUTLIER` robust standard deviations."""
    windows = loss_UW.shape[1]
    half = np.log(np.maximum(loss_UW[:, windows // 2 :], np.finfo(np.float64).tiny))
    n = half.shape[1]
    cut = n // 2
    third, fourth = np.median(half[:, :cut], axis=1), np.median(half[:, cut:], axis=1)
    t = np.arange(n) - (n - 1) / 2
    line = ((third + fourth) / 2)[:, None] + ((fourth - third) / (n / 2))[:, None] * t
    bound = OUTLIER * MAD_TO_DEVIATION * np.median(np.abs(half - line), axis=1, keepdims=True)
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
    with np.errstate(invalid="ignore"):
        r = (residuals[:, 1:] * residuals[:, :-1]).sum(1) / squares
    r = np.clip(np.nan_to_num(r), 0.0, 0.9)
    scatter: Array = np.sqrt(squares / (n - 2) * (1 + r) / (1 - r))
    return scatter


@dataclass(frozen=True)
class Best:
    """The best converging learning rate of the grid: its position and, per unit [U], level, drop and error."""

    position: int
    level: Array
    drop: Array
    error: Array


def best_converging(declines: Sequence[Decline], finite_LU: NDArray[np.bool_]) -> Best | None:
    """Where converging runs of this length get to: the learning rate with the lowest final level (median over units)
    among those where most runs clearly fall. None if there is none: then no level counts as converged."""
    found: list[tuple[float, int]] = []
    for k, (seen, finite) in enumerate(zip(declines, finite_LU, strict=True)):
        if finite.any() and seen.falls[finite].mean() > 0.5:
            found.append((float(np.median(seen.level[finite])), k))
    if not found:
        return None
    level, k = min(found)
    seen, finite = declines[k], finite_LU[k]
    return Best(
        position=k,
        level=np.where(finite, seen.level, level),
        drop=np.where(finite, seen.drop, np.median(seen.drop[finite])),
        error=np.where(finite, seen.error, np.median(seen.error[finite])),
    )


def converges(seen: Decline, k: int, best: Best | None) -> NDArray[np.bool_]:
    """Which runs at position k converge [U].

    Up to the best converging learning rate: those that fall, or creep down, or have reached its level. Above it: those
    that are not clearly higher, or fall faster and so may still catch up.
    """
    if best is None:
        return seen.falls | seen.creeps
    if k <= best.position:
        return seen.falls | seen.creeps | (seen.level <= best.level + RULES.floor_logs)
    noise = RULES.falling_errors * np.sqrt(seen.error**2 + best.error**2)
    risen = seen.level - best.level > np.clip(noise, RULES.risen_logs, RULES.floor_logs)
    return ~risen | (seen.falls & (seen.drop > best.drop))


def final_window(windows: int) -> slice:
    """The last quarter of a curve."""
    return slice(3 * windows // 4, None)


@dataclass(frozen=True)
class Guessing:
    """What a network that knows nothing gets: losses and accuracies [U, K] at random points, with each unit's own
    readout; the loss of the best constant prediction and the accuracy that none exceeds, and the accuracy of guessing classes
    evenly (0 where they are not known)."""

    loss: Array
    accuracy: Array | None
    constant_loss: float
    constant_accuracy: float = 0.0
    even_accuracy: float = 0.0


def most_frequent(entropy: float, classes: int) -> float:
    """The largest share that the most frequent class can have, by the entropy (nats) of the labels, which is the cross-entropy of
    the best constant prediction. All others are equally frequent then; with two classes it is the share itself."""
    share = np.linspace(1 / classes, 1, SHARES)
    rest = 1 - share
    with np.errstate(divide="ignore", invalid="ignore"):
        each = -share * np.log(share) - np.where(rest > 0, rest * np.log(rest / (classes - 1)), 0.0)
    return float(np.interp(-entropy, -each, share))


def diverges(loss_UW: Array, accuracy_UW: Array | None, guessing: Guessing) -> NDArray[np.bool_]:
    """Which runs [U] are no better than guessing over the last quarter; one-sided comparisons at 5%.

    Either the loss lies clearly above the random points' mean (a random walk bounds regime 3 from below, three_regimes,
    App. M); or accuracy and loss are no better than what guessing gets: the accuracy no higher than the random points'
    mean (all units together: it hardly depends on the readout) or than guessing classes evenly, the loss no lower than a
    constant prediction's - unless the runs of that learning rate together beat chance. Each random point predicts one or
    two classes, so that few of them may lie below an even guess, which a diverged run makes over time. Without
    accuracies: the loss is no lower than the random points' mean.
    """
    part = final_window(loss_UW.shape[1])
    loss, loss_error = _mean_and_error(loss_UW[:, part])
    mean, error = _mean_and_error(guessing.loss)
    margin = RULES.random_error * np.sqrt(error**2 + loss_error**2)
    above: NDArray[np.bool_] = loss > mean + margin
    if accuracy_UW is None or guessing.accuracy is None:
        return loss >= mean - margin
    return above | _blind(
        loss, accuracy_UW[:, part], guessing.accuracy, guessing.constant_loss, least=guessing.even_accuracy
    )


def dies(loss_UW: Array, accuracy_UW: Array | None, guessing: Guessing) -> NDArray[np.bool_]:
    """Which runs [U] of a network that is not SI end no better than guessing, though finite: accuracy no higher than random
    points' (`diverges`) or than any constant prediction's, loss at most a hundredth below the best constant prediction's,
    around which a dead network's scatters. Without accuracies the loss decides alone, where a constant prediction's is
    known."""
    part = final_window(loss_UW.shape[1])
    loss, floor = loss_UW[:, part].mean(1), (1 - RULES.least_learned) * guessing.constant_loss
    if accuracy_UW is None or guessing.accuracy is None:
        none_learned: NDArray[np.bool_] = (loss >= floor) & (guessing.constant_loss > 0)
        return none_learned
    return _blind(loss, accuracy_UW[:, part], guessing.accuracy, floor, least=guessing.constant_accuracy)


def _blind(
    loss_U: Array, accuracy_UN: Array, chance_UK: Array, floor: float, *, least: float = 0.0
) -> NDArray[np.bool_]:
    """Runs with an accuracy no higher than chance and a loss no lower than `floor`, unless the runs of that learning rate
    together beat chance: what random points get (all units together), at `least` this."""
    accuracy, accuracy_error = _mean_and_error(accuracy_UN)
    chance, chance_error = _mean_and_error(chance_UK.reshape(1, -1))
    chance = np.maximum(chance, least)
    if _learned_together(accuracy, float(chance[0])):
        return np.zeros(len(loss_U), bool)
    lucky = RULES.random_error * np.sqrt(chance_error**2 + accuracy_error**2)
    blind: NDArray[np.bool_] = accuracy <= chance + np.maximum(lucky, RULES.least_learned * (1 - chance))
    return blind & (loss_U >= floor)


def _learned_together(accuracy_U: Array, chance: float) -> bool:
    """Do the runs of one learning rate together beat chance, where single runs may not show it? Significant over seeds
    (one-sided, 5%) and by more than a hundredth of the way from chance to perfect."""
    if len(accuracy_U) < 3:
        return False
    error = accuracy_U.std(ddof=1) / np.sqrt(len(accuracy_U))
    excess = accuracy_U.mean() - chance
    return bool(excess > max(RULES.random_error * error, RULES.least_learned * (1 - chance)))


def _mean_and_error(values_UN: Array) -> tuple[Array, Array]:
    """Mean [U] and its standard error, of independent values."""
    count = values_UN.shape[1]
    return values_UN.mean(1), values_UN.std(1, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(len(values_UN))


def jumps(loss_UW: Array) -> NDArray[np.bool_]:
    """Does the curve's second half jump up and come back: a window far above the medians of both its sides?"""
    half = loss_UW[:, loss_UW.shape[1] // 2 :]
    found = np.zeros(len(half), bool)
    for i in range(2, half.shape[1] - 2):
        before = np.median(half[:, max(0, i - 5) : i], axis=1)
        after = half[:, i + 1 : i + 6].min(1)
        found |= (half[:, i] > RULES.jump_factor * before) & (half[:, i] > RULES.jump_factor * after)
    return found


def vote(loss_LUW: Array, accuracy_LUW: Array | None, guessing: Guessing, *, divergence_exists: bool) -> Ballot:
    """Votes of all runs.

    Args:
        loss_LUW, accuracy_LUW: training curves [L, U, W], learning rates increasing.
        guessing: what knowing nothing gets.
        divergence_exists: False for networks that are not SI: they overflow, or die (`dies`), which is voted like regime 3.
    """
    votes = np.full(loss_LUW.shape[:2], UNKNOWN, np.int64)
    slow, jumped = np.zeros(votes.shape, bool), np.zeros(votes.shape, bool)
    if loss_LUW.shape[2] < RULES.least_windows:
        return Ballot(votes, slow, jumped, np.full(votes.shape, np.nan))
    finite_LU = np.asarray(np.isfinite(loss_LUW).all(2), dtype=bool)
    nothing = RULES.converged_share * guessing.loss.mean(1)  # below this, losses are rounding noise
    clean = np.maximum(np.where(finite_LU[..., None], loss_LUW, 1.0), nothing[:, None])
    declines = [decline(curves) for curves in clean]
    best = best_converging(declines, finite_LU)
    for k, seen in enumerate(declines):
        finite, good = finite_LU[k], converges(seen, k, best)
        votes[k, finite] = np.where(good, CONVERGENCE, EQUILIBRIUM)[finite]
        lost = (diverges if divergence_exists else dies)(
            clean[k], None if accuracy_LUW is None else accuracy_LUW[k], guessing
        )
        votes[k, finite & lost & ~good] = DIVERGENCE
        high = clean[k][:, final_window(loss_LUW.shape[2])].mean(1) > RULES.slow_share * guessing.loss.mean(1)
        below = best is None or k < best.position
        slow[k] = finite & good & seen.creeps & (~seen.falls | high) & below
        jumped[k] = finite & jumps(clean[k])
    level = np.where(finite_LU, np.stack([seen.level for seen in declines]), np.nan)
    return Ballot(votes, slow, jumped, level, None if best is None else best.position)
