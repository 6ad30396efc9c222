"""Does this working tree compute what another commit computes? Small sweeps of every kind, compared to the byte.

    python benchmarks/neutral.py BASE [--only sphere adaptive] [--keep FOLDER]      (make neutral BASE=<commit>)

The sources of BASE are taken out of git into a temporary folder. Two processes, one for each side, train the same sweeps by
the same plans on this machine, at the same time and with one thread each, and write down every array: of results, of the
regime map, of measures of kept weights. What was renamed since is compared under its new name (RENAMED). Wall times are left
out. What differs is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

import lrscope
from lrscope.measures import equilibrium, geometry, sharpness, walks
from lrscope.tasks.models import ConvNet
from lrscope.tasks.transformer import Transformer

HERE = Path(__file__).resolve().parents[1]
TIMES = ("seconds",)  # arrays that no two calls have alike
MADE_BY_TIMING = ("chosen", "run_step_seconds")  # of a plan: how long its steps took
# Results were flat until schema version 2: the variables of a node, and what the names of each node's began with.
VARIABLES = (
    *("status", "nonfinite_step", "elr", "epoch", "step"),
    *("train_loss", "train_accuracy", "test_loss", "test_accuracy", "test_metric"),
    *("validation_loss", "validation_accuracy", "validation_metric", "feature_accuracy"),
    *("fixed_train_loss", "fixed_train_accuracy", "fixed_grad_norm", "fixed_effective_grad_norm"),
    *("grad_norm", "effective_grad_norm", "group_effective_grad_norm", "group_ess", "group_norm", "group_elr"),
    *("example_group_loss", "example_group_accuracy", "example_group_true_accuracy"),
)
PREFIXES = {"pretrain": "", "average": "average_", "finetune": "finetune_"}
RENAMED: Mapping[str, str] = {  # an array's name at an earlier commit: its name now
    **{prefix + name: f"{node}/{name}" for node, prefix in PREFIXES.items() for name in VARIABLES},
    "finetune_lr": "finetune/finetune_lr",
    "n_average": "average/n_average",
}


@dataclass(frozen=True)
class Kind:
    """A sweep: its task, its options, and whether its kept weights are measured too."""

    task: Callable[[], lrscope.Task]
    options: dict[str, Any]
    measured: bool = False


def digits(**options: Any) -> Callable[[], lrscope.Task]:
    """A few digits and a small MLP with batch norm."""
    return partial(lrscope.named_task, "digits", "mlp", **{"width": 16, "train_size": 256, "test_size": 200} | options)


def images(model: Callable[[], nn.Module]) -> Callable[[], lrscope.Task]:
    """Made-up pictures [N, 3, 8, 8] of four classes."""

    def task() -> lrscope.Task:
        stream = torch.Generator().manual_seed(0)
        y = torch.randint(0, 4, (240,), generator=stream)
        x = torch.randn(240, 3, 8, 8, generator=stream) + y[:, None, None, None] / 4
        return lrscope.Task(model, (x[:160], y[:160]), (x[160:], y[160:]), name="images")

    return task


def texts() -> lrscope.Task:
    """Made-up texts [N, 12] of a vocabulary of 50, padded with 0, with a class for each most frequent third of it."""
    stream = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (300,), generator=stream)
    words = torch.randint(1, 17, (300, 12), generator=stream) + 16 * y[:, None]
    strange = torch.randint(1, 50, words.shape, generator=stream)
    x = torch.where(torch.rand(words.shape, generator=stream) < 0.6, strange, words)
    x[:, 9:] *= torch.rand(300, 1, generator=stream) < 0.5
    return lrscope.Task(partial(Transformer, 50, 12, 3, 16), (x[:200], y[:200]), (x[200:], y[200:]), name="texts")


class Shuffled(nn.Module):
    """Noise from the global generator, which lrscope does not draw for many runs at once."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, C] with its columns in another order for every pass of training."""
        return x[:, torch.randperm(x.shape[1])] if self.training else x


def noisy_net() -> nn.Module:
    """Draws noise in training, so it trains one run at a time."""
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 24), nn.LayerNorm(24), nn.ReLU(), Shuffled(), nn.Linear(24, 4))


