"""Planes in weight space and grids of points on them. N points, P parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lrscope.checked import checked, checked_fields
from lrscope.errors import LrscopeError

PARALLEL = 1e-6  # ours: a sine of the angle between directions below which they span no plane


@checked_fields
@dataclass(frozen=True)
class Plane:
    """The points origin + x first + y second, all float64 [P]. The directions need not be orthogonal or of length 1.

    Raises:
        LrscopeError: tensors of other shapes; directions that are zero, parallel or not finite.
    """

    origin: Tensor
    first: Tensor
    second: Tensor

    def __post_init__(self) -> None:
        tensors = {name: getattr(self, name) for name in ("origin", "first", "second")}
        for name, tensor in tensors.items():
            if (
                tensor.dim() != 1
                or not len(tensor)
                or tensor.shape != self.origin.shape
                or not tensor.is_floating_point()
            ):
                raise LrscopeError(
                    f"{name}: {tensor.dtype} of shape {tuple(tensor.shape)} is no vector of {len(self.origin.reshape(-1))} "
                    "weights: pass floats [parameters], such as state.weights[0]"
                )
            object.__setattr__(self, name, tensor.detach().double())
        a, b = self.first, self.second
        rest = b - (b @ a) / (a @ a) * a
        if not bool(torch.isfinite(self.origin).all()) or not float(rest.norm()) > PARALLEL * float(b.norm()):
            raise LrscopeError(
                "plane: its directions are zero, parallel or not finite: choose two that point different ways"
            )

    @classmethod
    @checked
    def through(cls, first: Tensor, second: Tensor, third: Tensor) -> Plane:
        """The plane through three points [P]: `first` at (0, 0), `second` on the positive x axis, `third` at positive y;
        coordinates are distances in weight space."""
        for other in (second, third):
            if other.shape != first.shape:
                raise LrscopeError(
                    f"points: shapes {tuple(first.shape)} and {tuple(other.shape)} are not of one network: pass [parameters] each"
                )
        origin = first.detach().double()
        x = second.detach().double() - origin
        x = x / x.norm()
        y = third.detach().double() - origin
        y = y - (y @ x) * x
        return cls(origin, x, y / y.norm())

    @checked
    def grid(self, x: ArrayLike, y: ArrayLike, *, dtype: torch.dtype = torch.float64) -> Iterator[Tensor]:
        """The points at coordinates x [M] and y [N], row by row when they are asked for: N slabs [M, P].

        Raises:
            LrscopeError: coordinates that are no lists of finite numbers.
        """
        columns, rows = _coordinates("x", x), _coordinates("y", y)
        along = torch.from_numpy(columns).to(self.origin.device)[:, None] * self.first
        return ((self.origin + along + float(height) * self.second).to(dtype) for height in rows)

    @checked
    def coordinates(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Where points [N, P] lie: the nearest points' coordinates [N, 2], and the distances [N] from the plane; float64.

        Raises:
            LrscopeError: points of another size.
        """
        if points.dim() != 2 or points.shape[1] != len(self.origin):
            raise LrscopeError(
                f"points: their shape is {tuple(points.shape)}: pass [points, {len(self.origin)} parameters]"
            )
        directions = torch.stack([self.first, self.second])
        offset = points.double() - self.origin
        found = torch.linalg.solve(directions @ directions.T, directions @ offset.T).T
        return found, (offset - found @ directions).norm(dim=1)


def _coordinates(name: str, values: ArrayLike) -> np.ndarray:
    found = np.atleast_1d(np.asarray(values, float))
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise LrscopeError(f"{name}: coordinates of shape {found.shape} must be a list of finite numbers")
    return found
