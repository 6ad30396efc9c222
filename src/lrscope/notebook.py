"""What notebooks show of lrscope's objects: small HTML tables, all text escaped, no script and no style sheet.

Loaded only when a notebook asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrscope.decay.types import DecayCurve
    from lrscope.mapping.types import Label, RegimeMap
    from lrscope.order.types import LearningOrder

MOST_OPEN_ROWS = 12  # a longer table is folded
CELL = "padding:2px 12px 2px 0;text-align:{side};vertical-align:top"


def map_html(regime_map: RegimeMap) -> str:
    """A map: the answer, the table of learning rates, the borders, the notes."""
    from lrscope.reporting.banner import banner
    from lrscope.reporting.frames import has_regimes
    from lrscope.reporting.text import interval, rate, sentence

    told = banner(regime_map, "learning rate", None)
    reached = ", ".join(f"<b>{escape(value)}</b> {escape(what)}" for value, what in told.reached)
    lines = [f"<p style='font-size:1.15em;margin:0 0 4px'><b>{escape(told.headline)}</b></p>"]
    lines += [f"<p style='margin:0 0 4px'>{reached} ({escape(told.at)})</p>"] if reached else []
    lines += [f"<p style='margin:0 0 4px'>Or: {escape(told.alternative)}</p>"] if told.alternative else []
    lines.append(_listed(told.basis))
    rows = _rate_rows(regime_map)
    opened = " open" if len(rows) <= MOST_OPEN_ROWS else ""
    table = _table(_rate_head(regime_map), rows, numbers=3 + (regime_map.finetune_lr is not None))
    lines.append(f"<details{opened}><summary>{len(rows)} learning rates</summary>{table}</details>")
    if has_regimes(regime_map):
        borders = [
            [escape(f"border {b.between}"), escape(interval(b, rate)), escape(sentence(b.reason))]
            for b in regime_map.borders.values()
        ]
        lines.append(_table((), borders, numbers=0))
    else:
        lines.append(_listed(dict.fromkeys(sentence(b.reason) for b in regime_map.borders.values())))
    return "<div>" + "".join(lines) + _listed(sentence(note) for note in regime_map.notes) + "</div>"


def order_html(order: LearningOrder) -> str:
    """A learning order: a row for each group at each learning rate, agreement with the order between seeds, the notes."""
    from lrscope.order.types import tau_text, time_text
    from lrscope.reporting.text import sentence

    head = [
        "learning rate",
        "group",
        f"epochs to {100 * order.level:g}%",
        "place",
        "reached",
        "tau between seeds",
        f"tau with {order.reference:.3g}",
    ]
    taus = {lr: [tau_text(order.between(lr, lr))] for lr in dict.fromkeys(row.lr for row in order.times)}
    for lr, texts in taus.items():
        texts.append("" if lr == order.reference else tau_text(order.between(lr, order.reference)))
    rows = []
    for row in order.times:
        place = "" if row.rank is None else f"{row.rank:.1f}"
        cells = [f"{row.lr:.3g}", row.group, time_text(row), place, f"{row.reached} of {row.runs}", *taus[row.lr]]
        rows.append([escape(cell) for cell in cells])
    title = f"<p style='margin:0 0 4px'><b>{escape(f'{order.of}, {order.segment}')}</b></p>"
    opened = " open" if len(rows) <= MOST_OPEN_ROWS else ""
    table = f"<details{opened}><summary>{len(rows)} times</summary>{_table(head, rows, numbers=1)}</details>"
    return f"<div>{title}{table}{_listed(sentence(note) for note in order.notes)}</div>"


def decay_html(curve: DecayCurve) -> str:
    """A decay curve: a row for each time, where it saturates, the notes."""
    from lrscope.reporting.text import sentence

    head, *rows = ([escape(cell) for cell in row] for row in curve.rows)
    title = f"<p style='margin:0 0 4px'><b>{escape(curve.heading)}</b></p>"
    told = f"<p style='margin:0 0 4px'>{escape(curve.verdict)}</p>"
    return f"<div>{title}{_table(head, rows, numbers=len(head))}{told}{_listed(map(sentence, curve.notes))}</div>"


def task_html(summary: dict[str, Any]) -> str:
    """A task's summary as rows of name and value."""
    from lrscope.reporting.text import task_rows

    title = f"<p style='margin:0 0 4px'><b>Task {escape(str(summary.get('name', '')))}</b></p>"
    rows = [[escape(name), escape(value)] for name, value in task_rows(summary) if name != "name"]
    return f"<div>{title}{_table((), rows, numbers=0)}</div>"


def _rate_head(regime_map: RegimeMap) -> list[str]:
    decay = [] if regime_map.finetune_lr is None else [f"after decay to {regime_map.finetune_lr:.3g}"]
    return ["learning rate", "regime", regime_map.measure, *decay, "seeds' votes", "flags"]


def _rate_rows(regime_map: RegimeMap) -> list[list[str]]:
    from lrscope.reporting.text import votes

    rows = []
    for label in regime_map.labels:
        results = [label.before] if regime_map.finetune_lr is None else [label.before, label.after]
        cells = [f"{label.lr:.4g}", _chip(label), *(escape(regime_map.show(value)) for value in results)]
        rows.append([*cells, escape(votes(label)), escape(", ".join(label.flags))])
    return rows


def _chip(label: Label) -> str:
    from lrscope.charts.style import REGIME_COLOR

    color = REGIME_COLOR.get(label.regime, REGIME_COLOR["?"])
    return f"<span style='border-left:.7em solid {color};padding-left:.4em'>{escape(label.regime)}</span>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int) -> str:
    """A table of escaped cells; the first `numbers` columns but the second, the regime, are aligned right."""

    def cell(tag: str, column: int, words: str) -> str:
        side = "right" if column < numbers and column != 1 else "left"
        return f"<{tag} style='{CELL.format(side=side)}'>{words}</{tag}>"

    first = "<tr>" + "".join(cell("th", i, escape(words)) for i, words in enumerate(head)) + "</tr>" if head else ""
    body = "".join("<tr>" + "".join(cell("td", i, words) for i, words in enumerate(row)) + "</tr>" for row in rows)
    return f"<table>{first}{body}</table>"


def _listed(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(words)}</li>" for words in sentences if words)
    return f"<ul style='margin:0 0 4px'>{items}</ul>" if items else ""
