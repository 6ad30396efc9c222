"""Results for other programs: one CSV row a run, or everything as NetCDF."""

from __future__ import annotations

import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrscope.checked import checked
from lrscope.errors import LrscopeError, nearest
from lrscope.results import STATUS
from lrscope.storage.files import disk_error, mode_of, staged
from lrscope.storage.paths import Remote

if TYPE_CHECKING:
    import xarray as xr

SUFFIXES = {"csv": ".csv", "netcdf": ".nc"}


@checked
def export_result(result: xr.Dataset, format: str, path: Path | Remote | None, folder: Path | Remote) -> Path | Remote:
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


def _write_netcdf(result: xr.Dataset, target: Path) -> None:
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


def _write_csv(result: xr.Dataset, target: Path) -> None:
    """One row a run and fine-tuning learning rate (empty for the pre-training itself): final values of every scalar."""
    import csv

    runs = ("lr", "data_seed", "seed")
    finals = result.isel({d: -1 for d in ("epoch", "finetune_epoch") if d in result.dims})
    plain = [str(v) for v in result.data_vars if set(finals[v].dims) == set(runs)]
    tuned = [str(v) for v in result.data_vars if set(finals[v].dims) == {*runs, "finetune_lr"}]
    shared = [v for v in plain if "finetune_" + v in tuned]
    with open(target, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*runs, "finetune_lr", "status", *(v for v in plain if v != "status")])

        def row(values: xr.Dataset, names: dict[str, str], flr: Any) -> list[Any]:
            status = STATUS[int(values[names["status"]])]
            cells = [float(values[names[v]]) if v in names else "" for v in plain if v != "status"]
            return [*(values[d].item() for d in runs), flr, status, *cells]

        for lr in range(result.sizes["lr"]):
            for data_seed in range(result.sizes["data_seed"]):
                for seed in range(result.sizes["seed"]):
                    run = finals.isel(lr=lr, data_seed=data_seed, seed=seed)
                    writer.writerow(row(run, {v: v for v in plain}, ""))
                    for k in range(result.sizes.get("finetune_lr", 0)):
                        one = run.isel(finetune_lr=k)
                        names = {v: "finetune_" + v for v in shared}
                        writer.writerow(row(one, names, one["finetune_lr"].item()))
