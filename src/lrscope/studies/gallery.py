"""What `reproduce` leaves behind: figures as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lrscope.reporting.charts_static import chart_figure
from lrscope.reporting.files import write_one
from lrscope.results import disk_error
from lrscope.studies.lab import Laboratory
from lrscope.studies.registry import slug
from lrscope.studies.types import PaperFigure

FORMATS = ("png", "pdf")


def publish(laboratory: Laboratory, figures: Sequence[PaperFigure], evidence: Path, docs: Path | None) -> list[Path]:
    """Draw the figures; returns what was written."""
    folder = laboratory.folder / "figures"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [
            write_one(chart_figure(laboratory.chart(figure)), folder / f"{slug(figure.number)}.{name}")
            for figure in figures
            for name in FORMATS
        ]
    except OSError as error:
        raise disk_error(error, folder) from error
