"""From the chunks' arrays to the labelled result (docs/schema.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from lrscope.config import SweepConfig
from lrscope.dynamics.statistics import AVERAGE, END
from lrscope.engine.checked import RANDOM, load_chunk, load_random
from lrscope.engine.context import Context
from lrscope.engine.plan import Plan
from lrscope.engine.result_layout import Arrays, Layout, Slab, Where
from lrscope.engine.segments import Phase
from lrscope.engine.state import BRANCHED, LOGGED, run_axis
from lrscope.errors import LrscopeError

SLAB_BYTES = 64 << 20  # ours: of results in memory at once
STOPPED = 2  # a code of `status`


class Vanished(LrscopeError):
    """Finished units that are not there any more, or damaged."""


def part_of(tensors: Mapping[str, Tensor], rows: slice | Sequence[int]) -> dict[str, Tensor]:
    """The runs `rows` of a chunk's tensors."""
    found = {}
    for name, value in tensors.items():
        if value.dim() == 0:
            found[name] = value
        else:
            found[name] = value[:, rows] if run_axis(name) else value[rows]
    return found


def assemble(context: Context, plan: Plan, slab: Slab | None = None) -> xr.DataTree:
    """Read finished chunks and lay them out on the schema's dimensions: all runs, or those of a slab. Only here are
    they opened.

    Raises:
        Vanished: some are missing or damaged; all others of the slab have been looked at.
    """
    config = context.config
    slab = slab or _whole(config)
    layout = Layout(context, slab)
    if config.adaptive:  # a phase that no run went through has its arrays all the same
        for node, name, _ in layout.fitting():
            layout.slot(node, name)

    vanished: list[str] = []
    seconds = layout.slot("", "seconds")
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
        before = seconds[at] if chunk.first else 0.0
        seconds[at] = before + saved[1]["seconds"] / len(chunk.runs)
        _place(layout, tensors, at)
    seeds = slice(slab.seed - config.first_seed, slab.stop - config.first_seed)
    for data_seed in range(slab.data_seed, slab.data_stop):
        saved = load_random(context, plan, data_seed)
        if saved is None:
            vanished.append(f"{RANDOM}{data_seed:05d}")
            continue
        for name, key in (("random_train_loss", "loss"), ("random_train_accuracy", "accuracy")):
            layout.slot("", name)[data_seed - slab.data_seed] = saved[0][key].numpy()[seeds]
    if vanished:
        raise Vanished(
            f"{', '.join(vanished[:3])} vanished from {context.store.chunks} ({len(vanished)} units in all): "
            "run the same command again"
        )
    return layout.result()


def slabs(context: Context) -> list[Slab]:
    """The sweep's runs in slabs of at most `SLAB_BYTES` of results, so that a large sweep is never in memory as a whole.

    One slab if everything fits; otherwise each holds some seeds of one data seed.
    """
    config = context.config
    each = 8 * sum(math.prod(shape) for _, _, shape in Layout(context, Slab(0, 1, 0, 1)).fitting())
    if config.data_seeds * config.seeds * each <= SLAB_BYTES:
        return [_whole(config)]
    step = max(1, min(config.seeds, SLAB_BYTES // each))
    seeds = config.training_seeds
    starts = [(d, s) for d in config.draws for s in seeds[::step]]
    return [Slab(d, d + 1, s, min(s + step, seeds.stop)) for d, s in starts]


def _whole(config: SweepConfig) -> Slab:
    """All seeds."""
    return Slab(config.draws.start, config.draws.stop, config.training_seeds.start, config.training_seeds.stop)


def _place(layout: Layout, tensors: Arrays, at: Where) -> None:
    """Put one chunk's arrays in their slots. `at` indexes (lr, data_seed, seed)."""
    for index, phase in enumerate(layout.context.phases):
        key = f"{phase.kind}.{index}."
        if key + "finite_steps" not in tensors:  # not a segment of this chunk
            continue
        if phase.is_averaged:
            _place_averages(layout, phase, tensors, key, at)
        else:
            _place_trained(layout, phase, tensors, key, at)


def _place_averages(layout: Layout, phase: Phase, tensors: Arrays, key: str, at: Where) -> None:
    for j, _ in enumerate(layout.context.config.average):
        for statistic in AVERAGE:
            if statistic.is_computed(phase.kind, layout.context.traits):
                where = _where(at, [j])
                layout.slot(phase.segment, statistic.name)[where] = tensors[key + statistic.name][j]


def _place_trained(layout: Layout, phase: Phase, tensors: Arrays, key: str, at: Where) -> None:
    """A phase's outcome and statistics; those of logging intervals come as [W, R, ...]."""
    node, where = phase.segment, _where(at, layout.position(phase))
    _place_outcome(layout, phase, tensors, key, at, where)
    for statistic in (*LOGGED, *END):
        if not statistic.is_computed(phase.kind, layout.context.traits):
            continue
        values, slot = tensors[key + statistic.name], layout.slot(node, statistic.name)
        if statistic in LOGGED:
            slot[layout.times(phase, where)] = values.swapaxes(0, 1)
        else:
            slot[where] = values


def _place_outcome(layout: Layout, phase: Phase, tensors: Arrays, key: str, at: Where, where: Where) -> None:
    """What became of the runs. Those that never came to where the phase begins were stopped."""
    node, table = phase.segment, layout.table[phase.segment]
    finite = tensors[key + "finite_steps"]
    died, begun = finite < phase.steps, np.ones(len(finite), bool)
    if phase.parent is not None:
        parent = layout.context.phases[phase.parent]
        begun = layout.slot(parent.segment, "status")[_where(at, layout.position(parent))] == 0
    if key + BRANCHED in tensors:
        layout.slot(node, BRANCHED)[where] = tensors[key + BRANCHED].astype(np.int64)
        begun = tensors[key + BRANCHED] >= 0
    layout.slot(node, "status")[where] = np.where(begun, died.astype(np.int64), STOPPED)
    if "nonfinite_step" in table:
        layout.slot(node, "nonfinite_step")[where] = np.where(begun & died, finite, -1)
    if "elr" in table:
        layout.slot(node, "elr")[layout.times(phase, where)] = _total_elr(tensors, key)


def _where(at: Where, position: Sequence[int]) -> Where:
    """`at` (lr, data_seed, seed) with a place on the node's own axes behind `lr`."""
    lr, data_seed, seed = at
    return (lr, *(np.full_like(lr, k) for k in position), data_seed, seed)


def _total_elr(tensors: Arrays, key: str) -> np.ndarray[Any, Any]:
    """Total ELR [R, W] at the ends of logging intervals: the optimizer's learning rate over the squared norm of all weights.

    NaN where weights have overflowed.
    """
    norms, elrs = tensors[key + "group_norm"], tensors[key + "group_elr"]
    with np.errstate(over="ignore", invalid="ignore"):
        total: np.ndarray[Any, Any] = np.square(norms).sum(-1).T
        found: np.ndarray[Any, Any] = (elrs[..., 0] * np.square(norms[..., 0])).T / total
    return found
