"""Which tensors train: those that an optimizer holds, with the names that the unwrapped model gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lrscope.errors import LrscopeError, shown
from lrscope.optim.param_groups import is_held
from lrscope.optim.spheres import KINDS
from lrscope.wrappers import named_parameters, unwrapped

Held = tuple[int, int, bool, int]
SHARDED = ("FullyShardedDataParallel", "FlatParameter")
WATCHED = 16  # ours: tensors of each optimizer whose version is read in every call
COUNTED = 3  # ours: of these, tensors whose count of steps is read too, which takes longer


@dataclass(frozen=True)
class Tracked:
    """A tensor that trains, and the optimizer's options for it, which may change."""

    name: str
    weight: Tensor
    options: Mapping[str, Any]
    optimizer: Any

    @property
    def kind(self) -> str:
        """The optimizer's class; Accelerate's wrapper holds it as `optimizer`."""
        return type(getattr(self.optimizer, "optimizer", self.optimizer)).__name__

    @property
    def held(self) -> bool:
        """Does its optimizer keep its norm, as `SphereSGD` and `OnSphere` do?"""
        return self.options.get("sphere") in KINDS and is_held(self.options, self.weight)


def names(model: nn.Module) -> dict[int, str]:
    """The names of a model's tensors by identity, those of compiled parts left out."""
    return {id(p): name for name, p in named_parameters(model)}


def as_optimizers(optimizer: Any) -> tuple[Any, ...]:
    """One optimizer or several, as a tuple.

    Raises:
        LrscopeError: something without param_groups.
    """
    given = tuple(optimizer) if isinstance(optimizer, Iterable) else (optimizer,)
    wrong = [one for one in given if not isinstance(getattr(one, "param_groups", None), list)]
    if wrong or not given:
        what = shown(wrong[0]) if wrong else "an empty list"
        raise LrscopeError(f"optimizer: {what} is no torch.optim.Optimizer: pass the optimizer, or a list of them")
    return given


def tracked(known: Mapping[int, str], optimizers: Sequence[Any]) -> list[Tracked]:
    """The tensors that train now, each once. Those that the model does not name are named by their place in the optimizer."""
    found: dict[int, Tracked] = {}
    for name, weight, options, optimizer in _held(known, optimizers):
        if weight.requires_grad and weight.numel() and id(weight) not in found:
            found[id(weight)] = Tracked(name, weight, options, optimizer)
    return list(found.values())


def held_by(optimizers: Sequence[Any]) -> list[Held]:
    """What the optimizers hold now; the same as before where no tensor came, went, was frozen or has other options."""
    return [
        (id(weight), id(options), weight.requires_grad, weight.numel())
        for optimizer in optimizers
        for options in optimizer.param_groups
        for weight in options["params"]
    ]


def _held(known: Mapping[int, str], optimizers: Sequence[Any]) -> Iterator[tuple[str, Tensor, Mapping[str, Any], Any]]:
    for k, optimizer in enumerate(optimizers):
        for g, options in enumerate(optimizer.param_groups):
            for i, weight in enumerate(options["params"]):
                place = f"optimizer {k}, param_groups[{g}][{i}]"
                yield known.get(id(weight), place), weight, options, optimizer


def check(model: nn.Module, known: Mapping[int, str], optimizers: Sequence[Any]) -> None:
    """Refuse an optimizer that moves nothing of the model, and weights that are not here as a whole.

    Raises:
        LrscopeError: nothing trains, or only tensors of something else, or parts of tensors.
    """
    found = tracked(known, optimizers)
    kind = type(unwrapped(model)).__name__
    if _sharded(model, found):
        raise LrscopeError(
            f"model: the weights of the {kind} are sharded (FSDP), so no process has their norms: use DistributedDataParallel, "
            "or leave the monitor out"
        )
    if not found:
        raise LrscopeError(f"optimizer: none of its tensors requires a gradient: unfreeze some weights of the {kind}")
    if not {id(t.weight) for t in found} & set(known):
        raise LrscopeError(
            f"optimizer: it holds none of the {len(known)} tensors of the {kind}: pass the optimizer that trains this "
            "model, made from model.parameters() after the model was moved"
        )


def _sharded(model: nn.Module, found: Sequence[Tracked]) -> bool:
    wrapped = any(type(module).__name__ in SHARDED for module in model.modules())
    parts = (getattr(one.weight, "device_mesh", None) or type(one.weight).__name__ in SHARDED for one in found)
    return wrapped or any(parts)


class Versions:
    """Have optimizers stepped since the last look? Reads version counters of weights, and of the optimizers' own counts of steps,
    because fused steps leave those of weights alone. Nothing is read from a device."""

    def __init__(self, found: Sequence[Tracked]) -> None:
        self.weights: list[Tensor] = []
        self.counted: list[Tracked] = []
        for one in {id(tensor.optimizer): tensor.optimizer for tensor in found}.values():
            own = [tensor for tensor in found if tensor.optimizer is one]
            own = own[:: -(-len(own) // WATCHED)]
            self.weights += [tensor.weight for tensor in own]
            self.counted += own[:: -(-len(own) // COUNTED)]
        self.seen = self._now()

    def _now(self) -> list[Any]:
        return [*[weight._version for weight in self.weights], *[_count(one) for one in self.counted]]

    def moved(self) -> bool:
        """Since the last call."""
        now = self._now()
        changed = now != self.seen
        self.seen = now
        return changed


def _count(one: Tracked) -> Any:
    state = getattr(one.optimizer, "state", {}).get(one.weight)
    step = state.get("step") if state else None
    return step._version if isinstance(step, Tensor) else step
