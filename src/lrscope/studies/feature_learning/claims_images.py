"""FL5 to FL8: frequency bands of images, conventional training, a vision transformer, sharpness against test error.

L pre-training rates, F fine-tuning rates, U seeds.
"""

from __future__ import annotations

import numpy as np

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects import at_equal_loss, averaged, band, mean_slopes, over, trained, tuned
from lrscope.studies.feature_learning.folds import Fold, folds_of, mean_over_folds, per_fold, readable_folds
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part


def _mid_bands(results: StudyResults) -> Finding:
    folds = {name: folds_of(results.sweep(name)) for name in ("resnet", "convnet")}

    def most(fold: Fold) -> Array:
        rest = np.maximum(band(fold, "low", "background"), band(fold, "low", "low"))
        return over(band(fold, "low", "mid") - rest, fold.inside("2A"))

    def peak(fold: Fold) -> Array:
        return over(band(fold, "pre", "mid"), fold.inside("2A")) - over(band(fold, "pre", "mid"), fold.inside("1"))

    def more(stage: str) -> Array:
        return per_fold(
            folds["resnet"],
            lambda fold: over(band(fold, stage, "mid") - band(fold, "pre", "mid"), fold.inside("2A")),
        )

    ahead = per_fold(folds["resnet"], most)
    resnet, convnet = per_fold(folds["resnet"], peak), per_fold(folds["convnet"], peak)
    low, swa = more("low"), more("swa")
    return finding(
        [
            part(
                "ResNet: mid ahead of background and low after fine-tuning",
                ahead,
                above=0.0,
                unit="test accuracy (0 to 1)",
            ),
            part("ResNet: mid peaks in 2A", resnet, above=0.0, unit="test accuracy (0 to 1)"),
            part("ResNet: more after the lowest FLR", low, above=0.0, unit="test accuracy (0 to 1)"),
            part("ResNet: more after averaging", swa, above=0.0, unit="test accuracy (0 to 1)"),
            part("ConvNet: mid peaks in 2A", convnet, above=0.0, unit="test accuracy (0 to 1)"),
        ],
        f"ResNet-18, accuracy on mid frequencies in 2A: {100 * mean_over_folds(ahead):+.1f} points against the better of background and low after the lowest FLR; "
        f"{100 * mean_over_folds(resnet):+.1f} against regime 1 after pre-training; {100 * mean_over_folds(low):+.1f} by the lowest FLR, {100 * mean_over_folds(swa):+.1f} by averaging. ConvNet: "
        f"{100 * mean_over_folds(convnet):+.1f} against regime 1.{readable_folds(ahead, resnet, low, swa, of='resnet')}{readable_folds(convnet, of='convnet')}",
    )


def _practice(results: StudyResults) -> Finding:
    result = results.sweep("practical")
    folds = folds_of(result)
    lr = np.log10(result.coords["lr"].values)

    def away(fold: Fold) -> Array:
        best = arrays.best(trained(fold), lr)  # an overflow is no accuracy
        return np.asarray(np.abs(best - np.log10(arrays.border(fold.others, "1|2"))), dtype=np.float64)

    def gain(fold: Fold, values: Array) -> Array:
        return over(values - trained(fold), fold.inside("1"))

    def peak(fold: Fold) -> Array:
        return over(band(fold, "low", "mid"), fold.inside("2A")) - over(band(fold, "low", "mid"), fold.inside("1"))

    distance = per_fold(folds, away)
    low = per_fold(folds, lambda fold: gain(fold, tuned(fold)[:, 0]))
    swa = per_fold(folds, lambda fold: gain(fold, averaged(fold, 5)))
    mid = per_fold(folds, peak)
    return finding(
        [
            part("best accuracy from border 1|2", distance, below=0.5, unit="decades of LR"),
            part("fine-tuning helps in 1", low, above=0.0, unit="test accuracy (0 to 1)"),
            part("averaging helps in 1", swa, above=0.0, unit="test accuracy (0 to 1)"),
            part("mid peaks in 2A", mid, above=0.0, unit="test accuracy (0 to 1)"),
        ],
        f"The best pre-training accuracy lies {mean_over_folds(distance):.2f} decades from the border 1|2; in regime 1 the lowest FLR adds {100 * mean_over_folds(low):+.2f} points, "
        f"averaging {100 * mean_over_folds(swa):+.2f}; mid-frequency accuracy after the lowest FLR is {100 * mean_over_folds(mid):+.1f} points higher from 2A than from regime 1."
        + readable_folds(distance, low, swa, mid),
    )


