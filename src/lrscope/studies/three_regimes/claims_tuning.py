"""TR7, TR10, TR11: what changing the ELR does within and between regimes.

P pre-training rates, F fine-tuning rates, U seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from lrscope.mapping import regimes
from lrscope.studies import reading
from lrscope.studies.reading import Array
from lrscope.studies.stats import Unseen, all_of, finding, interval
from lrscope.studies.three_regimes.by_size import SHARES, by_size, elsewhere
from lrscope.studies.three_regimes.claims_sphere import barrier
from lrscope.studies.types import Claim, Finding, Lab

MUCH = 8.0  # ours: FLR over PLR from which a jump is expected; the paper's examples are 10 and more
SLIGHTLY = 2.5  # ours: up to here the paper speaks of a slightly increased ELR


@dataclass(frozen=True)
class Roles:
    """Which pre-training rates P and fine-tuning rates F of the sweep `tune` lie in which regime of the sweep `convnet`."""

    plr: Array
    flr: Array
    first: float
    second: float

    def pairs(self, kind: str) -> list[tuple[int, int]]:
        """Positions (P, F) of one kind: both in regime 1 and `lower`, `slightly` or `much` higher; `within` 2; `down` from 2
        to 1 where the PLR is in the lower or upper half of regime 2 (`low`, `high`)."""
        return [
            (p, f)
            for p in range(len(self.plr))
            for f in range(len(self.flr))
            if self._is(kind, self.plr[p], self.flr[f])
        ]

    def some(self, kind: str) -> list[tuple[int, int]]:
        """The same where a claim needs them.

        Raises:
            Unseen: there are none.
        """
        found = self.pairs(kind)
        if not found:
            raise Unseen(
                f"no pair of pre-training and fine-tuning ELR is of the kind {kind!r} by the map of the whole grid"
            )
        return found

    def _is(self, kind: str, plr: float, flr: float) -> bool:
        ratio, middle = flr / plr, np.sqrt(self.first * self.second)
        if kind == "within":
            return bool(
                self.first < plr and self.first < flr < self.second and plr < self.second and abs(ratio - 1) > 0.1
            )
        if kind in ("low", "high"):
            return bool(flr < self.first < plr < self.second and (plr < middle) == (kind == "low"))
        bounds = {"lower": (0.0, 0.9), "slightly": (1.1, SLIGHTLY), "much": (MUCH, np.inf)}[kind]
        return bool(plr < self.first and flr < self.first and bounds[0] < ratio < bounds[1])


def roles(lab: Lab) -> Roles:
    """`roles_of` the ConvNet's sweeps."""
    return roles_of(lab.sweep("convnet"), lab.sweep("tune"))


def roles_of(base: xr.Dataset, tune: xr.Dataset) -> Roles:
    """Regimes of the fine-tuning sweep's rates, by the map of the same network's whole grid. Regime 2 ends where its loss
    reaches ln C: beyond, runs jump between equilibrium and divergence."""
    found = regimes(base)
    top = float(base["lr"].values[reading.learning(base, found)[-1]]) * 1.01
    return Roles(
        plr=tune["lr"].values.astype(float),
        flr=tune["finetune_lr"].values.astype(float),
        first=reading.border(found, "1|2"),
        second=top,
    )


def _end(result: xr.Dataset, name: str) -> Array:
    """A fine-tuning curve's settled end [P, F, U]."""
    return reading.settled(reading.units(result["finetune_" + name]))


def _basins(lab: Lab) -> Finding:
    tune = lab.sweep("tune_first")
    known = roles_of(lab.sweep("convnet"), tune)
    path = lab.measured("tuned_paths")["train_loss"].transpose("lr", "finetune_lr", "seed", "alpha").values
    rise = barrier(path)  # [P, F, U]

    def over(kind: str) -> Array:
        return np.stack([rise[p, f] for p, f in known.some(kind)])

    lower, much = over("lower").max(0), over("much").mean(0)
    flatter = np.stack([_flatter(tune, p, f) for p, f in known.some("much")]).mean(0)
    slight = (
        f"{over('slightly').max(0).mean():.3f} at most with up to {SLIGHTLY:g} times the ELR, "
        if known.pairs("slightly")
        else ""
    )
    decades, _, _, met = interval(flatter)
    seeds = "" if met == len(flatter) else f" ({met} of {len(flatter)} seeds come down to one)"
    return all_of(
        [
            finding(0.05 - lower, 0.0, "no barrier below"),
            finding(much - 0.1, 0.0, "barrier far above"),
            finding(flatter, 0.0, "flatter far above"),
        ],
        f"Barrier in training loss between pre-trained and fine-tuned weights, within regime 1: {lower.mean():.3f} nats at most with a "
        f"smaller ELR, {slight}{much.mean():.2f} on average with {MUCH:g} times and more, "
        f"which then ends {decades:.2f} decades flatter at equal training loss{seeds}.",
    )


