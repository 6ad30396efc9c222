"""Maps at the edges of what the rules know: fine-tunes that failed or still fall, overflow, holes, a single learning rate."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_result
from lrscope.mapping import Border, Label, Recommendation, RegimeMap, quality, regimes
from lrscope.mapping.replay import masked
from trees import arrays, changed, own, with_node

FALLING = np.exp(-0.4 * np.arange(10))  # over the ten logged epochs of a fine-tuning
LAST = {"epoch": -1}


def small(**options: Any) -> xr.DataTree:
    """A result with 8 learning rates and 3 seeds whose fine-tunes have converged."""
    result = fake_result(**{"lrs": 8, "seeds": 3, "features": False, **options})
    if "finetune" in result.children:
        result["finetune/train_loss"][:] = 0.1
    return result


def plain(found: RegimeMap) -> str:
    """All that a map says; its JSON form is valid."""
    assert json.dumps(found.to_dict(), allow_nan=False)
    return str(found)


# --- fine-tunes that still fall ---


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_provisional_is_said_of_the_rate_to_decay_to_and_of_no_other(schedule: str) -> None:
    result = small(schedule=schedule)
    result["finetune/test_accuracy"][:, 1] += 0.05
    for falls in (0, 1):
        result["finetune/train_loss"][:] = 0.1
        result["finetune/train_loss"][:, falls] = FALLING
        found = regimes(result)
        assert found.recommended.finetune_lr == pytest.approx(1e-3)
        reached = result["finetune/test_accuracy"].isel(LAST).sel(lr=found.recommended.best)[1]
        assert found.recommended.after == pytest.approx(float(reached.mean()))
        assert ("provisional" in found.recommended.reason) is (falls == 1)
        notes = [note for note in found.notes if "has not converged" in note]
        rests = "may change the recommendation" if falls else "may change 2A|2B" if schedule == "constant" else None
        assert [note.endswith(rests) for note in notes] == [True] if rests else not notes
        assert all(f"at {(1e-4, 1e-3)[falls]:g} has not converged at 8 learning rates" in note for note in notes)
        flagged = ["fine-tune still falls" in label.flags for label in found.labels]
        assert flagged == [falls == 0] * 8, "labels speak of the lowest rate"


@pytest.mark.slow
def test_a_border_is_provisional_where_most_seeds_of_a_learning_rate_still_fall() -> None:
    result = small(lrs=16)
    inside = next(k for k, label in enumerate(regimes(result).labels) if label.regime == "2A")
    assert regimes(result).borders["2A|2B"].lr is not None
    for seeds in (1, 2):
        result["finetune/train_loss"][inside, 0, 0, seeds - 1] = FALLING
        found = regimes(result)
        assert found.borders["2A|2B"].reason.startswith("provisional") is (seeds == 2)
        assert "fine-tune still falls" in found.labels[inside].flags
    assert "at 1 learning rate: " in plain(found)


def test_an_adaptive_sweep_is_not_told_to_extend_its_fine_tunes() -> None:
    result = small()
    result["finetune/train_loss"][:] = FALLING
    assert "--extend-finetunes" in plain(regimes(result))
    plan = {**json.loads(result.attrs["plan"]), "trained_share": 0.2}
    assert "--extend-finetunes" not in plain(regimes(changed(result, plan=json.dumps(plan))))


def test_how_far_quality_moves_is_told_from_the_same_quarters_as_the_loss() -> None:
    result = small()
    result["finetune/train_loss"][:] = FALLING
    result["finetune/test_accuracy"][:] = [0.5, 0.5, 0.6, 0.6, 0.7, 0.8, 0.8, 0.83, 0.83, 0.83]
    assert "test quality changes by 4.0 points on average" not in plain(regimes(result))
    result["finetune/test_accuracy"][..., 5:7] = 0.79
    assert "falls by 1.00 to 1.00 in logs while test quality changes by 4.0 points on average" in plain(regimes(result))


def test_few_logged_epochs_of_fine_tuning_are_said() -> None:
    result, tuned = small(), own(small(), "finetune")
    few, enough = (with_node(result, "finetune", tuned.isel(epoch=slice(0, n))) for n in (7, 8))
    assert "whether it converged is undetermined" in plain(regimes(few))
    assert "converged" not in plain(regimes(enough))


# --- fine-tunes that failed ---


def lost(result: xr.DataTree) -> xr.DataTree:
    """The same with all fine-tunes non-finite."""
    for name in own(result, "finetune").data_vars:
        result[f"finetune/{name}"][:] = 1 if name == "status" else np.nan
    return result


def at_chance(result: xr.DataTree) -> xr.DataTree:
    """The same with all fine-tunes as good as guessing."""
    result["finetune/test_accuracy"][:] = 0.5
    return result


@pytest.mark.parametrize("failed", [lost, at_chance])
def test_fine_tunes_that_failed_tell_neither_2a_from_2b_nor_where_to_start(failed: Any) -> None:
    found, without = regimes(failed(small())), regimes(small(finetune=False))
    assert {label.regime for label in found.labels} == {"1", "2", "3"}
    assert found.borders["2A|2B"].lr is None
    assert "ended nowhere better than guessing" in found.borders["2A|2B"].reason
    assert found.recommended.best == without.recommended.best
    assert found.recommended.finetune_lr is None
    assert found.recommended.after is None
    assert "did not end well: try lower --finetune-lrs" in found.recommended.alternative
    assert "provisional" not in plain(found)


def test_one_rate_that_failed_leaves_the_others() -> None:
    result = small()
    result["finetune/test_accuracy"][:, 2] = 0.5
    result["finetune/status"][:, 1] = 1
    for name in set(own(result, "finetune").data_vars) - {"status"}:
        result[f"finetune/{name}"][:, 1] = np.nan
    assert regimes(result).recommended.finetune_lr == pytest.approx(1e-4)


def test_without_a_decay_is_never_the_advice_to_measure_one_that_was() -> None:
    assert "--finetune-lrs" in regimes(small(finetune=False, average=False)).recommended.alternative
    peaks = small(finetune=False, average=False, schedule="cosine")
    assert regimes(peaks).recommended.alternative == ""
    untuned = masked(small(average=False), np.ones((8, 1, 3), bool), np.zeros((8, 1, 3), bool))
    assert regimes(untuned).recommended.alternative == ""


def test_averages_that_are_better_say_so() -> None:
    result = small()
    assert "better than" not in regimes(result).recommended.alternative
    result["average/test_accuracy"][3] = 0.99
    (told,) = [c for c in regimes(result).recommended.alternative.split("; ") if "better than what is recommended" in c]
    assert told.startswith("averaging checkpoints instead")


@pytest.mark.parametrize(("points", "decays"), [(0.2, True), (0.4, False)])
def test_a_decay_that_costs_more_than_the_margin_is_not_recommended(points: float, decays: bool) -> None:
    """The margin is 0.3 points; a flat map, so that smoothing changes nothing."""
    result = small()
    result["finetune/test_accuracy"][:] = 0.9
    result["pretrain/test_accuracy"][..., -1] = 0.9 + points / 100
    found = regimes(result).recommended
    assert (found.finetune_lr is not None) is decays
    assert (found.after is not None) is decays
    assert ("without a decay" if decays else "with a decay to 0.0001") in found.alternative
    assert ("after the decay" if decays else "at the constant learning rate") in found.reason


def test_a_border_2a_2b_that_is_not_there_says_which_part_is_missing() -> None:
    result = small(lrs=16)
    result["finetune/test_accuracy"][:] = 0.9
    assert regimes(result).borders["2A|2B"].reason.startswith("no 2B seen")
    two = [k for k, label in enumerate(regimes(result).labels) if label.regime == "2A"]
    result["finetune/test_accuracy"][two] = 0.8
    found = regimes(result)
    assert found.borders["2A|2B"].reason.startswith("no 2A seen")
    assert {found.labels[k].regime for k in two} == {"2B"}


# --- overflow ---


def test_no_border_lies_among_learning_rates_that_overflow() -> None:
    """All that end finite converge, or all are in equilibrium: what comes after them has no regime."""
    result = fake_result(lrs=16, seeds=3, invariant=False, space="whole", nonfinite_lrs=8)
    found = regimes(result)
    last, next_ = result["lr"].values[7:9]
    assert found.borders["1|2"].lr is None
    assert f"{last:g} has not reached regime 2" in found.borders["1|2"].reason
    assert f"between {last:g} and {next_:g}" in found.borders["1|2"].reason
    assert "by the losses it is undetermined" in plain(found)
    assert "no learning rate of the grid lies in regime 2" in found.borders["2A|2B"].reason
    some = regimes(fake_result(lrs=16, seeds=5, invariant=False, space="whole", nonfinite_lrs=5))
    border = some.borders["1|2"]
    assert border.lr is not None
    assert border.high is not None
    assert border.high <= result["lr"].values[11]
    assert f"the losses put it at {border.lr:.3g}" in plain(some)


def test_a_border_that_single_seeds_put_off_the_finite_grid_ends_at_the_first_overflow() -> None:
    result = fake_result(lrs=16, seeds=5, invariant=False, space="whole", nonfinite_lrs=6, finetune=False)
    loss = result["pretrain/train_loss"]
    loss[:, 0, :2] = loss[7, 0, :2]  # two seeds converge wherever they are finite
    for name in ("train_loss", "test_loss"):
        result[f"pretrain/{name}"][10:, :, :, 20:] = np.nan
    border = regimes(result).borders["1|2"]
    assert border.high is not None
    assert border.high <= result["lr"].values[10]


def test_a_fine_tune_that_overflows_is_a_cliff() -> None:
    result = small(lrs=16)
    result["finetune/test_accuracy"][:] = 0.9
    lr = result["lr"].values
    for name in own(result, "finetune").data_vars:
        result[f"finetune/{name}"][10, :, 0, 0] = 1 if name == "status" else np.nan
    found = regimes(result, margin=5).recommended
    assert (found.low, found.high) == (lr[0], lr[8])
    assert found.cliff == lr[10]
    assert f"seeds are lost from {lr[10]:.3g} on" in found.reason


def test_the_default_margin_is_a_third_of_a_point_not_thirty() -> None:
    result = small(lrs=16, finetune=False, average=False)
    result["pretrain/test_accuracy"][:] = (0.9 - 0.02 * np.abs(np.arange(16) - 8))[:, None, None, None]
    lr = result["lr"].values
    for margin, low, high in ((None, 8, 8), (3, 7, 9)):
        found = regimes(result, **({} if margin is None else {"margin": margin})).recommended
        assert (found.low, found.high) == (lr[low], lr[high])


# --- holes, and few of everything ---


def test_a_learning_rate_that_one_seed_shows_to_be_worse_ends_the_range() -> None:
    """An adaptive sweep fine-tunes one seed first, and the others only if it does not fall short."""
    lrs = np.logspace(-4, 0, 9)
    values = 0.9 + 1e-5 * np.random.default_rng(0).standard_normal((9, 3))
    no = np.zeros(values.shape, bool)
    whole = quality.choose(lrs, values, no, 0.1, 0.01)
    assert whole is not None
    values[4, 1:] = np.nan
    open_ = quality.choose(lrs, values, no, 0.1, 0.01)
    values[4, 0] = 0.85
    short = quality.choose(lrs, values, no, 0.1, 0.01)
    assert open_ is not None
    assert short is not None
    assert (open_.low, open_.high) == (whole.low, whole.high) == (0, 8)
    assert not short.low <= 4 <= short.high
    assert not short.from_ <= 4 <= short.to


def test_holes_are_not_called_non_finite() -> None:
    trained = np.zeros((8, 1, 3), bool)
    trained[::2, :, 0] = True
    found = regimes(masked(small(finetune=False, average=False), trained, trained))
    assert found.recommended.best is None
    assert "adaptive" in found.recommended.reason
    assert "finite" not in found.recommended.reason
    broken = small(finetune=False, average=False)
    broken["pretrain/status"][:, 0, 0] = 1
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        broken[f"pretrain/{name}"][:, 0, 0] = np.nan
    assert regimes(broken).recommended.reason.startswith("no learning rate has all its seeds finite")


def test_what_the_seeds_show_is_said_and_no_more() -> None:
    result = small(lrs=16, finetune=False, average=False)
    peak = (0.9 - 0.02 * np.abs(np.arange(16) - 8))[:, None, None, None]
    result["pretrain/test_accuracy"][:] = peak
    assert (
        "with 3 seeds no other learning rate is shown to be equal within 0.3 points;"
        in regimes(result).recommended.reason
    )
    wide = regimes(result, margin=3).recommended.reason
    assert "; equal to the best within 3 points over 3 seeds (95%);" in wide
    assert "next to that cliff" not in wide
    one = regimes(result.isel(seed=[0])).recommended.reason
    assert "one seed shows no uncertainty" in one
    assert "more seeds would tell" not in one
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        result[f"pretrain/{name}"][9, 0, 0] = np.nan
    result["pretrain/status"][9, 0, 0] = 1
    lr = result["lr"].values
    cliff = regimes(result).recommended
    assert cliff.best == lr[7]
    assert (
        f"seeds are lost from {lr[9]:.3g} on; {lr[8]:.3g} measured better but lies next to that cliff" in cliff.reason
    )
    regression = regimes(small(regression=True)).recommended.reason
    assert "points (hundredths of the loss of guessing)" in regression


@pytest.mark.parametrize(("keep", "where"), [([8], "down and up"), ([8, 9, 10], "down"), ([0, 1, 2], "up")])
def test_the_grid_is_to_be_extended_at_the_ends_where_the_best_lies(keep: list[int], where: str) -> None:
    result = small(lrs=16, finetune=False, average=False)
    result["pretrain/test_accuracy"][:] = np.linspace(0.9, 0.7, 16)[:, None, None, None]
    if where == "up":
        result["pretrain/test_accuracy"][:] = np.linspace(0.7, 0.9, 16)[:, None, None, None]
    found = regimes(result.isel(lr=keep))
    assert found.recommended.reason.endswith(f"the best lies at the end of the grid: extend it {where}")


def test_the_table_names_the_rate_that_its_results_were_decayed_to() -> None:
    text = str(regimes(small()))
    assert "decay to 0.0001" in text.splitlines()[0]
    assert "decay" not in str(regimes(small(finetune=False))).splitlines()[0]
    lines = text.splitlines()
    assert len({line.index("%") for line in lines[1:9]}) == 1
    assert len({line.rindex("%") for line in lines[1:9]}) == 1


def test_intervals_are_spoken_of_only_where_there_are_some() -> None:
    told, none = small(), small()
    none["pretrain/status"][:] = 1
    for array in arrays(none).values():
        if np.issubdtype(array.dtype, np.floating):
            array[:] = np.nan
    assert any("intervals are ranges" in note for note in regimes(told).notes)
    assert regimes(none).notes == ()
    assert not any("intervals" in note for note in regimes(small(schedule="cosine")).notes)


def test_nothing_worse_than_guessing_is_recommended() -> None:
    """The two learning rates that learned lie at a cliff; those below it end worse than guessing."""
    reached = np.full((8, 3), -0.2)
    reached[4:6] = [[0.12, 0.10, 0.11], [0.13, 0.11, 0.12]]
    lost = np.zeros((8, 3), bool)
    lost[6:] = True
    reached[6:] = np.nan
    lrs = np.logspace(-4, 0, 8)
    assert quality.choose(lrs, reached, np.zeros((8, 3), bool) | lost, 0.0, 0.003).best == 4
    lost[5, 0], reached[5, 0] = True, np.nan
    assert quality.choose(lrs, reached, lost, 0.0, 0.003) is None


def test_a_better_measurement_that_is_not_recommended_is_named() -> None:
    result = small(lrs=8, finetune=False, average=False)
    reached = np.array(
        [
            *([0.93, 0.935, 0.932], [0.955, 0.958, 0.956], [0.967, 0.973, 0.973], [1.0, 0.93, 1.0]),
            *([0.8, 0.95, 0.83], [0.7, 0.5, 0.65], [0.5, 0.7, 0.6], [0.6, 0.7, 0.5]),
        ]
    )
    result["pretrain/test_accuracy"][..., -1] = reached[:, None, :]
    found, lrs = regimes(result).recommended, result["lr"].values
    assert found.best == lrs[2]
    assert f"{lrs[3]:.3g} measured better, but its neighbours do not bear that out" in found.reason
    assert "measured better" not in regimes(result, margin=2).recommended.reason
    result["pretrain/test_accuracy"][3, :, :, -1] = 0.99
    clear = regimes(result).recommended
    assert clear.best == lrs[3]
    assert "measured better" not in clear.reason


def test_an_undetermined_border_is_provisional_too() -> None:
    result = small(lrs=16)
    result["finetune/test_accuracy"][:] = 0.9
    falling = np.exp(-0.3 * np.arange(result["finetune"].sizes["epoch"]))
    result["finetune/train_loss"][:] = falling
    assert regimes(result).borders["2A|2B"].reason == (
        "no 2B seen: fine-tuning ends as well up to the end of regime 2; provisional, because fine-tunes have not converged"
    )


# --- what is printed ---

TUNED = """\
learning rate  regime  test accuracy  decay to 0.0001  seeds' votes        flags
        0.001  1              90.00%           95.00%  1:2 2:1             seeds disagree
          0.1  ?                                       non-finite:3        non-finite, not trained

