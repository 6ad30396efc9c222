"""The study late_decay: its declarations, and its claims on results with planted effects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from chart_examples import check_drawn
from lrscope.config import EngineConfig
from lrscope.studies import registry
from lrscope.studies.binomial import binomial_interval, binomial_part
from lrscope.studies.dependencies import figures_at
from lrscope.studies.late_decay import STUDY, claims_planes, effects_planes, effects_schedules
from lrscope.studies.late_decay.claims_model import COUNTED, PHASED
from lrscope.studies.late_decay.effects_network import SubPaths, fall_at_the_end_of
from lrscope.studies.late_decay.planes import lowest_test_loss
from lrscope.studies.late_decay.success import success_bound
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.types import REPORTED, StudySweep
from lrscope.studies.verdicts import Undetermined
from planted_late_decay import (
    AT,
    DECAYS,
    FALLING,
    HALF,
    by_name,
    checked,
    counted,
    courses,
    curves,
    modelled,
    networks,
    speeds,
    surfaces,
    swept,
)
from planted_results import PlantedResults

# -- declarations --------------------------------------------------------------------------------------------------------


def test_the_study_is_in_the_table_with_its_claims() -> None:
    assert registry.study("late_decay") is STUDY
    assert [claim.id for claim in STUDY.claims] == [f"LD{number}" for number in range(1, 10)]
    assert [claim.id for claim in STUDY.claims if claim.exploratory] == ["LD6", "LD7", "LD8"]
    assert {figure for claim in STUDY.claims for figure in claim.figures} == {f.number for f in STUDY.figures}
    for claim in STUDY.claims:
        assert claim.exploratory or "Refuted" in claim.criterion, "it says what would refute it"


def test_the_papers_numbers_are_in_the_paper_scale() -> None:
    """Of the public code: network, images, squared error, optimizer, main path, first sub-paths at epoch 200."""
    found = {sweep.name: sweep for sweep in STUDY.scales["paper"].sweeps}
    mse = found["mse"]
    assert mse.task == {"data": "cifar10", "model": "vgg11", "width": 32, "train_size": 5000, "loss": "mse"}
    config = mse.config
    assert (config.lrs, config.momentum, config.weight_decay) == ((0.1,), 0.9, 1e-4)
    assert (config.batch_size, config.epochs, config.space) == (125, 3000, "whole")
    assert 200 in config.branches[0].at
    assert found["cross_entropy"].task["loss"] == "cross_entropy"


@pytest.mark.parametrize("scale", STUDY.scales)
def test_both_losses_are_trained_alike(scale: str) -> None:
    mse, cross = (sweeps(scale)[name] for name in ("mse", "cross_entropy"))
    assert {**mse.task, "loss": ""} == {**cross.task, "loss": ""}
    (cooldown,), (other,) = mse.config.branches, cross.config.branches
    alike = {"data_seeds": 1, "lrs": (0.1,), "epochs": 9, "snapshot_epochs": (), "keep_weights": False, "branches": ()}
    assert replace(mse.config, **alike) == replace(cross.config, **alike)
    assert replace(other, at=cooldown.at) == cooldown
    assert other.at == cooldown.at[: len(other.at)]
    assert len(other.at) >= 3
    assert other.at[-1] == cross.config.epochs
    steps = np.diff(np.log2(cooldown.at))
    assert np.allclose(steps, steps[0]), "times grow by one factor"
    assert cooldown.at[-1] <= mse.config.epochs


def sweeps(scale: str) -> dict[str, StudySweep]:
    return {sweep.name: sweep for sweep in STUDY.scales[scale].sweeps}


@pytest.mark.parametrize("scale", STUDY.scales)
def test_the_early_sub_path_catches_up_with_the_late_one(scale: str) -> None:
    """It leaves at half the time, at the same small rate, and is given more than the sum of learning rates that it lacks."""
    found = sweeps(scale)
    mse, pair = found["mse"], found["equal_loss"]
    assert pair.task == mse.task
    late, early = pair.config.branches
    assert replace(late, at=mse.config.branches[0].at) == mse.config.branches[0]
    assert {*late.at, *early.at} < {*mse.config.branches[0].at}
    assert (early.factors, late.at, pair.config.epochs) == (late.factors, (2 * early.at[0],), late.at[0])
    lacks = (late.at[0] - early.at[0]) / early.factors[0]
    assert (early.epochs or 0) - (late.epochs or 0) == pytest.approx(2 * lacks)


@pytest.mark.parametrize("scale", STUDY.scales)
def test_schedules_have_one_length_and_are_those_of_the_model(scale: str) -> None:
    mse, swept = (sweeps(scale)[name] for name in ("mse", "schedules"))
    assert swept.task == mse.task
    assert (swept.config.lrs, swept.config.schedule) == (mse.config.lrs, effects_schedules.CONSTANT)
    (branch,) = swept.config.branches
    assert (branch.at, branch.epochs) == ((0.0,), swept.config.epochs)
    assert tuple(options(scale)["courses"]["schedules"]) == (effects_schedules.CONSTANT, *branch.schedules)
    assert options(scale)["diagonal"]["schedules"] == options(scale)["courses"]["schedules"]
    assert effects_schedules.LATE_DECAY in branch.schedules


def options(scale: str) -> dict[str, Any]:
    """Arguments of a scale's measurements."""
    return {m.name: dict(m.run.arguments) for m in STUDY.scales[scale].measurements}  # type: ignore[attr-defined]


def test_evidence_is_made_with_fresh_seeds_and_enough_of_them() -> None:
    laptop = STUDY.scales["laptop"]
    assert laptop.first_seed == 10_000
    assert all(sweep.config.data_seeds >= 3 for sweep in laptop.sweeps)
    for name, asked, lr, steps in (("model", (0.0, *PHASED), 5e-3, 20_000), ("success", (), 1.5e-3, 400_000)):
        found = options("laptop")[name]
        assert found["seeds"] >= 200
        setting = found["setting"]
        counted = {gamma for gamma, of in COUNTED.items() if of == name}
        assert {*asked, *counted} == set(setting["gamma"]), "as the criteria say"
        assert (setting["lr"], setting["steps"]) == ([lr], steps)
        assert (setting["label_noise"], setting["start_norm"], setting["start_of"]) == (1.0, 1.5, "predictor")
    assert options("laptop")["model"]["setting"]["small_steps"] == 10_000
    assert options("laptop")["success"]["setting"]["small_steps"] == 40_000


