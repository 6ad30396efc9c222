"""What a training step takes and gives back. R runs, K steps, B batch, N examples, P parameters, G groups, M metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

Named = dict[str, Tensor]


class StepState(NamedTuple):
    """What a step changes."""

    weights: Tensor  # [R, P]
    optimizer: Named  # [R, ...] each, what the optimizer remembers
    squares: Tensor  # [R, G], squared norms of the groups
    sums: Tensor  # [R, M] float64, of the logging interval so far (`Program.step`)

    def named(self) -> Named:
        """All tensors by name, the optimizer's under their own: as a chunk's checkpoint has them."""
        return {"weights": self.weights, **self.optimizer, "squares": self.squares, "sums": self.sums}

    @classmethod
    def of(cls, tensors: Named, remembered: tuple[str, ...]) -> StepState:
        """From tensors by name, of which `remembered` are the optimizer's; others are not looked at."""
        optimizer = {name: tensors[name] for name in remembered}
        return cls(tensors["weights"], optimizer, tensors["squares"], tensors["sums"])


class StepInputs(NamedTuple):
    """What a step only reads: x [R, B, ...], y [R, B, ...] and lr [R], which has the weights' type.

    Of K steps that are handed over together: all examples x [N, ...], y [N, ...], `order` [K, R, B] with the numbers of those
    in the mini-batches, lr, noise and level [K, R].
    """

    frozen: Named  # [R, ...] each
    x: Tensor
    y: Tensor
    lr: Tensor
    rho: Tensor  # [R], radius of the sphere
    order: Tensor | None = None
    noise: Tensor | None = None  # [R] int64, seeds of what the network draws; None where it draws nothing from them
    level: Tensor | None = None  # [R], of the noise before layers; None without

    def gathered(self) -> StepInputs:
        """Of K steps: the examples that `order` names instead of all, x [K, R, B, ...], y [K, R, B, ...]."""
        assert self.order is not None
        flat = self.order.reshape(-1)
        x, y = (t.index_select(0, flat) for t in (self.x, self.y))
        x, y = (t.view(*self.order.shape, *t.shape[1:]) for t in (x, y))
        return self._replace(x=x, y=y, order=None)


Step = Callable[[StepState, StepInputs], StepState]


def unrolled(step: Step, state: StepState, inputs: StepInputs) -> StepState:
    """K steps one after the other, on inputs that are `gathered`."""
    noise = [None] * len(inputs.lr) if inputs.noise is None else inputs.noise
    levels = [None] * len(inputs.lr) if inputs.level is None else inputs.level
    for x, y, lr_R, noise_R, level_R in zip(inputs.x, inputs.y, inputs.lr, noise, levels, strict=True):
        state = step(state, inputs._replace(x=x, y=y, lr=lr_R, noise=noise_R, level=level_R))
    return state
