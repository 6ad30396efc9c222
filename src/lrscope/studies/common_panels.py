"""Panels that many papers draw: curves along training, trajectories through the landscape, ends over learning rates.

L learning rates, U seeds, W logging intervals. Lines are means over seeds on the scale of their axis, or with `run` the runs of
the seed of that number, because a mean hides jumps. Learning rates at which networks die or overflow are dashed; where there
are such, axes end where the other runs and the settled ends of all do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Layer, Level, Line, Panel, Points, style
from lrscope.charts.scales import extent
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


LOST = "dead or overflowed"
NEAR_GUESSING = 0.99  # ours: as the map tells dead networks by their losses (`votes.dies`)


def guessing(result: xr.DataTree, name: str) -> list[Layer]:
    """What knowing nothing gets, as a level: the training loss of a uniform guess, or the test error of chance."""
    if name == "train_loss":
        return [Level(y=arrays.guessing(result), label="random guess")]
    return [Level(y=1 - np.exp(-arrays.guessing(result)), label="chance")] if name == "test_error" else []


def lost(result: xr.DataTree) -> list[int]:
    """Positions of the learning rates at which most networks overflow or, where they are not scale-invariant, die: end at
    guessing. They have no regime. (A map says so too, but not under a schedule.)"""
    loss = arrays.settled(arrays.logged(result, "train_loss"))
    end = np.where(np.isfinite(loss), loss, np.inf)
    limit = np.inf if result.attrs["scale_invariant"] else NEAR_GUESSING * arrays.guessing(result)
    return [k for k, losses in enumerate(end) if np.median(losses) >= limit]


def curves(
    result: xr.DataTree,
    name: str,
    title: str,
    *,
    lrs: Sequence[int] | None = None,
    log_x: bool = False,
    run: int | None = None,
) -> Panel:
    """A logged quantity along training, a line per learning rate. `test_error` is derived."""
    values = arrays.logged(result, name)
    positive, broken = name != "test_error", lost(result)
    lines = [
        Line(
            x=segment(result, "pretrain")["epoch"].values,
            y=_over_seeds(values[k], positive, run),
            value=float(result.coords["lr"].values[k]),
            **_looks(k in broken),
        )
        for k in (range(len(values)) if lrs is None else lrs)
    ]
    upright = Axis(title=title, log=positive, limits=_limits(values, broken, positive))
    return Panel(title=title, x=Axis(title="epoch", log=log_x), y=upright, layers=[*guessing(result, name), *lines])


def trajectories(
    result: xr.DataTree,
    name: str,
    title: str,
    *,
    lrs: Sequence[int] | None = None,
    panel_title: str = "",
    run: int | None = None,
) -> Panel:
    """A logged quantity against training loss while training goes on, a line per learning rate."""
    loss, values = arrays.logged(result, "train_loss"), arrays.logged(result, name)
    positive, broken = name != "test_error", lost(result)
    lines = [
        Line(
            x=_over_seeds(loss[k], True, run),
            y=_over_seeds(values[k], positive, run),
            value=float(result.coords["lr"].values[k]),
            mark="end",
            **_looks(k in broken),
        )
        for k in (range(len(values)) if lrs is None else lrs)
    ]
    return Panel(
        title=panel_title or f"{title} against loss",
        x=Axis(title=LOSS, log=True, limits=_limits(loss, broken, True)),
        y=Axis(title=title, log=positive, limits=_limits(values, broken, positive)),
        layers=[*guessing(result, name), *lines],
    )


def _over_seeds(values: Array, positive: bool, run: int | None) -> Array:
    if run is not None:
        return np.asarray(values[run])
    return log_mean(values, 0) if positive else mean(values, 0)


def _looks(broken: bool) -> dict[str, Any]:
    return {"dashed": True, "name": LOST} if broken else {}


def _limits(values: Array, broken: Sequence[int], log: bool) -> tuple[float, float] | None:
    """Ends of an axis [L, U, W] that single intervals of lost runs do not stretch; None where none are lost."""
    if not broken:
        return None
    living = [k for k in range(len(values)) if k not in broken]
    return extent(np.concatenate([values[living].ravel(), arrays.settled(values).ravel()]), log)


def same_limits(panels: Sequence[Panel]) -> list[Panel]:
    """The same panels on the same axes, to be compared with one another."""
    found = list(panels)
    for along in ("x", "y"):
        axes = [getattr(panel, along) for panel in panels]
        held = np.concatenate([_held(panel, along) for panel in panels])
        limits = extent(held, axes[0].log)
        found = [
            replace(panel, **{along: replace(axis, limits=limits)}) for panel, axis in zip(found, axes, strict=True)
        ]
    return found


def _held(panel: Panel, along: str) -> Array:
    """What a panel shows along an axis: its limits where it has some, otherwise its lines, points and levels."""
    limits = getattr(panel, along).limits
    if limits is not None:
        return np.array(limits)
    kinds = Line | Points | Level if along == "y" else Line | Points
    layers = [layer for layer in panel.layers if isinstance(layer, kinds)]
    return np.concatenate(
        [np.array([]), *(np.atleast_1d(np.asarray(getattr(layer, along), np.float64)) for layer in layers)]
    )


def ends(result: xr.DataTree, name: str, title: str) -> Panel:
    """The end of a quantity against the learning rate: a point per seed, their mean as a line, regimes behind. With a constant
    learning rate it is the settled end, under a schedule the last logged value."""
    values, positive = arrays.logged(result, name), name != "test_error"
    settled = arrays.settled(values) if frames.schedule(result) == "constant" else values[..., -1]
    lr = result.coords["lr"].values.astype(np.float64)
    count = settled.shape[1]
    runs = Points(x=np.repeat(lr, count), y=settled.ravel(), color=style.GREY, name="single seeds")
    mean_line = Line(x=lr, y=log_mean(settled, 1) if positive else mean(settled, 1), name="mean over seeds")
    return Panel(
        title=f"{title} at the end",
        x=Axis(title=rate(result), log=True),
        y=Axis(title=title, log=positive),
        layers=[*shading(result), *guessing(result, name), runs, mean_line],
    )


def shading(result: xr.DataTree) -> list[Layer]:
    """Regimes as stretches of the learning-rate axis, and the borders between them."""
    return frames.shading(frames.backdrop(frames.grid(result), regimes(result)))


def overview(result: xr.DataTree, *, lrs: Sequence[int] | None = None, run: int | None = None) -> list[Panel]:
    """The papers' first figure: curves, the landscape, and the ends over learning rates. `lrs`: positions that have curves."""
    name, steep = sharpness(result)
    return [
        curves(result, "train_loss", LOSS, lrs=lrs, run=run),
        curves(result, "test_error", ERROR, lrs=lrs, run=run),
        trajectories(result, name, steep, lrs=lrs, run=run),
        ends(result, "train_loss", LOSS),
        ends(result, "test_error", ERROR),
        ends(result, name, steep),
    ]


def representative(result: xr.DataTree) -> list[int]:
    """Positions of a few learning rates, for curves of single runs, which hide one another: the lowest and highest of regimes 1
    and 2, the middle one of 2, the lowest of 3; of those that there are."""
    one, two, three = (arrays.inside(regimes(result), name) for name in ("1", "2", "3"))
    chosen = {*one[:1], *one[-1:], *two[:1], *two[len(two) // 2 :][:1], *two[-1:], *three[:1]}
    return sorted(chosen) or list(range(result.sizes["lr"]))
