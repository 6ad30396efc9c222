"""A model as a function of a flat weight vector, so that many runs of it can be stacked.

R runs, P trainable parameters, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lrscope.dynamics.layout import Segments, Slot
from lrscope.engine.memory_order import takes_channels_last
from lrscope.engine.trial import (
    EXAMPLES,
    compare_norms,
    distinct_examples,
    output_in,
    per_run_buffers,
    refuse_lost_hooks,
    try_modes,
)
from lrscope.errors import LrscopeError
from lrscope.symmetries.invariance import conventional_split, make_scale_invariant, prepare, split_groups
from lrscope.tasks.activation_noise import ActivationNoise, check_met
from lrscope.tasks.factory import copied, same_values, tensors, weights_type
from lrscope.tasks.noise import Noise
from lrscope.tasks.norms import population_norms, replace_batch_norms
from lrscope.tasks.random_state import seeded
from lrscope.tasks.task import Task


@dataclass(frozen=True)
class Net:
    """The template module and the layout of its weights. The module's own weights are never used.

    frozen: what belongs to a run without being trained: parameters, and buffers that differ between seeds.
    noise: what its passes draw (`tasks.noise`).
    added: noise before layers that a sweep asks for.
    """

    module: nn.Module
    slots: tuple[Slot, ...]
    frozen: tuple[str, ...]
    groups: tuple[str, ...]
    segments: Segments
    scale_invariant: bool
    norms: tuple[str, ...]
    noise: Noise
    readout: str | None
    added: ActivationNoise | None = None

    @property
    def keyed(self) -> bool:
        """Does a pass draw from the run's seed?"""
        return self.noise == "keyed" or (self.noise == "none" and self.added is not None)

    @property
    def draws(self) -> bool:
        """Does a training step draw noise, its own or noise before layers?"""
        return self.stochastic or self.added is not None

    @cached_property
    def takes_channels_last(self) -> bool:
        """See `memory_order.takes_channels_last`."""
        return takes_channels_last(self.module)

    @property
    def stochastic(self) -> bool:
        """Do its passes draw noise?"""
        return self.noise != "none"

    @property
    def size(self) -> int:
        """P, the number of trainable parameters."""
        return self.slots[-1].stop

    def views(self, flat_RP: Tensor) -> dict[str, Tensor]:
        """The flat weights [R, P] as named tensors [R, *shape] (views)."""
        return {s.name: flat_RP[:, s.start : s.stop].view(-1, *s.shape) for s in self.slots}

    def flatten(self, named: dict[str, Tensor]) -> Tensor:
        """The inverse of `views`: [R, P]."""
        parts = [named[s.name].reshape(named[s.name].shape[0], -1) for s in self.slots]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def output(self, named: dict[str, Tensor], x: Tensor) -> Tensor:
        """The module's output for x with these tensors, of one run, in the place of its own: what `torch.func.functional_call`
        gives, which looks for their places at each call. That took 0.2 ms, a twentieth of a small ConvNet's step."""
        before: list[tuple[dict[str, Any], str, Any]] = []
        try:
            for name, tensor in named.items():
                for table, key in self._places[name]:
                    before.append((table, key, table[key]))
                    table[key] = tensor
            found: Tensor = self.module(x)
        finally:
            for table, key, tensor in reversed(before):
                table[key] = tensor
        return found

    @cached_property
    def _places(self) -> dict[str, list[tuple[dict[str, Any], str]]]:
        """Where the module keeps the tensor of each name: a tied one in several places."""
        names = {id(tensor): name for name, tensor in reversed(list(tensors(self.module)))}
        found: dict[str, list[tuple[dict[str, Any], str]]] = {name: [] for name in names.values()}
        for module in self.module.modules():
            for table in (module._parameters, module._buffers):
                for key, tensor in table.items():
                    if tensor is not None:
                        found[names[id(tensor)]].append((table, key))
        return found


