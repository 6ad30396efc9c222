"""The learning order: when curves reach a level, orders and their agreement, and what is said of a result."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from typer.testing import CliRunner

from fake_results import fake_result
from lrscope import LrscopeError, learning_order, regimes, report
from lrscope.charts import Line, Points
from lrscope.cli import app
from lrscope.mapping.borders import draws
from lrscope.order.learning_order import ordered
from lrscope.order.ranks import between_units, interval, interval_of_pairs, mean, ranks, tau, within_units
from lrscope.order.times import first_times
from lrscope.reporting import frames
from lrscope.reporting.order_chart import order_chart
from lrscope.results import save_result
from lrscope.validation import validate

INF, NAN = np.inf, np.nan
AT = np.array([1.0, 2.0, 4.0, 8.0])

# curve at the times 1, 2, 4, 8; estimate, low, high of the time to 0.9, and whether it is there at the end
CURVES: dict[str, tuple[list[float], tuple[float, float, float], bool]] = {
    "interpolated": ([0.1, 0.5, 0.7, 1.0], (4 + 4 * 2 / 3, 4, 8), True),
    "exactly at a logged time": ([0.1, 0.9, 0.95, 1.0], (2, 1, 2), True),
    "before the first logged time": ([0.95, 0.96, 0.97, 1.0], (1, 0, 1), True),
    "never": ([0.1, 0.2, 0.3, 0.89], (INF, 8, INF), False),
    "falls again": ([0.1, 0.5, 1.0, 0.2], (2 + 2 * 0.8, 2, 4), False),
    "falls and comes back": ([0.8, 1.0, 0.1, 1.0], (1.5, 1, 2), True),
    "diverged before": ([0.1, 0.5, NAN, NAN], (INF, 2, INF), False),
    "diverged after": ([0.1, 0.5, 1.0, NAN], (2 + 2 * 0.8, 2, 4), True),
    "diverged at once": ([NAN] * 4, (INF, 0, INF), False),
    "a gap before": ([0.1, NAN, NAN, 1.0], (1 + 7 * 8 / 9, 1, 8), True),
    "a gap at the beginning": ([NAN, NAN, 1.0, 1.0], (4, 0, 4), True),
}


@pytest.mark.parametrize("case", CURVES)
def test_the_time_to_a_level(case: str) -> None:
    curve, expected, kept = CURVES[case]
    found = first_times(np.array([[curve]]), AT, 0.9)
    assert found.estimate.shape == (1, 1)
    np.testing.assert_allclose([found.estimate[0, 0], found.low[0, 0], found.high[0, 0]], expected, rtol=1e-12)
    assert found.kept[0, 0] == kept


def test_times_of_exponential_curves_are_those_of_the_formula() -> None:
    """1 - exp(-t / s) is at 0.9 at t = s ln 10; a fine grid finds it to the square of its step."""
    scales = np.array([0.5, 1.0, 3.0])
    at = np.linspace(0.01, 20, 2000)
    found = first_times(1 - np.exp(-at / scales[:, None]), at, 0.9)
    np.testing.assert_allclose(found.estimate, scales * np.log(10), rtol=1e-4)
    assert ((found.low <= found.estimate) & (found.estimate <= found.high)).all()


def test_ranks_share_ties_as_scipys() -> None:
    rng = np.random.default_rng(0)
    times = rng.integers(0, 4, (50, 6)).astype(float)
    times[times == 3] = INF
    np.testing.assert_array_equal(ranks(times), stats.rankdata(times, axis=1))
    assert np.isnan(ranks(np.array([NAN, NAN]))).all()


def counted_tau(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b from its definition: pairs in the same order less pairs in opposite ones, over those not tied."""
    pairs = [(np.sign(a - b), np.sign(c - d)) for (a, c), (b, d) in combinations(zip(first, second, strict=True), 2)]
    untied = [sum(pair[side] != 0 for pair in pairs) for side in (0, 1)]
    return float(sum(a * b for a, b in pairs) / np.sqrt(np.prod(untied))) if all(untied) else NAN


