"""How much is lost by following the recommendation? Nine kinds of maps, judged by seeds that did not choose.

Each map is trained with six seeds. For every choice of three (or five) of them, `regimes` sees only these; the learning
rate that it recommends is judged by the test quality that the other seeds reached with it. The regret is what they miss, in
points (hundredths of accuracy, or of explained variance), against the learning rate that is best over all six seeds: so
noise in that best makes the regret larger, never smaller.

    python benchmarks/recommendation.py                        # all nine; about half an hour on two cores
    python benchmarks/recommendation.py --only digits-mlp-3 tabular-sphere

Results are kept in --root and used again. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from sklearn.datasets import make_classification, make_friedman1
from torch import nn

import lrscope

SEEDS = 6
LOST = 0.2  # points: what may be lost on average over the kinds
LOST_MOST = 0.6  # points: what may be lost on one kind, beyond one standard error


@dataclass(frozen=True)
class Kind:
    """A map: its task, options of `sweep`, and how many seeds choose."""

    task: Callable[[], lrscope.Task]
    options: dict[str, Any]
    choosing: int = 3


@dataclass(frozen=True)
class Row:
    """What following one kind's recommendation costs, in points: the recommended learning rate, the mean and the worst of
    the recommended range; `error` is the standard error of `regret` over the choices' held-out means."""

    regret: float
    error: float
    inside: float
    worst: float
    recommended: str
    best: float
    answered: float


def digits(model: str, **options: Any) -> Callable[[], lrscope.Task]:
    """The digits, 1,024 of them for training."""
    return lambda: lrscope.named_task("digits", model, train_size=1024, **options)


def tabular() -> lrscope.Task:
    """A table with noisy labels whose best start lies inside regime 2."""
    x, y = make_classification(
        3000,
        20,
        n_informative=8,
        n_redundant=4,
        n_classes=4,
        n_clusters_per_class=3,
        flip_y=0.05,
        class_sep=1.2,
        random_state=0,
    )
    return lrscope.Task(lambda: mlp(20, 4), *split(x, torch.from_numpy(y).long(), 1000), name="table of four classes")


def regression() -> lrscope.Task:
    """Friedman's first function with noise; targets standardised."""
    x, y = make_friedman1(3000, 10, noise=1.0, random_state=0)
    target = torch.from_numpy((y - y[:1000].mean()) / y[:1000].std()).float()
    return lrscope.Task(lambda: mlp(10, 1, last=nn.Flatten(0)), *split(x, target, 1000), loss="mse", name="friedman")


def split(x: Any, y: torch.Tensor, train: int) -> tuple[Any, Any]:
    """Training and test pairs, inputs standardised by the training examples."""
    inputs = torch.from_numpy((x - x[:train].mean(0)) / x[:train].std(0)).float()
    return (inputs[:train], y[:train]), (inputs[train:], y[train:])


