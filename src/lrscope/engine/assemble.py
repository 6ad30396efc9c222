"""From the chunks' arrays to the labelled result (docs/schema.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from lrscope.dynamics.statistics import AVERAGE, END, Statistic
from lrscope.engine.checked import RANDOM, load_chunk, load_random
from lrscope.engine.context import Context
from lrscope.engine.plan import Plan
from lrscope.engine.segments import Phase
from lrscope.engine.state import LOGGED, run_axis
from lrscope.errors import LrscopeError
from lrscope.results import NOT_TRAINED, RUN, VARIABLES

SLAB_BYTES = 64 << 20  # ours: of results in memory at once
Arrays = dict[str, np.ndarray[Any, Any]]


class Vanished(LrscopeError):
    """Finished units that are not there any more, or damaged."""


@dataclass(frozen=True)
class Slab:
    """Part of a sweep: data seeds data_seed .. data_stop - 1, training seeds seed .. stop - 1, all learning rates."""

    data_seed: int
    data_stop: int
    seed: int
    stop: int

    def holds(self, data_seed: int, seed: int) -> bool:
        """Is the run of these seeds in it?"""
        return self.data_seed <= data_seed < self.data_stop and self.seed <= seed < self.stop


def part_of(tensors: Mapping[str, Tensor], rows: slice | Sequence[int]) -> dict[str, Tensor]:
    """The runs `rows` of a chunk's tensors."""
    found = {}
    for name, value in tensors.items():
        if value.dim() == 0:
            found[name] = value
        else:
            found[name] = value[:, rows] if run_axis(name) else value[rows]
    return found


def assemble(context: Context, plan: Plan, slab: Slab | None = None) -> xr.Dataset:
    """Read finished chunks and lay them out on the schema's dimensions: all runs, or those of a slab. Only here are
    they opened.

    Raises:
        Vanished: some are missing or damaged; all others of the slab have been looked at.
    """
    config = context.config
    slab = slab or Slab(0, config.data_seeds, 0, config.seeds)
    coords = _coords(context, slab)
    sizes = {name: len(values) for _, (name, values) in coords.items()}
    arrays: Arrays = {}

    def slot(name: str) -> np.ndarray[Any, Any]:
        if name not in arrays:
            shape = [sizes[d] for d in VARIABLES[name].dims]
            absent: Any = NOT_TRAINED if "status" in name else -1 if name == "nonfinite_step" else np.nan
            arrays[name] = np.full(shape, absent)
        return arrays[name]

    if config.adaptive:  # a phase that no run went through has its arrays all the same
        for name, variable in VARIABLES.items():
            if set(variable.dims) <= set(sizes):
                slot(name)

    vanished: list[str] = []
    for chunk in context.each_chunk(plan):
        rows = [i for i, (seed, _) in enumerate(chunk.runs) if slab.holds(chunk.data_seed, seed)]
        if not rows:
            continue
        saved = load_chunk(context, plan, chunk)
        if saved is None:
            vanished.append(chunk.name)
            continue
        kept = saved[0] if len(rows) == len(chunk.runs) else part_of(saved[0], rows)
        tensors = {name: value.numpy() for name, value in kept.items()}
        runs = [chunk.runs[i] for i in rows]
        at = (
            np.array([config.lrs.index(lr) for _, lr in runs]),
            np.full(len(runs), chunk.data_seed - slab.data_seed),
            np.array([seed - slab.seed for seed, _ in runs]),
        )
        before = slot("seconds")[at] if chunk.first else 0.0
        slot("seconds")[at] = before + saved[1]["seconds"] / len(chunk.runs)
        _place(context, tensors, at, slot)
    for data_seed in range(slab.data_seed, slab.data_stop):
        saved = load_random(context, plan, data_seed)
        if saved is None:
            vanished.append(f"{RANDOM}{data_seed:05d}")
            continue
        for name, key in (("random_train_loss", "loss"), ("random_train_accuracy", "accuracy")):
            slot(name)[data_seed - slab.data_seed] = saved[0][key].numpy()[slab.seed : slab.stop]
    if vanished:
        raise Vanished(
            f"{', '.join(vanished[:3])} vanished from {context.store.chunks} ({len(vanished)} units in all): "
            "run the same command again"
        )
    return _dataset(context, arrays, coords)


