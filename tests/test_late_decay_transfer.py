"""LD8: its sweeps are LD1's with one thing changed, and its readings, on results with planted effects."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from chart_examples import check_drawn
from lrscope.charts import Line
from lrscope.studies.dependencies import figures_at
from lrscope.studies.late_decay import STUDY
from lrscope.studies.late_decay.claims_transfer import READ
from lrscope.studies.late_decay.sweeps_transfer import ADAM, CHANGED, RMSPROP
from lrscope.studies.types import REPORTED, StudySweep
from planted_late_decay import AT, FALLING, checked, elsewhere

CUT = {"epochs", "branches", "data_seeds", "log_points", "keep_weights", "snapshot_epochs", "log_epochs"}
OPTIMIZER = {"optimizer", "momentum", "lrs"}
DIFFERS: dict[str, dict[str, set[str]]] = {  # of the task; where images are smaller at laptop scale, the claim says so
    "smoke": {"resnet": {"model", "width"}, "other_data": {"pool"}},
    "laptop": {"resnet": {"model", "width", "pool"}, "other_data": {"data", "pool", "test_size"}},
    "paper": {"resnet": {"model"}, "other_data": {"data"}},
}


def sweeps(scale: str) -> dict[str, StudySweep]:
    return {sweep.name: sweep for sweep in STUDY.scales[scale].sweeps}


@pytest.mark.parametrize("scale", STUDY.scales)
@pytest.mark.parametrize("name", CHANGED)
def test_a_sweep_differs_from_ld1_in_one_thing(scale: str, name: str) -> None:
    found = sweeps(scale)
    mse, other = found["mse"], found[name]
    changed = {key for key in {*mse.task, *other.task} if mse.task.get(key) != other.task.get(key)}
    assert changed == DIFFERS[scale].get(name, set())
    before, after = asdict(mse.config), asdict(other.config)
    assert {key for key in before if before[key] != after[key]} - CUT == (set() if changed else OPTIMIZER)


@pytest.mark.parametrize("scale", STUDY.scales)
@pytest.mark.parametrize("name", CHANGED)
def test_times_are_those_of_ld1_up_to_the_end_of_the_main_path(scale: str, name: str) -> None:
    found = sweeps(scale)
    (ours,), (theirs,) = found[name].config.branches, found["mse"].config.branches
    assert ours.at == theirs.at[: len(ours.at)]
    assert len(ours.at) >= 3, "as many as must count"
    assert ours.at[-1] == found[name].config.epochs
    assert (ours.factors, ours.epochs, ours.schedules) == (theirs.factors, theirs.epochs, theirs.schedules)


def test_optimizers_have_rates_of_their_own() -> None:
    for scale in STUDY.scales:
        found = sweeps(scale)
        assert [found[name].config.lrs for name in ("resnet", "other_data")] == [found["mse"].config.lrs] * 2
        assert (found["adam"].config.optimizer, found["adam"].config.lrs) == ("adam", (ADAM,))
        assert (found["rmsprop"].config.optimizer, found["rmsprop"].config.lrs) == ("rmsprop", (RMSPROP,))


def test_the_claim_needs_its_sweeps_alone_and_nobody_else_does() -> None:
    """So that it can be checked by itself, and the others without it."""
    needs = {claim.id: set(claim.needs) for claim in STUDY.claims}
    assert needs.pop("LD8") == set(CHANGED)
    assert not set(CHANGED) & set().union(*needs.values())
    laptop = sweeps("laptop")
    assert laptop["other_data"].task["data"] == "digits"
    assert {laptop[name].config.epochs for name in CHANGED} == {320.0}
    assert sweeps("paper")["other_data"].task["data"] == "svhn"


LEVELS: dict[str, Any] = {
    "resnet": [2.0, 1.5, 1.2, 1.1, 1.0],
    "other_data": [1.0, 1.1, 1.2, 1.5, 2.0],
    "adam": [1.0, 1.0, 1.0, 1.0, 0.5],
    "rmsprop": [1.5, 1.3, 1.1, 1.0, 1.0],
}


def test_ld8_reads_each_sweep_as_ld1_does() -> None:
    found = checked("LD8", elsewhere(LEVELS))
    assert {part.verdict for part in found.parts} == {REPORTED}
    values = {part.name: part.value for part in found.parts}
    assert len(values) == len(CHANGED) * len(READ)
    for name, words in CHANGED.items():
        first, *_, half, last = LEVELS[name]
        assert values[f"{words}: earliest over latest decay"] == pytest.approx(np.log10(first / last), abs=0.01)
        assert values[f"{words}: the same at equal training loss"] == pytest.approx(np.log10(first / last), abs=0.01)
        assert values[f"{words}: gain of the last doubling"] == pytest.approx(np.log10(half / last), abs=0.01)
    assert values["ResNet-18: the later the lower"] == pytest.approx(-1)
    assert values["other images: the later the lower"] == pytest.approx(1)
    assert found.numbers["times"]["adam"] == list(AT)
    np.testing.assert_allclose(found.numbers["test_loss"]["adam"], np.array(LEVELS["adam"]), rtol=0.02)


def test_ld8_has_an_interval_over_draws_and_the_bound_of_ld1() -> None:
    parts = {part.name: part for part in checked("LD8", elsewhere({})).parts}
    fall, trend = (parts[f"Adam: {READ[of][0]}"] for of in ("fall", "trend"))
    assert (fall.seeds, fall.asked, fall.criterion, trend.criterion) == (5, 5, "above 0", "below 0")
    assert 0 < fall.low < fall.value < fall.high
    assert fall.value == pytest.approx(np.log10(FALLING[0] / FALLING[-1]), abs=0.01)


def test_ld8_of_sub_paths_that_are_not_fitted_reads_nothing() -> None:
    """Of one sweep; the others are read all the same."""
    results = elsewhere({})
    results.sweeps["rmsprop"] = elsewhere({}, fitted=0.5).sweeps["rmsprop"]
    found = checked("LD8", results)
    unread = {part.name for part in found.parts if not np.isfinite(part.value)}
    assert unread == {f"RMSprop: {name}" for name, *_ in READ.values()}
    (fall,) = (part for part in found.parts if part.name == "RMSprop: earliest over latest decay")
    assert "fitted to 99% after 0 of 5 decays" in fall.note
    assert "nan" not in found.note


def test_ld8_of_runs_that_overflow_says_so_without_nan() -> None:
    lost = elsewhere({"adam": np.full(len(AT), np.nan)})
    found = checked("LD8", lost)
    assert "nan" not in found.note
    assert found.numbers["test_loss"]["adam"] == [None] * len(AT)
    assert sum(np.isfinite(part.value) for part in found.parts) == (len(CHANGED) - 1) * len(READ)


def test_the_figure_has_a_panel_for_each() -> None:
    (figure,) = (f for f in figures_at(STUDY, "laptop") if f.number == "transfers")
    chart = figure.draw(elsewhere(LEVELS))
    check_drawn(chart)
    assert [panel.title for panel in chart.panels] == list(CHANGED.values())
    for name, panel in zip(CHANGED, chart.panels, strict=True):
        ends = next(layer for layer in panel.layers if isinstance(layer, Line) and layer.low is not None)
        np.testing.assert_allclose(np.asarray(ends.y), LEVELS[name], rtol=0.02)
        assert list(ends.x) == list(AT)
