"""Does a decay reach what the monitor's look ahead says? Runs at constant learning rate, a look ahead, then a real decay to 0.

Where the monitor says what a decay would reach, the loss after a linear decay over a quarter as
many updates is held against the loss of the average and its interval. Three cases:

- fresh: labels drawn from a teacher, every batch is new; held-out batches are evaluated;
- held-out: digits, 1,024 training examples with a fifth of the labels drawn at random; test examples are evaluated;
- training: the same runs, evaluated on the training examples.

    python benchmarks/monitor_outlook.py [--case fresh] [--lrs 8] [--seeds 2]

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

import lrscope
from lrscope.monitor.average import look_ahead

Batch = tuple[Tensor, Tensor]
CLASSES, INPUTS = 5, 16
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, float], tuple[float, float]]] = {
    "SGD": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 5e-4}, (1e-3, 1.0)),
    "AdamW": (torch.optim.AdamW, {"weight_decay": 0.1}, (3e-4, 0.1)),
}


@dataclass(frozen=True)
class Case:
    """A model from a seed, batches of a training, and batches that are evaluated by name."""

    model: Callable[[], nn.Module]
    batches: Callable[[torch.Generator], Iterator[Batch]]
    evaluated: dict[str, list[Batch]]
    chance: float
    steps: int


def dense(inputs: int, width: int, outputs: int) -> nn.Module:
    """Two hidden layers with batch norms."""
    layers: list[nn.Module] = []
    for size in (inputs, width):
        layers += [nn.Linear(size, width), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def fresh() -> Case:
    """Labels drawn from a teacher's probabilities."""
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(INPUTS, 64), nn.Tanh(), nn.Linear(64, CLASSES)).requires_grad_(False)
    teacher[0].weight.mul_(3)
    teacher[2].weight.mul_(4)

    def batches(draws: torch.Generator, size: int = 64) -> Iterator[Batch]:
        while True:
            x = torch.randn(size, INPUTS, generator=draws)
            yield x, teacher(x).softmax(1).multinomial(1, generator=draws)[:, 0]

    held = batches(torch.Generator().manual_seed(1), 256)
    evaluated = {"fresh": [next(held) for _ in range(20)]}
    return Case(lambda: dense(INPUTS, 128, CLASSES), batches, evaluated, math.log(CLASSES), 1000)


def digits() -> Case:
    """The same examples again and again, a fifth of them with labels at random."""
    data = lrscope.named_task("digits", "mlp", train_size=1024).data(0)
    draws = torch.Generator().manual_seed(0)
    x, y = data.train_x.flatten(1), data.train_y.clone()
    wrong = torch.rand(len(y), generator=draws) < 0.2
    y[wrong] = torch.randint(0, 10, (int(wrong.sum()),), generator=draws)

    def batches(draws: torch.Generator) -> Iterator[Batch]:
        while True:
            for part in torch.randperm(len(x), generator=draws).split(64):
                yield x[part], y[part]

    held = data.test_x.flatten(1)
    evaluated = {
        "held-out": list(zip(held.split(32), data.test_y.split(32), strict=True)),
        "training": list(zip(x.split(64), y.split(64), strict=True)),
    }
    return Case(lambda: dense(x.shape[1], 24, 10), batches, evaluated, math.log(10), 640)


@dataclass(frozen=True)
class Found:
    """What was said, and the loss after the decay."""

    name: str
    regime: str
    ahead: lrscope.monitor.LookAhead
    reached: float


def losses(batches: list[Batch]) -> Callable[[nn.Module], list[float]]:
    """An evaluation."""

    def evaluate(model: nn.Module) -> list[float]:
        model.eval()
        with torch.no_grad():
            return [float(functional.cross_entropy(model(x), y)) for x, y in batches]

    return evaluate


def runs(case: Case, optimizer: str, lr: float, seed: int) -> list[Found]:
    """One run with its decay, for each of the evaluations."""
    torch.manual_seed(seed)
    model, (make, options, _) = case.model(), OPTIMIZERS[optimizer]
    made = make(model.parameters(), lr, **options)
    monitor = lrscope.Monitor(model, made, chance=case.chance, look_ahead=True)
    stream = case.batches(torch.Generator().manual_seed(100 + seed))
    decay = case.steps // 4
    ahead = {}
    for k in range(case.steps + decay):
        if k == case.steps:
            inputs, regime = [next(stream)[0] for _ in range(16)], monitor.regime().regime
            ahead = {name: monitor.look_ahead(losses(b), batches=inputs) for name, b in case.evaluated.items()}
        for group in made.param_groups:
            group["lr"] = lr * min(1.0, 1 - (k + 1 - case.steps) / decay)
        x, y = next(stream)
        made.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        made.step()
        monitor.step(loss)
    inputs = [next(stream)[0] for _ in range(16)]
    after = {n: look_ahead(model, {}, losses(b), 1, inputs, lambda m, i: m(i)) for n, b in case.evaluated.items()}
    return [Found(f"{optimizer} {lr:.2g}", regime, ahead[name], after[name].now) for name in case.evaluated]


def main() -> None:
    """Every run, then a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", choices=["fresh", "digits"])
    parser.add_argument("--lrs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    summary = {}
    for made in (fresh, digits):
        if options.case not in (None, made.__name__):
            continue
        case = made()
        found: dict[str, list[Found]] = {name: [] for name in case.evaluated}
        for optimizer, (_, _, span) in OPTIMIZERS.items():
            for lr in lrscope.log_grid(*span, options.lrs):
                for seed in range(options.seeds):
                    for name, one in zip(case.evaluated, runs(case, optimizer, lr, seed), strict=True):
                        found[name].append(one)
                        print(
                            f"{name:9s} {one.name:14s} {one.regime:4s} {one.ahead}; reached {one.reached:.4g}",
                            flush=True,
                        )
        for name, ones in found.items():
            told = [one for one in ones if one.ahead.tells]
            ratios = sorted(one.reached / one.ahead.ahead for one in told)
            within = sum((one.ahead.low or 0) <= one.reached <= (one.ahead.high or 0) for one in told)
            ends = [round(ratios[0], 3), round(ratios[len(ratios) // 2], 3), round(ratios[-1], 3)] if told else []
            summary[name] = {"runs": len(ones), "told": len(told), "within": within, "reached over told": ends}
    print(json.dumps({"name": "monitor_outlook", **summary}))


if __name__ == "__main__":
    main()
