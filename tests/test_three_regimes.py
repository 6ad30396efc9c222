"""The study three_regimes: its declarations, its readings of results with planted effects, and all of it at smoke scale."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

import fake_results
from chart_examples import check_drawn
from fake_results import fake_result
from lrscope.config import EngineConfig
from lrscope.mapping import regimes
from lrscope.measures import geometry
from lrscope.studies import arrays, registry
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.three_regimes import (
    STUDY,
    claims_equilibrium,
    claims_sphere,
    effects,
    effects_settings,
    effects_tuning,
    sweeps,
)
from lrscope.studies.three_regimes.data_sizes import elsewhere
from lrscope.studies.three_regimes.measurement_functions import data_sizes, neighbour_paths
from lrscope.studies.types import Finding
from lrscope.studies.verdicts import Undetermined
from trees import changed, own, with_node

ENGINE = EngineConfig(jobs=1, path="batched", chunk=33, compile=False)  # no plan to choose: as quick as eager steps are


class PlantedResults:
    """A study whose sweeps and measurements are given."""

    scale, first_seed = "smoke", 0

    def __init__(
        self, sweeps: dict[str, xr.DataTree] | None = None, measurements: dict[str, xr.DataTree] | None = None
    ) -> None:
        self.sweeps, self.measurements = sweeps or {}, measurements or {}

    def sweep(self, name: str) -> xr.DataTree:
        return self.sweeps[name]

    def measurement(self, name: str) -> xr.Dataset:
        return self.measurements[name]

    def trained(self, name: str) -> Any:
        raise AssertionError("claims read no weights")


def checked(claim: str, results: PlantedResults) -> Finding:
    return next(c for c in STUDY.claims if c.id == claim).check(results)


@pytest.fixture(scope="module")
def planted() -> xr.DataTree:
    return fake_result(lrs=24, seeds=5, epochs=60, finetune=False, average=False, features=False)


# -- declarations -----------------------------------------------------------------------------------------------------


def test_every_claim_and_figure_of_the_paper_is_there() -> None:
    assert [claim.id for claim in STUDY.claims] == [f"TR{i}" for i in range(1, 21)]
    assert [figure.number for figure in STUDY.figures] == [str(i) for i in range(1, 29)]
    assert registry.study("three_regimes") is STUDY
    shown = {figure for claim in STUDY.claims for figure in claim.figures}
    assert shown == {figure.number for figure in STUDY.figures}, "every figure bears on a claim"


def test_scales_differ_in_size_only() -> None:
    names = {scale: [sweep.name for sweep in found.sweeps] for scale, found in STUDY.scales.items()}
    assert names["smoke"] == names["laptop"] == list(sweeps.ABOUT)
    assert names["paper"] == [name for name in sweeps.ABOUT if "larger" not in name and name != "wide"], (
        "the paper's data and networks are large"
    )
    laptop = {sweep.name: sweep for sweep in STUDY.scales["laptop"].sweeps}
    assert all(sweep.config.seeds >= 3 for sweep in laptop.values())
    assert len(laptop["resnet"].config.lrs) <= 8
    assert laptop["augmented"].config.lrs == laptop["width_usual"].config.lrs == laptop["width_small"].config.lrs
    tune = laptop["tune"].config
    assert set(tune.lrs) < set(laptop["convnet"].config.lrs)
    inside = laptop["tune_first"].config
    known = effects_tuning.Roles(np.array(inside.lrs), np.array(inside.finetune_lrs or ()), first=3.5e-3, second=1.3e-2)
    assert [kind for kind in ("lower", "much") if not known.pairs(kind)] == [], "what TR7's criterion speaks of"
    for first in (3.4e-3, 3.6e-3):  # around the border that a run before gave
        planned = effects_tuning.Roles(
            np.array(tune.lrs), np.array(tune.finetune_lrs or ()), first=first, second=1.01 * 1.3e-2
        )
        kinds = ("lower", "much", "within", "low", "high")
        assert [kind for kind in kinds if not planned.pairs(kind)] == []


def test_the_papers_numbers_are_in_the_paper_scale() -> None:
    found = {sweep.name: sweep for sweep in STUDY.scales["paper"].sweeps}
    base = found["convnet"].config
    assert {m * 10.0**-k for k in range(1, 8) for m in (1, 2, 5)} < set(base.lrs)
    assert (base.epochs, base.batch_size, base.momentum) == (1000, 128, 0)
    assert found["convnet"].task["width"] == 32
    assert found["tune"].config.finetune_epochs == 2000
    assert found["cosine"].config.epochs == 200
    assert found["constant"].task["width"] == 64
    assert (found["whole"].config.weight_decay, found["constant"].config.weight_decay) == (1e-4, 5e-4)
    assert found["noise20"].task["label_noise"] == 0.2


# -- readings of planted results ---------------------------------------------------------------------------------------


def test_widths_are_decades_between_borders(planted: xr.DataTree) -> None:
    true = np.log10(fake_results.BORDERS["2|3"] / fake_results.BORDERS["1|2"])
    assert arrays.widths(planted) == pytest.approx(np.full(5, true), abs=0.35)
    assert (arrays.widths(without(planted, "2")) == 0).all(), "regimes 1 and 3, and nothing between them"


def without(planted: xr.DataTree, regime: str) -> xr.DataTree:
    """The same grid without the learning rates of a regime."""
    found = arrays.labels(regimes(planted))
    return planted.isel(lr=[k for k, label in enumerate(found) if label != regime])


@pytest.mark.parametrize("regime", ["1", "3"])
def test_a_border_beyond_the_grid_is_undetermined_and_never_contradicts(planted: xr.DataTree, regime: str) -> None:
    part = without(planted, regime)
    assert np.isnan(arrays.widths(part)).all()
    assert checked("TR17", PlantedResults({"whole": part})).parts[0].verdict == "undetermined"
    assert checked("TR5", PlantedResults(dict.fromkeys(claims_sphere.NETS, part))).verdict == "undetermined"
    assert checked("TR20", PlantedResults({"transformer": without(planted, "1")})).verdict == "undetermined"


def test_three_regimes_are_found_in_planted_ones(planted: xr.DataTree) -> None:
    results = PlantedResults(dict.fromkeys(claims_sphere.NETS, planted))
    assert checked("TR5", results).verdict == "supported"
    results.sweeps["mlp"] = without(planted, "2")
    assert checked("TR5", results).verdict == "contradicted"


def test_regime_one_slopes_are_the_planted_ones(planted: xr.Dataset) -> None:
    found = effects.faster_flatter_better(planted)
    assert found["flatter"] == pytest.approx(np.full(5, 0.3), abs=0.12)  # sharpness ~ lr^-0.3 at equal loss
    assert found["faster"] == pytest.approx(np.full(5, 1.0), abs=0.15)  # steps ~ 1 / lr
    reversed_lr = changed(
        planted,
        {
            "pretrain/effective_grad_norm": planted["pretrain/effective_grad_norm"] * planted["lr"] ** 0.6,
        },
    )
    assert effects.faster_flatter_better(reversed_lr)["flatter"].max() < 0
    sizes = data_sizes(
        PlantedResults({"convnet": reversed_lr, "tune": planted_tune(planted, 1.0)}), (("convnet", "tune"),)
    )
    assert checked("TR6", PlantedResults({"convnet": reversed_lr}, {"data_sizes": sizes})).verdict == "contradicted"


def test_bursts_of_single_moments_do_not_reach_the_running_median(planted: xr.Dataset) -> None:
    """Test error falls by two points per decade; where a run passes the level one moment is ten points worse."""
    accuracy, lr = planted["pretrain/test_accuracy"], np.log10(planted["lr"])
    calm = changed(
        planted,
        {
            "pretrain/test_accuracy": (xr.zeros_like(accuracy) + 0.8 + 0.02 * lr).transpose(*accuracy.dims),
        },
    )
    found = effects.faster_flatter_better(calm)
    assert found["better"] == pytest.approx(np.full(5, 0.02), abs=1e-6)
    level = found["level"][0]
    loss = arrays.per_seed(planted["pretrain/train_loss"])
    burst = calm["pretrain/test_accuracy"].copy(deep=True)
    one = arrays.inside(regimes(planted), "1")
    top, slowest = one[-1], one[len(one) // 2]
    for s in range(5):
        burst[{"lr": top, "seed": s, "epoch": int((loss[top, s] <= level).argmax())}] -= 0.1
    burst[{"lr": slowest, "epoch": -1}] -= 0.1  # it comes down to the level in its last moments
    found = effects.faster_flatter_better(changed(calm, {"pretrain/test_accuracy": burst}))
    assert (np.abs(found["better"] - 0.02) > 0.005).all()
    assert found["better_without_bursts"] == pytest.approx(np.full(5, 0.02), abs=1e-6)


def test_slopes_are_given_by_the_size_of_the_training_set(planted: xr.Dataset) -> None:
    task = {**json.loads(planted.attrs["task"]), "train_size": 4 * 1024}
    larger = changed(planted.isel(seed=slice(0, 3)), task=json.dumps(task))
    low = planted.isel(lr=slice(0, 10))
    sizes = data_sizes(
        PlantedResults({"convnet": low, "larger": larger, "tune": planted_tune(planted, 1.0)}),
        (("convnet", "tune"), ("larger", "tune")),
    )
    assert sizes["train_size"].values.tolist() == [json.loads(planted.attrs["task"])["train_size"], 4096]
    assert sizes["flatter"].isel(train_size=0).notnull().all()
    assert sizes["higher"].isel(train_size=0).isnull().all(), "the smaller grid shows no regime 2"
    seen = sizes.isel(train_size=1)
    assert seen["higher"].notnull().sum() == 3, "seeds that one size lacks are NaN there"
    results = PlantedResults({"convnet": planted}, {"data_sizes": sizes})
    assert "with 4096 images" in checked("TR9", results).note
    by_size = checked("TR9", results).numbers["data_sizes"]["4096"]
    assert {"higher", "flatter_within_2", "flatter_where_calm", "together_highest", "lowest_loss"} <= set(by_size)


def test_sharpness_where_regime_two_is_calm(planted: xr.Dataset) -> None:
    """Sharpness falls with the ELR up to a loss of ln C / 4 and rises beyond, where it goes up and down with the loss."""
    found, rng = regimes(planted), np.random.default_rng(0)
    two = arrays.learning(planted, found)
    loss, steep = (
        planted["pretrain/train_loss"].copy(deep=True),
        planted["pretrain/effective_grad_norm"].copy(deep=True),
    )
    assert len(two) >= 4, "two calm ELRs and two others"
    lr, shares = planted["lr"].values, (0.1, 0.2, *(0.6,) * (len(two) - 2))
    for k, share in zip(two, shares, strict=True):
        noise = rng.normal(0, 0.1, loss.isel(lr=k).shape)
        burst = share > effects.CALM
        loss[{"lr": k}] = share * arrays.guessing(planted) * np.exp(noise)
        slope = 0.5 if burst else -0.5
        steep[{"lr": k}] = (
            10 * (lr[k] / lr[two[1]]) ** slope * np.exp(noise if burst else rng.normal(0, 0.1, noise.shape))
        )
    seen = effects.equalised(changed(planted, {"pretrain/train_loss": loss, "pretrain/effective_grad_norm": steep}))
    assert seen["flatter_where_calm"] == pytest.approx(np.full(5, 0.5), abs=0.3)
    assert seen["flatter"].mean() < 0
    assert np.abs(seen["together"][0]).mean() < 0.6
    assert seen["together"][-1] == pytest.approx(np.ones(5))
    # A trend that both follow is no burst; moments without a number are passed over; too few of them are not enough.
    fall = xr.DataArray(np.exp(-np.arange(loss.sizes["epoch"]) / 50), dims="epoch")
    trends = {name: values.copy(deep=True) for name, values in (("loss", loss), ("steep", steep))}
    trends["loss"][{"lr": two[0]}] *= fall
    trends["steep"][{"lr": two[0]}] *= fall
    trends["loss"][{"lr": two[-1], "epoch": -1}] = np.nan
    trends["steep"][{"lr": two[1], "epoch": slice(None, -3)}] = np.nan
    moved = changed(planted, {"pretrain/train_loss": trends["loss"], "pretrain/effective_grad_norm": trends["steep"]})
    found = effects.within_runs(moved, two)
    assert found["together"][0] == pytest.approx(seen["together"][0], abs=1e-6)
    assert found["together"][-1] == pytest.approx(np.ones(5))
    assert np.isnan(found["together"][1]).all()
    assert found["scatter"][0] == pytest.approx(np.full(5, 0.1 / np.log(10)), rel=0.5)


def test_running_medians_pass_over_what_is_missing() -> None:
    values = np.array([[0.2, 0.9, 0.2, 0.3, 0.3, 0.8], [0.1, np.nan, np.nan, np.nan, 0.4, 0.6]])
    found = arrays.running_median(values, 3)
    assert found[0] == pytest.approx([0.9, 0.2, 0.3, 0.3, 0.3, 0.3])
    assert found[1] == pytest.approx([0.1, 0.1, np.nan, 0.4, 0.5, 0.4], nan_ok=True)


def test_a_size_that_one_seed_or_none_shows_is_said() -> None:
    sizes = xr.Dataset(
        {"flatter": (("train_size", "seed"), [[1.0, np.nan], [np.nan, np.nan], [1.0, 2.0]])},
        {"train_size": [10, 20, 30], "seed": [0, 1]},
    )
    words = elsewhere(sizes, ("flatter", "slope", 2.0))
    assert "slope 2.00 (one seed) with 10 images, undetermined with 20 images, 3.00 [" in words
    assert elsewhere(sizes.isel(train_size=[0]), ("flatter", "slope", 1.0)) == ""


def test_losses_are_split_for_the_networks_in_regime_three() -> None:
    quantities = {
        "loss": [8.0, 8.0, np.nan],
        "constant": [6.0, 4.0, np.nan],
        "walk_loss": [10.0, 20.0, np.nan],
        "walk_constant": [9.0, 18.0, np.nan],
    }
    one = xr.Dataset({name: ("seed", values) for name, values in quantities.items()}, {"seed": [0, 1, 2]})
    nets = xr.concat([one.expand_dims(net=["convnet"]), (one * np.nan).expand_dims(net=["wide"])], "net")
    nets = nets.assign_coords(parameters=("net", [600, 9000]))
    assert claims_equilibrium._offsets(nets) == (
        " At the highest ELR, range over seeds: 600 weights, 2 seeds: regime 3 8.0 to 8.0 nats, the mean output alone "
        "costs 0.62 of it; the walk 10.0 to 20.0, 0.90 of it."
    )
    assert claims_equilibrium._offsets(nets.isel(net=[1])) == ""


def test_differences_are_taken_over_shared_seeds(planted: xr.Dataset) -> None:
    few = planted.isel(seed=[3, 1])
    a, b = arrays.shared_seeds(planted, few)
    assert a["seed"].values.tolist() == b["seed"].values.tolist() == [1, 3]


def test_equilibration_is_seen_where_it_was_planted(planted: xr.Dataset) -> None:
    found = effects.equalised(planted)
    assert (found["1"] > 0.3).all()
    assert (found["learning"] < 0.15).all()
    assert (found["higher"] > 0).all()


def test_a_regime_that_does_not_show_is_said(planted: xr.Dataset) -> None:
    low = planted.isel(lr=slice(0, 10))
    with pytest.raises(Undetermined, match="0 learning rates lie in regime 2"):
        effects.equalised(low)


def test_neighbours_that_did_not_converge_tell_nothing() -> None:
    alpha = np.linspace(0, 1, 11)
    paths = xr.Dataset({"train_loss": (("pair", "seed", "alpha"), np.tile(2 * alpha * (1 - alpha), (2, 3, 1)))})
    assert checked("TR8", PlantedResults({}, {"neighbour_paths": paths})).verdict == "supported"
    late = paths.copy(deep=True)  # a seed had converged at one pair only, another at none
    late["train_loss"][0, 1] = late["train_loss"][:, 2] = np.nan
    found = checked("TR8", PlantedResults({}, {"neighbour_paths": late}))
    assert (found.headline.seeds, found.headline.asked, found.verdict) == (2, 3, "undetermined")
    assert found.headline.per_seed[:2] == pytest.approx([0.5, 0.5])
    assert "3 of 6" in found.note
    with pytest.raises(Undetermined, match="no two neighbouring ELRs"):
        checked("TR8", PlantedResults({}, {"neighbour_paths": paths.isel(pair=[])}))


def test_lines_are_drawn_between_the_runs_that_converged(planted: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run that ended on a jump takes its own lines away, not those of the other seeds."""
    one = arrays.shown(regimes(planted), "1", least=2)
    result = planted.copy(deep=True)
    result["pretrain/fixed_train_loss"][:] = 1.0
    result["pretrain/fixed_train_loss"][{"lr": one[:3]}] = 0.01
    result["pretrain/fixed_train_loss"][{"lr": one[1], "seed": 2}] = 0.2
    drawn = []

    def between(_trained: Any, a: Any, b: Any, *, test: bool) -> dict[str, Any]:
        drawn.append((a, b))
        return {"train_loss": np.zeros(geometry.POINTS), "train_error": np.zeros(geometry.POINTS)}

    monkeypatch.setattr(geometry, "between", between)
    results = PlantedResults({"convnet": result})
    monkeypatch.setattr(results, "trained", lambda name: SimpleNamespace(state=lambda *, lr, seed: (lr, seed)))
    found = neighbour_paths(results)
    lrs = planted["lr"].values
    assert found["low_lr"].values.tolist() == lrs[one[:2]].tolist()
    assert drawn == [((lrs[one[i]], u), (lrs[one[i + 1]], u)) for i in (0, 1) for u in (0, 1, 3, 4)]
    assert np.isnan(found["train_loss"].values).all(2).tolist() == [[u == 2 for u in range(5)]] * 2


