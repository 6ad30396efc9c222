"""What an adaptive sweep would have trained and found, played back from a finished one of the whole grid."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.mapping.gather import Evidence, gather
from lrscope.mapping.search import Seen, Wanted, next_round
from lrscope.results import NOT_TRAINED

Mask = NDArray[np.bool_]
READ = tuple(  # all that the rules look at
    prefix + name
    for prefix in ("", "finetune_", "average_", "random_")
    for name in (
        "status",
        *("train_loss", "train_accuracy", "test_loss", "test_accuracy", "validation_loss", "validation_accuracy"),
    )
)


def wanted_next(result: xr.Dataset) -> Wanted:
    """The next round of an adaptive sweep that has come so far; units are counted in C order of (data seed, seed)."""
    return next_round(seen_in(gather(result)))


def seen_in(evidence: Evidence) -> Seen:
    """What the search looks at."""
    return Seen(
        votes_LU=evidence.votes_LU,
        level_LU=evidence.level_LU,
        trained_LU=evidence.trained_LU,
        broken_LU=evidence.broken_LU,
        tuned_LU=evidence.tuned_LU,
        quality_LU=evidence.quality_LU,
        best=evidence.best,
        share=evidence.share,
    )


def run_steps(result: xr.Dataset) -> tuple[int, int]:
    """Run-steps that were trained, and those of the whole grid."""
    config = json.loads(result.attrs["config"])
    every = config.get("average_every") or round(float(result["step"][-1]) / float(result["epoch"][-1]))
    averaging = (int(result["n_average"].max()) - 1) * every if "n_average" in result.dims else 0
    steps = int(result["step"][-1])
    runs = int(result["status"].size)
    trained = int((result["status"] != NOT_TRAINED).sum())
    done, whole = trained * steps, runs * (steps + averaging)
    averaged = runs if trained == runs else 0
    if "finetune_lr" in result.dims:
        tuned = result["finetune_status"] != NOT_TRAINED
        done += int(tuned.sum()) * int(result["finetune_step"][-1])
        whole += int(tuned.size) * int(result["finetune_step"][-1])
        averaged = int(tuned.isel(finetune_lr=0).sum())
    return done + averaged * averaging, whole


def replay(full: xr.Dataset) -> tuple[xr.Dataset, tuple[Wanted, ...]]:
    """The result that the adaptive search would have left, and its rounds.

    Args:
        full: a finished sweep of the whole grid.
    """
    shape = tuple(full.sizes[d] for d in ("lr", "data_seed", "seed"))
    trained, tuned = np.zeros(shape, bool), np.zeros(shape, bool)
    rounds: list[Wanted] = []
    read = full[[name for name in READ if name in full]]
    while True:
        seen = masked(read, trained, tuned)
        done, whole = run_steps(seen)
        wanted = wanted_next(seen.assign_attrs(plan=json.dumps({"trained_share": done / whole})))
        if not wanted:
            partial = masked(full, trained, tuned)
            plan = {**json.loads(full.attrs["plan"]), "trained_share": done / whole, "rounds": len(rounds)}
            return partial.assign_attrs(plan=json.dumps(plan)), tuple(rounds)
        rounds.append(wanted)
        for mask, runs in ((trained, wanted.pretrain), (tuned, wanted.tune)):
            for k, unit in runs:
                mask[k, unit // shape[2], unit % shape[2]] = True


def masked(full: xr.Dataset, trained: Mask, tuned: Mask) -> xr.Dataset:
    """`full` with only the runs of `trained` [L, data seeds, seeds], and of them those of `tuned` fine-tuned at the lowest
    FLR and averaged."""
    where = {"": trained, "finetune": trained & tuned, "average": trained & tuned}
    kept: dict[str, Any] = {}
    for name, array in full.data_vars.items():
        if "lr" not in array.dims:
            continue
        mask = xr.DataArray(where.get(str(name).split("_")[0], trained), dims=("lr", "data_seed", "seed"))
        if "finetune_lr" in array.dims:
            mask = mask & (full["finetune_lr"] == full["finetune_lr"][0])
        fill = NOT_TRAINED if str(name).endswith("status") else -1 if name == "nonfinite_step" else np.nan
        kept[str(name)] = array.where(mask, fill).transpose(*array.dims).astype(array.dtype)
    return full.assign(kept)
