"""The regime rules: votes on curves with known answers, ordered splits, intervals with measured coverage, reasons."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fake_results import BORDERS, fake_result
from lrscope.mapping import borders, quality, regimes, votes

RANDOM_LOSS = 4.0
UNITS, WINDOWS = 6, 40
FLOOR = 1e-3


def guessing(units: int = UNITS, *, accuracy: bool = True) -> votes.Guessing:
    """Random points of loss 4 +- 0.5 and accuracy 0.1 +- 0.05; a constant prediction gets ln 10."""
    loss = np.tile(np.linspace(RANDOM_LOSS - 0.5, RANDOM_LOSS + 0.5, 16), (units, 1))
    chance = np.tile(np.linspace(0.05, 0.15, 16), (units, 1))
    return votes.Guessing(loss=loss, accuracy=chance if accuracy else None, constant_loss=float(np.log(10)))


def curves(shape: Any, noise: float = 0.05, *, windows: int = WINDOWS) -> NDArray[np.float64]:
    """Loss curves [U, W] of a shape over t in (0, 1], with multiplicative noise."""
    rng = np.random.default_rng(3)
    t = np.arange(1, windows + 1) / windows
    return shape(t) * np.exp(noise * rng.standard_normal((UNITS, windows)))


CONVERGING = curves(lambda t: FLOOR / t)


def grid_ballot(*loss_UW: NDArray[np.float64], accuracy: float = 0.9, **options: Any) -> votes.Ballot:
    """Vote on a grid of learning rates, each with its curves; accuracies are flat."""
    loss = np.stack(loss_UW)
    return votes.vote(loss, np.full(loss.shape, accuracy), guessing(), **{"divergence_exists": True, **options})


def last(*loss_UW: NDArray[np.float64], accuracy: float = 0.9, **options: Any) -> NDArray[np.int64]:
    """Votes at the highest learning rate, above one that converges."""
    return grid_ballot(CONVERGING, *loss_UW, accuracy=accuracy, **options).votes[-1]


def test_decay_like_one_over_t_is_regime_1() -> None:
    assert (grid_ballot(curves(lambda t: 0.1 / t), CONVERGING).votes == 1).all()


def test_a_level_far_above_where_converging_runs_get_is_regime_2() -> None:
    assert (last(curves(lambda t: 0.5 + 2 * np.exp(-20 * t))) == 2).all()


def test_above_the_best_learning_rate_a_risen_level_is_regime_2_even_if_it_still_falls_a_little() -> None:
    slower = curves(lambda t: 1.5 * FLOOR / t**0.2, noise=0.01)
    assert (last(slower) == 2).all()
    faster = curves(lambda t: 1.5 * FLOOR / t**1.5, noise=0.01)
    assert (last(faster) == 1).all()


def test_a_level_where_converging_runs_get_is_regime_1() -> None:
    level = CONVERGING[:, -10:].mean()
    assert (last(curves(lambda t: level + 0 * t)) == 1).all()
    assert (last(curves(lambda t: 1.5 * level + 0 * t, noise=0.01)) == 2).all()


def test_levels_below_a_millionth_of_random_losses_are_all_converged() -> None:
    tiny = [curves(lambda t, a=a: a + 0 * t) for a in (1e-9, 1e-12, 1e-7)]
    assert (grid_ballot(curves(lambda t: 1e-5 / t**3), *tiny, accuracy=1.0).votes == 1).all()


def test_guessing_is_regime_3() -> None:
    level = curves(lambda t: 0.8 * RANDOM_LOSS + 0 * t)
    assert (last(level, accuracy=0.1) == 3).all()
    assert (last(level, accuracy=0.5) == 2).all()


def test_runs_at_the_accuracy_of_an_even_guess_diverge_where_random_points_happen_to_guess_worse() -> None:
    """Fashion-MNIST at width 16: 32 random points get 8.6%, diverged runs 10%. Their loss is 0.8 times the points'."""
    points = replace(guessing(), accuracy=guessing().accuracy - 0.014)
    loss, accuracy = np.full((UNITS, WINDOWS), 0.8 * RANDOM_LOSS), np.full((UNITS, WINDOWS), 0.1)
    accuracy += np.random.default_rng(0).normal(0, 0.003, accuracy.shape)
    assert not votes.diverges(loss, accuracy, points).any()
    assert votes.diverges(loss, accuracy, replace(points, even_accuracy=0.1)).all()
    assert not votes.diverges(loss, accuracy + 0.03, replace(points, even_accuracy=0.1)).any(), "13% is learned"
    assert not votes.diverges(0.5 * loss, accuracy, replace(points, even_accuracy=0.1)).any(), "better than a constant"