def test_draws_are_enough_for_a_sign_test() -> None:
    """Of the eight of `laptop` all must agree, for both verdicts; of five not even all are enough."""
    draws = STUDY.scales["laptop"].sweeps[0].config.data_seeds
    found = [binomial_part("draws", k, draws, above=claims_planes.MOST, parts=2).verdict for k in range(draws + 1)]
    assert found == ["contradicted", *["inconclusive"] * (draws - 1), "supported"]
    assert float(binomial_interval(5, 5)[0]) < claims_planes.MOST


# -- probabilities -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "trials", "verdict"),
    [(190, 200, "supported"), (100, 200, "contradicted"), (170, 200, "inconclusive"), (2, 2, "undetermined")],
)
def test_a_probability_is_judged_by_its_exact_interval(successes: int, trials: int, verdict: str) -> None:
    found = binomial_part("runs", successes, trials, above=0.85)
    assert found.verdict == verdict
    assert found.value == successes / trials
    if verdict != "undetermined":
        assert (found.low, found.high) == tuple(map(float, binomial_interval(successes, trials)))
    assert (found.seeds, found.criterion) == (trials, "above 0.85")
    assert f"{successes} of {trials}" in found.note


@pytest.mark.parametrize(
    ("successes", "trials", "silent", "verdict"),
    [
        (195, 195, 5, "supported"),
        (190, 190, 10, "supported"),
        (180, 180, 20, "undetermined"),  # as failures they leave room for less than the bound
        (100, 180, 20, "contradicted"),
        (60, 100, 100, "undetermined"),  # as successes they leave room for more
        (169, 199, 1, "inconclusive"),  # whatever it would have said
        (0, 0, 200, "undetermined"),
    ],
)
def test_what_says_nothing_counts_against_both_verdicts(successes: int, trials: int, silent: int, verdict: str) -> None:
    found = binomial_part("runs", successes, trials, above=0.85, silent=silent)
    assert found.verdict == verdict
    assert (found.seeds, found.asked) == (trials, trials + silent)
    assert f"{silent} more say nothing" in found.note
    if trials:
        worst, best = (binomial_interval(count, trials + silent) for count in (successes, successes + silent))
        assert (found.low, found.high) == (float(worst[0]), float(best[1]))
        assert found.low <= found.value <= found.high


def test_several_probabilities_ask_for_more() -> None:
    """One that lies below the bound at 95%, and not at the level of six parts."""
    good = next(k for k in range(200, 0, -1) if float(binomial_interval(k, 200)[1]) < 0.85)
    assert binomial_part("one", good, 200, above=0.85).verdict == "contradicted"
    found = binomial_part("one of six", good, 200, above=0.85, parts=6)
    assert found.verdict == "inconclusive"
    assert "not at the 99.2% that 6 parts ask for" in found.note


def test_a_true_probability_at_the_bound_is_seldom_contradicted() -> None:
    """Of six at their bound, at least one: in less than 5% of the cases."""
    rng = np.random.default_rng(0)
    drawn = rng.binomial(100, 0.5, (300, 6))
    wrong = [
        any(binomial_part("p", int(k), 100, above=0.5, parts=6).verdict == "contradicted" for k in row) for row in drawn
    ]
    assert np.mean(wrong) < 0.05


# -- LD1 -----------------------------------------------------------------------------------------------------------------

FALL, EQUAL, TREND = "earliest over latest decay", "at equal training loss", "the later the lower"


def judged(results: PlantedResults) -> tuple[list[str], set[str]]:
    """Verdicts of LD1's judged parts and of LD9, and those of the steps from time to time."""
    found = by_name(checked("LD1", results))
    three = [found.pop(name) for name in (FALL, EQUAL, TREND)]
    assert [found.pop(name) for name in list(found)[-2:]] == [REPORTED] * 2
    assert all(name.endswith("rise less a quarter of the fall") for name in found)
    (saturates,) = checked("LD9", results).parts
    return [*three, saturates.verdict], set(found.values())


YES, NO, OPEN, UNCLEAR = "supported", "contradicted", "undetermined", "inconclusive"
LD1: dict[str, tuple[Any, dict[str, Any], list[str], set[str]]] = {
    "falls and saturates": (FALLING, {}, [YES] * 4, {YES}),
    "at equal loss it rises": (FALLING, {"equal": 0.8}, [YES, NO, YES, YES], {YES}),
    "at equal loss nothing is left": (FALLING, {"equal": 1.0}, [YES, UNCLEAR, YES, YES], {YES}),
    "later is worse": (FALLING[::-1], {}, [NO, YES, NO, UNCLEAR], {NO}),
    "nothing happens": (np.ones(5), {"spread": 0.02}, [UNCLEAR, YES, UNCLEAR, UNCLEAR], {UNCLEAR}),
    "next to nothing happens": (
        10 ** (-0.002 * np.arange(5)[::-1] / 4),
        {"spread": 1e-4},
        [NO, YES, NO, UNCLEAR],
        {NO},
    ),
    "a tiny fall": (10 ** (-0.002 * np.arange(5) / 4), {"spread": 1e-4}, [NO, YES, YES, UNCLEAR], {YES}),
    "still falls at the latest": ([1.5, 1.45, 1.4, 1.3, 1.1], {}, [YES] * 3 + [OPEN], {YES}),
    "the last doubling gains a quarter": (10 ** (-0.05 * np.arange(5)), {}, [YES] * 3 + [UNCLEAR], {YES}),
    "rises at the last doubling": ([1.6, 1.4, 1.2, 1.0, 1.2], {}, [YES] * 3 + [NO], {YES, NO}),
    "an optimum in the middle": ([1.0, 0.8, 0.6, 0.9, 0.9], {}, [YES] * 4, {YES, NO}),
    "early times are not fitted": ([0.5, 1.3, 1.1, 1.0, 1.0], {"fitted": [0.9, 1, 1, 1, 1]}, [YES] * 4, {YES}),
    "hardly any is fitted": (FALLING, {"fitted": [0.9, 0.9, 0.9, 1, 1]}, [OPEN, YES, OPEN, OPEN], set()),
}


