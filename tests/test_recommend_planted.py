"""What is recommended from planted evidence, word by word: nothing is trained, and no seed differs unless a test says so.

Learning rates are 1, 4, 16, 64, 256 and 1024; fine-tuning rates 0.1 and 0.2.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lrscope.mapping import Recommendation, RegimeMap
from lrscope.mapping.gather import Ending, Evidence, Quality, Score
from lrscope.mapping.recommend import recommend
from lrscope.mapping.regime_map import map_of
from lrscope.mapping.types import BORDERS, REGIMES
from planted_evidence import at, planted, same, tuned

NAN = float("nan")
VOTES = [[1], [1], [2], [2], [2], [3]]
HILL = (0.8, 0.85, 0.9, 0.9, 0.85, 0.7)
PEAK = (0.7, 0.8, 0.9, 0.8, 0.7, 0.6)
OPTIMISTIC = "chosen by test accuracy, which is optimistic"
EQUAL = "equal to the best within 0.3 points over 3 seeds (95%)"
DECAY = "a decay from this or a higher learning rate often ends better: measure it with --finetune-lrs"


def rows(values: Any, seeds: int = 3) -> NDArray[np.float64]:
    return np.repeat(np.asarray(values, dtype=float)[:, None], seeds, axis=1)


def evidence(values: Any, seeds: int = 3, **facts: Any) -> Evidence:
    """Six learning rates whose pre-training reached these qualities."""
    return planted(np.repeat(VOTES, seeds, axis=1), pretrained=same(rows(values, seeds)), **facts)


def decays(low: Any, high: Any, **facts: Any) -> dict[str, Any]:
    """Fine-tunes at 0.1 and 0.2 that ended with these qualities."""
    return tuned(np.stack([rows(low), rows(high)], axis=1), **facts)


def reasons(seen: Evidence, margin: float = 0.3) -> list[str]:
    return recommend(seen, margin).reason.split("; ")


def test_the_recommendation_names_what_was_reached_and_what_else_was_measured() -> None:
    """Validation chooses, the test set reports; the rate to decay to is the one that reached most."""
    hill, tests = np.array(HILL), 0.5 + 0.01 * np.arange(6)
    seen = evidence(hill - 0.1, **decays(hill - 0.02, hill), chosen_by="validation accuracy")
    after = Quality(test=np.stack([rows(tests + 0.1), rows(tests + 0.2)], 1), chooses=seen.finetuned.chooses)  # type: ignore[union-attr]
    averaged = Quality(test=rows(tests - 0.1), chooses=rows(hill + 0.004))
    before = Quality(test=rows(tests), chooses=rows(np.roll(hill, 1)))
    assert recommend(replace(seen, pretrained=before, finetuned=after, averaged=averaged), 0.3) == Recommendation(
        low=16,
        high=64,
        best=16,
        finetune_lr=0.2,
        before=pytest.approx(0.52),
        after=pytest.approx(0.72),
        undecided=(16, 64),
        cliff=None,
        margin=0.3,
        chosen_by="validation accuracy",
        reason=f"test accuracy 52.00% before and 72.00% after the decay at 16; {EQUAL}; chosen by validation accuracy",
        alternative="without a decay 64 is best: test accuracy 53.00%; averaging checkpoints instead, 16 is best: test accuracy "
        "42.00%, better than what is recommended",
    )


def test_without_fine_tunes_the_constant_learning_rate_is_recommended_or_the_peak_of_a_schedule() -> None:
    seen = evidence(HILL)
    found = recommend(seen, 0.3)
    reason = f"test accuracy 90.00% at the constant learning rate 16; {EQUAL}; {OPTIMISTIC}"
    assert found == Recommendation(
        low=16,
        high=64,
        best=16,
        before=pytest.approx(0.9),
        undecided=(16, 64),
        margin=0.3,
        chosen_by="test accuracy",
        reason=reason,
        alternative=DECAY,
    )
    peak = recommend(replace(seen, schedule="cosine"), 0.3)
    assert peak.reason == reason.replace("constant learning rate 16", "peak learning rate 16 (schedule cosine)")
    assert peak.alternative == ""
    averages = recommend(replace(seen, averaged=same(rows(HILL))), 0.3)
    assert averages.alternative == "averaging checkpoints instead, 16 is best: test accuracy 90.00%"


def test_losses_are_told_as_losses() -> None:
    """Half of the loss of guessing, 2, is gone at a quality of 0.5."""
    seen = evidence(
        [0.3, 0.4, 0.5, 0.4, 0.35, 0.3], score=Score(accurate=False, scale=2.0), chosen_by="test loss", guess=0.0
    )
    none = (
        "with 3 seeds no other learning rate is shown to be equal within 1 point (hundredths of the loss of guessing)"
    )
    assert reasons(seen, 1) == [
        "test loss 1 at the constant learning rate 16",
        none,
        "chosen by test loss, which is optimistic",
    ]
    assert "within 2 points (" in recommend(seen, 2).reason


def test_one_seed_shows_no_uncertainty_and_two_are_called_so() -> None:
    one = reasons(evidence(PEAK, 1))
    assert one[1:] == ["one seed shows no uncertainty: run 3 or more", OPTIMISTIC]
    two = reasons(evidence(PEAK, 2))
    assert two[1:] == ["with 2 seeds no other learning rate is shown to be equal within 0.3 points", OPTIMISTIC]


def test_what_the_seeds_leave_open_is_named() -> None:
    noise = 0.01 * np.array([[1, -1, 0], [0, 1, -1], [-1, 0, 1], [1, -1, 0], [0, 1, -1], [-1, 0, 1]])
    seen = evidence([0.7, 0.89, 0.9, 0.89, 0.7, 0.7])
    noisy = seen.pretrained.test + noise
    found = recommend(replace(seen, pretrained=same(noisy)), 0.3)
    assert (found.low, found.high) == (16, 16)
    assert found.undecided == (4, 64)
    assert "any from 4 to 64 may be as good: more seeds would tell" in found.reason.split("; ")
    two = replace(seen, pretrained=same(noisy[:, :2]), seeds=2, broken_LU=seen.broken_LU[:, :2])
    assert "more seeds would tell" in recommend(two, 0.3).reason
    single = replace(seen, pretrained=same(seen.pretrained.test[:, :1]), seeds=1, broken_LU=seen.broken_LU[:, :1])
    assert "more seeds would tell" not in recommend(single, 3).reason


def test_a_cliff_and_the_better_one_beside_it_are_named() -> None:
    """A seed that was lost in fine-tuning alone counts, at the rate where it was."""
    seen = evidence(HILL, **decays(HILL, np.array(HILL) - 0.1, lost_LFU=at((6, 2, 3), (4, 0, 1), (1, 1, 0))))
    assert reasons(seen)[2:] == [
        OPTIMISTIC,
        "seeds are lost from 256 on",
    ]
    reached = np.stack([rows(HILL), rows(HILL) - 0.1], 1)
    reached[3, 0, 1] = NAN
    lower = same(rows(HILL) - 0.2)
    nearer = replace(seen, pretrained=lower, finetuned=same(reached), lost_LFU=np.isnan(reached))
    assert reasons(nearer)[1:] == [
        "with 3 seeds no other learning rate is shown to be equal within 0.3 points",
        OPTIMISTIC,
        "seeds are lost from 64 on",
        "16 measured better but lies next to that cliff",
    ]


def test_a_lucky_learning_rate_is_named_and_not_followed() -> None:
    values = rows([0.5, 0.7, 0.895, 0.9, 0.895, 0.7])
    values[0] = [0.6, 0.98, 1.0]
    values[1:] += 0.01 * np.array([[1, -1, 0], [0, 1, -1], [-1, 0, 1], [1, -1, 0], [0, 1, -1]])
    values[0] += 0.06
    found = reasons(replace(evidence(HILL), pretrained=same(values)))
    assert found[-1] == (
        "1 measured better, but its neighbours do not bear that out: more seeds, or a finer grid around it, would tell"
    )


@pytest.mark.parametrize(
    ("keep", "where"), [(slice(0, 1), "down and up"), (slice(0, 3), "down"), (slice(3, 6), "up"), (slice(1, 5), "")]
)
def test_the_best_at_an_end_of_the_grid_asks_for_a_larger_one(keep: slice, where: str) -> None:
    values = rows([0.9, 0.8, 0.7, 0.7, 0.8, 0.9])[keep] if where else rows([0.8, 0.9, 0.8, 0.7])
    seen = planted(np.ones(values.shape, int), pretrained=same(values))
    last = f"the best lies at the end of the grid: extend it {where}"
    assert (last in reasons(seen)) == bool(where)
    assert ("end of the grid" in recommend(seen, 0.3).reason) == bool(where)


@pytest.mark.parametrize(("reached", "decay"), [(0.8005, True), (0.7995, False)])
def test_a_decay_may_cost_the_margin_and_no_more(reached: float, decay: bool) -> None:
    """Ten points here; what else was measured is told, and not that decays are unmeasured."""
    hill = np.array(PEAK)
    seen = evidence(hill, **decays(hill - 0.9 + reached, hill - 0.3))
    found = recommend(seen, 10)
    assert found.finetune_lr == (0.1 if decay else None)
    other = "without a decay" if decay else "with a decay to 0.1"
    assert found.alternative == f"{other} 16 is best: test accuracy {90 if decay else 79.95:.2f}%"
    falls = np.ones((6, 2, 3), bool)
    late = replace(seen, ending=Ending(falls=falls, drop=falls * 1.0, drift=falls * 1.0))
    assert ("provisional, because fine-tuning still falls there" in reasons(late, 10)) == decay


def test_provisional_is_what_most_seeds_of_the_best_one_are() -> None:
    seen = evidence(HILL, **decays(HILL, np.array(HILL) - 0.1))
    for places, provisional in (
        ([(2, 0, 0), (2, 0, 1)], True),
        ([(2, 0, 0), (3, 0, 0), (3, 0, 1), (2, 1, 0), (2, 1, 1)], False),
    ):
        mask = at((6, 2, 3), *places)
        words = reasons(replace(seen, ending=Ending(falls=mask, drop=mask * 1.0, drift=mask * 1.0)))
        assert (words[-1] == "provisional, because fine-tuning still falls there") == provisional
    assert "provisional" not in recommend(replace(seen, ending=None), 0.3).reason


def test_a_tenth_is_a_tenth_of_quality_when_the_margin_is_ten_points() -> None:
    """Equal at 9.95 points less; averages that gain 9.95 points are not better by more than the margin."""
    level = np.array([0.3, 0.7005, 0.8, 0.6995, 0.3, 0.3])
    for gain, better in ((0.0995, False), (0.1005, True)):
        found = recommend(evidence(level, averaged=same(rows(level + gain))), 10)
        assert (found.low, found.high) == (4, 16)
        assert found.alternative.endswith("better than what is recommended") == better


def test_a_rate_that_ended_badly_is_left_out_and_without_pre_training_a_decay_is_recommended() -> None:
    bad = np.full(6, 0.1)
    found = recommend(evidence(bad, **decays(bad, HILL)), 0.3)
    assert (found.finetune_lr, found.best, found.alternative) == (0.2, 16, "")
    partly = at((6, 3), (0, 0))
    none = recommend(evidence(HILL, **decays(bad, bad, tuned_LU=partly)), 0.3)
    assert none.finetune_lr is None
    assert none.alternative == (
        "no decay is recommended, because fine-tuning at 0.1, 0.2 did not end well: try lower --finetune-lrs"
    )


def test_the_json_form_of_a_map_has_all_of_it() -> None:
    found = map_of(evidence(HILL, **decays(HILL, HILL)), 0.3)
    told = found.to_dict()
    assert set(told) == {field.name for field in fields(RegimeMap)}
    assert told["recommended"] == asdict(found.recommended)
    assert told["labels"] == [{**asdict(label), "flags": list(label.flags)} for label in found.labels]
    assert told["borders"]["1|2"] == {k: v for k, v in asdict(found.borders["1|2"]).items() if k != "between"}
    assert (told["seeds"], told["measure"], told["finetune_lr"]) == (3, "test accuracy", 0.1)
    assert told["notes"] == list(found.notes)
    assert list(told["borders"]) == list(BORDERS) == ["1|2", "2A|2B", "2|3"]
    assert REGIMES == ("1", "2", "2A", "2B", "3", "dead", "?")


# --- nothing to recommend ---


def nothing(seen: Evidence, reason: str) -> None:
    assert recommend(seen, 0.5) == Recommendation(low=None, high=None, reason=reason, margin=0.5)


def test_where_every_run_overflowed_smaller_rates_are_the_answer() -> None:
    left_out = np.ones((6, 3), bool)
    left_out[0] = False
    values = same(np.full((6, 3), NAN))
    seen = evidence(HILL, broken_LU=left_out, trained_LU=left_out)
    nothing(replace(seen, pretrained=values), "every run ended non-finite: use smaller learning rates")


def test_where_no_learning_rate_is_complete_the_reason_is_the_search_or_overflow() -> None:
    values = rows(HILL)
    values[:, 0] = NAN
    trained = np.isfinite(values)
    seen = replace(evidence(HILL), pretrained=same(values), trained_LU=trained)
    adaptive = "an adaptive sweep trained no learning rate with all its seeds: train the whole grid, or move it"
    nothing(seen, adaptive)
    trained[2] = True
    nothing(seen, "no learning rate has all its seeds finite: use smaller learning rates")


@pytest.mark.parametrize(("best", "learned"), [(0.117, False), (0.119, True)])
def test_where_nothing_was_learned_or_a_seed_lost_everywhere_that_is_said(best: float, learned: bool) -> None:
    """Two hundredths of the way from guessing, 0.1, to perfect: 0.118."""
    values = rows([0.1, 0.1, best, 0.1, 0.1, 0.1])
    values[5, 1:] = NAN
    seen = replace(evidence(HILL), pretrained=same(values), broken_LU=at((6, 3), *((k, 0) for k in range(6))))
    seen = replace(seen, chosen_by="validation accuracy")
    lost = (
        "every learning rate that learned has a lost seed or lies next to one that has: refine the grid below the cliff"
    )
    guessing = "nothing was learned: the best validation accuracy is 11.70%, guessing gets 10.00%: train longer, or move the grid"
    nothing(seen, lost if learned else guessing)
