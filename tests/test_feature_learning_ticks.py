"""FL1 to FL4 of feature_learning: readings of fine-tunes, averages, features and geometry, with planted effects.

U seeds (data seed x seed).
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_map, regime_of
from lrscope.studies.feature_learning import claims_ticks, folds
from lrscope.studies.types import Finding
from lrscope.studies.verdicts import Undetermined
from planted_results import RUNS, by_label, by_name, checked, planted_result, verdicts, with_levels
from trees import changed


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


BEFORE = {"1": 0.8, "2A": 0.7, "2B": 0.6, "3": 0.5}


def with_fine_tunes(planted: xr.DataTree, labels: list[str], tuned: dict[str, float]) -> xr.DataTree:
    """Fine-tunes whose FLRs differ by a tenth in 2B; in 1 the highest is better by a twentieth."""
    made = with_levels(planted, labels, {"pretrain": BEFORE, "finetune": tuned})
    flr = xr.DataArray([0.0, 0.1, 0.2], dims="finetune_lr", coords={"finetune_lr": planted["finetune/finetune_lr"]})
    wide = xr.DataArray([float(label == "2B") for label in labels], dims="lr", coords={"lr": planted["lr"]})
    one = xr.DataArray([float(label == "1") for label in labels], dims="lr", coords={"lr": planted["lr"]})
    accuracy = made["finetune/test_accuracy"] + flr * wide + (flr > 0.15) * 0.05 * one
    return changed(made, {"finetune/test_accuracy": accuracy.transpose(*planted["finetune/test_accuracy"].dims)})


def fine_tunes(ticks: xr.DataTree, resnet: xr.DataTree) -> Finding:
    return checked("FL1", {"ticks": ticks, "fine_tuned": resnet})


def fine_tunes_judged(ticks: xr.DataTree, resnet: xr.DataTree) -> tuple[dict[str, str], dict[str, str]]:
    """FL1's verdicts on the ticks and on the ResNet, by part."""
    found = by_name(fine_tunes(ticks, resnet))
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

    assert list(verdicts_on(good).values()) == ["supported"] * (6 if judged == 0 else 5)
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


FAR = "highest FLR improves on the lowest PLRs"
BETWEEN = {"second-highest minus lowest FLR in 2A", "FLRs spread more in 2B"}
TUNED = {"1": 0.8, "2A": 0.9, "2B": 0.7, "3": 0.6}


def test_a_far_larger_rate_has_to_improve_ticks_from_the_lowest_decade(planted: xr.DataTree, labels: list[str]) -> None:
    good = with_fine_tunes(planted, labels, TUNED)
    tuned = good["finetune/test_accuracy"]

    def judged(highest: float, where: slice) -> str:
        made = tuned.copy(deep=True)
        made[{"lr": where, "finetune_lr": -1}] = highest
        ticks, resnet = fine_tunes_judged(changed(good, {"finetune/test_accuracy": made}), good)
        assert FAR not in resnet, "of ticks alone"
        return ticks[FAR]

    decade = int((planted["lr"].values <= 10.01 * planted["lr"].values[0]).sum())
    assert judged(0.85, slice(0, decade)) == "supported"
    assert judged(0.75, slice(0, decade)) == "contradicted"
    assert judged(0.5, slice(decade, None)) == "supported", "where rates are closer says nothing"


def ending_at(made: xr.DataTree, places: list[int], flr: int, loss: float, epochs: slice) -> xr.DataTree:
    """Fine-tunes whose training loss is 0.01, but for some PLRs and one FLR in some epochs."""
    values = xr.full_like(made["finetune/train_loss"], 0.01)
    values[{"lr": places, "finetune_lr": flr, "epoch": epochs}] = loss
    return changed(made, {"finetune/train_loss": values})


