"""A pilot of the study feature_learning at laptop scale: a few seeds from 0 on, at which settings may be looked at.

    python experiments/feature_learning_pilot.py sharpness [--seeds 5] [--epochs 900] [--images 256] [--root runs/pilot]

Evidence is made with other seeds (`sweeps.FIRST_SEED`), so nothing that is seen here counts. Prints the quantities that the
claims are judged by, without verdicts, and draws the figures. The note of FL8 says at which training losses its draws end.
"""

from __future__ import annotations

from dataclasses import replace

import pilots

from lrscope.studies.feature_learning import STUDY
from lrscope.studies.types import Study, StudySweep

CLAIMS = {"sharpness": ("FL8",)}
COMPARED = "converged"  # the sweep whose fine-tunes FL8 compares; of the other it reads pre-training alone


def main() -> None:
    """Carry out a part of the study; print and draw what is found."""
    parser = pilots.options(__doc__, CLAIMS)
    parser.add_argument("--epochs", type=float, help="of fine-tuning")
    parser.add_argument("--images", type=int, help="training images")
    given = parser.parse_args()
    pilots.carry_out(piloted(given.part, given.seeds, given.epochs, given.images), given.root)


def piloted(part: str, seeds: int | None, epochs: float | None, images: int | None) -> Study:
    """The study with one scale: that part of `laptop`, with a few seeds from 0 on."""
    needs = {name for claim in STUDY.claims if claim.id in CLAIMS[part] for name in claim.needs}
    sweeps = [_few(s, seeds or 5, epochs, images) for s in STUDY.scales["laptop"].sweeps if s.name in needs]
    words = "_".join(f"{value:g}".replace(".", "_") for value in (seeds, epochs, images) if value is not None)
    return pilots.part_of(STUDY, f"feature_learning_{part}_{words}".rstrip("_"), CLAIMS[part], sweeps, ())


def _few(sweep: StudySweep, seeds: int, epochs: float | None, images: int | None) -> StudySweep:
    config = replace(sweep.config, data_seeds=seeds)
    if sweep.name == COMPARED:
        config = replace(config, finetune_epochs=epochs or config.finetune_epochs)
    else:
        config = replace(config, finetune_lrs=(), finetune_epochs=None)
    task = {**sweep.task, "train_size": images or sweep.task["train_size"]}
    return replace(sweep, task=task, config=config)


if __name__ == "__main__":
    main()