def test_seeds_that_together_beat_chance_are_not_guessing() -> None:
    """Single runs cannot be told from chance, their mean can."""
    level = np.stack([CONVERGING, curves(lambda t: 0.8 * RANDOM_LOSS + 0 * t)])
    rng = np.random.default_rng(0)
    for excess, expected in ((0.0, {3}), (0.02, {2})):
        accuracy = 0.1 + excess + 0.06 * rng.standard_normal(level.shape)
        accuracy -= accuracy.mean(2, keepdims=True) - (0.1 + excess + 0.005 * np.linspace(-1, 1, UNITS)[None, :, None])
        found = votes.vote(level, accuracy, guessing(), divergence_exists=True)
        assert set(found.votes[1]) == expected


@pytest.mark.parametrize(("seeds", "lost"), [(2, True), (3, False), (6, False)])
def test_it_takes_three_seeds_to_beat_chance_together(seeds: int, lost: bool) -> None:
    level = curves(lambda t: 0.8 * RANDOM_LOSS + 0 * t)[:seeds]
    accuracy = 0.12 + 0.06 * np.resize([1.0, -1.0], level.shape) + 0.002 * np.linspace(-1, 1, seeds)[:, None]
    assert votes.diverges(level, accuracy, guessing(seeds)).tolist() == [lost] * seeds


def test_a_single_random_point_has_no_error_and_is_compared_with_all_the_same() -> None:
    one = replace(guessing(), loss=np.full((UNITS, 1), RANDOM_LOSS), accuracy=np.full((UNITS, 1), 0.1))
    level = curves(lambda t: 1.3 * RANDOM_LOSS + 0 * t)
    assert votes.diverges(level, np.full(level.shape, 0.2), one).all()


def test_a_loss_clearly_above_random_points_is_regime_3_whatever_the_accuracy() -> None:
    assert (last(curves(lambda t: 1.3 * RANDOM_LOSS + 0 * t), accuracy=0.2) == 3).all()


def test_a_loss_below_a_constant_predictions_is_not_regime_3() -> None:
    assert (last(curves(lambda t: 2.0 + 0 * t), accuracy=0.1) == 2).all()


def test_without_accuracies_random_losses_decide() -> None:
    for factor, expected in ((1.05, 3), (0.8, 2)):
        loss = np.stack([CONVERGING, curves(lambda t, f=factor: f * RANDOM_LOSS + 0 * t, noise=0.01)])
        found = votes.vote(loss, None, guessing(accuracy=False), divergence_exists=True)
        assert (found.votes[1] == expected).all()


def test_each_run_is_compared_with_its_own_random_points() -> None:
    loss = np.stack([np.full((2, WINDOWS), 1e-3) / np.linspace(0.1, 1, WINDOWS), np.full((2, WINDOWS), 3.0)])
    own = votes.Guessing(
        loss=np.stack([np.linspace(2.4, 2.6, 16), np.linspace(3.9, 4.1, 16)]),
        accuracy=np.full((2, 16), 0.1),
        constant_loss=2.3,
    )
    found = votes.vote(loss, np.full(loss.shape, 0.3), own, divergence_exists=True)
    assert found.votes[1].tolist() == [3, 2]


def test_a_run_too_slow_to_leave_random_losses_is_regime_1_with_a_flag() -> None:
    found = grid_ballot(curves(lambda t: RANDOM_LOSS - 0.2 * t, noise=0.0), CONVERGING, accuracy=0.1)
    assert (found.votes == 1).all()
    assert found.slow[0].all()
    assert not found.slow[1].any()


def test_the_best_learning_rate_is_never_called_slow() -> None:
    found = grid_ballot(curves(lambda t: RANDOM_LOSS - 2 * t, noise=0.0))
    assert found.best == 0
    assert (found.votes == 1).all()
    assert not found.slow.any()


def test_a_window_that_stays_does_not_go_down() -> None:
    assert votes.decline(np.array([[9.0, 9, 9, 9, 4, 4, 3, 3]])).down.tolist() == [1 / 3]


def test_half_of_the_runs_are_not_most_of_them() -> None:
    for falling, best in ((2, None), (3, 0)):
        loss = np.where((np.arange(4) < falling)[:, None], CONVERGING[0], 0.5)
        found = votes.vote(loss[None], np.full((1, *loss.shape), 0.9), guessing(4), divergence_exists=True)
        assert found.best == best


def test_a_grid_without_converging_runs_has_no_regime_1() -> None:
    levels = [curves(lambda t, a=a: a + 0 * t) for a in (0.5, 0.8, 1.2)]
    assert (grid_ballot(*levels).votes == 2).all()