@pytest.mark.slow
@pytest.mark.parametrize("label", ["2A", "2B"])
def test_rates_are_not_compared_while_the_lowest_has_not_come_to_its_end(
    planted: xr.DataTree, labels: list[str], label: str
) -> None:
    good = with_fine_tunes(planted, labels, TUNED)
    places = {name: [k for k, one in enumerate(labels) if one == name] for name in set(labels)}
    last, before = slice(-1, None), slice(0, -1)

    def undetermined(places: list[int], flr: int, loss: float, epochs: slice) -> set[str]:
        made = ending_at(good, places, flr, loss, epochs)
        ticks, resnet = fine_tunes_judged(made, made)
        assert set(ticks.values()) == {"supported"}, "their length is the paper's"
        assert set(resnet.values()) <= {"supported", "undetermined"}
        return {name for name, verdict in resnet.items() if verdict == "undetermined"}

    assert undetermined(places[label], 0, 0.06, last) == BETWEEN
    assert undetermined(places[label], 0, 0.04, last) == set()
    assert undetermined(places[label], 0, 1.0, before) == set(), "only the end counts"
    assert undetermined(places[label], 2, 1.0, last) == set(), "of the lowest FLR"
    assert undetermined(places["1"], 0, 1.0, last) == set(), "in 2A and 2B"
    found = fine_tunes(good, ending_at(good, places[label], 0, 0.06, last))
    other = "2B" if label == "2A" else "2A"
    losses = {name: ends[0] for name, ends in found.numbers["last_loss"]["ResNet-18"].items()}
    assert losses == pytest.approx({label: 0.06, other: 0.01})
    said = {"2A": "0.06 in 2A, 0.01 in 2B", "2B": "0.01 in 2A, 0.06 in 2B"}[label]
    assert found.note.endswith(f"With the lowest FLR the ResNet-18 ends at training losses of {said}.")
    notes = {part.note for part in found.parts if part.verdict == "undetermined"}
    assert notes == {f"the lowest FLR has not come to its end: training losses of {said}, 0.05 is asked"}


def test_what_the_appendix_says_of_training_in_regime_1_is_reported(planted: xr.DataTree, labels: list[str]) -> None:
    """2A against pre-training in 1, whatever fine-tunes from 1 get."""
    for one in (0.8, 0.95):
        found = fine_tunes(*[with_fine_tunes(planted, labels, {**TUNED, "1": one})] * 2)
        over = {network: ends[0] for network, ends in found.numbers["over_pre_training"].items()}
        assert over == pytest.approx({"ticks": 0.1, "ResNet-18": 0.1}, abs=0.005)
        said = r"Best of 2 minus pre-training with regime 1's best rate, in points: ticks \+(9\.[5-9]|10\.[0-5]), ResNet-18"
        assert re.search(said, found.note)
        assert len(found.parts) == 11, "no part judges it"


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


