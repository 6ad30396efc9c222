"""Figure 17: sharpness against test error of fine-tunes, those of a seed at one training loss.

F fine-tuning rates, or pre-training rates of regime 1, U seeds (data seed x seed).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lrscope.charts import Axis, Chart, ErrorBars, Layer, Line, Panel
from lrscope.charts.style import INK
from lrscope.studies import arrays, common_panels
from lrscope.studies.feature_learning.effects_sharpness import at_equal_loss, near_the_end
from lrscope.studies.types import StudyResults


def sharpness(results: StudyResults) -> Chart:
    """Figure 17: sharpness against test error of all fine-tunes at one training loss a seed; a line joins one pre-training's.
    Whiskers are one standard error over seeds. Seeds whose level is not near the end are left out, unless all are; so is what
    never reaches its level, as pre-training in regime 1 may."""
    result = results.sweep("converged")
    found = at_equal_loss(result, results.sweep("fine_tuned"))
    near = near_the_end(found["level"])
    shown = near if near.any() else np.isfinite(found["level"])
    sharp, error, one_sharp, one_error = (
        found[name][..., shown] for name in ("sharpness", "error", "one_sharpness", "one_error")
    )
    layers: list[Layer] = []
    for p, plr in enumerate(found["plr"]):
        layers += _fine_tunes(sharp[p], error[p], value=float(plr))
    layers += _fine_tunes(one_sharp, one_error, color=INK, name="regime 1, pre-training")[1:]
    levels = found["level"][shown]
    panel = Panel(
        title=f"each draw at its training loss, {levels.min():.2g} to {levels.max():.2g}",
        x=Axis(title=common_panels.sharpness(result)[1], log=True),
        y=Axis(title=common_panels.ERROR),
        layers=layers,
    )
    return Chart(panels=[panel], columns=1, color_title="pre-training learning rate (PLR)")


def _fine_tunes(sharpness: arrays.Array, error: arrays.Array, **look: Any) -> list[Layer]:
    """A line over FLRs, whiskers along both axes, from log10 sharpness and error [F, U]; nothing where no run is known, so that
    the legend names no line that nobody sees."""
    if not (np.isfinite(sharpness) & np.isfinite(error)).any():
        return []
    x, low_x, high_x = (10**v for v in _with_error(sharpness))
    y, low_y, high_y = _with_error(error)
    return [
        Line(x=x, y=y, **look),
        ErrorBars(x=x, y=y, low=low_y, high=high_y, **look),
        ErrorBars(x=x, y=y, low=low_x, high=high_x, along="x", **look),
    ]


def _with_error(values: arrays.Array) -> tuple[arrays.Array, arrays.Array, arrays.Array]:
    """Mean over the last axis with one standard error to both sides, NaN passed over."""
    count = np.isfinite(values).sum(-1)
    mean = common_panels.mean(values, -1)
    deviation = np.sqrt(common_panels.mean((values - mean[..., None]) ** 2, -1) * count / np.maximum(count - 1, 1))
    half = deviation / np.sqrt(np.maximum(count, 1))
    return mean, mean - half, mean + half
