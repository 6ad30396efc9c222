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
    KAPPAS,
    SEEDS,
    algorithm,
    algorithms,
    by_name,
    checked,
    minima,
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
    assert [claim.id for claim in STUDY.claims] == [f"LO{i}" for i in range(1, 10)]
    assert [claim.id for claim in STUDY.claims if claim.exploratory] == ["LO8", "LO9"]
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
    without = {"plain", "plain_noise"}
    for together in (without, set(found) - without):
        shared = {(s.config.seeds, s.config.data_seeds, s.config.batch_size) for s in map(found.get, together) if s}
        assert len(shared) == 1
    assert found["large"].task == found["small"].task == found["small_noise"].task
    assert found["plain"].task == found["plain_noise"].task
    same = {key: value for key, value in found["plain"].task.items() if key != "train_size"}
    assert same.items() <= found["small"].task.items(), "but for their number these are the images that get patches"
    assert found["plain_noise"].config.lrs == found["plain"].config.lrs[:1]
    per_epoch = train_size(found["small"]) // found["small"].config.batch_size
    steps = found["small"].config.epochs * per_epoch
    shown = found["small_shown"], found["large_shown"]
    assert all(s.config.steps == steps for s in (*shown, found["unpatched"]))
    assert shown[0].task == shown[1].task
    assert (shown[0].config.lrs, shown[1].config.lrs) == (found["small"].config.lrs, found["large"].config.lrs)
    assert shown[1].config.schedule == found["large"].config.schedule


@pytest.mark.parametrize("scale", STUDY.scales)
def test_the_race_has_the_shares_of_eq_1_1_and_of_assumption_3_3(scale: str) -> None:
    measured = {m.name: dict(m.run.arguments) for m in STUDY.scales[scale].measurements}  # type: ignore[attr-defined]
    setting = measured["race"]["setting"]
    assert setting["p"] == setting["q"] == 0.2
    assert setting["p"] == pytest.approx(setting["dimension"] / setting["examples"] / 2), "kappa^2 / 2"


def test_evidence_is_made_with_fresh_seeds_and_enough_of_them() -> None:
    laptop = STUDY.scales["laptop"]
    assert laptop.first_seed == 14_000, "nobody has looked at runs with these seeds"
    assert min(s.config.seeds * s.config.data_seeds for s in laptop.sweeps) >= 4
    seeds = {m.name: dict(m.run.arguments).get("seeds") for m in laptop.measurements}  # type: ignore[attr-defined]
    assert all(seeds[name] >= 20 for name in ("race", "lemmas", "control", "finite", "minimum"))


def test_costs_know_how_many_images_are_trained_on() -> None:
    found = {sweep.name: sweep for sweep in STUDY.scales["laptop"].sweeps}
    assert train_size(found["unpatched"]) == round(0.2 * train_size(found["small"]))
    assert train_size(found["small_shown"]) == round(0.84 * train_size(found["small"]))


# -- readings ------------------------------------------------------------------------------------------------------------


def test_a_level_is_crossed_between_times() -> None:
    time = np.array([0.0, 10.0, 20.0])
    values = np.array([[3.0, 2.0, 0.0], [3.0, 2.0, 2.0], [0.0, 0.0, 0.0], [np.nan, np.nan, 0.5]])
    found = effects.first_below(time, values, 1.0)
    assert found[:3].tolist() == [15.0, np.inf, 0.0]
    assert np.isnan(found[3]), "nobody knows when"


def test_of_what_is_never_learned_nobody_knows_how_late_it_is() -> None:
    curves = algorithms(L_S=algorithm(p=100.0, q=np.inf, anneal=200.0), S=algorithm(p=np.inf, q=np.inf))
    large, small = effects.race(curves, "L-S"), effects.race(curves, "S")
    assert np.isnan([large.q_after_p, large.q_after_anneal, small.q_after_p]).all()
    assert large.p_after_anneal == pytest.approx(np.full(SEEDS, np.log10(0.5)), abs=0.01)