@pytest.mark.parametrize("case", LD1)
def test_ld1(case: str) -> None:
    levels, options, verdicts, steps = LD1[case]
    assert judged(networks(levels, **options)) == (verdicts, steps)


def test_ld1_an_optimum_in_the_middle_contradicts_at_its_step() -> None:
    found = checked("LD1", networks([1.0, 0.8, 0.6, 0.9, 0.9]))
    assert (found.verdict, found.headline.name) == (NO, "4 to 8: rise less a quarter of the fall")
    assert found.headline.value == pytest.approx(np.log10(1.5) - np.log10(1 / 0.9) / 4, abs=0.005)


def test_ld1_counts_the_draws_that_ended_and_says_no_nan() -> None:
    found = checked("LD1", networks(FALLING, lost=True))
    (fall,) = (part for part in found.parts if part.name == FALL)
    assert (fall.seeds, fall.asked, fall.verdict) == (4, 5, "supported")
    assert "nan" not in found.note
    assert checked("LD1", networks(np.full(5, np.nan))).verdict == "undetermined"


def test_ld1_reports_the_other_loss() -> None:
    results = networks(FALLING)
    results.sweeps["cross_entropy"] = swept([2.0, 1.5, 1.2, 1.0, 1.0])
    values = {part.name: part.value for part in checked("LD1", results).parts}
    assert values["cross-entropy: earliest over latest"] == pytest.approx(np.log10(2), abs=0.01)


def paths(**arrays: Any) -> SubPaths:
    """Three times, two seeds, four logging intervals."""
    ones = np.ones((3, 2))
    named = dict.fromkeys(("test", "accuracy", "train", "fitted", "before"), ones)
    ways = dict.fromkeys(("test_on_way", "train_on_way"), np.ones((3, 2, 4)))
    return SubPaths(**{"at": np.array([1.0, 2.0, 4.0]), **named, **ways, **arrays})


def test_test_losses_are_compared_at_equal_training_loss() -> None:
    """All three follow one curve of test loss over training loss; the latest goes furthest. Nothing is left at equal loss."""
    train = np.array([[1.0, 0.5, 0.25, 0.2], [1.0, 0.4, 0.2, 0.1], [0.4, 0.2, 0.1, 0.01]])
    train = train[:, None] * np.array([1.0, 0.1])[:, None]  # each draw has a level of its own
    found = paths(test=train[..., -1], test_on_way=train, train_on_way=train)
    np.testing.assert_allclose(found.fall, np.log10(0.2 / 0.01))
    np.testing.assert_allclose(found.fall_at_equal_loss, 0, atol=0.01, err_msg="read at 0.21, and 0.021")
    lower = np.array([1, 1, 0.5])[:, None, None] * train
    found = paths(test=lower[..., -1], test_on_way=lower, train_on_way=train)
    np.testing.assert_allclose(found.fall_at_equal_loss, np.log10(2), atol=0.01)


def test_a_sub_path_that_begins_below_the_level_says_nothing() -> None:
    """It would be read at a lower training loss: a fall of test loss that is none at equal loss."""
    train = np.repeat(np.array([[1.0, 0.5, 0.25, 0.2], [1.0, 0.4, 0.2, 0.1], [0.4, 0.2, 0.1, 0.01]])[:, None], 2, 1)
    train[2, 0] = [0.05, 0.04, 0.03, 0.01]
    found = paths(test=train[..., -1], test_on_way=train, train_on_way=train).fall_at_equal_loss
    assert np.isnan(found).tolist() == [True, False]
    train[1, 1, -1] = 0.0
    assert np.isnan(paths(test_on_way=train, train_on_way=train).fall_at_equal_loss).all(), "there is no level"


@pytest.mark.parametrize(("lost", "verdict"), [(1, "supported"), (2, "undetermined")])
@pytest.mark.parametrize("why", ["never", "at once"])
def test_ld1_at_equal_loss_needs_most_draws(lost: int, verdict: str, why: str) -> None:
    """Draws whose early sub-path never comes down to the other one's loss, or of which nobody saw it come down."""
    results = networks(FALLING)
    way = results.sweeps["equal_loss"]["long/train_loss"].values
    way[:, :, :lost] = 2.0 if why == "never" else 0.9
    assert by_name(checked("LD1", results))[EQUAL] == verdict


def test_the_early_sub_path_is_read_where_it_comes_down_to_the_other_ones_loss() -> None:
    """Its test loss is 5, 3, 2, 7 on its way; the other one ends at a test loss of 1 and training losses of 0.5 and 0.2."""
    way = np.array([1.0, 0.5, 0.2, 0.1])
    early = paths(
        train_on_way=np.broadcast_to(way, (1, 2, 4)), test_on_way=np.broadcast_to([5.0, 3.0, 2.0, 7.0], (1, 2, 4))
    )
    later = paths(train=np.array([[0.5, 0.2]]), test=np.ones((1, 2)), fitted=np.ones((1, 2)))
    np.testing.assert_allclose(fall_at_the_end_of(later, early), np.log10([3, 2]))
    ended_at_zero = replace(later, train=np.array([[0.5, 0.0]]))
    assert np.isnan(fall_at_the_end_of(ended_at_zero, early)).tolist() == [False, True]
    with pytest.raises(Undetermined, match=r"95\.0% of the training images are fitted, 99% are needed"):
        fall_at_the_end_of(replace(later, fitted=np.full((1, 2), 0.95)), early)


