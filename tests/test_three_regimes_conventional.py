"""TR18 and TR20 on planted results: where learning ends, and which learning rates generalise best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import xarray as xr

from fake_results import BORDERS, fake_result
from lrscope.charts import Border, Panel
from lrscope.mapping import regimes
from lrscope.studies import arrays
from lrscope.studies.three_regimes import STUDY, effects_conventional
from planted_study import PlantedResults, checked, part_verdicts
from test_three_regimes_peak import PASSES, STOPS
from trees import changed

FIRST, SECOND = np.log10(BORDERS["1|2"]), np.log10(BORDERS["2|3"])
LRS, SEEDS, BROKEN = 33, 4, 4


def planted(broken: int, *, seeds: int = SEEDS, data_seeds: int = 1) -> xr.DataTree:
    """Regimes 1 and 2, dead networks, overflow at the `broken` highest learning rates; gradient norms pass a peak below the
    border 1|2 and stop at it above."""
    made = fake_result(
        lrs=LRS,
        seeds=seeds,
        data_seeds=data_seeds,
        epochs=40,
        finetune=False,
        average=False,
        features=False,
        invariant=False,
        space="whole",
        nonfinite_lrs=broken,
    )
    return with_sharpness(made, np.where((np.log10(made["lr"].values) < FIRST)[:, None], PASSES, STOPS))


def with_sharpness(result: xr.DataTree, logs: np.ndarray) -> xr.DataTree:
    """The result with log10 gradient norms [L, W] along training, and weights of norm 1."""
    steep, norms = (result[f"pretrain/{name}"].copy(deep=True) for name in ("grad_norm", "group_norm"))
    steep[:] = np.where(np.isfinite(steep), 10 ** logs[:, None, None], np.nan)
    norms[:] = np.where(np.isfinite(norms), 1.0, np.nan)
    return changed(result, {"pretrain/grad_norm": steep, "pretrain/group_norm": norms})


@pytest.fixture(scope="module")
def result() -> xr.DataTree:
    return planted(BROKEN)


def with_errors(result: xr.DataTree, best: float, slope: float = 0.05) -> xr.DataTree:
    """Test errors that rise with the distance in decades from the learning rate 10**best."""
    error = 0.2 + slope * np.abs(np.log10(result["lr"].values) - best)
    accuracy = result["pretrain/test_accuracy"].copy(deep=True)
    noise = 0.001 * np.random.default_rng(0).standard_normal(accuracy.shape)
    accuracy[:] = np.where(np.isfinite(accuracy), 1 - error[:, None, None, None] + noise, np.nan)
    return changed(result, {"pretrain/test_accuracy": accuracy})


def test_regime_two_ends_where_networks_die(result: xr.DataTree) -> None:
    living = effects_conventional.alive(result)
    assert np.log10(effects_conventional.top(result, living)) == pytest.approx(np.full(SEEDS, SECOND), abs=0.13)
    part = result.isel(lr=slice(0, 20))
    assert np.isnan(effects_conventional.top(part, effects_conventional.alive(part))).all(), "the grid ends in regime 2"


def test_dead_networks_on_unequal_classes_do_not_learn(result: xr.DataTree) -> None:
    """They predict the most frequent class, which a map by accuracy takes for learning: the loss tells."""
    dead = [k for k, lr in enumerate(np.log10(result["lr"].values)) if lr > SECOND][:-BROKEN]
    accuracy, loss = (result[f"pretrain/{name}"].copy(deep=True) for name in ("train_accuracy", "train_loss"))
    accuracy[{"lr": dead}], loss[{"lr": dead}] = 0.56, np.log(2) * 1.01
    part = changed(result, {"pretrain/train_accuracy": accuracy, "pretrain/train_loss": loss})
    assert "2" in {arrays.labels(regimes(part))[k] for k in dead}, "what is tried"
    assert (effects_conventional.alive(part) == effects_conventional.alive(result)).all()


def test_the_best_rates_are_held_against_their_neighbourhoods(result: xr.DataTree) -> None:
    at_top, medium = with_errors(result, FIRST - 0.25), with_errors(result, FIRST + 0.2)
    assert part_verdicts("TR18", constant=at_top, cosine=medium) == ["supported"] * 8
    low, high = with_errors(result, FIRST - 1.0), with_errors(result, SECOND)
    assert part_verdicts("TR18", constant=low, cosine=low)[4:] == ["contradicted", "supported"] * 2
    assert part_verdicts("TR18", constant=high, cosine=high)[4:] == ["supported", "contradicted"] * 2


def test_without_a_border_nothing_is_held_against_the_claim(result: xr.DataTree) -> None:
    low, high = result.isel(lr=slice(0, 10)), result.isel(lr=slice(18, None))
    assert part_verdicts("TR18", constant=low, cosine=low) == ["undetermined"] * 8
    assert part_verdicts("TR18", constant=high, cosine=high) == ["undetermined", "supported", *["undetermined"] * 6]


def test_stretches_that_the_grid_cuts_off_are_undetermined(result: xr.DataTree) -> None:
    """Down to half a decade below the border, where the next half decade begins."""
    whole = with_errors(result, FIRST - 0.25)
    part = whole.isel(lr=slice(int((np.log10(whole["lr"].values) < FIRST - 0.6).sum()), None))
    found = part_verdicts("TR18", constant=part, cosine=whole)
    assert (found[0], *found[4:6]) == ("supported", "undetermined", "supported")


def test_a_conventional_network_without_regime_two_contradicts(result: xr.DataTree) -> None:
    """All that learn pass the peak, up to where networks die; a single learning rate that is stuck leaves it open."""
    always = with_sharpness(result, np.tile(PASSES, (LRS, 1)))
    assert part_verdicts("TR18", constant=always, cosine=always)[0] == "contradicted"
    last = int((np.log10(result["lr"].values) < SECOND).sum()) - 1
    once = with_sharpness(result, np.where((np.arange(LRS) < last)[:, None], PASSES, STOPS))
    assert part_verdicts("TR18", constant=once, cosine=once)[0] == "inconclusive"


def test_runs_that_never_climb_are_not_stuck_where_it_is_sharp(result: xr.DataTree) -> None:
    flat = np.full(len(PASSES), PASSES[-1] - 0.3)
    assert stuck(result, flat) == ["contradicted", "contradicted"]


def stuck(result: xr.DataTree, *above: np.ndarray) -> list[str]:
    """The verdicts on curves of log10 sharpness in the half decade above the border, and on others in the rest of regime 2."""
    place = np.log10(result["lr"].values)
    near, far = above[0], above[-1]
    logs = np.where((place < FIRST)[:, None], PASSES, np.where((place < FIRST + 0.5)[:, None], near, far))
    part = with_sharpness(result, logs)
    found = part_verdicts("TR18", constant=part, cosine=part)
    assert found[:2] == ["supported"] * 2, "what is tried"
    return found[2:4]


def test_runs_are_stuck_at_the_peak_if_they_climbed_to_it_and_are_there(result: xr.DataTree) -> None:
    """Where regime 2 begins: far above the border sharpness falls with the learning rate."""
    assert stuck(result, STOPS) == ["supported", "supported"]
    assert stuck(result, STOPS, STOPS - 0.9) == ["supported", "supported"]
    assert stuck(result, STOPS - 0.1, STOPS) == ["supported", "supported"]
    between = STOPS - 0.4  # sharper than the end of those that pass, and below the middle
    assert stuck(result, between, STOPS) == ["supported", "contradicted"]
    early = np.interp(np.linspace(0, 1, len(PASSES)), [0, 1], [1.2, 1.1])
    assert stuck(result, early) == ["contradicted", "supported"], "it ends high and never climbed"
    down = np.interp(np.linspace(0, 1, len(PASSES)), [0, 0.1, 0.9, 1], [0.9, 0.85, 0.89, 0.88])
    assert stuck(result, down) == ["contradicted", "contradicted"]


def test_draws_that_disagree_leave_open_whether_runs_are_stuck(result: xr.DataTree) -> None:
    part = result["pretrain/grad_norm"].copy(deep=True)
    early = np.interp(np.linspace(0, 1, len(PASSES)), [0, 1], [0.5, 0.1])
    above = np.log10(result["lr"].values) > FIRST
    for seed in (0, 1):
        part[{"lr": np.flatnonzero(above), "seed": seed}] = 10**early
    mixed = changed(result, {"pretrain/grad_norm": part})
    assert part_verdicts("TR18", constant=mixed, cosine=mixed)[2:4] == ["inconclusive"] * 2


def test_weights_that_grow_hide_a_stuck_run_from_the_norm_of_the_gradient(result: xr.DataTree) -> None:
    """The paper's sharpness is judged; what weights of growing norm hide from it is told."""
    above = np.log10(result["lr"].values) > FIRST
    steep, norms = (result[f"pretrain/{name}"].copy(deep=True) for name in ("grad_norm", "group_norm"))
    growth = 10 ** np.interp(np.linspace(0, 1, len(PASSES)), [0, 0.5, 1], [0, 0.1, 1.0])
    steep[{"lr": np.flatnonzero(above)}] /= growth
    norms[{"lr": np.flatnonzero(above)}] *= growth[:, None]
    grown = changed(result, {"pretrain/grad_norm": steep, "pretrain/group_norm": norms})
    found = checked("TR18", PlantedResults({"constant": grown, "cosine": grown}))
    assert found.parts[0].verdict == "contradicted", "all of them pass: there is no regime 2"
    assert np.isfinite(found.numbers["effective"]).all()
    seen = effects_conventional.generalisation(grown, grown)
    assert seen["effective"] == pytest.approx(np.full(SEEDS, FIRST), abs=0.13)
    assert (seen["effective_climbs"] > 0).all()
    assert (seen["effective_stays"] > 0).all()


