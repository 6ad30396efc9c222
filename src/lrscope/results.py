"""Saving and opening results (docs/schema.md): a tree of labelled arrays in a Zarr folder that is either whole or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from lrscope import version1
from lrscope.checked import checked
from lrscope.errors import LrscopeError, shown
from lrscope.schema import AVERAGED
from lrscope.storage.checksums import KEY as CHECKSUMS
from lrscope.storage.checksums import seal, verify
from lrscope.storage.files import disk_error, read_error, read_json
from lrscope.storage.paths import Remote, exists, names, place
from lrscope.storage.plain_zarr import ROOT as ROOT_FILE
from lrscope.storage.plain_zarr import check_sizes, groups_in, refuse_foreign
from lrscope.storage.records import EXPERIMENT_FILE, PLAN_FILE
from lrscope.storage.zarr_parts import write_parts
from lrscope.validation import LARGEST_LOADED, check_version, cleaned, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

RESULTS_FOLDER = "results.zarr"


def has_result(folder: Path | Remote) -> bool:
    """Does the folder hold a whole `results.zarr`? On an object store its root comes last."""
    target = folder / RESULTS_FOLDER
    return exists(target / ROOT_FILE if isinstance(target, Remote) else target)


def save_result(
    result: xr.DataTree | Iterable[xr.DataTree],
    folder: Path | Remote,
    attributes: Callable[[], dict[str, Any]] | None = None,
) -> Path | Remote:
    """Validate, then write `folder/results.zarr` so that it is either whole or absent.

    Args:
        result: the whole, or parts of it in increasing order of (data_seed, seed); only one of them is in memory at a time.
        folder: where it goes.
        attributes: asked for when all parts are written, for a result in parts.
    """
    if isinstance(result, xr.DataTree):
        validate(result)
    if isinstance(folder, Remote):
        with tempfile.TemporaryDirectory(prefix="lrscope-") as local:
            written = save_result(result, Path(local), attributes)
            assert isinstance(written, Path)
            files = {p.relative_to(written).as_posix(): p.read_bytes() for p in written.rglob("*") if p.is_file()}
        remote = folder / RESULTS_FOLDER
        remote.write_files(files, last=ROOT_FILE)
        return remote
    target, staging = folder / RESULTS_FOLDER, folder / (RESULTS_FOLDER + ".writing")
    if staging.exists():
        shutil.rmtree(staging)
    try:
        write_parts([result] if isinstance(result, xr.DataTree) else result, staging, attributes)
        validate(_opened(staging))
        seal(staging)
        if target.exists():
            shutil.rmtree(target)
        os.replace(staging, target)
    except OSError as error:
        raise disk_error(error, folder) from error
    return target


def result_folder(path: str | os.PathLike[str] | Remote) -> Path | Remote:
    """The folder of a result from what a user wrote: the folder, or its `results.zarr`, which holds nothing else."""
    folder = place(path)
    return folder.parent if folder.name == RESULTS_FOLDER else folder


@checked
def open_result(path: str | os.PathLike[str] | Remote) -> xr.DataTree:
    """Open a result folder (or its `results.zarr`), local or an fsspec URL, validated; a local one beyond 1 GiB stays on disk.

    Runs no code from it. One of schema version 1 comes as the same tree.

    Raises:
        Damaged: its bytes are not those that were written (checksums); the message names the variables.
        LrscopeError: no result, a newer one, or one that holds what lrscope never writes.
    """
    folder = result_folder(path)
    if not exists(folder):
        raise LrscopeError(f"result folder {folder} does not exist: create it with lrscope map --out {folder}")
    zarr = folder / RESULTS_FOLDER
    if not isinstance(zarr, Remote) and exists(zarr) and not zarr.is_dir():
        raise LrscopeError(
            f"{zarr} is not a folder, so it holds no result: move it away and run the same command again"
        )
    if not has_result(folder):
        there = names(folder)
        if PLAN_FILE in there or EXPERIMENT_FILE in there:
            done = sum(n[0].isdigit() and n.endswith(".done.safetensors") for n in names(folder / "chunks"))
            raise LrscopeError(
                f"result folder {folder} is half written ({done} chunks finished): "
                "run the same lrscope map command again, it continues where it stopped"
            )
        raise LrscopeError(f"{folder} is no result folder of lrscope: name one made by lrscope map --out")
    if isinstance(zarr, Remote):
        with tempfile.TemporaryDirectory(prefix="lrscope-") as copy:
            _fetch(zarr, Path(copy))
            result = _read(Path(copy), zarr)
    else:
        result = _read(zarr, zarr)
    result.attrs.pop(CHECKSUMS, None)
    validate(result)
    return cleaned(result)


def _fetch(zarr: Remote, folder: Path) -> None:
    """Copy a result from an object store into a local folder."""
    for name, data in zarr.files().items():
        path = folder / name
        if ".." in path.parts or not path.is_relative_to(folder):  # object stores allow any name
            raise LrscopeError(f"result {zarr} holds an object named {name!r}: it was not made by lrscope")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise disk_error(error, folder) from error


def _read(folder: Path, zarr: Path | Remote) -> xr.DataTree:
    """The arrays of a local Zarr folder, once it has been looked through and compared with its checksums; messages name
    `zarr`, where it came from."""
    try:
        refuse_foreign(folder, zarr)
        check_version(_stated_version(folder))
        verify(folder, zarr)
        check_sizes(folder, zarr)
    except OSError as error:
        raise read_error(error, zarr) from error
    try:
        found = _opened(folder)
        if isinstance(zarr, Remote) or found.nbytes <= LARGEST_LOADED:  # a remote one's copy goes away
            found = found.load()
    except Exception as error:  # zarr raises many types for a damaged store; all mean the same to the user
        raise LrscopeError(
            f"result {zarr} cannot be read ({type(error).__name__}: {shown(str(error))}): "
            "delete results.zarr and run the same lrscope map command again"
        ) from error
    return found


def _opened(folder: Path) -> xr.DataTree:
    """The tree in a local Zarr folder, nothing loaded; parents come before their branches."""
    root = _plain_text(xr.open_zarr(folder, consolidated=False, zarr_format=3))
    if root.attrs.get("schema_version") == version1.VERSION:
        return version1.as_tree(root)
    nodes = {
        name: _plain_text(xr.open_zarr(folder, group=name, consolidated=False, zarr_format=3))
        for name in groups_in(folder)
    }
    parents = {name: str(node.attrs.get("parent", "")) for name, node in nodes.items()}
    order = sorted(nodes, key=lambda name: (_depth(name, parents), nodes[name].attrs.get("kind") != AVERAGED, name))
    return xr.DataTree.from_dict({"/": root, **{"/" + name: nodes[name] for name in order}})


def _depth(name: str, parents: Mapping[str, str]) -> int:
    """How many nodes stand above one; no more than there are, where they go round in circles."""
    depth = 0
    while (name := parents.get(name, "")) and depth < len(parents):
        depth += 1
    return depth


def _plain_text(dataset: xr.Dataset) -> xr.Dataset:
    """Texts as Python's own: Zarr's of variable length come back in a type that NetCDF cannot write."""
    return dataset.assign_coords({n: c.astype(object) for n, c in dataset.coords.items() if c.dtype.kind in "TU"})


def _stated_version(zarr: Path) -> object:
    """The schema's version as the metadata states it, before anything else of a newer result is looked at."""
    try:
        return read_json(zarr / ROOT_FILE)["attributes"]["schema_version"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # damaged or none at all: found out later
        return None
