"""All runs of a chunk at once, batched by `torch.func.vmap`. R runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from lrscope.engine.backends.plain import SLAB, Plain
from lrscope.engine.backends.protocol import LossOfRun
from lrscope.engine.step import Named

SLAB_OF_MANY = 64  # ours: with many runs at once on a CPU; 26 small ConvNets then stay in the cache


class Vmap(Plain):
    """Maps the function of one run over a leading axis."""

    path = "batched"

    def __init__(self) -> None:
        super().__init__()
        self._loss: LossOfRun | None = None
        self._mapped: Callable[..., Any] = vmap

    def gradients(
        self, loss: LossOfRun, trained: Named, others: Named, x: Tensor, y: Tensor
    ) -> tuple[Named, Tensor, Tensor]:
        """See `Backend`."""
        if loss != self._loss:
            self._loss, self._mapped = loss, vmap(grad_and_value(loss, has_aux=True))
        gradient, (loss_R, accuracy_R) = self._mapped(trained, others, x, y)
        return gradient, loss_R, accuracy_R

    def over_runs(self, function: Callable[..., Any], tensors: Named, *shared: Tensor) -> Any:
        """See `Backend`."""
        return vmap(function, in_dims=(0, *(None for _ in shared)))(tensors, *shared)

    def slab(self, device: torch.device) -> int:
        """See `Backend`."""
        return SLAB_OF_MANY if device.type == "cpu" else SLAB
