"""TR13, TR15, TR17, TR18, TR20: label noise, widths, whole space, conventional training, a Transformer."""

from __future__ import annotations

import numpy as np

from lrscope.mapping import regimes
from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.three_regimes.effects_settings import best_rates, lowest_loss, peaks, steepest_rise
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import finding, part


def _transition(results: StudyResults) -> Finding:
    clean, noisy = peaks(results.sweep("noise0")), peaks(results.sweep("noise20"))
    parts = [
        part("peak from border 1|2, clean labels", clean["away"], below=0.4, unit="decades of ELR"),
        part("peak from border 1|2, 20% label noise", noisy["away"], below=0.4, unit="decades of ELR"),
        part("peak higher with label noise", noisy["height"] - clean["height"], above=0.0, unit="decades of sharpness"),
        part("second descent larger in regime 1", noisy["one"] - noisy["two"], above=0.0, unit="test error (0 to 1)"),
    ]
    return finding(
        parts,
        f"The sharpest ELR lies {clean['away'].mean():.2f} decades from the border 1|2 without and {noisy['away'].mean():.2f} with 20% label noise, and "
        f"{clean['height'].mean():.2f} and {noisy['height'].mean():.2f} decades above the flattest of upper regime 1; with noise the test error falls again by "
        f"{100 * noisy['one'].mean():.1f} points in upper regime 1, {100 * np.nanmean(noisy['two']):.1f} in regime 2.",
    )


def _widths(results: StudyResults) -> Finding:
    small, large = results.sweep("width_small"), results.sweep("width_large")
    borders = {name: np.log10(arrays.seed_borders(r, "2|3")) for name, r in (("small", small), ("large", large))}
    blur = {name: steepest_rise(r) for name, r in (("small", small), ("large", large))}
    plain, augmented = arrays.shared_seeds(results.sweep("convnet"), results.sweep("augmented"))
    shared = [
        float(v) for v in augmented.coords["lr"].values if np.isclose(plain.coords["lr"].values, v, rtol=1e-3).any()
    ]
    low = [np.log10(lowest_loss(r.sel(lr=shared, method="nearest"))) for r in (plain, augmented)]
    parts = [
        part("border 2|3 lower when wide", borders["small"] - borders["large"], above=0.0, unit="decades of ELR"),
        part("border 1|2 clearer when wide", blur["large"] - blur["small"], above=0.0, unit="decades of loss"),
        part("lowest loss higher with augmentation", low[1] - low[0], above=0.0, unit="decades of loss"),
    ]
    return finding(
        parts,
        f"Border 2|3 at {10 ** borders['small'].mean():.2g} (narrow) and {10 ** borders['large'].mean():.2g} (wide); the steepest rise of log loss between neighbouring "
        f"ELRs around 1|2 is {blur['small'].mean():.2f} and {blur['large'].mean():.2f} decades; augmentation lifts the lowest training loss by "
        f"{np.mean(low[1] - low[0]):.2f} decades.",
    )


def _whole(results: StudyResults) -> Finding:
    result = results.sweep("whole")
    width = arrays.widths(result)
    found = regimes(result)
    jumping = [label.lr for label in found.labels if "periodic jumps" in label.flags]
    words = (
        f"periodic jumps in regime 1 at LR {', '.join(f'{lr:.2g}' for lr in jumping)}"
        if jumping
        else "no periodic jumps seen"
    )
    return finding(
        [part("width of regime 2", width, above=0.2, unit="decades of LR")],
        f"Decades of LR that regime 2 spans in whole-space training with weight decay; {words}.",
        jumping=jumping,
    )


