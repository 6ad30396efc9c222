"""regimes: from a result to labels, borders with intervals and a recommendation.

Array letters: L learning rates, U units (data seed x seed, C order), W windows, K random points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.checked import checked
from lrscope.mapping import borders, quality, votes
from lrscope.mapping.gather import Evidence, gather
from lrscope.mapping.recommend import MARGIN, recommend
from lrscope.mapping.search import INTERVAL_SEEDS, any_unit
from lrscope.mapping.types import BORDERS, INFERRED, LEFT_OUT, Border, Label, Recommendation, RegimeMap
from lrscope.readers import POINTS
from lrscope.validation import validate


@checked
def regimes(result: xr.DataTree, *, margin: Annotated[float, POINTS] = MARGIN) -> RegimeMap:
    """Find the regimes in a result of `sweep`, and the learning rates to start from (docs/regimes.md explains the rules).

    Labels come from the ordered split of the grid that agrees with most runs' votes; borders are bootstrapped over
    seeds, their intervals widened to whole grid cells. What is undetermined is said with its reason. The recommendation
    follows the measured quality and no label. Under a schedule other than `constant` learning rates are peaks: they have
    no regimes, and only the recommendation is made.

    Args:
        result: what `sweep` returned or `open_result` opened.
        margin: points (hundredths of accuracy, or of the loss of guessing) within which learning rates count as equally
            good.

    Raises:
        LrscopeError: a margin that is no number of points above 0.
    """
    validate(result)
    return map_of(gather(result), margin)


def map_of(seen: Evidence, margin: float) -> RegimeMap:
    """The map of what was gathered from a result."""
    if seen.schedule != "constant":
        return _under_schedule(seen, margin)
    first, second = _split(seen.votes_LU)
    seen = replace(seen, likely_LU=_likely(seen, first, second))
    third, split_reason = _second_split(seen, first, second)
    found = {
        "1|2": _border(seen, "1|2", first, _resampled(seen, 0)),
        "2A|2B": _border(seen, "2A|2B", third, _resampled(seen, 2), split_reason),
        "2|3": _border(seen, "2|3", second, _resampled(seen, 1)),
    }
    if first == second and found["1|2"].lr is not None:
        remedy = "no learning rate of the grid lies in regime 2: refine the grid between its neighbours"
        found["1|2"] = _with_reason(found["1|2"], remedy)
        found["2|3"] = _with_reason(found["2|3"], remedy)
    lower = _lower_part(seen, first, second) if seen.tuning_learned else None
    advice = recommend(seen, margin)
    return RegimeMap(
        labels=tuple(_label(seen, k, first, second, lower) for k in range(len(seen.lrs))),
        borders=found,
        recommended=advice,
        seeds=seen.units,
        notes=_notes(seen, found, advice),
        measure=f"test {seen.score.name}",
        finetune_lr=seen.finetune_lr,
    )


def _under_schedule(seen: Evidence, margin: float) -> RegimeMap:
    """The map of a sweep whose learning rates are the peaks of a schedule."""
    advice = recommend(seen, margin)
    reason = (
        f"regimes are those of a constant learning rate, and these are the peaks of the schedule {seen.schedule}: the best "
        "peak is recommended below; train with schedule constant for the regimes"
    )
    return RegimeMap(
        labels=tuple(_peak_label(seen, k) for k in range(len(seen.lrs))),
        borders={name: Border(between=name, reason=reason) for name in BORDERS},
        recommended=advice,
        seeds=seen.units,
        notes=_unconverged(seen, advice),
        measure=f"test {seen.score.name}",
        finetune_lr=seen.finetune_lr,
    )


def _peak_label(seen: Evidence, k: int) -> Label:
    flags, counts = _broken(seen, k)
    if not seen.trained_LU[k].any():
        flags.append(LEFT_OUT)
    flags += _falling(seen, k)
    return Label(lr=float(seen.lrs[k]), regime="?", flags=tuple(flags), votes=counts, **_reached(seen, k))


def _split(votes_LU: NDArray[np.int64]) -> tuple[int, int]:
    """The ordered split of the votes; not among the highest learning rates if none of them has a vote."""
    voted = np.flatnonzero((votes_LU > 0).any(1))
    top = int(voted[-1]) + 1 if len(voted) else len(votes_LU)
    first, second = borders.split(borders.tally(votes_LU))
    return min(first, top), min(second, top)


def _likely(seen: Evidence, first: int, second: int) -> NDArray[np.int64]:
    """Votes, with the label of the ordered split for runs that were not trained; none above the highest trained learning rate."""
    place = np.arange(len(seen.lrs))[:, None]
    ordered = np.where(place < first, 1, np.where(place < second, 2, 3))
    return np.where(seen.trained_LU, seen.votes_LU, np.where(place <= _trained(seen).max(initial=-1), ordered, 0))


def _trained(seen: Evidence) -> NDArray[np.int64]:
    """Positions of the learning rates with a trained run, from the lowest up."""
    return np.flatnonzero(seen.trained_LU.any(1))


def _lower_part(seen: Evidence, first: int, second: int, units: NDArray[np.int64] | None = None) -> tuple[int, int]:
    """Positions [begin, end) of 2A within regime 2; empty where there is none."""
    assert seen.quality_LU is not None
    values = seen.quality_LU if units is None else seen.quality_LU[:, units]
    return quality.lower_part(values, first, second, any_unit(seen.tuned_LU))


def _second_split(seen: Evidence, first: int, second: int) -> tuple[int | None, str]:
    """Position of 2A|2B, or None with the reason why it is undetermined."""
    again = "run again with --finetune-lrs set to a learning rate of regime 1"
    if not seen.finetune_lrs:
        return None, f"2A and 2B are told apart by fine-tuning: {again}"
    if first == second:
        return None, "no learning rate of the grid lies in regime 2: refine the grid around border 1|2"
    if not seen.tuning_learned:
        return None, f"fine-tuning at {seen.finetune_lr:g} ended nowhere better than guessing: {again}"
    begin, end = _lower_part(seen, first, second)
    unsure = _provisional(seen, slice(first, second))
    if begin == end:
        return None, "; ".join(["no 2A seen: fine-tuning from regime 2 ends below the best, up to noise", *unsure])
    if end == second:
        return None, "; ".join(["no 2B seen: fine-tuning ends as well up to the end of regime 2", *unsure])
    return end, "".join(unsure)


def _provisional(seen: Evidence, part: slice) -> list[str]:
    """A clause if most fine-tunes of any learning rate of a stretch have not converged; none otherwise."""
    if seen.ending is None or not seen.ending.mostly_falls(0)[part].any():
        return []
    return ["provisional, because fine-tunes have not converged"]


def _resampled(seen: Evidence, which: int) -> NDArray[np.int64]:
    """Positions of a border (0: 1|2, 1: 2|3, 2: 2A|2B) under resampled seeds, or of the single seeds where they are few."""
    units = seen.units
    if units >= INTERVAL_SEEDS:
        samples = borders.draws(seen.data_seeds, seen.seeds)
    else:
        samples = np.concatenate([np.arange(units)[:, None].repeat(units, 1), np.arange(units)[None]])
    known: dict[bytes, int] = {}
    positions = []
    for sample in samples:
        key = np.sort(sample).tobytes()
        if key not in known:
            first, second = _split(seen.likely_LU[:, sample])
            third = first
            if which == 2 and seen.tuning_learned and first != second:
                third = _lower_part(seen, first, second, sample)[1]
            known[key] = (first, second, third)[which]
        positions.append(known[key])
    return np.array(positions)


def _border(
    seen: Evidence, between: str, position: int | None, positions: NDArray[np.int64], reason: str = ""
) -> Border:
    """The border at a position of the grid, with its interval, or why there is none."""
    lrs = seen.lrs
    if not (seen.votes_LU > 0).any():
        if seen.windows < votes.RULES.least_windows:
            return Border(
                between=between,
                reason=f"{seen.windows} logged epochs are too few to see whether a loss still falls: train for at least "
                f"{votes.RULES.least_windows}",
            )
        if not seen.trained_LU.any():
            return Border(between=between, reason="no run was trained")
        return Border(between=between, reason="every run ended non-finite: use smaller learning rates")
    if between == "2|3" and not seen.scale_invariant:
        return Border(
            between=between, reason="a network that is not scale-invariant overflows or dies instead of regime 3"
        )
    if position is None:
        return Border(between=between, reason=reason)
    lower, upper = between.split("|")
    if position <= _trained(seen)[0]:
        return Border(between=between, reason=_past_the_lowest(seen, lower))
    top = int(np.flatnonzero((seen.likely_LU > 0).any(1))[-1])
    if position > top and top + 1 < len(lrs):
        below = f"{lrs[top]:g} has not reached regime {upper}, and "
        if top == _trained(seen)[-1]:
            return Border(between=between, reason=f"{below}no higher learning rate was trained: train {lrs[top + 1]:g}")
        return Border(
            between=between,
            reason=f"{below}all higher learning rates end non-finite: refine the grid between {lrs[top]:g} and {lrs[top + 1]:g}",
        )
    if position == len(lrs):
        return Border(
            between=between,
            reason=f"the highest learning rate {lrs[-1]:g} has not reached regime {upper}: extend the grid up",
        )
    units = seen.units
    low, high = borders.interval(positions, lrs)
    low, high = min(low, float(lrs[position - 1])), max(high, float(lrs[position]))
    how = (
        f"95% interval, bootstrap over {units} seeds, widened to grid cells"
        if units >= INTERVAL_SEEDS
        else f"range over {units} seed{'s' if units > 1 else ''}, widened to grid cells; 5 or more seeds give a 95% interval"
    )
    how = f"{reason}; {how}" if reason else how
    return Border(between=between, lr=borders.middle(lrs, position), low=low, high=high, reason=how)


def _past_the_lowest(seen: Evidence, lower: str) -> str:
    """Why there is no border above regime `lower`: all that was trained lies past it."""
    lowest = int(_trained(seen)[0])
    which, remedy = (
        ("lowest trained", f"train {seen.lrs[lowest - 1]:g}") if lowest else ("lowest", "extend the grid down")
    )
    return f"the {which} learning rate {seen.lrs[lowest]:g} is already past regime {lower}: {remedy}"


def _with_reason(border: Border, remedy: str) -> Border:
    return Border(
        between=border.between, lr=border.lr, low=border.low, high=border.high, reason=f"{remedy}; {border.reason}"
    )


def _label(seen: Evidence, k: int, first: int, second: int, lower: tuple[int, int] | None) -> Label:
    """The label of learning rate number k, with flags, votes and what it reached. `lower`: positions [begin, end) of 2A, None
    where fine-tuning does not tell."""
    flags, broken = _broken(seen, k)
    third = "3" if seen.scale_invariant else "dead"
    counts = {
        third if r == 3 else str(r): int((seen.votes_LU[k] == r).sum())
        for r in (1, 2, 3)
        if (seen.votes_LU[k] == r).any()
    } | broken
    reached = _reached(seen, k)
    inferred = not seen.trained_LU[k].any() and _neighbours_vote(seen, k, first, second)
    if inferred:
        flags.append(INFERRED)
    elif not (seen.votes_LU[k] > 0).any():
        if not seen.trained_LU[k].any():
            flags.append(LEFT_OUT)
        elif not seen.broken_LU[k].any():
            flags.append("too few epochs")
        return Label(lr=float(seen.lrs[k]), regime="?", flags=tuple(flags), votes=counts, **reached)
    regime = "1" if k < first else "2" if k < second else third
    number = 1 if k < first else 2 if k < second else 3
    if (seen.votes_LU[k][seen.votes_LU[k] > 0] != number).any():
        flags.append("seeds disagree")
    if regime == "1" and seen.slow_LU[k].any():
        flags.append("too slow to tell")
    if seen.jumps_LU[k].any() and regime == "1":
        flags.append("periodic jumps")
    if regime == "2" and lower is not None:
        regime = "2A" if lower[0] <= k < lower[1] else "2B"
        if k < lower[0]:
            regime = "2"
            flags.append("below 2A")
        if regime == "2A" and not inferred and _average_falls_short(seen, k):
            flags.append("SWA falls short")
    flags += _falling(seen, k)
    return Label(lr=float(seen.lrs[k]), regime=regime, flags=tuple(flags), votes=counts, **reached)


def _falling(seen: Evidence, k: int) -> list[str]:
    """The flag of a learning rate with a fine-tune, at the lowest fine-tuning rate, that still falls."""
    return ["fine-tune still falls"] if seen.ending is not None and seen.ending.falls[k, 0].any() else []


def _broken(seen: Evidence, k: int) -> tuple[list[str], dict[str, int]]:
    """Flag and count of the runs that did not end finite."""
    broken = seen.broken_LU[k]
    if not broken.any():
        return [], {}
    flag = "non-finite" if broken.all() else f"non-finite in {int(broken.sum())} of {len(broken)} seeds"
    return [flag], {"non-finite": int(broken.sum())}


def _reached(seen: Evidence, k: int) -> dict[str, float | None]:
    """`before` and `after` of a label: test results, means over the seeds that ended finite."""
    after = None if seen.finetuned is None else seen.finetuned.test[k, 0]
    return {
        "before": seen.score.mean(seen.pretrained.test[k]),
        "after": None if after is None else seen.score.mean(after),
    }


def _neighbours_vote(seen: Evidence, k: int, first: int, second: int) -> bool:
    """Does a learning rate next to the untrained number k, the nearest trained one below or above, say its regime? Beyond all
    trained ones only the outer regimes do: 1, up to number `first`, below them, 3, from number `second` on, above."""
    trained = _trained(seen)
    if not trained.size:
        return False
    below, above = k < trained[0], k > trained[-1]
    if (below and trained[0] >= first) or (above and not (seen.votes_LU[second:] > 0).any()):
        return False
    near = [*trained[trained < k][-1:], *trained[trained > k][:1]]
    return any((seen.votes_LU[i] > 0).any() for i in near)


def _average_falls_short(seen: Evidence, k: int) -> bool:
    """Does averaging end clearly below the best fine-tuned quality? A flag only: few checkpoints average too little."""
    if seen.averaged is None or seen.quality_LU is None:
        return False
    best = int(np.nan_to_num(seen.quality_LU.mean(1), nan=-np.inf).argmax())
    return not quality.as_good_as_best(np.stack([seen.quality_LU[best], seen.averaged.chooses[k]]))[1]


def _notes(seen: Evidence, found: Mapping[str, Border], advice: Recommendation) -> tuple[str, ...]:
    """Remarks on the whole map."""
    notes, border = list[str](), found["1|2"]
    pretrained = seen.pretrained.test
    if not seen.scale_invariant and np.isfinite(pretrained).any():
        means = np.where(np.isfinite(pretrained).any(1), _nanmean(pretrained), -np.inf)
        best = int(means.argmax())
        notes.append(
            f"not scale-invariant: the learning rate with the best pre-training test quality is {seen.lrs[best]:g}, the "
            f"papers' border 1|2 for such nets; "
            + ("by the losses it is undetermined" if border.lr is None else f"the losses put it at {border.lr:.3g}")
        )
    if not seen.trained_LU.all():
        trained = int(seen.trained_LU.any(1).sum())
        notes.append(
            f"adaptive: {seen.share:.0%} of the grid's run-steps were trained, at {trained} of {len(seen.lrs)} learning rates; "
            "labels flagged inferred follow from their neighbours"
        )
    return (*notes, *_unconverged(seen, advice), *_few_seeds(seen, found))


def _unconverged(seen: Evidence, advice: Recommendation) -> tuple[str, ...]:
    """How far fine-tunes are from having converged, where the borders or the recommendation rest on them."""
    if seen.finetuned is None:
        return ()
    if seen.ending is None:
        return (
            f"fewer than {votes.RULES.least_windows} logged epochs of fine-tuning: whether it converged is undetermined",
        )
    rests = {0: ["2A|2B"] if seen.schedule == "constant" else []}
    if advice.finetune_lr is not None:
        rests.setdefault(seen.finetune_lrs.index(advice.finetune_lr), []).append("the recommendation")
    notes = []
    for flr, what in rests.items():
        falls = seen.ending.falls[:, flr]
        if not what or not falls.any():
            continue
        drop, drift = seen.ending.drop[:, flr][falls], np.abs(seen.ending.drift[:, flr][falls])
        where = int(falls.any(1).sum())
        notes.append(
            f"fine-tuning at {seen.finetune_lrs[flr]:g} has not converged at {where} learning rate{'s' if where > 1 else ''}: "
            f"over the last quarter the loss still falls by {drop.min():.2f} to {drop.max():.2f} in logs while test quality "
            f"changes by {100 * drift.mean():.1f} points on average; longer fine-tunes"
            f"{'' if seen.share < 1 else ' (--extend-finetunes)'} may change {' and '.join(what)}"
        )
    return tuple(notes)


def _few_seeds(seen: Evidence, found: Mapping[str, Border]) -> tuple[str, ...]:
    """What the borders' intervals are with few seeds; nothing where no border is told."""
    if seen.units >= INTERVAL_SEEDS or all(border.lr is None for border in found.values()):
        return ()
    seeds = "1 seed" if seen.units == 1 else f"{seen.units} seeds"
    return (f"{seeds}: intervals are ranges over seeds, 5 or more give 95% intervals",)


def _nanmean(values: NDArray[Any]) -> NDArray[np.float64]:
    counts = np.isfinite(values).sum(1)
    means: NDArray[np.float64] = np.nansum(np.where(np.isfinite(values), values, 0.0), axis=1) / np.maximum(counts, 1)
    return means
