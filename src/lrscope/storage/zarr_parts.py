"""Writing a result as Zarr part by part, so that a large one is never in memory as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.storage import MemoryStore

PART_DIMS = ("data_seed", "seed")  # along which parts follow each other
IN_MEMORY = 64 << 20  # ours, bytes: Zarr makes files of so much in memory first, which takes it half the time


def write_parts(
    parts: Iterable[xr.DataTree], folder: Path, attributes: Callable[[], dict[str, Any]] | None = None
) -> None:
    """Write parts of one result into a Zarr folder, one group a node.

    Args:
        parts: they differ in their data seeds and seeds and come in increasing order of (data_seed, seed).
        folder: of the result; what is there is replaced.
        attributes: of the root, asked for when all parts are written.
    """
    for number, part in enumerate(parts):
        if number == 0:
            _create(part, folder)
        else:
            _extend(zarr.open_group(folder, mode="r+"), part)
    if attributes is not None:
        zarr.open_group(folder, mode="r+").update_attributes(attributes())


def _create(part: xr.DataTree, folder: Path) -> None:
    """Write the first part. Zarr hands each of its many small writes to another thread, unless they go to memory."""
    small = part.nbytes <= IN_MEMORY
    files: dict[str, Any] = {}
    where = MemoryStore(files) if small else folder
    part.to_zarr(where, mode="w", consolidated=False, zarr_format=3, encoding=_in_one_chunk(part))
    if small and folder.exists():
        shutil.rmtree(folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.to_bytes())


def _in_one_chunk(tree: xr.DataTree) -> dict[str, dict[str, Any]]:
    """The encoding by which each variable of each node is one file, as long as no part follows."""
    return {
        node.path: {str(name): {"chunks": variable.shape} for name, variable in node.data_vars.items()}
        for node in tree.subtree
    }


def _extend(root: zarr.Group, part: xr.DataTree) -> None:
    """Make the arrays of all nodes as large as they must be now, and put the part in its place."""
    sizes, starts = {}, {}
    for dim in PART_DIMS:
        coordinate = _array(root, dim)
        values = np.union1d(np.asarray(coordinate[:]), part.coords[dim].values)
        coordinate.resize(values.shape)
        coordinate[:] = values
        sizes[dim], starts[dim] = len(values), int(np.searchsorted(values, part.coords[dim].values[0]))
    for node in part.subtree:
        for name, variable in node.data_vars.items():
            array, dims = _array(root, f"{node.path}/{name}".lstrip("/")), [str(d) for d in variable.dims]
            array.resize(tuple(sizes.get(d, n) for d, n in zip(dims, variable.shape, strict=True)))
            begin = [starts.get(d, 0) for d in dims]
            array[tuple(slice(i, i + n) for i, n in zip(begin, variable.shape, strict=True))] = variable.values


def _array(root: zarr.Group, name: str) -> zarr.Array[Any]:
    found = root[name]
    assert isinstance(found, zarr.Array)
    return found
