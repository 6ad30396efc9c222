"""Effects of changing the ELR within and between regimes: from results to numbers per seed.

P pre-training rates, F fine-tuning rates, U seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from lrscope.mapping import regimes
from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined

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
            Undetermined: there are none.
        """
        found = self.pairs(kind)
        if not found:
            raise Undetermined(
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


def roles(base: xr.DataTree, tune: xr.DataTree) -> Roles:
    """Regimes of the fine-tuning sweep's rates, by the map of the same network's whole grid. Regime 2 ends where its loss
    reaches ln C: beyond, runs jump between equilibrium and divergence."""
    found = regimes(base)
    top = float(base.coords["lr"].values[arrays.learning(base, found)[-1]]) * 1.01
    return Roles(
        plr=tune.coords["lr"].values.astype(float),
        flr=segment(tune, "finetune")["finetune_lr"].values.astype(float),
        first=arrays.border(found, "1|2"),
        second=top,
    )


def end_of(result: xr.DataTree, name: str) -> Array:
    """A fine-tuning curve's settled end [P, F, U]."""
    return arrays.settled(arrays.logged(result, name, "finetune"))


def flatter_at_equal_loss(tune: xr.DataTree, p: int, f: int) -> Array:
    """Decades of sharpness [U] by which fine-tuning at F lies below the pre-training, at the lowest loss both reach."""
    before, after = arrays.logged(tune, "train_loss")[p], arrays.logged(tune, "train_loss", "finetune")[p, f]
    steep = arrays.logged(tune, "effective_grad_norm")[p]
    steep_after = arrays.logged(tune, "effective_grad_norm", "finetune")[p, f]
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


def levels(base: xr.DataTree, tune: xr.DataTree) -> dict[str, Array]:
    """Per seed: how much of the way from the old ELR's level of log training loss to the new one's fine-tuning inside regime 2
    goes, mean over pairs with a higher (`up`) and a lower (`down`) new ELR; 1: it arrives. The levels are those at the end
    of pre-training; `up_later` and `down_later` hold the same against the new ELR's level after going on with it for as
    long as the fine-tuning.

    Raises:
        Undetermined: no pair goes up, or none down, to an ELR that was also trained all along.
    """
    known = roles(base, tune)
    own = np.log10(arrays.settled(arrays.logged(tune, "train_loss")))  # [P, U]
    end = np.log10(end_of(tune, "train_loss"))
    found = {}
    for name, sign in (("up", 1), ("down", -1)):
        closed, later = [], []
        for p, f in known.some("within"):
            same = [q for q in range(len(known.plr)) if abs(known.plr[q] / known.flr[f] - 1) < 1e-3]
            if same and sign * (known.flr[f] - known.plr[p]) > 0:
                closed.append((end[p, f] - own[p]) / (own[same[0]] - own[p]))
                later.append((end[p, f] - own[p]) / (end[same[0], f] - own[p]))
        if not closed:
            raise Undetermined(f"no pair inside regime 2 goes {name} to an ELR that was also trained all along")
        found[name], found[name + "_later"] = np.stack(closed).mean(0), np.stack(later).mean(0)
    return found


def tuned_spread(base: xr.DataTree, tune: xr.DataTree) -> dict[str, Array]:
    """Per seed: what fine-tuning from regime 2 with regime 1's rates reaches at equal training loss. Decades of sharpness
    between the flattest and the sharpest, and points of test error, from low and from high PLRs and for training from
    initialisation with those rates."""
    known = roles(base, tune)
    inside = arrays.inside(regimes(base), "1")
    tune, base = arrays.shared_seeds(tune, base)
    loss = arrays.logged(tune, "train_loss", "finetune")
    wanted = {kind: known.some(kind) for kind in ("low", "high")}
    level = 1.05 * float(np.nanmax([np.nanmin(loss[p, f], axis=-1) for pairs in wanted.values() for p, f in pairs]))
    steep = np.log10(arrays.at_level(tune, "effective_grad_norm", level, "finetune"))
    for kind, pairs in wanted.items():
        if not all(np.isfinite(steep[p, f]).all() for p, f in pairs):
            raise Undetermined(
                f"fine-tunes from {kind} regime 2 start below {level:.3g}, the lowest training loss that all fine-tunes to regime 1 "
                "reach: there is no loss at which all could be compared"
            )
    error = arrays.at_level(tune, "test_error", level, "finetune")
    base_steep = np.log10(arrays.at_level(base, "effective_grad_norm", level))[inside]
    base_error = arrays.at_level(base, "test_error", level)[inside]
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
