"""The report page and the static figures, without a browser: what is in them, what never gets in, what they refuse."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from chart_examples import check_legend
from fake_results import fake_map, fake_result
from lrscope.charts import to_matplotlib, to_plotly
from lrscope.charts.draw_plotly import numbers
from lrscope.charts.text import number
from lrscope.errors import LrscopeError
from lrscope.mapping.types import Label
from lrscope.reporting import frames, phases, report, save_figures, text
from lrscope.reporting.figures import drawings
from lrscope.reporting.files import write_one
from lrscope.reporting.page import embed
from trees import without

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">"\'&{{7*7}} $\\frac{1}{0}$ %{x} <b>b</b>'
ALL = ("map", "finetune", "average", "features", "curves", "trajectories", "groups")

CASES: dict[str, dict[str, Any]] = {
    "everything": {},
    "one seed, coarse": {"lrs": 4, "seeds": 1, "epochs": 5},
    "one learning rate": {"lrs": 1, "seeds": 3},
    "several data seeds": {"data_seeds": 2, "seeds": 2},
    "many seeds": {"seeds": 24, "epochs": 10},
    "pre-training only": {"finetune": False, "average": False, "features": False},
    "fine-tuning only": {"average": False, "features": False},
    "averages only": {"finetune": False, "features": False},
    "not scale-invariant": {"invariant": False, "space": "whole"},
    "regression": {"regression": True, "features": False},
    "regression, not scale-invariant": {"regression": True, "invariant": False, "features": False, "space": "whole"},
    "some runs overflowed": {"nonfinite_lrs": 3},
    "every run overflowed": {"nonfinite_lrs": 16},
    "peaks of a schedule": {"schedule": "cosine"},
    "many groups": {"groups": tuple(f"stage{i}.block.conv.weight" for i in range(20))},
}


def result_for(case: str) -> xr.DataTree:
    return fake_result(**CASES[case])


class Page(HTMLParser):
    """What a browser would make of the page: elements with their attributes, texts, and the scripts' contents."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.style = ""
        self.words: list[str] = []
        self._open: list[str] = []
        self.raw = path.read_text(encoding="utf-8")
        self.feed(self.raw)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            attrs, before = self.scripts[-1]
            self.scripts[-1] = (attrs, before + data)
        elif inside == "style":
            self.style += data
        elif data.strip():
            self.words.append(data)

    @property
    def ids(self) -> set[str | None]:
        return {attrs["id"] for _, attrs in self.elements if "id" in attrs}

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split()).replace(" .", ".")

    def embedded(self, name: str) -> Any:
        return next(json.loads(code) for attrs, code in self.scripts if attrs.get("id") == name)


def write(result: xr.DataTree, folder: Path, **more: Any) -> Page:
    return Page(report(result, folder / "report.html", regime_map=more.pop("regime_map", fake_map(result)), **more))


# --- the page ---


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_figure_is_valid_for_plotly_and_strict_json(case, tmp_path):
    import plotly.graph_objects as go

    page = write(result_for(case), tmp_path)
    figures = page.embedded("figures")
    assert set(figures) <= set(ALL)
    for figure in figures.values():
        for layout in ("wide", "narrow"):
            go.Figure(data=figure["data"], layout=figure[layout])  # refuses unknown names and values
        if figure["selectable"]:
            assert {t["meta"]["lr"] for t in figure["data"] if "meta" in t} == set(range(len(page.embedded("rates"))))


def test_the_page_needs_nothing_but_itself(tmp_path):
    page = write(fake_result(), tmp_path)
    for tag, attrs in page.elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "video", "audio", "source"}
        assert "src" not in attrs
        assert not [name for name in attrs if name.startswith("on")]
        if "href" in attrs:
            assert (attrs["href"] or "").removeprefix("#") in page.ids
    assert "url(" not in page.style
    assert "@import" not in page.style
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy
    scripts = [code for attrs, code in page.scripts if attrs.get("type") != "application/json"]
    assert len(scripts) == 2
    for code in scripts:
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy, "the browser would refuse to run this script"


