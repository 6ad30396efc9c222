"""A landscape as files: its arrays, one self-contained HTML page to be explored, and pictures for papers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lrscope.charts import style, to_matplotlib, to_plotly
from lrscope.charts.text import NOTHING, number
from lrscope.landscapes.level_sets import OPEN, LevelSet
from lrscope.landscapes.types import Landscape
from lrscope.reporting.files import check_folder, write_one
from lrscope.reporting.page import fill
from lrscope.storage.files import write_whole
from lrscope.storage.paths import local

VERDICTS = {
    "open": style.REGIME_COLOR["2A"],
    "closed": style.REGIME_COLOR["1"],
    "undetermined": style.REGIME_COLOR["?"],
}


def save(found: Landscape, folder: str | os.PathLike[str]) -> list[Path]:
    """See `Landscape.save`."""
    where = local(folder, "folder")
    check_folder(where)
    arrays, page = where / "landscape.nc", where / "landscape.html"
    write_whole(arrays, bytes(found.data.to_netcdf(engine="scipy")))
    write_whole(page, render(found).encode(errors="replace"))
    return [arrays, page, *(write_one(to_matplotlib(found.chart(of)), where / f"{of}.png") for of in quantities(found))]


def quantities(found: Landscape) -> list[str]:
    """What there are pictures of."""
    names = [str(name) for name in found.data if found.data[name].dims == ("y", "x")]
    return list(dict.fromkeys(name.split("_")[-1] for name in names))


def render(found: Landscape) -> str:
    """The page as text."""
    about, pictures = found.data.attrs, quantities(found)
    return fill(
        "landscape.html",
        {of: to_plotly(found.chart(of)) | {"selectable": False} for of in pictures},
        title=f"Landscape of {about.get('task', 'a function')}",
        pictures=pictures,
        surface=str(about["surface"]),
        sets=[_row(one) for one in found.level_sets],
        open_at=f"{OPEN:.0%}",
        text=str(found),
        facts=[(name, _fact(value)) for name, value in about.items() if name not in ("surface", "axes")],
        colors=VERDICTS,
    )


def _row(one: LevelSet) -> dict[str, str]:
    numbers = {name: number(getattr(one, name), 4) for name in ("level", "own", "lowest", "closing")}
    share = NOTHING if np.isnan(one.share) else f"{one.share:.0%}"
    return {"of": one.of.replace("_", " "), "verdict": one.verdict, "why": one.why, "share": share, **numbers}


def _fact(value: object) -> str:
    return ", ".join(f"{v:.4g}" for v in value) if isinstance(value, list) else str(value)
