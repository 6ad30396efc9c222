"""What a backend is: a way to compute one network's function for many runs. R runs, B batch, N examples, K steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from lrscope.engine.step import Named, StepInputs, StepState

LossOfRun = Callable[[Named, Named, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(trained tensors, other tensors, x [B, ...], y [B]) of one run to its mean loss and accuracy."""


class Trained(Protocol):
    """What a backend trains: a program, or what stands for one in a test."""

    def step(self, state: StepState, inputs: StepInputs) -> StepState:
        """One step of all runs."""

    def one_run(self) -> Trained:
        """The same for a single run, on the backend that computes it plainly: to be traced."""


class Backend(Protocol):
    """A way to compute for many runs what is given for one. One object serves one program: it may keep what it compiled."""

    path: str
    """`batched` or `single`: does it take many runs at once, or chunks of one?"""
    generates: bool
    """Is its code generated, so that it is compiled before workers are forked?"""
    refused: dict[str, str]
    """Functions of evaluation that cannot be generated, with the reasons."""

    @property
    def made(self) -> tuple[str, ...]:
        """Functions of evaluation that have been generated so far."""

    def gradients(
        self, loss: LossOfRun, trained: Named, others: Named, x: Tensor, y: Tensor
    ) -> tuple[Named, Tensor, Tensor]:
        """Gradients [R, ...] by name, mean losses [R] and accuracies [R] for x [R, B, ...], y [R, B]."""

    def steps(self, program: Trained, state: StepState, inputs: StepInputs) -> StepState:
        """K training steps on the examples that the inputs' order names.

        Raises:
            NotFusible, NotCompiled: they cannot be generated or compiled.
        """

    def over_runs(self, function: Callable[..., Any], tensors: Named, *shared: Tensor) -> Any:
        """function(tensors of one run by name, *shared) of every run: its results with a leading axis of runs."""

    def sums(
        self, name: str, function: Callable[..., Named], tensors: Named, *examples: Tensor, block: int | None = None
    ) -> Named | None:
        """Float64 sums [R, ...] over examples [N, ...] of what `function` of one run returns for a block of them, where the
        backend has a way of its own for the function of that name; None: go by `over_runs`."""

    def arranged(self, x: Tensor) -> Tensor:
        """Examples in the memory order that the backend likes; the same values. Asked where the net `takes_channels_last`."""

    def slab(self, device: torch.device) -> int:
        """How many examples are evaluated at a time."""
