"""Does the monitor's label at half of a training agree with the map's at its end? Digits with SGD, momentum and AdamW; others.

A map is trained by `lrscope.sweep`; then the same network trains in plain PyTorch loops, with seeds of their own, to half of the
steps, a monitor at default settings beside it. The map is sure of a learning rate where all its seeds vote for the label and no
flag says otherwise. Fixed before the first run:

- agreement: runs where the map is sure and the monitor says the same, over runs where the map is sure; at least 90%.
  An abstention counts as a disagreement. The fraction among labels that were given is printed beside it.
- false alarms: runs of regimes 1 and 2 with a warning `dead`, `too high` or `too low`, where no seed of the map is flagged
  as too slow, over all runs of regimes 1 and 2; at most 5%.

    python benchmarks/monitor_agreement.py [--task digits] [--only SGD] [--seeds 3] [--root runs/monitor_agreement]

`--task fashion-mnist` trains the network of digits on Fashion-MNIST (pooled to 14 x 14) with SGD; where the images are not
installed, a sentence says so. `--task ticks` trains the 32-32-32-1 network of the papers on the sphere, as the project's maps of
ticks do. Both were written after the rules were frozen.

A first run (width 32, loops 500 to 502) had no wrong label, but abstained in noisy runs at high learning rates. Two rules were
added to the monitor after it: what noise cannot hide is held against converging runs, and a loss that jumps about below a
hundredth of that of guessing counts as 1. So that run was development; the default is another width with other seeds.
On it (width 24, loops 600 and 601) no label was wrong and 45 of 56 agreed. Then a rule was added by reasoning and planted curves:
what noise cannot hide is looked for from the first quarter of the curve on. So loops had new seeds again (700, 701): 49 of 56
agreed, 2 of 51 labels were wrong. Then the rules were settled anew on loops 600, 601, 700 and 701 and on planted curves, and
frozen (c1af8b2): a line over log time, all rows used, jumps cut off, a swing is no fall, levels as the map sees them. With loops
from 800 on, seen once, 99 of 108 agreed and 1 of 100 labels was wrong. After that the monitor measured each tenth update from
the start on, and waited for 320 updates before it told regimes 2 and 3: loops from 900 on are new again, and nothing was settled
on them.

Maps are kept in --root and used again. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import lrscope
from lrscope.mapping.types import Label
from lrscope.monitor import Monitor
from lrscope.studies.binomial import binomial_interval
from lrscope.symmetries.invariance import make_scale_invariant

SIZE = 1024
FIRST_SEED = (
    900  # of the loops: no seed of the map; loops with 500 to 502, 600, 601, 700, 701 and 800 on were looked at before
)
ALARMS = ("dead", "too high", "too low")
SLOW = "too slow to tell"


@dataclass(frozen=True)
class Kind:
    """An optimizer: as a sweep names it and as PyTorch makes it (from a model, a batch and a learning rate), with a grid that
    spans its regimes."""

    name: str
    options: dict[str, Any]
    make: Callable[[nn.Module, torch.Tensor, float], torch.optim.Optimizer]
    lrs: tuple[float, float]
    space: str = "whole"


def on_sphere(model: nn.Module, x: torch.Tensor, lr: float) -> torch.optim.Optimizer:
    """The optimizer of sweeps on the sphere."""
    groups = lrscope.sphere_groups(model, lrscope.find_symmetries(model, x), per="network")
    return lrscope.SphereSGD(groups, lr, radius=1.0)


KINDS = (
    Kind(
        "SGD",
        {"optimizer": "sgd", "weight_decay": 5e-4},
        lambda m, x, lr: torch.optim.SGD(m.parameters(), lr=lr, weight_decay=5e-4),
        (1e-3, 30.0),
    ),
    Kind(
        "momentum",
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 5e-4},
        lambda m, x, lr: torch.optim.SGD(m.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4),
        (1e-4, 3.0),
    ),
    Kind(
        "AdamW",
        {"optimizer": "adamw", "weight_decay": 0.05},
        lambda m, x, lr: torch.optim.AdamW(m.parameters(), lr=lr, weight_decay=0.05),
        (1e-5, 1.0),
    ),
)
SPHERE = Kind("SphereSGD", {"radius": 1.0}, on_sphere, (1e-4, 1.0), space="sphere")


@dataclass(frozen=True)
class Case:
    """A task, from the width of its network, and how it is trained. `chance`: the loss of guessing."""

    task: Callable[[int], lrscope.Task]
    kinds: tuple[Kind, ...]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = functional.cross_entropy
    chance: float = math.log(10)
    steps: int = 960
    batch: int = 64
    count: int = 12  # of learning rates


def logistic(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The loss of one logit."""
    return functional.binary_cross_entropy_with_logits(outputs.flatten(), y.float())


CASES = {
    "digits": Case(lambda width: lrscope.named_task("digits", "mlp", width=width, train_size=SIZE), KINDS),
    "fashion-mnist": Case(
        lambda width: lrscope.named_task("fashion-mnist", "mlp", width=width, pool=2, train_size=SIZE), KINDS[:1]
    ),
    "ticks": Case(
        lambda width: lrscope.named_task("ticks", "mlp"),
        (SPHERE,),
        loss=logistic,
        chance=math.log(2),
        steps=12_000,
        batch=16,
        count=8,
    ),
}