def test_times_of_planted_curves() -> None:
    found = effects.race(theorem(), "L-S")
    assert found.p.mean() == pytest.approx(200, rel=0.01)
    assert found.q.mean() == pytest.approx(600, rel=0.01)
    assert found.annealed.mean() == pytest.approx(400, rel=0.01)


def test_errors_are_compared_at_equal_loss_seed_by_seed() -> None:
    found = effects.Compared.of(theorem())
    assert found.level == pytest.approx(effects.common_level(theorem()))
    assert found.error_ratio() == pytest.approx(np.full(SEEDS, np.log10(2))), (
        "one number a seed, with a third beside them"
    )
    none = theorem(S={"error": 0.0}, L_S={"error": 0.0})
    assert np.isnan(effects.Compared.of(none).error_ratio()).all(), "without an error there is no ratio"


def test_a_data_set_counts_where_both_have_learned_both_patterns() -> None:
    one = effects.Compared.of(theorem(S={"p": 850.0, "spread": 0.3}))
    assert one.kept.tolist() == [True] * 4 + [False]
    assert np.isnan(one.values("error", "L-S")).tolist() == [False] * 4 + [True], "left out for both"
    one.require_learned()
    two = effects.Compared.of(theorem(L_S={"q": 900.0, "spread": 0.3}))
    with pytest.raises(Undetermined, match="not learned in 2 of 5"):
        two.require_learned()


def test_what_comes_from_examples_with_q() -> None:
    found = effects.Compared.of(theorem(S={"share": 0.3, "along": 0.4}))
    assert found.share_of_m2("S") == pytest.approx(np.full(SEEDS, 0.3))
    assert found.share_along("S") == pytest.approx(np.full(SEEDS, 0.4))


def test_errors_that_are_counted_need_wrong_examples() -> None:
    attrs = {"p": 0.2, "test_examples": 1000}
    assert effects.enough(np.array([0.15, 0.149]), attrs) == pytest.approx([0.15, np.nan], nan_ok=True)


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
    grown = over_dimension(0.0, 0.5, 0.4)
    late = grown["time"] > 500
    grown["curvature"] = xr.where(late, -100.0, grown["curvature"]).transpose(*grown["curvature"].dims)
    assert effects.before_anneal(grown, "curvature").max() < 3, "what comes later does not count"
    assert np.isnan(effects.before_anneal(over_dimension(0.0, 0.5, 0.4, anneal=np.inf), "curvature")).all()
    assert np.isnan(effects.before_anneal(grown.assign(longest=grown["longest"] * 0.3), "curvature")).all()


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
    assert images.place_between(np.array([0.7, 0.795]), low, np.array([0.8, 0.89])) == pytest.approx([0.5, 0.5])
    with pytest.raises(Undetermined, match="not shown"):
        images.place_between(low, low, low + 0.005)


def arm(clean: float, train: float) -> images.Arm:
    return images.Arm.of(swept(clean, train=(train,)), "small rate")


def test_a_run_that_is_merely_unfinished_is_not_held_against_a_rate() -> None:
    for train in (0.995, 0.9):
        assert arm(0.8, 0.9).minus(arm(0.7, train)) == pytest.approx(np.full(SEEDS, 0.1)), (
            "fitted, or as well as the other"
        )
    assert arm(0.7, 0.995).minus(arm(0.8, 1.0)) == pytest.approx(np.full(SEEDS, -0.1))
    with pytest.raises(Undetermined, match=r"small rate: 80\.0% of its training images"):
        arm(0.8, 0.9).minus(arm(0.7, 0.8))


@pytest.mark.parametrize(
    ("kinds", "fitted"),
    [((1.0, 0.995, 0.6), 0.995), ((0.97, 1.0, 0.6), 0.97), ((0.98, np.nan, np.nan), 0.98)],
)
def test_a_training_image_is_one_that_shows_an_image(kinds: tuple[float, ...], fitted: float) -> None:
    found = images.Arm.of(swept(0.7, train=(0.9,), kinds=kinds), "small")
    assert found.images.end == pytest.approx(np.full(SEEDS, fitted)), "without an example of a kind the others count"
    assert found.train.end == pytest.approx(np.full(SEEDS, 0.9), abs=0.01)


