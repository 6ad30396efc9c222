"""Li, Wei, Ma 2019, "Towards Explaining the Regularization Effect of Initial Large Learning Rate in Training Neural Networks".

The theory's model, at finite and infinite width (`curves`, `comparison`), is of use without the study.
"""

from __future__ import annotations

from lrscope.studies.learning_order import claims_images, claims_theory, sweeps
from lrscope.studies.learning_order.changes import CHANGES
from lrscope.studies.learning_order.paper_figures import FIGURES
from lrscope.studies.types import Paper, Study

PAPER = Paper(
    authors=("Li, Yuanzhi", "Wei, Colin", "Ma, Tengyu"),
    title="Towards Explaining the Regularization Effect of Initial Large Learning Rate in Training Neural Networks",
    year=2019,
    venue="NeurIPS 2019",
    arxiv="1907.04595",
    key="li2019towards",
)

STUDY = Study(
    name="learning_order",
    paper=PAPER,
    about="A large learning rate learns patterns that generalise before those that are memorised; a small one the other way round.",
    claims=(*claims_images.CLAIMS, *claims_theory.CLAIMS),
    figures=FIGURES,
    changes=CHANGES,
    scales={"smoke": sweeps.smoke(), "laptop": sweeps.laptop(), "paper": sweeps.paper()},
)
