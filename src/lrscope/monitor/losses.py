"""The mean of losses between two measurements, summed on their device so that nothing waits for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lrscope.errors import LrscopeError, shown
from lrscope.values import as_number


class Losses:
    """Sums since the last measurement: on the host of numbers, on devices of tensors."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0
        self.sums: dict[torch.device, Tensor] = {}

    def add(self, loss: Any) -> None:
        """One loss, or None.

        Raises:
            LrscopeError: not one number.
        """
        if loss is None:
            return
        if not isinstance(loss, Tensor):
            self.total += _number(loss)
        else:
            if loss.numel() != 1:
                raise LrscopeError(f"loss: its shape is {tuple(loss.shape)}: pass one number, such as loss.mean()")
            if loss.is_complex():
                raise LrscopeError("loss: it is complex: pass a real number, such as loss.abs()")
            loss = loss.detach()
            kept = self.sums.get(loss.device)
            if kept is None:
                self.sums[loss.device] = loss.to(_wide(loss.device), copy=True).reshape(())
            else:
                kept.add_(loss if loss.dim() == 0 else loss.reshape(()))
        self.count += 1

    def taken(self, device: torch.device) -> Tensor:
        """The mean as a tensor [1] on a device, NaN without losses; begins anew."""
        mean = torch.full((1,), self.total if self.count else torch.nan, dtype=torch.float32, device=device)
        for value in self.sums.values():
            mean += value.to(device, non_blocking=True)
        mean /= max(self.count, 1)
        self.total, self.count, self.sums = 0.0, 0, {}
        return mean

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"total": self.total + sum(float(value) for value in self.sums.values()), "count": self.count}

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.total, self.count, self.sums = state["total"], state["count"], {}


def _number(loss: Any) -> float:
    number = as_number(loss)
    if number is None:
        raise LrscopeError(f"loss: {shown(loss)} is not one number: pass the loss that backward() was called on")
    return float(number)


def _wide(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
