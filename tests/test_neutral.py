"""benchmarks/neutral.py: it sees what differs, and each of its sweeps is of the kind that its name says."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr

from benchmark_scripts import FOLDER, benchmark

LOSS = "pretrain/train_loss"
ARRAYS = {LOSS: np.array([0.5, np.nan, 2.0], np.float32), "group": np.array(["a", "b"])}


@pytest.fixture(scope="module")
def neutral() -> ModuleType:
    return benchmark("neutral")


def test_equal_arrays_do_not_differ(neutral: ModuleType) -> None:
    assert neutral.differences(ARRAYS, {name: value.copy() for name, value in ARRAYS.items()}) == []


@pytest.mark.parametrize(
    ("name", "changed", "line"),
    [
        (
            "pretrain/train_loss",
            np.array([0.5, np.nan, 2.25], np.float32),
            f"{LOSS}: 1 of 3 values differ, by up to 0.25",
        ),
        (LOSS, np.array([0.5, 1.0, 2.0], np.float32), f"{LOSS}: 1 of 3 values differ"),
        (
            "pretrain/train_loss",
            -ARRAYS[LOSS] * [-1, 1, -1],
            f"{LOSS}: float32 [3] at the base, float64 [3] now",
        ),
        (
            "pretrain/train_loss",
            np.zeros((1, 3), np.float32),
            f"{LOSS}: float32 [3] at the base, float32 [1, 3] now",
        ),
        ("group", np.array(["a", "c"]), "group: ['a' 'b'] at the base, ['a' 'c'] now"),
    ],
)
def test_every_difference_is_named(neutral: ModuleType, name: str, changed: np.ndarray, line: str) -> None:
    assert neutral.differences(ARRAYS, ARRAYS | {name: changed}) == [line]


def test_the_sign_of_a_zero_counts(neutral: ModuleType) -> None:
    zeros = {"loss": np.zeros(2)}
    assert neutral.differences(zeros, {"loss": -zeros["loss"]}) == ["loss: equal values of other bytes"]


def test_missing_and_new_arrays_are_named(neutral: ModuleType) -> None:
    now = {"group": ARRAYS["group"], "elr": np.ones(1)}
    assert neutral.differences(ARRAYS, now) == ["elr: only now", f"{LOSS}: only at the base"]


def test_renamed_arrays_are_compared(neutral: ModuleType) -> None:
    now = {"group": ARRAYS["group"], "pretrain/train_loss": ARRAYS[LOSS]}
    flat = {"group": ARRAYS["group"], "train_loss": ARRAYS[LOSS]}
    assert neutral.differences(flat, now) == []
    now["pretrain/train_loss"] = now["pretrain/train_loss"] + np.float32(1)
    assert neutral.differences(flat, now) == [f"{LOSS}: 2 of 3 values differ, by up to 1"]


def test_trees_and_data_sets_are_read_alike(neutral: ModuleType) -> None:
    dataset = xr.Dataset({"loss": ("lr", [1.0, 2.0]), "seconds": ("lr", [3.0, 4.0])}, {"lr": [0.1, 0.2]})
    assert sorted(dict(neutral.arrays_of(dataset))) == ["loss", "lr"]
    tree = xr.DataTree.from_dict({"/": dataset, "/finetune": dataset[["loss"]]})
    names = sorted(dict(neutral.arrays_of(tree)))
    assert names == ["finetune/loss", "loss", "lr"], "what a node inherits is compared once"


@pytest.mark.slow
def test_two_processes_train_what_they_are_told_and_agree(
    neutral: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With this tree's own sources on both sides nothing differs; one changed bit is found."""
    sides = [neutral.start(FOLDER.parent / "src", ["generated"], tmp_path / side) for side in ("base", "now")]
    assert [process.wait() for process in sides] == [0, 0]
    assert neutral.compare(["generated"], tmp_path) == 0
    assert "none of them differ" in capfd.readouterr().out
    with np.load(tmp_path / "now" / "generated.npz", allow_pickle=False) as saved:
        arrays = dict(saved)
    assert json.loads(str(arrays["plan"]))["fused"]
    key = LOSS.replace("/", "|")  # a file's name has no slash
    np.savez(
        tmp_path / "now" / "generated.npz",
        **arrays | {key: np.nextafter(arrays[key], 9)},
    )
    assert neutral.compare(["generated"], tmp_path) == 1


def test_kinds_are_what_they_are_called(neutral: ModuleType) -> None:
    tasks = {name: kind.task() for name, kind in neutral.KINDS.items()}
    assert {name for name, task in tasks.items() if task.data(0).train_groups is not None} == {"groups"}
    assert {name for name, task in tasks.items() if not task.data(0).train_x.is_floating_point()} == {"texts"}
    options = {name: kind.options for name, kind in neutral.KINDS.items()}
    assert {name for name in options if options[name].get("adaptive")} == {"adaptive"}
    assert {name for name in options if options[name]["path"] == "single"} == {"single"}
    assert options["adam"]["optimizer"] == "adam"
    assert options["momentum"]["momentum"]
    assert all("chunk" in o or o["path"] == "single" for o in options.values()), "a plan is left to the clock"


def test_an_unknown_commit_is_refused(neutral: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="BASE: 'no-such-commit' is no commit of this repository"):
        neutral.sources_of("no-such-commit", tmp_path)
