"""FL1 to FL4: what pre-training with one learning rate leaves behind, on the synthetic ticks.

L pre-training rates, F fine-tuning rates, U seeds (data seed x seed). Regimes are found in other runs than those
that are measured (folds.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from lrscope.schema import segment
from lrscope.studies import arrays, common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects import (
    CHANCE,
    at_plrs,
    averaged,
    by_plr,
    effective_number,
    feature_accuracies,
    over,
    trained,
    tuned,
)
from lrscope.studies.feature_learning.folds import Fold, folds_of, mean_over_folds, per_fold, readable_folds
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import finding, interval, part

SPARSER = float(np.log(1.5))  # ours: a third fewer features


def _best_in_2a(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("ticks"))

    def mean(fold: Fold, label: str) -> Array:
        return over(tuned(fold)[:, :-1].mean(1), fold.inside(label))

    def spread(fold: Fold, label: str) -> Array:
        return over(tuned(fold)[:, :-1].std(1), fold.inside(label))

    def moved(fold: Fold) -> Array:
        found, before = tuned(fold), trained(fold)
        pairs = [(p, f) for p in fold.inside("1") for f, flr in enumerate(fold.flr[:-1]) if flr <= 1.001 * fold.plr[p]]
        return np.asarray(np.abs(np.mean([found[p, f] - before[p] for p, f in pairs], axis=0)), dtype=np.float64)

    over_one = per_fold(folds, lambda fold: mean(fold, "2A") - over(trained(fold), fold.upper_one()))
    over_2b = per_fold(folds, lambda fold: mean(fold, "2A") - mean(fold, "2B"))
    wider = per_fold(folds, lambda fold: spread(fold, "2B") - spread(fold, "2A"))
    nothing = per_fold(folds, moved)
    return finding(
        [
            part("2A better than regime 1", over_one, above=0.0, unit="test accuracy (0 to 1)"),
            part("2A better than 2B", over_2b, above=0.0, unit="test accuracy (0 to 1)"),
            part("FLRs spread more in 2B", wider, above=0.0, unit="test accuracy (0 to 1)"),
            part("change in regime 1", nothing, below=0.01, unit="test accuracy (0 to 1)"),
        ],
        f"Fine-tuning from 2A ends {100 * mean_over_folds(over_one):.1f} points above pre-training in upper regime 1 and {100 * mean_over_folds(over_2b):.1f} above "
        f"fine-tuning from 2B; the spread over FLRs is {100 * mean_over_folds(wider):.1f} points wider in 2B; in regime 1 smaller and equal FLRs move "
        f"accuracy by {100 * mean_over_folds(nothing):.2f} points. Regimes from the other data seeds."
        + readable_folds(over_one, over_2b, wider, nothing),
    )


def _averages(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("ticks"))
    most = int(segment(results.sweep("ticks"), "average")["n_average"].values[-1])

    def behind(label: str, n: int) -> Array:
        return per_fold(folds, lambda fold: over(averaged(fold, n) - tuned(fold)[:, 0], fold.inside(label)))

    good, bad = behind("2A", most), behind("2B", most)
    numbers: dict[float, Array] = {
        int(n): behind("2A", int(n)) for n in segment(results.sweep("ticks"), "average")["n_average"].values
    }
    gaps = by_plr(folds, "2A", lambda fold: averaged(fold, most) - tuned(fold)[:, 0])
    return finding(
        [
            part("average against fine-tuning in 2A", good, above=-0.02, unit="test accuracy (0 to 1)"),
            part("average against fine-tuning in 2B", bad, below=-0.05, unit="test accuracy (0 to 1)"),
        ],
        f"An average of {most} checkpoints against the lowest FLR: {100 * mean_over_folds(good):+.1f} points in 2A, {100 * mean_over_folds(bad):+.1f} in 2B. In 2A by "
        f"PLR: {_list(gaps, '{:+.1f}', 100)}; by number of checkpoints: {_list(numbers, '{:+.1f}', 100)}. Regimes from the other data seeds; a PLR counts as 2A "
        f"where most of them say so.{readable_folds(good, bad)}",
        by_number={str(n): interval(values)[:3] for n, values in numbers.items()},
        by_plr={f"{plr:.4g}": interval(values)[:3] for plr, values in gaps.items()},
    )


def _list(values: Mapping[float, Array], style: str, factor: float = 1.0) -> str:
    return ", ".join(f"{key:.3g} {style.format(factor * mean_over_folds(value))}" for key, value in values.items())


def _sparse(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("ticks"))

    def sparser(fold: Fold, stage: str, where: list[int]) -> Array:
        """Log ratio of the features relied on at the lowest PLRs and at another stage elsewhere."""
        before = common_panels.mean(effective_number(fold, "pre")[fold.lowest()], 0)
        return np.asarray(
            np.log(before / common_panels.mean(effective_number(fold, stage)[where], 0)), dtype=np.float64
        )

    effects = {
        "sparse in 2A": per_fold(folds, lambda fold: sparser(fold, "pre", fold.inside("2A"))),
        "kept by the lowest FLR": per_fold(folds, lambda fold: sparser(fold, "low", fold.inside("2A"))),
        "kept by SWA": per_fold(folds, lambda fold: sparser(fold, "swa", fold.inside("2A"))),
        "restored by the highest FLR from the lowest PLRs": per_fold(
            folds, lambda fold: sparser(fold, "high", fold.lowest())
        ),
        "restored by the highest FLR from regime 3": per_fold(
            folds, lambda fold: sparser(fold, "high", fold.inside("3"))
        ),
    }
    gone = per_fold(folds, lambda fold: over(feature_accuracies(fold, "pre").mean(2), fold.inside("3")) - CHANCE)
    even = per_fold(folds, lambda fold: common_panels.mean(effective_number(fold, "pre")[fold.lowest()], 0))
    ratios = ", ".join(f"{name} {np.exp(mean_over_folds(values)):.2f}" for name, values in effects.items())
    after = at_plrs(folds, folds[0].lowest(), lambda fold: effective_number(fold, "high"))
    top = folds[0].flr[-1]
    return finding(
        [
            *(
                part(name, values, above=SPARSER, unit="log of how many times fewer")
                for name, values in effects.items()
            ),
            part("above chance in regime 3", gone, below=0.02, unit="accuracy (0 to 1)"),
        ],
        f"At the lowest PLRs runs rely on {mean_over_folds(even):.1f} of 16 features; how many times fewer elsewhere: {ratios}. In regime 3 "
        f"single-feature accuracy lies {100 * mean_over_folds(gone):.1f} points above chance. After FLR {top:.3g} from the lowest PLRs they rely on, by FLR / "
        f"PLR: {_list({top / plr: values for plr, values in after.items()}, '{:.1f}')}.{readable_folds(*effects.values(), gone)}",
        after_highest={f"{plr:.4g}": interval(values)[:3] for plr, values in after.items()},
    )


def _geometry(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("ticks"))
    found = results.measurement("geometry")

    def of(fold: Fold, name: str, pair: str) -> Array:
        here = {axis: fold.result[axis].values for axis in ("data_seed", "seed")}
        return arrays.per_seed(found[name].sel(pair=pair).sel(here))

    def two(fold: Fold) -> list[int]:
        return [*fold.inside("2A"), *fold.inside("2B")]

    def gap(name: str) -> Array:
        return per_fold(folds, lambda fold: over(of(fold, name, "high-swa") - of(fold, name, "low-swa"), two(fold)))

    def rise(fold: Fold, positions: list[int]) -> Array:
        return over(of(fold, "barrier_test_error", "low-high"), positions)

    def turned(fold: Fold, positions: list[int]) -> Array:
        return over(of(fold, "angle", "low-high"), positions)

    appears = per_fold(folds, lambda fold: rise(fold, fold.inside("2A")) - rise(fold, fold.upper_one()))
    higher = per_fold(folds, lambda fold: rise(fold, fold.inside("2B")) - rise(fold, fold.inside("2A")))
    angle, barrier = gap("angle"), gap("barrier_test_error")
    thrown = per_fold(folds, lambda fold: turned(fold, fold.lowest()) - turned(fold, fold.upper_one()))
    return finding(
        [
            part("barriers larger in 2A than in 1", appears, above=0.0, unit="test error (0 to 1)"),
            part("barriers larger in 2B than in 2A", higher, above=0.0, unit="test error (0 to 1)"),
            part("SWA closer to low by angle", angle, above=0.0, unit="rad"),
            part("SWA closer to low by barrier", barrier, above=0.0, unit="test error (0 to 1)"),
            part("catapult from the lowest PLRs", thrown, above=0.0, unit="rad"),
        ],
        f"Barriers in test error between lowest- and highest-FLR solutions: {100 * mean_over_folds(appears):.1f} points more in 2A than in upper regime 1, "
        f"{100 * mean_over_folds(higher):.1f} more in 2B than in 2A. From the high-FLR solution SWA lies {mean_over_folds(angle):.2f} rad and {100 * mean_over_folds(barrier):.1f} points "
        f"farther than from the low one. At the lowest PLRs the two solutions lie {mean_over_folds(thrown):.2f} rad farther apart than in upper regime 1."
        + readable_folds(appears, higher, angle, barrier, thrown),
        curves=_curves(found),
    )


def _curves(found: xr.Dataset) -> dict[str, dict[str, list[float]]]:
    """What Figure 9 draws, by PLR: mean angles and median barriers of test error."""
    runs = ("data_seed", "seed")
    angle, barrier = found["angle"].mean(runs), found["barrier_test_error"].median(runs)
    return {
        str(pair): {
            "plr": [float(lr) for lr in found["lr"].values],
            "angle": [round(float(v), 4) for v in angle.sel(pair=pair).transpose("lr").values],
            "median_barrier": [round(float(v), 4) for v in barrier.sel(pair=pair).transpose("lr").values],
        }
        for pair in found["pair"].values
    }


CLAIMS = (
    Claim(
        id="FL1",
        sentence="Fine-tuned test accuracy peaks in 2A, where fine-tuning rates agree; in 2B they spread and drop; in regime 1 fine-tuning with a smaller or equal rate changes nothing.",
        criterion="Ticks, without the highest FLR, which overfits in a fixed length; regimes by the runs of the other data seeds. 95% intervals over seeds: mean accuracy after fine-tuning from 2A minus that of pre-training in the upper half of regime 1, and minus fine-tuning from 2B, above 0; deviation over FLRs in 2B minus 2A above 0; mean change by FLRs up to the PLR in regime 1 below one point.",
        needs=("ticks",),
        check=_best_in_2a,
        figures=("1", "8"),
    ),
    Claim(
        id="FL2",
        sentence="Averaging weights matches fine-tuning in 2A and fails in 2B.",
        criterion="Ticks, regimes by the runs of the other data seeds. 95% intervals over seeds of test accuracy of the average over most checkpoints minus that of fine-tuning with the lowest FLR: above -2 points in 2A, below -5 points in 2B.",
        needs=("ticks",),
        check=_averages,
        figures=("8",),
    ),
    Claim(
        id="FL3",
        sentence="Single-feature accuracies are even at small PLRs, sparse in 2A and gone above; a low FLR and averaging keep the sparsity, a high FLR restores it from anywhere.",
        criterion="Ticks, regimes by the runs of the other data seeds. Number of features relied on (participation ratio of single-feature accuracies above chance), 95% intervals over seeds: at the lowest decade of PLRs it is more than 1.5 times that in 2A after pre-training, after the lowest FLR and after averaging five checkpoints, and that after the highest FLR from the lowest decade and from regime 3; mean single-feature accuracy in regime 3 is less than two points above chance.",
        needs=("ticks",),
        check=_sparse,
        figures=("2", "3", "10"),
    ),
    Claim(
        id="FL4",
        sentence="Barriers between low- and high-FLR solutions appear in 2A and are higher in 2B; the average lies close to the low-FLR solution and far from the high-FLR one; an FLR far above the PLR catapults.",
        criterion="Ticks, regimes by the runs of the other data seeds; lowest FLR, highest FLR, average of five checkpoints. 95% intervals over seeds, all above 0: test-error barrier between low and high in 2A minus upper half of regime 1, and 2B minus 2A; in 2A and 2B angle and test-error barrier from the average to high minus to low; angle between low and high at the lowest decade of PLRs minus upper half of regime 1.",
        needs=("ticks", "geometry"),
        check=_geometry,
        figures=("9",),
    ),
)
