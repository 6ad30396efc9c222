"""The model inside `torch.compile`, DDP and the like. Imports no PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

PARALLEL = ("DistributedDataParallel", "DataParallel")
COMPILED = "_orig_mod"


def unwrapped(model: nn.Module) -> nn.Module:
    """The model within `torch.compile`, DDP and the like, whatever their order."""
    while True:
        inside = model._modules
        if COMPILED in inside:
            model = inside[COMPILED]  # type: ignore[assignment]
        elif type(model).__name__ in PARALLEL and "module" in inside:
            model = inside["module"]  # type: ignore[assignment]
        else:
            return model


def named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters of the model inside, without what compiled parts add to their names."""
    for name, parameter in unwrapped(model).named_parameters():
        yield name.replace(f"{COMPILED}.", ""), parameter
