"""How many features does a network rely on? Sparsity of its accuracies on single-feature probe sets.

feature_learning, Sec. 3: near subregime 2A a few features stand out; the papers show it as curves, here it is a number.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

NOISE = 0.01  # ours: 2.5 standard errors of the mean accuracy over ticks' 16 probe sets of 1,000 examples


def sparsity(accuracy: xr.DataArray, *, chance: float = 0.5, noise: float = NOISE) -> xr.Dataset:
    """Sparsity of probe accuracies along the dimension `feature`.

    With a_f the accuracy of feature f above chance, or 0:

    - `top_share`: max_f a_f / sum_f a_f, between 1 / features and 1;
    - `effective_number`: (sum_f a_f)^2 / sum_f a_f^2, the number of equally used features that would look alike.

    Both are NaN where the mean accuracy over features is less than `noise` above chance: a run that learned nothing is
    neither sparse nor dense, and what little its accuracies scatter would look sparse (5 of 16 features).
    """
    above = (accuracy - chance).clip(min=0.0)
    learned = accuracy.mean("feature") - chance > noise
    total = above.sum("feature")
    with np.errstate(divide="ignore", invalid="ignore"):
        return xr.Dataset(
            {
                "top_share": (above.max("feature") / total).where(learned),
                "effective_number": (total**2 / (above**2).sum("feature")).where(learned),
            }
        )
