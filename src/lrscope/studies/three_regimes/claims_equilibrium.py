"""TR9, TR12, TR14: chaotic equilibrium, and how divergence differs from a random walk."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.effects import equalised
from lrscope.studies.three_regimes.effects_measurements import along_lines, of_net, walk_and_regimes
from lrscope.studies.three_regimes.network_effects import Effects
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import finding, part

NETS = {"ConvNet": "convnet", "MLP, 20% label noise": "noisy"}
WALKING = {"MLP": "mlp", "small ConvNet": "convnet", "wide ConvNet": "wide"}
WIDTHS = ("walk_8", "walk_16", "wide")  # from narrow to wide, which differ in nothing else: reported
ALIKE = 0.1  # ours: a cosine
UNCORRELATED, LARGER = (
    0.2,
    0.5,
)  # ours: cosines of adjacent weights in regime 3, and how much larger they are in regime 2
EQUAL = 1.25  # ours: up to this ratio of the largest to the smallest
CONVEX = 0.05  # ours: up to this height above its convex envelope, over the loss at the ends, the loss counts as convex along a line


def _equilibrium(results: StudyResults) -> Finding:
    nets = {net: Effects(partial(equalised, results.sweep(name))) for net, name in NETS.items()}
    words = [f"{net}: {found.words(_equal)}" for net, found in nets.items()]
    return finding([one for net, found in nets.items() for one in _equality(net, found)], "; ".join(words) + ".")


def _equality(net: str, found: Effects) -> list[Part]:
    """The parts of TR9 for one network."""
    bound = float(np.log10(EQUAL))
    return [
        *(
            part(f"not equal in regime {n}, {net}", found.named(n), above=bound, unit="decades of ESS")
            for n in ("1", "3")
        ),
        part(f"equal in regime 2, {net}", found.named("learning"), below=bound, unit="decades of ESS"),
        part(f"higher loss, {net}", found.named("higher"), above=0.0, unit="decades per decade of ELR"),
        part(f"lower sharpness, {net}", found.named("flatter"), above=0.0, unit="decades per decade of ELR"),
    ]


def _equal(found: dict[str, Array]) -> str:
    ratio = {regime: 10 ** float(np.nanmean(found[regime])) for regime in ("1", "learning", "3")}
    return (
        f"largest over smallest ESS of the weight tensors {ratio['1']:.2f} in regime 1, {ratio['learning']:.2f} in regime 2 where its "
        f"loss is below ln C, {ratio['3']:.2f} in regime 3; there, per decade of ELR, loss rises by {np.nanmean(found['higher']):.2f} "
        f"decades and sharpness falls by {np.nanmean(found['flatter']):.2f}"
    )


def _valley(results: StudyResults) -> Finding:
    paths = results.measurement("checkpoint_paths")
    nets = {net: Effects(partial(along_lines, of_net(paths, name))) for net, name in NETS.items()}
    words = [f"{net}: {found.words(_relief)}" for net, found in nets.items()]
    return finding([one for net, found in nets.items() for one in _hills(net, found)], "; ".join(words) + ".")


def _relief(found: dict[str, Array]) -> str:
    percent = {name: 100 * float(np.nanmean(values)) for name, values in found.items()}
    return (
        f"at the lowest ELR of regime 2 the loss half-way is {percent['lower']:.0f}% lower than at the ends and lies at most "
        f"{percent['bump_lowest']:.1f}% of them above its convex envelope; at the highest {percent['bump_far']:.1f}% between the "
        f"checkpoints farthest apart, and {percent['farther']:.1f}% more per decade of distance"
    )


def _hills(net: str, found: Effects) -> list[Part]:
    """The parts of TR12 for one network."""
    unit = "of the loss at the ends"
    farther = f"more the farther apart, highest ELR, {net}"
    return [
        part(f"lower half-way, lowest ELR, {net}", found.named("lower"), above=0.1, unit=unit),
        part(f"convex, lowest ELR, {net}", found.named("bump_lowest"), below=CONVEX, unit=unit),
        part(f"hilly, highest ELR, farthest apart, {net}", found.named("bump_far"), above=CONVEX, unit=unit),
        part(farther, found.named("farther"), above=0.0, unit=f"{unit} per decade of epochs"),
    ]


def _random_walk(results: StudyResults) -> Finding:
    walks, parts, words = results.measurement("walks"), [], []
    for net, name in WALKING.items():
        there = of_net(walks, name)
        seen = walk_and_regimes(there)
        parts += _steps(net, seen, has_two=name != "wide")
        words.append(f"{_losses(net, there.sel(regime='3'))}{_turning(seen)}")
    return finding(parts, f"In regime 3, ranges over seeds: {'; '.join(words)}.{_trend(walks)}")


def _turning(seen: dict[str, Array]) -> str:
    """What successive updates do, of which the passage says nothing."""
    turn = arrays.average(seen["turn"])
    return f"; its successive updates have a mean cosine {turn:+.2f} off a walk's" if np.isfinite(turn) else ""


def _trend(walks: xr.Dataset) -> str:
    """The loss against the walk's over widths, where a scale trains them."""
    known = [of_net(walks, name) for name in WIDTHS if name in walks["net"].values]
    if len(known) < 2:
        return ""
    told = ", ".join(
        f"{int(net['parameters'])} weights {_gap(arrays.average(walk_and_regimes(net)['above']))}" for net in known
    )
    return f" Regime 3's loss less the walk's for networks that differ in width alone, nats: {told}."