def test_hostile_text_stays_text(tmp_path):
    result = fake_result(
        lrs=5,
        epochs=4,
        title=HOSTILE,
        command=HOSTILE,
        config={HOSTILE: {HOSTILE: [HOSTILE, 1]}},
        groups=(HOSTILE, "b" + HOSTILE),
    )
    for name in ("device", "machine", "created", "config_hash", "code_hash"):
        result.attrs[name] = HOSTILE
    result.attrs["plan"] = json.dumps({HOSTILE: HOSTILE})
    found = fake_map(result, flags=(HOSTILE,), notes=(HOSTILE,))
    labels = tuple(replace(x, flags=(HOSTILE,), votes={HOSTILE: 1}) for x in found.labels)
    borders = {HOSTILE: replace(found.borders["1|2"], between=HOSTILE, reason=HOSTILE)}
    hostile_map = replace(found, labels=labels, borders=borders, recommended=replace(found.recommended, reason=HOSTILE))
    page = write(result, tmp_path, regime_map=hostile_map)
    plain_page = write(fake_result(lrs=5, epochs=4), tmp_path)
    assert len(page.scripts) == len(plain_page.scripts) == 4
    tags = {tag for tag, _ in page.elements}
    assert tags <= {tag for tag, _ in plain_page.elements} | {"li", "ul"}
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert page.said.count("<script>alert(1)</script>") >= 10, "hostile text should be shown as it is"
    assert "{{7*7}}" in page.said
    for name, figure in page.embedded("figures").items():
        strings = [s for s in walk(figure) if "<script" in s or "<img" in s or "<b>b" in s]
        assert not strings, f"{name} hands Plotly unescaped markup: {strings[0]!r}"


