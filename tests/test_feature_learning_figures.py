"""Figures of feature_learning: what lines, levels and titles show of planted results.

L learning rates, U seeds.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_map, fake_result, regime_of
from lrscope.charts import Border, ErrorBars, Level, Line, Panel, Span
from lrscope.studies.feature_learning import STUDY, effects_sharpness, figure_sharpness, figures, folds
from planted_results import PlantedResults, on_bands, planted_result, with_floors, with_sharpness
from trees import changed


@pytest.fixture(scope="module")
def planted() -> xr.DataTree:
    return fake_result(lrs=12, seeds=1, data_seeds=3, epochs=8)


@pytest.fixture(scope="module")
def long() -> xr.DataTree:
    """Curves that show their regimes."""
    return planted_result()


@pytest.fixture
def labels(planted: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The planted regimes, whatever the curves say."""
    monkeypatch.setattr(folds, "regimes", fake_map)
    return [regime_of(float(lr)) for lr in planted["lr"].values]


@pytest.fixture
def images(planted: xr.DataTree, labels: list[str]) -> xr.DataTree:
    """Networks that rely on low bands in 2A."""
    return on_bands(planted, labels)


def test_figure_17_shows_the_draws_that_are_read(long: xr.DataTree) -> None:
    made = with_sharpness(long, within=0.1, across=0.0)

    def title(floors: list[float]) -> str:
        read = with_floors(made, floors)
        return figure_17({"converged": read, "fine_tuned": read}).title

    assert title([0.001, 0.003, 0.03]) == "each draw at its training loss, 0.0013 to 0.0034"
    assert title([0.03, 0.03, 0.05]) == "each draw at its training loss, 0.032 to 0.053"


def figure_17(sweeps: dict[str, xr.DataTree]) -> Panel:
    return figure_sharpness.sharpness(PlantedResults(sweeps)).panels[0]


