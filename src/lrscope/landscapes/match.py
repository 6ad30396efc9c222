"""Do checkpoints fit a network? Their tensors by the network's names, and what is wrong with them in one sentence.

P parameters, N checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrscope.dynamics.layout import Slot
from lrscope.errors import LrscopeError
from lrscope.landscapes.files import Source
from lrscope.landscapes.rows import check_finite

WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and DistributedDataParallel, and of torch.compile
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of batch norms
LISTED = 3
CLOSE = 1e-5  # ours, relative: what a buffer loses in half precision is more, what it loses in single precision is less


@dataclass(frozen=True)
class Layout:
    """What a network's checkpoints hold.

    Attributes:
        slots: of the trained parameters.
        shapes: of all parameters and buffers, by name.
        twins: other names of shared parameters.
        frozen: parameters and buffers that belong to a run without being trained.
        buffers: those that all runs share, with their values.
        inner: what all names begin with, where the task wraps the user's model.
    """

    slots: tuple[Slot, ...]
    shapes: Mapping[str, tuple[int, ...]]
    twins: Mapping[str, tuple[str, ...]]
    frozen: tuple[str, ...]
    buffers: Mapping[str, Tensor]
    inner: str = ""

    @classmethod
    def of(cls, model: nn.Module, slots: tuple[Slot, ...], frozen: tuple[str, ...], inner: str) -> Layout:
        """The layout of a task's model (before its batch norms are replaced)."""
        held = model.state_dict()
        by_tensor: dict[int, list[str]] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            by_tensor.setdefault(id(parameter), []).append(name)
        twins = {name: tuple(names) for names in by_tensor.values() for name in names if len(names) > 1}
        parameters = {name for names in by_tensor.values() for name in names}
        others = set(held) - parameters - set(frozen)
        buffers = {name: held[name] for name in sorted(others) if not name.endswith(STATISTICS)}
        return cls(slots, {name: tuple(t.shape) for name, t in held.items()}, twins, frozen, buffers, inner)

    @property
    def wanted(self) -> list[str]:
        """What a checkpoint must hold."""
        return [slot.name for slot in self.slots] + list(self.frozen)


@dataclass(frozen=True)
class Fitted:
    """A checkpoint that fits: the key of each of the network's tensors in it; the prefix that they all have."""

    source: Source
    label: str
    keys: Mapping[str, str]
    prefix: str

    def read(self, names: Sequence[str]) -> dict[str, Tensor]:
        """The tensors of these names."""
        found = self.source.read([self.keys[name] for name in names])
        return {name: found[self.keys[name]] for name in names}


def fitted(source: Source, label: str, layout: Layout) -> tuple[Fitted, dict[str, torch.dtype]]:
    """A checkpoint by the network's names, and the types of its trained parameters.

    Raises:
        LrscopeError: names or shapes that are not the network's, numbers that are no real floats, another shared buffer.
    """
    held = source.read(None)
    prefix = _prefix(held, layout)
    there = {layout.inner + key.removeprefix(prefix).removeprefix(layout.inner): key for key in held}
    keys = {name: there[n] for name in layout.wanted if (n := _present(name, there, layout)) is not None}
    _check_names(label, layout, there, keys)
    for name, key in keys.items():
        if tuple(held[key].shape) != layout.shapes[name]:
            raise LrscopeError(
                f"checkpoints: {label} has {name} of shape {tuple(held[key].shape)}, the model of shape {layout.shapes[name]}: "
                "pass the model that was trained"
            )
    _check_buffers(label, layout, held, there)
    types = {slot.name: held[keys[slot.name]].dtype for slot in layout.slots}
    for name, dtype in types.items():
        if not dtype.is_floating_point:
            raise LrscopeError(
                f"checkpoints: {label} holds {name} as {_said(dtype)}: pass weights in float32, or another real type"
            )
    return Fitted(source, label, keys, prefix), types


def _prefix(held: Mapping[str, Tensor], layout: Layout) -> str:
    """The wrappers' prefix that all keys share, unless the model's own names begin so."""
    prefix = ""
    while wrapper := next((w for w in WRAPPERS if all(key.startswith(prefix + w) for key in held)), ""):
        if any(name.startswith(prefix + wrapper) for name in layout.shapes):
            break
        prefix += wrapper
    return prefix


def _present(name: str, there: Mapping[str, str], layout: Layout) -> str | None:
    """The name under which a checkpoint has a tensor; of a shared one any of its names."""
    return next((n for n in (name, *layout.twins.get(name, ())) if n in there), None)


def _check_names(label: str, layout: Layout, there: Mapping[str, str], keys: Mapping[str, str]) -> None:
    missing = [name for name in layout.wanted if name not in keys]
    foreign = [name for name in there if name not in layout.shapes and not name.endswith(STATISTICS)]
    if missing or foreign:
        parts = [f"lacks {_few(missing)}"] * bool(missing) + [f"has {_few(foreign)}, which the model lacks"] * bool(
            foreign
        )
        raise LrscopeError(f"checkpoints: {label} {' and '.join(parts)}: pass the model that was trained")


def _check_buffers(label: str, layout: Layout, held: Mapping[str, Tensor], there: Mapping[str, str]) -> None:
    for name, known in layout.buffers.items():
        if name not in there:
            continue
        given = held[there[name]]
        same = given.shape == known.shape and torch.allclose(given.double(), known.double(), rtol=CLOSE, equal_nan=True)
        if not same:
            raise LrscopeError(
                f"checkpoints: the buffer {name} of {label} is not the model's: landscapes move parameters only, so "
                "make the model with that buffer"
            )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _said(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_types(types: Sequence[Mapping[str, torch.dtype]], labels: Sequence[str]) -> None:
    """Refuse checkpoints of which some were rounded to fewer digits: that would look like movement."""
    for label, own in zip(labels, types, strict=True):
        for name, dtype in own.items():
            if dtype != types[0][name]:
                raise LrscopeError(
                    f"checkpoints: {labels[0]} holds {name} as {_said(types[0][name])}, {label} as {_said(dtype)}, and rounding "
                    "would look like movement: save all in one type"
                )


class Files:
    """Rows of checkpoints that fit a network, read from their sources when they are asked for."""

    def __init__(self, checkpoints: Sequence[Fitted], slots: tuple[Slot, ...]) -> None:
        self.checkpoints, self.slots = tuple(checkpoints), slots

    @property
    def count(self) -> int:
        """N."""
        return len(self.checkpoints)

    @property
    def size(self) -> int:
        """P."""
        return self.slots[-1].stop

    def row(self, number: int) -> Tensor:
        """See `Rows`."""
        return self._part(self.checkpoints[number], 0, self.size)

    def columns(self, start: int, stop: int) -> Tensor:
        """See `Rows`."""
        found = torch.empty(self.count, stop - start, dtype=torch.float64)
        for number, checkpoint in enumerate(self.checkpoints):
            found[number] = self._part(checkpoint, start, stop)
        return found

    def _part(self, checkpoint: Fitted, start: int, stop: int) -> Tensor:
        slots = [slot for slot in self.slots if slot.start < stop and slot.stop > start]
        tensors = checkpoint.read([slot.name for slot in slots])
        parts = []
        for slot in slots:
            part = tensors[slot.name].reshape(-1)[max(0, start - slot.start) : stop - slot.start].double()
            check_finite(part, checkpoint.label, slot.name)
            parts.append(part)
        return torch.cat(parts)
