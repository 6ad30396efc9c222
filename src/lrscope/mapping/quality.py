"""Subregimes 2A and 2B: from which learning rates does fine-tuning reach the best test quality? Array kernels.

L learning rates, U units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

ERRORS = 2.0  # within two standard errors counts as equal (design of the claims; ours)
TOLERANCE = 0.002  # ours: two tenths of a percentage point are no difference to anyone


def as_good_as_best(quality_LU: Array) -> NDArray[np.bool_]:
    """Is each learning rate's mean quality within noise of the best one's? Paired over units; NaN units are left out.

    Quality is better when larger. Noise is two standard errors of the paired difference, or the tolerance.
    """
    good = np.isfinite(quality_LU).any(1)
    means = np.full(len(quality_LU), -np.inf)
    means[good] = np.nanmean(quality_LU[good], axis=1)
    best = int(means.argmax())
    difference = quality_LU[best] - quality_LU
    count = np.isfinite(difference).sum(1)
    deviation = np.zeros(len(quality_LU))
    several = count > 1
    deviation[several] = np.nanstd(difference[several], axis=1, ddof=1) / np.sqrt(count[several])
    gap = np.full(len(quality_LU), np.inf)
    gap[count > 0] = np.nanmean(difference[count > 0], axis=1)
    return gap <= np.maximum(ERRORS * deviation, TOLERANCE)


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
