"""The page of a study: every figure with what to look for and the claims it bears on, in one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrscope.charts import Chart, style, to_plotly
from lrscope.reporting.page import fill


@dataclass(frozen=True, kw_only=True)
class ShownClaim:
    """A claim as it is shown; `effect` is a phrase, empty where nothing was checked; `parts` a table with its heads."""

    id: str
    sentence: str
    criterion: str
    verdict: str
    effect: str
    note: str
    parts: Sequence[Sequence[str]] = ()


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure as it is shown; `name` is an identifier."""

    name: str
    number: str
    title: str
    look_for: str
    differs: str
    chart: Chart
    claims: Sequence[ShownClaim]

    @property
    def alt(self) -> str:
        """The figure for those who cannot see it: what is drawn against what."""
        panels = [
            f"{panel.title}: {panel.y.title} against {panel.x.title}"
            for panel in self.chart.panels
            if panel.image is None
        ]
        pictures = dict.fromkeys(panel.title for panel in self.chart.panels if panel.image is not None)
        if pictures:
            panels.append(f"pictures: {' | '.join(pictures)}")
        scaled = any(getattr(layer, "value", None) is not None for layer in self.chart.layers)
        colored = f" Colour: {self.chart.color_title}." if scaled and self.chart.color_title else ""
        return f"{self.title}. {'; '.join(panels)}.{colored}"


def render(pictures: Sequence[Picture], others: Sequence[ShownClaim], words: Mapping[str, Any]) -> str:
    """The page as text. `words`: title, study, scale, paper, about, summary, command, and `facts` as pairs."""
    return fill(
        "gallery.html",
        {picture.name: to_plotly(picture.chart) | {"selectable": False} for picture in pictures},
        pictures=pictures,
        others=others,
        colors=style.VERDICT_COLOR,
        **words,
    )