def mlp(inputs: int, outputs: int, *, last: nn.Module | None = None) -> nn.Sequential:
    """Two hidden layers of 32 with batch norm."""
    hidden = [nn.Linear(inputs, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(32, outputs), *([] if last is None else [last]))


def on_sphere(lrs: str, epochs: float, finetune_lr: float, batch_size: int = 64) -> dict[str, Any]:
    """Options of a map on the sphere with fine-tunes half as long."""
    return {
        "lrs": grid(lrs),
        "epochs": epochs,
        "batch_size": batch_size,
        "finetune_lrs": (finetune_lr,),
        "finetune_epochs": epochs / 2,
    }


def grid(text: str) -> tuple[float, ...]:
    """LOW:HIGH:COUNT as `lrscope map` reads it."""
    low, high, count = text.split(":")
    return lrscope.log_grid(float(low), float(high), int(count))


DIGITS_MLP = on_sphere("1e-4:3:16", 100, 1e-3)
ADAM = {"lrs": grid("1e-4:1:16"), "epochs": 40, "batch_size": 64, "space": "whole", "optimizer": "adam"}
WHOLE = {"space": "whole", "momentum": 0.9, "weight_decay": 5e-4}
KINDS = {
    "digits-mlp-3": Kind(digits("mlp"), DIGITS_MLP),
    "digits-mlp-5": Kind(digits("mlp"), DIGITS_MLP, choosing=5),
    "digits-convnet": Kind(digits("convnet", width=8), on_sphere("1e-4:1:12", 40, 1e-3)),
    "tabular-sphere": Kind(tabular, on_sphere("1e-4:3:16", 60, 1e-3, 32)),
    "tabular-whole": Kind(tabular, on_sphere("1e-3:3:16", 60, 2e-3, 32) | WHOLE),
    "fashion-mnist": Kind(
        lambda: lrscope.named_task("fashion-mnist", "convnet", width=8, pool=2, train_size=4000),
        on_sphere("1e-5:0.3:12", 20, 2e-4),
    ),
    "adam-constant": Kind(digits("mlp"), ADAM),
    "adam-cosine": Kind(digits("mlp"), ADAM | {"schedule": "cosine"}),
    "regression": Kind(regression, on_sphere("1e-3:3:16", 60, 2e-3, 32) | WHOLE),
}


def main() -> None:
    """Train what is missing, judge, print a table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark-recommendation"))
    parser.add_argument("--jobs", type=int)
    arguments = parser.parse_args()
    print(
        "| kind | seeds that choose | recommended (all seeds) | best | regret | of the range: mean, worst | answers |"
    )
    print("|---|---|---|---|---|---|---|")
    rows: dict[str, Row] = {}
    for name in arguments.only:
        kind = KINDS[name]
        folder = arguments.root / name.replace("-5", "-3")
        result = lrscope.sweep(kind.task(), seeds=SEEDS, out=folder, jobs=arguments.jobs, **kind.options)
        row = rows[name] = judge(result, kind.choosing)
        print(
            f"| {name} | {kind.choosing} | {row.recommended} | {row.best:.3g} | {row.regret:.2f} ± {row.error:.2f} "
            f"| {row.inside:.2f}, {row.worst:.2f} | {row.answered:.0%} |",
            flush=True,
        )
    mean = float(np.mean([row.regret for row in rows.values()]))
    over = [name for name, row in rows.items() if row.regret - row.error > LOST_MOST]
    found = {
        "name": "recommendation",
        "mean_regret": round(mean, 3),
        "target": LOST,
        "above_most": over,
        "unit": "points",
        "kinds": {name: round(row.regret, 3) for name, row in rows.items()},
    }
    print(json.dumps(found))


def judge(result: xr.DataTree, choosing: int) -> Row:
    """The regret of a result's recommendations, over all choices of seeds."""
    quality = reached(result)
    best = int(np.nanargmax(np.where(np.isfinite(quality).all(1), quality.mean(1), -np.inf)))
    lrs = result["lr"].values
    regrets, insides, worsts, answers = [], [], [], []
    for chosen in combinations(range(SEEDS), choosing):
        others = [s for s in range(SEEDS) if s not in chosen]
        advice = lrscope.regimes(result.isel(seed=list(chosen))).recommended
        answers.append(advice.low is not None)
        if advice.low is None or advice.high is None:
            continue
        start = getattr(advice, "best", None) or float(np.sqrt(advice.low * advice.high))
        lost = 100 * (quality[best] - np.nan_to_num(quality, nan=0.0))[:, others].mean(1)
        regrets.append(float(lost[int(np.abs(np.log(lrs / start)).argmin())]))
        inside = lost[(lrs >= advice.low * 0.999) & (lrs <= advice.high * 1.001)]
        insides.append(float(inside.mean()))
        worsts.append(float(inside.max()))
    whole = lrscope.regimes(result).recommended
    span = "none" if whole.low is None else f"{whole.low:.3g} to {whole.high:.3g}"
    return Row(
        regret=float(np.mean(regrets)) if regrets else float("nan"),
        error=float(np.std(regrets) / np.sqrt(SEEDS)) if regrets else float("nan"),
        inside=float(np.mean(insides)) if insides else float("nan"),
        worst=float(np.max(worsts)) if worsts else float("nan"),
        recommended=span,
        best=float(lrs[best]),
        answered=float(np.mean(answers)),
    )


def reached(result: xr.DataTree) -> np.ndarray[Any, Any]:
    """Test quality [learning rates, seeds] after the decay where there is one: accuracy, or explained variance of
    standardised targets."""
    tuned = "finetune" in result.children
    node = result["finetune" if tuned else "pretrain"]
    name = "test_accuracy" if "test_accuracy" in node else "test_loss"
    last = node[name].isel(epoch=-1, drop=True)
    last = last.isel(finetune_lr=0, drop=True) if tuned else last
    values = last.isel(data_seed=0, drop=True).transpose("lr", "seed").values
    return np.asarray(values if name.endswith("accuracy") else 1 - values)


if __name__ == "__main__":
    main()