def test_tau_is_that_of_its_definition() -> None:
    """With ties and with groups that are not reached; undefined where all are tied."""
    rng = np.random.default_rng(1)
    for size in (2, 3, 10):
        for first, second in rng.integers(0, 5, (20, 2, size)).astype(float):
            expected = counted_tau(first, second)
            late = [np.where(times == 4, INF, times) for times in (first, second)]
            np.testing.assert_allclose(tau(*late), expected, atol=1e-12)
    assert tau(np.array([1.0, 2.0, 3.0]), np.array([5.0, 7.0, INF])) == 1
    assert tau(np.array([1.0, 2.0, 3.0]), np.array([7.0, 5.0, 3.0])) == -1
    assert np.isnan(tau(np.array([1.0, 2.0]), np.array([INF, INF])))
    assert np.isnan(tau(np.array([1.0, 2.0]), np.array([NAN, NAN])))


def test_agreement_is_of_the_same_run_or_between_seeds() -> None:
    """Two seeds with opposite orders, which the second learning rate keeps: tau 1 between rates, -1 between seeds."""
    times = np.array([[[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], [[2.0, 4.0, 6.0], [6.0, 4.0, 2.0]]])
    found = within_units(times)
    np.testing.assert_array_equal(found[0, 1], [1, 1])
    np.testing.assert_array_equal(found[1, 0], [1, 1])
    assert np.isnan(found[0, 0]).all()
    np.testing.assert_array_equal(between_units(times[0]), [[NAN, -1], [-1, NAN]])
    assert np.isnan(between_units(times[0, :1])).all(), "one seed does not agree with another"


def test_an_interval_of_pairs_resamples_seeds() -> None:
    """Six seeds, one of which orders groups the other way: 10 of 15 pairs agree. Without it all pairs do."""
    kind = np.array([1.0, 1, 1, 1, 1, -1])
    pairs = np.where(np.eye(6, dtype=bool), NAN, np.outer(kind, kind))
    low, high = interval_of_pairs(pairs, 1, 6)
    assert high == 1, "a third of the draws leave it out"
    assert low < 0, "in a few draws most pairs are with it"
    assert interval_of_pairs(pairs[:4, :4], 1, 4) == (1, 1)
    assert interval_of_pairs(pairs[2:, 2:], 1, 4) == (-1, 1), "the range, with fewer than 5"
    pairs[0], pairs[:, 0] = NAN, NAN
    assert interval_of_pairs(pairs, 1, 6)[1] == 1, "a seed without an order is left out"
    assert np.isnan(interval_of_pairs(np.full((3, 3), NAN), 1, 3)).all()


def test_the_interval_of_pairs_covers_their_expectation() -> None:
    """Orders of 4 groups with normal times: expected tau from many pairs. An interval over means of single seeds would be half
    as wide, and cover it in two thirds of the cases."""
    rng = np.random.default_rng(4)

    def drawn(seeds: int) -> np.ndarray:
        return np.asarray(np.arange(4) + rng.normal(0, 1.0, (seeds, 4)))

    def fast(times: np.ndarray) -> np.ndarray:
        signs = np.sign(times[:, :, None] - times[:, None, :]).reshape(len(times), -1)
        found = signs @ signs.T / 12
        found[np.eye(len(times), dtype=bool)] = NAN
        return np.asarray(found)

    one = drawn(6)
    np.testing.assert_allclose(fast(one), between_units(one), atol=1e-12)
    expected = np.nanmean(fast(drawn(2000)))
    inside = [low <= expected <= high for low, high in (interval_of_pairs(fast(drawn(10)), 1, 10) for _ in range(100))]
    assert 0.85 < np.mean(inside) <= 1


def test_few_units_give_their_range_many_a_bootstrap() -> None:
    values = np.array([3.0, 1.0, NAN, 2.0])
    assert [float(end) for end in interval(values, values, np.mean, 1, 4)] == [1, 3]
    assert np.isnan(interval(values[2:3], values[2:3], np.mean, 1, 1)).all()
    values = np.random.default_rng(2).normal(size=8)
    means = values[draws(1, 8)].mean(1)
    low, high = interval(values, values, np.mean, 1, 8)
    np.testing.assert_allclose([low, high], np.quantile(means, [0.025, 0.975], method="inverted_cdf"))


def test_the_interval_of_a_mean_covers_it() -> None:
    """95% nominal; the percentile bootstrap of 10 values is known to cover about 90%."""
    rng = np.random.default_rng(3)
    inside = []
    for _ in range(200):
        values = rng.normal(size=10)
        low, high = interval(values, values, np.mean, 1, 10)
        inside.append(low <= 0 <= high)
    assert 0.83 < np.mean(inside) < 0.98


def test_the_interval_of_a_median_reaches_to_the_logged_times() -> None:
    """All runs between the same two logged times: it is no narrower than these. Not reached in most runs: no upper end."""
    low, high = np.full((6, 1), 2.0), np.full((6, 1), 4.0)
    assert [end.tolist() for end in interval(low, high, np.median, 1, 6)] == [[2.0], [4.0]]
    high[:4] = INF
    assert interval(low, high, np.median, 1, 6)[1].tolist() == [INF]


def test_means_leave_out_nan() -> None:
    np.testing.assert_array_equal(mean(np.array([[1.0, NAN, 3.0], [NAN] * 3]), 1), [2.0, NAN])


# -- of a result -----------------------------------------------------------------------------------------------------

SCALES = {"easy": 2.0, "middle": 6.0, "hard": 24.0, "never": 1e9}  # epochs at the lowest learning rate
LRS = 4


def curves(seeds: int, epochs: int, names: list[str]) -> np.ndarray:
    """Accuracies [L, 1, S, T, E] that rise as 1 - exp(-t / s). At the highest learning rate hard comes first."""
    at = np.arange(1, epochs + 1)
    scale = np.array([[SCALES[name] for name in names]] * LRS)
    if "hard" in names:
        scale[-1, names.index("hard")] = 1.0
    spread = np.exp(np.random.default_rng(0).normal(0, 0.05, (LRS, 1, seeds, 1, len(names))))
    return np.asarray(1 - np.exp(-at[:, None] / (scale[:, None, None, None, :] * spread)))


def result_with(
    names: list[str], *, seeds: int = 5, epochs: int = 40, values: np.ndarray | None = None, **options: Any
) -> xr.DataTree:
    """A fake result with groups of training examples, without later phases."""
    bare = fake_result(lrs=LRS, seeds=seeds, epochs=epochs, finetune=False, average=False, features=False, **options)
    parts = {node.path: node.to_dataset(inherit=False) for node in bare.subtree}
    parts["/"] = parts["/"].assign_coords(example_group=np.array(names, dtype=object))
    dims = ("lr", "data_seed", "seed", "epoch", "example_group")
    found = curves(seeds, epochs, names) if values is None else values
    parts["/pretrain"] = parts["/pretrain"].assign(
        example_group_accuracy=(dims, found), example_group_loss=(dims, 1 - found)
    )
    result = xr.DataTree.from_dict(parts)
    validate(result)
    return result


def test_the_order_of_a_planted_result() -> None:
    """Times are s ln 10; the highest learning rate learns hard first, so that only its order differs."""
    found = learning_order(result_with(list(SCALES)))
    lrs = sorted({row.lr for row in found.times})
    first = [row for row in found.times if row.lr == lrs[0]]
    assert [row.group for row in first] == ["easy", "middle", "hard", "never"]
    for row, name in zip(first[:2], SCALES, strict=False):
        assert row.epoch == pytest.approx(SCALES[name] * np.log(10), rel=0.1)
        assert row.step == pytest.approx(32 * row.epoch)
        assert row.low is not None
        assert row.high is not None
        assert row.low <= row.epoch <= row.high
        assert row.high - row.low >= 1, "no narrower than a logging interval"
        assert (row.reached, row.kept, row.runs) == (5, 5, 5)
    assert (first[2].epoch, first[2].high, first[2].low, first[2].reached) == (None, None, 40.0, 0)
    assert [row.rank for row in first] == [1, 2, 3.5, 3.5]
    assert [row.group for row in found.times if row.lr == lrs[-1]] == ["hard", "easy", "middle", "never"]
    assert found.between(lrs[0], lrs[1]).tau == 1
    assert found.between(lrs[1], lrs[1]).tau == 1
    expected = stats.kendalltau([1, 2, 3.5, 3.5], [2, 3, 1, 4]).statistic
    assert found.between(lrs[3], lrs[0]).tau == pytest.approx(expected)
    assert found.runs["epoch"].dims == ("lr", "data_seed", "seed", "group")
    np.testing.assert_array_equal(found.runs["tau"].isel(lr=0, other_lr=3), [[pytest.approx(expected)] * 5])
    assert any("share the last places" in note for note in found.notes)
    text = str(found)
    assert "groups of training examples, pretrain: epochs until their accuracy reaches 90%" in text
    assert "not reached (not before 40)" in text
    assert "reached in 0 of 5" in text
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["groups"] == list(SCALES)
    assert told["times"][2]["epoch"] is None


def test_a_learning_rate_that_is_not_there_is_named() -> None:
    found = learning_order(result_with(["easy", "middle"]))
    with pytest.raises(LrscopeError, match=r"between: 7 is no learning rate of the result: name one of \[0.0001, "):
        found.between(found.reference, 7)


def test_a_level_and_a_group_that_is_lost_again() -> None:
    names = ["easy", "middle"]
    values = curves(3, 40, names)
    values[0, 0, :, 30:, 0] = 0.3
    found = learning_order(result_with(names, seeds=3, values=values), level=0.5)
    easy, middle = (next(row for row in found.times if row.group == name) for name in names)
    assert (easy.reached, easy.kept) == (3, 0)
    assert middle.epoch == pytest.approx(6 * np.log(2), rel=0.1)
    assert "3 lost again" in str(found)


def test_diverged_runs_do_not_reach_and_untrained_ones_do_not_count() -> None:
    names = ["easy", "middle"]
    values = curves(5, 40, names)
    values[0, 0, 0], values[0, 0, 1] = NAN, NAN
    result = result_with(names, values=values)
    result["pretrain/status"].values[0, 0, 0], result["pretrain/status"].values[0, 0, 1] = 1, 4
    easy = next(row for row in learning_order(result).times if row.group == "easy")
    assert (easy.reached, easy.runs) == (3, 4)
    assert easy.low == 0, "the run diverged before anything was logged; with 4 runs the range is given"
    assert easy.high is None


def test_a_learning_rate_that_was_not_trained_has_no_order() -> None:
    names = ["easy", "middle"]
    values = curves(5, 40, names)
    values[1] = NAN
    result = result_with(names, values=values)
    result["pretrain/status"].values[1] = 4
    found = learning_order(result)
    lr = found.runs["lr"].values
    rows = [row for row in found.times if row.lr == lr[1]]
    assert {(row.epoch, row.rank, row.runs, row.low) for row in rows} == {(None, None, 0, None)}
    assert found.between(lr[0], lr[1]).tau is None
    assert "undetermined" in str(found)


def test_the_order_in_a_fine_tuning_at_a_point() -> None:
    """Its times begin at its own start. A run that diverged before has no order there."""
    bare = fake_result(lrs=LRS, seeds=3, epochs=40, average=False, features=False)
    parts = {node.path: node.to_dataset(inherit=False) for node in bare.subtree}
    parts["/"] = parts["/"].assign_coords(example_group=np.array(["slow", "quick"], dtype=object))
    names = ("example_group_accuracy", "example_group_loss")
    flat = np.zeros((LRS, 1, 3, parts["/pretrain"].sizes["epoch"], 2))
    dims = ("lr", "data_seed", "seed", "epoch", "example_group")
    parts["/pretrain"] = parts["/pretrain"].assign(dict.fromkeys(names, (dims, flat)))
    tuned = parts["/finetune"]
    at = tuned["epoch"].values
    values = np.zeros((LRS, tuned.sizes["finetune_lr"], 1, 3, len(at), 2))
    values[:, 1, ..., 0], values[:, 1, ..., 1] = at >= at[3], at >= at[1]
    values[0, 1, 0, 0] = NAN
    tuned["status"].values[0, 1, 0, 0] = 2
    axes = ("lr", "finetune_lr", *dims[1:])
    parts["/finetune"] = tuned.assign(dict.fromkeys(names, (axes, values)))
    result = xr.DataTree.from_dict(parts)
    rates = tuned["finetune_lr"].values.tolist()
    found = learning_order(result, segment="finetune", point={"finetune_lr": rates[1]})
    first = [row for row in found.times if row.lr == min(row.lr for row in found.times)]
    assert [(row.group, row.runs, row.reached) for row in first] == [("quick", 2, 2), ("slow", 2, 2)]
    assert [(row.low, row.high) for row in first] == [(at[0], at[1]), (at[2], at[3])]
    nothing = learning_order(result, segment="finetune", point={"finetune_lr": rates[0]})
    assert all(row.epoch is None for row in nothing.times)


def test_one_seed_has_no_spread_and_says_so() -> None:
    found = learning_order(result_with(["easy", "middle"], seeds=1))
    row = found.times[0]
    assert row.high is not None
    assert row.low is not None
    assert row.high - row.low == 1
    assert found.between(row.lr, row.lr).tau is None
    assert any("one seed shows no spread" in note for note in found.notes)


def test_times_before_the_first_logged_one_are_ties_and_said() -> None:
    found = learning_order(result_with(["easy", "middle"], values=np.ones((LRS, 1, 5, 40, 2))))
    assert {row.rank for row in found.times} == {1.5}
    assert any("40 of 40 times lie before the first logged one" in note for note in found.notes)
    nothing = learning_order(result_with(["easy", "middle"], values=np.zeros((LRS, 1, 5, 40, 2))))
    assert "so there is no order" in nothing.notes[0]


def test_a_group_without_examples_is_left_out_and_named() -> None:
    """Also where it lacks them for one data seed alone; a run that overflows at once has examples in all groups."""
    names = ["easy", "middle", "hard"]
    for lacking in (np.s_[..., 1], np.s_[:, :, 2, :, 1]):
        values = curves(5, 40, names)
        values[0, 0, 0], values[lacking] = NAN, NAN
        result = result_with(names, values=values)
        result["pretrain/status"].values[0, 0, 0] = 1
        found = learning_order(result)
        assert found.groups == ("easy", "hard")
        assert found.times[0].runs == 5
        assert found.notes[0] == "left out, because without examples for some data seed: middle"
    assert not any("left out" in note for note in learning_order(result_with(names)).notes)


def test_feature_sets_have_an_order_too() -> None:
    """Where their accuracy is logged along training; of test examples and of feature sets as of training examples."""
    with_groups = result_with(["easy", "middle"])
    parts = {node.path: node.to_dataset(inherit=False) for node in with_groups.subtree}
    parts["/"] = parts["/"].assign_coords(feature=np.array([0, 1]), test_group=np.array(["b", "a"], dtype=object))
    run = ("lr", "data_seed", "seed")
    dims, values = (*run, "epoch"), curves(5, 40, ["middle", "easy"])
    logged = {
        "logged_feature_accuracy": ((*dims, "feature"), values),
        "feature_accuracy": ((*run, "feature"), values[..., -1, :]),
        "test_group_accuracy": ((*dims, "test_group"), values),
        "test_group_loss": ((*dims, "test_group"), 1 - values),
    }
    parts["/pretrain"] = parts["/pretrain"].assign(logged)
    result = xr.DataTree.from_dict(parts)
    result.attrs["config"] = json.dumps(json.loads(result.attrs["config"]) | {"log_features": True})
    validate(result)
    assert ordered(result) == ["train", "test", "features"]
    for of, groups in {"features": ("1", "0"), "test": ("a", "b")}.items():
        found = learning_order(result, of=of)
        assert tuple(row.group for row in found.times[:2]) == groups
        assert found.times[0].epoch == pytest.approx(SCALES["easy"] * np.log(10), rel=0.1)
    assert learning_order(result).groups == ("easy", "middle"), "groups of training examples come first"
    assert ordered(with_groups) == ["train"]


MISUSE: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no groups": (
        lambda: fake_result(lrs=LRS),
        {},
        r"no accuracies of groups of examples: train again with .*train_groups",
    ),
    "no test groups": (
        lambda: result_with(["easy", "hard"]),
        {"of": "test"},
        r"no accuracies of groups of test examples: .*test_groups",
    ),
    "no feature sets": (
        lambda: result_with(["easy", "hard"]),
        {"of": "features"},
        r"no accuracies of feature sets: train again with log_features=True",
    ),
    "no true labels": (lambda: result_with(["easy", "hard"]), {"of": "true"}, "train again with --label-noise"),
    "regression": (
        lambda: fake_result(lrs=LRS, regression=True),
        {},
        "its task is a regression, which has no accuracy",
    ),
    "one group": (
        lambda: result_with(["easy"]),
        {},
        r"groups that have examples for every data seed are \['easy'\]: an order needs two or more",
    ),
    "unknown of": (
        lambda: result_with(["easy", "hard"]),
        {"of": "tests"},
        "of: 'tests' is unknown: choose one of train",
    ),
    "level": (lambda: result_with(["easy", "hard"]), {"level": 90}, "level: 90 .*"),
    "segment": (
        lambda: result_with(["easy", "hard"]),
        {"segment": "pretraim"},
        "segment: 'pretraim' is not .*'pretrain'",
    ),
    "averages": (
        lambda: fake_result(lrs=LRS),
        {"segment": "average"},
        "segment: 'average' is not one that was trained",
    ),
    "several points": (
        lambda: fake_result(lrs=LRS),
        {"segment": "finetune"},
        "finetune has several finetune_lr: name one of",
    ),
    "no such axis": (
        lambda: fake_result(lrs=LRS),
        {"segment": "finetune", "point": {"at": 1}},
        "has no axis 'at': .*finetune_lr",
    ),
    "no such point": (
        lambda: fake_result(lrs=LRS),
        {"segment": "finetune", "point": {"finetune_lr": 7}},
        "finetune_lr 7 was not trained: name one of",
    ),
    "no result": (lambda: 3, {}, "result: 3 is .*sweep"),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_one_sentence(case: str) -> None:
    make, options, message = MISUSE[case]
    with pytest.raises(LrscopeError, match=message):
        learning_order(make(), **options)


