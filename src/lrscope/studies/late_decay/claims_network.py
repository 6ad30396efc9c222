"""LD1 and LD9: what a decay at each time of a network's training ends at.

U seeds: draws of the training images, each with an initialisation of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.late_decay.effects_network import COOLDOWN, LONG, SubPaths, fall_at_the_end_of
from lrscope.studies.types import REPORTED, Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, part

PART = (
    0.25  # ours, of the whole fall: what a step to a later time may cost, and the last doubling gain where it saturates
)
NO_FALL = 0.005  # ours, in decades of test loss: a smaller fall is none
LEFT_OUT = 0.25  # ours: more draws that say nothing leave a part undetermined
DECADES = "decades of test loss"


def _falls(paths: SubPaths) -> Part:
    """Contradicted where it is shown to be next to nothing, too."""

    def judged(above: float) -> Part:
        return part("earliest over latest decay", lambda: paths.finished().fall, above=above, unit=DECADES)

    found = judged(0.0)
    return judged(NO_FALL) if found.high < NO_FALL else found


def _steps(paths: SubPaths) -> list[Part]:
    """What each step to a later time costs beyond a part of the whole fall; none where too few times count."""
    try:
        counted = paths.finished()
    except Undetermined:
        return []
    names = [f"{first:g} to {second:g}: rise less a quarter of the fall" for first, second in pairwise(counted.at)]
    costs = counted.rises - PART * counted.fall
    return [part(name, row, below=0.0, unit=DECADES) for name, row in zip(names, costs, strict=True)]


def _saturates(paths: SubPaths, fall: Part) -> Part:
    """What the last doubling of the time gains, against a part of the whole fall: void where no fall is shown."""

    def judged(quarter: float, **bound: Any) -> Part:
        def gains() -> Array:
            counted = paths.finished()
            return counted.last_doubling + quarter * counted.fall

        return part("saturates: gain of the last doubling, and a quarter of the fall", gains, unit=DECADES, **bound)

    gain, cost = judged(-PART, below=0.0), judged(PART, above=0.0)
    if gain.verdict == "undetermined":
        return gain
    if fall.verdict != "supported":
        return replace(gain, verdict="inconclusive", note="void: no fall is shown")
    if cost.verdict == "contradicted":
        return replace(cost, note="the gain plus a quarter of the fall: the last doubling costs more")
    if gain.verdict == "contradicted":
        return replace(gain, verdict="undetermined", note="the test loss still falls at the latest time")
    return replace(gain, note="the gain less a quarter of the fall")


def _at_equal_loss(results: StudyResults) -> Array:
    """The fall at equal training loss, by the sweep `equal_loss`.

    Raises:
        Undetermined: of more than a quarter of the draws it is not known, or the later sub-path is unfinished.
    """
    swept = results.sweep("equal_loss")
    found = fall_at_the_end_of(SubPaths.of(swept, COOLDOWN), SubPaths.of(swept, LONG))
    lost = int(np.isnan(found).sum())
    if lost > LEFT_OUT * len(found):
        raise Undetermined(
            f"in {lost} of {len(found)} draws the early sub-path is not seen to come down to the other's training loss"
        )
    return found


def _reported(name: str, values: Callable[[], Array], unit: str) -> Part:
    return replace(part(name, values, unit=unit, above=0.0), verdict=REPORTED)


def _later_is_lower(results: StudyResults) -> Finding:
    every = {name: SubPaths.of(results.sweep(name), COOLDOWN) for name in ("mse", "cross_entropy")}
    paths, cross = every["mse"], every["cross_entropy"]
    return finding(
        [
            _falls(paths),
            part("at equal training loss", lambda: _at_equal_loss(results), above=0.0, unit=DECADES),
            part("the later the lower", lambda: paths.finished().trend, below=0.0, unit="Kendall's tau"),
            *_steps(paths),
            _reported("cross-entropy: earliest over latest", lambda: cross.finished().fall, DECADES),
            _reported("final test loss with that at the decay", lambda: paths.correlation, "correlation over times"),
        ],
        f"{_counted(paths)} Test losses by time: {by_time(paths, paths.test)}; training losses: {by_time(paths, paths.train)}.",
        times=paths.at.tolist(),
        test_loss=means(paths.test),
        training_loss=means(paths.train),
        training_accuracy=means(paths.fitted),
        test_accuracy=means(paths.accuracy),
        test_loss_cross_entropy=means(cross.test),
        training_accuracy_cross_entropy=means(cross.fitted),
        test_accuracy_cross_entropy=means(cross.accuracy),
    )


def _counted(paths: SubPaths) -> str:
    """Which times count, and what a later decay brings there, in words; earlier ones whose test loss is lower than at the first of them."""
    try:
        counted = paths.finished()
    except Undetermined as reason:
        return f"No decay counts: {reason}."
    points = arrays.average(100 * (counted.accuracy[-1] - counted.accuracy[0]))
    first = arrays.average(counted.test[0])
    lower = [
        f"{at:g}"
        for at, row in zip(paths.at, paths.test, strict=True)
        if at < counted.at[0] and arrays.average(row) < first
    ]
    before = f" Lower than there, before the images are fitted: at {', '.join(lower)}." if lower else ""
    return f"Counted are decays at {counted.at[0]:g} to {counted.at[-1]:g}: test accuracy {said(points, '+.2f')} points.{before}"


def _saturation(results: StudyResults) -> Finding:
    paths = SubPaths.of(results.sweep("mse"), COOLDOWN)
    return finding(
        [_saturates(paths, _falls(paths))],
        f"Test losses by time: {by_time(paths, paths.test)}.",
        times=paths.at.tolist(),
        test_loss=means(paths.test),
    )


def means(values: Array) -> list[float | None]:
    """Over seeds, by time; None where no run ended."""
    means = [arrays.average(row) for row in values]
    return [mean if np.isfinite(mean) else None for mean in means]


def by_time(paths: SubPaths, values: Array) -> str:
    """Means over seeds by time, for a note."""
    return ", ".join(f"{at:g}: {said(arrays.average(row), '.3g')}" for at, row in zip(paths.at, values, strict=True))


def said(value: float, digits: str) -> str:
    """A number for a note."""
    return f"{value:{digits}}" if np.isfinite(value) else "none"


CLAIMS = (
    Claim(
        id="LD1",
        sentence="The later the learning rate decays, the lower the final test loss, at equal training loss. (The last words are ours: the summary that we have of the paper does not say them. That it saturates is LD9.)",
        criterion="A main path at a large learning rate, squared error on one-hot labels; sub-paths leave it at times that grow by factors of 2, with a much smaller rate, the optimizer's state kept, and all have the same length. Only times count whose sub-paths fit 99% of the training images at their end, mean over draws; undetermined with fewer than three. 95% intervals over draws of the training images. (1) Final test loss of the earliest over that of the latest decay: above 0 decades; refuted also by an upper end below 0.005 (ours). (2) At equal training loss, in a sweep of its own with the same draws: one sub-path leaves at a time T, another, of the same length as above, at 2T. That of T has the same small rate, and twice (ours) as many epochs more as the small rate needs for what the large one does from T to 2T, in learning rate times steps. Its test loss where its training loss first comes down to that at which the other one ends, over the other one's final test loss: above 0 decades. So both have one training loss, and the later decay is not the one that has trained for more. A draw says nothing there if the sub-path of T never comes down to that loss, or is at it at its first logged moment, or if the other one ends at a loss of 0; undetermined if more than a quarter of the draws say nothing, or if the sub-path of 2T does not fit 99% of the training images. (3) Kendall's tau of times and final test losses, draw by draw: below 0. (4) No step from a time that counts to the next raises the final test loss by more than a quarter (ours) of the fall in (1): the rise minus a quarter of the fall, draw by draw, is below 0 for each step. Refuted by any part that is shown to lie beyond its bound, at 95% and at the level that all judged parts ask for (Bonferroni). Such a refutation stands whatever the other parts say; without one the claim is undetermined if a part is, then inconclusive, and supported only with all parts. Reported: cross-entropy, with fewer draws and a smaller rate, and the correlation of final test losses with those at the decay.",
        needs=("mse", "cross_entropy", "equal_loss"),
        check=_later_is_lower,
        figures=("sub-paths",),
    ),
    Claim(
        id="LD9",
        sentence="The fall of the final test loss with the time of the decay saturates. (Ours, as a claim of its own: the summary that we have of the paper does not say it.)",
        criterion="The main path and the sub-paths of LD1, at the times that count there; 95% intervals over draws. Draw by draw the gain from half of the latest time to the latest minus a quarter (ours) of the fall from the earliest to the latest is below 0 decades of final test loss. Refuted if that gain plus a quarter of the fall is below 0; undetermined while the difference is shown to be above 0, because saturation is then not reached; void, and inconclusive, where no fall is shown; undetermined where fewer than three times count.",
        needs=("mse",),
        check=_saturation,
        figures=("sub-paths",),
    ),
)