def test_what_is_withheld_is_told() -> None:
    found = images.as_read(np.array([1.0, 2.0, 3.0]))
    assert found == {
        "mean": 2.0,
        "low": pytest.approx(-0.484, abs=0.001),
        "high": pytest.approx(4.484, abs=0.001),
        "per_seed": [1, 2, 3],
    }


def test_the_first_epoch_above_a_level() -> None:
    found = images.Curves(np.array([[0.1, 0.4, 0.9], [0.3, 0.8, 0.9]]), np.array([1.0, 2.0, 3.0]))
    assert (images.first_above(found, 0.5), images.first_above(found, 0.95)) == (2.0, np.inf)


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
    never = by_name(lead(steps((1.0, 0.8)), steps((1.0, 0.7)), train=(0.9, 0.99)))
    assert never["large leads at the end"] == never["large leads after the first anneal"] == "contradicted"
    worse = by_name(lead(steps((0.3, 0.7), (1.0, 0.8)), steps((0.3, 0.6), (1.0, 0.85)), train=(0.7, 0.8)))
    assert worse["small fits better just before the anneal"] == "contradicted"
    assert worse["small fits better before the anneal"] == "contradicted"


def test_lo1_of_runs_that_are_not_trained_says_nothing() -> None:
    curves = steps((0.3, 0.7), (1.0, 0.8)), steps((0.3, 0.6), (1.0, 0.85))
    with pytest.raises(Undetermined, match="the large rate fits no 55%"):
        lead(*curves, train=(0.9, 0.5))
    unfinished = by_name(lead(*curves, train=(steps((0.3, 0.9), (1.0, 0.92)), steps((0.3, 0.8), (1.0, 0.99)))))
    assert unfinished["large leads at the end"] == unfinished["large leads after the first anneal"] == "undetermined"
    assert unfinished["small fits better before the anneal"] == "supported"


def test_lo1_without_an_anneal_says_nothing() -> None:
    with pytest.raises(Undetermined, match="not annealed"):
        lead(steps((1.0, 0.7)), steps((1.0, 0.8)), schedule="constant")


def patches(small: np.ndarray, large: np.ndarray, noise: np.ndarray, clean: float = 0.8) -> Any:
    rows = {"large": (large, ANNEALED), "small": (small, {"schedule": "constant"}), "small_noise": (noise, NOISY)}
    return checked("LO2", PlantedResults({name: swept(clean, patch=p, **how) for name, (p, how) in rows.items()}))


AT_ONCE, AFTER, NEVER = steps((0.1, 0.2), (1.0, 0.95)), steps((0.5, 0.2), (1.0, 0.95)), steps((1.0, 0.2))
BEFORE, DRIFT = steps((0.3, 0.2), (1.0, 0.95)), steps((0.5, 0.2), (0.8, 0.3), (1.0, 0.95))


def test_lo2_patches() -> None:
    assert patches(AT_ONCE, AFTER, AFTER).verdict == "supported"
    assert by_name(patches(AFTER, AFTER, AFTER))["small rate early on"] == "contradicted"
    too_early = by_name(patches(AT_ONCE, BEFORE, AFTER))
    assert too_early["large rate just before the anneal"] == "contradicted"
    assert too_early["small rate with noise just before the anneal"] == "supported"
    assert by_name(patches(AT_ONCE, AFTER, NEVER))["small rate with noise at the end"] == "contradicted"
    with pytest.raises(Undetermined, match="no method"):
        patches(NEVER, NEVER, NEVER)


def test_lo2_asks_for_a_rise_at_the_anneal() -> None:
    drifting = by_name(patches(AT_ONCE, DRIFT, AFTER))
    assert drifting["large rate, rise at the anneal"] == "contradicted"
    assert drifting["large rate at the end"] == drifting["large rate just before the anneal"] == "supported"
    assert drifting["small rate with noise, rise at the anneal"] == "supported"


def test_lo2_says_nothing_of_runs_that_learned_no_images_first() -> None:
    found = patches(AT_ONCE, AFTER, AFTER, clean=0.5)
    assert found.verdict == "undetermined"
    assert by_name(found)["large rate just before the anneal"] == "undetermined"
    assert by_name(found)["small rate early on"] == "supported"


