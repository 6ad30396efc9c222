"""How far an axis is zoomed in: to where lines differ, so that a few failed learning rates do not press the others flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrscope.reporting.frames import Array, Spread

# Ours. A smooth optimum on an even grid spreads over four times the range of its better half; failed runs over far more.
STEEP = 6.0
LEAST_POINTS = 4
NOISE = 2.0  # standard deviations that the axis spans at least
NEAR = 3.0  # ranges: the best of the line to compare with is shown if it lies no further off
LEAST_LENGTH = 0.002  # of accuracy, loss or decades: two tenths of a point
INSIDE = 0.02  # of the axis: how far inside its edge marks stand
WORTH = 2.0  # an axis is zoomed only if it would be this many times as long otherwise


@dataclass(frozen=True, kw_only=True)
class Zoom:
    """The ends of a zoomed axis. Values worse than its worse end are left out, with a mark at `edge`, just inside it."""

    low: float
    high: float
    edge: float
    higher_is_better: bool

    def outside(self, values: Array) -> NDArray[np.bool_]:
        """Which values are left out (NaN is not: it is not drawn anyway)."""
        with np.errstate(invalid="ignore"):
            return values < self.low if self.higher_is_better else values > self.high


def zoom(lines: Sequence[Spread], before: Spread, *, log: bool, higher_is_better: bool) -> Zoom | None:
    """The ends of an axis for the means of `lines`, (L,) each, beside a line to compare them with.

    Starting from all points, those beyond a gap of more than half the range are left out, then the worse half for as long
    as it takes up nearly all of the range. None where the axis would hardly get shorter.
    """
    means = np.concatenate([line.mean for line in lines])
    sds = np.concatenate([line.sd for line in lines])
    good, noise = _scaled(means, sds, log=log, sign=1 if higher_is_better else -1)
    other, _ = _scaled(before.mean, before.sd, log=log, sign=1 if higher_is_better else -1)
    if good.size < LEAST_POINTS:
        return None
    kept = np.sort(good)[::-1]
    least = NOISE * float(np.median(noise))
    while (above := _above_gap(kept, 2 * least)) >= LEAST_POINTS:
        kept = kept[:above]
    while kept.size >= 2 * LEAST_POINTS and _range(kept) > STEEP * max(_range(_better_half(kept)), least):
        kept = _better_half(kept)
    bottom, top, length = float(kept[-1]), float(kept[0]), max(_range(kept), least)
    if other.size and other.max() > bottom - NEAR * length:
        bottom, top = min(bottom, float(other.max())), max(top, float(other.max()))
        length = max(top - bottom, least)
    length = max(length, LEAST_LENGTH)
    low, high = bottom - 0.25 * length, top + 0.15 * length
    worst = min(float(values.min()) for values in (good, other) if values.size)
    if low - worst < (WORTH - 1) * (high - low):
        return None
    places = [low, high, low + INSIDE * (high - low)]
    if not higher_is_better:
        places = [-high, -low, -places[2]]
    low, high, edge = (10**place if log else place for place in places)
    return Zoom(low=low, high=high, edge=edge, higher_is_better=higher_is_better)


def _scaled(means: Array, sds: Array, *, log: bool, sign: int) -> tuple[Array, Array]:
    """Finite means on the axis' scale, signed so that more is better, and their standard deviations."""
    there = np.isfinite(means) & np.isfinite(sds) & ((means > 0) | (not log))
    means, sds = means[there], sds[there]
    return (sign * np.log10(means), sds / means / np.log(10)) if log else (sign * means, sds)


def _above_gap(descending: Array, least: float) -> int:
    """How many values lie above the largest gap between neighbours, if it makes up most of the range; else 0."""
    gaps = -np.diff(descending)
    if not gaps.size or gaps.max() <= max(0.5 * _range(descending), least):
        return 0
    return int(gaps.argmax()) + 1


def _better_half(descending: Array) -> Array:
    return descending[: -(-descending.size // 2)]


def _range(values: Array) -> float:
    return float(values.max() - values.min())
