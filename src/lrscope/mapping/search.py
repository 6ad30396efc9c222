"""Which runs of the grid to train next, so that its borders are found with few of them. Array kernels without labels.

L learning rates, U units (data seed x seed). Every round looks at all that is known so far; nothing is drawn at random,
so the rounds are a function of the results.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrscope.mapping import borders, quality
from lrscope.mapping.votes import DIVERGENCE

SCOUTS = 4  # ours: the first scouts cut the grid into quarters; more of them save rounds and cost runs
SPARE = 0.3  # ours: while no more of the grid than this is trained, what halving skipped in 2A is pre-trained too
INTERVAL_SEEDS = 5  # fewer give a range, not a 95% interval
CLEAR = 0.05  # ours, logs: half of what counts as risen; a neighbour closer to the best level gets all seeds too
BELOW = 3  # ours: learning rates below the border 1|2 whose fine-tuned quality may serve as the best

Runs = frozenset[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the runs trained so far say, [L, U]: votes (0 unknown), final log loss, which runs were trained, ended
    non-finite, were fine-tuned, and the quality reached then (None: no fine-tuning). NaN where there is nothing.
    `best` is the best converging learning rate, `share` the part of the grid's run-steps spent."""

    votes_LU: NDArray[np.int64]
    level_LU: NDArray[np.float64]
    trained_LU: NDArray[np.bool_]
    broken_LU: NDArray[np.bool_]
    tuned_LU: NDArray[np.bool_]
    quality_LU: NDArray[np.float64] | None
    best: int | None
    share: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The next round: runs (position of the learning rate, unit) to pre-train, and runs to fine-tune, some right after
    their pre-training. Empty: all is told."""

    pretrain: Runs = frozenset()
    tune: Runs = frozenset()

    def __bool__(self) -> bool:
        return bool(self.pretrain or self.tune)


def start(lrs: int, units: int) -> Wanted:
    """The first round: scouts that cut the grid into quarters."""
    return Wanted(pretrain=frozenset((i * lrs // SCOUTS, 0) for i in range(1, SCOUTS) if units))


def next_round(seen: Seen) -> Wanted:
    """What to train next.

    Scouts, one run each, first cut the grid into quarters; the gaps in which a border lies are halved until it lies
    between neighbours, which then get all seeds, as do the best converging learning rate (all others are compared with
    it) and scouts that contradict the order of regimes. Last, the lower end of regime 2 is fine-tuned until 2A ends.
    """
    lrs = len(seen.trained_LU)
    if not seen.trained_LU.any():
        return start(*seen.trained_LU.shape)
    any_L, all_L = any_unit(seen.trained_LU), _all_units(seen.trained_LU)
    votes_LU = np.where(seen.broken_LU, DIVERGENCE, seen.votes_LU)  # overflow comes after regime 2
    if not (votes_LU > 0).any():
        return Wanted()
    first, second = borders.split(borders.tally(votes_LU))
    scouts: set[int] = set()
    whole = _contradicting(votes_LU, first, second)
    most: set[int] = set()
    near: set[int] = set()  # neighbours of the border 1|2, once it lies between two
    for edge in (first, second):
        low, high = _between(any_L, edge)
        if high - low > 1:
            scouts.add((low + high) // 2)
        elif edge == first:
            near = {k for k in (low, high) if 0 <= k < lrs}
        else:
            most |= {k for k in (low, high) if 0 <= k < lrs and not _decided(votes_LU[k])}
    if near and first > 0:  # a stationary loss looks converged until a lower one is known, on the whole grid too
        around, compared = _around_best(seen, first)
        scouts |= around
        near = set() if around else near | compared  # the border may still move with the best level
    whole |= near
    tuned = set()
    if near and not scouts and all(all_L[k] for k in whole if k <= first):
        tuned = _to_tune(seen, first, _between(any_L, second)[0])
    return _wanted(seen, scouts, most, whole, tuned, probed={k for k in tuned if _needs_probe(seen, k, first)})


def _decided(votes_U: NDArray[np.int64]) -> bool:
    """Can the seeds left out no longer change the label? Where 95% intervals are given, all seeds count."""
    units = len(votes_U)
    most = np.bincount(votes_U[votes_U > 0], minlength=1).max()
    return bool(units < INTERVAL_SEEDS and 2 * most > units)


def _needs_probe(seen: Seen, k: int, first: int) -> bool:
    """Is one seed fine-tuned before the others, because it may fall short by more than seeds differ? Not next to the
    border 1|2, whose learning rates are the measure, and not where 95% intervals are given."""
    units = seen.tuned_LU.shape[1]
    return k > first and 1 < units < INTERVAL_SEEDS and not seen.tuned_LU[k].any()


def _wanted(seen: Seen, scouts: set[int], most: set[int], whole: set[int], tuned: set[int], probed: set[int]) -> Wanted:
    """The runs still missing: one at each scouted or probed learning rate, more than half or all of them where these
    disagree or give intervals, all at the others."""
    scouts, tuned = scouts | probed, tuned - probed
    units = range(seen.trained_LU.shape[1])
    half = range(len(units) // 2 + 1)
    for k in most:
        if len(units) >= INTERVAL_SEEDS or all(seen.trained_LU[k, u] for u in half):
            whole = whole | {k}
    pretrain = {(k, 0) for k in scouts} | {(k, u) for k in whole | tuned for u in units}
    pretrain |= {(k, u) for k in most for u in half}
    tune = {(k, u) for k in tuned for u in units} | {(k, 0) for k in probed}
    tune = {run for run in tune if not seen.broken_LU[run]}
    return Wanted(
        pretrain=frozenset(run for run in pretrain if not seen.trained_LU[run]),
        tune=frozenset(run for run in tune if not seen.tuned_LU[run]),
    )


def any_unit(mask_LU: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Learning rates where the mask is set for any unit."""
    return np.asarray(mask_LU.any(axis=1), dtype=bool)


