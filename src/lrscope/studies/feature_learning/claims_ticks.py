"""FL1 and FL2: fine-tuning and averaging what pre-training with one learning rate left behind, on the synthetic ticks.

L pre-training rates, F fine-tuning rates, U seeds (data seed x seed). Regimes are found in other runs than those
that are measured (folds.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lrscope.schema import segment
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects import ACCURACY, averaged, by_plr, over, trained, tuned
from lrscope.studies.feature_learning.folds import Fold, folds_of, mean_over_folds, per_fold
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import finding, interval, part

SAME = 0.01  # ours: a point
FEW, MOST = 5, 50  # checkpoints: those of Figures 3, 9 and 10, and the most of Figure 8


def _mean(fold: Fold) -> Array:
    """Fine-tuned accuracy, mean over FLRs without the highest [L, U]."""
    return np.asarray(tuned(fold)[:, :-1].mean(1), dtype=np.float64)


def _spread(fold: Fold) -> Array:
    """Deviation of fine-tuned accuracy over FLRs without the highest [L, U]."""
    return np.asarray(tuned(fold)[:, :-1].std(1), dtype=np.float64)


def _peak(fold: Fold) -> Array:
    """Fine-tunes from the best rate of 2A minus those from the best rate of regime 1, both chosen by the other seeds [U]."""
    values = _mean(fold)
    return np.asarray(values[fold.best("2A", _mean)] - values[fold.best("1", _mean)], dtype=np.float64)


def _moved(fold: Fold) -> Array:
    """Change of accuracy in regime 1 by FLRs up to the PLR, mean over pairs [U]."""
    found, before = tuned(fold), trained(fold)
    pairs = [(p, f) for p in fold.inside("1") for f, flr in enumerate(fold.flr[:-1]) if flr <= 1.001 * fold.plr[p]]
    return np.asarray(np.mean([found[p, f] - before[p] for p, f in pairs], axis=0), dtype=np.float64)


def _best_in_2a(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("ticks"))

    def against_2b(of: Callable[[Fold], Array]) -> Array:
        return per_fold(folds, lambda fold: over(of(fold), fold.inside("2A")) - over(of(fold), fold.inside("2B")))

    return finding(
        [
            part("fine-tunes: best of 2A above best of 1", lambda: per_fold(folds, _peak), above=0.0, unit=ACCURACY),
            part("fine-tunes: 2A above 2B", lambda: against_2b(_mean), above=0.0, unit=ACCURACY),
            part("FLRs spread more in 2B", lambda: -against_2b(_spread), above=0.0, unit=ACCURACY),
            part(
                "change in regime 1 by FLRs up to the PLR",
                lambda: per_fold(folds, _moved),
                above=-SAME,
                below=SAME,
                unit=ACCURACY,
            ),
        ],
        "Regimes, and the best rates of 2A and 1, from the other data seeds. 2A is where fine-tunes of those seeds end best, so that 2A lies "
        "above 2B is no surprise; that it lies above regime 1 may be.",
        best={
            label: [float(fold.plr[fold.best(label, _mean)]) for fold in folds if label in fold.labels]
            for label in ("1", "2A")
        },
    )


def _nearer(fold: Fold, n: int, label: str) -> Array:
    """Accuracy of an average minus the middle between fine-tuning with the lowest FLR and no fine-tuning [U]."""
    middle = (tuned(fold)[:, 0] + trained(fold)) / 2
    return over(averaged(fold, n) - middle, fold.inside(label))


def _averages(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("ticks"))
    numbers = [int(n) for n in segment(results.sweep("ticks"), "average")["n_average"].values]
    few, most = (min(numbers, key=lambda n: abs(n - wanted)) for wanted in (FEW, MOST))

    def gap(fold: Fold, n: int) -> Array:
        return averaged(fold, n) - tuned(fold)[:, 0]

    def mean_gap(label: str, n: int) -> Array:
        return per_fold(folds, lambda fold: over(gap(fold, n), fold.inside(label)))

    def gaps(label: str) -> dict[int, Array]:
        return {n: mean_gap(label, n) for n in numbers}

    def held(label: str, n: int) -> Part:
        values = lambda: per_fold(folds, lambda fold: _nearer(fold, n, label))  # noqa: E731
        above, below = (0.0, None) if label == "2A" else (None, 0.0)
        return part(f"{label}, {n} checkpoints: above the middle", values, unit=ACCURACY, above=above, below=below)

    parts = [held(label, n) for label in ("2A", "2B") for n in dict.fromkeys((few, most))]
    known = {label: gaps(label) for label in ("2A", "2B") if any(label in fold.labels for fold in folds)}
    plrs = by_plr(folds, "2A", lambda fold: gap(fold, most))
    words = "; ".join(f"in {label} {listed(values, '{:+.1f}', 100)}" for label, values in known.items())
    return finding(
        parts,
        f"The middle lies between pre-training and fine-tuning with the lowest FLR. Points behind that fine-tuning by number of checkpoints: {words}. "
        f"Over {most} checkpoints in 2A by PLR: {listed(plrs, '{:+.1f}', 100)}. Regimes from the other data seeds.",
        by_number={label: {str(n): interval(v)[:3] for n, v in values.items()} for label, values in known.items()},
        by_plr={f"{plr:.4g}": interval(values)[:3] for plr, values in plrs.items()},
    )


def listed(values: Mapping[float, Array] | Mapping[int, Array], style: str, factor: float = 1.0) -> str:
    """Means over folds in a sentence: `5 -1.8, 10 -0.8`."""
    return ", ".join(f"{key:.3g} {style.format(factor * mean_over_folds(value))}" for key, value in values.items())


CLAIMS = (
    Claim(
        id="FL1",
        sentence="Fine-tuned test accuracy peaks in 2A, where fine-tuning rates agree (the highest excepted where it overfits at fixed length); in 2B they spread and drop; in regime 1 fine-tuning with a smaller or equal rate changes nothing.",
        criterion="Ticks, without the highest FLR, which overfits in a fixed length; regimes, and the best rate of 2A and of 1, by the runs of the other data seeds. 95% intervals over data seeds: mean accuracy after fine-tuning from the best rate of 2A minus after fine-tuning from the best rate of 1, and from 2A minus from 2B, above 0; deviation over FLRs in 2B minus 2A above 0; mean change by FLRs up to the PLR in regime 1 between minus one point and one point.",
        needs=("ticks",),
        check=_best_in_2a,
        figures=("1", "8"),
    ),
    Claim(
        id="FL2",
        sentence="Averaging weights gives good models in 2A and fails in 2B.",
        criterion="Ticks, regimes by the runs of the other data seeds. 95% intervals over data seeds of test accuracy of the average over 5 and over 50 checkpoints minus the middle between that of pre-training and that of fine-tuning with the lowest FLR: above 0 in 2A, below 0 in 2B. The gap to fine-tuning is reported for every number of checkpoints.",
        needs=("ticks",),
        check=_averages,
        figures=("8",),
    ),
)
