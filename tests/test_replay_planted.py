"""A search played back from a finished grid: what it looked at in each round, and what it says that it trained."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_result
from lrscope.mapping import replay as played
from lrscope.mapping.gather import gather
from lrscope.mapping.replay import replay, run_steps
from lrscope.mapping.search import Seen, Wanted, next_round
from lrscope.schema import NOT_TRAINED
from trees import changed

STEPS, TUNED_STEPS = 12 * 32, 10 * 32


def small(**options: Any) -> xr.DataTree:
    return fake_result(**{"lrs": 8, "seeds": 1, "epochs": 12, "features": False, **options})


@pytest.mark.parametrize(("config", "every"), [({}, 32), ({"average_every": 7}, 7)])
def test_run_steps_of_a_whole_grid_count_every_segment(config: dict[str, int], every: int) -> None:
    """8 runs, 3 fine-tuning rates, averages of up to 10 checkpoints: taken every epoch, or as often as said."""
    result = small()
    result = changed(result, config=json.dumps({**json.loads(result.attrs["config"]), **config}))
    whole = 8 * (STEPS + 9 * every + 3 * TUNED_STEPS)
    assert run_steps(result) == (whole, whole)
    assert run_steps(small(finetune=False, average=False)) == (8 * STEPS, 8 * STEPS)


@pytest.mark.parametrize("regression", [False, True])
def test_each_round_sees_what_was_trained_before_it(regression: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Seen] = []

    def look(seen: Seen) -> Wanted:
        looks.append(seen)
        return next_round(seen)

    monkeypatch.setattr(played, "next_round", look)
    full = small(regression=regression, validation=64)
    partial, rounds = replay(full)
    done, whole = run_steps(partial)
    assert json.loads(partial.attrs["plan"]) == {
        **json.loads(full.attrs["plan"]),
        "trained_share": done / whole,
        "rounds": len(rounds),
    }
    assert len(looks) == len(rounds) + 1 > 2
    shares = [seen.share for seen in looks]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, done / whole)
    end, last = gather(partial), looks[-1]
    np.testing.assert_array_equal(last.votes_LU, end.votes_LU)
    np.testing.assert_array_equal(last.quality_LU, end.quality_LU)
    asked = {k for wanted in rounds for k, _ in wanted.tune}
    assert 0 < len(asked) < 8
    tuned = (partial["finetune/status"] != NOT_TRAINED).values.reshape(8, 3)
    assert set(np.flatnonzero(tuned[:, 0])) == asked, "at the lowest rate"
    assert not tuned[:, 1:].any()
    assert (partial["pretrain/nonfinite_step"] == -1).all()
    averaged = partial["average/test_loss"].notnull().values.reshape(8, -1).all(1)
    assert (averaged == tuned[:, 0]).all(), "averages are taken where fine-tuning is"
