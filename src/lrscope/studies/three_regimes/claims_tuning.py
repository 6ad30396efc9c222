"""TR7, TR10, TR11: what changing the ELR does within and between regimes.

U seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.effects import barrier
from lrscope.studies.three_regimes.effects_tuning import flatter_side, jumped, levels, roles, size, tuned_spread
from lrscope.studies.three_regimes.network_effects import Effects
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, part


@dataclass(frozen=True)
class Net:
    """The sweeps of one network: with fixed ELRs, and fine-tuned: `lower` and `larger` inside regime 1, `within` regime 2, `down`
    from 2 to 1; `scratch` has training from initialisation (`long` 252 epochs at laptop scale, where `tune` has 72 and then 270), and `paths` is the measurement between weights."""

    name: str
    base: str
    lower: str
    larger: str
    within: str
    down: str
    scratch: str
    paths: str


NETS = (
    Net("ConvNet", "convnet", "tune_lower", "tune_first", "tune_within", "tune", "long", "tuned_paths"),
    Net(
        "MLP, 20% label noise",
        "noisy",
        "tune_noise_lower",
        "tune_noise",
        "tune_noise",
        "tune_noise",
        "noisy",
        "tuned_paths_noise",
    ),
)
FALL = 2.0  # ours: with a smaller ELR the loss must fall by this factor, or nothing could have happened
FLAT, HILL = 0.05, 0.1  # ours, nats: up to here there is no barrier, from there on one that is noticeable


def _basins(results: StudyResults) -> Finding:
    parts, words = [], []
    for net in NETS:
        stays, leaves = Effects(partial(_stays, results, net)), Effects(partial(_leaves, results, net))
        parts += [*_staying(net.name, stays), *_leaving(net.name, leaves)]
        words.append(f"{net.name}: smaller ELR {stays.words(_stayed)}; larger ELR {leaves.words(_left)}")
    return finding(parts, "; ".join(words) + ".")


def _stays(results: StudyResults, net: Net) -> dict[str, Array]:
    """What fine-tuning inside regime 1 with a smaller ELR does [U]: the largest barrier, and on which side of the middle it ends."""
    base, tune = arrays.shared_seeds(results.sweep(net.base), results.sweep(net.lower))
    pairs, paths = roles(base, tune).some("lower"), results.measurement(net.paths)
    rises = np.stack([_barrier(paths, net.lower, tune, *pair) for pair in pairs])
    return {"barrier": rises.max(0), "side": _means(_sides(base, tune, pairs, fall=FALL))}


def _leaves(results: StudyResults, net: Net) -> dict[str, Array]:
    """What fine-tuning inside regime 1 with a larger ELR does [U]: the mean barrier where it jumps, and on which side of the middle it
    ends there; the largest barrier where it does not jump; how many of the fine-tunings jump, and how many it is known of."""
    base, tune = arrays.shared_seeds(results.sweep(net.base), results.sweep(net.larger))
    pairs, paths = roles(base, tune).some("larger"), results.measurement(net.paths)
    rises = np.stack([_barrier(paths, net.larger, tune, *pair) for pair in pairs])
    jumps = np.stack([jumped(tune, *pair) for pair in pairs])
    calm = np.where(jumps == 0, rises, -np.inf).max(0)
    return {
        "barrier": _means(np.where(jumps == 1, rises, np.nan)),
        "side": _means(np.where(jumps == 1, _sides(base, tune, pairs), np.nan)),
        "calm": np.where(np.isfinite(calm), calm, np.nan),
        "jump": (jumps == 1).sum(0),
        "known": np.isfinite(jumps).sum(0),
    }


def _staying(net: str, found: Effects) -> list[Part]:
    """The parts of TR7 about a smaller ELR, for one network."""
    side = f"stays on the flatter trajectory with a smaller ELR, {net}"
    return [
        part(f"barrier with a smaller ELR, {net}", found.named("barrier"), below=FLAT, unit="nats"),
        part(side, found.named("side"), above=0.0, unit="decades of sharpness"),
    ]


def _leaving(net: str, found: Effects) -> list[Part]:
    """The parts of TR7 about a larger ELR, for one network."""
    side = f"moves to the flatter one where a larger ELR jumps, {net}"
    return [
        part(f"barrier where a larger ELR jumps, {net}", found.named("barrier"), above=HILL, unit="nats"),
        part(side, found.named("side"), above=0.0, unit="decades of sharpness"),
        part(f"barrier where a larger ELR does not jump, {net}", found.named("calm"), below=FLAT, unit="nats"),
    ]


def _stayed(found: dict[str, Array]) -> str:
    return f"{_mean(found, 'barrier')} nats of barrier at most, {_mean(found, 'side')} decades {SIDE}"


def _left(found: dict[str, Array]) -> str:
    count, known = int(found["jump"].sum()), int(found["known"].sum())
    jumps = f"{count} of {known} fine-tunings jump"
    if count:
        jumps += f" ({_mean(found, 'barrier')} nats of barrier, {_mean(found, 'side')} decades {SIDE})"
    return f"{jumps}; without a jump {_mean(found, 'calm')} nats of barrier at most"


SIDE = "nearer to the larger ELR's own trajectory than half of the way to the smaller one's"


def _mean(found: dict[str, Array], name: str) -> str:
    mean = arrays.average(found[name])
    return f"{mean:.3f}" if np.isfinite(mean) else "undetermined"


def _barrier(paths: xr.Dataset, name: str, tune: xr.DataTree, p: int, f: int) -> Array:
    """The barrier between weights pre-trained at P and fine-tuned at F of the sweep `name` [U], NaN where it was not measured.

    Raises:
        Undetermined: in no run.
    """
    rates = {"lr": tune.coords["lr"].values[p], "finetune_lr": segment(tune, "finetune")["finetune_lr"].values[f]}
    at = paths["sweep"].values == name
    for axis, rate in rates.items():
        at &= np.isclose(paths[axis].values, rate)
    if not at.any():
        raise Undetermined(f"no line was measured from ELR {rates['lr']:.3g} to {rates['finetune_lr']:.3g} of {name}")
    found = paths["train_loss"].isel(pair=int(np.flatnonzero(at)[0])).reindex(seed=tune.coords["seed"].values)
    return barrier(found.transpose("seed", "alpha").values)


def _sides(base: xr.DataTree, tune: xr.DataTree, pairs: list[tuple[int, int]], fall: float = 1.0) -> Array:
    """`flatter_side` of pairs of ELRs [pairs, U]; NaN for those that were not trained from initialisation."""
    rows = []
    for pair in pairs:
        try:
            rows.append(flatter_side(base, tune, *pair, fall=fall))
        except Undetermined:
            rows.append(np.full(tune.sizes["seed"], np.nan))
    return np.stack(rows)


def _means(values: Array) -> Array:
    """Means over the first axis [U], NaN passed over; NaN where all are."""
    known = np.isfinite(values)
    return np.where(known.any(0), np.where(known, values, 0.0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


def _levels(results: StudyResults) -> Finding:
    nets = {net.name: Effects(partial(levels, results.sweep(net.base), results.sweep(net.within))) for net in NETS}
    bounds: dict[str, Any] = {"above": 0.75, "below": 1.25, "unit": "of the way"}
    parts = [
        part(f"level reached going {way}, {name}", found.named(way), **bounds)
        for name, found in nets.items()
        for way in ("up", "down")
    ]
    words = [f"{name}: {found.words(_ways)}" for name, found in nets.items()]
    return finding(parts, f"From the old ELR's loss level to the new one's, on a log scale; {'; '.join(words)}.")


def _ways(found: dict[str, Array]) -> str:
    return f"up {np.nanmean(found['up']):.2f} of the way, down {np.nanmean(found['down']):.2f}"


def _many_or_one(results: StudyResults) -> Finding:
    nets = {
        net.name: Effects(partial(tuned_spread, *(results.sweep(name) for name in (net.base, net.down, net.scratch))))
        for net in NETS
    }
    words = [f"{name}: {found.words(_fans)}" for name, found in nets.items()]
    return finding([one for name, found in nets.items() for one in _spreads(name, found)], "; ".join(words) + ".")


def _fans(found: dict[str, Array]) -> str:
    steep, points = (
        ", ".join(f"{factor * np.nanmean(found[kind + end]):.3g}" for kind in ("low", "high", "scratch"))
        for end, factor in (("", 1), ("_error", 100))
    )
    return (
        f"at training loss {np.median(found['level']):.3g} sharpness falls over regime 1's ELRs by {steep} decades after the lowest ELR of "
        f"regime 2, after the highest and from initialisation; test error by {points} points"
    )


def _spreads(net: str, found: Effects) -> list[Part]:
    """The parts of TR11 for one network."""
    return [*_sharpness(net, found), *_errors(net, found)]


def _sharpness(net: str, found: Effects) -> list[Part]:
    """What is asked of sharpness: where there are fans, how wide they are, and where they lie."""

    def asked(name: str, read: Callable[[dict[str, Array]], Array], **bounds: Any) -> Part:
        return part(f"{name}, {net}", found.of(read), unit="decades of sharpness", **bounds)

    def off(seen: dict[str, Array]) -> Array:
        return size(seen["high_mean"] - seen["scratch_mean"]) - seen["scratch"] / 2

    return [
        asked("range of sharpness from initialisation", lambda seen: seen["scratch"], above=0.0),
        asked(
            "range of sharpness from low regime 2 over half of regime 1's",
            lambda seen: size(seen["low"]) - seen["scratch"] / 2,
            below=0.0,
        ),
        asked(
            "low regime 2 above the flattest, over a quarter of regime 1's range",
            lambda seen: seen["low_above"] - seen["scratch"] / 4,
            below=0.0,
        ),
        asked("wider range of sharpness from high regime 2", lambda seen: seen["high"] - size(seen["low"]), above=0.0),
        asked(
            "range of sharpness from high regime 2 over half of regime 1's",
            lambda seen: seen["high"] - seen["scratch"] / 2,
            above=0.0,
        ),
        asked(
            "range of sharpness from high regime 2 over one and a half of regime 1's",
            lambda seen: seen["high"] - 1.5 * seen["scratch"],
            below=0.0,
        ),
        asked("high regime 2 off the middle of regime 1's range, over half of it", off, below=0.0),
    ]


def _errors(net: str, found: Effects) -> list[Part]:
    """What is asked of test error."""
    unit = "test error (0 to 1)"
    narrow = f"range of test error from high regime 2 below half of regime 1's, {net}"
    return [
        part(f"range of test error from initialisation, {net}", found.named("scratch_error"), above=0.0, unit=unit),
        part(
            narrow,
            found.of(lambda seen: seen["scratch_error"] / 2 - size(seen["high_error"])),
            above=0.0,
            unit=unit,
        ),
    ]


def _needs(*names: str) -> tuple[str, ...]:
    """The sweeps of both networks, each once."""
    return tuple(dict.fromkeys(getattr(net, name) for net in NETS for name in names))


CLAIMS = (
    Claim(
        id="TR7",
        sentence="Fine-tuning with a smaller ELR stays on the trajectory and in the basin; a much larger one jumps to a new, flatter basin.",
        criterion="Within regime 1, for the ConvNet and for the MLP with 20% label noise, 95% intervals over seeds. With a smaller ELR the largest barrier in training loss between pre-trained and fine-tuned weights is under 0.05 nats. With a larger ELR fine-tuning jumps where its training loss rises by a factor 5 above the median of the ten logging intervals before, those of pre-training included, and then falls by as much; a run that rises and has not come back counts for neither. Where it jumps the mean barrier is over 0.1 nats, and where it does not the largest is under 0.05 nats: undetermined where no run jumps, or none stays. Of the trajectories of both ELRs from initialisation that of the larger is the flatter one, at the lowest training loss that all three reach (times 1.05), and the sharpness of the fine-tuned one differs from it, either way, by less than half of the difference between both: for a smaller ELR, where that loss is at most half of that at which fine-tuning began (otherwise nothing could have happened), that is the trajectory it comes from; for a larger one that jumps the one of the new ELR.",
        needs=_needs("base", "lower", "larger", "paths"),
        check=_basins,
        figures=("3", "17", "18", "19"),
    ),
    Claim(
        id="TR10",
        sentence="Changing the ELR inside regime 2 moves the loss to the new ELR's level, up or down.",
        criterion="For the ConvNet and for the MLP with 20% label noise, log training loss at the end of fine-tuning, as a share of the way from the old ELR's level to that of training with the new ELR for as long in all (sum over pairs of ELRs of the ways gone over that of the whole ways): 95% intervals over seeds lie within 0.25 of 1, for higher and for lower ELRs.",
        needs=_needs("base", "within"),
        check=_levels,
        figures=("5",),
    ),
    Claim(
        id="TR11",
        sentence="Fine-tuning from low regime 2 always ends flattest; from high regime 2 anywhere in regime 1's range of sharpness, while the range of test error reached is much narrower.",
        criterion="For the ConvNet and for the MLP with 20% label noise, at the lowest training loss that all these runs of a seed reach (times 1.05), with the lowest and the highest pre-training ELR that lies in regime 2; the range of a quantity is its fall over regime 1's ELRs by a straight line on their logarithm, its size the same with the sign that makes its mean over seeds positive: a rise counts like a fall. 95% intervals over seeds: the ranges of log sharpness and of test error of training from initialisation are above 0. After the lowest ELR of regime 2 the size of the range of log sharpness is smaller than half of that range, and the mean log sharpness lies above that of training from initialisation with the highest ELR of regime 1 by less than a quarter of it. After the highest the range of log sharpness is larger than the size of that after the lowest, larger than half of that of training from initialisation and smaller than one and a half of it; the mean log sharpness lies off that of training from initialisation, either way, by less than half of it; and the size of the range of test error is smaller than half of that of training from initialisation.",
        needs=_needs("base", "down", "scratch"),
        check=_many_or_one,
        figures=("5", "23"),
    ),
)
