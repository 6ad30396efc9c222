"""Does the monitor's label at half of a training agree with the map's at its end? Digits with SGD, momentum and AdamW.

A map is trained by `lrscope.sweep`; then the same network trains in plain PyTorch loops, with seeds of their own, to half of the
steps, a monitor at default settings beside it. The map is sure of a learning rate where all its seeds vote for the label and no
flag says otherwise. Fixed before the first run:

- agreement: runs where the map is sure and the monitor says the same, over runs where the map is sure; at least 90%.
  An abstention counts as a disagreement. The share among labels that were given is printed beside it.
- false alarms: runs of regimes 1 and 2 with a warning `dead`, `too high` or `too low`, where no seed of the map is flagged
  as too slow, over all runs of regimes 1 and 2; at most 5%.

    python benchmarks/monitor_agreement.py [--seeds 3] [--root runs/monitor_agreement]

A first run (width 32, loops 500 to 502) had no wrong label, but abstained in noisy runs at high learning rates. Two rules were
added to the monitor after it: what noise cannot hide is held against converging runs, and a loss that jumps about below a
hundredth of that of guessing counts as 1. So that run was development; the default is another width with other seeds.
On it (width 24, loops 600 and 601) no label was wrong and 45 of 56 agreed. Then a rule was added by reasoning and planted curves:
what noise cannot hide is looked for from the first quarter of the curve on. So loops had new seeds again (700, 701): 49 of 56
agreed, 2 of 51 labels were wrong. Then the rules were settled anew on loops 600, 601, 700 and 701 and on planted curves, and
frozen: a line over log time, all rows used, jumps cut off, a swing is no fall, levels as the map sees them. Loops begin at 800.

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

STEPS, BATCH, SIZE = 960, 64, 1024
FIRST_SEED = (
    800  # of the loops: no seed of the map; 500 to 502, 600, 601, 700, 701 were looked at before rules were settled
)
ALARMS = ("dead", "too high", "too low")
SLOW = "too slow to tell"


@dataclass(frozen=True)
class Kind:
    """An optimizer: as a sweep names it and as PyTorch makes it, with a grid that spans its regimes."""

    name: str
    options: dict[str, Any]
    make: Callable[[nn.Module, float], torch.optim.Optimizer]
    lrs: tuple[float, float]


KINDS = (
    Kind(
        "SGD",
        {"optimizer": "sgd", "weight_decay": 5e-4},
        lambda m, lr: torch.optim.SGD(m.parameters(), lr=lr, weight_decay=5e-4),
        (1e-3, 30.0),
    ),
    Kind(
        "momentum",
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 5e-4},
        lambda m, lr: torch.optim.SGD(m.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4),
        (1e-4, 3.0),
    ),
    Kind(
        "AdamW",
        {"optimizer": "adamw", "weight_decay": 0.05},
        lambda m, lr: torch.optim.AdamW(m.parameters(), lr=lr, weight_decay=0.05),
        (1e-5, 1.0),
    ),
)


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


def task(width: int) -> lrscope.Task:
    """Digits with a small network."""
    return lrscope.named_task("digits", "mlp", width=width, train_size=SIZE)


def batches(x: torch.Tensor, y: torch.Tensor, seed: int, steps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Mini-batches in an order of the seed's, epoch by epoch."""
    draws = torch.Generator().manual_seed(seed)
    while True:
        for part in torch.randperm(len(x), generator=draws).split(BATCH):
            if steps == 0:
                return
            steps -= 1
            yield x[part], y[part]


def watched(kind: Kind, lr: float, seed: int, of: lrscope.Task) -> Monitor | None:
    """A monitor after half of a training; None where the loss was not finite."""
    model, data = of.new_model(seed), of.data(0)
    optimizer = kind.make(model, lr)
    monitor = Monitor(model, optimizer, horizon=STEPS, chance=math.log(10))
    for x, y in batches(data.train_x, data.train_y, seed, STEPS // 2):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    return monitor if math.isfinite(float(loss.detach())) else None


def seen_of(kind: Kind, seeds: int, root: Path, width: int) -> list[Seen]:
    """The map of a kind, and what monitors say at its learning rates."""
    of = task(width)
    lrs = lrscope.log_grid(*kind.lrs, 12)
    sizes: dict[str, Any] = {"seeds": seeds, "steps": STEPS, "batch_size": BATCH, "space": "whole"}
    result = lrscope.sweep(of, lrs=lrs, **sizes, **kind.options, out=root / f"{kind.name}-{width}")
    found = []
    for label in lrscope.regimes(result).labels:
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            monitor = watched(kind, label.lr, seed, of)
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


def main() -> None:
    """Train maps and loops, print every run and the shares."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--width", type=int, default=24, help="of the network's hidden layers; rules were settled at 32"
    )
    parser.add_argument("--root", type=Path, default=Path("runs/monitor_agreement"))
    parser.add_argument("--only", choices=[kind.name for kind in KINDS], help="one optimizer")
    options = parser.parse_args()
    torch.set_num_threads(1)
    every: list[Seen] = []
    for kind in KINDS:
        if options.only in (None, kind.name):
            found = seen_of(kind, options.seeds, options.root, options.width)
            shown(kind, found)
            every += found
    sure = [seen for seen in every if seen.sure]
    told = [seen for seen in sure if seen.regime != "?"]
    healthy = [seen for seen in every if seen.healthy]
    print(
        json.dumps(
            {
                "name": "monitor_agreement",
                "runs": len(every),
                "sure": len(sure),
                "labelled": len(told),
                "agreement": round(sum(s.agrees for s in sure) / max(len(sure), 1), 4),
                "agreement_of_labelled": round(sum(s.agrees for s in told) / max(len(told), 1), 4),
                "false_alarms": round(sum(s.alarmed for s in healthy) / max(len(healthy), 1), 4),
            }
        )
    )


if __name__ == "__main__":
    main()
