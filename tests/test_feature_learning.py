"""The study feature_learning: its declarations, and its readings of results with planted effects."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from chart_examples import check_drawn
from fake_results import fake_map, fake_result, regime_of
from lrscope.config import EngineConfig
from lrscope.errors import LrscopeError
from lrscope.mapping import regimes
from lrscope.measures import geometry
from lrscope.studies import arrays, registry
from lrscope.studies.dependencies import figures_at
from lrscope.studies.feature_learning import STUDY, effects, folds
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.types import Finding
from lrscope.studies.verdicts import Undetermined
from trees import changed

REPOSITORY = Path(__file__).parents[1]


class PlantedResults:
    """A study whose sweeps and measurements are given."""

    scale, first_seed = "smoke", 0

    def __init__(self, sweeps: dict[str, xr.DataTree], measured: dict[str, xr.Dataset] | None = None) -> None:
        self.sweeps, self.measurements = sweeps, measured or {}

    def sweep(self, name: str) -> xr.DataTree:
        return self.sweeps[name]

    def measurement(self, name: str) -> xr.Dataset:
        return self.measurements[name]

    def trained(self, name: str) -> Any:
        raise AssertionError("claims read no weights")


def checked(claim: str, sweeps: dict[str, xr.DataTree], measured: dict[str, xr.Dataset] | None = None) -> Finding:
    return next(c for c in STUDY.claims if c.id == claim).check(PlantedResults(sweeps, measured))


def verdicts(found: Finding) -> list[str]:
    return [part.verdict for part in found.parts]


@pytest.fixture(scope="module")
def planted() -> xr.DataTree:
    return fake_result(lrs=24, seeds=2, data_seeds=3, epochs=60)


@pytest.fixture
def labels(planted: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The planted regimes, whatever the curves say."""
    monkeypatch.setattr(folds, "regimes", fake_map)
    found = [regime_of(float(lr)) for lr in planted["lr"].values]
    assert set(found) == {"1", "2A", "2B", "3"}
    return found


def by_label(planted: xr.Dataset, name: str, labels: list[str], values: dict[str, float], spread: float = 0.01) -> Any:
    """A variable whose mean depends on the regime alone."""
    rng = np.random.default_rng(7)
    levels = xr.DataArray([values[label] for label in labels], dims="lr", coords={"lr": planted["lr"]})
    noise = xr.DataArray(spread * rng.standard_normal(planted[name].shape), dims=planted[name].dims)
    return (levels + noise).transpose(*planted[name].dims)


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
    assert laptop == paper
    config = paper.config
    grid = [np.logspace(-4.5, -2.25, 10)[:-1], np.logspace(-2.25, -1.25, 9)[:-1], np.logspace(-1.25, 0, 6)]
    assert config.lrs == pytest.approx(np.concatenate(grid), rel=5e-4)
    assert config.finetune_lrs == config.lrs[:11]
    assert (config.seeds, config.data_seeds, config.steps, config.finetune_steps) == (10, 5, 40_000, 20_000)
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


# -- whose regimes -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_regimes_are_told_by_other_runs(planted: xr.Dataset) -> None:
    parts = folds.folds_of(planted)
    assert [part.result["data_seed"].values.tolist() for part in parts] == [[0], [1], [2]]
    without = regimes(planted.isel(data_seed=[1, 2]))
    assert parts[0].others.labels == without.labels
    one = planted.isel(data_seed=[0])
    assert [part.result["seed"].values.tolist() for part in folds.folds_of(one)] == [[0], [1]]
    single = one.isel(seed=[0])
    assert folds.folds_of(single)[0].others.labels == regimes(single).labels


def test_a_subregime_that_no_run_shows_is_said(planted: xr.Dataset) -> None:
    with pytest.raises(Undetermined, match="no learning rate lies in 2A"):
        folds.folds_of(planted.isel(lr=slice(0, 8)))[0].inside("2A")


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


def test_parts_are_counted_in_which_all_could_be_read() -> None:
    first, second = np.array([1.0, np.nan, 1.0]), np.array([np.nan, 1.0, 1.0])
    assert folds.readable_folds(np.ones(3), np.ones(3)) == ""
    assert folds.readable_folds(first, second) == " All of this could be read in 1 of 3 folds."
    assert folds.readable_folds(np.ones(3), first, of="resnet").endswith("in 2 of 3 folds of the sweep resnet.")


# -- readings of planted results ---------------------------------------------------------------------------------------