def test_seeds_of_one_draw_are_one_value() -> None:
    """Test errors in favour of the paper in one draw of three: its six seeds are no evidence."""
    many = planted(BROKEN, seeds=6, data_seeds=3)
    error = with_errors(many, FIRST - 0.25)
    accuracy = many["pretrain/test_accuracy"].copy(deep=True)
    accuracy[:] = np.where(np.isfinite(accuracy), 0.8, np.nan)
    accuracy[{"data_seed": 0}] = error["pretrain/test_accuracy"].isel(data_seed=0).values
    one = changed(many, {"pretrain/test_accuracy": accuracy})
    parts = checked("TR18", PlantedResults({"constant": one, "cosine": with_errors(many, FIRST + 0.2)})).parts
    assert {part.asked for part in parts} == {3}
    assert parts[0].cell == pytest.approx(2 * arrays.cell(one["lr"].values)), "a step for either end of the width"
    assert [part.verdict for part in parts[4:6]] == ["inconclusive"] * 2
    assert [part.verdict for part in parts[6:]] == ["supported"] * 2, "in every draw"


def test_a_third_regime_is_neither_overflow_nor_death(result: xr.DataTree) -> None:
    loss = result["pretrain/train_loss"].copy(deep=True)
    dead = [k for k, lr in enumerate(np.log10(result["lr"].values)) if lr > SECOND][:-BROKEN]
    loss[{"lr": dead}] *= 5.0
    part = changed(result, {"pretrain/train_loss": loss})
    assert part_verdicts("TR18", constant=part, cosine=part)[1] == "contradicted"