def test_barrier_is_the_rise_above_the_line() -> None:
    alpha = np.linspace(0, 1, 11)
    hill = 2 + alpha + 3 * alpha * (1 - alpha)
    assert effects.barrier(hill) == pytest.approx(0.75)
    assert effects.barrier(2 - alpha) == pytest.approx(0, abs=1e-12)
    assert effects.barrier(2 + alpha - alpha * (1 - alpha)) == pytest.approx(0, abs=1e-12)


def test_second_descent_is_what_falls_after_a_rise(planted: xr.Dataset) -> None:
    shape = planted["pretrain/test_accuracy"].shape
    t = np.linspace(0, 1, shape[-1])
    error = np.interp(t, [0, 0.2, 0.5, 0.7, 1], [0.9, 0.3, 0.45, 0.2, 0.2])
    double = changed(
        planted,
        {
            "pretrain/test_accuracy": (planted["pretrain/test_accuracy"].dims, np.broadcast_to(1 - error, shape)),
        },
    )
    assert effects_settings.second_descent(double) == pytest.approx(0.25, abs=0.02)
    falling = changed(
        planted,
        {
            "pretrain/test_accuracy": (planted["pretrain/test_accuracy"].dims, np.broadcast_to(0.2 + 0.7 * t, shape)),
        },
    )
    assert (effects_settings.second_descent(falling) == 0).all()


