"""Maps of planted evidence, label by label and border by border. Nothing is trained.

Learning rates are 1, 4, 16, 64 ...: a border between two neighbours is the power of two between them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fake_results import fake_result
from lrscope import LrscopeError
from lrscope.mapping import Border, Label, RegimeMap, borders, regimes
from lrscope.mapping.gather import Ending, Evidence, Score, gather
from lrscope.mapping.recommend import recommend
from lrscope.mapping.regime_map import _likely, map_of
from planted_evidence import at, planted, same, tuned
from trees import without

NAN = float("nan")
THREE = "range over 3 seeds, widened to grid cells; 5 or more seeds give a 95% interval"
FEW = "3 seeds: intervals are ranges over seeds, 5 or more give 95% intervals"
FIT = [[k] * 3 for k in (1, 1, 2, 2, 2, 2, 3)]  # votes of which nobody doubts


def seeds(rows: Any, count: int = 3) -> NDArray[np.float64]:
    """The same for every seed."""
    return np.repeat(np.asarray(rows, dtype=float)[:, None], count, axis=1)


def twice(first_LU: Any, second: float = -0.2) -> NDArray[np.float64]:
    """Qualities [L, F, U]: those at the lower fine-tuning rate, and how much the other one adds."""
    return np.stack([first_LU, np.asarray(first_LU) + second], axis=1)


def ending(shape: tuple[int, ...], *falling: tuple[int, int, int], drop: float = 0.3, drift: float = 0.02) -> Ending:
    mask = at(shape, *falling)
    return Ending(falls=mask, drop=np.where(mask, drop, 0), drift=np.where(mask, drift, 9))


def said(found: RegimeMap) -> list[tuple[str, tuple[str, ...]]]:
    return [(label.regime, label.flags) for label in found.labels]


def test_a_result_is_checked_and_its_evidence_mapped() -> None:
    result = fake_result(lrs=4, seeds=1, epochs=8, finetune=False, average=False, features=False)
    assert regimes(result, margin=0.5) == map_of(gather(result), 0.5)
    with pytest.raises(LrscopeError, match="status"):
        regimes(without(result, "pretrain/status"), margin=0.5)


def whole() -> Evidence:
    """Everything at once: seeds that disagree, flags, a run that overflowed, averages, fine-tunes that still fall."""
    votes = [[1, 1, 1], [1, 1, 1], [1, 2, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 3, 3], [0, 3, 3]]
    reached = seeds([0.8, 0.85, 0.9, 0.9, 0.9, 0.8, 0.5, 0.5])
    reached[5, 0], reached[7, 0] = 0.9, NAN
    before = seeds(0.5 + 0.01 * np.arange(8))
    before[7, 0] = NAN
    falls = at((8, 2, 3), (2, 0, 1), (4, 0, 0), (4, 0, 1), (0, 1, 0))
    drop, drift = np.zeros(falls.shape), np.full(falls.shape, 9.0)
    drop[falls], drift[falls] = [9, 0.2, 0.5, 0.3], [9, 0.05, -0.1, 0.15]  # in the order of the learning rates
    return planted(
        votes,
        slow_LU=at((8, 3), (1, 2), (4, 0)),
        jumps_LU=at((8, 3), (0, 1), (5, 0)),
        broken_LU=at((8, 3), (7, 0)),
        pretrained=same(before),
        averaged=same(seeds([0.9, 0.9, 0.9, 0.85, 0.9, 0.5, 0.5, 0.5])),
        **tuned(twice(reached), ending=Ending(falls=falls, drop=drop, drift=drift)),
    )


def test_labels_have_votes_flags_and_what_was_reached() -> None:
    expected = [
        ("1", ("periodic jumps",), {"1": 3}, 0.8),
        ("1", ("too slow to tell",), {"1": 3}, 0.85),
        ("1", ("seeds disagree", "fine-tune still falls"), {"1": 2, "2": 1}, 0.9),
        ("2A", ("SWA falls short",), {"2": 3}, 0.9),
        ("2A", ("fine-tune still falls",), {"2": 3}, 0.9),
        ("2B", (), {"2": 3}, (0.9 + 0.8 + 0.8) / 3),
        ("3", ("seeds disagree",), {"2": 1, "3": 2}, 0.5),
        ("3", ("non-finite in 1 of 3 seeds",), {"3": 2, "non-finite": 1}, 0.5),
    ]
    found = map_of(whole(), 0.3)
    for k, (label, (regime, flags, votes, after)) in enumerate(zip(found.labels, expected, strict=True)):
        before = pytest.approx(0.5 + 0.01 * k)
        after = pytest.approx(after)
        assert label == Label(lr=4.0**k, regime=regime, flags=flags, votes=votes, before=before, after=after)


def test_borders_are_those_of_all_seeds_and_their_range_that_of_each_seed() -> None:
    """By the single seeds 1|2 comes after 2 or 3 learning rates, 2A|2B after 5 or 6, 2|3 after 6 or 7."""
    assert map_of(whole(), 0.3).borders == {
        "1|2": Border(between="1|2", lr=32, low=4, high=64, reason=THREE),
        "2A|2B": Border(
            between="2A|2B",
            lr=512,
            low=256,
            high=4096,
            reason=f"provisional, because fine-tunes have not converged; {THREE}",
        ),
        "2|3": Border(between="2|3", lr=2048, low=1024, high=16384, reason=THREE),
    }


def test_notes_say_what_has_not_converged_and_what_rests_on_it() -> None:
    seen = whole()
    falls = (
        "fine-tuning at 0.1 has not converged at 2 learning rates: over the last quarter the loss still falls by 0.20 to 0.50 in "
        "logs while test quality changes by 10.0 points on average; longer fine-tunes (--extend-finetunes) may change 2A|2B and "
        "the recommendation"
    )
    found = map_of(seen, 0.7)
    assert found.notes == (falls, FEW)
    assert (found.measure, found.finetune_lr, found.seeds) == ("test accuracy", 0.1, 3)
    assert found.recommended == recommend(seen, 0.7)
    assert found.recommended != recommend(seen, 0.3)


def test_a_recommendation_at_another_rate_rests_on_that_ones_convergence() -> None:
    first, second = (3, 0, 1), (5, 1, 2)
    seen = planted(FIT, **tuned(twice(seeds([0.8, 0.9, 0.9, 0.9, 0.8, 0.8, 0.5]), 0.05)))
    notes = map_of(replace(seen, share=0.5, ending=ending((7, 2, 3), first, second)), 0.3).notes
    text = (
        "fine-tuning at {} has not converged at 1 learning rate: over the last quarter the loss still falls by 0.30 to 0.30 in "
        "logs while test quality changes by 2.0 points on average; longer fine-tunes may change {}"
    )
    assert notes == (text.format(0.1, "2A|2B"), text.format(0.2, "the recommendation"), FEW)
    assert map_of(seen, 0.3).notes == (FEW,)
    few = "fewer than 8 logged epochs of fine-tuning: whether it converged is undetermined"
    assert map_of(replace(seen, ending=None), 0.3).notes == (few, FEW)


def test_2a_may_begin_inside_regime_2_and_averages_are_held_against_it_alone() -> None:
    """Qualities are below 0 here, as those of losses may be; where nothing is known is not the best place."""
    reached = seeds([-0.2, -0.2, -0.15, -0.1, -0.1, -0.2, NAN])
    trained = np.ones((7, 3), bool)
    trained[4] = False
    votes = [row if k != 4 else [0] * 3 for k, row in enumerate(FIT)]
    seen = planted(
        votes,
        trained_LU=trained,
        guess=-1.0,
        averaged=same(seeds([-0.2] * 4 + [NAN] + [-0.2] * 2)),
        **tuned(twice(reached)),
    )
    found = map_of(seen, 0.3)
    inside = [("2", ("below 2A",)), ("2A", ("SWA falls short",)), ("2A", ("inferred",)), ("2B", ())]
    assert said(found) == [("1", ()), ("1", ()), *inside, ("3", ())]
    good = replace(seen, averaged=same(seeds([-0.1] * 7)))
    assert said(map_of(good, 0.3))[3] == ("2A", ())
    assert said(map_of(replace(seen, averaged=None), 0.3))[3] == ("2A", ())


@pytest.mark.parametrize(
    ("reached", "reason", "provisional"),
    [
        (
            [0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.5],
            "no 2A seen: fine-tuning from regime 2 ends below the best, up to noise",
            True,
        ),
        ([0.8, 0.8, 0.9, 0.9, 0.9, 0.9, 0.5], "no 2B seen: fine-tuning ends as well up to the end of regime 2", True),
        (
            [0.1] * 7,
            "fine-tuning at 0.1 ended nowhere better than guessing: run again with --finetune-lrs set to a learning rate of "
            "regime 1",
            False,
        ),
    ],
)
def test_a_border_2a_2b_that_is_not_there_has_a_reason(reached: list[float], reason: str, provisional: bool) -> None:
    seen = planted(FIT, **tuned(twice(seeds(reached))))
    assert map_of(seen, 0.3).borders["2A|2B"] == Border(between="2A|2B", reason=reason)
    regime = "2B" if "no 2A" in reason else "2A" if "no 2B" in reason else "2"
    assert [label.regime for label in map_of(seen, 0.3).labels[2:6]] == [regime] * 4
    for place, clause in ((5, provisional), (6, False)):  # inside regime 2 and above it
        late = replace(seen, ending=ending((7, 2, 3), (place, 0, 0), (place, 0, 1), (place, 1, 0), (place, 1, 1)))
        more = "; provisional, because fine-tunes have not converged" if clause else ""
        assert map_of(late, 0.3).borders["2A|2B"].reason == reason + more
    one = replace(seen, ending=ending((7, 2, 3), (5, 0, 0), (4, 1, 0), (4, 1, 1)))
    assert map_of(one, 0.3).borders["2A|2B"].reason == reason, "one seed of three, and another rate"


def test_without_fine_tunes_2_has_no_parts() -> None:
    found = map_of(planted(FIT), 0.3)
    reason = "2A and 2B are told apart by fine-tuning: run again with --finetune-lrs set to a learning rate of regime 1"
    assert found.borders["2A|2B"] == Border(between="2A|2B", reason=reason)
    assert said(found) == [("1", ()), ("1", ()), *[("2", ())] * 4, ("3", ())]
    assert (found.notes, found.finetune_lr, found.labels[0].after) == ((FEW,), None, None)


# --- what was not trained, and what overflowed ---


def test_what_was_not_trained_is_inferred_if_a_neighbour_votes() -> None:
    """The nearest trained learning rate on either side counts, and no other."""
    rows: list[tuple[list[int], str, str, tuple[str, str]]] = [  # votes, trained, broken; label and flag
        ([0, 0], "11", "00", ("?", "too few epochs")),
        ([0, 0], "00", "00", ("?", "not trained")),
        ([0, 0], "10", "00", ("?", "too few epochs")),
        ([0, 0], "00", "00", ("1", "inferred")),
        ([1, 0], "10", "00", ("1", "")),
        ([0, 0], "00", "00", ("1", "inferred")),
        ([1, 0], "10", "00", ("1", "")),
        ([0, 0], "00", "00", ("2A", "inferred")),
        ([2, 2], "11", "00", ("2A", "")),
        ([0, 0], "00", "00", ("2A", "inferred")),
        ([2, 2], "11", "00", ("2A", "")),
        ([2, 0], "10", "00", ("2B", "")),
        ([0, 0], "00", "00", ("2B", "inferred")),
        ([2, 3], "11", "00", ("2B", "seeds disagree")),
        ([0, 0], "11", "11", ("?", "non-finite")),
        ([0, 0], "00", "00", ("?", "not trained")),
        ([0, 0], "10", "10", ("?", "non-finite in 1 of 2 seeds")),
    ]
    votes, trained, broken, expected = zip(*rows, strict=True)
    reached = np.full((17, 2), NAN)
    reached[[8, 10]], reached[[6, 11], 0] = 0.9, [0.9, 0.7]
    seen = planted(
        votes,
        trained_LU=np.array([[int(x) for x in row] for row in trained], bool),
        broken_LU=np.array([[int(x) for x in row] for row in broken], bool),
        share=0.25,
        **tuned(twice(reached), tuned_LU=np.isfinite(reached)),
    )
    found = map_of(seen, 0.3)
    assert said(found) == [(regime, (flag,) if flag else ()) for regime, flag in expected]
    assert found.notes[0] == (
        "adaptive: 25% of the grid's run-steps were trained, at 10 of 17 learning rates; labels flagged inferred follow from "
        "their neighbours"
    )
    assert found.labels[14] == Label(lr=4.0**14, regime="?", flags=("non-finite",), votes={"non-finite": 2}, before=0.5)
    assert found.borders["1|2"].lr == 2.0**13
    assert found.borders["1|2"].reason == THREE.replace("3 seeds", "2 seeds")
    assert found.borders["2A|2B"].lr == 2.0**21


def test_beyond_what_was_trained_only_the_outer_regimes_go_on() -> None:
    """Regime 2 may end anywhere above the highest trained learning rate, and begin anywhere below the lowest."""

    def of(*votes: int) -> RegimeMap:
        rows = [[v, v] for v in votes]
        return map_of(planted(rows, trained_LU=np.array(rows) > 0), 0.3)

    unseen = ("?", ("not trained",))
    above = of(1, 1, 2, 2, 0, 0)
    assert said(above) == [("1", ()), ("1", ()), ("2", ()), ("2", ()), unseen, unseen]
    assert above.borders["1|2"].lr == 8.0
    assert above.borders["2|3"] == Border(
        between="2|3", reason="64 has not reached regime 3, and no higher learning rate was trained: train 256"
    )
    nothing = of(1, 1, 0)
    assert said(nothing)[2] == unseen
    assert (
        nothing.borders["1|2"].reason == "4 has not reached regime 2, and no higher learning rate was trained: train 16"
    )
    below = of(0, 2, 2, 3, 0)
    assert said(below) == [unseen, ("2", ()), ("2", ()), ("3", ()), ("3", ("inferred",))]
    assert below.borders["1|2"] == Border(
        between="1|2", reason="the lowest trained learning rate 4 is already past regime 1: train 1"
    )
    assert below.borders["2|3"].lr == 2.0**5
    assert said(of(0, 1, 2, 3))[0] == ("1", ("inferred",))
    assert said(of(0, 3, 3))[0] == unseen
    assert said(of(2, 0, 2))[1] == ("2", ("inferred",)), "between two that were trained"
    assert of(1, 2, 3).borders["1|2"].lr == of(0, 1, 2).borders["1|2"].lr / 4 == 2.0, (
        "just above the lowest trained one"
    )


def test_where_nothing_was_trained_nothing_is_labelled() -> None:
    found = map_of(planted([[0, 0]] * 3, trained_LU=np.zeros((3, 2), bool)), 0.3)
    assert said(found) == [("?", ("not trained",))] * 3
    assert {border.reason for border in found.borders.values()} == {"no run was trained"}


def test_seeds_that_the_highest_trained_rate_lacks_count_as_its_place() -> None:
    seen = planted([[1, 1], [2, 2], [3, 0], [0, 0]], trained_LU=~at((4, 2), (2, 1), (3, 0), (3, 1)))
    assert _likely(seen, 1, 2).tolist() == [[1, 1], [2, 2], [3, 3], [0, 0]]


def test_the_neighbour_below_alone_may_vote() -> None:
    found = map_of(planted([[1], [0], [0]], trained_LU=~at((3, 1), (1, 0)), broken_LU=at((3, 1), (2, 0))), 0.3)
    assert [label.flags for label in found.labels] == [(), ("inferred",), ("non-finite",)]


def test_untrained_seeds_are_counted_as_those_of_their_place() -> None:
    """One seed of five was trained; the others do not widen the range."""
    votes = np.zeros((8, 5), int)
    votes[:, 0] = [1, 1, 2, 2, 2, 2, 3, 3]
    found = map_of(planted(votes, trained_LU=votes > 0), 0.3)
    interval = "95% interval, bootstrap over 5 seeds, widened to grid cells"
    assert found.borders["1|2"] == Border(between="1|2", lr=8, low=4, high=16, reason=interval)
    assert found.borders["2|3"] == Border(between="2|3", lr=2048, low=1024, high=4096, reason=interval)
    assert not any("range" in note for note in found.notes)


def test_five_seeds_have_the_interval_of_the_bootstrap() -> None:
    firsts = np.array([2, 2, 3, 4, 6])
    votes = np.where(np.arange(9)[:, None] < firsts, 1, np.where(np.arange(9)[:, None] < firsts + 2, 2, 3))
    found = map_of(planted(votes), 0.3)
    lrs = 4.0 ** np.arange(9)
    for name, which in (("1|2", 0), ("2|3", 1)):
        positions = np.array([borders.split(borders.tally(votes[:, s]))[which] for s in borders.draws(1, 5)])
        low, high = borders.interval(positions, lrs)
        assert (found.borders[name].low, found.borders[name].high) == (low, high)
    assert found.borders["1|2"].lr == 32
    outlier = np.where(np.arange(9)[:, None] < [3] * 6 + [7], 1, 2)
    border = map_of(planted(outlier), 0.3).borders["1|2"]
    assert (border.low, border.high) == (16, 64), "one seed of seven is no majority in one draw of forty"


def test_a_seed_that_says_1_in_regime_2_disagrees() -> None:
    assert said(map_of(planted([[1, 1, 1], [1, 2, 2], [2, 2, 2]]), 0.3)) == [
        ("1", ()),
        ("2", ("seeds disagree",)),
        ("2", ()),
    ]


def test_above_the_last_vote_there_is_no_regime_2() -> None:
    """Learning rates that overflow are none, however the ties of the split fall."""
    votes = [[1], [1], [1], [0], [0]]
    found = map_of(planted(votes, broken_LU=np.array(votes) == 0, **tuned(twice(seeds([0.9] * 5, 1)))), 0.3)
    none = "no learning rate of the grid lies in regime 2: refine the grid around border 1|2"
    assert found.borders["2A|2B"].reason == none
    assert map_of(planted(votes, score=Score(accurate=False)), 0.3).measure == "test loss"


ABOVE = "16 has not reached regime {}, and all higher learning rates end non-finite: refine the grid between 16 and 64"


@pytest.mark.parametrize(
    ("votes", "name", "reason"),
    [
        ([2, 2, 3], "1|2", "the lowest learning rate 1 is already past regime 1: extend the grid down"),
        ([3, 3, 3], "2|3", "the lowest learning rate 1 is already past regime 2: extend the grid down"),
        ([1, 1, 1], "1|2", "the highest learning rate 16 has not reached regime 2: extend the grid up"),
        ([1, 2, 2], "2|3", "the highest learning rate 16 has not reached regime 3: extend the grid up"),
        ([1, 1, 1, 0], "1|2", ABOVE.format("2")),
        ([1, 2, 2, 0, 0], "2|3", ABOVE.format("3")),
        ([0, 0, 0], "1|2", "every run ended non-finite: use smaller learning rates"),
        ([0, 0, 0], "2|3", "every run ended non-finite: use smaller learning rates"),
    ],
)
def test_a_border_that_the_grid_does_not_reach_has_a_reason(votes: list[int], name: str, reason: str) -> None:
    seen = planted([[v] * 2 for v in votes], broken_LU=np.array([[v == 0] * 2 for v in votes]))
    found = map_of(seen, 0.3)
    assert found.borders[name] == Border(between=name, reason=reason)
    assert all("no learning rate of the grid" not in border.reason for border in found.borders.values())


def test_one_finite_seed_is_enough_to_say_where_overflow_begins() -> None:
    seen = planted(
        [[1, 1], [1, 1], [1, 0], [0, 0]], broken_LU=np.array([[False] * 2] * 2 + [[False, True], [True] * 2])
    )
    assert map_of(seen, 0.3).borders["1|2"] == Border(between="1|2", reason=ABOVE.format("2"))
    last = planted([[1], [1], [2], [0]], broken_LU=np.array([[False]] * 3 + [[True]]))
    assert map_of(last, 0.3).borders["1|2"].lr == 8, "2 is seen at the last finite one"


@pytest.mark.parametrize(
    ("windows", "reason"),
    [
        (7, "7 logged epochs are too few to see whether a loss still falls: train for at least 8"),
        (8, "every run ended non-finite: use smaller learning rates"),
    ],
)
def test_where_nothing_votes_the_reason_is_the_epochs_or_overflow(windows: int, reason: str) -> None:
    found = map_of(planted([[0], [0]], windows=windows), 0.3)
    assert [border.reason for border in found.borders.values()] == [reason] * 3
    assert found.notes == (), "no border, so nothing about ranges"


def test_a_grid_without_regime_2_says_so_at_both_borders() -> None:
    found = map_of(planted([[1], [1], [3], [3]], **tuned(twice(seeds([0.9] * 4, 1)))), 0.3)
    remedy = "no learning rate of the grid lies in regime 2: refine the grid between its neighbours"
    one = "range over 1 seed, widened to grid cells; 5 or more seeds give a 95% interval"
    for name in ("1|2", "2|3"):
        assert found.borders[name] == Border(between=name, lr=8, low=4, high=16, reason=f"{remedy}; {one}")
    none = "no learning rate of the grid lies in regime 2: refine the grid around border 1|2"
    assert found.borders["2A|2B"] == Border(between="2A|2B", reason=none)
    assert found.notes == ("1 seed: intervals are ranges over seeds, 5 or more give 95% intervals",)


# --- other networks, other schedules ---


def test_a_network_that_is_not_scale_invariant_dies_and_its_best_pre_training_is_noted() -> None:
    """One seed that is known counts as much as three, and none is not the best."""
    values = seeds([0.5, 0.6, 0.8, 0.7, 0.6, 0.5, 0.2])
    values[3] = [0.9, NAN, NAN]
    values[4] = NAN
    seen = planted(FIT, scale_invariant=False, pretrained=same(values))
    found = map_of(seen, 0.3)
    note = (
        "not scale-invariant: the learning rate with the best pre-training test quality is 64, the papers' border 1|2 for "
        "such "
    )
    assert found.notes == (note + "nets; the losses put it at 8", FEW)
    assert found.labels[-1] == Label(lr=4096, regime="dead", votes={"dead": 3}, before=pytest.approx(0.2))
    dies = "a network that is not scale-invariant overflows or dies instead of regime 3"
    assert found.borders["2|3"] == Border(between="2|3", reason=dies)
    assert found.borders["1|2"].lr == 8
    few = seeds([0.5, 0.6, *[NAN] * 5])
    few[0, 1:] = NAN
    nothing = replace(seen, votes_LU=np.ones((7, 3), np.int64), pretrained=same(few))
    undetermined = note.replace("64", "4") + "nets; by the losses it is undetermined"
    assert map_of(nothing, 0.3).notes[0] == undetermined
    assert map_of(replace(seen, pretrained=same(np.full((7, 3), NAN))), 0.3).notes == (FEW,)


def test_the_learning_rates_of_a_schedule_are_peaks() -> None:
    reached = seeds([0.5, 0.7, 0.6], 2)
    trained = np.array([[True, True], [True, False], [False, False]])
    seen = planted(
        [[1, 1], [2, 0], [0, 0]],
        schedule="cosine",
        score=Score(accurate=False, scale=2.0),
        chosen_by="test loss",
        broken_LU=at((3, 2), (0, 1)),
        trained_LU=trained,
        pretrained=same(reached),
        **tuned(twice(reached, 0.1), ending=ending((3, 2, 2), (0, 0, 0), (1, 1, 1))),
    )
    found = map_of(seen, 0.3)
    flags = [("non-finite in 1 of 2 seeds", "fine-tune still falls"), (), ("not trained",)]
    assert said(found) == [("?", own) for own in flags]
    assert found.labels[0].votes == {"non-finite": 1}
    assert [label.before for label in found.labels] == pytest.approx([1.0, 0.6, 0.8])
    assert [label.after for label in found.labels] == pytest.approx([1.0, 0.6, 0.8])
    assert {border.reason for border in found.borders.values()} == {
        "regimes are those of a constant learning rate, and these are the peaks of the schedule cosine: the best peak is "
        "recommended below; train with schedule constant for the regimes"
    }
    assert (found.measure, found.finetune_lr, found.seeds) == ("test loss", 0.1, 2)
    assert [note.partition(" has")[0] for note in found.notes] == ["fine-tuning at 0.2"]
    assert found.notes[0].endswith("may change the recommendation")
    assert found.recommended == recommend(seen, 0.3)
