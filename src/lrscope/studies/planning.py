"""What a scale would take, before it is run: the engine's plan for every sweep, with data made up where it is not here."""

from __future__ import annotations

import math
import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from lrscope.config import EngineConfig, SweepConfig
from lrscope.engine.context import choose_device
from lrscope.engine.dispatch import single_threaded
from lrscope.engine.sweep import dry_run
from lrscope.studies.costs import Cost, cost
from lrscope.studies.types import StudySweep
from lrscope.tasks.builtin import named_task
from lrscope.tasks.data import DataSet, load, spec
from lrscope.tasks.data.images import check_pool
from lrscope.tasks.data.loading import checked_label_noise, folder
from lrscope.tasks.data.subsets import checked_size
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from lrscope.tasks.validation import HELD_OUT, NONE, UNUSED, Size, count
from lrscope.tasks.validation import checked_size as validation_size

GPU_FLOPS = 5e12  # ours: a quarter of the 19.5 TFLOP/s that NVIDIA states for an A100 in float32
ASSUMPTION = (
    f"GPU hours are an estimate, nothing was timed on a GPU: training steps only, at {GPU_FLOPS / 1e12:g} TFLOP/s sustained "
    "(a quarter of an A100's float32 peak)"
)
LONG_STEP = 10.0  # ours, seconds: choosing a plan takes about a dozen steps of each sweep
COUNTED = 2  # examples: batch norm takes no fewer


@dataclass(frozen=True)
class Step:
    """A training step of one run: floating-point operations, and the seconds that it would take one core of this machine."""

    flops: float
    seconds: float

    @classmethod
    def of(cls, task: Task, config: SweepConfig) -> Step:
        """Counted and timed once each for two examples; both grow as the batch does. A large batch takes somewhat less."""
        data, model = task.data(0), task.new_model(0)
        x, y = data.train_x[:COUNTED], data.train_y[:COUNTED]

        def once() -> float:
            begun = time.perf_counter()
            torch.autograd.backward(task.loss(model(x), y).mean())
            return time.perf_counter() - begun

        with torch.random.fork_rng(devices=[]), single_threaded(torch.device("cpu")):
            with FlopCounterMode(display=False) as counter:
                once()
            seconds = once()
        times = config.batch_size / len(x)
        return cls(float(counter.get_total_flops()) * times, seconds * times)

    def gpu_hours(self, run_steps: int) -> float:
        """Hours at `GPU_FLOPS`."""
        return self.flops * run_steps / GPU_FLOPS / 3600


def plan(declared: StudySweep, engine: EngineConfig) -> dict[str, Any]:
    """What a sweep would take: shapes, parameters, run-steps, predicted seconds on this machine, and an estimate of GPU
    hours. A few steps are trained to be timed; nothing is written. On a CPU a step that would take more than 10 s is not
    trained: the time is estimated from two examples (`seconds_timed` is False)."""
    there = available(str(declared.task["data"]), declared.task.get("root"))
    task = named_task(**{**declared.arguments, **({} if there else {"source": made_up})})
    size, step = cost(declared), Step.of(task, declared.config)
    estimated = choose_device(engine.device).type == "cpu" and step.seconds > LONG_STEP
    made = _estimated(task, size, step, engine) if estimated else _timed(task, declared.config, engine)
    on_gpu = made["device"].startswith("cuda")
    seconds = float(made["seconds"])
    return {
        "sweep": declared.name,
        "about": declared.about,
        "task": made["task"]["name"],
        "input_shape": made["task"]["input_shape"],
        "train_size": made["task"]["train_size"],
        "data_here": there,
        "parameters": made["parameters"],
        "runs": size.runs,
        "run_steps": size.run_steps,
        "device": made["device"],
        "jobs": made["jobs"],
        "seconds": seconds,
        "seconds_timed": not estimated,
        "gpu_hours": seconds / 3600 if on_gpu else step.gpu_hours(size.run_steps),
        "gpu_hours_timed": on_gpu,
    }


def _timed(task: Task, config: SweepConfig, engine: EngineConfig) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dry_run(task, config=config, engine=engine)


def _estimated(task: Task, size: Cost, step: Step, engine: EngineConfig) -> dict[str, Any]:
    """What `dry_run` says, without training a step: runs one at a time, a process for each core. Weights that a scale-invariant
    network freezes are counted among the parameters."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = engine.jobs or cores
    return {
        "task": task.summary(),
        "parameters": sum(p.numel() for p in task.new_model(0).parameters() if p.requires_grad),
        "device": "cpu",
        "jobs": jobs,
        "seconds": math.ceil(size.runs / jobs) * size.run_steps / size.runs * step.seconds,
    }


def available(name: str, root: str | Path | None = None) -> bool:
    """Is the data set on this machine?"""
    return spec(name).family.available(folder(root))


def made_up(
    name: str,
    *,
    data_seed: int = 0,
    train_size: int | None = None,
    test_size: int | None = None,
    label_noise: float = 0.0,
    pool: int = 1,
    validation: Size = 0,
    root: str | Path | None = None,
) -> DataSet:
    """Noise in the shape of a data set, with `load`'s arguments: pixels in [0, 1], normalised (all channels as the first), or
    words. Examples overlap in memory, so 50,000 cost no more than one.

    A data set that needs no files is loaded.
    """
    row = spec(name)
    if row.family.available(folder(root)):
        return load(
            name,
            data_seed=data_seed,
            train_size=train_size,
            test_size=test_size,
            label_noise=label_noise,
            pool=pool,
            validation=validation,
            root=root,
        )
    checked_label_noise(label_noise)
    check_pool(row, pool)
    sizes = [
        checked_size(field, size, most, most, name)
        for field, size, most in (("train_size", train_size, row.train), ("test_size", test_size, row.test))
    ]
    shape = tuple(side // pool if i and row.is_image else side for i, side in enumerate(row.shape))
    rng = generator("made up", name, data_seed)
    mean, std = (values[0] if values else default for values, default in ((row.mean, 0.0), (row.std, 1.0)))

    def examples(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        size = torch.Size(shape).numel()
        if row.is_text:
            noise = torch.randint(1, row.vocabulary, (size + count,), generator=rng)
        else:
            noise = (torch.rand(size + count, generator=rng) - mean) / std
        x = noise.unfold(0, size, 1)[:count].view(count, *shape)
        return x, torch.randint(0, row.classes, (count,), generator=rng)

    train, test = sizes
    number, from_unused = count(validation_size(validation), train, row.train - train)
    train_x, train_y = examples(train if from_unused else train - number)
    test_x, test_y = examples(test)
    held_out = (UNUSED if from_unused else HELD_OUT) if number else NONE
    validation_x, validation_y = examples(number) if number else (None, None)
    return DataSet(
        name=name,
        train_x=train_x,
        train_y=train_y,
        test_x=test_x,
        test_y=test_y,
        classes=row.classes,
        loss="cross_entropy" if row.classes > 2 else "binary_cross_entropy",
        normalisation=((mean,) * shape[0], (std,) * shape[0]) if row.is_image else None,
        validation_x=validation_x,
        validation_y=validation_y,
        validation_source=held_out,
    )
