"""Progress in training. Without PyTorch, so that a process which only passes it on starts at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """Progress of a chunk: run-steps done since the last tick, and the spread of the latest training losses."""

    run_steps: int
    loss_low: float = float("nan")
    loss_high: float = float("nan")
