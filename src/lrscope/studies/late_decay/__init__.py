"""Ren, Ma, Ying 2024, "Understanding the Generalization Benefits of Late Learning Rate Decay".

The theory's model (`curves`, `phases`, `drift`) is of use without the study.
"""

from __future__ import annotations

from operator import attrgetter

from lrscope.studies.late_decay import (
    claims_model,
    claims_network,
    claims_planes,
    claims_schedules,
    claims_transfer,
    sweeps,
)
from lrscope.studies.late_decay.changes import CHANGES
from lrscope.studies.late_decay.paper_figures import FIGURES
from lrscope.studies.types import Paper, Study

PAPER = Paper(
    authors=("Ren, Yinuo", "Ma, Chao", "Ying, Lexing"),
    title="Understanding the Generalization Benefits of Late Learning Rate Decay",
    year=2024,
    venue="AISTATS 2024",
    arxiv="2401.11600",
    key="ren2024understanding",
)

MODULES = (claims_network, claims_planes, claims_model, claims_schedules, claims_transfer)
STUDY = Study(
    name="late_decay",
    paper=PAPER,
    about="A large learning rate, kept long after the training loss has stopped to fall, moves along the minima to where they generalise.",
    claims=tuple(sorted((claim for module in MODULES for claim in module.CLAIMS), key=attrgetter("id"))),
    figures=FIGURES,
    changes=CHANGES,
    scales={"smoke": sweeps.smoke(), "laptop": sweeps.laptop(), "paper": sweeps.paper()},
)
