"""The list of figures: which exist for a result, what they are called, what to look for, and what they are drawn from.

Page, static files and tests take their figures from `drawings`, in this order.
"""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from lrscope.charts import Chart, Line
from lrscope.mapping.types import RegimeMap
from lrscope.order.learning_order import REACHED, learning_order, ordered
from lrscope.reporting import frames, phases
from lrscope.reporting import phase_charts as charts
from lrscope.reporting.decay_chart import decay_chart, reported
from lrscope.reporting.map_chart import map_chart
from lrscope.reporting.order_chart import group_curves, order_chart
from lrscope.reporting.start import wider
from lrscope.reporting.text import interval, sentence

MEANS = "with pre-training alone in black; mean and one standard deviation over runs."
ORDER = (
    "Look for lines that cross: there learning rates differ in what they learn first. Bands are intervals over runs. A hollow "
    "mark above the dashed line, the end of training: half of the runs or more never get there. Kendall's tau is 1 where two "
    "orders are the same. Compare it with the tau between seeds, which is what chance leaves."
)
DECAY = (
    "Each point is the end of runs whose learning rate fell at that time; the dashed line is the same network just before. Bands "
    "are 95% intervals over seeds. A star marks where waiting stops to pay: later decays gain no more than counts."
)
RISING = "Look for what rises late, or only at some learning rates. Bring one forward to see its range over runs."
SAID = 3  # ours: curves of a branch whose saturation the caption says
RANKED = "sorted within each run from the best to the worst feature and averaged over runs."


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure with what is said about it."""

    name: str
    title: str
    short: str
    caption: str
    alt: str
    chart: Chart

    @property
    def selectable(self) -> bool:
        """Can one learning rate be brought forward?"""
        return any(isinstance(layer, Line) and layer.key is not None for layer in self.chart.layers)


def drawings(result: xr.DataTree, regime_map: RegimeMap) -> list[Drawing]:
    """Every figure that the result has data for, in the page's order."""
    grid = frames.grid(result)
    back = frames.backdrop(grid, regime_map)
    found: list[Drawing] = []

    def add(name: str, title: str, short: str, chart: Chart, caption: str, alt: str) -> None:
        found.append(Drawing(name=name, title=title, short=short, chart=chart, caption=caption, alt=alt))

    test, steep = frames.quality(result)[1], frames.sharpness(result)[1]
    chart = map_chart(grid, back, regime_map, frames.quantities(result), frames.nonfinite_counts(result))
    alt = f"Training loss, {test} and {steep} against the {grid.name}. {_regimes_in_words(grid, back, regime_map)}"
    add("map", "The map", "Map", chart, _map_caption(grid.short, regime_map), alt)
    if (series := phases.finetuned(result)) is not None:
        caption = (
            f"{_what_finetuning_shows(series)} The black line is the same network before the decay: the gap to it is "
            f"what the decay gains.{_zoomed(series)}"
        )
        alt = f"{series.title} against the pre-training {grid.name}, one line per fine-tuning rate, {MEANS}"
        add("finetune", "After fine-tuning", "Fine-tuning", charts.series_chart(grid, back, series), caption, alt)
    if (series := phases.averaged(result)) is not None:
        caption = (
            "Averaging checkpoints pays where training hops about inside one basin: lines above the black one and "
            f"close together. Where more checkpoints make it worse, they come from different basins.{_zoomed(series)}"
        )
        alt = f"{series.title} against the {grid.name}, one line per number of averaged checkpoints, {MEANS}"
        add("average", "After averaging weights", "Averaging", charts.series_chart(grid, back, series), caption, alt)
    if (panels := phases.features(result)) is not None:
        names, chart = panels[0].names, charts.features_chart(grid, back, panels)
        shown = f"a line for each of {', '.join(names)}, averaged over runs." if names else RANKED
        alt = f"Accuracy on single-feature test sets against the {grid.name}, {shown}"
        add("features", "Which features were learned", "Features", chart, _features_caption(names), alt)
    caption = (
        "Lines that keep falling converge, lines that turn flat have reached an equilibrium, lines that never leave "
        "the top diverge. Bring one forward to see its range over runs."
    )
    alt = f"Training loss and {test} by epoch, one line per learning rate, mean over runs."
    chart = charts.curves_chart(grid, phases.curves(result), along_loss=False)
    add("curves", "Along training", "Curves", chart, caption, alt)
    caption = (
        f"Read from right to left, dots mark the end. At equal training loss a higher {grid.short} "
        "tends to pass through flatter regions with less test error; lines that stop half-way are in equilibrium."
    )
    error = "test error" if test == "test accuracy" else test
    alt = f"{steep} and {error} against training loss while training goes on, one line per learning rate."
    chart = charts.curves_chart(grid, phases.trajectories(result), along_loss=True)
    add("trajectories", "Through the loss landscape", "Landscape", chart, caption, alt)
    for of in ordered(result):
        order = learning_order(result, of=of)
        words = order.of
        caption = " ".join([ORDER, *map(sentence, order.notes)])
        alt = f"Epochs until {words} reach {REACHED:.0%} accuracy against the {grid.name}, and how far orders agree."
        chart = order_chart(grid, back, order)
        add(f"order-{of}", f"In which order {words} are learned", f"Order, {of}", chart, caption, alt)
        chart = charts.curves_chart(grid, group_curves(result, of), along_loss=False)
        alt = f"Accuracy of {words} by epoch, one line per {grid.short}, mean over runs."
        title = f"{words[0].upper()}{words[1:]} along training"
        add(f"order-{of}-curves", title, f"Curves, {of}", chart, RISING, alt)
    for branch, curves in reported(result, frames.quality(result)[0]).items():
        told = [sentence(f"{curve.title.partition(', ')[2]}: {curve.saturation}") for curve in curves[:SAID]]
        caption = " ".join([DECAY, *told])
        alt = (
            f"{test} at the end of {branch} against the time at which the learning rate decays, and what waiting gains."
        )
        add(f"decay-{branch}", f"When to decay: {branch}", f"Decay, {branch}", decay_chart(curves), caption, alt)
    if (groups := phases.group_steps(result)) is not None:
        caption = (
            "In regime 2 the tensors' effective step sizes (ESS) drift together: lines merge and their ratio comes down to 1. "
            "A ratio well above 1 means that training is still on its way (regime 1) or astray (far into regime 3)."
        )
        alt = (
            f"ELR and effective step size of each weight tensor against the {grid.name}, and the ratio of the largest "
            "to the smallest effective step size; means over the last fifth of training."
        )
        add("groups", "Steps of the weight tensors", "Groups", charts.groups_chart(grid, back, groups), caption, alt)
    return found


