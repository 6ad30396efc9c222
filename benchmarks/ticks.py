"""Speed of the engine on the ticks task against a naive loop over single runs, timed in one call.

Ours: the engine's own plan for `--runs` runs (default 1,150: 50 seeds x 23 learning rates) on two processes.
Baseline: the paper's algorithm as one would write it: one run after the other, eager PyTorch, no logging, one process,
one thread. Floor: the matrix products of forward and backward pass alone, as PyTorch's batched product computes them, on
as many processes (generated steps multiply faster than that, so it is not a bound).

    python benchmarks/ticks.py [--runs 1150] [--seconds 20] [--jobs 2]

The last line is one JSON object; `ratio` is baseline / ours, both in microseconds per run-step of wall time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from common import context_of, in_processes, last_line, trainer_of
from torch import nn
from torch.nn import functional

import lrscope
from lrscope.engine.choose import choose_plan
from lrscope.tasks.builtin import named_task

BATCH, HIDDEN = 16, 32
STRETCH = 128  # steps that are timed together


class NaiveMLP(nn.Module):
    """32-32-32-1 with LayerNorm, written as the papers' code does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(32, HIDDEN, bias=False),
            nn.LayerNorm(HIDDEN, elementwise_affine=False, eps=1e-7),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN, bias=False),
            nn.LayerNorm(HIDDEN, elementwise_affine=False, eps=1e-7),
            nn.ReLU(),
        )
        self.readout = nn.Linear(HIDDEN, 1, bias=False)
        self.readout.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, 32] to logits [B]."""
        return self.readout(self.layers(x)).squeeze(-1)


def naive_seconds(x: torch.Tensor, y: torch.Tensor, seconds: float) -> float:
    """Seconds per step of the naive loop: sample, forward, backward, SGD step, projection."""
    model = NaiveMLP()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3)
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        order = torch.randperm(len(x))
        started = time.perf_counter()
        for i in range(len(x) // BATCH):
            index = order[i * BATCH : (i + 1) * BATCH]
            loss = functional.binary_cross_entropy_with_logits(model(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                norm = torch.sqrt(sum(p.square().sum() for p in trained))
                for p in trained:
                    p.div_(norm)
        best = min(best, (time.perf_counter() - started) / (len(x) // BATCH))
    return best


def floor_seconds(runs: int, seconds: float) -> float:
    """Seconds per run-step of the matrix products alone: 2 hidden layers and the readout, forward and backward."""
    x = torch.randn(runs, BATCH, 32)
    w = torch.randn(runs, 32, HIDDEN)
    r = torch.randn(runs, HIDDEN, 1)
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        for _ in range(20):
            h = torch.bmm(x, w)
            torch.bmm(torch.bmm(h, w), r)
            torch.bmm(x.mT, h)
            torch.bmm(h, w.mT)
            torch.bmm(h.mT, h)
            torch.bmm(h[:, :, :1], r.mT)
        best = min(best, (time.perf_counter() - started) / 20 / runs)
    return best


def main() -> None:
    """Time ours, the naive loop and the floor; print them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=1150)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each of the three timings")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = max(1, round(options.runs / 23 / 5))
    config = lrscope.SweepConfig(
        lrs=lrscope.log_grid(3.2e-5, 1.0, 23), seeds=seeds, data_seeds=5, radius=1.0, steps=40_000, batch_size=BATCH
    )
    task = named_task("ticks", "mlp")
    data = task.data(0)
    context = context_of(task, config, options.jobs)
    plan = choose_plan(context, options.jobs)
    print(f"plan: {plan.path}, chunk {plan.chunk}, compiled {plan.compiled}, fused {plan.fused}; {plan.chosen}")

    def prepare(index: int) -> Callable[[], object]:
        trainer = trainer_of(context, plan, index)
        return lambda: trainer.advance(STRETCH)

    rounds = []
    for _ in range(2):  # interleaved, so that a slow spell of the machine meets all of them
        naive = naive_seconds(data.train_x, data.train_y.float(), options.seconds / 2)
        ours = in_processes(prepare, options.jobs, options.seconds / 2) / STRETCH / plan.chunk
        rounds.append((naive, ours))
    naive, ours = min(r[0] for r in rounds), min(r[1] for r in rounds)
    floor = floor_seconds(plan.chunk, options.seconds / 4) / options.jobs
    print(f"naive {naive * 1e6:.0f} us, ours {ours * 1e6:.2f} us, floor {floor * 1e6:.2f} us per run-step")
    last_line("ticks", ours * 1e6, naive * 1e6, "us per run-step", floor=floor * 1e6)


if __name__ == "__main__":
    main()
