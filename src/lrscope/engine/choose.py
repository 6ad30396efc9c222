"""Choosing the plan: time a few real steps of each way, predict the whole sweep, take the fastest."""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from lrscope.engine.backends.cpp.compiler import makes_libraries
from lrscope.engine.backends.cpp.values import NotFusible
from lrscope.engine.backends.inductor import NotCompiled
from lrscope.engine.context import Context
from lrscope.engine.dispatch import (
    autograd_survives_fork,
    can_fork,
    needing_memory,
    out_of_memory,
    single_threaded,
    start_autograd,
)
from lrscope.engine.memory_limits import check_memory, machine_memory
from lrscope.engine.memory_need import memory, smaller_points
from lrscope.engine.plan import Plan, chunk_at, count_chunks, unroll
from lrscope.engine.rehearsal import rehearse_batched
from lrscope.engine.segments import steps_per_run
from lrscope.errors import LrscopeError, first_line
from lrscope.storage.paths import is_of_this_process
from lrscope.terminal import warn

SIZES = (8, 24, 64, 128, 256)  # ours: powers apart; chunks beyond the L2 cache gain nothing
COMPILE_PAYS_AFTER = 120.0  # ours, seconds of predicted eager training: TorchInductor takes 10 to 30 s
COMPILE_PAYS_BELOW = 0.02  # ours, seconds a step on a CPU: longer ones are kernels, not calls
FUSED_PAYS_AFTER = 15.0  # ours, the same: generated steps take 2 to 5 s
IMAGES_PAY_AFTER = 60.0  # ours, the same: those with convolutions take 5 to 20 s, and evaluation as long again
FUSED_STEPS = 32  # ours: steps a call, so that calls cost nothing and stopping still takes milliseconds
CACHED_RUNS = 48  # ours: evaluation of 48 ticks networks fits 2 MiB of L2 cache
DRAWS = "the network draws noise in training"  # with which TorchInductor has not been tried
DRAWN_NOISE = (
    "this model draws noise in training by other functions than dropout, rand_like and the like, which are drawn for many runs "
    "at once; it trains one run at a time"
)
DRAWN_EXAMPLES = (
    "the training examples draw at random as they are fetched (a transform, the data set or the collate_fn): each run draws its "
    "own in every step, and runs train one at a time"
)
PROBE_SECONDS = 0.08  # ours: the shortest of several calls settles by then
PROBE_STEPS = 4  # ours: steps a timed call, where one alone is shorter than the probe
PROBE_MOST = 3.0  # ours, seconds: a batch whose two steps take longer is kernels, not calls, and gains nothing


def default_jobs(context: Context) -> int:
    """Processes to use: one per CPU core where work is on the CPU and can be forked, else one."""
    start_autograd()  # before anything is traced, so that later sweeps of this program can fork
    asked = context.engine.jobs
    if context.device.type != "cpu" or asked == 1:
        return 1
    if alone := _only_this_process(context):
        if asked is not None:
            warn(f"jobs: {asked} processes were asked for and one trains, because {alone}")
        return 1
    if not can_fork():
        if asked is not None:
            raise LrscopeError(f"jobs: {asked} processes need fork, which this system lacks: use --jobs 1")
        return 1
    if not autograd_survives_fork():
        warn(
            "PyTorch's autograd already runs threads in this program (a GPU or torch.compile was used before), so no "
            "processes can be forked: training in this one. Start a fresh Python to use all cores",
        )
        return 1
    if asked is not None:
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _only_this_process(context: Context) -> str:
    """Why no other process can help; empty if any can."""
    if is_of_this_process(context.store.folder):
        return f"{context.store.folder} lies in this process's memory, where no other sees it"
    if multiprocessing.current_process().daemon:
        return "this is itself a worker of a multiprocessing pool (a daemon), which may start none"
    return ""


