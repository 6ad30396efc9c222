"""What the benchmarks share: a trainer to be timed, several processes at once, the last line."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import torch

import lrscope
from lrscope.engine.chunk import ChunkTrainer
from lrscope.engine.context import Context
from lrscope.engine.plan import Plan, cut
from lrscope.engine.sweep_folder import Store


def context_of(task: lrscope.Task, config: lrscope.SweepConfig, jobs: int = 1) -> Context:
    """What a worker of a sweep on this machine's CPU holds."""
    engine = lrscope.EngineConfig(device="cpu", jobs=jobs)
    return Context.build(task, config, engine, Store(Path("unused")))


def trainer_of(context: Context, plan: Plan, index: int = 0) -> ChunkTrainer:
    """A trainer of the plan's chunk `index` (counted around)."""
    chunks = cut(context.config, plan.chunk)
    return context.trainer(plan, chunks[index % len(chunks)])


def best_of(call: Callable[[], object], seconds: float) -> float:
    """The shortest time of one call, tried for `seconds`, twice at least."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < 2 or time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def in_processes(prepare: Callable[[int], Callable[[], object]], jobs: int, seconds: float) -> float:
    """Wall seconds per call with `jobs` processes at work at the same time: prepare(i) gives process i its call."""
    fork = multiprocessing.get_context("fork")
    queue, ready = fork.Queue(), fork.Barrier(jobs)

    def work(index: int) -> None:
        torch.set_num_threads(1)
        call = prepare(index)
        call()
        ready.wait()
        queue.put(best_of(call, seconds))

    processes = [fork.Process(target=work, args=(i,)) for i in range(jobs)]
    for process in processes:
        process.start()
    times = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    return 1 / sum(1 / t for t in times)


def last_line(name: str, ours: float, baseline: float, unit: str, **more: object) -> None:
    """The one JSON object that a benchmark prints last; ratio is baseline / ours."""
    found = {"name": name, "ratio": baseline / ours, "ours": ours, "baseline": baseline, "unit": unit, **more}
    print(json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in found.items()}))
