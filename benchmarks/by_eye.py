"""Do the regimes of maps agree with an eye? Six kinds of tasks that no threshold was settled on.

Each map is trained with two seeds. `--draw` writes one picture a task that knows nothing of labels: the loss curves of every
learning rate, and what fine-tuning reached. Somebody looks at them and writes a label for each learning rate into `BY_EYE`;
without `--draw` those are held against the labels that the rules give.

    python benchmarks/by_eye.py --draw          # trains and draws; about twenty minutes on two cores
    python benchmarks/by_eye.py                 # the agreement

Results are kept in --root and used again. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes, make_gaussian_quantiles
from torch import nn

import lrscope
from lrscope.tasks.data import load

SEED = 300  # of no run that a threshold was settled on
COLUMNS = 5


@dataclass(frozen=True)
class Kind:
    """A map: its task and options of `sweep`."""

    task: Callable[[], lrscope.Task]
    options: dict[str, Any]


class BagOfWords(nn.Module):
    """The mean of a text's embeddings, then two hidden layers with batch norm."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 32)
        self.rest = nn.Sequential(nn.BatchNorm1d(32), normalised_mlp(32, classes))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.rest(self.embedding(tokens).mean(1))


def normalised_mlp(inputs: int, outputs: int, *, last: nn.Module | None = None) -> nn.Sequential:
    """Two hidden layers of 32 with batch norm."""
    hidden = [nn.Linear(inputs, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(32, outputs), *([] if last is None else [last]))


def table() -> lrscope.Task:
    """Five classes in shells around one point, by scikit-learn's generator."""
    x, y = make_gaussian_quantiles(n_samples=3000, n_features=10, n_classes=5, random_state=1)
    return lrscope.Task(lambda: normalised_mlp(10, 5), *split(x, torch.from_numpy(y).long(), 1000), name="quantiles")


def regression() -> lrscope.Task:
    """Progression of diabetes from ten measurements; targets standardised."""
    x, y = load_diabetes(return_X_y=True)
    target = torch.from_numpy((y - y[:256].mean()) / y[:256].std()).float()
    model = lambda: normalised_mlp(10, 1, last=nn.Flatten(0))  # noqa: E731
    return lrscope.Task(model, *split(x, target, 256), loss="mse", name="diabetes")


def split(x: Any, y: torch.Tensor, train: int) -> tuple[Any, Any]:
    """Training and test pairs, inputs standardised by the training examples."""
    inputs = torch.from_numpy((x - x[:train].mean(0)) / x[:train].std(0)).float()
    return (inputs[:train], y[:train]), (inputs[train:], y[train:])


def text() -> lrscope.Task:
    """Which of four collections a saying is from."""
    data = load("fortunes", train_size=1024)
    vocabulary = int(max(data.train_x.max(), data.test_x.max())) + 1
    model = lambda: BagOfWords(vocabulary, 4)  # noqa: E731
    return lrscope.Task(model, (data.train_x, data.train_y), (data.test_x, data.test_y), name="fortunes")


def named(data: str, model: str, **options: Any) -> Callable[[], lrscope.Task]:
    """A task of the tables of data and models."""
    return lambda: lrscope.named_task(data, model, **options)


def options(low: float, high: float, count: int, epochs: int, flr: float, batch_size: int = 64) -> dict[str, Any]:
    """A map on the sphere with fine-tunes half as long."""
    return {
        "lrs": lrscope.log_grid(low, high, count),
        "epochs": epochs,
        "batch_size": batch_size,
        "finetune_lrs": (flr,),
        "finetune_epochs": epochs // 2,
        "seeds": 2,
        "first_seed": SEED,
    }


KINDS = {
    "digits-convnet": Kind(named("digits", "convnet", width=8, train_size=1024), options(1e-4, 3, 14, 40, 1e-3)),
    "fashion-mnist-28": Kind(
        named("fashion-mnist", "convnet", width=16, train_size=512, test_size=1000), options(1e-4, 1, 12, 30, 1e-3, 32)
    ),
    "table": Kind(table, options(1e-4, 3, 15, 60, 1e-3, 32)),
    "text": Kind(text, options(1e-4, 3, 15, 60, 1e-3)),
    "digits-resnet18": Kind(named("digits", "resnet18", width=4, train_size=1024), options(1e-4, 3, 13, 30, 1e-3)),
    "regression": Kind(regression, options(3e-6, 0.1, 15, 200, 1e-5, 32)),
}
# A label for each learning rate, by an eye that saw the pictures of `--draw` and nothing else. It does not part 2A from 2B.
BY_EYE = {
    "table": "111122222333333",
    "text": "111122223333333",
    "digits-convnet": "11111112233333",
    "digits-resnet18": "1111112333333",
    "regression": "111111122233333",
    "fashion-mnist-28": "111112333333",
}


def main() -> None:
    """Train what is missing; draw, or print the agreement and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--draw", action="store_true", help="write ROOT/TASK.png and tell no labels")
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark-by-eye"))
    parser.add_argument("--jobs", type=int)
    arguments = parser.parse_args()
    results = {
        name: lrscope.sweep(KINDS[name].task(), out=arguments.root / name, jobs=arguments.jobs, **KINDS[name].options)
        for name in arguments.only
    }
    if arguments.draw:
        for name, result in results.items():
            picture(result).savefig(arguments.root / f"{name}.png", dpi=90)
    else:
        compare(results)


def compare(results: dict[str, xr.DataTree]) -> None:
    """Print both labels of every learning rate, 2A and 2B as one, and how many agree."""
    agreed: dict[str, list[bool]] = {}
    for name in results.keys() - BY_EYE.keys():
        print(f"{name}: nobody has labelled it yet")
    for name, result in ((name, results[name]) for name in BY_EYE if name in results):
        by_rules = [label.regime.rstrip("AB") for label in lrscope.regimes(result).labels]
        agreed[name] = [seen == found for seen, found in zip(BY_EYE[name], by_rules, strict=True)]
        print(f"{name}: {sum(agreed[name])} of {len(by_rules)} agree")
        for lr, seen, found, same in zip(result["lr"].values, BY_EYE[name], by_rules, agreed[name], strict=True):
            print(f"  {lr:9.3g}  eye {seen:4}  rules {found:4}{'' if same else '  <-'}")
    count = {name: [sum(same), len(same)] for name, same in agreed.items()}
    total = [sum(column) for column in zip(*count.values(), strict=True)]
    print(json.dumps({"name": "by_eye", "agree": total[0], "of": total[1], "tasks": count}))


def picture(result: xr.DataTree) -> Figure:
    """A panel of training loss for each learning rate, all of one height, and one of what fine-tuning reached."""
    lrs = result["lr"].values
    rows = -(-(len(lrs) + 1) // COLUMNS)
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(2.6 * COLUMNS, 2.0 * rows), layout="constrained")
        panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        loss = result["pretrain/train_loss"].isel(data_seed=0).transpose("lr", "seed", "epoch").values
        known = loss[np.isfinite(loss) & (loss > 0)]
        for k, lr in enumerate(lrs):
            curves(
                panels[k], result["pretrain/epoch"].values, loss[k], (known.min() / 1.2, known.max() * 1.2), f"{lr:.2g}"
            )
        reached(panels[len(lrs)], result)
        for empty in panels[len(lrs) + 1 :]:
            empty.set_axis_off()
    return figure


def curves(axes: Axes, epochs: Any, loss: Any, limits: tuple[float, float], title: str) -> None:
    """The loss of each seed [seed, epoch] on a log scale."""
    for one in loss:
        axes.semilogy(epochs, one, linewidth=0.9)
    axes.set_ylim(*limits)
    axes.set_title(title)
    axes.grid(alpha=0.3)


def reached(axes: Axes, result: xr.DataTree) -> None:
    """Test quality at the end of pre-training and after fine-tuning, by learning rate, each seed."""
    for node, color in (("pretrain", "0.6"), ("finetune", "tab:red")):
        values = last_quality(result[node])
        axes.semilogx(result["lr"].values, values, ".-", color=color, linewidth=0.7, label=[node, None])
    axes.set_title("test quality at the end")
    axes.legend()


def last_quality(node: Any) -> Any:
    """Accuracy, or the part of the variance that is explained [lr, seed]."""
    name = "test_accuracy" if "test_accuracy" in node else "test_loss"
    last = node[name].isel(epoch=-1, data_seed=0)
    last = last.isel(finetune_lr=0) if "finetune_lr" in last.dims else last
    values = last.transpose("lr", "seed").values
    return values if name == "test_accuracy" else np.clip(1 - values, -0.2, None)


if __name__ == "__main__":
    main()
