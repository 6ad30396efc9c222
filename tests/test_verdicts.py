"""Intervals and verdicts: against the formula written out, by simulation, and case by case."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from lrscope.studies.verdicts import all_of, finding, interval, judge


def test_the_interval_is_students():
    values = [1.0, 2.5, 2.0, 4.0]
    mean = sum(values) / 4
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / 3) / 2
    found = interval([*values, np.nan, np.inf])
    assert found == pytest.approx(
        (mean, mean - 3.18245 * error, mean + 3.18245 * error, 4), rel=1e-5
    )  # t(0.975, 3), table
    low, high = scipy_stats.t.interval(0.95, 3, loc=mean, scale=scipy_stats.sem(values))
    assert found[1:3] == pytest.approx((low, high))


def test_few_values_have_no_interval():
    assert interval([]) == pytest.approx((np.nan, np.nan, np.nan, 0), nan_ok=True)
    assert interval([2.0, np.nan]) == pytest.approx((2.0, np.nan, np.nan, 1), nan_ok=True)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_covers_the_truth_as_often_as_it_says(seeds):
    rng = np.random.default_rng(1)
    ends = [interval(row)[1:3] for row in rng.normal(0.7, 2.0, (2000, seeds))]
    covered = np.mean([low <= 0.7 <= high for low, high in ends])
    assert 0.93 < covered < 0.97  # 0.95 with four standard errors of 2,000 draws


@pytest.mark.parametrize(
    ("low", "high", "seeds", "verdict"),
    [
        (0.1, 0.2, 3, "supported"),
        (-0.2, -0.1, 3, "contradicted"),
        (-0.1, 0.1, 9, "inconclusive"),
        (0.0, 0.1, 9, "inconclusive"),  # must exceed
        (0.1, 0.2, 2, "inconclusive"),  # two seeds are none
        (np.nan, 0.2, 5, "inconclusive"),
        (0.1, np.inf, 5, "inconclusive"),
    ],
)
def test_verdicts(low, high, seeds, verdict):
    assert judge(low, high, 0.0, seeds) == verdict


def test_a_finding_keeps_every_seed():
    found = finding(np.array([1.0, 2.0, 3.0]), 0.5, "seen", unit="nat")
    assert found.effect == 2
    assert found.low == pytest.approx(2 - 4.30265 / math.sqrt(3), rel=1e-5)  # t(0.975, 2), table; it reaches below 0.5
    assert found.verdict == "inconclusive"
    assert finding(np.array([1.9, 2.0, 2.1]), 0.5, "seen").verdict == "supported"
    assert found.numbers == {"per_seed": [1.0, 2.0, 3.0], "unit": "nat"}


def test_several_conditions_are_as_good_as_the_worst():
    good, unclear, bad = (finding([v, v + 0.1, v + 0.2], 0.0, "") for v in (1.0, -0.1, -1.0))
    assert [f.verdict for f in (good, unclear, bad)] == ["supported", "inconclusive", "contradicted"]
    assert all_of([good, unclear], "").verdict == "inconclusive"
    worst = all_of([good, bad, unclear], "all")
    assert (worst.verdict, worst.effect, worst.note) == ("contradicted", bad.effect, "all")
    assert worst.numbers["part_1"]["verdict"] == "supported"
