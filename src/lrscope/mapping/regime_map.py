"""regimes: from a result to labels, borders with intervals and a recommendation.

Array letters: L learning rates, U units (data seed x seed, C order), W windows, K random points.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.mapping import borders, quality, votes
from lrscope.mapping.recommend import recommend
from lrscope.mapping.search import INTERVAL_SEEDS, any_unit
from lrscope.mapping.types import INFERRED, LEFT_OUT, Border, Label, RegimeMap
from lrscope.results import NOT_TRAINED


@dataclass(frozen=True)
class Evidence:
    """What the rules look at, as plain arrays. `trained` and `tuned` say which runs were pre-trained and fine-tuned at
    the lowest FLR (all, but in an adaptive sweep), `share` which part of the grid's run-steps that took."""

    lrs: NDArray[np.float64]
    votes_LU: NDArray[np.int64]
    slow_LU: NDArray[np.bool_]
    jumps_LU: NDArray[np.bool_]
    broken_LU: NDArray[np.bool_]
    quality_LU: NDArray[np.float64] | None
    averaged_LU: NDArray[np.float64] | None
    pretrained_LU: NDArray[np.float64]
    data_seeds: int
    seeds: int
    scale_invariant: bool
    windows: int
    finetune_lr: float | None
    trained_LU: NDArray[np.bool_]
    tuned_LU: NDArray[np.bool_]
    level_LU: NDArray[np.float64]
    best: int | None
    share: float
    likely_LU: NDArray[np.int64]  # votes, with the label of the ordered split for runs that were not trained


def regimes(result: xr.Dataset) -> RegimeMap:
    """Find the regimes in a result of `sweep` (docs/regimes.md explains the rules).

    Labels come from the ordered split of the grid that agrees with most runs' votes; borders are bootstrapped over
    seeds, their intervals widened to whole grid cells. What cannot be told is said with its reason.
    """
    seen = gather(result)
    first, second = borders.split(borders.tally(seen.votes_LU))
    seen = replace(seen, likely_LU=_likely(seen, first, second))
    third, split_reason = _second_split(seen, seen.votes_LU, first, second)
    found = {
        "1|2": _border(seen, "1|2", first, _resampled(seen, 0)),
        "2A|2B": _border(seen, "2A|2B", third, _resampled(seen, 2), split_reason),
        "2|3": _border(seen, "2|3", second, _resampled(seen, 1)),
    }
    if first == second and found["1|2"].lr is not None:
        remedy = "no learning rate of the grid lies in regime 2: refine the grid between its neighbours"
        found["1|2"] = _with_reason(found["1|2"], remedy)
        found["2|3"] = _with_reason(found["2|3"], remedy)
    labels = tuple(_label(seen, k, first, second, third) for k in range(len(seen.lrs)))
    notes = _notes(seen, first)
    return RegimeMap(
        labels=labels,
        borders=found,
        recommended=recommend(
            seen.lrs, [x.regime for x in labels], seen.quality_LU, seen.pretrained_LU, seen.finetune_lr
        ),
        seeds=seen.data_seeds * seen.seeds,
        notes=notes,
    )


def gather(result: xr.Dataset) -> Evidence:
    """Reduce a result to what the rules look at."""
    invariant = bool(int(result.attrs["scale_invariant"]))
    classified = "train_accuracy" in result
    loss = _curves(result["train_loss"])
    accuracy = _curves(result["train_accuracy"]) if classified else None
    task = json.loads(result.attrs["task"])
    guessing = votes.Guessing(
        loss=_units(result["random_train_loss"]),
        accuracy=_units(result["random_train_accuracy"]) if classified else None,
        constant_loss=float(task.get("constant_loss", 0.0)),
    )
    ballot = votes.vote(loss, accuracy, guessing, divergence_exists=invariant)
    score = "test_accuracy" if classified else "test_loss"
    sign = 1.0 if classified else -1.0
    status = _runs(result["status"])
    tuned = np.zeros(status.shape, bool)
    fine = averaged = finetune_lr = None
    if "finetune_lr" in result.dims:
        low = result["finetune_" + score].isel(finetune_lr=0, finetune_epoch=-1)
        fine = sign * _runs(low)
        tuned = _runs(result["finetune_status"].isel(finetune_lr=0)) != NOT_TRAINED
        finetune_lr = float(result["finetune_lr"].values[0])
    if "n_average" in result.dims:
        most = result["average_" + score].isel(n_average=-1)
        averaged = sign * _runs(most)
    return Evidence(
        lrs=result["lr"].values.astype(np.float64),
        votes_LU=ballot.votes,
        slow_LU=ballot.slow,
        jumps_LU=ballot.jumps,
        broken_LU=status == 1,
        quality_LU=fine,
        averaged_LU=averaged,
        pretrained_LU=sign * _curves(result[score])[:, :, -1],
        data_seeds=result.sizes["data_seed"],
        seeds=result.sizes["seed"],
        scale_invariant=invariant,
        windows=loss.shape[2],
        finetune_lr=finetune_lr,
        trained_LU=status != NOT_TRAINED,
        tuned_LU=tuned,
        level_LU=ballot.level,
        best=ballot.best,
        share=float(json.loads(result.attrs["plan"]).get("trained_share", 1.0)),
        likely_LU=ballot.votes,
    )


