"""The study's figures: accuracies over pre-training rates, feature accuracies, geometry. Figure 17 is in figure_sharpness.py.

L pre-training rates, U seeds (data seed x seed). As in the paper, ticks are drawn with means and standard deviations over
seeds, barriers with medians and quartiles. Three lines and more of test accuracy are drawn as medians of levelled seeds
(`levelled`); their quartiles are told where a pointer reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Chart, Layer, Level, Line, Panel, Points
from lrscope.charts.style import COLORS, GREY, INK
from lrscope.charts.text import number
from lrscope.mapping import regimes
from lrscope.reporting import frames
from lrscope.reporting.zoom import zoom
from lrscope.schema import segment
from lrscope.studies import arrays, common_panels
from lrscope.studies.feature_learning.effects import accuracies, nearest_average
from lrscope.studies.feature_learning.effects_bands import WITHOUT, chance
from lrscope.studies.feature_learning.folds import by_accuracy
from lrscope.studies.types import StudyResults

MOST_BANDS = 2  # ours: more bands of deviations overlap to one grey area
FLR = "fine-tuning learning rate (FLR)"
ACCURACY = "test accuracy"
STAGES = {
    "pre": "pre-training",
    "swa": "average of 5 checkpoints",
    "low": "fine-tuned, lowest FLR",
    "high": "fine-tuned, highest FLR",
}


def spread(x: arrays.Array, values: arrays.Array, **options: Any) -> Line:
    """Mean over seeds of [L, U] with one standard deviation to both sides."""
    found = frames.spread(values)
    return Line(x=x, y=found.mean, low=found.mean - found.sd, high=found.mean + found.sd, **options)


def median(x: arrays.Array, values: arrays.Array, **options: Any) -> Line:
    """Median over seeds of [L, U]; a pointer reads its quartiles, after the line's name or FLR."""
    words = options.get("name") or f"FLR {number(options['value'])}"
    quartiles = np.full((3, len(values)), np.nan)
    known = np.isfinite(values).any(1)
    quartiles[:, known] = np.nanquantile(values[known], (0.25, 0.5, 0.75), axis=1)
    told = [f"{words}: {number(m)}, quartiles {number(a)} to {number(b)}" for a, m, b in quartiles.T]
    return Line(x=x, y=quartiles[1], told=told, **options)


def _panel(
    result: xr.DataTree, title: str, y_title: str, layers: Sequence[Layer], limits: tuple[float, float] | None = None
) -> Panel:
    return Panel(
        title=title,
        x=Axis(title=f"pre-training {common_panels.rate(result)}", log=True),
        y=Axis(title=y_title, limits=limits),
        layers=[*_shading(result), *layers],
    )


def _shading(result: xr.DataTree) -> list[Layer]:
    """Regimes behind the lines: those of the rules, of a conventional network those that the paper draws (`by_accuracy`)."""
    found = regimes(result)
    if not result.attrs["scale_invariant"]:
        drawn = zip(found.labels, by_accuracy(result), strict=True)
        found = replace(found, labels=tuple(replace(label, regime=name) for label, name in drawn), borders={})
    return frames.shading(frames.backdrop(frames.grid(result), found))


def _rates(result: xr.DataTree) -> arrays.Array:
    return np.asarray(result.coords["lr"].values, dtype=np.float64)


def levelled(values: arrays.Array, *others: arrays.Array) -> tuple[arrays.Array, ...]:
    """Values [L, lines, U] from which the mean of each seed is taken off, and to which the mean over all seeds is added: what is
    left is how lines differ within a seed. `others` [L, U] get the same shifts. Only places that all seeds have count for
    the means; where there is none, nothing is shifted."""
    everywhere = np.isfinite(values).all(-1)
    if not everywhere.any():
        return values, *others
    level = values[everywhere].mean(0)
    shift = level.mean() - level
    return values + shift, *(other + shift for other in others)


