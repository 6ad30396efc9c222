"""What `find_symmetries` returns. Imports no PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

INVARIANT, GROUP, RESCALING, NO_EFFECT = "scale-invariant", "group", "rescaling", "no effect"
KINDS = (INVARIANT, GROUP, RESCALING, NO_EFFECT)
STREAM = 3  # ours: modules that add into one group


@dataclass(frozen=True)
class Part:
    """A tensor in a symmetry: it is multiplied by the `power` of the factor.

    axis: along which its channels lie, where each channel may have a factor of its own; else None.
    start, stop: which slices along that axis take part; None: all.
    """

    tensor: str
    power: float
    axis: int | None = None
    start: int | None = None
    stop: int | None = None

    @property
    def slices(self) -> str:
        """The tensor's name, with its slices where they are not all, such as `in_proj_weight[0:64]`."""
        return (
            self.tensor if self.start is None else f"{self.tensor}[{':, ' * (self.axis or 0)}{self.start}:{self.stop}]"
        )

    @property
    def label(self) -> str:
        """The same with the power's size, where that is not 1."""
        size = abs(self.power)
        return self.slices + ("" if size == 1 else f"^{size:g}")


@dataclass(frozen=True)
class Symmetry:
    """Weights that can be rescaled by any factor above 0 without a change of the outputs.

    kind: `scale-invariant`, one tensor; `group`, several that only keep the outputs when all are multiplied by one factor;
        `rescaling`, some are multiplied and others divided; `no effect`, a tensor on which the outputs do not depend.
    parts: the tensors.
    channels: how many channels can each have a factor of their own; None: the tensors have one factor.
    train, eval: does it hold in that mode? Batch norms with running statistics have fewer symmetries in eval mode.
    """

    kind: str
    parts: tuple[Part, ...]
    channels: int | None = None
    train: bool = True
    eval: bool = True

    @property
    def powers(self) -> dict[str, float]:
        """The power of each tensor's factor, that of slices by the name that `Part.slices` gives them."""
        found: dict[str, float] = {}
        for part in self.parts:
            found[part.slices] = found.get(part.slices, 0) + part.power
        return found

    @property
    def is_stream(self) -> bool:
        """Do several modules add into one stream, as residual connections do?"""
        adding = {part.tensor.rpartition(".")[0] for part in self.parts if part.power > 0}
        return self.kind in (GROUP, RESCALING) and len(adding) >= STREAM


@dataclass(frozen=True)
class Symmetries:
    """The scale symmetries of a model; iterates over them.

    model: its class.
    mode: the mode in which they were looked for.
    tensors, weights: how many tensors train, and how many numbers they hold.
    draws: random functions of the outputs whose gradients were taken.
    found: the symmetries. Those of whole tensors (`whole`) are a basis: every other one of whole tensors combines them.
    """

    model: str
    mode: str
    tensors: int
    weights: int
    draws: int
    found: tuple[Symmetry, ...]

    def __iter__(self) -> Iterator[Symmetry]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def of(self, kind: str) -> tuple[Symmetry, ...]:
        """Those of a kind."""
        return tuple(one for one in self.found if one.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        from lrscope.symmetries.listing import listing

        return listing(self)
