"""A running average of the weights, and what it reaches: a look at what a decay of the learning rate would give."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn

from lrscope.errors import LrscopeError, first_line, shown
from lrscope.monitor.tracked import Tracked
from lrscope.monitor.types import LookAhead
from lrscope.tasks.random_state import kept
from lrscope.wrappers import named_parameters, wait_for_no_one

POWER = 8  # ours: weights of the average grow as count**POWER, so its mean age is a tenth of the run
INTERVAL = 0.95


class Average:
    """Averaged weights by name, in float32 or better: polynomial-decay averaging (Shamir and Zhang 2013)."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, found: Sequence[Tracked]) -> None:
        """Take the present weights in."""
        for one in found:
            self._add(one.name, one.weight.detach())

    def _add(self, name: str, weight: Tensor) -> None:
        kept_before = self.weights.get(name)
        if kept_before is None or kept_before.shape != weight.shape:
            self.weights[name], self.counts[name] = wide(weight), 1
            return
        count = self.counts[name] + 1
        self.counts[name] = count
        kept_before.lerp_(weight.to(kept_before.dtype), (POWER + 1) / (count + POWER))

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"weights": {n: w.clone() for n, w in self.weights.items()}, "counts": dict(self.counts)}

    def load(self, state: Mapping[str, Any], found: Sequence[Tracked]) -> None:
        """The inverse of `state`, on the devices of the present weights."""
        devices = {one.name: one.weight.device for one in found}
        self.weights = {n: w.clone().to(devices.get(n, w.device)) for n, w in state["weights"].items()}
        self.counts = dict(state["counts"])


def wide(weight: Tensor) -> Tensor:
    """A copy, in float32 at least."""
    narrow = weight.dtype in (torch.float16, torch.bfloat16)
    return weight.float() if narrow else weight.clone()


def look_ahead(
    model: nn.Module,
    average: Mapping[str, Tensor],
    evaluate: Callable[[nn.Module], Any],
    update: int,
    batches: Iterable[Any] | None,
    forward: Callable[[nn.Module, Any], Any],
) -> LookAhead:
    """Evaluate copies of the model, one after the other, the second with the averaged weights, both on the same batches; the
    random state is kept, that of a loader included.

    Raises:
        LrscopeError: a model that cannot be copied, an evaluation that returns no numbers, no batches.
    """
    given = list(batches) if isinstance(batches, Iterator) else batches  # an iterator can be read once
    with _as_before(given):
        now = _evaluated(_copied(model, average), evaluate, given, forward)
    with _as_before(given):
        averaged = _copied(model, average)
        with torch.no_grad():
            for name, weight in named_parameters(averaged):
                if name in average:
                    weight.copy_(average[name])
        ahead = _evaluated(averaged, evaluate, given, forward)
    low, high = _interval(ahead)
    difference = _interval(now - ahead)[0] if now.shape == ahead.shape else None
    tells = float(now.mean() - ahead.mean()) > 0 if difference is None else difference > 0
    return LookAhead(float(now.mean()), float(ahead.mean()), low, high, update, tells)


@contextmanager
def _as_before(batches: Iterable[Any] | None) -> Iterator[None]:
    """Afterwards random states are as they were: the three global ones, and a loader's own, which the training may share."""
    holders = (batches, getattr(batches, "sampler", None))
    own = [one for holder in holders if isinstance(one := getattr(holder, "generator", None), torch.Generator)]
    states = [one.get_state() for one in own]
    try:
        with kept():
            yield
    finally:
        for one, state in zip(own, states, strict=True):
            one.set_state(state)


def _copied(model: nn.Module, average: Mapping[str, Tensor]) -> nn.Module:
    """Frozen weights are shared with the copy: beside adapters they are most of the memory."""
    frozen = [
        w
        for name, w in named_parameters(model)
        if name not in average and not w.requires_grad and type(w) is nn.Parameter
    ]
    try:
        copied = copy.deepcopy(model, {id(w): nn.Parameter(w.detach(), requires_grad=False) for w in frozen})
    except Exception as error:  # whatever a user's module raises
        raise LrscopeError(
            f"model: the {type(model).__name__} cannot be copied ({first_line(error)}), so averaged weights cannot be "
            "evaluated beside the training: leave look_ahead out"
        ) from error
    wait_for_no_one(copied)
    return copied


def _evaluated(
    model: nn.Module,
    evaluate: Callable[[nn.Module], Any],
    batches: Iterable[Any] | None,
    forward: Callable[[nn.Module, Any], Any],
) -> Any:
    if batches is not None:
        renew_statistics(model, batches, forward)
    found = evaluate(model)
    try:
        values = np.asarray(_on_host(found), dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if not len(values):
        raise LrscopeError(f"evaluate: it returned {shown(found)}: return a loss, or a list of losses")
    return values


def _on_host(found: Any) -> Any:
    """Tensors, also those of a list, without their graph and off their device.

    Raises:
        TypeError: nothing, which NumPy would take for NaN.
    """
    if found is None:
        raise TypeError
    if isinstance(found, (list, tuple)):
        return [_on_host(one) for one in found]
    return found.detach().to("cpu", torch.float64).numpy() if isinstance(found, Tensor) else found


@torch.no_grad()
def renew_statistics(model: nn.Module, batches: Iterable[Any], forward: Callable[[nn.Module, Any], Any]) -> None:
    """Batch norms get the statistics of these batches, each counted alike; the mode stays.

    Raises:
        LrscopeError: there are no batches.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    modes = {module: module.training for module in model.modules()}
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    count = 0
    for batch in batches:
        forward(model, batch)
        count += 1
    if not count:
        raise LrscopeError(
            "batches: there are none, as of an iterator that was read before: pass a list of batches, or a loader"
        )
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, mode in modes.items():
        module.training = mode


def _interval(values: Any) -> tuple[float | None, float | None]:
    """Student's interval of the mean; none for a single number."""
    if len(values) < 2:
        return None, None
    margin = float(special.stdtrit(len(values) - 1, (1 + INTERVAL) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - margin, float(values.mean()) + margin
