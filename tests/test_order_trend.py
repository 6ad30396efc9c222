"""The experiment on LO1's trend: planted accuracies, with a known slope, and runs that may not be compared."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrscope.studies.learning_order import STUDY
from lrscope.studies.registry import names, study
from planted_order import steps, swept

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
SCHEDULE = "step:0.2@0.3,0.6,0.75"


@pytest.fixture
def trend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script, imported as Python does that runs it, and forgotten."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import learning_order_trend as script

    yield script
    sys.modules.pop("learning_order_trend", None)


def test_it_changes_images_epochs_and_seeds_and_nothing_else(trend: Any) -> None:
    sweeps = {sweep.name: sweep for sweep in STUDY.scales["laptop"].sweeps}
    for name in ("plain", "small", "large"):
        before, after = sweeps[name], trend.resized(sweeps[name], 500, 2)
        assert after.task == {**before.task, "train_size": 500}
        back = replace(
            after.config,
            epochs=before.config.epochs,
            first_seed=0,
            first_data_seed=0,
            data_seeds=before.config.data_seeds,
        )
        assert (back, after.config.epochs) == (before.config, 2 * before.config.epochs)
        assert list(after.config.draws) == [5000, 5001, 5002, 5003]
    assert trend.BASE * trend.LONGER == trend.TOP, "the control has as many steps"
    for name, scale in ((name, study(name).scales["laptop"]) for name in names()):
        used = {
            draw
            for sweep in scale.sweeps
            for draw in range(scale.first_seed, scale.first_seed + sweep.config.data_seeds)
        }
        assert used.isdisjoint(range(trend.FIRST_SEED, trend.FIRST_SEED + trend.DRAWS)), f"{name} judges these draws"


def test_settings_are_those_that_the_numbers_were_found_with(trend: Any) -> None:
    found = {name: trend.second_evidence(name) for name in ("plain", "large", "small", "small_noise")}
    assert [sweep.config.epochs for sweep in found.values()] == [60, 140, 140, 140]
    assert {(s.config.batch_size, s.config.log_points, s.task["train_size"]) for s in found.values()} == {
        (32, 20, 1000)
    }
    assert [sweep.config.activation_noise for sweep in found.values()] == [0, 0, 0, 0.4]
    assert found["large"].task["patches"] == "0.8,contrast=0.3,size=4"


def test_each_draw_has_its_own_line(trend: Any) -> None:
    sizes, slopes = np.array([250, 500, 1000, 2000]), np.array([0.5, -1.0])
    values = 3 + slopes * np.log2(sizes / trend.PAPER)[:, None]
    values[0] = np.nan
    slope, far = trend.line(sizes, values)
    assert np.allclose(slope, slopes)
    assert np.allclose(far, 3)
    assert all(np.isnan(found).all() for found in trend.line(sizes[:3], values[:3]))


def test_plain_reads_ends_and_leaves_out_what_may_be_unfinished(
    trend: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    large = steps((0.3, 0.5), (0.6, 0.7), (0.8, 0.9), (1, 0.82))

    def found(fitted: float) -> dict[str, float]:
        result = swept(np.full(40, 0.8), large, train=(1.0, fitted), spread=0.0, schedule=SCHEDULE)
        monkeypatch.setattr(trend, "train", lambda *_: result)
        return {name: round(float(draws.mean()), 6) for name, draws in trend.plain(1000).items()}

    read = found(1.0)
    assert read == {"before the first anneal": -30, "at the end": 2, "best": 10, "first to second anneal": -10}
    assert "left out" not in capsys.readouterr().out
    large = large - 0.1 * (large > 0.75)  # the worse one at the end
    read = found(0.9)
    assert read["before the first anneal"] == -30
    assert np.isnan([read["at the end"], read["best"], read["first to second anneal"]]).all()
    assert "left out: large rate" in capsys.readouterr().out


def test_tables_and_what_is_owed(trend: Any) -> None:
    effects = {size: {"at the end": np.array([n - 1.0, n + 1.0])} for n, size in enumerate((1000, 2000, 4000))}
    *_, row = trend.table(effects)
    assert row.startswith("| at the end | +0.0 [-12.7, 12.7] | +1.0 ")
    assert "| +1.0 [1.0, 1.0] | +5.6 [" in row
    shares = trend.owed(effects[1000], {"at the end": np.array([2.0, 4.0])}, effects[4000])
    assert shares == ["steps alone, at the end: +3.0 [3.0, 3.0]", "images alone, at the end: -1.0 [-1.0, -1.0]"]
