"""What holds for every layer and both renderers: the suite is made from the table of layers."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from matplotlib.figure import Figure

import chart_examples as examples
from chart_examples import X, Y, chart, example, panel
from lrscope.charts import (
    LAYERS,
    Axis,
    Band,
    Border,
    Chart,
    ErrorBars,
    HeatMap,
    Image,
    Layer,
    Level,
    Line,
    Note,
    Panel,
    Points,
    Span,
    draw_matplotlib,
    draw_plotly,
    to_matplotlib,
    to_plotly,
)
from lrscope.charts.layout import arrange
from lrscope.charts.scales import cell_edges, extent, log_marks, palette
from lrscope.charts.scene import EMPTY, scenes
from lrscope.errors import LrscopeError

each_layer = pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)


def png(figure: Figure) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=50)
    return written.getvalue()


def checked_json(drawn: Chart) -> dict[str, Any]:
    """What Plotly.js gets, after Plotly's own validation and strict JSON."""
    made = to_plotly(drawn)
    for layout in ("wide", "narrow"):
        go.Figure(data=made["data"], layout=made[layout])
    json.dumps(made, allow_nan=False)
    return made


def marks(made: dict[str, Any]) -> int:
    """How many things a layout and its traces hold."""
    texts = [note for note in made["wide"]["annotations"] if note["text"] != EMPTY]
    return len(made["data"]) + len(made["wide"]["shapes"]) + len(texts)


# --- every layer ---


def test_every_layer_has_both_renderers_and_an_example():
    assert set(draw_matplotlib.DRAW) == set(draw_plotly.DRAW) == set(LAYERS) == set(examples.LAYERS)


@each_layer
@pytest.mark.filterwarnings("error")
def test_every_layer_is_seen_in_both(kind):
    empty, drawn = chart(), chart(example(kind))
    assert marks(checked_json(drawn)) > marks(checked_json(empty))
    blank = replace(drawn.panels[0], layers=(Span(low=-2, high=-1),))
    ends = scenes(drawn)[0]
    same_axes = replace(blank, x=replace(blank.x, limits=ends.x), y=replace(blank.y, limits=ends.y))
    assert png(to_matplotlib(drawn)) != png(to_matplotlib(replace(drawn, panels=[same_axes])))


@each_layer
def test_every_layer_is_drawn_the_same_twice_and_is_not_changed_by_it(kind):
    drawn = chart(example(kind))
    before = repr(drawn)
    assert json.dumps(to_plotly(drawn)) == json.dumps(to_plotly(drawn))
    assert png(to_matplotlib(drawn)) == png(to_matplotlib(drawn))
    assert repr(drawn) == before


@each_layer
@pytest.mark.parametrize("values", ["nan", "not positive", "none"])
@pytest.mark.filterwarnings("error")
def test_every_layer_takes_values_that_cannot_be_drawn(kind, values):
    given = examples.LAYERS[kind]
    arrays = {name: value for name, value in given.items() if isinstance(value, np.ndarray) and name != "x"}
    if kind is HeatMap:
        arrays.pop("y")
    changes: dict[str, Any] = {n: np.full_like(v, np.nan if values == "nan" else -1.0) for n, v in arrays.items()}
    if values == "none" and kind not in (HeatMap, Image):
        changes = {name: np.array([]) for name in (*arrays, *(["x"] if arrays else []))} | (
            {"colors": None} if "colors" in given else {}
        )
    elif not arrays:
        changes = {n: np.nan if values == "nan" else -1.0 for n in ("x", "y", "low", "high") if n in given}
    both = Panel(x=Axis(log=True), y=Axis(log=True), layers=[example(kind, **changes)])
    checked_json(Chart(panels=[both]))
    to_matplotlib(Chart(panels=[both])).draw_without_rendering()


# --- what the two agree on ---


def test_a_log_axis_leaves_out_what_is_not_positive_and_says_so():
    drawn = chart(Line(x=X, y=np.array([1.0, 0.0, 0.1])), Points(x=X, y=np.array([-1.0, np.nan, 1.0])), log=False)
    assert scenes(drawn)[0].notes() == ["2 values not positive, left out"]
    assert to_plotly(drawn)["data"][0]["y"] == [1.0, None, 0.1]
    texts = [note["text"] for note in to_plotly(drawn)["wide"]["annotations"]]
    assert "2 values not positive, left out" in texts
    assert "2 values not positive, left out" in {t.get_text() for t in to_matplotlib(drawn).axes[0].texts}
    assert scenes(chart(Line(x=X, y=np.array([1.0, 0.0, 0.1]))))[0].notes() == [], "a linear axis shows all"


