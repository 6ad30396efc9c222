"""Computing a sweep's units: which are left, and who computes them, this process, local ones or Ray's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lrscope.engine.checked import load_checkpoint, load_unit
from lrscope.engine.choose import default_jobs
from lrscope.engine.context import Context
from lrscope.engine.dispatch import run_here, run_processes, single_threaded, start_autograd
from lrscope.engine.plan import Plan
from lrscope.engine.progress import Progress
from lrscope.engine.replan import Replanner
from lrscope.engine.segments import steps_per_run
from lrscope.engine.tick import Tick
from lrscope.errors import LrscopeError
from lrscope.storage.paths import is_of_this_process


@contextmanager
def workers(context: Context) -> Iterator[int]:
    """Yields how many units can be computed at a time."""
    if context.engine.on == "ray":
        from lrscope.engine.on_ray import cluster

        if is_of_this_process(context.store.folder):
            raise LrscopeError(
                f"out: {context.store.folder} lies in this process's memory, where Ray's workers do not see it: use a folder "
                "or a URL that all nodes reach, or --on local"
            )

        start_autograd()  # as `default_jobs` does: the plan is timed here
        with cluster(context.engine.jobs, context.device.type) as slots:
            yield slots
    else:
        yield default_jobs(context)


def train_units(context: Context, plan: Plan, jobs: int, reporter: Progress, alive: Callable[[], None]) -> Plan:
    """Compute every unit that is not in the store yet; returns the plan in force at the end.

    Args:
        context: the sweep; of an adaptive one the rounds so far.
        plan: followed, and cut into smaller chunks where memory runs out or fewer runs a chunk are asked for.
        jobs: units computed at a time.
        reporter: hears of progress.
        alive: called often; raises if the folder's lock was lost.
    """
    replanner = Replanner(context, plan)
    done = _done(context, plan)
    if context.engine.chunk is not None and context.engine.chunk < plan.chunk:
        replanner.shrink([u for u in context.each_unit(plan) if u not in done], context.engine.chunk)
        plan = replanner.plan
    _forget_stale(context, plan, done)
    todo = sum(1 for unit in context.each_unit(plan) if unit not in done)
    if not todo:
        return plan
    ray = context.engine.on == "ray"
    with single_threaded(context.device):
        if not ray or (plan.fused and plan.generated is None):  # Ray's workers inherit nothing
            replanner.settle(*context.warm(plan))
            plan = replanner.plan
    reporter.begin(*_amount(context, plan, done))

    def work(unit: str, tick: Any, stopping: Any) -> None:
        context.run_unit(replanner.plan, unit, tick, stopping)

    def tick(news: Tick) -> None:
        reporter.tick(news)
        alive()

    units = (u for u in context.each_unit(plan) if u not in done)
    try:
        with single_threaded(context.device):
            if ray:
                from lrscope.engine.on_ray import run_on_ray
                from lrscope.engine.ray_job import SweepJob

                run_on_ray(units, SweepJob.of(context, plan), tick, lambda unit: alive(), jobs, context.device.type)
            elif jobs == 1:
                run_here(units, work, tick, replanner.split)
            else:
                run_processes(units, work, tick, replanner.split, jobs)
    finally:
        reporter.end()
    return replanner.plan


def _done(context: Context, plan: Plan) -> set[str]:
    """Units with a result, known by a listing. An adaptive sweep's are opened: later rounds go on from them."""
    done, _ = context.store.units()
    if context.parts is None:
        return done
    return {unit for unit in context.each_unit(plan) if unit in done and load_unit(context, plan, unit) is not None}


def _forget_stale(context: Context, plan: Plan, done: set[str]) -> None:
    """Remove checkpoints that no unit to do goes on from: what a kill between two steps of a re-plan left. Those of
    an adaptive sweep's later rounds stay."""
    _, begun = context.store.units()
    if not begun:
        return
    rounds = {_round(chunk.name) for chunk in context.parts or ()}
    wanted = {unit for unit in context.each_unit(plan) if unit in begun and unit not in done}
    for unit in begun - wanted:
        if context.parts is None or _round(unit) in rounds:
            context.store.forget_checkpoint(unit)


def _round(unit: str) -> str:
    return unit.partition("-")[0]


def _amount(context: Context, plan: Plan, done: set[str]) -> tuple[int, int, int]:
    """Runs, their run-steps, and how many of these are trained."""
    whole = trained = 0
    _, begun = context.store.units()
    for chunk in context.each_chunk(plan):
        length = len(chunk.runs) * steps_per_run(context.phases[chunk.first : chunk.stop])
        whole += length
        if chunk.name in done:
            trained += length
        elif chunk.name in begun and (saved := load_checkpoint(context, plan, chunk)) is not None:
            cursor = saved[1]["cursor"]
            steps = steps_per_run(context.phases[chunk.first : cursor["phase"]]) + cursor["step"]
            trained += steps * len(chunk.runs)
    config = context.config
    runs = len(config.lrs) * config.seeds * config.data_seeds
    if context.parts is not None:
        runs = len({(c.data_seed, *run) for c in context.parts for run in c.runs})
    return runs, whole, trained