def batched(lrs: str, chunk: int, *, compile: bool = False, **options: Any) -> dict[str, Any]:
    """Options of a sweep whose plan is fixed: batches of `chunk` runs, in this process."""
    fixed = {"path": "batched", "chunk": chunk, "compile": compile, "batch_size": 32, "seeds": 2}
    return {"lrs": lrs, **fixed, **options}


FINETUNED = {"finetune_lrs": (1e-3, 1e-2), "finetune_epochs": 2, "average": (2, 3)}
KINDS = {
    "sphere": Kind(
        digits(),
        batched("1e-3:3:6", 5, epochs=4, data_seeds=2, snapshot_epochs=(2,), log_epochs=(0.5,), keep_weights=True)
        | FINETUNED,
        measured=True,
    ),
    "momentum": Kind(
        images(partial(ConvNet, 3, 4, 4)),
        batched("1e-3:1:6", 4, epochs=4, space="whole", momentum=0.9, weight_decay=5e-4, schedule="cosine") | FINETUNED,
    ),
    "adam": Kind(
        digits(),
        batched("1e-4:1:6", 6, epochs=4, space="whole", optimizer="adam", precision="float64", same_init=False),
    ),
    "adaptive": Kind(
        digits(), batched("1e-4:10:16", 4, epochs=8, adaptive=True, finetune_lrs=(1e-3,), finetune_epochs=4, seeds=3)
    ),
    "generated": Kind(
        partial(lrscope.named_task, "ticks", "mlp", width=16, train_size=128, test_size=128),
        batched("1e-3:1:6", 16, compile=True, steps=200, radius=1.0, finetune_lrs=(1e-3,), finetune_steps=50),
    ),
    "single": Kind(
        images(noisy_net),
        {
            "lrs": "1e-3:3:6",
            "path": "single",
            "compile": False,
            "batch_size": 32,
            "seeds": 2,
            "epochs": 3,
            "space": "whole",
        }
        | FINETUNED,
    ),
    "groups": Kind(digits(label_noise=0.3, features="bands"), batched("1e-3:3:6", 8, epochs=4) | FINETUNED),
    "texts": Kind(texts, batched("1e-3:1:6", 6, epochs=3, space="whole") | FINETUNED),
}


def train(kinds: list[str], folder: Path) -> None:
    """Train the kinds with the lrscope of this process; write the arrays of each to <folder>/<kind>.npz."""
    torch.set_num_threads(1)
    for name in kinds:
        kind, out = KINDS[name], folder / name
        task = kind.task()
        result = lrscope.sweep(task, **kind.options, jobs=1, device="cpu", out=out, progress=False)
        found = dict(arrays_of(result))
        found["map"] = np.array(json.dumps(lrscope.regimes(result).to_dict(), sort_keys=True))
        plan = {k: v for k, v in json.loads(result.attrs["plan"]).items() if k not in MADE_BY_TIMING}
        found["plan"] = np.array(json.dumps(plan, sort_keys=True))
        if kind.measured:
            found |= measured(lrscope.Trained.open(out, task))
        np.savez(folder / f"{name}.npz", **{key.replace("/", "|"): value for key, value in found.items()})


def arrays_of(result: xr.Dataset | xr.DataTree) -> Iterator[tuple[str, np.ndarray]]:
    """Every array of a result and every label of its axes; those of a tree's node are called node/name."""
    if isinstance(result, xr.Dataset):
        nodes = {"": result}
    else:
        nodes = {node.path.lstrip("/"): node.to_dataset(inherit=False) for node in result.subtree}
    for node, dataset in nodes.items():
        for name, variable in dataset.variables.items():
            if name not in TIMES:
                values = np.asarray(variable.values)
                text = values.dtype.kind in "OT"  # labels; NumPy's files hold them as fixed-width texts
                yield "/".join(filter(None, (node, str(name)))), values.astype(str) if text else values