BEHIND = "average behind fine-tuning, 2B minus 2A"


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
    # Below regime 1, as every network of 2B is, but nearer to fine-tuning than in 2A: no failure of averaging.
    near = by_name(checked("FL2", {"ticks": averages({"1": 0.8, "2A": 0.85, "2B": 0.78, "3": 0.5})}))
    assert near == {"2A: average minus pre-training in 1": "supported", BEHIND: "contradicted"}
    inside = [float(lr) for lr, label in zip(planted["lr"].values, labels, strict=True) if label == "2A"]
    plrs = {float(plr): ends[0] for plr, ends in found.numbers["by_plr"].items()}
    assert list(plrs) == pytest.approx(inside, rel=1e-3)
    assert list(plrs.values()) == pytest.approx([-0.05] * len(inside), abs=0.005)
    # The gap to fine-tuning is reported for every number of checkpoints. The best number is another one in 2B than in 2A.
    numbers = planted["average/n_average"].values
    better = made["average/test_accuracy"] + xr.where(planted["average/n_average"] == numbers[1], 0.04, 0.0)
    better = better.transpose(*made["average/test_accuracy"].dims)
    gaps = checked("FL2", {"ticks": changed(made, {"average/test_accuracy": better})}).numbers["by_number"]["2A"]
    assert [int(n) for n in gaps] == [int(n) for n in numbers]
    assert [gaps[str(int(n))][0] for n in numbers[:2]] == pytest.approx([-0.05, -0.01], abs=0.005)
    label = xr.DataArray(labels, dims="lr", coords={"lr": planted["lr"]})
    number = planted["average/n_average"]
    rise = 0.04 * ((label == "2A") & (number == numbers[0])) + 0.03 * ((label == "2B") & (number == numbers[1]))
    each = (made["average/test_accuracy"] + rise).transpose(*made["average/test_accuracy"].dims)
    (behind,) = (
        part
        for part in checked("FL2", {"ticks": changed(made, {"average/test_accuracy": each})}).parts
        if part.name == BEHIND
    )
    assert behind.value == pytest.approx((0.15 - 0.03) - (0.05 - 0.04), abs=0.005)


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
    assert {name for name, verdict in found.items() if verdict == "contradicted" and STRONGER not in name} == {
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


STRONGER = ": stronger best feature"
BY_CATAPULT = "restored by the highest FLR from 1 where it catapults"


@pytest.mark.slow
def test_what_is_sparse_has_to_be_strong_in_all_runs(planted: xr.DataTree, labels: list[str]) -> None:
    few, many = 2, planted.sizes["feature"]
    pre = {"1": many, "2A": few, "2B": few, "3": 0}
    flat = with_features(planted, labels, {"pretrain": pre, "average": pre, "finetune": dict.fromkeys(pre, few)})
    made = changed(flat, {"pretrain/feature_accuracy": above_2a(flat, labels, 0.7)})
    measured = {"geometry": with_angles(planted, thrown=1)}

    def judged(ticks: xr.DataTree) -> dict[str, str]:
        return by_name(checked("FL3", {"ticks": ticks}, measured))

    six = {name for name in judged(made) if name.endswith(STRONGER)}
    assert len(six) == 6
    name = "pretrain/feature_accuracy"
    strong = judged(changed(flat, {name: flat[name] + 0.05 * by_label(flat, name, labels, ONE, spread=0.0)}))
    assert {strong[name] for name in six} == {"contradicted"}, "sparse, but features at the lowest PLRs are stronger"
    assert {strong[name.removesuffix(STRONGER)] for name in six} == {"supported"}
    cases = {
        "sparse in 2A": ("pretrain", {}, "2A"),
        "kept by the lowest FLR": ("finetune", {"finetune_lr": 0}, "2A"),
        "kept by SWA": ("average", {}, "2A"),
        "restored by the highest FLR from 2B": ("finetune", {"finetune_lr": -1}, "2B"),
        "restored by the highest FLR from 3": ("finetune", {"finetune_lr": -1}, "3"),
        BY_CATAPULT: ("finetune", {"finetune_lr": -1}, "1"),
    }
    assert {f"{name}{STRONGER}" for name in cases} == six
    for name, (segment, stage, label) in cases.items():
        array = made[f"{segment}/feature_accuracy"].copy(deep=True)
        where = {"lr": [0] if name == BY_CATAPULT else [k for k, one in enumerate(labels) if one == label], **stage}
        array[where] = 0.5
        array[{**where, "feature": [0, 1]}] = 0.6  # two features of 16, a little: as sparse as before
        found = judged(changed(made, {f"{segment}/feature_accuracy": array}))
        assert found[name] == "supported"
        assert {one for one in six if found[one] == "contradicted"} == {name + STRONGER}


def test_runs_that_learned_nothing_count_against_strength(planted: xr.DataTree, labels: list[str]) -> None:
    """After the highest FLR from 2B one run of each data seed learns: those that are left are sparse and strong."""
    few, many = 2, planted.sizes["feature"]
    pre = {"1": many, "2A": few, "2B": few, "3": 0}
    made = with_features(planted, labels, {"pretrain": pre, "average": pre, "finetune": dict.fromkeys(pre, few)})
    made = changed(made, {"pretrain/feature_accuracy": above_2a(made, labels, 0.7)})
    array = made["finetune/feature_accuracy"].copy(deep=True)
    where = [k for k, label in enumerate(labels) if label == "2B"]
    array[{"lr": where, "seed": 0, "finetune_lr": -1}] = 0.5
    array[{"lr": where[1:], "seed": 1, "finetune_lr": -1}] = 0.5
    ticks = changed(made, {"finetune/feature_accuracy": array})
    found = checked("FL3", {"ticks": ticks}, {"geometry": with_angles(planted, thrown=1)})
    name = "restored by the highest FLR from 2B"
    assert by_name(found)[name] == "supported"
    assert by_name(found)[name + STRONGER] == "contradicted"
    assert found.numbers["learned"][name][0] == pytest.approx(1 / (2 * len(where)))
    assert found.numbers["learned"]["kept by the lowest FLR"][0] == 1.0
    assert f"{name} {100 / (2 * len(where)):.0f}" in found.note


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
