"""What is recommended: the best measured quality and its equals, never a noisy worse one, nothing beside a cliff."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fake_results import fake_result
from lrscope import LrscopeError
from lrscope.mapping import quality, regimes
from lrscope.schema import AVERAGE, FINETUNE, PRETRAIN
from lrscope.validation import validate
from trees import changed

LRS = np.logspace(-4, 0, 12)
GUESS = 0.1


def hill(
    peak: int = 6, *, seeds: int = 5, noise: float = 0.002, width: float = 3.0, key: int = 0
) -> NDArray[np.float64]:
    """Qualities [L, U] of up to 0.9 around a peak, with effects of seeds and noise."""
    rng = np.random.default_rng(key)
    mean = 0.9 - 0.1 * ((np.arange(len(LRS)) - peak) / width) ** 2
    return np.asarray(
        mean[:, None] + 0.01 * rng.standard_normal(seeds) + noise * rng.standard_normal((len(LRS), seeds))
    )


def choose(values: NDArray[np.float64], margin: float = 0.003, lost: Any = None) -> quality.Choice | None:
    """The choice with nothing lost unless said."""
    return quality.choose(LRS, values, np.isnan(values) if lost is None else lost, GUESS, margin)


def chosen(values: NDArray[np.float64], margin: float = 0.003, lost: Any = None) -> quality.Choice:
    """The same where there must be one."""
    found = choose(values, margin, lost)
    assert found is not None
    return found


def test_the_best_is_found_and_a_wider_margin_gives_a_wider_range() -> None:
    values = hill()
    narrow, wide = chosen(values, 0.003), chosen(values, 0.03)
    assert narrow.best == wide.best == 6
    assert narrow.alone is None
    assert wide.low < 6 < wide.high
    assert (narrow.low, narrow.high) == (6, 6)
    means = values.mean(1)
    assert (means[6] - means[wide.low : wide.high + 1] <= 0.03).all()


@pytest.mark.slow
@given(st.integers(0, 10_000), st.floats(1e-4, 0.02))
def test_the_range_holds_no_mean_that_is_worse_than_the_margin(key: int, noise: float) -> None:
    values = hill(noise=noise, key=key, seeds=3)
    found = chosen(values, 0.005)
    means = values.mean(1)
    assert found.from_ <= found.low <= found.best <= found.high <= found.to
    assert (means[found.best] - means[found.low : found.high + 1] <= 0.005).all()


@pytest.mark.slow
def test_more_noise_makes_the_range_narrower_never_wider() -> None:
    flat = np.full(len(LRS), 0.9)
    widths = []
    for noise in (1e-5, 3e-3, 2e-2):
        rng = np.random.default_rng(1)
        ranges = []
        for _ in range(40):
            found = chosen(flat[:, None] + noise * rng.standard_normal((len(LRS), 3)))
            ranges.append(found.high - found.low + 1)
        widths.append(float(np.mean(ranges)))
    assert widths[0] == len(LRS)
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.slow
def test_what_is_shown_to_be_equal_is_equal() -> None:
    """A learning rate worse than the margin is let in at most one time in twenty (beside a known best one)."""
    rng = np.random.default_rng(2)
    let_in = 0
    for _ in range(400):
        mean = np.where(np.arange(len(LRS)) == 5, 0.9, 0.897)  # all others lie at the margin exactly
        found = chosen(mean[:, None] + 0.004 * rng.standard_normal((len(LRS), 4)))
        let_in += found.best == 5 and (found.low < 4 or found.high > 6)  # its neighbours share its kernel
    assert let_in / 400 <= 0.05


def test_one_lucky_seed_is_not_followed_and_a_narrow_peak_is() -> None:
    values = hill(noise=0.01, seeds=3, key=3)
    values[1, 0] += 0.06  # one seed, far from the peak
    assert abs(chosen(values).best - 6) <= 1
    narrow = np.full((len(LRS), 3), 0.7) + 0.002 * np.random.default_rng(4).standard_normal((len(LRS), 3))
    narrow[8] += 0.1
    assert chosen(narrow).best == 8


def test_a_narrow_peak_beats_a_wide_and_lower_plateau() -> None:
    values = np.full((len(LRS), 3), 0.7) + 0.001 * np.random.default_rng(4).standard_normal((len(LRS), 3))
    values[:5] += 0.15
    values[8] += 0.2
    found = chosen(values)
    assert found.best == 8
    assert found.level == pytest.approx(values[8].mean(), abs=0.002)


def test_no_learning_rate_with_a_lost_seed_nor_its_neighbour_below() -> None:
    values = hill(6)
    lost = np.zeros(values.shape, bool)
    lost[7, 2] = True
    values[7, 2] = np.nan
    found = chosen(values, 0.2, lost)
    assert found.high == 5
    assert found.cliff == 7
    assert found.peak == 6
    assert chosen(values, 0.003, lost).alone is None, "what lies next to a cliff is not named again"


def test_a_seed_that_fails_at_the_best_learning_rate_itself_is_in_its_mean() -> None:
    values = np.full((len(LRS), 4), 0.5)
    values[6] = [0.95, 0.95, 0.95, 0.2]
    found = chosen(values)
    assert (found.best, found.peak, found.cliff) == (6, 6, None)


def test_a_seed_that_falls_to_guessing_is_a_cliff_too() -> None:
    values = hill(6)
    values[8, 1] = GUESS
    found = chosen(values, 0.2)
    assert found.cliff == 8
    assert found.high == 6
    values = hill(6)
    values[0] = GUESS  # too slow to learn: no cliff below the best
    assert chosen(values).cliff is None


@pytest.mark.parametrize(("part", "cliff"), [(0.45, 8), (0.55, None)])
def test_half_way_to_guessing_is_where_a_seed_counts_as_lost(part: float, cliff: int | None) -> None:
    values = hill(6)
    values[8, 1] = GUESS + part * (chosen(values).level - GUESS)
    assert chosen(values).cliff == cliff


def test_a_learning_rate_below_the_best_that_learned_little_is_slow_and_not_lost() -> None:
    values = hill(6, width=20, noise=1e-5)
    values[0] = GUESS + 0.4 * (values[6].mean() - GUESS)
    assert chosen(values, 0.5).low == 0


def test_a_seed_lost_below_the_best_ends_the_range_and_is_no_cliff() -> None:
    values = hill(6, width=20, noise=1e-4)
    values[3, 1] = np.nan
    found = chosen(values, 0.1)
    assert found.cliff is None
    assert found.low == 4
    assert found.high == len(LRS) - 1


def test_nothing_learned_and_everything_lost_recommend_nothing() -> None:
    assert choose(np.full((len(LRS), 3), GUESS + 0.005)) is None
    assert choose(np.full((len(LRS), 3), np.nan)) is None
    values = hill(6)
    assert choose(values, lost=np.ones(values.shape, bool)) is None


def test_one_seed_gives_the_best_and_no_equals() -> None:
    found = chosen(hill(6, seeds=1, noise=0), 0.02)
    assert (found.low, found.high) == (found.best, found.best)
    assert (found.from_, found.to) == (0, len(LRS) - 1)


def test_learning_rates_that_were_not_trained_neither_break_the_range_nor_enter_it_by_themselves() -> None:
    values = hill(6, noise=1e-5, width=20)
    values[5] = np.nan
    found = quality.choose(LRS, values, np.zeros(values.shape, bool), GUESS, 0.02)
    assert found is not None
    assert found.low < 5 < found.high


def test_variances_are_those_of_seeds_without_what_they_share_and_neighbours_have_a_say() -> None:
    rng = np.random.default_rng(6)
    values = 0.5 + 0.2 * rng.standard_normal(3) + 0.01 * rng.standard_normal((400, 3))
    found = quality.variances(values)
    assert 0.75e-4 < found.mean() < 1e-4, "of 1e-4: the median over neighbours follows the seeds a little"
    agreeing, scattering, some = values.copy(), values.copy(), slice(5, 400, 20)
    agreeing[some] = values[some].mean(1, keepdims=True) + values.mean(0) - values.mean()  # by luck no noise
    scattering[some] += np.array([-0.3, 0, 0.3])
    assert quality.variances(agreeing)[some].mean() > 0.2e-4
    assert (quality.variances(scattering)[some] > 0.03).all()
    assert quality.variances(scattering)[3::20].mean() < 1.5e-4
    assert (quality.variances(values[:, :2]) > 0).any()
    assert not quality.variances(values[:, :1]).any()


def test_the_kernel_is_a_quarter_a_half_a_quarter_on_an_even_grid() -> None:
    weights = quality.kernel(LRS, np.ones(len(LRS), bool))
    np.testing.assert_allclose(weights[4, 3:6], [0.25, 0.5, 0.25])
    np.testing.assert_allclose(weights[0, :2], [2 / 3, 1 / 3])
    np.testing.assert_allclose(weights.sum(1), 1)
    holes = quality.kernel(LRS, np.arange(len(LRS)) == 0)
    assert holes[:2, 0].tolist() == [1, 1]
    assert not holes[3:].any(), "nothing is near"


def tuned(result: xr.DataTree) -> NDArray[np.float64]:
    """Mean accuracy after the lowest fine-tuning rate [L]."""
    last = result["finetune/test_accuracy"].isel(finetune_lr=0, epoch=-1)
    return np.asarray(last.mean(("data_seed", "seed")).values)


@pytest.mark.slow
def test_the_map_recommends_what_fine_tuning_reached_not_a_regime() -> None:
    """The best start lies inside regime 2; the papers' top of regime 1 is four points worse."""
    result = fake_result(lrs=16, seeds=5)
    middle = next(k for k, x in enumerate(regimes(result).labels) if x.regime.startswith("2")) + 2
    away = np.abs(np.arange(16) - middle)
    result["finetune/test_accuracy"][:] = (0.9 - 0.02 * away)[:, None, None, None, None]
    found = regimes(result)
    assert found.recommended.best == pytest.approx(result["lr"].values[middle])
    assert found.labels[middle].regime == "2A", "2A may begin inside regime 2"
    assert found.labels[middle - 1].regime == "2"
    assert "below 2A" in found.labels[middle - 1].flags


