"""A study's charts, drawn by matplotlib and for Plotly: values arrive, names stay names, the page draws them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from lrscope.charts import (
    Axis,
    Border,
    Chart,
    Image,
    Level,
    Line,
    Note,
    Panel,
    Points,
    Span,
    style,
    to_matplotlib,
    to_plotly,
)
from lrscope.charts.scales import pixels
from lrscope.charts.scene import scenes
from lrscope.reporting.files import write_one
from lrscope.reporting.gallery import Picture, ShownClaim, render
from lrscope.reporting.page import write_text
from lrscope.studies.phrases import COLUMNS
from test_report_browser import ATTACK, Chrome, browser, show  # noqa: F401 - a fixture

X = np.array([1e-3, 1e-2, 1e-1])
CURVE = Line(x=X, y=np.array([3.0, np.nan, 1.0]), low=X * 2, high=X + 4, value=1e-3, name="mean", mark="both")
DASHED = Line(x=X, y=X, value=1e-1, dashed=True, mark="end")
INKED = Line(x=X, y=X * 2, color="#123456", name="other", mark="both")
CLOUD = Points(x=X, y=X * 3, color="#654321", name="runs")
ELR, NATS = Axis(title="ELR", log=True), Axis(title="nats", log=True)
PANEL = Panel(
    title="loss",
    x=ELR,
    y=NATS,
    layers=[
        Span(low=1e-9, high=1e-2, label="1", color=style.REGIME_COLOR["1"]),
        Span(low=1e-2, high=1e-1, label="odd"),
        Border(x=1e-2),
        CURVE,
        DASHED,
        INKED,
        CLOUD,
        Level(y=2.0, label="random points"),
    ],
)
CHART = Chart(panels=[PANEL, replace(PANEL, title="again", y=Axis(title="nats"))], columns=2, color_title="ELR")
EMPTY = Panel(title="empty", x=ELR, y=NATS, layers=[Line(x=[1.0], y=[np.nan])])


def drawn(chart: Chart, folder: Path) -> Figure:
    figure = to_matplotlib(chart)
    assert write_one(figure, folder / "chart.png").stat().st_size > 2000
    return figure


@pytest.mark.slow
def test_values_arrive_in_matplotlib(tmp_path):
    figure = drawn(CHART, tmp_path)
    axes = [ax for ax in figure.axes if ax.get_xlabel() == "ELR" and ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in axes] == ["loss", "again"]
    ax = axes[0]
    by_color = {line.get_color(): line for line in ax.get_lines() if len(line.get_xdata()) == 3}
    np.testing.assert_array_equal(by_color["#123456"].get_ydata(), X * 2)
    np.testing.assert_array_equal(ax.collections[-1].get_offsets()[:, 1], X * 3)
    low, high = (scenes(CHART)[0].color(line) for line in (CURVE, DASHED))
    assert low != high
    np.testing.assert_array_equal(by_color[low].get_ydata(), CURVE.y)
    assert by_color[high].get_linestyle() == "--"
    assert (ax.get_xscale(), ax.get_yscale(), axes[1].get_yscale()) == ("log", "log", "linear")
    assert ax.get_xlim()[0] < 1e-3 < 1e-1 < ax.get_xlim()[1]
    texts = {text.get_text() for text in ax.texts}
    assert {"1", "odd", "random points"} <= texts
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == ["mean", "other", "runs"]
    assert any(a.get_xlabel() == "ELR" and not a.get_title(loc="left") for a in figure.axes), "a colour bar"


def test_a_level_beyond_the_limits_is_left_out_with_its_label() -> None:
    layers = [Line(x=X, y=X), Level(y=0.05, label="near"), Level(y=0.9, label="far")]
    chart = Chart(panels=[Panel(y=Axis(limits=(0.0, 0.1)), layers=layers)])
    (ax,) = to_matplotlib(chart).axes
    assert [text.get_text() for text in ax.texts] == ["near"]
    assert len(ax.get_lines()) == 2
    made = to_plotly(chart)
    assert [note["text"] for note in made["wide"]["annotations"]] == ["near"]
    assert [0.9] not in [sorted(set(t["y"])) for t in made["data"]]


@pytest.mark.parametrize(
    "names",
    [
        [f"from initialisation, {k}" for k in range(12)],
        ["a", *(f"a curve whose name is long {k}" for k in range(5)), *"bcdefghij"],
        [f"0.{k:03d}, regime 2" for k in range(7)],
        ["one"],
    ],
    ids=["long", "mixed", "seven", "one"],
)
def test_a_legend_stays_inside_the_figure(names: list[str]) -> None:
    figure = to_matplotlib(Chart(panels=[Panel(layers=[Line(x=X, y=X, name=name) for name in names])]))
    figure.canvas.draw()
    (legend,) = figure.legends
    inside, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= inside.x0
    assert inside.x1 <= whole.x1
    assert inside.height < whole.height / 2


def test_values_arrive_in_plotly():
    made = to_plotly(CHART)
    json.dumps(made, allow_nan=False)
    named = [t for t in made["data"] if t.get("name") == "mean" and t.get("mode") == "lines+markers"]
    assert [t["yaxis"] for t in named] == ["y", "y2"]
    assert named[0]["y"] == [3.0, None, 1.0]
    assert [t["showlegend"] for t in named] == [True, False]
    assert sum(t.get("fill") == "toself" for t in made["data"]) == 2
    clouds = [t for t in made["data"] if t.get("name") == "runs"]
    assert [(t["mode"], t["y"]) for t in clouds] == [("markers", [0.003, 0.03, 0.3])] * 2
    ends = [t for t in made["data"] if t["x"] == [0.1]]
    assert [t["y"] for t in ends] == [[0.1], [0.1]]
    assert {made["wide"][a]["type"] for a in ("xaxis", "yaxis", "xaxis2")} == {"log"}
    assert made["wide"]["yaxis2"]["type"] == "linear"
    assert made["wide"]["yaxis"]["title"]["text"] == "nats"
    texts = [note["text"] for note in made["wide"]["annotations"]]
    assert {"loss", "again", "<b>1</b>", "<b>odd</b>", "random points", "ELR"} <= set(texts)
    kinds = [shape["type"] for shape in made["wide"]["shapes"]]
    assert kinds.count("rect") == 4
    assert kinds.count("line") == 2
    levels = [t for t in made["data"] if t.get("hovertemplate", "").startswith("random points")]
    assert [set(t["y"]) for t in levels] == [{2.0}, {2.0}]
    assert made["narrow"]["yaxis"]["domain"][0] > made["narrow"]["yaxis2"]["domain"][0], "below each other"
    assert made["wide"]["yaxis"]["domain"] == made["wide"]["yaxis2"]["domain"], "beside each other"


def test_nothing_to_draw_is_said(tmp_path):
    chart = Chart(panels=[EMPTY])
    assert any(text.get_text() == "no finite values" for text in drawn(chart, tmp_path).axes[0].texts)
    assert "no finite values" in [note["text"] for note in to_plotly(chart)["wide"]["annotations"]]


@pytest.mark.parametrize("values", [(3.0, 3.0), (0.0, 1.0), (-2.0, -1.0)])
def test_other_colour_scales_are_drawn_too(values, tmp_path):
    lines = [Line(x=X, y=X + i, value=v) for i, v in enumerate(values)]
    chart = Chart(panels=[replace(PANEL, layers=lines)], color_title="rank", color_log=True)
    assert scenes(chart)[0].palette.log == (min(values) > 0)
    drawn(chart, tmp_path)
    json.dumps(to_plotly(chart), allow_nan=False)


HOSTILE = Panel(
    title=ATTACK + "$x^",
    x=Axis(title=ATTACK, ticks=[(1e-2, ATTACK)]),
    y=Axis(title=ATTACK),
    layers=[
        Span(low=0, high=1, label="<b>$"),
        replace(CURVE, name=ATTACK + "$", told=[ATTACK] * 3),
        Level(y=1.0, label=ATTACK),
        Note(x=1e-2, y=2.0, words=ATTACK),
    ],
)


def told(words: str = "", **changes: str) -> ShownClaim:
    return replace(
        ShownClaim(
            id="T1",
            sentence="It is so.",
            criterion="At least 0.",
            verdict="supported",
            effect="effect 1",
            note="Seen.",
            parts=[COLUMNS, ("one", "supported", "1", "0.5 to 2", "nats", "above 0", "3 of 5", words)],
        ),
        **changes,
    )


def gallery(chart: Chart, path: Path, words: str = "words", **claims: str) -> Path:
    picture = Picture(
        name="fig5", number="5", title=words, look_for=words, differs=words, chart=chart, claims=[told(words, **claims)]
    )
    said = dict.fromkeys(("title", "study", "scale", "paper", "about", "summary", "command"), words)
    return write_text(
        render([picture], [told(id="T2", verdict="not checked yet")], {**said, "facts": [(words, words)]}), path
    )


def test_names_are_no_formulas_and_no_markup(tmp_path):
    chart = Chart(panels=[HOSTILE], color_title=ATTACK, legend_title=ATTACK)
    drawn(chart, tmp_path)  # matplotlib would refuse `$x^` as a formula
    page = gallery(chart, tmp_path / "page.html", ATTACK, note=ATTACK, sentence=ATTACK).read_text()
    assert ATTACK not in page
    assert "default-src &#39;none&#39;" in page


@pytest.mark.slow
def test_the_gallery_is_drawn_by_a_browser(browser: Chrome, tmp_path):  # noqa: F811
    page = gallery(CHART, tmp_path / "page.html")
    for width in (1400, 390):
        show(browser, page, width)  # demands a silent console
        inner, scroll = browser.execute_script("return [window.innerWidth, document.documentElement.scrollWidth]")
        assert scroll <= inner == width
        lines = "return document.querySelectorAll('#plot-fig5 .scatterlayer .trace path.js-line').length"
        assert browser.execute_script(lines) >= 4
        titles = browser.execute_script(
            "return [...document.querySelectorAll('#plot-fig5 .ytitle')].map(t => t.textContent)"
        )
        assert titles == ["nats"]
    text = browser.find_element("id", "fig5").text
    for words in (
        "Figure 5: words",
        "In the paper: words",
        "Different here: words",
        "supported",
        "Criterion: At least 0.",
    ):
        assert words in text
    cells = [cell.text for cell in browser.find_elements("css selector", "#fig5 .parts tbody tr:first-child > *")]
    assert cells == ["one", "supported", "1", "0.5 to 2", "nats", "above 0", "3 of 5", "words"]
    assert "not checked yet" in browser.find_element("id", "claims").text
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    show(browser, gallery(Chart(panels=[HOSTILE], color_title=ATTACK), tmp_path / "b.html", ATTACK, note=ATTACK))
    assert browser.execute_script("return window.attacked") is None
    assert browser.find_element("tag name", "h1").text == ATTACK


# --- pictures ---

GREY = Image(values=np.array([[0.0, 1.0, 2.0], [np.nan, 4.0, 3.0]]))
COLOURED = Image(values=np.array([[[1.0, 0.0, 0.5], [-1.0, 2.0, np.nan]]]))
PICTURES = Chart(
    panels=[
        Panel(title="grey", layers=[GREY]),
        Panel(title="coloured", layers=[COLOURED]),
        Panel(title="third", layers=[GREY]),
    ],
    columns=2,
)


def test_pixels_have_the_values_colours():
    empty = list(style.channels(style.GRID))
    black, white = [0, 0, 0], [255, 255, 255]
    assert pixels(GREY).tolist() == [[black, [64] * 3, [128] * 3], [empty, white, [191] * 3]]
    assert pixels(COLOURED).tolist() == [[[255, 0, 128], empty]]
    assert pixels(replace(GREY, low=1.0, high=2.0)).tolist()[0] == [black, black, white]
    assert pixels(Image(values=np.full((2, 2), 3.0))).max() == 0, "one value: no contrast is made up"
    first, last = (list(style.channels(style.viridis(share))) for share in (0.0, 1.0))
    found = pixels(replace(GREY, viridis=True)).tolist()
    assert (found[0][0], found[1][0], found[1][1]) == (first, empty, last)


def test_pictures_arrive_in_matplotlib_with_their_first_row_on_top(tmp_path):
    figure = drawn(PICTURES, tmp_path)
    shown = [ax for ax in figure.axes if ax.get_images()]
    assert [ax.get_title(loc="left") for ax in shown] == ["grey", "coloured", "third"]
    np.testing.assert_array_equal(shown[0].get_images()[0].get_array(), pixels(GREY))
    low, high = shown[0].get_ylim()
    assert low > high
    assert not shown[0].axison
    assert not any(text.get_text() == "no finite values" for ax in figure.axes for text in ax.texts)


def test_pictures_arrive_in_plotly():
    made = to_plotly(Chart(panels=[*PICTURES.panels, PANEL], columns=2, color_title="ELR"))
    json.dumps(made, allow_nan=False)
    images = [t for t in made["data"] if t["type"] == "image"]
    assert [t["yaxis"] for t in images] == ["y", "y2", "y3"]
    assert images[1]["z"] == pixels(COLOURED).tolist()
    axis = made["wide"]["yaxis"]
    assert (axis["range"], axis["scaleanchor"], axis["visible"]) == ([1.5, -0.5], "x", False)
    assert made["wide"]["xaxis"]["range"] == [-0.5, 2.5]
    assert made["wide"]["yaxis4"]["type"] == "log", "lines beside pictures"
    small = to_plotly(PICTURES)
    assert small["narrow"]["yaxis"]["domain"] == small["narrow"]["yaxis2"]["domain"], "two beside each other on a phone"
    assert "no finite values" not in [note["text"] for note in small["wide"]["annotations"]]
    alt = Picture(name="a", number="1", title="Two", look_for="", differs="", chart=PICTURES, claims=[]).alt
    assert alt == "Two. pictures: grey | coloured | third."


@pytest.mark.parametrize(("value", "ending"), [(0.1, "Colour: ELR."), (None, "y against x.")])
def test_the_text_of_a_figure_tells_of_a_colour_scale_only_where_lines_use_it(value: float | None, ending: str):
    line = Line(x=np.arange(3.0), y=np.arange(3.0), value=value, name="named")
    chart = Chart(panels=[Panel(title="a", x=Axis(title="x"), y=Axis(title="y"), layers=[line])], color_title="ELR")
    alt = Picture(name="a", number="1", title="One", look_for="", differs="", chart=chart, claims=[]).alt
    assert alt.endswith(ending)


@pytest.mark.slow
def test_pictures_are_drawn_by_a_browser(browser: Chrome, tmp_path):  # noqa: F811
    page = gallery(PICTURES, tmp_path / "page.html")
    for width in (1400, 390):
        show(browser, page, width)
        found = browser.execute_script(
            "return [...document.querySelectorAll('#plot-fig5 .imagelayer image')].map(i => "
            "[i.getBoundingClientRect().width, i.getBoundingClientRect().height, (i.href.baseVal || '').slice(0, 10)])"
        )
        assert len(found) == 3
        for (wide, high, source), shape in zip(found, ((3, 2), (2, 1), (3, 2)), strict=True):
            assert wide > 20
            assert wide / high == pytest.approx(shape[0] / shape[1], rel=0.1), "square pixels"
            assert source == "data:image"
