"""The regime rules: votes on curves with known answers, ordered splits, intervals with measured coverage, reasons."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from fake_results import BORDERS, fake_result
from lrscope.mapping import borders, quality, regimes, votes
from numpy.typing import NDArray

RANDOM_LOSS = 4.0
UNITS, WINDOWS = 6, 40


def ballot(loss_UW: NDArray[np.float64], floor: float = 1e-3, *, accuracy: float | None = None, **options: Any) -> Any:
    """Vote on curves beside random points of loss 4 +- 0.3 and accuracy 0.1 +- 0.03."""
    units = len(loss_UW)
    random_loss = np.tile(np.linspace(RANDOM_LOSS - 0.5, RANDOM_LOSS + 0.5, 16), (units, 1))
    random_accuracy = np.tile(np.linspace(0.05, 0.15, 16), (units, 1))
    accuracies = None if accuracy is None else np.full(loss_UW.shape, accuracy)
    return votes.vote(
        loss_UW, accuracies, floor, random_loss, random_accuracy, **{"divergence_exists": True, **options}
    )


def curves(shape: Any, noise: float = 0.05, *, windows: int = WINDOWS) -> NDArray[np.float64]:
    """Loss curves [U, W] of a shape over t in (0, 1], with multiplicative noise."""
    rng = np.random.default_rng(3)
    t = np.arange(1, windows + 1) / windows
    return shape(t) * np.exp(noise * rng.standard_normal((UNITS, windows)))


def test_decay_like_one_over_t_is_regime_1() -> None:
    assert (ballot(curves(lambda t: 0.1 / t), accuracy=0.9).votes == 1).all()


def test_a_level_far_above_the_floor_is_regime_2() -> None:
    found = ballot(curves(lambda t: 0.5 + 2 * np.exp(-20 * t)), accuracy=0.8)
    assert (found.votes == 2).all()
    assert not found.jumps.any()


def test_a_level_at_the_floor_is_regime_1() -> None:
    assert (ballot(curves(lambda t: 2e-3 + 0 * t), floor=1e-3, accuracy=1.0).votes == 1).all()
    assert (ballot(curves(lambda t: 4e-3 + 0 * t), floor=1e-3, accuracy=1.0).votes == 2).all()


def test_losses_of_random_points_are_regime_3_and_only_with_their_accuracy() -> None:
    level = curves(lambda t: RANDOM_LOSS + 0 * t)
    assert (ballot(level, accuracy=0.1).votes == 3).all()
    assert (ballot(level, accuracy=0.5).votes == 2).all()


def test_losses_clearly_above_random_points_are_regime_3_whatever_the_accuracy() -> None:
    assert (ballot(curves(lambda t: 1.3 * RANDOM_LOSS + 0 * t), accuracy=0.2).votes == 3).all()


def test_losses_clearly_below_random_points_are_not_regime_3() -> None:
    assert (ballot(curves(lambda t: 0.8 * RANDOM_LOSS + 0 * t), accuracy=0.1).votes == 2).all()


def test_each_run_is_compared_with_its_own_random_points() -> None:
    level = np.full((2, WINDOWS), 3.0)
    random_loss = np.stack([np.linspace(2.4, 2.6, 16), np.linspace(3.9, 4.1, 16)])
    random_accuracy = np.full((2, 16), 0.1)
    accuracy = np.full((2, WINDOWS), 0.1)
    found = votes.vote(level, accuracy, 1e-3, random_loss, random_accuracy, divergence_exists=True)
    assert found.votes.tolist() == [3, 2]


def test_a_run_too_slow_to_leave_random_losses_is_regime_1_with_a_flag() -> None:
    found = ballot(curves(lambda t: RANDOM_LOSS - 0.2 * t, noise=0.0), accuracy=0.1)
    assert (found.votes == 1).all()
    assert found.slow.all()


def test_a_grid_without_converging_runs_has_no_floor() -> None:
    level = np.stack([curves(lambda t, a=a: a + 0 * t) for a in (0.5, 0.8, 1.2)])
    assert votes.convergence_floor(level) == 0.0
    assert (ballot(level[0], floor=0.0, accuracy=0.8).votes == 2).all()
    falling = np.concatenate([curves(lambda t: 0.1 / t)[None], level])
    assert votes.convergence_floor(falling) == pytest.approx(0.115, rel=0.05)


def test_jumps_that_come_back_are_flagged_and_stay_regime_1() -> None:
    loss = curves(lambda t: 0.1 / t**2, noise=0.02)
    loss[:, 30] *= 30
    found = ballot(loss, accuracy=0.95)
    assert found.jumps.all()
    assert (found.votes == 1).all()


def test_a_network_that_is_not_scale_invariant_has_no_regime_3() -> None:
    level = curves(lambda t: 2 * RANDOM_LOSS + 0 * t)
    assert (ballot(level, accuracy=0.1, divergence_exists=False).votes == 2).all()


def test_runs_with_nan_and_short_curves_vote_nothing() -> None:
    loss = curves(lambda t: 0.1 / t)
    loss[2, 20:] = np.nan
    assert ballot(loss, accuracy=0.9).votes.tolist() == [1, 1, 0, 1, 1, 1]
    assert (ballot(curves(lambda t: 0.1 / t, windows=7)).votes == 0).all()


def brute_force(counts: NDArray[np.int64]) -> int:
    lrs = len(counts)
    return max(
        sum(int(counts[k, 0 if k < i else 1 if k < j else 2]) for k in range(lrs))
        for i, j in itertools.combinations_with_replacement(range(lrs + 1), 2)
    )


def test_the_split_agrees_with_as_many_votes_as_any_ordered_split() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        counts = rng.integers(0, 4, (7, 3))
        i, j = borders.split(counts)
        assert 0 <= i <= j <= 7
        reached = counts[:i, 0].sum() + counts[i:j, 1].sum() + counts[j:, 2].sum()
        assert reached == brute_force(counts)


def test_a_clean_grid_splits_where_its_votes_change() -> None:
    votes_LU = np.array([1, 1, 1, 2, 2, 3, 3])[:, None].repeat(3, 1)
    assert borders.split(borders.tally(votes_LU)) == (3, 5)


def test_slow_small_learning_rates_do_not_confuse_the_order() -> None:
    votes_LU = np.array([3, 3, 1, 1, 1, 1, 2, 2, 3, 3])[:, None]
    assert borders.split(borders.tally(votes_LU)) == (6, 8)


@pytest.mark.parametrize("seeds", [5, 10, 20])
@pytest.mark.parametrize("spread", [0.2, 1.0, 3.0], ids=lambda s: f"spread of {s} cells")
def test_coverage_of_the_border_interval(seeds: int, spread: float) -> None:
    """Seeds whose borders scatter normally around a true border: 95% intervals hold it in at least 93% of maps."""
    rng = np.random.default_rng(seeds)
    lrs = np.logspace(-4, 0, 25)
    cell = np.log(lrs[1] / lrs[0])
    trials = held = 0
    for _ in range(200):
        truth = np.log(1e-2) + cell * rng.uniform(-0.5, 0.5)
        own = truth + spread * cell * rng.standard_normal(seeds)
        votes_LU = np.where(np.log(lrs)[:, None] < own, 1, 2)
        samples = borders.draws(1, seeds, count=200, seed=int(rng.integers(1 << 30)))
        positions = np.array([borders.split(borders.tally(votes_LU[:, s]))[0] for s in samples])
        low, high = borders.interval(positions, lrs)
        held += low <= np.exp(truth) <= high
        trials += 1
    assert held / trials >= 0.93


def test_intervals_tell_apart_what_is_apart() -> None:
    """An interval that covers everything would pass the coverage test: its width must follow the seeds' scatter."""
    lrs = np.logspace(-4, 0, 25)
    own = np.log(1e-2) + 0.05 * np.random.default_rng(1).standard_normal(10)
    votes_LU = np.where(np.log(lrs)[:, None] < own, 1, 2)
    positions = np.array([borders.split(borders.tally(votes_LU[:, s]))[0] for s in borders.draws(1, 10)])
    low, high = borders.interval(positions, lrs)
    assert np.log(high / low) < 2.5 * np.log(lrs[1] / lrs[0])


