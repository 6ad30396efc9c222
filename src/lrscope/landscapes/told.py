"""How far an evaluation is, on standard error; nothing where it is short."""

from __future__ import annotations

import time
from collections.abc import Mapping

from torch import Tensor

from lrscope.engine.progress import span
from lrscope.measures.landscape import Values
from lrscope.terminal import say
from lrscope.trained import State

PATIENCE = 10.0  # ours, seconds until the first line
SHARE = 0.1  # ours: of all points, between two lines


class Told:
    """Values that tell how many of `total` points are evaluated, and how long the others will take."""

    def __init__(self, values: Values, total: int) -> None:
        self.values, self.total = values, total
        self.begun, self.done, self.next = time.monotonic(), 0, 0.0

    @property
    def size(self) -> int:
        """P."""
        return self.values.size

    def at_once(self, memory: int, example: State, /) -> int:
        """See `Values`."""
        return self.values.at_once(memory, example)

    def __call__(self, points: State, /) -> Mapping[str, Tensor]:
        """See `Values`."""
        found = self.values(points)
        self.done += len(points.weights)
        share, passed = self.done / self.total, time.monotonic() - self.begun
        if passed > PATIENCE and self.next <= share < 1:
            self.next = share + SHARE
            say(f"landscape: {share:.0%} of {self.total:,} points, {span(passed / share - passed)} left")
        return found
