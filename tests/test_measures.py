"""Feature measures on cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from lrscope.measures import sparsity


def accuracies(*rows: list[float]) -> xr.DataArray:
    return xr.DataArray(np.array(rows), dims=("seed", "feature"))


def test_equal_features_count_fully_and_one_feature_counts_once() -> None:
    found = sparsity(accuracies([0.7] * 8, [0.9] + [0.5] * 7))
    assert found["effective_number"].values == pytest.approx([8, 1])
    assert found["top_share"].values == pytest.approx([1 / 8, 1])


def test_scaling_all_advantages_changes_nothing() -> None:
    a = np.array([0.4, 0.2, 0.1, 0.3])
    found = sparsity(accuracies(list(0.5 + a), list(0.5 + a / 1.5)))
    assert found["effective_number"][0] == pytest.approx(float(found["effective_number"][1]))
    assert found["effective_number"][0] == pytest.approx(a.sum() ** 2 / (a**2).sum())


def test_noise_around_chance_is_neither_sparse_nor_dense() -> None:
    found = sparsity(accuracies([0.52, 0.48, 0.49, 0.53]))
    assert np.isnan(found["top_share"].values).all()
    assert np.isnan(found["effective_number"].values).all()
