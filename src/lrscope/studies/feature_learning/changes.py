"""Criteria that were changed after they had been written down, and why."""

from __future__ import annotations

from lrscope.studies.types import Change

CHANGES = (
    Change(
        claim="FL1",
        date="2026-11-29",
        before="Ticks, without the highest FLR, which overfits in a fixed length; regimes by the runs of the other data seeds. 95% intervals over seeds: mean accuracy after fine-tuning from 2A minus that of pre-training in the upper half of regime 1, and minus fine-tuning from 2B, above 0; deviation over FLRs in 2B minus 2A above 0; mean change by FLRs up to the PLR in regime 1 below one point.",
        after="Ticks, without the highest FLR, which overfits in a fixed length; regimes, and the best rate of 2A and of 1, by the runs of the other data seeds. 95% intervals over data seeds: mean accuracy after fine-tuning from the best rate of 2A minus after fine-tuning from the best rate of 1, and from 2A minus from 2B, above 0; deviation over FLRs in 2B minus 2A above 0; mean change by FLRs up to the PLR in regime 1 between minus one point and one point.",
        reason="The check could hardly fail: 2A was held against pre-training in regime 1, which fine-tuning passes anyway. It is now held against fine-tunes from regime 1's best rate. The change in regime 1 was the size of a mean, which is never negative; it is now a difference that may have either sign.",
    ),
    Change(
        claim="FL2",
        date="2026-11-29",
        before="Ticks, regimes by the runs of the other data seeds. 95% intervals over seeds of test accuracy of the average over most checkpoints minus that of fine-tuning with the lowest FLR: above -2 points in 2A, below -5 points in 2B.",
        after="Ticks, regimes by the runs of the other data seeds. 95% intervals over data seeds of test accuracy of the average over 5 and over 50 checkpoints minus the middle between that of pre-training and that of fine-tuning with the lowest FLR: above 0 in 2A, below 0 in 2B. The gap to fine-tuning is reported for every number of checkpoints.",
        reason="Correction of reading. App. C: 'SWA in subregime 2A produces models with good performance, while averaging models in subregime 2B does not'. It says good, not equal to fine-tuning. Good now means nearer to fine-tuning than to no fine-tuning; the gap is reported for every number of checkpoints.",
    ),
    Change(
        claim="FL3",
        date="2026-11-29",
        before="Ticks, regimes by the runs of the other data seeds. Number of features relied on (participation ratio of single-feature accuracies above chance), 95% intervals over seeds: at the lowest decade of PLRs it is more than 1.5 times that in 2A after pre-training, after the lowest FLR and after averaging five checkpoints, and that after the highest FLR from the lowest decade and from regime 3; mean single-feature accuracy in regime 3 is less than two points above chance.",
        after="Ticks, regimes by the runs of the other data seeds. Number of features relied on (participation ratio of single-feature accuracies above chance), 95% intervals over data seeds: at the lowest decade of PLRs it is more than half of the features, and more than 1.5 times that in 2A after pre-training, after the lowest FLR and after averaging five checkpoints, and that after the highest FLR from 2B, from 3, and from those runs of regime 1 that it catapults: its solution lies more than 1 rad from the lowest FLR's; mean single-feature accuracy in regime 3 is less than two points above chance.",
        reason="Correction of reading. App. C: 'fine-tuning with a high FLR restores feature sparsity by either the catapults (when FLR >> PLR, regime 1) or convergence (when FLR < PLR, regimes 2 and 3)'. Not from all of the lowest decade, but where it catapults, which the angle tells. 2B was missing, and that features are even at small PLRs was not checked.",
    ),
    Change(
        claim="FL4",
        date="2026-11-29",
        before="Ticks, regimes by the runs of the other data seeds; lowest FLR, highest FLR, average of five checkpoints. 95% intervals over seeds, all above 0: test-error barrier between low and high in 2A minus upper half of regime 1, and 2B minus 2A; in 2A and 2B angle and test-error barrier from the average to high minus to low; angle between low and high at the lowest decade of PLRs minus upper half of regime 1.",
        after="Ticks, regimes by the runs of the other data seeds; lowest FLR, highest FLR, average of five checkpoints. 95% intervals over data seeds of differences within a data seed: test-error barrier between low and high in 2A minus upper half of regime 1, and 2B minus 2A, above 0; in 2A, and in 2B, the angle from the average to high is more than 1.5 times that to low, and its test-error barrier to high minus to low above 0; angle between low and high above 1 rad where the highest FLR is 100 times the PLR and more, and below 1 rad in regime 1 where it is at most ten times the PLR.",
        reason="Each part can fail now: an angle difference above 0 is held by any average of late checkpoints, so more than 1.5 times is asked, in 2A and in 2B; a catapult is an angle above 1 rad where FLR >> PLR, not one above that of regime 1, and it must be absent where the rates are close.",
    ),
    Change(
        claim="FL5",
        date="2026-11-29",
        before="Regimes by the other seeds; 95% intervals over seeds, all above 0. ResNet-18: accuracy on mid-band images minus the better of background and low after the lowest FLR in 2A; mid in 2A minus regime 1 after pre-training; mid in 2A after the lowest FLR, and after averaging five checkpoints, minus after pre-training. ConvNet: mid in 2A minus regime 1 after pre-training.",
        after="The most useful of the groups background, low, mid and high is the one on which networks trained on it alone get most; all is undetermined while it gets less than twice chance, and what networks get on bands alone is undetermined while in 2A no group reaches twice chance. Regimes by the other data seeds, regime 1 meaning its upper half; 95% intervals over data seeds, all above 0. Most useful group minus the next one. ResNet-18: accuracy on images with that group alone after pre-training in 2A minus 1, and minus 2B; after the lowest FLR in 2A minus the best of the other groups; its part of all groups' accuracy above chance after pre-training in 2A minus 1; its accuracy in 2A after the lowest FLR, and after averaging five checkpoints, minus after pre-training; what removing it costs after the lowest FLR in 2A minus 1, and in 2A minus what removing another one costs at most. ConvNet: accuracy with that group alone after pre-training in 2A minus 1.",
        reason="The check measured a floor: bands without the mean are a grey card to networks trained on images with a black background, and no band got twice chance. Bands are now divided by the standard deviation and also removed, and which is the most useful is measured first. Sec. 3: 'feature selection is not random but is biased towards the most useful features for the task'; that these are the mid ones holds for CIFAR.",
    ),
    Change(
        claim="FL6",
        date="2026-11-29",
        before="Momentum, weight decay, augmentation; regimes by the other seeds; 95% intervals over seeds: the learning rate with the best pre-training accuracy lies less than 0.5 decades from the border 1|2; accuracy in regime 1 after the lowest FLR, and after averaging five checkpoints, minus after pre-training above 0; accuracy on mid-band images after the lowest FLR from 2A minus from regime 1 above 0.",
        after="Momentum, weight decay, augmentation. By the other data seeds regime 2 begins at the best pre-training accuracy, as the paper draws it, and 2A ends where the lowest FLR does; regime 1 means its upper half but where it is compared with itself; the most useful group of bands is that of FL5. 95% intervals over data seeds, all above 0: accuracy after the lowest FLR, and after averaging five checkpoints, in 2A minus 1, and averaged in 2A minus 2B; accuracy in 1 after the lowest FLR, and after averaging, minus after pre-training; after the lowest FLR accuracy on images with the most useful group alone in 2A minus 1, and in 2A minus the best of the other groups, both undetermined while in 2A no group reaches twice chance; what removing it costs in 2A minus 1.",
        reason="Correction of reading. Sec. 4: we 'draw the boundary between the regimes approximately at the PLR with max pre-train accuracy'. That is a convention, not a finding, so its distance is no part of the claim. App. E's 'best solutions are obtained in the lower part of the second regime', with averaging too, was missing. Bands as in FL5.",
    ),
    Change(
        claim="FL7",
        date="2026-11-29",
        before="Regimes by the other seeds; 95% intervals over seeds: in 2A the highest FLR's accuracy differs from the lowest's by less than one point; deviation of accuracy over PLRs after the lowest FLR minus after the highest above 0; after the lowest FLR in 2A, accuracy on low-band minus on mid-band images above 0, and on mid-band images with the lower split minus with the usual one above 0.",
        after="By the other data seeds regime 2 begins at the best pre-training accuracy, as the paper draws it, and 2A ends where the lowest FLR does. 95% intervals over data seeds: in 2A the highest FLR's accuracy minus the lowest's, and over regime 1 and 2A the highest FLR's slope of accuracy by decade of PLR, between minus one point and one point; after the lowest FLR in 2A, accuracy on low-band minus on mid-band images, and what removing low costs minus what removing mid costs, each minus the same of the conventional ResNet-18 with the same data seed, above 0; low minus mid with the usual split above 0, and mid minus low with the lowest of the paper's splits above 0. What networks get on bands alone is undetermined while in 2A no group reaches twice chance.",
        reason="It is trained on a laptop now. The border is drawn as in the paper. App. F says that the high FLR's accuracy is independent of the PLR, which a slope says and a comparison of deviations does not. 'Contrary to the results for convolutional networks' is held against one. The split decides if low leads with the usual one and mid with a lower one; that a lower split favours mid is nearly an identity.",
    ),
    Change(
        claim="FL8",
        date="2026-11-29",
        before="ResNet-18, fine-tunes from regime 2 at the lowest training loss that all reach (times 1.05), 95% intervals over seeds: slope of test error on log sharpness over FLRs, mean over PLRs, above 0; minus the slope over PLRs, mean over FLRs, above 0.",
        after="ResNet-18, fine-tunes from regime 2 at the lowest training loss that all reach (times 1.05), 95% intervals over seeds. Slope of test error on log sharpness over all fine-tunes, and over FLRs, mean over PLRs, above 0. Of the pairs of fine-tunes from different pre-trainings whose mean test error over the other seeds is equal to 0.3 points, the one with the most different sharpness: in the seed left out its test errors differ by less than a point and its sharpness by more than a factor of 1.5. Of the pairs whose mean sharpness is equal to 0.03 decades, the one with the most different test error: its sharpness differs by less than 0.1 decades and its test error by more than a point.",
        reason="Correction of reading. App. G: 'an overall positively correlated trend', 'the same trend applies to fine-tuning checkpoints obtained from the same initialization', and across pre-trainings 'with similar test error, their sharpness values differ on average by almost a factor of two'. The overall trend was missing, and a smaller slope across was asked instead of such pairs. The level was 0.17, far from the paper's 6e-4; the sweep is now a longer one of its own.",
    ),
)