def measured(trained: lrscope.Trained) -> dict[str, np.ndarray]:
    """Measures of a run's kept weights: along a line, of sharpness, of steps and a walk, of the identities."""
    lr = float(trained.result["lr"][1])
    middle, end = trained.state(lr=lr, seed=1, epoch=2), trained.state(lr=lr, seed=1)
    tuned = trained.state(lr=lr, seed=1, finetune_lr=1e-3)
    steps = {"elr": 1e-2, "steps": 12}
    found = {
        "between": geometry.between(trained, end, tuned),
        "sharpness": xr.Dataset(sharpness.of(trained, end)),
        "training": walks.training(trained, middle, every=6, **steps),
        "random walk": walks.random_walk(trained, middle, every=6, **steps),
        "identities": xr.Dataset(equilibrium.identities(trained, middle, **steps)),
    }
    return {f"{name}/{key}": value for name, data in found.items() for key, value in arrays_of(data)}


def differences(base: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> list[str]:
    """What differs between the arrays of two sides, a line each; the base's names are translated."""
    base = {RENAMED.get(name, name): value for name, value in base.items()}
    lines = [f"{name}: only at the base" for name in base if name not in now]
    lines += [f"{name}: only now" for name in now if name not in base]
    for name in base.keys() & now.keys():
        one, other = base[name], now[name]
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            lines.append(f"{name}: {one.dtype} {list(one.shape)} at the base, {other.dtype} {list(other.shape)} now")
        elif one.tobytes() != other.tobytes():
            lines.append(f"{name}: {how_much(one, other)}")
    return sorted(lines)


def how_much(one: np.ndarray, other: np.ndarray) -> str:
    """How two arrays of one type and shape differ."""
    if one.dtype.kind not in "fiub":
        return f"{one} at the base, {other} now"
    a, b = one.astype(float), other.astype(float)
    moved = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    gap = np.abs(a - b)[moved]
    largest = f", by up to {np.nanmax(gap):.3g}" if np.isfinite(gap).any() else ""
    return f"{moved.sum()} of {a.size} values differ{largest}" if moved.any() else "equal values of other bytes"


def sources_of(commit: str, folder: Path) -> Path:
    """The commit's `src`, laid out in the folder.

    Raises:
        SystemExit: git knows no such commit.
    """
    packed = subprocess.run(["git", "archive", commit, "src"], cwd=HERE, capture_output=True)
    if packed.returncode:
        sys.exit(f"BASE: {commit!r} is no commit of this repository: {packed.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def start(source: Path, kinds: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """A process that trains with the lrscope of `source`, and only with that."""
    folder.mkdir(parents=True, exist_ok=True)
    code = (
        "import sys, lrscope; "
        "assert lrscope.__file__.startswith(sys.argv[1]), lrscope.__file__; "
        "from pathlib import Path; import neutral; neutral.train(sys.argv[3:], Path(sys.argv[2]))"
    )
    path = os.pathsep.join([str(source), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code, str(source), str(folder), *kinds], env=environment)


def compare(kinds: list[str], folder: Path) -> int:
    """Print what differs between <folder>/base and <folder>/now; return how many arrays do."""
    total = 0
    for name in kinds:
        sides = [dict(np.load(folder / side / f"{name}.npz", allow_pickle=False)) for side in ("base", "now")]
        base, now = ({key.replace("|", "/"): value for key, value in side.items()} for side in sides)
        lines = differences(base, now)
        total += len(lines)
        print(f"{name}: {len(now)} arrays, {len(lines) or 'none'} of them differ", *lines, sep="\n  ", flush=True)
    return total


def main() -> None:
    """Train both sides, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("base", help="a commit, branch or tag")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--keep", type=Path, help="a new folder for the arrays of both sides")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="neutral-") as temporary:
        folder = (arguments.keep or Path(temporary) / "arrays").resolve()
        sides = {"base": sources_of(arguments.base, Path(temporary)), "now": HERE / "src"}
        working = [start(source, arguments.only, folder / side) for side, source in sides.items()]
        if failed := [side for side, process in zip(sides, working, strict=True) if process.wait()]:
            sys.exit(f"{' and '.join(failed)}: training failed, see above")
        differing = compare(arguments.only, folder)
    print(f"{differing or 'no'} arrays differ from {arguments.base}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
