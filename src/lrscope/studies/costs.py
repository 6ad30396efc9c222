"""What a scale costs in runs and run-steps, counted from its declarations: nothing is trained, PyTorch is not imported."""

from __future__ import annotations

from dataclasses import dataclass

from lrscope.engine.segments import phases, steps_per_run
from lrscope.errors import LrscopeError, nearest
from lrscope.studies.types import Scale, StudySweep
from lrscope.tasks.builtin_sizes import TRAIN_TEST
from lrscope.tasks.patch_options import parse_patches


@dataclass(frozen=True)
class Cost:
    """`runs` trainings of pre-training, fine-tunings not counted apart; `run_steps` optimizer steps over all of them, averaging
    and fine-tuning included. Of an adaptive sweep the whole grid's: an upper bound."""

    runs: int
    run_steps: int


def cost(sweep: StudySweep) -> Cost:
    """Runs and run-steps of one sweep."""
    config = sweep.config
    runs = config.data_seeds * config.seeds * len(config.lrs)
    per_epoch = max(1, train_size(sweep) // config.batch_size)
    return Cost(runs, runs * steps_per_run(phases(config, per_epoch)))


def total(scale: Scale) -> Cost:
    """All sweeps of a scale together."""
    parts = [cost(sweep) for sweep in scale.sweeps]
    return Cost(sum(part.runs for part in parts), sum(part.run_steps for part in parts))


def train_size(sweep: StudySweep) -> int:
    """Training examples of a sweep's task, without those that its patches leave out."""
    patches = sweep.task.get("patches")
    kept = 1.0 if patches is None else parse_patches(patches).kept
    return round(kept * _drawn(sweep))


def _drawn(sweep: StudySweep) -> int:
    """Training examples before patches."""
    given = sweep.task.get("train_size")
    if given is not None:
        return int(given)
    name = str(sweep.task["data"])
    if name not in TRAIN_TEST:
        raise LrscopeError(f"sweep {sweep.name}: data set {name!r} is not known: {nearest(name, TRAIN_TEST)}")
    return TRAIN_TEST[name][0]
