"""A pilot of the study late_decay at laptop scale: a few seeds from 0 on, at which settings may be looked at.

    python experiments/late_decay_pilot.py networks [--seeds 2] [--lr 0.1] [--epochs 320] [--root runs/pilot]
    python experiments/late_decay_pilot.py elsewhere [--seeds 2] [--epochs 160]
    python experiments/late_decay_pilot.py model [--seeds 20]

Evidence is made with seeds from 4000 on, so nothing that is seen here counts. Prints the quantities that the claims are judged
by, without verdicts, and draws the figures.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from lrscope.charts import to_matplotlib
from lrscope.studies.dependencies import claims_at, figures_at
from lrscope.studies.late_decay import STUDY
from lrscope.studies.lazy_functions import Lazy
from lrscope.studies.registry import slug
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.types import Measurement, Scale, Study, StudySweep

CLAIMS = {"networks": ("LD1", "LD2", "LD3"), "elsewhere": ("LD8",), "model": ("LD4", "LD5", "LD6")}


def main() -> None:
    """Carry out a part of the study; print and draw what is found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=CLAIMS)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--lr", type=float, help="large learning rate of the networks")
    parser.add_argument("--epochs", type=float, help="of the main path; later decays are left out")
    parser.add_argument("--root", type=Path, default=Path("runs/pilot"))
    options = parser.parse_args()
    study = piloted(options.part, options.seeds, options.lr, options.epochs)
    reproduction = Reproduction(study, "laptop", options.root)
    reproduction.prepare([part.name for part in study.scales["laptop"].parts])
    for claim in claims_at(study, "laptop"):
        found = reproduction.check(claim)
        print(f"\n{claim.id}: {found.note}")
        for part in found.parts:
            print(f"  {part.name}: {part.value:.4g} {part.unit} ({part.criterion}) {part.note}")
    for figure in figures_at(study, "laptop"):
        to_matplotlib(reproduction.chart(figure)).savefig(reproduction.folder / f"{slug(figure.number)}.png")
    print(f"\nfigures: {reproduction.folder}")


def piloted(part: str, seeds: int | None, lr: float | None, epochs: float | None) -> Study:
    """The study with one scale: that part of `laptop`, with a few seeds from 0 on."""
    laptop = STUDY.scales["laptop"]
    claims = tuple(claim for claim in STUDY.claims if claim.id in CLAIMS[part])
    needs = {name for claim in claims for name in claim.needs}
    drawn = {m.name for m in laptop.measurements if not m.needs} if part == "model" else set()  # for figures
    sweeps = tuple(_swept(s, seeds or 2, lr, epochs) for s in laptop.sweeps if s.name in needs)
    measurements = tuple(_simulated(m, seeds or 20) for m in laptop.measurements if m.name in needs | drawn)
    scale = Scale(sweeps=sweeps, measurements=measurements, about="A pilot.")
    words = "_".join(f"{value:g}".replace(".", "_") for value in (seeds, lr, epochs) if value is not None)
    return replace(STUDY, name=f"late_decay_{part}_{words}".rstrip("_"), claims=claims, scales={"laptop": scale})


def _swept(sweep: StudySweep, seeds: int, lr: float | None, epochs: float | None) -> StudySweep:
    config = sweep.config
    last = epochs or config.epochs or 0
    branches = tuple(replace(b, at=tuple(at for at in b.at if at <= last)) for b in config.branches)
    kept = tuple(epoch for epoch in config.snapshot_epochs if epoch <= last)
    shorter = replace(config, epochs=last, branches=branches, snapshot_epochs=kept, lrs=(lr,) if lr else config.lrs)
    return replace(sweep, config=replace(shorter, data_seeds=seeds))


def _simulated(measurement: Measurement, seeds: int) -> Measurement:
    run = measurement.run
    assert isinstance(run, Lazy)
    arguments = dict(run.arguments)
    chosen = {"seeds": seeds} if "seeds" in arguments else {}
    return replace(measurement, run=replace(run, arguments=tuple(sorted((arguments | chosen).items()))))


if __name__ == "__main__":
    main()
