"""The results' contract in executable form: schema, validation, saving and opening (docs/schema.md)."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from lrscope.checked import checked
from lrscope.dynamics.statistics import AVERAGE, END, INTERVAL, STEP
from lrscope.errors import LrscopeError, shown
from lrscope.storage.checksums import KEY as CHECKSUMS
from lrscope.storage.checksums import seal, verify
from lrscope.storage.files import disk_error, read_error, read_json
from lrscope.storage.paths import Remote, exists, names, place
from lrscope.storage.plain_zarr import ROOT as ROOT_FILE
from lrscope.storage.plain_zarr import check_sizes, refuse_foreign
from lrscope.storage.records import EXPERIMENT_FILE, PLAN_FILE
from lrscope.storage.zarr_parts import write_parts
from lrscope.validation import attribute_json, check_attributes, check_coordinates, check_variables, cleaned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

SCHEMA_VERSION = 1
RESULTS_FOLDER = "results.zarr"

STATUS = {0: "finished", 1: "non-finite", 2: "stopped", 3: "failed", 4: "not trained"}
NOT_TRAINED = 4
STATUS_REMEDY = {
    "finished": "nothing to do",
    "non-finite": "the loss, a gradient or the weights overflowed: use a smaller learning rate, or train on the sphere",
    "stopped": "the run did not reach its end (its pre-training failed, or a user stopped it): see its status before",
    "not trained": "an adaptive sweep did not need the run for its answer: train the whole grid without --adaptive to see it",
    "failed": "the program failed in this run: run the same command again",
}

RUN = ("lr", "data_seed", "seed")
LARGEST_LOADED = 1 << 30  # ours, bytes: a larger result stays on disk until its variables are used
FINETUNE = ("lr", "finetune_lr", "data_seed", "seed")
AVERAGED = ("lr", "n_average", "data_seed", "seed")
DIMENSIONS = (
    "lr",
    "data_seed",
    "seed",
    "epoch",
    "group",
    "finetune_lr",
    "finetune_epoch",
    "n_average",
    "random_point",
    "feature",
    "example_group",
    "metric",
)
INCREASING = ("lr", "epoch", "finetune_lr", "finetune_epoch", "n_average")


@dataclass(frozen=True)
class Variable:
    """One row of the schema: named dimensions, unit, meaning; `when` says which tasks have it: those with all its traits."""

    dims: tuple[str, ...]
    unit: str
    meaning: str
    when: str = (
        "always"  # always | classification, invariant, features, example_groups, true_labels, validation, metrics
    )

    def belongs(self, traits: AbstractSet[str]) -> bool:
        """Does a result with these traits (and always) hold it?"""
        return set(self.when.split()) <= traits


_SEGMENTS = {  # of each kind: how its variables' names begin, the dimensions of its runs, and what is added to the meaning
    "pretrain": ("", RUN, ""),
    "finetune": ("finetune_", FINETUNE, ", fine-tuning"),
    "average": ("average_", AVERAGED, " of the averaged weights"),
}


def _table() -> dict[str, Variable]:
    table = {
        "status": Variable(RUN, "-", "what the program did with the run: " + str(STATUS)),
        "nonfinite_step": Variable(RUN, "step", "first pre-training step that was not finite, -1 if none"),
        "seconds": Variable(RUN, "s", "wall time of the run's chunk divided by the runs in it"),
        "elr": Variable(
            (*RUN, "epoch"), "1", "total effective learning rate at the end of the logging interval", "invariant"
        ),
        "finetune_status": Variable(FINETUNE, "-", "status of the fine-tuning run"),
        "random_train_loss": Variable(("data_seed", "seed", "random_point"), "nat", "training loss at random points"),
        "random_train_accuracy": Variable(
            ("data_seed", "seed", "random_point"), "1", "training accuracy at random points", "classification"
        ),
    }
    for statistic in (*STEP, *INTERVAL, *END, *AVERAGE):
        time = () if statistic in (*END, *AVERAGE) else ("epoch",)
        for kind in set(statistic.segments) & set(_SEGMENTS):
            prefix, run, words = _SEGMENTS[kind]
            dims = (*run, *(prefix + t for t in time), *statistic.dims)
            table[prefix + statistic.name] = Variable(dims, statistic.unit, statistic.meaning + words, statistic.needs)
    return table


VARIABLES: Mapping[str, Variable] = _table()

ATTRIBUTES = (
    "schema_version",
    "title",
    "task",
    "config",
    "config_hash",
    "plan",
    "space",
    "scale_invariant",
    "device",
    "machine",
    "versions",
    "code_hash",
    "created",
    "seconds",
    "command",
)


def has_validation(task: Mapping[str, Any]) -> bool:
    """Does a result with this `task` attribute hold validation metrics? Results of earlier versions say nothing of them."""
    validation = task.get("validation")
    return isinstance(validation, dict) and validation.get("size", 0) != 0


def expected_variables(result: xr.Dataset) -> set[str]:
    """Names of the variables that a result with these dimensions and attributes must hold."""
    traits, task = {"always"}, attribute_json(result, "task")
    if task.get("kind") == "classification":
        traits.add("classification")
    if "example_group" in result.dims:
        traits |= {"example_groups", *(["true_labels"] if task.get("true_labels") else [])}
    if has_validation(task):
        traits.add("validation")
    if int(result.attrs["scale_invariant"]):
        traits.add("invariant")
    if "feature" in result.dims:
        traits.add("features")
    if "metric" in result.dims:
        traits.add("metrics")
    return {
        name
        for name, variable in VARIABLES.items()
        if variable.belongs(traits)
        and not (name.startswith("finetune_") and "finetune_lr" not in result.dims)
        and not (name.startswith("average_") and "n_average" not in result.dims)
    }


def validate(result: xr.Dataset) -> None:
    """Raise `LrscopeError` for the first rule of docs/schema.md that the result breaks."""
    version = result.attrs.get("schema_version")
    if version is None:
        raise LrscopeError("attribute 'schema_version' is missing: this is not a result of lrscope sweep or map")
    _check_version(version)
    for name in ATTRIBUTES:
        if name not in result.attrs:
            raise LrscopeError(f"attribute {name!r} is missing from the result: run the sweep again")
    check_attributes(result)
    for dim in result.dims:
        if dim not in DIMENSIONS:
            raise LrscopeError(f"dimension {dim!r} is not in the schema: use one of {', '.join(DIMENSIONS)}")
        if dim not in result.coords:
            raise LrscopeError(f"dimension {dim!r} has no coordinate: give it one")
    check_coordinates(result)
    for dim in INCREASING:
        if dim in result.coords and not bool(np.all(np.diff(result[dim].values) > 0)):
            raise LrscopeError(f"coordinate {dim!r} is not increasing: sort it")
    for dim in ("feature", "metric"):
        if dim in result.coords and len(set(result[dim].values.tolist())) < result.sizes[dim]:
            raise LrscopeError(f"coordinate {dim!r} holds a name twice: give each one of its own")
    expected = expected_variables(result)
    for name in sorted(expected - set(map(str, result.data_vars))):
        raise LrscopeError(f"variable {name!r} is missing from the result: run the sweep again")
    for name in map(str, result.data_vars):
        if name not in VARIABLES:
            raise LrscopeError(f"variable {name!r} is not in the schema: remove or rename it")
        if result[name].dims != VARIABLES[name].dims:
            raise LrscopeError(
                f"variable {name!r} has dimensions {result[name].dims}, the schema says {VARIABLES[name].dims}: "
                "transpose it"
            )
    check_variables(result, STATUS, values=result.nbytes <= LARGEST_LOADED)


def _check_version(version: object) -> None:
    if isinstance(version, (int, float)) and version > SCHEMA_VERSION:
        raise LrscopeError(
            f"schema_version {shown(version)} is newer than the {SCHEMA_VERSION} this lrscope reads: "
            "update lrscope (pip install --upgrade lrscope)"
        )


def has_result(folder: Path | Remote) -> bool:
    """Does the folder hold a whole `results.zarr`? On an object store its root comes last."""
    target = folder / RESULTS_FOLDER
    return exists(target / ROOT_FILE if isinstance(target, Remote) else target)


def save_result(
    result: xr.Dataset | Iterable[xr.Dataset],
    folder: Path | Remote,
    attributes: Callable[[], dict[str, Any]] | None = None,
) -> Path | Remote:
    """Validate, then write `folder/results.zarr` so that it is either whole or absent.

    Args:
        result: the whole, or parts of it in increasing order of (data_seed, seed); only one of them is in memory at a time.
        folder: where it goes.
        attributes: asked for when all parts are written, for a result in parts.
    """
    if isinstance(result, xr.Dataset):
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
        write_parts([result] if isinstance(result, xr.Dataset) else result, staging, attributes)
        validate(xr.open_zarr(staging, consolidated=False, zarr_format=3))
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
def open_result(path: str | os.PathLike[str] | Remote) -> xr.Dataset:
    """Open a result folder (or its `results.zarr`), local or an fsspec URL, validated; a local one beyond 1 GiB stays on disk.

    Runs no code from it.

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
    words = {d: result[d].astype(object) for d in ("group", "example_group", "metric") if d in result.coords}
    if "feature" in result.coords and result["feature"].dtype.kind not in "iu":  # names, not numbers
        words["feature"] = result["feature"].astype(object)
    result = result.assign_coords(words)  # Zarr's variable-length strings come back in a type that NetCDF cannot write
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


def _read(folder: Path, zarr: Path | Remote) -> xr.Dataset:
    """The arrays of a local Zarr folder, once it has been looked through and compared with its checksums; messages name
    `zarr`, where it came from."""
    try:
        refuse_foreign(folder, zarr)
        _check_version(_stated_version(folder))
        verify(folder, zarr)
        check_sizes(folder, zarr)
    except OSError as error:
        raise read_error(error, zarr) from error
    try:
        found: xr.Dataset = xr.open_zarr(folder, consolidated=False, zarr_format=3)
        if isinstance(zarr, Remote) or found.nbytes <= LARGEST_LOADED:  # a remote one's copy goes away
            found = found.load()
    except Exception as error:  # zarr raises many types for a damaged store; all mean the same to the user
        raise LrscopeError(
            f"result {zarr} cannot be read ({type(error).__name__}: {shown(str(error))}): "
            "delete results.zarr and run the same lrscope map command again"
        ) from error
    return found


def _stated_version(zarr: Path) -> object:
    """The schema's version as the metadata states it, before anything else of a newer result is looked at."""
    try:
        return read_json(zarr / ROOT_FILE)["attributes"]["schema_version"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # damaged or none at all: found out later
        return None