@pytest.mark.parametrize("low", [0, 12])
def test_nothing_is_read_at_a_border_that_does_not_show(planted: xr.DataTree, low: int) -> None:
    """Regime 1 alone, or none of it: not the end of the grid instead."""
    part = planted.isel(lr=slice(low, low + 10))
    assert np.isnan(arrays.border(regimes(part), "1|2")), "what is tried"
    assert np.isnan(effects_settings.steepest_rise(part)).all()
    assert np.isnan(effects_settings.best_rates(part, part)["border"]).all()
    if low:
        with pytest.raises(Undetermined, match="0 learning rates lie in regime 1, 1 are needed"):
            effects_settings.peaks(part)
    else:
        found = effects_settings.peaks(part)
        assert np.isnan(found["away"]).all()
        assert np.isfinite(found["height"]).all()
    figure = next(figure for figure in STUDY.figures if figure.number == "6")
    with pytest.raises(Undetermined, match=r"the border .* is undetermined"):
        figure.draw(PlantedResults({"convnet": part}))
    names = ("noise0", "noise20")
    assert the_verdict("TR13", dict.fromkeys(names, part)) == "undetermined"


def the_verdict(claim: str, sweeps: dict[str, xr.DataTree]) -> str:
    try:
        return checked(claim, PlantedResults(sweeps, {})).verdict
    except Undetermined:
        return "undetermined"


