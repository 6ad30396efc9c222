"""Angles and barriers between fine-tuned and averaged solutions of the ticks, fold by fold.

L pre-training rates, U seeds.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.folds import Fold

CATAPULT = 1.0  # rad, ours: independent directions lie 1.57 apart
FAR_ABOVE = 100.0  # ours: FLR >> PLR, two orders of magnitude


def between(geometry: xr.Dataset, fold: Fold, name: str, pair: str) -> Array:
    """A quantity of the measurement `geometry` between the two solutions of a pair, of a fold's runs [L, U]."""
    here = {axis: fold.result[axis].values for axis in ("data_seed", "seed")}
    return arrays.per_seed(geometry[name].sel(pair=pair).sel(here))


def catapulted(geometry: xr.Dataset, fold: Fold) -> Array:
    """Runs [L, U] whose highest FLR ends more than `CATAPULT` from where the lowest ends, as 0 or 1."""
    return np.asarray(between(geometry, fold, "angle", "low-high") > CATAPULT, dtype=np.float64)


def far_above(fold: Fold) -> list[int]:
    """PLRs that the highest FLR exceeds `FAR_ABOVE` times."""
    return [k for k, plr in enumerate(fold.plr) if fold.flr[-1] >= FAR_ABOVE * plr]


def comparable(fold: Fold) -> list[int]:
    """PLRs of regime 1 that the highest FLR exceeds at most ten times."""
    return [k for k in fold.inside("1") if fold.flr[-1] <= 10 * fold.plr[k]]
