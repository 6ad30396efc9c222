"""TR13: peaks along training, on curves with peaks at known places."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_result
from lrscope.mapping import regimes
from lrscope.studies import arrays
from lrscope.studies.three_regimes import effects_transition
from planted_study import PlantedResults, checked, verdicts
from trees import changed

WINDOWS = 120


def test_what_stands_out_is_measured_from_both_sides() -> None:
    curve = np.array([5.0, 1.0, 3.0, 2.0, 4.0, 3.0, 0.0])
    assert effects_transition.prominences(curve) == pytest.approx([0, 0, 2, 1, 3, 2, 0])
    at, height = effects_transition.peak(np.stack([curve, np.arange(7.0), np.arange(7.0)[::-1], np.full(7, np.nan)]))
    assert at[0] == 4
    assert height == pytest.approx([3, 0, 0, np.nan], nan_ok=True)
    assert at[3] == -1


@pytest.mark.slow
def test_spikes_of_a_chaotic_run_and_later_jumps_are_no_peaks() -> None:
    """Regime 2 stays at its level with spikes of loss and test error in single intervals; a run of regime 1 jumps late."""
    calm = with_peaks(0.0, 0.0, 0.5)
    one, two = (arrays.inside(regimes(calm), regime) for regime in ("1", "2"))
    loss, accuracy, steep = (
        calm[f"pretrain/{name}"].copy(deep=True) for name in ("train_loss", "test_accuracy", "effective_grad_norm")
    )
    spikes = {"lr": two, "epoch": slice(50, None, 7)}
    loss[spikes], accuracy[spikes] = loss[spikes] * 1.5, accuracy[spikes] - 0.3
    jump = {"lr": one[-1], "epoch": slice(110, 114)}
    loss[jump], accuracy[jump], steep[jump] = 0.05, 0.1, 1e3
    new = {"train_loss": loss, "test_accuracy": accuracy, "effective_grad_norm": steep}
    shaken = changed(calm, {f"pretrain/{name}": array for name, array in new.items()})
    before, after = (effects_transition.bottleneck(result) for result in (calm, shaken))
    for name in ("sharpness", "error", "sharpness_height", "error_height"):
        assert after[name] == pytest.approx(before[name], abs=0.02), name
    assert after["error_stuck"] == pytest.approx(before["error_stuck"] + 3 * 0.3 / 24 - 4 * 0.7 / 24 / 6, abs=0.01), (
        "ends are means"
    )


def with_peaks(
    sharp: float, error: float, height: float, end: float = 0.3, stuck: float = 50.0, climb: float = 1.0
) -> xr.DataTree:
    """Regime-1 runs whose sharpness and test error peak `sharp` and `error` decades above the loss where regime 2 begins, by
    `height` decades and a tenth of that in error over an end of 0.2; regime 2 ends with a test error of `end` and sharpness
    `stuck`, after a climb by the part `climb` of 0.7 decades and 0.1."""
    planted = fake_result(lrs=24, seeds=5, epochs=WINDOWS, finetune=False, average=False, features=False)
    one, two = (arrays.inside(regimes(planted), regime) for regime in ("1", "2"))
    dims = planted["pretrain/train_loss"].dims
    loss, steep, accuracy = (
        planted[f"pretrain/{name}"].values.copy() for name in ("train_loss", "effective_grad_norm", "test_accuracy")
    )
    rng, t = np.random.default_rng(0), np.linspace(0, 1, WINDOWS)
    loss[one] = np.exp(np.log(0.69) * (1 - t) + np.log(1e-4) * t)
    way = np.minimum(3 * t, 1)  # of regime 2 down to its level
    loss[two] = 0.69 ** (1 - way) * loss[two] ** way
    for s, single in enumerate(arrays.single_seeds(changed(planted, {"pretrain/train_loss": (dims, loss)}))):
        first = arrays.inside(regimes(single), "2")[0]
        level = np.log10(arrays.settled(loss[first, 0, s]))
        x = np.log10(loss[one, 0, s])
        noise = 0.002 * rng.standard_normal((2, *x.shape))
        steep[one, 0, s] = 10 ** (1 + 0.3 * x + (height + 0.4) * np.exp(-((x - level - sharp) ** 2) / 0.05) + noise[0])
        accuracy[one, 0, s] = 0.8 - (height + 0.1) / 10 * np.exp(-((x - level - error) ** 2) / 0.05) + noise[1] / 10
    early = loss[two] > 1.3 * arrays.settled(loss[two])[..., None]
    steep[two] = np.where(early, stuck * 10 ** (-0.7 * climb), stuck)
    accuracy[two] = np.where(early, 1 - end + 0.1 * climb, 1 - end)
    new = {"train_loss": loss, "effective_grad_norm": steep, "test_accuracy": accuracy}
    return changed(planted, {f"pretrain/{name}": (dims, values) for name, values in new.items()})


def test_peaks_are_read_where_they_were_planted() -> None:
    found = effects_transition.bottleneck(with_peaks(0.1, 0.2, 0.5))
    assert found["sharpness"] - found["level"] == pytest.approx(np.full(5, 0.1), abs=0.08)
    assert found["error"] - found["level"] == pytest.approx(np.full(5, 0.2), abs=0.08)
    assert found["sharpness_height"].min() > 0.4
    assert found["error_height"] == pytest.approx(np.full(5, 0.06), abs=0.005)
    assert found["error_stuck"] == pytest.approx(np.full(5, 0.3 - (0.26 + 0.2) / 2), abs=0.01)


def both(clean: xr.DataTree, noisy: xr.DataTree) -> PlantedResults:
    return PlantedResults({"noise0": clean, "noise20": noisy, "noisy": noisy.isel(seed=[0])})


STUCK = [f"regime 2 stops at the peak of {name}, 20% label noise" for name in ("sharpness", "test error")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noisy", "refuted"),
    [
        ((0.0, 0.0, 0.5, 0.3), []),
        ((-0.7, -0.7, 0.5, 0.3), ["sharpness peaks where regime 2 begins, 20% label noise"]),
        ((0.0, -0.7, 0.5, 0.3), ["test error peaks where sharpness does, 20% label noise"]),
        ((0.0, 0.0, 0.5, 0.2), ["regime 2 stops at the peak of test error, 20% label noise"]),
        ((0.0, 0.0, 0.5, 0.3, 1.0), ["regime 2 stops at the peak of sharpness, 20% label noise"]),
        ((0.0, 0.0, 0.5, 0.3, 50.0, 0.1), STUCK),  # it ends early: as high, and has not climbed
        ((0.0, 0.0, 0.5, 0.3, 50.0, -0.5), STUCK),  # it only came down
        (
            (0.0, 0.0, 0.1, 0.3),
            ["peak of sharpness higher with label noise", "peak of test error higher with label noise"],
        ),
    ],
)
def test_each_part_of_the_transition_can_fail(noisy: tuple[float, ...], refuted: list[str]) -> None:
    found = verdicts("TR13", both(with_peaks(0.0, 0.0, 0.2), with_peaks(*noisy)))
    assert [name for name, verdict in found.items() if verdict == "contradicted"] == refuted
    assert {found[name] for name in found if name not in refuted} == {"supported"}


@pytest.mark.slow
def test_a_peak_that_is_not_there_contradicts_that_it_is() -> None:
    """Its place is undetermined, its height is 0: curves that only fall, and others whose noise stands out by a point."""
    for clean, noisy in ((flat(0.0), flat(0.0)), (flat(0.02), flat(0.02))):
        found = verdicts("TR13", both(clean, noisy))
        assert found["peak of sharpness, 20% label noise"] == "contradicted"
        assert found["peak of test error, 20% label noise"] == "contradicted"
        assert found["test error peaks where sharpness does, 20% label noise"] == "undetermined"


def flat(noise: float) -> xr.DataTree:
    """Test error that falls with the training loss, with so much noise, and sharpness that does with little."""
    result, rng = with_peaks(0.0, 0.0, 0.5), np.random.default_rng(3)
    loss = np.log10(result["pretrain/train_loss"])
    errors, steeps = (scale * rng.standard_normal(loss.shape) for scale in (noise, 0.005))
    new = {"test_accuracy": 0.7 - 0.01 * loss + errors, "effective_grad_norm": 10 ** (1 + 0.1 * loss + steeps)}
    return changed(result, {f"pretrain/{name}": array for name, array in new.items()})


@pytest.mark.slow
def test_a_run_of_regime_two_that_still_falls_sets_no_level() -> None:
    result = with_peaks(0.0, 0.0, 0.5)
    (one, *_), loss = arrays.single_seeds(result), result["pretrain/train_loss"].copy(deep=True)
    first = effects_transition.through_and_stuck(one)[1][0]
    start = loss.values[first, 0, 0, 0]
    loss[{"lr": first, "seed": 0}] = start * 10 ** np.linspace(0, -1.5, WINDOWS)  # slower than those below it
    late = arrays.single_seeds(changed(result, {"pretrain/train_loss": loss}))[0]
    assert first in arrays.inside(regimes(late), "2"), "what is tried"
    assert effects_transition.through_and_stuck(late)[1][0] == first + 1


@pytest.mark.slow
def test_without_a_peak_its_place_is_undetermined() -> None:
    flat = with_peaks(0.0, 0.0, -0.1)  # no test error of a point
    found = checked("TR13", both(flat, with_peaks(0.0, 0.0, 0.5)))
    part = next(one for one in found.parts if one.name == "test error peaks where sharpness does, clean labels")
    assert (part.verdict, part.seeds) == ("undetermined", 0)
    assert "test error at undetermined" in found.note.replace("test error undetermined", "test error at undetermined")


@pytest.mark.parametrize("low", [0, 12])
def test_a_seed_whose_grid_shows_one_regime_has_no_transition(low: int) -> None:
    planted = fake_result(lrs=24, seeds=5, epochs=60, finetune=False, average=False, features=False)
    part = planted.isel(lr=slice(low, low + 10))
    assert np.isnan(arrays.border(regimes(part), "1|2")), "what is tried"
    found = effects_transition.bottleneck(part)
    assert all(np.isnan(values).all() for values in found.values())
    assert checked("TR13", both(part, part)).verdict == "undetermined"


def test_a_seed_without_numbers_is_nan() -> None:
    result = with_peaks(0.0, 0.0, 0.5)
    accuracy = result["pretrain/test_accuracy"].copy(deep=True)
    accuracy[{"seed": 0}] = np.nan
    found = effects_transition.bottleneck(changed(result, {"pretrain/test_accuracy": accuracy}))
    assert np.isnan([found[name][0] for name in ("error", "error_height", "error_stuck")]).all()
    assert np.isfinite(found["sharpness"]).all()
    assert np.isfinite(found["error"][1:]).all()


def test_a_run_that_is_at_its_level_when_it_is_first_logged_tells_no_climb() -> None:
    """The others do; without it nothing is said of being stuck."""
    result = with_peaks(0.0, 0.0, 0.5)
    two, loss = arrays.inside(regimes(result), "2"), result["pretrain/train_loss"].copy(deep=True)
    late = loss[{"lr": two, "epoch": slice(60, None)}].values
    for seeds, stuck in ((slice(0, 1), "supported"), (slice(0, 5), "undetermined")):
        loss[{"lr": two, "seed": seeds, "epoch": slice(0, 60)}] = late[:, :, seeds]
        shown = changed(result, {"pretrain/train_loss": loss})
        found = effects_transition.bottleneck(shown)
        assert np.isnan(found["error_stuck"]).tolist() == [s < seeds.stop for s in range(5)]
        assert np.isfinite(found["error"]).all()
        name = "regime 2 stops at the peak of test error, 20% label noise"
        assert verdicts("TR13", both(result, shown))[name] == stuck
