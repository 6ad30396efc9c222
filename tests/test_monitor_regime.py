"""What a record says, on planted curves: the stationarity test keeps its rate, a falling loss is never called stationary, regimes
and warnings come from the map's rules, and training reaches the angular update that theory names."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from lrscope.monitor import Monitor
from lrscope.monitor.alarms import Situation, alarms
from lrscope.monitor.equilibrium import HELD, NONE, ON_THE_WAY, REACHED, UNKNOWN, expected_angle, states
from lrscope.monitor.regime import Facts, constant_since, live_regime
from lrscope.monitor.stationarity import block_means, stationary_for, trend
from lrscope.monitor.types import Group, LiveRegime
from lrscope.symmetries.types import INVARIANT, Part, Symmetries, Symmetry
from lrscope.tasks.streams import generator

Array = NDArray[np.float64]
ROWS = 128


def noise(count: int, length: int, memory: float, key: str, size: float = 0.05) -> Array:
    """Stationary first-order autoregressive noise [count, length] of standard deviation `size`."""
    draws = np.random.default_rng([int(x) for x in key.encode()]).normal(size=(count, length))
    found = draws.copy()
    for i in range(1, length):
        found[:, i] = memory * found[:, i - 1] + math.sqrt(1 - memory**2) * draws[:, i]
    return size * found


# -- is it stationary? ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "memory"),
    [(16, 0.0), (16, 0.5), (31, 0.7), (32, 0.8), (47, 0.8), (64, 0.0), (64, 0.9), (200, 0.5), (200, 0.95)],
)
def test_false_alarms_are_as_rare_as_stated(length: int, memory: float) -> None:
    """At most 5% of stationary curves are called falling, and as many rising; 7.4% of 600 is the 99.5% quantile at 5%."""
    seen = [trend(0.4 * np.exp(curve)) for curve in noise(600, length, memory, f"alarm {length} {memory}")]
    for name in ("falling", "rising"):
        assert np.mean([getattr(one, name) for one in seen]) <= 0.074


def test_a_curve_short_for_its_memory_gives_more_false_alarms() -> None:
    """14% of them, as docs/monitor.md says; 17.6% of 600 is the 99.5% quantile at 14%."""
    seen = [trend(0.4 * np.exp(curve)) for curve in noise(600, 63, 0.95, "short")]
    for name in ("falling", "rising"):
        assert 0.074 < np.mean([getattr(one, name) for one in seen]) <= 0.176


def test_most_long_stationary_curves_are_called_stationary() -> None:
    seen = [trend(0.4 * np.exp(curve)) for curve in noise(200, 64, 0.3, "power")]
    assert np.mean([one.stationary for one in seen]) > 0.85


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("length", [16, 64])
def test_a_falling_loss_is_never_called_stationary(length: int, memory: float) -> None:
    """Half again as much as the map's rule calls falling: 15% from one half of the curve to the other."""
    line = np.exp(-2 * 0.15 * np.arange(length) / length)
    curves = noise(400, length, memory, f"fall {length} {memory}")
    assert sum(trend(0.4 * line * np.exp(curve)).stationary for curve in curves) <= 2


def test_intervals_are_no_wider_than_memory_makes_them() -> None:
    """The fall of a line through such noise has a standard deviation of 0.04, so that 0.16 would do."""
    seen = [trend(0.4 * np.exp(curve)) for curve in noise(100, 47, 0.8, "width")]
    assert np.median([one.high - one.low for one in seen]) < 0.2


