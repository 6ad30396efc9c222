"""Learning rates of groups, and which norm divides them in the effective one. T tensors, G groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrscope.monitor.tracked import Tracked

Array = NDArray[np.float64]
SGD_POWER = 2.0  # the effective learning rate of scale-invariant weights is lr / norm^2 under SGD
SPHERE_SGD = "SphereSGD"  # its steps are multiplied by radius^2, so its lr is the effective one


class Rates(NamedTuple):
    """Of each group [G].

    lr: the learning rate, the mean over the group's tensors; NaN where none of them trains.
    power: the effective learning rate is lr / norm^power; NaN where there is none, because updates are normalised (then lr
        is an angle), or because tensors of the group differ in it.
    """

    lr: Array
    power: Array


def rates(found: Sequence[Tracked], place_T: NDArray[np.int64], groups: int) -> Rates:
    """As the optimizers' options are now; `place_T` is the group of each tensor."""
    lr = _mean(np.array([float(one.options.get("lr", np.nan)) for one in found]), place_T, groups)
    powers = np.array([_power(one) for one in found])
    power = _mean(powers, place_T, groups)
    differs = np.zeros(groups, dtype=bool)
    differs[place_T[powers != power[place_T]]] = True
    return Rates(lr, np.where(differs, np.nan, power))


def _mean(values_T: Array, place_T: NDArray[np.int64], groups: int) -> Array:
    with np.errstate(invalid="ignore"):
        total = np.bincount(place_T, weights=values_T, minlength=groups)
        mean: Array = total / np.bincount(place_T, minlength=groups)
    return mean


def _power(one: Tracked) -> float:
    if not one.held:
        return SGD_POWER
    if one.options.get("hyperball"):
        return float("nan")
    return 0.0 if one.kind == SPHERE_SGD else SGD_POWER
