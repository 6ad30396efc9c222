"""TR15, TR17: widths and augmentation, training in the whole space."""

from __future__ import annotations

import numpy as np

from lrscope.charts.text import number
from lrscope.mapping import regimes
from lrscope.studies import arrays
from lrscope.studies.three_regimes.effects_settings import (
    alike,
    jump_times,
    jumps,
    jumps_in_regime_one,
    per_width,
    spread_of_intervals,
    steepest_rise,
)
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import finding, part

COSINE, SIZE = "cosine over ELRs", "of the narrow net's change"
SPREAD = "spread of intervals between jumps, over their mean"


def _widths(results: StudyResults) -> Finding:
    nets = [results.sweep(name) for name in ("width_small", "width_usual", "width_large")]
    augmented = results.sweep("augmented")
    borders = [np.log10(arrays.seed_borders(net, "2|3")) for net in nets]
    rises = [steepest_rise(net) for net in (*nets, augmented)]
    # Of a slope: the borders of both ends, over the steps between them.
    cell = 2 * arrays.cell(nets[0].coords["lr"].values) / (len(nets) - 1)
    steep, per_step = "decades of loss per decade of ELR", "per step of width"
    likeness = {
        title: alike(augmented, nets[0], nets[1], name)
        for title, name in (("loss", "train_loss"), ("sharpness", "effective_grad_norm"))
    }
    parts = [
        part(
            "border 2|3 falls with width", per_width(borders), below=0.0, cell=cell, unit=f"decades of ELR {per_step}"
        ),
        part("border 1|2 clearer with width", per_width(rises[:3]), above=0.0, unit=f"{steep}, {per_step}"),
        part("border 1|2 blurred by augmentation", rises[1] - rises[3], above=0.0, unit=steep),
        *(
            one
            for title, found in likeness.items()
            for one in (
                part(f"augmentation changes {title} as a narrow net does", found["cosine"], above=0.7, unit=COSINE),
                part(f"augmentation changes {title} by as much", found["size"], above=0.25, below=4.0, unit=SIZE),
            )
        ),
    ]
    at = ", ".join(number(10 ** arrays.average(values), 2) for values in borders)
    clear = ", ".join(number(arrays.average(values), 2) for values in rises)
    return finding(
        parts,
        f"From narrow to wide, border 2|3 at ELR {at}; the steepest rise of log loss around 1|2, with the augmented net last, "
        f"{clear} decades per decade of ELR.",
    )


def _whole(results: StudyResults) -> Finding:
    result = results.sweep("whole")
    cell = arrays.width_cell(result)
    parts = [
        part("width of regime 2", arrays.widths(result), above=0.2, cell=cell, unit="decades of LR"),
        part("jumps high in regime 1", lambda: jumps_in_regime_one(result)["high"], above=2.0, unit="jumps of a run"),
        part("jumps low in regime 1", lambda: jumps_in_regime_one(result)["low"], below=0.5, unit="jumps of a run"),
        part("periodic high in regime 1", lambda: jumps_in_regime_one(result)["spread"], below=0.5, unit=SPREAD),
    ]
    borders = [number(arrays.border(regimes(result), name), 2) for name in ("1|2", "2|3")]
    loss = arrays.logged(result, "train_loss")
    per_lr = jumps(loss).mean(1)
    most = int(np.nanargmax(per_lr))
    regular = spread_of_intervals(jump_times(np.log10(arrays.positive(loss[most]))))
    there = f", where intervals spread by {number(regular, 2)} of their mean" if np.isfinite(regular) else ""
    return finding(
        parts,
        f"Borders in whole-space training with weight decay at LR {borders[0]} and {borders[1]}; most jumps, {number(per_lr[most])} of a "
        f"run, at LR {number(float(result.coords['lr'].values[most]), 2)}{there}. That the intervals are regular is our reading of the paper's "
        '"periodically", with a bound of ours.',
        jumps=per_lr,
    )


CLAIMS = (
    Claim(
        id="TR15",
        sentence="Wider nets have a clearer 1-2 border and their 2-3 border at lower ELR; augmentation acts like a smaller net.",
        criterion="95% intervals over seeds, with nets of three widths: the slope of the log of a seed's border 2|3 on the step of width lies below 0; that of the steepest rise of log training loss between neighbouring ELRs, per decade of ELR and within three cells of the seed's border 1|2, above 0 (undetermined where a seed's border 1|2 is). That rise is smaller with augmentation than without; and what augmentation does to the settled log training loss, and to log sharpness, has a cosine over ELRs above 0.7 with what the narrow net does (held against the usual net of another seed), and is between a quarter and four times as large (least squares through the origin).",
        needs=("width_small", "width_usual", "width_large", "augmented"),
        check=_widths,
        figures=("13", "14"),
    ),
    Claim(
        id="TR17",
        sentence="Scale-invariant nets trained in the whole space with weight decay show three regimes too, with periodic jumps at high regime-1 LR.",
        criterion="95% intervals over seeds: the decades of LR from border 1|2 to border 2|3 lie above 0.2 (0 where a seed shows regimes 1 and 3 with no 2 between them, undetermined where the grid does not reach a border). Runs at the highest third of the LRs of regime 1 jump more than twice, those at the lowest third less than every second: a jump is a rise of the training loss by a factor 5 above the median of the ten logging intervals before, followed by a fall by as much. In runs at the highest third the standard deviation of the intervals between jumps about their run's mean is less than half of the mean (near 0 for a clock, near 1 for jumps at random times; undetermined where no run jumps three times).",
        needs=("whole",),
        check=_whole,
        figures=("7", "25"),
    ),
)
