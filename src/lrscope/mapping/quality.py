"""Subregimes 2A and 2B: from which learning rates does fine-tuning reach the best test quality? Array kernels.

L learning rates, U units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.floating[Any]]

ERRORS = 2.0  # within two standard errors counts as equal (design of the claims; ours)
TOLERANCE = 0.002  # ours: two tenths of a percentage point are no difference to anyone
AROUND = 2  # ours: learning rates on either side of the best one that say how much its quality scatters
LEVEL = 0.975  # two-sided 95%


def as_good_as_best(quality_LU: Array) -> NDArray[np.bool_]:
    """Is each learning rate's mean quality within noise of the best one's? Paired over units; NaN units are left out.

    Quality is better when larger; the best is among the learning rates with most units. Noise is the largest of two
    standard errors of the paired difference, of what the best one's neighbours say about it (`noise`), and of the
    tolerance. The second matters with few seeds: three differences may lie close together by luck, and two of their
    standard errors then reject an equal learning rate in one case of five.
    """
    count = np.isfinite(quality_LU).sum(1)
    complete = (count > 0) & (count == count.max(initial=0))
    means = np.full(len(quality_LU), -np.inf)
    means[complete] = np.nanmean(quality_LU[complete], axis=1)
    best = int(means.argmax())
    difference = quality_LU[best] - quality_LU
    count = np.isfinite(difference).sum(1)
    deviation = np.zeros(len(quality_LU))
    several = count > 1
    deviation[several] = np.nanstd(difference[several], axis=1, ddof=1) / np.sqrt(count[several])
    gap = np.full(len(quality_LU), np.inf)
    gap[count > 0] = np.nanmean(difference[count > 0], axis=1)
    scatter = noise(quality_LU[max(0, best - AROUND) : best + AROUND + 1]) / np.sqrt(np.maximum(count, 1))
    equal: NDArray[np.bool_] = gap <= np.maximum(np.maximum(ERRORS * deviation, scatter), TOLERANCE)
    return equal


def noise(quality_LU: Array) -> float:
    """The difference of two equal learning rates that 95% of single seeds stay below, from rows that have all units.

    The residual variance of quality = (learning rate) + (unit), with Student's quantile for its degrees of freedom; 0
    where there is nothing to estimate it from. A mean over n units has it divided by sqrt(n).
    """
    rows = quality_LU[np.isfinite(quality_LU).all(1)]
    freedom = (len(rows) - 1) * (rows.shape[1] - 1)
    if freedom < 1:
        return 0.0
    residual = rows - rows.mean(1, keepdims=True) - rows.mean(0) + rows.mean()
    return float(stats.t.ppf(LEVEL, freedom) * np.sqrt(2 * np.square(residual).sum() / freedom))


def reach(equal_L: NDArray[np.bool_], start: int, stop: int, known_L: NDArray[np.bool_] | None = None) -> int:
    """End of the stretch of learning rates from `start` (the 1|2 border) up, within [start, stop), that are as good as
    the best: the position of the border 2A|2B. `start` itself means that there is no 2A.

    Learning rates that were not fine-tuned (`known_L` false) belong to the stretch if a later one does.
    """
    position = start
    for k in range(start, stop):
        if known_L is not None and not known_L[k]:
            continue
        if not equal_L[k]:
            break
        position = k + 1
    return position
