"""A result as one HTML page (`report`) and as figures for a paper (`save_figures`). Drawing libraries load on use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lrscope.checked import checked

if TYPE_CHECKING:
    import xarray as xr

    from lrscope.mapping.types import RegimeMap
    from lrscope.storage.paths import Remote

__all__ = ["report", "save_figures"]


@checked
def report(
    result: xr.DataTree, path: str | os.PathLike[str] | Remote, *, regime_map: RegimeMap | None = None
) -> Path | Remote:
    """Write one self-contained HTML page about the result, to a file or an fsspec URL, and return its path. Without a
    map, `regimes` makes one."""
    from lrscope.reporting.page import render, write_page
    from lrscope.storage.paths import Remote, place
    from lrscope.validation import cleaned

    target, checked, result = place(path), _checked(result, regime_map), cleaned(result)
    if isinstance(target, Remote):
        target.write_bytes(render(result, checked).encode(errors="replace"))
        return target
    return write_page(result, target, checked)


@checked
def save_figures(
    result: xr.DataTree,
    folder: str | os.PathLike[str],
    *,
    formats: Sequence[str] = ("png",),
    regime_map: RegimeMap | None = None,
) -> list[Path]:
    """Write every figure of the page with matplotlib, one file per figure and format (png, pdf or svg)."""
    from lrscope.reporting.files import check_formats, write_figures
    from lrscope.storage.paths import local
    from lrscope.validation import cleaned

    check_formats(formats)
    return write_figures(cleaned(result), local(folder, "folder"), formats, _checked(result, regime_map))


def _checked(result: xr.DataTree, regime_map: RegimeMap | None) -> RegimeMap:
    """Probe both inputs at the door: a result that breaks the schema or a map of another result draws nonsense."""
    import numpy as np

    from lrscope.errors import LrscopeError, nearest
    from lrscope.mapping.types import REGIMES
    from lrscope.validation import validate

    validate(result)
    if regime_map is None:
        from lrscope.mapping import regimes

        return regimes(result)
    for label in regime_map.labels:
        if label.regime not in REGIMES:
            raise LrscopeError(f"regime_map has the unknown regime {label.regime!r}: {nearest(label.regime, REGIMES)}")
        if not np.isclose(result.coords["lr"].values, label.lr, rtol=1e-6, atol=0).any():
            raise LrscopeError(
                f"regime_map labels learning rate {label.lr:g}, which the result does not have: "
                "pass the map of this result, or leave regime_map out"
            )
    return regime_map
