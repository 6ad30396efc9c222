"""late_decay's curves, phases, success frequencies and effects: on planted curves, and on small trainings."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from lrscope.engine.dispatch import can_fork
from lrscope.errors import LrscopeError
from lrscope.studies.binomial import binomial_interval
from lrscope.studies.forked import in_processes
from lrscope.studies.late_decay import curves as curves_of
from lrscope.studies.late_decay.curves import OF_DATA, QUANTITIES, Setting, late_decay_curves
from lrscope.studies.late_decay.effects import phase_effects, success_margins
from lrscope.studies.late_decay.phases import find_phases, phases
from lrscope.studies.late_decay.problems import sample
from lrscope.studies.late_decay.schedules import schedule_ends
from lrscope.studies.late_decay.success import success_bound, success_frequency
from lrscope.studies.verdicts import Undetermined

SMALL = Setting(examples=4, dimension=8, gamma=[0, 2], lr=[0.01, 0.03], steps=60, small_steps=20, label_noise=0.3)
TIME = np.array([0, 1, 10, 100, 500, 1000, 1001, 1100, 1300])
LATER = TIME > 1000
LEARNED = np.full(len(TIME), 0.1)  # training losses over that at w = 0


def planted(destination: Any = None, *, seeds: int = 3, gammas: tuple[float, ...] = (0.0, 2.0)) -> xr.Dataset:
    """Runs that come to the manifold at step 10, with gamma > 0 lose 9 tenths of the excess norm until 1,000, and refine then."""
    dims, shape = ("gamma", "lr", "seed", "time"), (len(gammas), 1, seeds, len(TIME))
    off = np.array([1.0, 0.8, 0.05, 0.04, 0.05, 0.05, 0.02, 1e-3, 1e-5])
    falling = np.array([1.0, 1.0, 0.9, 0.7, 0.3, 0.09, 0.09, 0.09, 0.09])
    excess = np.stack([np.ones(len(TIME)) if gamma == 0 else falling for gamma in gammas])[:, None, None]
    data = {
        "off": (dims, np.broadcast_to(off, shape).copy()),
        "loss": (dims, np.broadcast_to(off**2, shape).copy()),
        "test_loss": (dims, np.broadcast_to(0.1 + excess**2, shape).copy()),
        "predictor_norm": (dims, np.broadcast_to(np.hypot(1, excess), shape).copy()),
        "destination": (dims, np.broadcast_to(excess if destination is None else destination, shape).copy()),
        "minimum_norm": ("seed", np.ones(seeds)),
        "zero_loss": ("seed", np.ones(seeds)),
    }
    coords = {"gamma": list(gammas), "lr": [0.01], "seed": range(seeds), "time": TIME, "small": ("time", LATER)}
    return xr.Dataset(data, coords)


# -- curves --------------------------------------------------------------------------------------------------------------


def test_curves_have_further_times_with_the_large_rate() -> None:
    found = late_decay_curves(SMALL, [3], times=2, even=4)
    assert found["time"].values.tolist() == [0, 1, 15, 30, 45, 60, 61, 80]
    xr.testing.assert_identical(found.sel(time=[0, 1, 60, 61, 80]), late_decay_curves(SMALL, [3], times=2))


def test_curves_have_names_and_a_decay() -> None:
    curves = late_decay_curves(SMALL, [3, 1], times=8)
    assert set(QUANTITIES) | set(OF_DATA) == set(curves.data_vars)
    assert all(curves[name].dims == ("gamma", "lr", "seed", "time") for name in QUANTITIES)
    assert curves["time"].values[[0, 1, -1]].tolist() == [0, 1, 80]
    assert curves["small"].values.tolist() == (curves["time"].values > 60).tolist()
    assert curves.attrs["decay"] == 0.1
    labels = sample(4, 8, seeds=[3, 1]).labels.numpy()
    np.testing.assert_allclose(curves["zero_loss"], 0.5 * (labels**2).mean(1))
    np.testing.assert_allclose(curves["norm"].isel(time=0), 1.5)
    np.testing.assert_allclose(curves["distance"] ** 2, curves["off"] ** 2 + curves["along"] ** 2)
    linear = curves["along"].sel(gamma=0)
    np.testing.assert_allclose(linear, linear.isel(time=[0] * linear.sizes["time"]).values)
    of_predictor = late_decay_curves(replace(SMALL, start_of="predictor"), [3], times=2)
    np.testing.assert_allclose(of_predictor["predictor_norm"].isel(time=0), 1.5)


def test_the_rate_decays() -> None:
    """In one small step with the decayed rate a run moves a tenth as far, on the same batch."""
    setting = replace(SMALL, gamma=[2], lr=[1e-3], steps=60, small_steps=1, label_noise=0)
    decayed = late_decay_curves(setting, [0], times=60)["off"].values.ravel()
    kept = late_decay_curves(replace(setting, decay=1), [0], times=60)["off"].values.ravel()
    np.testing.assert_array_equal(decayed[:-1], kept[:-1])
    assert (decayed[-1] - decayed[-2]) / (kept[-1] - kept[-2]) == pytest.approx(0.1, rel=0.1)


def test_curves_are_the_same_again_and_for_seeds_alone() -> None:
    setting = replace(SMALL, weight_noise=1e-3)
    once, again = (late_decay_curves(setting, [3, 1], times=5) for _ in range(2))
    xr.testing.assert_identical(once, again)
    xr.testing.assert_allclose(late_decay_curves(setting, [1], times=5), once.sel(seed=[1]))
    quiet = late_decay_curves(replace(SMALL, weight_noise=0.0), [3, 1], times=5)
    xr.testing.assert_allclose(late_decay_curves(SMALL, [1], times=5), quiet.sel(seed=[1]))
    assert not np.allclose(once["off"], quiet["off"])
    single = late_decay_curves(SMALL, [1], times=5, dtype=torch.float32)
    np.testing.assert_allclose(single["distance"], quiet["distance"].sel(seed=[1]), rtol=1e-3)


@pytest.mark.parametrize("jobs", [2, 9])
def test_processes_share_the_data_sets(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four pieces of one data set each: the same numbers in the same order, and other processes than this one."""
    monkeypatch.setattr(curves_of, "RUNS", 1)
    alone = late_decay_curves(SMALL, [3, 1, 4, 2], times=3)
    xr.testing.assert_identical(late_decay_curves(SMALL, [3, 1, 4, 2], times=3, jobs=jobs), alone)
    there = in_processes(_whose, [1, 2, 3], jobs)
    assert [piece for piece, _, _ in there] == [1, 2, 3]
    assert all(threads == 1 for _, _, threads in there)
    assert (os.getpid() in {number for _, number, _ in there}) == (not can_fork())


