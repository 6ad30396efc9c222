"""Rounds of the adaptive search, one question at a time: what is asked for, given what was seen. Nothing is trained.

A row of what was seen is a learning rate and a character of it a seed: its vote, `-` if it was not trained, `x` if it ended
non-finite, `0` if it votes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lrscope.mapping.search import Runs, Seen, Wanted, next_round, simulate, start

NAN = float("nan")
WHOLE = ["1"] * 4 + ["2"] * 10 + ["3"] * 2  # one seed; the borders lie at 4 and 14
TOP = 13  # the highest learning rate of regime 2


def seen(rows: list[str], *, reached: Mapping[int, Any] | None = None, levels: Any = None, **more: Any) -> Seen:
    """What the search looks at; `reached`: qualities by learning rate, of which NaN was not fine-tuned."""
    shape = (len(rows), len(rows[0]))
    quality = np.full(shape, np.nan)
    for k, values in (reached or {}).items():
        quality[k] = values
    cells = np.array([list(row) for row in rows])
    level = (
        np.zeros(shape) if levels is None else np.broadcast_to(np.array(levels, float).reshape(len(rows), -1), shape)
    )
    told: dict[str, Any] = {
        "votes_LU": np.array([[int(c) if c in "123" else 0 for c in row] for row in rows]),
        "level_LU": np.where(cells == "-", np.nan, level),
        "trained_LU": cells != "-",
        "broken_LU": cells == "x",
        "tuned_LU": np.isfinite(quality),
        "quality_LU": None if reached is None else quality,
        "best": None,
    }
    return Seen(**{**told, **more})


def pretrained(rows: list[str], **more: Any) -> Runs:
    wanted = next_round(seen(rows, **more))
    assert not wanted.tune
    return wanted.pretrain


def tuned(reached: Mapping[int, Any], rows: list[str] = WHOLE, **more: Any) -> set[int]:
    """Learning rates whose first seed is to be fine-tuned."""
    wanted = next_round(seen(rows, reached=reached, **more))
    assert wanted.pretrain <= wanted.tune, "only what is fine-tuned right after"
    return {k for k, unit in wanted.tune if unit == 0}


def every(*rates: int, seeds: int = 2) -> Runs:
    return frozenset((k, u) for k in rates for u in range(seeds))


# --- scouts ---


def test_scouts_cut_the_grid_into_quarters() -> None:
    assert start(12, 3) == Wanted(pretrain=frozenset({(3, 0), (6, 0), (9, 0)}))
    assert not start(12, 0)
    assert next_round(seen(["--"] * 12)) == start(12, 2)
    assert next_round(seen(["0-"] + ["--"] * 11)) == Wanted(), "what votes nothing tells nothing"


def test_gaps_with_a_border_are_halved() -> None:
    rows = ["-"] * 12
    rows[3], rows[6], rows[9] = "123"
    assert pretrained(rows) == {(4, 0), (7, 0)}
    rows[9] = "x"
    assert pretrained(rows) == {(4, 0), (7, 0)}, "overflow comes after regime 2"


def test_neighbours_of_the_border_1_2_get_all_seeds_at_the_end_of_the_grid_too() -> None:
    assert pretrained(["1-", "2-", "3-", "3-"]) == {(0, 1), (1, 1), (2, 1)}
    assert pretrained(["2-", "2-", "2-", "2-"]) == {(0, 1), (3, 1)}, "the last one is next to the border 2|3"
    assert pretrained(["2-", "2-", "2-", "2-"], best=1) == {(0, 1), (3, 1)}, "regime 1 is not there: none is compared"


def test_a_majority_decides_at_the_border_2_3_unless_there_are_intervals() -> None:
    def asked(row: str) -> set[int]:
        """Seeds that are missing at the lower side of the border 2|3."""
        seeds = len(row)
        runs = pretrained(["1" * seeds, "2" * seeds, "2" * seeds, row, "3" * seeds, "3" * seeds])
        assert {k for k, _ in runs} <= {3}
        return {u for _, u in runs}

    assert asked("2--") == {1}
    assert asked("22-") == set()
    assert asked("23-") == {2}
    assert asked("2---") == {1, 2}
    assert asked("22--") == {2}
    assert asked("222-") == set()
    assert asked("0--") == {1}
    assert asked("222--") == {3, 4}, "five seeds give intervals"
    assert asked("2----") == {1, 2, 3, 4}


def test_a_learning_rate_that_most_seeds_put_elsewhere_gets_all_of_them() -> None:
    row = "122--"
    assert {(1, 3), (1, 4)} <= pretrained(["11111", row, "11111", "11111", "22222", "22222"])
    fair = pretrained(["11111", "12---", "11111", "11111", "22222", "22222"])
    assert not any(k == 1 for k, _ in fair), "one of two is no majority against it"


# --- the best converging learning rate ---


@pytest.mark.parametrize(
    ("known", "best", "scout"),
    [
        ([2, 5, 9, 10, 11], 5, 7),
        ([2, 5, 8, 10, 11], 5, 6),
        ([2, 5, 6, 10, 11], 5, 4),
        ([3, 8, 10, 11], 10, 9),
        ([3, 8, 9, 10, 11], 8, 7),
        ([3, 5, 7, 8, 10, 11], 8, 9),
    ],
)
def test_the_best_learning_rate_gets_neighbours_above_first(known: list[int], best: int, scout: int) -> None:
    """Regime 2 begins at 11. Above the best one a gap is halved; below it the neighbour is asked for."""
    rows = ["-"] * 12
    for k in known:
        rows[k] = "2" if k == 11 else "1"
    assert pretrained(rows, best=best) == {(scout, 0)}


def test_the_best_one_and_neighbours_that_are_not_clearly_above_it_get_all_seeds() -> None:
    """Clearly is by more than 0.05 on average over the same seeds."""

    def whole(*levels: Any, best: int = 1) -> set[int]:
        rows = ["11-"] * 3 + ["111", "222", "222"]
        found = pretrained(rows, best=best, levels=[*levels, [5] * 3, [5] * 3])
        assert {u for _, u in found} <= {2}
        return {k for k, _ in found}

    far, near = [2, 2, 2], [1.03, 1.03, 1.03]
    one = [1.0, 1.0, 1.0]
    assert whole(far, one, far, far) == {1}
    assert whole(near, one, far, far) == {0, 1}
    assert whole(far, one, near, far) == {1, 2}
    assert whole(one, near, far, far, best=0) == {0, 1}
    assert whole([0.05] * 3, [0.0] * 3, [0.051] * 3, far) == {0, 1}
    other = ["1--", "-1-", "111", "222", "222"]
    found = pretrained(other, best=1, levels=[9, 0, 9, 9, 9])
    assert {k for k, _ in found} == {0, 1}, "no seed in common"


def test_a_border_after_the_first_learning_rate_has_the_best_one_below_it() -> None:
    assert pretrained(["1-", "22", "22", "22"], best=0, levels=[0, 9, 9, 9]) == {(0, 1)}


def test_a_best_one_at_the_border_is_not_looked_for_above_it() -> None:
    """The votes put the border 1|2 below it: what lies above belongs to regime 2."""
    rows = ["-"] * 8
    rows[2], rows[3], rows[6], rows[7] = "1223"
    assert pretrained(rows, best=3) == set()


# --- fine-tuning ---


def test_both_sides_of_the_border_1_2_are_fine_tuned_first() -> None:
    assert tuned({}) == {3, 4}
    assert tuned({4: 0.9}) == {3}
    assert tuned({}, ["1"] * 4 + ["2"] + ["3"] * 7) == {3, 4}, "one learning rate of regime 2 is enough"
    assert next_round(seen(WHOLE)) == Wanted(), "nothing is to be fine-tuned"


def test_below_the_border_as_long_as_quality_rises_and_three_at_most() -> None:
    """The other answer is the middle of what is not known of regime 2, up to its end."""
    assert tuned({3: 0.9, 4: 0.8}) == {2}
    assert tuned({3: 0.9, 4: 0.9}) == {2, (4 + 14) // 2}
    assert tuned({3: 0.8, 4: 0.9}) == {9}
    assert tuned({2: 0.9, 3: 0.9, 4: 0.9}) == {1, 9}
    assert tuned({1: 0.9, 2: 0.9, 3: 0.9, 4: 0.9}) == {9}
    low = ["1"] * 2 + ["2"] * 12 + ["3"] * 2
    assert tuned({0: 0.9, 1: 0.9, 2: 0.9}, low) == {8}, "the grid ends"
    assert tuned({1: 0.9, 2: 0.8}, low) == {0}


def test_regime_2_is_halved_until_the_end_of_2a_lies_between_neighbours() -> None:
    reached = {3: 0.8, 4: 0.9, 9: 0.5}
    assert tuned(reached) == {6}
    assert tuned({**reached, 6: 0.5}) == {5}
    assert tuned({**reached, 6: 0.9}) == {7}
    assert tuned({**reached, 6: 0.5, 5: 0.5}) == set()
    assert tuned({**reached, TOP: 0.9}) == {6}, "2A is the first stretch"


def test_what_halving_skipped_inside_2a_is_fine_tuned_if_it_is_trained_anyway_or_cheap() -> None:
    reached = {3: 0.8, 4: 0.9, 8: 0.9, 9: 0.5}
    assert tuned(reached) == {5, 6, 7}
    rows = [row if k not in (5, 6, 7) else "-" for k, row in enumerate(WHOLE)]
    assert tuned(reached, rows) == {7}, "from the top"
    assert tuned(reached, rows, share=0.3) == {7}
    assert tuned(reached, rows, share=0.31) == set()
    rows[6] = "2"
    assert tuned(reached, rows) == {6}
    assert tuned({**reached, 6: 0.9, 7: 0.9}, rows) == {5}


def test_where_2a_begins_inside_regime_2_is_halved_too() -> None:
    short = {3: 0.8, 4: 0.8}
    assert tuned({**short, 9: 0.9, 10: 0.5}) == {6}
    assert tuned({**short, 5: 0.8, 6: 0.8, 11: 0.9, 12: 0.5}) == {8}
    assert tuned({**short, 5: 0.8, 6: 0.8, 8: 0.9, 9: 0.5}) == {7}
    done = {**short, 5: 0.9, 8: 0.9, 9: 0.5}
    assert tuned(done) == {6, 7}, "its beginning is known, and what lies inside is trained"


def test_one_seed_goes_first_above_the_border_unless_there_are_intervals() -> None:
    for seeds, first in ((1, 1), (2, 1), (4, 1), (5, 5)):
        rows = [row * seeds for row in WHOLE]
        wanted = next_round(seen(rows, reached={3: 0.8, 4: 0.9}))
        assert wanted == Wanted(tune=every(9, seeds=first))
        assert next_round(seen(rows, reached={})).tune == every(3, 4, seeds=seeds)
    rows = [row * 3 for row in WHOLE]
    again = next_round(seen(rows, reached={3: 0.8, 4: 0.9, 9: [0.9, NAN, NAN]}))
    assert again.tune == {(9, 1), (9, 2)}, "it did not fall short"
    lower = next_round(seen(rows, reached={3: 0.8, 4: 0.9, 9: [0.5, NAN, NAN]}))
    assert lower.tune == {(6, 0)}


def test_a_lucky_seed_that_falls_short_of_the_same_seed_elsewhere_leads_on_upwards() -> None:
    """Seed 0 is the better one: alone it looks best at the learning rate where it was fine-tuned alone."""
    rows = [row * 2 for row in WHOLE]

    def lucky(place: int, more: Mapping[int, Any] | None = None) -> Runs:
        reached = {3: [0.9, 0.5], 4: [0.7, 0.3], place: [0.75, NAN], **(more or {})}
        return next_round(seen(rows, reached=reached)).tune

    assert lucky(6) == {(7, 0)}
    assert lucky(4) == {(5, 0)}
    assert lucky(TOP) == set()
    assert lucky(6, {7: [0.5, NAN]}) == set(), "what follows fell short too"


def test_runs_that_overflowed_are_not_fine_tuned() -> None:
    rows = [row * 2 for row in WHOLE]
    rows[4] = "2x"
    wanted = next_round(seen(rows, reached={}))
    assert wanted.tune == {(3, 0), (3, 1), (4, 0)}


def test_fine_tuning_waits_for_the_seeds_below_the_border_and_for_no_others() -> None:
    rows = [row * 2 for row in WHOLE]
    rows[8] = "1-"
    assert next_round(seen(rows, reached={})) == Wanted(pretrain=frozenset({(8, 1)}), tune=every(3, 4))
    rows[3] = "1-"
    assert next_round(seen(rows, reached={})) == Wanted(pretrain=frozenset({(8, 1), (3, 1)}))


# --- a whole search ---


def rounds(*layout: int, tuning: bool) -> list[tuple[list[int], list[int]]]:
    """Learning rates that each round pre-trains and fine-tunes."""
    wanted = simulate(*layout, (0.01, 0.01) if tuning else None)  # type: ignore[call-arg, arg-type]
    return [(sorted({k for k, _ in x.pretrain}), sorted({k for k, _ in x.tune})) for x in wanted]


def test_rounds_on_a_grid_without_noise() -> None:
    """Borders after 3, 5 and 8 of 12 learning rates; then without regime 1, and without anything else."""
    scouts = ([3, 6, 9], [])
    gaps = [scouts, ([1, 7], []), ([2, 8], [])]
    assert rounds(3, 5, 8, 12, 1, tuning=True) == [*gaps, ([], [2, 3]), ([5], [1, 5]), ([4], [4])]
    assert rounds(3, 5, 8, 12, 2, tuning=False) == [*gaps, ([2, 3, 7, 8], [])]
    low = [([0, 8], []), ([], [0]), ([4], [4]), ([2], [2]), ([], [1])]
    assert rounds(0, 2, 8, 12, 1, tuning=True) == [scouts, ([1, 7], []), *low]
    assert rounds(12, 12, 12, 12, 1, tuning=True) == [scouts, ([10], []), ([11], [])]
