"""learning_order's curves from parameters and seeds: their layout, the two simulators held to each other, the order effect."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from lrscope.errors import LrscopeError
from lrscope.studies.learning_order.comparison import at_loss, order_effect
from lrscope.studies.learning_order.curves import DERIVED, Setting, finite_learning_curves, learning_curves
from lrscope.studies.learning_order.distribution import Q_ONLY, sample
from lrscope.studies.learning_order.finite_width import finite_width
from lrscope.studies.learning_order.generalization import total_error
from lrscope.studies.learning_order.infinite_width import infinite_width
from lrscope.studies.learning_order.measurement_functions import STEPS, _run_pair, minimum
from lrscope.studies.learning_order.quantities import QUANTITIES
from lrscope.studies.learning_order.runs import large_then_small, small
from lrscope.studies.learning_order.two_layers import Widths
from lrscope.studies.learning_order.unique_minimum import ends

RATES = {"large_lr": 5.0, "small_lr": 2.5}
TINY = Setting(examples=40, dimension=60, p=0.2, q=0.3, r=[0.5], weight_decay=[4e-3], eps=0.37, until=100, **RATES)
# Differences at width 1,600, root mean square over times and seeds. Without a memory (rho = 1) the curvature is off by 0.5, with
# rho squared by 0.1, without the examples' own terms loss_r_m1 by 0.04.
TOLERANCE = {
    "loss": 0.012,
    "loss_r_m1": 0.015,
    "g": 0.05,
    "curvature": 0.04,
    "norm_w": 0.1,
    "norm_v": 0.12,
    "norm_w_m2": 0.1,
    "noise_std": 0.02,
    "noise_kept": 0.02,
}


def finite(setting: Setting, width: int, **words: Any) -> xr.Dataset:
    """Curves at the times of `learning_curves(setting, ..., hold=5, block=1)`."""
    widths = Widths(first=width, second=16 * width)
    words = {"start_std": 0.8 * width ** (-1 / 3), "times": round(setting.until / 5), "test_examples": 50} | words
    return finite_learning_curves(setting, [0, 1], widths=widths, **words)


@pytest.mark.slow
def test_finite_width_comes_to_infinite_width() -> None:
    limit = learning_curves(TINY, [0, 1], hold=5, block=1)
    assert 0 < float(limit["annealed"].sel(algorithm="L-S").mean()) < 0.9
    off = {}
    for width in (64, 1600):
        found = finite(TINY, width)
        off[width] = {name: ((found[name] - limit[name]) ** 2).mean(["seed", "time"]) ** 0.5 for name in TOLERANCE}
    for name, most in TOLERANCE.items():
        assert float(off[1600][name].max()) < most, name
    fallen = [float(off[1600][name].mean() / off[64][name].mean()) for name in TOLERANCE if "noise" not in name]
    assert np.exp(np.log(fallen).mean()) < 0.5, fallen


def test_curves_are_those_of_the_simulator() -> None:
    setting = replace(TINY, r=[0.5, 0.3], weight_decay=[4e-3, 1e-3])
    curves = learning_curves(setting, [3, 1], hold=5, block=2, activation_noise=0.7)
    assert dict(curves.sizes) == {"algorithm": 3, "r": 2, "weight_decay": 2, "seed": 2, "time": 11, "side": 3}
    assert set(curves.data_vars) == set(QUANTITIES) - {"time"} | set(DERIVED)
    assert all(curves[name].attrs["long_name"] for name in curves.data_vars)
    examples = sample(40, 60, p=0.2, q=0.3, seeds=[1])
    pair = {"r": 0.3, "weight_decay": 4e-3, **RATES}
    first = large_then_small(eps=0.37, q=float((examples.kind == Q_ONLY).double().mean()), **pair)
    noisy = replace(small(**pair), activation_noise=0.7, quiet_below=first.anneal_below)
    for algorithm, run in (("L-S", first), ("S", small(**pair)), ("S + noise", noisy)):
        expected = infinite_width(examples, [run], until=100, hold=5, block=2)
        found = curves.sel(algorithm=algorithm, r=0.3, weight_decay=4e-3, seed=1)
        for name in ("loss", "g", "annealed", "error_both"):
            np.testing.assert_allclose(found[name], expected[name][:, 0, 0], rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(found["time"], expected["time"][:, 0, 0])
        g = expected["g"][:, 0, 0]
        np.testing.assert_allclose(found["curvature"], g[:, 0] + g[:, 2] - 2 * g[:, 1], atol=1e-5)
        errors = (found[name] for name in ("error_p", "error_q", "error_both"))
        np.testing.assert_allclose(found["error"], total_error(*errors, p=0.2, q=0.3))


def test_finite_width_has_the_same_layout_at_times_of_a_grid() -> None:
    setting = replace(TINY, r=[0.5, 0.3], eps=0.45, until=30)
    found, limit = finite(setting, 20), learning_curves(setting, [0, 1], hold=5, block=1)
    for name in limit.data_vars:
        assert found[name].dims == limit[name].dims
        assert found[name].shape == limit[name].shape
    xr.testing.assert_equal(found.coords.to_dataset(), limit.coords.to_dataset())
    run = small(r=0.3, weight_decay=4e-3, **RATES)
    examples, test = (sample(n, 60, p=0.2, q=0.3, seeds=[1], purpose=of) for n, of in ((40, "training"), (50, "test")))
    words = {"widths": Widths(first=20, second=320), "start_std": 0.8 * 20 ** (-1 / 3)}
    expected = finite_width(examples, [run], test, until=30, every=2, **words)
    of_run = found.sel(algorithm="S", r=0.3, seed=1).squeeze("weight_decay")
    for name in ("loss", "g", "noise_std", "error_p"):
        np.testing.assert_allclose(of_run[name], expected[name][:, 0, 0], rtol=1e-4, atol=1e-6, err_msg=name)
    coarse = finite(setting, 20, times=3)
    xr.testing.assert_equal(coarse, found.sel(time=coarse["time"]))


def planted() -> xr.Dataset:
    """Losses that fall from 1 by 0.1 and 0.2 in each time; the error on P is 0.1 and 0.3 times T squared."""
    time, dims = np.arange(5.0), ("algorithm", "time")
    loss = np.stack([1 - 0.1 * time, 1 - 0.2 * time])
    data = {
        "loss": (dims, loss),
        "error_p": (dims, np.stack([0.1 * time**2, 0.3 * time**2])),
        "loss_p_only": (dims, loss / 2),
    }
    return xr.Dataset(data, {"algorithm": ["L-S", "S"], "time": time}, {"until": 4})


def test_processes_share_the_data_sets() -> None:
    setting, seeds = replace(TINY, until=20), [3, 1, 2]
    for of in (
        partial(learning_curves, setting, seeds, hold=5, block=1),
        partial(finite_learning_curves, setting, seeds, widths=Widths(first=8, second=16), start_std=0.3, times=3),
    ):
        xr.testing.assert_identical(of(jobs=2), of())


def test_processes_share_the_data_sets_of_both_models() -> None:
    results: Any = SimpleNamespace(first_seed=3)
    options = {"setting": {**asdict(TINY), "until": 10}, "seeds": 2, "widths": [8, 16], "start_std": 0.3}
    found = minimum(results, **options, test_examples=50, jobs=2)
    xr.testing.assert_identical(found, minimum(results, **options, test_examples=50))
    assert dict(found.sizes) == {"model": 2, "seed": 2, "history": 4}
    examples, runs, test = _run_pair(TINY, 4, True, 50)
    widths = Widths(first=8, second=16)
    alone = ends(examples, runs, test, widths=widths, start_std=0.3, until=10, most=STEPS[True])
    np.testing.assert_array_equal(found["gradient"].sel(model="convex", seed=4), alone.gradient)


def test_quantities_at_equal_loss() -> None:
    found = at_loss(planted(), 0.65)
    assert found["time"].values == pytest.approx([3.5, 1.75])
    assert found["loss"].values == pytest.approx([0.65, 0.65])
    assert found["error_p"].values == pytest.approx([1.25, 0.975])
    assert found.attrs == {"until": 4}
    assert at_loss(planted(), 0.325, of="loss_p_only")["time"].values == pytest.approx([3.5, 1.75])
    assert order_effect(planted(), 0.65).item() == pytest.approx(np.log10(0.975 / 1.25))
    assert np.isnan(at_loss(planted(), 0.4)["time"].values).tolist() == [True, False]
    assert np.isnan(at_loss(planted(), 0.85)["time"].values).tolist() == [False, True], "too early to be read"
    assert np.isnan(at_loss(planted(), 1.5)["time"]).all(), "there from the start"
    with pytest.raises(LrscopeError, match="of: 'error_q' is no quantity"):
        at_loss(planted(), 0.5, of="error_q")


@pytest.mark.slow
def test_there_is_an_order_effect_only_where_the_loss_is_not_convex() -> None:
    """LO7, and LO5 where P and Q separate: S makes a fifth more errors on P at the same training loss."""
    words = {"p": 0.0625, "q": 0.2, "r": [0.2], "weight_decay": [3e-4], "eps": 0.34, "until": 3500}
    setting = Setting(examples=2000, dimension=1000, **words)
    free, frozen = (learning_curves(setting, [0, 1], block=5, frozen=frozen) for frozen in (False, True))
    assert (order_effect(free, 0.36) > 0.08).all()
    assert (abs(order_effect(frozen, 0.36)) < 1e-3).all()
    early = free["time"].where(free["annealed"].sel(algorithm="L-S", drop=True) == 0) > 500
    bent = abs(free["curvature"]).where(early)
    assert float(bent.sel(algorithm="L-S").max()) < 0.25 * float(bent.sel(algorithm="S").min())


@pytest.mark.slow
def test_frozen_activations_have_no_order_at_finite_width() -> None:
    """A large rate then bends g as much as a small one at the same time; with free activations it does not."""
    setting = replace(TINY, weight_decay=[0.02], small_lr=0.5, eps=1e-3, until=50)
    ratio = {}
    for frozen in (True, False):
        bent = finite(setting, 100, frozen=frozen, start_std=0.05)["curvature"].isel(time=-1)
        ratio[frozen] = float(bent.sel(algorithm="L-S").mean() / bent.sel(algorithm="S").mean())
    assert ratio[True] == pytest.approx(1, abs=0.1)
    assert ratio[False] < 0.65


def test_settings_and_seeds_that_are_none_are_refused() -> None:
    with pytest.raises(LrscopeError, match="weight_decay: there is none"):
        replace(TINY, weight_decay=[])
    with pytest.raises(LrscopeError, match="seeds: there are none"):
        learning_curves(TINY, [])
    with pytest.raises(LrscopeError, match="activation_noise: 1 would decide nothing"):
        learning_curves(TINY, [0], frozen=True, activation_noise=1)


def test_the_page_lists_what_is_recorded() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "learning_order_theory.md").read_text()
    section = page.partition("## What is recorded")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert dict(listed) == QUANTITIES | DERIVED