def _flatter(tune: xr.Dataset, p: int, f: int) -> Array:
    """Decades of sharpness [U] by which fine-tuning at F lies below the pre-training, at the lowest loss both reach."""
    before, after = reading.units(tune["train_loss"])[p], reading.units(tune["finetune_train_loss"])[p, f]
    steep = reading.units(tune["effective_grad_norm"])[p]
    steep_after = reading.units(tune["finetune_effective_grad_norm"])[p, f]
    found = np.full(len(before), np.nan)
    for u in range(len(before)):
        level = 1.05 * max(np.nanmin(before[u]), np.nanmin(after[u]))
        # Fine-tuning starts low and may jump up: read it off where it comes down for the last time.
        high = np.flatnonzero(after[u] > level)
        start = int(high[-1]) if len(high) else 0
        first = np.flatnonzero(before[u] <= level)
        if len(first) and start + 1 < len(after[u]):
            found[u] = np.log10(steep[u, first[0]] / steep_after[u, start + 1])
    return found


def levels(base: xr.Dataset, tune: xr.Dataset) -> dict[str, Array]:
    """Per seed: how much of the way from the old ELR's level of log training loss to the new one's fine-tuning inside regime 2
    goes, mean over pairs with a higher (`up`) and a lower (`down`) new ELR; 1: it arrives. The levels are those at the end
    of pre-training; `up_later` and `down_later` hold the same against the new ELR's level after going on with it for as
    long as the fine-tuning.

    Raises:
        Unseen: no pair goes up, or none down, to an ELR that was also trained all along.
    """
    known = roles_of(base, tune)
    own = np.log10(reading.settled(reading.units(tune["train_loss"])))  # [P, U]
    end = np.log10(_end(tune, "train_loss"))
    found = {}
    for name, sign in (("up", 1), ("down", -1)):
        closed, later = [], []
        for p, f in known.some("within"):
            same = [q for q in range(len(known.plr)) if abs(known.plr[q] / known.flr[f] - 1) < 1e-3]
            if same and sign * (known.flr[f] - known.plr[p]) > 0:
                closed.append((end[p, f] - own[p]) / (own[same[0]] - own[p]))
                later.append((end[p, f] - own[p]) / (end[same[0], f] - own[p]))
        if not closed:
            raise Unseen(f"no pair inside regime 2 goes {name} to an ELR that was also trained all along")
        found[name], found[name + "_later"] = np.stack(closed).mean(0), np.stack(later).mean(0)
    return found


def _levels(lab: Lab) -> Finding:
    found, sizes = levels(lab.sweep("convnet"), lab.sweep("tune_within")), lab.measured("data_sizes")
    ways = ("up", "down")
    words = ", ".join(f"{name} {found[name].mean():.2f} of the way" for name in ways)
    return all_of(
        [part for name in ways for part in (finding(found[name], 0.75, name), finding(1.25 - found[name], 0.0, name))],
        f"From the old ELR's loss level to the new one's, on a log scale: {words}."
        + elsewhere(
            sizes,
            ("up", "share of the way up", 1),
            ("down", "down", 1),
            ("up_later", "up to the new ELR's level after going on with it for as long", 1),
            ("down_later", "down to that", 1),
        ),
        data_sizes=by_size(sizes, SHARES),
    )