@pytest.mark.slow
def test_a_transformer_generalises_as_well_in_both_regimes(result: xr.DataTree) -> None:
    flat = with_errors(result, FIRST, slope=0.0)
    assert part_verdicts("TR20", transformer=flat)[0::2] == ["supported", "supported"]
    assert part_verdicts("TR20", transformer=flat)[1] == "contradicted", "half of what lies above is dead"
    broken = planted(int((np.log10(result["lr"].values) > SECOND).sum()))
    assert part_verdicts("TR20", transformer=with_errors(broken, FIRST, slope=0.0)) == ["supported"] * 3
    assert part_verdicts("TR20", transformer=with_errors(broken, FIRST - 1.0))[2] == "contradicted"
    assert part_verdicts("TR20", transformer=with_errors(broken, SECOND))[2] == "contradicted"


def test_a_transformers_border_is_where_trajectories_stop_passing_the_peak(result: xr.DataTree) -> None:
    """Half a decade below where losses level off, or nowhere: the map has no say."""
    low = FIRST - 0.5
    early = with_sharpness(result, np.where((np.log10(result["lr"].values) < low)[:, None], PASSES, STOPS))
    assert effects_conventional.both_regimes(early)["border"] == pytest.approx(np.full(SEEDS, low), abs=0.13)
    always, never = (with_sharpness(result, np.tile(curve, (LRS, 1))) for curve in (PASSES, STOPS))
    assert part_verdicts("TR20", transformer=always)[::2] == ["contradicted", "undetermined"]
    assert part_verdicts("TR20", transformer=never) == ["undetermined", "contradicted", "undetermined"]


