"""TR5, TR6, TR8, TR16, TR19: what training with one ELR on the sphere shows, above all in regime 1."""

from __future__ import annotations

import numpy as np

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.effects import (
    CONVERGED,
    MEASURES,
    faster_flatter_better,
    lowest_and_highest,
    slopes_at_equal_loss,
)
from lrscope.studies.three_regimes.effects_measurements import median_barriers, partial_correlation
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import finding, interval, part

NETS = ("convnet", "resnet", "mlp")


def _three_exist(results: StudyResults) -> Finding:
    parts, words = [], []
    for name in NETS:
        result = results.sweep(name)
        width, unit = arrays.widths(result), "decades of ELR"
        parts.append(part(name, width, above=0.2, unit=unit, cell=arrays.width_cell(result)))
        words.append(f"{name} {interval(width)[0]:.2f} ({int((width > 0).sum())} of {len(width)} seeds with all three)")
    return finding(parts, "Decades of ELR that regime 2 spans: " + ", ".join(words) + ".")


def _regime_one(results: StudyResults) -> Finding:
    found = faster_flatter_better(results.sweep("converged"))
    low, top, level = lowest_and_highest(results.sweep("convnet"))
    units = {"faster": "decades of epochs", "flatter": "decades of sharpness", "better": "test error (0 to 1)"}
    parts = [part(name, found[name], above=0.0, unit=f"{unit} per decade of ELR") for name, unit in units.items()]
    unit = "decades of sharpness per decade of ELR"
    parts.append(part("lowest ELRs apart over half of the slope at the highest", low - top / 2, below=0.0, unit=unit))
    means = {name: interval(found[name])[0] for name in units}
    return finding(
        parts,
        f"Per decade of ELR in regime 1, at training loss {CONVERGED:g}: {means['faster']:.2f} decades fewer epochs, "
        f"{means['flatter']:.3f} decades less sharpness, {100 * means['better']:.2f} points less test error; at loss {level:.3g} of "
        f"the shorter runs the three lowest ELRs lie {interval(low)[0]:.3f} decades of sharpness apart per decade of ELR, and it falls "
        f"by {interval(top)[0]:.3f} over the three highest.",
    )


def _not_connected(results: StudyResults) -> Finding:
    medians, rise = median_barriers(results.measurement("neighbour_paths")["train_loss"])
    there = np.isfinite(rise)
    return finding(
        [part("median barrier", medians, above=0.1, unit="nats")],
        f"Median over {rise.shape[1]} neighbouring pairs of regime 1, in nats, where both solutions of a seed had converged "
        f"({there.sum()} of {there.size}); the smallest barrier of any pair and seed is {rise[there].min():.3g}.",
    )


def _seeds_agree(results: StudyResults) -> Finding:
    own, shared = results.sweep("mlp_own"), results.sweep("mlp")
    parts, words = [], []
    for between in ("1|2", "2|3"):
        places, others = (
            np.log10(arrays.seed_borders(result, between)) / arrays.cell(own.coords["lr"].values)
            for result in (own, shared)
        )
        middle = _median(others)
        unit = "grid cells"
        parts += [
            part(f"border {between} from the median", np.abs(places - _median(places)), below=1.5, unit=unit, cell=1.0),
            part(f"border {between} from shared seeds", places - middle, above=-1.5, below=1.5, unit=unit, cell=1.0),
        ]
        words.append(f"{between}: {_range(places - middle)} grid cells from the median with shared seeds")
    return finding(
        parts,
        f"Borders of {own.sizes['seed']} seeds, each with its own initialisation and batches at every ELR; {', '.join(words)}.",
    )


def _median(values: Array) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan


def _range(values: Array) -> str:
    known = values[np.isfinite(values)]
    return f"{known.min():.1f} to {known.max():.1f}" if len(known) else "undetermined"


