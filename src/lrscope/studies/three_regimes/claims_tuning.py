"""TR7, TR10, TR11: what changing the ELR does within and between regimes.

U seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.effects import barrier
from lrscope.studies.three_regimes.effects_tuning import MUCH, flatter_side, levels, roles, tuned_spread
from lrscope.studies.three_regimes.network_effects import Effects
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part


@dataclass(frozen=True)
class Net:
    """The sweeps of one network: with fixed ELRs, and fine-tuned: `lower` and `much` inside regime 1, `within` regime 2, `down`
    from 2 to 1; `scratch` has training from initialisation for as long as that, and `paths` is the measurement between weights."""

    name: str
    base: str
    lower: str
    much: str
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


def _basins(results: StudyResults) -> Finding:
    nets = {net.name: Effects(partial(_moves, results, net)) for net in NETS}
    words = [f"{name}: {found.words(_moved)}" for name, found in nets.items()]
    return finding([one for name, found in nets.items() for one in _stays(name, found)], "; ".join(words) + ".")


def _moves(results: StudyResults, net: Net) -> dict[str, Array]:
    """What fine-tuning inside regime 1 does, by kind [U]: the barrier, and on which side of the middle it ends."""
    base, paths = results.sweep(net.base), results.measurement(net.paths)
    return {
        "lower_barrier": _barriers(paths, net.lower, "lower").max(0),
        "much_barrier": _barriers(paths, net.much, "much").mean(0),
        "lower_side": _flatter(base, results.sweep(net.lower), "lower", fall=FALL),
        "much_side": _flatter(base, results.sweep(net.much), "much"),
    }


def _stays(net: str, found: Effects) -> list[Part]:
    """The parts of TR7 for one network."""
    unit = "decades of sharpness"
    return [
        part(f"barrier with a smaller ELR, {net}", found.named("lower_barrier"), below=0.05, unit="nats"),
        part(
            f"stays on the flatter trajectory with a smaller ELR, {net}",
            found.named("lower_side"),
            above=0.0,
            unit=unit,
        ),
        part(f"barrier with a much larger ELR, {net}", found.named("much_barrier"), above=0.1, unit="nats"),
        part(f"moves to the flatter one with a much larger ELR, {net}", found.named("much_side"), above=0.0, unit=unit),
    ]


def _moved(found: dict[str, Array]) -> str:
    mean = {name: interval(values)[0] for name, values in found.items()}
    return (
        f"barrier in training loss {mean['lower_barrier']:.3f} nats at most with a smaller ELR, {mean['much_barrier']:.2f} on average "
        f"with {MUCH:g} times and more; sharpness at equal training loss ends {mean['lower_side']:.3f} and {mean['much_side']:.3f} "
        "decades nearer to the larger ELR's own trajectory than half of the way to the smaller one's"
    )


def _barriers(paths: xr.Dataset, name: str, kind: str) -> Array:
    """Barriers of one kind of fine-tuning in one sweep [pairs, U].

    Raises:
        Undetermined: the sweep has none.
    """
    at = (paths["sweep"].values == name) & (paths["kind"].values == kind)
    if not at.any():
        raise Undetermined(f"no pair of pre-training and fine-tuning ELR of {name} is of the kind {kind!r}")
    found = paths["train_loss"].isel(pair=np.flatnonzero(at)).dropna("seed", how="all")
    return barrier(found.transpose("pair", "seed", "alpha").values)


def _flatter(base: xr.DataTree, tune: xr.DataTree, kind: str, **options: float) -> Array:
    """`flatter_side` over all pairs of one kind: their mean in each seed that has one [U]."""
    sides = np.stack([flatter_side(base, tune, p, f, **options) for p, f in roles(base, tune).some(kind)])
    known = np.isfinite(sides)
    return np.where(known.any(0), np.where(known, sides, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


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
    unit, error = "decades of sharpness", "test error (0 to 1)"
    return [
        part(
            f"wider range of sharpness from high regime 2, {net}",
            found.of(lambda seen: seen["high"] - seen["low"]),
            above=0.0,
            unit=unit,
        ),
        part(f"range of sharpness from initialisation, {net}", found.named("scratch"), above=0.0, unit=unit),
        part(
            f"low regime 2 above the flattest, over a quarter of regime 1's range, {net}",
            found.of(lambda seen: seen["low_above"] - seen["scratch"] / 4),
            below=0.0,
            unit=unit,
        ),
        part(
            f"range of sharpness from high regime 2 over half of regime 1's, {net}",
            found.of(lambda seen: seen["high"] - seen["scratch"] / 2),
            above=0.0,
            unit=unit,
        ),
        part(f"range of test error from initialisation, {net}", found.named("scratch_error"), above=0.0, unit=error),
        part(
            f"range of test error from high regime 2 below half of regime 1's, {net}",
            found.of(lambda seen: seen["scratch_error"] / 2 - seen["high_error"]),
            above=0.0,
            unit=error,
        ),
    ]


def _needs(*names: str) -> tuple[str, ...]:
    """The sweeps of both networks, each once."""
    return tuple(dict.fromkeys(getattr(net, name) for net in NETS for name in names))


CLAIMS = (
    Claim(
        id="TR7",
        sentence="Fine-tuning with a smaller ELR stays on the trajectory and in the basin; a much larger one jumps to a new, flatter basin.",
        criterion="Within regime 1, for the ConvNet and for the MLP with 20% label noise, 95% intervals over seeds: with a smaller ELR the largest barrier in training loss between pre-trained and fine-tuned weights is under 0.05 nats, and with 8 times the ELR and more the mean barrier is over 0.1 nats. Of the trajectories of both ELRs from initialisation that of the larger is the flatter one, at the lowest training loss that all three reach (times 1.05), and the sharpness of the fine-tuned one differs from it, either way, by less than half of the difference between both: for a smaller ELR, where that loss is at most half of that at which fine-tuning began (otherwise nothing could have happened), that is the trajectory it comes from; for 8 times the ELR and more the one of the new ELR.",
        needs=_needs("base", "lower", "much", "paths"),
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
        criterion="For the ConvNet and for the MLP with 20% label noise, at the lowest training loss that all these runs of a seed reach (times 1.05), with the lowest and the highest pre-training ELR that lies in regime 2; the range of a quantity is its fall over regime 1's ELRs by a straight line on their logarithm. 95% intervals over seeds: the ranges of log sharpness and of test error of training from initialisation are above 0; the range of log sharpness is larger after the highest ELR of regime 2 than after the lowest, and larger than half of that of training from initialisation; the mean log sharpness after the lowest lies above that of training from initialisation with the highest ELR of regime 1 by less than a quarter of the range of training from initialisation; the range of test error after the highest is smaller than half of that of training from initialisation.",
        needs=_needs("base", "down", "scratch"),
        check=_many_or_one,
        figures=("5", "23"),
    ),
)
