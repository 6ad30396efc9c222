"""Kodryan et al. 2022, "Training Scale-Invariant Neural Networks on the Sphere Can Happen in Three Regimes"."""

from __future__ import annotations

from lrscope.studies.three_regimes import (
    changes_passages,
    changes_sphere,
    changes_weights,
    claims_conventional,
    claims_equilibrium,
    claims_settings,
    claims_sphere,
    claims_theory,
    claims_transition,
    claims_tuning,
    sweeps_laptop,
    sweeps_paper,
    sweeps_smoke,
)
from lrscope.studies.three_regimes.changes import CHANGES
from lrscope.studies.three_regimes.measurements import measurements
from lrscope.studies.three_regimes.paper_figures import FIGURES
from lrscope.studies.types import Paper, Study

PAPER = Paper(
    authors=("Kodryan, Maxim", "Lobacheva, Ekaterina", "Nakhodnov, Maksim", "Vetrov, Dmitry"),
    title="Training Scale-Invariant Neural Networks on the Sphere Can Happen in Three Regimes",
    year=2022,
    venue="Advances in Neural Information Processing Systems 35 (NeurIPS 2022)",
    arxiv="2209.03695",
    key="kodryan2022training",
)

_CLAIMS = (
    *claims_theory.CLAIMS,
    *claims_sphere.CLAIMS,
    *claims_equilibrium.CLAIMS,
    *claims_transition.CLAIMS,
    *claims_tuning.CLAIMS,
    *claims_settings.CLAIMS,
    *claims_conventional.CLAIMS,
)
_WALKING = ("mlp", "convnet", "wide", "walk_8", "walk_16")

STUDY = Study(
    name="three_regimes",
    paper=PAPER,
    about="Trained on the sphere with a fixed effective learning rate, scale-invariant networks converge, keep a chaotic equilibrium, or diverge.",
    claims=tuple(sorted(_CLAIMS, key=lambda claim: int(claim.id[2:]))),
    figures=FIGURES,
    changes=(*CHANGES, *changes_sphere.CHANGES, *changes_passages.CHANGES, *changes_weights.CHANGES),
    scales={
        "smoke": sweeps_smoke.smoke(measurements(_WALKING)),
        "laptop": sweeps_laptop.laptop(measurements(_WALKING)),
        "paper": sweeps_paper.paper(measurements(_WALKING[:2])),
    },
)
