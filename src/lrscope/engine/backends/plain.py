"""What backends without code of their own share: steps one after the other, evaluation by `over_runs`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lrscope.engine.backends.protocol import Trained
from lrscope.engine.step import Named, StepInputs, StepState, unrolled

SLAB = 512  # ours: examples evaluated at a time


class Plain:
    """The null implementation of what a backend may do in a way of its own (`protocol.Backend`)."""

    generates = False

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}

    @property
    def made(self) -> tuple[str, ...]:
        """None."""
        return ()

    def steps(self, program: Trained, state: StepState, inputs: StepInputs) -> StepState:
        """See `Backend`."""
        return unrolled(program.step, state, inputs.gathered())

    def sums(
        self, name: str, function: Callable[..., Named], tensors: Named, *examples: Tensor, block: int | None = None
    ) -> Named | None:
        """None: there is no way but `over_runs`."""
        return None

    def arranged(self, x: Tensor) -> Tensor:
        """As they are."""
        return x

    def slab(self, device: torch.device) -> int:
        """See `Backend`."""
        return SLAB
