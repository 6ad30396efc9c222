"""A pilot of the study learning_order at laptop scale: a few seeds from 0 on, at which settings may be looked at.

    python experiments/learning_order_pilot.py images [--seeds 1] [--root runs/pilot]
    python experiments/learning_order_pilot.py theory [--only race scaling] [--seeds 1]

Evidence is made with seeds from 1000 on, so nothing that is seen here counts. Prints the quantities that the claims are judged
by, without verdicts, and draws the figures. `--only` names sweeps and measurements; what needs others is left out.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from lrscope.charts import to_matplotlib
from lrscope.studies.dependencies import claims_at, figures_at
from lrscope.studies.lazy_functions import Lazy
from lrscope.studies.learning_order import STUDY
from lrscope.studies.registry import slug
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.types import Measurement, Scale, Study, StudySweep

CLAIMS = {"images": ("LO1", "LO2", "LO3", "LO4"), "theory": ("LO5", "LO6", "LO7", "LO8", "LO9")}


def main() -> None:
    """Carry out a part of the study; print and draw what is found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=CLAIMS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--root", type=Path, default=Path("runs/pilot"))
    options = parser.parse_args()
    study = piloted(options.part, options.seeds, options.only)
    reproduction = Reproduction(study, "laptop", options.root)
    reproduction.prepare([part.name for part in study.scales["laptop"].parts])
    for claim in claims_at(study, "laptop"):
        found = reproduction.check(claim)
        print(f"\n{claim.id}: {found.note}")
        for part in found.parts:
            print(f"  {part.name}: {part.value:.4g} {part.unit} ({part.criterion}) {list(part.per_seed)} {part.note}")
    for figure in figures_at(study, "laptop"):
        to_matplotlib(reproduction.chart(figure)).savefig(reproduction.folder / f"{slug(figure.number)}.png")
    print(f"\nfigures: {reproduction.folder}")


def piloted(part: str, seeds: int, only: list[str] | None) -> Study:
    """The study with one scale: that part of `laptop`, with a few seeds from 0 on."""
    laptop = STUDY.scales["laptop"]
    images = part == "images"
    sweeps = tuple(_few(s, seeds) for s in laptop.sweeps if images and (not only or s.name in only))
    simulated = [m for m in laptop.measurements if (m.name == "patched") == images and (not only or m.name in only)]
    measurements = tuple(_simulated(m, seeds) for m in simulated)
    scale = Scale(sweeps=sweeps, measurements=measurements, about="A pilot.")
    claims = tuple(claim for claim in STUDY.claims if claim.id in CLAIMS[part])
    return replace(STUDY, name=f"learning_order_{part}_{seeds}", claims=claims, scales={"laptop": scale})


def _few(sweep: StudySweep, seeds: int) -> StudySweep:
    return replace(sweep, config=replace(sweep.config, data_seeds=seeds))


def _simulated(measurement: Measurement, seeds: int) -> Measurement:
    run = measurement.run
    assert isinstance(run, Lazy)
    arguments = dict(run.arguments)
    chosen = {"seeds": seeds} if "seeds" in arguments else {}
    return replace(measurement, run=replace(run, arguments=tuple(sorted((arguments | chosen).items()))))


if __name__ == "__main__":
    main()
