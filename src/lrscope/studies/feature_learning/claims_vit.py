"""FL7: a vision transformer trained with Adam, its fine-tunes and the frequency bands that it relies on.

L pre-training rates, U seeds (data seed x seed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    chance,
    lost,
    low_parts,
    share_of,
    trained_on,
)
from lrscope.studies.feature_learning.folds import Fold, by_accuracy, folds_of, mean_over_folds, per_fold
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part

SAME, ALIKE = 0.01, 0.02  # ours: a point; two
CEILING = 0.9  # ours: with so large a part of low bands in one network a preference of another can hardly show
SHARE = "part of what networks trained on the bands get above chance"
PART = "part of accuracy above chance on low and mid"
NETWORKS = {"vit": "transformer's", "resnet": "ResNet's"}
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


def high_ahead(fold: Fold, label: str) -> Array:
    """Accuracy after the highest FLR minus after the lowest, mean over the PLRs with a label [U]."""
    return over(tuned(fold)[:, -1] - tuned(fold)[:, 0], fold.inside(label))


def paired(*values: Array) -> list[Array]:
    """Of values by draw those of the draws that all have: the sweeps of a scale begin at one draw."""
    shared = min(map(len, values))
    return [one[:shared] for one in values]


def against_resnet(vit: list[Fold], resnet: list[Fold]) -> Array:
    """The part of low bands in the transformer's accuracy minus that in the ResNet's with the same draw, after the lowest FLR
    in 2A [folds].

    Raises:
        Undetermined: one of them measures a floor (`low_parts`), or the ResNet's part is above `CEILING`, mean over folds.
    """
    mine, others = low_parts(vit, "low"), low_parts(resnet, "low")
    if (part_of_resnet := mean_over_folds(others)) > CEILING:
        raise Undetermined(f"low bands are {part_of_resnet:.2f} of the ResNet's part already: more could hardly show")
    mine, others = paired(mine, others)
    return np.asarray(mine - others, dtype=np.float64)


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

    def shares(self, controls: Mapping[str, Array]) -> dict[str, Array]:
        """Of what transformers trained on one side of the lowest split get above chance on it, what the transformer gets there,
        after the lowest FLR in 2A: `share_of` by the names of the controls, `LOWEST` and `REST` [draws].

        Raises:
            Undetermined: bands alone measure a floor (`above_floor`), or a control says nothing (`share_of`).
        """
        above_floor(self._folds, "low")
        guessing, lowest = chance(self._folds[0].result), len(self.ends) - 1
        got = [per_fold(self._folds, partial(self._of, name=f"{side} {lowest}")) for side in ("low", "mid")]
        low, rest, of_low, of_rest = paired(*got, controls[LOWEST], controls[REST])
        return {LOWEST: share_of(low, of_low, guessing), REST: share_of(rest, of_rest, guessing)}

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
    both = {"vit": folds, "resnet": others}
    alone = {name: trained_on(results.sweep(ONLY + name)) for name in (LOWEST, REST)}
    splits = Splits(results.measurement("vit_splits"), folds)

    def share(name: str) -> Array:
        return splits.shares(alone)[name]

    def one(name: str, effect: Effect, above: float | None = None, below: float | None = None) -> Part:
        return part(name, lambda: per_fold(folds, effect), unit=ACCURACY, above=above, below=below)

    removed = {name: _removed(found) for name, found in both.items()}
    leads = splits.by_end()
    low = {name: part(name, partial(low_parts, found, "low"), above=0.0, unit=PART) for name, found in both.items()}
    shares = {name: part(name, partial(share, name), above=0.0, unit=SHARE) for name in alone}
    return finding(
        [
            one("high minus low FLR in 2A", partial(high_ahead, label="2A"), above=-SAME, below=SAME),
            one("high minus low FLR in 1", partial(high_ahead, label="1"), above=0.0),
            one("high FLR: best minus worst PLR of 1 and 2A", best_to_worst, below=ALIKE),
            part("low bands, more than ResNet", lambda: against_resnet(folds, others), above=0.0, unit=PART),
            *splits.parts(),
            part(
                "share of the lowest bands minus that of the others",
                lambda: share(LOWEST) - share(REST),
                below=0.0,
                unit=SHARE,
            ),
        ],
        _note(splits, leads, alone, low, shares),
        removed={name: (cost.value, cost.low, cost.high) for name, cost in removed.items()},
        by_split=leads,
        trained_alone={name: interval(values)[:3] for name, values in alone.items()},
        shares={name: (got.value, got.low, got.high) for name, got in shares.items()},
        low_parts={name: (of.value, of.low, of.high) for name, of in low.items()},
    )


def _note(
    splits: Splits,
    leads: Mapping[str, tuple[float, float, float]],
    alone: Mapping[str, Array],
    low: Mapping[str, Part],
    shares: Mapping[str, Part],
) -> str:
    """Leads, controls and parts in a sentence each; those that cannot be read are left out."""
    by_end = ", ".join(f"{end} {100 * lead:+.1f}" for end, (lead, *_) in leads.items() if np.isfinite(lead))
    parts = [
        f"{low[name].value:.2f} of the {whose}" for name, whose in NETWORKS.items() if np.isfinite(low[name].value)
    ]
    got = [f"{shares[name].value:.2f}" for name in (LOWEST, REST) if np.isfinite(shares[name].value)]
    return (
        f"Low minus mid in points after the lowest FLR in 2A, by the last low band: {by_end}. "
        f"{_sentence('Of accuracy above chance on low and mid bands low makes ', parts)}Transformers trained on bands 1 to "
        f"{splits.ends[-1]} alone get {100 * alone[LOWEST].mean():.1f}% on them, those on bands {splits.ends[-1] + 1} to {splits.last} alone "
        f"{100 * alone[REST].mean():.1f}%. {_sentence('Of that above chance the transformer gets ', got)}The paper names splits after 8 and 6 of "
        "32 bands and smaller ones. The ResNet is trained with augmentation on other numbers of images than the transformer here. Regime 2 "
        "begins at the best pre-training accuracy, as the paper draws it; regimes from the other data seeds."
    )


def _sentence(words: str, values: list[str]) -> str:
    return f"{words}{' and '.join(values)}. " if len(values) == 2 else ""


CLAIMS = (
    Claim(
        id="FL7",
        sentence="A vision transformer: in regime 1 the high FLR is better, in 2A both agree, and the high FLR's accuracy does not depend on the PLR; it relies on lower frequencies than convolutional nets, but primarily ignores the lowest of all: the lower low and mid are split, the less low leads.",
        criterion="By the other data seeds regime 2 begins at the best pre-training accuracy, as the paper draws it; 2A: PLRs whose accuracy after the lowest FLR is within noise of the best. 95% intervals over data seeds, or over seeds where there is one data seed: in 2A the highest FLR's accuracy minus the lowest's between minus one point and one point; in regime 1 the highest FLR's accuracy minus the lowest's above 0; over regime 1 and 2A the highest FLR's accuracy from the best PLR minus from the worst, both chosen by the other data seeds, below two points; after the lowest FLR in 2A, accuracy above chance on low bands alone as a part of that on low and on mid ones, minus the same of the conventional ResNet-18 with the same data seed, above 0, which is undetermined where, mean over all data seeds, the ResNet-18's part is above 0.9, or low and mid bands both get less than twice chance in 2A, of either network; low minus mid with the usual split above 0; that lead with each split minus that with the next lower one above 0, the splits lying after 8, 6, 4 and 2 of 32 bands; that lead with the lowest split minus half of that with the usual one below 0; with the lowest split, of what transformers trained on low bands alone get above chance on them, the share that the transformer gets on these bands alone, minus the same share for mid bands, below 0, which is undetermined where, mean over all data seeds, either control gets less than twice chance. What the transformer gets on bands alone is undetermined while, mean over all data seeds, no group reaches twice chance in any of 1 (its upper half), 2A and 2B. What removing bands costs is reported, and so are the controls' accuracies, both shares and both networks' parts of low bands.",
        needs=("vit", "practical", "vit_splits", ONLY + LOWEST, ONLY + REST),
        check=_vit,
        figures=("14", "15", "16"),
    ),
)
