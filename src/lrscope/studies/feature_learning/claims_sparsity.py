"""FL3: on how many of the ticks' features a network relies.

L pre-training rates, U seeds (data seed x seed).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from lrscope.studies import common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.claims_ticks import listed
from lrscope.studies.feature_learning.effects import CHANCE, at_plrs, effective_number, feature_accuracies, over
from lrscope.studies.feature_learning.effects_geometry import CATAPULT, between, catapulted
from lrscope.studies.feature_learning.folds import Fold, folds_of, mean_over_folds, per_fold
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part

SPARSER = float(np.log(1.5))  # ours: a third fewer features
EVEN = 0.5  # ours: of all features
GONE = 0.02  # ours: points above chance
RATIO = "log of how many times fewer"


def even(fold: Fold) -> Array:
    """Features relied on at the lowest decade of PLRs, as a fraction of all [U]."""
    found = common_panels.mean(effective_number(fold, "pre")[fold.lowest()], 0)
    return np.asarray(found / feature_accuracies(fold, "pre").shape[-1], dtype=np.float64)


def sparser(fold: Fold, stage: str, where: list[int]) -> Array:
    """Log ratio of the features relied on after pre-training at the lowest PLRs and at another stage elsewhere [U]."""
    before = common_panels.mean(effective_number(fold, "pre")[fold.lowest()], 0)
    return np.asarray(np.log(before / common_panels.mean(effective_number(fold, stage)[where], 0)), dtype=np.float64)


def after_catapults(fold: Fold, geometry: xr.Dataset, thrown: bool = True) -> Array:
    """`sparser` after the highest FLR, over the runs of regime 1 that it catapulted, or over those that it did not.

    Raises:
        Undetermined: there is no such run.
    """
    one = [k for k in fold.inside("1") if fold.plr[k] < fold.flr[-1]]
    chosen = catapulted(geometry, fold)[one] == float(thrown)
    if not chosen.any():
        raise Undetermined(f"no run of regime 1 {'is' if thrown else 'escapes being'} catapulted by the highest FLR")
    before = common_panels.mean(effective_number(fold, "pre")[fold.lowest()].ravel(), 0)
    after = np.where(chosen, effective_number(fold, "high")[one], np.nan)
    return np.asarray(np.log(before / common_panels.mean(after.ravel(), 0)), dtype=np.float64)


def _sparse(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("ticks"))
    geometry = results.measurement("geometry")
    kept = {
        "sparse in 2A": lambda fold: sparser(fold, "pre", fold.inside("2A")),
        "kept by the lowest FLR": lambda fold: sparser(fold, "low", fold.inside("2A")),
        "kept by SWA": lambda fold: sparser(fold, "swa", fold.inside("2A")),
        "restored by the highest FLR from 1 where it catapults": lambda fold: after_catapults(fold, geometry),
        "restored by the highest FLR from 2B": lambda fold: sparser(fold, "high", fold.inside("2B")),
        "restored by the highest FLR from 3": lambda fold: sparser(fold, "high", fold.inside("3")),
    }
    lowest = folds[0].lowest()
    after = at_plrs(folds, lowest, lambda fold: effective_number(fold, "high"))
    angle = at_plrs(folds, lowest, lambda fold: between(geometry, fold, "angle", "low-high"))
    top = folds[0].flr[-1]
    parts = [
        part("even at the lowest PLRs", lambda: per_fold(folds, even), above=EVEN, unit="fraction of the features"),
        *(
            part(name, lambda effect=effect: per_fold(folds, effect), above=SPARSER, unit=RATIO)  # type: ignore[misc]
            for name, effect in kept.items()
        ),
        part("gone in regime 3", lambda: per_fold(folds, _above_chance), below=GONE, unit="accuracy (0 to 1)"),
    ]
    rest = part(
        "rest",
        lambda: per_fold(folds, lambda fold: after_catapults(fold, geometry, thrown=False)),
        above=0.0,
        unit=RATIO,
    )
    return finding(
        parts,
        f"A run is catapulted where the highest FLR ends more than {CATAPULT:g} rad from the lowest. After FLR {top:.3g} from the lowest PLRs runs rely, by FLR / "
        f"PLR, on so many features: {listed({top / plr: v for plr, v in after.items()}, '{:.1f}')}, at angles of "
        f"{', '.join(f'{mean_over_folds(v):.2f}' for v in angle.values())} rad. Runs of regime 1 that it does not catapult rely on "
        f"{np.exp(rest.value):.2f} times fewer than before.",
        after_highest={f"{plr:.4g}": interval(values)[:3] for plr, values in after.items()},
        angles={f"{plr:.4g}": interval(values)[:3] for plr, values in angle.items()},
        not_catapulted=(rest.value, rest.low, rest.high),
    )


def _above_chance(fold: Fold) -> Array:
    return over(feature_accuracies(fold, "pre").mean(2), fold.inside("3")) - CHANCE


CLAIMS = (
    Claim(
        id="FL3",
        sentence="Single-feature accuracies are even at small PLRs, sparse in 2A and gone above; a low FLR and averaging keep the sparsity; a high FLR restores it: from regime 1 where it catapults, from 2 and 3 by convergence.",
        criterion="Ticks, regimes by the runs of the other data seeds. Number of features relied on (participation ratio of single-feature accuracies above chance), 95% intervals over data seeds: at the lowest decade of PLRs it is more than half of the features, and more than 1.5 times that in 2A after pre-training, after the lowest FLR and after averaging five checkpoints, and that after the highest FLR from 2B, from 3, and from those runs of regime 1 that it catapults: its solution lies more than 1 rad from the lowest FLR's; mean single-feature accuracy in regime 3 is less than two points above chance.",
        needs=("ticks", "geometry"),
        check=_sparse,
        figures=("2", "3", "10"),
    ),
)
