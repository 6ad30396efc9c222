"""Stored weights: evaluated again they give what was logged at their moment, whatever the plan cut the runs into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import lrscope
from lrscope.config import SweepConfig
from lrscope.engine.segments import phases
from lrscope.errors import LrscopeError
from lrscope.trained import State, Trained, _nearest
from tiny_tasks import mlp_task

LRS = (1e-3, 1e-2, 1e-1)
OPTIONS: dict[str, Any] = {
    "seeds": 2,
    "data_seeds": 2,
    "epochs": 4,
    "batch_size": 16,
    "finetune_lrs": (1e-3, 3e-3),
    "finetune_epochs": 2,
    "average": (2, 3),
    "snapshot_epochs": (0.5, 2, 4),
    "log_epochs": (0.25, 0.5),
    "finetune_log_epochs": (0.25, 0.5),
    "keep_weights": True,
    "jobs": 1,
    "progress": False,
}


@pytest.fixture(scope="module", params=[("single", 1), ("batched", 5)], ids=lambda p: p[0])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    path, chunk = request.param
    out = tmp_path_factory.mktemp("trained") / "out"
    lrscope.sweep(mlp_task(train=64), LRS, path=path, chunk=None if path == "single" else chunk, out=out, **OPTIONS)
    return Trained.open(out, mlp_task(train=64))


def loss_of(kept: Trained, state: State, data_seed: int) -> float:
    return float(kept.material(data_seed).test_metrics(kept.program(), state.weights, state.frozen)[0])


def logged(result: xr.DataTree, name: str, **where: Any) -> float:
    return float(result[name].sel(**where))


@pytest.mark.slow
@pytest.mark.parametrize("run", [{"lr": 1e-3, "seed": 0, "data_seed": 0}, {"lr": 1e-1, "seed": 1, "data_seed": 1}])
def test_every_moment_gives_its_logged_loss(kept: Trained, run: dict[str, Any]) -> None:
    result, near = kept.result, {"rel": 1e-5}

    def again(**moment: Any) -> float:
        return loss_of(kept, kept.state(**run, **moment), run["data_seed"])

    epochs = result["pretrain/epoch"].values
    for epoch in (0.5, 2, 4):
        assert epoch in epochs
        assert again(epoch=epoch) == pytest.approx(logged(result, "pretrain/test_loss", **run, epoch=epoch), **near)
    assert again() == pytest.approx(logged(result, "pretrain/test_loss", **run, epoch=epochs[-1]), **near)
    for lr in (1e-3, 3e-3):
        last = float(result["finetune/epoch"].values[-1])
        known = logged(result, "finetune/test_loss", **run, finetune_lr=lr, epoch=last)
        assert again(finetune_lr=lr) == pytest.approx(known, **near)
    for n in (2, 3):
        assert again(n_average=n) == pytest.approx(logged(result, "average/test_loss", **run, n_average=n), **near)


@pytest.mark.slow
def test_the_start_is_shared_by_learning_rates_and_has_the_runs_norm(kept: Trained) -> None:
    starts = [kept.state(lr=lr, seed=1, epoch=0) for lr in LRS]
    assert all(torch.equal(s.weights, starts[0].weights) for s in starts)
    end = kept.state(lr=LRS[1], seed=1)
    assert not torch.equal(end.weights, starts[0].weights)
    assert float(end.weights.norm()) == pytest.approx(float(starts[0].weights.norm()), rel=1e-5)
    assert all(torch.equal(value, starts[0].frozen[name]) for name, value in end.frozen.items())
    rate = kept.learning_rate(LRS[1], end)
    assert float(rate) == pytest.approx(LRS[1] * float(end.weights.double().norm()) ** 2)


def test_double_precision_evaluates_the_same_weights(kept: Trained) -> None:
    state = kept.state(lr=1e-2, seed=0)
    wide = {name: value.double() for name, value in state.frozen.items()}
    program, material = kept.program(torch.float64), kept.material(0, torch.float64)
    exact = float(material.test_metrics(program, state.weights.double(), wide)[0])
    assert material.train_x.dtype == torch.float64
    assert loss_of(kept, state, 0) == pytest.approx(exact, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"lr": 0.5, "seed": 0},
            r"lr: 0.5 was not trained; the nearest is 0.1 \(the sweep has 0.001, 0.01, 0.1\): name one",
        ),
        ({"lr": 0.1, "seed": 7}, "no run with learning rate 0.1, data seed 0, seed 7"),
        ({"lr": 0.1, "seed": 0, "epoch": 3}, r"not kept \(kept: 0.5, 2, 4\)"),
        ({"lr": 0.1, "seed": 0, "epoch": 2.1}, r"after epoch 2.1 were not kept"),
        (
            {"lr": 0.1, "seed": 0, "finetune_lr": 0.7},
            r"finetune_lr: 0.7 was not trained; the nearest is 0.003 \(the sweep",
        ),
        ({"lr": 0.1, "seed": 0, "n_average": 9}, r"choose one of \[2, 3\]"),
        ({"lr": 0.1, "seed": 0, "n_average": 2, "epoch": 2}, "give one of them"),
    ],
)
def test_moments_that_were_not_kept_are_named(kept: Trained, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(LrscopeError, match=words):
        kept.state(**asked)


@given(
    grid=st.lists(st.floats(1e-6, 10), min_size=1, max_size=6, unique=True).map(lambda g: tuple(sorted(g))),
    shift=st.sampled_from([0.0, 1e-9, 4e-5, 9e-4, 2e-3, 0.3]),
    data=st.data(),
)
def test_a_learning_rate_is_the_nearest_of_the_sweep_or_refused(
    grid: tuple[float, ...], shift: float, data: st.DataObject
) -> None:
    asked = data.draw(st.sampled_from(grid)) * (1 + shift)
    nearest = min(grid, key=lambda lr: abs(lr - asked))
    try:
        found: float | str = _nearest("lr", asked, grid)
    except LrscopeError as error:
        found = str(error)
    if isinstance(found, str):
        assert shift, "a learning rate of the grid itself is never refused"
        assert f"the nearest is {nearest!r}" in found
    else:
        assert found == nearest


def test_closely_spaced_learning_rates_are_told_apart() -> None:
    grid = (0.1, 0.10004, 0.10008)
    assert [_nearest("lr", lr, grid) for lr in grid] == list(grid)
    assert _nearest("lr", np.float32(0.10008), grid) == 0.10008
    assert _nearest("lr", 0.0333, (0.01, 1 / 30, 0.1)) == 1 / 30
    with pytest.raises(LrscopeError, match=r"lr: 0.10002 was not trained; the nearest is 0.1"):
        _nearest("lr", 0.10002, grid)


@pytest.mark.slow
def test_without_keep_weights_fine_tunes_are_asked_for(tmp_path: Path) -> None:
    options = {**OPTIONS, "keep_weights": False, "snapshot_epochs": (), "data_seeds": 1, "seeds": 1}
    lrscope.sweep(mlp_task(train=64), LRS, out=tmp_path / "out", **options)
    found = Trained.open(tmp_path / "out", mlp_task(train=64))
    assert np.isfinite(loss_of(found, found.state(lr=1e-2, seed=0), 0))
    with pytest.raises(LrscopeError, match="keep_weights=True"):
        found.state(lr=1e-2, seed=0, finetune_lr=1e-3)
    with pytest.raises(LrscopeError, match="kept: none"):
        found.state(lr=1e-2, seed=0, epoch=2)


@pytest.mark.slow
def test_another_task_is_refused(tmp_path: Path) -> None:
    options = {**OPTIONS, "data_seeds": 1, "seeds": 1, "epochs": 4, "finetune_epochs": 1}
    lrscope.sweep(mlp_task(train=64), LRS, out=tmp_path / "out", **options)
    with pytest.raises(LrscopeError, match="another task"):
        Trained.open(tmp_path / "out", mlp_task("layer", train=64))
    with pytest.raises(LrscopeError, match="does not exist"):
        Trained.open(tmp_path / "nothing", mlp_task(train=64))


@pytest.mark.slow
def test_further_logged_moments_leave_training_as_it_was(tmp_path: Path) -> None:
    without = {"log_epochs": (), "finetune_log_epochs": (), "snapshot_epochs": (), "keep_weights": False}
    plain = {**OPTIONS, **without, "path": "single"}
    more = lrscope.sweep(mlp_task(train=64), LRS, **{**OPTIONS, "path": "single"})
    less = lrscope.sweep(mlp_task(train=64), LRS, **plain)
    assert set(less["pretrain/epoch"].values) < set(more["pretrain/epoch"].values)
    assert more["finetune/epoch"].values.tolist() == [0.25, 0.5, *less["finetune/epoch"].values]
    for name in (
        *("pretrain/test_loss", "pretrain/group_norm", "pretrain/fixed_train_loss"),
        *("finetune/test_loss", "finetune/fixed_train_loss", "average/test_loss"),
    ):
        shared, epochs = more[name], less[name.partition("/")[0]].get("epoch")
        shared = shared.sel(epoch=epochs.values) if "epoch" in shared.dims else shared
        assert np.array_equal(shared.values, less[name].values, equal_nan=True), name


def test_moments_outside_training_are_refused() -> None:
    with pytest.raises(LrscopeError, match=r"snapshot_epochs: .* must be increasing"):
        SweepConfig(lrs=LRS, epochs=2, snapshot_epochs=(2, 1))
    with pytest.raises(LrscopeError, match="log_epochs: 9 comes after the end of training at epoch 2"):
        phases(SweepConfig(lrs=LRS, epochs=2, log_epochs=(9.0,)), 10)
    tuned: dict[str, Any] = {"lrs": LRS, "epochs": 9, "finetune_lrs": (1e-3,), "finetune_epochs": 2}
    with pytest.raises(LrscopeError, match="finetune_log_epochs: 3 comes after the end of fine-tuning at epoch 2"):
        phases(SweepConfig(**tuned, finetune_log_epochs=(3.0,)), 10)
    with pytest.raises(LrscopeError, match=r"finetune_log_epochs: \[0.5\] is given without finetune_lrs: name"):
        SweepConfig(lrs=LRS, epochs=2, finetune_log_epochs=(0.5,))