def test_the_recommendation_says_before_and_after_and_what_it_rests_on() -> None:
    found = regimes(fake_result(lrs=16, seeds=5)).recommended
    assert found.before is not None
    assert found.after is not None
    assert found.finetune_lr in (1e-4, 1e-3, 5e-3)
    for word in ("before", "after the decay", "5 seeds", "chosen by test accuracy, which is optimistic"):
        assert word in found.reason
    assert "without a decay" in found.alternative
    assert "averaging" in found.alternative


def test_without_fine_tunes_the_constant_learning_rate_is_recommended_and_the_decay_named() -> None:
    found = regimes(fake_result(finetune=False, average=False)).recommended
    assert found.after is None
    assert found.finetune_lr is None
    assert "at the constant learning rate" in found.reason
    assert "--finetune-lrs" in found.alternative


def test_the_rate_to_decay_to_is_the_one_that_reached_most() -> None:
    result = fake_result(lrs=16, seeds=5)
    result["finetune/test_accuracy"][:, 1] += 0.02
    assert regimes(result).recommended.finetune_lr == pytest.approx(1e-3)


def test_regressions_are_judged_by_the_part_of_the_loss_that_is_gone() -> None:
    found = regimes(fake_result(regression=True, features=False))
    assert found.measure == "test loss"
    assert found.recommended.best is not None
    assert found.recommended.chosen_by == "test loss"
    assert "test loss" in found.recommended.reason


