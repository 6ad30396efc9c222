"""TR7, TR10, TR11: what changing the ELR does within and between regimes.

P pre-training rates, F fine-tuning rates, U seeds.
"""

from __future__ import annotations

import numpy as np

from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.data_sizes import FRACTIONS, by_size, elsewhere
from lrscope.studies.three_regimes.effects import barrier
from lrscope.studies.three_regimes.effects_tuning import (
    MUCH,
    SLIGHTLY,
    flatter_at_equal_loss,
    levels,
    roles,
    tuned_spread,
)
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import finding, interval, part


def _basins(results: StudyResults) -> Finding:
    tune = results.sweep("tune_first")
    known = roles(results.sweep("convnet"), tune)
    path = results.measurement("tuned_paths")["train_loss"].transpose("lr", "finetune_lr", "seed", "alpha").values
    rise = barrier(path)  # [P, F, U]

    def over(kind: str) -> Array:
        return np.stack([rise[p, f] for p, f in known.some(kind)])

    lower, much = over("lower").max(0), over("much").mean(0)
    flatter = np.stack([flatter_at_equal_loss(tune, p, f) for p, f in known.some("much")]).mean(0)
    slight = (
        f"{over('slightly').max(0).mean():.3f} at most with up to {SLIGHTLY:g} times the ELR, "
        if known.pairs("slightly")
        else ""
    )
    decades, _, _, met = interval(flatter)
    seeds = "" if met == len(flatter) else f" ({met} of {len(flatter)} seeds come down to one)"
    return finding(
        [
            part("barrier with a smaller ELR", lower, below=0.05, unit="nats"),
            part("barrier with a much larger ELR", much, above=0.1, unit="nats"),
            part("flatter with a much larger ELR", flatter, above=0.0, unit="decades of sharpness"),
        ],
        f"Barrier in training loss between pre-trained and fine-tuned weights, within regime 1: {lower.mean():.3f} nats at most with a "
        f"smaller ELR, {slight}{much.mean():.2f} on average with {MUCH:g} times and more, "
        f"which then ends {decades:.2f} decades flatter at equal training loss{seeds}.",
    )


def _levels(results: StudyResults) -> Finding:
    found, sizes = levels(results.sweep("convnet"), results.sweep("tune_within")), results.measurement("data_sizes")
    ways = ("up", "down")
    words = ", ".join(f"{name} {found[name].mean():.2f} of the way" for name in ways)
    return finding(
        [part(f"level reached going {name}", found[name], above=0.75, below=1.25, unit="of the way") for name in ways],
        f"From the old ELR's loss level to the new one's, on a log scale: {words}."
        + elsewhere(
            sizes,
            ("up", "fraction of the way up", 1),
            ("down", "down", 1),
            ("up_later", "up to the new ELR's level after going on with it for as long", 1),
            ("down_later", "down to that", 1),
        ),
        data_sizes=by_size(sizes, FRACTIONS),
    )


def _many_or_one(results: StudyResults) -> Finding:
    found = tuned_spread(results.sweep("convnet"), results.sweep("tune"))
    parts = [
        part(
            "wider range of sharpness from high regime 2",
            found["high"] - found["low"],
            above=0.0,
            unit="decades of sharpness",
        ),
        part(
            "low regime 2 above the flattest",
            found["low_mean"] - found["flattest"],
            below=0.1,
            unit="decades of sharpness",
        ),
        part(
            "narrower range of test error",
            found["scratch_error"] - found["high_error"],
            above=0.0,
            unit="test error (0 to 1)",
        ),
    ]
    return finding(
        parts,
        f"At training loss {found['level'][0]:.3g} fine-tunes from low regime 2 spread over {found['low'].mean():.3f} decades of sharpness, "
        f"from high regime 2 over {found['high'].mean():.3f}, training from initialisation over {found['scratch'].mean():.3f}; in test error over "
        f"{100 * found['low_error'].mean():.2f}, {100 * found['high_error'].mean():.2f} and {100 * found['scratch_error'].mean():.2f} points.",
    )


CLAIMS = (
    Claim(
        id="TR7",
        sentence="Fine-tuning with a smaller ELR stays on the trajectory and in the basin; a much larger one jumps to a new, flatter basin.",
        criterion="Within regime 1, 95% intervals over seeds: the largest barrier in training loss between pre-trained and fine-tuned weights is under 0.05 nats for every smaller ELR; with 8 times the ELR and more its mean is over 0.1 nats, and sharpness at the lowest training loss that both reach is lower after fine-tuning than in pre-training.",
        needs=("convnet", "tune_first", "tuned_paths"),
        check=_basins,
        figures=("3", "17", "18", "19"),
    ),
    Claim(
        id="TR10",
        sentence="Changing the ELR inside regime 2 moves the loss to the new ELR's level, up or down.",
        criterion="Log training loss at the end of fine-tuning, as a share of the way from the old ELR's level to that of training with the new ELR all along: 95% intervals over seeds of its mean lie within 0.25 of 1, for higher and for lower ELRs.",
        needs=("convnet", "tune_within", "data_sizes"),
        check=_levels,
        figures=("5",),
    ),
    Claim(
        id="TR11",
        sentence="Fine-tuning from low regime 2 always ends flattest; from high regime 2 anywhere in regime 1's range of sharpness, while the range of test error reached is much narrower.",
        criterion="At the lowest training loss that all these fine-tunes reach (times 1.05), 95% intervals over seeds: the range of log sharpness over regime-1 ELRs is larger from the upper than from the lower half of regime 2; the mean from the lower half is less than 0.1 decades above the flattest training from initialisation; the range of test error from the upper half is smaller than that of training from initialisation.",
        needs=("convnet", "tune"),
        check=_many_or_one,
        figures=("5", "23"),
    ),
)