def slabs(context: Context) -> list[Slab]:
    """The sweep's runs in slabs of at most `SLAB_BYTES` of results, so that a large sweep is never in memory as a whole.

    One slab if everything fits; otherwise each holds some seeds of one data seed.
    """
    config = context.config
    sizes = {name: len(values) for _, (name, values) in _coords(context, Slab(0, 1, 0, 1)).items()}
    known = [variable.dims for variable in VARIABLES.values() if set(variable.dims) <= set(sizes)]
    each = 8 * sum(math.prod(sizes[d] for d in dims) for dims in known)
    if config.data_seeds * config.seeds * each <= SLAB_BYTES:
        return [Slab(0, config.data_seeds, 0, config.seeds)]
    step = max(1, min(config.seeds, SLAB_BYTES // each))
    starts = [(d, s) for d in range(config.data_seeds) for s in range(0, config.seeds, step)]
    return [Slab(d, d + 1, s, min(s + step, config.seeds)) for d, s in starts]


def _coords(context: Context, slab: Slab) -> dict[str, Any]:
    config = context.config
    steps_per_epoch = len(context.task.data(0).train_x) // config.batch_size
    coords: dict[str, Any] = {
        "lr": ("lr", list(config.lrs)),
        "data_seed": ("data_seed", list(range(slab.data_seed, slab.data_stop))),
        "seed": ("seed", list(range(slab.seed, slab.stop))),
        "group": ("group", np.array(context.net.groups, dtype=object)),
        "random_point": ("random_point", list(range(config.random_points))),
    }
    for kind, epoch, step in (("pretrain", "epoch", "step"), ("finetune", "finetune_epoch", "finetune_step")):
        windows = next((p.windows for p in context.phases if p.kind == kind), None)
        if windows is not None:
            coords[epoch] = (epoch, [w / steps_per_epoch for w in windows])
            coords[step] = (epoch, list(windows))
    if config.finetune_lrs:
        coords["finetune_lr"] = ("finetune_lr", list(config.finetune_lrs))
    if config.average:
        coords["n_average"] = ("n_average", list(config.average))
    data = context.task.data(0)
    if data.feature_x is not None:
        names = np.array(data.feature_names, dtype=object) if data.feature_names else list(range(len(data.feature_x)))
        coords["feature"] = ("feature", names)
    if context.task.metrics:
        coords["metric"] = ("metric", np.array(list(context.task.metrics), dtype=object))
    if data.train_group_names:
        coords["example_group"] = ("example_group", np.array(data.train_group_names, dtype=object))
    return coords


def _place(context: Context, tensors: Arrays, at: tuple[Any, ...], slot: Any) -> None:
    """Put one chunk's arrays in their slots. `at` indexes (lr, data_seed, seed)."""
    lr, data_seed, seed = at
    for index, phase in enumerate(context.phases):
        key = f"{phase.kind}.{index}."
        if key + "finite_steps" not in tensors:  # not a segment of this chunk
            continue
        finite = tensors[key + "finite_steps"]
        if phase.kind == "pretrain":
            died = finite < phase.steps
            slot("status")[at] = died.astype(np.int64)
            slot("nonfinite_step")[at] = np.where(died, finite, -1)
            slot("elr")[at] = _total_elr(tensors, key)
            _put(context, (*LOGGED, *END), tensors, key, phase, "", at, slot)
        elif phase.kind == "finetune":
            flr = context.config.finetune_lrs.index(phase.lr or 0.0)
            where = (lr, np.full_like(lr, flr), data_seed, seed)
            unborn = slot("status")[at] != 0
            slot("finetune_status")[where] = np.where(unborn, 2, (finite < phase.steps).astype(np.int64))
            _put(context, (*LOGGED, *END), tensors, key, phase, "finetune_", where, slot)
        else:
            for j, _ in enumerate(context.config.average):
                where = (lr, np.full_like(lr, j), data_seed, seed)
                taken = {name: value[j] for name, value in tensors.items() if name.startswith(key) and value.ndim > 1}
                _put(context, AVERAGE, taken, key, phase, "average_", where, slot)


def _put(
    context: Context,
    table: Sequence[Statistic],
    tensors: Arrays,
    key: str,
    phase: Phase,
    prefix: str,
    where: tuple[Any, ...],
    slot: Any,
) -> None:
    """Put the statistics of a segment in their slots; those of logging intervals [W, R, ...] with the runs first."""
    for statistic in table:
        if statistic.is_computed(phase.kind, context.traits):
            values = tensors[key + statistic.name]
            slot(prefix + statistic.name)[where] = values.swapaxes(0, 1) if statistic in LOGGED else values


def _total_elr(tensors: Arrays, key: str) -> np.ndarray[Any, Any]:
    """Total ELR [R, W] at the ends of logging intervals: the optimizer's learning rate over the squared norm of all weights."""
    norms, elrs = tensors[key + "group_norm"], tensors[key + "group_elr"]
    total: np.ndarray[Any, Any] = np.square(norms).sum(-1).T
    found: np.ndarray[Any, Any] = (elrs[..., 0] * np.square(norms[..., 0])).T / total
    return found


def _dataset(context: Context, arrays: Arrays, coords: dict[str, Any]) -> xr.Dataset:
    """Name, describe and filter the variables by what the task has."""
    data = {
        name: (VARIABLES[name].dims, values, {"units": VARIABLES[name].unit, "long_name": VARIABLES[name].meaning})
        for name, values in arrays.items()
        if VARIABLES[name].belongs(context.traits)
    }
    result = xr.Dataset(data, coords)
    assert set(RUN) <= set(map(str, result.dims))
    return result
