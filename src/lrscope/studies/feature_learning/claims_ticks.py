"""FL1 and FL2: fine-tuning and averaging what pre-training with one learning rate left behind.

L pre-training rates, F fine-tuning rates, U seeds (data seed x seed). Regimes are found in other runs than those
that are measured (folds.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from lrscope.schema import segment
from lrscope.studies import arrays, common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects import ACCURACY, averaged, best_apart, by_plr, over, trained, tuned
from lrscope.studies.feature_learning.folds import Fold, folds_of, mean_over_folds, per_fold
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part

SAME = 0.01  # ours: a point
FINISHED = 0.05  # ours: the training loss of a fine-tune that has come to its end; FL8 asks 0.01, of all FLRs
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


def _over_training(fold: Fold) -> Array:
    """Fine-tunes from the best rate of regime 2 minus pre-training with the best rate of regime 1, both chosen by the other
    seeds [U]: App. C's "slight improvement over training models in regime 1"."""
    return np.asarray(_mean(fold)[fold.best("2", _mean)] - trained(fold)[fold.best("1", trained)], dtype=np.float64)


def _far_larger(fold: Fold) -> Array:
    """Accuracy after the highest FLR from the lowest decade of PLRs minus after pre-training [U]."""
    return over(tuned(fold)[:, -1] - trained(fold), fold.lowest())


def last_losses(folds: list[Fold]) -> dict[str, Array]:
    """Training loss of the lowest FLR in its last logging interval, by 2A and 2B [folds]; without those that no map shows."""

    def loss(fold: Fold, label: str) -> Array:
        return over(arrays.logged(fold.result, "train_loss", "finetune")[:, 0, :, -1], fold.inside(label))

    shown = [label for label in ("2A", "2B") if any(label in fold.labels for fold in folds)]
    return {label: per_fold(folds, partial(loss, label=label)) for label in shown}


def _moved(fold: Fold) -> Array:
    """Change of accuracy in regime 1 by FLRs up to the PLR, mean over pairs [U]."""
    found, before = tuned(fold), trained(fold)
    pairs = [(p, f) for p in fold.inside("1") for f, flr in enumerate(fold.flr[:-1]) if flr <= 1.001 * fold.plr[p]]
    return np.asarray(np.mean([found[p, f] - before[p] for p, f in pairs], axis=0), dtype=np.float64)


TICKS, RESNET = "ticks", "ResNet-18"
NETWORKS = {"ticks": TICKS, "fine_tuned": RESNET}  # by sweep; Figure 8 and Figure 1


def _best_in_2a(results: StudyResults) -> Finding:
    folds = {network: folds_of(results.sweep(sweep)) for sweep, network in NETWORKS.items()}
    losses = {network: last_losses(of) for network, of in folds.items()}
    beyond = {
        network: part(network, partial(per_fold, of, _over_training), above=0.0, unit=ACCURACY)
        for network, of in folds.items()
    }
    return finding(
        [one for network, of in folds.items() for one in _fine_tunes(network, of)],
        "Regimes, and the best rates of 2 and 1, from the other data seeds. 2A is where fine-tunes of those seeds end best, so that 2A lies "
        "above 2B is no surprise; that regime 2 has better ones than regime 1 may be. "
        f"{_listed_points(beyond)}{_listed_losses(losses[RESNET])}",
        best={network: _best_rates(of) for network, of in folds.items()},
        over_pre_training={network: (one.value, one.low, one.high) for network, one in beyond.items()},
        last_loss={
            network: {label: interval(values)[:3] for label, values in of.items()} for network, of in losses.items()
        },
    )


def _listed_points(beyond: Mapping[str, Part]) -> str:
    """The best of 2 against pre-training in 1, by network, in a sentence; nothing where none is known."""
    words = ", ".join(f"{name} {100 * one.value:+.1f}" for name, one in beyond.items() if np.isfinite(one.value))
    return f"Best of 2 minus pre-training with regime 1's best rate, in points: {words}. " if words else ""


def _listed_losses(losses: Mapping[str, Array]) -> str:
    """The losses at which the ResNet-18's lowest FLR ends, in a sentence; nothing where none is known."""
    words = ", ".join(f"{mean_over_folds(values):.2g} in {label}" for label, values in losses.items())
    return f"With the lowest FLR the ResNet-18 ends at training losses of {words}." if words else ""


def _fine_tunes(network: str, folds: list[Fold]) -> list[Part]:
    def against_2b(fold: Fold) -> Array:
        return over(_mean(fold), fold.inside("2A")) - over(_mean(fold), fold.inside("2B"))

    def spreads(fold: Fold) -> Array:
        return np.asarray(spread(fold, "2B") - spread(fold, "2A"), dtype=np.float64)

    def one(
        name: str, effect: Callable[[Fold], Array], above: float, below: float | None = None, between_flrs: bool = False
    ) -> Part:
        def values() -> Array:
            if between_flrs and network == RESNET:  # ticks have the paper's length
                _finished(folds)
            return per_fold(folds, effect)

        return part(f"{network}: {name}", values, unit=ACCURACY, above=above, below=below)

    return [
        one("fine-tunes, best of 2 above best of 1", _peak, 0.0),
        one("fine-tunes, 2A above 2B", against_2b, 0.0),
        one("second-highest minus lowest FLR in 2A", _second_highest, -SAME, SAME, between_flrs=True),
        one("FLRs spread more in 2B", spreads, 0.0, between_flrs=True),
        one("change in regime 1 by FLRs up to the PLR", _moved, -SAME, SAME),
        *([one("highest FLR improves on the lowest PLRs", _far_larger, 0.0)] if network == TICKS else []),
    ]


