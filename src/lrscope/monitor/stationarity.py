"""Is a loss stationary? A test with a stated rate of false alarms, and a tolerance below which a fall does not matter.

The curve is cut into blocks; their means are fitted by a line. Its slope is compared with what noise of first-order
autocorrelation r leaves: the standard error grows by sqrt((1 + r) / (1 - r)), the degrees of freedom shrink likewise, r is
that of the residuals, corrected for its bias (Marriott and Pope 1954). N values, B blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lrscope.mapping.votes import RULES

Array = NDArray[np.floating[Any]]

BLOCKS = 16  # ours: enough for the autocorrelation, few enough that blocks of long curves are nearly independent
LEAST = 16  # values
LEVEL = 0.05  # of stationary curves at most this fraction is called falling, and as many rising (measured in the tests)
MOST_CORRELATED = 0.8  # ours: of block means; beyond, the curve is too short for its memory


@dataclass(frozen=True)
class Trend:
    """The fall of a curve from the third to the fourth quarter of twice its length, as the map's rules measure it.

    fall: half of what the fitted line loses over the curve: logs, or loss where losses are not all above 0.
    low, high: its 95% interval.
    level: mean of the curve's second half, as a loss.
    tolerance: a smaller fall does not matter.
    """

    fall: float
    low: float
    high: float
    level: float
    tolerance: float

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


def trend(loss_N: Array, scale: float = 1.0) -> Trend | None:
    """The trend of a curve; None with fewer than 16 values, or values that are not finite.

    Args:
        loss_N: mean losses of equally long intervals.
        scale: what counts as much, where losses are not all above 0: the loss removed since the start.
    """
    values = np.asarray(loss_N, dtype=np.float64)
    if len(values) < LEAST or not np.isfinite(values).all():
        return None
    logs = bool((values > 0).all())
    means = block_means(values)
    slope, error, freedom = fitted(np.log(means) if logs else means)
    margin = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * error
    fall = -slope / 2
    tolerance = RULES.falling_logs * (1.0 if logs else abs(scale))
    return Trend(fall, fall - margin / 2, fall + margin / 2, float(values[len(values) // 2 :].mean()), tolerance)


def block_means(values_N: Array, blocks: int = BLOCKS) -> Array:
    """Means [B] of blocks of equal length; the first values are left out where they do not fit."""
    count = min(blocks, len(values_N))
    length = len(values_N) // count
    found: Array = values_N[len(values_N) - count * length :].reshape(count, length).mean(1)
    return found


def fitted(means_B: Array) -> tuple[float, float, float]:
    """Change of the fitted line over the whole curve, its standard error and degrees of freedom."""
    n = len(means_B)
    t = (np.arange(n) - (n - 1) / 2) / n
    slope = float(means_B @ t / (t @ t))
    residuals = means_B - means_B.mean() - slope * t
    squares = float(residuals @ residuals)
    if squares <= (1e-12 * float(np.abs(means_B).max())) ** 2 * n:
        return slope, 1e-12 * float(np.abs(means_B).max()), n - 2.0
    r = float(residuals[1:] @ residuals[:-1]) / squares
    r = float(np.clip(r + (2 + 4 * max(r, 0.0)) / n, 0.0, MOST_CORRELATED))
    growth = (1 + r) / (1 - r)
    error = float(np.sqrt(squares / (n - 2) / (t @ t) * growth))
    return slope, error, max(n / growth - 2, 1.0)


def stationary_for(loss_N: Array, scale: float = 1.0) -> int:
    """How many of the last values are stationary: the longest of a ladder of lengths, each a fifth longer; 0 if none is."""
    found, length = 0, float(LEAST)
    while length <= len(loss_N):
        seen = trend(loss_N[-int(length) :], scale)
        if seen is not None and seen.stationary:
            found = int(length)
        length *= 1.2
    return found