def test_ld1_says_which_decays_count_and_what_was_lower_before() -> None:
    """Accuracy is that of counted times alone."""
    results = networks([0.5, 1.3, 1.1, 1.0, 1.0], fitted=[0.9, 1, 1, 1, 1])
    accuracy = results.sweeps["mse"]["cooldown/test_accuracy"].values
    accuracy[:] = np.array([0.1, 0.5, 0.5, 0.5, 0.52]).reshape(1, 5, *[1] * (accuracy.ndim - 2))
    note = checked("LD1", results).note
    assert note.startswith(
        "Counted are decays at 2 to 16: test accuracy +2.00 points. Lower than there, before the images are fitted: at 1."
    )
    hardly = checked("LD1", networks(FALLING, fitted=0.9)).note
    assert hardly.startswith("No decay counts: the training set is fitted to 99% after 0 of 5 decays")


def test_trends_and_correlations() -> None:
    test = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]])
    found = paths(test=test, before=10 * test)
    assert found.trend.tolist() == [-1.0, 1.0]
    np.testing.assert_allclose(found.correlation, [1.0, 1.0])
    assert np.isnan(paths(test=test).correlation).all(), "the main path's is constant"
    np.testing.assert_allclose(found.last_doubling, np.log10([2.0, 2 / 3]))


def test_sub_paths_are_read_from_a_result() -> None:
    result = swept(FALLING)
    found = SubPaths.of(result, "cooldown")
    assert found.at.tolist() == list(AT)
    np.testing.assert_array_equal(found.test, result["cooldown/test_loss"].values[0, ..., 0, -1])
    main = result["pretrain/test_loss"].values[0, :, 0]
    np.testing.assert_array_equal(found.before[3], main[:, 7])
    with pytest.raises(Undetermined, match="fitted to 99% after 0 of 5 decays, 3 are needed"):
        SubPaths.of(swept(FALLING, fitted=0.5), "cooldown").finished()


# -- LD2 and LD3 ---------------------------------------------------------------------------------------------------------


def planes(**options: Any) -> PlantedResults:
    return PlantedResults({"mse": swept(FALLING)}, {"planes": surfaces(**options)})


@pytest.mark.parametrize(
    ("options", "train", "test"),
    [
        ({}, "supported", "supported"),
        ({"verdicts": ("closed", "open")}, "contradicted", "contradicted"),
        ({"verdicts": ("undetermined", "closed")}, "undetermined", "supported"),
        ({"verdicts": ("undetermined",) * 2}, "undetermined", "undetermined"),
        ({"rises": (np.nan, np.inf)}, "supported", "supported"),
        ({"rises": (0.0, 2.0)}, "undetermined", "supported"),
        ({"rises": (0.1, 0.0), "verdicts": ("open", "open")}, "supported", "undetermined"),
        ({"draws": 5}, "inconclusive", "inconclusive"),
        ({"beside": 1.1}, "undetermined", "undetermined"),
    ],
)
def test_ld2(options: dict[str, Any], train: str, test: str) -> None:
    """Draws are counted; a small frame, in which what seems open is undetermined, a lowest point at the frame (a pass of height
    0) and a surface far from its path say nothing."""
    found = checked("LD2", planes(**{"draws": 10, **options}))
    assert [part.verdict for part in found.parts] == [train, test, *[REPORTED] * 4]
    assert "40% and 40%" in found.note
    assert "nan" not in found.note


@pytest.mark.parametrize(
    ("silent", "bad", "verdict"),
    [(0, 1, "supported"), (1, 0, "supported"), (2, 0, "undetermined"), (0, 5, "inconclusive"), (1, 9, "contradicted")],
)
def test_ld2_counts_draws(silent: int, bad: int, verdict: str) -> None:
    results = planes(draws=10)
    made = results.measurements["planes"]["verdict"].values
    made[:bad, 1] = "open"
    made[bad : bad + silent, 1] = "undetermined"
    found = checked("LD2", results).parts[1]
    assert (found.verdict, found.seeds, found.asked) == (verdict, 10 - silent, 10)


@pytest.mark.parametrize(
    ("rises", "verdict"), [((0.1, 3.0), "supported"), ((0.2, 1.5), "undetermined"), ((0.6, 0.4), "contradicted")]
)
def test_ld2_reports_both_sets_at_the_other_ones_height(rises: tuple[float, float], verdict: str) -> None:
    """The training level is twice its lowest loss, the test level 1.5 times: exchanged, passes are 2 and 1/2 times as high."""
    found = checked("LD2", planes(draws=10, rises=rises))
    assert found.verdict == "supported", "beside the claim"
    for one in found.parts[2:4]:
        assert (one.verdict, one.note.split(";")[0]) == (REPORTED, f"by the same rule {verdict}")


@pytest.mark.parametrize(("beside", "held"), [(0.0, 1.0), (1.0, 0.5), (3.0, 0.1)])
def test_what_a_surface_holds_of_its_checkpoints(beside: float, held: float) -> None:
    """Checkpoints whose distance from it is as large as their spread on it: half of the variance."""
    np.testing.assert_allclose(effects_planes.held(surfaces(beside=beside)), held)


@pytest.mark.parametrize(
    ("options", "main", "ends"),
    [
        ({}, "supported", "supported"),
        ({"main": (0.4, 1.6)}, "contradicted", "supported"),
        ({"ends": (0.3, 1.2)}, "supported", "contradicted"),
        ({"lowest": (0, 2)}, "undetermined", "undetermined"),
        ({"draws": 2}, "undetermined", "undetermined"),
        ({"beside": 1.1}, "undetermined", "undetermined"),
    ],
)
def test_ld3(options: dict[str, Any], main: str, ends: str) -> None:
    found = checked("LD3", planes(**options))
    assert [part.verdict for part in found.parts] == [main, ends, *[REPORTED] * 4]
    assert found.note.startswith("Not judged: that it runs along the manifold")


