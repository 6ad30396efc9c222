"""TR5, TR6, TR8, TR16, TR19: what training with one ELR on the sphere shows, above all in regime 1."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from lrscope.mapping import regimes
from lrscope.studies import reading
from lrscope.studies.reading import Array
from lrscope.studies.stats import Unseen, all_of, finding
from lrscope.studies.three_regimes.by_size import REGIME_ONE, by_size, elsewhere
from lrscope.studies.types import Claim, Finding, Lab

NETS = ("convnet", "resnet", "mlp")
MOMENTS = 3  # ours, after seeing runs, for TR6's note only


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
    smooth = reading.running_median(reading.error_curve(result), MOMENTS)
    without_bursts = reading.read_off(reading.units(result["train_loss"]), smooth, level)
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


def _moment(result: xr.Dataset, level: float) -> Array:
    """Epochs until the training loss first comes down to a level [L, U]."""
    loss = reading.units(result["train_loss"])
    epochs = np.broadcast_to(result["epoch"].values, loss.shape)
    return reading.read_off(loss, epochs, level)


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
        data_sizes=by_size(sizes, REGIME_ONE),
    )


def barrier(path: Array) -> Array:
    """Largest rise [...] of losses [..., K] above the straight line between their ends."""
    alpha = np.linspace(0, 1, path.shape[-1])
    line = path[..., :1] * (1 - alpha) + path[..., -1:] * alpha
    return np.asarray((path - line).max(-1), dtype=np.float64)


def _not_connected(lab: Lab) -> Finding:
    path = lab.measured("neighbour_paths")["train_loss"].transpose("seed", "pair", "alpha").values
    rise = barrier(path)
    there = np.isfinite(rise)
    if not there.any():
        raise Unseen("no two neighbouring ELRs of regime 1 converged")
    medians = [
        float(np.median(of_seed[here])) if here.any() else np.nan for of_seed, here in zip(rise, there, strict=True)
    ]
    return finding(
        medians,
        0.1,
        f"Median over {path.shape[1]} neighbouring pairs of regime 1, in nats, where both solutions of a seed had converged "
        f"({there.sum()} of {there.size}); the smallest barrier of any pair and seed is {rise[there].min():.3g}.",
    )


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
