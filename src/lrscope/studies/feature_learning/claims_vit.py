"""FL7: a vision transformer trained with Adam, its fine-tunes and the frequency bands that it relies on.

L pre-training rates, U seeds (data seed x seed).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import xarray as xr

from lrscope.studies import arrays, common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects import ACCURACY, over, tuned
from lrscope.studies.feature_learning.effects_bands import (
    LOWEST,
    ONLY,
    REST,
    above_floor,
    lost,
    low_of_both,
    trained_on,
)
from lrscope.studies.feature_learning.folds import Fold, by_accuracy, folds_of, per_fold
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part

SAME, ALIKE = 0.01, 0.02  # ours: a point; two
Effect = Callable[[Fold], Array]


def learning(fold: Fold) -> list[int]:
    """PLRs of regime 1 and 2A."""
    return [*fold.inside("1"), *fold.inside("2A")]


def best_to_worst(fold: Fold) -> Array:
    """Accuracy after the highest FLR of the best PLR of regime 1 and 2A minus that of the worst, both chosen by the other
    seeds [U]: a slope would not see a hump."""
    where = learning(fold)
    means = common_panels.mean(tuned(Fold(fold.others, fold.others, fold.labels))[where, -1], 1)
    if np.isnan(means).any():
        raise Undetermined("the other seeds have diverged runs in 1 or 2A")
    found = tuned(fold)[where, -1]
    return np.asarray(found[means.argmax()] - found[means.argmin()], dtype=np.float64)


def _low(folds: list[Fold]) -> Array:
    """`low_of_both` after the lowest FLR, undetermined where bands alone measure a floor [folds]."""
    above_floor(folds, "low")
    return per_fold(folds, lambda fold: low_of_both(fold, "low"))


def _removed(folds: list[Fold]) -> Part:
    """What removing low bands costs more than removing mid ones, after the lowest FLR in 2A."""
    cost = lambda fold: over(lost(fold, "low", "low") - lost(fold, "low", "mid"), fold.inside("2A"))  # noqa: E731
    return part("removed", lambda: per_fold(folds, cost), above=0.0, unit=ACCURACY)


class Splits:
    """What low bands lead mid ones by, split by split: accuracy on low bands alone minus on mid ones, after the lowest FLR in 2A.

    Args:
        measured: the measurement `vit_splits`, the usual split first, then ever lower ones.
        folds: of the sweep `vit`.
    """

    def __init__(self, measured: xr.Dataset, folds: list[Fold]) -> None:
        self._accuracy, self._folds = measured["accuracy"], folds
        self.ends = [int(end) for end in np.atleast_1d(measured.attrs["ends"])]  # the last low band of each split
        self.last = int(measured.attrs["last"])  # the last mid band

    def lead(self, number: int) -> Array:
        """Of the split of that number, counted from the usual one [folds].

        Raises:
            Undetermined: bands alone measure a floor (`above_floor`), or no fold's map shows 2A.
        """
        above_floor(self._folds, "low")
        return per_fold(self._folds, lambda fold: self._of(fold, f"low {number}") - self._of(fold, f"mid {number}"))

    def _of(self, fold: Fold, name: str) -> Array:
        here = {axis: fold.result[axis].values for axis in ("data_seed", "seed")}
        return over(arrays.per_seed(self._accuracy.sel(band=name).sel(here)), fold.inside("2A"))

    def parts(self) -> list[Part]:
        """The usual split's lead; what it loses from each split to the next lower one; how much more than half of it the lowest
        split leaves."""
        lowest = len(self.ends) - 1

        def fall(number: int) -> Array:
            return self.lead(number - 1) - self.lead(number)

        falls = [
            part(
                f"low leads by less with the split after band {end} than after {before}",
                partial(fall, number),
                above=0.0,
                unit=ACCURACY,
            )
            for number, (before, end) in enumerate(pairwise(self.ends), start=1)
        ]
        return [
            part("low before mid with the usual split", lambda: self.lead(0), above=0.0, unit=ACCURACY),
            *falls,
            part(
                "lead of low with the lowest split minus half of that with the usual one",
                lambda: self.lead(lowest) - self.lead(0) / 2,
                below=0.0,
                unit=ACCURACY,
            ),
        ]

    def by_end(self) -> dict[str, tuple[float, float, float]]:
        """The leads with their intervals, by the last low band; NaN where they are undetermined."""
        found = {end: part("lead", partial(self.lead, i), above=0.0, unit=ACCURACY) for i, end in enumerate(self.ends)}
        return {f"{end}": (one.value, one.low, one.high) for end, one in found.items()}


def _vit(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("vit"), by_accuracy)
    others = folds_of(results.sweep("practical"), by_accuracy)
    splits = Splits(results.measurement("vit_splits"), folds)

    def against() -> Array:
        """The ViT's part of low bands minus the ResNet's with the same data seed."""
        both = [_low(found) for found in (folds, others)]
        shared = min(map(len, both))
        return both[0][:shared] - both[1][:shared]

    def one(name: str, effect: Effect, above: float | None = None, below: float | None = None) -> Part:
        return part(name, lambda: per_fold(folds, effect), unit=ACCURACY, above=above, below=below)

    removed = {name: _removed(found) for name, found in (("vit", folds), ("resnet", others))}
    alone = {name: trained_on(results.sweep(ONLY + name)) for name in (LOWEST, REST)}
    leads = splits.by_end()
    return finding(
        [
            one(
                "high minus low FLR in 2A",
                lambda f: over(tuned(f)[:, -1] - tuned(f)[:, 0], f.inside("2A")),
                above=-SAME,
                below=SAME,
            ),
            one("high FLR: best minus worst PLR of 1 and 2A", best_to_worst, below=ALIKE),
            part(
                "low bands, more than ResNet", against, above=0.0, unit="part of accuracy above chance on low and mid"
            ),
            *splits.parts(),
        ],
        "Low minus mid in points after the lowest FLR in 2A, by the last low band: "
        + ", ".join(f"{end} {100 * lead:+.1f}" for end, (lead, *_) in leads.items() if np.isfinite(lead))
        + f". Transformers trained on bands 1 to {splits.ends[-1]} alone get {100 * alone[LOWEST].mean():.1f}% on them, those on bands "
        f"{splits.ends[-1] + 1} to {splits.last} alone {100 * alone[REST].mean():.1f}%. The paper names splits after 8 and 6 of 32 bands and "
        "smaller ones. The ResNet is trained with augmentation on other numbers of images than the transformer here. Regime 2 begins at the best "
        "pre-training accuracy, as the paper draws it; regimes from the other data seeds.",
        removed={name: (cost.value, cost.low, cost.high) for name, cost in removed.items()},
        by_split=leads,
        trained_alone={name: interval(values)[:3] for name, values in alone.items()},
    )


CLAIMS = (
    Claim(
        id="FL7",
        sentence="A vision transformer: both FLRs agree in 2A, the high FLR's accuracy does not depend on the PLR; lower frequencies matter than for convolutional nets, though not the lowest of all: the lower low and mid are split, the less low leads.",
        criterion="By the other data seeds regime 2 begins at the best pre-training accuracy, as the paper draws it; 2A: PLRs whose accuracy after the lowest FLR is within noise of the best. 95% intervals over data seeds, or over seeds where there is one data seed: in 2A the highest FLR's accuracy minus the lowest's between minus one point and one point; over regime 1 and 2A the highest FLR's accuracy from the best PLR minus from the worst, both chosen by the other data seeds, below two points; after the lowest FLR in 2A, accuracy above chance on low bands alone as a part of that on low and on mid ones, minus the same of the conventional ResNet-18 with the same data seed, above 0; low minus mid with the usual split above 0; that lead with each split minus that with the next lower one above 0, the splits lying after 8, 6, 4 and 2 of 32 bands; that lead with the lowest split minus half of that with the usual one below 0. What networks get on bands alone is undetermined while in 2A, mean over all data seeds, no group reaches twice chance, of the ResNet-18 too. What removing bands costs is reported, and so is what transformers get that are trained on either side of the lowest split alone.",
        needs=("vit", "practical", "vit_splits", ONLY + LOWEST, ONLY + REST),
        check=_vit,
        figures=("14", "15", "16"),
    ),
)