def test_fine_tuning_that_peaks_in_2a_is_told_from_one_that_does_not(planted: xr.Dataset, labels: list[str]) -> None:
    before = {"1": 0.8, "2A": 0.7, "2B": 0.6, "3": 0.5}
    good = changed(
        planted,
        {
            "pretrain/test_accuracy": by_label(planted, "pretrain/test_accuracy", labels, before, 0.001),
            "finetune/test_accuracy": by_label(
                planted, "finetune/test_accuracy", labels, {"1": 0.8, "2A": 0.9, "2B": 0.7, "3": 0.6}, 0.001
            ),
        },
    )
    flr = xr.DataArray([0.0, 0.1, 0.2], dims="finetune_lr", coords={"finetune_lr": planted["finetune/finetune_lr"]})
    wide = xr.DataArray([float(label == "2B") for label in labels], dims="lr", coords={"lr": planted["lr"]})
    tuned = good["finetune/test_accuracy"] + flr * wide
    good = changed(good, {"finetune/test_accuracy": tuned.transpose(*planted["finetune/test_accuracy"].dims)})
    found = checked("FL1", {"ticks": good})
    assert verdicts(found) == ["supported"] * 4
    worse = changed(
        good,
        {
            "finetune/test_accuracy": good["finetune/test_accuracy"] - 0.15 * (xr.ones_like(wide) - wide),
        },
    )
    assert "contradicted" in verdicts(checked("FL1", {"ticks": worse}))


def test_averages_are_held_against_the_lowest_flr(planted: xr.Dataset, labels: list[str]) -> None:
    tuned = by_label(planted, "finetune/test_accuracy", labels, {"1": 0.8, "2A": 0.9, "2B": 0.7, "3": 0.6}, 0.001)
    close = by_label(planted, "average/test_accuracy", labels, {"1": 0.8, "2A": 0.89, "2B": 0.6, "3": 0.5}, 0.001)
    found = checked(
        "FL2",
        {
            "ticks": changed(planted, {"finetune/test_accuracy": tuned, "average/test_accuracy": close}),
        },
    )
    assert verdicts(found) == ["supported", "supported"]
    far = by_label(planted, "average/test_accuracy", labels, {"1": 0.8, "2A": 0.8, "2B": 0.69, "3": 0.5}, 0.001)
    found = checked("FL2", {"ticks": changed(planted, {"finetune/test_accuracy": tuned, "average/test_accuracy": far})})
    assert verdicts(found) == ["contradicted", "contradicted"]
    inside = [float(lr) for lr, label in zip(planted["lr"].values, labels, strict=True) if label == "2A"]
    by_plr = {float(plr): ends[0] for plr, ends in found.numbers["by_plr"].items()}
    assert list(by_plr) == pytest.approx(inside, rel=1e-3)
    assert list(by_plr.values()) == pytest.approx([-0.1] * len(inside), abs=0.005)
    # A window that suits 2A: the middle number of checkpoints is better than the others.
    numbers = planted["average/n_average"].values
    better = far + xr.where(planted["average/n_average"] == numbers[1], 0.09, 0.0)
    better = better.transpose(*far.dims)
    found = checked(
        "FL2",
        {
            "ticks": changed(planted, {"finetune/test_accuracy": tuned, "average/test_accuracy": better}),
        },
    )
    means = {int(n): ends[0] for n, ends in found.numbers["by_number"].items()}
    assert [means[int(n)] for n in numbers[:2]] == pytest.approx([-0.1, -0.01], abs=0.005)


def with_features(planted: xr.Dataset, labels: list[str], used: dict[str, dict[str, int]]) -> xr.DataTree:
    """Runs that rely on so many of the features equally, by state and regime; 0: they learned nothing."""
    new = {}
    for state, name in (
        ("pre", "pretrain/feature_accuracy"),
        ("swa", "average/feature_accuracy"),
        ("tuned", "finetune/feature_accuracy"),
    ):
        array = planted[name]
        count = array.sizes["feature"]
        rows = []
        for label in labels:
            n = used[state][label]
            rows.append(np.where(np.arange(count) < n, 0.9, 0.5))
        levels = xr.DataArray(rows, dims=("lr", "feature"), coords={"lr": planted["lr"]})
        new[name] = (xr.zeros_like(array) + levels).transpose(*array.dims)
    return changed(planted, new)


