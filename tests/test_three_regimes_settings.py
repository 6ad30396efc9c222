"""TR15 and TR17 on planted results: widths and augmentation, and jumps in the whole space."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from fake_results import BORDERS, fake_result
from lrscope.studies import arrays
from lrscope.studies.three_regimes import STUDY, effects_settings
from lrscope.studies.verdicts import part
from planted_study import PlantedResults, checked, part_verdicts
from trees import changed

LRS, SEEDS, WINDOWS = 24, 5, 60


def planted(key: int = 0) -> xr.DataTree:
    return fake_result(
        lrs=LRS, seeds=SEEDS, epochs=WINDOWS, finetune=False, average=False, features=False, space="sphere", key=key
    )


@pytest.fixture(scope="module")
def result() -> xr.DataTree:
    return planted()


# -- widths and augmentation ---------------------------------------------------------------------------------------------


def with_loss(result: xr.DataTree, factor: np.ndarray) -> xr.DataTree:
    """The result with losses and sharpness multiplied by a factor for each learning rate."""
    names = ("pretrain/train_loss", "pretrain/effective_grad_norm")
    shaped = factor[:, None, None, None]
    return changed(result, {name: (result[name].dims, result[name].values * shaped) for name in names})


def place(result: xr.DataTree) -> np.ndarray:
    """Decades above the border 1|2."""
    return np.log10(result["lr"].values / BORDERS["1|2"])


def blurred(result: xr.DataTree, decades: float) -> xr.DataTree:
    """Losses of regime 1 lifted, so that they rise less at the border."""
    return with_loss(result, 10 ** (decades * (place(result) < 0)))


def shifted(result: xr.DataTree, cells: int) -> xr.DataTree:
    """What higher learning rates show, at learning rates lower by some cells."""
    part = result.isel(lr=slice(cells, cells + LRS - 2))
    nodes = {node.path: node.to_dataset(inherit=False) for node in part.subtree}
    nodes["/"] = nodes["/"].assign_coords(lr=result["lr"].values[: LRS - 2])
    return xr.DataTree.from_dict(nodes)


def test_the_border_is_as_clear_as_its_steepest_rise(result: xr.DataTree) -> None:
    clear = effects_settings.steepest_rise(result)
    lifted = effects_settings.steepest_rise(blurred(result, 1.0))
    assert (clear > lifted).all()
    assert np.isnan(effects_settings.steepest_rise(result.isel(lr=slice(0, 10)))).all(), "no border 1|2"
    far = with_loss(result, np.where(np.arange(LRS) >= LRS - 2, 1e6, 1.0))
    assert effects_settings.steepest_rise(far) == pytest.approx(clear), "rises far from the border do not count"


def test_a_rise_around_each_seeds_own_border(result: xr.DataTree) -> None:
    """The border of one seed lies four cells above the others': its rise is found there, per decade whatever the grid."""
    whole = effects_settings.steepest_rise(result)
    coarse = effects_settings.steepest_rise(result.isel(lr=slice(0, None, 2)))
    assert coarse == pytest.approx(whole, rel=0.6)
    loss = result["pretrain/train_loss"].copy(deep=True)
    loss[{"seed": 0, "lr": slice(4, None)}] = result["pretrain/train_loss"].values[: LRS - 4, :, 0]
    moved = changed(result, {"pretrain/train_loss": loss})
    assert arrays.seed_borders(moved, "1|2")[0] > 3 * arrays.seed_borders(moved, "1|2")[1]
    assert effects_settings.steepest_rise(moved) == pytest.approx(whole, rel=0.3)


def test_trends_over_widths_need_all_of_them() -> None:
    values = [np.array([1.0, 1.0]), np.array([2.0, np.nan]), np.array([3.0, 3.0])]
    assert effects_settings.per_width(values) == pytest.approx([1.0, np.nan], nan_ok=True)