def _finished(folds: list[Fold]) -> None:
    """Refuse to compare FLRs while the lowest has not come to its end: what lies between them is then how far they have come.

    Raises:
        Undetermined: its training loss, mean over folds, is above `FINISHED` in 2A or in 2B.
    """
    losses = {label: mean_over_folds(values) for label, values in last_losses(folds).items()}
    if any(loss > FINISHED for loss in losses.values()):
        words = ", ".join(f"{loss:.2g} in {label}" for label, loss in losses.items())
        raise Undetermined(f"the lowest FLR has not come to its end: training losses of {words}, {FINISHED:g} is asked")


def _best_rates(folds: list[Fold]) -> dict[str, list[float]]:
    """The PLR from which fine-tunes of the other runs end best, of regime 1 and of 2, for each fold whose map shows it."""
    shown = {label: [f for f in folds if any(one.startswith(label) for one in f.labels)] for label in ("1", "2")}
    return {label: [float(f.plr[f.best(label, _mean)]) for f in of] for label, of in shown.items()}


def _best_average(fold: Fold, numbers: Sequence[int], label: str) -> Array:
    """Averages [L, U] over the number of checkpoints that does best at the PLRs with a label in the other seeds."""
    where, others = fold.inside(label), Fold(fold.others, fold.others, fold.labels)
    means = np.array([common_panels.mean(averaged(others, n)[where].ravel(), 0) for n in numbers])
    if np.isnan(means).all():
        raise Undetermined(f"the other seeds say nothing of averages in {label}")
    return averaged(fold, numbers[int(np.nanargmax(means))])


def _against_one(fold: Fold, numbers: Sequence[int]) -> Array:
    """`_best_average` in 2A minus pre-training with regime 1's best PLR in the other seeds [U]."""
    found = over(_best_average(fold, numbers, "2A"), fold.inside("2A"))
    return np.asarray(found - trained(fold)[fold.best("1", trained)], dtype=np.float64)


def _behind(fold: Fold, numbers: Sequence[int], label: str) -> Array:
    """What `_best_average` lacks of fine-tuning with the lowest FLR at the same PLRs, those with a label [U]."""
    return over(tuned(fold)[:, 0] - _best_average(fold, numbers, label), fold.inside(label))


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

    def one(name: str, effect: Callable[[Fold], Array], above: float) -> Part:
        return part(name, lambda: per_fold(folds, effect), unit=ACCURACY, above=above)

    def fails(fold: Fold) -> Array:
        return np.asarray(_behind(fold, numbers, "2B") - _behind(fold, numbers, "2A"), dtype=np.float64)

    parts = [
        one("2A: average minus pre-training in 1", partial(_against_one, numbers=numbers), -SAME),
        one("average behind fine-tuning, 2B minus 2A", fails, 0.0),
    ]
    known = {label: gaps(label) for label in ("2A", "2B") if any(label in fold.labels for fold in folds)}
    plrs = by_plr(folds, "2A", lambda fold: gap(fold, most))
    words = "; ".join(f"in {label} {listed(values, '{:+.1f}', 100)}" for label, values in known.items())
    return finding(
        parts,
        f"Averages minus fine-tuning with the lowest FLR, in points, by number of checkpoints: {words}. "
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
        sentence="Fine-tuned test accuracy peaks in 2A, where fine-tuning rates agree (the highest excepted where it overfits at fixed length); in 2B they spread and drop; in regime 1 fine-tuning with a smaller or equal rate changes nothing, with a far larger one it improves.",
        criterion="Ticks, and ResNet-18, each fine-tuned for a fixed length and without the highest FLR, which overfits in a fixed length, where nothing else is said; regimes, and the best rate of 2 and of 1, by the runs of the other data seeds. 95% intervals over data seeds: mean accuracy after fine-tuning from the best rate of regime 2 minus after fine-tuning from the best rate of 1, and from 2A minus from 2B, above 0; in 2A accuracy after the second-highest FLR minus after the lowest between minus one point and one point; how far FLRs spread in 2B, the highest FLR included, minus in 2A above 0, as the signed root of the covariance over FLRs of a data seed's mean accuracy with the other data seeds', mean over PLRs; mean change by FLRs up to the PLR in regime 1 between minus one point and one point; on ticks, from the lowest decade of PLRs, accuracy after the highest FLR minus after pre-training above 0. On the ResNet-18 the two parts that compare FLRs, the second-highest with the lowest and the spread, are undetermined while the training loss at which the lowest FLR ends, mean over all data seeds, is above 0.05 in 2A or in 2B. These losses are reported, and so is accuracy after fine-tuning from the best rate of 2 minus after pre-training with regime 1's best rate.",
        needs=tuple(NETWORKS),
        check=_best_in_2a,
        figures=("1", "8"),
    ),
    Claim(
        id="FL2",
        sentence="Averaging weights gives good models in 2A and fails in 2B.",
        criterion="Ticks, regimes by the runs of the other data seeds, and by them too the best rate of regime 1 and the number of checkpoints that does best, in 2A and in 2B separately. 95% intervals over data seeds of test accuracy: that of the average in 2A minus that of pre-training with regime 1's best rate above minus one point; what the average lacks of fine-tuning with the lowest FLR from the same PLRs, in 2B minus in 2A, above 0. The gap to fine-tuning is reported for every number of checkpoints.",
        needs=("ticks",),
        check=_averages,
        figures=("8",),
    ),
)