def test_jumps_that_come_back_are_flagged_and_stay_regime_1() -> None:
    loss = curves(lambda t: 0.1 * FLOOR / t**2, noise=0.02)
    loss[:, 30] *= 30
    found = grid_ballot(CONVERGING, loss, accuracy=0.95)
    assert found.jumps[1].all()
    assert not found.jumps[0].any()
    assert (found.votes == 1).all()


def test_a_network_that_is_not_scale_invariant_has_no_regime_3() -> None:
    assert (last(curves(lambda t: 2 * RANDOM_LOSS + 0 * t), accuracy=0.5, divergence_exists=False) == 2).all()


def test_a_network_that_is_not_scale_invariant_and_ends_at_chance_is_dead() -> None:
    """Finite, a constant prediction's loss, chance accuracy: no equilibrium, whatever its loss does."""
    level = curves(lambda t: np.log(10) + 0.01 + 0 * t, noise=1e-4)
    assert (last(level, accuracy=0.1, divergence_exists=False) == 3).all()
    result = fake_result(lrs=16, seeds=3, invariant=False, space="whole")
    for name in ("pretrain/train_loss", "finetune/train_loss"):
        result[name][-3:] = float(np.log(2)) + 0.01
    for name in (f"{node}/{part}_accuracy" for node in ("pretrain", "finetune") for part in ("train", "test")):
        result[name][-3:] = 0.5
    result.attrs["task"] = json.dumps({**json.loads(result.attrs["task"]), "constant_loss": float(np.log(2))})
    found = regimes(result)
    assert [x.regime for x in found.labels[-3:]] == ["dead"] * 3
    assert found.labels[-1].votes == {"dead": 3}
    assert found.recommended.high is not None
    assert found.recommended.high < found.labels[-3].lr


def test_a_dead_network_may_end_a_little_below_a_constant_predictions_loss() -> None:
    """Its loss scatters around that, by the batches that an epoch leaves out and by rounding."""
    for factor, expected in ((0.995, 3), (0.98, 2)):
        level = curves(lambda t, f=factor: f * np.log(10) + 0 * t, noise=1e-4)
        assert (last(level, accuracy=0.1, divergence_exists=False) == expected).all()
    assert (last(curves(lambda t: 0.995 * np.log(10) + 0 * t, noise=1e-4), accuracy=0.1) == 2).all(), "not so regime 3"


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5), (0.62, 0.38), (0.2,) * 5, (0.4, 0.15, 0.15, 0.15, 0.15), (0.999, 0.001)]
)
def test_the_entropy_of_labels_bounds_the_share_of_the_most_frequent_class(shares: tuple[float, ...]) -> None:
    """Exactly where the other classes are equally frequent; otherwise from above."""
    p = np.array(shares)
    assert votes.most_frequent(float(-(p * np.log(p)).sum()), len(p)) == pytest.approx(max(p), abs=2e-3)
    uneven = np.array([0.4, 0.3, 0.2, 0.1])
    bound = votes.most_frequent(float(-(uneven * np.log(uneven)).sum()), 4)
    assert 0.4 < bound < 0.55


def test_a_dead_network_that_predicts_the_most_frequent_class_is_dead() -> None:
    """Its accuracy is that class's share, above what random points get: what it learned is a constant."""
    shares = np.array([0.62, 0.38])
    constant = float(-(shares * np.log(shares)).sum())
    level = curves(lambda t: constant * 1.01 + 0 * t, noise=1e-4)
    loss = np.stack([CONVERGING, level])
    even = np.tile(np.linspace(0.4, 0.6, 16), (UNITS, 1))
    most = votes.most_frequent(constant, 2)
    own = votes.Guessing(loss=guessing().loss, accuracy=even, constant_loss=constant, constant_accuracy=most)
    for accuracy, expected in ((0.62, 3), (0.7, 2)):
        found = votes.vote(loss, np.full(loss.shape, accuracy), own, divergence_exists=False)
        assert set(found.votes[1]) == {expected}


def test_dead_networks_on_unequal_classes_are_labelled_so() -> None:
    result = fake_result(lrs=16, seeds=3, finetune=False, average=False, features=False, invariant=False, space="whole")
    shares = np.array([0.62, 0.38])
    constant = float(-(shares * np.log(shares)).sum())
    result["pretrain/train_loss"][-3:] = constant * 1.01
    for part in ("train", "test"):
        result[f"pretrain/{part}_accuracy"][-3:] = 0.62
    told = {**json.loads(result.attrs["task"]), "constant_loss": constant}
    for loss, expected in (("cross_entropy", "dead"), ("mse", "2")):
        result.attrs["task"] = json.dumps({**told, "loss": loss})
        assert [x.regime.rstrip("AB") for x in regimes(result).labels[-3:]] == [expected] * 3


