"""Which learning rates are as good as the best one: by noise (2A and 2B), and within a margin (the recommendation).

Array kernels without labels. Quality is better when larger; 0.01 is a point. L learning rates, U units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

ERRORS = 2.0  # within two standard errors counts as equal (design of the claims; ours)
TOLERANCE = 0.002  # ours: two tenths of a point are negligible in practice
MOST = 0.01  # ours: a point less is not as good, however much the seeds scatter
AROUND = 2  # ours: learning rates on either side of the best one that say how much its quality scatters
LEVEL = 0.975  # two-sided 95%
SHOWN = 0.95  # one-sided: equivalence within the margin is shown at 5%
LEAST_LEARNED = 0.02  # ours: share of the way from guessing to perfect that is worth recommending


def as_good_as_best(quality_LU: Array) -> Mask:
    """Is each learning rate's mean quality within noise of the best one's? Paired over units; NaN units are left out.

    The best is among the learning rates with most units. Noise is the largest of two standard errors of the paired
    difference and of what the best one's neighbours say about it (`noise`), but at most `MOST` (more where fewer units
    are known, by their standard error); `TOLERANCE` is always allowed. The neighbours matter with few seeds: three
    differences may lie close together by luck, and two of their standard errors then reject an equal learning rate in one
    case of five. The limit matters where seeds fail: the scatter of a bad learning rate is no reason to call it good.
    """
    count = np.isfinite(quality_LU).sum(1)
    complete = (count > 0) & (count == count.max())
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
    most = MOST * np.sqrt(count.max() / np.maximum(count, 1))
    allowed = np.clip(np.maximum(ERRORS * deviation, scatter), TOLERANCE, most)
    equal: Mask = gap <= allowed
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
    left = rows - rows.mean(1, keepdims=True) - rows.mean(0) + rows.mean()
    return float(special.stdtrit(freedom, LEVEL) * np.sqrt(2 * np.square(left).sum() / freedom))


def stretch(equal_L: Mask, start: int, stop: int, known_L: Mask | None = None) -> tuple[int, int]:
    """Positions [begin, end) of 2A within regime 2, [start, stop): from the first learning rate that is as good as the
    best, as far as the next ones are too. `end` is the border 2A|2B; (start, start) means that there is no 2A.

    Learning rates that were not fine-tuned (`known_L` false) belong to the stretch if they lie inside it.
    """
    known = [k for k in range(start, stop) if known_L is None or known_L[k]]
    begin = next((k for k in known if equal_L[k]), None)
    if begin is None:
        return start, start
    end = begin
    for k in known[known.index(begin) :]:
        if not equal_L[k]:
            break
        end = k + 1
    untried = all(k not in known for k in range(start, begin))
    return (start if untried else begin), end


def lower_part(quality_LU: Array, start: int, stop: int, known_L: Mask | None = None) -> tuple[int, int]:
    """Positions [begin, end) of 2A within regime 2 (`stretch`), from qualities [L, U] of the whole grid.

    Where 2A begins inside regime 2, its best learning rate must end clearly better than those below it: one of many that
    fall a little short of the best comes near it by luck.
    """
    begin, end = stretch(as_good_as_best(quality_LU), start, stop, known_L)
    lucky = begin < end and as_good_as_best(quality_LU[start:end])[: begin - start].any()
    return (start, start) if lucky else (begin, end)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What measured quality recommends, as positions of the grid: the best, and ranges [first, last] that are shown to be
    equivalent to it within the margin (`low`, `high`) and that are not shown to be worse (`from_`, `to`). `cliff` is the
    lowest learning rate above the best measured one at which a seed was lost, `peak` the best measured one itself; `alone` is
    the one whose own mean, unlike its smoothed one, is higher by more than the margin, None if there is none."""

    best: int
    low: int
    high: int
    from_: int
    to: int
    cliff: int | None
    peak: int
    alone: int | None
    level: float


