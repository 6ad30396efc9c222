"""FL7: a vision transformer trained with Adam, its fine-tunes and the frequency bands that it relies on.

L pre-training rates, U seeds (data seed x seed).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects import ACCURACY, over, tuned
from lrscope.studies.feature_learning.effects_bands import above_floor, lost, on_set
from lrscope.studies.feature_learning.folds import Fold, by_accuracy, folds_of, per_fold
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import finding, part

SAME = 0.01  # ours: a point
Effect = Callable[[Fold], Array]


def learning(fold: Fold) -> list[int]:
    """PLRs of regime 1 and 2A."""
    return [*fold.inside("1"), *fold.inside("2A")]


def slope(fold: Fold, flr: int) -> Array:
    """Fine-tuned accuracy by decade of PLR over regime 1 and 2A [U]."""
    where = learning(fold)
    return arrays.slope(np.log10(fold.plr[where]), tuned(fold)[where, flr])


def lower(fold: Fold, of: Callable[[Fold, str, str], Array]) -> Array:
    """How much more `of` (`on_set`, `lost`) says of low bands than of mid ones, after the lowest FLR in 2A [U]."""
    return over(of(fold, "low", "low") - of(fold, "low", "mid"), fold.inside("2A"))


def _vit(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("vit"), by_accuracy)
    others = folds_of(results.sweep("practical"), by_accuracy)
    splits = results.measurement("vit_splits")
    lowest = len(np.atleast_1d(splits.attrs["ends"])) - 1

    def of(fold: Fold, name: str) -> Array:
        here = {axis: fold.result[axis].values for axis in ("data_seed", "seed")}
        return over(arrays.per_seed(splits["accuracy"].sel(band=name).sel(here)), fold.inside("2A"))

    def gap(number: int) -> Effect:
        """Low minus mid with a split."""

        def effect(fold: Fold) -> Array:
            above_floor(fold, "low")
            return of(fold, f"low {number}") - of(fold, f"mid {number}")

        return effect

    def against(name: str, kind: Callable[[Fold, str, str], Array]) -> Part:
        def values() -> Array:
            both = per_fold(folds, lambda fold: lower(fold, kind)), per_fold(others, lambda fold: lower(fold, kind))
            shared = min(map(len, both))
            return both[0][:shared] - both[1][:shared]

        return part(name, values, above=0.0, unit=ACCURACY)

    def one(name: str, effect: Effect, above: float | None = None, below: float | None = None) -> Part:
        return part(name, lambda: per_fold(folds, effect), unit=ACCURACY, above=above, below=below)

    apart = {f"{end}": one("split", gap(i), above=0.0) for i, end in enumerate(np.atleast_1d(splits.attrs["ends"]))}
    return finding(
        [
            one(
                "high minus low FLR in 2A",
                lambda f: over(tuned(f)[:, -1] - tuned(f)[:, 0], f.inside("2A")),
                above=-SAME,
                below=SAME,
            ),
            part(
                "high FLR: accuracy by decade of PLR",
                lambda: per_fold(folds, lambda fold: slope(fold, -1)),
                above=-SAME,
                below=SAME,
                unit="test accuracy (0 to 1) per decade of PLR",
            ),
            against("low before mid, more than ResNet, alone", on_set),
            against("low before mid, more than ResNet, removed", lost),
            one("low before mid with the usual split", gap(0), above=0.0),
            one("mid before low with the lowest split", lambda fold: -gap(lowest)(fold), above=0.0),
        ],
        "Low minus mid in points after the lowest FLR in 2A, by the last low band: "
        + ", ".join(f"{end} {100 * found.value:+.1f}" for end, found in apart.items())
        + ". Regime 2 begins at the best pre-training accuracy, as the paper draws it; regimes from the other data seeds.",
        by_split={end: (found.value, found.low, found.high) for end, found in apart.items()},
    )


CLAIMS = (
    Claim(
        id="FL7",
        sentence="A vision transformer: both FLRs agree in 2A, the high FLR's accuracy does not depend on the PLR; lower frequencies matter than for convolutional nets, and where low and mid are split decides which.",
        criterion="By the other data seeds regime 2 begins at the best pre-training accuracy, as the paper draws it, and 2A ends where the lowest FLR does. 95% intervals over data seeds: in 2A the highest FLR's accuracy minus the lowest's, and over regime 1 and 2A the highest FLR's slope of accuracy by decade of PLR, between minus one point and one point; after the lowest FLR in 2A, accuracy on low-band minus on mid-band images, and what removing low costs minus what removing mid costs, each minus the same of the conventional ResNet-18 with the same data seed, above 0; low minus mid with the usual split above 0, and mid minus low with the lowest of the paper's splits above 0. What networks get on bands alone is undetermined while in 2A no group reaches twice chance.",
        needs=("vit", "practical", "vit_splits"),
        check=_vit,
        figures=("14", "15", "16"),
    ),
)
