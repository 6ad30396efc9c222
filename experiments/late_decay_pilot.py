"""A pilot of the study late_decay at laptop scale: a few seeds from 0 on, at which settings may be looked at.

    python experiments/late_decay_pilot.py networks [--seeds 2] [--lr 0.1] [--epochs 320] [--root runs/pilot]
    python experiments/late_decay_pilot.py elsewhere [--seeds 2] [--epochs 160]
    python experiments/late_decay_pilot.py model [--seeds 20]

Evidence is made with seeds from 5000 on, so nothing that is seen here counts. Prints the quantities that the claims are judged
by, without verdicts, and draws the figures.
"""

from __future__ import annotations

from dataclasses import replace

import pilots

from lrscope.studies.late_decay import STUDY
from lrscope.studies.types import Study, StudySweep

CLAIMS = {"networks": ("LD1", "LD2", "LD3", "LD9"), "elsewhere": ("LD8",), "model": ("LD4", "LD5", "LD6")}


def main() -> None:
    """Carry out a part of the study; print and draw what is found."""
    parser = pilots.options(__doc__, CLAIMS)
    parser.add_argument("--lr", type=float, help="large learning rate of the networks")
    parser.add_argument("--epochs", type=float, help="of the main path; later decays are left out")
    given = parser.parse_args()
    pilots.carry_out(piloted(given.part, given.seeds, given.lr, given.epochs), given.root)


def piloted(part: str, seeds: int | None, lr: float | None, epochs: float | None) -> Study:
    """The study with one scale: that part of `laptop`, with a few seeds from 0 on."""
    laptop = STUDY.scales["laptop"]
    needs = {name for claim in STUDY.claims if claim.id in CLAIMS[part] for name in claim.needs}
    drawn = {m.name for m in laptop.measurements if not m.needs} if part == "model" else set()  # for figures
    sweeps = [_swept(s, seeds or 2, lr, epochs) for s in laptop.sweeps if s.name in needs]
    measurements = [pilots.with_seeds(m, seeds or 20) for m in laptop.measurements if m.name in needs | drawn]
    words = "_".join(f"{value:g}".replace(".", "_") for value in (seeds, lr, epochs) if value is not None)
    return pilots.part_of(STUDY, f"late_decay_{part}_{words}".rstrip("_"), CLAIMS[part], sweeps, measurements)


def _swept(sweep: StudySweep, seeds: int, lr: float | None, epochs: float | None) -> StudySweep:
    config = sweep.config
    last = epochs or config.epochs or 0
    branches = tuple(replace(b, at=tuple(at for at in b.at if at <= last)) for b in config.branches)
    kept = tuple(epoch for epoch in config.snapshot_epochs if epoch <= last)
    shorter = replace(config, epochs=last, branches=branches, snapshot_epochs=kept, lrs=(lr,) if lr else config.lrs)
    return replace(sweep, config=replace(shorter, data_seeds=seeds))


if __name__ == "__main__":
    main()