def _whose(piece: int) -> tuple[int, int, int]:
    return piece, os.getpid(), torch.get_num_threads()


def test_one_job_computes_here() -> None:
    assert {number for _, number, _ in in_processes(_whose, [1, 2], 1)} == {os.getpid()}


def test_a_run_that_overflows_is_nan_and_alone() -> None:
    wild = late_decay_curves(replace(SMALL, lr=[0.01, 5.0]), [0], times=5)
    assert np.isnan(wild["off"].sel(lr=5.0, gamma=2).isel(time=-1)).all()
    tame = late_decay_curves(replace(SMALL, lr=[0.01]), [0], times=5)
    np.testing.assert_allclose(wild["off"].sel(lr=[0.01]), tame["off"], rtol=1e-9)
    assert success_frequency(wild)["overflowed"].sel(lr=5.0, gamma=2) == 1


@pytest.mark.slow
def test_a_large_rate_carries_the_nonlinear_model_and_not_the_linear_one() -> None:
    """Steps of one example, as in docs/late_decay_theory.md but fewer: d = 40, N = 20, start of norm 1.5, no label noise."""
    setting = Setting(gamma=[0, 1, 2], lr=[1e-3, 1e-2, 2e-2], steps=3000)
    curves = late_decay_curves(setting, range(24), times=5)
    end = curves["destination"].isel(time=-1).median("seed")
    assert float(end.sel(gamma=0).max() - end.sel(gamma=0).min()) < 1e-9
    assert (end.sel(gamma=1).diff("lr") < -0.02).all()
    assert (end.sel(gamma=2).diff("lr") < -0.1).all()
    assert float(end.sel(gamma=2, lr=2e-2)) < 0.5 * float(end.sel(gamma=2, lr=1e-3))


# -- phases --------------------------------------------------------------------------------------------------------------