def _likely(seen: Evidence, first: int, second: int) -> NDArray[np.int64]:
    """Votes, with the label of the ordered split for runs that were not trained."""
    place = np.arange(len(seen.lrs))[:, None]
    return np.where(seen.trained_LU, seen.votes_LU, np.where(place < first, 1, np.where(place < second, 2, 3)))


def _runs(array: xr.DataArray) -> NDArray[Any]:
    values: NDArray[Any] = array.transpose("lr", "data_seed", "seed").values
    return values.reshape(len(values), -1)


def _curves(array: xr.DataArray) -> NDArray[np.float64]:
    values: NDArray[np.float64] = array.transpose("lr", "data_seed", "seed", "epoch").values
    return values.reshape(values.shape[0], -1, values.shape[-1])


def _units(array: xr.DataArray) -> NDArray[np.float64]:
    values: NDArray[np.float64] = array.transpose("data_seed", "seed", "random_point").values
    return values.reshape(-1, values.shape[-1])


def _second_split(
    seen: Evidence, votes_LU: NDArray[np.int64], first: int, second: int, units: NDArray[np.int64] | None = None
) -> tuple[int | None, str]:
    """Position of 2A|2B, or None with the reason why it cannot be told."""
    if seen.quality_LU is None:
        return None, (
            "2A and 2B are told apart by fine-tuning: run again with --finetune-lrs set to a learning rate of regime 1"
        )
    if first == second:
        return None, "no learning rate of the grid lies in regime 2: refine the grid around border 1|2"
    values = seen.quality_LU if units is None else seen.quality_LU[:, units]
    position = quality.reach(quality.as_good_as_best(values), first, second, any_unit(seen.tuned_LU))
    if position == first:
        return None, "no 2A seen: fine-tuning from the lowest learning rate of regime 2 already ends below the best"
    if position == second:
        return None, "no 2B seen: fine-tuning ends as well from every learning rate of regime 2"
    return position, ""


def _resampled(seen: Evidence, which: int) -> NDArray[np.int64]:
    """Positions of a border (0: 1|2, 1: 2|3, 2: 2A|2B) under resampled seeds, or of the single seeds where they are few."""
    units = seen.data_seeds * seen.seeds
    if units >= INTERVAL_SEEDS:
        samples = borders.draws(seen.data_seeds, seen.seeds)
    else:
        samples = np.concatenate([np.arange(units)[:, None].repeat(units, 1), np.arange(units)[None]])
    known: dict[bytes, int] = {}
    positions = []
    for sample in samples:
        key = np.sort(sample).tobytes()
        if key not in known:
            chosen = seen.likely_LU[:, sample]
            first, second = borders.split(borders.tally(chosen))
            third, _ = _second_split(seen, chosen, first, second, sample) if which == 2 else (None, "")
            if third is None and which == 2 and seen.quality_LU is not None and first != second:
                equal = quality.as_good_as_best(seen.quality_LU[:, sample])
                third = quality.reach(equal, first, second, any_unit(seen.tuned_LU))
            known[key] = (first, second, first if third is None else third)[which]
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
        return Border(between=between, reason="every run ended non-finite: use smaller learning rates")
    if between == "2|3" and not seen.scale_invariant:
        return Border(between=between, reason="a network that is not scale-invariant overflows instead of regime 3")
    if position is None:
        return Border(between=between, reason=reason)
    lower, upper = between.split("|")
    if position == 0:
        return Border(
            between=between,
            reason=f"the lowest learning rate {lrs[0]:g} is already past regime {lower}: extend the grid down",
        )
    if position == len(lrs):
        return Border(
            between=between,
            reason=f"the highest learning rate {lrs[-1]:g} has not reached regime {upper}: extend the grid up",
        )
    units = seen.data_seeds * seen.seeds
    low, high = borders.interval(positions, lrs)
    low, high = min(low, float(lrs[position - 1])), max(high, float(lrs[position]))
    how = (
        f"95% interval, bootstrap over {units} seeds, widened to grid cells"
        if units >= INTERVAL_SEEDS
        else f"range over {units} seed{'s' if units > 1 else ''}, widened to grid cells; 5 or more seeds give a 95% interval"
    )
    return Border(between=between, lr=borders.middle(lrs, position), low=low, high=high, reason=how)