def _compared(result: xr.DataTree, title: str, values: arrays.Array, looks: Sequence[dict[str, Any]]) -> Panel:
    """Accuracies [L, lines, U] beside pre-training, the axis zoomed to where they differ; `looks` of each line."""
    before = arrays.logged(result, "test_accuracy")[..., -1]
    banded = len(looks) <= MOST_BANDS
    if not banded:
        values, before = levelled(values, before)
    spreads = [frames.spread(values[:, i]) for i in range(values.shape[1])]
    ends = zoom(spreads, frames.spread(before), log=False, higher_is_better=True)
    draw = spread if banded else median
    lines = [draw(_rates(result), values[:, i], **look) for i, look in enumerate(looks)]
    lines.append(draw(_rates(result), before, name="pre-training", dashed=True))
    words = [*([] if banded else ["seeds levelled"]), *([] if ends is None else ["lower ones cut"])]
    y_title = f"{ACCURACY} ({', '.join(words)})" if words else ACCURACY
    return _panel(result, title, y_title, lines, None if ends is None else (ends.low, ends.high))


def tuned_panel(result: xr.DataTree, title: str) -> Panel:
    """Test accuracy after fine-tuning, a line per FLR, and before."""
    flrs = [float(flr) for flr in segment(result, "finetune")["finetune_lr"].values]
    values = arrays.logged(result, "test_accuracy", "finetune")[..., -1]
    return _compared(result, title, values, [{"value": flr} for flr in flrs])


def averaged_panel(result: xr.DataTree, title: str) -> Panel:
    """Test accuracy of averages, a line per number of checkpoints, and of the last one."""
    numbers = [int(n) for n in segment(result, "average")["n_average"].values]
    looks = [{"color": COLORS[i % len(COLORS)], "name": f"{n} checkpoints"} for i, n in enumerate(numbers)]
    return _compared(result, title, arrays.logged(result, "test_accuracy", "average"), looks)


def accuracy(results: StudyResults, name: str, averages: bool = True) -> Chart:
    """Figures 1, 6 left, 8, 12 and 14: fine-tuned and averaged test accuracy over PLRs."""
    result = results.sweep(name)
    made = [tuned_panel(result, "fine-tuning"), *([averaged_panel(result, "averaging")] if averages else [])]
    return Chart(panels=made, columns=len(made), color_title=FLR)


def feature_panel(result: xr.DataTree, stage: str, title: str = "", removed: bool = False) -> Panel:
    """Accuracy on every feature set over PLRs, beside what guessing gets. Features without names differ from run to run: they
    are sorted in each run, so that the first line is the feature that a run relies on most. Of bands, those on single groups,
    or those without one (`removed`)."""
    found = accuracies(result, stage)
    named = found["feature"].dtype.kind not in "iu"
    if named:
        chosen = [str(name).startswith(WITHOUT) == removed for name in found["feature"].values]
        found = found.isel(feature=np.flatnonzero(chosen))
    values = arrays.per_seed(found)  # [L, U, features]
    if not named:
        values = -np.sort(-values, axis=-1)
    x = _rates(result)
    lines = [
        spread(x, values[..., f], color=COLORS[f % len(COLORS)], name=str(name).removeprefix(WITHOUT))
        if named
        else Line(x=x, y=common_panels.mean(values[..., f], 1), value=float(f + 1))
        for f, name in enumerate(found["feature"].values)
    ]
    whole = spread(x, arrays.per_seed(_whole(result, stage)), color=INK, name="all features")
    return _panel(
        result, title or STAGES[stage], "accuracy", [*lines, whole, Level(y=chance(result), label="guessing")]
    )


def _whole(result: xr.DataTree, stage: str) -> xr.DataArray:
    """Accuracy on unmodified test examples at a stage."""
    if stage == "pre":
        return segment(result, "pretrain")["test_accuracy"].isel(epoch=-1)
    if stage == "swa":
        return segment(result, "average")["test_accuracy"].isel(n_average=nearest_average(result))
    return segment(result, "finetune")["test_accuracy"].isel(finetune_lr=0 if stage == "low" else -1, epoch=-1)


def features(
    results: StudyResults, names: Mapping[str, str], stages: Sequence[str], removed: Sequence[bool] = (False,)
) -> Chart:
    """Figures 3, 5, 6 right, 10, 11, 13 and 15: accuracies on single features or frequency bands over PLRs. `names` are those
    of sweeps, with what their panels' titles begin with; `removed`: single bands, images without them, or both."""
    made = [
        feature_panel(results.sweep(name), stage, _titled(words, stage, gone, removed), gone)
        for name, words in names.items()
        for gone in removed
        for stage in _different(results.sweep(name), stages)
    ]
    return Chart(
        panels=made,
        columns=len(made) // (len(names) * len(removed)),
        share_y=True,
        color_title="rank of the feature in its run",
        color_log=False,
    )