@pytest.mark.slow
def test_sparsity_is_read_state_by_state(planted: xr.Dataset, labels: list[str]) -> None:
    count = planted.sizes["feature"]
    few, many = 2, count
    pre = {"1": many, "2A": few, "2B": few, "3": 0}
    made = with_features(planted, labels, {"pre": pre, "swa": pre, "tuned": {"1": few, "2A": few, "2B": few, "3": few}})
    found = checked("FL3", {"ticks": made})
    assert verdicts(found) == ["supported"] * 6
    lowest = [ends[0] for ends in found.numbers["after_highest"].values()]
    assert len(lowest) == len(folds.folds_of(made)[0].lowest())
    assert lowest == pytest.approx([few] * len(lowest))
    even = with_features(planted, labels, {"pre": {**pre, "2A": many}, "swa": pre, "tuned": dict.fromkeys(pre, many)})
    assert verdicts(checked("FL3", {"ticks": even})).count("contradicted") == 4
    nothing = with_features(planted, labels, {"pre": pre, "swa": pre, "tuned": {**pre, "1": 0}})
    found = checked("FL3", {"ticks": nothing})
    assert "read in 0 of 3 folds" in found.note, "after the highest FLR from the lowest PLRs runs know nothing"
    assert verdicts(found)[0] == "supported", "what can be read is"
    learned = with_features(planted, labels, {"pre": {**pre, "3": few}, "swa": pre, "tuned": dict.fromkeys(pre, few)})
    assert verdicts(checked("FL3", {"ticks": learned}))[-1] == "contradicted", "regime 3 learned something"


def test_geometry_is_read_pair_by_pair(planted: xr.Dataset, labels: list[str]) -> None:
    shape = (3, planted.sizes["lr"], planted.sizes["data_seed"], planted.sizes["seed"])
    dims = ("pair", "lr", "data_seed", "seed")
    coords = {"pair": ["low-high", "low-swa", "high-swa"], **{d: planted[d] for d in dims[1:]}}
    noise = 0.001 * np.random.default_rng(3).standard_normal(shape)
    barrier = {"1": 0.0, "2A": 0.05, "2B": 0.2, "3": 0.0}
    angle = np.where(np.arange(shape[1]) < 8, 1.0, 0.2)
    rise = np.array([barrier[label] for label in labels])
    near = np.array([1.0, 0.2, 0.9])[:, None]
    made = xr.Dataset(
        {
            "angle": (dims, (near * angle)[..., None, None] + noise),
            "barrier_test_error": (dims, (near * rise)[..., None, None] + noise),
        },
        coords,
    )
    assert verdicts(checked("FL4", {"ticks": planted}, {"geometry": made})) == ["supported"] * 5
    other = made.assign_coords(pair=["low-high", "high-swa", "low-swa"])
    assert verdicts(checked("FL4", {"ticks": planted}, {"geometry": other}))[2:4] == ["contradicted"] * 2


def test_slopes_within_and_across_pre_trainings() -> None:
    sharp = np.linspace(0, 1, 3)[None, :, None] + np.linspace(0, 0.5, 4)[:, None, None] + np.zeros((4, 3, 2))
    error = (
        0.1 * np.linspace(0, 1, 3)[None, :, None] - 0.2 * np.linspace(0, 0.5, 4)[:, None, None] + np.zeros((4, 3, 2))
    )
    assert effects.mean_slopes(sharp, error) == pytest.approx([0.1, 0.1])
    assert effects.mean_slopes(sharp.swapaxes(0, 1), error.swapaxes(0, 1)) == pytest.approx([-0.2, -0.2])


