"""Small problems for the optimizers on the sphere, in float64 unless said otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SHAPES = ((3, 4), (2, 3), (5,))


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> list[nn.Parameter]:
    source = draws(seed)
    return [
        nn.Parameter(torch.randn(shape, generator=source, dtype=torch.float64).to(dtype)) for shape in shapes or SHAPES
    ]


def invariant_loss(tensors: Sequence[Tensor], step: int) -> Tensor:
    """A function of the direction of all tensors together, another one at every step as with minibatches."""
    flat = torch.cat([t.flatten() for t in tensors])
    unit = flat / flat.norm()
    source = draws(1)
    matrix = torch.randn(len(flat), len(flat), generator=source, dtype=flat.dtype)
    noise = torch.randn(len(flat), generator=draws(100 + step), dtype=flat.dtype)
    return unit @ matrix @ unit + 0.3 * noise @ unit


def gradients(tensors: Sequence[Tensor], step: int) -> list[Tensor]:
    """Of `invariant_loss`, without touching `.grad`."""
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    return list(torch.autograd.grad(invariant_loss(leaves, step), leaves))


def descend(
    optimizer: torch.optim.Optimizer, params: Sequence[Tensor], steps: Iterable[int], each: Callable[[int], Any] = int
) -> None:
    """Steps down `invariant_loss`; `each` is called before every one."""
    for step in steps:
        each(step)
        optimizer.zero_grad()
        invariant_loss(params, step).backward()
        optimizer.step()


def copies(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [t.detach().clone() for t in tensors]


def same(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
    """Equal to the bit."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def near(one: Iterable[Tensor], other: Iterable[Tensor], tolerance: float = 1e-12) -> bool:
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(one, other, strict=True))


def fill(params: Sequence[Tensor], step: int, scale: float = 1.0) -> None:
    """Random gradients in the weights' own types."""
    source = draws(1000 + step)
    for p in params:
        p.grad = (scale * torch.randn(p.shape, generator=source)).to(p.dtype)