def test_changes_are_compared_over_learning_rates(result: xr.DataTree) -> None:
    lift, level = np.clip(-place(result), 0, 1), np.full(LRS, 0.5)
    narrow, other = with_loss(planted(1), 10**lift), with_loss(result, 10 ** (0.5 * lift))
    even, against = with_loss(result, 10**level), with_loss(result, 10**-lift)
    for name in ("train_loss", "effective_grad_norm"):
        alike, turned, flat = (effects_settings.alike(r, narrow, result, name) for r in (other, against, even))
        assert alike["cosine"] == pytest.approx(np.full(SEEDS, 0.95), abs=0.05)
        assert alike["size"] == pytest.approx(np.full(SEEDS, 0.5), abs=0.1)
        assert turned["cosine"].max() < -0.9
        assert turned["size"].max() < -0.8
        assert flat["cosine"].max() < 0.7, "the same at every ELR is not what a narrow net does"


def test_a_change_that_goes_the_other_way_less_is_not_alike(result: xr.DataTree) -> None:
    """Its correlation over ELRs is perfect: lowered everywhere, and least where the narrow net raises."""
    lift = np.clip(-place(result), 0, 1)
    narrow, lowered = with_loss(planted(1), 10**lift), with_loss(result, 10 ** (lift - 1.5))
    found = effects_settings.alike(lowered, narrow, result, "train_loss")
    assert found["cosine"].max() < 0
    assert found["size"].max() < 0
    slight = with_loss(result, 10 ** (0.1 * lift))
    assert effects_settings.alike(slight, narrow, result, "train_loss")["size"].max() < 0.25


def test_noise_of_the_base_is_no_likeness(result: xr.DataTree) -> None:
    """Two settings that change nothing, against a base whose runs scatter."""
    rng = np.random.default_rng(0)
    scatter = 10 ** rng.normal(0, 0.3, (LRS, 1, SEEDS, 1))
    loss = result["pretrain/train_loss"]
    noisy = changed(result, {"pretrain/train_loss": (loss.dims, loss.values * scatter)})
    found = effects_settings.alike(result, planted(1), noisy, "train_loss")["cosine"]
    assert np.abs(found.mean()) < 0.25


@pytest.mark.slow
def test_widths_and_augmentation_are_judged_by_their_trends(result: xr.DataTree) -> None:
    small, usual, large = (
        shifted(r, cells) for r, cells in ((blurred(planted(1), 2.0), 0), (blurred(result, 1.0), 1), (planted(2), 2))
    )
    augmented = shifted(blurred(planted(3), 2.0), 1)
    sweeps = {"width_small": small, "width_usual": usual, "width_large": large, "augmented": augmented}
    assert part_verdicts("TR15", **sweeps) == ["supported"] * 7
    turned = {"width_small": large, "width_usual": usual, "width_large": small, "augmented": shifted(planted(3), 1)}
    assert part_verdicts("TR15", **turned)[:3] == ["contradicted"] * 3
    assert "supported" not in part_verdicts("TR15", **{**sweeps, "augmented": shifted(planted(3), 1)})[2:]


@pytest.mark.parametrize("name", ["whole", "constant", "transformer"])
def test_no_regime_two_would_contradict_on_the_laptops_grid(name: str) -> None:
    """A width of 0 in every seed, known to a cell for either border, and the bound of 0.2 decades. One or two learning rates in
    regime 2 decide nothing."""
    sweep = next(s for s in STUDY.scales["laptop"].sweeps if s.name == name)
    cell = arrays.cell(np.array(sweep.config.lrs))
    for cells, expected in ((0, "contradicted"), (1, "inconclusive"), (2, "inconclusive")):
        found = part("width", [cells * cell] * 5, above=0.2, cell=2 * cell, unit="decades")
        assert found.verdict == expected


# -- jumps ---------------------------------------------------------------------------------------------------------------


