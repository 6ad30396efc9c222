"""The experiment on LD1's trend: planted falls, with a known slope per doubling, and pairs that may not be read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from lrscope.studies.late_decay import STUDY
from lrscope.studies.registry import names, study
from planted_decay import main_path, with_decay

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
TIMES = (1, 2, 4)
OWN = (0.8, 1.0, 1.3)  # test losses of draws, which no fall should see
FIRST = 2.0  # of the early sub-path at its first logged moment: an epoch; both sub-paths have 6


@pytest.fixture
def trend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script, imported as Python does that runs it, and forgotten."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import late_decay_trend as script

    monkeypatch.setattr(script, "TIMES", TIMES)
    yield script
    for name in ("late_decay_trend", "learning_order_trend"):
        sys.modules.pop(name, None)


def drawn(falls: Sequence[float], own: float) -> xr.DataTree:
    """One draw, whose early sub-paths come down to the later ones' training loss at so many thousandths above their test loss."""
    result = main_path(seeds=1, data_seeds=1)
    late = tuple(2.0 * at for at in TIMES)
    result = with_decay(result, np.full((3, 1, 1), own), name="cooldown", at=late, budget="cooldown")
    for at, fall in zip(TIMES, falls, strict=True):
        name, ends = f"long_{at}", np.full((1, 1, 1), own * 10 ** (fall / 1000))
        result = with_decay(result, ends, name=name, at=(float(at),))
        result[f"{name}/train_loss"].values[..., 0] = 2.0
        result[f"{name}/test_loss"].values[..., 0] = FIRST * own
    return result


def test_it_changes_times_and_seeds_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import late_decay_trend as script

    before = next(sweep for sweep in STUDY.scales["laptop"].sweeps if sweep.name == "equal_loss")
    after = script.paired(before, 8003)
    late, early = before.config.branches
    own = {"branches": (late, early), "epochs": 160, "data_seeds": 3, "first_seed": 0, "first_data_seed": 0}
    assert replace(after, config=replace(after.config, **own)) == before
    assert list(after.config.draws) == [8003]
    later, *earlier = after.config.branches
    assert later == replace(late, at=tuple(2.0 * at for at in script.TIMES))
    assert script.TIMES[0] < early.at[0] < script.TIMES[-1], "the study's pair lies among them"
    for at, one in zip(script.TIMES, earlier, strict=True):
        assert replace(one, name=early.name, epochs=early.epochs, at=early.at) == early
        assert (one.at, one.epochs) == ((at,), 120 + 15 * at)
    assert after.config.epochs == later.at[-1]
    draws = range(script.FIRST_SEED, script.FIRST_SEED + script.DRAWS)
    for name, scale in ((name, study(name).scales["laptop"]) for name in names()):
        most = max(sweep.config.data_seeds for sweep in scale.sweeps)
        assert set(range(scale.first_seed, scale.first_seed + most)).isdisjoint(draws), f"{name} judges these draws"


def test_falls_are_read_at_equal_loss_and_at_equal_steps(trend: Any) -> None:
    falls = np.array([[1.0, 2.0, 4.0], [5.0, 6.0, 7.0], [-9.0, 0.0, 9.0]])
    results = [drawn(one, own) for one, own in zip(falls.T, OWN, strict=True)]
    np.testing.assert_allclose(trend.at_equal_loss(results), falls, atol=1e-9)
    lengths = 24.0 - np.array(TIMES)[:, None]
    way = FIRST + (10 ** (falls / 1000) - FIRST) * (6 - 1) / (lengths - 1)
    np.testing.assert_allclose(trend.at_equal_steps(results), 1000 * np.log10(way))


def test_pairs_by_the_rules_of_ld1(trend: Any, capsys: pytest.CaptureFixture[str]) -> None:
    results = [drawn((1.0, 2.0, 3.0), own) for own in (*OWN, 1.1)]
    for result in results:
        result["cooldown/train_accuracy"].values[:, 0] = 0.98
    results[0]["long_2/train_loss"].values[:] = 2.0  # never comes down: one of four may
    for result in results[:2]:
        result["long_4/train_loss"].values[:] = 2.0
    found = trend.at_equal_loss(results)
    assert np.isnan(found[[0, 2]]).all()
    np.testing.assert_allclose(found[1], [np.nan, 2, 2, 2])
    assert "1 to 2 left out: after the later of the two decays 98.0%" in capsys.readouterr().out


def test_means_and_slopes_are_those_of_draws_that_have_all_pairs(trend: Any) -> None:
    doublings, slopes = np.log2(TIMES)[:, None], np.array([0.5, 9.0, -1.0])
    values = 3 + slopes * doublings
    values[0, 1] = np.nan
    mean, slope = trend.over_pairs(values)
    np.testing.assert_allclose(mean, [3.5, 2])
    np.testing.assert_allclose(slope, [0.5, -1])
    values[2] = np.nan
    assert all(np.isnan(one).all() for one in trend.over_pairs(values)), "two pairs make no trend"
    *_, row = trend.table({"at equal training loss": values})
    assert row == "| at equal training loss | +3.0 [3.0, 3.0] | +5.8 [-7.6, 19.2] | - | - | - |"