def choose(lrs: Array, quality_LU: Array, lost_LU: Mask, guess: float, margin: float) -> Choice | None:
    """The best learning rate by smoothed quality and its equals within `margin`; None if nothing was learned.

    Quality is smoothed over neighbours in log lr (`smoothing`), because the best of many noisy means is often a lucky one.
    Differences of smoothed means are compared with Student's t for the seeds' scatter around both (`variances`):
    equivalent are those whose 95% upper bound is below the margin (a one-sided test of
    non-inferiority), so more noise makes the range narrower, never wider. Left out are learning rates with a lost seed
    and their neighbours below. A seed is lost if it did not end finite. Above the best it is also lost if it ends nearer to
    guessing than to the best.

    Args:
        lrs: learning rates [L], increasing. quality_LU: NaN where a run was not trained or is lost.
        lost_LU: runs that did not end finite. guess: quality of guessing. margin: in quality, 0.003 is 0.3 points.
    """
    lost_L, complete = np.asarray(lost_LU.any(1)), np.asarray(np.isfinite(quality_LU).all(1), dtype=bool)
    if not complete.any():
        return None
    weights, means = smoothing(lrs, quality_LU), _means(quality_LU)
    smooth = weights @ means
    peak = int(np.where(complete, smooth, -np.inf).argmax())
    level, learned = float(smooth[peak]), guess + LEAST_LEARNED * (1 - guess)
    if level < learned:
        return None
    with np.errstate(invalid="ignore"):
        fallen = (quality_LU < guess + (level - guess) / 2).any(1) & (np.arange(len(lrs)) > peak)
    edge = lost_L | fallen
    above = [k for k in np.flatnonzero(edge) if k > peak]
    usable = complete & ~edge & ~_below(edge, complete | edge)
    usable &= smooth >= learned
    if not usable.any():
        return None
    best = int(np.where(usable, smooth, -np.inf).argmax())
    alone = int(np.where(usable, means, -np.inf).argmax())
    shown, open_ = _compared(weights, quality_LU, smooth, best, margin)
    known = complete | edge | _falls_short(quality_LU, best, margin)
    low, high = _around(best, shown & usable, known)
    from_, to = _around(best, open_ & usable, known)
    cliff = int(above[0]) if above else None
    return Choice(
        best=best,
        low=low,
        high=high,
        from_=from_,
        to=to,
        cliff=cliff,
        peak=peak,
        alone=alone if means[alone] > means[best] + margin else None,
        level=float(smooth[best]),
    )


def kernel(lrs: Array, complete: Mask) -> Array:
    """Smoothing weights [L, L]: a triangle over log lr two median cells wide to either side, over the learning rates
    that have all units; on an even grid 1/4, 1/2, 1/4."""
    place = np.log(lrs)
    cells = np.diff(place)
    width = 2 * float(np.median(cells)) if len(cells) else 1.0
    weights = np.clip(1 - np.abs(place[:, None] - place[None, :]) / width, 0, None) * complete
    total = weights.sum(1, keepdims=True)
    return np.asarray(np.divide(weights, total, out=np.zeros_like(weights), where=total > 0))


def smoothing(lrs: Array, quality_LU: Array) -> Array:
    """Weights [L, L] of the smoothed means: `kernel`'s, moved towards the learning rate's own mean as far as the two differ
    by more than noise.

    The share of its own is 1 - (ERRORS s / d)^2, at least 0 (the positive part of James and Stein's estimate, for one
    number), where d is the difference and s its standard error: a peak one cell wide is kept, a lucky seed is not.
    """
    complete = np.asarray(np.isfinite(quality_LU).all(1), dtype=bool)
    weights = kernel(lrs, complete)
    own = np.eye(len(lrs)) * complete
    difference = np.square((own - weights) @ _means(quality_LU))
    variance = np.square(own - weights) @ variances(quality_LU) / quality_LU.shape[1]
    ratio = np.divide(ERRORS**2 * variance, difference, out=np.ones(len(lrs)), where=difference > 0)
    share = np.maximum(1 - ratio, 0)[:, None]
    return np.asarray(share * own + (1 - share) * weights)


