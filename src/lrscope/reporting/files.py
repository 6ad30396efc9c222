"""Figures as files for papers and slides."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from lrscope.charts import to_matplotlib
from lrscope.errors import LrscopeError, nearest
from lrscope.mapping.types import RegimeMap
from lrscope.reporting.figures import drawings
from lrscope.storage.files import kind, mode_of, staged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What each format needs to come out the same twice: no date in the file.
FORMATS: dict[str, dict[str, Any]] = {
    "png": {"dpi": 160},
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
}


def check_formats(formats: Sequence[str]) -> None:
    """Refuse what matplotlib could not write, before any work."""
    if isinstance(formats, str):
        raise LrscopeError(f"formats is the text {formats!r}: give a list, such as ({formats!r},)")
    for name in formats:
        if name not in FORMATS:
            raise LrscopeError(f"formats has the unknown format {name!r}: {nearest(str(name), FORMATS)}")


def write_figures(result: xr.DataTree, folder: Path, formats: Sequence[str], regime_map: RegimeMap) -> list[Path]:
    """`<folder>/<figure>.<format>` for every figure of the result."""
    check_folder(folder)
    written = []
    for drawing in drawings(result, regime_map):
        figure = to_matplotlib(drawing.chart)
        written += [write_one(figure, folder / f"{drawing.name}.{name}") for name in formats]
    return written


def check_folder(folder: Path) -> None:
    """Refuse a folder for figures that is none, before any work."""
    mode = mode_of(folder)
    if mode is not None and not stat.S_ISDIR(mode):
        raise LrscopeError(f"figure folder {folder} is {kind(mode)}: name a folder")


def write_one(figure: Figure, path: Path) -> Path:
    """One figure as one file, its format told by the ending; the same figure gives the same bytes."""
    from matplotlib import rc_context

    name = path.suffix[1:]
    with staged(path) as staging, rc_context({"svg.hashsalt": "lrscope"}):  # else SVG names its parts at random
        figure.savefig(staging, format=name, **FORMATS[name])
    return path