def test_ld3_reports_controls() -> None:
    """The lowest training loss lies at the place of the last snapshot, half as far from the origin as the first of the ends."""
    results = planes(main=(1.6, 0.6), ends=(1.2, 0.3))
    made = results.measurements["planes"]
    made["x"].values[:] = 0.6 * np.array([-1.2, -0.6, 0.6, 1.2, 1.6])
    made["y"].values[:] = 0.8 * np.array([-1.2, -0.6, 0.6, 1.2, 1.6])
    made["train_loss"].values[:, 2, 2] = 0.1
    found = {part.name: part.value for part in checked("LD3", results).parts}
    toward = np.log10(0.6 / 0.3)
    assert found["ends, to the lowest training loss"] == pytest.approx(toward, abs=0.03)
    assert found["ends, to the main path's last snapshot"] == pytest.approx(toward, abs=0.001)
    assert found["so do the sub-paths' ends"] == pytest.approx(np.log10(4))
    assert found["distance of the latest end, over the paths' extent"] == pytest.approx(0.3 / (0.8 * 1.3), abs=0.001)


def test_ld2_reports_passes_whatever_the_level() -> None:
    """Lowest losses are 0.1 and 1, passes 0.1 and 2 times the heights of 0.1 and 0.5 above them."""
    found = checked("LD2", planes(draws=10))
    values = {part.name: part.value for part in found.parts}
    assert values["training loss: pass over the lowest"] == pytest.approx(np.log10(1.1), abs=1e-3)
    assert values["test loss: pass over the lowest"] == pytest.approx(np.log10(2), abs=1e-3)
    assert found.note.startswith(
        "A level set is closed up to so many times its loss's lowest value (geometric means): training loss: 1.1;"
    )


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("lost", [1, 2])
def test_paths_of_which_many_draws_say_nothing_are_undetermined(lost: int, far: bool) -> None:
    """Of five draws one may; those that are left of three are no fair choice."""
    results = planes()
    made = results.measurements["planes"]
    if far:
        made["off"].values[:lost] *= 3
    else:
        made["minimum"].values[:lost] = np.nan  # at the widest frame
    verdicts = {part.verdict for part in checked("LD3", results).parts[:2]}
    assert verdicts == {"supported" if lost == 1 else "undetermined"}


def test_ld3_does_not_count_phase_one() -> None:
    """The first snapshot is far away, with a high loss; from the late level on the main path goes away again."""
    found = checked("LD3", planes(main=(0.4, 1.2), early=1.8)).parts[0]
    assert (found.verdict, found.value) == ("contradicted", pytest.approx(-np.log10(3)))
    late = planes()
    late.measurements["planes"]["own_train_loss"].values[:, :3] = 1.0
    assert checked("LD3", late).parts[0].verdict == "undetermined", "no way is left"


def test_ld3_does_not_begin_at_one_lucky_snapshot() -> None:
    """At the late level, above it, and at it twice: not yet three in a row."""
    results = planes()
    results.measurements["planes"]["own_train_loss"].values[:, :2] = [0.1, 1.0]
    assert checked("LD3", results).parts[0].verdict == "undetermined"
    low = np.array([[0, 1, 0, 1, 1, 1, 0, 1], [1, 1, 1, 0, 1, 1, 1, 1], [1, 1, 0, 1, 1, 0, 1, 1]], dtype=bool)
    assert effects_planes._came_to_level(low).tolist() == [3, 0, 7]
    assert effects_planes._came_to_level(low[:, 3:5]).tolist() == [1, 1, 1], "there are but two"


def test_ld3_reports_how_many_snapshots_stay_at_the_late_level() -> None:
    results = planes()
    made = results.measurements["planes"]
    made["epoch"].values[:4] = [1, 13, 14, 16]  # the last three are the last quarter
    made["own_train_loss"].values[:, :4] = [0.1, 0.1, 0.1, 1.0]
    made["own_train_loss"].values[0, :4] = [0.1, 1.0, 0.1, 0.1]
    found = checked("LD3", results)
    assert found.numbers["at_late_level"] == [None, *[0.75] * 4]
    assert "75% of its snapshots" in found.note


def test_ld3_reads_the_ends_that_are_minima() -> None:
    """The distances of the ends are 1.2, 0.9, 0.6, 0.9 and 0.3; the last fits too little."""
    results = planes()
    made = results.measurements["planes"]
    for name, part in (("at_x", 0.6), ("at_y", 0.8)):
        made[name].values[:, 4:] = part * np.array([1.2, 0.9, 0.6, 0.9, 0.3])
    results.sweeps["mse"] = swept(FALLING, fitted=[0.9, 1, 1, 1, 0.9])
    ends = checked("LD3", results).parts[1]
    assert ends.value == pytest.approx(0, abs=1e-9), "from 0.9 to 0.9"
    results.sweeps["mse"] = swept(FALLING, fitted=[1, 1, 1, 1, 0.9])
    assert checked("LD3", results).parts[1].value == pytest.approx(np.log10(1.2 / 0.9))
    results.sweeps["mse"] = swept(FALLING, fitted=[0.9, 0.9, 1, 1, 0.9])
    assert [part.verdict for part in checked("LD3", results).parts[:2]] == ["supported", "undetermined"]


@pytest.mark.parametrize(("at", "wider"), [(0.4, 1), (2.5, 2), (7.0, 4), (20.0, 4)])
def test_wider_frames_are_drawn_until_the_lowest_test_loss_lies_inside(at: float, wider: int) -> None:
    """Checkpoints from -1 to 1, so that a frame with room of half of that ends at 2, 4 and 8."""
    drawn: list[float] = []

    def of(margin: float) -> xr.Dataset:
        drawn.append(margin)
        axis = (1 + 2 * margin) * np.linspace(-1, 1, 81)
        return xr.Dataset({"test_loss": (("y", "x"), (axis[:, None] - at) ** 2 + axis**2)}, {"x": axis, "y": axis})

    place, times = lowest_test_loss(of(0.5), 0.5, of)
    assert (drawn, times) == ([0.5, 1.5, 3.5][: {1: 1, 2: 2, 4: 3}[wider]], wider)
    np.testing.assert_allclose(place, [np.nan, np.nan] if at > 8 else [0, at], atol=0.1)


def test_distances_are_those_from_the_lowest_test_loss() -> None:
    found = effects_planes.main_path_approaches(surfaces(draws=3))
    np.testing.assert_allclose(found, np.log10(1.6 / 0.4))
    moved = effects_planes.ends_approach(surfaces(draws=3, lowest=(2, 3)), 1, 16)  # at x = 1, y = 0
    away = [np.hypot(0.6 * r - 1, 0.8 * r) for r in (1.2, 0.3)]
    np.testing.assert_allclose(moved[1], np.log10(away[0] / away[1]))