def variances(quality_LU: Array) -> Array:
    """Variance of single seeds around each learning rate's mean [L], without what seeds have in common; 0 with one seed.

    Each learning rate's own residuals count as much as the median of those around it (`AROUND` on either side), so that three
    seeds that agree by luck are not taken for certain, and a learning rate that scatters does not blur its neighbours.
    """
    lrs, units = quality_LU.shape
    complete = np.asarray(np.isfinite(quality_LU).all(1), dtype=bool)
    if units < 2:
        return np.zeros(lrs)
    centred = np.where(complete[:, None], quality_LU - _means(quality_LU)[:, None], np.nan)
    found = np.zeros(lrs)
    own = np.full(lrs, np.nan)
    for k in np.flatnonzero(complete):
        common = np.nanmedian(centred[max(0, k - AROUND) : k + AROUND + 1], axis=0)
        own[k] = np.square(centred[k] - common).sum() / (units - 1)
    median = 2 * special.gammaincinv((units - 1) / 2, 0.5)  # of chi squared
    typical = median / (units - 1)  # of a variance estimate, in units of the variance
    for k in np.flatnonzero(complete):
        around = float(np.nanmedian(own[max(0, k - AROUND) : k + AROUND + 1])) / typical
        found[k] = (own[k] + around) / 2
    return found


def _means(quality_LU: Array) -> Array:
    """Means of the learning rates that have all units, 0 for the others."""
    complete = np.isfinite(quality_LU).all(1)
    return np.asarray(np.where(complete, np.nan_to_num(quality_LU).mean(1), 0.0))


def _below(edge_L: Mask, known_L: Mask) -> Mask:
    """The known learning rates next to an edge, on its lower side."""
    found = np.zeros(len(edge_L), bool)
    for k in np.flatnonzero(edge_L):
        found[np.flatnonzero(known_L[:k])[-1:]] = True
    return found


def _compared(weights: Array, quality_LU: Array, smooth: Array, best: int, margin: float) -> tuple[Mask, Mask]:
    """For each learning rate: shown to be within the margin of the best, and not shown to be worse than that."""
    lrs, units = quality_LU.shape
    shown, open_ = np.zeros(lrs, bool), np.zeros(lrs, bool)
    means, variance_L = quality_LU.mean(1), variances(quality_LU)
    for k in range(lrs):
        near = [j for j in range(lrs) if min(abs(j - k), abs(j - best)) <= AROUND and np.isfinite(means[j])]
        freedom = (len(near) - 1) * (units - 1)
        spread = np.sqrt(np.square(weights[best] - weights[k]) @ variance_L / units)
        bound = special.stdtrit(freedom, SHOWN) * spread if freedom else np.inf
        gap = smooth[best] - smooth[k]
        shown[k] = gap + bound <= margin and means[best] - means[k] <= margin
        open_[k] = gap - bound <= margin
    return shown, open_


def _falls_short(quality_LU: Array, best: int, margin: float) -> Mask:
    """Learning rates whose units, as many as are known, end more than the margin below the same units of the best."""
    difference = quality_LU[best] - quality_LU
    count = np.isfinite(difference).sum(1)
    return np.asarray(np.nansum(difference, axis=1) > margin * count, dtype=bool)


def _around(best: int, good_L: Mask, known_L: Mask) -> tuple[int, int]:
    """The unbroken stretch of good learning rates around the best; unknown ones do not break it."""
    low = high = best
    for k in range(best + 1, len(good_L)):
        if known_L[k] and not good_L[k]:
            break
        high = k if good_L[k] else high
    for k in range(best - 1, -1, -1):
        if known_L[k] and not good_L[k]:
            break
        low = k if good_L[k] else low
    return low, high
