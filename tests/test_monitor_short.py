"""Runs of a few hundred updates at default settings: measured one by one at first, they have something to say early and lose
nothing when the record becomes coarser. What too few updates cannot tell is left open."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lrscope.errors import LrscopeError
from lrscope.monitor.monitor import EVERY, FIRST
from planted_run import Planted

PEAK = 0.05


def cosine(run: Planted, steps: int, until: int) -> None:
    """The first updates of a run under a cosine, whose loss falls as a power of time."""
    for k in range(run.monitor.updates, until):
        run.step(1, 2.3 / (k + 1) ** 0.7, PEAK * 0.5 * (1 + math.cos(math.pi * k / steps)))


def test_a_cosine_of_150_updates_tells_its_regime() -> None:
    """At default settings: while the learning rate is within a quarter of its peak, and from then on what it was."""
    run = Planted(every=None)
    cosine(run, 150, 31)
    assert str(run.monitor.regime()) == "regime undetermined: 31 of 32 updates so far"
    cosine(run, 150, 38)
    assert str(run.monitor.regime()).startswith("regime 1, sure: loss falls, by ")
    cosine(run, 150, 75)
    now, earlier = str(run.monitor.regime()), run.monitor.readings().earlier
    assert now == (
        "regime undetermined: the learning rate is changing: 13 updates with about the present one, and 32 are needed"
    )
    assert earlier is not None
    assert (earlier.regime, earlier.confidence) == ("1", "sure")
    assert 32 <= earlier.update <= 48
    cosine(run, 150, 150)
    assert f"; at update {earlier.update} it was {earlier}" in run.monitor.line()


def test_a_cosine_of_1000_updates_remembers_what_it_told_when_the_record_becomes_coarser() -> None:
    """Ten updates a row leave 30 rows near the peak, which are too few."""
    run = Planted(every=None)
    cosine(run, 1000, FIRST - 1)
    assert run.monitor.regime().regime == "1"
    cosine(run, 1000, 500)
    assert len(run.monitor.history.rows) == 50
    earlier = run.monitor.readings().earlier
    assert earlier is not None
    assert (earlier.regime, earlier.update) == ("1", FIRST)
    other = Planted(every=None)
    other.monitor.load_state_dict(run.monitor.state_dict())
    assert other.monitor.line() == run.monitor.line()


@pytest.mark.parametrize("stop", [100, FIRST - 1, FIRST, FIRST + 5])
def test_the_record_is_then_as_if_it_had_been_coarse_from_the_first(stop: int) -> None:
    losses = np.exp(np.random.default_rng(0).normal(0, 0.1, 500))
    runs = [Planted(every=None), Planted(every=EVERY), Planted(every=None)]
    for run in runs[:2]:
        for loss in losses:
            run.step(1, loss)
    for loss in losses[:stop]:
        runs[2].step(1, loss)
    resumed = Planted(every=None)
    resumed.model.load_state_dict(runs[2].model.state_dict())
    resumed.monitor.load_state_dict(runs[2].monitor.state_dict())
    for loss in losses[stop:]:
        resumed.step(1, loss)
    fine, coarse, again = (run.monitor.result() for run in (runs[0], runs[1], resumed))
    assert again.identical(fine)
    assert fine["update"].values.tolist() == coarse["update"].values.tolist() == list(range(10, 501, 10))
    np.testing.assert_allclose(fine["train_loss"], coarse["train_loss"], rtol=1e-6)
    assert fine["calls"].equals(coarse["calls"])
    assert fine["group_angle"].notnull().all()


@pytest.mark.parametrize("every", [None, 5, 10, 20])
def test_the_line_says_the_mean_loss_of_ten_updates(every: int | None) -> None:
    """One update's is noise; a row that stands for more is not taken apart."""
    run = Planted(every=every)
    for k in range(1, 101):
        run.step(1, k)
    assert run.monitor.line().startswith(f"update 100: loss {90.5 if every == 20 else 95.5}; ")


def test_an_interval_of_ones_own_stays() -> None:
    run = Planted(every=1)
    run.step(FIRST + 10)
    assert run.monitor.result()["update"].values.tolist() == list(range(1, FIRST + 11))
    with pytest.raises(LrscopeError, match="every: the state was measured with every=1: make the monitor with that"):
        Planted(every=None).monitor.load_state_dict(run.monitor.state_dict())


@pytest.mark.parametrize(
    ("options", "loss", "pause", "then"),
    [
        (
            {"chance": 1.0},
            0.5,
            "loss stationary for 295 updates at 0.5, which is called regime 2 only after 320 updates at one learning rate",
            "2",
        ),
        (
            {"chance": 0.5},
            0.5,
            "a loss of 0.5 is no better than guessing (0.5), which is called dead only after 320 updates at one learning rate",
            "dead",
        ),
    ],
)
def test_a_pause_is_not_called_an_equilibrium_or_a_dead_run(
    options: dict[str, Any], loss: float, pause: str, then: str
) -> None:
    run = Planted(every=1, **options)
    run.step(FIRST - 1, loss)
    assert str(run.monitor.regime()) == f"regime undetermined: {pause}"
    assert run.monitor.warnings() == ()
    run.step(1, loss)
    assert run.monitor.regime().regime == then


def test_it_says_how_to_get_more_measurements_where_one_can() -> None:
    finer = Planted()
    finer.step(40)
    assert finer.monitor.regime().reason == "4 of 32 measurements so far (a smaller every= gives more)"
    late = Planted()
    late.monitor.losses_come_late = True
    for _ in range(3):
        late.step(10, None)
        late.monitor.late_loss(1.0)
    assert late.monitor.regime().reason == "3 of 32 measurements so far (a smaller logging_steps gives more)"
