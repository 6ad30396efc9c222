"""The study's figures. Of the model, lines are medians over seeds with the middle 95%.

U seeds, B times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Border, Chart, ErrorBars, HeatMap, Layer, Line, Panel, Points, style
from lrscope.decay import decay_curve
from lrscope.reporting.decay_chart import decay_chart
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.binomial import binomial_interval
from lrscope.studies.late_decay import effects_schedules
from lrscope.studies.late_decay.effects_model import speeds
from lrscope.studies.late_decay.success import success_bound, success_frequency
from lrscope.studies.late_decay.sweeps_transfer import CHANGED
from lrscope.studies.types import StudyResults

SHOWN = (0.0, 1.0, 2.0, 4.0)  # gammas of the phases
ROWS = {
    "off": "distance from the manifold",
    "destination": "excess norm",
    "loss": "training loss",
    "test_loss": "test loss",
}
MIDDLE = (0.025, 0.975)
ROWS_OF_PLANES = 2  # ours
SUB_PATHS = (
    ("mse", "squared error"),
    ("cross_entropy", "cross-entropy"),
)


def sub_paths(results: StudyResults) -> Chart:
    """Final test loss against the time of the decay, of both losses."""
    return _against_time(results, SUB_PATHS)


def transfers(results: StudyResults) -> Chart:
    """The same of the squared error with another network, other images and other optimizers."""
    return _against_time(results, CHANGED.items())


def _against_time(results: StudyResults, titles: Iterable[tuple[str, str]]) -> Chart:
    """A panel for each sweep."""
    panels = []
    for sweep, title in titles:
        chart = decay_chart([decay_curve(results.sweep(sweep), branch="cooldown")])
        ends = chart.panels[0]
        x = Axis(title="decay of the learning rate (epoch)", log=True)
        layers = [replace(layer, name="") for layer in ends.layers if isinstance(layer, Line | Points)]
        panels.append(Panel(title=title, x=x, y=Axis(title="final test loss"), layers=layers))
    return Chart(panels=panels, columns=2)


def planes(results: StudyResults) -> Chart:
    """Training and test loss on the surface of each of the first draws, with the main path and the sub-paths' ends."""
    found = results.measurement("planes")
    panels = []
    for draw in range(min(ROWS_OF_PLANES, found.sizes["draw"])):
        one = found.isel(draw=draw)
        for name, words in (("train_loss", "training loss"), ("test_loss", "test loss")):
            panels.append(
                Panel(
                    title=f"{words}, draw {draw + 1}",
                    x=Axis(title="PC1"),
                    y=Axis(title="PC2"),
                    layers=_surface(one, name),
                )
            )
    return Chart(panels=panels, columns=2, color_title="log10 of the loss", color_log=False)


def _surface(one: xr.Dataset, name: str) -> list[Layer]:
    values = np.log10(np.maximum(one[name].values, 1e-6))
    heat = HeatMap(x=one["x"].values, y=one["y"].values, values=values, title="log10 of the loss", contours=10)
    main = one["main"].values.astype(bool)
    x, y, epochs = (one[of].values for of in ("at_x", "at_y", "epoch"))
    told = [f"{name} {epoch:g}" for name, epoch in zip(np.where(main, "epoch", "decay at"), epochs, strict=True)]
    return [
        heat,
        Line(
            x=x[main],
            y=y[main],
            mark="both",
            size=4,
            color=style.INK,
            name="main path",
            told=list(np.array(told)[main]),
        ),
        Points(
            x=x[~main],
            y=y[~main],
            symbol="diamond",
            rim=True,
            color=style.COLORS[1],
            name="ends of sub-paths",
            told=list(np.array(told)[~main]),
        ),
    ]


def phases(results: StudyResults) -> Chart:
    """Distance from the manifold, excess norm and losses along training, a line for each gamma."""
    found = results.measurement("model").isel(lr=0)
    time = found["time"].values.astype(float)
    decay = float(time[~found["small"].values][-1])
    panels = []
    for name, title in ROWS.items():
        lines = [
            _middle(
                time[1:], found[name].sel(gamma=gamma).values[:, 1:], name=f"gamma {gamma:g}", color=style.COLORS[k]
            )
            for k, gamma in enumerate(SHOWN)
        ]
        x, y = Axis(title="step", log=True), Axis(title=title, log=True)
        panels.append(Panel(title=title, x=x, y=y, layers=[Border(x=decay), *lines]))
    return Chart(panels=panels, columns=2)


def _middle(x: Array, values: Array, **look: Any) -> Line:
    """Median over seeds of values [U, B] with the middle 95%; seeds that are not finite everywhere are left out."""
    kept = values[np.isfinite(values).all(1)]
    if not len(kept):
        nothing = np.full(len(x), np.nan)
        return Line(x=x, y=nothing, low=nothing, high=nothing, **look)
    low, high = np.quantile(kept, MIDDLE, axis=0)
    return Line(x=x, y=np.median(kept, axis=0), low=low, high=high, **look)