@seeded(0)  # passes of a model with dropout draw
def build_net(task: Task, *, invariant: bool, device: torch.device, dtype: torch.dtype) -> Net:
    """Lay out the task's model; for an SI net verify the invariance first (raises LrscopeError with the layers' names)."""
    data = task.data(0)
    x, rows = _tried(task)
    y = data.train_y[rows]
    drawn = task.new_model(0)
    _check_precision(drawn, dtype)
    refuse_lost_hooks(drawn)
    original = copied(drawn)
    output_in(original, x, "train")
    model = replace_batch_norms(drawn)
    noise = _noise(task, drew=try_modes(model, task.loss, x, y))
    compare_norms(original, model, x)
    readout = make_scale_invariant(model, x) if invariant else None
    split = split_groups(model, x) if invariant else conventional_split(model)
    buffers = per_run_buffers(model, prepare(task.new_model(1), x, invariant=invariant, readout=readout), x)
    slots, start = [], 0
    for name, parameter in model.named_parameters():
        if name in split.groups:
            slots.append(Slot(name, tuple(parameter.shape), start, start + parameter.numel()))
            start += parameter.numel()
    groups = tuple(dict.fromkeys(split.groups[s.name] for s in slots))
    segments = tuple(tuple((s.start, s.stop) for s in slots if split.groups[s.name] == g) for g in groups)
    return Net(
        module=_placed(model, device, dtype),
        slots=tuple(slots),
        frozen=(*split.frozen, *buffers),
        groups=groups,
        segments=segments,
        scale_invariant=split.scale_invariant,
        norms=tuple(population_norms(model)),
        noise=noise,
        readout=readout,
    )


def _tried(task: Task) -> tuple[Tensor, Tensor]:
    """Examples [B, ...] that the model is tried on, and their numbers: distinct ones from all of the data, or the first batches
    of a stream that is read in its own order, which would be gone through to its end for later ones."""
    x = task.data(0).train_x
    if task.batches is None or not task.batches.source.train.in_order:
        return distinct_examples(x)
    return x[:EXAMPLES], torch.arange(min(len(x), EXAMPLES))


@seeded(0)
def with_activation_noise(net: Net, task: Task, before: str) -> Net:
    """The net with noise before these layers, tried in a pass.

    Raises:
        LrscopeError: there are no such layers, or the pass does not come by them.
    """
    added = ActivationNoise(net.module, [word.strip() for word in before.split(",")])
    x, _ = _tried(task)
    first = next(net.module.parameters())
    x = x.to(first.device, first.dtype if x.is_floating_point() else None)
    with torch.no_grad(), added.at(0.0):
        net.module.train()(x)
    check_met(added)
    return replace(net, added=added)


def _noise(task: Task, *, drew: bool) -> Noise:
    """What the passes draw: as the task's identity has it, unless these examples show something else."""
    if not drew and not task.draws_examples:
        return "none"
    return "global" if task.noise == "none" else task.noise


def _check_precision(model: nn.Module, dtype: torch.dtype) -> None:
    """Refuse to train weights in less than the precision that they have."""
    if weights_type(model) == torch.float64 and dtype != torch.float64:
        raise LrscopeError(
            "precision: float32, but the model's weights are float64: use precision float64 (--precision float64), or return "
            "model.float()"
        )


def _placed(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The model on the device (in place), real numbers in `dtype`, complex buffers in the precision that goes with it."""
    model = model.to(device)
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = _cast(buffer, dtype)
        for parameter in module._parameters.values():
            if parameter is not None:
                parameter.data = _cast(parameter.data, dtype)
    return model


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Real numbers in `dtype`, complex ones in the type that goes with it, whole numbers and truth values as they are."""
    if tensor.is_complex():
        return tensor.to(torch.complex128 if dtype == torch.float64 else torch.complex64)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def draw_weights(
    task: Task, net: Net, seeds: Sequence[int], *, device: torch.device, dtype: torch.dtype, radius: float | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Initial weights [R, P] and frozen tensors by name [R, ...] for initialisation seeds (63-bit integers).

    Equal seeds share one draw. With `radius` the weights of an SI net are rescaled to that total norm.
    """
    x = task.data(0).train_x[:1]  # looked at only where the readout is not known
    drawn: dict[int, tuple[Tensor, dict[str, Tensor]]] = {}
    for seed in dict.fromkeys(seeds):
        model = prepare(task.new_model(seed), x, invariant=net.scale_invariant, readout=net.readout)
        _check_shared(net, model)
        values = dict(tensors(model))
        flat = torch.cat([values[s.name].detach().reshape(-1) for s in net.slots]).to(dtype)
        if radius is not None:
            flat = flat * (radius / flat.norm())
        drawn[seed] = flat, {name: _cast(values[name].detach(), dtype) for name in net.frozen}
    weights = torch.stack([drawn[s][0] for s in seeds]).to(device)
    frozen = {name: torch.stack([drawn[s][1][name] for s in seeds]).to(device) for name in net.frozen}
    return weights, frozen


def _check_shared(net: Net, model: nn.Module) -> None:
    """Refuse a seed whose buffers are not those that all runs share: two seeds agreed by chance."""
    known = dict(net.module.named_buffers())
    for name, buffer in model.named_buffers():
        if name not in net.frozen and not same_values(_cast(buffer, known[name].dtype), known[name].cpu()):
            raise LrscopeError(
                f"model: its buffer {name} is the same for the first two seeds, but not for all: make it depend on the seed "
                "visibly, or on nothing"
            )
