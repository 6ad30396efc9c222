"""Effects of changing the ELR within and between regimes: from results to numbers per seed.

P pre-training rates, F fine-tuning rates, U seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lrscope.mapping import regimes
from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.effects_settings import BEFORE, jump_times, rises
from lrscope.studies.verdicts import Undetermined

MUCH = 8.0  # ours: FLR over PLR from which figures speak of a much larger ELR; the paper's examples are 10 and more
SLIGHTLY = 2.5  # ours: up to here the paper speaks of a slightly increased ELR
RATIOS = {  # of FLR to PLR
    "lower": (0.0, 0.9),
    "larger": (1.1, np.inf),
    "slightly": (1.1, SLIGHTLY),
    "more": (SLIGHTLY, MUCH),
    "much": (MUCH, np.inf),
}
SMOOTH = 3  # ours: logging intervals of running medians
SAME = 1e-3  # relative: rates that are written with few digits


@dataclass(frozen=True)
class Roles:
    """Which pre-training rates P and fine-tuning rates F of the sweep `tune` lie in which regime of the sweep `convnet`."""

    plr: Array
    flr: Array
    first: float
    second: float

    def pairs(self, kind: str) -> list[tuple[int, int]]:
        """Positions (P, F) of one kind: both in regime 1 and `lower`, or higher (`larger`: `slightly`, `more` or `much`); `within` 2;
        `down` from 2 to 1."""
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

    def down(self, which: int) -> list[tuple[int, int]]:
        """Positions (P, F) from one PLR of regime 2 (0: the lowest, -1: the highest) down to regime 1.

        Raises:
            Undetermined: there are fewer than two PLRs.
        """
        pairs = self.some("down")
        plrs = sorted({p for p, _ in pairs}, key=lambda p: float(self.plr[p]))
        if len(plrs) < 2:
            raise Undetermined("only one pre-training ELR lies in regime 2")
        return [(p, f) for p, f in pairs if p == plrs[which]]

    def _is(self, kind: str, plr: float, flr: float) -> bool:
        ratio = flr / plr
        if kind == "within":
            return bool(
                self.first < plr and self.first < flr < self.second and plr < self.second and abs(ratio - 1) > 0.1
            )
        if kind == "down":
            return bool(flr < self.first < plr < self.second)
        low, high = RATIOS[kind]
        return bool(plr < self.first and flr < self.first and low < ratio <= high)


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
    return arrays.settled(arrays.evenly_tuned(result, name))


def last_crossing(loss: Array, values: Array, level: Array | float) -> Array:
    """Values [..., W] where the loss [..., W] comes down to `level` [...] for the last time, interpolated in the logarithm of
    the loss: [...]. NaN where it never does. (Fine-tuning may jump up from a low loss, and training with noisy labels again
    and again, so that where a run ends says little.)"""
    logs, wanted = np.log(arrays.positive(loss)), np.broadcast_to(np.log(level), loss.shape[:-1])
    found = np.full(loss.shape[:-1], np.nan)
    for place in np.ndindex(found.shape):
        here, goal = logs[place], wanted[place]
        down = np.flatnonzero((here[:-1] > goal) & (here[1:] <= goal))
        if len(down):
            i = down[-1]
            part = (here[i] - goal) / (here[i] - here[i + 1])
            found[place] = values[place][i] + part * (values[place][i + 1] - values[place][i])
    return found


@dataclass(frozen=True)
class Course:
    """Training loss and log10 sharpness along a training [U, W]: running medians, as trainings are noisy."""

    loss: Array
    steep: Array

    @property
    def lowest(self) -> Array:
        """The lowest training loss [U]."""
        return np.asarray(np.nanmin(self.loss, axis=-1), dtype=np.float64)

    def at(self, level: Array | float) -> Array:
        """Log10 sharpness where the loss comes down to a level for the last time [U]."""
        return last_crossing(self.loss, self.steep, level)


def tuned(tune: xr.DataTree, p: int, f: int) -> Course:
    """The fine-tuning at F from P, the end of pre-training included."""
    loss, steep = (_along(tune, name, p, f) for name in ("train_loss", "effective_grad_norm"))
    last = arrays.logged(tune, "train_loss").shape[-1] - 1
    return _course(loss[:, last:], steep[:, last:])


def jumped(tune: xr.DataTree, p: int, f: int) -> Array:
    """Whether fine-tuning at F from P jumps out of the low-loss region and comes back (`effects_settings.jump_times`, from the end of
    pre-training on): 1 or 0 for each seed [U]. NaN where it rises and has not come back, or overflows: neither is known then."""
    start = arrays.logged(tune, "train_loss").shape[-1] - BEFORE
    logs = np.log10(arrays.positive(_along(tune, "train_loss", p, f)[:, max(0, start) :]))
    if logs.shape[-1] <= BEFORE:
        return np.full(len(logs), np.nan)
    back, up = jump_times(logs).any(-1), rises(logs).any(-1)
    return np.where(np.isfinite(logs).all(-1) & (back | ~up), back.astype(np.float64), np.nan)


def all_along(base: xr.DataTree, tune: xr.DataTree, rate: float) -> Course:
    """Training from initialisation at one rate: of the fine-tuning sweep with the fine-tuning that goes on at this rate, where it
    has both, otherwise of the sweep with fixed rates.

    Raises:
        Undetermined: neither was trained at this rate.
    """
    known = [_place(rates, rate) for rates in (tune.coords["lr"].values, _tuned_rates(tune))]
    if known[0] is not None and known[1] is not None:
        return _course(*(_along(tune, name, known[0], known[1]) for name in ("train_loss", "effective_grad_norm")))
    k = _place(base.coords["lr"].values, rate)
    if k is None:
        raise Undetermined(f"no training from initialisation has the ELR {rate:g}")
    return _course(*(arrays.logged(base, name)[k] for name in ("train_loss", "effective_grad_norm")))


def _along(tune: xr.DataTree, name: str, p: int, f: int) -> Array:
    """Pre-training at P and fine-tuning at F, one after the other [U, W]."""
    return np.concatenate([arrays.logged(tune, name)[p], arrays.evenly_tuned(tune, name)[p, f]], -1)


def _course(loss: Array, steep: Array) -> Course:
    smooth = (arrays.running_median(np.log10(arrays.positive(values)), SMOOTH) for values in (loss, steep))
    log_loss, log_steep = smooth
    return Course(loss=10**log_loss, steep=log_steep)


def _place(rates: Array, rate: float) -> int | None:
    near = np.flatnonzero(np.abs(np.asarray(rates, dtype=np.float64) / rate - 1) < SAME)
    return int(near[0]) if len(near) else None


def _tuned_rates(tune: xr.DataTree) -> Array:
    return np.asarray(segment(tune, "finetune")["finetune_lr"].values, dtype=np.float64)


def flatter_side(base: xr.DataTree, tune: xr.DataTree, p: int, f: int, *, fall: float = 1.0) -> Array:
    """By how many decades of sharpness [U] fine-tuning at F from P ends nearer to the training from initialisation with the
    larger of both rates than half of the distance to that with the smaller, at the lowest training loss that all three reach
    (times 1.05). Below 0 where it lies farther off, on either side, and where that of the larger rate is not the flatter one. NaN
    where the level lies less than a factor `fall` below where fine-tuning began: then nothing could have happened.

    A smaller rate that stays on the trajectory and a larger one that leaves it for its own both end on the flatter one.
    """
    base, tune = arrays.shared_seeds(base, tune)
    rates = float(tune.coords["lr"].values[p]), float(_tuned_rates(tune)[f])
    after, (small, large) = tuned(tune, p, f), (all_along(base, tune, rate) for rate in sorted(rates))
    level = 1.05 * np.max([course.lowest for course in (after, small, large)], axis=0)
    near = (small.at(level) - large.at(level)) / 2 - np.abs(after.at(level) - large.at(level))
    return np.where(level * fall <= after.loss[:, 0], near, np.nan) if fall > 1 else near


def levels(base: xr.DataTree, tune: xr.DataTree) -> dict[str, Array]:
    """Per seed: which part of the way from the old ELR's level of log training loss to the new one's fine-tuning inside regime
    2 goes, to a higher (`up`) and to a lower (`down`) new ELR, over all such pairs: the sum of ways gone over that of whole
    ways. 1: it arrives. The old level is that at the end of pre-training, the new one that of training with the new ELR for
    as long in all.

    Raises:
        Undetermined: no pair goes up, or none down, to an ELR that was also trained all along.
    """
    known = roles(base, tune)
    own = np.log10(arrays.settled(arrays.logged(tune, "train_loss")))  # [P, U]
    end = np.log10(end_of(tune, "train_loss"))
    found = {}
    for name, sign in (("up", 1), ("down", -1)):
        gone, whole = [], []
        for p, f in known.some("within"):
            same = _place(known.plr, known.flr[f])
            if same is not None and sign * (known.flr[f] - known.plr[p]) > 0:
                gone.append(end[p, f] - own[p])
                whole.append(end[same, f] - own[p])
        if not gone:
            raise Undetermined(f"no pair inside regime 2 goes {name} to an ELR that was also trained all along")
        found[name] = np.sum(gone, axis=0) / np.sum(whole, axis=0)
    return found


def tuned_spread(base: xr.DataTree, tune: xr.DataTree, scratch: xr.DataTree) -> dict[str, Array]:
    """Per seed: what fine-tuning from the lowest and the highest PLR of regime 2 with regime 1's rates reaches at equal training
    loss, and what training from initialisation with the same rates does (`scratch`, a sweep that has them).

    `low`, `high`, `scratch`: by how many decades sharpness falls over those rates, by a straight line over their logarithms;
    `..._error`: the same of the test error; `..._mean`: the mean over the rates of log10 sharpness; `low_above`: decades of mean
    sharpness from the lowest PLR above training from initialisation with the highest of the rates; `level`: the training loss. Each seed has its own, 1.05 times the lowest
    that all its runs reach; NaN for a seed some of whose runs do not come down through it.

    Raises:
        Undetermined: fewer than two rates of regime 1, one PLR of regime 2, or no seed with a training loss that all pass.
    """
    known = roles(base, tune)
    tune, scratch = arrays.shared_seeds(tune, scratch)
    pairs = {"low": known.down(0), "high": known.down(-1)}
    rates = known.flr[[f for _, f in pairs["low"]]]
    places = [_place(scratch.coords["lr"].values, rate) for rate in rates]
    same = [k for k in places if k is not None]
    if len(rates) < 2 or len(same) < len(rates):
        raise Undetermined(
            f"training from initialisation has {len(same)} of the {len(rates)} rates of regime 1, 2 are needed"
        )
    loss, steep, error = _smooth(tune, arrays.evenly_tuned)
    runs = {kind: tuple(zip(*chosen, strict=True)) for kind, chosen in pairs.items()}
    curves = {kind: (loss[at], steep[at], error[at]) for kind, at in runs.items()}
    loss, steep, error = _smooth(scratch, arrays.logged)
    curves["scratch"] = loss[same], steep[same], error[same]
    level = 1.05 * np.max([np.nanmin(values[0], axis=-1).max(0) for values in curves.values()], axis=0)  # [U]
    found: dict[str, Array] = {"level": level}
    across = float(np.log10(rates[-1] / rates[0]))
    for kind, (losses, *others) in curves.items():
        at = [last_crossing(losses, values, level) for values in others]
        if not np.isfinite(at[0]).all(0).any():
            raise Undetermined(
                f"in no seed all runs ({kind}) pass the lowest training loss that all reach, {np.median(level):.3g} (median)"
            )
        for name, there in zip(("", "_error"), at, strict=True):
            fall = -across * arrays.slope(np.log10(rates), there)
            found[kind + name] = np.where(np.isfinite(there).all(0), fall, np.nan)
        found[kind + "_mean"] = at[0].mean(0)
        found[kind + "_flattest"] = at[0][-1]
    found["low_above"] = found["low_mean"] - found["scratch_flattest"]
    return found


def size(values: Array) -> Array:
    """Values [U] with the sign that makes their mean over seeds positive: how large they are, whichever way. (The size of each seed's
    own would make noise a range.)"""
    return -values if arrays.average(values) < 0 else values


def _smooth(result: xr.DataTree, read: Callable[[xr.DataTree, str], Array]) -> tuple[Array, Array, Array]:
    """Loss, log10 sharpness and test error, running medians of what `read` gives."""
    loss, steep = (np.log10(arrays.positive(read(result, name))) for name in ("train_loss", "effective_grad_norm"))
    curves = (loss, steep, read(result, "test_error"))
    smooth = [arrays.running_median(values, SMOOTH) for values in curves]
    return 10 ** smooth[0], smooth[1], smooth[2]
