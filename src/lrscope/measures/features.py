"""How many features does a network rely on? Sparsity of its accuracies on single-feature probe sets.

feature_learning, Sec. 3: near subregime 2A a few features stand out; the papers show it as curves, here it is a number.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

NOISE = 0.05  # ours: three standard errors of an accuracy around 0.5 on the ticks' 1,000 probe examples


def sparsity(accuracy: xr.DataArray, *, chance: float = 0.5, noise: float = NOISE) -> xr.Dataset:
    """Sparsity of probe accuracies along the dimension `feature`.

    With a_f the accuracy above chance of feature f (0 where it is less than `noise` above):

    - `top_share`: max_f a_f / sum_f a_f, between 1 / features and 1;
    - `effective_number`: (sum_f a_f)^2 / sum_f a_f^2, the number of equally used features that would look alike;
    - `used`: how many features are above chance at all.

    The first two are NaN where no feature is: a run that learned nothing is neither sparse nor dense.
    """
    above = (accuracy - chance).where(accuracy - chance > noise, 0.0)
    total = above.sum("feature")
    any_used = total > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return xr.Dataset(
            {
                "top_share": (above.max("feature") / total).where(any_used),
                "effective_number": (total**2 / (above**2).sum("feature")).where(any_used),
                "used": (above > 0).sum("feature"),
            }
        )
