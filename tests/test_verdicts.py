"""Intervals and verdicts: against the formula written out, by simulation, and case by case."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from lrscope.errors import LrscopeError
from lrscope.studies.phrases import effect, table
from lrscope.studies.types import VERDICTS, Part
from lrscope.studies.verdicts import Undetermined, exact, finding, interval, judge, part, reported


def test_the_interval_is_students():
    values = [1.0, 2.5, 2.0, 4.0]
    mean = sum(values) / 4
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / 3) / 2
    found = interval([*values, np.nan])
    assert found == pytest.approx(
        (mean, mean - 3.18245 * error, mean + 3.18245 * error, 4), rel=1e-5
    )  # t(0.975, 3), table
    low, high = scipy_stats.t.interval(0.95, 3, loc=mean, scale=scipy_stats.sem(values))
    assert found[1:3] == pytest.approx((low, high))


def test_few_values_have_no_interval():
    assert interval([]) == pytest.approx((np.nan, np.nan, np.nan, 0), nan_ok=True)
    for values in ([2.0, 2.1, 2.2, np.inf], [-np.inf, 1.0, 1.0, np.inf], [np.inf] * 3):
        mean, low, high, seeds = interval(values)
        assert not np.isfinite([mean, low, high]).any()
        assert seeds == len(values), "only NaN was not read"
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
        (-0.1, 0.0, 9, "inconclusive"),
        (0.1, 0.2, 2, "undetermined"),  # two seeds are none
        (-0.2, -0.1, 2, "undetermined"),
        (np.nan, 0.2, 5, "undetermined"),
        (0.1, np.inf, 5, "undetermined"),
    ],
)
def test_verdicts(low, high, seeds, verdict):
    assert judge(low, high, seeds, above=0.0) == verdict
    assert judge(-high, -low, seeds, below=0.0) == verdict, "the mirror image"
    assert judge(low, high, seeds, above=0.0, below=5.0) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.8, 1.2, "supported"),
        (0.7, 1.2, "inconclusive"),
        (0.8, 1.3, "inconclusive"),
        (0.7, 1.3, "inconclusive"),
        (0.5, 0.7, "contradicted"),
        (1.3, 1.4, "contradicted"),
    ],
)
def test_two_bounds_are_judged_at_once(low, high, verdict):
    assert judge(low, high, 5, above=0.75, below=1.25) == verdict


def test_a_part_keeps_every_seed_in_its_unit():
    found = part("loss", np.array([1.0, 2.0, 3.0]), above=0.5, unit="nats", note="seen")
    assert (found.value, found.seeds, found.asked, found.per_seed) == (2, 3, 3, (1.0, 2.0, 3.0))
    assert found.low == pytest.approx(2 - 4.30265 / math.sqrt(3), rel=1e-5)  # t(0.975, 2), table; it reaches below 0.5
    assert (found.verdict, found.unit, found.criterion, found.note) == ("inconclusive", "nats", "above 0.5", "seen")
    assert (found.above, found.below) == (0.5, None), "from values and bounds the verdict can be made anew"
    assert part("loss", [1.9, 2.0, 2.1], above=0.5, unit="nats").verdict == "supported"
    upper = part("loss", [1.9, 2.0, 2.1], below=0.5, unit="nats")
    assert (upper.verdict, upper.criterion) == ("contradicted", "below 0.5")
    assert part("loss", [1.9, 2.0, 2.1], above=0.5, below=3, unit="nats").criterion == "between 0.5 and 3"


def test_what_the_grid_does_not_reach_is_undetermined():
    """Whatever the seeds that reach it say, and whatever the bound is: NaN is never held against a claim."""
    nan = np.nan
    for values in ([nan] * 5, [-9.0, nan, nan, nan, nan], [-9.0, -9.1, nan, nan, nan]):
        for bounds in ({"above": 0.0}, {"below": -99.0}, {"above": 0.0, "below": 1.0}):
            found = part("border 2|3", values, unit="decades", **bounds)
            assert found.verdict == "undetermined"
            assert (found.seeds, found.asked) == (5 - sum(map(math.isnan, values)), 5)
    assert part("border 2|3", [-9.0, -9.1, -9.2, nan], above=0.0, unit="decades").verdict == "contradicted"


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
@pytest.mark.parametrize("bounds", [{"above": 0.5, "below": 2.0}, {"above": -9.0}, {"below": 9.0}])
def test_an_infinite_value_never_supports(infinite, bounds):
    """It was read, so it is not left out as NaN is."""
    for values in ([1.0, 1.1, 0.9, infinite, infinite], [1.0, 1.1, 0.9, 1.0, infinite], [infinite] * 3):
        found = part("ratio", values, unit="decades", **bounds)
        assert found.verdict == "undetermined"
        assert (found.seeds, found.asked) == (len(values), len(values))
        assert found.note == f"infinite in {np.isinf(values).sum()} of {len(values)}"
    assert part("ratio", [1.0, infinite], unit="decades", note="seen", **bounds).note == "seen; infinite in 1 of 2"
    expected = "contradicted" if infinite > 0 else "undetermined"
    assert exact("eq. 3", infinite, at_most=1.0, unit="residual", seeds=5).verdict == expected


def test_what_was_tried_on_nothing_is_undetermined():
    for worst in (0.0, 2.0, np.nan):
        found = exact("eq. 3", worst, at_most=1.0, unit="residual", seeds=0)
        assert (found.verdict, found.seeds, found.note) == ("undetermined", 0, "nothing was tried")
        assert math.isnan(found.value)
    assert exact("eq. 3", 0.0, at_most=1.0, unit="residual", seeds=1).verdict == "supported"


def test_a_part_that_does_not_show_leaves_the_others_alone():
    def lacking() -> np.ndarray:
        raise Undetermined("no learning rate lies in 2B")

    parts = [
        part("2A", lambda: [1.0, 1.1, 1.2], above=0.0, unit="points"),
        part("2B", lacking, above=0.0, unit="points"),
    ]
    found = finding(parts, "")
    assert [one.verdict for one in found.parts] == ["supported", "undetermined"]
    assert (found.headline.name, found.headline.note) == ("2B", "no learning rate lies in 2B")
    assert math.isnan(found.headline.value)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_weakest_part_decides(count):
    """All combinations of verdicts: the rule written out case by case."""
    for verdicts in itertools.product(VERDICTS, repeat=count):
        found = finding([one(f"part {i}", verdict) for i, verdict in enumerate(verdicts)], "")
        if "contradicted" in verdicts:
            expected = "contradicted"
        elif "undetermined" in verdicts:
            expected = "undetermined"
        elif "inconclusive" in verdicts:
            expected = "inconclusive"
        else:
            expected = "supported"
        assert found.verdict == expected, verdicts
        assert found.headline.name == f"part {verdicts.index(expected)}", "the first of its kind"


def test_among_supported_parts_the_one_nearest_to_its_bound_leads():
    """In half-widths of the intervals, whatever their units; exact values have room without end."""
    far = part("far", [0.10, 0.11, 0.12], above=0.0, unit="nats")
    near = part("near", [40.0, 70.0, 100.0], above=-20.0, unit="points")
    above = part("below 1", [-40.0, -30.0, -20.0], below=1.0, unit="points")
    sure = exact("exact", 1e-12, at_most=1e-9, unit="residual", seeds=5)
    assert 0 < near.room < above.room < far.room < sure.room == math.inf
    assert near.room == pytest.approx((near.low + 20) / (near.high - near.value))
    for order in itertools.permutations([far, near, above, sure]):
        assert finding(order, "").headline.name == "near"
    both = part("both", [0.4, 0.5, 0.6], above=-9.0, below=1.0, unit="")
    assert both.room == pytest.approx((1 - both.high) / (both.high - 0.5)), "the nearer of two bounds"
    assert finding([near, one("told", "inconclusive"), one("too", "inconclusive")], "").headline.name == "told"


def test_the_headline_counts_judged_parts_and_says_what_could_be_read():
    told = replace(one("told", "supported"), verdict="reported")
    silent, read = one("silent", "undetermined"), one("read", "supported")

    def said(*parts: Part) -> str:
        lead = finding(parts, "").headline
        row = {**asdict(lead), "headline": lead.name, "effect": lead.value, "parts": [asdict(one) for one in parts]}
        return effect(row)

    number = "7.1 nats, 95% interval 6.85 to 7.35, 3 seeds"
    assert said(told, silent, read) == f"no effect could be read; weakest of 2 parts: silent; read: {number}"
    assert said(silent, told) == "no effect could be read", "what is reported only does not stand in for a judged part"
    assert said(told, read) == f"effect {number}", "one judged part"
    assert said(told, replace(told, name="too")) == f"effect {number}; first of 2 parts: told"


def one(name: str, verdict: str) -> Part:
    values = {"supported": [7.0, 7.1, 7.2], "contradicted": [-7.0, -7.1, -7.2], "undetermined": [np.nan] * 3}
    found = part(name, values.get(verdict, [-1.0, 0.0, 1.0]), above=0.0, unit="nats")
    assert verdict in (found.verdict, "suported")
    return replace(found, verdict=verdict)


# --- what a grid quantises ---


def test_an_interval_is_no_narrower_than_the_grid_s_cell():
    """Five seeds whose border falls between the same two learning rates know it to that cell."""
    same = part("border 2|3", [0.6] * 5, above=0.5, unit="decades", cell=0.25)
    assert (same.low, same.high, same.verdict) == (0.475, 0.725, "inconclusive")
    assert same.note == "interval widened to the grid's cell, 0.25"
    assert part("border 2|3", [0.6] * 5, above=0.5, unit="decades").verdict == "supported", "without a grid"
    clear = part("border 2|3", [0.7] * 5, above=0.5, unit="decades", cell=0.25, note="seen")
    assert (clear.verdict, clear.note) == ("supported", "seen; interval widened to the grid's cell, 0.25")
    beyond = part("border 2|3", [0.3] * 5, above=0.5, unit="decades", cell=0.25)
    assert beyond.verdict == "contradicted"


def test_a_wider_interval_than_the_cell_is_left_alone():
    values = [0.0, 0.5, 1.0]
    wide = part("border", values, above=0.0, unit="decades", cell=0.25)
    assert (wide.low, wide.high, wide.note) == (*interval(values)[1:3], "")
    lone = part("border", [0.5, np.nan], above=0.0, unit="decades", cell=0.25)
    assert (lone.verdict, lone.note) == ("undetermined", ""), "a cell is no replacement for seeds"
    with pytest.raises(LrscopeError, match="cell: -1 is outside"):
        part("border", values, above=0.0, unit="decades", cell=-1)


@pytest.mark.parametrize("true", [0.01, 0.11, 0.51, 0.74, 1.2])
def test_a_border_inside_a_cell_is_never_called_beyond_it(true):
    """The truth lies anywhere in a cell; the seeds read its middle, all of them the same."""
    cell = 0.25
    read = (np.floor(true / cell) + 0.5) * cell
    for bound in (true - 1e-9, true + 1e-9):
        found = [part("border", [read] * 5, unit="decades", cell=cell, **{side: bound}) for side in ("above", "below")]
        assert [one.verdict for one in found] == ["inconclusive"] * 2


# --- several parts ---


def null_claims(parts: int, seeds: int, draws: int = 2000) -> np.ndarray:
    """Seeds of parts whose true mean is the bound, 0."""
    return np.random.default_rng(15).normal(0.0, 1.0, (draws, parts, seeds))


def contradicted(claims: np.ndarray, **bounds: float) -> tuple[float, float]:
    """How often a claim, and one of its parts by itself, is contradicted."""
    found = [[part(f"part {i}", row, unit="", **bounds) for i, row in enumerate(claim)] for claim in claims]
    alone = np.mean([any(one.verdict == "contradicted" for one in parts) for parts in found])
    return float(np.mean([finding(parts, "").verdict == "contradicted" for parts in found])), float(alone)


@pytest.mark.slow
@pytest.mark.parametrize("bounds", [{"above": 0.0}, {"below": 0.0}])
def test_many_parts_make_no_false_alarms(bounds):
    """At the bound itself, where a part is contradicted by chance in 2.5% of all cases (one side of a 95% interval)."""
    claims, alone = contradicted(null_claims(6, 5), **bounds)
    assert alone > 0.10, "1 - 0.975^6 is 0.14"
    assert claims < 0.05
    single, by_itself = contradicted(null_claims(1, 5, draws=300), **bounds)
    assert single == by_itself, "a claim of one part is judged as ever"


def test_what_lies_far_beyond_the_bound_stays_contradicted():
    claims, _ = contradicted(null_claims(6, 5, draws=200) - 9.0, above=0.0)
    assert claims == 1


def test_a_part_says_that_its_number_softened_it():
    near, fine = [-0.35, -0.1, -0.6, -0.2, -0.3], [1.0, 1.1, 1.2]
    parts = [part("near", near, above=0.0, unit="nats", note="seen"), part("b", fine, above=0.0, unit="nats")]
    assert parts[0].verdict == "contradicted"
    assert finding(parts[:1], "").parts == (parts[0],), "alone it stays"
    again = finding([*parts, *(replace(parts[1], name=f"more {i}") for i in range(4))], "")
    soft = again.parts[0]
    assert (soft.verdict, again.verdict, again.headline.name) == ("inconclusive", "inconclusive", "near")
    assert soft.note == "seen; beyond the bound at 95%, not at the 99.2% that 6 parts ask for"
    assert replace(soft, verdict="contradicted", note="seen") == parts[0], "the interval shown stays that at 95%"
    assert again.parts[1] == parts[1]


def test_only_parts_that_were_judged_by_an_interval_count():
    """Parts that could not be read, and exact ones, raise no false alarms."""
    near = part("near", [-0.35, -0.1, -0.6, -0.2, -0.3], above=0.0, unit="nats")
    nothing = [part(f"nothing {i}", [np.nan] * 5, above=0.0, unit="nats") for i in range(4)]
    proven = [exact(f"eq. {i}", 0.0, at_most=1.0, unit="", seeds=5) for i in range(4)]
    assert finding([near, *nothing, *proven], "").parts[0] == near
    wrong = exact("eq. 9", 2.0, at_most=1.0, unit="", seeds=5)
    assert finding([wrong, near, *(one(f"more {i}", "supported") for i in range(5))], "").parts[0] == wrong


def test_a_widened_interval_stays_widened_when_it_is_corrected():
    far = part("far", [-0.2] * 5, above=0.0, unit="decades", cell=0.25)
    assert far.verdict == "contradicted"
    assert finding([far, *(one(f"more {i}", "supported") for i in range(5))], "").verdict == "contradicted"


def test_exact_parts_have_no_spread():
    good, bad = (exact("eq. 3", worst, at_most=1e-9, unit="residual", seeds=5) for worst in (1e-9, 2e-9))
    assert (good.verdict, good.low, good.high, good.criterion) == ("supported", 1e-9, 1e-9, "at most 1e-9")
    assert bad.verdict == "contradicted"
    assert exact("eq. 3", np.nan, at_most=1e-9, unit="residual", seeds=5).verdict == "undetermined"


def test_exploratory_findings_get_no_verdict():
    found = reported(finding([one("a", "contradicted"), one("b", "supported")], "note", more=1))
    assert [(p.name, p.verdict) for p in found.parts] == [("a", "reported"), ("b", "reported")]
    assert (found.verdict, found.note, found.numbers) == ("reported", "note", {"more": 1})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: part("a", [1.0], unit=""), "part a: it has no bound: pass above=, below= or both"),
        (lambda: part("a", [1.0], above=2, below=1, unit=""), "part a: nothing lies above 2 and below 1"),
        (lambda: part("a", ["x"], above=2, unit=""), "part a: its values are no numbers"),
        (lambda: finding([], ""), "finding: it has no parts"),
        (lambda: finding([one("a", "supported")] * 2, ""), "two parts are called 'a': rename one"),
        (lambda: one("a", "suported"), "part a: verdict: 'suported' is unknown: did you mean 'supported'"),
    ],
)
def test_what_makes_no_sense_is_refused(make, said):
    with pytest.raises(LrscopeError, match=said):
        make()


def test_the_table_says_in_how_many_seeds_a_part_could_be_read():
    parts = [asdict(part("a", [1.0, np.nan, 1.1, 1.2], above=0.0, unit="nats")), asdict(one("b", "supported"))]
    heads, *rows = table({"parts": parts})
    assert heads == ("part", "verdict", "value", "95% interval", "unit", "criterion", "seeds")
    assert [row[-1] for row in rows] == ["3 of 4", "3"]
    noted = table({"parts": [{**parts[0], "note": "the grid ends below"}, parts[1]]})
    assert [row[-1] for row in noted] == ["note", "the grid ends below", ""], "a column in which something is said"
