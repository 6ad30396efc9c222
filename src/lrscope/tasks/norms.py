"""Batch normalisation for many runs: batch statistics in training, re-estimated population statistics in evaluation.

Shapes: B batch, C channels, ... any spatial axes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

NORMS: tuple[type[nn.Module], ...] = (
    _BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.RMSNorm,
)


class PopulationBatchNorm(nn.Module):
    """Stands in for any `BatchNorm*d`; holds no state that training changes, so that runs can share one module.

    In train mode it normalises with the batch's own mean and variance. With `collecting` on it also leaves them
    in `batch_mean` and `batch_var` ([C], variance unbiased), from which the evaluation makes population statistics.
    In eval mode it uses `population_mean` and `population_var` ([C]).
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    population_mean: Tensor
    population_var: Tensor

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.eps = norm.eps
        self.register_parameter("weight", norm.weight)
        self.register_parameter("bias", norm.bias)
        self.register_buffer("population_mean", torch.zeros(norm.num_features))
        self.register_buffer("population_var", torch.ones(norm.num_features))
        self.collecting = False
        self.batch_mean: Tensor | None = None
        self.batch_var: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, C, ...]."""
        if not self.training:
            return functional.batch_norm(
                x, self.population_mean, self.population_var, self.weight, self.bias, False, 0.0, self.eps
            )
        if self.collecting:
            dims = [0, *range(2, x.dim())]
            self.batch_var, self.batch_mean = torch.var_mean(x, dims, correction=1)
        return functional.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


def replace_batch_norms(model: nn.Module) -> nn.Module:
    """Swap every batch norm inside `model` (in place) and return it; the parameters stay the same objects."""
    swapped = {m: PopulationBatchNorm(m) for m in model.modules() if isinstance(m, _BatchNorm)}
    for module in list(model.modules()):
        for name, child in module._modules.items():  # unlike named_children it lists a shared module under every name
            if isinstance(child, _BatchNorm):
                setattr(module, name, swapped[child])
    return swapped[model] if isinstance(model, _BatchNorm) else model


def is_norm(module: nn.Module) -> bool:
    """Is this module a normalisation layer?"""
    return isinstance(module, (PopulationBatchNorm, *NORMS))


def population_norms(model: nn.Module) -> dict[str, PopulationBatchNorm]:
    """The swapped batch norms by module name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, PopulationBatchNorm)}
