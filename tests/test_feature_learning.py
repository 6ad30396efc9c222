"""The study feature_learning: its declarations, whose regimes its claims read, and all of it in small."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from chart_examples import check_drawn
from fake_results import fake_map, regime_of
from lrscope.config import EngineConfig
from lrscope.errors import LrscopeError
from lrscope.mapping import regimes
from lrscope.measures import geometry
from lrscope.studies import registry
from lrscope.studies.dependencies import figures_at
from lrscope.studies.feature_learning import STUDY, claims_ticks, effects, effects_sharpness, folds
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.verdicts import Undetermined
from planted_results import RUNS, by_place, planted_result
from trees import changed

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def planted() -> xr.DataTree:
    return planted_result()


@pytest.fixture
def labels(planted: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The planted regimes, whatever the curves say."""
    monkeypatch.setattr(folds, "regimes", fake_map)
    found = [regime_of(float(lr)) for lr in planted["lr"].values]
    assert set(found) == {"1", "2A", "2B", "3"}
    return found


# -- declarations ------------------------------------------------------------------------------------------------------


def test_the_study_is_in_the_table_with_all_claims() -> None:
    assert registry.study("feature_learning") is STUDY
    assert [claim.id for claim in STUDY.claims] == [f"FL{i}" for i in range(1, 9)]
    numbers = {figure.number for figure in STUDY.figures}
    assert {str(i) for i in range(1, 18)} <= numbers
    shown = {figure for claim in STUDY.claims for figure in claim.figures}
    assert {number for number in numbers if "CIFAR-100" not in number} == shown, "every figure bears on a claim"


def test_ticks_are_the_published_ones_on_a_laptop_too() -> None:
    laptop, paper = (next(s for s in STUDY.scales[scale].sweeps if s.name == "ticks") for scale in ("laptop", "paper"))
    assert replace(laptop, config=replace(laptop.config, seeds=5, data_seeds=10)) == paper
    assert (laptop.config.seeds, laptop.config.data_seeds) == (2, 25), "as many runs, of more data sets"
    config = paper.config
    grid = [np.logspace(-4.5, -2.25, 10)[:-1], np.logspace(-2.25, -1.25, 9)[:-1], np.logspace(-1.25, 0, 6)]
    assert config.lrs == pytest.approx(np.concatenate(grid), rel=5e-4)
    assert config.finetune_lrs == config.lrs[:11]
    assert (config.seeds, config.data_seeds, config.steps, config.finetune_steps) == (5, 10, 40_000, 20_000)
    experiment = tomllib.loads((REPOSITORY / "experiments" / "ticks-paper.toml").read_text())
    assert tuple(experiment["lrs"]) == config.lrs
    assert tuple(experiment["average"]) == config.average
    assert experiment["average_every"] == config.average_every


def test_the_papers_numbers_are_in_the_paper_scale() -> None:
    found = {sweep.name: sweep for sweep in STUDY.scales["paper"].sweeps}
    assert found["resnet"].config.finetune_lrs == (1e-5, 5e-5, 1e-4, 2e-4, 3e-4)
    assert found["resnet"].config.average == (2, 5, 10, 50, 100)
    assert (found["resnet"].task["width"], found["practical"].task["width"]) == (32, 64)
    assert (found["convnet"].task["width"], found["convnet100"].task["width"]) == (32, 128)
    vit = found["vit"].config
    assert (vit.optimizer, vit.batch_size, vit.epochs, vit.weight_decay) == ("adam", 512, 500, 1e-4)
    assert vit.randaugment == (2, 14)


def test_nobody_has_looked_at_runs_with_the_laptops_seeds() -> None:
    """Those of earlier evidence began at 1000 and 2000, pilots at 0; other studies have their own."""

    def seeds(name: str) -> range:
        scale = registry.study(name).scales["laptop"]
        most = max(max(sweep.config.seeds, sweep.config.data_seeds) for sweep in scale.sweeps)
        return range(scale.first_seed, scale.first_seed + most)

    mine = seeds("feature_learning")
    seen = [range(first, first + 100) for first in (0, 1000, 2000)]
    others = [seeds(name) for name in registry.names() if name != "feature_learning"]
    assert not any(set(mine) & set(those) for those in (*seen, *others))


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_fine_tunes_to_a_low_loss_go_on_from_a_pre_training_whose_map_is_known(scale: str) -> None:
    """FL8 reads regimes in `fine_tuned`: the same networks in the same draws, over a grid that has those learning rates."""
    whole, low = (next(s for s in STUDY.scales[scale].sweeps if s.name == n) for n in ("fine_tuned", "converged"))
    assert low.task == whole.task
    assert set(low.config.lrs) < set(whole.config.lrs)
    for name in ("seeds", "data_seeds", "epochs", "steps", "batch_size", "space"):
        assert getattr(low.config, name) == getattr(whole.config, name), name