def _same_story(results: StudyResults) -> Finding:
    steepness = results.measurement("steepness")
    same = partial_correlation(steepness, "gradient_norm", "covariance_trace")
    slopes = slopes_at_equal_loss(steepness)
    unit = "decades per decade of ELR"
    parts = [part(name.replace("_", " "), slopes[name], below=0.0, unit=unit) for name in MEASURES]
    parts.append(part("gradient norm and covariance trace", same, above=0.8, unit="rank correlation at equal loss"))
    words = ", ".join(f"{name.replace('_', ' ')} {interval(slopes[name])[0]:.2f}" for name in MEASURES)
    return finding(
        parts,
        f"Decades per decade of ELR at equal training loss in regime 1: {words}. Rank correlation of gradient norm and covariance "
        f"trace at equal training loss {np.mean(same):.3f}.",
    )


CLAIMS = (
    Claim(
        id="TR5",
        sentence="Convergence, chaotic equilibrium and divergence exist for a ConvNet, a ResNet-18 and an MLP, on different data sets.",
        criterion="For each of the three networks the 95% interval over seeds of the decades of ELR from border 1|2 to border 2|3 lies above 0.2. They are 0 where a seed shows regimes 1 and 3 with no 2 between them, and undetermined where the grid does not reach a border; the interval is at least as wide as both steps of the grid in which the borders lie. That regime 2 is an equilibrium is what TR9 judges: here it is what neither converges nor is at chance.",
        needs=NETS,
        check=_three_exist,
        figures=("1", "6", "11", "27"),
    ),
    Claim(
        id="TR6",
        sentence="In regime 1 a larger ELR converges faster, to lower sharpness and lower test error at equal training loss; the lowest ELRs' trajectories coincide.",
        criterion="Of regime 1's ELRs those whose training loss comes down to 0.02 nats: 95% intervals over seeds, each with its own training set, of the slopes per decade of ELR of log epochs to that loss, log sharpness and test error there (of all, training loss included, running medians over three logging intervals) all lie below 0; and at the lowest training loss that the three lowest and the three highest ELRs of regime 1 reach (times 1.05) log sharpness differs between the three lowest, per decade of ELR, by less than half of what it falls per decade over the three highest.",
        needs=("converged", "convnet"),
        check=_regime_one,
        figures=("1", "3"),
    ),
    Claim(
        id="TR8",
        sentence="Solutions of neighbouring regime-1 ELRs are not linearly connected, although initialisation and batches are the same.",
        criterion="The 95% interval over seeds of the median barrier in training loss between neighbouring regime-1 solutions with final loss under 0.05 nats lies above 0.1 nats.",
        needs=("neighbour_paths",),
        check=_not_connected,
        figures=("19",),
    ),
    Claim(
        id="TR16",
        sentence="The borders do not depend on the seed.",
        criterion="With an own initialisation and batch order for every seed and ELR, for 1|2 and for 2|3, 95% intervals over seeds widened by the grid's cell: the mean distance of a seed's border from the median lies below 1.5 grid cells; and its mean distance, with its sign, from the median border of runs that share both between ELRs lies within 1.5 grid cells of 0. A border that a seed's grid does not reach has no value.",
        needs=("mlp_own", "mlp"),
        check=_seeds_agree,
        figures=("12",),
    ),
    Claim(
        id="TR19",
        sentence="Gradient-norm sharpness, gradient-covariance trace, Fisher trace and top Hessian eigenvalue tell the same story.",
        criterion="In regime 1, at five training losses that all measured ELRs pass after the peak of the measure, interpolated along each run: the 95% interval over seeds of the mean slope per decade of ELR of log gradient norm, log Fisher trace and log top Hessian eigenvalue lies below 0 for each; and the 95% interval of the Spearman correlation of gradient norm and covariance trace over all measured ELRs and moments, after a parabola of either's logarithm on that of the training loss, lies above 0.8.",
        needs=("steepness",),
        check=_same_story,
        figures=("9", "10"),
    ),
)
