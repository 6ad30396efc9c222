"""Param groups as they come in and as they are loaded, the same for both optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from lrscope.errors import LrscopeError, first_line
from lrscope.optim.param_groups import KEYS, check_decay, check_words, count, held, name_of, settle
from lrscope.optim.spheres import norms

Group = dict[str, Any]


def add(optimizer: Optimizer, group: Group, append: Callable[[Group], None], defaults: Mapping[str, Any]) -> None:
    """Add a param group with `append` and settle it on its spheres; one that is refused is taken out again.

    Raises:
        LrscopeError: weights or options that no sphere can have, or a weight that is there already.
    """
    before = len(optimizer.param_groups)
    try:
        _append(group, append)
        check_once(optimizer.param_groups[-1], before)
        settle(optimizer.param_groups[-1], before, defaults)
    except BaseException:
        del optimizer.param_groups[before:]
        raise


def _append(group: Group, append: Callable[[Group], None]) -> None:
    """PyTorch's own checks, with a remedy for a weight that is there already."""
    try:
        append(group)
    except ValueError as error:
        if "more than one parameter group" not in str(error):
            raise
        raise LrscopeError(
            f"params: {first_line(error)}: give every weight to one group, with all its options"
        ) from None


def settle_all(groups: Sequence[Group], defaults: Mapping[str, Any]) -> None:
    """Settle the param groups of an optimizer; where one is refused they stay as they were.

    Raises:
        LrscopeError: weights or options that no sphere can have.
    """
    before = [dict(group) for group in groups]
    try:
        for index, group in enumerate(groups):
            check_once(group, index)
            settle(group, index, defaults)
        check_any(groups)
    except BaseException:
        for group, old in zip(groups, before, strict=True):
            group.clear()
            group.update(old)
        raise


def check_once(group: Mapping[str, Any], index: int) -> None:
    """Raise `LrscopeError` for a weight that is twice in its group: it would be moved twice."""
    seen: set[int] = set()
    for tensor in group["params"]:
        if id(tensor) in seen:
            raise LrscopeError(f"params: {name_of(group, index, tensor)} is twice in its group: pass it once")
        seen.add(id(tensor))


def check_any(groups: Sequence[Mapping[str, Any]]) -> None:
    """Raise `LrscopeError` where no weight at all lies on a sphere."""
    if not any(held(group) for group in groups):
        raise LrscopeError(
            "params: none of them lies on a sphere: with sphere='matrix' or 'row' tensors with two axes or more do, with "
            "sphere='group' all, with None none"
        )


@torch.no_grad()
def fill_loaded(loaded: Sequence[Group], current: Sequence[Group]) -> None:
    """Complete the param groups of a state dict: one of an optimizer without spheres has no radii, so they are measured now.

    Raises:
        LrscopeError: radii of other spheres, or options that no sphere can have.
    """
    for index, (new, old) in enumerate(zip(loaded, current, strict=True)):
        own = "radius" in new
        for key in KEYS:
            new.setdefault(key, old[key])
        check_words(new, index)
        check_decay(new, index)
        tensors = held(new)
        if not tensors:
            continue
        now_S = norms(tensors, new["sphere"])
        new["radius"] = torch.as_tensor(new["radius"], dtype=now_S.dtype) if own else now_S
        if len(new["radius"]) != count(tensors, new["sphere"]):
            raise LrscopeError(
                f"radius: the state of param group {index} has {len(new['radius'])} radii, but there are "
                f"{count(tensors, new['sphere'])} spheres: load the state of an optimizer with the same param groups"
            )
