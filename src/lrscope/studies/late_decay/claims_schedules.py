"""LD7: schedules side by side at equal budget, on a network, on the theory's model and on diagonal linear networks.

U seeds: draws of the training images, or data sets of the model.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.late_decay import effects_schedules as effects
from lrscope.studies.types import REPORTED, Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import finding, part

SHOWN = 2.0  # gamma of the model
DECADES, TAU, ORDER = "decades of test loss", "Kendall's tau", "order by squared rates"


def _side_by_side(results: StudyResults) -> Finding:
    swept, found = results.sweep("schedules"), results.measurement("courses")
    ends = {
        "network": effects.network_ends(swept, "test_loss"),
        f"gamma {SHOWN:g}": effects.model_ends(found, "test_loss", SHOWN),
        "diagonal": effects.diagonal_ends(results.measurement("diagonal"), "test_loss"),
    }
    fitted = effects.network_ends(swept, "train_accuracy")
    least = f"{min(map(arrays.average, fitted.values())):.1%}"
    linear = effects.model_ends(found, "destination", 0.0)
    best = "; ".join(f"{name}: {effects.lowest(rows) or 'none'}" for name, rows in ends.items())
    return finding(
        [*(one for name, rows in ends.items() for one in _parts(name, rows)), _excess(found)],
        f"The lowest test loss by the geometric mean over seeds: {best}. The network fits {least} of its training images or more. Of the linear "
        f"model the schedules' excess norms differ by at most {effects.spread(linear, list(linear)):.2g} decades.",
        test_loss={name: _means(rows) for name, rows in ends.items()},
        training_accuracy=_means(fitted),
        excess_norm=_means(effects.model_ends(found, "destination", SHOWN)),
    )


def _parts(name: str, ends: dict[str, Array]) -> list[Part]:
    """How far below a late decay each of the other schedules ends, and whether larger squared rates end lower."""
    found = [
        part(f"{name}: {schedule}", values, unit=DECADES, above=0.0)
        for schedule, values in effects.below_late_decay(ends).items()
    ]
    found.append(part(f"{name}: {ORDER}", effects.order(ends), unit=TAU, below=0.0))
    found.append(part(f"{name}: {ORDER}, those to 0", effects.order(effects.to_zero(ends)), unit=TAU, below=0.0))
    return [replace(one, verdict=REPORTED) for one in found]


def _excess(found: xr.Dataset) -> Part:
    """Whether larger squared rates leave less excess norm: what they are said to move, whatever it does to the test loss."""
    ends = effects.model_ends(found, "destination", SHOWN)
    one = part(f"gamma {SHOWN:g}, excess norm: {ORDER}", effects.order(ends), unit=TAU, below=0.0)
    return replace(one, verdict=REPORTED)


def _means(ends: dict[str, Array]) -> dict[str, float | None]:
    means = {name: arrays.average(values) for name, values in ends.items()}
    return {name: mean if np.isfinite(mean) else None for name, mean in means.items()}


CLAIMS = (
    Claim(
        id="LD7",
        sentence="What other schedules end at beside a late decay, in a network, in the theory's model and in another overparameterised one (the summary's second and third open questions).",
        criterion="Schedules of one length, all from the same initialisations with the same batches: constant at the large rate; from it an early decay to a tenth, after a tenth of the steps; a late one, constant and then to 0 over the last fifth by 1 - sqrt (WSD); 1 - sqrt, linear and cosine, all to 0; exponential to a hundredth; and four triangular cycles that start and end at a hundredth and peak at the large rate. The network, images, large rate and loss of LD1; the model with gamma 2 as in LD4, 20,000 steps; diagonal linear networks y = <u * u - v * v, x>, 20 examples in 40 dimensions, teachers of 3 entries, label noise 1, all weights 0.5 at the start, 20,000 steps at 5e-3. Reported, with 95% intervals over seeds: by how many decades the final test loss of each schedule lies below that of the late decay; the schedule with the lowest; training accuracies; and for gamma 0 how far the excess norms of the schedules lie apart, where nothing should move. Label noise moves the model along its manifold in proportion to the squared rate. So if that decides, schedules that come down rank by the sum of their squared rates: their means over the steps, in squares of the large rate, are 0.833 for the late decay, 0.375 cosine, 0.337 cyclic, 0.333 linear, 0.167 for 1 - sqrt, 0.109 for the early decay and 0.109 exponential. Kendall's tau of these sums and the final test losses is reported, seed by seed, without pairs whose sums differ by less than 5%: negative if so. It is reported for the schedules that come to 0 alone, too (late decay, cosine, linear, 1 - sqrt), because test losses also rank by the rate that a schedule ends at, and for the excess norm with gamma 2, which is what the squared rates are said to move. An interval above 0 would speak against it; one that holds 0 says nothing.",
        needs=("schedules", "courses", "diagonal"),
        check=_side_by_side,
        figures=("schedules",),
        exploratory=True,
    ),
)
