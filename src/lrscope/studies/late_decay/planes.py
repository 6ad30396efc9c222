"""The surfaces through a sweep's training paths, as a measurement: one for each draw of the images.

D draws, N checkpoints, W x H points of the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from lrscope.landscapes import Landscape, landscape
from lrscope.measures.landscape import at_points
from lrscope.studies.arrays import Array
from lrscope.studies.forked import in_processes
from lrscope.studies.late_decay.valleys import ValleySet, finer_rows, valley_set
from lrscope.studies.types import StudyResults
from lrscope.trained import State, Trained

LOSSES = ("train_loss", "test_loss")
BRANCH = "cooldown"
WIDER = (1, 2, 4)  # ours: frames in which the lowest test loss is looked for, in widths of the first one
ON_GRID = ("level", "share")  # of a level set
FACTS = ("rise", "closing", "lowest", "columns")  # of the same along the floor of its valley


def planes(results: StudyResults, sweep: str, grid: Sequence[int], margin: float, jobs: int = 1) -> xr.Dataset:
    """Losses [draw, row, column] on the curved surface through the first two principal components of the main path's snapshots and
    the sub-paths' ends; where these are drawn [draw, checkpoint]; level sets of the main path [draw, loss]; the
    place of the lowest test loss [draw, axis].

    Args:
        sweep: its main path has snapshots, and its branch `cooldown` weights.
        grid: points along x and y.
        margin: as in `lrscope.landscapes.landscape`.
        jobs: processes that share the draws.
    """
    trained = results.trained(sweep)
    config = trained.config
    draws = range(config.first_data_seed, config.first_data_seed + config.data_seeds)
    found = in_processes(lambda draw: _of_draw(trained, draw, (int(grid[0]), int(grid[1])), margin), draws, jobs)
    joined: xr.Dataset = xr.concat(found, dim="draw", combine_attrs="drop_conflicts")
    return joined.assign_coords(draw=list(draws))


def _of_draw(trained: Trained, draw: int, grid: tuple[int, int], margin: float) -> xr.Dataset:
    config = trained.config
    run: dict[str, Any] = {"lr": config.lrs[0], "seed": config.first_seed, "data_seed": draw}
    times = next(branch for branch in config.branches if branch.name == BRANCH).at
    paths = {"main": [trained.state(**run, epoch=epoch) for epoch in config.snapshot_epochs]}
    for at in times:
        paths[f"decay at {at:g}"] = [trained.state(**run, branch=BRANCH, point={f"{BRANCH}_at": at})]

    def drawn(room: float) -> Landscape:
        return landscape(trained, paths, grid=grid, margin=room, data_seed=draw)

    made = drawn(margin)
    place, wider = lowest_test_loss(made.data, margin, lambda room: drawn(room).data)
    sets = _sets(trained, paths["main"][-1], made, draw)
    arrays = _arrays(made, sets, [*config.snapshot_epochs, *times], len(config.snapshot_epochs))
    return arrays.assign(minimum=("axis", place), wider=wider)


def _sets(trained: Trained, at: State, made: Landscape, draw: int) -> dict[str, ValleySet]:
    """The level sets of both losses along the floors of their valleys."""
    x, y = made.data["x"].values, made.data["y"].values
    levels = {one.of: one.level for one in made.level_sets}
    found = {}
    for of in LOSSES:
        values = made.data[of].values
        rows = finer_rows(values, y)
        columns = np.repeat(x, rows.shape[1])
        points = made.surface.points(columns, rows.ravel(), at.weights.dtype, at.weights.device)
        train = of == "train_loss"
        finer = at_points(trained, at, points, data_seed=draw, train=train, test=not train)[of].values
        found[of] = valley_set(values, finer.reshape(rows.shape), levels[of])
    return found


def lowest_test_loss(first: xr.Dataset, margin: float, drawn: Callable[[float], xr.Dataset]) -> tuple[Array, int]:
    """Coordinates of the lowest test loss [2], and how many times as wide as the first the frame is inside which it lies.

    A minimum at the frame's edge may lie outside of it, so wider frames are drawn until it does not; NaN where none is left.

    Args:
        first: a landscape with room of `margin` extents of the checkpoints on every side.
        drawn: the same with another margin.
    """
    for times in WIDER:
        data = first if times == 1 else drawn((times * (1 + 2 * margin) - 1) / 2)
        values = data["test_loss"].values
        row, column = np.unravel_index(int(np.where(np.isfinite(values), values, np.inf).argmin()), values.shape)
        if 0 < row < values.shape[0] - 1 and 0 < column < values.shape[1] - 1:
            return np.array([data["x"].values[column], data["y"].values[row]], dtype=float), times
    return np.full(2, np.nan), WIDER[-1]


def _arrays(made: Landscape, sets: dict[str, ValleySet], epochs: Sequence[float], snapshots: int) -> xr.Dataset:
    """A landscape without coordinates, which differ from draw to draw."""
    data = made.data
    on_grid = {one.of: one for one in made.level_sets}
    arrays: dict[str, Any] = {name: (("row", "column"), data[name].values) for name in LOSSES}
    arrays |= {"x": ("column", data["x"].values), "y": ("row", data["y"].values)}
    arrays |= {
        name: ("checkpoint", data[name].values) for name in ("at_x", "at_y", "off", "own_train_loss", "own_test_loss")
    }
    arrays |= {name: ("loss", np.array([getattr(on_grid[of], name) for of in LOSSES])) for name in ON_GRID}
    arrays |= {name: ("loss", np.array([getattr(sets[of], name) for of in LOSSES])) for name in FACTS}
    arrays["verdict"] = ("loss", np.array([sets[of].verdict for of in LOSSES], dtype=object))
    arrays["explained"] = ("component", data["explained"].values[:2])
    coords = {
        "loss": list(LOSSES),
        "epoch": ("checkpoint", np.asarray(epochs, dtype=float)),
        "main": ("checkpoint", np.arange(len(epochs)) < snapshots),
    }
    return xr.Dataset(arrays, coords)
