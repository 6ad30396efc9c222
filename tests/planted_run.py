"""A training that is planted: a weight that updates move by hand, losses and learning rates as they are told."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lrscope.monitor import Monitor


class Planted:
    """One tensor that each update turns."""

    def __init__(self, **options: Any) -> None:
        self.model = nn.Module()
        self.model.weight = nn.Parameter(torch.ones(2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)
        self.monitor = Monitor(self.model, self.optimizer, **({"every": 10} | options))

    def step(self, count: int, loss: float | None = 1.0, lr: float = 0.05) -> None:
        """So many updates with this loss at this learning rate."""
        self.optimizer.param_groups[0]["lr"] = lr
        for _ in range(count):
            with torch.no_grad():
                self.model.weight.mul_(-1.01)
            self.monitor.step(loss)
