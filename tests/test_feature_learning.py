"""The study feature_learning: its declarations, and its readings of results with planted effects."""

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
from planted_results import RUNS, by_label, by_name, by_place, checked, planted_result, verdicts, with_levels
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
    assert rates[-1] == pytest.approx(10 * rates[0]), "FLRs over a decade"
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


# -- readings of planted results ---------------------------------------------------------------------------------------


BEFORE = {"1": 0.8, "2A": 0.7, "2B": 0.6, "3": 0.5}


def with_fine_tunes(planted: xr.DataTree, labels: list[str], tuned: dict[str, float]) -> xr.DataTree:
    """Fine-tunes whose FLRs differ by a tenth in 2B."""
    made = with_levels(planted, labels, {"pretrain": BEFORE, "finetune": tuned})
    flr = xr.DataArray([0.0, 0.1, 0.2], dims="finetune_lr", coords={"finetune_lr": planted["finetune/finetune_lr"]})
    wide = xr.DataArray([float(label == "2B") for label in labels], dims="lr", coords={"lr": planted["lr"]})
    accuracy = made["finetune/test_accuracy"] + flr * wide
    return changed(made, {"finetune/test_accuracy": accuracy.transpose(*planted["finetune/test_accuracy"].dims)})


def fine_tunes_judged(ticks: xr.DataTree, resnet: xr.DataTree) -> tuple[dict[str, str], dict[str, str]]:
    """FL1's verdicts on the ticks and on the ResNet, by part."""
    found = by_name(checked("FL1", {"ticks": ticks, "fine_tuned": resnet}))
    whose = {
        network: {n.split(": ")[1]: v for n, v in found.items() if n.startswith(network)}
        for network in claims_ticks.NETWORKS.values()
    }
    assert sum(map(len, whose.values())) == len(found)
    return whose["ticks"], whose["ResNet-18"]


@pytest.mark.slow
@pytest.mark.parametrize("judged", [0, 1], ids=claims_ticks.NETWORKS.values())
def test_fine_tunes_from_2a_are_held_against_fine_tunes_from_regime_1(
    planted: xr.DataTree, labels: list[str], judged: int
) -> None:
    good = with_fine_tunes(planted, labels, {"1": 0.8, "2A": 0.9, "2B": 0.7, "3": 0.6})

    def verdicts_on(one: xr.DataTree) -> dict[str, str]:
        found = fine_tunes_judged(*((one, good) if judged == 0 else (good, one)))
        assert set(found[1 - judged].values()) == {"supported"}
        return found[judged]

    assert list(verdicts_on(good).values()) == ["supported"] * 5
    # Pre-training in regime 1 is worse than fine-tuning from 2A, but fine-tuning from regime 1 is better than both.
    found = verdicts_on(with_fine_tunes(planted, labels, {"1": 0.95, "2A": 0.9, "2B": 0.7, "3": 0.6}))
    assert found["fine-tunes, best of 2 above best of 1"] == "contradicted"
    assert found["change in regime 1 by FLRs up to the PLR"] == "contradicted"
    found = verdicts_on(with_fine_tunes(planted, labels, {"1": 0.75, "2A": 0.6, "2B": 0.7, "3": 0.6}))
    assert found["fine-tunes, 2A above 2B"] == "contradicted"
    assert found["change in regime 1 by FLRs up to the PLR"] == "contradicted", "a loss is a change too"
    apart = good["finetune/test_accuracy"].copy(deep=True)
    apart[{"finetune_lr": 1}] += 0.03
    found = verdicts_on(changed(good, {"finetune/test_accuracy": apart}))
    assert found["second-highest minus lowest FLR in 2A"] == "contradicted"
    alike = good["finetune/test_accuracy"].mean("finetune_lr", keep_attrs=True) + 0 * good["finetune/test_accuracy"]
    narrow = changed(good, {"finetune/test_accuracy": alike.transpose(*good["finetune/test_accuracy"].dims)})
    assert verdicts_on(narrow)["FLRs spread more in 2B"] != "supported"


