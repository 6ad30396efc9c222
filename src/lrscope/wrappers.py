"""The model inside `torch.compile`, DDP and the like. Imports PyTorch only where a copy is changed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
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


def wait_for_no_one(model: nn.Module) -> None:
    """Let the synchronised batch norms of a copy count the batches of this process alone (in place): another process may not
    call its copy, and then this one would wait for ever."""
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    for module in model.modules():
        if isinstance(module, nn.SyncBatchNorm):
            module.forward = partial(_BatchNorm.forward, module)  # type: ignore[method-assign]