def test_figure_17_names_regime_1_only_where_it_is_seen(long: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pre-training does not come down to the level of fine-tunes."""
    monkeypatch.setattr(effects_sharpness, "regimes", fake_map)
    made = with_sharpness(long, within=0.1, across=0.0)
    short = changed(made, {"pretrain/train_loss": made["pretrain/train_loss"] + 1.0})

    def names(whole: xr.DataTree) -> list[str]:
        panel = figure_17({"converged": made, "fine_tuned": whole})
        drawn = [layer for layer in panel.layers if isinstance(layer, ErrorBars | Line)]
        assert all((np.isfinite(layer.x) & np.isfinite(layer.y)).any() for layer in drawn)
        assert any(layer.value is not None for layer in drawn), "the fine-tunes"
        return [layer.name for layer in drawn if layer.name]

    assert set(names(made)) == {"regime 1, pre-training"}
    assert names(short) == []


@pytest.mark.parametrize("number", ["5", "11", "13"])
def test_figures_of_bands_show_what_guessing_gets(
    number: str, images: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "regimes", fake_map)
    figure = next(figure for figure in STUDY.figures if figure.number == number)
    chart = figure.draw(PlantedResults(dict.fromkeys(figure.needs, images)))
    for panel in chart.panels:
        levels = [(layer.y, layer.label) for layer in panel.layers if isinstance(layer, Level)]
        assert levels == [(pytest.approx(0.1), "guessing")], panel.title


def test_three_lines_and_more_are_levelled_medians(images: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLRs half a point apart, draws ten points: the bands of three deviations would be one grey area."""
    monkeypatch.setattr(figures, "regimes", fake_map)
    tuned, before = images["finetune/test_accuracy"], images["pretrain/test_accuracy"]
    draw = xr.DataArray([-0.1, 0.0, 0.1], dims="data_seed", coords={"data_seed": images["data_seed"]})
    flr = xr.DataArray([0.0, 0.005, 0.01], dims="finetune_lr", coords={"finetune_lr": tuned["finetune_lr"]})
    new = {
        "finetune/test_accuracy": (0 * tuned + 0.8 + draw + flr).transpose(*tuned.dims),
        "pretrain/test_accuracy": (0 * before + 0.79 + draw).transpose(*before.dims),
    }
    made = changed(images, new)
    panel = figures.tuned_panel(made, "fine-tuning")
    lines = [layer for layer in panel.layers if isinstance(layer, Line)]
    assert [float(np.ptp(line.y)) for line in lines] == pytest.approx([0.0] * 4, abs=1e-9)
    assert [float(np.mean(line.y)) for line in lines] == pytest.approx([0.8, 0.805, 0.81, 0.79])
    assert all(line.low is None for line in lines)
    assert lines[0].told is not None
    assert lines[0].told[0] == "FLR 1e-4: 0.8, quartiles 0.8 to 0.8", "the draws' own levels are taken off"
    assert "seeds levelled" in panel.y.title
    few = figures.tuned_panel(made.isel(finetune_lr=[0, 2]), "fine-tuning")
    banded = [layer for layer in few.layers if isinstance(layer, Line)]
    assert [float(np.mean(line.high - line.low)) for line in banded] == pytest.approx([0.2] * 3), "two deviations"
    assert "levelled" not in few.y.title
    averages = figures.averaged_panel(images, "averaging")
    assert all(layer.low is None for layer in averages.layers if isinstance(layer, Line))


def test_a_seed_that_overflows_somewhere_is_levelled_where_all_are_known() -> None:
    values = np.array([[[0.5, 0.7], [0.6, 0.8]], [[0.1, np.nan], [0.2, 0.4]]])  # [L, lines, U]
    found, other = figures.levelled(values, np.array([[0.4, 0.6], [0.1, np.nan]]))
    assert found == pytest.approx(np.array([[[0.6, 0.6], [0.7, 0.7]], [[0.2, np.nan], [0.3, 0.3]]]), nan_ok=True)
    assert other == pytest.approx(np.array([[0.5, 0.5], [0.2, np.nan]]), nan_ok=True)
    nowhere = np.array([[[0.5, np.nan]]])
    assert figures.levelled(nowhere)[0] is nowhere


def test_regimes_behind_the_lines_of_conventional_networks_are_the_drawn_ones(
    images: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = ("1", "1", "2A", *("2B",) * 9)
    monkeypatch.setattr(figures, "by_accuracy", lambda result: drawn)
    monkeypatch.setattr(figures, "regimes", fake_map)

    def shown(result: xr.DataTree) -> list[str]:
        panel = figures.tuned_panel(result, "fine-tuning")
        return [layer.label for layer in panel.layers if isinstance(layer, Span)]

    assert shown(changed(images, scale_invariant=0)) == ["1", "2A", "2B"]
    assert shown(images) == ["1", "2A", "2B", "3"]
    conventional = figures.tuned_panel(changed(images, scale_invariant=0), "fine-tuning")
    assert not any(isinstance(layer, Border) for layer in conventional.layers), "a drawn border has no interval"


def test_a_stage_that_is_another_one_is_not_drawn_twice(images: xr.DataTree) -> None:
    sweeps = PlantedResults({"resnet": images, "convnet": images.isel(finetune_lr=[0])})
    titles = [
        [panel.title for panel in figures.features(sweeps, {name: ""}, ("pre", "low", "high")).panels]
        for name in ("resnet", "convnet")
    ]
    assert titles == [
        [figures.STAGES[stage] for stage in stages] for stages in (("pre", "low", "high"), ("pre", "low"))
    ]


def test_many_lines_are_medians_that_tell_their_quartiles() -> None:
    values = np.array([[0.1, 0.2, 0.3, 0.4, 0.9]])
    line = figures.median(np.array([1.0]), values, value=0.1)
    assert (line.y, line.low) == (pytest.approx([0.3]), None)
    assert line.told is not None
    assert list(line.told) == ["FLR 0.1: 0.3, quartiles 0.2 to 0.4"]
    lost = figures.median(np.array([1.0, 2.0]), np.array([[0.3, np.nan], [np.nan, np.nan]]), name="5 checkpoints")
    assert lost.y == pytest.approx([0.3, np.nan], nan_ok=True)
    assert next(iter(lost.told or ())) == "5 checkpoints: 0.3, quartiles 0.3 to 0.3"
