"""When to decay: the rule of saturation on arrays, curves of planted results, misuse, the command and the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from chart_examples import check_drawn
from fake_results import fake_map
from lrscope import Branch, LrscopeError, SweepConfig, decay_curve
from lrscope.charts import Line, Points
from lrscope.cli import app
from lrscope.config.settings import load_settings
from lrscope.decay import decay_curves
from lrscope.decay.saturation import better_than_last, mean_interval, saturation
from lrscope.engine.segments import phases
from lrscope.reporting.decay_chart import decay_chart, reported
from lrscope.reporting.figures import drawings
from lrscope.results import save_result
from planted_decay import AT, FALLING, main_path, noisy, planted, with_decay
from trees import with_node

NAN = np.nan
MARGIN, DRAWS = 2.0, 200
# costs by time, and the first time from which waiting gains at most the margin
CURVES: dict[str, tuple[list[float], int]] = {
    "falls and saturates": ([30, 20, 10, 1, 0, 0], 3),
    "never does": ([50, 40, 30, 20, 10, 0], 5),
    "is flat": ([0, 0, 0, 0, 0, 0], 0),
    "rises again": ([30, 10, 0, 4, 9, 15], 2),  # too late a decay has no time to end well
    "rises from the start": ([0, 5, 10, 15, 20, 25], 0),
    "dips and comes back": ([30, 1, 20, 10, 1, 0], 1),  # from the dip on waiting gains nothing
    "small steps add up": ([6, 4.5, 3, 1.5, 0, 0], 3),  # each is within the margin, not what waiting for the end gains
}


@pytest.mark.parametrize("case", CURVES)
def test_where_a_curve_without_noise_saturates(case: str) -> None:
    """Seeds differ, each by the same at all times: paired gains are known exactly, and the interval is one cell."""
    levels, first = CURVES[case]
    found = saturation(np.array(levels)[:, None] + np.array([0.0, 7.0, -40.0]), MARGIN)
    assert found is not None
    assert found.first == first
    assert found.early == first - 1
    known = {"dips and comes back": 4, "never does": None}  # times are asked from the last one down
    assert found.late == known.get(case, first)


def test_two_units_determine_nothing() -> None:
    assert saturation(np.zeros((4, 2)), MARGIN) is None
    mean, low, high = mean_interval(np.array([1.0, 3.0]))
    assert (float(mean), np.isnan(low), np.isnan(high)) == (2.0, True, True)


def test_intervals_are_students() -> None:
    values = np.random.default_rng(0).normal(size=(3, 6))
    mean, low, high = mean_interval(values)
    for k, row in enumerate(values):
        expected = stats.t.interval(0.95, 5, row.mean(), stats.sem(row))
        np.testing.assert_allclose([mean[k], low[k], high[k]], [row.mean(), *expected])


@pytest.mark.parametrize("seeds", [3, 5, 12])
@pytest.mark.parametrize("case", CURVES)
def test_the_interval_covers_the_true_place(case: str, seeds: int) -> None:
    """At least 95%, whatever the curve: the truth lies after the last time shown too early and not after the first one shown
    late enough. The noise is as large as the margin; what a seed adds to all times is larger."""
    levels, first = np.array(CURVES[case][0]), CURVES[case][1]
    rng, inside = np.random.default_rng(1), 0
    for _ in range(DRAWS):
        found = saturation(levels[:, None] + rng.normal(0, 9, seeds) + rng.normal(0, 2, (len(levels), seeds)), MARGIN)
        assert found is not None
        late = len(levels) - 1 if found.late is None else found.late
        inside += found.early < first <= late
        assert found.early < found.first <= late, "the estimate lies in the interval"
    assert inside / DRAWS > 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / DRAWS)


def test_a_time_at_the_margin_is_seldom_called_too_early() -> None:
    """Seven later times, all of which gain exactly the margin: without the correction one in ten would be."""
    rng = np.random.default_rng(2)
    levels = np.array([MARGIN, *[0.0] * 7])
    wrong = sum(saturation(levels[:, None] + rng.normal(0, 2, (8, 6)), MARGIN).early >= 0 for _ in range(400))  # type: ignore[union-attr]
    assert wrong / 400 < 0.05


@pytest.mark.parametrize("seeds", [10, 20])
def test_times_beyond_the_margin_are_seldom_called_late_enough(seeds: int) -> None:
    """Eleven times, a little more than the margin worse than the latest: asked one by one, some were so in one draw of eight."""
    rng = np.random.default_rng(3)
    levels = np.array([*[1.02 * MARGIN] * 11, 0.0])
    found = [saturation(levels[:, None] + rng.normal(0, 2, (12, seeds)), MARGIN) for _ in range(400)]
    assert sum(one is not None and one.late is not None for one in found) / 400 < 0.05


# -- of a result ---------------------------------------------------------------------------------------------------------


def test_the_curve_of_a_planted_result() -> None:
    values = noisy(FALLING, (1, 5))
    result = with_decay(main_path(), values)
    found = decay_curve(result)
    assert (found.branch, found.quality, found.budget, found.margin) == ("total", "test_loss", "total", 2.0)
    assert [row.at for row in found.times] == list(AT)
    assert {row.end for row in found.times} == {24.0}
    np.testing.assert_allclose([row.value for row in found.times], values.mean((1, 2)))
    main = result["pretrain/test_loss"].values[0, 0]
    np.testing.assert_allclose(found.times[1].before, main[:, 3].mean(), err_msg="after the fourth epoch")
    gains = 100 * (values[0] - values[-1]).ravel() / values[-1].mean()
    expected = (gains.mean(), *stats.t.interval(0.95, 4, gains.mean(), stats.sem(gains)))
    row = found.times[0]
    np.testing.assert_allclose([row.gain, row.gain_low, row.gain_high], expected)
    assert (row.runs, row.lost) == (5, 0)
    assert (found.saturation.at, found.saturation.low, found.saturation.high) == (12.0, 8.0, 12.0)
    assert found.runs["value"].dims == ("decay_at", "data_seed", "seed")
    np.testing.assert_array_equal(found.runs["value"], values)
    assert "all end at epoch 24" in str(found)
    assert "saturation: epoch 12 (95%: 8 is too early, 12 is late enough); gains up to 2 % of the test loss" in str(
        found
    )
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["saturation"]["at"] == 12
    assert "runs" not in told
    assert "<table>" in found._repr_html_()


def test_a_margin_moves_the_place() -> None:
    assert decay_curve(planted(), margin=30).saturation.at == 4
    assert decay_curve(planted([1.5, 1.4, 1.3, 1.2, 1.1, 1.0])).saturation.at is None
    never = decay_curve(planted([1.5, 1.4, 1.3, 1.2, 1.1, 1.0]))
    assert "not reached before the latest time (95%: 16 is too early, none is shown to be late enough)" in str(never)


def test_accuracies_are_compared_in_points() -> None:
    """0.3 of them do not count."""
    accuracy = np.array([0.80, 0.85, 0.888, 0.89, 0.89, 0.89])
    result = with_decay(main_path(), noisy(accuracy, (1, 5), 1e-4), of="test_accuracy")
    found = decay_curve(result, of="test_accuracy")
    assert (found.unit, found.margin) == ("points", 0.3)
    assert found.times[0].gain == pytest.approx(9, abs=0.3)
    assert found.saturation.at == 8
    assert decay_curve(result, of="test_accuracy", margin=0.1).saturation.at == 12


def test_at_equal_cooldown_beside_the_total_budget() -> None:
    result = with_decay(planted(), noisy([1.0, 1.02, 1.05, 1.1, 1.3, 1.5], (1, 5)), name="cooldown", budget="cooldown")
    total, cooldown = decay_curves(result)
    assert (total.budget, cooldown.budget) == ("total", "cooldown")
    assert [row.end for row in cooldown.times] == [at + 6 for at in AT]
    assert "each ends 6 epochs after its decay" in str(cooldown)
    assert (total.saturation.at, cooldown.saturation.at) == (12, 2)
    assert cooldown.notes == (
        "the latest time ends worse than the decay at 2 (95%, corrected for the choice of that one among 5): what follows it may "
        "be too short",
    )
    with pytest.raises(
        LrscopeError, match=r"it has 2 curves \(total, learning rate 0.0001; cooldown.*name one by branch"
    ):
        decay_curve(result)
    assert decay_curve(result, branch="cooldown").budget == "cooldown"


def test_the_best_of_many_times_is_not_taken_at_its_face_value() -> None:
    """Twenty times that end alike: the best looks better than the latest more often than once in 40."""
    found, naive = 0, 0
    for key in range(DRAWS):
        costs = np.random.default_rng(key).normal(100, 1, (20, 5))
        best = int(costs.mean(1).argmin())
        found += better_than_last(costs, 0.0) is not None
        naive += mean_interval(costs[-1] - costs[best])[1] > 0
    assert found <= stats.binom.ppf(0.999, DRAWS, 0.025)
    assert naive > 2 * stats.binom.ppf(0.999, DRAWS, 0.025), "the test would notice"
    assert better_than_last(np.array([[3.0, 3.1, 3.2], [1.0, 1.1, 1.2], [5.0, 5.1, 5.2]]), 3.0) == 1


def test_learning_rates_and_further_axes_have_curves_of_their_own() -> None:
    """Two rates, two factors: one of the four saturates late."""
    levels = np.ones((2, 6, 2))
    levels[1, :, 0] = FALLING
    values = levels[..., None, None] * noisy(np.ones(6), (1, 4))[None, :, None]
    result = with_decay(main_path(lrs=2, seeds=4), values, axes={"total_factor": [0.01, 0.1]})
    lrs = result["lr"].values.tolist()
    assert [(c.lr, c.point["total_factor"]) for c in decay_curves(result)] == [(r, f) for r in lrs for f in (0.01, 0.1)]
    assert decay_curve(result, lr=lrs[1], point={"total_factor": 0.01}).saturation.at == 12
    assert decay_curve(result, lr=lrs[1], point={"total_factor": 0.1}).saturation.at == 2
    with pytest.raises(LrscopeError, match=r"lr: 7 was not trained: name one of"):
        decay_curve(result, lr=7)
    for point in ({"total_factor": 0.5}, {"factor": 0.1}):
        with pytest.raises(LrscopeError, match=r"point: .* was not trained: name values of .*total_factor"):
            decay_curve(result, point=point)


def test_lost_runs_are_counted_and_left_out() -> None:
    values = noisy(FALLING, (1, 6))
    values[2, 0, 1] = NAN  # one seed at one time
    found = decay_curve(with_decay(main_path(seeds=6), values))
    assert (found.times[2].runs, found.times[2].lost) == (5, 1)
    assert "1 run lost" in str(found)
    assert found.saturation.at == 12
    assert "gains are those of the 5 of 6 units that ended at all times" in found.notes
    values[-1] = NAN  # all seeds at the latest time
    found = decay_curve(with_decay(main_path(seeds=6), values))
    assert [row.at for row in found.times] == list(AT[:-1])
    assert "left out, because no run ended finite: decay at 20" in found.notes
    values[:, :, 2:] = NAN
    assert "undetermined: 1 seeds (--seeds) ended at all times" in str(
        decay_curve(with_decay(main_path(seeds=6), values))
    )
    with pytest.raises(LrscopeError, match="runs of total end finite at 0 of 6 times: use a smaller learning rate"):
        decay_curve(with_decay(main_path(seeds=6), np.full((6, 1, 6), NAN)))


def test_draws_of_the_data_are_the_units() -> None:
    """Means over the seeds of each of three draws; two draws determine nothing, however many seeds they have."""
    values = noisy(FALLING, (3, 4))
    found = decay_curve(with_decay(main_path(seeds=4, data_seeds=3), values))
    means = values.mean(2)
    expected = stats.t.interval(0.95, 2, means[0].mean(), stats.sem(means[0]))
    np.testing.assert_allclose([found.times[0].low, found.times[0].high], expected)
    two = decay_curve(with_decay(main_path(seeds=4, data_seeds=2), noisy(FALLING, (2, 4))))
    assert "2 draws of the data (--data-seeds) ended at all times, 3 are needed" in str(two)
    assert two.times[0].low is None


def test_what_validation_says_is_read_at_the_end() -> None:
    """It is not logged along training, so the main path has none at the decay."""
    result = main_path(validation=100)
    found = decay_curve(with_decay(result, noisy(FALLING, (1, 5)), of="validation_loss"), of="validation_loss")
    assert found.saturation.at == 12
    assert found.times[0].before is None


MISUSE: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no branches": (main_path, {}, "no branch leaves pre-training at 2 or more times: train with branches="),
    "one time": (
        lambda: with_decay(main_path(), noisy([1.0], (1, 5)), at=(4.0,)),
        {},
        "no branch leaves pre-training at 2 or more times",
    ),
    "one seed": (lambda: planted(seeds=1), {}, "one seed has no interval: train with seeds=3"),
    "unknown branch": (planted, {"branch": "totel"}, "branch: 'totel' is not in the result: .*total"),
    "another segment": (planted, {"branch": "pretrain"}, "branch: pretrain does not leave pre-training at 2"),
    "no validation": (planted, {"of": "validation_loss"}, "of: the result has no validation_loss: .*--validation"),
    "unknown quality": (planted, {"of": "loss"}, "of: 'loss' is unknown: choose one of test_loss"),
    "margin": (planted, {"margin": 0}, "margin: 0 "),
    "no percent": (lambda: planted(-FALLING), {}, "of: the test loss at the latest time is -1.* choose an accuracy"),
    "no result": (lambda: 3, {}, "result: 3 "),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_refused_in_a_sentence(case: str) -> None:
    make, options, said = MISUSE[case]
    with pytest.raises(LrscopeError, match=said):
        decay_curve(make(), **options)


def test_a_regression_has_no_accuracy() -> None:
    with pytest.raises(LrscopeError, match="of: the result has no test_accuracy: its task is a regression"):
        decay_curve(with_decay(main_path(regression=True), noisy(FALLING, (1, 5))), of="test_accuracy")


@pytest.mark.parametrize(
    ("branch", "said"),
    [
        ({"at": [2, 9], "until": 12}, "branches: decay: at: 9 comes after the end of training at epoch 8"),
        ({"at": [2, 8], "until": 8}, "branches: decay: until 8 is over when it begins, at epoch 8"),
    ],
)
def test_times_beyond_the_budget_are_refused_before_training(branch: dict[str, Any], said: str) -> None:
    config = SweepConfig(lrs=(0.1,), space="whole", epochs=8, branches=[Branch(name="decay", factors=[0.1], **branch)])
    with pytest.raises(LrscopeError, match=said):
        phases(config, 4)


def test_a_map_with_branches_may_have_one_learning_rate() -> None:
    words = {"lrs": "0.1", "space": "whole", "epochs": "8"}
    assert load_settings(None, {**words, "branches": "decay at=2,4 factors=0.1 until=9"}).sweep_config().lrs == (0.1,)
    with pytest.raises(LrscopeError, match="1 learning rate is too few for a map of regimes"):
        load_settings(None, words).sweep_config()


# -- command and report --------------------------------------------------------------------------------------------------


def test_the_command_prints_curves(tmp_path: Path) -> None:
    both = with_decay(planted(), noisy(FALLING, (1, 5)), name="cooldown", budget="cooldown")
    save_result(both, tmp_path)
    done = CliRunner().invoke(app, ["decay", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert done.stdout.count("saturation: epoch 12") == 2
    done = CliRunner().invoke(app, ["decay", str(tmp_path), "--branch", "total", "--margin", "30", "--json"])
    (curve,) = json.loads(done.stdout)
    assert (curve["saturation"]["at"], curve["margin"]) == (4, 30)
    for words in (["--lr", "x"], ["--point", "4"], ["--branch", "gone"]):
        assert isinstance(CliRunner().invoke(app, ["decay", str(tmp_path), *words]).exception, LrscopeError)


def test_the_report_has_a_section_for_each_branch() -> None:
    result = planted(of="test_accuracy", levels=[0.7, 0.8, 0.85, 0.9, 0.9, 0.9], spread=1e-4)
    found = {drawing.name: drawing for drawing in drawings(result, fake_map(result, known=False))}
    assert "learning rate 0.0001: epoch 12 (95%" in found["decay-total"].caption.lower()
    assert "decay-pretrain" not in found
    (star,) = (layer for layer in found["decay-total"].chart.layers if isinstance(layer, Points))
    assert (np.asarray(star.x).item(), star.symbol) == (12.0, "star")
    dashed = [layer for layer in found["decay-total"].chart.layers if isinstance(layer, Line) and layer.dashed]
    main = result["pretrain/test_accuracy"].values[0, 0]
    np.testing.assert_allclose(np.asarray(dashed[0].y)[:2], main[:, [1, 3]].mean(0))
    assert reported(planted(seeds=1), "test_loss") == {}
    lost = with_decay(main_path(), np.full((6, 1, 5), NAN))
    assert reported(lost, "test_loss") == {}
    assert reported(with_node(result, "total", None), "test_loss") == {}


def test_many_curves_are_told_apart_by_a_scale() -> None:
    result = with_decay(main_path(lrs=9, seeds=3), np.ones((9, 6, 1, 3)))
    chart = decay_chart(decay_curves(result))
    assert {layer.value is None for layer in chart.layers if isinstance(layer, (Line, Points))} == {False}
    check_drawn(chart)
    few = decay_chart(decay_curves(result)[:2])
    check_drawn(few)
    assert {layer.name for layer in few.layers if isinstance(layer, Line) and layer.name} == {
        f"learning rate {lr:.3g}" for lr in result["lr"].values[:2]
    }
