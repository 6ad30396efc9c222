"""The surfaces through a sweep's training paths, as a measurement: one for each draw of the images.

D draws, N checkpoints, W x H points of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from lrscope.landscapes import Landscape, landscape
from lrscope.studies.types import StudyResults
from lrscope.trained import Trained

LOSSES = ("train_loss", "test_loss")
BRANCH = "cooldown"
FACTS = ("level", "rise", "share", "closing", "lowest")  # of a level set


def planes(results: StudyResults, sweep: str, grid: Sequence[int], margin: float) -> xr.Dataset:
    """Losses [draw, row, column] on the curved surface through the first two principal components of the main path's snapshots and
    the sub-paths' ends; where these are drawn [draw, checkpoint]; level sets of the main path [draw, loss].

    Args:
        sweep: its main path has snapshots, and its branch `cooldown` weights.
        grid: points along x and y.
        margin: as in `lrscope.landscapes.landscape`.
    """
    trained = results.trained(sweep)
    config = trained.config
    draws = range(config.first_data_seed, config.first_data_seed + config.data_seeds)
    found = [_of_draw(trained, draw, (int(grid[0]), int(grid[1])), margin) for draw in draws]
    joined = xr.concat(found, dim="draw", combine_attrs="drop_conflicts")
    return joined.assign_coords(draw=list(draws))


def _of_draw(trained: Trained, draw: int, grid: tuple[int, int], margin: float) -> xr.Dataset:
    config = trained.config
    run: dict[str, Any] = {"lr": config.lrs[0], "seed": config.first_seed, "data_seed": draw}
    times = next(branch for branch in config.branches if branch.name == BRANCH).at
    paths = {"main": [trained.state(**run, epoch=epoch) for epoch in config.snapshot_epochs]}
    for at in times:
        paths[f"decay at {at:g}"] = [trained.state(**run, branch=BRANCH, point={f"{BRANCH}_at": at})]
    made = landscape(trained, paths, grid=grid, margin=margin, data_seed=draw)
    return _arrays(made, [*config.snapshot_epochs, *times], len(config.snapshot_epochs))


def _arrays(made: Landscape, epochs: Sequence[float], snapshots: int) -> xr.Dataset:
    """A landscape without coordinates, which differ from draw to draw."""
    data = made.data
    sets = {one.of: one for one in made.level_sets}
    arrays: dict[str, Any] = {name: (("row", "column"), data[name].values) for name in LOSSES}
    arrays |= {"x": ("column", data["x"].values), "y": ("row", data["y"].values)}
    arrays |= {
        name: ("checkpoint", data[name].values) for name in ("at_x", "at_y", "off", "own_train_loss", "own_test_loss")
    }
    arrays |= {name: ("loss", np.array([getattr(sets[of], name) for of in LOSSES])) for name in FACTS}
    arrays["verdict"] = ("loss", np.array([sets[of].verdict for of in LOSSES], dtype=object))
    arrays["explained"] = ("component", data["explained"].values[:2])
    coords = {
        "loss": list(LOSSES),
        "epoch": ("checkpoint", np.asarray(epochs, dtype=float)),
        "main": ("checkpoint", np.arange(len(epochs)) < snapshots),
    }
    return xr.Dataset(arrays, coords)