@pytest.mark.parametrize("margin", [0, -1, np.nan, np.inf, "much", None, True, 51])
def test_a_margin_that_is_none_is_refused(margin: Any) -> None:
    with pytest.raises(LrscopeError, match="margin"):
        regimes(fake_result(), margin=margin)


def test_a_map_whose_runs_all_ended_non_finite_says_so() -> None:
    found = regimes(
        fake_result(lrs=8, seeds=2, invariant=False, space="whole", nonfinite_lrs=8, finetune=False, average=False)
    )
    assert found.recommended.best is None
    assert "non-finite" in found.recommended.reason
    assert "1e+30" not in str(found)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_a_schedule_has_peaks_not_regimes() -> None:
    result = fake_result(lrs=16, seeds=3, finetune=False, average=False, config={"schedule": "cosine"})
    found = regimes(result)
    assert {x.regime for x in found.labels} == {"?"}
    assert all(border.lr is None and "schedule cosine" in border.reason for border in found.borders.values())
    assert found.recommended.best is not None
    assert "peak learning rate" in found.recommended.reason
    same = regimes(fake_result(lrs=16, seeds=3, finetune=False, average=False))
    assert found.recommended.best == same.recommended.best, "the answer rests on what was measured"


@pytest.mark.slow
def test_fine_tunes_that_still_fall_are_flagged_and_the_answer_is_provisional() -> None:
    result = fake_result(lrs=16, seeds=5)
    windows = result["finetune"].sizes["epoch"]
    falling = np.exp(-0.4 * np.arange(windows))
    result["finetune/train_loss"][:] = falling
    found = regimes(result)
    assert all("fine-tune still falls" in x.flags for x in found.labels)
    assert "provisional" in found.recommended.reason
    assert any("has not converged at 16 learning rates" in note for note in found.notes)
    result["finetune/train_loss"][:] = 0.1 * np.exp(0.01 * np.random.default_rng(0).standard_normal(windows))
    settled = regimes(result)
    assert not any("fine-tune still falls" in x.flags for x in settled.labels)
    assert "provisional" not in settled.recommended.reason


