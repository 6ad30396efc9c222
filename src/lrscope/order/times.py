"""When a curve first reaches a level, known to the logged times around it. Array kernels without labels.

T logged times; any axes in front of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FirstTimes:
    """When curves first reach a level, in the unit of the logged times; the shape of the curves without their last axis.

    Attributes:
        estimate: by linear interpolation between the logged values around it; inf where the level is not reached. Where the
            first logged value is as high already it is that value's time.
        low, high: the logged times between which it lies: the last one below the level (0 if there is none) and the first
            one at it. Where the level is not reached, the last time that was logged and inf.
        kept: is the last logged value at the level too? False where it is not reached.
    """

    estimate: Array
    low: Array
    high: Array
    kept: NDArray[np.bool_]


def first_times(curves: NDArray[Any], at: NDArray[Any], level: float) -> FirstTimes:
    """The first time at which each curve [..., T], logged at the increasing times `at` [T], is at `level` or above.

    NaN is a value that is not known: of a run that ended early all later ones. A curve may fall below the level again.
    """
    curves, at = np.asarray(curves, dtype=float), np.asarray(at, dtype=float)
    known, places = np.isfinite(curves), np.arange(len(at))
    above = known & (np.where(known, curves, -np.inf) >= level)
    ever = above.any(-1)
    first = np.where(ever, above.argmax(-1), len(at))
    last = np.where(known & (places < first[..., None]), places, -1).max(-1)
    low = np.where(last >= 0, at[last], 0.0)
    high = np.where(ever, at[np.minimum(first, len(at) - 1)], np.inf)
    begin, end = _taken(curves, last), _taken(curves, np.minimum(first, len(at) - 1))
    inside = ever & (last >= 0)
    part = np.divide(level - begin, end - begin, out=np.ones_like(low), where=inside)
    estimate = np.where(inside, low + part * (np.where(inside, high, 0.0) - low), high)
    final = np.where(known, places, -1).max(-1)
    return FirstTimes(estimate=estimate, low=low, high=high, kept=ever & (_taken(above, final) > 0))


def _taken(values: NDArray[Any], index: NDArray[np.int64]) -> Array:
    """The values [..., T] at an index [...] each; anything where it is negative."""
    return np.take_along_axis(values, np.maximum(index, 0)[..., None], -1)[..., 0].astype(float)