def test_lo2_half_way_is_to_what_can_be_reached() -> None:
    """A pattern alone is scaled by a factor from 0 on, so not all can be told."""
    low = [0.6 / 0.95 * curve for curve in (AT_ONCE, AFTER)]
    found = patches(low[0], low[1], low[1])
    assert found.parts[0].above == pytest.approx((0.6 + 0.1) / 2)
    assert found.verdict == "supported"


def test_lo2_says_what_came_first() -> None:
    late = steps((0.25, 0.2), (1.0, 0.95))
    note = patches(late, NEVER, AT_ONCE).note
    assert "every 1 epochs" in note
    assert "small rate: images by epoch 1, patches 10 epochs later" in note
    assert "large rate: patches never half-way" in note
    swapped = {
        name: swept(steps((0.5, 0.2), (1.0, 0.8)), patch=steps((1.0, 0.95)), **ANNEALED)
        for name in ("large", "small_noise")
    }
    both = checked("LO2", PlantedResults(swapped | {"small": swept(0.8, patch=0.95, schedule="constant")})).note
    assert "large rate: patches by epoch 1, images 20 epochs later" in both
    assert "small rate: both by epoch 1, in which the order cannot be seen" in both


SOUND = {"large": 0.82, "small": 0.70, "large_shown": 0.85, "small_shown": 0.82, "unpatched": 0.69}


def suffers(train: dict[str, float] | None = None, spread: float = 0.005, **ends: float) -> Any:
    fitted = dict.fromkeys(SOUND, 1.0) | (train or {})
    sweeps = {name: swept(v, patch=0.5, train=(fitted[name],), spread=spread) for name, v in (SOUND | ends).items()}
    return checked("LO3", PlantedResults(sweeps))


PLACE = "place between unpatched and shown images"


def test_lo3_clean_accuracy() -> None:
    assert suffers().verdict == "supported"
    assert by_name(suffers(large=0.6))["large minus small rate"] == "contradicted"
    assert by_name(suffers(small_shown=0.65))["small rate: harm of the patches"] == "contradicted"
    assert by_name(suffers(large=0.72))["harm of the patches: small minus large rate"] == "contradicted"
    assert by_name(suffers(small=0.80))[PLACE] == "contradicted", "nearer to all that show an image"
    assert by_name(suffers(small=0.40))[PLACE] == "contradicted", "much worse than the unpatched alone"
    assert by_name(suffers(unpatched=0.815))[PLACE] == "undetermined", "nothing lies between them"


@pytest.mark.parametrize(
    ("unfinished", "parts"),
    [
        ("small", 4),
        ("large", 1),
        ("unpatched", 1),
    ],
)
def test_lo3_says_nothing_of_unfinished_runs(unfinished: str, parts: int) -> None:
    found = by_name(suffers(train={unfinished: 0.9}))
    assert sum(verdict == "undetermined" for verdict in found.values()) == parts
    assert set(found.values()) <= {"undetermined", "supported"}


def test_lo3_asks_images_and_not_patches_alone() -> None:
    def kinds(*small: float) -> Any:
        fitted = {"large": (1.0, 1.0, 0.97), "small": small, "large_shown": (1.0, np.nan, np.nan)}
        sweeps = {
            name: swept(v, patch=0.5, train=(0.98,), kinds=fitted.get(name, (1.0, 1.0, 0.9)))
            for name, v in SOUND.items()
        }
        return checked("LO3", PlantedResults(sweeps))

    assert kinds(1.0, 1.0, 0.9).verdict == "supported"
    unfinished = kinds(1.0, 0.9, 1.0)
    assert set(by_name(unfinished).values()) == {"undetermined"}
    read = unfinished.numbers["as_read"]
    assert read["large minus small"]["per_seed"] == pytest.approx([0.12] * SEEDS)
    assert read["place"]["mean"] == pytest.approx(1 / 13)
    assert unfinished.numbers["images_fitted"]["small"] == pytest.approx(0.9)
    assert (
        "large minus small +12.00 [12.00, 12.00], harm to small +12.00 [12.00, 12.00], to small minus to large +9.00"
        in unfinished.note
    )


