"""Spheres: sets of weights that keep their norm. S spheres on which a list of tensors lies.

All tensors together are one sphere (`group`), or each tensor is one (`matrix`), or each slice along a tensor's first axis is
one (`row`: the weights of one output channel).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

GROUP, MATRIX, ROW = "group", "matrix", "row"
KINDS = (GROUP, MATRIX, ROW)
ROUNDING = 8  # ours: what a norm may be off by, in units of the last place; 2 were seen for 10^7 weights


def accumulating(dtype: torch.dtype) -> torch.dtype:
    """The type in which norms of such weights are summed: float32 for 16-bit floats."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def tolerance(dtype: torch.dtype) -> float:
    """By which fraction of its radius a norm may be off before the weights are rescaled.

    Rescaled weights are rounded, so their norm is the radius up to this. Rescaling them again would round them again: within
    the tolerance nothing is done, and an update of zero changes no bit.
    """
    return max(torch.finfo(dtype).eps, ROUNDING * torch.finfo(accumulating(dtype)).eps)


def norms(tensors: Sequence[Tensor], kind: str) -> Tensor:
    """The norms [S] of the spheres' weights."""
    squares = [_squares(t, kind) for t in tensors]
    if kind == GROUP:
        return torch.cat(squares).sum(0, keepdim=True).sqrt()
    return torch.cat(squares).sqrt()


def _squares(t: Tensor, kind: str) -> Tensor:
    """Sums of squares, [1] or [rows]. `sum` adds pairwise; `vector_norm` does not and is off by 3e-4 at 10^7 float32."""
    squares = t.to(accumulating(t.dtype)).square()
    return squares.flatten(1).sum(1) if kind == ROW else squares.sum().reshape(1)


def spread(values_S: Tensor, tensors: Sequence[Tensor], kind: str) -> list[Tensor]:
    """The spheres' values as factors, one for each tensor.

    They have as many axes as their tensor: PyTorch would round one without axes to 16 bits before it multiplies 16-bit floats.
    """
    sizes = [len(t) if kind == ROW else 1 for t in tensors]
    parts = [values_S] * len(tensors) if kind == GROUP else list(torch.split(values_S, sizes))
    return [
        part.reshape(-1, *[1] * (t.dim() - 1)) if t.dim() else part[0] for part, t in zip(parts, tensors, strict=True)
    ]


def project(tensors: Sequence[Tensor], kind: str, radius_S: Tensor) -> None:
    """Rescale weights in place to their spheres, where a norm is off by more than `tolerance`."""
    factor_S = radius_S / norms(tensors, kind)
    factor_S = torch.where((factor_S - 1).abs() <= tolerance(tensors[0].dtype), 1, factor_S)
    for tensor, factor in zip(tensors, spread(factor_S, tensors, kind), strict=True):
        tensor.mul_(factor)


def scaled_to(length_S: Tensor, directions: Sequence[Tensor], kind: str) -> Tensor:
    """Factors [S] that give directions their sphere's length; 0 where a direction is zero."""
    now_S = norms(directions, kind)
    return torch.where(now_S > 0, length_S / now_S, 0)