def test_bootstrap_draws_data_seeds_as_wholes() -> None:
    samples = borders.draws(3, 4, count=200)
    assert samples.shape == (200, 12)
    blocks = samples.reshape(200, 3, 4) // 4
    assert (blocks == blocks[:, :, :1]).all()
    assert len(np.unique(samples)) == 12


def test_as_good_as_best_is_a_paired_comparison() -> None:
    rng = np.random.default_rng(0)
    seed_effect = 0.05 * rng.standard_normal(12)
    base = 0.9 + seed_effect
    better = np.stack([base, base - 0.02 + 0.002 * rng.standard_normal(12), base - 0.001])
    assert quality.as_good_as_best(better).tolist() == [True, False, True]
    assert quality.reach(np.array([True, True, True, False, True]), 1, 5) == 3
    assert quality.reach(np.array([True, False, True]), 1, 3) == 1


def test_nan_units_are_left_out_of_the_comparison() -> None:
    values = np.array([[0.9, 0.9, np.nan], [0.5, np.nan, np.nan], [np.nan] * 3])
    assert quality.as_good_as_best(values).tolist() == [True, False, False]


def test_the_synthetic_map_is_found() -> None:
    found = regimes(fake_result(lrs=24, seeds=6))
    for name in ("1|2", "2|3"):
        border = found.borders[name]
        assert border.low is not None
        assert border.high is not None
        assert border.low <= BORDERS[name] <= border.high, name
        assert "95%" in border.reason
    labels = [x.regime[0] for x in found.labels]
    assert labels == sorted(labels)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_intervals_are_never_narrower_than_a_cell() -> None:
    result = fake_result(lrs=24, seeds=6)
    lrs = result["lr"].values
    for border in regimes(result).borders.values():
        if border.lr is not None:
            below, above = lrs[lrs < border.lr].max(), lrs[lrs > border.lr].min()
            assert border.low <= below
            assert border.high >= above