def repairs(gain: float, patched: float, spread: float = 0.005, harm: float = 0.05, fitted: float = 1.0) -> Any:
    rows = {"large": 0.85, "small": 0.7, "small_noise": 0.7 + patched}
    sweeps = {name: swept(v, patch=0.5, spread=spread) for name, v in rows.items()}
    plain = swept(0.8, 0.8 + harm, spread=spread, train=(fitted, 1.0))
    both = {"plain": plain, "plain_noise": swept(0.8 + gain, spread=spread, train=(1.0,))}
    return checked("LO4", PlantedResults(sweeps | both))


WITHOUT = "images without patches: with noise minus without"


def test_lo4_noise_repairs() -> None:
    found = repairs(0.047, 0.1)
    assert found.verdict == "supported"
    assert found.numbers["repaired"] == pytest.approx([0.94, 0.1 / 0.15])
    assert repairs(-0.02, 0.1).verdict == "contradicted"
    assert repairs(0.02, -0.05).verdict == "supported", "what the paper states no number of is reported"
    assert by_name(repairs(0.02, -0.05))["images with patches: with noise minus without"] == "reported"


def test_lo4_without_harm_or_unfinished_says_nothing() -> None:
    assert repairs(0.02, 0.1, harm=-0.02).verdict == "undetermined"
    assert repairs(0.02, 0.1, fitted=0.9).verdict == "undetermined"


def test_lo4_says_what_stopped_it() -> None:
    def why(found: Any) -> str:
        return str(found.parts[0].note)

    none, unfinished = repairs(0.02, 0.1, harm=-0.02), repairs(0.02, 0.1, fitted=0.9)
    assert "by -2.00 points [-2.00, -2.00], is not shown to be above" in why(none)
    assert why(unfinished).startswith("whether there is harm cannot be said: small: 90.0% of its training images")
    for found in (none, unfinished):
        assert "noise without patches +2.00 [2.00, 2.00]" in found.note
        assert found.numbers["as_read"]["noise with patches"]["mean"] == pytest.approx(0.1)


def test_lo4_of_unlike_seeds_is_inconclusive() -> None:
    noisy = swept(0.81, train=(1.0,), spread=0.1)
    sweeps = {"plain": swept(0.8, 0.85, train=(1.0, 1.0)), "plain_noise": noisy}
    sweeps |= {name: swept(0.7, patch=0.5) for name in ("large", "small", "small_noise")}
    assert checked("LO4", PlantedResults(sweeps)).verdict == "inconclusive"


# -- LO5 to LO9 ----------------------------------------------------------------------------------------------------------


def order(race: xr.Dataset | None = None) -> Any:
    race = theorem() if race is None else race
    return checked("LO5", PlantedResults({}, {"race": race, "lemmas": over_dimension(-0.5, 0.5, 0.4)}))


def powers(scaling: xr.Dataset, lemmas: xr.Dataset | None = None) -> Any:
    lemmas = over_dimension(0.0, 0.5, 0.4) if lemmas is None else lemmas
    return checked("LO9", PlantedResults({}, {"scaling": scaling, "lemmas": lemmas}))


def test_lo5_as_the_theorems_have_it() -> None:
    found = order()
    assert found.verdict == "supported"
    assert {part.asked for part in found.parts} == {SEEDS}


def values(found: Any) -> list[float]:
    return [part.value for part in found.parts]


def test_lo9_reads_powers_and_judges_nothing() -> None:
    found = powers(over_kappa(1.0, 1.5), over_dimension(0.0, 0.5, 0.4, error_of_small=0.3))
    assert values(found) == pytest.approx([1.0, 1.5, -1.0, 0.3], abs=0.01)
    assert {part.asked for part in found.parts} == {SEEDS}
    assert next(claim for claim in STUDY.claims if claim.id == "LO9").exploratory
    by_kappa = {f"{kappa:.3g}": 2**0.5 / kappa for kappa in KAPPAS}
    assert found.numbers["ratios_by_kappa"] == pytest.approx(by_kappa, rel=0.01)