def test_the_laptops_fine_tunes_can_show_what_claims_ask() -> None:
    found = {sweep.name: sweep.config for sweep in STUDY.scales["laptop"].sweeps}
    rates = found["fine_tuned"].finetune_lrs
    assert len(rates) == 3
    assert rates[-1] == pytest.approx(5 * rates[0]), "FLRs over a factor of five"
    # The worst draw of five ended at 0.016 after 480 epochs with 1.5e-3; as 1/(FLR x t) the lowest FLR would now.
    ends = 0.016 * 480 * 1.5e-3 / (found["fine_tuned"].finetune_epochs * rates[0])
    assert ends < 0.9 * claims_ticks.FINISHED
    assert min(found["converged"].lrs) > 5e-3, "regime 2 begins there"
    assert len(found["converged"].lrs) >= effects_sharpness.LEAST_RATES <= len(found["converged"].finetune_lrs)
    # The worst draw of five ended at 0.016 after 480 epochs; as 1/t it would now.
    assert 0.016 * 480 / found["converged"].finetune_epochs < 0.9 * effects_sharpness.LOW_LEVEL


# -- whose regimes -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_regimes_are_told_by_other_runs(planted: xr.Dataset) -> None:
    parts = folds.folds_of(planted)
    assert [part.result["data_seed"].values.tolist() for part in parts] == [[0], [1], [2]]
    without = planted.isel(data_seed=[1, 2])
    assert parts[0].labels == tuple(label.regime for label in regimes(without).labels)
    assert parts[0].others["data_seed"].values.tolist() == [1, 2]
    one = planted.isel(data_seed=[0])
    assert [part.result["seed"].values.tolist() for part in folds.folds_of(one)] == [[0], [1]]
    single = one.isel(seed=[0])
    assert folds.folds_of(single)[0].labels == tuple(label.regime for label in regimes(single).labels)


def test_a_subregime_that_no_run_shows_is_said(planted: xr.Dataset) -> None:
    with pytest.raises(Undetermined, match="no learning rate lies in 2A"):
        folds.folds_of(planted.isel(lr=slice(0, 8)))[0].inside("2A")


@pytest.mark.slow
def test_parts_whose_map_lacks_a_regime_are_left_out(planted: xr.Dataset) -> None:
    parts = folds.folds_of(planted)

    def effect(part: folds.Fold) -> np.ndarray:
        return np.array([1.0, 3.0]) if part is not parts[1] else nothing_lies_there("2A")

    found = folds.per_fold(parts, effect)
    assert np.array_equal(found, [2.0, np.nan, 2.0], equal_nan=True)
    assert folds.mean_over_folds(found) == 2.0
    with pytest.raises(Undetermined, match="lies in 3"):
        folds.per_fold(parts, lambda part: nothing_lies_there("3"))
    unreadable = folds.per_fold(parts, lambda part: np.array([np.nan]))
    assert np.isnan(unreadable).all(), "a number that no run has is not a regime that no map shows"


def nothing_lies_there(label: str) -> np.ndarray:
    raise Undetermined(f"no learning rate lies in {label}")


def test_the_best_rate_of_a_regime_is_chosen_by_the_other_seeds(planted: xr.DataTree, labels: list[str]) -> None:
    one = [k for k, label in enumerate(labels) if label == "1"]
    accuracy = xr.zeros_like(planted["pretrain/test_accuracy"])
    accuracy[{"lr": one[0], "data_seed": 0}] = 0.9  # best in the seed that is measured
    accuracy[{"lr": one[1], "data_seed": [1, 2]}] = 0.8
    fold = folds.folds_of(changed(planted, {"pretrain/test_accuracy": accuracy}))[0]
    assert fold.best("1", effects.trained) == one[1]
    nothing = changed(planted, {"pretrain/test_accuracy": xr.full_like(accuracy, np.nan)})
    with pytest.raises(Undetermined, match="the other seeds say nothing of 1"):
        folds.folds_of(nothing)[0].best("1", effects.trained)


