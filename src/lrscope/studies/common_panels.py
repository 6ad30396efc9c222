"""Panels that many papers draw: curves along training, trajectories through the landscape, ends over learning rates.

L learning rates, U seeds, W logging intervals. Lines are means over seeds on the scale of their axis; bands are one standard
error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Layer, Line, Panel, Points, style
from lrscope.mapping import regimes
from lrscope.reporting import frames
from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array

ELR, LR = "effective learning rate (ELR)", "learning rate"
LOSS, ERROR, SHARPNESS, GRADIENT = "training loss", "test error", "effective gradient norm", "gradient norm"


def rate(result: xr.DataTree) -> str:
    """What the learning-rate axis is called."""
    return ELR if result.attrs["space"] == "sphere" else LR


def sharpness(result: xr.DataTree) -> tuple[str, str]:
    """Variable and axis title of the sharpness that a result has."""
    return (
        ("effective_grad_norm", SHARPNESS)
        if "effective_grad_norm" in segment(result, "pretrain")
        else ("grad_norm", GRADIENT)
    )


def log_mean(values: Array, axis: int) -> Array:
    """Geometric mean of positive values, NaN passed over."""
    known = np.isfinite(values) & (values > 0)
    logs = np.where(known, np.log(np.where(known, values, 1.0)), 0.0).sum(axis)
    count = known.sum(axis)
    return np.where(count > 0, np.exp(logs / np.maximum(count, 1)), np.nan)


def mean(values: Array, axis: int) -> Array:
    """Mean, NaN passed over, NaN where there is nothing."""
    known = np.isfinite(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis) / np.maximum(count, 1), np.nan)


def curves(
    result: xr.DataTree, name: str, title: str, *, lrs: Sequence[int] | None = None, log_x: bool = False
) -> Panel:
    """A logged quantity along training, a line per learning rate, mean over seeds. `test_error` is derived."""
    values = arrays.logged(result, name)
    positive = name != "test_error"
    lines = [
        Line(
            x=segment(result, "pretrain")["epoch"].values,
            y=log_mean(values[k], 0) if positive else mean(values[k], 0),
            value=float(result.coords["lr"].values[k]),
        )
        for k in (range(len(values)) if lrs is None else lrs)
    ]
    return Panel(title=title, x=Axis(title="epoch", log=log_x), y=Axis(title=title, log=positive), layers=lines)


def trajectories(
    result: xr.DataTree, name: str, title: str, *, lrs: Sequence[int] | None = None, panel_title: str = ""
) -> Panel:
    """A logged quantity against training loss while training goes on, a line per learning rate, mean over seeds."""
    loss = arrays.logged(result, "train_loss")
    values = arrays.logged(result, name)
    lines = [
        Line(
            x=log_mean(loss[k], 0),
            y=mean(values[k], 0) if name == "test_error" else log_mean(values[k], 0),
            value=float(result.coords["lr"].values[k]),
            mark="end",
        )
        for k in (range(len(values)) if lrs is None else lrs)
    ]
    return Panel(
        title=panel_title or f"{title} against loss",
        x=Axis(title=LOSS, log=True),
        y=Axis(title=title, log=name != "test_error"),
        layers=lines,
    )


def ends(result: xr.DataTree, name: str, title: str) -> Panel:
    """The settled end of a quantity against the learning rate: a point per seed, their mean as a line, regimes behind."""
    values = arrays.logged(result, name)
    settled, positive = arrays.settled(values), name != "test_error"
    lr = result.coords["lr"].values.astype(np.float64)
    count = settled.shape[1]
    runs = Points(x=np.repeat(lr, count), y=settled.ravel(), color=style.GREY, name="single seeds")
    mean_line = Line(x=lr, y=log_mean(settled, 1) if positive else mean(settled, 1), name="mean over seeds")
    return Panel(
        title=f"{title} at the end",
        x=Axis(title=rate(result), log=True),
        y=Axis(title=title, log=positive),
        layers=[*shading(result), runs, mean_line],
    )


def shading(result: xr.DataTree) -> list[Layer]:
    """Regimes as stretches of the learning-rate axis, and the borders between them."""
    return frames.shading(frames.backdrop(frames.grid(result), regimes(result)))


def overview(result: xr.DataTree) -> list[Panel]:
    """The papers' first figure: curves, the landscape, and the ends over learning rates."""
    name, steep = sharpness(result)
    return [
        curves(result, "train_loss", LOSS),
        curves(result, "test_error", ERROR),
        trajectories(result, name, steep),
        ends(result, "train_loss", LOSS),
        ends(result, "test_error", ERROR),
        ends(result, name, steep),
    ]