@dataclass(frozen=True)
class Seen:
    """What a run's monitor said at half of the training, beside the map's label."""

    label: Label
    regime: str
    confidence: str
    alarms: tuple[str, ...]
    line: str

    @property
    def sure(self) -> bool:
        """Is the map sure of the learning rate?"""
        label = self.label
        flags = set(label.flags) & {"seeds disagree", SLOW}
        return label.regime != "?" and not flags and set(map(plain, label.votes)) == {plain(label.regime)}

    @property
    def agrees(self) -> bool:
        """Is it the same regime, 2A and 2B taken as 2?"""
        return self.regime == plain(self.label.regime)

    @property
    def alarmed(self) -> bool:
        """A warning that should not have been."""
        return self.healthy and bool(set(self.alarms) & set(ALARMS))

    @property
    def healthy(self) -> bool:
        """Is it a run of regime 1 or 2 that is not flagged as slow?"""
        return plain(self.label.regime) in "12" and SLOW not in self.label.flags


def plain(regime: str) -> str:
    """Without the letter of 2A and 2B."""
    return regime[0] if regime[0] in "123" else regime


def batches(
    x: torch.Tensor, y: torch.Tensor, seed: int, steps: int, size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Mini-batches in an order of the seed's, epoch by epoch."""
    draws = torch.Generator().manual_seed(seed)
    while True:
        for part in torch.randperm(len(x), generator=draws).split(size):
            if steps == 0:
                return
            steps -= 1
            yield x[part], y[part]


def watched(case: Case, kind: Kind, lr: float, seed: int, of: lrscope.Task) -> Monitor | None:
    """A monitor after half of a training; None where the loss was not finite."""
    model, data = of.new_model(seed), of.data(0)
    some = data.train_x[: case.batch]
    sphere = kind.space == "sphere"
    if sphere:
        make_scale_invariant(model, some)
    optimizer = kind.make(model, some, lr)
    monitor = Monitor(model, optimizer, batch=some if sphere else None, horizon=case.steps, chance=case.chance)
    for x, y in batches(data.train_x, data.train_y, seed, case.steps // 2, case.batch):
        optimizer.zero_grad()
        loss = case.loss(model(x), y)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    return monitor if math.isfinite(float(loss.detach())) else None


def seen_of(case: Case, kind: Kind, seeds: int, root: Path, width: int) -> list[Seen]:
    """The map of a kind, kept in `root`, and what monitors say at its learning rates."""
    of = case.task(width)
    lrs = lrscope.log_grid(*kind.lrs, case.count)
    sizes: dict[str, Any] = {"seeds": seeds, "steps": case.steps, "batch_size": case.batch, "space": kind.space}
    result = lrscope.sweep(of, lrs=lrs, **sizes, **kind.options, out=root)
    found = []
    for label in lrscope.regimes(result).labels:
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            monitor = watched(case, kind, label.lr, seed, of)
            if monitor is not None:
                regime = monitor.regime()
                names = tuple(alarm.name for alarm in monitor.warnings())
                found.append(Seen(label, regime.regime, regime.confidence, names, monitor.line()))
    return found


def shown(kind: Kind, found: list[Seen]) -> None:
    """A line for each run."""
    for seen in found:
        mark = "" if not seen.sure else "agrees" if seen.agrees else "abstains" if seen.regime == "?" else "DIFFERS"
        flags = ", ".join(seen.label.flags)
        print(
            f"{kind.name:9s} {seen.label.lr:8.2g}  {seen.label.regime:4s} {mark:8s} {seen.line}  [{flags}] {seen.alarms}"
        )


def fraction(count: int, of: int) -> tuple[float, tuple[float, float]]:
    """A fraction and its 95% interval (Clopper and Pearson); of nothing it is 0."""
    low, high = binomial_interval(count, of)
    return round(count / max(of, 1), 4), (round(float(low), 3), round(float(high), 3))


def summary(every: list[Seen]) -> dict[str, Any]:
    """The fractions of the criterion, with intervals that take runs for independent."""
    sure = [seen for seen in every if seen.sure]
    told = [seen for seen in sure if seen.regime != "?"]
    healthy = [seen for seen in every if seen.healthy]
    right, alarmed = sum(s.agrees for s in sure), sum(s.alarmed for s in healthy)
    return {
        "runs": len(every),
        "sure": len(sure),
        "labelled": len(told),
        "right": right,
        "healthy": len(healthy),
        "alarmed": alarmed,
        "agreement": fraction(right, len(sure)),
        "agreement_of_labelled": fraction(right, len(told)),
        "false_alarms": fraction(alarmed, len(healthy)),
    }


def main() -> None:
    """Train maps and loops, print every run and the fractions."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", choices=CASES, default="digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=24, help="of hidden layers; not of ticks, which has 32")
    parser.add_argument("--root", type=Path, default=Path("runs/monitor_agreement"))
    parser.add_argument("--only", choices=[kind.name for kind in KINDS], help="one optimizer of several")
    options = parser.parse_args()
    torch.set_num_threads(1)
    case, every = CASES[options.task], []
    try:
        case.task(options.width).data(0)
    except lrscope.LrscopeError as reason:
        print(f"skipped: {reason}")
        return
    for kind in case.kinds:
        if options.only in (None, kind.name):
            root = options.root / ("" if options.task == "digits" else options.task) / f"{kind.name}-{options.width}"
            found = seen_of(case, kind, options.seeds, root, options.width)
            shown(kind, found)
            every += found
    print(json.dumps({"name": "monitor_agreement", "task": options.task, **summary(every)}))


if __name__ == "__main__":
    main()
