"""Which learning rates to start from: by measured quality within a margin, and what that rests on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lrscope.mapping import quality
from lrscope.mapping.gather import Evidence, Quality
from lrscope.mapping.types import Recommendation

MARGIN = 0.3  # points; ours: less is negligible in practice


def recommend(seen: Evidence, margin: float = MARGIN) -> Recommendation:
    """The learning rates whose quality at the end is the best within `margin` points.

    The end is that of fine-tuning, at the fine-tuning rate that reached most. It is that of pre-training where nothing was
    fine-tuned, where no fine-tuning rate leaves anything to recommend, and where pre-training alone is better by more than
    the margin. `quality.choose` says how; the validation set chooses if there is one.
    """
    flr, choice = _best_end(seen, margin)
    if choice is None:
        return Recommendation(low=None, high=None, reason=_why_none(seen), margin=margin)
    lrs, best = seen.lrs, choice.best
    found = Recommendation(
        low=float(lrs[choice.low]),
        high=float(lrs[choice.high]),
        best=float(lrs[best]),
        finetune_lr=None if flr is None else seen.finetune_lrs[flr],
        before=seen.score.mean(seen.pretrained.test[best]),
        after=None if flr is None or seen.finetuned is None else seen.score.mean(seen.finetuned.test[best, flr]),
        undecided=(float(lrs[choice.from_]), float(lrs[choice.to])),
        cliff=None if choice.cliff is None else float(lrs[choice.cliff]),
        margin=margin,
        chosen_by=seen.chosen_by,
        reason="",
    )
    return replace(
        found,
        reason="; ".join([_result(seen, found), *_basis(seen, found, choice, flr)]),
        alternative=_alternative(seen, flr, choice.level, margin),
    )


def _best_end(seen: Evidence, margin: float) -> tuple[int | None, quality.Choice | None]:
    """The position of the fine-tuning rate that reached most, None for pre-training, and what is chosen at its end."""
    alone, tuned = _chosen(seen, margin), _best_decay(seen, margin)
    if tuned is None or (alone is not None and alone.level > tuned[1].level + margin / 100):
        return None, alone
    return tuned


def _best_decay(seen: Evidence, margin: float) -> tuple[int, quality.Choice] | None:
    """The position of the fine-tuning rate that reached most and what is chosen there; None if there is none."""
    ends = [(f, _chosen(seen, margin, f)) for f in range(len(seen.finetune_lrs))]
    told = [(f, choice) for f, choice in ends if choice is not None]
    return max(told, key=lambda end: end[1].level, default=None)


def _chosen(seen: Evidence, margin: float, flr: int | None = None) -> quality.Choice | None:
    """What the quality after pre-training chooses, or after fine-tuning at one of the fine-tuning rates."""
    reached, lost = seen.pretrained, seen.broken_LU
    if flr is not None:
        assert seen.finetuned is not None
        assert seen.lost_LFU is not None
        reached, lost = seen.finetuned.at(flr), lost | seen.lost_LFU[:, flr]
    return quality.choose(seen.lrs, reached.chooses, lost, seen.guess, margin / 100)


def _result(seen: Evidence, found: Recommendation) -> str:
    """What is reached there."""
    measure, before = f"test {seen.score.name}", seen.score.show(found.before)
    if found.finetune_lr is not None:
        return f"{measure} {before} before and {seen.score.show(found.after)} after the decay at {found.best:.3g}"
    if seen.schedule != "constant":
        return f"{measure} {before} at the peak learning rate {found.best:.3g} (schedule {seen.schedule})"
    return f"{measure} {before} at the constant learning rate {found.best:.3g}"


def _basis(seen: Evidence, found: Recommendation, choice: quality.Choice, flr: int | None) -> list[str]:
    """How sure that is, clause by clause."""
    assert found.low is not None
    assert found.high is not None
    unit = "point" if found.margin == 1 else "points"
    unit += "" if seen.score.accurate else " (hundredths of the loss of guessing)"
    seeds = f"{seen.units} seeds"  # with one none is shown to be equal
    clauses = []
    if found.low < found.high:
        clauses.append(f"equal to the best within {found.margin:g} {unit} over {seeds} (95%)")
    elif seen.units == 1:
        clauses.append("one seed shows no uncertainty: run 3 or more")
    else:
        clauses.append(f"with {seeds} no other learning rate is shown to be equal within {found.margin:g} {unit}")
    if found.undecided is not None and found.undecided != (found.low, found.high) and seen.units > 1:
        clauses.append(
            f"any from {found.undecided[0]:.3g} to {found.undecided[1]:.3g} may be as good: more seeds would tell"
        )
    clauses.append(
        f"chosen by {seen.chosen_by}" + (", which is optimistic" if seen.chosen_by.startswith("test") else "")
    )
    if found.cliff is not None:
        clauses.append(f"seeds are lost from {found.cliff:.3g} on")
    if choice.peak != choice.best:
        clauses.append(f"{seen.lrs[choice.peak]:.3g} measured better but lies next to that cliff")
    if choice.alone is not None:
        clauses.append(
            f"{seen.lrs[choice.alone]:.3g} measured better, but its neighbours do not bear that out: more seeds, or a finer grid "
            "around it, would tell"
        )
    ends = [where for where, k in (("down", 0), ("up", len(seen.lrs) - 1)) if choice.best == k]
    if ends:
        clauses.append(f"the best lies at the end of the grid: extend it {' and '.join(ends)}")
    if flr is not None and seen.ending is not None and seen.ending.mostly_falls(flr)[choice.best]:
        clauses.append("provisional, because fine-tuning still falls there")
    return clauses


def _alternative(seen: Evidence, flr: int | None, level: float, margin: float) -> str:
    """What else was measured: no decay, an average of checkpoints; or what was not, and how to measure it. `level`: the
    quality that the recommendation reaches, as it was chosen."""
    words = []
    better, tuned = level + margin / 100, _best_decay(seen, margin)
    if flr is not None:
        words += _told(seen, "without a decay", _chosen(seen, margin), seen.pretrained)
    elif tuned is not None and seen.finetuned is not None:
        reached = seen.finetuned.at(tuned[0])
        words += _told(seen, f"with a decay to {seen.finetune_lrs[tuned[0]]:.3g}", tuned[1], reached)
    elif seen.tuned_LU.any():
        tried = ", ".join(f"{x:.3g}" for x in seen.finetune_lrs)
        words.append(
            f"no decay is recommended, because fine-tuning at {tried} did not end well: try lower --finetune-lrs"
        )
    elif not seen.finetune_lrs and seen.averaged is None and seen.schedule == "constant":
        words.append("a decay from this or a higher learning rate often ends better: measure it with --finetune-lrs")
    if seen.averaged is not None:
        choice = quality.choose(seen.lrs, seen.averaged.chooses, seen.broken_LU, seen.guess, margin / 100)
        words += _told(seen, "averaging checkpoints instead,", choice, seen.averaged, better)
    return "; ".join(words)


def _told(
    seen: Evidence, how: str, choice: quality.Choice | None, reached: Quality, better: float = np.inf
) -> list[str]:
    """One alternative with its best learning rate and the test result there, and whether its quality is above `better`; none
    where nothing is chosen."""
    if choice is None:
        return []
    result = seen.score.show(seen.score.mean(reached.test[choice.best]))
    more = ", better than what is recommended" if choice.level > better else ""
    return [f"{how} {seen.lrs[choice.best]:.3g} is best: test {seen.score.name} {result}{more}"]


def _why_none(seen: Evidence) -> str:
    """Why nothing is recommended, and what to do."""
    if seen.broken_LU[seen.trained_LU].all():
        return "every run ended non-finite: use smaller learning rates"
    values = seen.pretrained.chooses
    complete = np.isfinite(values).all(1)
    if not complete.any() and not seen.trained_LU.all(1).any():
        return "an adaptive sweep trained no learning rate with all its seeds: train the whole grid, or move it"
    if not complete.any():
        return "no learning rate has all its seeds finite: use smaller learning rates"
    best = float(values[complete].mean(1).max())
    if best < seen.guess + quality.LEAST_LEARNED * (1 - seen.guess):
        reached, guessing = (seen.score.show(seen.score.value(x)) for x in (best, seen.guess))
        return (
            f"nothing was learned: the best {seen.chosen_by} is {reached}, guessing gets {guessing}: train longer, or move "
            "the grid"
        )
    return (
        "every learning rate that learned has a lost seed or lies next to one that has: refine the grid below the cliff"
    )
