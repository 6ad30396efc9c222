"""The order in which runs see their examples: counter-based, from each run's own seed. N examples, B batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrscope.tasks.augment import Augmentation, draw
from lrscope.tasks.streams import generator


class BatchOrder:
    """Batch indices and augmentation draws of a chunk's runs, epoch by epoch, last incomplete batch dropped.

    A run is known by its stream key (a tuple of seeds and names); runs with equal keys see the same batches. Any step
    can be asked for at any time: nothing depends on what was drawn before. Not `shuffled`, all see them in their own order.
    """

    def __init__(
        self,
        keys: Sequence[tuple[str | int, ...]],
        examples: int,
        batch: int,
        device: torch.device,
        augmentation: Augmentation,
        *,
        shuffled: bool = True,
    ) -> None:
        self.unique = list(dict.fromkeys(keys))
        self.rows = torch.tensor([self.unique.index(k) for k in keys], device=device)
        self.first = torch.tensor([keys.index(k) for k in self.unique], device=device)  # a run of each key
        self.examples = examples
        self.batch = batch
        self.device = device
        self.augmentation = augmentation
        self.shuffled = shuffled
        self.steps_per_epoch = examples // batch
        self._epoch = -1
        self._order: Tensor = torch.empty(0)
        self._draws: Tensor = torch.empty(0)

    def at(self, step: int, count: int = 1) -> tuple[Tensor, Tensor | None]:
        """Indices [K, R, B] of the examples of K = `count` steps and, with augmentation, their draws [K, R, B, 4]."""
        parts = [self._step(step + i) for i in range(count)]
        orders = torch.stack([order for order, _ in parts])
        return orders, torch.stack([draws for _, draws in parts]) if self.augmentation else None

    def _step(self, step: int) -> tuple[Tensor, Tensor]:
        epoch, batch = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._load(epoch)
        part = slice(batch * self.batch, (batch + 1) * self.batch)
        return self._order[:, part], self._draws[:, part] if self.augmentation else self._draws

    def _load(self, epoch: int) -> None:
        self._order = torch.stack([self._permuted(*k, epoch) for k in self.unique]).to(self.device)[self.rows]
        if self.augmentation:
            frame = self.augmentation.frame
            draws = [draw(self.examples, generator("augment", *k, epoch), frame) for k in self.unique]
            self._draws = torch.stack(draws).to(self.device)[self.rows]
        self._epoch = epoch

    def _permuted(self, *stream: str | int) -> Tensor:
        if not self.shuffled:
            return torch.arange(self.examples)
        return torch.randperm(self.examples, generator=generator("order", *stream))
