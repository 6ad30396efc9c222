"""Kodryan et al. 2022, "Training Scale-Invariant Neural Networks on the Sphere Can Happen in Three Regimes"."""

from __future__ import annotations

from lrscope.studies.three_regimes import (
    claims_equilibrium,
    claims_settings,
    claims_sphere,
    claims_theory,
    claims_tuning,
    sweeps,
)
from lrscope.studies.three_regimes.measurements import measurements
from lrscope.studies.three_regimes.paper_figures import FIGURES
from lrscope.studies.types import Change, Paper, Study

PAPER = Paper(
    authors=("Kodryan, Maxim", "Lobacheva, Ekaterina", "Nakhodnov, Maksim", "Vetrov, Dmitry"),
    title="Training Scale-Invariant Neural Networks on the Sphere Can Happen in Three Regimes",
    year=2022,
    venue="Advances in Neural Information Processing Systems 35 (NeurIPS 2022)",
    arxiv="2209.03695",
    key="kodryan2022training",
)

CHANGES = (
    Change(
        claim="TR4",
        date="2026-11-22",
        before="At every starting point: value under 1e-12 below the threshold and above 1e-3 beyond it; mean group ELRs within 2% of "
        "eq. 9 in regime 2, more than 5% away in regime 1; in regime 3 more than 50% away, with a spread over steps larger than their mean.",
        after="At every starting point: final value under 1e-12 below the threshold, mean value above 1e-3 beyond it; mean group ELRs "
        "within 2% of eq. 9 in regime 2, and at ELR 0.1 (regime 1) more than ten times as far from it; in regime 3 more than 50% away, "
        "with a spread over steps larger than their mean.",
        reason="Seen in a run of the simulation before any evidence was written: just below the threshold the mean over steps still holds "
        "the descent, and group ELRs stop near eq. 9's values (1.6% at 0.97 times the threshold, 4.7% at ELR 0.1 from one of 16 "
        "starting points). The paper says that they stop before, not how far.",
    ),
    Change(
        claim="TR19",
        date="2026-11-22",
        before="The 95% interval over seeds of the smallest pairwise Spearman correlation of the four measures, over ELRs and moments of "
        "training, lies above 0.8.",
        after="In regime 1, by least squares of each log measure on log training loss and log ELR over ELRs and moments of training: the "
        "95% interval over seeds of the slope on log ELR lies below 0 for all four; and the 95% interval of the Spearman correlation of "
        "gradient norm and covariance trace over all measured ELRs and moments lies above 0.95.",
        reason="After a run at smoke scale, before any at laptop scale: the paper says that all measures show the same pattern, lower at "
        "equal training loss for a larger ELR, and that the two gradient measures correlate; not that all four rank runs of both "
        "regimes alike.",
    ),
)

_CLAIMS = (
    *claims_theory.CLAIMS,
    *claims_sphere.CLAIMS,
    *claims_equilibrium.CLAIMS,
    *claims_tuning.CLAIMS,
    *claims_settings.CLAIMS,
)
_SIZES = (("convnet", "tune_within"), ("larger", "tune_larger"))

STUDY = Study(
    name="three_regimes",
    paper=PAPER,
    about="Trained on the sphere with a fixed effective learning rate, scale-invariant networks converge, keep a chaotic equilibrium, or diverge.",
    claims=tuple(sorted(_CLAIMS, key=lambda claim: int(claim.id[2:]))),
    figures=FIGURES,
    changes=CHANGES,
    scales={
        "smoke": sweeps.smoke(measurements(_SIZES, ("convnet", "wide"))),
        "laptop": sweeps.laptop(measurements(_SIZES, ("convnet", "wide"))),
        "paper": sweeps.paper(measurements(_SIZES[:1], ("convnet",))),
    },
)