def test_a_seed_that_has_nothing_to_read_is_nan(planted: xr.DataTree) -> None:
    """One seed whose runs have no loss below ln C, no accuracy, no test error: nothing is read at the lowest rate instead."""
    names = ("train_loss", "effective_grad_norm", "test_accuracy")
    lost = {}
    for name in names:
        array = planted[f"pretrain/{name}"].copy(deep=True)
        array[{"seed": 0}] = np.nan
        lost[f"pretrain/{name}"] = (array.dims, array.values)
    part = changed(planted, lost)
    for found in (effects_settings.peaks(part), effects_settings.best_rates(part, part)):
        for name, values in found.items():
            assert np.isfinite(values[1:]).all() or name == "two", name  # over the ELRs that all seeds show
            assert np.isnan(values[0]) or name == "border", name
    assert np.isnan(effects_settings.second_descent(part)[:, 0]).all()


def test_roles_of_rates_follow_the_map() -> None:
    known = effects_tuning.Roles(
        plr=np.array([1e-4, 1e-3, 4e-3, 3e-2]), flr=np.array([5e-5, 2e-4, 1e-3, 4e-3, 3e-2]), first=2e-3, second=6e-2
    )
    assert known.pairs("lower") == [(0, 0), (1, 0), (1, 1)]
    assert known.pairs("slightly") == [(0, 1)]
    assert known.pairs("much") == [(0, 2)]
    assert known.pairs("within") == [(2, 4), (3, 3)]
    assert known.pairs("low") == [(2, 0), (2, 1), (2, 2)]
    assert known.pairs("high") == [(3, 0), (3, 1), (3, 2)]
    with pytest.raises(Undetermined, match="'much'"):
        effects_tuning.Roles(plr=np.array([1e-3]), flr=np.array([1e-3]), first=2e-3, second=6e-2).some("much")


