"""A landscape as a chart: training and test values side by side, the paths on top. W x H points of the grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Chart, HeatMap, Line, Panel, Points, style
from lrscope.charts.layers import Layer
from lrscope.charts.text import number
from lrscope.errors import LrscopeError
from lrscope.landscapes.types import Landscape, axis_titles

CONTOURS = 12
PARTS = {"train": "training", "test": "test"}
MAIN, BRANCH = "#D55E00", "#F0E442"  # of Okabe & Ito: they stand out on viridis
HEIGHT = 380  # of a panel, pixels


def landscape_chart(found: Landscape, of: str = "loss") -> Chart:
    """Panels for training and test values, those that there are.

    Raises:
        LrscopeError: there are no such values.
    """
    names = {f"{part}_{of}": f"{words} {of}" for part, words in PARTS.items() if f"{part}_{of}" in found.data}
    if not names and of in found.data:
        names = {of: of}
    if not names:
        known = sorted({str(n).split("_")[-1] for n in found.data if found.data[n].dims == ("y", "x")})
        raise LrscopeError(f"of: the landscape has no {of}: choose one of {', '.join(known)}")
    panels = [_panel(found, name, words) for name, words in names.items()]
    return Chart(panels=panels, columns=2, share_y=True, own_colors=True, color_title=of, color_log=of != "accuracy")


def _panel(found: Landscape, name: str, words: str) -> Panel:
    data, titles = found.data, axis_titles(found.data)
    judged = next((one for one in found.level_sets if one.of == name), None)
    title = words if judged is None else f"{words}: level set {judged.verdict}"
    level = None if judged is None else judged.level
    heat = HeatMap(
        x=data["x"].values,
        y=data["y"].values,
        values=_drawable(data[name].values, log=not name.endswith("accuracy")),
        title=words,
        contours=CONTOURS,
        traced=level if level is not None and np.isfinite(level) else None,
    )
    ends = {axis: (float(data[axis].values[0]), float(data[axis].values[-1])) for axis in ("x", "y")}
    x, y = Axis(title=titles[0], short="x", limits=ends["x"]), Axis(title=titles[1], short="y", limits=ends["y"])
    return Panel(title=title, x=x, y=y, height=HEIGHT, layers=[heat, *_paths(data, name)])


def _drawable(values: np.ndarray, *, log: bool) -> np.ndarray:
    """On a logarithmic scale zeros take the colour of the least positive value."""
    positive = values[np.isfinite(values) & (values > 0)]
    return np.maximum(values, positive.min()) if log and positive.size else values


def _paths(data: xr.Dataset, name: str) -> list[Layer]:
    """The paths with their checkpoints, where they leave the main one, and its ends."""
    names, of = [str(n) for n in data["path_name"].values], data["path"].values
    main = np.flatnonzero(of == 0)
    layers: list[Layer] = [
        _line(data, main, name, style.WHITE, "", 4.0),
        _line(data, main, name, MAIN, names[0] if names[0].endswith("path") else f"{names[0]} path", 2.0),
    ]
    words = names[-1] if len(names) == 2 else "branches"
    for place, leaves in enumerate(data["leaves"].values[1:], start=1):
        own = np.concatenate([[leaves], np.flatnonzero(of == place)])
        layers.append(_line(data, own, name, BRANCH, words, 1.6))
    places = {"its start": (main[:1], "square"), "its end": (main[-1:], "star")}
    if len(names) > 1:
        places["branch points"] = np.unique(data["leaves"].values[1:]), "diamond"
    return layers + [_marks(data, rows, name, words, symbol) for words, (rows, symbol) in places.items()]


def _line(data: xr.Dataset, rows: np.ndarray, name: str, color: str, words: str, width: float) -> Line:
    x, y = data["at_x"].values[rows], data["at_y"].values[rows]
    mark, told = "both" if words else "line", _told(data, rows, name)
    return Line(x=x, y=y, color=color, name=words, width=width, mark=mark, size=4.5, told=told)  # type: ignore[arg-type]


def _marks(data: xr.Dataset, rows: np.ndarray, name: str, words: str, symbol: str) -> Points:
    x, y, told = data["at_x"].values[rows], data["at_y"].values[rows], _told(data, rows, name)
    return Points(x=x, y=y, name=words, symbol=symbol, size=14.0 if symbol == "star" else 8.0, hollow=True, told=told)


def _told(data: xr.Dataset, rows: np.ndarray, name: str) -> Sequence[str]:
    """What a pointer reads at checkpoints: the values at their own weights and on the surface below them."""
    own, below, off = (data[n].values[rows] for n in ("own_" + name, "surface_" + name, "off"))
    labels, of = data["label"].values[rows], name.replace("_", " ").replace("train", "training")
    return [
        f"{label}\n{of} {number(a, 4)}\non the surface {number(b, 4)}, {number(c, 3)} away"
        for label, a, b, c in zip(labels, own, below, off, strict=True)
    ]
