"""The peak of sharpness along training: curves with a planted one, and the border where trajectories stop passing it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_result
from lrscope.studies.three_regimes import effects_peak
from trees import changed

WINDOWS = 40
TIME = np.linspace(0, 1, WINDOWS)
LOSS = 10 ** np.interp(TIME, [0, 1], [0.4, -1.6])
# log10 sharpness along training: down from the start, up to the peak, and down again or not.
PASSES = np.interp(TIME, [0, 0.1, 0.4, 1], [1.0, 0.85, 1.15, 0.3])
STOPS = np.interp(TIME, [0, 0.1, 0.4, 1], [1.0, 0.85, 1.15, 1.12])
CLIMBS = np.interp(TIME, [0, 1], [0.85, 1.1])
FALLS = np.interp(TIME, [0, 1], [1.1, 0.3])


@pytest.fixture(scope="module")
def result() -> xr.DataTree:
    return fake_result(
        lrs=8, seeds=3, epochs=WINDOWS, finetune=False, average=False, features=False, invariant=False, space="whole"
    )


def with_curves(result: xr.DataTree, *curves: np.ndarray) -> xr.DataTree:
    """The result with these curves of log10 sharpness, one for each learning rate."""
    names = {"grad_norm": 10 ** np.stack(curves), "train_loss": np.broadcast_to(LOSS, (len(curves), WINDOWS))}
    norms = result["pretrain/group_norm"]
    arrays = {"pretrain/group_norm": (norms.dims, np.ones(norms.shape))}
    for name, values in names.items():
        there = result[f"pretrain/{name}"]
        arrays[f"pretrain/{name}"] = (there.dims, np.broadcast_to(values[:, None, None], there.shape).copy())
    return changed(result, arrays)


def passes(result: xr.DataTree) -> np.ndarray:
    return effects_peak.passes(effects_peak.effective_gradient_norm(result))


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_run_passes_if_it_climbs_and_ends_below(result: xr.DataTree, noise: float) -> None:
    """Not if it stays at the peak, still climbs, or only falls: from the start, sharpness falls anyway."""
    rng = np.random.default_rng(0)
    curves = [curve + noise * rng.standard_normal(WINDOWS) for curve in (PASSES, STOPS, CLIMBS, FALLS) * 2]
    found = passes(with_curves(result, *curves))
    assert found.tolist() == [[True] * 3, *[[False] * 3] * 3] * 2


def test_bursts_of_a_chaotic_run_are_no_descent(result: xr.DataTree) -> None:
    rng = np.random.default_rng(1)
    chaotic = [1.0 + 0.2 * rng.standard_normal(WINDOWS) for _ in range(8)]
    assert not passes(with_curves(result, *chaotic)).any()
    spiked = STOPS.copy()
    spiked[20:22] += 1.0
    assert not passes(with_curves(result, *[spiked] * 8)).any(), "two logging intervals"


def test_weights_that_grow_are_no_descent(result: xr.DataTree) -> None:
    """A gradient that falls only because weights grow, and one that stays while they shrink: their directions decide."""
    part = with_curves(result, *[PASSES] * 4, *[STOPS] * 4)
    there = part["pretrain/group_norm"]
    growth = 10 ** np.concatenate([np.tile(STOPS - PASSES, (4, 1)), np.tile(PASSES - STOPS, (4, 1))])
    norms = np.ones(there.shape) * growth[:, None, None, :, None]
    found = passes(changed(part, {"pretrain/group_norm": (there.dims, norms)}))
    assert found.tolist() == [*[[False] * 3] * 4, *[[True] * 3] * 4]


def test_a_run_that_overflows_does_not_pass(result: xr.DataTree) -> None:
    lost = PASSES.copy()
    lost[-1] = np.nan
    assert not passes(with_curves(result, *[lost] * 8)).any()


def test_the_border_lies_where_trajectories_stop_passing_the_peak(result: xr.DataTree) -> None:
    lrs = result.coords["lr"].values
    alive = np.ones((8, 3), dtype=bool)
    alive[6:] = False  # dead networks, whose gradients are small
    part = with_curves(result, CLIMBS, CLIMBS, PASSES, PASSES, STOPS, STOPS, PASSES, PASSES)
    border = effects_peak.stops_passing(part, alive)
    assert border == pytest.approx(np.full(3, np.sqrt(lrs[3] * lrs[4]))), "slow and dead ones are left out"
    odd = with_curves(result, CLIMBS, PASSES, PASSES, STOPS, PASSES, STOPS, STOPS, STOPS)
    assert effects_peak.stops_passing(odd, alive) == pytest.approx(np.full(3, np.sqrt(lrs[2] * lrs[3])))


def test_a_border_that_the_grid_does_not_reach_is_undetermined(result: xr.DataTree) -> None:
    alive = np.ones((8, 3), dtype=bool)
    for curves in ([STOPS] * 8, [CLIMBS] * 8, [CLIMBS] * 4 + [PASSES] * 4):
        assert np.isnan(effects_peak.stops_passing(with_curves(result, *curves), alive)).all()


def test_where_all_that_learn_pass_the_border_is_the_end_of_learning(result: xr.DataTree) -> None:
    """No regime 2: one that hides beyond the grid is another matter, and so are dead networks that stop."""
    lrs = result.coords["lr"].values
    alive = np.arange(8)[:, None] < np.array([4, 6, 8])
    part = with_curves(result, CLIMBS, *[PASSES] * 3, *[STOPS] * 4)
    expected = [np.sqrt(lrs[3] * lrs[4])] * 3
    assert effects_peak.stops_passing(part, alive) == pytest.approx(expected), (
        "the last of them are stuck, or there are none"
    )
    always = with_curves(result, *[PASSES] * 8)
    ends = [np.sqrt(lrs[3] * lrs[4]), np.sqrt(lrs[5] * lrs[6]), np.nan]
    assert effects_peak.stops_passing(always, alive) == pytest.approx(ends, nan_ok=True)


def test_the_border_is_by_the_norm_of_the_gradient_alone(result: xr.DataTree) -> None:
    """Weights grow at the four highest learning rates, so that the gradient falls although sharpness stays."""
    lrs, alive = result.coords["lr"].values, np.arange(8)[:, None] < np.full(3, 7)
    part = with_curves(result, *[PASSES] * 8)
    there = part["pretrain/group_norm"]
    growth = np.ones(there.shape)
    growth[4:] *= (10 ** (STOPS - PASSES))[None, None, None, :, None]
    grown = changed(part, {"pretrain/group_norm": (there.dims, growth)})
    assert effects_peak.stops_passing(grown, alive) == pytest.approx(np.full(3, np.sqrt(lrs[6] * lrs[7])))
    weighted = effects_peak.stops_passing(grown, alive, effective=True)
    assert weighted == pytest.approx(np.full(3, np.sqrt(lrs[3] * lrs[4])))


def test_a_course_is_read_from_the_lowest_before_the_peak() -> None:
    """Down from the start, up and down again; one that stays, one that only falls, one that still climbs, one that breaks."""
    lost = PASSES.copy()
    lost[-1] = np.nan
    found = effects_peak.course(10 ** np.stack([PASSES, STOPS, FALLS, CLIMBS, lost]))
    peak, trough = (found["peak"] - found["climb"] * share for share in (0, 1))
    assert ((found["climb"][:2] > 0.2) & (found["climb"][:2] < 0.3)).all(), "medians cut the tip of it"
    assert found["climb"][2:4] == pytest.approx([0.0, np.ptp(CLIMBS)], abs=0.02)
    assert peak[2:4] == pytest.approx([FALLS[0], CLIMBS[-1]], abs=0.05)
    assert trough[:2] == pytest.approx([0.86, 0.86], abs=0.03)
    assert found["up"][:2] == pytest.approx([PASSES[-4] - 0.86, STOPS[-4] - 0.86], abs=0.05)
    assert found["up"][2] < -0.5, "it ends far below where it began"
    assert all(np.isnan(values[4]) for values in found.values())
