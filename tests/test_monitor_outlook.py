"""What a decay would give, as the monitor tells it: against a noisy quadratic whose losses have formulas, and when it is said."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lrscope.monitor import LookAhead, Monitor
from lrscope.monitor.average import POWER
from lrscope.tasks.streams import generator
from planted_run import Planted

# -- a noisy quadratic ----------------------------------------------------------------------------------------------------
# The loss of each coordinate is w^2 / 2, its gradient has noise of variance 1. So a step of size lr takes the variance of w from
# v to (1 - lr)^2 v + lr^2, which rests at lr / (2 - lr).

LR, EVERY, STEPS, COORDINATES = 0.1, 5, 1000, 4000
SHRINK = 1 - LR


def quadratic() -> Monitor:
    """After STEPS steps from 0 at the learning rate LR."""
    model = nn.Module()
    model.weight = nn.Parameter(torch.zeros(COORDINATES))
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    monitor = Monitor(model, optimizer, every=EVERY, look_ahead=True)
    draws = generator("tests", "outlook")
    for _ in range(STEPS):
        model.weight.grad = model.weight.detach() + torch.randn(COORDINATES, generator=draws)
        optimizer.step()
        monitor.step(0.5 * model.weight.detach().square().mean())
    return monitor


def losses(model: nn.Module) -> list[float]:
    """Of 20 batches of coordinates."""
    return [float(part.square().mean()) / 2 for part in model.weight.detach().split(COORDINATES // 20)]


def averaged_loss() -> float:
    """The expected loss of the average: the sum of its weights times the covariances of the weights it took in."""
    places = np.arange(1, STEPS // EVERY + 1)
    shares = np.ones(1)
    for count in places[1:]:
        new = (POWER + 1) / (count + POWER)
        shares = np.append((1 - new) * shares, new)
    steps = EVERY * places
    variance = LR / (2 - LR) * (1 - SHRINK ** (2.0 * steps))
    apart = np.abs(steps[:, None] - steps[None])
    covariance = SHRINK ** apart.astype(float) * np.minimum(variance[:, None], variance[None])
    return float(shares @ covariance @ shares) / 2


def decayed_loss(steps: int) -> float:
    """The expected loss after a linear decay to 0 from equilibrium."""
    variance = LR / (2 - LR)
    for k in range(1, steps + 1):
        lr = LR * (1 - k / steps)
        variance = (1 - lr) ** 2 * variance + lr**2
    return variance / 2


def test_the_look_ahead_of_a_noisy_quadratic_is_that_of_its_formula() -> None:
    ahead = quadratic().look_ahead(losses)
    noise = 4 * math.sqrt(2 / COORDINATES)  # four standard errors of a mean of squares
    assert ahead.now == pytest.approx(LR / (2 - LR) / 2, rel=noise)
    assert ahead.ahead == pytest.approx(averaged_loss(), rel=noise)
    assert ahead.low < averaged_loss() < ahead.high
    assert ahead.high - ahead.low < 0.2 * ahead.ahead
    assert ahead.tells
    assert ahead.gains


def test_a_decay_of_a_noisy_quadratic_reaches_the_look_ahead_if_it_is_as_long_as_the_run() -> None:
    """A twelfth of the loss is left then. A quarter as long, it leaves twice as much."""
    averaged = averaged_loss()
    assert LR / (2 - LR) / 2 / averaged == pytest.approx(12, rel=0.02)
    assert decayed_loss(STEPS) / averaged == pytest.approx(1, rel=0.02)
    assert decayed_loss(STEPS // 4) / averaged == pytest.approx(2, rel=0.02)


def test_the_interval_covers_the_loss_of_the_averaged_weights() -> None:
    """19 times in 20 over draws of the batches; 300 draws at 95% have between 271 and 296, with 1 in 1000 outside."""
    run = Planted(look_ahead=True, every=2)
    run.step(4)
    draws = generator("tests", "outlook", "batches")
    told = [run.monitor.look_ahead(lambda m: 0.3 + torch.randn(6, generator=draws)) for _ in range(300)]
    assert 271 <= sum(one.low < 0.3 < one.high for one in told) <= 296


@pytest.mark.parametrize(
    ("pairs", "tells"),
    [
        ([(0.5, 0.4)], True),
        ([(0.4, 0.5)], False),
        ([(0.5, 0.4), (1.5, 1.38), (2.5, 2.4)], True),  # the batches differ by more than they gain
        ([(0.5, 0.2), (0.5, 0.6), (0.5, 0.5)], False),  # gains on average, but not beyond noise
        ([(math.nan, 0.4), (0.5, 0.4)], False),
        ([(0.5, math.nan)], False),
    ],
)
def test_the_average_is_lower_or_says_nothing(pairs: list[tuple[float, float]], tells: bool) -> None:
    run = Planted(look_ahead=True, every=2)
    run.step(4)
    calls = iter(zip(*pairs, strict=True))
    ahead = run.monitor.look_ahead(lambda m: list(next(calls)))
    assert ahead.tells == tells
    assert ("about" in str(ahead)) == tells
    assert ("is undetermined" in str(ahead)) == (not tells)


# -- when it is said, and how -----------------------------------------------------------------------------------------------


def told(now: float, ahead: float) -> Callable[[nn.Module], list[float]]:
    """An evaluation of three batches."""
    heights = iter((now, ahead))
    return lambda model: list(next(heights) + np.array([-0.01, 0.0, 0.01]))


DECAY = "a decay now would reach about 0.2 [0.175, 0.225] (without it 0.5)"


def test_the_regime_says_what_a_decay_would_reach() -> None:
    run = Planted(look_ahead=True, chance=1.0)
    run.step(320, 0.5)
    assert str(run.monitor.regime()) == "regime 2, likely: loss stationary for 270 updates at 0.5"
    ahead = run.monitor.look_ahead(told(0.5, 0.2))
    assert str(ahead) == DECAY.replace("now", "at update 320")
    assert str(run.monitor.regime()) == f"regime 2, sure: loss stationary for 270 updates at 0.5; {DECAY}"
    assert run.monitor.line().endswith(DECAY)
    run.step(80, 0.5)
    assert str(run.monitor.regime()).endswith(DECAY), "at update 400, which is 1.25 times 320"
    run.step(1, 0.5)
    said = "a decay at update 320 would have reached about 0.2 [0.175, 0.225] (without it 0.5)"
    assert str(run.monitor.regime()).endswith(said)
    assert run.monitor.regime().confidence == "sure", "that the run gains by averages is no less true"
    assert run.monitor.regime().decay_values == {}


def test_of_another_learning_rate_it_is_not_said_of_now() -> None:
    run = Planted(look_ahead=True, chance=1.0)
    run.step(320, 0.5)
    run.monitor.look_ahead(told(0.5, 0.2))
    run.step(320, 0.5, lr=0.01)
    assert str(run.monitor.regime()) == "regime 2, likely: loss stationary for 270 updates at 0.5"
    assert run.monitor.line().endswith("(without it 0.5), before the learning rate changed")
    run.monitor.look_ahead(told(0.5, 0.2))
    assert str(run.monitor.regime()).endswith(DECAY)


def test_while_the_loss_falls_by_itself_the_average_says_nothing() -> None:
    """On digits, decays of runs in regime 1 ended far below or above it."""
    run = Planted(look_ahead=True)
    for k in range(320):
        run.step(1, 2.3 / (k + 1))
    ahead = run.monitor.look_ahead(told(0.5, 0.2))
    assert not ahead.tells
    words = "would reach is undetermined: averaged weights have 0.2, the present ones 0.5"
    assert str(ahead) == f"what a decay at update 320 {words}"
    assert str(run.monitor.regime()).startswith("regime 1, sure: loss falls, by ")
    assert str(run.monitor.regime()).endswith(f"; what a decay now {words}")


def test_a_run_that_learns_nothing_has_none() -> None:
    run = Planted(look_ahead=True, chance=0.5)
    run.step(320, 0.5)
    run.monitor.look_ahead(told(0.5, 0.2))
    assert str(run.monitor.regime()) == "dead run: a loss of 0.5 is no better than guessing (0.5)"
    assert run.monitor.regime().decay is None


def test_an_average_that_lags_behind_says_nothing() -> None:
    run = Planted(look_ahead=True, chance=1.0)
    run.step(320, 0.5)
    run.monitor.look_ahead(told(0.5, 0.9))
    words = "what a decay now would reach is undetermined: averaged weights have 0.9, the present ones 0.5"
    assert str(run.monitor.regime()) == f"regime 2, likely: loss stationary for 270 updates at 0.5; {words}"
    assert run.monitor.regime().decay_values == {}


def test_sinks_results_and_the_page_have_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Planted(look_ahead=True, chance=1.0, sinks=["terminal", tmp_path / "log.jsonl"])
    run.step(320, 0.5)
    page = run.monitor.report(tmp_path / "page.html").read_text()
    assert "Monitor.look_ahead(evaluate) says what a decay would reach." in page
    run.monitor.look_ahead(told(0.5, 0.2))
    run.step(110, 0.5)
    lines = {row["update"]: row for row in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())}
    names = ("decay_loss", "decay_loss_low", "decay_loss_high")
    assert all(name not in lines[320] for name in names)
    assert [lines[330][name] for name in names] == pytest.approx([0.2, 0.1752, 0.2248], abs=1e-4)
    assert lines[330]["regime"].endswith(DECAY)
    assert DECAY in capsys.readouterr().err
    run.monitor.look_ahead(told(0.5, 0.2))
    attrs = run.monitor.result().attrs
    assert [attrs[name] for name in names] == pytest.approx([0.2, 0.1752, 0.2248], abs=1e-4)
    assert attrs["regime"] == str(run.monitor.regime())
    page = run.monitor.report(tmp_path / "page.html").read_text()
    assert DECAY in page
    assert "look_ahead(evaluate)" not in page


def test_the_page_says_how_to_learn_it(tmp_path: Path) -> None:
    run = Planted(chance=1.0)
    run.step(320, 0.5)
    page = run.monitor.report(tmp_path / "page.html").read_text()
    assert "Made with look_ahead=True, monitor.look_ahead(evaluate) says what a decay would reach." in page


def test_a_resumed_run_says_the_same() -> None:
    run, other = (Planted(look_ahead=True) for _ in range(2))
    run.step(320, 0.5)
    run.monitor.look_ahead(told(0.5, 0.2))
    other.monitor.load_state_dict(run.monitor.state_dict())
    assert isinstance(other.monitor.ahead, LookAhead)
    assert str(other.monitor.regime()) == str(run.monitor.regime())


# -- memory -----------------------------------------------------------------------------------------------------------------


def storages(size: int) -> int:
    """How many tensors of this many numbers have memory of their own."""
    tensors = [x for x in gc.get_objects() if type(x) in (Tensor, nn.Parameter) and x.numel() == size]
    return len({x.untyped_storage().data_ptr() for x in tensors})


@pytest.mark.parametrize("steps", [4, 5])
def test_a_look_ahead_takes_two_copies_of_what_trains_and_none_of_what_is_frozen(steps: int) -> None:
    """The model's own, the average and the copy that is evaluated: the weights before the update to come, which are held at every
    second step, are put aside and taken again."""
    trains, frozen = 7_919, 7_907  # sizes that nothing else has
    model = nn.ParameterDict({"trains": nn.Parameter(torch.ones(trains)), "frozen": nn.Parameter(torch.ones(frozen))})
    model["frozen"].requires_grad_(False)
    monitor = Monitor(model, torch.optim.SGD([model["trains"]], lr=0.1), every=2, look_ahead=True)
    for _ in range(steps):
        with torch.no_grad():
            model["trains"].mul_(1.1)
        monitor.step(1.0)
    seen = []

    def evaluate(copy: nn.Module) -> float:
        seen.append((storages(trains), storages(frozen)))
        copy.half()
        return 1.0

    monitor.look_ahead(evaluate)
    assert seen == [(3, 1)] * 2
    assert model["frozen"].dtype == torch.float32
    with torch.no_grad():
        model["trains"].add_(torch.arange(trains) / trains)
    monitor.step(1.0)
    if steps == 5:
        before = 1.1**5 * torch.ones(trains)
        after = before + torch.arange(trains) / trains
        wanted = math.acos(float(before @ after / before.norm() / after.norm()))
        assert float(monitor.result()["group_angle"][-1, 0]) == pytest.approx(wanted, rel=1e-3)


def test_a_look_ahead_between_an_update_and_its_measurement_loses_nothing() -> None:
    """The weights have moved since their copy was taken, so the copy is kept."""
    run = Planted(look_ahead=True, every=2)
    run.step(5)
    with torch.no_grad():
        run.model.weight.copy_(torch.tensor([0.0, 1.0]))
    run.monitor.look_ahead(lambda model: 1.0)
    run.monitor.step(1.0)
    assert float(run.monitor.result()["group_angle"][-1, 0]) == pytest.approx(3 * math.pi / 4, rel=1e-4)