@pytest.mark.slow
def test_fine_tunes_are_compared_at_a_loss_that_all_reach(planted: xr.Dataset) -> None:
    stuck = xr.full_like(planted["finetune/train_loss"], 50.0)
    with pytest.raises(Undetermined, match="some fine-tunes start below"):
        checked("FL8", {"resnet": changed(planted, {"finetune/train_loss": stuck})})
    with pytest.raises(Undetermined, match="a training loss of 0"):
        checked("FL8", {"resnet": changed(planted, {"finetune/train_loss": 0 * stuck})})
    made = with_sharpness(planted, within=0.1, across=0.0)
    found = effects.at_equal_loss(made)
    two = [k for k, label in enumerate(regimes(made).labels) if label.regime.startswith("2")]
    lowest = made["finetune/train_loss"].isel(lr=two).min("epoch").max()
    assert found["level"][0] == pytest.approx(1.05 * float(lowest))
    assert found["error"].shape == (len(two), 3, planted.sizes["seed"] * planted.sizes["data_seed"])
    # Where the first moment of fine-tuning is below the level already, the run passed it since the end of pre-training.
    fast = made["finetune/train_loss"].copy(deep=True)
    fast[{"lr": two[0], "finetune_lr": 0}] = float(found["level"][0]) / 2
    early = effects.at_equal_loss(changed(made, {"finetune/train_loss": fast}))
    assert early["early"][0, 0].all()
    assert early["early"].sum() == early["early"][0, 0].size
    between = early["sharpness"][0, 0]
    before = np.log10(arrays.per_seed(made["pretrain/effective_grad_norm"])[two[0], :, -1])
    after = np.log10(arrays.per_seed(made["finetune/effective_grad_norm"])[two[0], 0, :, 0])
    assert ((between > np.minimum(before, after)) & (between < np.maximum(before, after))).all()
    with pytest.raises(Undetermined, match="2 fine-tuning learning rates, 3 are needed"):
        checked("FL8", {"resnet": made.isel(finetune_lr=[0, 1])})
    with pytest.raises(Undetermined, match="2 learning rates lie in regime 2, 3 are needed"):
        checked("FL8", {"resnet": made.isel(lr=[0, 1, 2, 3, *two[:2]])})


def with_sharpness(planted: xr.Dataset, within: float, across: float) -> xr.DataTree:
    """Fine-tunes whose loss falls alike from 10; sharpness grows by a decade over FLRs and over PLRs, error by so much."""
    loss = planted["finetune/train_loss"]
    fall = xr.DataArray(10.0 * 0.3 ** np.arange(loss.sizes["epoch"]), dims="epoch")
    f, p = (xr.DataArray(np.linspace(0, 1, loss.sizes[d]), dims=d) for d in ("finetune_lr", "lr"))
    noise = xr.DataArray(1e-4 * np.random.default_rng(5).standard_normal(loss.shape), dims=loss.dims)
    return changed(
        planted,
        {
            "finetune/train_loss": (xr.zeros_like(loss) + fall).transpose(*loss.dims),
            "finetune/effective_grad_norm": (xr.zeros_like(loss) + 10 ** (f + p)).transpose(*loss.dims),
            "finetune/test_accuracy": (1 - (0.4 + within * f + across * p + noise)).transpose(*loss.dims),
        },
    )


def test_sharpness_is_held_against_error_within_and_across(planted: xr.Dataset) -> None:
    broken = checked("FL8", {"resnet": with_sharpness(planted, within=0.1, across=-0.1)})
    assert verdicts(broken) == ["supported", "supported"]
    one_law = checked("FL8", {"resnet": with_sharpness(planted, within=0.1, across=0.2)})
    assert verdicts(one_law) == ["supported", "contradicted"]
    reverse = checked("FL8", {"resnet": with_sharpness(planted, within=-0.1, across=-0.2)})
    assert verdicts(reverse) == ["contradicted", "supported"]


BANDS = ("background", "low", "mid", "high")


def with_bands(planted: xr.Dataset, labels: list[str], levels: dict[str, dict[str, dict[str, float]]]) -> xr.DataTree:
    """Accuracies on named bands by state, band and regime; 0.1 where nothing is said."""
    made = changed(planted.isel(feature=slice(0, 4)), {"feature": np.array(BANDS, dtype=object)})
    names = {
        "pre": "pretrain/feature_accuracy",
        "swa": "average/feature_accuracy",
        "tuned": "finetune/feature_accuracy",
    }
    rng = np.random.default_rng(11)
    for state, name in names.items():
        rows = [[levels.get(state, {}).get(band, {}).get(label, 0.1) for band in BANDS] for label in labels]
        array = made[name]
        table = xr.DataArray(rows, dims=("lr", "feature"), coords={"lr": made["lr"], "feature": made["feature"]})
        noise = xr.DataArray(0.002 * rng.standard_normal(array.shape), dims=array.dims)
        made = changed(made, {name: (table + noise).transpose(*array.dims)})
    return made


