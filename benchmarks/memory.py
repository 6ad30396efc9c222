"""Memory that a sweep is predicted to need against what it takes: a child process per kind, one worker, the peak of its RSS.

    python benchmarks/memory.py [KIND ...]

The last line is one JSON object; `ratio` is measured / predicted, and wanted within 1 / 1.5 to 1.5.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common import last_line

WANTED = 1.5
Kind = tuple[Callable[[], Any], dict[str, Any], dict[str, Any]]  # task, options of the sweep, of the engine


def images(count: int, size: int = 32, channels: int = 3) -> Any:
    """A made-up classification of images [N, C, size, size]."""
    import torch

    rng = torch.Generator().manual_seed(0)
    x = torch.randn(count, channels, size, size, generator=rng)
    return x, torch.randint(10, (count,), generator=rng)


def rows(count: int, features: int) -> Any:
    """A made-up classification of rows [N, F]."""
    import torch

    rng = torch.Generator().manual_seed(0)
    return torch.randn(count, features, generator=rng), torch.randint(10, (count,), generator=rng)


def mlp(*widths: int, count: int = 1024, test: int = 512, **options: Any) -> Any:
    """An MLP with batch norms on rows."""
    import lrscope
    from lrscope.tasks.models import MLP

    train, held = rows(count, widths[0]), rows(test, widths[0])
    return lrscope.Task(partial(MLP, (*widths, 10)), train, held, name="mlp", **options)


def conv(width: int, count: int = 512) -> Any:
    """The papers' ConvNet on images."""
    import lrscope
    from lrscope.tasks.models import ConvNet

    return lrscope.Task(partial(ConvNet, 3, 10, width), images(count), images(256), name="convnet")


def vit() -> Any:
    """The Vision Transformer on digits."""
    import lrscope

    return lrscope.named_task("digits", "vit", width=128, model_options={"dropout": 0.0})


SHORT = {"lrs": (1e-3, 2e-3, 4e-3, 8e-3), "seeds": 4, "steps": 6, "batch_size": 64}
TUNED = {"finetune_lrs": (1e-4, 1e-3), "finetune_steps": 3, "average": (2, 3), "average_every": 1}
BATCHED = {"path": "batched", "chunk": 16, "compile": False}
SINGLE = {"path": "single", "compile": False}
WHOLE = {"space": "whole"}
KINDS: dict[str, Kind] = {
    "small": (partial(mlp, 64, 64, 64), SHORT, BATCHED),
    "wide": (partial(mlp, 256, 512, 512), SHORT, BATCHED),
    "momentum, fine-tunes, averages": (
        partial(mlp, 256, 512, 512),
        {**SHORT, **WHOLE, **TUNED, "momentum": 0.9},
        BATCHED,
    ),
    "Adam, fine-tunes, averages": (
        partial(mlp, 256, 512, 512),
        {**SHORT, **WHOLE, **TUNED, "optimizer": "adam"},
        BATCHED,
    ),
    "snapshots, kept weights": (
        partial(mlp, 256, 512, 512),
        {**SHORT, **TUNED, "epochs": 3, "steps": None, "snapshot_epochs": (1, 2, 3), "keep_weights": True},
        BATCHED,
    ),
    "single, wide": (partial(mlp, 256, 2048, 2048), {**SHORT, "seeds": 1}, SINGLE),
    "single, width 3072": (partial(mlp, 256, 3072, 3072), {**SHORT, "seeds": 1}, SINGLE),
    "batched convolutions": (partial(conv, 8), {**SHORT, "steps": 3}, {**BATCHED, "chunk": 4}),
    "single convolutions": (partial(conv, 32), {**SHORT, "steps": 3, "seeds": 1, "batch_size": 128}, SINGLE),
    "attention": (vit, {**SHORT, **WHOLE, "steps": 3, "seeds": 1}, {**BATCHED, "chunk": 4}),
    "large batches": (partial(mlp, 64, 256, 256, count=8192), {**SHORT, "batch_size": 4096, "steps": 4}, BATCHED),
    "generated": (partial(mlp, 64, 64, 64), {**SHORT, **TUNED}, {**BATCHED, "compile": True}),
    "float64": (partial(mlp, 256, 512, 512), {**SHORT, "precision": "float64"}, BATCHED),
    "a large data set": (partial(mlp, 784, 64, 64, count=100_000, test=20_000), {**SHORT, "seeds": 1}, BATCHED),
    "a large data set in float64": (
        partial(mlp, 784, 64, 64, count=100_000, test=20_000),
        {**SHORT, "seeds": 1, "precision": "float64"},
        BATCHED,
    ),
}


def measure(kind: str) -> dict[str, float]:
    """Predicted and peak bytes of a kind, in this process."""
    import torch

    import lrscope
    from lrscope.engine.sweep import dry_run

    torch.set_num_threads(1)
    make, options, engine = KINDS[kind]
    task = make()
    config = lrscope.SweepConfig(**{"random_points": 16, **options})
    chosen = lrscope.EngineConfig(device="cpu", jobs=1, **engine)
    predicted = dry_run(task, config=config, engine=chosen)["bytes"]
    with tempfile.TemporaryDirectory() as folder:
        lrscope.sweep(task, config=config, engine=chosen, out=Path(folder) / "out", progress=False)
    return {"predicted": predicted, "measured": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def in_child(kind: str) -> dict[str, float]:
    """The same in a fresh process, whose memory holds nothing else."""
    command = [sys.executable, __file__, "--child", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode:
        raise SystemExit(f"{kind}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure the kinds that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*")
    parser.add_argument("--child")
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.child)))
        return
    found = {}
    print("| kind | predicted, MB | measured, MB | ratio |\n|---|---|---|---|")
    for kind in given.kinds or KINDS:
        one = in_child(kind)
        found[kind] = {**one, "ratio": round(one["measured"] / one["predicted"], 2)}
        words = f"{one['predicted'] / 1e6:.0f} | {one['measured'] / 1e6:.0f} | {found[kind]['ratio']:.2f}"
        print(f"| {kind} | {words} |", flush=True)
    worst = max(max(one["ratio"], 1 / one["ratio"]) for one in found.values())
    last_line("memory", worst, WANTED, "measured / predicted, or its inverse", kinds=found)


if __name__ == "__main__":
    main()
