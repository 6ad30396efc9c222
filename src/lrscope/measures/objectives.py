"""A network's loss on its mini-batches as an objective that `lrscope.dynamics.descend` takes.

R runs, P parameters, B batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lrscope.engine.material import Material
from lrscope.engine.program import Program
from lrscope.engine.step import Named

Batch = Callable[[int], tuple[Tensor, Tensor]]  # step number to x [1, B, ...], y [1, B], or [R, ...] of both


class TrainingLoss:
    """The mean loss of the mini-batch of a step, in train mode.

    The module is left in train mode, and dropout draws from the global generator: descend inside
    `measures.common.undisturbed`.

    Args:
        program: of path `single` takes the runs one after the other, of path `batched` together.
        frozen: frozen tensors of the runs [R, ...].
        batch: the mini-batch of a step; one with a leading axis of 1 is shared by the runs.
    """

    def __init__(self, program: Program, frozen: Named, batch: Batch) -> None:
        self.program, self.frozen, self.batch = program, frozen, batch

    @property
    def size(self) -> int:
        """P."""
        return self.program.net.size

    def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Gradient [R, P] and loss [R]."""
        self.program.net.module.train()
        x, y = (t.expand(len(points), *t.shape[1:]) for t in self.batch(step))
        if self.program.backend.path == "batched":
            gradient, loss, _ = self.program.gradients(points, self.frozen, x, y)
            return gradient, loss
        each = [
            self.program.gradients(points[r : r + 1], _of_run(self.frozen, r), x[r : r + 1], y[r : r + 1])
            for r in range(len(points))
        ]
        return torch.cat([gradient for gradient, _, _ in each]), torch.cat([loss for _, loss, _ in each])


def shuffled_batches(material: Material, seed: int) -> Batch:
    """Mini-batches in an order of their own, shuffled anew every epoch, augmented if training was."""
    order = material.order([("walk", material.data_seed, seed)])

    def batch(step: int) -> tuple[Tensor, Tensor]:
        index, draws = order.at(step)
        x = material.train_x[index[0, 0]]
        if draws is not None:
            x = material.augmentation(x, draws[0, 0])
        return x[None], material.train_y[index[0, 0]][None]

    return batch


def _of_run(frozen: Named, run: int) -> Named:
    return {name: value[run : run + 1] for name, value in frozen.items()}
