"""LD1: what a decay at each time of a network's training ends at.

U seeds: draws of the training images, each with an initialisation of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.late_decay.effects_network import SubPaths, shown_to_fall
from lrscope.studies.types import REPORTED, Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part

NO_GAIN = 0.02  # ours, in decades of test loss: a twentieth of it
LEFT_OUT = 0.25  # ours: more draws that say nothing leave a part undetermined
DECADES = "decades of test loss"
COOLDOWN = "cooldown"  # the branch of the sweeps


def _saturated(paths: SubPaths) -> Array:
    """What the last doubling of the time gains.

    Raises:
        Undetermined: no fall is shown, or the test loss still falls at the latest time: where it saturates is not reached.
    """
    shown_to_fall(paths)
    gain = paths.last_doubling
    if interval(gain)[1] > NO_GAIN:
        raise Undetermined("the test loss still falls at the latest time: saturation is not reached")
    return gain


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
    points = arrays.average(100 * (paths.accuracy[-1] - paths.accuracy[0]))
    return finding(
        [
            part("earliest over latest decay", lambda: paths.finished().fall, above=0.0, unit=DECADES),
            part("the same at equal training loss", lambda: _at_equal_loss(paths.finished()), above=0.0, unit=DECADES),
            part("the later the lower", lambda: paths.finished().trend, below=0.0, unit="Kendall's tau"),
            part(
                "saturates: the last doubling gains",
                lambda: _saturated(paths.finished()),
                above=-NO_GAIN,
                below=NO_GAIN,
                unit=DECADES,
            ),
            _reported("cross-entropy: earliest over latest", lambda: cross.finished().fall, DECADES),
            _reported("final test loss with that at the decay", lambda: paths.correlation, "correlation over times"),
        ],
        f"Test accuracy, latest minus earliest decay: {_said(points, '.2f')} points. Test losses by time: {_row(paths, paths.test)}; "
        f"training losses: {_row(paths, paths.train)}.",
        times=paths.at.tolist(),
        test_loss=_means(paths.test),
        training_loss=_means(paths.train),
        training_accuracy=_means(paths.fitted),
        test_accuracy=_means(paths.accuracy),
        test_loss_cross_entropy=_means(cross.test),
        test_accuracy_cross_entropy=_means(cross.accuracy),
    )


def _means(values: Array) -> list[float | None]:
    """Over seeds, by time; None where no run ended."""
    means = [arrays.average(row) for row in values]
    return [mean if np.isfinite(mean) else None for mean in means]


def _row(paths: SubPaths, values: Array) -> str:
    return ", ".join(f"{at:g}: {_said(arrays.average(row), '.3g')}" for at, row in zip(paths.at, values, strict=True))


def _said(value: float, digits: str) -> str:
    return f"{value:{digits}}" if np.isfinite(value) else "none"


CLAIMS = (
    Claim(
        id="LD1",
        sentence="The later the learning rate decays, the lower the final test loss, until it saturates, at equal training loss.",
        criterion="A main path at a large learning rate, squared error on one-hot labels; sub-paths leave it at times that grow by factors of 2, with a much smaller rate, the optimizer's state kept, and all have the same length. Only times count whose sub-paths fit 99% of the training images at their end, mean over seeds; undetermined with fewer than three. 95% intervals over draws of the training images. Final test loss of the earliest over that of the latest decay: above 0 decades. The same read, draw by draw, where each sub-path's training loss first comes down to the lowest that all the draw's sub-paths reach, times 1.05: above 0. A draw says nothing there if one of both is already below that level at the first logged moment after its decay, or if a sub-path reaches a loss of 0; undetermined if more than a quarter of the draws say nothing. Kendall's tau of times and final test losses, draw by draw: below 0. The gain from half of the latest time to the latest: between -0.02 and 0.02 decades; undetermined while it is shown to be above 0.02, because saturation is then not reached, and where no fall is shown. Refuted by a later decay that ends higher: one of the first three on the other side of 0, or a last doubling that costs more than 0.02. Reported: cross-entropy, with fewer draws, and the correlation of final test losses with those at the decay.",
        needs=("mse", "cross_entropy"),
        check=_later_is_lower,
        figures=("sub-paths",),
    ),
)