# -- LD4 -----------------------------------------------------------------------------------------------------------------


def model(changes: dict[float, dict[str, float]] | None = None) -> PlantedResults:
    return modelled(curves(changes))


def of_model(results: PlantedResults) -> dict[str, str]:
    """Verdicts of LD4's judged parts."""
    found = by_name(checked("LD4", results))
    without_noise = [name for name in found if name.startswith("label noise 0")]
    assert [found.pop(name) for name in without_noise] == [REPORTED] * len(PHASED)
    return found


def test_ld4_as_the_paper_has_it() -> None:
    found = checked("LD4", model())
    assert set(of_model(model()).values()) == {"supported"}
    assert len(found.parts) == 8 * len(PHASED) + 1 + len(PHASED)
    assert found.numbers["without_noise"]["lr 0.005"]["2"]["shrinks"] == pytest.approx(0.1)
    assert "gamma 1: 1.00" in found.note
    assert "without it, reported, by 0.1 to 0.1." in found.note


@pytest.mark.parametrize(
    ("effect", "value", "part"),
    [
        ("reaches", 0.2, "I reaches the manifold"),
        ("before", 0.4, "I, change of the excess norm less 0.2 of II's fall"),
        ("before", -0.4, "I, change of the excess norm less 0.2 of II's fall"),
        ("shrinks", 0.3, "II, fall of the excess norm"),
        ("generalises", -0.2, "II, fall of the test loss"),
        ("after", 0.2, "III, change of the excess norm less 0.05 of II's fall"),
        ("after", -0.2, "III, change of the excess norm less 0.05 of II's fall"),
        ("refines", 0.2, "III, fall of the training loss"),
    ],
)
def test_ld4_each_part_can_be_contradicted(effect: str, value: float, part: str) -> None:
    found = of_model(model({2.0: {effect: value}}))
    assert found[f"gamma 2: {part}"] == "contradicted"
    others = {name: verdict for name, verdict in found.items() if name != f"gamma 2: {part}"}
    assert set(others.values()) == {"supported"}


def test_ld4_one_data_set_that_hardly_moves_does_not_decide() -> None:
    """Its change in phase I is 100 times that in phase II; the other nineteen have none in phase I."""
    made = curves()
    made["destination"].values[2, 0, 0, 2:] = 10**-0.1
    made["destination"].values[2, 0, 0, DECAYS:] = 10**-0.101
    found = {part.name: part for part in checked("LD4", modelled(made)).parts}
    one = found["gamma 2: I, change of the excess norm less 0.2 of II's fall"]
    assert (one.verdict, one.per_seed[0]) == ("supported", pytest.approx(0.1 - 0.2 * 0.001))


@pytest.mark.parametrize("phase", ["before", "shrinks", "after"])
def test_ld4_a_linear_model_that_moves_voids_the_claim(phase: str) -> None:
    """It cannot move: the simulation is wrong, whatever else it shows."""
    assert set(of_model(model({0.0: {phase: 1e-6}, 1.0: {"shrinks": 0.3}})).values()) == {"undetermined"}


ARRIVES = "gamma 2: I, data sets that reach the manifold"
ENDS = "gamma 2: II, ends at the minimum-norm solution"


@pytest.mark.parametrize(
    ("lost", "verdict"), [(0, "supported"), (6, "inconclusive"), (12, "inconclusive"), (17, "contradicted")]
)
def test_ld4_counts_the_data_sets_that_reach_the_manifold(lost: int, verdict: str) -> None:
    """Above 3/4 it is supported, below 1/2 contradicted; between them it is neither."""
    made = curves()
    made["loss"].values[2, 0, :lost] = 1.0
    assert of_model(modelled(made))[ARRIVES] == verdict
    assert of_model(modelled(curves(seeds=2)))[ARRIVES] == "undetermined"


@pytest.mark.parametrize(
    ("far", "moving", "verdict"),
    [(0, 0, "supported"), (10, 0, "inconclusive"), (20, 0, "contradicted"), (12, 12, "undetermined")],
)
def test_ld4_phase_two_has_to_end_at_the_minimum_norm_solution(far: int, moving: int, verdict: str) -> None:
    made = curves()
    made["destination"].values[2, 0, :far, DECAYS:] = 1.2  # 8% of its norm
    made["destination"].values[2, 0, :far, HALF] = 1.2
    made["destination"].values[2, 0, :moving, HALF] = 2.0
    assert of_model(modelled(made))[ENDS] == verdict


def test_ld4_says_nothing_of_a_gamma_that_overflows() -> None:
    made = curves()
    for name in ("off", "destination", "loss", "test_loss"):
        made[name].values[1, 0, :6, 4:] = np.nan  # gamma 1, six of twenty
    found = of_model(modelled(made))
    of_one = {name: verdict for name, verdict in found.items() if name.startswith("gamma 1")}
    assert of_one.pop("gamma 1: I, data sets that reach the manifold") == "inconclusive"
    assert set(of_one.values()) == {"undetermined"}
    assert {verdict for name, verdict in found.items() if not name.startswith("gamma 1")} == {"supported"}
    made["off"].values[1, 0], made["off"].values[0, 0] = np.nan, np.nan
    found = checked("LD4", modelled(made))
    assert by_name(found)["gamma 0: excess norm"] == "undetermined"
    assert "nan" not in found.note


def test_ld4_of_unlike_data_sets_is_inconclusive() -> None:
    made = curves()
    fall = np.tile([0.1, 2.0, 0.1, 0.1], 5)
    made["destination"].values[2, 0, :, 5:] = 10 ** -fall[:, None]
    found = of_model(modelled(made))
    assert found["gamma 2: II, fall of the excess norm"] == "inconclusive"


# -- LD5 -----------------------------------------------------------------------------------------------------------------


