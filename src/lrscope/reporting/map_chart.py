"""The map: regimes, borders and where to start, and three quantities over one axis of learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrscope.charts import Axis, Band, Chart, ErrorBars, Layer, Level, Line, Note, Panel, Points, Span, style
from lrscope.mapping.types import Border, RegimeMap
from lrscope.reporting.frames import Backdrop, Grid, Quantity, regime_at, shading, with_level
from lrscope.reporting.placement import Place, place
from lrscope.reporting.start import Start, rows, start
from lrscope.reporting.text import interval, rate, votes

Counts = NDArray[np.int64]
MOST_POINTS_PER_RATE = 20  # single runs are drawn up to here, a range beyond
STRIP, ROW, QUANTITY = 26, 24, 185  # px: heights of the panels
BELOW = 0.7  # of a row: how far below marks words stand that have no room beside them


def map_chart(
    grid: Grid, back: Backdrop, regime_map: RegimeMap, quantities: Sequence[Quantity], nonfinite: Counts
) -> Chart:
    """A strip of regimes, rows for the borders and the start, then one panel per quantity. What is not known has no panel."""
    found = start(grid, regime_map)
    names = rows(regime_map, found)
    panels = [_strip(grid, back, regime_map)] if back.stretches else []
    panels += [_rows(grid, regime_map, names, found)] if names else []
    panels += [_quantity(grid, back, q, nonfinite if i == 0 else nonfinite * 0) for i, q in enumerate(quantities)]
    return Chart(panels=panels, columns=1, share_x=True)


def _strip(grid: Grid, back: Backdrop, regime_map: RegimeMap) -> Panel:
    """Hatched blocks, one per stretch; a pointer reads votes and flags at every learning rate."""
    blocks: list[Layer] = [
        Span(
            low=s.low,
            high=s.high,
            label=s.regime,
            color=style.REGIME_COLOR[s.regime],
            place="inside",
            pattern=style.REGIME_PATTERN[s.regime],
        )
        for s in back.stretches
    ]
    told = []
    for label in regime_map.labels:
        flags = f"\nflags: {', '.join(label.flags)}" if label.flags else ""
        head = f"{grid.short} {grid.text(label.lr)}: {label.regime} {style.REGIME_NAME.get(label.regime, '')}"
        told.append(f"{head}\nruns: {votes(label)}{flags}")
    lrs = [label.lr for label in regime_map.labels]
    blocks.append(Points(x=lrs, y=[0.5] * len(lrs), opacity=0, size=22, told=told))
    if left_out := [label.lr for label in regime_map.labels if not label.trained]:
        told = [f"{grid.short} {grid.text(lr)} was not trained" for lr in left_out]
        blocks.append(Points(x=left_out, y=[0.15] * len(left_out), hollow=True, name="not trained", told=told))
    return Panel(x=grid.axis, y=Axis(bare=True, limits=(0, 1)), layers=blocks, height=STRIP)


def _rows(grid: Grid, regime_map: RegimeMap, names: Sequence[str], found: Start | None) -> Panel:
    """A row per border and one for the start; taller where its words stand below its marks."""
    layers: list[Layer] = []
    ticks: list[tuple[float, str]] = []
    row = 0.0
    for name in names:
        ticks.append((row, name))
        words = None
        if name in regime_map.borders:
            border = regime_map.borders[name]
            words = _border_words(grid, border)
            layers += _border(grid, border, words, row)
        elif found is not None:
            words = found.words_at(grid)
            layers += _start(found, words, row)
        row += 1 + BELOW * (words is not None and words.below)
    y = Axis(bare=True, limits=(row - 0.5, -0.5), ticks=ticks)
    return Panel(x=grid.axis, y=y, layers=layers, height=round(ROW * row))


def _border_words(grid: Grid, border: Border) -> Place | None:
    """Where a border's numbers stand; None if it has no place."""
    if border.lr is None:
        return None
    marks = {"low": border.low or border.lr, "high": border.high or border.lr, "middle": border.lr}
    return place(grid, interval(border, grid.text), grid.text(border.lr), **marks)


