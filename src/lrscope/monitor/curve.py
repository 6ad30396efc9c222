"""The curve that the rules of regimes read, and that of a run's first updates, which is kept one by one.

A loss costs next to nothing to keep. The weights are measured more seldom: at each update of a small network that would take
a third of the step. N rows, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrscope.values import as_number

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Loss and learning rates over a run.

    update: [N].
    told: [N], was there a loss? Without one it is NaN, as that of a diverged run may be.
    loss: [N], mean since the row before.
    lr: [N, G]; NaN for groups that came later.
    """

    update: NDArray[np.int64]
    told: NDArray[np.bool_]
    loss: Array
    lr: Array

    def until(self, row: int) -> Curve:
        """The curve as it was when it had so many rows."""
        return Curve(*(values[:row] for values in vars(self).values()))


class Early:
    """Losses and learning rates of each of the first updates, as they came: a device is waited for only when they are read."""

    def __init__(self) -> None:
        self.updates: list[int] = []
        self.losses: list[list[float | Tensor]] = []
        self.lr: list[Array] = []
        self._now: list[float | Tensor] = []  # losses since the last row
        self._last: tuple[int, Array] | None = None  # the last update since then, and its learning rates [G]

    def add(self, loss: Any) -> None:
        """One loss since the last row, or None; a number or a tensor of one."""
        if isinstance(loss, Tensor):
            loss = loss.detach()
            self._now.append(float(loss) if loss.device.type == "cpu" else loss.clone())
        elif loss is not None:
            self._now.append(float(as_number(loss) or 0.0))

    def at(self, update: int, lr: Array) -> None:
        """An update was made, with these learning rates [G]."""
        self._last = update, lr

    def close(self) -> None:
        """What came since the last row is one; nothing without an update."""
        if self._last is None:
            return
        update, lr = self._last
        self.updates.append(update)
        self.losses.append(self._now)
        self.lr.append(lr)
        self._now, self._last = [], None

    @property
    def first(self) -> float:
        """The first loss; NaN before there is one."""
        return next((_mean(losses) for losses in self.losses if losses), math.nan)

    def curve(self, groups: int) -> Curve:
        """As arrays."""
        self.losses = [[float(loss) for loss in losses] for losses in self.losses]
        wide = [np.pad(lr, (0, groups - len(lr)), constant_values=np.nan) for lr in self.lr]
        return Curve(
            update=np.array(self.updates, dtype=np.int64),
            told=np.array([bool(losses) for losses in self.losses], dtype=bool),
            loss=np.array([_mean(losses) for losses in self.losses], dtype=np.float64),
            lr=np.stack(wide) if wide else np.zeros((0, groups)),
        )

    def state(self) -> dict[str, Any]:
        """Tensors and numbers, as a checkpoint takes them."""
        return {
            "updates": list(self.updates),
            "losses": [[float(loss) for loss in losses] for losses in self.losses],
            "lr": [torch.from_numpy(lr.copy()) for lr in self.lr],
            "now": [float(loss) for loss in self._now],
            "last": None if self._last is None else [self._last[0], torch.from_numpy(self._last[1].copy())],
        }

    @classmethod
    def of(cls, state: dict[str, Any]) -> Early:
        """The inverse of `state`."""
        found = cls()
        found.updates, found.losses = list(state["updates"]), [list(losses) for losses in state["losses"]]
        found.lr, found._now = [lr.numpy().copy() for lr in state["lr"]], list(state["now"])
        if state["last"] is not None:
            update, lr = state["last"]
            found._last = update, lr.numpy().copy()
        return found


def _mean(losses: Sequence[float | Tensor]) -> float:
    return sum(map(float, losses)) / len(losses) if losses else math.nan
