"""The study three_regimes: its declarations, its readings of results with planted effects, and all of it at smoke scale."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

import fake_results
from chart_examples import check_drawn
from fake_results import fake_result
from lrscope.config import EngineConfig, SweepConfig
from lrscope.engine.segments import phases
from lrscope.mapping import regimes
from lrscope.measures import geometry
from lrscope.studies import arrays, costs, registry
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.three_regimes import (
    STUDY,
    claims_sphere,
    claims_tuning,
    effects,
    effects_settings,
    effects_tuning,
    sweeps,
)
from lrscope.studies.three_regimes.measurement_functions import neighbour_paths
from lrscope.studies.verdicts import Undetermined
from planted_study import PlantedResults, checked, verdicts
from trees import changed

NOISY_BORDERS = (3.6e-3, 8e-2)  # a pilot's, seeds 0 to 2
ENGINE = EngineConfig(jobs=1, path="batched", chunk=33, compile=False)  # no plan to choose: as quick as eager steps are


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
    trend = ("walk_8", "walk_16", "wide")
    assert names["paper"] == [name for name in sweeps.ABOUT if name not in trend], "the paper's networks are wide"
    laptop = {sweep.name: sweep for sweep in STUDY.scales["laptop"].sweeps}
    assert all(sweep.config.seeds * sweep.config.data_seeds >= 3 for sweep in laptop.values())
    assert len(laptop["resnet"].config.lrs) <= 12
    for name, borders in {"convnet": (3.5e-3,), "resnet": (3.5e-3, 3.5e-2), "mlp": (1e-2, 1e-1)}.items():
        steps = np.diff(np.log10(laptop[name].config.lrs))[np.searchsorted(laptop[name].config.lrs, borders) - 1]
        assert steps.max() < 0.2, "or TR5 could not be contradicted there"
    assert laptop["augmented"].config.lrs == laptop["width_usual"].config.lrs == laptop["width_small"].config.lrs
    wide, usual = (laptop[name].config.lrs for name in ("width_large", "width_usual"))
    assert set(wide) < set(usual)
    assert wide[0] * 10**0.6 < 1e-2 < 1e-1 < wide[-1] / 10**0.6, "three cells beyond its borders"
    for net in claims_tuning.NETS:
        _check_rates(net, {name: sweep.config for name, sweep in laptop.items()})


def _check_rates(net: claims_tuning.Net, configs: dict[str, SweepConfig]) -> None:
    """What the criteria of TR7, TR10 and TR11 speak of is trained, around the borders that runs before gave."""
    first, second = {"convnet": (3.5e-3, 1.01 * 1.3e-2), "noisy": NOISY_BORDERS}[net.base]
    for kind, name in (("lower", net.lower), ("much", net.larger), ("within", net.within), ("down", net.down)):
        tune = configs[name]
        known = effects_tuning.Roles(np.array(tune.lrs), np.array(tune.finetune_lrs), first=first, second=second)
        assert known.pairs(kind), (net.name, kind)
    tune, scratch = configs[net.down], configs[net.scratch]
    known = effects_tuning.Roles(np.array(tune.lrs), np.array(tune.finetune_lrs), first=first, second=second)
    assert {p for p, _ in known.down(0)} != {p for p, _ in known.down(-1)}
    for rate in (known.flr[f] for _, f in known.down(0)):
        assert np.isclose(scratch.lrs, rate, rtol=effects_tuning.SAME).any(), (net.name, rate)


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


@pytest.mark.slow
def test_widths_are_decades_between_borders(planted: xr.DataTree) -> None:
    true = np.log10(fake_results.BORDERS["2|3"] / fake_results.BORDERS["1|2"])
    assert arrays.widths(planted) == pytest.approx(np.full(5, true), abs=0.35)
    assert (arrays.widths(without(planted, "2")) == 0).all(), "regimes 1 and 3, and nothing between them"


@pytest.mark.slow
def test_a_width_is_known_to_both_steps_in_which_borders_lie(planted: xr.DataTree) -> None:
    step = arrays.cell(planted["lr"].values)
    assert arrays.width_cell(planted) == pytest.approx(2 * step)
    far = planted.isel(lr=[0, 2, 4, *range(6, 24)])  # coarse where no border lies
    assert arrays.width_cell(far) == pytest.approx(2 * step)
    assert arrays.width_cell(planted.isel(lr=slice(0, 10))) == pytest.approx(2 * step)
    one = planted.isel(lr=[*arrays.inside(regimes(planted), "1"), 13, *arrays.inside(regimes(planted), "3")])
    (part, *_) = checked("TR5", PlantedResults(dict.fromkeys(claims_sphere.NETS, one))).parts
    assert part.low < 0.2, "one ELR of regime 2 in every seed tells no width"
    assert part.verdict == "inconclusive"


def without(planted: xr.DataTree, regime: str) -> xr.DataTree:
    """The same grid without the learning rates of a regime."""
    found = arrays.labels(regimes(planted))
    return planted.isel(lr=[k for k, label in enumerate(found) if label != regime])


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["1", "3"])
def test_a_border_beyond_the_grid_is_undetermined_and_never_contradicts(planted: xr.DataTree, regime: str) -> None:
    part = without(planted, regime)
    assert np.isnan(arrays.widths(part)).all()
    assert checked("TR17", PlantedResults({"whole": part})).parts[0].verdict == "undetermined"
    assert checked("TR5", PlantedResults(dict.fromkeys(claims_sphere.NETS, part))).verdict == "undetermined"
    assert checked("TR20", PlantedResults({"transformer": without(planted, "1")})).parts[0].verdict == "undetermined"


@pytest.mark.slow
def test_three_regimes_are_found_in_planted_ones(planted: xr.DataTree) -> None:
    results = PlantedResults(dict.fromkeys(claims_sphere.NETS, planted))
    assert checked("TR5", results).verdict == "supported"
    none = without(planted, "2")
    results.sweeps["mlp"] = none
    assert checked("TR5", results).verdict == "inconclusive", "there may be one where the grid has a gap"
    results.sweeps["mlp"] = changed(none, {"lr": 1e-4 * 1.5 ** np.arange(none.sizes["lr"])})
    assert checked("TR5", results).verdict == "contradicted"


def test_running_medians_pass_over_what_is_missing() -> None:
    values = np.array([[0.2, 0.9, 0.2, 0.3, 0.3, 0.8], [0.1, np.nan, np.nan, np.nan, 0.4, 0.6]])
    found = arrays.running_median(values, 3)
    assert found[0] == pytest.approx([0.9, 0.2, 0.3, 0.3, 0.3, 0.3])
    assert found[1] == pytest.approx([0.1, 0.1, np.nan, 0.4, 0.5, 0.4], nan_ok=True)


def test_differences_are_taken_over_shared_seeds(planted: xr.Dataset) -> None:
    few = planted.isel(seed=[3, 1])
    a, b = arrays.shared_seeds(planted, few)
    assert a["seed"].values.tolist() == b["seed"].values.tolist() == [1, 3]
    with pytest.raises(Undetermined, match="share no seed"):
        arrays.shared_seeds(few, planted.isel(seed=[0, 2]))


def test_differences_are_taken_over_shared_draws_of_the_data() -> None:
    """The runs on the same examples are held against each other, not those at the same place."""
    many = fake_result(lrs=6, seeds=1, data_seeds=3, epochs=20, finetune=False, average=False, features=False)
    a, b = arrays.shared_seeds(many, many.isel(data_seed=[2, 0]))
    assert a["data_seed"].values.tolist() == b["data_seed"].values.tolist() == [0, 2]
    assert arrays.logged(a, "train_loss") == pytest.approx(arrays.logged(b, "train_loss"))
    with pytest.raises(Undetermined, match="share no draw of the data"):
        arrays.shared_seeds(many.isel(data_seed=[0, 1]), many.isel(data_seed=[2]))


@pytest.mark.parametrize("names", [("noise0", "noise20"), ("long", "tune"), ("converged",), ("constant", "cosine")])
def test_where_test_error_decides_every_run_has_a_draw_of_its_own(names: tuple[str, ...]) -> None:
    """Seeds on one draw of the training images share what it does. What is compared has the same draws."""
    found = [sweep.config for sweep in STUDY.scales["laptop"].sweeps if sweep.name in names]
    assert len(found) == len(names)
    assert {config.seeds for config in found} == {1}
    assert min(config.data_seeds for config in found) >= 4
    assert len({(config.data_seeds, config.first_data_seed) for config in found}) == 1


def test_the_transformer_is_trained_past_the_peak_and_logged_densely() -> None:
    sweep = next(sweep for sweep in STUDY.scales["laptop"].sweeps if sweep.name == "transformer")
    config = sweep.config
    assert len(config.lrs) >= 12
    assert config.lrs[0] < 0.02 < 0.41 < config.lrs[-3], "around the border and the end of learning of runs before"
    per_epoch = costs.train_size(sweep) // config.batch_size
    assert config.steps is not None
    assert config.steps >= 60 * per_epoch
    (phase,) = phases(config, per_epoch)
    ends = np.diff((0, *phase.windows))
    assert len(phase.windows) >= 120
    assert (ends[:-1] == per_epoch // 2).all(), "evenly, or running medians would weigh some times more"
    assert config.data_seeds >= 3, "for an interval"


def test_regime_one_slopes_are_the_planted_ones(planted: xr.Dataset) -> None:
    found = effects.faster_flatter_better(planted)
    assert found["flatter"] == pytest.approx(np.full(5, 0.3), abs=0.12)  # sharpness ~ lr^-0.3 at equal loss
    assert found["faster"] == pytest.approx(np.full(5, 1.0), abs=0.15)  # steps ~ 1 / lr
    steep = planted["pretrain/effective_grad_norm"] * planted["lr"] ** 0.6
    reversed_lr = changed(planted, {"pretrain/effective_grad_norm": steep})
    assert effects.faster_flatter_better(reversed_lr)["flatter"].max() < 0
    results = PlantedResults({"converged": reversed_lr, "convnet": planted})
    assert checked("TR6", results).verdict == "contradicted"


@pytest.mark.parametrize(("low", "verdict"), [(0.0, "supported"), (-0.3, "contradicted"), (0.3, "contradicted")])
def test_the_lowest_rates_coincide_where_the_highest_do_not(planted: xr.DataTree, low: float, verdict: str) -> None:
    """A slope that is the same over all ELRs is none that vanishes at the lowest ones."""
    begun = arrays.inside(regimes(planted), "1")[-6:]  # these pass the same losses
    planted = planted.isel(lr=slice(begun[0], None))
    one, lr, loss = arrays.inside(regimes(planted), "1"), planted["lr"], planted["pretrain/train_loss"]
    knee = np.log10(lr.values[one[len(one) // 2]])
    x = np.log10(lr) - knee
    steep = 10 ** (0.7 * np.log10(loss) - 0.3 * x.clip(min=0) + low * x.clip(max=0))
    bent = changed(planted, {"pretrain/effective_grad_norm": steep.transpose(*loss.dims)})
    found = verdicts("TR6", PlantedResults({"converged": planted, "convnet": bent}))
    assert found["lowest ELRs apart over half of the slope at the highest"] == verdict


def test_runs_that_have_not_converged_say_nothing_of_solutions(planted: xr.Dataset) -> None:
    """Seed 0 stays above the loss at which regime 1 is read; the others count."""
    loss = planted["pretrain/train_loss"].copy(deep=True)
    loss[{"seed": 0}] = np.maximum(loss[{"seed": 0}], 1.5 * effects.CONVERGED)
    found = effects.faster_flatter_better(changed(planted, {"pretrain/train_loss": loss}))
    for name, values in found.items():
        assert np.isnan(values[0]), name
        assert np.isfinite(values[1:]).all(), name
    far = changed(planted, {"pretrain/train_loss": planted["pretrain/train_loss"] + effects.CONVERGED})
    parts = checked("TR6", PlantedResults({"converged": far, "convnet": planted})).parts
    assert [part.verdict for part in parts[:3]] == ["undetermined"] * 3


def test_bursts_of_single_intervals_do_not_reach_the_test_error(planted: xr.Dataset) -> None:
    """Test error falls by two points per decade; where a run passes the level one interval is ten points worse."""
    accuracy, lr = planted["pretrain/test_accuracy"], np.log10(planted["lr"])
    calm = (xr.zeros_like(accuracy) + 0.8 + 0.02 * lr).transpose(*accuracy.dims)
    burst = calm.copy(deep=True)
    loss = arrays.per_seed(planted["pretrain/train_loss"])
    for k in arrays.inside(regimes(planted), "1")[-3:-1]:
        for s in range(5):
            burst[{"lr": k, "seed": s, "epoch": int((loss[k, s] <= effects.CONVERGED).argmax())}] -= 0.1
    for shown in (calm, burst):
        found = effects.faster_flatter_better(changed(planted, {"pretrain/test_accuracy": shown}))
        assert found["better"] == pytest.approx(np.full(5, 0.02), abs=1e-6)


def test_equilibration_is_seen_where_it_was_planted(planted: xr.Dataset) -> None:
    found = effects.equalised(planted)
    assert (found["1"] > 0.3).all()
    assert (found["learning"] < 0.15).all()
    assert (found["higher"] > 0).all()


def test_bursts_do_not_reach_the_sharpness_of_an_equilibrium(planted: xr.DataTree) -> None:
    """Three windows of the last fifth are a thousand times as sharp at the highest ELRs: the median stays."""
    steep = planted["pretrain/effective_grad_norm"].copy(deep=True)
    steep[{"lr": slice(13, None), "epoch": slice(-3, None)}] *= 1e3
    found = effects.equalised(changed(planted, {"pretrain/effective_grad_norm": steep}))
    assert found["flatter"] == pytest.approx(effects.equalised(planted)["flatter"], abs=0.1)


def test_more_equal_is_not_equal(planted: xr.DataTree) -> None:
    """ESS that differ by a factor of 1.5 in regime 2 and by more elsewhere; each seed by its own map."""
    ess = planted["pretrain/group_ess"].copy(deep=True)
    two = arrays.inside(regimes(planted), "2")
    ess[{"lr": two}] = ess[{"lr": two}].mean("group") * xr.DataArray([1.0, 1.2, 1.5], dims="group")
    apart = changed(planted, {"pretrain/group_ess": ess.transpose(*planted["pretrain/group_ess"].dims)})
    found = verdicts("TR9", PlantedResults({"convnet": planted, "noisy": apart}))
    assert found["equal in regime 2, ConvNet"] == "supported"
    assert found["equal in regime 2, MLP, 20% label noise"] == "contradicted"
    loss = planted["pretrain/train_loss"].copy(deep=True)
    loss[{"seed": 0}] = loss[{"seed": 0}].isel(lr=0)  # a seed that shows regime 1 only
    seen = effects.equalised(changed(planted, {"pretrain/train_loss": loss}))
    assert all(np.isnan(values).tolist() == [True, *[False] * 4] for values in seen.values())


@pytest.mark.parametrize(("regime", "other"), [("1", "3"), ("3", "1")])
def test_what_counts_as_equal_in_regime_two_is_not_unequal_elsewhere(
    planted: xr.DataTree, regime: str, other: str
) -> None:
    """ESS that differ by a factor of 1.1 in one regime, which is more than in regime 2, and by 1.5 in the other."""
    factors = xr.DataArray(np.ones((24, 3)), dims=("lr", "group"))
    for name, last in ((regime, 1.1), (other, 1.5)):
        factors[{"lr": arrays.inside(regimes(planted), name)}] = np.array([1.0, 1.0, last])
    mean = planted["pretrain/group_ess"].mean("group") * factors
    ess = mean.transpose(*planted["pretrain/group_ess"].dims)
    result = changed(planted, {"pretrain/group_ess": ess})
    found = verdicts("TR9", PlantedResults({"convnet": result, "noisy": planted.isel(lr=slice(0, 10))}))
    assert found[f"not equal in regime {regime}, ConvNet"] == "contradicted"
    assert found[f"not equal in regime {other}, ConvNet"] == found["equal in regime 2, ConvNet"] == "supported"
    assert {verdict for name, verdict in found.items() if name.endswith("noise")} == {"undetermined"}


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
    """One run that ended on a jump takes its own lines away, not those of the other seeds; data seeds are told apart."""
    one = arrays.shown(regimes(planted), "1", least=2)
    result = planted.copy(deep=True)
    result["pretrain/fixed_train_loss"][:] = 1.0
    result["pretrain/fixed_train_loss"][{"lr": one[:3]}] = 0.01
    result["pretrain/fixed_train_loss"][{"lr": one[1], "seed": 2}] = 0.2
    drawn = []

    def between(_trained: Any, a: Any, b: Any, *, data_seed: int, test: bool) -> dict[str, Any]:
        drawn.append((a, b))
        return {"train_loss": np.zeros(geometry.POINTS), "train_error": np.zeros(geometry.POINTS)}

    monkeypatch.setattr(geometry, "between", between)
    results = PlantedResults({"long": result})
    state = SimpleNamespace(state=lambda *, lr, seed, data_seed: (lr, data_seed, seed))
    monkeypatch.setattr(results, "trained", lambda name: state)
    found = neighbour_paths(results)
    lrs = planted["lr"].values
    assert found["low_lr"].values.tolist() == lrs[one[:2]].tolist()
    assert drawn == [((lrs[one[i]], 0, u), (lrs[one[i + 1]], 0, u)) for i in (0, 1) for u in (0, 1, 3, 4)]
    assert np.isnan(found["train_loss"].values).all(2).tolist() == [[u == 2 for u in range(5)]] * 2


def test_barrier_is_the_rise_above_the_line() -> None:
    alpha = np.linspace(0, 1, 11)
    hill = 2 + alpha + 3 * alpha * (1 - alpha)
    assert effects.barrier(hill) == pytest.approx(0.75)
    assert effects.barrier(2 - alpha) == pytest.approx(0, abs=1e-12)
    assert effects.barrier(2 + alpha - alpha * (1 - alpha)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("low", [0, 12])
def test_nothing_is_read_at_a_border_that_does_not_show(planted: xr.DataTree, low: int) -> None:
    """Regime 1 alone, or none of it: not the end of the grid instead."""
    part = planted.isel(lr=slice(low, low + 10))
    assert np.isnan(arrays.border(regimes(part), "1|2")), "what is tried"
    assert np.isnan(effects_settings.steepest_rise(part)).all()
    figure = next(figure for figure in STUDY.figures if figure.number == "6")
    with pytest.raises(Undetermined, match=r"the border .* is undetermined"):
        figure.draw(PlantedResults({"noisy": part}))


def measured(rng: np.random.Generator, *, fisher: float = -0.3, curved: float = 0.0, faster: float = 1.0) -> xr.Dataset:
    """Three ELRs along training, the loss of higher ones lower by `faster` decades per decade at each moment; measures follow the
    loss, by `curved` bent, and ELRs by a slope of -0.2 (the Fisher trace `fisher`) per decade."""
    lr, times = np.array([1e-4, 1e-3, 1e-2]), np.linspace(0, -2.5, 8)
    x = (times - faster * (np.log10(lr)[:, None] + 3))[:, None] + 0 * np.zeros((3, 4, 1))
    noise = 0.01 * rng.standard_normal(x.shape)
    steep = 0.7 * x - curved * x**2 - 0.2 * (np.log10(lr)[:, None, None] + 3) + noise
    values = {
        "gradient_norm": 10**steep,
        "covariance_trace": 10 ** (2 * steep),
        "fisher_trace": 10 ** (x - curved * x**2 + fisher * (np.log10(lr)[:, None, None] + 3)),
        "hessian_top": 10 ** (1.5 * steep),
        "train_loss": 10**x,
    }
    coords = {"lr": lr, "seed": range(4), "epoch": range(8), "regime": ("lr", ["1", "1", "1"])}
    return xr.Dataset({n: (("lr", "seed", "epoch"), v) for n, v in values.items()}, coords)


@pytest.mark.parametrize("curved", [0.0, 0.1])
def test_the_same_story_is_told_by_measures_that_agree(curved: float) -> None:
    """Also where measures are no power of the loss, and ELRs and losses go together: neither is taken for a slope."""
    rng = np.random.default_rng(0)
    slopes = effects.slopes_at_equal_loss(measured(rng, curved=curved))
    assert slopes["gradient_norm"] == pytest.approx(np.full(4, -0.2), abs=0.03)
    assert slopes["fisher_trace"] == pytest.approx(np.full(4, -0.3), abs=0.03)
    flat = effects.slopes_at_equal_loss(measured(rng, curved=curved, fisher=0.0))
    assert flat["fisher_trace"] == pytest.approx(np.zeros(4), abs=0.03)
    assert checked("TR19", PlantedResults(measurements={"steepness": measured(rng)})).verdict == "supported"
    against = measured(rng, fisher=0.3)
    assert checked("TR19", PlantedResults(measurements={"steepness": against})).verdict == "contradicted"
    apart = measured(rng)
    noise = np.exp(
        2 * rng.standard_normal(apart["train_loss"].shape)
    )  # heavy tails: no square of the mean norm any more
    apart["covariance_trace"] = apart["covariance_trace"] * noise
    found = checked("TR19", PlantedResults(measurements={"steepness": apart})).parts[-1]
    assert found.verdict == "contradicted", "though both fall with the loss by two decades"


def test_runs_that_share_no_loss_after_the_peak_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    assert np.isnan(effects.slopes_at_equal_loss(measured(rng, faster=3.0))["hessian_top"]).all()
    found = measured(rng)
    found["hessian_top"][:, 1] = 1 / found["hessian_top"][:, 1]  # it only climbs: at its peak in the end
    assert np.isnan(effects.slopes_at_equal_loss(found)["hessian_top"]).tolist() == [False, True, False, False]


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
