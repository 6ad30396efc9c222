"""Figures as files for papers and slides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from lrscope.errors import LrscopeError, nearest
from lrscope.mapping.types import RegimeMap
from lrscope.reporting.figures import drawings
from lrscope.results import disk_error

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


def write_figures(result: xr.Dataset, folder: Path, formats: Sequence[str], regime_map: RegimeMap) -> list[Path]:
    """`<folder>/<figure>.<format>` for every figure of the result."""
    if folder.exists() and not folder.is_dir():
        raise LrscopeError(f"figure folder {folder} is a file: name a folder")
    from matplotlib import rc_context

    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for drawing in drawings(result, regime_map):
            figure = drawing.static()
            for name in formats:
                path = folder / f"{drawing.name}.{name}"
                with rc_context({"svg.hashsalt": "lrscope"}):  # else SVG names its parts at random
                    figure.savefig(path, format=name, **FORMATS[name])
                written.append(path)
    except OSError as error:
        raise disk_error(error, folder) from error
    return written