@pytest.mark.parametrize(
    ("below", "above", "verdicts"),
    [
        (0.0, 0.3, ["supported", "supported", "supported"]),
        (0.1, 0.3, ["contradicted", "supported", "supported"]),
        (0.0, 0.05, ["supported", "contradicted", "supported"]),
    ],
)
def test_basins_are_told_by_barriers(planted: xr.Dataset, below: float, above: float, verdicts: list[str]) -> None:
    """Fine-tuning with half and with more than eight times the ELR; the latter on the larger ELR's own trajectory."""
    lr = planted["lr"].values
    low = arrays.inside(regimes(planted), "1")[0]
    high = next(k for k, value in enumerate(lr) if value > 8.5 * lr[low])
    assert high in arrays.inside(regimes(planted), "1")
    names = ("train_loss", "effective_grad_norm")
    curves = own(planted, "pretrain")[list(names)].reset_coords(drop=True).isel(lr=[low, high])
    curves = curves.rename(lr="finetune_lr").assign_coords(finetune_lr=[lr[low] / 2, lr[high]])
    tune = with_node(planted.isel(lr=[low]), "finetune", curves.expand_dims(lr=[lr[low]]))
    alpha = np.linspace(0, 1, 11)
    hill = 4 * alpha * (1 - alpha) * np.array([below, above])[:, None]
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal(planted.sizes["seed"])
    paths = (1 + hill[:, None] * noise[:, None])[None]  # [P, F, U, K]
    coords = {"lr": [lr[low]], "finetune_lr": curves["finetune_lr"].values}
    measured = xr.Dataset({"train_loss": (("lr", "finetune_lr", "seed", "alpha"), paths)}, coords)
    found = checked("TR7", PlantedResults({"convnet": planted, "tune_first": tune}, {"tuned_paths": measured}))
    assert [part.verdict for part in found.parts] == verdicts
    assert "nan" not in found.note, "no slightly increased ELR: nothing is said of it"
    assert "seeds" not in found.note
    tune["finetune/train_loss"][:, 1, ..., 0, -1] = 1e3  # a run that ends on a jump never comes down
    found = checked("TR7", PlantedResults({"convnet": planted, "tune_first": tune}, {"tuned_paths": measured}))
    assert np.isnan(found.parts[2].per_seed).sum() == 1
    assert "decades flatter at equal training loss (4 of 5 seeds come down to one)" in found.note
    assert "nan" not in found.note


