"""How many features does a network rely on? Sparsity of its accuracies on single-feature test sets.

feature_learning, Sec. 3: near subregime 2A a few features stand out; the papers show it as curves, here it is a number.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import xarray as xr

from lrscope.checked import checked
from lrscope.errors import LrscopeError
from lrscope.readers import Number

NOISE = 0.01  # ours: 2.5 standard errors of the mean accuracy over ticks' 16 feature sets of 1,000 examples
LEVEL = 0.95
RUNS = ("data_seed", "seed")
Chance = Annotated[float, Number(0, 1, below=True)]
Fraction = Annotated[float, Number(0, 1)]


@checked
def sparsity(accuracy: xr.DataArray, *, chance: Chance = 0.5, noise: Fraction = NOISE) -> xr.Dataset:
    """Sparsity of probe accuracies along the dimension `feature`; `chance` is what guessing gets (1 / classes).

    With a_f the accuracy of feature f above chance, or 0, and F features:

    - `top_share`: max_f a_f / sum_f a_f, between 1 / F and 1;
    - `effective_number`: (sum_f a_f)^2 / sum_f a_f^2, the number of equally used features that would look alike;
    - `gini`: sum_{f,g} |a_f - a_g| / (2 F sum_f a_f), the Gini coefficient: 0 if all are used alike, 1 - 1 / F if one is
      (Gini 1912; as a measure of sparsity Hurley and Rickard, IEEE Trans. Inf. Theory 55(10), 2009).

    All are NaN where the mean accuracy over features is less than `noise` above chance: a run that learned nothing is
    neither sparse nor dense, and what little its accuracies scatter would look sparse (5 of 16 features).
    """
    _check_accuracy(accuracy)
    above = (accuracy - chance).clip(min=0.0)
    learned = accuracy.mean("feature", skipna=False) - chance > noise
    total = above.sum("feature")
    count = above.sizes["feature"]
    ordered = xr.apply_ufunc(np.sort, above, input_core_dims=[["feature"]], output_core_dims=[["feature"]])
    weights = xr.DataArray(2.0 * np.arange(1, count + 1) - count - 1, dims="feature")  # sum |a_f - a_g| / 2 of sorted a
    with np.errstate(divide="ignore", invalid="ignore"):
        return xr.Dataset(
            {
                "top_share": (above.max("feature") / total).where(learned),
                "effective_number": (total**2 / (above**2).sum("feature")).where(learned),
                "gini": (
                    (ordered.drop_vars("feature", errors="ignore") * weights).sum("feature") / (count * total)
                ).where(learned),
            }
        )


@checked
def sparsity_over_runs(accuracy: xr.DataArray, *, chance: Chance = 0.5, noise: Fraction = NOISE) -> xr.Dataset:
    """Sparsity for each learning rate: mean over runs with its 95% interval.

    Args:
        accuracy: such as `result["pretrain/feature_accuracy"]`, with the dimension `feature` and at least one of `data_seed` and
            `seed`, over which runs are pooled; all other dimensions (`lr`, `finetune_lr`, `n_average`) stay.
        chance, noise: as in `sparsity`.

    Returns:
        `top_share`, `effective_number` and `gini`, each with the dimension `estimate`: `mean`, `low`, `high` of Student's t
        interval over runs (ours: it is honest for three seeds, for which a bootstrap is too narrow); and `runs`, how many
        learned enough to count. The interval is NaN with fewer than two runs, the mean with none. It is not cut off at
        the measures' bounds.

    Raises:
        LrscopeError: no dimension of runs, or none of features.
    """
    _check_accuracy(accuracy)
    over = [d for d in RUNS if d in accuracy.dims]
    if not over:
        raise LrscopeError(
            f"accuracy: its dimensions are {', '.join(map(str, accuracy.dims))}: pass an array with feature and seed, such as "
            "result['pretrain/feature_accuracy']"
        )
    from scipy import stats

    each = sparsity(accuracy, chance=chance, noise=noise)
    count = each["gini"].notnull().sum(over)
    mean = each.mean(over)
    deviation = each.std(over, ddof=1)
    scale = stats.t.ppf((1 + LEVEL) / 2, np.maximum(count - 1, 1)) / np.sqrt(np.maximum(count, 1))
    half = (deviation * scale).where(count > 1)
    found: xr.Dataset = xr.concat([mean, mean - half, mean + half], "estimate")
    names = np.array(["mean", "low", "high"], dtype=object)
    return found.assign_coords(estimate=("estimate", names)).assign(runs=count)


def _check_accuracy(accuracy: xr.DataArray) -> None:
    """Refuse what are no accuracies of features: another dimension, other numbers."""
    if "feature" not in accuracy.dims or not accuracy.sizes["feature"]:
        raise LrscopeError(
            f"accuracy: its dimensions are {', '.join(map(str, accuracy.dims)) or 'none'}: pass an array with feature and seed, "
            "such as result['pretrain/feature_accuracy']"
        )
    if accuracy.dtype.kind not in "biuf":
        raise LrscopeError(f"accuracy: it holds {accuracy.dtype}: pass numbers from 0 to 1")
    known = accuracy.values[~np.isnan(accuracy.values.astype(float))]
    if known.size and not (known.min() >= 0 and known.max() <= 1):
        wrong = known.min() if known.min() < 0 else known.max()
        raise LrscopeError(f"accuracy: it holds {wrong:g}: pass fractions from 0 to 1, not percent")
