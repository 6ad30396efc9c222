"""What the monitor costs: training steps with it against the same steps without, in turn in one process; and its memory.

ResNet-18 at batch 128 and a small network whose step takes about 5 ms, at default settings: every tenth update is measured, and
of the first 320 each loss is kept (`at first`).

    python benchmarks/monitor_overhead.py [--seconds 60] [--only small]

The last line is one JSON object; `ours` is the largest cost as a share of its goal (3% on ResNet-18, 5% on 5 ms),
`baseline` 1.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from common import last_line
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

import lrscope
from lrscope.monitor.monitor import EVERY, FIRST


@dataclass(frozen=True)
class Case:
    """A network with a batch, and how much of a step the monitor may take."""

    name: str
    model: Callable[[], nn.Module]
    batch: Callable[[], tuple[Tensor, Tensor]]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    goal: float


def small() -> nn.Module:
    """A convolutional network: about 5 ms a step on one core."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 36, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


CASES = (
    Case(
        "small",
        small,
        lambda: (torch.randn(32, 1, 16, 16), torch.randint(0, 10, (32,))),
        lambda m: torch.optim.AdamW(m.parameters(), lr=1e-3),
        0.05,
    ),
    Case(
        "ResNet-18",
        lambda: resnet18(num_classes=10),
        lambda: (torch.randn(128, 3, 32, 32), torch.randint(0, 10, (128,))),
        lambda m: torch.optim.SGD(m.parameters(), lr=0.01, momentum=0.9),
        0.03,
    ),
)


class Loop:
    """Training on one batch, with or without a monitor."""

    def __init__(self, case: Case, *, watched: bool, every: int | None = EVERY, look_ahead: bool = False) -> None:
        torch.manual_seed(0)
        self.model = case.model()
        self.batch = case.batch()
        self.optimizer = case.optimizer(self.model)
        options = {"every": every, "look_ahead": look_ahead}
        self.monitor = lrscope.Monitor(self.model, self.optimizer, **options) if watched else None
        self.inside = 0.0  # seconds within the monitor

    def step(self) -> float:
        """Seconds of processor time for a step."""
        begun = time.thread_time()
        self.optimizer.zero_grad()
        loss = functional.cross_entropy(self.model(self.batch[0]), self.batch[1])
        loss.backward()
        self.optimizer.step()
        if self.monitor is not None:
            called = time.thread_time()
            self.monitor.step(loss)
            self.inside += time.thread_time() - called
        return time.thread_time() - begun

    def copies(self) -> float:
        """Memory of the monitor's tensors in copies of the weights that train."""
        assert self.monitor is not None
        kept = [*self.monitor.snapshot.copies.values()]
        kept += [*self.monitor.average.weights.values()] if self.monitor.average is not None else []
        held = sum(tensor.numel() * tensor.element_size() for tensor in kept)
        return held / sum(p.numel() * p.element_size() for p in self.model.parameters())


def turn(plain: Loop, watched: Loop) -> tuple[float, float, float]:
    """Seconds for EVERY steps without and with the monitor, step by step in turn, and those within it."""
    taken, watched.inside = {plain: 0.0, watched: 0.0}, 0.0
    for k in range(EVERY):
        for loop in (plain, watched) if k % 2 else (watched, plain):
            taken[loop] += loop.step()
    return taken[plain], taken[watched], watched.inside


def loops(case: Case, *, first: bool) -> tuple[Loop, Loop]:
    """Without and with the monitor, after a turn; `first`: as it is for the first 320 updates."""
    plain, watched = Loop(case, watched=False), Loop(case, watched=True, every=None if first else EVERY)
    turn(plain, watched)
    return plain, watched


def cost(case: Case, seconds: float, *, first: bool) -> tuple[float, float, float, int]:
    """Share of a step that the monitor takes, the same by the time within its calls, the milliseconds of a step without, and the
    number of turns; medians over turns."""
    plain, watched = loops(case, first=first)
    turns, begun = [], time.perf_counter()
    while len(turns) < 3 or time.perf_counter() - begun < seconds:
        if first and watched.monitor is not None and watched.monitor.updates + EVERY >= FIRST:
            plain, watched = loops(case, first=True)
        turns.append(turn(plain, watched))
    share = median(with_it / without - 1 for without, with_it, _ in turns)
    within = median(inside / (with_it - inside) for _, with_it, inside in turns)
    return share, within, 1000 * median(without for without, _, _ in turns) / EVERY, len(turns)


def main() -> None:
    """Time every case and say what memory it takes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each case")
    parser.add_argument("--only", choices=[case.name for case in CASES], help="one case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    worst, found = 0.0, {}
    print(
        "case         step without    monitor  in calls     goal   memory, with look_ahead (copies of the weights) turns at first"
    )
    for case in CASES:
        if options.only not in (None, case.name):
            continue
        share, within, step, turns = cost(case, options.seconds, first=False)
        first = cost(case, options.seconds / 2, first=True)[1]
        copies = []
        for look_ahead in (False, True):
            loop = Loop(case, watched=True, look_ahead=look_ahead)
            for _ in range(EVERY):
                loop.step()
            copies.append(loop.copies())
        print(f"{case.name:12s} {step:9.2f} ms {share:10.2%} {within:9.2%} {case.goal:8.0%}", end="")
        print(f" {copies[0]:8.2f} {copies[1]:8.2f} {turns:5d} {first:9.2%}", flush=True)
        worst = max(worst, share / case.goal, first / case.goal)
        found |= {case.name: share, f"{case.name}, in calls": within, f"{case.name}, in calls at first": first}
    last_line("monitor_overhead", worst, 1.0, "share of the goal", **found)


if __name__ == "__main__":
    main()
