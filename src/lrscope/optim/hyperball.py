"""The rule of Hyperball around an optimizer: W <- R Norm(W - lr R Norm(u)), with u the optimizer's update of W.

Wen, Dang, Lyu, Ma and Liang 2026, "Fantastic pretraining optimizers and where to find them II", arXiv 2606.16899.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from lrscope.optim.param_groups import held, radius_of
from lrscope.optim.spheres import scaled_to, spread

Group = dict[str, Any]


@contextmanager
def lengthened(groups: Sequence[Group]) -> Iterator[None]:
    """Let an optimizer step inside, and replace its updates of weights on spheres by ones of length lr x radius.

    The weights are zero meanwhile, so what they hold afterwards is the update to its last bit. A difference of weights would
    be lost in rounding where updates are small.
    """
    tensors = [held(group) for group in groups]
    before = [[t.detach().clone() for t in held_here] for held_here in tensors]
    with torch.no_grad():
        for held_here in tensors:
            torch._foreach_zero_(held_here)
    done = False
    try:
        yield
        done = True
    finally:  # where the step raises an error, the weights are as they were
        with torch.no_grad():
            for group, held_here, old in zip(groups, tensors, before, strict=True):
                _finish(group, held_here, old, moved=done)


def _finish(group: Group, tensors: Sequence[torch.Tensor], before: Sequence[torch.Tensor], *, moved: bool) -> None:
    """Weights before the step plus updates of length lr x radius."""
    radius_S = radius_of(group, tensors)
    factor_S = scaled_to(radius_S * group["lr"], tensors, group["sphere"])
    for tensor, old, factor in zip(tensors, before, spread(factor_S, tensors, group["sphere"]), strict=True):
        tensor.copy_(old + tensor * factor if moved else old)