border 1|2    0.01  in [0.001, 0.1]  (range)
border 2|3    undetermined: why

start: 0.001, then decay to 0.0001: because
  or: else
note: first
note: second"""
PLAIN = """\
learning rate  regime      test loss  seeds' votes        flags
         0.01  2                0.25  2:1

border 1|2    undetermined: why

start: 0.01 to 0.1: because"""
LABELS = (
    Label(lr=0.001, regime="1", flags=("seeds disagree",), votes={"1": 2, "2": 1}, before=0.9, after=0.95),
    Label(lr=0.1, regime="?", flags=("non-finite", "not trained"), votes={"non-finite": 3}),
)
NONE = Border(between="1|2", reason="why")


def test_a_map_is_printed_as_a_table_with_its_borders_and_advice() -> None:
    found = RegimeMap(
        labels=LABELS,
        borders={
            "1|2": Border(between="1|2", lr=0.01, low=0.001, high=0.1, reason="range"),
            "2|3": Border(between="2|3", reason="why"),
        },
        recommended=Recommendation(low=0.001, high=0.001, finetune_lr=1e-4, reason="because", alternative="else"),
        seeds=3,
        notes=("first", "second"),
        finetune_lr=1e-4,
    )
    assert str(found) == TUNED
    assert found.to_dict()["borders"]["1|2"] == {"lr": 0.01, "low": 0.001, "high": 0.1, "reason": "range"}
    assert found.to_dict()["labels"][0]["flags"] == ["seeds disagree"]
    assert found.to_dict()["notes"] == ["first", "second"]
    assert (found.to_dict()["seeds"], found.to_dict()["measure"]) == (3, "test accuracy")
    assert [label.trained for label in LABELS] == [True, False]
    assert not replace(LABELS[0], flags=("inferred",)).trained


def test_a_map_without_fine_tunes_has_a_column_less() -> None:
    found = RegimeMap(
        labels=(Label(lr=0.01, regime="2", votes={"2": 1}, before=0.25),),
        borders={"1|2": NONE},
        recommended=Recommendation(low=0.01, high=0.1, reason="because"),
        seeds=1,
        measure="test loss",
    )
    assert str(found) == PLAIN
    for half in ({"low": None}, {"high": None}):
        partly = replace(found, recommended=replace(found.recommended, **half))
        assert str(partly).endswith("start: undetermined: because")