def tuned_spread(lab: Lab) -> dict[str, Array]:
    """Per seed: what fine-tuning from regime 2 with regime 1's rates reaches at equal training loss. Decades of sharpness
    between the flattest and the sharpest, and points of test error, from low and from high PLRs and for training from
    initialisation with those rates."""
    known = roles(lab)
    tune, base = reading.shared_seeds(lab.sweep("tune"), lab.sweep("convnet"))
    inside = reading.inside(regimes(lab.sweep("convnet")), "1")
    loss = reading.units(tune["finetune_train_loss"])
    wanted = {kind: known.some(kind) for kind in ("low", "high")}
    level = 1.05 * float(np.nanmax([np.nanmin(loss[p, f], axis=-1) for pairs in wanted.values() for p, f in pairs]))
    steep = np.log10(reading.at_level(tune, "effective_grad_norm", level, "finetune_"))
    for kind, pairs in wanted.items():
        if not all(np.isfinite(steep[p, f]).all() for p, f in pairs):
            raise Unseen(
                f"fine-tunes from {kind} regime 2 start below {level:.3g}, the lowest training loss that all fine-tunes to regime 1 "
                "reach: there is no loss at which all could be compared"
            )
    error = reading.at_level(tune, "test_error", level, "finetune_")
    base_steep = np.log10(reading.at_level(base, "effective_grad_norm", level))[inside]
    base_error = reading.at_level(base, "test_error", level)[inside]
    found: dict[str, Array] = {"level": np.array([level])}
    for kind, pairs in wanted.items():
        at = np.array([steep[p, f] for p, f in pairs])
        found[kind] = np.nanmax(at, axis=0) - np.nanmin(at, axis=0)
        found[kind + "_mean"] = np.nanmean(at, axis=0)
        errors = np.array([error[p, f] for p, f in pairs])
        found[kind + "_error"] = np.nanmax(errors, axis=0) - np.nanmin(errors, axis=0)
    found["scratch"] = np.nanmax(base_steep, axis=0) - np.nanmin(base_steep, axis=0)
    found["flattest"] = np.nanmin(base_steep, axis=0)
    found["scratch_error"] = np.nanmax(base_error, axis=0) - np.nanmin(base_error, axis=0)
    return found


def _many_or_one(lab: Lab) -> Finding:
    found = tuned_spread(lab)
    parts = [
        finding(found["high"] - found["low"], 0.0, "wider from high regime 2"),
        finding(0.1 - (found["low_mean"] - found["flattest"]), 0.0, "flattest from low regime 2"),
        finding(found["scratch_error"] - found["high_error"], 0.0, "narrower in test error"),
    ]
    return all_of(
        parts,
        f"At training loss {found['level'][0]:.3g} fine-tunes from low regime 2 spread over {found['low'].mean():.3f} decades of sharpness, "
        f"from high regime 2 over {found['high'].mean():.3f}, training from initialisation over {found['scratch'].mean():.3f}; in test error over "
        f"{100 * found['low_error'].mean():.2f}, {100 * found['high_error'].mean():.2f} and {100 * found['scratch_error'].mean():.2f} points.",
    )


CLAIMS = (
    Claim(
        id="TR7",
        sentence="Fine-tuning with a smaller ELR stays on the trajectory and in the basin; a much larger one jumps to a new, flatter basin.",
        criterion="Within regime 1, 95% intervals over seeds: the largest barrier in training loss between pre-trained and fine-tuned weights is under 0.05 nats for every smaller ELR; with 8 times the ELR and more its mean is over 0.1 nats, and sharpness at the lowest training loss that both reach is lower after fine-tuning than in pre-training.",
        needs=("convnet", "tune_first", "tuned_paths"),
        check=_basins,
        figures=("3", "17", "18", "19"),
    ),
    Claim(
        id="TR10",
        sentence="Changing the ELR inside regime 2 moves the loss to the new ELR's level, up or down.",
        criterion="Log training loss at the end of fine-tuning, as a share of the way from the old ELR's level to that of training with the new ELR all along: 95% intervals over seeds of its mean lie within 0.25 of 1, for higher and for lower ELRs.",
        needs=("convnet", "tune_within", "data_sizes"),
        check=_levels,
        figures=("5",),
    ),
    Claim(
        id="TR11",
        sentence="Fine-tuning from low regime 2 always ends flattest; from high regime 2 anywhere in regime 1's range of sharpness, while the range of test error reached is much narrower.",
        criterion="At the lowest training loss that all these fine-tunes reach (times 1.05), 95% intervals over seeds: the range of log sharpness over regime-1 ELRs is larger from the upper than from the lower half of regime 2; the mean from the lower half is less than 0.1 decades above the flattest training from initialisation; the range of test error from the upper half is smaller than that of training from initialisation.",
        needs=("convnet", "tune"),
        check=_many_or_one,
        figures=("5", "23"),
    ),
)
