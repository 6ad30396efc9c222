"""What counts as good as the best, and what is recommended, against literal twins and at the limits of the thresholds.

The twins are written from docs/regimes.md and the docstrings, one learning rate at a time, with the thresholds as numbers.
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from math import isfinite, log, sqrt
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lrscope.mapping import quality

Array = NDArray[np.float64]
NAN = float("nan")


def around(k: int) -> slice:
    """A learning rate and two on either side."""
    return slice(max(0, k - 2), k + 3)


def full(row: Any) -> bool:
    return all(isfinite(x) for x in row)


# --- as good as the best, by noise ---


def twin_noise(rows: list[list[float]]) -> float:
    rows = [row for row in rows if full(row)]
    freedom = (len(rows) - 1) * (len(rows[0]) - 1) if rows else 0
    if freedom < 1:
        return 0.0
    columns = [fmean(column) for column in zip(*rows, strict=True)]
    mean = fmean(columns)
    squares = sum((x - fmean(row) - c + mean) ** 2 for row in rows for x, c in zip(row, columns, strict=True))
    return float(stats.t.ppf(0.975, freedom)) * sqrt(2 * squares / freedom)


def twin_equal(rows: list[list[float]]) -> list[bool]:
    known = [[x for x in row if isfinite(x)] for row in rows]
    most = max(len(row) for row in known)
    best = max((k for k, row in enumerate(known) if len(row) == most > 0), key=lambda k: fmean(known[k]), default=0)
    gaps = [[b - x for b, x in zip(rows[best], row, strict=True) if isfinite(b - x)] for row in rows]
    pairs = max(len(gap) for gap in gaps)
    scatter, equal = twin_noise(rows[around(best)]), []
    for gap in gaps:
        n = len(gap)
        if not n:
            equal.append(False)
            continue
        errors = 2 * stdev(gap) / sqrt(n) if n > 1 else 0.0
        allowed = min(max(errors, scatter / sqrt(n), 0.002), 0.01 * sqrt(pairs / n))
        equal.append(fmean(gap) <= allowed)
    return equal


def holes(rng: np.random.Generator, values: Array, share: float) -> Array:
    return np.where(rng.random(values.shape) < share, np.nan, values)


def test_what_is_as_good_as_the_best_is_what_a_twin_finds() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(150):
        lrs, seeds = int(rng.integers(2, 8)), int(rng.integers(1, 5))
        scale = rng.choice([0.0005, 0.002, 0.006])
        values = 0.9 + scale * (rng.standard_normal((lrs, 1)) + rng.standard_normal((lrs, seeds)))
        values = holes(rng, values, rng.choice([0, 0.2, 0.6]))
        expected = twin_equal(values.tolist())
        found += sum(expected)
        assert quality.as_good_as_best(values).tolist() == expected
    assert found > 100


def twin_lower(rows: list[list[float]], start: int, stop: int) -> tuple[int, int]:
    """2A: the first unbroken stretch of equal ones, whose best is clearly better than what regime 2 has below it."""
    equal = twin_equal(rows)
    begin = next((k for k in range(start, stop) if equal[k]), stop)
    end = next((k for k in range(begin, stop) if not equal[k]), stop)
    if begin == stop or any(twin_equal(rows[start:end])[: begin - start]):
        return start, start
    return begin, end


def test_the_lower_part_of_regime_2_is_what_a_twin_finds() -> None:
    rng = np.random.default_rng(4)
    seen = set()
    for _ in range(150):
        values = 0.9 + 0.003 * (rng.choice([0, 0, -1, -4], (7, 1)) + 0.5 * rng.standard_normal((7, 3)))
        start, stop = (int(k) for k in sorted(rng.choice(8, 2, replace=False)))
        found = quality.lower_part(values, start, stop)
        assert found == twin_lower(values.tolist(), start, stop)
        seen.add((found[0] > start, found[1] < stop, found[0] == found[1]))
    assert len(seen) > 4


def test_a_single_seed_a_tie_and_nothing_at_all() -> None:
    one = np.array([[0.5], [0.9], [0.897]])
    assert quality.as_good_as_best(one).tolist() == [False, True, False]
    assert quality.as_good_as_best(np.array([[0.0], [-0.002], [-0.0021]])).tolist() == [True, True, False]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert quality.as_good_as_best(np.full((2, 3), np.nan)).tolist() == [False, False]


def test_two_seeds_have_a_standard_error_and_one_has_the_scatter_of_the_best_ones() -> None:
    values = np.full((9, 2), 0.9)
    values[7] = 0.894 + np.array([-0.01, 0.01])
    assert quality.as_good_as_best(values).all()
    scattered = 0.9 + np.array([[0.003, 0, -0.003], [0, 0, 0], [0.002, -0.004, 0.002], [NAN] * 3])
    one, limit = quality.noise(scattered), 0.01 * sqrt(3)
    for gap, equal in ((0.9 * one, True), (1.1 * one, False)):
        scattered[3, 0] = scattered[0, 0] - gap
        assert quality.as_good_as_best(scattered)[3] == equal
    scattered[:3] *= 4
    for gap, equal in ((0.9 * limit, True), (1.1 * limit, False)):
        scattered[3, 0] = scattered[quality_best(scattered), 0] - gap
        assert quality.as_good_as_best(scattered)[3] == equal


def quality_best(values: Array) -> int:
    return int(np.argmax([row.mean() if full(row) else -np.inf for row in values]))


def test_2a_begins_at_the_first_equal_one_unless_nothing_below_it_was_tried() -> None:
    equal = np.array([True, False, False, True, True])
    assert quality.stretch(equal, 1, 5, np.array([True, True, False, True, True])) == (3, 5)
    assert quality.stretch(equal, 1, 5, np.array([True, False, False, True, True])) == (1, 5)


# --- the recommendation ---


def twin_kernel(lrs: list[float], complete: list[bool]) -> Array:
    width = 2 * median([log(b / a) for a, b in pairwise(lrs)])
    weights = np.array(
        [[max(1 - abs(log(x / y)) / width, 0) * c for y, c in zip(lrs, complete, strict=True)] for x in lrs]
    )
    return np.array([row / row.sum() if row.any() else row for row in weights])


def twin_variances(values: Array) -> list[float]:
    lrs, seeds = values.shape
    if seeds == 1:
        return [0.0] * lrs
    left = [row - row.mean() if full(row) else None for row in values]
    own: list[float | None] = []
    for k, row in enumerate(left):
        near = [other for other in left[around(k)] if other is not None]
        own.append(None if row is None else sum((row - np.median(near, axis=0)) ** 2) / (seeds - 1))
    typical = float(stats.chi2.median(seeds - 1)) / (seeds - 1)
    found = []
    for k, variance in enumerate(own):
        near_L = [other for other in own[around(k)] if other is not None]
        found.append(0.0 if variance is None else (variance + median(near_L) / typical) / 2)
    return found


def twin_smoothing(lrs: list[float], values: Array) -> Array:
    complete = [full(row) for row in values]
    weights, variances = twin_kernel(lrs, complete), twin_variances(values)
    means = [row.mean() if full(row) else 0.0 for row in values]
    rows = []
    for k, row in enumerate(weights):
        own = np.eye(len(lrs))[k] * complete[k]
        difference = float((own - row) @ means) ** 2
        variance = float((own - row) ** 2 @ variances) / values.shape[1]
        share = max(1 - 4 * variance / difference, 0.0) if difference > 0 else 0.0
        rows.append(share * own + (1 - share) * row)
    return np.array(rows)


def uneven(rng: np.random.Generator, lrs: int) -> Array:
    return np.asarray(np.exp(np.cumsum(rng.choice([0.5, 0.6, 1.4], lrs))))


def grids(count: int, key: int) -> list[tuple[Array, Array]]:
    """Learning rates, and qualities [L, U] with a hill, effects of seeds, scatter and holes."""
    rng = np.random.default_rng(key)
    found = []
    for _ in range(count):
        lrs, seeds = int(rng.integers(3, 9)), int(rng.integers(1, 5))
        hill = 0.9 - rng.choice([0.0005, 0.004]) * (np.arange(lrs) - rng.integers(0, lrs)) ** 2
        noise = rng.choice([0.0003, 0.003]) * rng.standard_normal((lrs, seeds)) * rng.uniform(0.2, 2, (lrs, 1))
        values = hill[:, None] + 0.01 * rng.standard_normal(seeds) + noise
        found.append((uneven(rng, lrs), holes(rng, values, rng.choice([0, 0, 0.2]))))
    return found


def test_smoothed_means_and_variances_are_what_twins_find() -> None:
    for lrs, values in grids(25, 1):
        complete = np.isfinite(values).all(1)
        with np.errstate(all="raise", under="ignore"):
            weights, variances = quality.kernel(lrs, complete), quality.variances(values)
            smoothed = quality.smoothing(lrs, values)
        np.testing.assert_allclose(weights, twin_kernel(lrs.tolist(), complete.tolist()), atol=1e-12)
        np.testing.assert_allclose(variances, twin_variances(values), rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(smoothed, twin_smoothing(lrs.tolist(), values), rtol=1e-6, atol=1e-9)


def test_on_an_even_grid_the_kernel_is_a_quarter_a_half_a_quarter_and_nothing_far_from_what_is_known() -> None:
    known = np.array([True, True, True, False, False, False])
    found = quality.kernel(np.logspace(0, 5, 6), known)
    expected = [[2 / 3, 1 / 3, 0], [0.25, 0.5, 0.25], [0, 1 / 3, 2 / 3], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(found[:, :3], expected, atol=1e-12)
    assert not found[:, 3:].any()
    assert quality.kernel(np.array([0.1]), np.array([True])).tolist() == [[1.0]]
    assert quality.smoothing(np.array([0.1]), np.array([[0.9, 0.8]])).tolist() == [[1.0]]


def twin_walk(best: int, good: list[bool], known: list[bool], step: int) -> int:
    end = k = best
    while 0 <= (k := k + step) < len(good) and (good[k] or not known[k]):
        end = k if good[k] else end
    return end


def twin_choice(lrs: Array, values: Array, lost: Array, guess: float, margin: float) -> quality.Choice | None:
    count, seeds = values.shape
    complete, learned = [full(row) for row in values], guess + 0.02 * (1 - guess)
    weights = twin_smoothing(lrs.tolist(), values)
    means = [row.mean() if full(row) else 0.0 for row in values]
    smooth = (weights @ means).tolist()
    told = [k for k in range(count) if complete[k]]
    if not told or max(smooth[k] for k in told) < learned:
        return None
    peak = max(told, key=lambda k: smooth[k])
    half = guess + (smooth[peak] - guess) / 2
    edge = [bool(lost[k].any() or (k > peak and (values[k] < half).any())) for k in range(count)]
    below = {
        max(j for j in range(k) if complete[j] or edge[j])
        for k in range(count)
        if edge[k] and any(complete[:k] + edge[:k])
    }
    usable = [complete[k] and not edge[k] and k not in below and smooth[k] >= learned for k in range(count)]
    if not any(usable):
        return None
    able = [k for k in range(count) if usable[k]]
    best, alone = max(able, key=lambda k: smooth[k]), max(able, key=lambda k: means[k])
    variances, shown, open_, known = twin_variances(values), [], [], []
    for k in range(count):
        near = [j for j in told if min(abs(j - k), abs(j - best)) <= 2]
        freedom = (len(near) - 1) * (seeds - 1)
        spread = sqrt((weights[best] - weights[k]) ** 2 @ variances / seeds)
        bound = float(stats.t.ppf(0.95, freedom)) * spread if freedom else float("inf")
        gap = smooth[best] - smooth[k]
        shown.append(usable[k] and (k == best or (gap + bound <= margin and means[best] - means[k] <= margin)))
        open_.append(usable[k] and (k == best or gap - bound <= margin))
        pairs = [b - x for b, x in zip(values[best], values[k], strict=True) if isfinite(b - x)]
        known.append(complete[k] or edge[k] or (bool(pairs) and fmean(pairs) > margin))
    return quality.Choice(
        best=best,
        low=twin_walk(best, shown, known, -1),
        high=twin_walk(best, shown, known, 1),
        from_=twin_walk(best, open_, known, -1),
        to=twin_walk(best, open_, known, 1),
        cliff=min((k for k in range(count) if edge[k] and k > peak), default=None),
        peak=peak,
        alone=alone if means[alone] > means[best] + margin else None,
        level=pytest.approx(smooth[best]),
    )


def test_the_choice_is_what_a_twin_finds() -> None:
    rng = np.random.default_rng(3)
    seen = set()
    for lrs, values in grids(40, 2):
        lost = rng.random(values.shape) < rng.choice([0, 0, 0.05])
        values[np.arange(len(lrs)) > rng.integers(3, 12)] -= rng.choice([0.3, 0.6])
        for margin in (0.0007, 0.003, 0.01):
            found = quality.choose(lrs, values, lost, 0.1, margin)
            assert found == twin_choice(lrs, values, lost, 0.1, margin)
            seen.add(
                found and (found.low < found.best, found.high > found.best, found.cliff is None, found.alone is None)
            )
    assert len(seen) > 8, "many kinds of answers"


LRS = np.logspace(-4, 0, 8)


@pytest.mark.parametrize(("top", "learned"), [(0.119, True), (0.117, False)])
def test_a_fiftieth_of_the_way_from_guessing_is_worth_recommending(top: float, learned: bool) -> None:
    """From 0.1 it is 0.118."""
    assert (quality.choose(LRS, np.full((8, 3), top), np.zeros((8, 3), bool), 0.1, 0.003) is not None) == learned


def test_a_seed_lost_at_the_best_measured_learning_rate_is_no_cliff_above_it() -> None:
    values = np.full((8, 3), 0.8)
    values[4] = 0.9
    lost = np.zeros((8, 3), bool)
    lost[4, 1] = True
    found = quality.choose(LRS, values, lost, 0.1, 0.003)
    assert found is not None
    assert (found.peak, found.cliff) == (4, None)
    lost[6, 0] = True
    found = quality.choose(LRS, values, lost, 0.1, 0.003)
    assert found is not None
    assert found.cliff == 6


def test_a_seed_is_lost_that_falls_more_than_half_way_to_guessing_above_the_best() -> None:
    """Half way between 0.1 and 0.9 is 0.5. At the best one itself a seed may fall."""
    for one, cliff in ((0.45, 6), (0.51, None)):
        values = np.full((8, 3), 0.8)
        values[4], values[6, 0] = 0.9, one
        found = quality.choose(LRS, values, np.zeros((8, 3), bool), 0.1, 0.003)
        assert found is not None
        assert found.cliff == cliff
    values = np.repeat([[0.6]] * 4 + [[0.76]] + [[0.6]] * 3, 3, axis=1)
    values[4] = [0.99, 0.99, 0.3]
    found = quality.choose(LRS, values, np.zeros((8, 3), bool), 0.1, 0.003)
    assert found == twin_choice(LRS, values, np.zeros((8, 3)), 0.1, 0.003)
    assert found is not None
    assert found.best in (3, 4, 5)


def test_what_did_not_learn_is_not_recommended_because_the_best_was_lost() -> None:
    values = np.full((8, 3), 0.11)
    values[4] = 0.9
    lost = np.zeros((8, 3), bool)
    lost[4, 0] = True
    assert quality.choose(LRS, values, lost, 0.1, 0.003) is None


def test_seeds_that_agree_leave_a_range_up_to_both_ends() -> None:
    values = np.repeat(0.9 - 1e-5 * np.abs(np.arange(8) - 4.0)[:, None], 3, axis=1)
    found = quality.choose(LRS, values, np.zeros((8, 3), bool), 0.1, 0.003)
    assert found is not None
    assert (found.low, found.high, found.from_, found.to) == (0, 7, 0, 7)


def test_a_learning_rate_that_scatters_ends_the_range_of_equals() -> None:
    """What lies below it would be equal again."""
    values = np.repeat(0.9 - 1e-5 * np.abs(np.arange(9) - 6.0)[:, None], 3, axis=1)
    values[3] += [-0.05, 0, 0.05]
    found = quality.choose(np.logspace(-4, 0, 9), values, np.zeros((9, 3), bool), 0.1, 0.003)
    assert found == twin_choice(np.logspace(-4, 0, 9), values, np.zeros((9, 3)), 0.1, 0.003)
    assert found is not None
    assert (found.best, found.low, found.high) == (6, 5, 8)


def test_a_learning_rate_of_which_one_seed_is_known_ends_the_range_only_if_that_falls_short() -> None:
    values = np.repeat(0.9 - 1e-5 * np.abs(np.arange(8) - 4.0)[:, None], 3, axis=1)
    values[2, 1:] = NAN
    for one, low in ((0.9, 0), (0.8969, 3), (NAN, 0)):
        values[2, 0] = one
        found = quality.choose(LRS, values, np.zeros((8, 3), bool), 0.1, 0.003)
        assert found is not None
        assert found.low == low