def walk(value: Any) -> list[str]:
    """All texts in nested JSON."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [s for key, inner in value.items() for s in [key, *walk(inner)]]
    return [s for inner in value for s in walk(inner)] if isinstance(value, list) else []


def test_embedded_json_cannot_end_its_script():
    value = {"</script>": ["<!--", "&", float(1), None]}
    words = embed(value)
    assert not set("<>&") & set(words)
    assert json.loads(words) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        embed(float("nan"))


@pytest.mark.parametrize(
    ("case", "there"),
    [
        ("everything", ALL),
        ("pre-training only", ("map", "curves", "trajectories", "groups")),
        ("fine-tuning only", ("map", "finetune", "curves", "trajectories", "groups")),
        ("averages only", ("map", "average", "curves", "trajectories", "groups")),
        ("not scale-invariant", ("map", "finetune", "average", "features", "curves", "trajectories")),
        ("regression, not scale-invariant", ("map", "finetune", "average", "curves", "trajectories")),
    ],
)
def test_sections_follow_what_the_result_holds(case, there, tmp_path):
    page = write(result_for(case), tmp_path)
    assert tuple(page.embedded("figures")) == there
    assert [name for name in ALL if name in page.ids] == list(there)
    assert {"answer", "regimes", "outcomes", "repeat", "command"} <= page.ids
    for name in there:
        alt = next(attrs["aria-label"] for _, attrs in page.elements if attrs.get("id") == "plot-" + name)
        assert alt
        assert len(alt) > 40


def test_the_answer_comes_first_and_in_words(tmp_path):
    result = fake_result()
    page = write(result, tmp_path)
    advice = fake_map(result).recommended
    assert f"Start at ELR {advice.low:.3g}, then decay to 0.0001." in page.said
    order = ["Start at ELR", "Or: Without a decay", "The map", "Border 1|2", "Table of all 16", "After fine-tuning"]
    places = [page.said.index(words) for words in order]
    assert places == sorted(places)
    unknown = write(result, tmp_path, regime_map=fake_map(result, known=False))
    assert "Where to start is undetermined: too few seeds: repeat with at least 3." in unknown.said


def test_spaces_have_their_own_word_for_the_axis(tmp_path):
    sphere = write(fake_result(lrs=4), tmp_path)
    whole = write(fake_result(lrs=4, space="whole"), tmp_path)
    for page, name in ((sphere, "effective learning rate (ELR)"), (whole, "learning rate")):
        titles = [
            axis["title"]["text"]
            for figure in page.embedded("figures").values()
            for key, axis in figure["wide"].items()
            if key.startswith("xaxis") and "title" in axis
        ]
        assert set(titles) == {name, "epoch", "training loss"}


def test_regression_speaks_of_losses_only(tmp_path):
    page = write(result_for("regression"), tmp_path)
    assert "test loss" in page.said
    assert "accuracy" not in page.said.replace("best test accuracy of the grid", "")


def test_outcomes_are_counted_and_come_with_a_remedy(tmp_path):
    page = write(fake_result(lrs=8, seeds=2, nonfinite_lrs=3), tmp_path)
    assert "non-finite 6 of 16" in page.said
    assert "overflowed: use a smaller learning rate" in page.said
    assert "stopped 18 of 48" in page.said
    crosses = [t for t in page.embedded("figures")["map"]["data"] if t.get("name") == "non-finite runs"]
    assert len(crosses) == 1
    assert len(crosses[0]["x"]) == 3


def test_how_to_repeat_it_is_said(tmp_path):
    page = write(fake_result(command="lrscope map --task ticks", config={"optimizer": {"lr": 0.1}}), tmp_path)
    for words in (
        "lrscope map --task ticks",
        "optimizer.lr",
        "batched",
        "2.9.0",
        "2025-01-02 03:04 UTC",
        "7 min",
        "cpu",
    ):
        assert words in page.said


def test_the_same_result_gives_the_same_page(tmp_path):
    pages = [report(fake_result(), tmp_path / name, regime_map=fake_map(fake_result())) for name in ("a", "b")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_a_big_result_stays_small(tmp_path):
    result = fake_result(lrs=24, seeds=20, epochs=200)
    path = report(result, tmp_path / "big.html", regime_map=fake_map(result))
    assert path.stat().st_size < 10e6
    figures = Page(path).embedded("figures")
    points = sum(len(t.get("x") or []) for f in figures.values() for t in f["data"])
    assert points < 60_000, "curves should be aggregated over seeds"


def test_the_parent_folder_is_made_and_the_path_returned(tmp_path):
    result = fake_result(lrs=4)
    path = report(result, str(tmp_path / "a" / "b" / "report.html"), regime_map=fake_map(result))
    assert path == tmp_path / "a" / "b" / "report.html"
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


@pytest.mark.slow
def test_without_a_map_the_result_is_mapped(tmp_path, monkeypatch):
    result = fake_result(lrs=4, seeds=1, epochs=3, finetune=False, average=False, features=False)
    seen = []
    monkeypatch.setattr("lrscope.mapping.regimes", lambda given: seen.append(given) or fake_map(given))
    report(result, tmp_path / "report.html")
    save_figures(result, tmp_path / "figures")
    assert seen == [result, result]


# --- what is refused ---


def test_a_folder_is_no_page(tmp_path):
    with pytest.raises(LrscopeError, match=r"is a folder.*report\.html"):
        report(fake_result(lrs=4), tmp_path, regime_map=fake_map(fake_result(lrs=4)))


def test_a_path_through_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LrscopeError, match="cannot write"):
        report(fake_result(lrs=4), tmp_path / "file" / "page.html", regime_map=fake_map(fake_result(lrs=4)))


def test_another_results_map_is_refused(tmp_path):
    with pytest.raises(LrscopeError, match="pass the map of this result"):
        report(fake_result(lrs=5), tmp_path / "page.html", regime_map=fake_map(fake_result(lrs=9)))


def test_an_unknown_regime_is_refused(tmp_path):
    result = fake_result(lrs=4)
    strange = replace(fake_map(result), labels=(Label(lr=float(result["lr"][0]), regime="4"),))
    with pytest.raises(LrscopeError, match="unknown regime '4'"):
        report(result, tmp_path / "page.html", regime_map=strange)


def test_a_broken_result_is_refused(tmp_path):
    result = fake_result(lrs=4)
    with pytest.raises(LrscopeError, match="'finetune/train_loss' is missing"):
        report(without(result, "finetune/train_loss"), tmp_path / "page.html", regime_map=fake_map(result))


@pytest.mark.parametrize(
    ("formats", "words"), [(("jpeg",), "unknown format 'jpeg'"), ("png", "formats: .png. is not a list")]
)
def test_unknown_formats_are_refused_before_any_work(formats, words, tmp_path):
    with pytest.raises(LrscopeError, match=words):
        save_figures(fake_result(lrs=4), tmp_path / "figures", formats=formats)
    assert not (tmp_path / "figures").exists()


def test_a_file_is_no_figure_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LrscopeError, match="is a file"):
        save_figures(fake_result(lrs=4), tmp_path / "file", regime_map=fake_map(fake_result(lrs=4)))


# --- static figures ---


@pytest.mark.slow
def test_every_figure_in_every_format(tmp_path):
    result = fake_result(lrs=6, seeds=2, epochs=6)
    starts = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    written = save_figures(result, tmp_path / "a", formats=tuple(starts), regime_map=fake_map(result))
    assert [p.name for p in written] == [f"{name}.{ending}" for name in ALL for ending in starts]
    assert {p.parent for p in written} == {tmp_path / "a"}
    for path in written:
        content = path.read_bytes()
        assert content.startswith(starts[path.suffix[1:]])
        assert len(content) > 5000


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_same_figure_is_the_same_file(ending, tmp_path):
    result = fake_result(lrs=4, seeds=1, epochs=3)
    drawing = drawings(result, fake_map(result))[0]
    first, second = (write_one(to_matplotlib(drawing.chart), tmp_path / f"{i}.{ending}") for i in (1, 2))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "known"),
    [
        ("one seed, coarse", False),
        ("one learning rate", True),
        ("peaks of a schedule", False),
        ("not scale-invariant", True),
        ("regression, not scale-invariant", True),
        ("every run overflowed", False),
        ("many groups", True),
    ],
)
@pytest.mark.filterwarnings("error")
def test_static_figures_of_odd_results_draw_without_a_warning(case, known):
    result = fake_result(**{"lrs": 5, "seeds": 2, "epochs": 4} | CASES[case] | {"average": False})
    for drawing in drawings(result, fake_map(result, known=known)):
        to_matplotlib(drawing.chart).draw_without_rendering()


@pytest.mark.slow
def test_static_figures_take_hostile_names_and_leave_matplotlib_as_it_was(tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    result = fake_result(lrs=5, seeds=1, epochs=4, groups=(HOSTILE, "$x"), finetune=False, average=False)
    groups = next(d for d in drawings(result, fake_map(result)) if d.name == "groups")
    assert "<script" not in write_one(to_matplotlib(groups.chart), tmp_path / "groups.svg").read_text()
    assert dict(mpl.rcParams) == before


MIXED = ("everything", "one learning rate", "many seeds", "regression, not scale-invariant", "many groups")


@pytest.mark.parametrize("case", MIXED)
def test_every_line_is_named_or_on_the_colour_scale_and_no_two_entries_look_alike(case):
    result = result_for(case)
    for drawing in drawings(result, fake_map(result)):
        check_legend(drawing.chart)


@pytest.mark.parametrize("case", MIXED)
def test_the_numbers_of_the_result_are_in_the_traces(case):
    """The means of the figures are in the traces, to the digits that a screen shows."""
    result = result_for(case)
    made = {d.name: to_plotly(d.chart)["data"] for d in drawings(result, fake_map(result))}
    lines = {name: [t["y"] for t in traces if "lines" in t.get("mode", "")] for name, traces in made.items()}
    expected = {"map": [q.spread.mean for q in frames.quantities(result)]}
    expected["curves"] = [row for panel in phases.curves(result) for row in panel.spread.mean]
    expected["trajectories"] = [row for panel in phases.trajectories(result) for row in panel.spread.mean]
    if (series := phases.finetuned(result)) is not None:
        expected["finetune"] = [spread.mean for spread in (*series.lines, series.before)]
    if (groups := phases.group_steps(result)) is not None:
        expected["groups"] = [*(row for q in groups.panels for row in q.spread.mean), groups.ratio.spread.mean]
    for name, rows in expected.items():
        for row in rows:
            assert numbers(row) in lines[name], name


def test_importing_the_room_loads_no_drawing_library():
    code = (
        "import sys, lrscope.reporting as r; print([m for m in ('torch', 'plotly', 'matplotlib') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"


# --- the arrays both draw from ---


def test_spread_leaves_out_what_is_not_finite():
    values = np.array([[1.0, 3.0, np.nan], [np.inf, np.nan, np.nan], [2.0, 2.0, 5.0]])
    told = frames.spread(values)
    np.testing.assert_allclose(told.mean, [2, np.nan, 3])
    np.testing.assert_allclose(told.sd, [np.sqrt(2), np.nan, np.sqrt(3)])
    np.testing.assert_allclose(told.low, [1, np.nan, 2])
    np.testing.assert_allclose(told.high, [3, np.nan, 5])


def test_features_are_sorted_within_a_run_before_averaging():
    result = fake_result(lrs=3, seeds=2, epochs=3, finetune=False, average=False)
    result["pretrain/feature_accuracy"][:] = 0.5
    result["pretrain/feature_accuracy"][:, 0, 0, 3] = 0.9
    result["pretrain/feature_accuracy"][:, 0, 1, 7] = 0.8  # the other run's favourite is another feature
    panels = phases.features(result)
    assert panels is not None
    np.testing.assert_allclose(panels[0].ranks.mean[0], 0.85)
    np.testing.assert_allclose(panels[0].ranks.mean[1:], 0.5)


def test_equal_steps_have_ratio_one_and_only_final_windows_count():
    result = fake_result(lrs=3, seeds=2, epochs=10)
    result["pretrain/group_ess"][:] = 1.0
    result["pretrain/group_ess"][..., :8, 0] = 100.0  # before the last fifth
    result["pretrain/group_ess"][..., 8:, 1] = 4.0
    groups = phases.group_steps(result)
    assert groups is not None
    np.testing.assert_allclose(groups.ratio.spread.mean, 4.0)
    np.testing.assert_allclose(groups.panels[1].spread.mean[0], 1.0)


def test_trajectories_run_over_training_loss_and_error():
    result = fake_result(lrs=4, seeds=3, epochs=6)
    steep, error = phases.trajectories(result)
    np.testing.assert_allclose(error.spread.mean, 1 - result["pretrain/test_accuracy"].mean(("data_seed", "seed")))
    np.testing.assert_allclose(steep.x, result["pretrain/train_loss"].mean(("data_seed", "seed")))


def test_long_curves_are_thinned_to_their_ends():
    keep = frames.thinned(5000)
    assert len(keep) == frames.MOST_POINTS
    assert (keep[0], keep[-1]) == (0, 4999)
    assert list(frames.thinned(3)) == [0, 1, 2]


def test_spans_tile_the_axis_and_borders_lie_on_it():
    result = fake_result(lrs=12)
    axis = frames.grid(result)
    back = frames.backdrop(axis, fake_map(result))
    assert [s.regime for s in back.stretches] == ["1", "2A", "2B", "3"]
    ends = [back.stretches[0].low, *(s.high for s in back.stretches)]
    assert ends == [s.low for s in back.stretches] + [ends[-1]]
    np.testing.assert_allclose([ends[0], ends[-1]], axis.edges[[0, -1]])
    for border, stretch in zip(back.borders, back.stretches, strict=False):
        assert border.lr == pytest.approx(stretch.high)


def test_a_log_axis_needs_positive_values():
    assert frames.suits_log(np.array([1e-5, 1.0, np.nan]))
    assert not frames.suits_log(np.array([0.0, 0.0, 1.0]))
    assert not frames.suits_log(np.array([np.nan]))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0075, "0.0075"),
        (7.5e-4, "7.5e-4"),
        (1e-4, "1e-4"),
        (0, "0"),
        (12.345, "12.3"),
        (1234.5, "1,234"),
        (2.5e6, "2.5e6"),
    ],
)
def test_numbers_are_written_short(value, words):
    assert number(value) == words


def test_not_a_number_is_a_dash():
    assert number(float("nan")) == text.duration(float("nan")) == "–"


@pytest.mark.parametrize(("seconds", "words"), [(7, "7 s"), (600, "10 min"), (11100, "3 h 05 min")])
def test_durations_are_written_for_people(seconds, words):
    assert text.duration(seconds) == words


def test_nested_configs_become_rows():
    rows = text.flatten({"a": {"b": [1, 2]}, "c": [{"d": None}, {"e": True}], "f": {}})
    assert rows == [("a.b", "1, 2"), ("c.0.d", "none"), ("c.1.e", "yes"), ("f", "(empty)")]


TEMPLATES = sorted((files("lrscope.reporting") / "template").iterdir(), key=lambda file: file.name)


@pytest.mark.parametrize("name", [file.name for file in TEMPLATES if file.name.endswith(".html")])
def test_what_pages_share_stands_in_one_template(name: str) -> None:
    """Head, scripts and the buttons below figures; a page says only what is its own."""
    page = (files("lrscope.reporting") / "template" / name).read_text(encoding="utf-8")
    own = name not in ("base.html", "parts.html")
    assert page.startswith('{% extends "base.html" %}\n') == own
    for shared in ("<head>", "<script", "<main", "<noscript", "data-save="):
        assert own <= (shared not in page), f"{shared} is in base.html or parts.html"