def test_phases_are_found_where_they_were_planted() -> None:
    found = phases(planted())
    assert (found["arrival"] == 10).all()
    change = found["destination"].isel(lr=0, seed=0)
    np.testing.assert_allclose(change.sel(gamma=2.0), [np.log10(0.9), -1, 0], atol=1e-12)
    np.testing.assert_allclose(change.sel(gamma=0.0), 0)
    np.testing.assert_allclose(found["off"].isel(lr=0, seed=0, gamma=0), np.log10([0.05, 1, 2e-4]))


def test_a_level_that_is_kept_ends_phase_one() -> None:
    """Label noise holds a run at half its first distance: it arrives where it is within twice that level."""
    off = np.array([1.0, 0.97, 0.9, 0.45, 0.5, 0.48, 0.3, 0.1, 0.1])
    found = find_phases(2 * off, LEARNED, TIME, LATER)
    assert (found.arrives, found.decays, found.arrived) == (1, 5, True)
    far = np.array([1.0, 1.0, 1.0, 1.0, 0.2, 0.2, 0.1, 0.1, 0.1])
    assert find_phases(far, LEARNED, TIME, LATER).arrives == 4
    growing = np.array([1.0, 1.0, 1.0, 2.0, 4.0, np.nan, np.nan, np.nan, np.nan])
    assert not find_phases(growing, LEARNED, TIME, LATER).arrived


def test_a_run_that_is_stuck_off_the_manifold_does_not_arrive() -> None:
    """It keeps a level, as one at the manifold does, but has the loss of w = 0: from the start, or after it has learned."""
    curves = planted()
    curves["off"][1, 0, 0] = 0.7
    curves["loss"][1, 0, 0] = 1.0
    curves["loss"][1, 0, 1, 4:] = 1.0
    arrival = phases(curves)["arrival"].values[1, 0]
    assert np.isnan(arrival).tolist() == [True, True, False]
    curves["loss"][1, 0, 0] = 0.3
    assert phases(curves)["arrival"].values[1, 0, 0] == 0, "a level near the manifold"


def test_phases_that_are_not_there_are_nan() -> None:
    curves = planted()
    curves["off"][0, 0, 0, 4:] = np.nan
    found = phases(curves)
    assert np.isnan(found["arrival"].values[0, 0]).tolist() == [True, False, False]
    assert np.isnan(found["destination"].values[0, 0, 0]).all()
    no_decay = phases(planted().isel(time=slice(0, 6)))
    assert np.isnan(no_decay["destination"].sel(phase="III")).all()
    assert np.isfinite(no_decay["destination"].sel(phase=["I", "II"])).all()


# -- success -------------------------------------------------------------------------------------------------------------


def test_the_bound_and_the_interval() -> None:
    np.testing.assert_allclose(success_bound([0, 1, 4]), [0, 1 - np.exp(-0.1), 1 - np.exp(-1.6)])
    low, high = binomial_interval([0, 5, 10, 0], [10, 10, 10, 0])
    np.testing.assert_allclose(
        low, [0, 0.18708603, 0.69150289, 0], atol=1e-7
    )  # scipy.stats.binomtest(...).proportion_ci()
    np.testing.assert_allclose(high, [0.30849711, 0.81291397, 1, 1], atol=1e-7)
    wider = binomial_interval(5, 10, level=0.99)
    assert wider[0] < low[1] < high[1] < wider[1]


def test_success_is_counted_at_the_end_of_the_large_rate() -> None:
    ends = np.ones((2, 1, 3, len(TIME)))
    ends[1, 0, 0, 5:] = 0.04  # at the decay and after it
    ends[1, 0, 1, 6:] = 0.04  # only after it
    ends[1, 0, 2, 5:] = np.nan
    found = success_frequency(planted(ends))
    assert found["succeeded"].values.tolist() == [[0], [1]]
    assert found["overflowed"].values.tolist() == [[0], [1]]
    assert float(found["frequency"].sel(gamma=2.0).item()) == pytest.approx(1 / 2), "of those that are finite"
    assert success_frequency(planted(ends), tolerance=0.03)["succeeded"].sum() == 0