def _all_units(mask_LU: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(mask_LU.all(axis=1), dtype=bool)


def _between(known_L: NDArray[np.bool_], edge: int) -> tuple[int, int]:
    """The trained learning rates next to a border at position `edge`: -1 and L stand for the ends of the grid."""
    below, above = np.flatnonzero(known_L[:edge]), np.flatnonzero(known_L[edge:])
    return (int(below[-1]) if len(below) else -1), (edge + int(above[0]) if len(above) else len(known_L))


def _contradicting(votes_LU: NDArray[np.int64], first: int, second: int) -> set[int]:
    """Learning rates where most votes so far are not the label of the ordered split."""
    place = np.arange(len(votes_LU))
    label = np.where(place < first, 1, np.where(place < second, 2, 3))
    counts = borders.tally(votes_LU)
    mine = counts[place, label - 1]
    return {int(k) for k in np.flatnonzero(2 * mine < counts.sum(1))}


def _around_best(seen: Seen, first: int) -> tuple[set[int], set[int]]:
    """Scouts and learning rates with all seeds that make sure of the best converging learning rate: its neighbours are
    known, and those not clearly above it with all seeds."""
    if seen.best is None:
        return set(), set()
    best = seen.best
    low, _ = _between(any_unit(seen.trained_LU), best)
    _, high = _between(any_unit(seen.trained_LU), best + 1)
    if best < first - 1 and high - best > 1:
        return {(best + high) // 2}, set()
    if best - low > 1:
        return {best - 1}, set()
    near = {k for k in (low, high) if 0 <= k < len(seen.trained_LU)}
    return set(), {best} | {k for k in near if not _clearly_above(seen, k, best)}


def _clearly_above(seen: Seen, k: int, best: int) -> bool:
    """Do the same seeds end clearly higher at position k than at the best converging learning rate?"""
    gap = seen.level_LU[k] - seen.level_LU[best]
    gap = gap[np.isfinite(gap)]
    return bool(len(gap) and gap.mean() > CLEAR)


def _to_tune(seen: Seen, first: int, top: int) -> set[int]:
    """Learning rates to fine-tune: both sides of the border 1|2, below it until the quality falls, above it until 2A
    ends, at most to `top`, the highest one known to be in regime 2."""
    if seen.quality_LU is None or top < first:
        return set()
    done_L = _tuned(seen)
    start = {first, max(first - 1, 0)}
    if not all(done_L[k] for k in start):
        return start
    values_LU = np.where(done_L[:, None], seen.quality_LU, np.nan)
    equal_L = quality.as_good_as_best(values_LU)
    means = np.array([np.nanmean(v) if np.isfinite(v).any() else -np.inf for v in values_LU])
    lowest, peak = int(np.flatnonzero(done_L)[0]), int(means.argmax())
    more = {lowest - 1} if peak == lowest and max(0, first - BELOW) < lowest else set()
    begin, stop = quality.stretch(equal_L, first, top + 1, done_L)
    good = max(stop, first) - 1  # the last one known to be as good as the best
    bad = [int(k) for k in np.flatnonzero(done_L & ~equal_L) if good < k <= top]
    end = bad[0] if bad else top + 1
    if begin == stop and first <= peak < top and not done_L[peak + 1]:  # quality still rises inside regime 2
        return more | {peak + 1}
    if end - good > 1:
        return more | {(good + end) // 2}
    short = [int(k) for k in np.flatnonzero(done_L & ~equal_L) if first <= k < begin]  # 2A begins inside regime 2
    if short and begin - short[-1] > 1:
        return more | {(short[-1] + begin) // 2}
    skipped = [k for k in range(begin, good) if not done_L[k]]
    cheap = {k for k in skipped if seen.trained_LU[k].all()}
    return more | (cheap or set(skipped[-1:] if seen.share <= SPARE else []))


def _tuned(seen: Seen) -> NDArray[np.bool_]:
    """Learning rates whose fine-tuned quality is told: all seeds were fine-tuned, or one was and fell short."""
    whole_L = _all_units(seen.tuned_LU | seen.broken_LU)
    if seen.quality_LU is None or not whole_L.any():
        return whole_L
    return whole_L | (any_unit(seen.tuned_LU) & ~quality.as_good_as_best(seen.quality_LU))


def simulate(
    first: int, third: int, second: int, lrs: int, units: int, prices: tuple[float, float] | None
) -> tuple[Wanted, ...]:
    """The rounds on a grid without noise: regime 1 up to position `first`, 2A up to `third`, 2B up to `second`, then 3.

    Args:
        prices: what pre-training and fine-tuning a run cost, as shares of the grid's run-steps. None: no fine-tuning.
    """
    place = np.arange(lrs)
    votes = np.where(place < first, 1, np.where(place < second, 2, 3))
    levels = np.abs(place - max(first - 1, 0)).astype(np.float64)
    good = np.where((place >= min(first, lrs - 1) - 1) & (place < third), 1.0, 0.5)

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.repeat(values[:, None], units, 1)

    trained, tuned = np.zeros((lrs, units), bool), np.zeros((lrs, units), bool)
    rounds: list[Wanted] = []
    while True:
        known = np.flatnonzero(trained.any(1) & (place < first))
        seen = Seen(
            votes_LU=np.where(trained, votes[:, None], 0),
            level_LU=np.where(trained, spread(levels), np.nan),
            trained_LU=trained,
            broken_LU=np.zeros_like(trained),
            tuned_LU=tuned,
            quality_LU=np.where(tuned, spread(good), np.nan) if prices else None,
            best=int(known[levels[known].argmin()]) if len(known) else None,
            share=float(prices[0] * trained.sum() + prices[1] * tuned.sum()) if prices else 0.0,
        )
        wanted = next_round(seen)
        if not wanted:
            return tuple(rounds)
        rounds.append(wanted)
        for mask, runs in ((trained, wanted.pretrain), (tuned, wanted.tune)):
            for run in runs:
                mask[run] = True