@pytest.mark.parametrize("layers", [[], [Line(x=X, y=np.full(3, np.nan)), Level(y=1.0, label="chance")]])
def test_a_panel_with_nothing_to_see_says_so(layers):
    assert EMPTY in [note["text"] for note in to_plotly(chart(*layers))["wide"]["annotations"]]
    assert EMPTY in {text.get_text() for text in to_matplotlib(chart(*layers)).axes[0].texts}


def test_a_band_that_reaches_below_zero_ends_at_a_log_axis():
    band = Band(x=X, low=np.array([0.5, -1.0, 0.2]), high=np.array([1.0, 1.0, 1.0]))
    scene = scenes(chart(band, log=False))[0]
    assert scene.y is not None
    np.testing.assert_array_equal(scene.range(band)[0], [0.5, scene.y[0], 0.2])
    assert scene.notes() == []


@pytest.mark.parametrize("log", [True, False])
def test_both_have_the_same_axes(log):
    drawn = chart(example(Line), example(ErrorBars, low=Y / 10, high=Y * 10), log=log)
    ax, layout = to_matplotlib(drawn).axes[0], to_plotly(drawn)["wide"]
    for ends, key, is_log in ((ax.get_xlim(), "xaxis", log), (ax.get_ylim(), "yaxis", not log)):
        assert layout[key]["type"] == ("log" if is_log else "linear")
        assert (np.log10(ends) if is_log else ends) == pytest.approx(layout[key]["range"])
    assert ax.get_ylim()[0] < 0.1
    assert ax.get_ylim()[1] > 30


def test_shared_axes_hold_the_values_of_all_panels_and_are_numbered_once():
    panels = [panel(Line(x=X * 10**i, y=Y + i), log=True) for i in range(4)]
    drawn = Chart(panels=panels, columns=2, share_x=True, share_y=True)
    made = checked_json(drawn)["wide"]
    assert {tuple(made[f"xaxis{n}"]["range"]) for n in ("", 2, 3, 4)} == {tuple(made["xaxis"]["range"])}
    assert [made[f"xaxis{n}"].get("matches") for n in ("", 2, 3, 4)] == [None, "x", "x", "x"]
    assert [made[f"xaxis{n}"].get("showticklabels", True) for n in ("", 2, 3, 4)] == [False, False, True, True]
    assert [made[f"yaxis{n}"].get("showticklabels", True) for n in ("", 2, 3, 4)] == [True, False, True, False]
    axes = to_matplotlib(drawn).axes
    assert {ax.get_xlim() for ax in axes} == {axes[0].get_xlim()}
    assert axes[0].get_xlim()[0] < 1e-3 < 1e2 < axes[0].get_xlim()[1]
    alone = checked_json(replace(drawn, share_x=False, share_y=False))["wide"]
    assert len({tuple(alone[f"xaxis{n}"]["range"]) for n in ("", 2, 3, 4)}) == 4


def test_one_entry_in_the_legend_per_name_and_none_without():
    layers = [example(Line), example(Line, y=Y + 1), example(Points), example(Line, name="", value=0.1)]
    drawn = Chart(panels=[panel(*layers), panel(*layers)], columns=2, legend_title="of")
    listed = [trace["name"] for trace in checked_json(drawn)["data"] if trace.get("showlegend", True)]
    assert listed == ["of:", "mean", "single runs"]
    legend = to_matplotlib(drawn).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["mean", "single runs"]
    assert legend.get_title().get_text() == "of"


def test_colours_come_from_the_value_on_the_scale():
    low, high = example(Line, value=1e-3, name="low"), example(Line, value=1e-1, name="high")
    drawn = chart(low, high)
    scene, shades = scenes(drawn)[0], palette(drawn)
    assert scene.color(low) == "#440154"
    assert scene.color(high) == "#bddf26"
    assert shades.log
    assert "coloraxis" in to_plotly(drawn)["wide"]
    assert "coloraxis" not in to_plotly(chart(example(Line)))["wide"]
    linear = palette(chart(low, example(Line, value=0.0)))
    assert not linear.log


