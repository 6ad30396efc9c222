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
        date="2026-11-29",
        before="For each of the three networks the 95% interval over seeds of the decades of ELR that regime 2 spans lies above "
        "0.2, where a seed that does not show all of 1, 2 and 3 counts as 0.",
        after="For each of the three networks the 95% interval over seeds of the decades of ELR from border 1|2 to "
        "border 2|3 lies above 0.2. They are 0 where a seed shows regimes 1 and 3 with no 2 between them, and "
        "undetermined where the grid does not reach a border; the interval is at least as wide as both steps of "
        "the grid in which the borders lie. That regime 2 is an equilibrium is what TR9 judges: here it is what "
        "neither converges nor is at chance.",
        reason="What a grid does not reach is undetermined, never contradicted: a border beyond the grid was counted as "
        "a regime 2 of width 0. A difference of two borders is known to both of their steps: one ELR in regime 2,"
        " in every seed, was enough, and a width of 0 could not contradict on a coarse grid.",
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
    Change(
        claim="TR15",
        date="2026-11-29",
        before="95% intervals over seeds: log border 2|3 of the narrow net minus the wide one above 0; the steepest "
        "rise of log training loss between neighbouring ELRs around 1|2 larger in the wide net; the lowest "
        "training loss over the shared ELRs larger with augmentation than without.",
        after="95% intervals over seeds, with nets of three widths: the slope of the log of a seed's border 2|3 on "
        "the step of width lies below 0; that of the steepest rise of log training loss between neighbouring "
        "ELRs, per decade of ELR and within three cells of the seed's border 1|2, above 0 (undetermined where "
        "a seed's border 1|2 is). That rise is smaller with augmentation than without; and what "
        "augmentation does to the settled log training loss, and to log sharpness, has a cosine over ELRs above"
        " 0.7 with what the narrow net does (held against the usual net of another seed), and is between a "
        "quarter and four times as large (least squares through the origin).",
        reason="The parts could hardly fail: augmentation always raises the lowest training loss, and one rise around "
        "a border pooled over seeds stood for clearness. The paper says that wider nets show the border more "
        "clearly, and that augmentation changes training loss and gradient norm as a smaller network does: a "
        "profile over ELRs, with a sign and a size, in which augmentation could also act otherwise. A third "
        "width shows a trend, and nets and augmentation are compared on one network and grid. Borders are those"
        " of single seeds, known to a cell.",
    ),
    Change(
        claim="TR17",
        date="2026-11-29",
        before="The 95% interval over seeds of the decades of LR from border 1|2 to border 2|3 lies above 0.2 (0 where"
        " a seed shows regimes 1 and 3 with no 2 between them, undetermined where the grid does not reach a "
        "border); jumps are marked and reported.",
        after="95% intervals over seeds: the decades of LR from border 1|2 to border 2|3 lie above 0.2 (0 where a "
        "seed shows regimes 1 and 3 with no 2 between them, undetermined where the grid does not reach a "
        "border). Runs at the highest third of the LRs of regime 1 jump more than twice, those at the lowest "
        "third less than every second: a jump is a rise of the training loss by a factor 5 above the median of "
        "the ten logging intervals before, followed by a fall by as much. In runs at the highest third the "
        "standard deviation of the intervals between jumps about their run's mean is less than half of the mean"
        " (near 0 for a clock, near 1 for jumps at random times; undetermined where no run jumps three times).",
        reason="Jumps were only marked. The paper says that trajectories at high LRs of the first regime periodically "
        "jump out of the low-loss region (Sec. 6, the yellow trajectory of Fig. 7), which can be counted: there"
        " should be more than two in a run, none at low LRs, and they should come like a clock's, as those at "
        "random times would not. They are held against the level before them: above the lowest value so far "
        "noise jumps too, the more often the longer a run. The grid has steps below 0.2 decades, so that a "
        "regime 2 of no width contradicts.",
    ),
    Change(
        claim="TR18",
        date="2026-11-29",
        before="95% intervals over seeds: the best constant LR lies within 0.5 decades of the border 1|2; the best "
        "initial LR of the cosine lies above it.",
        after="Learning ends half-way between the highest LR that its seed's own map labels 1 or 2, with a settled "
        "training loss below 0.99 ln C, and the next one. The border is the ordered split, from the first LR "
        "whose trajectory passes the peak of sharpness to the last that learns, into those that pass and those "
        "that do not; where all of them pass it is the end of learning. A trajectory passes if its effective "
        "gradient norm (the norm of the gradient times that of all trained weights, running medians over five "
        "logging intervals; ours: the paper plots that of the gradient alone, by which the border is reported) "
        "climbs to a peak and ends below it, both by more than 0.05 decades and more than three standard "
        "deviations of its second half about a straight line. 95% intervals over draws of the training set, the"
        " mean over its seeds for each: the decades from the border to the end of learning lie above 0.2; less "
        "than a tenth of the LRs above end finite with a loss of more than twice ln C; log sharpness at the end"
        " is higher between the border and the end of learning than in the half decade below the border; with a"
        " constant LR the mean test error of the half decade below the border is lower than that of the half "
        "decade below that, and than that of the half decade above the border; with a cosine that of initial "
        "LRs in the lower half of the decades from the border to the end of learning is lower than that of the "
        "decade below the border, and than that of the upper half. A stretch of LRs of which the grid leaves "
        "out the lower half is undetermined.",
        reason="Correction of reading, and of the check. The paper draws the border of conventional training where "
        "trajectories stop passing the peak of sharpness, not where losses level off (Sec. 6: training with "
        "lower LRs passes the region with the highest sharpness along the trajectory and starts converging to a"
        " flatter region, while training with higher LRs gets stuck in the high-sharpness zone). Its sharpness "
        "of standard networks is the norm of the gradient (Sec. 4); ours multiplies it by that of the weights, "
        "because weights grow at high LRs, where the gradient falls for that reason alone and trajectories "
        "stuck at the peak seem to pass it; the border by the paper's measure stands beside it. Very high LRs "
        "overflow, and networks that die at chance were counted as regime 2: their loss, that of a constant "
        "prediction, tells, where unequal classes give them an accuracy above chance. The best cosines are "
        "those of medium initial LRs, which pass through low regime 2, not all above the border. One pooled "
        "border was put into every seed, and the best of a flat curve was looked for in three seeds: now "
        "differences between neighbourhoods of each seed's own border, over draws of the data, because two "
        "seeds on one draw are not independent. Where all that learn pass the peak regime 2 has no width, and "
        "the grid has steps below 0.2 decades, so that this contradicts.",
    ),
    Change(
        claim="TR20",
        date="2026-11-29",
        before="The 95% interval over seeds of the decades of LR labelled 2 lies above 0.2, undetermined where a seed "
        "does not show both 1 and 2; overflow is counted and reported.",
        after="Learning ends half-way between the highest LR that its seed's own map labels 1 or 2, with a settled "
        "training loss below 0.99 ln C, and the next one. 95% intervals over seeds: the decades of LR from "
        "border 1|2 to the end of learning lie above 0.2 (0 where regime 1 ends there); more than half of the "
        "LRs above overflow; the lowest test error of a LR of regime 2 differs from the lowest of regime 1 by "
        "less than a point.",
        reason="Correction of reading: the paper says that the third regime quickly leads to NaNs, and that the best "
        "achieved test error can be observed for LR values from both regimes (App. O); the second was not "
        "checked and the first only counted. The end of regime 2 is that of learning, known to a cell, and "
        "regime 1 right below overflow is a width of 0. A dead network may have an accuracy above chance where "
        "classes are unequal: its loss, that of a constant prediction, tells.",
    ),
)
