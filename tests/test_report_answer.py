"""What a report begins with: the answer, what it rests on, the start on the map, the table, the zoomed figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fake_results import fake_map, fake_result
from lrscope.charts import style, to_matplotlib, to_plotly
from lrscope.charts.draw_matplotlib import HATCH
from lrscope.mapping.types import REGIMES, Border, Label, Recommendation, RegimeMap
from lrscope.reporting import frames, phases
from lrscope.reporting.banner import banner, who_chose
from lrscope.reporting.figures import drawings
from lrscope.reporting.placement import Place
from lrscope.reporting.start import start
from lrscope.reporting.zoom import zoom
from test_report import write

STAR = 5  # px: half of a mark's height at least, so that words are off it
ADVICE = Recommendation(
    low=0.005,
    high=0.0217,
    best=0.0138,
    finetune_lr=1e-3,
    before=0.7085,
    after=0.7461,
    undecided=(0.001, 0.0217),
    cliff=0.4,
    alternative="without a decay 0.00156 is best: test accuracy 72.67%",
    margin=0.3,
    chosen_by="test accuracy",
    reason="test accuracy 70.85% before and 74.61% after the decay at 0.0138; equal to the best within 0.3 points over 3 seeds "
    "(95%); chosen by test accuracy, which is optimistic; seeds are lost from 0.4 on",
)


def made(advice: Recommendation, **more: object) -> RegimeMap:
    """A map of nothing but its recommendation."""
    return RegimeMap(labels=(), borders={}, recommended=advice, seeds=3, **more)  # type: ignore[arg-type]


# --- the banner ---


def test_the_banner_answers_in_one_sentence_and_says_what_it_rests_on():
    told = banner(made(ADVICE), "ELR", {"test_size": 773})
    assert told.known
    assert told.headline == "Start at ELR 0.005 to 0.0217, then decay to 0.001."
    assert told.reached == (
        ("70.85%", "test accuracy before the decay"),
        ("74.61%", "test accuracy after the decay"),
    )
    assert told.at == "mean over 3 seeds at ELR 0.0138"
    assert told.alternative == "Without a decay 0.00156 is best: test accuracy 72.67%."
    assert told.basis == (
        "Equal to the best within 0.3 points over 3 seeds (95%).",
        "Seeds are lost from 0.4 on.",
        "Chosen by the test accuracy on the 773 test examples that also report it, which is optimistic: a validation set "
        "(--validation) would keep the two apart.",
    )


def test_the_banner_without_a_decay_speaks_of_none():
    advice = replace(ADVICE, low=0.0138, high=0.0138, finetune_lr=None, after=None)
    told = banner(made(advice), "peak learning rate", None)
    assert told.headline == "Start at peak learning rate 0.0138."
    assert told.reached == (("70.85%", "test accuracy"),)


def test_a_reason_that_repeats_nothing_is_shown_whole():
    told = banner(made(replace(ADVICE, reason="because I say so; twice.", chosen_by="")), "ELR", {})
    assert told.basis == ("Because I say so.", "Twice.")
    unknown = banner(made(Recommendation(low=None, high=None, reason="nothing was learned: train longer")), "ELR", {})
    assert not unknown.known
    assert unknown.headline == "Where to start is undetermined: nothing was learned: train longer."
    assert unknown.reached == unknown.basis == ()


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (
            {"test_size": 512, "validation": {"size": 1000, "source": "unused training examples"}},
            "1,000 validation examples (unused training examples); the 512 test examples only report.",
        ),
        ({"test_size": 1, "validation": {"size": 1}}, "1 validation example; the 1 test example only report."),
        ("no JSON", "validation examples; the test examples only report."),
        ({"validation": "many", "test_size": -3}, "validation examples; the test examples only report."),
    ],
)
def test_who_chose_is_said_with_sizes(task, words):
    assert who_chose("validation accuracy", task) == f"Chosen by the validation accuracy on {words}"
    assert who_chose("", task) == ""


def test_the_page_says_that_the_test_set_only_reports(tmp_path):
    result = fake_result(lrs=16, epochs=4, validation=400)
    found = fake_map(result)
    page = write(
        result,
        tmp_path,
        regime_map=replace(found, recommended=replace(found.recommended, chosen_by="validation accuracy")),
    )
    assert "400 validation examples (unused training examples); the 2,000 test examples only report." in page.said
    assert "validation size 400 (unused training examples)" in page.said


# --- regimes, and maps without any ---


def test_every_regime_has_a_colour_a_pattern_and_a_name():
    for of in (style.REGIME_COLOR, style.REGIME_PATTERN, style.REGIME_NAME):
        assert set(of) == set(REGIMES)
    assert len(set(style.REGIME_COLOR.values())) == len(set(style.REGIME_NAME.values())) == len(REGIMES)
    assert set(style.REGIME_PATTERN.values()) <= set(HATCH)


def test_dead_networks_are_drawn_and_named(tmp_path):
    result = fake_result(lrs=16, epochs=4, invariant=False, space="whole")
    page = write(result, tmp_path)
    assert "dead at chance, without overflow" in page.said
    letters = [a["text"] for a in page.embedded("figures")["map"]["wide"]["annotations"]]
    assert "<b>dead</b>" in letters
    assert "<b>3</b>" not in letters


def peaks() -> RegimeMap:
    """A map as `regimes` makes it under a schedule."""
    found = fake_map(fake_result(schedule="cosine"))
    reason = "regimes are those of a constant learning rate, and these are peaks: train with schedule constant"
    labels = tuple(replace(x, regime="?", votes={}) for x in found.labels)
    return replace(found, labels=labels, borders={n: Border(between=n, reason=reason) for n in found.borders})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, ("optimizer sgd schedule constant",)),
        (
            {"momentum": 0.9, "nesterov": True, "clip_norm": 0.5},
            ("sgd, momentum 0.9, nesterov, gradients clipped to norm 0.5",),
        ),
        (
            {"optimizer": "muon", "betas": [0.8, 0.9], "muon_momentum": 0.95, "momentum": 0.7, "warmup_steps": 7},
            (
                "optimizer muon, muon momentum 0.95, betas 0.8 and 0.9 schedule",
                "schedule constant after a warm-up of 7 steps",
            ),
        ),
        (
            {"optimizer": "task", "warmup_epochs": 0.5, "schedule": "wsd:0.2"},
            ("optimizer the task's own", "wsd:0.2 after a warm-up of 0.5 epochs"),
        ),
        ({"optimizer": ["<b>"]}, ("optimizer ['<b>'] schedule",)),
    ],
)
def test_the_page_says_how_was_trained(config, words, tmp_path):
    said = " ".join(write(fake_result(config={"task": "ticks", **config}), tmp_path).said.split())
    for expected in words:
        assert expected in said


def test_peaks_of_a_schedule_have_no_map_of_nothing(tmp_path):
    page = write(fake_result(schedule="cosine"), tmp_path, regime_map=peaks())
    assert "Start at peak ELR" in page.said
    assert page.said.count("regimes are those of a constant learning rate") == 1, "under the map"
    assert page.said.count("Regimes are those of a constant learning rate") == 1, "one box for all borders"
    assert "schedule cosine" in page.said
    for words in ("Border 1|2", "regime 1 from", "regime ?", "? ×"):
        assert words not in page.said
    chart = page.embedded("figures")["map"]
    assert chart["wide"]["yaxis"]["ticktext"] == ["start"]
    assert not [t for t in chart["data"] if "fillpattern" in t]
    assert not [a for a in chart["wide"]["annotations"] if "?" in a["text"]]
    assert chart["wide"]["xaxis4"]["title"]["text"] == "peak effective learning rate (ELR)"
    static = to_matplotlib(drawings(fake_result(schedule="cosine"), peaks())[0].chart)
    assert [label.get_text() for label in static.axes[0].get_yticklabels()] == ["start"]


def test_without_regimes_and_without_a_start_only_panels_remain(tmp_path):
    result = fake_result(lrs=6, epochs=3)
    found = drawings(result, fake_map(result, known=False))[0]
    assert len(to_matplotlib(found.chart).axes) == 3
    assert "yaxis4" not in to_plotly(found.chart)["wide"]
    assert "No regimes are shown: too few seeds" in found.caption


# --- the start on the map ---


def test_both_twins_draw_the_start():
    result = fake_result(lrs=24, epochs=4)
    found = fake_map(result)
    row = start(frames.grid(result), found)
    assert row is not None
    assert row.open_low < row.low < row.best <= row.high < (row.cliff or 0)
    chart = drawings(result, found)[0]
    traces = [t for t in to_plotly(chart.chart)["data"] if t.get("yaxis") == "y2" and t["y"][0] == len(found.borders)]
    assert [t["x"] for t in traces] == [
        pytest.approx(x, rel=1e-4)
        for x in ([row.open_low, row.open_high], [row.low, row.high], [row.best], [row.cliff])
    ]
    lines = to_matplotlib(chart.chart).axes[1].get_lines()
    drawn = [tuple(line.get_xdata()) for line in lines]
    for x in ((row.open_low, row.open_high), (row.low, row.high), (row.best,), (row.cliff,)):
        assert x in drawn
    assert "thin line is the range that the seeds leave open; × marks where seeds are lost." in chart.caption
    told = replace(found.recommended, undecided=(found.recommended.low, found.recommended.high), cliff=None)
    assert drawings(result, replace(found, recommended=told))[0].caption.endswith("with a star at the best.")


# --- the table ---


@pytest.mark.parametrize(("lrs", "opened"), [(12, True), (13, False)])
def test_a_long_table_is_folded(lrs, opened, tmp_path):
    page = write(fake_result(lrs=lrs, epochs=3, seeds=1), tmp_path)
    folds = [attrs for tag, attrs in page.elements if tag == "details" and attrs.get("id") == "table"]
    assert len(folds) == 1
    assert ("open" in folds[0]) is opened


def test_the_table_tells_loss_and_quality_before_and_after(tmp_path):
    result = fake_result(lrs=9, epochs=3)
    found = fake_map(result)
    page = write(result, tmp_path, regime_map=found)
    assert "ELR regime training loss test accuracy after decay to 0.0001 flags runs' votes sharpness" in page.said
    for label in found.labels:
        assert f"{found.show(label.before)} {found.show(label.after)}" in page.said
    starts = [tag for tag, attrs in page.elements if tag == "tr" and attrs.get("class") == "start"]
    advice = found.recommended
    assert len(starts) == sum(advice.low <= x.lr <= advice.high for x in found.labels) > 0
    alone = fake_result(lrs=9, epochs=3, finetune=False)
    assert "after decay" not in write(alone, tmp_path).said


# --- zoom ---


def line(*means: float, sd: float = 0.001) -> frames.Spread:
    values = np.array(means)
    return frames.Spread(values=values[:, None], mean=values, sd=np.full(values.size, sd), low=values, high=values)


GOOD = (0.93, 0.935, 0.94, 0.945, 0.95, 0.945, 0.94, 0.935)


def test_failed_learning_rates_are_left_out_of_the_axis():
    found = zoom([line(*GOOD, 0.1, 0.1, 0.1)], line(*GOOD, 0.1, 0.1, np.nan), log=False, higher_is_better=True)
    assert found is not None
    assert 0.91 < found.low < found.edge < 0.93
    assert 0.95 < found.high < 0.97
    np.testing.assert_array_equal(found.outside(np.array([0.1, 0.94, np.nan, 2.0])), [True, False, False, False])


@pytest.mark.parametrize("dead", [8, 24, 64])
def test_most_of_the_grid_may_have_failed(dead):
    found = zoom([line(*GOOD, *[0.1] * dead)], line(0.1), log=False, higher_is_better=True)
    assert found is not None
    assert found.low > 0.9


@pytest.mark.parametrize(
    ("lines", "before"),
    [
        ([line(*GOOD)], line(*GOOD)),  # nothing is far off
        ([line(*np.linspace(0.2, 0.9, 12))], line(0.3)),  # a slope all the way
        ([line(*(0.9 - np.linspace(-0.7, 0.7, 24) ** 2))], line(0.5)),  # a smooth optimum
        ([line(0.9, 0.1)], line(0.9, 0.1)),  # too few points to tell
        ([line(*GOOD, 0.8, sd=0.1)], line(0.8)),  # no further off than seeds scatter
        ([line(*[np.nan] * 9)], line(np.nan)),
    ],
)
def test_an_axis_that_shows_all_well_stays(lines, before):
    assert zoom(lines, before, log=False, higher_is_better=True) is None


def test_equal_values_and_losses_zoom_too():
    flat = zoom([line(*[0.5] * 9, 0.1, sd=0.0)], line(0.5), log=False, higher_is_better=True)
    assert flat is not None
    assert flat.low < 0.5 < flat.high
    loss = zoom([line(*(np.array(GOOD) / 100), 50.0, 80.0)], line(50.0), log=True, higher_is_better=False)
    assert loss is not None
    assert 0 < loss.low < 0.0093 < 0.0095 < loss.edge < loss.high < 0.1
    np.testing.assert_array_equal(loss.outside(np.array([50.0, 0.001])), [True, False])


def test_the_line_to_compare_with_counts_if_it_is_near():
    near = zoom([line(*GOOD, 0.1)], line(0.92, 0.1), log=False, higher_is_better=True)
    far = zoom([line(*GOOD, 0.1)], line(0.5, 0.1), log=False, higher_is_better=True)
    assert near is not None
    assert far is not None
    assert near.low < 0.92 < far.low


def fallen() -> tuple[object, RegimeMap]:
    """A result whose two highest learning rates end at 5% after every fine-tuning."""
    result = fake_result(lrs=16, epochs=4, finetune=True, average=False, features=False)
    result["finetune/test_accuracy"][:] = 0.94
    result["finetune/test_accuracy"][-2:] = 0.05
    return result, fake_map(result)


def test_points_beyond_the_axis_are_marked_and_said_in_both_twins():
    result, found = fallen()
    series = phases.finetuned(result)
    assert series is not None
    assert series.zoom is not None
    beyond = series.left_out
    assert beyond == 6 + int(series.zoom.outside(series.before.mean).sum())
    chart = next(d for d in drawings(result, found) if d.name == "finetune")
    assert f"{beyond} points lie below it, marked ▼ at its edge" in chart.caption
    page = to_plotly(chart.chart)
    marks = [t for t in page["data"] if t.get("name") == "beyond this range"]
    assert sum(len(t["x"]) for t in marks) == beyond
    assert [t["showlegend"] for t in marks] == [True] + [False] * (len(marks) - 1)
    assert "0.05" in marks[0]["text"][0]
    for layout in ("wide", "narrow"):
        low, high = page[layout]["yaxis"]["range"]
        assert (low, high) == (series.zoom.low, series.zoom.high)
        assert all(low < y < high for t in marks for y in t["y"])
    figure = to_matplotlib(chart.chart)
    ax = figure.axes[0]
    assert ax.get_ylim() == (series.zoom.low, series.zoom.high)
    heights = [y for drawn in ax.collections for y in np.asarray(drawn.get_offsets())[:, 1]]
    assert heights.count(series.zoom.edge) == beyond
    assert [t.get_text() for t in figure.legends[0].get_texts()].count("beyond this range") == 1


def test_losses_on_a_log_axis_are_zoomed_in_both_twins():
    result = fake_result(lrs=16, epochs=4, regression=True, average=False, features=False)
    result["finetune/test_loss"][:] = 0.01
    result["finetune/test_loss"][-2:] = 30.0
    chart = next(d for d in drawings(result, fake_map(result)) if d.name == "finetune")
    assert "above it, marked ▲ at its edge" in chart.caption
    low, high = to_plotly(chart.chart)["wide"]["yaxis"]["range"]
    assert to_matplotlib(chart.chart).axes[0].get_ylim() == pytest.approx((10**low, 10**high))
    to_matplotlib(chart.chart).draw_without_rendering()


def test_labels_without_results_leave_a_dash(tmp_path):
    result = fake_result(lrs=4, epochs=3)
    found = fake_map(result)
    labels = (Label(lr=found.labels[0].lr, regime="1"), *found.labels[1:])
    assert "– –" in write(result, tmp_path, regime_map=replace(found, labels=labels)).said


def test_the_range_is_written_where_there_is_room_and_never_beyond_the_cliff():
    grid = frames.grid(fake_result(lrs=24, epochs=2, seeds=1))
    row = start(grid, made(replace(ADVICE, cliff=0.03)))
    assert row is not None
    assert row.words_at(grid) == Place(x=0.001, side="left")
    low = start(grid, made(replace(ADVICE, low=2e-4, high=3e-4, best=2e-4, undecided=(2e-4, 5e-4), cliff=None)))
    assert low is not None
    assert low.words_at(grid) == Place(x=5e-4, side="right")


@pytest.mark.parametrize(("lrs", "best"), [(4, 0), (8, 3), (24, 23)])
def test_the_words_of_a_row_are_readable_where_its_marks_fill_the_axis(lrs, best):
    """Inside the panel, off all marks and off each other, as measured in the figure."""
    result = fake_result(lrs=lrs, epochs=2, seeds=1, average=False, features=False)
    rates = [float(lr) for lr in result.coords["lr"].values]
    across = {"low": rates[0], "high": rates[-1]}
    advice = replace(
        ADVICE, low=rates[best], high=rates[best], best=rates[best], undecided=(rates[0], rates[-1]), cliff=None
    )
    border = Border(between="1|2", lr=float(np.sqrt(rates[0] * rates[-1])), reason="wide", **across)
    found = replace(fake_map(result), recommended=advice, borders={"1|2": border})
    figure = to_matplotlib(drawings(result, found)[0].chart)
    figure.draw_without_rendering()
    ax = figure.axes[1]
    room, words = ax.get_window_extent(), [text.get_window_extent() for text in ax.texts]
    assert len(words) == 2
    for box in words:
        assert room.x0 <= box.x0 < box.x1 <= room.x1
        assert room.y0 <= box.y0 < box.y1 <= room.y1
    marks = [(*line.get_xydata()[0], *line.get_xydata()[-1]) for line in ax.get_lines()]
    assert {y for _, y, _, _ in marks} == {0.0, 1.7}
    heights = [ax.transData.transform((rates[0], y))[1] for y in (0.0, 1.7)]
    for box in words:
        assert all(box.y1 < height - STAR or box.y0 > height + STAR for height in heights)
    assert not words[0].overlaps(words[1])
