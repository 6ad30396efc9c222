"""The study learning_order: its declarations, and its claims on results with planted effects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from chart_examples import check_drawn
from lrscope.config import EngineConfig
from lrscope.studies import registry
from lrscope.studies.costs import train_size
from lrscope.studies.dependencies import figures_at
from lrscope.studies.learning_order import STUDY
from lrscope.studies.learning_order import effects_images as images
from lrscope.studies.learning_order import effects_theory as effects
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.verdicts import Undetermined
from planted_order import (
    SEEDS,
    TIMES,
    algorithm,
    algorithms,
    by_name,
    checked,
    models,
    over_dimension,
    over_kappa,
    steps,
    swept,
    theorem,
)
from planted_results import PlantedResults

ANNEALED = {"schedule": "step:0.04@0.5"}
NOISY = {"schedule": "constant", "noise_schedule": "step:1e-5@0.5"}
FALLING = {"schedule": "step:0.2@0.3,0.6,0.75"}


# -- declarations --------------------------------------------------------------------------------------------------------


def test_the_study_is_in_the_table_with_all_claims() -> None:
    assert registry.study("learning_order") is STUDY
    assert [claim.id for claim in STUDY.claims] == [f"LO{i}" for i in range(1, 9)]
    assert [claim.id for claim in STUDY.claims if claim.exploratory] == ["LO8"]
    shown = {figure for claim in STUDY.claims for figure in claim.figures}
    assert shown == {figure.number for figure in STUDY.figures}, "every figure bears on a claim"


def test_the_papers_numbers_are_in_the_paper_scale() -> None:
    """Sec. 6, App. H and the public code."""
    found = {sweep.name: sweep for sweep in STUDY.scales["paper"].sweeps}
    for sweep in found.values():
        config, task = sweep.config, sweep.task
        assert (task["data"], task["model"], task["width"]) == ("cifar10", "wideresnet16", 10)
        assert (config.momentum, config.nesterov, config.weight_decay, config.batch_size) == (0.9, True, 5e-4, 128)
        assert config.space == "whole"
        assert not config.augment
    large, small, noise, plain = (found[name].config for name in ("large", "small", "small_noise", "plain"))
    assert (large.lrs, large.epochs, large.schedule) == ((0.1,), 60, "step:0.04@0.5")
    assert (small.lrs, small.epochs, small.schedule, small.activation_noise) == ((0.004,), 60, "constant", 0)
    assert (noise.activation_noise, noise.noise_schedule, noise.noise_before) == (0.4, "step:1e-5@0.5", "ReLU")
    assert (plain.lrs, plain.epochs, plain.schedule) == ((0.01, 0.1), 200, "step:0.2@0.3,0.6,0.75")


@pytest.mark.parametrize("scale", STUDY.scales)
def test_runs_that_are_compared_differ_in_what_is_compared_alone(scale: str) -> None:
    found = {sweep.name: sweep for sweep in STUDY.scales[scale].sweeps}
    assert len({(s.config.seeds, s.config.data_seeds, s.config.batch_size) for s in found.values()}) == 1
    assert found["large"].task == found["small"].task == found["small_noise"].task
    assert found["plain"].task == found["small_full"].task == found["plain_noise"].task
    assert found["plain_noise"].config.lrs == found["plain"].config.lrs[:1]
    per_epoch = train_size(found["small"]) // found["small"].config.batch_size
    assert found["unpatched"].config.steps == found["small"].config.epochs * per_epoch
    theory = {m.name: dict(m.run.arguments) for m in STUDY.scales[scale].measurements}  # type: ignore[attr-defined]
    assert theory["shares"]["setting"]["p"] == theory["shares"]["setting"]["q"] == 0.2, "eq. 1.1"


def test_evidence_is_made_with_fresh_seeds_and_enough_of_them() -> None:
    laptop = STUDY.scales["laptop"]
    assert laptop.first_seed == 1000
    assert min(s.config.seeds * s.config.data_seeds for s in laptop.sweeps) >= 3
    seeds = {m.name: dict(m.run.arguments).get("seeds") for m in laptop.measurements}  # type: ignore[attr-defined]
    assert all(seeds[name] >= 20 for name in ("race", "shares", "scaling", "lemmas", "control", "finite"))


def test_costs_know_how_many_images_stay_unpatched() -> None:
    found = {sweep.name: sweep for sweep in STUDY.scales["laptop"].sweeps}
    assert train_size(found["unpatched"]) == round(0.2 * train_size(found["small"]))


# -- readings ------------------------------------------------------------------------------------------------------------


def test_a_level_is_crossed_between_times() -> None:
    time = np.array([0.0, 10.0, 20.0])
    values = np.array([[3.0, 2.0, 0.0], [3.0, 2.0, 2.0], [0.0, 0.0, 0.0], [np.nan, np.nan, 0.5]])
    found = effects.first_below(time, values, 1.0)
    assert found[:3].tolist() == [15.0, np.inf, 0.0]
    assert np.isnan(found[3]), "nobody knows when"


def test_what_is_not_learned_counts_as_the_end() -> None:
    curves = algorithms(L_S=algorithm(p=100.0, q=np.inf, anneal=200.0), S=algorithm(p=np.inf, q=np.inf))
    large, small = effects.race(curves, "L-S"), effects.race(curves, "S")
    assert large.q_after_p == pytest.approx(np.log10(1000 / large.p))
    assert np.isnan(large.q_after_anneal).all(), "what is never learned is not learned after anything"
    assert np.isnan(small.q_after_p).all()


def test_times_of_planted_curves() -> None:
    found = effects.race(theorem(), "L-S")
    assert found.p.mean() == pytest.approx(200, rel=0.01)
    assert found.q.mean() == pytest.approx(600, rel=0.01)
    assert found.annealed.mean() == pytest.approx(400, rel=0.01)


def test_errors_are_compared_at_equal_loss_seed_by_seed() -> None:
    curves = theorem()
    level = effects.common_level(curves)
    ratio = effects.error_ratio(curves, level)
    assert ratio == pytest.approx(np.full(SEEDS, np.log10(2))), "one number a seed, with a third algorithm beside them"
    none = curves.assign(error_p=xr.zeros_like(curves["error_p"]))
    assert np.isnan(effects.error_ratio(none, level)).all(), "without an error there is no ratio"


def test_the_common_level_is_one_that_all_reach() -> None:
    curves = algorithms(L_S=algorithm(p=1.0, q=1.0, fitted=200.0), S=algorithm(p=1.0, q=1.0, fitted=800.0))
    assert effects.common_level(curves) == pytest.approx(1.05 * np.log(2) * np.exp(-1000 / 800))


def test_powers_are_read_from_three_sizes_on() -> None:
    sizes = np.array([1.0, 10.0, 100.0])
    values = np.stack([sizes**1.5, 3 * sizes**-2.0], 1)
    assert effects.exponents(sizes, values) == pytest.approx([1.5, -2.0])
    values[0, 0] = np.nan
    values[1, 1] = 0.0
    assert np.isnan(effects.exponents(sizes, values)).all()


def test_what_is_read_before_the_anneal() -> None:
    grown = theorem()
    late = grown["time"] > 500
    grown["curvature"] = xr.where(late, -100.0, grown["curvature"]).transpose(*grown["curvature"].dims)
    assert effects.before_anneal(grown, "curvature").max() < 3, "what comes later does not count"
    never = theorem(L_S={"anneal": np.inf})
    assert np.isnan(effects.before_anneal(never, "curvature")).all()
    assert np.isnan(effects.last_before_anneal(never, "noise_std")).all()
    rising = grown.assign(noise_std=xr.zeros_like(grown["noise_std"]) + grown["time"])
    last = effects.last_before_anneal(rising, "noise_std")
    step = TIMES[1]
    assert ((last < 400 * 1.03) & (last > 400 * 0.97 - step)).all()


def test_accuracies_are_read_in_their_stretch_of_training() -> None:
    found = images.Curves(np.array([[0.1, 0.2, 0.3, 0.4]]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.mean(1, 3) == pytest.approx([0.25])
    assert np.isnan(found.mean(4, 5)).all()
    assert found.end == pytest.approx([0.4])
    lost = images.Curves(np.array([[0.1, np.nan]]), np.array([1.0, 2.0]))
    assert np.isnan(lost.end).all(), "a run that overflowed has no accuracy"


def test_anneals_of_rates_and_of_noise() -> None:
    assert images.anneals(swept(0.5, **FALLING)) == pytest.approx([12, 24, 30])
    assert images.anneals(swept(0.5, **NOISY)) == pytest.approx([20])
    assert images.anneals(swept(0.5, schedule="constant")) == []


def test_places_between_references() -> None:
    low, high = np.array([0.6, 0.7]), np.array([0.8, 0.9])
    assert images.place_between(np.array([0.6, 0.8]), low, high) == pytest.approx([0.0, 0.5])
    assert np.isnan(images.place_between(low, low, low + 0.005)).all()


# -- LO1 to LO4 ----------------------------------------------------------------------------------------------------------


def lead(small: np.ndarray, large: np.ndarray, train: tuple[Any, Any] = (0.9, 0.8), **how: Any) -> Any:
    return checked("LO1", PlantedResults({"plain": swept(small, large, train=train, **{**FALLING, **how})}))


def test_lo1_small_leads_then_large() -> None:
    found = lead(steps((0.3, 0.7), (1.0, 0.8)), steps((0.3, 0.6), (1.0, 0.85)))
    assert found.verdict == "supported"
    always = lead(steps((1.0, 0.7)), steps((1.0, 0.8)))
    assert by_name(always)["small leads before the anneal"] == "contradicted"
    early = by_name(lead(steps((0.2, 0.8), (1.0, 0.7)), steps((0.2, 0.5), (1.0, 0.75))))
    assert early["small leads before the anneal"] == "supported"
    assert early["small leads just before the anneal"] == "contradicted", "a lead that is lost before the anneal"
    never = by_name(lead(steps((1.0, 0.8)), steps((1.0, 0.7))))
    assert never["large leads at the end"] == never["large leads after the first anneal"] == "contradicted"
    worse = by_name(lead(steps((0.3, 0.7), (1.0, 0.8)), steps((0.3, 0.6), (1.0, 0.85)), train=(0.7, 0.8)))
    assert worse["small fits better just before the anneal"] == "contradicted"


def test_lo1_without_an_anneal_says_nothing() -> None:
    with pytest.raises(Undetermined, match="not annealed"):
        lead(steps((1.0, 0.7)), steps((1.0, 0.8)), schedule="constant")


def patches(small: np.ndarray, large: np.ndarray, noise: np.ndarray) -> Any:
    rows = {"large": (large, ANNEALED), "small": (small, {"schedule": "constant"}), "small_noise": (noise, NOISY)}
    return checked("LO2", PlantedResults({name: swept(0.5, patch=p, **how) for name, (p, how) in rows.items()}))


AT_ONCE, AFTER, NEVER = steps((0.1, 0.2), (1.0, 0.95)), steps((0.5, 0.2), (1.0, 0.95)), steps((1.0, 0.2))
BEFORE = steps((0.3, 0.2), (1.0, 0.95))


def test_lo2_patches() -> None:
    assert patches(AT_ONCE, AFTER, AFTER).verdict == "supported"
    assert by_name(patches(AFTER, AFTER, AFTER))["small rate early on"] == "contradicted"
    too_early = by_name(patches(AT_ONCE, BEFORE, AFTER))
    assert too_early["large rate just before the anneal"] == "contradicted"
    assert too_early["small rate with noise just before the anneal"] == "supported"
    assert by_name(patches(AT_ONCE, AFTER, NEVER))["small rate with noise at the end"] == "contradicted"
    with pytest.raises(Undetermined, match="no method"):
        patches(NEVER, NEVER, NEVER)


def suffers(large: float, small: float, full: float, unpatched: float, spread: float = 0.005) -> Any:
    ends = {"large": large, "small": small, "small_full": full, "unpatched": unpatched}
    return checked("LO3", PlantedResults({name: swept(v, patch=0.5, spread=spread) for name, v in ends.items()}))


def test_lo3_clean_accuracy() -> None:
    place = "place between the unpatched images alone and all images"
    assert suffers(0.85, 0.70, 0.83, 0.69).verdict == "supported"
    assert by_name(suffers(0.70, 0.80, 0.83, 0.69))["large minus small rate"] == "contradicted"
    assert by_name(suffers(0.85, 0.84, 0.83, 0.69))["small rate: without patches minus with them"] == "contradicted"
    assert by_name(suffers(0.85, 0.80, 0.83, 0.69))[place] == "contradicted", "nearer to all images"
    assert by_name(suffers(0.85, 0.40, 0.83, 0.69))[place] == "contradicted", "much worse than the unpatched alone"
    assert by_name(suffers(0.85, 0.70, 0.705, 0.70))[place] == "undetermined", "nothing lies between them"


def repairs(gain: float, patched: float, spread: float = 0.005) -> Any:
    rows = {"large": 0.85, "small": 0.7, "small_noise": 0.7 + patched}
    sweeps = {name: swept(v, patch=0.5, spread=spread) for name, v in rows.items()}
    both = {"plain": swept(0.8, 0.85, spread=spread), "plain_noise": swept(0.8 + gain, spread=spread)}
    return checked("LO4", PlantedResults(sweeps | both))


def test_lo4_noise_repairs() -> None:
    assert repairs(0.047, 0.1).verdict == "supported"
    assert repairs(-0.02, 0.1).verdict == "contradicted"
    assert repairs(0.02, -0.05).verdict == "contradicted"


def test_lo4_of_unlike_seeds_is_inconclusive() -> None:
    noisy = swept(0.81, spread=0.1)
    sweeps = {"plain": swept(0.8, 0.85), "plain_noise": noisy}
    sweeps |= {name: swept(0.7, patch=0.5) for name in ("large", "small", "small_noise")}
    assert checked("LO4", PlantedResults(sweeps)).verdict == "inconclusive"


# -- LO5 to LO8 ----------------------------------------------------------------------------------------------------------


def order(race: xr.Dataset | None = None, scaling: xr.Dataset | None = None) -> Any:
    race = theorem() if race is None else race
    scaling = over_kappa(1.0, 1.5) if scaling is None else scaling
    return checked("LO5", PlantedResults({}, {"race": race, "shares": theorem(), "scaling": scaling}))


def test_lo5_as_the_theorems_have_it() -> None:
    found = order()
    assert found.verdict == "supported"
    assert {part.asked for part in found.parts} == {SEEDS}
    assert found.numbers["exponents"] == pytest.approx({"S": 1.0, "L-S": 1.5}, abs=0.01)
    by_kappa = {f"{kappa:g}": 2**0.5 / kappa for kappa in (0.25, 0.5, 0.7)}
    assert found.numbers["ratios_by_kappa"] == pytest.approx(by_kappa, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"L_S": {"q": 100.0}}, "L-S: Q after P"),
        ({"L_S": {"p": 500.0}}, "L-S: P after the anneal"),
        ({"L_S": {"q": 300.0}}, "L-S: Q after the anneal"),
        ({"S": {"p": 50.0}}, "S: P after Q"),
        ({"S": {"share": 0.8}}, "S: what W has from examples with Q"),
        ({"L_S": {"share": 0.3}}, "L-S: what W has from examples with Q"),
        ({"S": {"error": 0.005}}, "S over L-S"),
    ],
)
def test_lo5_each_part_can_be_contradicted(changes: dict[str, dict[str, float]], part: str) -> None:
    found = order(theorem(**changes))
    assert by_name(found)[part] == "contradicted"
    assert found.verdict == "contradicted"


@pytest.mark.parametrize(
    ("small", "large", "verdicts"),
    [
        (1.5, 1.5, ("contradicted", "supported")),
        (1.0, 1.0, ("supported", "contradicted")),
        (0.5, 2.5, ("contradicted", "contradicted")),
    ],
)
def test_lo5_asks_for_the_papers_exponents(small: float, large: float, verdicts: tuple[str, str]) -> None:
    found = by_name(order(scaling=over_kappa(small, large)))
    assert (found["S: error like p"], found["L-S: error like p kappa"]) == verdicts


def test_lo5_says_nothing_where_patterns_are_never_learned() -> None:
    never = {"p": np.inf, "q": np.inf, "anneal": np.inf}
    found = by_name(order(theorem(L_S=never, S=never), over_kappa(1.0, 1.5, S={"p": np.inf})))
    for name in ("L-S: Q after P", "L-S: P after the anneal", "L-S: Q after the anneal", "S: P after Q"):
        assert found[name] == "undetermined"
    assert found["S: error like p"] == "undetermined", "the examples with P alone are not learned"
    assert found["L-S: error like p kappa"] == "supported"


def test_notes_say_no_nan() -> None:
    found = order(scaling=over_kappa(1.0, 1.5, S={"p": np.inf}, L_S={"p": np.inf}))
    assert "nan" not in found.note
    assert "undetermined" in found.note


def lemmas(curves: xr.Dataset, noise: float = 1.0) -> Any:
    finite = models(theorem(L_S={"noise": noise}), theorem())
    return checked("LO6", PlantedResults({}, {"lemmas": curves, "finite": finite}))


def test_lo6_quantities_within_their_bounds() -> None:
    assert lemmas(over_dimension(-0.5, 0.5, 0.4)).verdict == "supported"
    assert by_name(lemmas(over_dimension(0.1, 0.5, 0.4)))["curvature before the anneal (4.2)"] == "contradicted"
    assert by_name(lemmas(over_dimension(-0.5, 0.8, 0.4)))["squared signal at the anneal (4.1)"] == "contradicted"
    faster = by_name(lemmas(over_dimension(-0.5, 0.5, 0.8)))
    assert faster["W's signal from examples with Q under S (5.2)"] == "contradicted"


def test_lo6_noise_that_grows_contradicts() -> None:
    finite = "noise at the anneal over initialisation (3.3), finite width"
    assert by_name(lemmas(over_dimension(-0.5, 0.5, 0.4), noise=1.05))[finite] == "contradicted"
    infinite = "noise before the anneal (3.4), infinite width"
    assert by_name(lemmas(over_dimension(-0.5, 0.5, 0.4, noise=1.0001)))[infinite] == "contradicted"


def test_lo6_without_an_anneal_is_undetermined() -> None:
    found = by_name(lemmas(over_dimension(-0.5, 0.5, 0.4, anneal=np.inf)))
    assert found["curvature before the anneal (4.2)"] == "undetermined"


def convex(effect: float, spread: float = 0.0) -> xr.Dataset:
    """Curves whose errors on P differ by so many decades, more or less by seed."""
    found = theorem()
    error = found["error_p"] * 0 + 0.01
    by_seed = 10 ** (effect + spread * np.linspace(-1, 1, SEEDS))
    error.loc[{"algorithm": "S"}] = (0.01 * by_seed)[:, None]
    return found.assign(error_p=error)


def control(of_convex: xr.Dataset, network: float = 0.2, finite: xr.Dataset | None = None) -> Any:
    small = models(convex(0.2), convex(0.0) if finite is None else finite)
    return checked("LO7", PlantedResults({}, {"control": models(convex(network), of_convex), "finite": small}))


def test_lo7_no_effect_where_the_loss_is_convex() -> None:
    assert control(convex(0.0)).verdict == "supported"


@pytest.mark.parametrize("effect", [0.1, -0.1])
def test_lo7_an_effect_of_either_sign_contradicts(effect: float) -> None:
    assert by_name(control(convex(effect)))["convex, infinite width"] == "contradicted"
    assert by_name(control(convex(0.0), finite=convex(effect)))["convex, finite width"] == "contradicted"


def test_lo7_seeds_that_scatter_support_nothing() -> None:
    """No effect that is significant is not the same as no effect."""
    found = control(convex(0.0, spread=0.1), finite=convex(0.0, spread=0.3))
    assert by_name(found)["convex, infinite width"] == "inconclusive"
    assert by_name(found)["convex, finite width"] == "inconclusive"
    assert found.verdict == "inconclusive"


def test_lo7_is_undetermined_where_the_network_shows_no_effect_either() -> None:
    found = control(convex(0.0), network=0.01)
    assert by_name(found)["network, infinite width"] == "undetermined"
    assert found.verdict == "undetermined"
    assert control(convex(0.1), network=0.01).verdict == "contradicted"


def test_lo8_is_reported_against_the_small_rate() -> None:
    found = checked("LO8", PlantedResults({}, {"race": theorem(S_noise={"error": 0.002})}))
    assert found.parts[0].value == pytest.approx(np.log10(3), abs=0.01)
    assert found.parts[1].value == pytest.approx(1.0, abs=0.01)


# -- end to end ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_smoke_runs_from_end_to_end(tmp_path: Path) -> None:
    """Every claim is judged by its criterion and every figure is drawn."""
    reproduction = Reproduction(STUDY, "smoke", tmp_path, engine=EngineConfig(jobs=1), quiet=True)
    scale = STUDY.scales["smoke"]
    reproduction.prepare([part.name for part in scale.parts])
    for claim in STUDY.claims:
        found = reproduction.check(claim)
        assert "nan" not in found.note
        assert all(part.asked in (0, 3) for part in found.parts), claim.id
    for figure in figures_at(STUDY, "smoke"):
        check_drawn(reproduction.chart(figure))
