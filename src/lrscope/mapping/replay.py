"""What an adaptive sweep would have trained and found, played back from a finished one of the whole grid."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.mapping.gather import Evidence, gather
from lrscope.mapping.search import Seen, Wanted, next_round
from lrscope.schema import AVERAGE, AVERAGED, FINETUNE, MOMENTS, NOT_TRAINED, PRETRAIN, RUN, segment, segment_if_any

Mask = NDArray[np.bool_]
READ = (
    "status",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "validation_loss",
    "validation_accuracy",
)


def wanted_next(result: xr.DataTree) -> Wanted:
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


def run_steps(result: xr.DataTree) -> tuple[int, int]:
    """Run-steps of pre-training, averages and fine-tunes that were trained, and those of the whole grid."""
    config = json.loads(result.attrs["config"])
    pretrain, averages, fine = (
        segment(result, PRETRAIN.name),
        segment_if_any(result, AVERAGE),
        segment_if_any(result, FINETUNE),
    )
    every = config.get("average_every") or round(float(pretrain["step"][-1]) / float(pretrain["epoch"][-1]))
    averaging = 0 if averages is None else (int(averages["n_average"].max()) - 1) * every
    steps = int(pretrain["step"][-1])
    runs = int(pretrain["status"].size)
    trained = int((pretrain["status"] != NOT_TRAINED).sum())
    done, whole = trained * steps, runs * (steps + averaging)
    averaged = runs if trained == runs else 0
    if fine is not None:
        tuned = fine["status"] != NOT_TRAINED
        done += int(tuned.sum()) * int(fine["step"][-1])
        whole += int(tuned.size) * int(fine["step"][-1])
        averaged = int(tuned.isel(finetune_lr=0).sum())
    return done + averaged * averaging, whole


def replay(full: xr.DataTree) -> tuple[xr.DataTree, tuple[Wanted, ...]]:
    """The result that the adaptive search would have left, and its rounds.

    Args:
        full: a finished sweep of the whole grid.
    """
    shape = tuple(full.sizes[d] for d in RUN)
    trained, tuned = np.zeros(shape, bool), np.zeros(shape, bool)
    rounds: list[Wanted] = []
    read = _mapped(full, _read_by_rules)
    while True:
        seen = masked(read, trained, tuned)
        done, whole = run_steps(seen)
        seen.attrs["plan"] = json.dumps({"trained_share": done / whole})
        wanted = wanted_next(seen)
        if not wanted:
            partial = masked(full, trained, tuned)
            plan = {**json.loads(full.attrs["plan"]), "trained_share": done / whole, "rounds": len(rounds)}
            partial.attrs["plan"] = json.dumps(plan)
            return partial, tuple(rounds)
        rounds.append(wanted)
        for mask, runs in ((trained, wanted.pretrain), (tuned, wanted.tune)):
            for k, unit in runs:
                mask[k, unit // shape[2], unit % shape[2]] = True


def masked(full: xr.DataTree, trained: Mask, tuned: Mask) -> xr.DataTree:
    """`full` with only the runs of `trained` [L, data seeds, seeds], and of them those of `tuned` fine-tuned at the lowest
    FLR and averaged. Branches follow what they leave."""

    def part(name: str, node: xr.Dataset) -> xr.Dataset:
        later = node.attrs.get("kind") == AVERAGED or set(FINETUNE.axes) <= set(node.dims)
        runs = trained & tuned if later else trained
        of_runs = {str(n): array for n, array in node.data_vars.items() if "lr" in array.dims}
        return node.assign({n: _masked(array, n, runs) for n, array in of_runs.items()})

    return _mapped(full, part)


def _masked(array: xr.DataArray, name: str, runs: Mask) -> xr.DataArray:
    """The array without what was not trained: all but `runs` [L, data seeds, seeds], at the lowest FLR."""
    mask = xr.DataArray(runs, dims=RUN)
    if "finetune_lr" in array.dims:
        mask = mask & (array["finetune_lr"] == array["finetune_lr"][0])
    fill = NOT_TRAINED if name == "status" else -1 if name in MOMENTS else np.nan
    return array.where(mask, fill).transpose(*array.dims).astype(array.dtype)


def _read_by_rules(name: str, node: xr.Dataset) -> xr.Dataset:
    """What the rules look at in a node; in the root what is random."""
    return node[[n for n in node.data_vars if n in READ or not name]]


def _mapped(tree: xr.DataTree, change: Callable[[str, xr.Dataset], xr.Dataset]) -> xr.DataTree:
    """The tree of what `change` makes of each node, called with its name (the root's is empty)."""
    nodes = {node.path: change(node.path.lstrip("/"), node.to_dataset(inherit=False)) for node in tree.subtree}
    return xr.DataTree.from_dict(nodes)
