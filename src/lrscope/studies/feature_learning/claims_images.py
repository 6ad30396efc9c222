"""FL5 to FL8: frequency bands of images, conventional training, a vision transformer, sharpness against test error.

L pre-training rates, F fine-tuning rates, U units.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from lrscope.mapping import regimes
from lrscope.studies import panels, reading
from lrscope.studies.feature_learning.states import (
    Part,
    accuracies,
    averaged,
    each,
    judged,
    mean_of_parts,
    over,
    read_in,
    trained,
    tuned,
)
from lrscope.studies.reading import Array
from lrscope.studies.stats import Unseen, all_of, finding, interval
from lrscope.studies.types import Claim, Finding, Lab


def band(part: Part, state: str, name: str) -> Array:
    """Accuracy on the images of one band [L, U] in a state (`states.accuracies`)."""
    found = accuracies(part.result, state)
    names = [str(n) for n in found["feature"].values]
    return reading.units(found.isel(feature=names.index(name)))


def _mid_bands(lab: Lab) -> Finding:
    parts = {name: judged(lab.sweep(name)) for name in ("resnet", "convnet")}

    def most(part: Part) -> Array:
        rest = np.maximum(band(part, "low", "background"), band(part, "low", "low"))
        return over(band(part, "low", "mid") - rest, part.inside("2A"))

    def peak(part: Part) -> Array:
        return over(band(part, "pre", "mid"), part.inside("2A")) - over(band(part, "pre", "mid"), part.inside("1"))

    def more(state: str) -> Array:
        return each(
            parts["resnet"],
            lambda part: over(band(part, state, "mid") - band(part, "pre", "mid"), part.inside("2A")),
        )

    ahead = each(parts["resnet"], most)
    resnet, convnet = each(parts["resnet"], peak), each(parts["convnet"], peak)
    low, swa = more("low"), more("swa")
    return all_of(
        [
            finding(ahead, 0.0, "ResNet: mid ahead of background and low after fine-tuning"),
            finding(resnet, 0.0, "ResNet: mid peaks in 2A"),
            finding(low, 0.0, "ResNet: more after the lowest FLR"),
            finding(swa, 0.0, "ResNet: more after averaging"),
            finding(convnet, 0.0, "ConvNet: mid peaks in 2A"),
        ],
        f"ResNet-18, accuracy on mid frequencies in 2A: {100 * mean_of_parts(ahead):+.1f} points against the better of background and low after the lowest FLR; "
        f"{100 * mean_of_parts(resnet):+.1f} against regime 1 after pre-training; {100 * mean_of_parts(low):+.1f} by the lowest FLR, {100 * mean_of_parts(swa):+.1f} by averaging. ConvNet: "
        f"{100 * mean_of_parts(convnet):+.1f} against regime 1.{read_in(ahead, resnet, low, swa, of='resnet')}{read_in(convnet, of='convnet')}",
    )


def _practice(lab: Lab) -> Finding:
    result = lab.sweep("practical")
    parts = judged(result)
    lr = np.log10(result["lr"].values)

    def away(part: Part) -> Array:
        best = lr[np.nan_to_num(trained(part), nan=-1.0).argmax(0)]  # an overflow is no accuracy
        return np.asarray(np.abs(best - np.log10(reading.border(part.others, "1|2"))), dtype=np.float64)

    def gain(part: Part, values: Array) -> Array:
        return over(values - trained(part), part.inside("1"))

    def peak(part: Part) -> Array:
        return over(band(part, "low", "mid"), part.inside("2A")) - over(band(part, "low", "mid"), part.inside("1"))

    distance = each(parts, away)
    low = each(parts, lambda part: gain(part, tuned(part)[:, 0]))
    swa = each(parts, lambda part: gain(part, averaged(part, 5)))
    mid = each(parts, peak)
    return all_of(
        [
            finding(0.5 - distance, 0.0, "border at the best accuracy"),
            finding(low, 0.0, "fine-tuning helps in 1"),
            finding(swa, 0.0, "averaging helps in 1"),
            finding(mid, 0.0, "mid peaks in 2A"),
        ],
        f"The best pre-training accuracy lies {mean_of_parts(distance):.2f} decades from the border 1|2; in regime 1 the lowest FLR adds {100 * mean_of_parts(low):+.2f} points, "
        f"averaging {100 * mean_of_parts(swa):+.2f}; mid-frequency accuracy after the lowest FLR is {100 * mean_of_parts(mid):+.1f} points higher from 2A than from regime 1."
        + read_in(distance, low, swa, mid),
    )


def _vit(lab: Lab) -> Finding:
    parts = judged(lab.sweep("vit"))
    splits = lab.measured("vit_splits")

    def of(part: Part, name: str) -> Array:
        here = {axis: part.result[axis].values for axis in ("data_seed", "seed")}
        return over(reading.units(splits["accuracy"].sel(band=name).sel(here)), part.inside("2A"))

    agree = each(parts, lambda part: np.abs(over(tuned(part)[:, -1] - tuned(part)[:, 0], part.inside("2A"))))
    flat = each(parts, lambda part: tuned(part)[:, 0].std(0) - tuned(part)[:, -1].std(0))
    lower = each(parts, lambda part: of(part, "low 0") - of(part, "mid 0"))
    split = each(parts, lambda part: of(part, "mid 1") - of(part, "mid 0"))
    return all_of(
        [
            finding(0.01 - agree, 0.0, "FLRs agree in 2A"),
            finding(flat, 0.0, "the high FLR's accuracy depends less on the PLR"),
            finding(lower, 0.0, "low before mid"),
            finding(split, 0.0, "the split decides"),
        ],
        f"In 2A the FLRs end {100 * mean_of_parts(agree):.2f} points apart; accuracy scatters over PLRs by {100 * mean_of_parts(flat):.2f} points more with the lowest FLR; low "
        f"frequencies {100 * mean_of_parts(lower):+.1f} points against mid ones; a lower split adds {100 * mean_of_parts(split):+.1f} points to mid."
        + read_in(agree, flat, lower, split),
    )


def at_equal_loss(result: xr.Dataset) -> dict[str, Array]:
    """Sharpness and test error of all fine-tunes from regime 2 at one training loss: `sharpness` (log10), `error` [P, F, U],
    `early` [P, F, U], whether the first moment of fine-tuning lies below it, `plr` [P], `flr` [F], `level` [1]; and of
    regime 1's pre-trainings `one_sharpness`, `one_error` [K, U].

    The level is the lowest training loss that all these fine-tunes reach, times 1.05 (feature_learning, App. G: 6e-4). A
    fine-tune begins where its pre-training ended; runs that start below the level, or never reach it, are NaN.

    Raises:
        Unseen: no regime 2; a fine-tune reaches a loss of 0.
    """
    found = regimes(result)
    part = result.isel(lr=reading.shown(found, "2"))
    name = panels.sharpness(result)[0]
    loss = reading.units(part["finetune_train_loss"])
    level = 1.05 * float(np.nanmax(np.nanmin(loss, axis=-1)))
    one = result.isel(lr=reading.inside(found, "1"))
    if not level > 0:
        raise Unseen("some fine-tunes reach a training loss of 0: there is no level to compare at")
    path = _path(reading.units(part["train_loss"]), loss)

    def at(before: Array, after: Array) -> Array:
        return reading.read_off(path, _path(before, after), level)

    return {
        "sharpness": np.log10(at(reading.units(part[name]), reading.units(part["finetune_" + name]))),
        "error": at(reading.error_curve(part), reading.error_curve(part, "finetune_")),
        "early": loss[..., 0] <= level,
        "plr": part["lr"].values.astype(float),
        "flr": result["finetune_lr"].values.astype(float),
        "level": np.array([level]),
        "one_sharpness": np.log10(reading.at_level(one, name, level)),
        "one_error": reading.at_level(one, "test_error", level),
    }


def _path(before: Array, after: Array) -> Array:
    """Fine-tuning [P, F, U, W] with the end of pre-training [P, U, W'] in front: [P, F, U, 1 + W]."""
    start = np.broadcast_to(before[:, None, :, -1:], (*after.shape[:-1], 1))
    return np.concatenate([start, after], -1)


def _slopes(sharpness: Array, error: Array) -> Array:
    """Mean over the first axis of the slopes of error on sharpness along the second: [A, B, U] to [U]."""
    found = [
        [np.polyfit(sharpness[a, :, u], error[a, :, u], 1)[0] for u in range(sharpness.shape[2])]
        for a in range(sharpness.shape[0])
    ]
    return panels.mean(np.array(found), 0)


def _sharpness(lab: Lab) -> Finding:
    found = at_equal_loss(lab.sweep("resnet"))
    for name, words in (("plr", "learning rates lie in regime 2"), ("flr", "fine-tuning learning rates")):
        if len(found[name]) < 3:
            raise Unseen(f"{len(found[name])} {words}, 3 are needed")
    if not (np.isfinite(found["sharpness"]) & np.isfinite(found["error"])).all():
        raise Unseen(
            f"some fine-tunes start below {found['level'][0]:.3g}, the lowest training loss that all reach: there is no loss at "
            "which all could be compared"
        )
    within = _slopes(found["sharpness"], found["error"])
    across = _slopes(found["sharpness"].swapaxes(0, 1), found["error"].swapaxes(0, 1))
    return all_of(
        [finding(within, 0.0, "positive within a pre-training"), finding(within - across, 0.0, "broken across")],
        f"At training loss {found['level'][0]:.2g}, points of test error per decade of sharpness: {100 * mean_of_parts(within):+.2f} over FLRs from one pre-training, "
        f"{100 * mean_of_parts(across):+.2f} over PLRs of regime 2 at one FLR.",
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
