"""What the landscape of a path costs: a small net's checkpoints read from files, principal components, 42 x 31 points.

    python benchmarks/planes.py [--columns 42] [--rows 31] [--only digits-mlp] [--plot docs/landscape.png]

A plain loop trains each net on digits at a large learning rate with momentum; paths leave it and go on with a tenth. Seconds of
`lrscope.landscape` alone, by the wall and of the processor; the last line is one JSON object. `--plot` draws the first of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

import lrscope
from lrscope.charts import to_matplotlib
from lrscope.landscapes import Landscape
from lrscope.tasks.builtin import named_task


def plain_mlp() -> nn.Module:
    """Without norms, as late_decay's nets."""
    layers = nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    return nn.Sequential(nn.Flatten(), *layers)


def mse_task() -> lrscope.Task:
    """Digits under the squared error of one-hot targets, a tenth of the training labels redrawn."""
    data = named_task("digits", "mlp", width=4, train_size=256, label_noise=0.1).data(0)
    train_y, test_y = (functional.one_hot(y, 10).float() for y in (data.train_y, data.test_y))
    options = {"loss": "mse", "classification": True, "name": "digits, MLP without norms, MSE"}
    return lrscope.Task(plain_mlp, (data.train_x, train_y), (data.test_x, test_y), **options)


NETS: dict[str, Callable[[], lrscope.Task]] = {
    "digits-mlp": mse_task,
    "digits-convnet": partial(named_task, "digits", "convnet", width=4, train_size=512),
}
LARGE, SMALL, MOMENTUM, DECAY = 0.6, 0.06, 0.9, 1e-4  # the last two: late_decay
STEPS, EVERY, BATCH = 1500, 50, 32
FIRST, LEAVES = 300, range(300, 1501, 400)  # from where the training loss falls slowly


def train(
    task: lrscope.Task, model: nn.Module, lr: float, steps: range
) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
    """A plain loop; yields the state dict before the first step and after every few."""
    data = task.data(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=MOMENTUM, weight_decay=DECAY)
    draws = torch.Generator().manual_seed(0)
    yield steps.start, model.state_dict()
    for step in steps:
        rows = torch.randint(len(data.train_x), (BATCH,), generator=draws)
        optimizer.zero_grad()
        task.loss(model.train()(data.train_x[rows]), data.train_y[rows]).mean().backward()
        optimizer.step()
        if (step + 1 - steps.start) % EVERY == 0:
            yield step + 1, model.state_dict()


def write(task: lrscope.Task, folder: Path) -> None:
    """The checkpoints of the main path, and of the paths that leave it."""
    for step, state in train(task, task.new_model(0), LARGE, range(STEPS)):
        if step < FIRST:
            continue
        save_file(state, folder / f"step{step}.safetensors")
        if step in LEAVES:
            model, own = task.new_model(0), folder / f"from {step}"
            own.mkdir()
            model.load_state_dict(state)
            for later, found in train(task, model, SMALL, range(step, step + 400)):
                save_file(found, own / f"step{later}.safetensors")


def measure(name: str, columns: int, rows: int) -> tuple[dict[str, float], Landscape]:
    """Train, write, and time the landscape."""
    task = NETS[name]()
    with tempfile.TemporaryDirectory() as folder:
        write(task, Path(folder))
        begun, used = time.perf_counter(), time.process_time()
        found = lrscope.landscape(task, folder, grid=(columns, rows))
        wall, used = time.perf_counter() - begun, time.process_time() - used
    size, count = int(found.data.attrs["parameters"]), found.data.sizes["checkpoint"]
    row = {"points": rows * columns, "checkpoints": count, "parameters": size}
    return row | {"wall": round(wall, 1), "processor": round(used, 1)}, found


def main() -> None:
    """Measure all; print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--columns", type=int, default=42)
    parser.add_argument("--rows", type=int, default=31)
    parser.add_argument("--only", choices=NETS, nargs="+", default=list(NETS))
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    measured = {}
    for name in options.only:
        measured[name], found = measure(name, options.columns, options.rows)
        print(f"{name:16}", *(f"{key} {value}" for key, value in measured[name].items()), sep="  ", flush=True)
        if options.plot and name == options.only[0]:
            print(found)
            to_matplotlib(found.chart()).savefig(options.plot, dpi=110)
    print(json.dumps({"name": "planes", "unit": "s", "measured": measured}))


if __name__ == "__main__":
    main()