def _border(grid: Grid, border: Border, at: Place | None, row: float) -> list[Layer]:
    """A mark with whiskers, and its numbers."""
    words = interval(border, grid.text)
    if border.lr is None or at is None:
        return [Note(x=float(grid.edges[0]), y=row, words=words, color=style.MUTED)]
    low, high = border.low or border.lr, border.high or border.lr
    told = f"border {border.between}: {words}\n{border.reason}"
    return [
        ErrorBars(x=[border.lr], y=[row], low=[low], high=[high], along="x", symbol="diamond", size=9, told=[told]),
        Note(x=at.x, y=row + BELOW * at.below, words=words, short=grid.text(border.lr), side=at.side),
    ]


def _start(found: Start, at: Place, row: float) -> list[Layer]:
    """The recommended range as a thick line with a star at the best, what is left open as a thin one, the cliff as a cross."""
    told = f"start: {found.words}\nbest: {rate(found.best)}"
    if (found.open_low, found.open_high) != (found.low, found.high):
        told += f"\nleft open by the seeds: {rate(found.open_low)} to {rate(found.open_high)}"
    lost = [] if found.cliff is None else [found.cliff]
    return [
        Line(x=[found.open_low, found.open_high], y=[row, row], color=style.START, width=1.6, told=[told] * 2),
        Line(x=[found.low, found.high], y=[row, row], color=style.START, width=6, told=[told] * 2),
        Points(x=[found.best], y=[row], color=style.START, symbol="star", size=14, rim=True, told=[told]),
        *(
            Points(x=[x], y=[row], color=style.LOST, symbol="x", size=8, told=[f"seeds are lost from {rate(x)} on"])
            for x in lost
        ),
        Note(x=at.x, y=row + BELOW * at.below, words=found.words, short=rate(found.best), side=at.side, bold=True),
    ]


def _quantity(grid: Grid, back: Backdrop, quantity: Quantity, nonfinite: Counts) -> Panel:
    """Single runs as points (or their range), their mean as a line, the level of random points, runs that overflowed."""
    layers = [*shading(back, letters=False), *_runs(grid, back, quantity)]
    if quantity.reference is not None:
        layers.append(Level(y=quantity.reference, label="random points"))
    if (lost := nonfinite > 0).any():
        values, runs = with_level(quantity), quantity.spread.values.shape[-1]
        top = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
        pairs = zip(grid.lr[lost], nonfinite[lost], strict=True)
        told = [f"{grid.short} {grid.text(lr)}: {n} of {runs} runs non-finite" for lr, n in pairs]
        look: dict[str, Any] = {"color": style.LOST, "symbol": "x", "size": 9, "name": "non-finite runs"}
        layers.append(Points(x=grid.lr[lost], y=[top] * int(lost.sum()), told=told, **look))
    return Panel(title=quantity.title, x=grid.axis, y=Axis(log=quantity.log), layers=layers, height=QUANTITY)


def _runs(grid: Grid, back: Backdrop, quantity: Quantity) -> list[Layer]:
    spread = quantity.spread
    runs = spread.values.shape[-1]
    name = "mean over runs" if runs > 1 else "the one run"
    mean = Line(x=grid.lr, y=spread.mean, name=name, mark="both", width=2, size=5)
    if runs == 1:
        return [mean]
    if runs > MOST_POINTS_PER_RATE:
        return [Band(x=grid.lr, low=spread.low, high=spread.high, color=style.MUTED, name="range over runs"), mean]
    colors = np.repeat([style.REGIME_COLOR[regime_at(back, lr)] for lr in grid.lr], runs).tolist()
    x, y = np.repeat(grid.lr, runs), spread.values.ravel()
    return [Points(x=x, y=y, colors=colors, opacity=0.55, name="single runs"), mean]