def test_a_dead_run_neither_succeeded_nor_failed() -> None:
    """w has collapsed: the place to which the flow leads is frozen, near the minimum-norm interpolator or not."""
    curves = planted(np.full((2, 1, 3, len(TIME)), 0.01))
    curves["loss"][1, 0, 0] = 1.0
    curves["loss"][1, 0, 1, :-1] = 1.0  # comes down in phase III: alive
    found = success_frequency(curves).isel(lr=0)
    rows = {name: found[name].values.tolist() for name in ("dead", "counted", "succeeded", "overflowed")}
    assert rows == {"dead": [0, 1], "counted": [3, 2], "succeeded": [3, 2], "overflowed": [0, 0]}
    assert found["frequency"].values.tolist() == [1, 1]
    assert float(found["low"][1]) == float(binomial_interval(2, 2)[0])
    curves["loss"][1, 0, :, -1] = 0.11
    assert np.isnan(success_frequency(curves)["frequency"].sel(gamma=2.0)).all(), "none is left to count"


def test_a_run_that_still_moves_is_counted_apart() -> None:
    """Of runs that do not succeed, those whose excess norm falls to nine tenths or less in the second half of the large rate."""
    ends = np.ones((2, 1, 3, len(TIME)))
    ends[1, 0, :, 5:] = np.array([0.8, 0.95, 0.01])[:, None]
    found = success_frequency(planted(ends)).isel(lr=0)
    rows = {name: found[name].values.tolist() for name in ("moving", "counted", "succeeded")}
    assert rows == {"moving": [0, 1], "counted": [3, 3], "succeeded": [0, 1]}


def test_single_moments_do_not_say_whether_a_run_has_settled() -> None:
    """One has stood since the beginning but for its last moment; another falls to 0.8, and was there for a moment half-way."""
    time = np.arange(0, 500, 10)
    made = np.ones((1, 1, 2, len(time)))
    made[0, 0, 0, time == 400] = 0.85
    made[0, 0, 1, time >= 360], made[0, 0, 1, time == 200] = 0.8, 0.8
    dims = ("gamma", "lr", "seed", "time")
    data = {"destination": (dims, made), "loss": (dims, np.zeros_like(made))}
    data |= {"minimum_norm": ("seed", np.ones(2)), "zero_loss": ("seed", np.ones(2))}
    coords = {"gamma": [1.0], "lr": [0.1], "seed": [0, 1], "time": time, "small": ("time", time > 400)}
    curves = xr.Dataset(data, coords)
    assert [int(success_frequency(curves.sel(seed=[seed]))["moving"].item()) for seed in (0, 1)] == [0, 1]


def test_a_case_that_is_certain() -> None:
    """Strong label noise and many examples: every run with gamma = 1 ends at the minimum-norm interpolator, none with 0."""
    words = {"examples": 12, "dimension": 16, "label_noise": 1.0, "start_of": "predictor"}
    setting = Setting(gamma=[0, 1], lr=[0.02], steps=8000, small_steps=1000, **words)
    found = success_frequency(late_decay_curves(setting, range(12), times=3))
    assert found["succeeded"].values.ravel().tolist() == [0, 12]
    assert float(found["low"].sel(gamma=1).item()) > float(found["bound"].sel(gamma=1))


# -- schedules -----------------------------------------------------------------------------------------------------------


def test_schedules_end_where_curves_do() -> None:
    """A constant rate is that of the curves; a step is their decay to a tenth. Whatever else is trained beside them."""
    words = {"gamma": [0, 2], "lr": [0.01], "label_noise": 0.5, "start_of": "predictor"}
    found = schedule_ends(Setting(**words, steps=100), ["linear", "constant", "step:0.1@0.8"], range(3))
    assert found["loss"].dims == ("gamma", "schedule", "seed")
    twins = {"constant": {"steps": 100}, "step:0.1@0.8": {"steps": 80, "small_steps": 20}}
    for name, length in twins.items():
        curves = late_decay_curves(Setting(**words, **length), range(3), times=2).isel(lr=0, time=-1)
        for quantity in ("loss", "test_loss", "destination"):
            twin = curves[quantity].transpose("gamma", "seed").values
            np.testing.assert_allclose(
                found[quantity].sel(schedule=name), twin, rtol=1e-9, err_msg=f"{name} {quantity}"
            )
    of_linear = found["destination"].sel(gamma=0)
    np.testing.assert_allclose(of_linear - of_linear.sel(schedule="constant"), 0, atol=1e-9)
    assert not np.allclose(*(found["destination"].sel(gamma=2, schedule=name) for name in ("linear", "constant")))
    np.testing.assert_allclose(found["zero_loss"], curves["zero_loss"])


