"""FL1 and FL2: fine-tuning and averaging what pre-training with one learning rate left behind.

L pre-training rates, F fine-tuning rates, U seeds (data seed x seed). Regimes are found in other runs than those
that are measured (folds.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lrscope.schema import segment
from lrscope.studies import common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects import ACCURACY, averaged, best_apart, by_plr, over, trained, tuned
from lrscope.studies.feature_learning.folds import Fold, folds_of, mean_over_folds, per_fold
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part

SAME = 0.01  # ours: a point
MOST = 50  # checkpoints: the most of Figure 8


def _mean(fold: Fold) -> Array:
    """Fine-tuned accuracy, mean over FLRs without the highest [L, U]."""
    return np.asarray(tuned(fold)[:, :-1].mean(1), dtype=np.float64)


def spread(fold: Fold, label: str) -> Array:
    """How far FLRs lead apart, over the PLRs with a label [1]; without the highest FLR but in 2B. The root, with its sign, of the
    covariance over FLRs of the fold's mean accuracy with that of the other data seeds: a deviation of the fold's alone would be
    larger where single runs scatter more, as in 2B, whatever FLRs do.

    Raises:
        Undetermined: no PLR has the label, or there is a single fold, which has no others.
    """
    if fold.result is fold.others:
        raise Undetermined("a single seed: whether others repeat what FLRs do is not known")

    def deviations(part: Fold) -> Array:
        means = common_panels.mean(tuned(part), 2)[:, : None if label == "2B" else -1]
        return np.asarray(means - means.mean(1, keepdims=True), dtype=np.float64)

    both = deviations(fold) * deviations(Fold(fold.others, fold.others, fold.labels))
    shared = over(both.sum(1) / (both.shape[1] - 1), fold.inside(label))
    return np.atleast_1d(np.sign(shared) * np.sqrt(np.abs(shared)))


def _second_highest(fold: Fold) -> Array:
    """Fine-tunes with the second-highest FLR minus with the lowest in 2A [U]."""
    return over(tuned(fold)[:, -2] - tuned(fold)[:, 0], fold.inside("2A"))


def _peak(fold: Fold) -> Array:
    """Fine-tunes from the best rate of regime 2 minus those from the best rate of regime 1 (`best_apart`) [U]."""
    return best_apart(fold, _mean)


def _moved(fold: Fold) -> Array:
    """Change of accuracy in regime 1 by FLRs up to the PLR, mean over pairs [U]."""
    found, before = tuned(fold), trained(fold)
    pairs = [(p, f) for p in fold.inside("1") for f, flr in enumerate(fold.flr[:-1]) if flr <= 1.001 * fold.plr[p]]
    return np.asarray(np.mean([found[p, f] - before[p] for p, f in pairs], axis=0), dtype=np.float64)


NETWORKS = {"ticks": "ticks", "fine_tuned": "ResNet-18"}  # by sweep; Figure 8 and Figure 1


def _best_in_2a(results: StudyResults) -> Finding:
    folds = {sweep: folds_of(results.sweep(sweep)) for sweep in NETWORKS}
    return finding(
        [one for sweep, network in NETWORKS.items() for one in _fine_tunes(network, folds[sweep])],
        "Regimes, and the best rates of 2 and 1, from the other data seeds. 2A is where fine-tunes of those seeds end best, so that 2A lies "
        "above 2B is no surprise; that regime 2 has better ones than regime 1 may be.",
        best={network: _best_rates(folds[sweep]) for sweep, network in NETWORKS.items()},
    )


def _fine_tunes(network: str, folds: list[Fold]) -> list[Part]:
    def against_2b(fold: Fold) -> Array:
        return over(_mean(fold), fold.inside("2A")) - over(_mean(fold), fold.inside("2B"))

    def spreads(fold: Fold) -> Array:
        return np.asarray(spread(fold, "2B") - spread(fold, "2A"), dtype=np.float64)

    def one(name: str, effect: Callable[[Fold], Array], above: float, below: float | None = None) -> Part:
        return part(f"{network}: {name}", lambda: per_fold(folds, effect), unit=ACCURACY, above=above, below=below)

    return [
        one("fine-tunes, best of 2 above best of 1", _peak, 0.0),
        one("fine-tunes, 2A above 2B", against_2b, 0.0),
        one("second-highest minus lowest FLR in 2A", _second_highest, -SAME, SAME),
        one("FLRs spread more in 2B", spreads, 0.0),
        one("change in regime 1 by FLRs up to the PLR", _moved, -SAME, SAME),
    ]


def _best_rates(folds: list[Fold]) -> dict[str, list[float]]:
    """The PLR from which fine-tunes of the other runs end best, of regime 1 and of 2, for each fold whose map shows it."""
    shown = {label: [f for f in folds if any(one.startswith(label) for one in f.labels)] for label in ("1", "2")}
    return {label: [float(f.plr[f.best(label, _mean)]) for f in of] for label, of in shown.items()}


def _against_one(fold: Fold, numbers: Sequence[int], label: str) -> Array:
    """An average at the PLRs with a label minus pre-training with the best PLR of regime 1; that PLR, and the number of
    checkpoints that does best, are chosen by the other seeds [U]."""
    where, others = fold.inside(label), Fold(fold.others, fold.others, fold.labels)
    means = np.array([common_panels.mean(averaged(others, n)[where].ravel(), 0) for n in numbers])
    if np.isnan(means).all():
        raise Undetermined(f"the other seeds say nothing of averages in {label}")
    found = averaged(fold, numbers[int(np.nanargmax(means))])
    return np.asarray(over(found, where) - trained(fold)[fold.best("1", trained)], dtype=np.float64)


def _averages(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("ticks"))
    numbers = [int(n) for n in segment(results.sweep("ticks"), "average")["n_average"].values]
    most = min(numbers, key=lambda n: abs(n - MOST))

    def gap(fold: Fold, n: int) -> Array:
        return averaged(fold, n) - tuned(fold)[:, 0]

    def mean_gap(label: str, n: int) -> Array:
        return per_fold(folds, lambda fold: over(gap(fold, n), fold.inside(label)))

    def gaps(label: str) -> dict[int, Array]:
        return {n: mean_gap(label, n) for n in numbers}

    def held(label: str, above: float | None = None, below: float | None = None) -> Part:
        values = lambda: per_fold(folds, lambda fold: _against_one(fold, numbers, label))  # noqa: E731
        return part(f"{label}: average minus pre-training in 1", values, unit=ACCURACY, above=above, below=below)

    parts = [held("2A", above=-SAME), held("2B", below=0.0)]
    known = {label: gaps(label) for label in ("2A", "2B") if any(label in fold.labels for fold in folds)}
    plrs = by_plr(folds, "2A", lambda fold: gap(fold, most))
    words = "; ".join(f"in {label} {listed(values, '{:+.1f}', 100)}" for label, values in known.items())
    return finding(
        parts,
        f"Points behind fine-tuning with the lowest FLR by number of checkpoints: {words}. "
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
        criterion="Ticks, and ResNet-18, each fine-tuned for a fixed length and without the highest FLR, which overfits in a fixed length, where nothing else is said; regimes, and the best rate of 2 and of 1, by the runs of the other data seeds. 95% intervals over data seeds: mean accuracy after fine-tuning from the best rate of regime 2 minus after fine-tuning from the best rate of 1, and from 2A minus from 2B, above 0; in 2A accuracy after the second-highest FLR minus after the lowest between minus one point and one point; how far FLRs spread in 2B, the highest FLR included, minus in 2A above 0, as the signed root of the covariance over FLRs of a data seed's mean accuracy with the other data seeds', mean over PLRs; mean change by FLRs up to the PLR in regime 1 between minus one point and one point.",
        needs=tuple(NETWORKS),
        check=_best_in_2a,
        figures=("1", "8"),
    ),
    Claim(
        id="FL2",
        sentence="Averaging weights gives good models in 2A and fails in 2B.",
        criterion="Ticks, regimes by the runs of the other data seeds, and by them too the best rate of regime 1 and the number of checkpoints that does best. 95% intervals over data seeds of test accuracy of the average minus that of pre-training with regime 1's best rate: above minus one point in 2A, below 0 in 2B. The gap to fine-tuning is reported for every number of checkpoints.",
        needs=("ticks",),
        check=_averages,
        figures=("8",),
    ),
)