def _different(result: xr.DataTree, stages: Sequence[str]) -> list[str]:
    """The stages without that of the highest FLR where there is but one."""
    return [stage for stage in stages if stage != "high" or segment(result, "finetune").sizes["finetune_lr"] > 1]


def _titled(words: str, stage: str, gone: bool, removed: Sequence[bool]) -> str:
    kind = "" if len(removed) == 1 else "one band removed, " if gone else "one band alone, "
    return f"{words}{kind}{STAGES[stage]}"


def practice(results: StudyResults) -> Chart:
    """Figure 6: accuracy of conventional training, and of its bands after fine-tuning, alone and removed."""
    result = results.sweep("practical")
    made = [
        tuned_panel(result, "fine-tuning"),
        feature_panel(result, "low", "one band alone, lowest FLR"),
        feature_panel(result, "low", "one band removed, lowest FLR", removed=True),
    ]
    return Chart(panels=made, columns=3, color_title=FLR)


def tick(results: StudyResults) -> Chart:
    """Figure 2: one feature of the ticks, with the lines between the classes."""
    found = results.measurement("tick")
    x, label = found["x"].values, found["label"].values
    classes = [Points(x=x[label == c, 0], y=x[label == c, 1], color=COLORS[c], name=f"class {c}") for c in (0, 1)]
    across = np.linspace(-2, 2, 81)
    between = [
        Line(x=across, y=np.abs(across) - shift, color=GREY, dashed=True, name="between the classes")
        for shift in (0.0, 2.0)
    ]
    return Chart(
        panels=[
            Panel(
                title="one tick",
                x=Axis(title="first coordinate"),
                y=Axis(title="second coordinate"),
                layers=[*classes, *between],
            )
        ],
        columns=1,
    )


def bands(results: StudyResults) -> Chart:
    """Figures 4 and 7: test images, what their groups of bands leave of them, and their masked spectra."""
    import torch

    from lrscope.studies.band_images import band_chart

    found = results.measurement("band_examples")
    return band_chart(
        torch.from_numpy(found["picture"].values), found["mean"].values.tolist(), found["std"].values.tolist()
    )


PAIRS = {
    "low-high": "lowest and highest FLR",
    "low-swa": "lowest FLR and average",
    "high-swa": "highest FLR and average",
}


def geometry(results: StudyResults) -> Chart:
    """Figure 9: angles (mean, deviation) and error barriers (median, quartiles) between solutions."""
    result, found = results.sweep("ticks"), results.measurement("geometry")
    made = []
    for name, title in (
        ("angle", "angle (rad)"),
        ("barrier_train_error", "barrier in training error"),
        ("barrier_test_error", "barrier in test error"),
    ):
        lines = []
        for i, (pair, words) in enumerate(PAIRS.items()):
            values = arrays.per_seed(found[name].sel(pair=pair))
            if name == "angle":
                lines.append(spread(_rates(result), values, color=COLORS[i], name=words))
            else:
                low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=1)
                lines.append(Line(x=_rates(result), y=middle, low=low, high=high, color=COLORS[i], name=words))
        made.append(_panel(result, title, title, lines))
    return Chart(panels=made)


def splits(results: StudyResults) -> Chart:
    """Figure 16: accuracy on low and mid bands of other splits, after the lowest FLR."""
    result, found = results.sweep("vit"), results.measurement("vit_splits")
    last = int(found.attrs["last"])
    made = []
    for i, end in enumerate(np.atleast_1d(found.attrs["ends"])):
        words = {f"low {i}": "low bands", f"mid {i}": "mid bands"}
        lines = [
            spread(_rates(result), arrays.per_seed(found["accuracy"].sel(band=band)), color=COLORS[j], name=name)
            for j, (band, name) in enumerate(words.items())
        ]
        made.append(_panel(result, f"low bands 1-{end}, mid bands {end + 1}-{last}", "accuracy", lines))
    return Chart(panels=made, columns=len(made))
