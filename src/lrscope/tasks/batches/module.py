"""A model with a loss of (model, batch) as a network from numbers of examples to their losses. B batch, M metrics.

So a task of any batches is a task as the engine knows it: inputs [N] (numbers), outputs [B, 1 + M] (losses and metrics).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from lrscope.errors import LrscopeError
from lrscope.tasks.batches.source import Source
from lrscope.tasks.batches.trees import Tree
from lrscope.tasks.factory import weights_type
from lrscope.tasks.losses import placed_loss
from lrscope.tasks.metrics import Metric

BatchLoss = Callable[[nn.Module, Tree], Tensor]
LOSS = ""  # the name of the loss beside metrics, one of which may be called "loss"
BLOCK = 64  # ours: examples evaluated together in every plan, as a loss may depend on who is in its batch


@dataclass(frozen=True, eq=False)
class Recipe:
    """What turns a model and numbers into losses.

    Args:
        loss: of (model, batch): one loss per example [B], or their mean [].
        metrics: the same of other numbers, by name.
    """

    source: Source
    loss: BatchLoss
    metrics: Mapping[str, BatchLoss]
    _placed: dict[Any, Any] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict[int, Any]) -> Recipe:
        """Itself."""
        return self

    def function(self, name: str, device: torch.device, dtype: torch.dtype) -> BatchLoss:
        """The loss, or a metric, with the tensors that it holds on the device."""
        if (name, device, dtype) not in self._placed:
            given: Any = self.loss if name == LOSS else self.metrics[name]
            self._placed[name, device, dtype] = placed_loss(given, device, dtype)
        return cast(BatchLoss, self._placed[name, device, dtype])

    def wrapped(self, model: nn.Module) -> nn.Module:
        """The model as a network from numbers to losses."""
        return LossesOf(model, self)

    def columns(self) -> dict[str, Metric]:
        """The metrics as functions of the network's outputs."""
        return {name: partial(column, number=1 + place) for place, name in enumerate(self.metrics)}


def column(outputs: Tensor, labels: Tensor, number: int = 0) -> Tensor:
    """Losses [B], or metric `number`, of a network's outputs [B, 1 + M]."""
    return outputs[:, number]


class LossesOf(nn.Module):
    """Numbers of examples [B] to their losses and metrics [B, 1 + M].

    Args:
        model: the user's own; `recipe` has the rest.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe

    def forward(self, numbers: Tensor) -> Tensor:
        """A batch as a whole in train mode, where metrics are not computed; in eval mode blocks of `BLOCK`."""
        if self.training:
            losses = self._values((LOSS,), numbers)[:, 0]
            return torch.stack([losses, *(torch.zeros_like(losses) for _ in self.recipe.metrics)], 1)
        names = (LOSS, *self.recipe.metrics)
        return torch.cat([self._values(names, block) for block in torch.split(numbers, BLOCK)])

    def _values(self, names: Sequence[str], numbers: Tensor) -> Tensor:
        """Losses and metrics of these names [B, names]. Each function gets a batch of its own, which it may change; a stream is
        asked for all of a batch's copies before the next batch, as it would begin anew for an earlier one."""
        dtype = weights_type(self.model)
        functions = {name: self.recipe.function(name, numbers.device, dtype) for name in names}
        part, own = self.recipe.source.located(numbers)
        if not part.whole:
            found = {name: function(self.model, part.batch(own, dtype)) for name, function in functions.items()}
            return torch.stack([per_example(n, value, len(numbers)).to(dtype) for n, value in found.items()], 1)
        rows = []
        for number in torch.split(own, 1):
            weight = 1.0 if self.training else part.weight(int(number))
            found = {name: function(self.model, part.batch(number, dtype)) for name, function in functions.items()}
            rows.append(torch.stack([mean_of(n, value).to(dtype) * weight for n, value in found.items()]))
        return torch.stack(rows)


def per_example(name: str, value: Any, count: int) -> Tensor:
    """One number for each of `count` examples [B]; a mean over them [] counts for each.

    Raises:
        LrscopeError: it is neither.
    """
    if isinstance(value, Tensor) and tuple(value.shape) in ((), (count,)):
        return value.expand(count)
    shape = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    hint = ", such as its .loss" if not isinstance(value, Tensor) and hasattr(value, "loss") else ""
    raise LrscopeError(
        f"{said(name)}: it returned {shape} for a batch of {count}: return the mean over the batch or one number per "
        f"example, as a tensor{hint}"
    )


def mean_of(name: str, value: Any) -> Tensor:
    """The mean [] over a ready-made batch, of whose examples there may be any number.

    Raises:
        LrscopeError: it is neither a number nor one for each example.
    """
    count = len(value) if isinstance(value, Tensor) and value.dim() == 1 else 1
    return per_example(name, value, max(count, 1)).mean()


def said(name: str) -> str:
    """How messages call the loss or a metric."""
    return "loss" if name == LOSS else f"metrics: {name}"
