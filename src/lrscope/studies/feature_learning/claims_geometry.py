"""FL4: angles and barriers between fine-tuned and averaged solutions of the ticks.

L pre-training rates, U seeds (data seed x seed).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects import over
from lrscope.studies.feature_learning.effects_geometry import CATAPULT, FAR_ABOVE, between, comparable, far_above
from lrscope.studies.feature_learning.folds import Fold, folds_of, per_fold
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, part

MUCH = float(np.log(1.5))  # ours: half as far again
ERRORS = {"test": "test error (0 to 1)", "train": "train error (0 to 1)"}
ANGLE = "rad"
LOW_HIGH, LOW_SWA, HIGH_SWA = "low-high", "low-swa", "high-swa"


def _geometry(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("ticks"))
    found = results.measurement("geometry")

    def barrier(fold: Fold, positions: list[int], on: str, pair: str = LOW_HIGH) -> Array:
        return over(between(found, fold, f"barrier_{on}_error", pair), positions)

    def angle(fold: Fold, positions: list[int], pair: str = LOW_HIGH) -> Array:
        if not positions:
            raise Undetermined("no learning rate lies so far below the highest FLR")
        return over(between(found, fold, "angle", pair), positions)

    def one(
        name: str, effect: Callable[[Fold], Array], unit: str, above: float | None = None, below: float | None = None
    ) -> Part:
        return part(name, lambda: per_fold(folds, effect), unit=unit, above=above, below=below)

    def higher(on: str) -> tuple[Part, Part]:
        def in_2a(fold: Fold) -> Array:
            return barrier(fold, fold.inside("2A"), on) - barrier(fold, fold.upper_one(), on)

        def in_2b(fold: Fold) -> Array:
            return barrier(fold, fold.inside("2B"), on) - barrier(fold, fold.inside("2A"), on)

        return (
            one(f"{on} barriers larger in 2A than in 1", in_2a, ERRORS[on], above=0.0),
            one(f"{on} barriers larger in 2B than in 2A", in_2b, ERRORS[on], above=0.0),
        )

    def nearer_by_angle(label: str, farther: float) -> Part:
        def apart(fold: Fold) -> Array:
            where = fold.inside(label)
            return np.asarray(np.log(angle(fold, where, HIGH_SWA) / angle(fold, where, LOW_SWA)), dtype=np.float64)

        return one(f"{label}: SWA closer to low by angle", apart, "log of how many times", above=farther)

    def nearer_by_barrier(label: str, on: str) -> Part:
        def apart(fold: Fold) -> Array:
            where = fold.inside(label)
            return np.asarray(barrier(fold, where, on, HIGH_SWA) - barrier(fold, where, on, LOW_SWA), dtype=np.float64)

        return one(f"{label}: SWA closer to low by {on} barrier", apart, ERRORS[on], above=0.0)

    return finding(
        [
            *(one_part for on in ERRORS for one_part in higher(on)),
            nearer_by_angle("2A", MUCH),
            nearer_by_angle("2B", 0.0),  # angles near their ceiling of 1.57 rad
            *(nearer_by_barrier(label, on) for label in ("2A", "2B") for on in ERRORS),
            one("FLR far above the PLR catapults", lambda f: angle(f, far_above(f)), ANGLE, above=CATAPULT),
            one("FLR close to the PLR does not", lambda f: angle(f, comparable(f)), ANGLE, below=CATAPULT),
        ],
        f"Low, high: the solutions of the lowest and highest FLR. Far above: {FAR_ABOVE:g} times and more; close: in regime 1, up to ten times. "
        f"A catapult ends more than {CATAPULT:g} rad away. Regimes from the other data seeds, differences within a data seed.",
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
        id="FL4",
        sentence="Barriers between low- and high-FLR solutions appear in 2A and are significantly higher in 2B; the average lies close to the low-FLR solution and far from the high-FLR one; an FLR far above the PLR catapults.",
        criterion="Ticks, regimes by the runs of the other data seeds; lowest FLR, highest FLR, average of five checkpoints. 95% intervals over data seeds of differences within a data seed: barriers of test and of train error between low and high in 2A minus upper half of regime 1, and 2B minus 2A, above 0; the angle from the average to high is more than 1.5 times that to low in 2A, and larger than it in 2B, where angles near their ceiling; in both its barriers to high, of test and of train error, minus those to low are above 0; angle between low and high above 1 rad where the highest FLR is 100 times the PLR and more, and below 1 rad in regime 1 where it is at most ten times the PLR.",
        needs=("ticks", "geometry"),
        check=_geometry,
        figures=("9",),
    ),
)
