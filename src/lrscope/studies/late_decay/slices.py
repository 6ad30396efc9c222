"""Landscapes of late_decay's model in the one plane that shows it whole: through 0, the minimum-norm interpolator and the teacher.

Interpolators in this plane are a line of predictors, which the model's coordinates bend; the teacher lies on it. d dimensions,
M points an axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from lrscope.checked import Count, Positive, checked
from lrscope.errors import LrscopeError
from lrscope.measures.plane import Plane
from lrscope.studies.late_decay.norm_power import Gamma, NormPower, weights_of
from lrscope.studies.late_decay.problems import Problems


def model_plane(problems: Problems) -> Plane:
    """The plane of the first data set: x along the minimum-norm interpolator, y along what the teacher adds to it."""
    least = problems.minimum_norm[0].double()
    rest = problems.teacher[0].double() - least
    return Plane(torch.zeros_like(least), least / least.norm(), rest / rest.norm())


@checked
def model_landscape(problems: Problems, gamma: Gamma, *, extent: Positive = 2.0, points: Count = 101) -> xr.Dataset:
    """Training and test loss of the first data set's model over weights w in `model_plane`, with what is where.

    Args:
        gamma: of the model; 0 gives straight lines.
        extent: coordinates go from -extent to extent.
        points: along each axis (M).

    Returns:
        `train_loss` and `test_loss` over (y, x); `manifold` over (position, axis), weights that interpolate, in order along the manifold
        and inside the extent; `minimum_norm` and `teacher` over axis, the weights of these two predictors.

    Raises:
        LrscopeError: fewer than 2 points.
    """
    if points < 2:
        raise LrscopeError(f"points: {points} along an axis draw nothing: use 2 or more")
    plane, model = model_plane(problems), NormPower(problems.only(0), [gamma])
    at = np.linspace(-extent, extent, points)
    slabs = [slab.to(problems.x) for slab in plane.grid(at, at)]
    many = NormPower(problems.only(0), [gamma] * points)
    losses = {
        "train_loss": torch.stack([many.loss(slab) for slab in slabs]),
        "test_loss": torch.stack([many.test_loss(slab) for slab in slabs]),
    }
    places = {"minimum_norm": problems.minimum_norm[:1], "teacher": problems.teacher[:1]}
    data: dict[str, Any] = {name: (("y", "x"), values.double().numpy()) for name, values in losses.items()}
    data |= {name: ("axis", _in_plane(plane, weights_of(p, gamma))[0]) for name, p in places.items()}
    data["manifold"] = (("position", "axis"), _manifold(plane, problems, gamma, extent, 4 * points))
    return xr.Dataset(data, {"x": at, "y": at, "axis": ["x", "y"]}, {"gamma": gamma, "size": model.size})


def _in_plane(plane: Plane, weights: Tensor) -> np.ndarray:
    coordinates, _ = plane.coordinates(weights)
    return np.asarray(coordinates.numpy())


def _manifold(plane: Plane, problems: Problems, gamma: float, extent: float, count: int) -> np.ndarray:
    """Weights of interpolators [K, 2] inside the extent."""
    reach = (2 * extent) ** (1 + gamma)
    ends = torch.linspace(-1, 1, count, dtype=torch.float64)
    line = problems.minimum_norm[0].double() + reach * (ends * ends.abs() ** gamma)[:, None] * plane.second
    found = _in_plane(plane, weights_of(line, gamma))
    return np.asarray(found[(np.abs(found) <= extent).all(1)])
