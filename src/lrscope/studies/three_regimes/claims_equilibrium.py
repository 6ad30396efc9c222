"""TR9, TR12, TR14: chaotic equilibrium, and how divergence differs from a random walk."""

from __future__ import annotations

import numpy as np
import xarray as xr

from lrscope.studies.three_regimes.data_sizes import REGIME_TWO, by_size, elsewhere
from lrscope.studies.three_regimes.effects import CALM, equalised
from lrscope.studies.three_regimes.effects_measurements import along_lines, walk_and_regimes
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import finding, interval, part


def _equilibrium(results: StudyResults) -> Finding:
    found = equalised(results.sweep("convnet"))
    sizes = results.measurement("data_sizes")
    parts = [
        part("regime 1 less equal", found["1"] - found["learning"], above=0.0, unit="decades of ESS"),
        part("regime 3 less equal", found["3"] - found["learning"], above=0.0, unit="decades of ESS"),
        part("higher loss", found["higher"], above=0.0, unit="decades per decade of ELR"),
        part("lower sharpness", found["flatter"], above=0.0, unit="decades per decade of ELR"),
    ]
    means = {name: 10 ** float(found[name].mean()) for name in ("1", "learning", "3")}
    return finding(
        parts,
        f"Largest over smallest ESS of the weight tensors: {means['1']:.2f} in regime 1, {means['learning']:.2f} in regime 2 where "
        f"its loss is below ln C, {means['3']:.2f} in regime 3. There, per decade of ELR, loss rises by {found['higher'].mean():.2f} "
        f"decades and sharpness falls by {found['flatter'].mean():.2f}."
        + elsewhere(
            sizes,
            ("flatter_within_2", "decades less sharpness per decade of ELR", 1),
            ("flatter_where_calm", f"the same up to a loss of {CALM:g} ln C", 1),
            ("scatter_lowest", "decades that loss scatters by within runs at the lowest ELR of regime 2", 1),
            ("scatter_highest", "at the highest that learns", 1),
            ("together_highest", "correlation of loss and sharpness within runs there", 1),
        ),
        data_sizes=by_size(sizes, REGIME_TWO),
    )


def _valley(results: StudyResults) -> Finding:
    found = along_lines(results.measurement("checkpoint_paths")["train_loss"])
    low, rise = found["lower"], found["rises"]
    unit = "of the loss at the ends"
    return finding(
        [
            part("lower half-way, lowest ELR", low, above=0.1, unit=unit),
            part("rise above the line, lowest ELR", found["rise_lowest"], below=0.05, unit=unit),
            part("larger rise at the highest ELR", found["rise_highest"] - found["rise_lowest"], above=0.0, unit=unit),
        ],
        f"At the lowest ELR of regime 2 the loss half-way is {100 * low.mean():.0f}% lower than at the ends and rises at most "
        f"{100 * np.median(rise[:, 0]):.1f}% above the line between them; at the highest {100 * np.median(rise[:, -1]):.1f}%.",
    )


def _random_walk(results: StudyResults) -> Finding:
    found, offsets = walk_and_regimes(results.measurement("walks")), results.measurement("walk_offsets")
    two, three, walk, above = (found[name] for name in ("two", "three", "walk", "above"))
    parts = [
        part("cosine falls from 2 to 3", two - three, above=0.5, unit="cosine"),
        part("cosine in regime 3, absolute", np.abs(three), below=0.2, unit="cosine"),
        part("cosine of the walk, absolute", np.abs(walk), below=0.2, unit="cosine"),
        part("regime 3's loss above the walk's", above, above=0.0, unit="nats"),
    ]
    return finding(
        parts,
        f"Mean cosine between successive weights: {two.mean():.3f} at the highest ELR of regime 2 that learns, {three.mean():.3f} in "
        f"regime 3, {walk.mean():.3f} for the random walk; regime 3's loss lies {above.mean():.2f} nats above "
        f"the walk's.{_offsets(offsets)}",
        offsets={
            str(net): {str(name): interval(offsets[name].sel(net=net).values)[:3] for name in offsets.data_vars}
            for net in offsets["net"].values
        },
    )


def _offsets(found: xr.Dataset) -> str:
    """What the losses of regime 3 and of walks consist of, for the networks that were in regime 3."""
    parts = []
    for name in found["net"].values:
        net = found.sel(net=name).dropna("seed")
        if net.sizes["seed"] == 0:
            continue
        fraction = [float((net[p + "constant"] / net[p + "loss"]).mean()) for p in ("", "walk_")]
        parts.append(
            f"{int(net['parameters'])} weights, {net.sizes['seed']} seeds: regime 3 {_range(net['loss'])} nats, the mean output alone "
            f"costs {fraction[0]:.2f} of it; the walk {_range(net['walk_loss'])}, {fraction[1]:.2f} of it"
        )
    return f" At the highest ELR, range over seeds: {'; '.join(parts)}." if parts else ""


def _range(values: xr.DataArray) -> str:
    return f"{float(values.min()):.1f} to {float(values.max()):.1f}"


CLAIMS = (
    Claim(
        id="TR9",
        sentence="In regime 2 the groups' effective step sizes equalise, in 1 and 3 they do not; within 2 a higher ELR sits at higher loss but lower sharpness.",
        criterion="Ratio of the largest to the smallest ESS of the weight tensors over the last fifth of training, log scale: 95% intervals over seeds of its mean in regime 1 minus regime 2, and 3 minus 2, lie above 0; slope of log loss on log ELR in regime 2 above 0 and of log sharpness below 0. Regime 2 counts where its mean loss is below ln C: closer to divergence runs jump between both (Fig. 6).",
        needs=("convnet", "data_sizes"),
        check=_equilibrium,
        figures=("1", "4", "20", "21"),
    ),
    Claim(
        id="TR12",
        sentence="Between checkpoints of a regime-2 run the loss is convex and lower in the middle at low ELR, hilly at the highest.",
        criterion="Medians over checkpoint distances, 95% intervals over seeds: at the lowest ELR of regime 2 the loss half-way is more than 10% below the mean of the ends and nowhere more than 5% above the line between them; at the highest the largest relative rise above that line is larger than at the lowest.",
        needs=("checkpoint_paths",),
        check=_valley,
        figures=("22",),
    ),
    Claim(
        id="TR14",
        sentence="Regime 3 resembles a random walk in its step-to-step cosine, and the walk's loss bounds regime 3's from below.",
        criterion="95% intervals over seeds: mean cosine of successive weights at the highest learning ELR of regime 2 minus that of regime 3 above 0.5; absolute cosine in regime 3 and of the random walk with the same step lengths below 0.2; mean training loss of regime 3 minus the walk's above 0.",
        needs=("walks", "walk_offsets"),
        check=_random_walk,
        figures=("24",),
    ),
)