def test_lo9_says_at_how_many_kappa_the_losses_are_small() -> None:
    assert "At 4 of 4 values" in powers(over_kappa(1.0, 1.5, S={"fitted": 250.0})).note
    few = powers(over_kappa(1.0, 1.5, S={"fitted": 300.0}))
    assert "At 3 of 4 values" in few.note, "not at the smallest p"
    assert values(few)[:2] == pytest.approx([1.0, 1.5], abs=0.01), "what is reported is read at any loss"
    assert few.numbers["levels_asked"] == pytest.approx([0.1 * np.log(2)] * 2 + [np.log(2) / 16, np.log(2) / 32])


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"L_S": {"q": 100.0}}, "L-S: Q after P"),
        ({"L_S": {"p": 500.0}}, "L-S: P after the anneal"),
        ({"L_S": {"q": 300.0}}, "L-S: Q after the anneal"),
        ({"S": {"p": 50.0}}, "S: P after Q"),
        ({"S": {"error": 0.005}}, "S over L-S"),
    ],
)
def test_lo5_each_part_can_be_contradicted(changes: dict[str, dict[str, float]], part: str) -> None:
    found = order(theorem(**changes))
    assert by_name(found)[part] == "contradicted"
    assert found.verdict == "contradicted"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"S": {"share": 0.8}}, "S: what W has from examples with Q"),
        ({"S": {"along": 0.8}}, "S: the same along w*"),
        ({"L_S": {"share": 0.3}}, "L-S: what W has from examples with Q"),
        ({"L_S": {"along": 0.3}}, "L-S: the same along w*"),
    ],
)
def test_lo5_a_part_beyond_one_half_supports_and_contradicts_nothing(
    changes: dict[str, dict[str, float]], part: str
) -> None:
    found = order(theorem(**changes))
    assert by_name(found)[part] == "inconclusive"
    assert found.verdict == "inconclusive"


def test_lo5_reports_s_minus_l_s_and_judges_it_not() -> None:
    found = order(theorem(S={"share": 0.45, "along": 0.48}, L_S={"share": 0.6, "along": 0.55}))
    parts = {part.name: part for part in found.parts if part.name.startswith("S minus L-S")}
    assert [part.value for part in parts.values()] == pytest.approx([-0.15, -0.07])
    assert {part.verdict for part in parts.values()} == {"reported"}
    assert found.numbers["errors_on_p"] == pytest.approx({"S": 0.02, "L-S": 0.01})
    assert "0 of the square along w*, all examples alike 0.9; S has 0.48, L-S 0.55." in found.note


def test_lo5_reports_what_comes_from_examples_with_q_over_d() -> None:
    curves = over_dimension(-0.5, 0.5, 0.4)
    found = order().numbers["shares_by_dimension"]
    assert set(found) == {"S", "S along w*", "L-S", "L-S along w*"}
    assert list(map(float, found["S"])) == pytest.approx(curves["dimension"].values)
    smallest = effects.Compared.of(curves.isel(dimension=0))
    assert next(iter(found["S"].values())) == pytest.approx(smallest.share_of_m2("S").mean())
    assert next(iter(found["L-S along w*"].values())) == pytest.approx(smallest.share_along("L-S").mean())


TIMES_OF = ("L-S: Q after P", "L-S: P after the anneal", "L-S: Q after the anneal", "S: P after Q")


def test_lo5_says_nothing_where_patterns_are_never_learned() -> None:
    never = {"p": np.inf, "q": np.inf, "anneal": np.inf}
    found = by_name(order(theorem(L_S=never, S=never)))
    for name in (*TIMES_OF, "S over L-S", "S: what W has from examples with Q"):
        assert found[name] == "undetermined"
    assert np.isnan(values(powers(over_kappa(1.0, 1.5, S={"p": np.inf})))[:3]).all()
    of_large = by_name(order(theorem(L_S={"q": np.inf})))
    assert of_large["L-S: Q after P"] == of_large["S over L-S"] == "undetermined", "Q is never learned after P"


