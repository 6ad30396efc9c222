"""The study's figures: accuracies over pre-training rates, feature accuracies, geometry, sharpness.

L pre-training rates, U seeds. As in the paper, ticks are drawn with means and standard deviations over seeds, barriers with
medians and quartiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Chart, Line, Panel, Points
from lrscope.charts.style import COLORS, GREY, INK
from lrscope.reporting import frames
from lrscope.schema import segment
from lrscope.studies import arrays, common_panels
from lrscope.studies.feature_learning.effects import accuracies, at_equal_loss, nearest_average
from lrscope.studies.types import StudyResults

FLR = "fine-tuning learning rate (FLR)"
ACCURACY = "test accuracy"
STAGES = {
    "pre": "pre-training",
    "swa": "average of 5 checkpoints",
    "low": "fine-tuned, lowest FLR",
    "high": "fine-tuned, highest FLR",
}


def spread(x: arrays.Array, values: arrays.Array, **options: object) -> Line:
    """Mean over seeds of [L, U] with one standard deviation to both sides."""
    found = frames.spread(values)
    return Line(x=x, y=found.mean, low=found.mean - found.sd, high=found.mean + found.sd, **options)  # type: ignore[arg-type]


def _panel(result: xr.DataTree, title: str, y_title: str, lines: Sequence[Line]) -> Panel:
    return Panel(
        title=title,
        x=Axis(title=f"pre-training {common_panels.rate(result)}", log=True),
        y=Axis(title=y_title),
        layers=[*common_panels.shading(result), *lines],
    )


def _trained(result: xr.DataTree) -> Line:
    return spread(_rates(result), arrays.logged(result, "test_accuracy")[..., -1], name="pre-training", dashed=True)


def _rates(result: xr.DataTree) -> arrays.Array:
    return np.asarray(result.coords["lr"].values, dtype=np.float64)


def tuned_panel(result: xr.DataTree, title: str) -> Panel:
    """Test accuracy after fine-tuning, a line per FLR, and before."""
    values = arrays.logged(result, "test_accuracy", "finetune")[..., -1]
    lines = [
        spread(_rates(result), values[:, f], value=float(flr))
        for f, flr in enumerate(segment(result, "finetune")["finetune_lr"].values)
    ]
    return _panel(result, title, ACCURACY, [*lines, _trained(result)])


def averaged_panel(result: xr.DataTree, title: str) -> Panel:
    """Test accuracy of averages, a line per number of checkpoints, and of the last one."""
    values = arrays.logged(result, "test_accuracy", "average")
    lines = [
        spread(_rates(result), values[:, i], color=COLORS[i % len(COLORS)], name=f"{int(n)} checkpoints")
        for i, n in enumerate(segment(result, "average")["n_average"].values)
    ]
    return _panel(result, title, ACCURACY, [*lines, _trained(result)])


def accuracy(results: StudyResults, name: str, averages: bool = True) -> Chart:
    """Figures 1, 6 left, 8, 12 and 14: fine-tuned and averaged test accuracy over PLRs."""
    result = results.sweep(name)
    made = [tuned_panel(result, "fine-tuning"), *([averaged_panel(result, "averaging")] if averages else [])]
    return Chart(panels=made, columns=len(made), color_title=FLR)


def feature_panel(result: xr.DataTree, stage: str, title: str = "") -> Panel:
    """Accuracy on every feature set over PLRs. Features without names differ from run to run: they are sorted in each run, so
    that the first line is the feature that a run relies on most."""
    found = accuracies(result, stage)
    values = arrays.per_seed(found)  # [L, U, features]
    named = found["feature"].dtype.kind not in "iu"
    if not named:
        values = -np.sort(-values, axis=-1)
    count = values.shape[-1]
    lines = []
    for f in range(count):
        if named:
            lines.append(
                spread(
                    _rates(result), values[..., f], color=COLORS[f % len(COLORS)], name=str(found["feature"].values[f])
                )
            )
        else:
            lines.append(Line(x=_rates(result), y=common_panels.mean(values[..., f], 1), value=float(f + 1)))
    whole = {
        "pre": lambda: segment(result, "pretrain")["test_accuracy"].isel(epoch=-1),
        "swa": lambda: segment(result, "average")["test_accuracy"].isel(n_average=nearest_average(result)),
        "low": lambda: segment(result, "finetune")["test_accuracy"].isel(finetune_lr=0, epoch=-1),
        "high": lambda: segment(result, "finetune")["test_accuracy"].isel(finetune_lr=-1, epoch=-1),
    }[stage]()
    lines.append(spread(_rates(result), arrays.per_seed(whole), color=INK, name="all features"))
    return _panel(result, title or STAGES[stage], "accuracy", lines)


def features(results: StudyResults, names: Mapping[str, str], stages: Sequence[str]) -> Chart:
    """Figures 3, 5, 6 right, 10, 11, 13 and 15: accuracies on single features or frequency bands over PLRs. `names` are those
    of sweeps, with what their panels' titles begin with."""
    made = [
        feature_panel(results.sweep(name), stage, words + STAGES[stage])
        for name, words in names.items()
        for stage in stages
    ]
    return Chart(
        panels=made, columns=min(len(stages), 4), color_title="rank of the feature in its run", color_log=False
    )


def practice(results: StudyResults) -> Chart:
    """Figure 6: accuracy of conventional training, and of its bands after fine-tuning."""
    result = results.sweep("practical")
    return Chart(panels=[tuned_panel(result, "fine-tuning"), feature_panel(result, "low")], columns=2, color_title=FLR)


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


def sharpness(results: StudyResults) -> Chart:
    """Figure 17: sharpness against test error of all fine-tunes at one training loss; a line joins one pre-training's."""
    found = at_equal_loss(results.sweep("resnet"))
    lines = [
        Line(
            x=common_panels.mean(10 ** found["sharpness"][p], 1),
            y=common_panels.mean(found["error"][p], 1),
            value=float(plr),
            mark="both",
        )
        for p, plr in enumerate(found["plr"])
    ]
    alone = Points(
        x=common_panels.mean(10 ** found["one_sharpness"], 1),
        y=common_panels.mean(found["one_error"], 1),
        color=INK,
        name="regime 1, pre-training",
    )
    panel = Panel(
        title=f"at training loss {found['level'][0]:.2g}",
        x=Axis(title=common_panels.sharpness(results.sweep("resnet"))[1], log=True),
        y=Axis(title=common_panels.ERROR),
        layers=[*lines, alone],
    )
    return Chart(panels=[panel], columns=1, color_title="pre-training learning rate (PLR)")