def test_the_best_of_many_is_chosen_on_other_draws() -> None:
    """Errors without any difference but noise: the lowest of ten lies below that of two, the best of others does not."""
    rng = np.random.default_rng(0)
    error = 0.2 + 0.02 * rng.standard_normal((10, 600))
    draw = np.repeat(np.arange(200), 3)
    found = effects_conventional.best_of_others(error, draw)
    assert error.min(0).mean() < 0.18
    assert found.mean() == pytest.approx(0.2, abs=0.003)
    better = error - 0.1 * (np.arange(10) == 4)[:, None]
    assert effects_conventional.best_of_others(better, draw) == pytest.approx(better[4])
    better[4, 3:6] = np.nan
    found = effects_conventional.best_of_others(better, draw)
    assert found.mean() > 0.15, "what another draw does not have is chosen by none"
    assert np.isnan(effects_conventional.best_of_others(error[:, :3], draw[:3])).all(), "there are no others"


def test_runs_of_one_draw_do_not_choose_for_each_other() -> None:
    """Six runs of three draws; one learning rate is the best in one draw only."""
    error = np.full((2, 6), 0.2)
    error[1] = [0.15, 0.15, 0.3, 0.3, 0.3, 0.3]
    found = effects_conventional.best_of_others(error, np.repeat(np.arange(3), 2))
    assert found == pytest.approx(np.full(6, 0.2))


def test_overflow_right_above_regime_one_leaves_no_regime_two(result: xr.DataTree) -> None:
    lr = np.log10(result["lr"].values)
    one = [k for k in range(LRS) if lr[k] < FIRST]
    part = with_errors(result.isel(lr=[*one, *range(LRS - BROKEN, LRS)]), FIRST, slope=0.0)
    found = effects_conventional.both_regimes(part)
    assert found["end"] == pytest.approx(found["border"])
    assert np.isnan(found["two"]).all()
    slow = result.isel(lr=one)
    assert np.isnan(effects_conventional.both_regimes(slow)["border"]).all(), "the grid ends in regime 1"


def test_the_border_of_the_peak_is_drawn_and_named(result: xr.DataTree) -> None:
    """Wherever constant learning rates of a conventional network have a map, in the sweep's own panels alone."""
    names = ("whole", "constant", "cosine", "transformer")
    moved = changed(result, {"lr": result["lr"].values * 2})
    for number, marked, at in (("7", {4, 7}, FIRST), ("26", {3, 4, 5}, FIRST), ("28", {3, 4, 5}, FIRST + np.log10(2))):
        results = PlantedResults({name: moved if name == "transformer" else result for name in names})
        drawn = drawn_figure(number, results)
        dotted = [[layer for layer in panel.layers if isinstance(layer, Border) and layer.dotted] for panel in drawn]
        assert [len(layers) for layers in dotted] == [int(i in marked) for i in range(len(drawn))], number
        assert [np.log10(border.x) for layers in dotted for border in layers] == pytest.approx(
            [at] * len(marked), abs=0.13
        )
        assert all(("peak" in panel.title) == bool(layers) for panel, layers in zip(drawn, dotted, strict=True)), number
        low = PlantedResults(dict.fromkeys(names, result.isel(lr=slice(0, 10))))
        assert not any("peak" in panel.title for panel in drawn_figure(number, low)), "no border, no name"


def drawn_figure(number: str, results: PlantedResults) -> Sequence[Panel]:
    return next(figure for figure in STUDY.figures if figure.number == number).draw(results).panels
