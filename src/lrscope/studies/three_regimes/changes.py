"""Criteria of the study that were changed after they were first written, with the reasons."""

from __future__ import annotations

from lrscope.studies.types import Change

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
    Change(
        claim="TR5",
        date="2026-11-28",
        before="For each of the three networks the 95% interval over seeds of the decades of ELR that regime 2 spans lies above "
        "0.2, where a seed that does not show all of 1, 2 and 3 counts as 0.",
        after="For each of the three networks the 95% interval over seeds of the decades of ELR from border 1|2 to border 2|3 "
        "lies above 0.2. They are 0 where a seed shows regimes 1 and 3 with no 2 between them, and undetermined where the"
        " grid does not reach a border.",
        reason="What a grid does not reach is undetermined, never contradicted: a border beyond the grid was counted as a regime"
        " 2 of width 0.",
    ),
    Change(
        claim="TR17",
        date="2026-11-28",
        before="The 95% interval over seeds of the decades of LR that regime 2 spans lies above 0.2 (a seed without all of 1, 2 "
        "and 3 counts as 0); jumps are marked and reported.",
        after="The 95% interval over seeds of the decades of LR from border 1|2 to border 2|3 lies above 0.2 (0 where a seed "
        "shows regimes 1 and 3 with no 2 between them, undetermined where the grid does not reach a border); jumps are "
        "marked and reported.",
        reason="What a grid does not reach is undetermined, never contradicted: a border beyond the grid was counted as a regime"
        " 2 of width 0. Ours ended at LR 300, and regime 3 begins at 1.1e3 on this network.",
    ),
    Change(
        claim="TR20",
        date="2026-11-28",
        before="The 95% interval over seeds of the decades of LR labelled 2 lies above 0.2, where a seed without both 1 and 2 "
        "counts as 0; overflow is counted and reported.",
        after="The 95% interval over seeds of the decades of LR labelled 2 lies above 0.2, undetermined where a seed does not "
        "show both 1 and 2; overflow is counted and reported.",
        reason="What a grid does not reach is undetermined, never contradicted: a border beyond the grid was counted as a regime"
        " 2 of width 0.",
    ),
)
