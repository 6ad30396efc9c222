"""Criteria of six claims that were changed after a reader, who had not seen the code, held them against the paper's passages.

The evidence of 2026-11-29, with seeds from 1000 on, had been seen by then: it counts as judged by the earlier criteria until it is made
anew, with seeds from 2000 on.
"""

from __future__ import annotations

from lrscope.studies.types import Change

CHANGES = (
    Change(
        claim="TR7",
        date="2026-11-29",
        before="Within regime 1, for the ConvNet and for the MLP with 20% label noise, 95% intervals over seeds: with a "
        "smaller ELR the largest barrier in training loss between pre-trained and fine-tuned weights is under 0.05 "
        "nats, and with 8 times the ELR and more the mean barrier is over 0.1 nats. Of the trajectories of both "
        "ELRs from initialisation that of the larger is the flatter one, at the lowest training loss that all three"
        " reach (times 1.05), and the sharpness of the fine-tuned one differs from it, either way, by less than "
        "half of the difference between both: for a smaller ELR, where that loss is at most half of that at which "
        "fine-tuning began (otherwise nothing could have happened), that is the trajectory it comes from; for 8 "
        "times the ELR and more the one of the new ELR.",
        after="Within regime 1, for the ConvNet and for the MLP with 20% label noise, 95% intervals over seeds. With a "
        "smaller ELR the largest barrier in training loss between pre-trained and fine-tuned weights is under 0.05 "
        "nats. With a larger ELR fine-tuning jumps where its training loss rises by a factor 5 above the median of "
        "the ten logging intervals before, those of pre-training included, and then falls by as much; a run that "
        "rises and has not come back counts for neither. Where it jumps the mean barrier is over 0.1 nats, and "
        "where it does not the largest is under 0.05 nats: undetermined where no run jumps, or none stays. Of the "
        "trajectories of both ELRs from initialisation that of the larger is the flatter one, at the lowest "
        "training loss that all three reach (times 1.05), and the sharpness of the fine-tuned one differs from it, "
        "either way, by less than half of the difference between both: for a smaller ELR, where that loss is at "
        "most half of that at which fine-tuning began (otherwise nothing could have happened), that is the "
        "trajectory it comes from; for a larger one that jumps the one of the new ELR.",
        reason='Correction of reading. The paper speaks of barriers where the trajectory jumps: "for significantly larger '
        "ELRs, the linear segment has a noticeable barrier; moreover, we observe it only for the ELRs that lead to "
        'a jump in the training trajectory" (App. I), and it is after the jump that training converges to a basin '
        "with the profile of the higher ELR (Sec. 5.1). How much larger an ELR must be for that it does not say. We"
        " asked for a barrier and for the other profile of every ELR of 8 times and more, whether it jumped or not,"
        " and did not ask whether larger ELRs that do not jump stay without a barrier. Refuted by: a barrier, or "
        "another trajectory, with a smaller ELR; a jump without a barrier or to another profile than the new ELR's;"
        " a barrier without a jump. A grid on which nothing jumps does not reach what the passage speaks of. "
        "Written after the evidence of 2026-11-29, with seeds from 1000 on, had been seen; the reason is the "
        "passage.",
    ),
    Change(
        claim="TR9",
        date="2026-11-29",
        before="For the ConvNet and for the MLP with 20% label noise: ratio of the largest to the smallest ESS of the "
        "weight tensors over the last fifth of training, log scale: by each seed's own map, 95% intervals over "
        "seeds of its mean in regime 1 minus regime 2, and 3 minus 2, lie above 0, and of its mean in regime 2 "
        "below log 1.25; slope of log loss on log ELR in regime 2 above 0 and of log sharpness (its median over the"
        " last fifth of training) below 0. Regime 2 counts where its mean loss is below ln C: closer to divergence "
        "runs jump between both (Fig. 6).",
        after="For the ConvNet and for the MLP with 20% label noise: ratio of the largest to the smallest ESS of the "
        "weight tensors over the last fifth of training, log scale: by each seed's own map, 95% intervals over "
        "seeds of its mean in regime 2 lie below log 1.25, and of its mean in regime 1 and in regime 3 above it; "
        "slope of log loss on log ELR in regime 2 above 0 and of log sharpness (its median over the last fifth of "
        "training) below 0. Regime 2 counts where its mean loss is below ln C: closer to divergence runs jump "
        "between both (Fig. 6).",
        reason='Correction of reading. "No equilibration of individual ESS values is observed neither in the first nor in '
        'the third regime, while in the second regime they accurately align" (App. J). We asked regimes 1 and 3 for'
        " a larger ratio than that of regime 2 only, so that a regime whose ratio would have counted as equal "
        "passed as unequal. What must not be equal is held against the bound of what is equal now, in both "
        "networks. Refuted by: a ratio up to 1.25 in regime 1 or 3, or above in regime 2; a loss that does not "
        "rise, or a sharpness that does not fall, with the ELR inside regime 2. Written after the evidence of "
        "2026-11-29, with seeds from 1000 on, had been seen; the reason is the passage. By that evidence the MLP "
        "contradicts in regime 3, with a ratio of 1.08, and the ConvNet in regime 1 (1.34) is within noise of the "
        "bound.",
    ),
    Change(
        claim="TR11",
        date="2026-11-29",
        before="For the ConvNet and for the MLP with 20% label noise, at the lowest training loss that all these runs of a"
        " seed reach (times 1.05), with the lowest and the highest pre-training ELR that lies in regime 2; the "
        "range of a quantity is its fall over regime 1's ELRs by a straight line on their logarithm. 95% intervals "
        "over seeds: the ranges of log sharpness and of test error of training from initialisation are above 0; the"
        " range of log sharpness is larger after the highest ELR of regime 2 than after the lowest, and larger than"
        " half of that of training from initialisation; the mean log sharpness after the lowest lies above that of "
        "training from initialisation with the highest ELR of regime 1 by less than a quarter of the range of "
        "training from initialisation; the range of test error after the highest is smaller than half of that of "
        "training from initialisation.",
        after="For the ConvNet and for the MLP with 20% label noise, at the lowest training loss that all these runs of a"
        " seed reach (times 1.05), with the lowest and the highest pre-training ELR that lies in regime 2; the "
        "range of a quantity is its fall over regime 1's ELRs by a straight line on their logarithm, its size the "
        "same with the sign that makes its mean over seeds positive: a rise counts like a fall. 95% intervals over "
        "seeds: the ranges of log sharpness and of test error of training from initialisation are above 0. After "
        "the lowest ELR of regime 2 the size of the range of log sharpness is smaller than half of that range, and "
        "the mean log sharpness lies above that of training from initialisation with the highest ELR of regime 1 by"
        " less than a quarter of it. After the highest the range of log sharpness is larger than the size of that "
        "after the lowest, larger than half of that of training from initialisation and smaller than one and a half"
        " of it; the mean log sharpness lies off that of training from initialisation, either way, by less than "
        "half of it; and the size of the range of test error is smaller than half of that of training from "
        "initialisation.",
        reason='Correction of the check. "In extreme cases, we have either convergence of all trajectories to the same '
        "wide optimum (lowest initial ELR 0.001), or a set of different trajectories covering the entire range of "
        'the first regime sharpness profiles" (App. L); fine-tuning from high regime 2 "results in the same range" '
        "(Sec. 5.2) and in a much narrower one of test errors. A range was a signed fall, so that a wide fan after "
        "low regime 2 with the sharpest end at the highest ELR passed as the narrower one by its sign, and a wide "
        "range of test errors turned round as narrow. Sizes are compared now. That all trajectories from low regime"
        " 2 end alike was asked of their mean only; that those from high regime 2 cover regime 1's range and no "
        "more, and lie in it, was not asked. Refuted by: a fan after low regime 2 of half of regime 1's range or "
        "more, or one that ends above the flattest; after high regime 2 a fan no wider than that, less than half or"
        " more than one and a half of regime 1's, or one beside it; a range of test errors of half of regime 1's or"
        " more. Written after the evidence of 2026-11-29, with seeds from 1000 on, had been seen; the reason is the"
        ' passage. By that evidence the MLP contradicts "wider": sharpness falls by 0.05 decades after high regime '
        "2 and rises by 0.19 after low.",
    ),
    Change(
        claim="TR12",
        date="2026-11-29",
        before="For the ConvNet and for the MLP with 20% label noise, over pairs of checkpoints of the second half of "
        "training at three distances from each other, each from three first checkpoints, 95% intervals over seeds: "
        "at the lowest ELR of regime 2 the median loss half-way is more than 10% below the mean of the ends and the"
        " median of the largest rise above the line between them is below 5% of it; at the highest ELR of regime 2 "
        "with a mean loss below ln C that median rise is above 5%, and the slope of the rise on the logarithm of "
        "the epochs between the checkpoints is above 0.",
        after="For the ConvNet and for the MLP with 20% label noise, over pairs of checkpoints of the second half of "
        "training at three distances from each other, each from three first checkpoints. A bump is the largest "
        "height of the loss above its convex envelope along the line between two checkpoints, over the mean loss of"
        " both. 95% intervals over seeds: at the lowest ELR of regime 2 the median loss half-way is more than 10% "
        "below the mean of the ends and the median bump is below 5%; at the highest ELR of regime 2 with a mean "
        "loss below ln C the mean bump of the pairs farthest apart is above 5%, and the slope of the bump on the "
        "logarithm of the epochs between the checkpoints, over all pairs, is above 0. Undetermined where both are "
        "one ELR.",
        reason='Correction of reading. At low and moderate ELRs the loss is "almost convex", at the highest "(especially '
        'when Delta is large), the loss is highly non-convex" (App. K), and "distinguished barriers may appear on '
        'the linear path" (Sec. 5.2). What the passage speaks of is convexity, which a hill inside a valley breaks '
        "too; we asked for a rise above the line between the ends. And we asked for a median over all distances, "
        "where the paper says that barriers may appear, above all between checkpoints far apart: it is a mean over "
        "the pairs farthest apart now. At the lowest ELR this asks for more than before. Refuted by: bumps of 5% "
        "and more at the lowest ELR, or a loss half-way that is not lower; less than 5% between the checkpoints "
        "farthest apart at the highest; bumps that do not grow with the distance. Written after the evidence of "
        "2026-11-29, with seeds from 1000 on, had been seen; the reason is the passage.",
    ),
    Change(
        claim="TR13",
        date="2026-11-29",
        before="For a wide MLP, by each seed's own map, over the three highest ELRs of regime 1 that end at a third or "
        "less of the training loss of regime 2's lowest ELR, read where the training loss first comes down to each "
        "level (running medians over three logging intervals). 95% intervals over seeds, without and with 20% label"
        " noise: the training loss at the peak of sharpness along training (the place that stands out most over its"
        " lowest before and after, of the run where it does most) is within 0.3 decades of that of regime 2's "
        "lowest ELR in the end; that at the peak of test error (likewise; it stands out by a point at least, and by"
        " five standard deviations of single logging intervals in the second half of training, from the differences"
        " of successive ones) within 0.3 decades of that at the peak of sharpness (by 0.01 decades at least). Test "
        "error, and sharpness (the mean of its logarithm), in the end of regime 2's lowest ELR are above the middle"
        " between their peak and their end in those runs of regime 1. With noise both peaks stand out more than "
        "without, on average by more than 0.05 decades of sharpness and by more than a point of test error (a run "
        "without a peak counts as 0). Regime 2's lowest ELR is the lowest labelled 2 below ln C whose loss does not"
        " fall any more.",
        after="For a wide MLP, by each seed's own map, over the three highest ELRs of regime 1 that end at a third or "
        "less of the training loss of regime 2's lowest ELR, read where the training loss first comes down to each "
        "level (running medians over three logging intervals). 95% intervals over seeds, without and with 20% label"
        " noise: the training loss at the peak of sharpness along training (the place that stands out most over its"
        " lowest before and after, of the run where it does most) is within 0.3 decades of that of regime 2's "
        "lowest ELR in the end; that at the peak of test error (likewise; it stands out by a point at least, and by"
        " five standard deviations of single logging intervals in the second half of training, from the differences"
        " of successive ones) within 0.3 decades of that at the peak of sharpness (by 0.01 decades at least). "
        "Regime 2's lowest ELR gets stuck at the peak of sharpness and at that of test error: in the end its log "
        "sharpness (the mean) and test error lie above their own lowest value, before the loss came down to its "
        "level, by more than half of what those runs of regime 1 climb from their lowest before the peak to the "
        "peak; and its sharpness and test error lie above the middle between peak and end of those runs. "
        "Undetermined where it is not logged from the loss on at which those runs are at that lowest. With noise "
        "both peaks stand out more than without, on average by more than 0.05 decades of sharpness and by more than"
        " a point of test error (a run without a peak counts as 0). Regime 2's lowest ELR is the lowest labelled 2 "
        "below ln C whose loss does not fall any more.",
        reason='Correction of the check. "As soon as we enter the second regime, the second descent disappears and the '
        'model gets stuck at the peak" (App. G). We asked that regime 2 ends above the middle between peak and end '
        "of the runs that come through. Sharpness and test error fall with the training loss in the end, so that "
        "any run that ends early lies there, whether it has climbed to a peak or not. Now it must have climbed as "
        "well, by half of what the runs of regime 1 climb before their peak; its own lowest value is what it climbs"
        " from, because at equal loss higher ELRs are flatter, and where that was not logged nothing is known of a "
        "climb. Refuted by: an end of regime 2 that lies before the climb, or after a descent; the other parts are "
        "unchanged. Written after the evidence of 2026-11-29, with seeds from 1000 on, had been seen; the reason is"
        " the passage.",
    ),
    Change(
        claim="TR20",
        date="2026-11-29",
        before="Learning ends half-way between the highest LR that its seed's own map labels 1 or 2, with a settled "
        "training loss below 0.99 ln C, and the next one. 95% intervals over seeds: the decades of LR from border "
        "1|2 to the end of learning lie above 0.2 (0 where regime 1 ends there); more than half of the LRs above "
        "overflow; the lowest test error of a LR of regime 2 differs from the lowest of regime 1 by less than a "
        "point.",
        after="Learning ends half-way between the highest LR that its seed's own map labels 1 or 2, with a settled "
        "training loss below 0.99 ln C, and the next one. The border is that of TR18: the ordered split, from the "
        "first LR whose trajectory passes the peak of sharpness to the last that learns, into those that pass and "
        "those that do not; where all of them pass it is the end of learning, and where none does it is "
        "undetermined. 95% intervals over draws of the training set: the decades of LR from the border to the end "
        "of learning lie above 0.2; more than half of the LRs above overflow; the test error of the best LR above "
        "the border differs from that of the best below by less than a point, where the best on either side is that"
        " with the lowest mean over the other draws.",
        reason='Correction of reading. "The results are very reminiscent of the conventional training of ResNet-18 from '
        'Section 6. We can clearly observe the first two regimes on the diagram" of sharpness against training loss'
        " (App. O): there training with lower LRs passes the region with the highest sharpness, and with higher "
        "ones gets stuck in it (Sec. 6). We drew the border where losses level off. It is that of TR18 now, where "
        "trajectories stop passing the peak, with its measure of sharpness, and that of the gradient alone is "
        "reported. The lowest error of many LRs is lower by chance than that of few, and regimes 1 and 2 have "
        "different numbers of them: the best LR is chosen on the other draws. Refuted by: trajectories that pass "
        "the peak up to the end of learning; dead networks or finite losses instead of overflow above; a best test "
        "error in one regime that is a point better than in the other. Undetermined where no trajectory passes a "
        "peak. Written after the evidence of 2026-11-29, with seeds from 1000 on, had been seen; the reason is the "
        "passage.",
    ),
)