@pytest.mark.parametrize(("length", "blocks"), [(16, 16), (31, 31), (63, 63), (64, 32), (95, 47), (1000, 32)])
def test_blocks_leave_out_less_than_one_of_them(length: int, blocks: int) -> None:
    values = np.arange(float(length))
    found = block_means(values)
    assert len(found) == blocks
    assert found[-1] == values[-(length // blocks) :].mean()


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_power_of_time_is_a_straight_line_over_log_time(power: float) -> None:
    """So its fall from the third to the fourth quarter is known exactly; over time its bend is taken for noise."""
    seen = trend(np.arange(12.5, 48) ** -power, before=12)
    assert seen.fall == pytest.approx(power * math.log(3.5 / 2.5), rel=0.02)
    assert seen.high - seen.low < 0.01


def test_jumps_do_not_hide_a_fall() -> None:
    curve = np.linspace(1, 0.7, 64) * np.exp(noise(1, 64, 0.0, "jumps", 0.03)[0])
    curve[[20, 50]] *= 20
    seen = trend(curve)
    assert seen.low < -math.log(0.7) / 2 < seen.high
    assert seen.high - seen.low < 0.1


def test_a_smooth_fall_is_no_noise() -> None:
    seen = trend(2.0 * np.arange(100, 200) ** -0.1)
    assert seen.falling
    assert not seen.stationary
    assert seen.fall == pytest.approx(0.1 * math.log(175 / 125), rel=0.1)
    flat = trend(np.full(20, 0.3))
    assert flat.stationary
    assert (flat.low, flat.high) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_losses_below_zero_are_measured_by_what_was_removed() -> None:
    falls = trend(np.linspace(0.0, -3.0, 64), scale=3.0)
    assert falls.falling
    assert falls.fall == pytest.approx(1.5, rel=0.05)
    assert trend(-1 + noise(1, 64, 0.0, "negative")[0], scale=3.0).stationary


def test_what_cannot_be_tested() -> None:
    assert trend(np.ones(15)) is None
    assert trend(np.array([1.0] * 20 + [np.nan])) is None


def test_how_long_a_loss_is_stationary() -> None:
    curve = np.concatenate([np.geomspace(3, 0.4, 100), np.full(100, 0.4)]) * np.exp(noise(1, 200, 0.0, "since")[0])
    assert 80 <= stationary_for(curve) <= 120
    assert stationary_for(np.geomspace(3, 0.4, 100)) == 0


# -- which regime? ---------------------------------------------------------------------------------------------------------


def facts(loss: Array, **more: Any) -> Facts:
    return Facts(**({"loss": loss, "updates": 10 * np.arange(1, len(loss) + 1), "first": 2.3} | more))


T = np.arange(1, ROWS + 1)
WOBBLE, LOUD = np.exp(noise(1, ROWS, 0.3, "wobble")[0]), np.exp(noise(1, ROWS, 0.0, "loud", 1.5)[0])
# A swing: up by 60% in the third quarter and down again. Then: three rows that jump up thirtyfold, a fall that the map's rule
# finds too small; losses above guessing that drift a little up and down, that come down slowly and that will soon be below it.
SWING = 0.3 * WOBBLE * np.where((T > ROWS // 2) & (T <= 3 * ROWS // 4), 1.6, 1.0)
JUMPS = 0.01 * np.exp(noise(1, ROWS, 0.0, "jumps", 0.5)[0]) * np.where(np.isin(T, (101, 111, 121)), 30, 1)
SLIGHT = 0.01 * T**-0.1 * np.exp(noise(1, ROWS, 0.0, "creep", 0.005)[0])
STILL = np.exp(noise(1, ROWS, 0.0, "drift", 0.002)[0])
DRIFT, SLOW, COMING = (
    a * STILL * np.exp(-b * t) for a, b, t in ((2.4, 1e-4, abs(T - 64)), (2.45, 1e-4, T), (2.45, 5e-4, T))
)
# A loss above guessing that rises first, then comes down and will soon be below it.
RISEN = 2.37 * STILL * np.exp(-5e-4 * abs(T - 72))
FALLING, FLAT, CHANCE = 2.3 / T * WOBBLE, 0.41 * WOBBLE, 2.31 * np.exp(noise(1, ROWS, 0.0, "chance", 0.002)[0])


@pytest.mark.parametrize(
    ("seen", "regime", "confidence", "words"),
    [
        (facts(FALLING), "1", "sure", "loss falls, by"),
        (facts(np.full(ROWS, 1e-8)), "1", "sure", "has come down to 1e-8"),
        (facts(2.3 * T**-0.1), "1", "likely", "slowly but steadily"),
        (facts(FLAT), "2", "likely", "loss stationary for"),
        (facts(FLAT, spread=1.02), "2", "sure", "steps equalised"),
        (facts(FLAT, gains=True), "2", "sure", "loss stationary for"),
        (facts(CHANCE, chance=2.3), "dead", "sure", "no better than guessing"),
        (facts(CHANCE), "?", "undetermined", "no better than at the start (2.3): pass chance= to tell a dead run"),
        (facts(CHANCE, invariant=True), "?", "undetermined", "pass chance= to tell a dead run"),
        (facts(FLAT[:0], silent=ROWS), "?", "undetermined", "no loss was passed to step"),
        (facts(FLAT[:5], silent=ROWS), "?", "undetermined", "5 of 32 measurements so far"),
        (facts(CHANCE, chance=2.3, invariant=True), "3", "sure", "no better than guessing (2.3)"),
        (facts(FLAT[:31]), "?", "undetermined", "31 of 32 measurements so far"),
        (facts(FLAT[:5], changing=True), "?", "undetermined", "the learning rate is changing"),
        (facts(0.08 * LOUD), "?", "undetermined", "too noisy"),
        (facts(0.41 * LOUD), "?", "undetermined", "too noisy"),
        (facts(0.41 * LOUD, chance=2.3), "2", "likely", "jumps about at 0.685, above a quarter of that of guessing"),
        (
            facts(0.4 * T**-0.05 * np.exp(noise(1, ROWS, 0.0, "slow", 0.002)[0])),
            "?",
            "undetermined",
            "less than in converging",
        ),
        (facts(0.41 * np.exp(noise(1, ROWS, 0.0, "less", 0.4)[0])), "2", "likely", "shows no fall within"),
        (facts(0.01 * LOUD), "1", "likely", "jumps about there"),
        (facts(0.01 * WOBBLE), "?", "undetermined", "may be as low as it gets"),
        (facts(0.01 * WOBBLE, spread=1.02), "2", "sure", "steps equalised"),
        (facts(SWING), "?", "undetermined", "only comes back from a rise"),
        (facts(JUMPS), "1", "likely", "jumps about there"),
        (facts(SLIGHT), "1", "likely", "has come down to 0.00624 and still falls"),
        (facts(DRIFT, chance=2.303), "dead", "sure", "no better than guessing"),
        (facts(SLOW, chance=2.303), "?", "undetermined", "the loss falls within"),
        (facts(COMING, chance=2.303), "?", "undetermined", "the loss falls within"),
        (facts(RISEN, chance=2.303), "?", "undetermined", "the loss falls within"),
        (facts(np.where(T <= 3, -0.1, RISEN), chance=2.303), "?", "undetermined", "the loss falls within"),
        (facts(RISEN - 2.4, chance=-0.097), "?", "undetermined", "the loss falls within"),
        (facts(np.append(FLAT, np.nan)), "?", "undetermined", "not finite"),
        (facts(FLAT - 2, first=0.3), "2", "likely", "stationary"),
        (facts(np.linspace(0.3, -3, ROWS), first=0.3), "?", "undetermined", "the loss falls"),
    ],
)
def test_a_regime_is_told_or_not(seen: Facts, regime: str, confidence: str, words: str) -> None:
    found = live_regime(seen)
    assert (found.regime, found.confidence) == (regime, confidence), found
    assert words in found.reason


@pytest.mark.parametrize(("shape", "low", "high"), [(0.0, 0.6, 1.0), (-1.0, 0.0, 0.15)])
def test_what_noise_of_40_percent_hides(shape: float, low: float, high: float) -> None:
    """Of 48 rows: a level loss is mostly told from a converging one, which falls as 1/t; the second half alone tells 34%."""
    curves = 4.0 * np.arange(1, 49) ** shape * np.exp(noise(100, 48, 0.0, "hidden", 0.4))
    told = np.mean([live_regime(facts(curve, chance=5.0)).regime == "2" for curve in curves])
    assert low <= told <= high


@pytest.mark.parametrize(("size", "memory"), [(0.3, 0.0), (0.3, 0.6), (0.5, 0.0)])
def test_noise_with_memory_hides_little(size: float, memory: float) -> None:
    """Of 48 rows: from the first quarter on, level losses and converging ones are told from each other, and seldom mixed up."""
    t = np.arange(1, 49.0)
    told = {}
    for name, line in (("level", 4 + 0 * t), ("converging", 4 / t)):
        curves = line * np.exp(noise(60, 48, memory, "hid6", size))
        told[name] = [live_regime(facts(curve, chance=9.0)).regime for curve in curves]
    assert told["level"].count("2") >= 54
    assert told["level"].count("1") <= 3
    assert told["converging"].count("1") >= 35
    assert told["converging"].count("2") <= 2


def test_a_regime_in_a_sentence() -> None:
    assert str(LiveRegime("2", True, "because")) == "regime 2, sure: because"
    assert str(LiveRegime("?", False, "too short")) == "regime undetermined: too short"
    assert str(LiveRegime("dead", False, "at chance")) == "dead run: at chance"


def test_the_learning_rate_counts_since_it_changed() -> None:
    lr = np.array([0.1] * 5 + [0.01] * 5)[:, None]
    assert constant_since(lr) == 5
    assert constant_since(np.hstack([lr, np.full((10, 1), 0.2)])) == 5
    assert constant_since(np.linspace(1.0, 0.85, 20)[:, None]) == 0
    assert constant_since(np.geomspace(1.0, 0.1, 100)[:, None]) == 100 - 1 - int(math.log(1.25) / math.log(10) * 99)
    assert constant_since(np.array([[0.1, np.nan], [0.1, 0.3]])) == 0, "a group that came later"
    assert constant_since(np.array([[0.1, 0.3], [0.1, np.nan]])) == 0, "a group that was frozen"
    assert constant_since(np.zeros((4, 1))) == 0
    assert constant_since(np.array([[0.0], [0.1]])) == 1


# -- warnings ---------------------------------------------------------------------------------------------------------------


def situation(loss: Array, **more: Any) -> Situation:
    of = facts(loss, **{k: more.pop(k) for k in ("chance", "invariant") if k in more})
    none = np.zeros(len(loss), dtype=np.int64)
    groups = [Group("a", ("a",)), Group("b", ("b",)), Group("bias", ("bias",), compared=False)]
    base = Situation(of, live_regime(of), np.ones(len(loss)), none + 10, none, groups, (1e-3, 2e-3, 0.9), None)
    return replace(base, **more)


@pytest.mark.parametrize(
    ("seen", "names", "words"),
    [
        (situation(FLAT), [], ""),
        (situation(FALLING, chance=2.3, horizon=10_000), [], ""),
        (situation(np.append(FLAT, np.inf)), ["dead"], "the loss is inf at update 1290"),
        (
            situation(FLAT, gradient=np.append(np.ones(ROWS - 3), np.zeros(3))),
            ["dead"],
            "all gradients are 0: nothing is learned any more, or zero_grad ran before monitor.step",
        ),
        (
            situation(CHANCE, chance=2.3),
            ["dead"],
            "no better than guessing (2.3): change the learning rate (too high, or",
        ),
        (situation(CHANCE), [], ""),
        (situation(CHANCE, invariant=True), [], ""),
        (situation(CHANCE, chance=2.3, invariant=True), ["too high"], "above the border 2|3"),
        (situation(CHANCE, chance=2.3, invariant=True), ["too high"], "or raise it if group_angle says"),
        (situation(2.3 * T**-0.1, chance=2.3, horizon=2_000), ["too low"], "would only come down to 1."),
        (
            situation(2.3 * T**-0.1, chance=2.3, horizon=2_000),
            ["too low"],
            "by update 2000, where guessing has 2.3: raise",
        ),
        (situation(2.3 * T**-0.1, horizon=2_000), [], ""),
        (situation(2.3 * T**-0.1, chance=2.3, horizon=20_000), [], ""),
        (situation(2.3 * T**-0.1, chance=2.3), [], ""),
        (situation(FLAT, skipped=np.full(ROWS, 1)), ["skipped"], "skipped 64 of the last 640 updates"),
        (situation(FLAT, skipped=np.append(np.full(9, 1), np.zeros(ROWS - 9, dtype=int))), [], ""),
        (situation(FLAT, angles=(1e-3, 2e-2, 0.9)), ["uneven"], "b turns 20 times as far in a step as a"),
        (situation(FLAT, angles=(1e-3, np.nan, 0.9)), [], ""),
        (situation(FLAT, angles=(1e-8, 1e-6, 0.9)), [], ""),  # the end of a cosine
        (situation(FLAT, angles=(1e-8, 1e-4, 0.9)), ["uneven"], "b turns 10000 times as far in a step as a"),
    ],
)
def test_warnings(seen: Situation, names: list[str], words: str) -> None:
    found = alarms(seen)
    assert [a.name for a in found] == names
    assert all(words in a.words for a in found)


# -- equilibrium --------------------------------------------------------------------------------------------------------------


def noisy_sphere(optimizer: Any, steps: int, **options: Any) -> Monitor:
    """Scale-invariant weights whose gradients are pure noise, orthogonal to them and of size 1 / norm."""
    weight = nn.Parameter(torch.nn.functional.normalize(torch.ones(400), dim=0))
    model = nn.Module()
    model.weight = weight
    made = optimizer([weight], **options)
    told = Symmetries("Module", "train", 1, 400, 0, (Symmetry(INVARIANT, (Part("weight", 1.0),)),))
    monitor = Monitor(model, made, symmetries=told, every=2)
    draws = generator("tests", "monitor", "sphere")
    for _ in range(steps):
        w = weight.detach()
        g = torch.randn(400, generator=draws)
        weight.grad = (g - (g @ w) / (w @ w) * w) / w.norm() / 20
        made.step()
        monitor.step(1.0)
    return monitor


@pytest.mark.slow  # thousands of updates
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.05}),
        (torch.optim.SGD, {"lr": 0.02, "weight_decay": 0.02, "momentum": 0.9}),
        (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.5}),
    ],
)
def test_training_reaches_the_angular_update_of_theory(optimizer: Any, options: dict[str, Any]) -> None:
    monitor = noisy_sphere(optimizer, 3000, **options)
    kind = optimizer.__name__
    goal = expected_angle(kind, monitor.optimizers[0].param_groups[0])
    angle = monitor.result()["group_angle"][-200:]
    assert float((angle**2).mean() ** 0.5) == pytest.approx(goal, rel=0.05)
    assert monitor.readings().equilibrium == [REACHED]


