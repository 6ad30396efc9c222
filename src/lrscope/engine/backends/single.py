"""One run at a time, without vmap: for modules that it cannot take, and where kernels are long. R = 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lrscope.engine.backends.plain import Plain
from lrscope.engine.backends.protocol import LossOfRun
from lrscope.engine.memory_order import channels_last
from lrscope.engine.step import Named


class Single(Plain):
    """Takes tensors of one run [1, ...]."""

    path = "single"

    def gradients(
        self, loss: LossOfRun, trained: Named, others: Named, x: Tensor, y: Tensor
    ) -> tuple[Named, Tensor, Tensor]:
        """See `Backend`."""
        with torch.enable_grad():
            params = {name: v[0].detach().requires_grad_() for name, v in trained.items()}
            mean, accuracy = loss(params, {name: f[0] for name, f in others.items()}, x[0], y[0])
            gradient = torch.autograd.grad(mean, list(params.values()), allow_unused=True, materialize_grads=True)
        named = {name: g[None] for name, g in zip(params, gradient, strict=True)}
        return named, mean.detach()[None], accuracy.detach()[None]

    def over_runs(self, function: Callable[..., Any], tensors: Named, *shared: Tensor) -> Any:
        """See `Backend`."""
        return tree_map(lambda t: t[None], function({name: value[0] for name, value in tensors.items()}, *shared))

    def arranged(self, x: Tensor) -> Tensor:
        """See `memory_order.channels_last`."""
        return channels_last(x)