def test_lo5_compares_at_losses_of_which_the_theorems_speak() -> None:
    high = {"fitted": 1000.0}
    found = by_name(order(theorem(L_S=high)))
    assert found["S over L-S"] == found["L-S: the same along w*"] == "undetermined"
    assert {found[name] for name in TIMES_OF} == {"supported"}


def test_notes_say_no_nan() -> None:
    never = {"S": {"p": np.inf}, "L_S": {"p": np.inf}}
    assert "nan" not in powers(over_kappa(1.0, 1.5, **never)).note
    assert "nan" not in order(theorem(**never)).note


def lemmas(curves: xr.Dataset, noise: float = 1.0) -> Any:
    drawn = models(theorem(L_S={"noise": noise}), theorem()).assign_attrs(weight_decay=1e-3)
    return checked("LO6", PlantedResults({}, {"lemmas": curves, "finite": drawn}))


def test_lo6_quantities_within_their_bounds() -> None:
    assert lemmas(over_dimension(-0.5, 0.5, 0.4)).verdict == "supported"
    assert by_name(lemmas(over_dimension(0.1, 0.5, 0.4)))["curvature before the anneal (4.2)"] == "contradicted"
    assert by_name(lemmas(over_dimension(-0.5, 0.8, 0.4)))["squared signal at the anneal (4.1)"] == "contradicted"


def of_tilde() -> float:
    """15/32, and what one log d adds to it over the planted dimensions."""
    d = over_dimension(-0.5, 0.5, 0.4)["dimension"].values.astype(float)
    return float(15 / 32 + np.log(np.log(d[-1]) / np.log(d[0])) / np.log(d[-1] / d[0]))


@pytest.mark.parametrize(("off", "verdict"), [(-0.02, "inconclusive"), (0.02, "contradicted")])
def test_lo6_the_trivial_power_is_not_allowed(off: float, verdict: str) -> None:
    power = of_tilde() + off
    found = by_name(lemmas(over_dimension(-0.5, power + 0.03, power)))
    assert found["W's signal from examples with Q under S (5.2)"] == verdict
    assert found["the same under L-S, minus that"] == "supported"
    assert by_name(lemmas(over_dimension(-0.5, 0.3, 0.4)))["the same under L-S, minus that"] == "contradicted"


def test_lo6_says_which_powers_do_not_contradict_the_lemma() -> None:
    assert f"a power between 1/2 and {of_tilde():.2f} is inconclusive" in lemmas(over_dimension(-0.5, 0.5, 0.4)).note


def test_lo6_reports_powers_from_each_d_to_the_next() -> None:
    d = np.array([[1.0], [10.0], [100.0]])
    bent = effects.local_powers(d[:, 0], np.array([[1.0, 2.0], [10.0, 20.0], [10.0, 20.0]]))
    assert bent == pytest.approx([1.0, 0.0])
    found = lemmas(over_dimension(-0.5, 0.5, 0.4))
    assert found.numbers["local_powers"]["signal from examples with Q"] == pytest.approx([0.4] * 4)
    assert "curvature -0.50, -0.50, -0.50, -0.50; squared signal 1.0" in found.note


def test_lo6_needs_a_control_and_the_lemmas_own_times() -> None:
    name = "curvature before the anneal (4.2)"
    assert by_name(lemmas(over_dimension(-0.5, 0.5, 0.4, of_small=-0.5)))[name] == "undetermined"
    assert by_name(lemmas(over_dimension(-0.5, 0.5, 0.4, anneal=np.inf)))[name] == "undetermined"
    late = by_name(lemmas(over_dimension(-0.5, 0.5, 0.4, longest=300.0)))
    assert late[name] == late["squared signal at the anneal (4.1)"] == "undetermined"


def test_lo6_reports_the_noise_part() -> None:
    found = lemmas(over_dimension(-0.5, 0.5, 0.4), noise=1.02)
    assert found.verdict == "supported", "it is a check, and judges nothing"
    assert found.parts[-1].verdict == "reported"
    assert found.parts[-1].value == pytest.approx(0.02), "until the anneal; later it is half of it"
    at_anneal = {"L-S": np.exp(-0.2), "S": 1.0, "exp(-lambda T)": np.exp(-0.4)}
    assert found.numbers["noise_kept_at_anneal"] == pytest.approx(at_anneal, rel=0.01)


