"""Networks with dropout in batches of runs against one run at a time, timed in turn, CPU time of one thread.

Ours: a batch of `--runs` runs, whose masks are drawn from each run's seed. Baseline: one run at a time with PyTorch's own
dropout, as lrscope trained before it drew for many runs at once. Also given: one run at a time by seeds, and the batch without
dropout.

    python benchmarks/dropout.py [--runs 32] [--seconds 15]

The last line is one JSON object for the MLP; `ratio` is baseline / ours, both in microseconds per run-step.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from common import context_of, last_line, trainer_of
from torch import nn

import lrscope
from lrscope.engine.chunk import ChunkTrainer
from lrscope.engine.plan import Plan

STEPS, BATCH = 8, 64
P = 0.2


def mlp(p: float) -> nn.Module:
    """64-64-64-10 with layer norms, for digits."""
    hidden = [layer for _ in range(2) for layer in (nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU(), nn.Dropout(p))]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 10))


def convnet(p: float) -> nn.Module:
    """Two convolutions of 8 and 16 channels, for digits."""
    layers: list[nn.Module] = []
    for before, after in ((1, 8), (8, 16)):
        layers += [
            nn.Conv2d(before, after, 3, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Dropout2d(p),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10))


def task_of(model: Callable[[float], nn.Module], p: float, noise: str | None = None) -> lrscope.Task:
    """Digits with a model; `noise` says how it is drawn in place of what is found."""
    data = lrscope.named_task("digits", "mlp", train_size=1024, validation=0).data(0)
    task = lrscope.Task(partial(model, p), (data.train_x, data.train_y), (data.test_x, data.test_y), validation=0)
    if noise:
        task.noise = noise
    return task


def trainer(task: lrscope.Task, path: str, runs: int) -> ChunkTrainer:
    """Runs at the start of a plan of this path and size."""
    config = lrscope.SweepConfig(lrs=(1e-2,), seeds=runs, steps=4 * STEPS, batch_size=BATCH, space="whole")
    return trainer_of(context_of(task, config), Plan(path, runs, False, "", 0.0))


def microseconds(trainers: Sequence[ChunkTrainer], seconds: float) -> list[float]:
    """CPU time per run-step of each, the shortest of many calls in turn: other programs slow all of them alike."""
    best, begun = [math.inf] * len(trainers), time.perf_counter()
    while time.perf_counter() - begun < seconds or math.inf in best:
        for i, one in enumerate(trainers):
            started = time.process_time()
            one.advance(STEPS)
            best[i] = min(best[i], (time.process_time() - started) / STEPS / len(one.chunk.runs) * 1e6)
    return best


def main() -> None:
    """Time both networks and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=15.0, help="for each network")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, model in (("convnet", convnet), ("mlp", mlp)):
        noisy, before = task_of(model, P), task_of(model, P, "global")
        plans = (noisy, "batched", args.runs), (before, "single", 1), (noisy, "single", 1)
        trainers = [trainer(*plan) for plan in (*plans, (task_of(model, 0.0), "batched", args.runs))]
        batch, baseline, seeded, without = microseconds(trainers, args.seconds)
        print(
            f"{name}: one at a time {baseline:.0f} us per run-step, by seeds {seeded:.0f}; {args.runs} together {batch:.0f}, "
            f"without dropout {without:.0f}"
        )
    last_line("dropout", batch, baseline, "us per run-step", runs=args.runs)


if __name__ == "__main__":
    main()
