"""What a landscape costs: losses and errors of small networks at the 42 x 31 points of a grid (late decay's), one process.

    python benchmarks/landscape.py [--columns 42] [--rows 31] [--only digits-convnet]

Wall seconds; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

import lrscope
from lrscope.measures import landscape
from lrscope.measures.plane import Plane
from lrscope.tasks.builtin import named_task

NETS: dict[str, Callable[[], lrscope.Task]] = {
    "ticks-mlp": partial(named_task, "ticks", "mlp", width=32),
    "digits-mlp": partial(named_task, "digits", "mlp", width=64),
    "digits-convnet": partial(named_task, "digits", "convnet", width=4),
}


def measure(task: lrscope.Task, path: str, columns: int, rows: int) -> dict[str, float]:
    """Train a run of the task on one path and evaluate a grid around its start, its middle and its end on the same."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"seeds": 1, "epochs": 4, "batch_size": 64, "snapshot_epochs": (1,), "random_points": 2}
        lrscope.sweep(
            task, [1e-2], **options, device="cpu", jobs=1, path="single", compile=False, out=folder, progress=False
        )
        trained = lrscope.Trained.open(folder, task)
        states = [trained.state(lr=1e-2, seed=0, epoch=epoch) for epoch in (0, 1, None)]
        plane = Plane.through(*(state.weights[0] for state in states))
        corner = plane.coordinates(states[2].weights)[0][0]
        x, y = (np.linspace(-0.5, 1.5, n) * float(c) for n, c in zip((columns, rows), corner, strict=True))
        landscape.on_plane(trained, states[0], plane, x[:2], y[:1], path=path)  # the first call of each kernel is slow
        begun = time.perf_counter()
        found = landscape.on_plane(trained, states[0], plane, x, y, path=path)
        seconds = time.perf_counter() - begun
    assert np.isfinite(found["train_loss"]).all()
    return {"points": rows * columns, "parameters": trained.net.size, "seconds": round(seconds, 1)}


def main() -> None:
    """Measure all; print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--columns", type=int, default=42)
    parser.add_argument("--rows", type=int, default=31)
    parser.add_argument("--only", choices=NETS, nargs="+", default=list(NETS))
    parser.add_argument("--path", choices=("batched", "single"), nargs="+", default=["batched", "single"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name in options.only:
        for path in options.path:
            found[f"{name}, {path}"] = row = measure(NETS[name](), path, options.columns, options.rows)
            print(f"{name:16} {path:8}", *(f"{key} {value}" for key, value in row.items()), sep="  ", flush=True)
    print(json.dumps({"name": "landscape", "unit": "s", "measured": found}))


if __name__ == "__main__":
    main()