def test_a_jump_goes_up_and_comes_back() -> None:
    calm = 10 ** np.linspace(0, -3, 40)
    saw = np.tile(10 ** np.linspace(-1, -3, 10), 4)
    up = np.concatenate([calm[:30], np.full(10, 1.0)])
    noise = 10 ** np.random.default_rng(0).normal(-1, 0.1, 40)
    lost = np.where(np.arange(40) > 30, np.nan, saw)
    found = effects_settings.jumps(np.stack([calm, saw, up, noise, lost]))
    assert found[:4].tolist() == [0, 3, 0, 0]
    assert np.isnan(found[4])
    assert effects_settings.jumps(saw[:8]) == 0, "shorter than what a jump is held against"


def test_noise_does_not_jump_however_long() -> None:
    """Its values lie a factor 5 above the lowest before them, again and again."""
    noise = 10 ** np.random.default_rng(0).normal(-2, 0.15, (50, 400))
    assert effects_settings.jumps(noise).sum() == 0
    drift = noise * 10 ** np.linspace(0, 1.5, 400)
    assert effects_settings.jumps(drift).sum() == 0, "a loss that goes up slowly"


def test_a_clock_is_periodic_and_chance_is_not() -> None:
    rng = np.random.default_rng(1)
    clock = (np.arange(400) % 40 == 7)[None].repeat(5, 0)
    chance = rng.random((40, 400)) < 0.02
    late = (
        np.array(
            [np.bincount((np.arange(1, 9) * 45 + rng.normal(0, 9, 8)).astype(int), minlength=400) for _ in range(9)]
        )
        > 0
    )
    assert effects_settings.spread_of_intervals(clock) == 0
    assert effects_settings.spread_of_intervals(chance) == pytest.approx(0.95, abs=0.1)
    assert effects_settings.spread_of_intervals(late) == pytest.approx(0.28, abs=0.08)
    assert np.isnan(effects_settings.spread_of_intervals(clock[:, :80])), "two jumps have one interval"


def test_intervals_are_those_of_single_runs() -> None:
    """Two clocks of different speed are clocks."""
    steps = np.arange(400)
    assert effects_settings.spread_of_intervals(np.stack([steps % 20 == 1, steps % 90 == 1])) == 0
    # Jumps at random times, ten times as rare in one run as in the other: still jumps at random times.
    chance = np.random.default_rng(0).random((2, 100_000)) < np.array([[0.1], [0.01]])
    assert effects_settings.spread_of_intervals(chance) == pytest.approx(0.96, abs=0.05)


@pytest.mark.slow
def test_jumps_are_counted_where_regime_one_is_high(result: xr.DataTree) -> None:
    loss = result["pretrain/train_loss"].copy(deep=True)
    one = [k for k in range(LRS) if place(result)[k] < 0]
    clock, chance = (np.isin(np.arange(WINDOWS), at) for at in (range(20, WINDOWS, 8), (22, 25, 48, 51, 54)))
    loss[{"lr": one[-3:]}] *= 10.0**clock
    jumping = changed(result, {"pretrain/train_loss": loss})
    assert part_verdicts("TR17", whole=jumping) == ["supported"] * 4
    said = checked("TR17", PlantedResults({"whole": jumping})).note
    assert "where intervals spread by 0 of their mean. That the intervals are regular is our reading" in said
    assert checked("TR17", PlantedResults({"whole": result})).parts[0].cell == pytest.approx(
        2 * arrays.cell(result["lr"].values)
    )
    assert part_verdicts("TR17", whole=result) == ["supported", "contradicted", "supported", "undetermined"]
    loss[{"lr": one[:3]}] *= 10.0**clock
    assert part_verdicts("TR17", whole=changed(result, {"pretrain/train_loss": loss}))[2] == "contradicted"
    loss[{"lr": one[-3:]}] *= 10.0 ** (chance * 1.0 - clock)
    assert part_verdicts("TR17", whole=changed(result, {"pretrain/train_loss": loss}))[1::2] == [
        "supported",
        "contradicted",
    ]
    assert part_verdicts("TR17", whole=result.isel(lr=slice(0, 5)))[1:] == ["undetermined"] * 3
