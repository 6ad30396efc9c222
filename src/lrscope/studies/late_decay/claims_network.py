"""LD1: what a decay at each time of a network's training ends at.

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
from lrscope.studies.late_decay.effects_network import SubPaths
from lrscope.studies.types import REPORTED, Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, part

PART = (
    0.25  # ours, of the whole fall: what a step to a later time may cost, and the last doubling gain where it saturates
)
NO_FALL = 0.005  # ours, in decades of test loss: a smaller fall is none
LEFT_OUT = 0.25  # ours: more draws that say nothing leave a part undetermined
DECADES = "decades of test loss"
COOLDOWN = "cooldown"  # the branch of the sweeps


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


def _at_equal_loss(paths: SubPaths) -> Array:
    """The fall at equal training loss.

    Raises:
        Undetermined: of more than a quarter of the draws it is not known.
    """
    found = paths.fall_at_equal_loss
    lost = int(np.isnan(found).sum())
    if lost > LEFT_OUT * len(found):
        raise Undetermined(f"{lost} of {len(found)} draws show no moment at which both ends have one training loss")
    return found


def _reported(name: str, values: Callable[[], Array], unit: str) -> Part:
    return replace(part(name, values, unit=unit, above=0.0), verdict=REPORTED)


def _later_is_lower(results: StudyResults) -> Finding:
    every = {name: SubPaths.of(results.sweep(name), COOLDOWN) for name in ("mse", "cross_entropy")}
    paths, cross = every["mse"], every["cross_entropy"]
    fall = _falls(paths)
    points = arrays.average(100 * (paths.accuracy[-1] - paths.accuracy[0]))
    return finding(
        [
            fall,
            part("the same at equal training loss", lambda: _at_equal_loss(paths.finished()), above=0.0, unit=DECADES),
            part("the later the lower", lambda: paths.finished().trend, below=0.0, unit="Kendall's tau"),
            *_steps(paths),
            _saturates(paths, fall),
            _reported("cross-entropy: earliest over latest", lambda: cross.finished().fall, DECADES),
            _reported("final test loss with that at the decay", lambda: paths.correlation, "correlation over times"),
        ],
        f"Test accuracy, latest minus earliest decay: {said(points, '.2f')} points. Test losses by time: {by_time(paths, paths.test)}; "
        f"training losses: {by_time(paths, paths.train)}.",
        times=paths.at.tolist(),
        test_loss=means(paths.test),
        training_loss=means(paths.train),
        training_accuracy=means(paths.fitted),
        test_accuracy=means(paths.accuracy),
        test_loss_cross_entropy=means(cross.test),
        test_accuracy_cross_entropy=means(cross.accuracy),
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
        sentence="The later the learning rate decays, the lower the final test loss, until it saturates, at equal training loss. (The last two are ours: the summary that we have of the paper does not say them.)",
        criterion="A main path at a large learning rate, squared error on one-hot labels; sub-paths leave it at times that grow by factors of 2, with a much smaller rate, the optimizer's state kept, and all have the same length. Only times count whose sub-paths fit 99% of the training images at their end, mean over draws; undetermined with fewer than three. 95% intervals over draws of the training images. (1) Final test loss of the earliest over that of the latest decay: above 0 decades; refuted also by an upper end below 0.005 (ours). (2) The same read, draw by draw, where each sub-path's training loss first comes down to the lowest that all the draw's sub-paths at times that count reach, times 1.05: above 0. A draw says nothing there if one of both is already below that level at the first logged moment after its decay, or if a sub-path reaches a loss of 0; undetermined if more than a quarter of the draws say nothing. (3) Kendall's tau of times and final test losses, draw by draw: below 0. (4) No step from a time that counts to the next raises the final test loss by more than a quarter (ours) of the fall in (1): the rise minus a quarter of the fall, draw by draw, is below 0 for each step. (5) Saturation, draw by draw: the gain from half of the latest time to the latest minus a quarter (ours) of the fall in (1) is below 0. Refuted if that gain plus a quarter of the fall is below 0; undetermined while the difference is shown to be above 0, because saturation is then not reached; void, and inconclusive, where (1) shows no fall. Refuted by any part that is shown to lie beyond its bound, at 95% and at the level that all judged parts ask for (Bonferroni). Such a refutation stands whatever the other parts say; without one the claim is undetermined if a part is, then inconclusive, and supported only with all parts. Reported: cross-entropy, with fewer draws, and the correlation of final test losses with those at the decay.",
        needs=("mse", "cross_entropy"),
        check=_later_is_lower,
        figures=("sub-paths",),
    ),
)
