"""What both renderings of a study's charts share: colours, legend entries, extents.

N points of a line, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrscope.reporting import style
from lrscope.studies.charts import Chart, Image, Line, Panel

LEAST_CONTRAST = 1e-12  # of a scale's ends, relative: below it a picture is of one value
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Palette:
    """The chart's colour scale: all `values` on it in increasing order (none: there is no scale)."""

    values: Floats
    log: bool

    @property
    def ends(self) -> tuple[float, float]:
        """The scale's ends; a single value gets some room."""
        low, high = float(self.values[0]), float(self.values[-1])
        if high > low:
            return low, high
        return (low / 2, high * 2) if self.log else (low - 0.5, high + 0.5)

    def of(self, line: Line) -> str:
        """A line's colour: its own, that of its value, or ink."""
        if line.color is not None:
            return line.color
        if line.value is None or not self.values.size:
            return style.INK
        low, high, at = (np.log(v) if self.log else v for v in (*self.ends, line.value))
        return style.viridis(float((at - low) / (high - low)))


def palette(chart: Chart) -> Palette:
    """The colour scale of a chart. A logarithmic one with values that are not positive becomes linear."""
    found = {line.value for panel in chart.panels for line in panel.lines if line.value is not None}
    values = np.array(sorted(v for v in found if np.isfinite(v)), dtype=np.float64)
    return Palette(values, chart.color_log and bool((values > 0).all()))


def legend(chart: Chart) -> list[Line]:
    """The first line of every name."""
    named: dict[str, Line] = {}
    for panel in chart.panels:
        for line in panel.lines:
            if line.name:
                named.setdefault(line.name, line)
    return list(named.values())


def heights(panel: Panel) -> Floats:
    """All that the y axis must hold, flat: lines, bands and levels."""
    parts = [np.asarray(v, dtype=float).ravel() for ln in panel.lines for v in (ln.y, ln.low, ln.high) if v is not None]
    return np.concatenate([*parts, [y for y, _ in panel.levels]]) if parts or panel.levels else np.array([])


def widths(panel: Panel) -> Floats:
    """All that the x axis must hold, flat: lines and spans."""
    parts = [np.asarray(line.x, dtype=float).ravel() for line in panel.lines]
    return np.concatenate([*parts, [v for low, high, _ in panel.spans for v in (low, high)]]) if parts else np.array([])


def drawable(values: Floats, log: bool) -> Floats:
    """Those values that an axis can show."""
    kept: Floats = values[np.isfinite(values) & ((values > 0) | (not log))]
    return kept


def extent(values: Floats, log: bool, air: float = 0.04) -> tuple[float, float] | None:
    """The ends of an axis that holds the values with some air, in the axis's own units; None without any value."""
    kept = drawable(values, log)
    if not kept.size:
        return None
    low, high = (float(v) for v in (np.log10([kept.min(), kept.max()]) if log else (kept.min(), kept.max())))
    room = air * (high - low) or (0.1 if log else 0.05 * abs(high) or 0.5)
    return (10 ** (low - room), 10 ** (high + room)) if log else (low - room, high + room)


def whole(line: Line) -> tuple[Floats, Floats]:
    """x and y [N] as floats."""
    return np.asarray(line.x, dtype=np.float64).ravel(), np.asarray(line.y, dtype=np.float64).ravel()


def last(line: Line) -> tuple[float, float] | None:
    """The last point that can be drawn."""
    x, y = whole(line)
    there = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    return (float(x[there[-1]]), float(y[there[-1]])) if there.size else None


def of_images(chart: Chart) -> bool:
    """Are all panels pictures?"""
    return all(panel.image is not None for panel in chart.panels)


def pixels(image: Image) -> NDArray[np.uint8]:
    """Red, green and blue of every pixel [H, W, 3]."""
    values = np.asarray(image.values, dtype=np.float64)
    there = np.isfinite(values)
    if values.ndim == 2:
        inside = values[there]
        low = image.low if image.low is not None else float(inside.min()) if inside.size else 0.0
        high = image.high if image.high is not None else float(inside.max()) if inside.size else 1.0
        flat = high - low <= LEAST_CONTRAST * max(abs(low), abs(high))
        shares = np.clip(np.where(there, values, low) - low, 0, None) / (1.0 if flat else high - low)
        shares = np.clip(shares, 0, 1)
        if image.viridis:
            colors = np.array([style.channels(style.viridis(i / 255)) for i in range(256)], dtype=np.float64)
            found = colors[np.round(255 * shares).astype(np.int64)]
        else:
            found = np.repeat(255 * shares[..., None], 3, axis=2)
    else:
        there = np.logical_and.reduce(there, axis=2)
        found = 255 * np.clip(np.where(there[..., None], values, 0), 0, 1)
    found = np.where(there[..., None], found, style.channels(style.GRID))
    return np.round(found).astype(np.uint8)


def tint(label: str) -> str:
    """The colour of a span: its regime's, or grey."""
    return style.REGIME_COLOR.get(label, style.REGIME_COLOR["?"])
