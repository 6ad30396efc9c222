"""Batch normalisation for many runs: batch statistics in training, re-estimated population statistics in evaluation.

Shapes: B batch, C channels, ... any spatial axes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from lrscope.errors import LrscopeError

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
OTHER_NORMS: tuple[type[nn.Module], ...] = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.RMSNorm,
)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class PopulationBatchNorm(nn.Module):
    """Stands in for a `BatchNorm*d`; holds no state that training changes, so that runs can share one module.

    In train mode it normalises with the batch's own mean and variance. With `collecting` on it also leaves them
    in `collected` ([C] each, variance unbiased), from which the evaluation makes population statistics: a pair for
    every call, because a model may call one norm several times.
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
        assert norm.running_mean is not None
        self.register_buffer("population_mean", torch.zeros_like(norm.running_mean))
        self.register_buffer("population_var", torch.ones_like(norm.running_mean))
        self.collecting = False
        self.collected: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, C, ...]."""
        if not self.training:
            return functional.batch_norm(
                x, self.population_mean, self.population_var, self.weight, self.bias, False, 0.0, self.eps
            )
        if self.collecting:
            dims = [0, *range(2, x.dim())]
            var, mean = torch.var_mean(x, dims, correction=1)
            self.collected.append((mean, var))
        return functional.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)

    def statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean and variance ([C] each) over the calls since `collected` was emptied; None without a call."""
        if len(self.collected) < 2:
            return self.collected[0] if self.collected else None
        means, variances = zip(*self.collected, strict=True)
        return torch.stack(means).mean(0), torch.stack(variances).mean(0)


def replace_batch_norms(model: nn.Module) -> nn.Module:
    """Swap every batch norm inside `model` (in place) and return it; the parameters stay the same objects.

    Only PyTorch's own classes are swapped. A batch norm that stays in eval mode while the model trains, because its
    owner keeps it there, computes with fixed statistics and is left as it is.

    Raises:
        LrscopeError: a batch norm of another class, or with settings whose meaning would be lost; names it.
    """
    _refuse_eval_mode(model)
    model.train()
    swapped: dict[nn.Module, nn.Module] = {}
    for name, norm in model.named_modules():
        if isinstance(norm, _BatchNorm) and norm.training:
            _check_replaceable(name or type(norm).__name__, norm)
            swapped[norm] = PopulationBatchNorm(norm)
    for module in list(model.modules()):
        for name, child in module._modules.items():  # unlike named_children it lists a shared module under every name
            if child in swapped:
                setattr(module, name, swapped[child])
    return swapped.get(model, model)


def _refuse_eval_mode(model: nn.Module) -> None:
    """Refuse parts that were put into eval mode, which `model.train()` undoes."""
    if not model.training:
        return  # the whole model is in eval mode, as a checkpoint's often is: it says nothing about its parts
    before = [(name, module) for name, module in model.named_modules() if not module.training]
    model.train()
    undone = [name for name, module in before if module.training]
    if undone:
        raise LrscopeError(
            f"model: {', '.join(undone[:3])} is in eval mode while the model is in train mode, and training would put it "
            "into train mode: keep it there by a train() method of its own, or leave it in train mode"
        )


def _check_replaceable(name: str, norm: _BatchNorm) -> None:
    said = f"model: its batch norm {name} "
    if type(norm) is nn.SyncBatchNorm:
        raise LrscopeError(f"{said}is a SyncBatchNorm, which needs several processes a run: use BatchNorm1d, 2d or 3d")
    if type(norm) not in BATCH_NORMS:
        raise LrscopeError(
            f"{said}is of the class {type(norm).__name__}, which may do more than normalise: use PyTorch's BatchNorm and do "
            "the rest in a module behind it"
        )
    if not norm.track_running_stats or norm.running_mean is None:
        raise LrscopeError(
            f"{said}has track_running_stats=False, so what it does to a test example depends on the others beside it: use "
            "track_running_stats=True"
        )
    if norm.momentum == 0:
        raise LrscopeError(
            f"{said}has momentum 0, so it would never learn its statistics: give it momentum, or freeze it by a train() "
            "method that keeps it in eval mode"
        )
    if any(getattr(norm, hooks) for hooks in HOOKS):
        raise LrscopeError(f"{said}has hooks, which would be lost when it is replaced: hook a module around it")


def is_norm(module: nn.Module) -> bool:
    """Does this module normalise? A batch norm with fixed statistics does not."""
    live = isinstance(module, _BatchNorm) and module.training
    return live or isinstance(module, (PopulationBatchNorm, *OTHER_NORMS))


def affine_can_go(norm: nn.Module) -> bool:
    """Is it of a class whose affine parameters are an option, so that they can be removed? Of others who knows."""
    return type(norm) in (PopulationBatchNorm, *OTHER_NORMS)


def population_norms(model: nn.Module) -> dict[str, PopulationBatchNorm]:
    """The swapped batch norms by module name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, PopulationBatchNorm)}
