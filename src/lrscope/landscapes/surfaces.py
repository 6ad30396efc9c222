"""Two-dimensional surfaces in weight space: planes, and planes that a third direction bends. P parameters, K points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrscope.landscapes.components import Components
from lrscope.measures.plane import Plane
from lrscope.tasks.streams import generator

Array = NDArray[np.float64]
SLAB = 64 << 20  # ours, bytes: of points that are made together


@dataclass(frozen=True)
class Bend:
    """How far a surface leaves its plane: c0 + c1 x + c2 x^2 along a third direction [P], orthogonal to the plane."""

    direction: Tensor
    coefficients: tuple[float, float, float]

    def height(self, x: Array) -> Array:
        """At coordinates x."""
        return np.asarray(np.polynomial.polynomial.polyval(x, self.coefficients), dtype=np.float64)


@dataclass(frozen=True)
class Surface:
    """The points origin + x first + y second, and where it is bent + height(x) third."""

    plane: Plane
    bend: Bend | None = None

    def points(
        self, x: Array, y: Array, dtype: torch.dtype = torch.float64, device: torch.device | None = None
    ) -> Iterator[Tensor]:
        """The points at coordinates x and y [K] in slabs [*, P], made when they are asked for."""
        together = max(1, SLAB // (8 * len(self.plane.origin)))
        height = np.zeros_like(x) if self.bend is None else self.bend.height(x)
        for start in range(0, len(x), together):
            part = slice(start, start + together)
            a, b, c = (torch.from_numpy(np.asarray(v[part], dtype=np.float64))[:, None] for v in (x, y, height))
            found = self.plane.origin + a * self.plane.first + b * self.plane.second
            yield (found if self.bend is None else found + c * self.bend.direction).to(device, dtype)

    def coordinates(self, weights_P: Tensor) -> tuple[float, float, float]:
        """Where a point is drawn, x and y, and its distance from the surface there."""
        (at,), _ = self.plane.coordinates(weights_P[None])
        x, y = (np.array([float(v)]) for v in at)
        below = next(self.points(x, y))[0]
        return float(x[0]), float(y[0]), float((weights_P.double() - below).norm())


def of_components(found: Components, *, curved: bool) -> tuple[Surface, float]:
    """The surface over the first two components, and with how much of the third's variance its bend agrees (R^2).

    Curved, the third component is the least-squares parabola of the checkpoints' third scores over their first. Without a
    third component, or with fewer than four checkpoints, which any parabola fits, it is flat, and R^2 is NaN.
    """
    plane = Plane(found.mean, found.directions[0], found.directions[1])
    if not curved or len(found.directions) < 3 or len(found.scores) < 4:
        return Surface(plane), float("nan")
    x, z = found.scores[:, 0].numpy(), found.scores[:, 2].numpy()
    scale = float(np.abs(x).max())
    fitted = np.polynomial.polynomial.polyfit(x / scale, z, 2) / scale ** np.arange(3)
    bend = Bend(found.directions[2], tuple(float(c) for c in fitted))  # type: ignore[arg-type]
    left = float(((z - bend.height(x)) ** 2).sum() / ((z - z.mean()) ** 2).sum())
    return Surface(plane, bend), 1 - left


def filter_normalised(shapes: Mapping[str, tuple[int, ...]], around_P: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Two random directions [P] whose filters have the norms of the network's own (Li et al. 2018, Sec. 4).

    A filter is what one output of a layer sees: a row of a weight matrix, a slice of a convolution's kernel. Tensors of one
    dimension (biases, scales of norms) do not move, as in the paper's experiments. Draws come from the stream of `seed`.

    Args:
        shapes: of the network's tensors, in the order in which they lie in `around_P`.
    """
    return _direction(shapes, around_P, seed, 0), _direction(shapes, around_P, seed, 1)


def _direction(shapes: Mapping[str, tuple[int, ...]], around_P: Tensor, seed: int, number: int) -> Tensor:
    found, start = torch.zeros(len(around_P), dtype=torch.float64), 0
    for name, shape in shapes.items():
        stop = start + int(np.prod(shape, dtype=np.int64))
        if len(shape) > 1:
            stream = generator("landscape", "direction", seed, number, name.replace("/", "."))
            drawn = torch.randn(shape[0], (stop - start) // shape[0], generator=stream, dtype=torch.float64)
            own = around_P[start:stop].double().view(shape[0], -1)
            found[start:stop] = (drawn * (own.norm(dim=1) / drawn.norm(dim=1))[:, None]).flatten()
        start = stop
    return found