def _map_caption(rate: str, regime_map: RegimeMap) -> str:
    if not frames.has_regimes(regime_map):
        reason = next((b.reason for b in regime_map.borders.values() if b.reason), "no label is known")
        told = f"No regimes are shown: {reason.rstrip('.')}."
    else:
        told = (
            f"Look for the bends: training loss falls as the {rate} grows until regime 1 ends, settles on a rising "
            "plateau through regime 2, and in regime 3, where there is one, lies at or above random points. "
            "Grey bands are the borders' intervals; a wide one asks for more seeds or a finer grid."
        )
    advice = regime_map.recommended
    if advice.best is None:
        return told
    start = " The row “start” shows the recommended range, with a star at the best"
    start += "; the thin line is the range that the seeds leave open" if wider(advice) else ""
    start += "; × marks where seeds are lost" if advice.cliff is not None else ""
    return f"{told}{start}."


def _what_finetuning_shows(series: phases.Series) -> str:
    if len(series.lines) == 1:
        return "Look for the top: starting there and decaying ends best. Left of it training is slow, right of it too coarse."
    return (
        "Look for the stretch where all colours meet at their best, whatever learning rate fine-tuned them: starting there "
        "ends well and safely. Where they fan out and fall behind, pre-training was too coarse."
    )


def _zoomed(series: phases.Series) -> str:
    """Says what a zoomed axis leaves out."""
    if not series.left_out or series.zoom is None:
        return ""
    mark, side = ("▼", "below") if series.zoom.higher_is_better else ("▲", "above")
    are = "point lies" if series.left_out == 1 else "points lie"
    return (
        f" The axis is zoomed to where the lines differ: {series.left_out} {are} {side} it, marked {mark} at its edge; "
        "double-click to see all."
    )


def _features_caption(names: tuple[str, ...]) -> str:
    if names:
        return (
            "Accuracy on test sets with one feature each: what a network can tell from it alone. "
            "Look for the rate at which one line stands clear of the others: runs there rely on that feature. "
            "The black line is the usual test set."
        )
    return (
        "Look for the fan: where the top ranks stand clear of the rest, runs rely on few features; "
        "where all ranks lie together, none stands out. "
        "Ranks are taken within each run, because runs favour different features."
    )


def _regimes_in_words(grid: frames.Grid, back: frames.Backdrop, regime_map: RegimeMap) -> str:
    """The map for those who cannot see it: spans and borders."""
    if not back.stretches:
        return "No regimes are known."
    rates = grid.lr
    parts = []
    for stretch in back.stretches:
        inside = rates[(rates >= stretch.low) & (rates <= stretch.high)]
        parts.append(f"regime {stretch.regime} from {grid.text(inside[0])} to {grid.text(inside[-1])}")
    borders = [f"{b.between} {interval(b, grid.text)}" for b in regime_map.borders.values()]
    return "Regimes: " + ", ".join(parts) + ". Borders: " + ", ".join(borders) + "."