def test_single_runs_that_scatter_more_in_2b_do_not_spread_flrs(planted: xr.DataTree, labels: list[str]) -> None:
    """FLRs are the same to them; what each run gets with an FLR is chance, and more of it in 2B."""
    alike = with_levels(planted, labels, {"pretrain": BEFORE, "finetune": {"1": 0.8, "2A": 0.9, "2B": 0.7, "3": 0.6}})
    accuracy = alike["finetune/test_accuracy"]
    wide = xr.DataArray([0.1 * (label == "2B") for label in labels], dims="lr", coords={"lr": accuracy["lr"]})
    found = []
    for key in range(8):
        shape = [accuracy.sizes[d] if d != "epoch" else 1 for d in accuracy.dims]
        chance = xr.DataArray(np.random.default_rng(key).standard_normal(shape), dims=accuracy.dims).isel(epoch=0)
        made = changed(alike, {"finetune/test_accuracy": (accuracy + wide * chance).transpose(*accuracy.dims)})
        for fold in folds.folds_of(made):
            found.append(float(claims_ticks.spread(fold, "2B")[0] - claims_ticks.spread(fold, "2A")[0]))
    assert abs(np.mean(found)) < 0.02, "a deviation of means would be 0.05 larger in 2B"
    good = with_fine_tunes(planted, labels, {"1": 0.8, "2A": 0.9, "2B": 0.7, "3": 0.6})
    known = [float(claims_ticks.spread(fold, "2B")[0]) for fold in folds.folds_of(good)]
    assert known == pytest.approx([0.1] * 3, abs=0.01), "FLRs that lie 0.1 apart deviate by 0.1"
    with pytest.raises(Undetermined, match="a single seed"):
        claims_ticks.spread(folds.folds_of(good.isel(data_seed=[0], seed=[0]))[0], "2B")