def test_mid_bands_are_told_from_others(planted: xr.Dataset, labels: list[str]) -> None:
    good = {
        "pre": {"mid": {"2A": 0.5, "1": 0.3}},
        "swa": {"mid": {"2A": 0.6}},
        "tuned": {"mid": {"2A": 0.7}, "low": {"2A": 0.4}},
    }
    fine = with_bands(planted, labels, good)
    assert verdicts(checked("FL5", {"resnet": fine, "convnet": fine})) == ["supported"] * 5
    low = with_bands(planted, labels, {**good, "tuned": {"mid": {"2A": 0.4}, "low": {"2A": 0.7}}})
    expected = ["contradicted", "supported", "contradicted", "supported", "supported"]
    assert verdicts(checked("FL5", {"resnet": low, "convnet": fine})) == expected
    flat = with_bands(planted, labels, {**good, "pre": {"mid": {"2A": 0.3, "1": 0.5}}})
    assert verdicts(checked("FL5", {"resnet": fine, "convnet": flat}))[4] == "contradicted"


def test_practice_is_judged_without_the_runs_that_overflowed(planted: xr.Dataset, labels: list[str]) -> None:
    made = with_bands(planted, labels, {"tuned": {"mid": {"2A": 0.5, "1": 0.3}}})
    best = {"1": 0.8, "2A": 0.7, "2B": 0.5, "3": 0.2}
    rise = xr.DataArray(np.linspace(0, 0.05, planted.sizes["lr"]), dims="lr")
    accuracy = (by_label(made, "pretrain/test_accuracy", labels, best, 0.0001) + rise).transpose(
        *made["pretrain/test_accuracy"].dims
    )
    accuracy = accuracy.where(made["lr"] < made["lr"][-2])  # the two highest learning rates overflow
    better = {label: value + 0.1 for label, value in best.items()}
    made = changed(
        made,
        {
            "pretrain/test_accuracy": accuracy.transpose(*made["pretrain/test_accuracy"].dims),
            "finetune/test_accuracy": by_label(made, "finetune/test_accuracy", labels, better, 0.001),
            "average/test_accuracy": by_label(made, "average/test_accuracy", labels, better, 0.001),
        },
    )
    assert verdicts(checked("FL6", {"practical": made})) == ["supported"] * 4
    lost = changed(made, {"average/test_accuracy": made["average/test_accuracy"] - 0.3})
    assert verdicts(checked("FL6", {"practical": lost})) == ["supported", "supported", "contradicted", "supported"]
    falling = changed(
        made,
        {
            "pretrain/test_accuracy": (made["pretrain/test_accuracy"] - 8 * rise).transpose(
                *made["pretrain/test_accuracy"].dims
            ),
        },
    )
    assert verdicts(checked("FL6", {"practical": falling}))[0] == "contradicted", "the lowest LR is the best"
    accuracy = made["pretrain/test_accuracy"].copy(deep=True)
    accuracy[{"data_seed": 0}] = np.nan
    distance = checked("FL6", {"practical": changed(made, {"pretrain/test_accuracy": accuracy})}).parts[0]
    assert np.isnan(distance.per_seed).tolist() == [True, False, False], "where all overflowed no LR is the best"


def test_a_transformer_is_judged_by_flrs_and_splits(planted: xr.Dataset, labels: list[str]) -> None:
    level = dict.fromkeys(labels, 0.7)
    tuned = by_label(planted, "finetune/test_accuracy", labels, level, 0.001)
    slope = xr.DataArray(np.linspace(-0.2, 0.2, len(labels)), dims="lr")
    slope = slope.where(xr.DataArray([label != "2A" for label in labels], dims="lr"), 0.0)
    only_low = xr.DataArray([1.0, 0.0, 0.0], dims="finetune_lr")
    made = changed(planted, {"finetune/test_accuracy": (tuned + slope * only_low).transpose(*tuned.dims)})
    shape = tuple(planted.sizes[d] for d in ("lr", "data_seed", "seed"))
    values = {"low 0": 0.6, "mid 0": 0.4, "low 1": 0.3, "mid 1": 0.5}
    noise = 0.001 * np.random.default_rng(2).standard_normal((4, *shape))
    splits = xr.Dataset(
        {"accuracy": (("band", "lr", "data_seed", "seed"), np.array([*values.values()])[:, None, None, None] + noise)},
        {"band": np.array(list(values), dtype=object), **{d: planted[d] for d in ("lr", "data_seed", "seed")}},
    )
    assert verdicts(checked("FL7", {"vit": made}, {"vit_splits": splits})) == ["supported"] * 4
    swapped = splits.assign_coords(band=np.array(["mid 0", "low 0", "low 1", "mid 1"], dtype=object))
    found = verdicts(checked("FL7", {"vit": made.isel(finetune_lr=[2, 1, 0])}, {"vit_splits": swapped}))
    assert found == ["supported", "contradicted", "contradicted", "contradicted"]


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