@needing_memory("in the first steps", "a smaller --chunk, fewer --jobs or a smaller --batch-size")
def choose_plan(context: Context, jobs: int, *, predicting: bool = False) -> Plan:
    """The fastest plan by measurement, within what the engine config fixes. A plan that is fixed altogether is
    tried, and timed only for a prediction."""
    engine, config = context.engine, context.config
    if alone := context.one_at_a_time:
        if engine.path == "batched":
            raise LrscopeError(f"path: batched runs are trained together, but {alone}: use path single")
        if engine.chunk not in (None, 1):
            raise LrscopeError(f"chunk: {engine.chunk} runs are trained together, but {alone}: leave it out")
        if engine.compile:
            raise LrscopeError(f"compile: training steps cannot be compiled here, because {alone}: leave it out")
        if context.net.noise == "global":
            warn(DRAWN_EXAMPLES if context.task.draws_examples else DRAWN_NOISE)
        return _timed(context, Plan("single", 1, False, alone, 0.0))
    if engine.compile and context.net.draws and context.device.type != "cpu":
        raise LrscopeError(f"compile: training steps cannot be compiled here, because {DRAWS}: leave it out")
    runs = config.seeds * len(config.lrs)
    if engine.path == "single":
        plan = _timed(context, Plan("single", 1, False, "asked for", 0.0))
        return _compiled_if_it_pays(context, plan, [plan], jobs)
    asked = None
    if engine.path == "batched" and engine.chunk is not None and engine.compile is not None:
        asked = Plan("batched", min(engine.chunk, runs), False, "asked for", 0.0)
    try:
        if runs > 1:
            rehearse_batched(context)
        if asked is not None:
            asked = _with_points(context, asked, _jobs_here(context, jobs))
            check_fits(context, asked, jobs)
            plan = _timed(context, asked, PROBE_SECONDS if predicting else 0.0)
            return _compiled_if_it_pays(context, plan, [plan], jobs)
        timed = _timed_that_fit(context, _candidates(context, jobs, runs), jobs)
    except (RuntimeError, NotImplementedError, MemoryError) as error:
        if out_of_memory(error):
            raise
        if engine.path == "batched":
            raise LrscopeError(f"path: batched fails for this model ({first_line(error)}): use path single") from error
        warn(
            f"this model cannot be batched over runs ({first_line(error)}); it trains one run at a time",
        )
        return _timed(context, Plan("single", 1, False, "vmap cannot take the model", 0.0))
    best = min(timed, key=lambda plan: predict(context, plan, jobs))
    words = ", ".join(f"{p.path} {p.chunk}: {p.run_step_seconds * 1e6:.1f} us" for p in timed)
    best = replace(best, chosen=f"per run-step {words}")
    return _compiled_if_it_pays(context, best, timed, jobs)


def _timed_that_fit(context: Context, candidates: Sequence[Plan], jobs: int) -> list[Plan]:
    """The candidates with their times, from small to large as far as memory goes and steps are short enough to gain.

    Raises:
        LrscopeError: not even the smallest fits.
    """
    known, here = machine_memory(context.device), _jobs_here(context, jobs)
    candidates = [_with_points(context, p, here) for p in candidates]
    fitting = [p for p in candidates if known is None or memory(context, p, here) <= known[0]] or list(candidates[:1])
    check_fits(context, fitting[0], jobs)
    timed: list[Plan] = []
    for plan in fitting:
        if timed and 2 * plan.chunk * timed[-1].run_step_seconds > PROBE_MOST:
            break
        try:
            timed.append(_timed(context, plan))
        except Exception as error:
            if not (timed and out_of_memory(error)):
                raise
            break
    return timed


def _with_points(context: Context, plan: Plan, jobs: int) -> Plan:
    """The plan with fewer random points at a time where all of them would need more memory than is free."""
    known = machine_memory(context.device)
    return (
        plan
        if known is None
        else replace(plan, points=smaller_points(context, plan, jobs, context.resident + known[1]))
    )


def check_fits(context: Context, plan: Plan, jobs: int) -> None:
    """Refuse a plan that needs more memory than there is."""
    here = _jobs_here(context, jobs)
    check_memory(memory(context, plan, here), context.resident, context.device, chunk=plan.chunk, jobs=here)


def _jobs_here(context: Context, jobs: int) -> int:
    """Processes that share this machine's memory. Of Ray's nothing is known: one like this machine must hold a worker."""
    return 1 if context.engine.on == "ray" else jobs


def predict(context: Context, plan: Plan, jobs: int, steps: int | None = None) -> float:
    """Predicted seconds of training, without evaluation (`evaluation_time`): the busiest process's chunks, through `steps` steps
    a run (None: all)."""
    rounds = math.ceil(count_chunks(context.config, plan.chunk) / jobs)
    steps = steps_per_run(context.phases) if steps is None else steps
    return rounds * plan.chunk * steps * plan.run_step_seconds


def _candidates(context: Context, jobs: int, runs: int) -> list[Plan]:
    """Plans worth timing: the run alone, and batches of a few sizes that share the runs evenly over the processes."""
    if context.engine.chunk is not None:
        sizes = {min(context.engine.chunk, runs)}
    else:
        share = math.ceil(runs * context.config.data_seeds / jobs)
        largest = min(runs, max(1, share))
        sizes = {math.ceil(largest / math.ceil(largest / size)) for size in SIZES}
    plans = [Plan("batched", size, False, "", 0.0) for size in sorted(sizes) if size > 1]
    if context.engine.path == "auto" and not context.engine.compile:
        plans.insert(0, Plan("single", 1, False, "", 0.0))
    return plans or [Plan("single", 1, False, "", 0.0)]


