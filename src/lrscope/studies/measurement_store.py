"""Measurements on disk: one Zarr folder each, sealed with checksums, known by what its arrays were computed from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from lrscope.config import digest
from lrscope.errors import LrscopeError
from lrscope.storage.checksums import KEY as CHECKSUMS
from lrscope.storage.checksums import seal, verify
from lrscope.storage.files import disk_error
from lrscope.storage.plain_zarr import check_sizes, refuse_foreign
from lrscope.studies.source_hash import source_hash
from lrscope.studies.types import Measurement
from lrscope.terminal import warn

RECORD = "lrscope_measurement"


@dataclass(frozen=True)
class StoredMeasurement:
    """A measurement's arrays and how they came about: wall seconds, ISO 8601 UTC when computing began. `reason`: why there are
    none, because what it speaks of does not show; empty where there are."""

    arrays: xr.Dataset
    identity: str
    seconds: float
    created: str
    reason: str = ""


def code_of(measurement: Measurement) -> list[Any]:
    """What a measurement is computed by: its function's code (`source_hash`) and bound arguments."""
    from lrscope.studies.held_values import bound

    return [measurement.name, source_hash(measurement.run), bound(measurement.run)]


def identity(codes: Sequence[list[Any]], hashes: Mapping[str, str], first_seed: int = 0) -> str:
    """What determines the arrays: the measurement's code and that of those that it rests on (`code_of`), the `config_hash` of
    every sweep below them, and where the scale's seeds begin if that is not at 0."""
    return digest([codes, sorted(hashes.items()), *([first_seed] if first_seed else [])])


def write(folder: Path, stored: StoredMeasurement) -> None:
    """Put a measurement where it is stored, so that it is whole or absent."""
    staging = folder.with_name(folder.name + ".writing")
    record = {name: getattr(stored, name) for name in ("identity", "seconds", "created", "reason")}
    arrays = stored.arrays.drop_encoding().assign_attrs({RECORD: json.dumps(record)})
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if staging.exists():
            shutil.rmtree(staging)
        _plain_text(arrays).to_zarr(staging, mode="w", consolidated=False, zarr_format=3)
        seal(staging)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(staging, folder)
    except OSError as error:
        raise disk_error(error, folder.parent) from error


def read(folder: Path) -> StoredMeasurement | None:
    """The measurement that lies there; None if there is none or, with a warning, if it is damaged."""
    if not folder.exists():
        return None
    try:
        refuse_foreign(folder)
        verify(folder)
        check_sizes(folder, folder)
        arrays = xr.open_zarr(folder, consolidated=False, zarr_format=3).load()
        record = json.loads(arrays.attrs.pop(RECORD))
        arrays.attrs.pop(CHECKSUMS, None)
        named = {name: record[name] for name in ("identity", "seconds", "created")}
        return StoredMeasurement(_plain_text(arrays), **named, reason=record.get("reason", ""))
    except (LrscopeError, ValueError, KeyError):
        warn(f"measurement {folder} is damaged; it is computed again")
        return None


def _plain_text(arrays: xr.Dataset) -> xr.Dataset:
    """Text as objects: Zarr's other types of text are not settled yet."""
    texts = [name for name, variable in arrays.variables.items() if variable.dtype.kind in "UT"]
    return arrays.assign(
        {name: arrays[name].astype(object) for name in texts if name in arrays.data_vars}
    ).assign_coords({name: arrays[name].astype(object) for name in texts if name in arrays.coords})