def test_a_dead_regression_predicts_a_constant() -> None:
    constant = votes.Guessing(loss=guessing().loss, accuracy=None, constant_loss=1.0)
    for level, expected in ((1.0, 3), (0.9, 2)):
        loss = np.stack([CONVERGING, curves(lambda t, a=level: a + 0 * t, noise=1e-4)])
        assert (votes.vote(loss, None, constant, divergence_exists=False).votes[1] == expected).all()
    unknown = votes.Guessing(loss=guessing().loss, accuracy=None, constant_loss=0.0)
    assert (votes.vote(loss, None, unknown, divergence_exists=False).votes[1] == 2).all()


def test_runs_with_nan_and_short_curves_vote_nothing() -> None:
    loss = curves(lambda t: 0.1 / t)
    loss[2, 20:] = np.nan
    assert grid_ballot(loss).votes[0].tolist() == [1, 1, 0, 1, 1, 1]
    assert (grid_ballot(curves(lambda t: 0.1 / t, windows=7)).votes == 0).all()
    assert (grid_ballot(curves(lambda t: 0.1 / t, windows=8)).votes == 1).all()


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


def test_a_border_is_the_geometric_middle_of_its_cell_and_its_interval_ends_at_the_edges_of_cells() -> None:
    lrs = np.array([1e-3, 1e-2, 1e-1, 1.0])
    assert borders.middle(lrs, 2) == pytest.approx(10**-1.5)
    assert borders.interval(np.full(20, 2), lrs) == (1e-2, 1e-1)
    scattered = np.array([1] * 3 + [2] * 34 + [3] * 3)
    assert borders.interval(scattered, lrs, level=0.8) == (1e-2, 1e-1)
    assert borders.interval(scattered, lrs) == (1e-3, 1.0), "95%: one in forty on either side"
    assert borders.interval(np.array([2] * 37 + [3]), lrs) == (1e-2, 1.0), "one in 38 is more than 2.5%"
    assert borders.interval(np.repeat([0, 4], 20), lrs) == (1e-3, 1.0), "a border off the grid ends at its edge"


def test_learning_rates_without_a_vote_favour_no_end_of_the_grid() -> None:
    votes_LU = np.array([1, 1, 0, 0, 2, 2, 0, 0, 3, 3])[:, None]
    assert borders.split(borders.tally(votes_LU)) == (3, 7)
    assert borders.split(borders.tally(np.array([[1], [0], [2]]))) == (1, 3)


@pytest.mark.slow
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
    pairs = borders.draws(2, 3, count=200).reshape(200, 2, 3)[:, :, 0] // 3
    assert {tuple(pair) for pair in pairs.tolist()} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert set(borders.draws(1, 3).ravel().tolist()) == {0, 1, 2}


def test_as_good_as_best_is_a_paired_comparison() -> None:
    rng = np.random.default_rng(0)
    seed_effect = 0.05 * rng.standard_normal(12)
    base = 0.9 + seed_effect
    better = np.stack([base, base - 0.02 + 0.002 * rng.standard_normal(12), base - 0.001])
    assert quality.as_good_as_best(better).tolist() == [True, False, True]


def test_2a_is_the_first_unbroken_stretch_of_regime_2_that_is_as_good_as_the_best() -> None:
    assert quality.stretch(np.array([True, True, True, False, True]), 1, 5) == (1, 3)
    assert quality.stretch(np.array([True, False, True]), 1, 3) == (2, 3), "2A may begin inside regime 2"
    assert quality.stretch(np.array([True, False, False]), 1, 3) == (1, 1)
    known = np.array([True, False, True, False, True])
    assert quality.stretch(np.array([True, False, True, False, False]), 1, 5, known) == (1, 3), (
        "untried ones inside belong"
    )


def test_one_lucky_learning_rate_inside_regime_2_makes_no_2a() -> None:
    """As on the digits, where the best lies in regime 1 and all of regime 2 falls half a point short of it."""
    reached = np.array([0.9797, 0.9741, 0.9707, 0.9724, 0.9763, 0.9737])
    seeds = np.array([-0.002, 0.0005, 0.0015])
    lucky = reached[:, None] + seeds * np.array([1, -1, 1, -1, 1, -1])[:, None]
    assert quality.as_good_as_best(lucky)[4], "it is equal to the best, taken alone"
    assert quality.lower_part(lucky, 1, 6) == (1, 1)
    clear = lucky.copy()
    clear[1:4] -= 0.02
    assert quality.lower_part(clear, 1, 6) == (4, 5), "clearly better than what lies below it"
    from_border = lucky.copy()
    from_border[1] = lucky[0]
    assert quality.lower_part(from_border, 1, 6) == (1, 2), "from the border 1|2 on nothing lies below"
    untried = clear.copy()
    untried[1:4] = np.nan
    known = np.isfinite(untried).any(1)
    assert quality.lower_part(untried, 1, 6, known)[0] == 1, "what was not fine-tuned is no rival"


