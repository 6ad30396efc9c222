"""Which learning rates to start from: by measured quality within a margin, and what that rests on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lrscope.mapping import quality
from lrscope.mapping.gather import Evidence
from lrscope.mapping.types import Recommendation

MARGIN = 0.3  # points; ours: what seeds of a small network differ by


def recommend(seen: Evidence, margin: float = MARGIN) -> Recommendation:
    """The learning rates whose quality at the end is the best within `margin` points.

    The end is that of fine-tuning, where there is one - of several fine-tuning rates the one that reached most -, otherwise
    that of pre-training. `quality.choose` says how; the validation set chooses if there is one.
    """
    flr, values, lost = _chosen_end(seen, margin)
    choice = quality.choose(seen.lrs, values, lost, seen.guess, margin / 100)
    if choice is None:
        return Recommendation(low=None, high=None, reason=_why_none(seen, values), margin=margin)
    lrs = seen.lrs
    found = Recommendation(
        low=float(lrs[choice.low]),
        high=float(lrs[choice.high]),
        best=float(lrs[choice.best]),
        finetune_lr=None if flr is None else seen.finetune_lrs[flr],
        before=_value(seen, seen.pretrained.test[choice.best]),
        after=None if flr is None or seen.finetuned is None else _value(seen, seen.finetuned.test[choice.best, flr]),
        undecided=(float(lrs[choice.from_]), float(lrs[choice.to])),
        cliff=None if choice.cliff is None else float(lrs[choice.cliff]),
        margin=margin,
        chosen_by=seen.chosen_by,
        reason="",
    )
    return replace(
        found,
        reason="; ".join([_result(seen, found), *_basis(seen, found, choice)]),
        alternative=_alternative(seen, choice, flr, margin),
    )


def _chosen_end(seen: Evidence, margin: float) -> tuple[int | None, NDArray[np.float64], NDArray[np.bool_]]:
    """Which fine-tuning rate to look at (None: pre-training), the quality that chooses [L, U], and lost runs [L, U]."""
    if seen.finetuned is None or not np.isfinite(seen.finetuned.chooses).any():
        return None, seen.pretrained.chooses, seen.broken_LU
    best, level = 0, -np.inf
    assert seen.lost_LFU is not None
    for f in range(len(seen.finetune_lrs)):
        lost = seen.broken_LU | seen.lost_LFU[:, f]
        found = quality.choose(seen.lrs, seen.finetuned.chooses[:, f], lost, seen.guess, margin / 100)
        if found is not None and found.level > level:
            best, level = f, found.level
    return best, seen.finetuned.chooses[:, best], seen.broken_LU | seen.lost_LFU[:, best]


def _value(seen: Evidence, quality_U: NDArray[np.float64]) -> float | None:
    """The mean over seeds as an accuracy or a loss."""
    known = quality_U[np.isfinite(quality_U)]
    return seen.score.value(float(known.mean())) if len(known) else None


def show(seen: Evidence, value: float | None) -> str:
    """An accuracy in percent, a loss with four digits."""
    if value is None:
        return "?"
    return f"{100 * value:.2f}%" if seen.score.accurate else f"{value:.4g}"


def _result(seen: Evidence, found: Recommendation) -> str:
    """What is reached there."""
    measure = f"test {seen.score.name}"
    if found.finetune_lr is not None:
        return f"{measure} {show(seen, found.before)} before and {show(seen, found.after)} after the decay at {found.best:.3g}"
    if seen.schedule != "constant":
        return f"{measure} {show(seen, found.before)} at the peak learning rate {found.best:.3g} (schedule {seen.schedule})"
    return f"{measure} {show(seen, found.before)} at the constant learning rate {found.best:.3g}"


def _basis(seen: Evidence, found: Recommendation, choice: quality.Choice) -> list[str]:
    """How sure that is, clause by clause."""
    assert found.low is not None
    assert found.high is not None
    unit = "points" if seen.score.accurate else "points (hundredths of the loss of guessing)"
    seeds = f"{seen.units} seed{'s' if seen.units > 1 else ''}"
    clauses = []
    if found.low < found.high:
        clauses.append(f"equal to the best within {found.margin:g} {unit} over {seeds} (95%)")
    elif seen.units == 1:
        clauses.append("one seed shows no uncertainty: run 3 or more")
    else:
        clauses.append(f"{seeds} show no other learning rate to be equal within {found.margin:g} {unit}")
    if found.undecided is not None and found.undecided != (found.low, found.high) and seen.units > 1:
        clauses.append(f"from {found.undecided[0]:.3g} to {found.undecided[1]:.3g} more seeds would be needed to tell")
    clauses.append(
        f"chosen by {seen.chosen_by}" + (", which is optimistic" if seen.chosen_by.startswith("test") else "")
    )
    if found.cliff is not None:
        clauses.append(f"seeds are lost from {found.cliff:.3g} on")
    if choice.peak != choice.best:
        clauses.append(f"{seen.lrs[choice.peak]:.3g} measured better but lies next to that cliff")
    if choice.best in (0, len(seen.lrs) - 1):
        where = "down" if choice.best == 0 else "up"
        clauses.append(f"the best lies at the end of the grid: extend it {where}")
    if found.finetune_lr is not None and seen.falls_LU is not None and seen.falls_LU[choice.best].mean() > 0.5:
        clauses.append("provisional, because fine-tuning still falls there")
    return clauses


def _alternative(seen: Evidence, choice: quality.Choice, flr: int | None, margin: float) -> str:
    """What else was measured: no decay, an average of checkpoints, another fine-tuning rate; or what was not."""
    if flr is None and seen.averaged is None:
        if seen.schedule != "constant":
            return ""
        return "a decay from this or a higher learning rate often ends better: measure it with --finetune-lrs"
    words = []
    if flr is not None:
        alone = quality.choose(seen.lrs, seen.pretrained.chooses, seen.broken_LU, seen.guess, margin / 100)
        if alone is not None:
            reached = show(seen, _value(seen, seen.pretrained.test[alone.best]))
            words.append(f"without a decay {seen.lrs[alone.best]:.3g} is best: test {seen.score.name} {reached}")
    if seen.averaged is not None:
        lost = seen.broken_LU
        mean = quality.choose(seen.lrs, seen.averaged.chooses, lost, seen.guess, margin / 100)
        if mean is not None:
            reached = show(seen, _value(seen, seen.averaged.test[mean.best]))
            words.append(
                f"averaging checkpoints instead, {seen.lrs[mean.best]:.3g} is best: test {seen.score.name} {reached}"
            )
    return "; ".join(words)


def _why_none(seen: Evidence, values: NDArray[np.float64]) -> str:
    """Why nothing is recommended, and what to do."""
    if seen.broken_LU[seen.trained_LU].all():
        return "every run ended non-finite: use smaller learning rates"
    complete = np.isfinite(values).all(1)
    if not complete.any():
        return "no learning rate has all its seeds finite: use smaller learning rates, or more seeds"
    best = float(values[complete].mean(1).max())
    if best < seen.guess + quality.LEAST_LEARNED * (1 - seen.guess):
        return (
            f"nothing was learned: the best {seen.chosen_by} is {show(seen, seen.score.value(best))}, guessing gets "
            f"{show(seen, seen.score.value(seen.guess))}: train longer, or move the grid"
        )
    return (
        "every learning rate that learned has a lost seed or lies next to one that has: refine the grid below the cliff"
    )
