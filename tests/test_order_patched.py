"""The experiment on LO2 and LO3 with other numbers of images: planted accuracies with known leads, harms and slopes."""

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
SCHEDULE = "step:0.04@0.5"
KINDS = (1.0, 1.0, 0.9)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script, imported as Python does that runs it, and forgotten."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import learning_order_patched as script

    yield script
    for name in ("learning_order_patched", "learning_order_trend"):
        sys.modules.pop(name, None)


def test_it_changes_images_and_draws_and_keeps_the_steps(script: Any) -> None:
    sweeps = {sweep.name: sweep for sweep in STUDY.scales["laptop"].sweeps}
    assert sweeps["small"].task["train_size"] == script.STEPS_OF
    for name in script.ARMS:
        before, after = sweeps[name], script.resized(sweeps[name], 500, 5022)
        assert after.task == {**before.task, "train_size": 500}
        own = {of: getattr(before.config, of) for of in ("first_seed", "first_data_seed", "data_seeds", "epochs")}
        assert replace(after.config, **own) == before.config
        assert list(after.config.draws) == [5022, 5023]
        assert after.config.epochs == (None if before.config.epochs is None else 2 * before.config.epochs)
    judged = range(script.FIRST_SEED, script.FIRST_SEED + script.DRAWS)
    for name in names():
        scale = study(name).scales["laptop"]
        most = max(sweep.config.data_seeds for sweep in scale.sweeps)
        assert set(range(scale.first_seed, scale.first_seed + most)).isdisjoint(judged), name


def planted(**train: float) -> dict[str, Any]:
    """Results of the four arms; `train`: how much of its training images an arm fits."""
    patches = {"small": steps((0.125, 0.2), (1, 0.8)), "large": steps((0.5, 0.3), (0.6, 0.65), (1, 0.9))}
    clean = {"small": 0.65, "large": 0.72, "small_shown": 0.76, "large_shown": 0.8}
    found = {}
    for arm, end in clean.items():
        fitted = train.get(arm, 1.0)
        shown = {"patch": patches[arm], "kinds": (fitted, *KINDS[1:])} if arm in patches else {"train": (fitted,)}
        found[arm] = swept(end, spread=0.0, schedule=SCHEDULE, **shown)
    return found


def points(script: Any, **train: float) -> list[float]:
    return [round(float(draws.mean()), 6) for draws in script.read(planted(**train)).values()]


def test_effects_of_planted_runs(script: Any) -> None:
    assert points(script) == [80, 30, 35, 90, 50, 7, 4, 11, 8, 3]


def test_what_may_be_unfinished_is_left_out(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = points(script, small=0.9)
    assert found[:5] == [80, 30, 35, 90, 50], "patches are read all the same"
    assert np.isnan([found[5], found[7], found[9]]).all()
    assert [found[6], found[8]] == [4, 8]
    assert "harm to the small rate: left out: small" in capsys.readouterr().out


def test_draws_that_were_read_apart_are_joined(script: Any) -> None:
    apart = [{size: {"harm": np.array([first + 0.0, first + 1.0])} for size in script.SIZES} for first in (1, 3)]
    assert all(one["harm"].tolist() == [1, 2, 3, 4] for one in script.joined(apart).values())
    assert list(script.joined(apart)) == list(script.SIZES)


def test_the_table_has_means_slopes_and_the_papers_number(script: Any) -> None:
    effects = {500 * 2**k: {"harm": np.array([k - 1.0, k + 1.0])} for k in range(3)}
    *_, row = script.table(effects)
    assert row.startswith("| harm | +0.0 [-12.7, 12.7] | +1.0 ")
    assert "| +2.0 [-10.7, 14.7] | +1.0 [-11.7, 13.7] | +1.0 [1.0, 1.0] | +6.6 [" in row