def test_whole_numbers_decades_and_others_are_labelled_on_the_colour_bar():
    def labels(*values: float) -> list[str]:
        return [text for _, text in palette(chart(*(example(Line, value=v) for v in values))).marks()]

    assert labels(1e-4, 1e-2) == ["10⁻⁴", "10⁻³", "10⁻²"]
    assert labels(0.02, 0.05) == ["0.02", "0.05"]
    assert labels(-1.0, 16.0) == ["-1", "3", "8", "12", "16"], "whole numbers from end to end"
    assert labels(-0.31, 0.72) == ["0", "0.5"]


def test_near_values_on_a_logarithmic_scale_have_near_colours():
    """Two rates that differ by 3% would have the colours of the lowest and the highest; heat maps keep their contrast."""

    def apart(*layers: Any) -> float:
        low, high = palette(chart(*layers)).ends
        return math.log(9.56e-4 / 9.3e-4) / math.log(high / low)

    near = [example(Line, value=value) for value in (9.3e-4, 9.56e-4)]
    assert apart(*near) < 0.05
    assert palette(chart(*near)).ends[0] < 9.3e-4 < 9.56e-4 < palette(chart(*near)).ends[1]
    far = example(Line, value=2.7e-3)
    assert palette(chart(*near, far)).ends == (9.3e-4, 2.7e-3), "values that differ have the whole scale"
    heat = HeatMap(x=[0.0, 1.0], y=[0.0, 1.0], values=[[9.3e-4, 9.4e-4], [9.5e-4, 9.56e-4]])
    assert apart(heat) == pytest.approx(1.0)


def test_hover_tells_what_it_is_told_as_text():
    drawn = chart(example(Line, told=["a\nb", "<b>", "c"], mark="line"), example(Points, told=["1", "2", "3"]))
    traces = [t for t in checked_json(drawn)["data"] if "text" in t]
    assert traces[0]["text"] == ["a<br>b", "&lt;b&gt;", "c"]
    assert traces[1]["text"] == ["1", "2", "3"]


def test_a_keyed_line_keeps_its_band_for_the_page():
    drawn = chart(example(Line, key=4, mark="line"))
    band, line = checked_json(drawn)["data"]
    assert (band["meta"], band["visible"]) == ({"lr": 4, "kind": "band"}, False)
    assert line["meta"] == {"lr": 4, "kind": "line"}
    assert not to_matplotlib(drawn).axes[0].collections
    assert to_matplotlib(chart(example(Line))).axes[0].collections


def test_a_level_is_labelled_where_there_is_room():
    falling = chart(example(Line, y=np.array([2.5, 1.0, 0.5])), Level(y=2.5, label="chance"))
    rising = chart(example(Line, y=np.array([0.5, 1.0, 2.5])), Level(y=2.5, label="chance"))
    ends = [
        next(n for n in to_plotly(c)["wide"]["annotations"] if n["text"] == "chance")["x"] for c in (falling, rising)
    ]
    assert ends == [1, 0]
    drawn = [line.get_ydata() for line in to_matplotlib(falling).axes[0].get_lines()]
    assert [list(y) for y in drawn if len(y) == 2] == [[2.5, 2.5]]
    level = checked_json(falling)["data"][-1]
    assert (set(level["y"]), level["x"][0] < 1e-3, level["x"][-1] > 1e-1) == ({2.5}, True, True)


def test_short_notes_are_for_narrow_screens():
    made = checked_json(chart(example(Line), example(Note)))
    texts = {layout: [n["text"] for n in made[layout]["annotations"]] for layout in ("wide", "narrow")}
    assert "<b>a note</b>" in texts["wide"]
    assert "<b>n</b>" in texts["narrow"]


def test_rows_are_as_high_as_they_are_asked_to_be():
    drawn = Chart(panels=[panel(height=30), panel(height=200)], columns=1, share_x=True)
    placed = arrange(drawn, narrow=False)
    heights = [(cell.y[1] - cell.y[0]) * placed.height for cell in placed.cells]
    assert heights == pytest.approx([30, 200])


# --- heat maps ---


def landscape(**changes: Any) -> Chart:
    a = np.linspace(-1, 1, 21)
    b = np.linspace(-0.5, 0.5, 11)
    heat = HeatMap(x=a, y=b, values=1e-3 + a**2 + 4 * b[:, None] ** 2, title="loss", contours=5, **changes)
    path = Line(x=np.array([-0.8, -0.3, 0.0]), y=np.array([0.4, 0.1, 0.0]), mark="both", name="path of a run")
    return Chart(
        panels=[Panel(title="plane", x=Axis(title="a"), y=Axis(title="b"), layers=[heat, path])], color_title="loss"
    )