def _vit(results: StudyResults) -> Finding:
    folds = folds_of(results.sweep("vit"))
    splits = results.measurement("vit_splits")

    def of(fold: Fold, name: str) -> Array:
        here = {axis: fold.result[axis].values for axis in ("data_seed", "seed")}
        return over(arrays.per_seed(splits["accuracy"].sel(band=name).sel(here)), fold.inside("2A"))

    agree = per_fold(folds, lambda fold: np.abs(over(tuned(fold)[:, -1] - tuned(fold)[:, 0], fold.inside("2A"))))
    flat = per_fold(folds, lambda fold: tuned(fold)[:, 0].std(0) - tuned(fold)[:, -1].std(0))
    lower = per_fold(folds, lambda fold: of(fold, "low 0") - of(fold, "mid 0"))
    split = per_fold(folds, lambda fold: of(fold, "mid 1") - of(fold, "mid 0"))
    return finding(
        [
            part("FLRs apart in 2A", agree, below=0.01, unit="test accuracy (0 to 1)"),
            part("less deviation over PLRs with the high FLR", flat, above=0.0, unit="test accuracy (0 to 1)"),
            part("low before mid", lower, above=0.0, unit="test accuracy (0 to 1)"),
            part("the split decides", split, above=0.0, unit="test accuracy (0 to 1)"),
        ],
        f"In 2A the FLRs end {100 * mean_over_folds(agree):.2f} points apart; accuracy scatters over PLRs by {100 * mean_over_folds(flat):.2f} points more with the lowest FLR; low "
        f"frequencies {100 * mean_over_folds(lower):+.1f} points against mid ones; a lower split adds {100 * mean_over_folds(split):+.1f} points to mid."
        + readable_folds(agree, flat, lower, split),
    )


def _sharpness(results: StudyResults) -> Finding:
    found = at_equal_loss(results.sweep("resnet"))
    for name, words in (("plr", "learning rates lie in regime 2"), ("flr", "fine-tuning learning rates")):
        if len(found[name]) < 3:
            raise Undetermined(f"{len(found[name])} {words}, 3 are needed")
    if not (np.isfinite(found["sharpness"]) & np.isfinite(found["error"])).all():
        raise Undetermined(
            f"some fine-tunes start below {found['level'][0]:.3g}, the lowest training loss that all reach: there is no loss at "
            "which all could be compared"
        )
    within = mean_slopes(found["sharpness"], found["error"])
    across = mean_slopes(found["sharpness"].swapaxes(0, 1), found["error"].swapaxes(0, 1))
    return finding(
        [
            part("slope within a pre-training", within, above=0.0, unit="test error (0 to 1) per decade of sharpness"),
            part("slope lower across", within - across, above=0.0, unit="test error (0 to 1) per decade of sharpness"),
        ],
        f"At training loss {found['level'][0]:.2g}, points of test error per decade of sharpness: {100 * mean_over_folds(within):+.2f} over FLRs from one pre-training, "
        f"{100 * mean_over_folds(across):+.2f} over PLRs of regime 2 at one FLR.",
        across=interval(across)[:3],
        decades_by_flr=float(np.ptp(found["sharpness"], axis=1).mean()),
        passed_before_the_first_moment=float(found["early"].mean()),
    )


CLAIMS = (
    Claim(
        id="FL5",
        sentence="Mid frequencies matter most in 2A (ResNet clearly, ConvNet weakly), more so after fine-tuning or averaging.",
        criterion="Regimes by the other seeds; 95% intervals over seeds, all above 0. ResNet-18: accuracy on mid-band images minus the better of background and low after the lowest FLR in 2A; mid in 2A minus regime 1 after pre-training; mid in 2A after the lowest FLR, and after averaging five checkpoints, minus after pre-training. ConvNet: mid in 2A minus regime 1 after pre-training.",
        needs=("resnet", "convnet"),
        check=_mid_bands,
        figures=("4", "5", "7", "11"),
    ),
    Claim(
        id="FL6",
        sentence="The same shows in conventional training; the border 1|2 lies at the best pre-training accuracy, and in regime 1 fine-tuning and averaging help, because convergence was incomplete.",
        criterion="Momentum, weight decay, augmentation; regimes by the other seeds; 95% intervals over seeds: the learning rate with the best pre-training accuracy lies less than 0.5 decades from the border 1|2; accuracy in regime 1 after the lowest FLR, and after averaging five checkpoints, minus after pre-training above 0; accuracy on mid-band images after the lowest FLR from 2A minus from regime 1 above 0.",
        needs=("practical",),
        check=_practice,
        figures=("6", "12", "13"),
    ),
    Claim(
        id="FL7",
        sentence="A vision transformer: both FLRs agree in 2A, the high FLR's accuracy does not depend on the PLR; lower frequencies matter than for convolutional nets, and where low and mid are split decides which.",
        criterion="Regimes by the other seeds; 95% intervals over seeds: in 2A the highest FLR's accuracy differs from the lowest's by less than one point; deviation of accuracy over PLRs after the lowest FLR minus after the highest above 0; after the lowest FLR in 2A, accuracy on low-band minus on mid-band images above 0, and on mid-band images with the lower split minus with the usual one above 0.",
        needs=("vit", "vit_splits"),
        check=_vit,
        figures=("14", "15", "16"),
    ),
    Claim(
        id="FL8",
        sentence="At equal training loss sharpness goes with test error within one pre-training run, and the relation breaks across runs.",
        criterion="ResNet-18, fine-tunes from regime 2 at the lowest training loss that all reach (times 1.05), 95% intervals over seeds: slope of test error on log sharpness over FLRs, mean over PLRs, above 0; minus the slope over PLRs, mean over FLRs, above 0.",
        needs=("resnet",),
        check=_sharpness,
        figures=("17",),
    ),
)
