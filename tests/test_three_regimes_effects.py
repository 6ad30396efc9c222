"""Effects of the study three_regimes that are read from measurements: on arrays with planted numbers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from lrscope.studies.three_regimes import STUDY
from lrscope.studies.three_regimes.effects_measurements import along_lines, rank_correlation, walk_and_regimes

SEEDS = 4


class Planted:
    """A study whose measurements are given."""

    scale, first_seed = "smoke", 0

    def __init__(self, **measurements: xr.Dataset) -> None:
        self.measurements = measurements

    def measurement(self, name: str) -> xr.Dataset:
        return self.measurements[name]


def verdicts(claim: str, **measurements: xr.Dataset) -> list[str]:
    check = next(c for c in STUDY.claims if c.id == claim).check
    return [part.verdict for part in check(Planted(**measurements)).parts]


def lines(*bends: float) -> xr.Dataset:
    """Losses 1 + bend * 4 a (1 - a) at ELRs with these bends, over two checkpoint distances: a valley where it is negative."""
    alpha = np.linspace(0, 1, 11)
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal((2, SEEDS))
    values = 1 + np.array(bends)[:, None, None, None] * noise[None, ..., None] * 4 * alpha * (1 - alpha)
    dims = ("lr", "delta", "seed", "alpha")
    return xr.Dataset({"train_loss": (dims, values)}, {"lr": np.arange(len(bends)), "alpha": alpha})


def test_valleys_and_hills_are_read_off_lines() -> None:
    found = along_lines(lines(-0.3, 0.0, 0.4)["train_loss"])
    assert found["lower"] == pytest.approx(np.full(SEEDS, 0.3), rel=0.05)
    assert found["rise_lowest"] == pytest.approx(np.zeros(SEEDS), abs=1e-12)
    assert found["rise_highest"] == pytest.approx(np.full(SEEDS, 0.4), rel=0.05)
    assert found["rises"].shape == (SEEDS, 3, 2)
    assert verdicts("TR12", checkpoint_paths=lines(-0.3, 0.4)) == ["supported"] * 3
    assert verdicts("TR12", checkpoint_paths=lines(0.4, -0.3)) == ["contradicted"] * 3


def steps(two: float, three: float, walk: float, above: float) -> xr.Dataset:
    """Cosines of regimes and of the walk, and by how much regime 3's loss lies above the walk's."""
    noise = 0.001 * np.random.default_rng(1).standard_normal((SEEDS, 6))
    cosine = np.array([two, three])[:, None, None] + noise
    loss = np.array([1.0, 5.0 + above])[:, None, None] + noise
    per_step, per_moment = ("regime", "seed", "step"), ("regime", "seed", "moment")
    values = {
        "cosine": (per_step, cosine),
        "walk_cosine": (per_step, np.stack([walk + noise] * 2)),
        "loss": (per_moment, loss),
        "walk_loss": (per_moment, np.full_like(loss, 5.0)),
    }
    return xr.Dataset(values, {"regime": ["2", "3"]})


def test_divergence_is_held_against_a_walk() -> None:
    found = walk_and_regimes(steps(0.9, 0.05, 0.02, 1.5))
    for name, value in {"two": 0.9, "three": 0.05, "walk": 0.02, "above": 1.5}.items():
        assert found[name] == pytest.approx(np.full(SEEDS, value), abs=0.01), name
    nets = xr.Dataset({"loss": (("net", "seed"), np.full((1, SEEDS), np.nan))}, {"net": ["convnet"]})
    assert verdicts("TR14", walks=steps(0.9, 0.05, -0.02, 1.5), walk_offsets=nets) == ["supported"] * 4
    assert verdicts("TR14", walks=steps(0.9, -0.6, 0.5, -1.5), walk_offsets=nets) == [
        "supported",
        *["contradicted"] * 3,
    ]


def test_measures_are_correlated_seed_by_seed() -> None:
    x = np.random.default_rng(2).random((SEEDS, 3, 5))
    found = xr.Dataset({"a": (("seed", "lr", "epoch"), x), "b": (("seed", "lr", "epoch"), x**3)})
    found["b"][0] *= -1
    assert rank_correlation(found.transpose("epoch", ...), "a", "b") == pytest.approx([-1, 1, 1, 1])
