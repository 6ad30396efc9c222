"""Results for other programs: one CSV row a run, or everything as NetCDF, a group for each node."""

from __future__ import annotations

import itertools
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lrscope.checked import checked
from lrscope.errors import LrscopeError, nearest
from lrscope.schema import FINETUNE, PRETRAIN, RUN, STATUS, TRAIN, segment
from lrscope.storage.files import disk_error, mode_of, staged
from lrscope.storage.paths import Remote

if TYPE_CHECKING:
    import xarray as xr

SUFFIXES = {"csv": ".csv", "netcdf": ".nc"}


@checked
def export_result(result: xr.DataTree, format: str, path: Path | Remote | None, folder: Path | Remote) -> Path | Remote:
    """Write `result` as `format` (csv or netcdf) to `path`, or to `folder/result.csv` or `.nc`; returns the path.

    Raises:
        LrscopeError: unknown format, NetCDF support missing, or a path that cannot be written.
    """
    if format not in SUFFIXES:
        raise LrscopeError(f"format: {format!r} is unknown: {nearest(format, SUFFIXES)}")
    target = path or folder / f"result{SUFFIXES[format]}"
    if isinstance(target, Remote):
        with tempfile.TemporaryDirectory(prefix="lrscope-") as local:
            written = export_result(result, format, Path(local, target.name), Path(local))
            assert isinstance(written, Path)
            target.write_bytes(written.read_bytes())
        return target
    mode = mode_of(target, follow=False)
    if mode is not None and stat.S_ISDIR(mode):
        raise LrscopeError(f"out: {target} is a folder: name a file such as result{SUFFIXES[format]}")
    with staged(target) as staging:
        if format == "csv":
            _write_csv(result, staging)
        else:
            _write_netcdf(result, staging)
    return target


def _write_netcdf(result: xr.DataTree, target: Path) -> None:
    """By way of a temporary folder: the library takes some names, such as those with a backslash, for others."""
    with tempfile.TemporaryDirectory(prefix="lrscope-") as folder:
        made = Path(folder) / "result.nc"
        try:
            result.to_netcdf(made)
        except (ImportError, ValueError) as error:
            raise LrscopeError(
                f"format: netcdf cannot be written ({error}): pip install 'lrscope[netcdf]', or use --format csv"
            ) from error
        except OSError as error:
            raise disk_error(error, Path(folder)) from error
        shutil.copyfile(made, target)


def _write_csv(result: xr.DataTree, target: Path) -> None:
    """One row a run of every trained segment, pre-training first and each followed by its branches: final values of every
    scalar. The columns are those of pre-training; those that tell branches apart are empty for it."""
    import csv

    from lrscope.validation import result_nodes

    nodes = [node for node in result_nodes(result) if node.kind == TRAIN]
    axes = tuple(dict.fromkeys(axis for node in (FINETUNE, *nodes) for axis in node.axes))
    last = {node.name: finals(segment(result, node.name), node.runs) for node in nodes}
    last[PRETRAIN.name]["seconds"] = result.dataset["seconds"]
    plain = sorted(str(name) for name in last[PRETRAIN.name].data_vars if name != "status")
    with open(target, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*RUN, *axes, "status", *plain, "segment"])
        for run in itertools.product(*(range(result.sizes[d]) for d in RUN)):
            for node in nodes:
                one = last[node.name].isel(dict(zip(RUN, run, strict=True)))
                for point in itertools.product(*(range(one.sizes[axis]) for axis in node.axes)):
                    values = one.isel(dict(zip(node.axes, point, strict=True)))
                    where = [values[d].item() if d in values.coords else "" for d in (*RUN, *axes)]
                    cells = [float(values[name]) if name in values else "" for name in plain]
                    writer.writerow([*where, STATUS[int(values["status"])], *cells, node.name])


def finals(node: xr.Dataset, runs: tuple[str, ...]) -> xr.Dataset:
    """The variables of a node that are one number a run, those of logging intervals at the last that is logged at its point:
    points may end at different times."""
    import numpy as np
    import xarray as xr

    logged = node["train_loss"].notnull().any(RUN)
    places = xr.DataArray(np.arange(node.sizes["epoch"]), dims="epoch")
    last = node.isel(epoch=places.where(logged, -1).max("epoch").astype(int))
    return last[[name for name in last.data_vars if set(last[name].dims) == set(runs)]]