def _conventional(results: StudyResults) -> Finding:
    found = best_rates(results.sweep("constant"), results.sweep("cosine"))
    no_third = "3" not in arrays.labels(regimes(results.sweep("constant")))
    parts = [
        part(
            "best constant LR from border 1|2",
            np.abs(found["constant"] - found["border"]),
            below=0.5,
            unit="decades of LR",
        ),
        part("best cosine above border 1|2", found["cosine"] - found["border"], above=0.0, unit="decades of LR"),
    ]
    return finding(
        parts,
        f"Best constant LR {10 ** found['constant'].mean():.2g}, best initial LR of a cosine {10 ** found['cosine'].mean():.2g}, border 1|2 "
        f"{10 ** found['border'].mean():.2g}; test accuracy {100 * found['constant_accuracy'].mean():.1f}% and {100 * found['cosine_accuracy'].mean():.1f}%; regime 3 is "
        f"{'absent' if no_third else 'present'}.",
    )


def _transformer(results: StudyResults) -> Finding:
    result = results.sweep("transformer")
    found = regimes(result)
    seen = arrays.labels(found)
    overflow = np.asarray(segment(result, "pretrain")["status"].values == 1)
    spans = []
    for one in arrays.single_seeds(result):
        lrs = one.coords["lr"].values
        inside = arrays.inside(regimes(one), "2")
        both = {"1", "2"} <= set(arrays.labels(regimes(one)))
        spans.append(float(np.log10(lrs[inside[-1]] / lrs[inside[0]])) if both else np.nan)
    return finding(
        [part("width of regime 2", spans, above=0.2, unit="decades of LR")],
        f"Decades of LR labelled regime 2 after regime 1; labels over all seeds: {' '.join(seen)}; {int(overflow.sum())} of {overflow.size} runs "
        "overflowed.",
        overflow=int(overflow.sum()),
    )


CLAIMS = (
    Claim(
        id="TR13",
        sentence="Sharpness and test error peak at the transition from 1 to 2; label noise makes it plainer (double descent); in regime 2 the second descent is missing.",
        criterion="95% intervals over seeds: the ELR with the largest final sharpness among those with loss below ln C lies within 0.4 decades of the border 1|2, without and with 20% label noise; its height over the flattest ELR of upper regime 1 is larger with noise; with noise the test error's second descent (after a rise of at least a point) is larger in upper regime 1 than in regime 2.",
        needs=("noise0", "noise20"),
        check=_transition,
        figures=("15", "16"),
    ),
    Claim(
        id="TR15",
        sentence="Wider nets have a clearer 1-2 border and their 2-3 border at lower ELR; augmentation acts like a smaller net.",
        criterion="95% intervals over seeds: log border 2|3 of the narrow net minus the wide one above 0; the steepest rise of log training loss between neighbouring ELRs around 1|2 larger in the wide net; the lowest training loss over the shared ELRs larger with augmentation than without.",
        needs=("width_small", "width_large", "convnet", "augmented"),
        check=_widths,
        figures=("13", "14"),
    ),
    Claim(
        id="TR17",
        sentence="Scale-invariant nets trained in the whole space with weight decay show three regimes too, with periodic jumps at high regime-1 LR.",
        criterion="The 95% interval over seeds of the decades of LR from border 1|2 to border 2|3 lies above 0.2 (0 where a seed shows regimes 1 and 3 with no 2 between them, undetermined where the grid does not reach a border); jumps are marked and reported.",
        needs=("whole",),
        check=_whole,
        figures=("7", "25"),
    ),
    Claim(
        id="TR18",
        sentence="Conventional training shows regimes 1 and 2 only; with a constant LR the best test accuracy lies at the top of 1, with a cosine at a medium initial LR that passes through low 2.",
        criterion="95% intervals over seeds: the best constant LR lies within 0.5 decades of the border 1|2; the best initial LR of the cosine lies above it.",
        needs=("constant", "cosine"),
        check=_conventional,
        figures=("7", "26"),
    ),
    Claim(
        id="TR20",
        sentence="A text Transformer trained conventionally shows regimes 1 and 2, then overflow.",
        criterion="The 95% interval over seeds of the decades of LR labelled 2 lies above 0.2, undetermined where a seed does not show both 1 and 2; overflow is counted and reported.",
        needs=("transformer",),
        check=_transformer,
        figures=("28",),
    ),
)