def test_no_run_with_values_is_refused() -> None:
    result = result_with(["easy", "hard"], values=np.full((LRS, 1, 5, 40, 2), NAN))
    with pytest.raises(LrscopeError, match="no run has an accuracy of any group: see the status"):
        learning_order(result)


# -- the command and the report ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_result(result_with(list(SCALES)), tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_command_prints_the_table_and_json(folder: Path) -> None:
    done = CliRunner().invoke(app, ["order", str(folder)])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[1:] == str(learning_order(result_with(list(SCALES)))).splitlines()
    done = CliRunner().invoke(app, ["order", str(folder), "--level", "0.5", "--json"])
    told = json.loads(done.stdout)
    assert told["level"] == 0.5
    assert len(told["times"]) == LRS * len(SCALES)
    assert len(told["agreements"]) == LRS * (LRS + 1) // 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--level", "much"], "level: 'much' is not a number"),
        (["--point", "at"], "point: 'at' is not an axis and a value: write one such as decay_at=4"),
        (["--point", "at=4"], "point: pretrain has no axis 'at'"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(words: list[str], message: str, folder: Path) -> None:
    done = CliRunner().invoke(app, ["order", str(folder), *words])
    assert isinstance(done.exception, LrscopeError)
    assert message in str(done.exception)


def test_the_report_has_a_section(tmp_path: Path) -> None:
    page = report(result_with(list(SCALES)), tmp_path / "page.html").read_text()
    assert "In which order groups of training examples are learned" in page
    assert "epochs to 90% accuracy" in page
    assert "Groups that are not reached share the last places of an order." in page
    assert "accuracy of middle" in page
    bare = report(fake_result(lrs=LRS), tmp_path / "bare.html").read_text()
    assert "In which order" not in bare


def test_the_chart_draws_what_was_found() -> None:
    """Medians with their intervals; groups that are not reached as hollow marks of their own above the end."""
    result = result_with(list(SCALES))
    order = learning_order(result)
    found = regimes(result)
    grid = frames.grid(result)
    times, places, taus = order_chart(grid, frames.backdrop(grid, found), order).panels
    lines = {line.name: line for line in times.layers if isinstance(line, Line) and line.name}
    assert set(lines) == set(SCALES)
    rows = sorted((row for row in order.times if row.group == "middle"), key=lambda row: row.lr)
    np.testing.assert_array_equal(lines["middle"].y, [row.epoch for row in rows])
    np.testing.assert_array_equal(lines["middle"].high, [row.high for row in rows])
    np.testing.assert_array_equal(np.isnan(lines["hard"].y), [True, True, True, False])
    for end in (lines["hard"].low, lines["hard"].high):
        np.testing.assert_array_equal(np.isnan(np.asarray(end)), np.isnan(lines["hard"].y))
    hard, never = (layer for layer in times.layers if isinstance(layer, Points))
    assert (len(np.asarray(hard.x)), len(np.asarray(never.x))) == (LRS - 1, LRS)
    assert 40 < np.min(hard.y) < np.asarray(never.y)[0]
    assert np.asarray(never.y)[-1] == np.min(hard.y), "alone there, it stands lowest"
    assert hard.color == lines["hard"].color
    assert hard.hollow
    assert next(np.asarray(line.y).tolist() for line in places.layers if isinstance(line, Line)) == [1, 1, 1, 2]
    with_first = [line for line in taus.layers if isinstance(line, Line)][-1]
    assert with_first.name == "with ELR 0.0001"
    np.testing.assert_allclose(np.asarray(with_first.y)[:2], 1)


def test_orders_are_compared_with_the_lowest_rate_that_has_one_in_most_runs() -> None:
    values = curves(5, 40, ["easy", "middle"])
    values[0, :, 1:] = 0.0  # one seed alone learns anything at the lowest rate
    found = learning_order(result_with(["easy", "middle"], values=values))
    lrs = sorted({row.lr for row in found.times})
    assert found.reference == lrs[1]
    agreement = found.between(lrs[0], lrs[1])
    assert (agreement.ordered, agreement.runs) == (1, 5)
    assert f"with learning rate {lrs[1]:.3g} 1.00 in 1 of 5 runs" in str(found)
    values[0, :, 1] = values[1, :, 1]
    found = learning_order(result_with(["easy", "middle"], values=values))
    assert "tau of the order between seeds 1.00 [1.00, 1.00] in 2 of 5 runs" in str(found)


def test_runs_that_were_not_trained_are_not_counted_in_an_agreement() -> None:
    values = curves(5, 40, ["easy", "middle"])
    values[0, 0, 3] = NAN
    result = result_with(["easy", "middle"], values=values)
    result["pretrain/status"].values[0, 0, 3] = 4
    found = learning_order(result)
    lrs = sorted({row.lr for row in found.times})
    assert [(a.ordered, a.runs) for a in (found.between(lrs[0], lrs[1]), found.between(lrs[1], lrs[2]))] == [
        (4, 4),
        (5, 5),
    ]
    assert "with learning rate" in str(found)
    assert "of 5 runs" not in str(found)


@pytest.mark.slow
def test_a_report_of_many_groups_and_of_none_that_is_reached(tmp_path: Path) -> None:
    """The chart is drawn whatever there is: 14 groups by a colour scale, nothing reached, one seed, one group."""
    names = [f"group {i}" for i in range(14)]
    many = np.random.default_rng(0).uniform(0, 0.1, (LRS, 1, 1, 40, 14)).cumsum(3).clip(0, 1)
    for name, result in {
        "many": result_with(names, seeds=1, values=many),
        "none": result_with(["a", "b"], values=np.zeros((LRS, 1, 5, 40, 2))),
    }.items():
        assert "In which order" in report(result, tmp_path / f"{name}.html").read_text()
    one = report(result_with(["easy"]), tmp_path / "one.html").read_text()
    assert "In which order" not in one, "one group has no order"
