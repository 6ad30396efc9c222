"""Criteria of TR6 to TR14, TR16 and TR19 that were changed before the evidence was made anew, with the reasons."""

from __future__ import annotations

from lrscope.studies.types import Change

CHANGES = (
    Change(
        claim="TR6",
        date="2026-11-29",
        before="In the upper half of regime 1's ELRs, at the lowest training loss they all reach (times 1.05): 95% "
        "intervals over seeds of the slopes per decade of ELR of log epochs, log sharpness and test error all lie"
        " below 0; and at the lowest loss that the three lowest ELRs reach, their sharpness differs by less than "
        "0.1 decades.",
        after="Of regime 1's ELRs those whose training loss comes down to 0.02 nats: 95% intervals over seeds, each "
        "with its own training set, of the slopes per decade of ELR of log epochs to that loss, log sharpness and"
        " test error there (of all, training loss included, running medians over three logging intervals) all lie"
        " below 0; and at the lowest training loss that the three lowest and the three highest ELRs of regime 1 "
        "reach (times 1.05) log sharpness differs between the three lowest, per decade of ELR, by less than half "
        "of what it falls per decade over the three highest.",
        reason="It was read at a loss of 0.137, far from convergence: the paper reads trajectories at 1e-2 and below "
        "(Fig. 3). So other runs: several draws of the training set, 10,000 test images, trained until "
        "they pass 0.02. The running median is for bursts of test error in single logging intervals, which one "
        "seed's slope followed. A difference of 0.1 decades between the lowest ELRs said nothing of itself: a "
        "slope that is the same over all ELRs of regime 1 would have passed. It is held against the slope at the "
        "highest ELRs, at the same loss.",
    ),
    Change(
        claim="TR7",
        date="2026-11-29",
        before="Within regime 1, 95% intervals over seeds: the largest barrier in training loss between pre-trained and "
        "fine-tuned weights is under 0.05 nats for every smaller ELR; with 8 times the ELR and more its mean is "
        "over 0.1 nats, and sharpness at the lowest training loss that both reach is lower after fine-tuning than"
        " in pre-training.",
        after="Within regime 1, for the ConvNet and for the MLP with 20% label noise, 95% intervals over seeds: with a "
        "smaller ELR the largest barrier in training loss between pre-trained and fine-tuned weights is under "
        "0.05 nats, and with 8 times the ELR and more the mean barrier is over 0.1 nats. Of the trajectories of "
        "both ELRs from initialisation that of the larger is the flatter one, at the lowest training loss that "
        "all three reach (times 1.05), and the sharpness of the fine-tuned one differs from it, either way, by "
        "less than half of the difference between both: for a smaller ELR, where that loss is at most half of "
        "that at which fine-tuning began (otherwise nothing could have happened), that is the trajectory it comes"
        " from; for 8 times the ELR and more the one of the new ELR.",
        reason="With the smaller ELR the loss moved from 0.038 to 0.032, so that nothing could have happened, and only "
        'the basin was asked about, not the trajectory ("continues to move along the same trajectory as the '
        'pre-trained model"; "converges to a new basin with a profile attributed to that higher ELR", Sec. 5.1). '
        "Both trajectories from initialisation are compared now, as in Fig. 3 right. Beyond the flatter "
        "trajectory is not on it: the distance counts either way.",
    ),
    Change(
        claim="TR8",
        date="2026-11-29",
        before="The 95% interval over seeds of the median barrier in training loss between neighbouring regime-1 "
        "solutions with final loss under 0.1 nats lies above 0.1 nats.",
        after="The 95% interval over seeds of the median barrier in training loss between neighbouring regime-1 "
        "solutions with final loss under 0.05 nats lies above 0.1 nats.",
        reason="Solutions are those that converged to a low-loss region (App. I): 0.1 nats was far from it, and the "
        "lines to it were few.",
    ),
    Change(
        claim="TR9",
        date="2026-11-29",
        before="Ratio of the largest to the smallest ESS of the weight tensors over the last fifth of training, log "
        "scale: 95% intervals over seeds of its mean in regime 1 minus regime 2, and 3 minus 2, lie above 0; "
        "slope of log loss on log ELR in regime 2 above 0 and of log sharpness below 0. Regime 2 counts where its"
        " mean loss is below ln C: closer to divergence runs jump between both (Fig. 6).",
        after="For the ConvNet and for the MLP with 20% label noise: ratio of the largest to the smallest ESS of the "
        "weight tensors over the last fifth of training, log scale: by each seed's own map, 95% intervals over "
        "seeds of its mean in regime 1 minus regime 2, and 3 minus 2, lie above 0, and of its mean in regime 2 "
        "below log 1.25; slope of log loss on log ELR in regime 2 above 0 and of log sharpness (its median over "
        "the last fifth of training) below 0. Regime 2 counts where its mean loss is below ln C: closer to "
        "divergence runs jump between both (Fig. 6).",
        reason="On 1,024 images runs burst from the lowest ELR of regime 2 on, and regime 2 was short. A second network,"
        " with a regime 2 of more than a decade, is judged beside the first, by the same inequalities. More equal"
        " is not equal: the ratio in regime 2 has a bound now. Regimes are those of each seed, and sharpness is a"
        " median, which bursts do not reach.",
    ),
    Change(
        claim="TR10",
        date="2026-11-29",
        before="Log training loss at the end of fine-tuning, as a share of the way from the old ELR's level to that of "
        "training with the new ELR all along: 95% intervals over seeds of its mean lie within 0.25 of 1, for "
        "higher and for lower ELRs.",
        after="For the ConvNet and for the MLP with 20% label noise, log training loss at the end of fine-tuning, as a "
        "share of the way from the old ELR's level to that of training with the new ELR for as long in all (sum "
        "over pairs of ELRs of the ways gone over that of the whole ways): 95% intervals over seeds lie within "
        "0.25 of 1, for higher and for lower ELRs.",
        reason="The level of the new ELR was that at the end of pre-training, although training all along goes on "
        "falling meanwhile: the same total length is compared now. Ways are summed over pairs, because the ratio "
        "of a short way says little. A second network is judged beside the first.",
    ),
    Change(
        claim="TR11",
        date="2026-11-29",
        before="At the lowest training loss that all these fine-tunes reach (times 1.05), 95% intervals over seeds: the "
        "range of log sharpness over regime-1 ELRs is larger from the upper than from the lower half of regime 2;"
        " the mean from the lower half is less than 0.1 decades above the flattest training from initialisation; "
        "the range of test error from the upper half is smaller than that of training from initialisation.",
        after="For the ConvNet and for the MLP with 20% label noise, at the lowest training loss that all these runs of"
        " a seed reach (times 1.05), with the lowest and the highest pre-training ELR that lies in regime 2; the "
        "range of a quantity is its fall over regime 1's ELRs by a straight line on their logarithm. 95% "
        "intervals over seeds: the ranges of log sharpness and of test error of training from initialisation are "
        "above 0; the range of log sharpness is larger after the highest ELR of regime 2 than after the lowest, "
        "and larger than half of that of training from initialisation; the mean log sharpness after the lowest "
        "lies above that of training from initialisation with the highest ELR of regime 1 by less than a quarter "
        "of the range of training from initialisation; the range of test error after the highest is smaller than "
        "half of that of training from initialisation.",
        reason="Read at a loss of 0.75, because the slow fine-tunes were short; the baseline was shorter still. Ranges "
        "were largest minus smallest of noisy numbers over two and over five ELRs, which grow with their number; "
        "they are falls along a straight line now. That high regime 2 covers regime 1's range of sharpness was "
        "not asked. A second network is judged beside the first. A fan that repeats regime 1's would have passed "
        "as the flattest: its mean lies half of the range above, so the bound is a quarter of the range. That "
        'regime 1 has a range is a part now, "much narrower" is less than half, and each seed is read at a loss '
        "of its own.",
    ),
    Change(
        claim="TR12",
        date="2026-11-29",
        before="Medians over checkpoint distances, 95% intervals over seeds: at the lowest ELR of regime 2 the loss "
        "half-way is more than 10% below the mean of the ends and nowhere more than 5% above the line between "
        "them; at the highest the largest relative rise above that line is larger than at the lowest.",
        after="For the ConvNet and for the MLP with 20% label noise, over pairs of checkpoints of the second half of "
        "training at three distances from each other, each from three first checkpoints, 95% intervals over "
        "seeds: at the lowest ELR of regime 2 the median loss half-way is more than 10% below the mean of the "
        "ends and the median of the largest rise above the line between them is below 5% of it; at the highest "
        "ELR of regime 2 with a mean loss below ln C that median rise is above 5%, and the slope of the rise on "
        "the logarithm of the epochs between the checkpoints is above 0.",
        reason='Correction of reading. App. K: "For the highest ELRs of the second regime (especially when Delta is '
        'large), the loss is highly non-convex": that it grows with the distance was not asked. All pairs of late'
        " checkpoints are used instead of those with the first one, and a second network is judged beside the "
        "first. A barrier at the highest ELR above that at the lowest, which is near 0, could hardly fail: it is "
        "above the bound of convexity now. Far pairs shared the last checkpoint: each distance is seen from three"
        " first checkpoints now, and one of them is a fraction of an epoch.",
    ),
    Change(
        claim="TR13",
        date="2026-11-29",
        before="95% intervals over seeds: the ELR with the largest final sharpness among those with loss below ln C lies"
        " within 0.4 decades of the border 1|2, without and with 20% label noise; its height over the flattest "
        "ELR of upper regime 1 is larger with noise; with noise the test error's second descent (after a rise of "
        "at least a point) is larger in upper regime 1 than in regime 2.",
        after="For a wide MLP, by each seed's own map, over the three highest ELRs of regime 1 that end at a third or "
        "less of the training loss of regime 2's lowest ELR, read where the training loss first comes down to "
        "each level (running medians over three logging intervals). 95% intervals over seeds, without and with "
        "20% label noise: the training loss at the peak of sharpness along training (the place that stands out "
        "most over its lowest before and after, of the run where it does most) is within 0.3 decades of that of "
        "regime 2's lowest ELR in the end; that at the peak of test error (likewise; it stands out by a point at "
        "least, and by five standard deviations of single logging intervals in the second half of training, from "
        "the differences of successive ones) within 0.3 decades of that at the peak of sharpness (by 0.01 decades"
        " at least). Test error, and sharpness (the mean of its logarithm), in the end of regime 2's lowest ELR "
        "are above the middle between their peak and their end in those runs of regime 1. With noise both peaks "
        "stand out more than without, on average by more than 0.05 decades of sharpness and by more than a point "
        "of test error (a run without a peak counts as 0). Regime 2's lowest ELR is the lowest labelled 2 below "
        "ln C whose loss does not fall any more.",
        reason="Correction of reading. Sec. 5.3 and App. G speak of the peak along training, in the diagram of sharpness"
        ' against training loss ("in the gradient norm vs. training loss diagram in Figure 1, we can observe that'
        ' the sharpness reaches its peak precisely at the transition point"; "both test error and sharpness '
        'demonstrate the double descent behavior and peak approximately at the same time"). The check looked at '
        "the ELR with the largest final sharpness, against one pooled border put into every seed, and took the "
        "largest spike of a chaotic run for a second descent. The width of 256 units was chosen after a pilot "
        "with one seed, in which the peak of sharpness is 20% high with it and 2% with the usual 64: what the "
        "usual network shows is reported beside it. That there are peaks is a part now, which can fail; noise is "
        "no peak of test error, and regime 2 stops at that of sharpness too. How noise is held off was settled on"
        " pilots of one and three seeds, too: scatter of log sharpness after the peak is far larger than at it, "
        "and asking peaks of sharpness to exceed it left none, so that only those of test error are asked; that a"
        " run stops at the peak of sharpness is asked of sharpness itself, whose logarithm would have let any run"
        " of regime 2 pass.",
    ),
    Change(
        claim="TR14",
        date="2026-11-29",
        before="95% intervals over seeds: mean cosine of successive weights at the highest learning ELR of regime 2 "
        "minus that of regime 3 above 0.5; absolute cosine in regime 3 and of the random walk with the same step "
        "lengths below 0.2; mean training loss of regime 3 minus the walk's above 0.",
        after="For the MLP, the small and the wide ConvNet, 95% intervals over seeds: in regime 3 the mean cosine of "
        "successive updates, and that of weights ten steps apart, differ from what is expected of a random walk "
        "with the same step sizes by less than 0.1; weights ten steps apart have a cosine more than 0.1 above "
        "that expected of a walk with regime 2's step sizes at the highest ELR of regime 2 with a mean loss below"
        " ln C (MLP and small ConvNet). Runs are in regime 3 whose training loss in the last fifth of training, "
        "before these steps, is not below ln C: mean training loss of regime 3 minus that of a random walk with "
        "the same step sizes is above 0.",
        reason="The cosine of adjacent weights is 1 / sqrt(1 + s^2) at a step of size s, whatever its direction, so that"
        " three of four parts could not fail. Cosines of successive updates, and of weights ten steps apart, "
        "against those expected of a walk can. Networks are reported apart, because the walk's loss differs "
        "between them. In regime 2 the steps are so small that a walk of the same sizes keeps a cosine of 0.76 "
        "over ten steps, so that a difference from regime 3 says nothing: it is held against that walk's too. "
        "Which runs are in regime 3 is asked of training, not of the loss that is compared.",
    ),
    Change(
        claim="TR16",
        date="2026-11-29",
        before="With an own initialisation and batch order for every seed and ELR: the 95% interval of the mean distance"
        " of a seed's border from the median lies below 1.5 grid cells, for 1|2 and for 2|3.",
        after="With an own initialisation and batch order for every seed and ELR, for 1|2 and for 2|3, 95% intervals "
        "over seeds widened by the grid's cell: the mean distance of a seed's border from the median lies below "
        "1.5 grid cells; and its mean distance, with its sign, from the median border of runs that share both "
        "between ELRs lies within 1.5 grid cells of 0. A border that a seed's grid does not reach has no value.",
        reason="Intervals of no width came from the grid: they are widened by its cell. App. E compares runs of which "
        "each has its own seed with runs that share it, which was not asked.",
    ),
    Change(
        claim="TR19",
        date="2026-11-29",
        before="In regime 1, by least squares of each log measure on log training loss and log ELR over ELRs and moments"
        " of training: the 95% interval over seeds of the slope on log ELR lies below 0 for all four; and the 95%"
        " interval of the Spearman correlation of gradient norm and covariance trace over all measured ELRs and "
        "moments lies above 0.95.",
        after="In regime 1, at five training losses that all measured ELRs pass after the peak of the measure, "
        "interpolated along each run: the 95% interval over seeds of the mean slope per decade of ELR of log "
        "gradient norm, log Fisher trace and log top Hessian eigenvalue lies below 0 for each; and the 95% "
        "interval of the Spearman correlation of gradient norm and covariance trace over all measured ELRs and "
        "moments, after a parabola of either's logarithm on that of the training loss, lies above 0.8.",
        reason="Both gradient measures fall with the loss by decades, so that their correlation could hardly fail: it is"
        " taken at equal training loss now. Loss and ELR go together, and a measure that is no power of the loss "
        "leaves its bend in the slope on ELR: measures are interpolated at losses that the ELRs share. The trace "
        "of the covariance is nearly the square of the mean norm, so that its slope says nothing new: the "
        "correlation is its part.",
    ),
)