def test_few_seeds_give_a_range_and_say_so() -> None:
    found = regimes(fake_result(seeds=3))
    assert "range over 3 seeds" in found.borders["1|2"].reason
    assert any("5 or more" in note for note in found.notes)


def test_without_fine_tuning_2_stays_2_and_the_map_says_what_to_run() -> None:
    found = regimes(fake_result(finetune=False, average=False))
    assert {x.regime for x in found.labels} == {"1", "2", "3"}
    assert found.borders["2A|2B"].lr is None
    assert "--finetune-lrs" in found.borders["2A|2B"].reason
    assert found.recommended.low is not None


@pytest.mark.parametrize(
    ("keep", "border", "words"),
    [
        (slice(0, 5), "1|2", "extend the grid up"),
        (slice(11, 16), "1|2", "extend the grid down"),
        (slice(0, 10), "2|3", "extend the grid up"),
    ],
)
def test_a_border_outside_the_grid_is_null_with_a_remedy(keep: slice, border: str, words: str) -> None:
    found = regimes(fake_result(lrs=16).isel(lr=keep))
    assert found.borders[border].lr is None
    assert words in found.borders[border].reason


def test_too_few_epochs_is_said() -> None:
    found = regimes(fake_result(epochs=5))
    assert {x.regime for x in found.labels} == {"?"}
    assert "too few" in found.borders["1|2"].reason


def test_non_finite_runs_are_flagged_and_have_no_regime() -> None:
    found = regimes(fake_result(lrs=16, invariant=False, space="whole", nonfinite_lrs=3))
    assert [x.regime for x in found.labels[-3:]] == ["?"] * 3
    assert all("non-finite" in x.flags for x in found.labels[-3:])
    assert found.borders["2|3"].lr is None
    assert any("best pre-training" in note for note in found.notes)


def test_regression_uses_losses() -> None:
    found = regimes(fake_result(regression=True, features=False))
    assert found.borders["1|2"].lr is not None


def test_the_table_names_every_learning_rate() -> None:
    result = fake_result(lrs=8)
    text = str(regimes(result))
    for lr in result["lr"].values:
        assert f"{lr:.4g}" in text
    assert "border 1|2" in text
    assert "start:" in text