@pytest.mark.parametrize(("share", "verdict"), [(1.0, "supported"), (0.3, "contradicted")])
def test_levels_inside_regime_two(planted: xr.Dataset, share: float, verdict: str) -> None:
    results = PlantedResults({"convnet": planted, "tune_within": planted_tune(planted, share)})
    results.measurements["data_sizes"] = data_sizes(results, (("convnet", "tune_within"),))
    assert results.measurements["data_sizes"]["up"].values == pytest.approx(np.full((1, 5), share), abs=0.1)
    assert checked("TR10", results).verdict == verdict


def test_levels_that_go_on_falling_are_held_against_later_ones(planted: xr.Dataset) -> None:
    """Going down ends at the new ELR's level, which has come down by a fifth of the way meanwhile."""
    tune = planted_tune(planted, 1.0)
    own = arrays.settled(arrays.per_seed(tune["pretrain/train_loss"]))
    later = own[0] * (own[0] / own[1]) ** 0.2
    ends = tune["finetune/train_loss"].copy(deep=True)
    for p in (0, 1):
        ends[{"lr": p, "finetune_lr": 0}] = np.broadcast_to(later[:, None], ends.shape[2:])
    found = effects_tuning.levels(planted, changed(tune, {"finetune/train_loss": ends}))
    assert found["down"] == pytest.approx(np.full(5, 1.2))
    assert found["down_later"] == pytest.approx(np.ones(5))
    assert found["up"] == pytest.approx(np.ones(5), abs=0.1)


