"""Steps of small networks as generated C++, against PyTorch: one run at a time, and eight together.

    OMP_NUM_THREADS=1 python benchmarks/generated_steps.py [--seconds 4]

One thread; all three in turn, twice, the shortest of each. Compiling is timed apart. The last line is one JSON object: `ratio` is
the smallest over the networks of PyTorch's better time over that of generated code.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from common import best_of, context_of, last_line, trainer_of

import lrscope
from lrscope.engine.plan import Plan
from lrscope.tasks.builtin import named_task

STEPS, RUNS = 8, 8
PLANS = {
    "single": Plan("single", 1, False, "", 0.0),
    "batched": Plan("batched", RUNS, False, "", 0.0),
    "generated": Plan("batched", RUNS, True, "", 0.0, STEPS, True),
}
SPHERE: dict[str, Any] = {"space": "sphere", "batch_size": 32}
NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ConvNet k = 8, 14 x 14": ({"model": "convnet", "width": 8, "pool": 2}, SPHERE),
    "ConvNet k = 8, 14 x 14, batch 16": ({"model": "convnet", "width": 8, "pool": 2}, {**SPHERE, "batch_size": 16}),
    "ConvNet k = 4, 28 x 28": ({"model": "convnet", "width": 4}, SPHERE),
    "ResNet-18 k = 4, 14 x 14": ({"model": "resnet18", "width": 4, "pool": 2}, SPHERE),
    "ResNet-18 k = 4, 28 x 28": ({"model": "resnet18", "width": 4}, SPHERE),
    "MLP 64-256-256-10, batch 64": ({"data": "digits", "model": "mlp", "width": 256}, {**SPHERE, "batch_size": 64}),
    "Transformer, texts of 32 words, batch 16": (
        {"data": "fortunes", "model": "transformer"},
        {"space": "whole", "momentum": 0.9, "batch_size": 16},
    ),
    "ViT, 2 blocks of width 32, 28 x 28": (
        {"model": "vit", "width": 32, "model_options": {"depth": 2, "patch": 7, "dropout": 0.0}},
        {"space": "whole", "momentum": 0.9, "batch_size": 32},
    ),
    "the same with dropout": (
        {"model": "vit", "width": 32, "model_options": {"depth": 2, "patch": 7, "dropout": 0.1}},
        {"space": "whole", "momentum": 0.9, "batch_size": 32},
    ),
    "ConvNet k = 8, 14 x 14, batch 16, noise before ReLU": (
        {"model": "convnet", "width": 8, "pool": 2},
        {"space": "whole", "momentum": 0.9, "batch_size": 16, "activation_noise": 0.4},
    ),
    "VGG-11 k = 8, 14 x 14, batch 125": (
        {"model": "vgg11", "width": 8, "pool": 2, "loss": "mse"},
        {"space": "whole", "momentum": 0.9, "batch_size": 125},
    ),
}


def timed(task: dict[str, Any], options: dict[str, Any], seconds: float) -> tuple[dict[str, float], float]:
    """Milliseconds per run-step by plan, and the seconds that compiling took."""
    config = lrscope.SweepConfig(
        lrs=lrscope.log_grid(1e-4, 1e-2, RUNS), seeds=1, steps=1_000_000, log_points=1, **options
    )
    images = {"data": "fashion-mnist", "train_size": 500, "test_size": 100}
    context = context_of(named_task(**(task if "data" in task else images | task)), config)
    trainers, found = (
        {name: trainer_of(context, plan) for name, plan in PLANS.items()},
        dict.fromkeys(PLANS, float("inf")),
    )
    begun = time.perf_counter()
    trainers["generated"].advance(STEPS)
    compiling = time.perf_counter() - begun
    for _ in range(2):
        for name, plan in PLANS.items():
            took = best_of(lambda name=name: trainers[name].advance(STEPS), seconds / 2)  # type: ignore[misc]
            found[name] = min(found[name], took / STEPS / plan.chunk * 1e3)
    return found, compiling


def main() -> None:
    """Time all networks; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="for each timing")
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    print("| network | one at a time | eight together | generated | ratio | compiling |\n|---|---|---|---|---|---|")
    worst = (float("inf"), 0.0, 0.0)
    for name, (task, options) in NETWORKS.items():
        found, compiling = timed(task, options, seconds)
        better = min(found["single"], found["batched"])
        worst = min(worst, (better / found["generated"], found["generated"], better))
        times = " | ".join(f"{value:.2f} ms" for value in found.values())
        print(f"| {name} | {times} | {better / found['generated']:.1f} | {compiling:.0f} s |", flush=True)
    last_line("generated steps", worst[1], worst[2], "ms per run-step")


if __name__ == "__main__":
    main()
