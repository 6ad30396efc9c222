"""Checkpoints as the rows of a matrix that need not be in memory: N points of weight space, P parameters.

Paths name which rows belong together: the main path first, then those that leave it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lrscope.errors import LrscopeError, shown

BLOCK = 256 << 20  # ours, bytes: of the columns that are in memory together


class Rows(Protocol):
    """Weights [N, P], read when they are asked for."""

    @property
    def count(self) -> int:
        """N."""

    @property
    def size(self) -> int:
        """P."""

    def row(self, number: int) -> Tensor:
        """The weights of one checkpoint, float64 [P].

        Raises:
            LrscopeError: they are not finite.
        """

    def columns(self, start: int, stop: int) -> Tensor:
        """Some parameters of all checkpoints, float64 [N, stop - start]."""


class Matrix:
    """Rows in memory."""

    def __init__(self, weights_NP: Tensor) -> None:
        self.weights = weights_NP.detach().cpu()

    @property
    def count(self) -> int:
        """N."""
        return len(self.weights)

    @property
    def size(self) -> int:
        """P."""
        return int(self.weights.shape[1])

    def row(self, number: int) -> Tensor:
        """See `Rows`."""
        return self.weights[number].double()

    def columns(self, start: int, stop: int) -> Tensor:
        """See `Rows`."""
        return self.weights[:, start:stop].double()


def blocks(rows: Rows, most: int = BLOCK) -> Iterator[tuple[int, int]]:
    """Ranges of columns that take at most so many bytes each."""
    wide = max(1, most // (8 * rows.count))
    return ((start, min(start + wide, rows.size)) for start in range(0, rows.size, wide))


@dataclass(frozen=True)
class Paths:
    """Which checkpoint belongs to which path.

    Attributes:
        names: of the paths, the main one first.
        path: of each checkpoint, its path's number [N].
        labels: of the checkpoints [N].
    """

    names: tuple[str, ...]
    path: tuple[int, ...]
    labels: tuple[str, ...]

    def of(self, number: int) -> np.ndarray:
        """Numbers of a path's checkpoints, in their order."""
        return np.flatnonzero(np.asarray(self.path) == number)

    def find(self, name: str, wanted: Any) -> int:
        """A checkpoint's number, from its label, its label without the path's name or its number. The main path goes first.

        Raises:
            LrscopeError: there is none, or there are several; `name` is the argument's.
        """
        if isinstance(wanted, int | np.integer) and not isinstance(wanted, bool):
            if not -len(self.labels) <= wanted < len(self.labels):
                raise LrscopeError(
                    f"{name}: there is no checkpoint {wanted}: they are numbered from 0 to {len(self.labels) - 1}"
                )
            return int(wanted) % len(self.labels)
        full = f"{self.names[0]}/{wanted}"
        found = [i for i, label in enumerate(self.labels) if label in (wanted, full)]
        found = found or [i for i, label in enumerate(self.labels) if wanted and label.endswith(f"/{wanted}")]
        if len(found) != 1:
            few = ", ".join(self.labels[:6]) + (", ..." if len(self.labels) > 6 else "")
            raise LrscopeError(
                f"{name}: {'several checkpoints are' if found else 'no checkpoint is'} called {shown(wanted)}: use one of {few}"
            )
        return found[0]


def in_memory(paths: Mapping[str, Any]) -> tuple[Matrix, Paths]:
    """Rows and paths of weights [T, P] by the name of their path, the main one first.

    Raises:
        LrscopeError: no paths, or weights of other shapes.
    """
    try:
        tensors = {str(name): torch.as_tensor(value) for name, value in paths.items()}
    except (TypeError, ValueError, RuntimeError):
        raise LrscopeError(
            f"paths: {shown(paths)} are no tensors by name: pass weights [checkpoints, parameters]"
        ) from None
    sizes = {tuple(t.shape[1:]) for t in tensors.values() if t.dim() == 2 and len(t) and t.is_floating_point()}
    if len(sizes) != 1 or any(t.dim() != 2 or not len(t) for t in tensors.values()):
        shapes = {name: tuple(t.shape) for name, t in tensors.items()}
        raise LrscopeError(f"paths: their shapes are {shapes}: pass floats [checkpoints, parameters] of one network")
    return Matrix(torch.cat([t.double() for t in tensors.values()])), named(
        {name: [str(i) for i in range(len(t))] for name, t in tensors.items()}
    )


def named(labels: Mapping[str, Sequence[str]]) -> Paths:
    """Paths from the labels of their checkpoints."""
    path = [number for number, own in enumerate(labels.values()) for _ in own]
    return Paths(tuple(labels), tuple(path), tuple(f"{name}/{label}" for name, own in labels.items() for label in own))


def check_finite(values: Tensor, label: str, what: str) -> None:
    """Refuse weights that are not finite.

    Raises:
        LrscopeError: it names checkpoint and parameter.
    """
    if not bool(torch.isfinite(values).all()):
        raise LrscopeError(
            f"checkpoints: {label} has weights that are not finite in {what}: leave it out, as training had overflowed there"
        )
