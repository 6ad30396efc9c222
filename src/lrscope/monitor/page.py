"""The page of a run: what it says in sentences, figures over updates, a table of groups. One HTML file with everything in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrscope._version import __version__
from lrscope.charts import Axis, Border, Chart, Layer, Level, Line, Panel, style, to_plotly
from lrscope.charts.text import NOTHING, number, shorten
from lrscope.errors import LrscopeError
from lrscope.monitor.monitor import FIRST, Monitor
from lrscope.monitor.readings import Readings
from lrscope.reporting.page import fill, write_text
from lrscope.reporting.text import sentence
from lrscope.storage.files import check_target, mode_of
from lrscope.storage.paths import local

Array = NDArray[np.float64]
CHANGED = (
    " The upright dashed line is where the learning rate last changed by more than a quarter; the regime is told from what "
    "follows."
)
SHARPNESS = "gradient norm x weight norm (sharpness)"  # three_regimes measures sharpness so, of scale-invariant weights
DRAWN = 8  # ours: groups with a line each; others are in the table
MOST_ROWS = 16  # a longer table is folded
MEANING = {
    "1": "Regime 1 is convergence: the loss keeps falling toward a minimum.",
    "2": "Regime 2 is chaotic equilibrium: the loss levels off at a height that the learning rate sets.",
    "3": "Regime 3 is divergence: the network stays at the level of random guessing.",
}


@dataclass(frozen=True)
class Picture:
    """A figure with what is said about it; `name` is an identifier."""

    name: str
    title: str
    caption: str
    alt: str
    chart: Chart


def write(monitor: Monitor, path: str | os.PathLike[str], title: str) -> Path:
    """Render and write the page.

    Raises:
        LrscopeError: nothing is measured yet, or a path that is no file.
    """
    target = local(path, "path")
    mode = mode_of(target, follow=False)
    if mode is not None and stat.S_ISDIR(mode):
        raise LrscopeError(f"path: {target} is a folder: name a file in it, such as {target / 'monitor.html'}")
    check_target(target)
    seen = monitor.readings()
    if not len(seen.record.update):
        raise LrscopeError(f"report: nothing is measured before update {monitor.between}: train longer")
    return write_text(render(monitor, seen, title), target)


def render(monitor: Monitor, seen: Readings, title: str) -> str:
    """The page as text."""
    found = pictures(seen)
    rows = group_rows(seen)
    return fill(
        "monitor.html",
        {p.name: to_plotly(p.chart) | {"selectable": False} for p in found},
        title=title,
        regime=seen.regime.regime,
        confidence=seen.regime.confidence,
        color=style.REGIME_COLOR.get(seen.regime.regime, style.MUTED),
        headline=sentence(str(seen.regime)),
        meaning=MEANING.get(seen.regime.regime),
        earlier=None if seen.earlier_words is None else sentence(seen.earlier_words),
        decay=_decay(monitor, seen),
        alarms=[sentence(str(alarm)) for alarm in seen.alarms],
        pictures=found,
        rows=rows,
        folded=len(rows) > MOST_ROWS,
        facts=facts(monitor, seen),
    )


def _decay(monitor: Monitor, seen: Readings) -> str | None:
    """What the headline does not say of a decay: that of another learning rate, or how to learn it."""
    if seen.outdated_words is not None:
        return sentence(seen.outdated_words)
    if seen.ahead is not None or seen.regime.regime != "2":
        return None
    made = "" if monitor.average is not None else "made with look_ahead=True, "
    return sentence(f"{made}monitor.look_ahead(evaluate) says what a decay would reach")


def facts(monitor: Monitor, seen: Readings) -> list[tuple[str, str]]:
    """What the record is of."""
    kinds = dict.fromkeys(one.kind for one in monitor._found)
    skipped = "" if monitor.scaler is None else f", {monitor.skipped:,} of them skipped by the scaler"
    return [
        ("model", type(monitor.model).__name__),
        ("optimizer", ", ".join(kinds)),
        ("updates", f"{monitor.updates:,}" + (f" of {seen.horizon:,}" if seen.horizon else "")),
        ("calls without an update", f"{monitor.calls - monitor.updates:,}{skipped}"),
        ("measured", _spacing(monitor)),
        ("groups", f"{len(seen.groups)}, {sum(bool(g.invariant) for g in seen.groups)} known to be scale-invariant"),
        ("learning rate about as now since", f"update {seen.facts.updates[0]:,}"),
        ("loss of guessing", NOTHING if seen.chance is None else number(seen.chance)),
        ("lrscope", __version__),
    ]


def _spacing(monitor: Monitor) -> str:
    if monitor.losses_come_late:
        return "at each log of the loss"
    each = "each update" if monitor.between == 1 else f"every {monitor.between} updates"
    return each if monitor.every is not None else f"{each}, the loss of the first {FIRST} one by one"


def group_rows(seen: Readings) -> list[dict[str, str]]:
    """A row of the table for each group."""
    last = seen.record.groups[-1]
    norm, elr, steep = (last[k] for k in range(3))
    return [
        {
            "name": group.name,
            "kind": _kind(group.invariant, group.matters),
            "norm": number(float(norm[g])),
            "elr": number(float(elr[g])) if group.matters else NOTHING,
            "angle": number(seen.angles[g]),
            "goal": NOTHING if seen.goals[g] is None else number(seen.goals[g] or 0.0),
            "sharpness": number(float(steep[g])),
            "equilibrium": seen.equilibrium[g] if group.matters else NOTHING,
        }
        for g, group in enumerate(seen.groups)
    ]


def _kind(invariant: bool | None, matters: bool) -> str:
    if not matters:
        return "no effect"
    return "not looked for" if invariant is None else "scale-invariant" if invariant else "other"


def pictures(seen: Readings) -> list[Picture]:
    """The figures that there is data for."""
    shown = drawn(seen)
    return [
        Picture(
            "loss",
            "Loss and learning rate",
            "Each point of the loss is a mean since the measurement before." + (CHANGED if seen.since else ""),
            "Training loss, learning rate and norm of the gradient by update.",
            Chart(panels=[_loss(seen), _lr(seen), _gradient(seen)], columns=3),
        ),
        Picture(
            "groups",
            "Steps and norms of the weights",
            "How far one update turns each group of weights, the norm of the weights, and their effective learning rate. In "
            "equilibrium angular updates are level, and those of scale-invariant groups are equal. A group far from the others "
            "learns at another speed.",
            f"Angular update, norm and effective learning rate by update, a line for each of {len(shown)} groups.",
            Chart(
                panels=[
                    _groups(seen, shown, "group_angle", "angular update (rad)", log=True),
                    _groups(seen, shown, "group_norm", "norm", log=True),
                    _groups(seen, shown, "group_elr", "effective learning rate", log=True),
                ],
                columns=3,
            ),
        ),
    ]


def drawn(seen: Readings) -> list[int]:
    """The groups with a line: the largest of those that are compared, or of all, in their order."""
    norms = np.nan_to_num(seen.grouped("group_norm")[-1])
    candidates = [g for g, group in enumerate(seen.groups) if group.compared] or list(range(len(seen.groups)))
    return sorted(sorted(candidates, key=lambda g: -norms[g])[:DRAWN])


def _x() -> Axis:
    return Axis(title="update")


def _since(seen: Readings) -> list[Layer]:
    return [Border(x=float(seen.facts.updates[0]))] if seen.since else []


def _loss(seen: Readings) -> Panel:
    loss = seen.curve.loss
    layers: list[Layer] = [*_since(seen), Line(x=seen.curve.update, y=loss, color=style.INK)]
    layers += [Level(y=seen.chance, label="guessing")] if seen.chance is not None else []
    layers += [Level(y=seen.ahead.ahead, label="averaged weights")] if seen.ahead is not None else []
    return Panel(title="training loss", x=_x(), y=Axis(log=bool((loss > 0).all())), layers=layers)


def _lr(seen: Readings) -> Panel:
    lr = seen.curve.lr
    different = dict.fromkeys(tuple(np.nan_to_num(lr[:, g])) for g in range(lr.shape[1]))
    layers: list[Layer] = [
        Line(
            x=seen.curve.update,
            y=_positive(np.array(column)),
            color=style.COLORS[k % len(style.COLORS)],
            name=f"rate {k + 1}" if len(different) > 1 else "",
        )
        for k, column in enumerate(list(different)[:DRAWN])
    ]
    return Panel(title="learning rate", x=_x(), y=Axis(log=True), layers=layers)


def _gradient(seen: Readings) -> Panel:
    known = np.isfinite(seen.scalar("effective_grad_norm")).any()
    name, words = ("effective_grad_norm", SHARPNESS) if known else ("grad_norm", "gradient norm")
    line = Line(x=seen.record.update, y=_positive(seen.scalar(name)), color=style.COLORS[1])
    return Panel(title=words, x=_x(), y=Axis(log=True), layers=[line])


def _groups(seen: Readings, shown: Sequence[int], name: str, title: str, *, log: bool) -> Panel:
    values, colors = seen.grouped(name), style.ramp(len(shown))
    layers: list[Layer] = [
        Line(x=seen.record.update, y=_positive(values[:, g]), color=colors[k], name=shorten(seen.groups[g].name))
        for k, g in enumerate(shown)
    ]
    return Panel(title=title, x=_x(), y=Axis(log=log), layers=layers)


def _positive(values: Array) -> Array:
    """NaN where a log axis has no place."""
    found: Array = np.where(values > 0, values, np.nan)
    return found
