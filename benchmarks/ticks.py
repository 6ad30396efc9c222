"""Speed of the engine on the ticks task against a naive loop over single runs, timed in one call.

Ours: the engine's own plan for `--runs` runs (default 1,150: 50 seeds x 23 learning rates) on two processes.
Baseline: the paper's algorithm as one would write it: one run after the other, eager PyTorch, no logging, one process,
one thread. Floor: the matrix products of forward and backward pass alone, batched over the chunk, on as many processes.

    python benchmarks/ticks.py [--runs 1150] [--seconds 20] [--jobs 2]

The last line is one JSON object; `ratio` is baseline / ours, both in microseconds per run-step of wall time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import lrscope
from lrscope.engine.choose import choose_plan
from lrscope.engine.context import Context
from lrscope.engine.plan import Plan, cut
from lrscope.engine.store import Store
from lrscope.tasks.named import named_task

BATCH, HIDDEN = 16, 32


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


def engine_work(context: Context, plan: Plan, index: int, seconds: float, queue: multiprocessing.Queue) -> None:
    """Train chunk `index` for some seconds; put (run-steps, seconds) of the best stretch."""
    torch.set_num_threads(1)
    chunk = cut(context.config, plan.chunk)[index]
    trainer = context.trainer(plan, chunk)
    phase = context.phases[0]
    order, lr_R, scale = trainer._order(phase), trainer._lr(phase), trainer._factors(phase)

    def advance(steps: int) -> None:
        end = trainer.cursor["step"] + steps
        trainer._train_steps(phase, order, lr_R, scale, end, lambda now: None, lambda: False)

    advance(20)
    queue.put("ready")
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        advance(64)
        best = min(best, (time.perf_counter() - started) / 64 / len(chunk.runs))
    queue.put(best)


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


def in_processes(context: Context, plan: Plan, jobs: int, seconds: float) -> float:
    """Wall seconds per run-step with `jobs` processes at work at the same time."""
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    chunks = len(cut(context.config, plan.chunk))
    processes = [
        fork.Process(target=engine_work, args=(context, plan, i % chunks, seconds, queue)) for i in range(jobs)
    ]
    for process in processes:
        process.start()
    values = [queue.get() for _ in range(2 * jobs)]
    for process in processes:
        process.join()
    times = [v for v in values if v != "ready"]
    return 1 / sum(1 / t for t in times)


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
    with tempfile.TemporaryDirectory() as folder:
        context = Context.build(
            task, config, lrscope.EngineConfig(device="cpu", jobs=options.jobs), Store(Path(folder))
        )
        plan = choose_plan(context, options.jobs)
    print(f"plan: {plan.path}, chunk {plan.chunk}, compiled {plan.compiled}; {plan.chosen}")
    rounds = []
    for _ in range(2):  # interleaved, so that a slow spell of the machine meets all of them
        naive = naive_seconds(data.train_x, data.train_y.float(), options.seconds / 2)
        ours = in_processes(context, plan, options.jobs, options.seconds / 2)
        rounds.append((naive, ours))
    naive, ours = min(r[0] for r in rounds), min(r[1] for r in rounds)
    floor = floor_seconds(plan.chunk, options.seconds / 4) / options.jobs
    print(f"naive {naive * 1e6:.0f} us, ours {ours * 1e6:.2f} us, floor {floor * 1e6:.2f} us per run-step")
    result = {
        "name": "ticks",
        "ratio": round(naive / ours, 1),
        "ours": round(ours * 1e6, 3),
        "baseline": round(naive * 1e6, 1),
        "unit": "us per run-step",
        "floor": round(floor * 1e6, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