def test_a_landscape_has_values_contours_and_a_path():
    drawn = landscape()
    made = checked_json(drawn)
    heat, contour = (next(t for t in made["data"] if t["type"] == kind) for kind in ("heatmap", "contour"))
    values = drawn.panels[0].layers[0].values
    np.testing.assert_allclose(np.array(heat["z"]), np.log10(values), rtol=1e-4)
    assert heat["text"][5][10] == "0.001"
    assert len(heat["x"]) == 22
    levels = np.arange(contour["contours"]["start"], contour["contours"]["end"], contour["contours"]["size"])
    assert len(levels) == 5
    assert [t["name"] for t in made["data"] if t.get("showlegend")] == ["path of a run"]
    ax = to_matplotlib(drawn).axes[0]
    mesh, lines = ax.collections
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(values.shape), values)
    np.testing.assert_allclose(np.log10(lines.levels), levels, rtol=1e-6)
    assert ax.get_xlim()[0] <= -1.05
    assert not [t for t in checked_json(landscape(filled=False))["data"] if t["type"] == "heatmap"]


def test_every_panel_may_have_a_colour_scale_of_its_own():
    low, high = (panel(example(HeatMap, values=scale * np.outer(Y, X))) for scale in (1, 1000))
    drawn = Chart(panels=[low, high], columns=2, own_colors=True)
    examples.check_drawn(drawn)
    made = to_plotly(drawn)
    maps = [trace["coloraxis"] for trace in made["data"] if trace["type"] == "heatmap"]
    assert maps == ["coloraxis", "coloraxis2"]
    for layout in (made["wide"], made["narrow"]):
        first, second = (layout[name] for name in maps)
        assert second["cmin"] == pytest.approx(first["cmin"] + 3)
        assert second["cmax"] == pytest.approx(first["cmax"] + 3)
        assert first["colorbar"]["x"] == layout["xaxis"]["domain"][1]
    bars = [ax for ax in to_matplotlib(drawn).axes if ax.get_label() == "<colorbar>"]
    assert [bar.get_ylim()[1] / bars[0].get_ylim()[1] for bar in bars] == pytest.approx([1, 1000])


@pytest.mark.parametrize(("level", "traced"), [(0.05, True), (100.0, False), (-1.0, False)])
def test_one_level_of_a_heat_map_is_traced_in_white(level: float, traced: bool):
    drawn = chart(example(HeatMap, contours=0, traced=level), log=True)
    examples.check_drawn(drawn)
    lines = [trace for trace in to_plotly(drawn)["data"] if trace["type"] == "contour"]
    assert [line["contours"]["start"] for line in lines] == ([pytest.approx(np.log10(level))] if level > 0 else [])
    assert len(to_matplotlib(drawn).axes[0].collections) == 1 + traced


def test_a_flat_landscape_has_no_contours():
    heat = HeatMap(x=X, y=X, values=np.full((3, 3), 2.0), contours=4)
    assert not [t for t in checked_json(chart(heat))["data"] if t["type"] == "contour"]
    png(to_matplotlib(chart(heat)))


def test_a_heat_map_leaves_out_what_a_log_axis_cannot_show():
    heat = HeatMap(x=np.array([-1.0, 1.0, 10.0]), y=np.array([0.0, 1.0]), values=np.arange(1.0, 7.0).reshape(2, 3))
    across = Chart(panels=[Panel(x=Axis(log=True), layers=[heat])])
    made = next(t for t in checked_json(across)["data"] if t["type"] == "heatmap")
    np.testing.assert_allclose(made["z"], np.log10([[2, 3], [5, 6]]), rtol=1e-4)
    assert scenes(across)[0].notes() == ["2 values not positive, left out"]
    to_matplotlib(across).draw_without_rendering()
    both = Chart(panels=[Panel(x=Axis(log=True), y=Axis(log=True), layers=[heat])])
    assert scenes(both)[0].notes() == [EMPTY], "one row is no plane"
    assert not [t for t in checked_json(both)["data"] if t["type"] == "heatmap"]


def test_a_borders_interval_ends_at_the_axis():
    limited = Panel(x=Axis(log=True, limits=(1e-2, 1.0)), layers=[Border(x=0.1, low=-1.0, high=0.2), Border(x=5.0)])
    shapes = checked_json(Chart(panels=[limited]))["wide"]["shapes"]
    assert [(s["x0"], s["x1"]) for s in shapes] == [(0.01, 0.2), (0.1, 0.1)]


