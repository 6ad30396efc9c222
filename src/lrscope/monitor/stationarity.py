"""Is a loss stationary? A test with a stated rate of false alarms, and a tolerance below which a fall does not matter.

The curve is cut into blocks; their means are fitted by a line, jumps cut off. Its slope is compared with what noise of
first-order autocorrelation r leaves: the standard error grows by sqrt((1 + r) / (1 - r)), the degrees of freedom shrink
likewise, r is that of the residuals, corrected for its bias (Marriott and Pope 1954). N values, B blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lrscope.mapping.votes import MAD_TO_DEVIATION, OUTLIER, RULES

Array = NDArray[np.floating[Any]]

# At least, of curves that are as long. Ours: with 16 the autocorrelation is known so badly that intervals are twice as wide;
# the rates below hold with both.
BLOCKS = 32
LEAST = 16  # values
LEVEL = 0.05  # of stationary curves at most this fraction is called falling, and as many rising (measured in the tests)
MOST_CORRELATED = 0.8  # ours: of block means; beyond, the curve is too short for its memory
LAST_QUARTERS = float(np.log(3.5 / 2.5))  # of log time, from the middle of the third quarter to that of the fourth


@dataclass(frozen=True)
class Trend:
    """The fall of a curve from the third to the fourth quarter, as the map's rules measure it: of twice its length where it is
    fitted over time, as the second half of a longer one; of all of it where over log time.

    fall: logs, or loss where losses are not all above 0.
    low, high: its 95% interval.
    level: mean of the curve's second half, as a loss.
    tolerance: a smaller fall does not matter.
    logs: is the fall one of logs?
    """

    fall: float
    low: float
    high: float
    level: float
    tolerance: float
    logs: bool

    @property
    def falling(self) -> bool:
        """Does it fall, beyond noise?"""
        return self.low > 0

    @property
    def rising(self) -> bool:
        """Does it rise, beyond noise?"""
        return self.high < 0

    @property
    def stationary(self) -> bool:
        """Is there no trend beyond noise, and noise so low that a fall that matters would have been seen?"""
        return self.low <= 0 <= self.high and self.high < self.tolerance

    def ahead(self, falls: float) -> float:
        """The loss that many falls, at this speed, after the middle of the curve's second half."""
        if self.logs:
            return self.level * float(np.exp(-falls * self.fall))
        return self.level - falls * self.fall


def trend(loss_N: Array, scale: float = 1.0, *, before: int = 0) -> Trend | None:
    """The trend of a curve; None with fewer than 16 values, or values that are not finite.

    Args:
        loss_N: mean losses of equally long intervals.
        scale: what counts as much, where losses are not all above 0: the loss removed since the start.
        before: intervals before the first of these. With any, the line is fitted over log time, where the loss of a converging
            run, a power of time, is straight on the log scale; without, over time.
    """
    values = np.asarray(loss_N, dtype=np.float64)
    if len(values) < LEAST or not np.isfinite(values).all():
        return None
    logs = bool((values > 0).all())
    means = block_means(values)
    place = block_means(before + 0.5 + np.arange(len(values)))
    times, part = (np.log(place), LAST_QUARTERS) if before else (place / len(means) / (place[1] - place[0]), 0.5)
    slope, error, freedom = fitted(np.log(means) if logs else means, times)
    margin = float(special.stdtrit(freedom, 1 - LEVEL / 2)) * error * part
    fall = -slope * part
    tolerance = RULES.falling_logs * (1.0 if logs else abs(scale))
    level = float(values[len(values) // 2 :].mean())
    return Trend(fall, fall - margin, fall + margin, level, tolerance, logs)


def block_means(values_N: Array) -> Array:
    """Means [B] of blocks of equal length, BLOCKS or up to twice as many; the first values are left out where they do not fit.
    Of fewer values each is a block."""
    length = max(len(values_N) // BLOCKS, 1)
    count = len(values_N) // length
    found: Array = values_N[len(values_N) - count * length :].reshape(count, length).mean(1)
    return found


def fitted(means_B: Array, times_B: Array) -> tuple[float, float, float]:
    """Slope of the fitted line, its standard error and degrees of freedom."""
    n, t = len(means_B), times_B - times_B.mean()
    slope, residuals = _line(_without_jumps(means_B, t), t)
    squares = float(residuals @ residuals)
    rounding = 1e-12 * float(np.abs(means_B).max())
    if squares <= rounding**2 * n:
        return slope, rounding / float(np.ptp(t)), n - 2.0
    r = float(residuals[1:] @ residuals[:-1]) / squares
    r = float(np.clip(r + (2 + 4 * max(r, 0.0)) / n, 0.0, MOST_CORRELATED))
    growth = (1 + r) / (1 - r)
    error = float(np.sqrt(squares / (n - 2) / (t @ t) * growth))
    return slope, error, max(n / growth - 2, 1.0)


def _line(means_B: Array, t_B: Array) -> tuple[float, Array]:
    """Slope over centred times, and residuals."""
    slope = float(means_B @ t_B / (t_B @ t_B))
    return slope, means_B - means_B.mean() - slope * t_B


def _without_jumps(means_B: Array, t_B: Array) -> Array:
    """What lies far from the line is moved towards it; twice, as the first line is drawn by the jumps."""
    for _ in range(2):
        slope, residuals = _line(means_B, t_B)
        middle = float(np.median(residuals))
        bound = OUTLIER * MAD_TO_DEVIATION * float(np.median(np.abs(residuals - middle)))
        line = means_B.mean() + slope * t_B + middle
        means_B = line + np.clip(residuals - middle, -bound, bound)
    return means_B


def stationary_for(loss_N: Array, scale: float = 1.0) -> int:
    """How many of the last values are stationary: the longest of a ladder of lengths, each a fifth longer; 0 if none is."""
    found, length = 0, float(LEAST)
    while length <= len(loss_N):
        seen = trend(loss_N[-int(length) :], scale)
        if seen is not None and seen.stationary:
            found = int(length)
        length *= 1.2
    return found
