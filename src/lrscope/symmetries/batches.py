"""What a model is given and what it returns: any nesting of tensors. New batches that are like a given one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

Forward = Callable[[nn.Module, Any], Any]
NO_OUTPUTS = ("past_key_values",)  # what a language model keeps for its next token
NOISE = 0.1  # ours: entries are multiplied by 1 + NOISE times a normal draw


def call(model: nn.Module, batch: Any) -> Any:
    """`model(batch)`; the entries of a list or tuple as arguments, those of a mapping as keywords."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, (list, tuple)) else model(batch)


def floats(output: Any) -> Iterator[Tensor]:
    """The tensors of floats in what a model returned: tensors, mappings, lists, tuples and dataclasses of them."""
    if isinstance(output, Tensor):
        if output.is_complex():
            output = torch.view_as_real(output)
        if output.is_floating_point() and output.numel():
            yield output
    elif isinstance(output, Mapping):
        yield from (x for name, value in output.items() if name not in NO_OUTPUTS for x in floats(value))
    elif isinstance(output, (list, tuple)):
        yield from (x for value in output for x in floats(value))
    elif is_dataclass(output) and not isinstance(output, type):
        yield from (
            x for field in fields(output) if field.name not in NO_OUTPUTS for x in floats(getattr(output, field.name))
        )


def plain(batch: Any, device: torch.device) -> Any:
    """The batch with mappings of any class as dicts, on a device, floats in float64."""
    if isinstance(batch, Mapping):
        return {name: plain(value, device) for name, value in batch.items()}
    if isinstance(batch, (list, tuple)) and not hasattr(batch, "_fields"):
        return type(batch)(plain(value, device) for value in batch)
    return tree_map(lambda x: _placed(x, device) if isinstance(x, Tensor) else x, batch)


def _placed(x: Tensor, device: torch.device) -> Tensor:
    x = x.detach().to(device)
    return x.double() if x.is_floating_point() else x


def rows(batch: Any) -> int | None:
    """The number of examples, if all tensors have the same length; else None."""
    lengths = {len(x) if x.dim() else None for x in tree_leaves(batch) if isinstance(x, Tensor)}
    return lengths.pop() if len(lengths) == 1 else None


def fresh(batch: Any, generator: torch.Generator, *, size: int | None, mix_whole: bool) -> Any:
    """Another batch of the same kind.

    Args:
        batch: as `plain` returns it.
        generator: draws it; on the CPU.
        size: the number of examples, which are repeated or left out before they are changed; None: as many.
        mix_whole: mix the entries of whole numbers too, such as tokens.
    """
    known = rows(batch)

    def changed(x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.numel():
            return x
        if size is not None and known:
            x = x[torch.arange(size, device=x.device) % known]
        return _mixed(x, generator, mix_whole)

    return tree_map(changed, batch)


def _mixed(x: Tensor, generator: torch.Generator, mix_whole: bool) -> Tensor:
    """The entries in another order, floats with noise; masks, and what has one value only, stay."""
    if x.dtype == torch.bool or x.is_complex() or (not x.is_floating_point() and not mix_whole):
        return x
    if _is_mask(x):
        return x
    order = torch.randperm(x.numel(), generator=generator).to(x.device)
    mixed = x.reshape(-1)[order].reshape(x.shape)
    if not x.is_floating_point():
        return mixed
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device)
    constant = bool((x == x.reshape(-1)[0]).all())
    return mixed + noise if constant else mixed * (1 + NOISE * noise)


def _is_mask(x: Tensor) -> bool:
    """Does it hold nothing but zeros and ones, both or whole numbers of one kind, or infinities?"""
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        return True
    bits = bool(((x == 0) | (x == 1)).all())
    constant = bool((x == x.reshape(-1)[0]).all())
    return bits and not (x.is_floating_point() and constant)