@pytest.mark.parametrize(
    ("changes", "schedules", "seeds", "words"),
    [
        ({}, [], [0], "schedules: there are none"),
        ({}, ["constant"], [], "seeds: there are none"),
        ({"lr": [0.1, 0.2]}, ["constant"], [0], "several learning rates"),
        ({"small_steps": 5}, ["constant"], [0], "small_steps: 5 follow the schedule: pass 0"),
        ({}, ["cosinus"], [0], "cosinus"),
    ],
)
def test_schedules_that_are_refused(changes: dict, schedules: list, seeds: list, words: str) -> None:
    with pytest.raises(LrscopeError, match=words):
        schedule_ends(Setting(**{"gamma": [1], "lr": [0.01], "steps": 10, **changes}), schedules, seeds)


# -- effects -------------------------------------------------------------------------------------------------------------


def test_effects_of_phases() -> None:
    found = phase_effects(planted(), 2.0, 0.01)
    expected = {
        "shrinks": 1,
        "before": -np.log10(0.9),
        "after": 0,
        "reaches": np.log10(20),
        "refines": 2 * np.log10(5e3),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], [value] * 3, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(found["generalises"], np.log10((0.1 + 0.81) / (0.1 + 0.0081)))
    np.testing.assert_allclose(phase_effects(planted(), 0.0, 0.01)["shrinks"], 0)


def test_effects_that_the_curves_do_not_show() -> None:
    lost = planted()
    lost["off"][1, 0, 0, 5] = np.nan
    assert np.isnan(phase_effects(lost, 2.0, 0.01)["shrinks"]).tolist() == [True, False, False]
    lost["off"][1, 0, :, 5] = np.nan
    with pytest.raises(Undetermined, match="reaches the manifold"):
        phase_effects(lost, 2.0, 0.01)
    with pytest.raises(Undetermined, match="does not decay"):
        phase_effects(planted().isel(time=slice(0, 6)), 2.0, 0.01)


@pytest.mark.parametrize(("good", "verdict"), [(200, "supported"), (140, "open"), (100, "refuted")])
def test_margins_of_success(good: int, verdict: str) -> None:
    """At gamma = 3.4 the bound is 0.685."""
    ends = np.ones((1, 1, 200, len(TIME)))
    ends[0, 0, :good] = 0.0
    found = success_margins(planted(ends, seeds=200, gammas=(3.4,)), 0.01).isel(gamma=0)
    assert float(found["margin"]) == pytest.approx(good / 200 - float(success_bound(3.4)))
    judged = "supported" if found["low"] > 0 else "refuted" if found["high"] < 0 else "open"
    assert judged == verdict
    assert found["runs"] == 200


# -- misuse --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: replace(SMALL, gamma=[]), "gamma: there is none: pass at least one"),
        (lambda: replace(SMALL, gamma=[-1]), "gamma: -1 is outside [0, 64]"),
        (lambda: replace(SMALL, lr=[0.1, 0.1]), "lr: (0.1, 0.1) has a value twice: pass each once"),
        (lambda: replace(SMALL, examples=8), "examples: 8 in 8 dimensions leave at most one interpolator"),
        (lambda: replace(SMALL, decay=0), "decay: 0 is outside (0, 1]"),
        (lambda: replace(SMALL, label_noise=-1), "label_noise: -1 is outside"),
        (lambda: replace(SMALL, start_of="weight"), "start_of: "),
        (lambda: late_decay_curves(SMALL, []), "seeds: there are none: pass one for each data set"),
        (lambda: late_decay_curves(SMALL, [0], times=0), "times: 0 is too small"),
        (lambda: phases(planted().drop_vars("off")), "curves: they have no 'off': pass what late_decay_curves returns"),
        (lambda: success_frequency(planted().drop_vars("destination")), "curves: they have no 'destination'"),
        (lambda: success_frequency(planted(), tolerance=0), "tolerance: 0 is outside"),
        (lambda: binomial_interval(3, 2), "successes: they must be whole numbers from 0 to the number of trials"),
        (lambda: phase_effects(planted(), 1.0, 0.01), "gamma: the curves have no 1: choose from 0, 2"),
        (lambda: success_margins(planted(), 0.1), "lr: the curves have no 0.1: choose from 0.01"),
    ],
)
def test_misuse_is_one_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(LrscopeError) as caught:
        call()
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)