def test_regime_1_can_win_where_no_map_shows_a_2a(planted: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["1"] * 12 + ["2B"] * (planted.sizes["lr"] - 12)
    monkeypatch.setattr(folds, "by_rules", lambda result: tuple(found))
    monkeypatch.setattr(
        "lrscope.studies.feature_learning.claims_ticks.folds_of", lambda r: folds.folds_of(r, folds.by_rules)
    )
    levels = {"pretrain": {"1": 0.8, "2B": 0.6}, "finetune": {"1": 0.9, "2B": 0.88}}
    made = with_levels(planted, found, levels)
    for parts in fine_tunes_judged(made, made):
        assert parts["fine-tunes, best of 2 above best of 1"] == "contradicted"
        assert parts["fine-tunes, 2A above 2B"] == "undetermined"


def test_averages_are_good_if_they_reach_what_regime_1_reaches(planted: xr.DataTree, labels: list[str]) -> None:
    def averages(level: dict[str, float]) -> xr.DataTree:
        tuned = {"1": 0.8, "2A": 0.9, "2B": 0.8, "3": 0.6}
        return with_levels(planted, labels, {"pretrain": BEFORE, "finetune": tuned, "average": level})

    made = averages({"1": 0.8, "2A": 0.85, "2B": 0.65, "3": 0.5})
    found = checked("FL2", {"ticks": made})
    assert set(verdicts(found)) == {"supported"}
    assert set(verdicts(checked("FL2", {"ticks": averages({"1": 0.8, "2A": 0.75, "2B": 0.85, "3": 0.5})}))) == {
        "contradicted"
    }
    inside = [float(lr) for lr, label in zip(planted["lr"].values, labels, strict=True) if label == "2A"]
    plrs = {float(plr): ends[0] for plr, ends in found.numbers["by_plr"].items()}
    assert list(plrs) == pytest.approx(inside, rel=1e-3)
    assert list(plrs.values()) == pytest.approx([-0.05] * len(inside), abs=0.005)
    # The gap to fine-tuning is reported for every number of checkpoints.
    numbers = planted["average/n_average"].values
    better = made["average/test_accuracy"] + xr.where(planted["average/n_average"] == numbers[1], 0.04, 0.0)
    better = better.transpose(*made["average/test_accuracy"].dims)
    gaps = checked("FL2", {"ticks": changed(made, {"average/test_accuracy": better})}).numbers["by_number"]["2A"]
    assert [int(n) for n in gaps] == [int(n) for n in numbers]
    assert [gaps[str(int(n))][0] for n in numbers[:2]] == pytest.approx([-0.05, -0.01], abs=0.005)


def with_features(planted: xr.DataTree, labels: list[str], used: dict[str, dict[str, int]]) -> xr.DataTree:
    """Runs that rely on so many of the features equally, by segment and regime; 0: they learned nothing."""
    new = {}
    for segment, by_regime in used.items():
        array = planted[f"{segment}/feature_accuracy"]
        rows = [np.where(np.arange(array.sizes["feature"]) < by_regime[label], 0.9, 0.5) for label in labels]
        levels = xr.DataArray(rows, dims=("lr", "feature"), coords={"lr": planted["lr"]})
        new[f"{segment}/feature_accuracy"] = (xr.zeros_like(array) + levels).transpose(*array.dims)
    return changed(planted, new)


ONE = {"1": 1.0, "2A": 0.0, "2B": 0.0, "3": 0.0}


def above_2a(planted: xr.DataTree, labels: list[str], level: float) -> xr.DataArray:
    """Single-feature accuracies after pre-training with others in 2B; the best in 2A is better than in 1."""
    array = planted["pretrain/feature_accuracy"].copy(deep=True)
    array[{"lr": [k for k, label in enumerate(labels) if label == "2B"]}] = level
    return array - 0.1 * by_label(planted, "pretrain/feature_accuracy", labels, ONE, spread=0.0)


def with_angles(planted: xr.DataTree, thrown: int, barrier: dict[str, float] | None = None) -> xr.Dataset:
    """A geometry in which the lowest `thrown` PLRs catapult; barriers of test and train error by regime."""
    dims = ("pair", "lr", *RUNS)
    shape = (3, *(planted.sizes[d] for d in dims[1:]))
    noise = 0.001 * np.random.default_rng(3).standard_normal(shape)
    near = np.array([1.0, 0.2, 0.9])[:, None]
    angle = np.where(np.arange(shape[1]) < thrown, 1.4, 0.3)
    levels = barrier or {"1": 0.0, "2A": 0.05, "2B": 0.2, "3": 0.0}
    rise = np.array([levels[regime_of(float(lr))] for lr in planted["lr"].values])
    arrays = {
        "angle": (dims, (near * angle)[..., None, None] + noise),
        **{f"barrier_{on}_error": (dims, (near * rise)[..., None, None] + noise) for on in ("test", "train")},
    }
    return xr.Dataset(arrays, {"pair": ["low-high", "low-swa", "high-swa"], **{d: planted[d] for d in dims[1:]}})


@pytest.mark.slow
def test_sparsity_is_read_stage_by_stage_and_by_the_angle(planted: xr.DataTree, labels: list[str]) -> None:
    few, many = 2, planted.sizes["feature"]
    pre = {"1": many, "2A": few, "2B": few, "3": 0}
    sparse = dict.fromkeys(pre, few)
    made = with_features(planted, labels, {"pretrain": pre, "average": pre, "finetune": sparse})
    made = changed(made, {"pretrain/feature_accuracy": above_2a(made, labels, 0.7)})
    measured = {"geometry": with_angles(planted, thrown=1)}
    found = checked("FL3", {"ticks": made}, measured)
    assert set(verdicts(found)) == {"supported"}
    # Only the runs that are catapulted count: those that are not may stay even.
    array = made["finetune/feature_accuracy"].copy(deep=True)
    array[{"lr": slice(1, labels.index("2A"))}] = 0.9
    partly = changed(made, {"finetune/feature_accuracy": array})
    assert set(verdicts(checked("FL3", {"ticks": partly}, measured))) == {"supported"}
    found = by_name(checked("FL3", {"ticks": partly}, {"geometry": with_angles(planted, thrown=8)}))
    assert found["restored by the highest FLR from 1 where it catapults"] != "supported"
    found = checked("FL3", {"ticks": made}, {"geometry": with_angles(planted, thrown=0)})
    assert by_name(found)["restored by the highest FLR from 1 where it catapults"] == "undetermined"
    assert {part.note for part in found.parts if part.note} == {"no run of regime 1 is catapulted by the highest FLR"}
    even = with_features(planted, labels, {"pretrain": {**pre, "2A": many}, "finetune": dict.fromkeys(pre, many)})
    found = by_name(checked("FL3", {"ticks": even}, measured))
    assert {name for name, verdict in found.items() if verdict == "contradicted"} == {
        "sparse in 2A",
        "kept by the lowest FLR",
        *(f"restored by the highest FLR from {where}" for where in ("2B", "3", "1 where it catapults")),
    }
    narrow = with_features(planted, labels, {"pretrain": {**pre, "1": few}})
    assert by_name(checked("FL3", {"ticks": narrow}, measured))["even at the lowest PLRs"] == "contradicted"
    better = changed(made, {"pretrain/feature_accuracy": above_2a(made, labels, 0.95)})
    assert by_name(checked("FL3", {"ticks": better}, measured))["best feature lost above 2A"] == "contradicted"
    grown = made["finetune/feature_accuracy"].copy(deep=True)
    grown[{"lr": [k for k, label in enumerate(labels) if label == "2A"], "finetune_lr": 0}] = 0.9
    found = by_name(checked("FL3", {"ticks": changed(made, {"finetune/feature_accuracy": grown})}, measured))
    assert found["not undone by the lowest FLR"] == "contradicted"
    flat = with_features(planted, labels, {"pretrain": pre, "average": pre, "finetune": sparse})
    assert by_name(checked("FL3", {"ticks": flat}, measured))["best feature gained up to 2A"] != "supported"
    # After the highest FLR from 2B one run in each data seed learns: sparse, but most runs are not.
    array = made["finetune/feature_accuracy"].copy(deep=True)
    where = {"lr": [k for k, label in enumerate(labels) if label == "2B"]}
    array[{**where, "seed": 0, "finetune_lr": -1}] = 0.5
    array[{"lr": where["lr"][1:], "seed": 1, "finetune_lr": -1}] = 0.5
    found = by_name(checked("FL3", {"ticks": changed(made, {"finetune/feature_accuracy": array})}, measured))
    assert found["restored by the highest FLR from 2B"] == "supported"
    assert found["restored by the highest FLR from 2B: runs that learn"] == "contradicted"


@pytest.mark.slow
def test_each_part_of_the_geometry_can_fail(planted: xr.DataTree, labels: list[str]) -> None:
    made = with_angles(planted, thrown=4)
    flr = planted["finetune/finetune_lr"].values
    grid = changed(
        planted, {"finetune/finetune_lr": ("finetune_lr", np.append(flr[:-1], 100.5 * planted["lr"].values[3]))}
    )
    assert set(verdicts(checked("FL4", {"ticks": grid}, {"geometry": made}))) == {"supported"}
    swapped = made.assign_coords(pair=["low-high", "high-swa", "low-swa"])
    found = by_name(checked("FL4", {"ticks": grid}, {"geometry": swapped}))
    assert {name for name, verdict in found.items() if verdict == "contradicted"} == {
        f"{label}: SWA closer to low by {what}"
        for label in ("2A", "2B")
        for what in ("angle", "test barrier", "train barrier")
    }
    flat = with_angles(planted, thrown=4, barrier={"1": 0.1, "2A": 0.05, "2B": 0.02, "3": 0.0})
    for on in ("test", "train"):
        worse = made.assign({f"barrier_{on}_error": flat[f"barrier_{on}_error"]})
        found = by_name(checked("FL4", {"ticks": grid}, {"geometry": worse}))
        assert {name for name, verdict in found.items() if verdict == "contradicted"} >= {
            f"{on} barriers larger in {pair}" for pair in ("2A than in 1", "2B than in 2A")
        }
        assert all(verdict == "supported" for name, verdict in found.items() if on not in name)
    calm = by_name(checked("FL4", {"ticks": grid}, {"geometry": with_angles(planted, thrown=0)}))
    assert calm["FLR far above the PLR catapults"] == "contradicted"
    wild = by_name(checked("FL4", {"ticks": grid}, {"geometry": with_angles(planted, thrown=20)}))
    assert wild["FLR close to the PLR does not"] == "contradicted"


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
