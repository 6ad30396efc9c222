"""Runs of a few hundred updates at default settings: losses are kept one by one at first, so they have something to say early and
lose nothing when the curve becomes coarser. What too few updates cannot tell is left open."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from lrscope.errors import LrscopeError
from lrscope.monitor import monitor as monitor_module
from lrscope.monitor.monitor import EVERY, FIRST
from lrscope.monitor.movement import Snapshot
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


def test_a_short_run_keeps_each_loss_and_measures_each_tenth_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring the weights at each update would take a third of a small network's step."""
    taken: list[int] = []
    monkeypatch.setattr(Snapshot, "take", lambda self, found, take=Snapshot.take: (taken.append(1), take(self, found)))
    run = Planted(every=None)
    taken.clear()
    for k in range(45):
        run.step(1, 1.0 + k, 0.05 if k < 20 else 0.01)
    assert len(taken) == 4
    assert run.monitor.result()["update"].values.tolist() == [10, 20, 30, 40]
    seen = run.monitor.readings()
    assert seen.curve.update.tolist() == list(range(1, 46))
    assert seen.curve.loss.tolist() == list(np.arange(1.0, 46.0))
    assert (seen.since, seen.measured_since) == (20, 2)
    assert seen.facts.loss.tolist() == list(np.arange(21.0, 46.0))
    assert seen.first == 1.0


def test_the_loss_of_an_update_is_the_mean_over_its_batches() -> None:
    """Where gradients accumulate; a loss that changes in place afterwards was what it was."""
    run = Planted(every=None)
    for k in range(3):
        loss = torch.tensor(2.0 * k)
        run.monitor.step(loss)  # nothing moved yet
        loss.add_(100.0)
        run.step(1, 2.0 * k + 1.0)
    run.step(1, None)
    curve = run.monitor.readings().curve
    assert curve.loss.tolist()[:3] == [0.5, 2.5, 4.5]
    assert curve.told.tolist() == [True, True, True, False]
    assert run.monitor.line().startswith("update 4: no loss; ")


@pytest.mark.parametrize("each", [1, 4, 10, 15])
def test_losses_that_come_late_are_points_of_the_curve_too(each: int) -> None:
    """As from a log at each so many updates. None is lost where no update was measured meanwhile."""
    run = Planted(every=None)
    run.monitor.losses_come_late = True
    for k in range(60 // each):
        run.step(each, None)
        run.monitor.late_loss(float(k))
        run.monitor.late_loss(float(k))  # no update since
    seen = run.monitor.readings()
    assert seen.curve.update.tolist() == list(range(each, 61, each))
    rows = seen.record.losses
    assert rows.sum() == 60 // each
    assert rows @ seen.scalar("train_loss") == pytest.approx(sum(range(60 // each))), "each log counts in one row"
    again = Planted(every=None)
    again.monitor.losses_come_late = True
    again.monitor.load_state_dict(run.monitor.state_dict())
    assert again.monitor.line() == run.monitor.line()
    for one in (run, again):
        one.step(each, None)
        one.monitor.late_loss(7.0)
    curves = [one.monitor.readings().curve for one in (run, again)]
    for name in ("update", "told", "loss", "lr"):
        np.testing.assert_array_equal(*(getattr(curve, name) for curve in curves))


def test_groups_that_come_later_have_no_learning_rate_before() -> None:
    run = Planted(every=None)
    run.step(12)
    run.model.other = torch.nn.Parameter(torch.ones(3))
    run.optimizer.add_param_group({"params": [run.model.other], "lr": 0.5})
    run.step(20)
    lr = run.monitor.readings().curve.lr
    assert lr.shape == (32, 2)
    assert np.isnan(lr[:12, 1]).all()
    assert lr[-1].tolist() == [0.05, 0.5]


def test_tensors_are_looked_at_anew_only_where_the_optimizer_holds_others(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr(
        monitor_module, "tracked", lambda *given, look=monitor_module.tracked: (looked.append(1), look(*given))[1]
    )
    run = Planted(every=None)
    run.step(40)
    assert len(looked) == 1
    run.model.other = torch.nn.Parameter(torch.ones(3))
    run.optimizer.add_param_group({"params": [run.model.other], "lr": 0.5})
    run.step(10)
    assert len(looked) == 2
    run.model.other.requires_grad_(False)
    run.step(10)
    assert [len(looked), len(run.monitor._found)] == [3, 1]
    run.optimizer.load_state_dict(run.optimizer.state_dict())  # whose options are new objects
    run.step(10, lr=0.01)
    assert len(looked) == 4
    assert run.monitor.result()["group_lr"][-1, 0] == 0.01