def success(results: StudyResults) -> Chart:
    """Frequency of success and the theorem's bound against gamma; whiskers hold whatever the runs that say nothing would have done."""
    both = [success_frequency(results.measurement(name)).isel(lr=0) for name in ("model", "success")]
    found = xr.concat(both, dim="gamma", combine_attrs="drop", coords="minimal", compat="override")
    runs = found["runs"].values
    silent = found["moving"].values + found["dead"].values + found["overflowed"].values
    low, _ = binomial_interval(found["succeeded"].values, runs)
    _, high = binomial_interval(found["succeeded"].values + silent, runs)
    gamma = found["gamma"].values.astype(float)
    fine = np.linspace(0, float(gamma.max()), 200)
    counted = ErrorBars(
        x=gamma,
        y=found["succeeded"].values / runs,
        low=low,
        high=high,
        name="succeeded, of all runs",
        color=style.COLORS[0],
    )
    bound = Line(x=fine, y=success_bound(fine), name="1 - exp(-0.1 gamma^2)", color=style.COLORS[1], dashed=True)
    axis = Axis(title="part of the runs", limits=(-0.05, 1.05))
    return Chart(panels=[Panel(x=Axis(title="gamma"), y=axis, layers=[bound, counted])], columns=1)


def landscape(results: StudyResults) -> Chart:
    """Training and test loss of the model over its plane, a row for each gamma."""
    found = results.measurement("landscape")
    panels = []
    for gamma in found["gamma"].values.tolist():
        one = found.sel(gamma=gamma)
        for name, title in (("train_loss", "training loss"), ("test_loss", "test loss")):
            panels.append(Panel(title=f"{title}, gamma {gamma:g}", layers=_plane(one, name)))
    return Chart(panels=panels, columns=2, color_title="log10 of the loss", color_log=False)


def _plane(found: xr.Dataset, name: str) -> Sequence[Layer]:
    values = np.log10(np.maximum(found[name].values, 1e-4))
    x, y = (found[axis].values.astype(float) for axis in ("x", "y"))
    heat = HeatMap(x=x, y=y, values=values, title="log10 of the loss", contours=8)
    manifold = found["manifold"].values
    line = Line(x=manifold[:, 0], y=manifold[:, 1], color=style.INK, name="manifold")
    marks = [
        Points(
            x=[found[of].values[0]],
            y=[found[of].values[1]],
            symbol=symbol,
            size=10,
            rim=True,
            name=words,
            color=style.INK,
        )
        for of, words, symbol in (("minimum_norm", "minimum norm", "diamond"), ("teacher", "teacher", "star"))
    ]
    return [heat, line, *marks]


def speed(results: StudyResults) -> Chart:
    """Speed of phase II against the norm at the start, a line for each gamma."""
    found = results.measurement("speed")
    starts = found["start"].values.astype(float)
    lines = [
        _middle(starts, speeds(found.sel(gamma=gamma)).T, name=f"gamma {gamma:g}", color=style.COLORS[k], mark="both")
        for k, gamma in enumerate(found["gamma"].values.tolist())
    ]
    x = Axis(title="norm of the predictor at the start", log=True)
    y = Axis(title="decades of excess norm per 1,000 steps", log=True)
    return Chart(panels=[Panel(x=x, y=y, layers=lines)], columns=1)


def schedules(results: StudyResults) -> Chart:
    """Final test loss of each schedule, on all that they are compared on: marks of all seeds, and their geometric means."""
    found = results.measurement("courses")
    titled = {"network": effects_schedules.network_ends(results.sweep("schedules"), "test_loss")}
    titled |= {
        f"model, gamma {gamma:g}": effects_schedules.model_ends(found, "test_loss", gamma)
        for gamma in found["gamma"].values.tolist()
    }
    diagonal = effects_schedules.diagonal_ends(results.measurement("diagonal"), "test_loss")
    titled["diagonal linear networks"] = diagonal
    return Chart(panels=[_ranked(title, ends) for title, ends in titled.items()], columns=1)


def _ranked(title: str, ends: dict[str, Array]) -> Panel:
    rows = np.arange(len(ends))
    known = [values[np.isfinite(values)] for values in ends.values()]
    every = Points(
        x=np.concatenate(known),
        y=np.repeat(rows, [len(values) for values in known]),
        size=4,
        color=style.MUTED,
        name="seeds",
    )
    means = [10 ** arrays.average(np.log10(values)) for values in known]
    middle = Points(x=means, y=rows, symbol="diamond", size=9, rim=True, color=style.COLORS[1], name="geometric mean")
    ticks = list(zip(map(float, rows), ends, strict=True))
    return Panel(
        title=title,
        x=Axis(title="final test loss", log=True),
        y=Axis(ticks=ticks, limits=(len(ends) - 0.5, -0.5)),
        layers=[middle, every],
    )