def test_without_decay_there_is_no_equilibrium() -> None:
    monitor = noisy_sphere(torch.optim.SGD, 60, lr=0.5)
    assert monitor.readings().equilibrium == [NONE]
    norm = monitor.result()["group_norm"].values
    assert (np.diff(norm[:, 0]) > 0).all()


def test_formulas_are_those_of_the_papers() -> None:
    sgd = {"lr": 0.1, "weight_decay": 0.02}
    assert expected_angle("SGD", sgd) == pytest.approx(math.sqrt(0.004))
    assert expected_angle("SGD", sgd | {"momentum": 0.9}) == pytest.approx(math.sqrt(0.004 / 1.9))
    assert expected_angle("AdamW", sgd | {"betas": (0.9, 0.99)}) == pytest.approx(math.sqrt(0.004 * 0.1 / 1.9))
    assert expected_angle("Adam", sgd | {"betas": (0.9, 0.99)}) is None
    assert expected_angle("SGD", sgd | {"nesterov": True, "momentum": 0.9}) is None
    assert expected_angle("SGD", {"lr": 0.1, "weight_decay": 0}) is None


def test_states_of_equilibrium() -> None:
    group, rows = Group("a", ("a",), invariant=True), 40
    still, moving = np.ones((rows, 1)), np.geomspace(1, 2, rows)[:, None]
    angle = np.full((rows, 1), 0.1)
    assert states([group], still, angle, [0.1], [True], [False]) == [REACHED]
    assert states([group], still, angle, [0.3], [True], [False]) == [ON_THE_WAY]
    assert states([group], moving, angle, [0.1], [True], [False]) == [ON_THE_WAY]
    assert states([group], still, angle, [None], [True], [False]) == [REACHED]
    assert states([group], still, angle, [0.1], [False], [False]) == [NONE]
    assert states([group], still, angle, [None], [False], [True]) == [HELD]
    assert states([group], still[:9], angle[:9], [0.1], [True], [False]) == [UNKNOWN]
