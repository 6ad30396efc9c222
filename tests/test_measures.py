"""Feature measures on cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from lrscope.errors import LrscopeError
from lrscope.measures import sparsity, sparsity_over_runs


def accuracies(*rows: list[float]) -> xr.DataArray:
    return xr.DataArray(np.array(rows), dims=("seed", "feature"))


def test_equal_features_count_fully_and_one_feature_counts_once() -> None:
    found = sparsity(accuracies([0.7] * 8, [0.9] + [0.5] * 7))
    assert found["effective_number"].values == pytest.approx([8, 1])
    assert found["top_share"].values == pytest.approx([1 / 8, 1])
    assert found["gini"].values == pytest.approx([0, 1 - 1 / 8])


def test_scaling_all_advantages_changes_nothing() -> None:
    a = np.array([0.4, 0.2, 0.1, 0.3])
    found = sparsity(accuracies(list(0.5 + a), list(0.5 + a / 1.5)))
    assert found["effective_number"][0] == pytest.approx(float(found["effective_number"][1]))
    assert found["effective_number"][0] == pytest.approx(a.sum() ** 2 / (a**2).sum())


def test_noise_around_chance_is_neither_sparse_nor_dense() -> None:
    found = sparsity(accuracies([0.52, 0.48, 0.49, 0.53]))
    assert np.isnan(found["top_share"].values).all()
    assert np.isnan(found["effective_number"].values).all()
    assert np.isnan(found["gini"].values).all()


def test_gini_coefficients_by_hand() -> None:
    """Advantages 1, 2, 3, 4 tenths, unsorted: differences of pairs sum to 10, so 2 * 10 / (2 * 4 * 10) = 1/4. Two equal
    ones of four: each differs from two others by 1, 8 / (2 * 4 * 2) = 1/2; what is below chance counts as chance."""
    found = sparsity(accuracies([0.8, 0.6, 0.9, 0.7], [0.9, 0.4, 0.9, 0.5]))
    assert found["gini"].values == pytest.approx([1 / 4, 1 / 2])


def test_gini_is_the_mean_difference_of_pairs() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 5, 16):
        a = rng.uniform(0, 0.5, count)
        pairs = sum(abs(x - y) for x in a for y in a)
        found = sparsity(accuracies(list(0.5 + a)))
        assert float(found["gini"][0]) == pytest.approx(pairs / (2 * count * a.sum()), abs=1e-12)


def test_another_chance_level() -> None:
    found = sparsity(accuracies([0.1, 0.3, 0.2, 0.1]), chance=0.1)
    assert found["top_share"].values == pytest.approx([2 / 3])
    assert found["effective_number"].values == pytest.approx([9 / 5])


def over_grid() -> xr.DataArray:
    """Two learning rates of three runs. At the first their top shares are 1/2, 1/2 and 1; at the second one run learned."""
    equal, one, none = [0.7, 0.7], [0.7, 0.5], [0.5, 0.5]
    values = np.array([[equal, equal, one], [one, none, none]])[:, None]
    coords = {"lr": [0.1, 1.0], "feature": np.array(["left", "right"], dtype=object)}
    return xr.DataArray(values, dims=("lr", "data_seed", "seed", "feature"), coords=coords)


def test_intervals_over_runs_by_hand() -> None:
    """Mean 2/3, deviation 1 / (2 sqrt(3)), standard error 1/6; Student's 97.5% point with two degrees of freedom is 4.30265
    (tables)."""
    found = sparsity_over_runs(over_grid())
    at = found.sel(lr=0.1)
    assert at["runs"] == 3
    half = 4.30265 / 6
    assert at["top_share"].sel(estimate=["mean", "low", "high"]).values == pytest.approx(
        [2 / 3, 2 / 3 - half, 2 / 3 + half], abs=1e-5
    )
    assert at["effective_number"].sel(estimate="mean") == pytest.approx(5 / 3)
    assert at["gini"].sel(estimate="mean") == pytest.approx((0 + 0 + 1 / 2) / 3)
    lone = found.sel(lr=1.0)
    assert lone["runs"] == 1
    assert lone["gini"].sel(estimate="mean") == pytest.approx(1 / 2)
    assert np.isnan(lone["gini"].sel(estimate=["low", "high"]).values).all()


def test_intervals_pool_data_seeds_and_keep_other_dimensions() -> None:
    wide = over_grid().expand_dims(finetune_lr=[1e-3, 1e-2])
    found = sparsity_over_runs(xr.concat([wide, wide], "data_seed"))
    assert found["gini"].sizes == {"estimate": 3, "finetune_lr": 2, "lr": 2}
    assert found["runs"].sel(lr=0.1).values.tolist() == [6, 6]
    nobody = sparsity_over_runs(over_grid() * 0 + 0.5)
    assert (nobody["runs"] == 0).all()
    assert np.isnan(nobody["gini"].values).all()


def test_intervals_need_runs_and_features() -> None:
    for missing in (over_grid().isel(seed=0, data_seed=0), over_grid().isel(feature=0)):
        with pytest.raises(LrscopeError, match=r"accuracy: its dimensions are .*: pass an array with feature and seed"):
            sparsity_over_runs(missing)


def test_noise_would_read_as_sparse_and_has_no_number() -> None:
    """1,000 examples a feature; 16 features."""
    noise = 0.5 / np.sqrt(1000) * np.random.default_rng(0).standard_normal((3000, 16))

    def numbers(above: float) -> xr.DataArray:
        return sparsity(xr.DataArray(0.5 + above + noise, dims=("run", "feature")))["effective_number"]

    guessing = np.maximum(noise, 0.0)
    assert float((guessing.sum(1) ** 2 / (guessing**2).sum(1)).mean()) == pytest.approx(5.5, abs=0.1)
    assert float(numbers(0.0).notnull().mean()) < 0.02
    assert float(numbers(0.01).mean()) == pytest.approx(9.3, abs=0.2)