def test_lo6_of_a_noise_part_that_is_never_annealed_nothing_is_known() -> None:
    never = models(theorem(L_S={"anneal": np.inf}), theorem()).sel(model="network")
    assert np.isnan(effects.noise_before_anneal(never)).all()
    assert np.isnan(effects.noise_at_anneal(never, "L-S")).all()


def convex(effect: float, spread: float = 0.0) -> xr.Dataset:
    """Curves whose errors on P differ by so many decades, more or less by seed."""
    found = theorem()
    error = found["error_p"] * 0 + 0.01
    by_seed = 10 ** (effect + spread * np.linspace(-1, 1, SEEDS))
    error.loc[{"algorithm": "S"}] = (0.01 * by_seed)[:, None]
    return found.assign(error_p=error, error_p_signal=error)


def control(network: float = 0.2, finite: xr.Dataset | None = None, **how: float) -> Any:
    small = models(convex(0.2), convex(0.0) if finite is None else finite)
    measured = {"control": models(convex(network), convex(0.0)), "finite": small, "minimum": minima(**how)}
    return checked("LO7", PlantedResults({}, measured))


MINIMUM = "convex, several histories to the minimum"


def test_lo7_no_effect_where_the_loss_is_convex() -> None:
    found = control()
    assert found.verdict == "supported"
    assert by_name(found)["convex, infinite width (a check)"] == "reported"


def test_lo7_histories_that_end_apart_contradict() -> None:
    assert by_name(control(convex=0.05))[MINIMUM] == "contradicted"
    assert by_name(control(gradient=1e-3))[MINIMUM] == "undetermined", "no minimum is reached"
    assert by_name(control(error=0.01))[MINIMUM] == "undetermined", "8 wrong examples"


@pytest.mark.parametrize("effect", [0.1, -0.1])
def test_lo7_an_effect_of_either_sign_contradicts(effect: float) -> None:
    assert by_name(control(finite=convex(effect)))["convex, finite width, signal part"] == "contradicted"


def test_lo7_seeds_that_scatter_say_nothing() -> None:
    """No effect that is significant is not the same as no effect."""
    assert by_name(control(finite=convex(0.0, spread=0.3)))["convex, finite width, signal part"] == "undetermined"
    assert by_name(control(finite=convex(0.04, spread=0.03)))["convex, finite width, signal part"] == "inconclusive"


def test_lo7_is_asked_of_the_signal_part() -> None:
    """The noise part has an output of its own, which L-S keeps."""
    noisy = convex(-0.2).assign(error_p_signal=convex(0.0)["error_p"])
    found = control(finite=noisy)
    assert found.verdict == "supported"
    reported = {part.name: part for part in found.parts if part.verdict == "reported"}
    assert reported["convex, finite width, with the noise"].value == pytest.approx(-0.2)
    assert reported["network minus convex, finite width, signal part"].value == pytest.approx(0.2)
    assert reported["network minus convex, finite width, with the noise"].value == pytest.approx(0.4)
    hidden = convex(0.0).assign(error_p_signal=convex(0.2)["error_p"])
    assert control(finite=hidden).verdict == "contradicted"


def test_lo7_is_undetermined_where_the_network_shows_no_effect_either() -> None:
    found = control(network=0.1)
    assert by_name(found)["network, infinite width"] == "undetermined"
    assert found.verdict == "undetermined"
    assert control(network=0.1, convex=0.05).verdict == "contradicted"


def test_lo8_is_reported_against_the_small_rate() -> None:
    found = checked("LO8", PlantedResults({}, {"race": theorem(S_noise={"error": 0.002})}))
    assert found.parts[0].value == pytest.approx(np.log10(3), abs=0.01)
    assert found.parts[1].value == pytest.approx(1.0, abs=0.01)
    assert found.parts[2].value == pytest.approx(np.log10(0.2), abs=0.01)
    assert found.parts[3].value > 0.6, "Q is hardly learned when the noise goes"


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