def _gap(nats: float) -> str:
    return f"{nats:+.2g}" if np.isfinite(nats) else "not in 3"


def _steps(net: str, seen: dict[str, Array], has_two: bool) -> list[Part]:
    """The parts of TR14 for one network; without regime 2 there is nothing to tell it from."""
    adjacent, apart = "adjacent weights", "weights ten steps apart"
    told = [
        part(f"{adjacent} in regime 2 over those in 3, {net}", seen["stays"], above=LARGER, unit="cosine"),
        part(f"{apart} farther from a walk's in regime 2 than in 3, {net}", seen["memory"], above=ALIKE, unit="cosine"),
    ]
    return [
        part(
            f"{adjacent} in regime 3, {net}", seen["adjacent"], above=-UNCORRELATED, below=UNCORRELATED, unit="cosine"
        ),
        part(f"{apart} against a walk's, {net}", seen["lag"], above=-ALIKE, below=ALIKE, unit="cosine"),
        *(told if has_two else []),
        part(f"regime 3's loss above the walk's, {net}", seen["above"], above=0.0, unit="nats"),
    ]


def _losses(net: str, walks: xr.Dataset) -> str:
    """What the losses of regime 3 and of walks consist of."""
    walks = walks.dropna("seed", how="all", subset=["loss"])
    seeds, asked = walks.sizes["seed"], int(walks["runs"])
    if not seeds:
        return f"{net} not in regime 3"
    later = walks.isel(moment=slice(1, None)).mean("moment")
    fraction = [float((later[p + "constant"] / later[p + "loss"]).mean()) for p in ("", "walk_")]
    return (
        f"{net} ({int(walks['parameters'])} weights; {seeds} of {asked} runs are in regime 3) {_range(later['loss'])} nats, the mean output alone costs {fraction[0]:.2f} of it; "
        f"the walk {_range(later['walk_loss'])}, {fraction[1]:.2f} of it"
    )


def _range(values: xr.DataArray) -> str:
    return f"{float(values.min()):.1f} to {float(values.max()):.1f}"


CLAIMS = (
    Claim(
        id="TR9",
        sentence="In regime 2 the groups' effective step sizes equalise, in 1 and 3 they do not; within 2 a higher ELR sits at higher loss but lower sharpness.",
        criterion="For the ConvNet and for the MLP with 20% label noise: ratio of the largest to the smallest ESS of the weight tensors over the last fifth of training, log scale: by each seed's own map, 95% intervals over seeds of its mean in regime 2 lie below log 1.25, and of its mean in regime 1 and in regime 3 above it; slope of log loss on log ELR in regime 2 above 0 and of log sharpness (its median over the last fifth of training) below 0. Regime 2 counts where its mean loss is below ln C: closer to divergence runs jump between both (Fig. 6).",
        needs=tuple(NETS.values()),
        check=_equilibrium,
        figures=("1", "4", "20", "21"),
    ),
    Claim(
        id="TR12",
        sentence="Between checkpoints of a regime-2 run the loss is convex and lower in the middle at low ELR, hilly at the highest, the more so the further apart the checkpoints.",
        criterion="For the ConvNet and for the MLP with 20% label noise, over pairs of checkpoints of the second half of training at three distances from each other, each from three first checkpoints. A bump is the largest height of the loss above its convex envelope along the line between two checkpoints, over the mean loss of both. 95% intervals over seeds: at the lowest ELR of regime 2 the median loss half-way is more than 10% below the mean of the ends and the median bump is below 5%; at the highest ELR of regime 2 with a mean loss below ln C the mean bump of the pairs farthest apart is above 5%, and the slope of the bump on the logarithm of the epochs between the checkpoints, over all pairs, is above 0. Undetermined where both are one ELR.",
        needs=("checkpoint_paths",),
        check=_valley,
        figures=("22",),
    ),
    Claim(
        id="TR14",
        sentence="Regime 3 resembles a random walk in its step-to-step cosine, and the walk's loss bounds regime 3's from below.",
        criterion="For the MLP, the small and the wide ConvNet, 95% intervals over seeds: in regime 3 the mean cosine of weights of adjacent steps lies between -0.2 and 0.2, and that of weights ten steps apart differs from what is expected of a random walk with the same step sizes by less than 0.1. In regime 2, at its highest ELR with a mean loss below ln C (MLP and small ConvNet), the cosine of weights of adjacent steps is more than 0.5 larger than in regime 3; and that of weights ten steps apart lies above what is expected of a walk with the step sizes there by more than 0.1 beyond the difference, either way, between regime 3 and its walk. Runs are in regime 3 whose training loss in the last fifth of training, before these steps, is not below ln C: mean training loss of regime 3 minus that of a random walk with the same step sizes is above 0.",
        needs=("walks",),
        check=_random_walk,
        figures=("24",),
    ),
)
