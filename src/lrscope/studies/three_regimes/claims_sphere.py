"""TR5, TR6, TR8, TR16, TR19: what training with one ELR on the sphere shows, above all in regime 1."""

from __future__ import annotations

import numpy as np

from lrscope.studies import arrays
from lrscope.studies.three_regimes.data_sizes import REGIME_ONE, by_size, elsewhere
from lrscope.studies.three_regimes.effects import (
    MEASURES,
    MEDIAN_WIDTH,
    faster_flatter_better,
    slopes_at_equal_loss,
)
from lrscope.studies.three_regimes.effects_measurements import median_barriers, rank_correlation
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import finding, part

NETS = ("convnet", "resnet", "mlp")


def _three_exist(results: StudyResults) -> Finding:
    parts, words = [], []
    for name in NETS:
        width = arrays.widths(results.sweep(name))
        parts.append(part(name, width, above=0.2, unit="decades of ELR"))
        words.append(f"{name} {np.mean(width):.2f} ({int((width > 0).sum())} of {len(width)} seeds with all three)")
    return finding(parts, "Decades of ELR that regime 2 spans: " + ", ".join(words) + ".")


def _regime_one(results: StudyResults) -> Finding:
    found = faster_flatter_better(results.sweep("convnet"))
    sizes = results.measurement("data_sizes")
    units = {"faster": "decades of epochs", "flatter": "decades of sharpness", "better": "test error (0 to 1)"}
    parts = [part(name, found[name], above=0.0, unit=f"{unit} per decade of ELR") for name, unit in units.items()]
    parts.append(part("lowest ELRs apart", found["apart"], below=0.1, unit="decades of sharpness"))
    means = {name: float(np.nanmean(found[name])) for name in ("faster", "flatter", "better", "apart")}
    return finding(
        parts,
        f"Per decade of ELR in the upper half of regime 1, at training loss {found['level'][0]:.3g}: {means['faster']:.2f} decades "
        f"fewer epochs, {means['flatter']:.3f} decades less sharpness, {100 * means['better']:.2f} points less test error; the "
        f"three lowest ELRs lie {means['apart']:.3f} decades of sharpness apart at loss {found['level'][1]:.3g}."
        + elsewhere(
            sizes,
            ("better", "points less test error per decade of ELR", 100),
            (
                "better_without_bursts",
                f"the same with the error's running median over {MEDIAN_WIDTH} logging intervals",
                100,
            ),
        ),
        data_sizes=by_size(sizes, REGIME_ONE),
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
    result = results.sweep("mlp_own")
    cell = float(np.mean(np.diff(np.log10(result.coords["lr"].values))))
    parts, words = [], []
    for between in ("1|2", "2|3"):
        places = np.log10(arrays.seed_borders(result, between)) / cell
        away = np.abs(places - np.nanmedian(places))
        parts.append(part(f"border {between} from the median", away, below=1.5, unit="grid cells"))
        words.append(f"{between}: at most {np.nanmax(away):.1f} grid cells from the median")
    return finding(
        parts,
        f"Borders of {len(places)} seeds, each with its own initialisation and batches at every ELR; "
        + ", ".join(words)
        + ".",
    )


def _same_story(results: StudyResults) -> Finding:
    steepness = results.measurement("steepness")
    same = rank_correlation(steepness, "gradient_norm", "covariance_trace")
    slopes = slopes_at_equal_loss(steepness)
    unit = "decades per decade of ELR"
    parts = [part(name.replace("_", " "), slopes[name], below=0.0, unit=unit) for name in MEASURES]
    parts.append(part("gradient norm and covariance trace", same, above=0.95, unit="rank correlation"))
    words = ", ".join(f"{name.replace('_', ' ')} {slopes[name].mean():.2f}" for name in MEASURES)
    return finding(
        parts,
        f"Decades per decade of ELR at equal training loss in regime 1: {words}. Rank correlation of gradient norm and covariance "
        f"trace {np.mean(same):.3f}.",
    )


CLAIMS = (
    Claim(
        id="TR5",
        sentence="Convergence, chaotic equilibrium and divergence exist for a ConvNet, a ResNet-18 and an MLP, on different data sets.",
        criterion="For each of the three networks the 95% interval over seeds of the decades of ELR from border 1|2 to border 2|3 lies above 0.2. They are 0 where a seed shows regimes 1 and 3 with no 2 between them, and undetermined where the grid does not reach a border.",
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
