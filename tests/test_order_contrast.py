"""The experiment on LO2 with fainter patches: planted accuracies with known leads and slopes."""

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
from lrscope.tasks.patch_options import parse_patches
from planted_order import steps, swept

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script, imported as Python does that runs it, and forgotten."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import learning_order_contrast as script

    yield script
    for name in ("learning_order_contrast", "learning_order_trend"):
        sys.modules.pop(name, None)


def test_it_changes_contrast_and_draws_and_nothing_else(script: Any) -> None:
    for sweep in STUDY.scales["laptop"].sweeps:
        if sweep.name not in script.ARMS:
            continue
        after = script.fainter(sweep, 0.15)
        assert {**after.task, "patches": ""} == {**sweep.task, "patches": ""}
        before, now = (parse_patches(one.task["patches"]) for one in (sweep, after))
        assert (now.contrast, replace(now, contrast=before.contrast)) == (0.15, before)
        own = {name: getattr(sweep.config, name) for name in ("first_seed", "first_data_seed", "data_seeds")}
        assert replace(after.config, **own) == sweep.config
        assert list(after.config.draws) == [5010, 5011, 5012, 5013]
    for name in names():
        scale = study(name).scales["laptop"]
        most = max(sweep.config.data_seeds for sweep in scale.sweeps)
        assert set(range(scale.first_seed, scale.first_seed + most)).isdisjoint(range(5010, 5014)), name


def test_leads_are_read_just_before_the_anneal(script: Any) -> None:
    rises = {
        "small": steps((0.125, 0.1), (0.25, 0.7), (1, 0.8)),
        "large": steps((0.375, 0.5), (0.5, 0.2), (1, 0.9)),
        "small_noise": steps((0.375, 0.6), (0.5, 0.3), (1, 0.85)),
    }
    ends = {"small": 0.7, "large": 0.72, "small_noise": 0.71}
    made = {
        arm: swept(ends[arm], patch=rise, kinds=(1.0, 1.0, 0.9), spread=0.0, schedule="step:0.04@0.5")
        for arm, rise in rises.items()
    }
    found = {name: round(float(draws.mean()), 6) for name, draws in script.read(made).items()}
    assert list(found.values()) == [60, 50, 70, 80, 20, 30, 80, 90, 85, 2]


def test_slopes_are_for_each_halving(script: Any) -> None:
    found = {contrast: {"lead": np.array([10.0, 12.0]) - 5 * np.log2(contrast)} for contrast in (0.4, 0.2, 0.1)}
    *_, row = script.table(found)
    assert row.endswith("| +5.0 [5.0, 5.0] |")
