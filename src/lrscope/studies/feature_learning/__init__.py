"""Sadrtdinov et al. 2024, "Where Do Large Learning Rates Lead Us? A Feature Learning Perspective"."""

from __future__ import annotations

from lrscope.studies.feature_learning import (
    claims_bands,
    claims_geometry,
    claims_sharpness,
    claims_sparsity,
    claims_ticks,
    claims_vit,
    sweeps,
)
from lrscope.studies.feature_learning.changes import CHANGES
from lrscope.studies.feature_learning.paper_figures import FIGURES
from lrscope.studies.types import Paper, Study

PAPER = Paper(
    authors=(
        "Sadrtdinov, Ildus",
        "Kodryan, Maxim",
        "Pokonechny, Eduard",
        "Lobacheva, Ekaterina",
        "Vetrov, Dmitry",
    ),
    title="Where Do Large Learning Rates Lead Us? A Feature Learning Perspective",
    year=2024,
    venue="High-dimensional Learning Dynamics Workshop at ICML 2024; long version at NeurIPS 2024",
    arxiv="2410.22113",
    key="sadrtdinov2024where",
)

STUDY = Study(
    name="feature_learning",
    paper=PAPER,
    about="Large learning rates make networks rely on few, useful features; fine-tuning and averaging keep what they found.",
    claims=(
        *claims_ticks.CLAIMS,
        *claims_sparsity.CLAIMS,
        *claims_geometry.CLAIMS,
        *claims_bands.CLAIMS,
        *claims_vit.CLAIMS,
        *claims_sharpness.CLAIMS,
    ),
    figures=FIGURES,
    scales={"smoke": sweeps.smoke(), "laptop": sweeps.laptop(), "paper": sweeps.paper()},
    changes=CHANGES,
)
