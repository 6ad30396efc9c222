"""A pilot of the study learning_order at laptop scale: a few seeds from 0 on, at which settings may be looked at.

    python experiments/learning_order_pilot.py images [--seeds 1] [--root runs/pilot]
    python experiments/learning_order_pilot.py images --only plain --images 2000 --epochs 240
    python experiments/learning_order_pilot.py theory [--only race lemmas] [--seeds 1]

Evidence is made with other seeds (`sweeps.FIRST_SEED`), so nothing that is seen here counts. Prints the quantities that the
claims are judged by, without verdicts, and draws the figures. `--only` names sweeps and measurements; what needs others is
left out. `--images` and `--epochs` are those of sweeps without patches.
"""

from __future__ import annotations

from dataclasses import replace

import pilots

from lrscope.studies.learning_order import STUDY
from lrscope.studies.types import Study, StudySweep

CLAIMS = {"images": ("LO1", "LO2", "LO3", "LO4"), "theory": ("LO5", "LO6", "LO7", "LO8", "LO9")}


def main() -> None:
    """Carry out a part of the study; print and draw what is found."""
    parser = pilots.options(__doc__, CLAIMS)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--images", type=int, help="training images without patches")
    parser.add_argument("--epochs", type=float, help="epochs without patches")
    given = parser.parse_args()
    pilots.carry_out(piloted(given.part, given.seeds or 1, given.only, given.images, given.epochs), given.root)


def piloted(
    part: str, seeds: int, only: list[str] | None, images: int | None = None, epochs: float | None = None
) -> Study:
    """The study with one scale: that part of `laptop`, with a few seeds from 0 on and other numbers of images and epochs."""
    laptop = STUDY.scales["laptop"]
    trained = [s for s in laptop.sweeps if part == "images" and (not only or s.name in only)]
    sweeps = [_few(s, seeds, images, epochs) for s in trained]
    simulated = [
        m for m in laptop.measurements if (m.name == "patched") == (part == "images") and (not only or m.name in only)
    ]
    measurements = [pilots.with_seeds(m, seeds) for m in simulated]
    words = "_".join(f"{value:g}".replace(".", "_") for value in (seeds, images, epochs) if value is not None)
    return pilots.part_of(STUDY, f"learning_order_{part}_{words}", CLAIMS[part], sweeps, measurements)


def _few(sweep: StudySweep, seeds: int, images: int | None, epochs: float | None) -> StudySweep:
    config = replace(sweep.config, data_seeds=seeds)
    if "patches" in sweep.task:
        return replace(sweep, config=config)
    task = {**sweep.task, "train_size": images or sweep.task["train_size"]}
    return replace(sweep, task=task, config=replace(config, epochs=epochs or config.epochs))


if __name__ == "__main__":
    main()