def test_ld5_supported_contradicted_inconclusive() -> None:
    assert checked("LD5", counted({})).verdict == "supported"
    found = checked("LD5", counted({6.0: 73}))
    judged = {f"gamma {g:g}": "contradicted" if g == 6 else "supported" for g in COUNTED}
    assert by_name(found) == judged | {f"N = 4, gamma {g}": REPORTED for g in (3, 4)}
    assert "Below the bound: gamma 6." in found.note
    assert "not the theorem" in found.note
    at_bound = round(200 * float(success_bound(2.0)))
    assert checked("LD5", counted({2.0: at_bound})).headline.name == "gamma 2"
    assert checked("LD5", counted({2.0: at_bound})).verdict == "inconclusive"
    assert checked("LD5", counted({}, seeds=2)).verdict == "undetermined"


@pytest.mark.parametrize(
    ("gamma", "runs", "supports", "refutes"), [(4, 400, 336, 297), (5, 1000, 936, 893), (6, 1000, 983, 957)]
)
def test_ld5_counts_are_those_of_its_criterion(gamma: float, runs: int, supports: int, refutes: int) -> None:
    def verdict(good: int) -> str:
        return binomial_part("p", good, runs, above=float(success_bound(gamma)), parts=len(COUNTED)).verdict

    found = [verdict(good) for good in (supports, supports - 1, refutes + 1, refutes)]
    assert found == ["supported", "inconclusive", "inconclusive", "contradicted"]
    criterion = next(claim.criterion for claim in STUDY.claims if claim.id == "LD5")
    assert f"{supports:,} of {runs:,}" in criterion
    assert f"at {refutes}" in criterion or f"at {refutes} or fewer" in criterion
    assert options("laptop")["success" if gamma > 4 else "model"]["seeds"] == runs


def test_ld5_reports_few_examples() -> None:
    results = counted({})
    results.measurements["few"]["destination"].values[0, 0, :, HALF:] = 1.0
    found = {part.name: part for part in checked("LD5", results).parts}
    assert found["N = 4, gamma 3"].note.startswith("by the same rule contradicted")
    assert found["N = 4, gamma 4"].note.startswith("by the same rule supported")
    assert "(reported): gamma 3: 0 of 200 that say something; gamma 4: 200 of 200" in checked("LD5", results).note
    assert checked("LD5", results).verdict == "supported"


def test_ld5_counts_what_says_nothing_against_both_verdicts() -> None:
    """Dead runs, runs that overflow and such as still move; the bound is 0.97."""
    results = counted({6.0: 73})
    made = results.measurements["success"]
    made["loss"].values[-1, 0, -30:, -1] = 1.0
    made["destination"].values[-1, 0, -50:-30, 3:] = np.nan
    made["destination"].values[-1, 0, -60:-50, HALF] = 1.2
    found = checked("LD5", results)
    (part,) = (part for part in found.parts if part.name == "gamma 6")
    assert (part.verdict, part.value, part.seeds, part.asked) == ("contradicted", 73 / 140, 140, 200)
    assert part.note == "10 still moving; 30 dead; 20 overflowed; 73 of 140; 60 more say nothing"
    assert found.numbers["dead"]["6"] == 30
    assert (found.numbers["runs"]["6"], found.numbers["succeeded"]["6"]) == (200, 73)


@pytest.mark.parametrize("good", [140, 200])
def test_ld5_says_nothing_where_dead_runs_decide(good: int) -> None:
    """Be their destinations, which are frozen, near the minimum-norm interpolator or not."""
    results = counted({6.0: good})
    made = results.measurements["success"]
    made["loss"].values[-1, 0, 140:, -1] = 1.0
    found = checked("LD5", results)
    (part,) = (part for part in found.parts if part.name == "gamma 6")
    assert part.verdict == "undetermined"
    assert "60 dead" in part.note
    assert "Below the bound" not in found.note


@pytest.mark.parametrize(("before", "verdict"), [(1.0, "contradicted"), (1.2, "undetermined")])
def test_ld5_is_not_refuted_by_runs_that_are_on_their_way(before: float, verdict: str) -> None:
    results = counted({6.0: 73})
    results.measurements["success"]["destination"].values[-1, 0, :, HALF] = before
    assert by_name(checked("LD5", results))["gamma 6"] == verdict


@pytest.mark.parametrize("scale", STUDY.scales)
@pytest.mark.parametrize("name", sorted({*COUNTED.values(), "few"}))
def test_ld5_medians_are_over_as_many_times_as_its_criterion_says(scale: str, name: str) -> None:
    found = options(scale)[name]
    steps, even = found["setting"]["steps"], found["even"]
    passed = np.array([round(steps * k / even) for k in range(even + 1)]) / steps
    assert min((np.abs(passed - 0.5) <= 0.05).sum(), (passed >= 0.9).sum()) >= 4
    assert "at least four recorded times" in next(claim.criterion for claim in STUDY.claims if claim.id == "LD5")


# -- LD6 -----------------------------------------------------------------------------------------------------------------


def test_ld6_finds_planted_powers() -> None:
    planted = {0.5: 0.5, 2.0: 1.0, 4.0: 2.0}
    found = checked("LD6", PlantedResults({}, {"speed": speeds(planted)}))
    for part, power in zip(found.parts, planted.values(), strict=True):
        assert part.value == pytest.approx(power, abs=0.05)
        assert (part.verdict, part.seeds) == (REPORTED, 4)


def test_ld6_of_runs_that_never_arrive_says_nothing() -> None:
    made = speeds({1.0: 1.0})
    made["off"].values[:] = np.nan
    (part,) = checked("LD6", PlantedResults({}, {"speed": made})).parts
    assert part.seeds == 0


