"""What pilots of studies share: a few seeds at which settings may be looked at. Nothing that they show counts as evidence.

A pilot is a script beside this file: which parts of its study there are, and how few seeds they are given.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from lrscope.charts import to_matplotlib
from lrscope.studies.dependencies import claims_at, figures_at
from lrscope.studies.lazy_functions import Lazy
from lrscope.studies.registry import slug
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.types import Measurement, Scale, Study, StudySweep


def options(doc: str, parts: Iterable[str]) -> argparse.ArgumentParser:
    """What every pilot's command line has; a pilot adds its own.

    Args:
        doc: the script's docstring, whose first line is shown as help.
        parts: the parts of the study, one of which is carried out.
    """
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("part", choices=list(parts))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--root", type=Path, default=Path("runs/pilot"))
    return parser


def carry_out(study: Study, root: Path) -> None:
    """Train and measure all of a study with one scale; print what its claims are judged by, without verdicts, and draw its
    figures."""
    (scale,) = study.scales
    reproduction = Reproduction(study, scale, root)
    reproduction.prepare([part.name for part in study.scales[scale].parts])
    for claim in claims_at(study, scale):
        found = reproduction.check(claim)
        print(f"\n{claim.id}: {found.note}")
        for part in found.parts:
            print(f"  {part.name}: {part.value:.4g} {part.unit} ({part.criterion}) {list(part.per_seed)} {part.note}")
    for figure in figures_at(study, scale):
        to_matplotlib(reproduction.chart(figure)).savefig(reproduction.folder / f"{slug(figure.number)}.png")
    print(f"\nfigures: {reproduction.folder}")


def part_of(
    study: Study, name: str, claims: Collection[str], sweeps: Iterable[StudySweep], measurements: Iterable[Measurement]
) -> Study:
    """The study under another name with these claims and one scale, whose seeds begin at 0."""
    scale = Scale(sweeps=tuple(sweeps), measurements=tuple(measurements), about="A pilot.")
    held = tuple(claim for claim in study.claims if claim.id in claims)
    return replace(study, name=name, claims=held, scales={"laptop": scale})


def with_seeds(measurement: Measurement, seeds: int) -> Measurement:
    """The same measurement with that many seeds, if it has seeds of its own."""
    run = measurement.run
    assert isinstance(run, Lazy)
    arguments = dict(run.arguments)
    chosen = {"seeds": seeds} if "seeds" in arguments else {}
    return replace(measurement, run=replace(run, arguments=tuple(sorted((arguments | chosen).items()))))