def test_a_learning_rate_that_scatters_is_not_as_good_as_the_best_for_it() -> None:
    """0.854 against 0.9475, because one seed failed."""
    values = np.array([[0.946, 0.948, 0.949], [0.945, 0.947, 0.949], [0.944, 0.946, 0.671]])
    assert quality.as_good_as_best(values).tolist() == [True, True, False]


def test_two_standard_errors_of_a_learning_rate_of_its_own_count_up_to_a_point() -> None:
    values = np.full((9, 3), 0.9)
    values[7] = 0.894 + np.array([-0.01, 0, 0.01])
    values[8] = 0.886 + np.array([-0.05, 0, 0.05])
    assert quality.as_good_as_best(values).tolist() == [True] * 8 + [False]


def test_nan_units_are_left_out_of_the_comparison() -> None:
    values = np.array([[0.9, 0.9, np.nan], [0.5, np.nan, np.nan], [np.nan] * 3])
    assert quality.as_good_as_best(values).tolist() == [True, False, False]


def test_equal_learning_rates_are_rarely_rejected_with_three_seeds() -> None:
    rng = np.random.default_rng(1)
    rejected = clearly_worse = 0
    for _ in range(400):
        values = 0.9 + 0.02 * rng.standard_normal(3) + 0.005 * rng.standard_normal((5, 3))
        best = int(values.mean(1).argmax())
        other = 0 if best else 1
        rejected += not quality.as_good_as_best(values)[other]
        values[other] -= 0.04  # eight deviations
        clearly_worse += not quality.as_good_as_best(values)[other]
    assert rejected / 400 < 0.1, "two standard errors of three differences alone reject two in ten"
    assert clearly_worse / 400 > 0.95


def test_noise_is_the_residual_of_learning_rate_plus_seed() -> None:
    rng = np.random.default_rng(2)
    effects = rng.standard_normal((200, 1)) + 3 * rng.standard_normal(50)
    found = quality.noise(effects + 0.1 * rng.standard_normal((200, 50)))
    assert found == pytest.approx(1.96 * 0.1 * np.sqrt(2), rel=0.03)
    assert quality.noise(effects) == pytest.approx(0, abs=1e-12)
    assert quality.noise(effects[:1]) == 0  # one row says nothing
    assert quality.noise(np.array([[0.9, np.nan], [0.8, 0.7]])) == 0
    crossing = quality.noise(np.array([[0.9, 0.8], [0.8, 0.9]]))
    assert crossing == pytest.approx(12.706 * np.sqrt(2) * 0.1, rel=1e-4), "one degree of freedom: Student's t is 12.7"


def test_a_single_seed_is_rejected_only_beyond_the_noise_of_the_best_ones() -> None:
    values = np.array([[0.90, 0.91, 0.92], [0.90, 0.92, 0.91], [0.89, np.nan, np.nan], [0.70, np.nan, np.nan]])
    assert quality.as_good_as_best(values).tolist() == [True, True, True, False]
    lucky = np.array([[0.90, 0.91, 0.92], [0.90, 0.92, 0.91], [0.99, np.nan, np.nan]])
    assert quality.as_good_as_best(lucky)[0], "one seed cannot be the best that the others are measured by"


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize(("seeds", "words"), [(1, "range over 1 seed, widened"), (2, "range over 2 seeds, widened")])
def test_one_seed_is_called_one_seed(seeds: int, words: str) -> None:
    assert words in regimes(fake_result(seeds=seeds)).borders["1|2"].reason


@pytest.mark.parametrize("nonfinite", [4, 5])
def test_a_regime_of_a_single_rate_below_the_overflow_has_a_border(nonfinite: int) -> None:
    border = regimes(fake_result(lrs=16, space="whole", nonfinite_lrs=nonfinite)).borders["2|3"]
    assert (border.lr is not None) == (nonfinite == 4), "with four, one learning rate of regime 3 is left"
    assert ("refine the grid between 0.0464159 and 0.0857696" in border.reason) == (nonfinite == 5)


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
    assert found.recommended.best is not None, "what was reached is known all the same"


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
