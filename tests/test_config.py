"""What a sweep and its engine may be asked for; contradictions are refused, naming the field to change."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrscope.config import EngineConfig, SweepConfig, digest
from lrscope.config.settings import load_settings
from lrscope.engine.sweep import sweep
from lrscope.errors import LrscopeError
from lrscope.grids import check_lrs, log_grid, parse_lrs
from tiny_tasks import BASE, BATCHED, SHORT, mlp_task

# -- grids ---------------------------------------------------------------------------------------------------------


@given(
    low=st.floats(1e-8, 1.0),
    decades=st.floats(0.5, 8),
    count=st.integers(2, 60),
)
def test_log_grid_is_even_on_a_logarithmic_axis(low: float, decades: float, count: int) -> None:
    grid = log_grid(low, low * 10**decades, count)
    assert len(grid) == count
    assert grid[0] == pytest.approx(low, rel=1e-3)
    assert grid[-1] == pytest.approx(low * 10**decades, rel=1e-3)
    steps = [math.log10(b / a) for a, b in pairwise(grid)]
    assert max(abs(s - decades / (count - 1)) for s in steps) < 1e-3


def test_log_grid_may_reach_as_far_as_floats_do() -> None:
    assert log_grid(0.1, 1e308, 3) == (0.1, 3.162e153, 1e308)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3:1e-1:3", (1e-3, 1e-2, 1e-1)),
        ("1e-3,1e-2", (1e-3, 1e-2)),
        (" 0.001, 0.01  0.1 ", (1e-3, 1e-2, 1e-1)),
        ("5", (5.0,)),
    ],
)
def test_grids_are_read(text: str, expected: tuple[float, ...]) -> None:
    assert parse_lrs(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["1e-3:1", "1e-3:1:2:3", "small:large:3", "1e-3:1:many", "1e-3;1e-2", "ten"])
def test_grids_that_cannot_be_read(text: str) -> None:
    with pytest.raises(LrscopeError, match=f"lrs: cannot read '{text}': write low:high:count"):
        parse_lrs(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1:1e-3:5", "the grid 1:0.001:5 needs 0 < low < high"),
        ("0:1:5", "needs 0 < low < high"),
        ("1:inf:5", "needs 0 < low < high"),
        ("nan:1:5", "needs 0 < low < high"),
        ("1e-3:1:1", "needs at least 2 points: raise its count"),
    ],
)
def test_grids_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        parse_lrs(text)


@pytest.mark.parametrize(
    ("lrs", "message"),
    [
        ((), "xs: the grid is empty: give at least 3 learning rates"),
        ((1e-3, -1.0, 1.0), "xs: -1 is not a positive finite learning rate"),
        ((1e-3, 0.0, 1.0), "xs: 0 is not a positive finite"),
        ((1e-3, math.inf), "xs: inf is not a positive finite"),
        ((1e-3, math.nan), "xs: nan is not a positive finite"),
        ((1.0, 1e-3, 1e-2), "xs: 0.001 comes after 1: list the learning rates in increasing order"),
        ((1.0, 1.0, 2.0), "xs: 1 comes after 1: .* each once"),
        ((1.0, 2.0), "xs: 2 learning rates are too few for a map of regimes: give at least 3"),
    ],
)
def test_check_lrs(lrs: tuple[float, ...], message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        check_lrs("xs", lrs, at_least=3)


def test_check_lrs_lets_good_grids_pass() -> None:
    check_lrs("xs", log_grid(1e-5, 1, 24), at_least=24)


# -- what is trained -----------------------------------------------------------------------------------------------

LENGTH: dict[str, Any] = {"lrs": (1e-3, 1e-2), "steps": 10}
TUNED: dict[str, Any] = {**LENGTH, "finetune_lrs": (1e-3,)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**LENGTH, "lrs": ()}, "lrs: the grid is empty"),
        ({**TUNED, "finetune_lrs": (1.0, 0.1), "finetune_steps": 1}, "finetune_lrs: 0.1 comes after 1"),
        *[({**LENGTH, n: 0}, f"{n}: 0 is too small") for n in ("seeds", "data_seeds", "batch_size", "log_points")],
        ({**LENGTH, "random_points": -1}, "random_points: -1 is too small: use 1 or more"),
        ({**LENGTH, "space": "plane"}, "space: 'plane' is unknown: choose sphere or whole"),
        ({**LENGTH, "precision": "half"}, "precision: 'half' is unknown: choose one of float32, float64, bf16"),
        ({**LENGTH, "scale_invariant": False}, "scale_invariant: false does not go with space sphere: use space whole"),
        ({**LENGTH, "weight_decay": 1e-4}, "weight_decay: 0.0001 has no meaning on the sphere, .*: leave it out, or"),
        ({**LENGTH, "space": "whole", "radius": 1.0}, "radius: 1 has no meaning in space whole: leave it out"),
        ({**LENGTH, "radius": 0.0}, r"radius: 0 is outside \[1e-06, 1e\+06\]"),
        ({**LENGTH, "radius": math.nan}, "radius: nan is outside .*: use a number from"),
        (
            {**LENGTH, "space": "whole", "momentum": 1.0},
            r"momentum: 1 is outside \[0, 1\): use a number from 0 and below 1",
        ),
        ({**LENGTH, "space": "whole", "momentum": -0.1}, r"momentum: -0.1 is outside \[0, 1\)"),
        *[
            ({**LENGTH, "randaugment": wrong}, r"randaugment: \(.*\) is not N,M with N from 1 .*: write 2,14")
            for wrong in [(0, 14), (2, 31), (2, -1), (2,), (2, 14, 3), (2.5, 14), (True, 14)]
        ],
        (
            {**LENGTH, "space": "whole", "optimizer": "adan"},
            "optimizer: 'adan' is unknown: choose one of sgd, rmsprop, adam, adamw, muon",
        ),
        (
            {**LENGTH, "optimizer": "adam", "momentum": 0.9},
            "momentum: 0.9 is an option of sgd and rmsprop, not of adam: leave it out",
        ),
        ({**LENGTH, "optimizer": "adamw", "nesterov": True}, "nesterov: True is an option of sgd, not of adamw"),
        ({**LENGTH, "epsilon": 1e-6}, "epsilon: 1e-06 is an option of rmsprop, adam, adamw and muon, not of sgd"),
        ({**LENGTH, "rmsprop_alpha": 0.9}, "rmsprop_alpha: 0.9 is an option of rmsprop, not of sgd"),
        (
            {**LENGTH, "optimizer": "rmsprop", "rmsprop_alpha": 1.0},
            r"rmsprop_alpha: 1 is outside \[0, 1\): use a number from 0 and below 1",
        ),
        ({**LENGTH, "optimizer": "adam", "muon_momentum": 0.5}, "muon_momentum: 0.5 is an option of muon, not of adam"),
        ({**LENGTH, "nesterov": True}, "nesterov: it needs momentum, which is 0: give momentum too"),
        (
            {**LENGTH, "optimizer": "adam", "betas": (0.9, 1.0)},
            "betas: .* is not two numbers from 0 and below 1: write",
        ),
        ({**LENGTH, "clip_norm": 0.0}, "clip_norm: 0 is outside"),
        ({**LENGTH, "warmup_epochs": 1, "warmup_steps": 3}, "warmup_epochs and warmup_steps: give one of them"),
        ({**LENGTH, "space": "whole", "weight_decay": -1.0}, r"weight_decay: -1 is outside \[0, 1e\+06\]"),
        ({"lrs": (1.0,)}, r"epochs and steps: give exactly one of them \(now epochs=None, steps=None\)"),
        ({**LENGTH, "epochs": 2.0}, r"epochs and steps: give exactly one of them \(now epochs=2.0, steps=10\)"),
        ({**LENGTH, "steps": 0}, "steps: 0 is too small: use 1 or more"),
        ({"lrs": (1.0,), "epochs": -1.0}, "epochs: -1 is outside"),
        (TUNED, "finetune_epochs: missing, yet finetune_lrs are given: say how long to fine-tune"),
        (
            {**TUNED, "finetune_epochs": 1.0, "finetune_steps": 2},
            "finetune_epochs and finetune_steps: give exactly one of them",
        ),
        (
            {**TUNED, "finetune_steps": 1, "finetune_epochs": 1.0},
            "finetune_epochs and finetune_steps: give exactly one",
        ),
        ({**TUNED, "finetune_steps": 0}, "finetune_steps: 0 is too small"),
        ({**LENGTH, "finetune_steps": 5}, "finetune_lrs: missing, yet a fine-tuning length is given"),
        ({**LENGTH, "finetune_epochs": 5.0}, "finetune_lrs: missing, yet a fine-tuning length is given"),
        ({**LENGTH, "average": (1, 2)}, "average: 1 is too small: use 2 or more"),
        ({**LENGTH, "average": (5, 2)}, r"average: \[5, 2\] must be increasing"),
        ({**LENGTH, "average": (2, 2)}, r"average: \[2, 2\] must be increasing"),
        ({**LENGTH, "average": (2,), "average_every": 0}, "average_every: 0 is too small: use 1 or more"),
    ],
)
def test_what_a_sweep_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        SweepConfig(**fields)


def test_config_survives_json() -> None:
    assert SweepConfig.from_dict({**BASE.to_dict(), "average": [2, 3], "lrs": list(BASE.lrs), "unknown": 1}) == BASE
    assert digest([BASE.to_dict()]) == digest([SweepConfig.from_dict(BASE.to_dict()).to_dict()])
    assert digest([BASE.to_dict()]) != digest([replace(BASE, seeds=3).to_dict()])


@pytest.mark.parametrize(
    ("space", "asked", "invariant"),
    [("sphere", None, True), ("sphere", True, True), ("whole", None, False), ("whole", True, True)],
)
def test_the_sphere_needs_scale_invariance_the_whole_space_does_not(
    space: str, asked: bool | None, invariant: bool
) -> None:
    assert SweepConfig(**LENGTH, space=space, scale_invariant=asked).invariant is invariant


# -- where it runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"jobs": 0}, "jobs: 0 is too small: use 1 or more"),
        ({"path": "fast"}, "path: 'fast' is unknown: choose one of auto, batched, single"),
        ({"chunk": 0}, "chunk: 0 is too small: use 1 or more"),
        ({"path": "single", "chunk": 4}, "chunk: 4 does not go with path single: leave it out, or use path batched"),
    ],
)
def test_what_an_engine_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        EngineConfig(**fields)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sedes": 3, "lrs": [1e-3]}, "sedes: there is no such option of sweep: did you mean 'seeds'"),
        ({}, "lrs: no learning rates given"),
        ({"lrs": [1e-3], "config": SHORT}, "lrs: passed both directly and in `config`"),
        ({"config": SHORT, "seeds": 5}, "seeds: passed both directly and in `config`"),
        ({"config": SHORT, "engine": BATCHED, "jobs": 2}, "jobs: passed both directly and in `engine`"),
        ({"lrs": [1e-3], "steps": 1, "schedule": "cosin"}, "schedule: 'cosin' is unknown"),
        ({"config": replace(SHORT, batch_size=49)}, "batch_size: 49 is more than the 48 training examples"),
        ({"config": replace(SHORT, augment=True)}, r"augment: crops and flips need images, the data has shape \(5,\)"),
        ({"config": SHORT, "device": "gpu"}, "device: 'gpu' is unknown: choose auto, cpu, cuda or mps"),
    ],
)
def test_options_of_sweep(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(LrscopeError, match=message):
        sweep(mlp_task(), out=tmp_path / "out", progress=False, **options)


def test_an_empty_list_in_a_config_file_is_as_none_given(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text("finetune_lrs = []\naverage = []\n")
    assert load_settings(tmp_path / "map.toml", {}) == load_settings(None, {})
    (tmp_path / "map.toml").write_text("lrs = []\n")
    with pytest.raises(LrscopeError, match="lrs: the grid is empty"):
        load_settings(tmp_path / "map.toml", {})
