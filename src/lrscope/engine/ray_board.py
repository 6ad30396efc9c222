"""What passes between Ray's workers and the driver while units are in work: progress one way, the wish to stop the other.

Ray gives the board a process of its own. It imports no PyTorch, which would cost every sweep seconds and half a gigabyte.
"""

from __future__ import annotations

import math

from lrscope.engine.tick import Tick


class Board:
    """Where workers leave their progress and read whether to stop: an actor, called seldom by each."""

    def __init__(self) -> None:
        self.stop = False
        self.steps, self.low, self.high = 0, math.nan, math.nan

    def tick(self, tick: Tick) -> bool:
        """Add progress; should the worker stop?"""
        self.steps += tick.run_steps
        if not math.isnan(tick.loss_low):
            self.low, self.high = tick.loss_low, tick.loss_high
        return self.stop

    def collect(self, stop: bool) -> Tick:
        """For the driver: progress since the last call; pass on the wish to stop."""
        self.stop = stop
        tick = Tick(self.steps, self.low, self.high)
        self.steps = 0
        return tick
