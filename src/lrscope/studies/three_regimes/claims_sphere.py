"""TR5, TR6, TR8, TR9, TR12, TR14, TR16, TR19: what training with one ELR on the sphere shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats
from scipy.ndimage import median_filter

from lrscope.mapping import regimes
from lrscope.measures.alignment import at_loss
from lrscope.studies import reading
from lrscope.studies.reading import Array
from lrscope.studies.stats import Unseen, all_of, finding, interval
from lrscope.studies.types import Claim, Finding, Lab

NETS = ("convnet", "resnet", "mlp")
MOMENTS = 5  # ours, after seeing runs, for TR6's note only
CALM = 0.25  # ours, after seeing runs, for TR9's note only: the share of ln C above which runs of regime 2 have bursts


def _three_exist(lab: Lab) -> Finding:
    parts, words = [], []
    for name in NETS:
        width = reading.widths(lab.sweep(name))
        parts.append(finding(width, 0.2, name))
        words.append(f"{name} {np.mean(width):.2f} ({int((width > 0).sum())} of {len(width)} seeds with all three)")
    return all_of(parts, "Decades of ELR that regime 2 spans: " + ", ".join(words) + ".")


def faster_flatter_better(result: xr.Dataset) -> dict[str, Array]:
    """Per seed: how log steps to a loss, log sharpness and test error at equal loss change per decade of ELR in regime 1; the
    last also with the error's running median, because near the border it has bursts of single moments.

    Raises:
        Unseen: regime 1 has fewer than four ELRs.
    """
    inside = reading.shown(regimes(result), "1", least=4)
    upper = inside[len(inside) // 2 :]
    level = reading.reached_by(result, upper) * 1.05
    lr = np.log10(result["lr"].values)
    first = np.log10(_moment(result, level))
    sharp = np.log10(reading.at_level(result, "effective_grad_norm", level))
    error = reading.at_level(result, "test_error", level)
    smooth = median_filter(reading.error_curve(result), size=(1, 1, MOMENTS), mode="nearest")
    without_bursts = at_loss(_positive(reading.units(result["train_loss"])), smooth, [level])[..., 0]
    low = inside[:3]
    shared = reading.reached_by(result, low) * 1.05
    slow = np.log10(reading.at_level(result, "effective_grad_norm", shared))[low]
    return {
        "faster": -reading.slope(lr[upper], first[upper]),
        "flatter": -reading.slope(lr[upper], sharp[upper]),
        "better": -reading.slope(lr[upper], error[upper]),
        "better_without_bursts": -reading.slope(lr[upper], without_bursts[upper]),
        "apart": slow.max(0) - slow.min(0),
        "level": np.array([level, shared]),
    }


def _positive(loss: Array) -> Array:
    return np.where(loss > 0, loss, np.nan)


def _moment(result: xr.Dataset, level: float) -> Array:
    """Epochs until the training loss first comes down to a level [L, U]."""
    loss = reading.units(result["train_loss"])
    epochs = np.broadcast_to(result["epoch"].values, loss.shape)
    return np.asarray(at_loss(loss, epochs, [level])[..., 0], dtype=np.float64)


def _regime_one(lab: Lab) -> Finding:
    found = faster_flatter_better(lab.sweep("convnet"))
    sizes = lab.measured("data_sizes")
    parts = [finding(found[name], 0.0, name) for name in ("faster", "flatter", "better")]
    parts.append(finding(0.1 - found["apart"], 0.0, "coincide"))
    means = {name: float(np.nanmean(found[name])) for name in ("faster", "flatter", "better", "apart")}
    return all_of(
        parts,
        f"Per decade of ELR in the upper half of regime 1, at training loss {found['level'][0]:.3g}: {means['faster']:.2f} decades "
        f"fewer epochs, {means['flatter']:.3f} decades less sharpness, {100 * means['better']:.2f} points less test error; the "
        f"three lowest ELRs lie {means['apart']:.3f} decades of sharpness apart at loss {found['level'][1]:.3g}."
        + elsewhere(
            sizes,
            ("better", "points less test error per decade of ELR", 100),
            ("better_without_bursts", f"the same with the error's running median over {MOMENTS} moments", 100),
        ),
        data_sizes=by_size(sizes, ("faster", "flatter", "better", "better_without_bursts")),
    )


def barrier(path: Array) -> Array:
    """Largest rise [...] of losses [..., K] above the straight line between their ends."""
    alpha = np.linspace(0, 1, path.shape[-1])
    line = path[..., :1] * (1 - alpha) + path[..., -1:] * alpha
    return np.asarray((path - line).max(-1), dtype=np.float64)


def _not_connected(lab: Lab) -> Finding:
    path = lab.measured("neighbour_paths")["train_loss"].transpose("seed", "pair", "alpha").values
    rise = np.median(barrier(path), axis=1)
    lowest = float(barrier(path).min())
    return finding(
        rise,
        0.1,
        f"Median over {path.shape[1]} neighbouring pairs of regime 1 that had converged, in nats; the smallest barrier of any "
        f"pair and seed is {lowest:.3g}.",
    )


def equalised(result: xr.Dataset) -> dict[str, Array]:
    """Per seed: log10 of the largest over the smallest group ESS, mean over each regime; and the trends inside regime 2, that
    of sharpness also where runs are calm; `together` [L', U], the correlation over the second half's moments of log loss
    and log sharpness at the ELRs of regime 2.

    Raises:
        Unseen: no regime 1, no 3, or no 2 with a loss below ln C.
    """
    found = regimes(result)
    ess = reading.units(result["group_ess"])  # [L, U, W, G]
    settled = reading.settled(np.moveaxis(ess, -1, 2))
    ratio = np.log10(settled.max(-1) / settled.min(-1))
    loss = reading.settled(reading.units(result["train_loss"]))
    steep = reading.settled(reading.units(result["effective_grad_norm"]))
    learning = reading.learning(result, found)
    lr = np.log10(result["lr"].values)
    calm = [k for k in learning if np.nanmean(loss[k]) < CALM * reading.guessing(result)]
    return {
        **{regime: np.nanmean(ratio[reading.shown(found, regime)], axis=0) for regime in ("1", "2", "3")},
        "learning": np.nanmean(ratio[learning], axis=0),
        "higher": reading.slope(lr[learning], np.log10(loss[learning])),
        "flatter": -reading.slope(lr[learning], np.log10(steep[learning])),
        "flatter_where_calm": -reading.slope(lr[calm], np.log10(steep[calm])),
        "together": _together(result, learning),
        "ratio": 10**ratio,
    }


def _together(result: xr.Dataset, positions: Sequence[int]) -> Array:
    loss, steep = (reading.units(result[name])[list(positions)] for name in ("train_loss", "effective_grad_norm"))
    late = slice(loss.shape[-1] // 2, None)
    pairs = np.log10(np.where(loss > 0, loss, np.nan))[..., late], np.log10(steep)[..., late]
    x, y = (values - np.nanmean(values, -1, keepdims=True) for values in pairs)
    both = np.nansum(x * y, -1) / np.sqrt(np.nansum(x**2, -1) * np.nansum(y**2, -1))
    return np.asarray(both, dtype=np.float64)


def _equilibrium(lab: Lab) -> Finding:
    found = equalised(lab.sweep("convnet"))
    sizes = lab.measured("data_sizes")
    parts = [
        finding(found["1"] - found["learning"], 0.0, "regime 1 less equal"),
        finding(found["3"] - found["learning"], 0.0, "regime 3 less equal"),
        finding(found["higher"], 0.0, "higher loss"),
        finding(found["flatter"], 0.0, "lower sharpness"),
    ]
    means = {name: 10 ** float(found[name].mean()) for name in ("1", "learning", "3")}
    return all_of(
        parts,
        f"Largest over smallest ESS of the weight tensors: {means['1']:.2f} in regime 1, {means['learning']:.2f} in regime 2 where "
        f"its loss is below ln C, {means['3']:.2f} in regime 3. There, per decade of ELR, loss rises by {found['higher'].mean():.2f} "
        f"decades and sharpness falls by {found['flatter'].mean():.2f}."
        + elsewhere(
            sizes,
            ("flatter_within_2", "decades less sharpness per decade of ELR", 1),
            ("flatter_where_calm", f"the same up to a loss of {CALM:g} ln C", 1),
            ("together_lowest", "correlation of loss and sharpness within runs at the lowest such ELR", 1),
            ("together_highest", "at the highest", 1),
        ),
        data_sizes=by_size(
            sizes,
            (
                *("higher", "flatter_within_2", "flatter_where_calm", "together_lowest", "together_highest"),
                "lowest_loss",
            ),
        ),
    )


def by_size(sizes: xr.Dataset, names: Sequence[str]) -> dict[str, Any]:
    """Means and intervals over seeds of some of `data_sizes`, by training-set size: JSON-ready."""
    return {
        str(int(size)): {name: interval(sizes[name].sel(train_size=size).values)[:3] for name in names}
        for size in sizes["train_size"].values
    }


def elsewhere(sizes: xr.Dataset, *asked: tuple[str, str, float]) -> str:
    """A sentence with some of `data_sizes`, if there is more than one size: (name, words, factor) each."""
    if sizes.sizes["train_size"] < 2:
        return ""
    parts = []
    for name, words, factor in asked:
        values = []
        for size in sizes["train_size"].values:
            mean, low, high, count = interval(factor * sizes[name].sel(train_size=size).values)
            shown = f"{mean:.2f} [{low:.2f}, {high:.2f}]" if count else "cannot be told"
            values.append(f"{shown} with {int(size)} images")
        parts.append(f"{words} {', '.join(values)}")
    return f" Sweeps that differ in training set, batch and length: {'; '.join(parts)}."


def _valley(lab: Lab) -> Finding:
    paths = lab.measured("checkpoint_paths")["train_loss"].transpose("seed", "lr", "delta", "alpha").values
    ends = (paths[..., 0] + paths[..., -1]) / 2
    middle = paths[..., paths.shape[-1] // 2]
    low = np.median(1 - (middle / ends)[:, 0], axis=-1)
    rise = barrier(paths) / ends
    return all_of(
        [
            finding(low, 0.1, "lower in the middle"),
            finding(0.05 - np.median(rise[:, 0], axis=-1), 0.0, "convex at the lowest"),
            finding(np.median(rise[:, -1], axis=-1) - np.median(rise[:, 0], axis=-1), 0.0, "hilly at the highest"),
        ],
        f"At the lowest ELR of regime 2 the loss half-way is {100 * low.mean():.0f}% lower than at the ends and rises at most "
        f"{100 * np.median(rise[:, 0]):.1f}% above the line between them; at the highest {100 * np.median(rise[:, -1]):.1f}%.",
    )


def _random_walk(lab: Lab) -> Finding:
    found, offsets = lab.measured("walks").transpose("regime", "seed", ...), lab.measured("walk_offsets")
    cosine, walk = found["cosine"].mean("step"), found["walk_cosine"].mean("step")
    two, three = cosine.sel(regime="2").values, cosine.sel(regime="3").values
    above = (found["loss"] - found["walk_loss"]).sel(regime="3").mean("moment").values
    parts = [
        finding(two - three, 0.5, "cosine falls"),
        finding(0.2 - np.abs(three), 0.0, "uncorrelated"),
        finding(0.2 - np.abs(walk.sel(regime="3").values), 0.0, "as the walk"),
        finding(above, 0.0, "walk's loss is lower"),
    ]
    return all_of(
        parts,
        f"Mean cosine between successive weights: {two.mean():.3f} at the highest ELR of regime 2 that learns, {three.mean():.3f} in "
        f"regime 3, {float(walk.sel(regime='3').mean()):.3f} for the random walk; regime 3's loss lies {above.mean():.2f} nats above "
        f"the walk's. {_offsets(offsets)}",
        offsets={
            str(int(size)): {str(name): interval(offsets[name].sel(net=size).values)[:3] for name in offsets.data_vars}
            for size in offsets["net"].values
        },
    )


def _offsets(found: xr.Dataset) -> str:
    parts = []
    for size in found["net"].values:
        net = found.sel(net=size).dropna("seed")
        share = [float((net[p + "constant"] / net[p + "loss"]).mean()) for p in ("", "walk_")]
        parts.append(
            f"{int(size):,} weights, {net.sizes['seed']} seeds: regime 3 {_range(net['loss'])} nats, {share[0]:.2f} of it from the "
            f"mean output alone; the walk {_range(net['walk_loss'])}, {share[1]:.2f} of it"
        )
    return "At the highest ELR, range over seeds: " + "; ".join(parts) + "."


def _range(values: xr.DataArray) -> str:
    return f"{float(values.min()):.1f} to {float(values.max()):.1f}"


def _seeds_agree(lab: Lab) -> Finding:
    result = lab.sweep("mlp_own")
    cell = float(np.mean(np.diff(np.log10(result["lr"].values))))
    parts, words = [], []
    for between in ("1|2", "2|3"):
        places = np.log10(reading.seed_borders(result, between)) / cell
        away = np.abs(places - np.nanmedian(places))
        parts.append(finding(1.5 - away, 0.0, between))
        words.append(f"{between}: at most {np.nanmax(away):.1f} grid cells from the median")
    return all_of(
        parts,
        f"Borders of {len(places)} seeds, each with its own initialisation and batches at every ELR; "
        + ", ".join(words)
        + ".",
    )


MEASURES = ("gradient_norm", "covariance_trace", "fisher_trace", "hessian_top")


def slopes_at_equal_loss(lab: Lab) -> dict[str, Array]:
    """Per measure and seed: decades per decade of ELR at equal training loss in regime 1, by least squares of log measure
    on log loss and log ELR over ELRs and moments."""
    found = lab.measured("steepness").transpose("seed", "lr", "epoch")
    one = np.flatnonzero(found["regime"].values == "1")
    if len(one) < 2:
        raise Unseen(f"{len(one)} of the measured ELRs lie in regime 1, 2 are needed")
    part = found.isel(lr=one)
    lr = np.broadcast_to(np.log10(part["lr"].values)[:, None], part["train_loss"].shape[1:]).ravel()
    slopes: dict[str, Array] = {name: np.full(found.sizes["seed"], np.nan) for name in MEASURES}
    for name in MEASURES:
        for s in range(found.sizes["seed"]):
            y, x = part[name].values[s].ravel(), part["train_loss"].values[s].ravel()
            known = (y > 0) & (x > 0)
            design = np.stack([np.ones(known.sum()), np.log10(x[known]), lr[known]], 1)
            slopes[name][s] = np.linalg.lstsq(design, np.log10(y[known]), rcond=None)[0][2]
    return slopes


def _same_story(lab: Lab) -> Finding:
    found = lab.measured("steepness").transpose("seed", "lr", "epoch")
    same = [
        stats.spearmanr(found["gradient_norm"].values[s].ravel(), found["covariance_trace"].values[s].ravel()).statistic
        for s in range(found.sizes["seed"])
    ]
    slopes = slopes_at_equal_loss(lab)
    parts = [finding(-slopes[name], 0.0, name) for name in MEASURES]
    parts.append(finding(np.array(same), 0.95, "the two gradient measures agree"))
    words = ", ".join(f"{name.replace('_', ' ')} {slopes[name].mean():.2f}" for name in MEASURES)
    return all_of(
        parts,
        f"Decades per decade of ELR at equal training loss in regime 1: {words}. Rank correlation of gradient norm and covariance "
        f"trace {np.mean(same):.3f}.",
    )


CLAIMS = (
    Claim(
        id="TR5",
        sentence="Convergence, chaotic equilibrium and divergence exist for a ConvNet, a ResNet-18 and an MLP, on different data sets.",
        criterion="For each of the three networks the 95% interval over seeds of the decades of ELR that regime 2 spans lies above 0.2, where a seed that does not show all of 1, 2 and 3 counts as 0.",
        needs=NETS,
        check=_three_exist,
        figures=("1", "6", "11", "27"),
    ),
    Claim(
        id="TR6",
        sentence="In regime 1 a larger ELR converges faster, to lower sharpness and lower test error at equal training loss; the lowest ELRs' trajectories coincide.",
        criterion="In the upper half of regime 1's ELRs, at the lowest training loss they all reach (times 1.05): 95% intervals over seeds of the slopes per decade of ELR of log epochs, log sharpness and test error all lie below 0; and at the lowest loss that the three lowest ELRs reach, their sharpness differs by less than 0.1 decades.",
        needs=("convnet", "data_sizes"),
        check=_regime_one,
        figures=("1", "3"),
    ),
    Claim(
        id="TR8",
        sentence="Solutions of neighbouring regime-1 ELRs are not linearly connected, although initialisation and batches are the same.",
        criterion="The 95% interval over seeds of the median barrier in training loss between neighbouring regime-1 solutions with final loss under 0.1 nats lies above 0.1 nats.",
        needs=("neighbour_paths",),
        check=_not_connected,
        figures=("19",),
    ),
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
    Claim(
        id="TR16",
        sentence="The borders do not depend on the seed.",
        criterion="With an own initialisation and batch order for every seed and ELR: the 95% interval of the mean distance of a seed's border from the median lies below 1.5 grid cells, for 1|2 and for 2|3.",
        needs=("mlp_own",),
        check=_seeds_agree,
        figures=("12",),
    ),
    Claim(
        id="TR19",
        sentence="Gradient-norm sharpness, gradient-covariance trace, Fisher trace and top Hessian eigenvalue tell the same story.",
        criterion="In regime 1, by least squares of each log measure on log training loss and log ELR over ELRs and moments of training: the 95% interval over seeds of the slope on log ELR lies below 0 for all four; and the 95% interval of the Spearman correlation of gradient norm and covariance trace over all measured ELRs and moments lies above 0.95.",
        needs=("steepness",),
        check=_same_story,
        figures=("9", "10"),
    ),
)
