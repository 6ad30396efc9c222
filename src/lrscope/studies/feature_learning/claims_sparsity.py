"""FL3: on how many of the ticks' features a network relies.

The number of features is the participation ratio of accuracies above chance, those below it counting as 0
(`measures.features.sparsity`), so that noise reads as sparse. Simulated with 1,000 examples a feature: networks that guess would
have 5.5 of 16 (F / pi where features are many), networks with all 16 a point above chance 9.3, about as at the lowest PLRs. So runs
whose mean over features is not more than a point above chance have no number, 99 in 100 of those that guess. As that leaves out
runs, each part that says sparse, of those that are left, goes with one that says stronger, of all.

L pre-training rates, U seeds (data seed x seed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.studies import common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.claims_ticks import listed
from lrscope.studies.feature_learning.effects import at_plrs, effective_number, feature_accuracies, over
from lrscope.studies.feature_learning.effects_geometry import CATAPULT, between, catapulted
from lrscope.studies.feature_learning.folds import Fold, folds_of, mean_over_folds, per_fold
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part

SPARSER = float(np.log(1.5))  # ours: a third fewer features
EVEN = 0.5  # ours: of all features
Effect = Callable[[Fold], Array]
OfPlrs = Callable[[Fold, str, list[int]], Array]  # of a stage and some PLRs
RATIO, MORE, ACCURACY = "log of how many times fewer", "log of how many times more", "accuracy (0 to 1)"


def even(fold: Fold) -> Array:
    """Features relied on at the lowest decade of PLRs, as a fraction of all [U]."""
    found = common_panels.mean(effective_number(fold, "pre")[fold.lowest()], 0)
    return np.asarray(found / feature_accuracies(fold, "pre").shape[-1], dtype=np.float64)


def sparser(fold: Fold, stage: str, where: list[int]) -> Array:
    """Log ratio of the features relied on after pre-training at the lowest PLRs and at another stage elsewhere [U]."""
    before = common_panels.mean(effective_number(fold, "pre")[fold.lowest()], 0)
    return np.asarray(np.log(before / common_panels.mean(effective_number(fold, stage)[where], 0)), dtype=np.float64)


def thrown_runs(fold: Fold, geometry: xr.Dataset, thrown: bool = True) -> tuple[list[int], NDArray[np.bool_]]:
    """The PLRs of regime 1 below the highest FLR, and which of their runs [.., U] it catapulted, or did not.

    Raises:
        Undetermined: there is no such run.
    """
    one = [k for k in fold.inside("1") if fold.plr[k] < fold.flr[-1]]
    chosen = catapulted(geometry, fold)[one] == float(thrown)
    if not chosen.any():
        raise Undetermined(f"no run of regime 1 {'is' if thrown else 'escapes being'} catapulted by the highest FLR")
    return one, chosen


def after_catapults(fold: Fold, geometry: xr.Dataset, thrown: bool = True) -> Array:
    """`sparser` after the highest FLR, over `thrown_runs`."""
    one, chosen = thrown_runs(fold, geometry, thrown)
    before = common_panels.mean(effective_number(fold, "pre")[fold.lowest()].ravel(), 0)
    after = np.where(chosen, effective_number(fold, "high")[one], np.nan)
    return np.asarray(np.log(before / common_panels.mean(after.ravel(), 0)), dtype=np.float64)


def best_feature(fold: Fold, stage: str) -> Array:
    """Accuracy of the best single feature of each run at a stage [L, U]."""
    return np.asarray(feature_accuracies(fold, stage).max(2), dtype=np.float64)


def stronger(fold: Fold, stage: str, where: list[int]) -> Array:
    """`best_feature` at a stage, mean over some PLRs, minus that after pre-training at the lowest PLRs [U]: of all runs, those
    that learned nothing too."""
    return over(best_feature(fold, stage), where) - over(best_feature(fold, "pre"), fold.lowest())


def stronger_after_catapults(fold: Fold, geometry: xr.Dataset) -> Array:
    """`stronger` after the highest FLR, over `thrown_runs` [1]."""
    one, chosen = thrown_runs(fold, geometry)
    before = best_feature(fold, "pre")[fold.lowest()]
    return np.atleast_1d(best_feature(fold, "high")[one][chosen].mean() - before.mean())


def learned(fold: Fold, stage: str, where: list[int]) -> Array:
    """Share of the runs that have a number of features, mean over some PLRs [U]: `sparser` speaks of those alone."""
    return over(np.isfinite(effective_number(fold, stage)).astype(float), where)


def _learned_after_catapults(fold: Fold, geometry: xr.Dataset) -> Array:
    one, chosen = thrown_runs(fold, geometry)
    return np.atleast_1d(np.isfinite(effective_number(fold, "high")[one])[chosen].mean())


def _sparse(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("ticks"))
    geometry = results.measurement("geometry")
    stages = {
        "sparse in 2A": ("pre", "2A"),
        "kept by the lowest FLR": ("low", "2A"),
        "kept by SWA": ("swa", "2A"),
        "restored by the highest FLR from 2B": ("high", "2B"),
        "restored by the highest FLR from 3": ("high", "3"),
    }
    by_catapult = "restored by the highest FLR from 1 where it catapults"

    def everywhere(of: OfPlrs, thrown: Callable[[Fold, xr.Dataset], Array]) -> dict[str, Effect]:
        """An effect in the six cases."""
        found: dict[str, Effect] = {
            name: partial(_of_label, of=of, stage=at, label=label) for name, (at, label) in stages.items()
        }
        return {**found, by_catapult: lambda fold: thrown(fold, geometry)}

    lowest = folds[0].lowest()
    after = at_plrs(folds, lowest, lambda fold: effective_number(fold, "high"))
    angle = at_plrs(folds, lowest, lambda fold: between(geometry, fold, "angle", "low-high"))
    top = folds[0].flr[-1]
    parts = [
        part("even at the lowest PLRs", lambda: per_fold(folds, even), above=EVEN, unit="fraction of the features"),
        *(
            part(name, partial(per_fold, folds, effect), above=SPARSER, unit=RATIO)
            for name, effect in everywhere(sparser, after_catapults).items()
        ),
        *(
            part(f"{name}: stronger best feature", partial(per_fold, folds, effect), above=0.0, unit=ACCURACY)
            for name, effect in everywhere(stronger, stronger_after_catapults).items()
        ),
        *(
            part(f"not undone by {name}", partial(per_fold, folds, partial(_grown, stage=at)), below=SPARSER, unit=MORE)
            for name, at in (("the lowest FLR", "low"), ("SWA", "swa"))
        ),
        part("best feature lost above 2A", lambda: per_fold(folds, _best_lost), above=0.0, unit=ACCURACY),
    ]
    rest = part(
        "rest",
        lambda: per_fold(folds, lambda fold: after_catapults(fold, geometry, thrown=False)),
        above=0.0,
        unit=RATIO,
    )
    shares = {
        name: part(name, partial(per_fold, folds, effect), above=0.0, unit="fraction of the runs")
        for name, effect in everywhere(learned, _learned_after_catapults).items()
    }
    return finding(
        parts,
        "The number of features follows their accuracies above chance: many that are all little above it read as fewer, pure noise would as 5.5 of 16. "
        "Runs whose mean over features is not more than a point above chance have no number; the others are, in percent: "
        f"{_percent(shares)}. A run is catapulted where the highest FLR ends more than {CATAPULT:g} rad from the lowest. After FLR {top:.3g} "
        f"from the lowest PLRs runs rely, by FLR / PLR, on so many features: {listed({top / plr: v for plr, v in after.items()}, '{:.1f}')}, "
        f"at angles of {', '.join(f'{mean_over_folds(v):.2f}' for v in angle.values())} rad. Runs of regime 1 that it does not catapult rely on "
        f"{np.exp(rest.value):.2f} times fewer than before.",
        after_highest={f"{plr:.4g}": interval(values)[:3] for plr, values in after.items()},
        angles={f"{plr:.4g}": interval(values)[:3] for plr, values in angle.items()},
        not_catapulted=(rest.value, rest.low, rest.high),
        learned={name: (share.value, share.low, share.high) for name, share in shares.items()},
    )


def _percent(shares: Mapping[str, Part]) -> str:
    return "; ".join(f"{name} {100 * share.value:.0f}" for name, share in shares.items() if np.isfinite(share.value))


def _of_label(fold: Fold, of: OfPlrs, stage: str, label: str) -> Array:
    return of(fold, stage, fold.inside(label))


def _grown(fold: Fold, stage: str) -> Array:
    """Log ratio in 2A of the features relied on at a stage and after pre-training [U]."""
    before, after = (common_panels.mean(effective_number(fold, at)[fold.inside("2A")], 0) for at in ("pre", stage))
    return np.asarray(np.log(after / before), dtype=np.float64)


def _best_lost(fold: Fold) -> Array:
    """`best_feature` after pre-training in 2A minus in 2B [U]."""
    best = best_feature(fold, "pre")
    return over(best, fold.inside("2A")) - over(best, fold.inside("2B"))


CLAIMS = (
    Claim(
        id="FL3",
        sentence="Single-feature accuracies are even at small PLRs, sparse in 2A and gone above; a low FLR and averaging keep the sparsity; a high FLR restores it: from regime 1 where it catapults, from 2 and 3 by convergence.",
        criterion="Ticks, regimes by the runs of the other data seeds. Number of features relied on (participation ratio of single-feature accuracies above chance, those below it counting as 0; of runs whose mean over features is more than a point above it), 95% intervals over data seeds: at the lowest decade of PLRs it is more than half of the features, and more than 1.5 times that in 2A after pre-training, after the lowest FLR and after averaging five checkpoints, and that after the highest FLR from 2B, from 3, and from those runs of regime 1 that it catapults: its solution lies more than 1 rad from the lowest FLR's; since noise reads as few features too, in each of these six cases accuracy of the best single feature, mean over all runs, minus that after pre-training at the lowest decade is above 0; in 2A the number after the lowest FLR, and after averaging, is less than 1.5 times that after pre-training there; accuracy of the best single feature after pre-training in 2A minus in 2B is above 0. How many runs have a number of features is reported.",
        needs=("ticks", "geometry"),
        check=_sparse,
        figures=("2", "3", "10"),
    ),
)
