"""Results with branches that decay at planted times, and what they end at: curves with a known answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from fake_results import EPOCH_STEPS, fake_result
from lrscope.schema import TRAIN, Node, variables_of
from lrscope.validation import result_traits, validate
from trees import with_node

AT = (2.0, 4.0, 8.0, 12.0, 16.0, 20.0)
END, COOLDOWN = 24.0, 6.0
FALLING = np.array([1.5, 1.2, 1.05, 1.0, 1.0, 1.0])  # saturates at the fourth time


def main_path(*, seeds: int = 5, data_seeds: int = 1, lrs: int = 1, **options: Any) -> xr.DataTree:
    """Pre-training alone, 20 epochs."""
    words: dict[str, Any] = {"finetune": False, "average": False, "features": False, "epochs": 20}
    return fake_result(lrs=lrs, seeds=seeds, data_seeds=data_seeds, **words | options)


def noisy(levels: Any, shape: tuple[int, ...], spread: float = 0.002, key: int = 0) -> np.ndarray:
    """Levels [K] with noise [K, D, S], and more that is a seed's own at all times."""
    rng = np.random.default_rng(key)
    levels = np.asarray(levels, dtype=float)
    own = rng.normal(0, 10 * spread, shape)
    return np.asarray(levels[:, None, None] * np.exp(own + rng.normal(0, spread, (len(levels), *shape))))


def with_decay(
    result: xr.DataTree,
    values: np.ndarray,
    *,
    name: str = "total",
    at: tuple[float, ...] = AT,
    budget: str = "total",
    of: str = "test_loss",
    axes: dict[str, Any] | None = None,
) -> xr.DataTree:
    """With a branch whose `of` ends at `values`: [K, D, S], or [L, K, *axes, D, S]."""
    further = axes or {}
    node = Node(name, TRAIN, "pretrain", (f"{name}_at", *further))
    length = END - np.array(at) if budget == "total" else np.full(len(at), COOLDOWN)
    epoch = np.unique(np.concatenate([[1.0], length]))
    coords: dict[str, Any] = {f"{name}_at": np.array(at), "epoch": epoch, "step": ("epoch", epoch * EPOCH_STEPS)}
    for axis, points in further.items():
        coords[axis] = np.array(points, dtype=object if isinstance(points[0], str) else None)
    sizes = {**result.sizes, **{n: len(v) for n, v in coords.items() if n != "step"}}
    beyond = (epoch > length[:, None]).reshape(1, len(at), *[1] * len(further), 1, 1, len(epoch))
    final = values if values.ndim == 4 + len(further) else values[None]
    data = {}
    for variable, row in variables_of(node).items():
        if row.belongs(result_traits(result)):
            found = np.ones([sizes[d] for d in row.dims])
            if "epoch" in row.dims:
                behind = beyond.reshape(*beyond.shape, *[1] * (found.ndim - beyond.ndim))
                found = np.where(np.broadcast_to(behind, found.shape), np.nan, found)
            data[variable] = (row.dims, found)
    steps = (np.array(at) * EPOCH_STEPS).reshape(1, -1, *[1] * (len(further) + 2))
    whole = {d: sizes[d] for d in node.runs}
    data["branch_step"] = (node.runs, np.broadcast_to(steps, list(whole.values())).astype(np.int64).copy())
    data["status"] = (node.runs, np.zeros(list(whole.values()), dtype=np.int64))
    with_time = "epoch" in data[of][0]
    data[of] = (data[of][0], np.where(beyond, np.nan, final[..., None]) if with_time else final)
    grown = with_node(result, name, xr.Dataset(data, coords, node.attributes()))
    validate(grown)
    return grown


def planted(levels: Any = FALLING, *, seeds: int = 5, spread: float = 0.002, **options: Any) -> xr.DataTree:
    """A main path with one branch."""
    return with_decay(main_path(seeds=seeds), noisy(levels, (1, seeds), spread), **options)