def test_cells_meet_half_way_between_coordinates():
    np.testing.assert_allclose(cell_edges(np.array([1.0, 2.0, 4.0]), log=False), [0.5, 1.5, 3.0, 5.0])
    np.testing.assert_allclose(cell_edges(np.array([1.0, 100.0]), log=True), [0.1, 10.0, 1000.0])


# --- what is refused ---


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (Line, {"y": Y[:2]}, "line: the shapes of x, y, low, high are"),
        (Line, {"told": ["a"]}, "line: the shapes of .*told"),
        (Line, {"mark": "dots"}, "mark: 'dots' is unknown: choose one of line, both, end"),
        (Points, {"colors": ["red"]}, "points: the shapes of x, y, colors are"),
        (Points, {"symbol": "dot"}, "symbol: 'dot' is unknown"),
        (Band, {"low": np.ones((3, 1))}, "band: the shapes of x, low, high are"),
        (Line, {"high": None}, "line: low and high are the ends of one range: pass both, or neither"),
        (Border, {"low": None}, "border: low and high are the ends of one range"),
        (Line, {"color": "red"}, "color: 'red' is not red, green and blue as #rrggbb"),
        (Points, {"colors": ["#000000", "#00000", "#000000"]}, "color: '#00000' is not red, green and blue"),
        (Note, {"color": ""}, "color: '' is not red, green and blue"),
        (Span, {"color": "#0072B2;"}, "color: '#0072B2;' is not"),
        (HeatMap, {"values": np.ones((2, 3))}, r"heat map: y, x and values have shapes \(3,\), \(3,\) and \(2, 3\)"),
        (HeatMap, {"x": X[::-1]}, "heat map: x does not rise from value to value: sort it"),
        (Image, {"values": np.ones(3)}, r"image: its shape is \(3,\)"),
        (Axis, {"limits": (0.0, 1.0), "log": True}, r"limits: \(0.0, 1.0\) are the ends of no logarithmic axis"),
        (Axis, {"limits": (1.0, 1.0)}, "limits: .* pass two different numbers"),
        (Chart, {"panels": []}, "panels: the chart has none"),
        (Panel, {"layers": ["line"]}, "layers: 'line' is not a Line"),
    ],
)
def test_what_makes_no_chart_is_refused(kind, changes, message):
    with pytest.raises(LrscopeError, match=message):
        kind(**{**examples.LAYERS.get(kind, {}), **changes})


# --- extents ---


def test_extents_have_air():
    found = extent(np.array([1.0, 100.0, np.nan, -1.0]), log=True)
    assert found is not None
    assert 0.5 < found[0] < 1
    assert 100 < found[1] < 200
    assert extent(np.array([np.nan, -1.0]), log=True) is None
    alone = extent(np.array([2.0]), log=False)
    assert alone is not None
    assert alone[0] < 2 < alone[1]
    assert extent(np.array([0.0]), log=False) == (-0.5, 0.5)


@pytest.mark.parametrize(("low", "high"), [(-0.3, 0.0), (-1.0, 0.2), (0.01, 0.05), (-6.4, -6.1), (2.999, 3.001)])
def test_short_log_axes_get_at_least_two_round_marks(low, high):
    found = log_marks(low, high)
    assert found is not None
    assert len(found) >= 2
    assert all(low - 1e-9 <= np.log10(m) <= high + 1e-9 for m in found)
    assert log_marks(-4, 0) is None


def test_a_span_is_seen_as_far_as_the_axis_reaches():
    drawn = chart(
        Line(x=X, y=Y), Span(low=0.0, high=1e-2, label="a"), Span(low=5.0, high=9.0, label="b"), Border(x=99.0)
    )
    limits = replace(drawn.panels[0], x=Axis(log=True, limits=(1e-3, 1e-1)))
    made = checked_json(replace(drawn, panels=[limits]))["wide"]
    assert [(s["x0"], s["x1"]) for s in made["shapes"]] == [(1e-3, 1e-2)]
    assert "<b>b</b>" not in [n["text"] for n in made["annotations"]]


def test_layers_are_a_closed_list():
    with pytest.raises(LrscopeError, match="is not a Line"):
        Panel(layers=[Axis()])
    assert Layer  # the union that Panel checks by