@pytest.mark.parametrize(("lost", "seeds"), [(2, 1), (3, 0)])
def test_ld6_counts_what_it_leaves_out(lost: int, seeds: int) -> None:
    """Of twelve runs one goes backward, and others do not reach the manifold: with four in all there is no power."""
    made = speeds({1.0: 1.0})
    made["destination"].values[0, 0, 0, 0] = made["destination"].values[0, 0, 0, 0, ::-1].copy()
    made["off"].values[0, 0, 0, 1 : 1 + lost] = np.nan
    found = checked("LD6", PlantedResults({}, {"speed": made}))
    assert found.numbers["left_out"] == {"1": {"silent": lost, "backward": 1, "runs": 12}}
    assert f"gamma 1: {lost} and 1 of 12." in found.note
    (part,) = found.parts
    assert (part.verdict, part.seeds) == (REPORTED, seeds)
    assert part.note == ("" if seeds else "4 of 12 runs have no speed above 0")


# -- LD7 -----------------------------------------------------------------------------------------------------------------


OF_DIAGONAL = ("diagonal: constant", "diagonal: linear")


def test_ld7_puts_schedules_side_by_side() -> None:
    network = {"constant": 3.0, "linear": 2.0, "wsd:0.2": 1.0}
    model = {"wsd:0.2": 4.0, "constant": 8.0, "linear": 2.0}
    found = checked("LD7", courses(network, model))
    values = {part.name: part.value for part in found.parts}
    assert {part.verdict for part in found.parts} == {REPORTED}
    for after in ("", ", those to 0"):
        order = [f"{name}: order by squared rates{after}" for name in ("network", "gamma 2", "diagonal")]
        assert [values.pop(name) for name in order] == [-1, 1, 1], "the late decay has the larger ones"
    assert values.pop("gamma 2, excess norm: order by squared rates") == 1
    assert list(values) == [
        "network: constant",
        "network: linear",
        "gamma 2: constant",
        "gamma 2: linear",
        *OF_DIAGONAL,
    ]
    expected = [-np.log10(3), *[-np.log10(2), -np.log10(2), np.log10(2)], *[-np.log10(2), np.log10(2)]]
    np.testing.assert_allclose(list(values.values()), expected, atol=0.02)
    assert "network: wsd:0.2; gamma 2: linear; diagonal: linear" in found.note
    assert "differ by at most 0 decades" in found.note


def test_schedules_are_ranked_by_their_squared_rates() -> None:
    (branch,) = sweeps("laptop")["schedules"].config.branches
    found = {name: effects_schedules.squared_rates(name) for name in branch.schedules}
    exact = {
        "wsd:0.2": 0.8 + 0.2 / 6,
        "cosine": 3 / 8,
        "linear": 1 / 3,
        "1-sqrt": 1 / 6,
        "step:0.1@0.1": 0.1 + 0.9 / 100,
    }
    assert {name: found[name] for name in exact} == pytest.approx(exact, rel=1e-3)
    ends = {name: np.array([1 / rate, rate]) for name, rate in found.items()}
    assert effects_schedules.order(ends).tolist() == [-1, 1]
    assert effects_schedules.order(ends | {"constant": np.array([9.0, 9.0])}).tolist() == [-1, 1], "it never comes down"


def test_schedules_that_come_to_zero_are_ranked_by_themselves() -> None:
    """The others, whose squared rates are small, would turn the order round."""
    (branch,) = sweeps("laptop")["schedules"].config.branches
    ends = {name: np.array([1 / effects_schedules.squared_rates(name)]) for name in branch.schedules}
    ends |= {name: np.array([0.0]) for name in ("step:0.1@0.1", "exponential:0.01", "cyclic:0.01@4")}
    alone = effects_schedules.to_zero(ends | {"constant": np.array([0.0])})
    assert set(alone) == {"wsd:0.2", "1-sqrt", "linear", "cosine"}
    assert effects_schedules.order(alone).tolist() == [-1]
    assert effects_schedules.order(ends)[0] > -0.5


def test_ld7_reads_the_excess_norm_apart_from_the_test_loss() -> None:
    results = courses({"constant": 3.0, "linear": 2.0, "wsd:0.2": 1.0}, {"wsd:0.2": 4.0, "linear": 2.0})
    results.measurements["courses"]["destination"] = 1 / results.measurements["courses"]["test_loss"]
    found = {part.name: part.value for part in checked("LD7", results).parts}
    assert (found["gamma 2: order by squared rates"], found["gamma 2, excess norm: order by squared rates"]) == (1, -1)


def test_schedules_of_like_squared_rates_have_no_order() -> None:
    """Linear and cyclic differ by 1%, exponential and early decay by less; cosine and cyclic by 10%."""
    (branch,) = sweeps("laptop")["schedules"].config.branches
    ends = {name: np.array([1 / effects_schedules.squared_rates(name)]) for name in branch.schedules}
    for first, second in (("linear", "cyclic:0.01@4"), ("exponential:0.01", "step:0.1@0.1")):
        assert effects_schedules.order(ends | {first: ends[second], second: ends[first]}).tolist() == [-1]
    swapped = {"cosine": ends["cyclic:0.01@4"], "cyclic:0.01@4": ends["cosine"]}
    assert effects_schedules.order(ends | swapped)[0] > -1


def test_ld7_leaves_out_runs_that_overflow() -> None:
    results = courses({"constant": 3.0, "linear": 2.0, "wsd:0.2": 1.0}, {"wsd:0.2": 4.0, "linear": 2.0})
    results.measurements["courses"]["test_loss"].values[1, 1, 0] = np.nan
    found = checked("LD7", results)
    (part,) = (part for part in found.parts if part.name == "gamma 2: linear")
    assert (part.seeds, part.asked) == (2, 3)
    assert part.value == pytest.approx(np.log10(2))
    assert "nan" not in found.note


# -- end to end ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_smoke_runs_from_end_to_end(tmp_path: Path) -> None:
    """Every claim is judged by its criterion and every figure is drawn."""
    reproduction = Reproduction(STUDY, "smoke", tmp_path, engine=EngineConfig(jobs=1), quiet=True)
    scale = STUDY.scales["smoke"]
    reproduction.prepare([part.name for part in scale.parts])
    for claim in STUDY.claims:
        found = reproduction.check(claim)
        assert "nan" not in found.note
        assert all(part.asked in (0, 3, 4) for part in found.parts if part.per_seed), claim.id
    for figure in figures_at(STUDY, "smoke"):
        check_drawn(reproduction.chart(figure))