def planted_tune(planted: xr.Dataset, share: float) -> xr.DataTree:
    """Fine-tuning inside regime 2 that goes `share` of the way from the old level to the new one, on a log scale."""
    two = arrays.learning(planted, regimes(planted))
    at = [two[0], two[-1]]
    lrs = planted["lr"].values[at]
    tune = planted.isel(lr=at)
    own = np.log(arrays.settled(arrays.per_seed(tune["pretrain/train_loss"])))
    level = np.exp(own[:, None] + share * (own[None] - own[:, None]))
    rng = np.random.default_rng(0)
    values = level[..., None] * np.exp(0.02 * rng.standard_normal((2, 2, 5, 10)))
    dims = ("lr", "finetune_lr", "data_seed", "seed", "epoch")
    coords = {"finetune_lr": lrs, "epoch": np.arange(1.0, 11)}
    return with_node(tune, "finetune", xr.Dataset({"train_loss": (dims, values[:, :, None])}, coords))


def test_the_same_story_is_told_by_measures_that_agree() -> None:
    rng = np.random.default_rng(0)
    lr, loss = np.array([1e-4, 1e-3, 1e-2]), 10 ** rng.uniform(-2, 0, (3, 4, 5))
    steep = loss**0.7 * (lr[:, None, None] / 1e-3) ** -0.2 * np.exp(0.02 * rng.standard_normal(loss.shape))

    def table(fisher_sign: float) -> xr.Dataset:
        values = {
            "gradient_norm": steep,
            "covariance_trace": steep**2,
            "fisher_trace": loss * lr[:, None, None] ** (0.3 * fisher_sign),
            "hessian_top": steep**1.5,
            "train_loss": loss,
        }
        coords = {"lr": lr, "seed": range(4), "epoch": range(5), "regime": ("lr", ["1", "1", "1"])}
        return xr.Dataset({n: (("lr", "seed", "epoch"), v) for n, v in values.items()}, coords)

    slopes = effects.slopes_at_equal_loss(table(-1))
    assert slopes["gradient_norm"] == pytest.approx(np.full(4, -0.2), abs=0.02)
    assert slopes["fisher_trace"] == pytest.approx(np.full(4, -0.3), abs=1e-6)
    assert checked("TR19", PlantedResults(measurements={"steepness": table(-1)})).verdict == "supported"
    assert checked("TR19", PlantedResults(measurements={"steepness": table(1)})).verdict == "contradicted"


# -- all of it, in small ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    reproduction = Reproduction(STUDY, "smoke", tmp_path_factory.mktemp("studies"), engine=ENGINE, quiet=True)
    reproduction.prepare(part.name for part in reproduction.scale.parts)
    return reproduction


@pytest.mark.slow
def test_every_claim_gets_a_finding_at_smoke_scale(smoke: Reproduction) -> None:
    found = {claim.id: smoke.check(claim) for claim in STUDY.claims}
    assert [claim for claim, finding in found.items() if not finding.note] == []
    for exact in ("TR1", "TR2", "TR3", "TR4"):
        assert found[exact].verdict == "supported", exact


@pytest.mark.slow
def test_every_figure_is_drawn_at_smoke_scale(smoke: Reproduction, tmp_path: Path) -> None:
    for figure in STUDY.figures:
        chart = smoke.chart(figure)
        assert chart.panels, figure.number
        check_drawn(chart)