@pytest.mark.parametrize("dead", [0, 3])
def test_regime_2_of_conventional_networks_begins_at_the_best_accuracy(planted: xr.DataTree, dead: int) -> None:
    count = planted.sizes["lr"]
    places = np.arange(count)
    before, after = 0.8 - 0.02 * abs(places - 10), np.where(places < 9, 0.85, np.where(places < 14, 0.9, 0.8))
    names = {"pretrain/test_accuracy": before, "finetune/test_accuracy": after}
    made = changed(planted, {name: by_place(planted, name, values) for name, values in names.items()})
    with pytest.MonkeyPatch.context() as patch:
        rules = ("1",) * (count - dead) + ("dead",) * dead
        patch.setattr(folds, "by_rules", lambda _: rules)
        found = folds.by_accuracy(made)
    assert found == ("1",) * 10 + ("2A",) * 4 + ("2B",) * (count - 14 - dead) + ("dead",) * dead


def test_a_lucky_seed_on_a_flat_curve_does_not_draw_the_border(
    planted: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "by_rules", lambda result: ("1",) * result.sizes["lr"])
    names = ("pretrain/test_accuracy", "finetune/test_accuracy")
    made = changed(planted, {n: by_place(planted, n, 0.81 - 0.002 * abs(np.arange(24) - 10)) for n in names})
    accuracy = made[names[0]].copy(deep=True)
    accuracy[{"lr": 4, "data_seed": 0, "seed": 0}] = 0.9  # the mean over six seeds is now the highest
    assert int(accuracy.mean(RUNS).isel(epoch=-1).argmax("lr")) == 4
    assert folds.by_accuracy(changed(made, {names[0]: accuracy})).count("1") == 10


# -- all of it, in small ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    engine = EngineConfig(jobs=1, path="batched", chunk=33, compile=False)  # no plan to choose
    reproduction = Reproduction(STUDY, "smoke", tmp_path_factory.mktemp("studies"), engine=engine, quiet=True)
    reproduction.prepare(part.name for part in reproduction.scale.parts)
    return reproduction


@pytest.mark.slow
def test_all_is_trained_judged_and_drawn_at_smoke_scale(smoke: Reproduction) -> None:
    found = {claim.id: smoke.check(claim) for claim in STUDY.claims}
    assert [claim for claim, finding in found.items() if not finding.note] == []
    for figure in figures_at(STUDY, "smoke"):
        chart = smoke.chart(figure)
        assert all(panel.layers for panel in chart.panels), figure.number
        check_drawn(chart)
    missing = {figure.number for figure in STUDY.figures} - {figure.number for figure in figures_at(STUDY, "smoke")}
    assert missing == {"11, CIFAR-100", "12, CIFAR-100", "13, CIFAR-100"}


@pytest.mark.slow
def test_geometry_of_many_runs_is_that_of_each_pair(smoke: Reproduction) -> None:
    found, trained = smoke.measurement("geometry"), smoke.trained("ticks")
    config = trained.config
    lr, seed, data_seed = config.lrs[-1], 1, 1
    low, high = (
        trained.state(lr=lr, seed=seed, data_seed=data_seed, finetune_lr=flr)
        for flr in (config.finetune_lrs[0], config.finetune_lrs[-1])
    )
    single = geometry.between(trained, low, high, data_seed=data_seed)
    many = found.sel(pair="low-high", lr=lr, data_seed=data_seed, seed=seed)
    assert float(many["angle"]) == pytest.approx(float(single["angle"]), rel=1e-6)
    for name in ("barrier_train_loss", "barrier_test_loss", "barrier_train_error", "barrier_test_error"):
        assert float(many[name]) == pytest.approx(float(single[name]), abs=2e-3), name
    assert float(single["angle"]) > 0.1
    other = trained.state(lr=lr, seed=0, data_seed=data_seed)
    with pytest.raises(LrscopeError, match="compare states of the same seed"):
        geometry.between_runs(trained, low, other, data_seed=data_seed)


@pytest.mark.slow
def test_other_splits_are_measured_as_the_usual_one(smoke: Reproduction) -> None:
    result, splits = smoke.result("vit"), smoke.measurement("vit_splits")
    usual = result["finetune/feature_accuracy"].isel(finetune_lr=0)
    for band in ("low", "mid"):
        here, there = splits["accuracy"].sel(band=f"{band} 0"), usual.sel(feature=band)
        assert np.allclose(here.transpose(*there.dims).values, there.values, atol=0.011), "one image of 100 may tip"
