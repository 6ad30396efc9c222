"""Panels that studies draw: single runs, levels of guessing, dead networks, axes to compare, axes without outliers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from chart_examples import check_drawn
from fake_results import fake_result
from lrscope.charts import Chart, Level, Line, Panel
from lrscope.mapping import regimes
from lrscope.studies import arrays, common_panels
from trees import changed

BROKEN = 2


def planted(**more) -> xr.DataTree:
    return fake_result(lrs=12, seeds=3, epochs=20, finetune=False, average=False, features=False, **more)


@pytest.fixture(scope="module")
def lost() -> xr.DataTree:
    """A conventional network: dead at some learning rates, overflowing at the highest, after a first loss of 1e5."""
    result = planted(invariant=False, space="whole", nonfinite_lrs=BROKEN)
    loss = result["pretrain/train_loss"].copy(deep=True)
    loss[{"lr": slice(-BROKEN, None), "epoch": 0}] = 1e5
    return changed(result, {"pretrain/train_loss": loss})


def lines(panel: Panel) -> list[Line]:
    return [layer for layer in panel.layers if isinstance(layer, Line)]


def levels(panel: Panel) -> dict[str, float]:
    return {layer.label: layer.y for layer in panel.layers if isinstance(layer, Level)}


def test_single_runs_keep_what_a_mean_hides() -> None:
    result = planted()
    loss = arrays.logged(result, "train_loss")
    drawn = lines(common_panels.curves(result, "train_loss", "loss", run=1))
    assert [np.asarray(line.y).tolist() for line in drawn] == loss[:, 1].tolist()
    mean = lines(common_panels.curves(result, "train_loss", "loss"))
    assert np.asarray(mean[3].y) == pytest.approx(np.exp(np.log(loss[3]).mean(0)))
    error = lines(common_panels.trajectories(result, "test_error", "test error", run=2))
    assert np.asarray(error[4].x) == pytest.approx(loss[4, 2])
    assert np.asarray(error[4].y) == pytest.approx(arrays.logged(result, "test_error")[4, 2])


def test_what_knowing_nothing_gets_is_a_level() -> None:
    result = planted()
    for make in (common_panels.curves, common_panels.ends):
        assert levels(make(result, "train_loss", "loss")) == {"random guess": pytest.approx(np.log(2))}
        assert levels(make(result, "test_error", "error")) == {"chance": pytest.approx(0.5)}
        assert levels(make(result, "effective_grad_norm", "sharpness")) == {}
    assert levels(common_panels.trajectories(result, "test_error", "error")) == {"chance": pytest.approx(0.5)}


def test_dead_networks_and_overflow_are_dashed_and_named(lost: xr.DataTree) -> None:
    found = regimes(lost)
    dead = [k for k, label in enumerate(found.labels) if label.regime == "dead"]
    assert dead, "what is tried"
    for panel in (
        common_panels.curves(lost, "train_loss", "loss"),
        common_panels.trajectories(lost, "grad_norm", "gradient norm"),
    ):
        names = [(line.name, line.dashed) for line in lines(panel)]
        assert names == [("", False)] * dead[0] + [(common_panels.LOST, True)] * (12 - dead[0])
    assert common_panels.lost(planted()) == [], "regime 3 is a regime"
    config = json.dumps({"lr": {"low": 1e-4, "high": 1.0, "n": 12}, "schedule": "cosine"})
    under_a_schedule = changed(lost, config=config)
    assert {label.regime for label in regimes(under_a_schedule).labels} == {"?"}, "what is tried"
    assert common_panels.lost(under_a_schedule) == common_panels.lost(lost)


def test_an_overflow_stretches_no_axis(lost: xr.DataTree) -> None:
    for axis in (
        common_panels.curves(lost, "train_loss", "loss").y,
        common_panels.trajectories(lost, "grad_norm", "gradient norm").x,
    ):
        assert axis.limits is not None
        assert max(axis.limits) < 10
        assert min(axis.limits) <= np.nanmin(arrays.logged(lost, "train_loss"))
    assert common_panels.curves(planted(), "train_loss", "loss").y.limits is None


def test_panels_to_be_compared_have_the_same_axes(lost: xr.DataTree) -> None:
    wide, narrow = planted(), planted().isel(lr=slice(3, 6))
    panels = [common_panels.trajectories(r, "grad_norm", "gradient norm") for r in (narrow, wide, lost)]
    for along in ("x", "y"):
        first, *others = (getattr(panel, along).limits for panel in common_panels.same_limits(panels))
        assert all(limits == first for limits in others)
        for line in lines(panels[1]):
            values = np.asarray(getattr(line, along))
            assert min(first) < values.min() <= values.max() < max(first)


def test_the_same_axes_reach_chance() -> None:
    errors = [common_panels.trajectories(planted(), "test_error", "test error", lrs=[k]) for k in (0, 1)]
    for panel in common_panels.same_limits(errors):
        (chance,) = (layer.y for layer in panel.layers if isinstance(layer, Level))
        assert panel.y.limits is not None
        assert max(float(np.max(line.y)) for line in lines(panel)) < chance < max(panel.y.limits)


def test_under_a_schedule_the_end_is_the_last_value() -> None:
    for schedule, end in (("cosine", lambda values: values[..., -1]), ("constant", arrays.settled)):
        result = planted(space="whole", schedule=schedule)
        drawn = lines(common_panels.ends(result, "test_error", "test error"))[0]
        expected = end(arrays.logged(result, "test_error")).mean(1)
        assert np.asarray(drawn.y) == pytest.approx(expected, abs=1e-12)


def test_a_few_learning_rates_stand_for_all() -> None:
    result = planted()
    found, few = arrays.labels(regimes(result)), common_panels.representative(result)
    assert {found[k] for k in few} == {"1", "2", "3"}
    assert len(few) < len(found)
    assert len(lines(common_panels.overview(result, lrs=few)[0])) == len(few)
    low = result.isel(lr=slice(0, 4))
    assert common_panels.representative(low) == [0, 3]


@pytest.mark.slow
def test_overviews_are_drawn(lost: xr.DataTree) -> None:
    check_drawn(Chart(panels=common_panels.overview(lost, run=0)))