def _timed(context: Context, plan: Plan, seconds: float | None = None) -> Plan:
    """The plan with its seconds per run-step, measured for `seconds`, a few steps at least."""
    seconds = PROBE_SECONDS if seconds is None else seconds
    chunk = chunk_at(context.config, plan.chunk, 0)
    with single_threaded(context.device):
        trainer, limit = context.trainer(plan, chunk), context.phases[0].steps

        def advance(steps: int) -> float:
            begun = time.perf_counter()
            trainer.advance(steps)
            if context.device.type == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - begun

        first = advance(min(plan.unroll, limit))  # compiles, if the plan says so
        long = not plan.compiled and first > PROBE_SECONDS
        stride = min(plan.unroll if long else max(plan.unroll, PROBE_STEPS), limit)
        begun, best = time.perf_counter(), math.inf
        while time.perf_counter() - begun < seconds or math.isinf(best):
            best = min(best, advance(stride) / stride)
    return replace(plan, run_step_seconds=best / len(chunk.runs))


def _compiled_if_it_pays(context: Context, best: Plan, timed: Sequence[Plan], jobs: int) -> Plan:
    """A compiled plan, if it is asked for or predicted to win back its compilation, otherwise the best eager one."""
    wanted = context.engine.compile
    predicted = predict(context, best, jobs)
    if wanted is False:
        return best
    words, found, begun = best.chosen, [], time.perf_counter()
    convolves = any(isinstance(module, nn.Conv2d) for module in context.net.module.modules())
    pays_after = IMAGES_PAY_AFTER if convolves else FUSED_PAYS_AFTER
    worth = context.device.type == "cpu" and (wanted or predicted > pays_after)
    if worth and (batched := [p for p in timed if p.path == "batched"] or _batch_of_one(context, jobs)):
        cached = min(batched, key=lambda p: abs(math.log(p.chunk / CACHED_RUNS)))
        try:
            fused = _timed(context, replace(cached, compiled=True, fused=True, unroll=FUSED_STEPS))
            found.append(fused)
            words += f"; fused {cached.chunk}: {fused.run_step_seconds * 1e6:.1f} us"
        except NotFusible as reason:
            words += f"; not fused ({reason})"
    # Single runs are convolutional, where TorchInductor gained nothing on a CPU: only if asked for.
    short = context.device.type != "cpu" or best.run_step_seconds * best.chunk < COMPILE_PAYS_BELOW
    pays = predicted > COMPILE_PAYS_AFTER and best.path == "batched" and short
    if not found and (wanted or pays) and context.net.draws:
        words += f"; not compiled ({DRAWS})"
    elif not found and (wanted or pays) and can_compile(context.device):
        try:
            found.append(_timed(context, replace(best, compiled=True, unroll=unroll(context.phases))))
            words += f"; compiled {best.chunk}: {found[-1].run_step_seconds * 1e6:.1f} us"
        except Exception as error:  # on foreign toolchains it fails in many ways; eager always works
            words += f"; compiling failed ({error if isinstance(error, NotCompiled) else type(error).__name__})"
    cost = time.perf_counter() - begun
    if found:
        words += f" after {cost:.0f} s"
        if wanted or predict(context, found[0], jobs) < 0.9 * predicted:
            chosen = replace(found[0], chosen=words)
            return _with_generated_evaluation(context, chosen) if chosen.fused else chosen
    return replace(best, chosen=words)


def _batch_of_one(context: Context, jobs: int) -> list[Plan]:
    """A batch of a single run, which generated steps can train where runs have no others to share their data with."""
    if context.engine.path != "auto" or context.config.seeds * len(context.config.lrs) > 1:
        return []
    try:
        rehearse_batched(context)
    except (RuntimeError, NotImplementedError, MemoryError):  # vmap cannot take the model, or it is too large
        return []
    known, here = machine_memory(context.device), _jobs_here(context, jobs)
    plan = _with_points(context, Plan("batched", 1, False, "", 0.0), here)
    return [plan] if known is None or memory(context, plan, here) <= known[0] else []


def _with_generated_evaluation(context: Context, plan: Plan) -> Plan:
    """The plan of generated steps with the functions of evaluation that can be generated too; it says why others cannot."""
    with single_threaded(context.device):
        trainer = context.trainer(plan, chunk_at(context.config, plan.chunk, 0))
        trainer.warm()
    program = trainer.program
    words = "".join(f"; {name} not generated ({reason})" for name, reason in program.backend.refused.items())
    return replace(plan, generated=program.backend.made, chosen=plan.chosen + words)


def can_compile(device: torch.device) -> bool:
    """Is there what TorchInductor needs: on a CPU a C++ compiler that makes libraries? TorchInductor waits for one that hangs
    without end, so this is found out first, within a time limit."""
    return device.type != "cpu" or makes_libraries()