def test_labels_carry_what_was_reached_and_json_has_it() -> None:
    result = fake_result(lrs=16, seeds=5)
    found = regimes(result)
    np.testing.assert_allclose([x.after for x in found.labels], tuned(result))
    assert found.finetune_lr == pytest.approx(1e-4)
    row = found.to_dict()["labels"][3]
    assert row["after"] == found.labels[3].after
    assert found.show(found.labels[3].after) in str(found)


def with_validation(result: xr.DataTree) -> xr.DataTree:
    """The same with validation results that have their peak elsewhere than the test results."""
    lrs = result.sizes["lr"]
    new = {}
    for node in (PRETRAIN, FINETUNE, AVERAGE):
        shape = tuple(result[node.name].sizes[d] for d in node.runs)
        peak = (0.9 - 0.01 * np.abs(np.arange(lrs) - 4)).reshape(-1, *[1] * (len(shape) - 1))
        for measure, values in (("accuracy", peak), ("loss", 1 - peak)):
            new[f"{node.name}/validation_{measure}"] = (node.runs, np.broadcast_to(values, shape).copy())
    return changed(result, new)


def test_the_validation_set_chooses_and_the_test_set_reports() -> None:
    found = regimes(with_validation(fake_result(lrs=16, seeds=5)))
    result = fake_result(lrs=16, seeds=5)
    assert found.recommended.best == pytest.approx(result["lr"].values[4])
    assert found.recommended.chosen_by == "validation accuracy"
    assert "optimistic" not in found.recommended.reason
    last = result["finetune/test_accuracy"].sel(finetune_lr=found.recommended.finetune_lr).isel(epoch=-1)
    assert found.recommended.after == pytest.approx(float(last[4].mean()))
    before = float(result["pretrain/test_accuracy"].isel(epoch=-1)[4].mean())
    assert found.recommended.before == pytest.approx(before)
    assert found.recommended.alternative.split("; ")[0].endswith(f"test accuracy {100 * before:.2f}%")


def test_fake_results_are_valid() -> None:
    validate(fake_result(lrs=16, seeds=5))


@pytest.mark.slow
def test_more_seeds_do_not_make_the_answer_worse() -> None:
    """What is lost by following the best, on hills with noise of a point: less with more seeds."""
    rng = np.random.default_rng(5)
    lost: dict[int, float] = {}
    for seeds in (2, 4, 8):
        regrets = []
        for _ in range(150):
            peak = rng.uniform(4, 7)
            mean = 0.9 - 0.01 * ((np.arange(len(LRS)) - peak) / 2) ** 2
            found = chosen(mean[:, None] + 0.01 * rng.standard_normal((len(LRS), seeds)))
            regrets.append(mean.max() - mean[found.best])
        lost[seeds] = float(np.mean(regrets))
    assert lost[2] > lost[4] > lost[8]
    assert lost[4] < 0.005, "half the noise of one seed"