def _with_reason(border: Border, remedy: str) -> Border:
    return Border(
        between=border.between, lr=border.lr, low=border.low, high=border.high, reason=f"{remedy}; {border.reason}"
    )


def _label(seen: Evidence, k: int, first: int, second: int, third: int | None) -> Label:
    """The label of learning rate number k, with flags and votes."""
    flags = []
    counts = {str(r): int((seen.votes_LU[k] == r).sum()) for r in (1, 2, 3) if (seen.votes_LU[k] == r).any()}
    broken = seen.broken_LU[k]
    if broken.any():
        flags.append("non-finite" if broken.all() else f"non-finite in {int(broken.sum())} of {len(broken)} seeds")
        counts["non-finite"] = int(broken.sum())
    inferred = not seen.trained_LU[k].any() and _neighbours_vote(seen, k)
    if inferred:
        flags.append(INFERRED)
    elif not (seen.votes_LU[k] > 0).any():
        if not seen.trained_LU[k].any():
            flags.append(LEFT_OUT)
        elif not broken.any():
            flags.append("too few epochs")
        return Label(lr=float(seen.lrs[k]), regime="?", flags=tuple(flags), votes=counts)
    regime = "1" if k < first else "2" if k < second else "3"
    if (seen.votes_LU[k][seen.votes_LU[k] > 0] != int(regime)).any():
        flags.append("seeds disagree")
    if regime == "1" and seen.slow_LU[k].any():
        flags.append("too slow to tell")
    if seen.jumps_LU[k].any() and regime == "1":
        flags.append("periodic jumps")
    if regime == "2" and seen.quality_LU is not None:
        position, _ = (third, "") if third is not None else (_reached(seen, first, second), "")
        regime = "2A" if k < position else "2B"
        if regime == "2A" and not inferred and _average_falls_short(seen, k):
            flags.append("SWA falls short")
    return Label(lr=float(seen.lrs[k]), regime=regime, flags=tuple(flags), votes=counts)


def _neighbours_vote(seen: Evidence, k: int) -> bool:
    """Does a learning rate next to the untrained number k, the nearest trained one below or above, say its regime?"""
    trained = np.flatnonzero(seen.trained_LU.any(1))
    near = [*trained[trained < k][-1:], *trained[trained > k][:1]]
    return any((seen.votes_LU[i] > 0).any() for i in near)


def _reached(seen: Evidence, first: int, second: int) -> int:
    assert seen.quality_LU is not None
    return quality.reach(quality.as_good_as_best(seen.quality_LU), first, second, any_unit(seen.tuned_LU))


def _average_falls_short(seen: Evidence, k: int) -> bool:
    """Does averaging end clearly below the best fine-tuned quality? A flag only: few checkpoints average too little."""
    if seen.averaged_LU is None or seen.quality_LU is None:
        return False
    with np.errstate(all="ignore"):
        best = int(np.nan_to_num(seen.quality_LU.mean(1), nan=-np.inf).argmax())
    return not quality.as_good_as_best(np.stack([seen.quality_LU[best], seen.averaged_LU[k]]))[1]


def _notes(seen: Evidence, first: int) -> tuple[str, ...]:
    """Remarks on the whole map."""
    notes: list[str] = []
    if not seen.scale_invariant:
        means = np.where(np.isfinite(seen.pretrained_LU).any(1), _nanmean(seen.pretrained_LU), -np.inf)
        best = int(means.argmax())
        notes.append(
            f"not scale-invariant: the learning rate with the best pre-training test quality is {seen.lrs[best]:g}, the "
            f"papers' border 1|2 for such nets; the stationarity rule puts it "
            + (f"at {borders.middle(seen.lrs, first):.3g}" if 0 < first < len(seen.lrs) else "outside the grid")
        )
    if not seen.trained_LU.all():
        trained = int(seen.trained_LU.any(1).sum())
        notes.append(
            f"adaptive: {seen.share:.0%} of the grid's run-steps were trained, at {trained} of {len(seen.lrs)} learning rates; "
            "labels flagged inferred follow from their neighbours"
        )
    units = seen.data_seeds * seen.seeds
    if units < INTERVAL_SEEDS:
        notes.append(f"{units} seeds: intervals are ranges over seeds, 5 or more give 95% intervals")
    return tuple(notes)


def _nanmean(values: NDArray[Any]) -> NDArray[np.float64]:
    counts = np.isfinite(values).sum(1)
    means: NDArray[np.float64] = np.nansum(np.where(np.isfinite(values), values, 0.0), axis=1) / np.maximum(counts, 1)
    return means
