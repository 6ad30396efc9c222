"""The votes' arithmetic against a literal twin, one run and one window at a time, and at the limits of its thresholds.

The twin is written from docs/regimes.md and the docstrings, with the thresholds as numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import fsum, log, sqrt
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lrscope.mapping import votes
from lrscope.mapping.votes import Best, Decline, Guessing

Array = NDArray[np.float64]
CURVE = 16  # logged windows of the planted curves


def told(*rows: Sequence[float], down: Sequence[float] | None = None) -> Decline:
    """How runs end: (level, drop, error) of each."""
    level, drop, error = np.array(rows).T
    return Decline(level=level, drop=drop, error=error, down=np.zeros(len(rows)) if down is None else np.array(down))


# --- how a curve ends ---


def twin_scatter(values: list[float]) -> float:
    """Standard deviation about the line of least squares, with a first-order autocorrelation of 0 to 0.9."""
    n, mean = len(values), fmean(values)
    times = [i - (n - 1) / 2 for i in range(n)]
    slope = fsum(v * t for v, t in zip(values, times, strict=True)) / fsum(t * t for t in times)
    left = [v - mean - slope * t for v, t in zip(values, times, strict=True)]
    squares = fsum(x * x for x in left)
    r = fsum(a * b for a, b in pairwise(left)) / squares
    r = min(max(r, 0.0), 0.9)
    return sqrt(squares / (n - 2) * (1 + r) / (1 - r))


def twin_decline(loss: list[float]) -> tuple[float, float, float, float]:
    """Level, drop, error and share of windows that go down, of a curve's second half on the log scale."""
    half = [log(x) for x in loss[len(loss) // 2 :]]
    n = len(half)
    cut = n // 2
    third, fourth = median(half[:cut]), median(half[cut:])
    line = [(third + fourth) / 2 + (fourth - third) / (n / 2) * (i - (n - 1) / 2) for i in range(n)]
    bound = 4 * 1.4826 * median(abs(x - y) for x, y in zip(half, line, strict=True))
    kept = [min(max(x, y - bound), y + bound) for x, y in zip(half, line, strict=True)]
    level = fmean(kept[cut:])
    error = twin_scatter(kept) * sqrt(1 / cut + 1 / (n - cut))
    return level, fmean(kept[:cut]) - level, error, fmean(float(b < a) for a, b in pairwise(half))


def walks(windows: int, runs: int = 12) -> Array:
    """Losses [U, W] that wander, fall, scatter about a level (the last ones) and jump."""
    rng = np.random.default_rng(windows)
    steps = rng.standard_normal((runs, windows))
    logs = np.where(np.arange(runs)[:, None] < runs // 2, np.cumsum(steps, 1), steps) * rng.uniform(0.01, 1, (runs, 1))
    logs -= rng.uniform(0, 0.2, (runs, 1)) * np.arange(windows)
    logs[::3, -3] += 6
    return np.asarray(np.exp(logs))


@pytest.mark.parametrize("windows", [8, 9, 14, 21])
def test_how_a_curve_ends_is_what_a_twin_finds(windows: int) -> None:
    loss = walks(windows)
    found = votes.decline(loss)
    expected = np.array([twin_decline(curve) for curve in loss.tolist()]).T
    np.testing.assert_allclose([found.level, found.drop, found.error, found.down], expected, rtol=1e-9, atol=1e-12)


def test_what_follows_its_neighbour_closely_counts_as_an_autocorrelation_of_nine_tenths() -> None:
    slow = np.exp(np.cos(np.arange(200) / 20))
    expected = np.array([twin_decline(slow.tolist())])
    np.testing.assert_allclose(votes.decline(slow[None]).error, expected[:, 2], rtol=1e-9)


def test_a_curve_without_any_scatter_or_with_a_loss_of_zero_ends_quietly() -> None:
    """0 / 0 is no autocorrelation; a loss that underflows is the smallest number."""
    with np.errstate(all="raise"):
        found = votes.decline(np.stack([np.full(8, 2.0), np.zeros(8)]))
    assert found.drop.tolist() == found.error.tolist() == [0, 0]
    np.testing.assert_allclose(found.level, [log(2), log(2.2250738585072014e-308)])


def test_a_loss_falls_by_more_than_a_tenth_and_by_more_than_three_errors() -> None:
    ends = [(0.1, 0.0), (0.11, 0.0), (0.375, 0.125), (0.4, 0.125), (0.09, 0.001), (0.4, 0.12)]
    found = told(*((0.0, drop, error) for drop, error in ends))
    assert found.falls.tolist() == [False, True, False, True, False, True]


def test_a_loss_creeps_if_four_windows_in_five_go_down_and_it_drops_by_more_than_three_errors() -> None:
    ends = [(0.4, 0.125, 0.8), (0.4, 0.125, 0.79), (0.375, 0.125, 1.0), (0.4, 0.12, 0.9), (0.01, 0.001, 1.0)]
    found = told(*((0.0, drop, error) for drop, error, _ in ends), down=[down for *_, down in ends])
    assert found.creeps.tolist() == [True, False, False, True, True]


# --- where converging runs get to ---


def test_the_best_converging_learning_rate_has_the_lowest_median_level_of_those_that_fall() -> None:
    """A run that is not finite takes the medians of the others, and is not counted."""
    lost = (50.0, 9.0, 9.0)
    falling = told((-1, 0.5, 0.01), (-3, 0.7, 0.02), (-2, 0.9, 0.05), lost)
    higher = told((0, 0.5, 0.01), (0, 0.5, 0.01), (0, 0.5, 0.01), (0, 0.5, 0.01))
    lowest = told(*[(-9.0, 0.05, 0.0)] * 4)
    finite = np.array([[True] * 4, [True, True, True, False], [True] * 4, [False] * 4])
    best = votes.best_converging([higher, falling, lowest, falling], finite)
    assert best is not None
    assert best.position == 1
    assert best.level.tolist() == [-1, -3, -2, -2]
    assert best.drop.tolist() == [0.5, 0.7, 0.9, 0.7]
    assert best.error.tolist() == [0.01, 0.02, 0.05, 0.02]
    assert votes.best_converging([falling], np.zeros((1, 4), bool)) is None
    assert votes.best_converging([lowest], np.ones((1, 4), bool)) is None


def test_without_a_best_learning_rate_those_that_fall_or_creep_converge() -> None:
    seen = told((0, 0.5, 0.01), (0, 0.05, 0.001), (0, 0.05, 0.001), down=[0.1, 0.9, 0.5])
    assert votes.converges(seen, 0, None).tolist() == [True, True, False]


def test_up_to_the_best_learning_rate_a_level_within_a_factor_of_three_converges_too() -> None:
    seen = told((9, 0.5, 0.01), (9, 0.05, 0.001), (1.1, 0, 0), (1.11, 0, 0), (-5, 0, 0), down=[0.1, 0.9, 0, 0, 0])
    best = Best(position=2, level=np.array([0, 0, 0, 0, -6.0]), drop=np.full(5, 0.5), error=np.zeros(5))
    for k in (0, 2):
        assert votes.converges(seen, k, best).tolist() == [True, True, True, False, True]


def test_above_the_best_learning_rate_a_level_may_not_have_risen_unless_it_falls_faster() -> None:
    """Risen is more than 0.1, more than three errors of both, and not more than 1.1 whatever the errors."""
    cases = [  # level, drop, error; the best one's level, drop, error; converges
        ((0.1, 0, 0), (0.0, 1, 0), True),
        ((0.11, 0, 0), (0.0, 1, 0), False),
        ((-1.86, 0, 0.03), (-2.0, 1, 0.04), True),
        ((-1.84, 0, 0.03), (-2.0, 1, 0.04), False),
        ((-1.86, 0, 0.04), (-2.0, 1, 0.03), True),
        ((-1.84, 0, 0.04), (-2.0, 1, 0.03), False),
        ((-1.0, 0, 1), (-2.0, 1, 0), True),
        ((-0.8, 0, 1), (-2.0, 1, 0), False),
        ((5, 0.6, 0.01), (0.0, 0.5, 0), True),
        ((5, 0.5, 0.01), (0.0, 0.5, 0), False),
        ((5, 0.6, 0.5), (0.0, 0.5, 0), False),
        ((5, 0.4, 0.01), (0.0, 0.5, 0), False),
    ]
    seen = told(*(run for run, _, _ in cases))
    level, drop, error = np.array([own for _, own, _ in cases]).T
    best = Best(position=0, level=level, drop=drop, error=error)
    assert votes.converges(seen, 1, best).tolist() == [expected for *_, expected in cases]


# --- what guessing gets ---


@pytest.mark.parametrize(("windows", "start"), [(8, 6), (9, 6), (10, 7), (15, 11), (40, 30)])
def test_the_last_quarter_begins_after_three(windows: int, start: int) -> None:
    assert votes.final_window(windows) == slice(start, None)


@pytest.mark.parametrize("share", [0.25, 0.4, 0.6, 0.9, 0.99])
def test_the_most_frequent_of_four_classes_has_the_share_that_gives_the_entropy(share: float) -> None:
    rest = (1 - share) / 3
    with np.errstate(all="raise"):
        found = votes.most_frequent(-share * log(share) - 3 * rest * log(rest), 4)
    assert found == pytest.approx(share, abs=1e-5)


def test_labels_that_are_nearly_all_alike_have_a_class_with_nearly_all() -> None:
    assert votes.most_frequent(1e-5, 3) == pytest.approx(1, abs=1e-5)
    assert votes.most_frequent(1e-5, 2) == pytest.approx(1, abs=1e-5)


def twin_mean(values: list[float]) -> tuple[float, float]:
    """Mean and standard error; that of one value is 0."""
    return fmean(values), stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0


def twin_blind(loss: list[float], accuracy: Array, points: Array, floor: float, least: float) -> list[bool]:
    chance, chance_error = twin_mean(points.ravel().tolist())
    chance = max(chance, least)
    means = [twin_mean(run) for run in accuracy.tolist()]
    together, error = twin_mean([mean for mean, _ in means])
    if len(means) > 2 and together - chance > max(1.645 * error, 0.01 * (1 - chance)):
        return [False] * len(means)
    allowed = [max(1.645 * sqrt(own**2 + chance_error**2), 0.01 * (1 - chance)) for _, own in means]
    return [m <= chance + a and x >= floor for (m, _), a, x in zip(means, allowed, loss, strict=True)]


def twin_diverges(loss: Array, accuracy: Array | None, points: Guessing) -> list[bool]:
    part = len(loss[0]) * 3 // 4
    ends, random = [twin_mean(run[part:]) for run in loss.tolist()], [twin_mean(own) for own in points.loss.tolist()]
    margins = [1.645 * sqrt(a**2 + b**2) for (_, a), (_, b) in zip(ends, random, strict=True)]
    if accuracy is None or points.accuracy is None:
        return [x >= y - m for (x, _), (y, _), m in zip(ends, random, margins, strict=True)]
    above = [x > y + m for (x, _), (y, _), m in zip(ends, random, margins, strict=True)]
    blind = twin_blind(
        [x for x, _ in ends], accuracy[:, part:], points.accuracy, points.constant_loss, points.even_accuracy
    )
    return [a or b for a, b in zip(above, blind, strict=True)]


def twin_dies(loss: Array, accuracy: Array | None, points: Guessing) -> list[bool]:
    part, floor = len(loss[0]) * 3 // 4, 0.99 * points.constant_loss
    ends = [fmean(run[part:]) for run in loss.tolist()]
    if accuracy is None or points.accuracy is None:
        return [x >= floor and points.constant_loss > 0 for x in ends]
    return twin_blind(ends, accuracy[:, part:], points.accuracy, floor, points.constant_accuracy)


def drawn(rng: np.random.Generator, *, one_point: bool) -> tuple[Array, Array, Guessing]:
    """Runs [U, W] about as good as guessing, by more or less than their scatter, and what guessing gets."""
    runs, windows = int(rng.integers(1, 5)), int(rng.integers(8, 17))
    noise, chance = rng.choice([0.001, 0.02, 0.2]), rng.choice([0.1, 0.5])
    points = (runs, 1 if one_point else 5)
    loss = 2 + noise * rng.standard_normal((runs, 1)) + noise * rng.standard_normal((runs, windows))
    accuracy = chance + rng.uniform(-0.01, 0.03) + 0.1 * noise * rng.standard_normal((runs, windows))
    return (
        loss,
        accuracy + 0.05 * noise * rng.standard_normal((runs, 1)),
        Guessing(
            loss=2 + noise * rng.standard_normal(points),
            accuracy=chance + 0.1 * noise * rng.standard_normal(points),
            constant_loss=float(2 + noise * rng.standard_normal()) * rng.choice([1, 1, 1.01]),
            constant_accuracy=chance + rng.choice([-0.02, 0.01, 0.02]),
            even_accuracy=chance + rng.choice([-0.02, 0.0, 0.01]),
        ),
    )


@pytest.mark.parametrize("one_point", [False, True])
def test_who_is_no_better_than_guessing_is_what_a_twin_finds(one_point: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        loss, accuracy, points = drawn(rng, one_point=one_point)
        for seen in (accuracy, None):
            assert votes.diverges(loss, seen, points).tolist() == twin_diverges(loss, seen, points)
            assert votes.dies(loss, seen, points).tolist() == twin_dies(loss, seen, points)
        unknown = Guessing(loss=points.loss, accuracy=None, constant_loss=points.constant_loss)
        assert votes.diverges(loss, accuracy, unknown).tolist() == twin_diverges(loss, None, points)
        assert votes.dies(loss, accuracy, unknown).tolist() == twin_dies(loss, None, points)


def test_at_the_limits_themselves_a_loss_is_that_of_guessing_and_is_not_clearly_above_it() -> None:
    flat = np.full((3, 8), 4.0)
    points = Guessing(loss=flat[:, :4], accuracy=np.full((3, 4), 0.1), constant_loss=4.0)
    assert not votes.diverges(flat, np.full(flat.shape, 0.9), points).any()
    assert votes.diverges(flat, None, points).all()
    assert votes.diverges(flat, np.full(flat.shape, 0.1), points).all()
    one = Guessing(loss=flat[:, :4], accuracy=np.zeros((3, 4)), constant_loss=1.0)
    assert votes.dies(np.full((3, 8), 0.99), None, one).all()
    assert votes.dies(np.full((3, 8), 0.99), np.full((3, 8), 0.01), one).all(), "a hundredth better is not better"
    assert not votes.dies(np.full((3, 8), 0.99), np.full((3, 8), 0.0101), one).any()
    unknown = Guessing(loss=flat[:, :4], accuracy=None, constant_loss=0.0)
    assert not votes.dies(flat, None, unknown).any()


# --- jumps ---


def twin_jumps(loss: list[float]) -> bool:
    half = loss[len(loss) // 2 :]
    return any(
        half[i] > 5 * median(half[max(0, i - 5) : i]) and half[i] > 5 * min(half[i + 1 : i + 6])
        for i in range(2, len(half) - 2)
    )


@pytest.mark.parametrize("windows", [9, 14, 24])
def test_jumps_are_what_a_twin_finds(windows: int) -> None:
    rng = np.random.default_rng(windows)
    loss = rng.choice([0.5, 1.0, 1.0, 1.0, 5.0, 5.5, 30.0], (400, windows))
    loss[:100] = rng.choice([1.0, 1.1], (100, windows))
    half = windows // 2
    loss[:50, half + 2] = 5.2
    loss[50:100, -3] = rng.choice([5.0, 5.2, 5.9], 50)
    loss[100, half:] = [0.5, 0.5, 5.0, *[1.0] * (windows - half - 3)]  # exactly five times what follows
    found = votes.jumps(loss)
    assert 0 < found.sum() < len(found)
    assert found.tolist() == [twin_jumps(curve) for curve in loss.tolist()]


# --- all of it ---


def geometric(start: float, ratio: float) -> Array:
    return np.asarray(start * ratio ** np.arange(CURVE))


def grid(*rows: Sequence[Array], **options: Any) -> votes.Ballot:
    """Votes on curves [L, U, W] at chance accuracy; random points get 4, a constant prediction 0.5."""
    loss = np.array(rows)
    points = Guessing(
        loss=np.full((loss.shape[1], 3), 4.0), accuracy=np.full((loss.shape[1], 3), 0.1), constant_loss=0.5
    )
    return votes.vote(loss, np.full(loss.shape, 0.1), points, **{"divergence_exists": True, **options})


def test_slow_is_who_creeps_below_the_best_and_does_not_fall_or_is_high() -> None:
    falls_low, falls_high, near_high = geometric(1e-2, 0.9), geometric(8, 0.9), geometric(0.9 / 0.9**13.5, 0.9)
    creeps_low, broken = geometric(0.01, 0.999), np.where(np.arange(CURVE) < 9, 1.0, np.nan)
    flat = np.full(CURVE, 1e-4)
    below = [falls_low, falls_high, near_high, creeps_low, flat, broken]
    best = [geometric(1e-3, 0.8)] * 6
    found = grid(below, best, [creeps_low] * 6)
    assert found.best == 1
    assert found.votes.tolist() == [[1, 1, 1, 1, 1, 0], [1] * 6, [2] * 6]
    assert found.slow.tolist() == [[False, True, False, True, False, False], [False] * 6, [False] * 6]
    assert not grid([falls_high] * 2).slow.any(), "not the best one itself"
    assert grid([creeps_low, falls_low]).best is None
    assert grid([creeps_low, falls_low]).slow.tolist() == [[True, False]], "half of the runs fall: no best one"


def test_a_run_that_is_not_finite_has_no_level_no_flag_and_no_vote() -> None:
    """Its accuracy and what stands for its loss would pass for guessing."""
    broken = np.where(np.arange(CURVE) == CURVE - 1, np.inf, geometric(4, 0.99))
    jump = np.where(np.arange(CURVE) == 12, 100.0, 1.0)
    found = grid([broken, jump, np.full(CURVE, 3.0)])
    assert found.votes.tolist() == [[0, 3, 3]]
    assert found.jumps.tolist() == [[False, True, False]]
    assert np.isnan(found.level).tolist() == [[True, False, False]]
    np.testing.assert_allclose(found.level[0, 2], log(3))


def test_only_a_scale_invariant_network_diverges_with_labels_that_are_right() -> None:
    loss = np.full((1, 2, CURVE), 9.0)
    points = Guessing(loss=np.full((2, 3), 4.0), accuracy=np.full((2, 3), 0.1), constant_loss=0.5)
    for invariant, expected in ((True, 3), (False, 2)):
        found = votes.vote(loss, np.full(loss.shape, 0.9), points, divergence_exists=invariant)
        assert found.votes.tolist() == [[expected] * 2]


def test_levels_end_at_a_millionth_of_the_mean_random_loss() -> None:
    found = grid([np.full(CURVE, 1e-9), np.full(CURVE, 5e-6)])
    np.testing.assert_allclose(found.level, [[log(4e-6), log(5e-6)]])


def test_seven_windows_tell_nothing_and_eight_do() -> None:
    assert grid([geometric(1, 0.8)[:8]] * 2).votes.tolist() == [[1, 1]]
    found = grid([np.full(7, 1.0)] * 2)
    assert (found.votes.tolist(), found.best) == ([[0, 0]], None)
    assert not found.slow.any()
    assert not found.jumps.any()
    assert np.isnan(found.level).all()
