"""A model as a function of a flat weight vector, so that many runs of it can be stacked.

R runs, P trainable parameters, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrscope.dynamics.invariance import conventional_split, prepare, split_groups
from lrscope.dynamics.update import Segments
from lrscope.errors import LrscopeError
from lrscope.tasks.norms import population_norms
from lrscope.tasks.task import Task

VERIFY_BATCH = 64  # ours: a batch norm over fewer values invents symmetries


@dataclass(frozen=True)
class Slot:
    """One trainable tensor inside the flat vector: flat[start:stop] viewed as shape."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Net:
    """The template module and the layout of its weights. The module's own values are never used."""

    module: nn.Module
    slots: tuple[Slot, ...]
    frozen: tuple[str, ...]
    groups: tuple[str, ...]
    segments: Segments
    scale_invariant: bool
    norms: tuple[str, ...]
    stochastic: bool

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


def build_net(task: Task, *, invariant: bool, device: torch.device, dtype: torch.dtype) -> Net:
    """Lay out the task's model; for an SI net verify the invariance first (raises LrscopeError with the layers' names)."""
    data = task.data(0)
    x = data.train_x[:VERIFY_BATCH]
    model = prepare(task.new_model(0), x, invariant=invariant)
    split = split_groups(model, x) if invariant else conventional_split(model)
    slots, start = [], 0
    for name, parameter in model.named_parameters():
        if name in split.groups:
            slots.append(Slot(name, tuple(parameter.shape), start, start + parameter.numel()))
            start += parameter.numel()
    groups = tuple(dict.fromkeys(split.groups[s.name] for s in slots))
    segments = tuple(tuple((s.start, s.stop) for s in slots if split.groups[s.name] == g) for g in groups)
    stochastic = draws_noise(model, x)
    return Net(
        module=model.to(device=device, dtype=dtype),
        slots=tuple(slots),
        frozen=split.frozen,
        groups=groups,
        segments=segments,
        scale_invariant=split.scale_invariant,
        norms=tuple(population_norms(model)),
        stochastic=stochastic,
    )


def channels_last(x: Tensor) -> Tensor:
    """Images [B, C, H, W] with a pixel's channels side by side in memory (other inputs as they are): a CPU convolves and
    pools them up to 1.7 times as fast (ours).

    Images of one channel are in that order already, and `contiguous` leaves their strides alone; convolutions read the
    order from the strides, so these are written anew.
    """
    if x.dim() != 4:
        return x
    if x.shape[1] == 1:
        return x.reshape(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def draws_noise(model: nn.Module, x: Tensor) -> bool:
    """Does a training pass on x draw from the global generator, as dropout does?

    Raises:
        LrscopeError: the pass changes buffers, which all runs would share.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    state = torch.get_rng_state()
    with torch.no_grad():
        model.train()(x)
    drew = not torch.equal(state, torch.get_rng_state())
    torch.set_rng_state(state)
    changed = [name for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name])]
    if changed:
        raise LrscopeError(
            f"model: training changes its buffers {', '.join(changed)}, which runs would share: remove them "
            "(track_running_stats=False; batch norms are taken care of)"
        )
    return drew


def draw_weights(
    task: Task, net: Net, seeds: Sequence[int], *, device: torch.device, dtype: torch.dtype, radius: float | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Initial weights [R, P] and frozen tensors by name [R, ...] for initialisation seeds (63-bit integers).

    Equal seeds share one draw. With `radius` the weights of an SI net are rescaled to that total norm.
    """
    x = task.data(0).train_x[:VERIFY_BATCH]
    drawn: dict[int, tuple[Tensor, dict[str, Tensor]]] = {}
    for seed in dict.fromkeys(seeds):
        model = prepare(task.new_model(seed), x, invariant=net.scale_invariant)
        values = dict(model.named_parameters())
        flat = torch.cat([values[s.name].detach().reshape(-1) for s in net.slots]).to(dtype)
        if radius is not None:
            flat = flat * (radius / flat.norm())
        drawn[seed] = flat, {name: values[name].detach().to(dtype) for name in net.frozen}
    weights = torch.stack([drawn[s][0] for s in seeds]).to(device)
    frozen = {name: torch.stack([drawn[s][1][name] for s in seeds]).to(device) for name in net.frozen}
    return weights, frozen
