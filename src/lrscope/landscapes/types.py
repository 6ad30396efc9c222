"""What is found of a landscape: arrays, the surface that they are on, level sets, and how it is drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from lrscope.charts.text import number, plural
from lrscope.checked import checked
from lrscope.errors import LrscopeError, shown
from lrscope.landscapes.level_sets import LevelSet
from lrscope.landscapes.surfaces import Surface

if TYPE_CHECKING:
    from lrscope.charts import Chart


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """All that `landscape` found. `str()` is the text that the command line prints.

    Attributes:
        data: over the grid (y, x) `train_loss`, `train_accuracy` and those of the test examples; over `checkpoint` the
            coordinates `at_x` and `at_y`, the distance `off` from the surface there, the values at the checkpoint's own weights
            (`own_train_loss`, ...) and on the surface (`surface_train_loss`, ...), `path` and `label`; over `path_name` the
            number `leaves` of the main path's checkpoint where a path leaves it (-1: the main path); over `component` the
            fraction `explained` of the checkpoints' variance. Attributes say how it was made.
        surface: points of weight space by their coordinates.
        level_sets: of the training and of the test loss, at the level of the main path.
        notes: what to know before looking.
    """

    data: xr.Dataset
    surface: Surface
    level_sets: tuple[LevelSet, ...]
    notes: tuple[str, ...] = ()

    def path(self, name: str | int = 0) -> xr.Dataset:
        """The checkpoints of a path, by its name or number.

        Raises:
            LrscopeError: there is no such path.
        """
        names = [str(n) for n in self.data["path_name"].values]
        if name not in names and name not in range(len(names)):
            raise LrscopeError(f"path: there is no path {shown(name)}: name one of {', '.join(names)}")
        wanted = name if isinstance(name, int) else names.index(name)
        return self.data.isel(checkpoint=np.flatnonzero(self.data["path"].values == wanted))

    def chart(self, of: str = "loss") -> Chart:
        """Training and test values side by side, `of` is `loss` or `accuracy`; to be drawn by `lrscope.charts`."""
        from lrscope.landscapes.draw import landscape_chart

        return landscape_chart(self, of)

    @checked
    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write `landscape.nc` (the data, for `xarray.open_dataset`), `landscape.html` (to be explored) and `loss.png`, with
        `accuracy.png` for classification; returns their paths."""
        from lrscope.landscapes.page import save

        return save(self, folder)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `explained`, `bend_r2`, `level_sets`, `paths`, `notes` and the data's attributes; null where there is no
        number."""
        sets = [{name: _plain(value) for name, value in asdict(found).items()} for found in self.level_sets]
        about = {str(name): _plain(value) for name, value in self.data.attrs.items()}
        explained = [float(v) for v in self.data["explained"].values] if "explained" in self.data else []
        return about | {"explained": explained, "level_sets": sets, "paths": self._paths(), "notes": list(self.notes)}

    def _paths(self) -> list[dict[str, Any]]:
        found = []
        for i, name in enumerate(self.data["path_name"].values):
            own = self.path(i)
            leaves = int(self.data["leaves"].values[i])
            where = None if leaves < 0 else str(self.data["label"].values[leaves])
            row = {"name": str(name), "checkpoints": own.sizes["checkpoint"], "leaves": where}
            found.append(row | {"largest_distance": float(own["off"].max())})
        return found

    def __str__(self) -> str:
        about = self.data.attrs
        lines = [f"{about['surface']}, grid of {self.data.sizes['x']} x {self.data.sizes['y']} points"]
        if "explained" in self.data:
            shares = ", ".join(f"{v:.1%}" for v in self.data["explained"].values)
            lines.append(f"variance of the checkpoints along PC1, PC2, ...: {shares}")
        if np.isfinite(about.get("bend_r2", np.nan)):
            lines.append(f"PC3 follows a parabola in PC1: R^2 {about['bend_r2']:.2f}")
        for row in self._paths():
            leaves = f", leaves at {row['leaves']}" if row["leaves"] else ""
            count, off = plural(row["checkpoints"], "checkpoint"), number(row["largest_distance"])
            lines.append(f"path {row['name']}: {count}{leaves}, at most {off} from the surface")
        lines += map(str, self.level_sets)
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def _plain(value: Any) -> Any:
    """For JSON: NaN is null."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def axis_titles(data: xr.Dataset) -> tuple[str, str]:
    """What the axes are called; principal components with their share of the variance."""
    titles: Sequence[str] = str(data.attrs["axes"]).split("|")
    if "explained" not in data:
        return titles[0], titles[1]
    shares = data["explained"].values
    return tuple(f"{t} ({number(100 * s)}% of the variance)" for t, s in zip(titles, shares[:2], strict=True))  # type: ignore[return-value]
