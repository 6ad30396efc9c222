"""What a training step takes and gives back. R runs, K steps, B batch, N examples, P parameters, G groups, M metrics."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

Named = dict[str, Tensor]


class StepState(NamedTuple):
    """What a step changes; its fields are tensors of a chunk's checkpoint, by the same names."""

    weights: Tensor  # [R, P]
    velocity: Tensor  # whatever the optimizer remembers (`dynamics.update.optimizer_state`)
    squares: Tensor  # [R, G], squared norms of the groups
    sums: Tensor  # [R, M] float64, of the window so far (`Program.step`)


class StepInputs(NamedTuple):
    """What a step only reads: x [R, B, ...], y [R, B, ...] and lr [R], which has the weights' type.

    Of K steps that are handed over together: all examples x [N, ...], y [N, ...], `order` [K, R, B] with the numbers of those
    in the mini-batches, and lr [K, R].
    """

    frozen: Named  # [R, ...] each
    x: Tensor
    y: Tensor
    lr: Tensor
    rho: Tensor  # [R], radius of the sphere
    order: Tensor | None = None

    def gathered(self) -> StepInputs:
        """Of K steps: the examples that `order` names instead of all, x [K, R, B, ...], y [K, R, B, ...]."""
        assert self.order is not None
        flat = self.order.reshape(-1)
        x, y = (t.index_select(0, flat) for t in (self.x, self.y))
        x, y = (t.view(*self.order.shape, *t.shape[1:]) for t in (x, y))
        return self._replace(x=x, y=y, order=None)
