"""Speed of the engine on the SI ConvNet (batch 128, 32x32 images) against a naive loop over single runs, in one call.

Ours: the engine on two processes, its plan for convolutions (one run a process, channels last), every metric of the papers
taken from the training pass. Baseline: one run, plain PyTorch, eager, the better of one and two threads; with logging it
makes the papers' additional pass over the training set every epoch for loss, accuracy and gradient norm
(three_regimes, App. C). bf16: ours under autocast, and how far labels and borders move with it on digits.

    python benchmarks/convnet.py [--width 8] [--seconds 20] [--jobs 2] [--no-map]

The last line is one JSON object; `ratio` is baseline / ours of training alone, `ratio_with_logging` of both with logging.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from common import best_of, context_of, in_processes, last_line, trainer_of
from torch.nn import functional

import lrscope
from lrscope.engine.plan import Plan
from lrscope.tasks.builtin import named_task
from lrscope.tasks.models import ConvNet

BATCH, EPOCH = 128, 5  # steps an epoch: enough that the pass at its end is as long as training
ALONE = Plan("single", 1, False, "", 0.0)


def examples() -> tuple[torch.Tensor, torch.Tensor]:
    """Random images: the arithmetic does not look at them."""
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH * EPOCH, 3, 32, 32, generator=stream)
    return x, torch.randint(0, 10, (len(x),), generator=stream)


def naive(width: int, seconds: float, threads: int, *, logging: bool) -> float:
    """Seconds per step of the plain loop, over epochs."""
    torch.set_num_threads(threads)
    x, y = examples()
    model = ConvNet(3, 10, width)
    for parameter in model.readout.parameters():
        parameter.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3)

    def backward(part: slice) -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(x[part]), y[part]).backward()

    def epoch() -> None:
        for i in range(EPOCH):
            backward(slice(i * BATCH, (i + 1) * BATCH))
            optimizer.step()
            with torch.no_grad():
                norm = torch.sqrt(sum(p.square().sum() for p in trained))
                for p in trained:
                    p.div_(norm)
        if logging:
            total = 0.0
            for i in range(EPOCH):
                backward(slice(i * BATCH, (i + 1) * BATCH))
                total += float(torch.sqrt(sum(p.grad.square().sum() for p in trained)))

    found = best_of(epoch, seconds) / EPOCH
    torch.set_num_threads(1)
    return found


def moved_by_bf16() -> str:
    """Labels and borders of a small ConvNet on digits in float32 and under bf16 autocast."""
    options = {"seeds": 2, "epochs": 12, "batch_size": 64, "random_points": 8, "jobs": 2}
    task, lrs = named_task("digits", "convnet", width=4, train_size=512), lrscope.log_grid(1e-3, 3.0, 8)
    maps = [
        lrscope.regimes(lrscope.sweep(task, lrs, precision=p, progress=False, **options)) for p in ("float32", "bf16")
    ]
    labels = [[label.regime for label in m.labels] for m in maps]
    moved = sum(a != b for a, b in zip(*labels, strict=True))
    return f"bf16 changes {moved} of {len(lrs)} labels: {' '.join(labels[0])} | {' '.join(labels[1])}"


def main() -> None:
    """Time all; print them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each timing")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--map", action=argparse.BooleanOptionalAction, default=True, help="compare labels under bf16")
    options = parser.parse_args()
    torch.set_num_threads(1)
    x, y = examples()
    task = lrscope.Task(partial(ConvNet, 3, 10, options.width), (x, y), (x[:BATCH], y[:BATCH]), name="images")
    config = lrscope.SweepConfig(lrs=(1e-3, 1e-2), steps=10_000, batch_size=BATCH)

    def ours(config: lrscope.SweepConfig) -> float:
        context = context_of(task, config, options.jobs)

        def prepare(index: int) -> Callable[[], object]:
            trainer = trainer_of(context, ALONE, index)
            return lambda: trainer.advance(EPOCH)

        return in_processes(prepare, options.jobs, options.seconds) / EPOCH

    rounds = []
    for _ in range(2):  # interleaved, so that a slow spell of the machine meets all of them
        plain = min(naive(options.width, options.seconds / 4, t, logging=False) for t in (1, 2))
        logged = min(naive(options.width, options.seconds / 4, t, logging=True) for t in (1, 2))
        rounds.append((plain, logged, ours(config)))
    plain, logged, mine = (min(r[i] for r in rounds) for i in range(3))
    half = ours(replace(config, precision="bf16"))
    print(
        f"naive {plain * 1e3:.1f} ms, with logging {logged * 1e3:.1f} ms; ours {mine * 1e3:.1f} ms, bf16 {half * 1e3:.1f} ms"
    )
    if options.map:
        print(moved_by_bf16())
    last_line(
        f"convnet k={options.width}",
        mine * 1e3,
        plain * 1e3,
        "ms per run-step",
        ratio_with_logging=logged / mine,
        bf16=half * 1e3,
    )


if __name__ == "__main__":
    main()
