"""Figures of fine-tuning: the paper's 3, 5, 17 to 19 and 23."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrscope.charts import Axis, Chart, Level, Line, Panel, style
from lrscope.charts.style import GREY
from lrscope.mapping import regimes
from lrscope.schema import segment
from lrscope.studies import arrays, common_panels
from lrscope.studies.common_panels import ERROR, LOSS, SHARPNESS
from lrscope.studies.three_regimes.effects_tuning import Roles, roles
from lrscope.studies.three_regimes.figures import chart
from lrscope.studies.types import StudyResults


def regime_one(results: StudyResults) -> Chart:
    """Figure 3: trajectories of regime 1, and fine-tuning with smaller and larger ELRs."""
    result = results.sweep("convnet")
    inside = arrays.inside(regimes(result), "1")
    known = roles(results.sweep("convnet"), results.sweep("tune"))
    pairs = [*known.pairs("lower"), *known.pairs("much")]
    return chart(
        [
            common_panels.trajectories(
                result, "effective_grad_norm", SHARPNESS, lrs=inside, panel_title="training with fixed ELRs"
            ),
            _tuned(results, known, pairs, "effective_grad_norm", SHARPNESS, "fine-tuning"),
            common_panels.trajectories(result, "test_error", ERROR, lrs=inside, panel_title="training with fixed ELRs"),
            _tuned(results, known, pairs, "test_error", ERROR, "fine-tuning"),
        ],
        columns=2,
    )


def _tuned(
    results: StudyResults,
    known: Roles,
    pairs: Sequence[tuple[int, int]],
    name: str,
    title: str,
    panel_title: str,
    baselines: bool = True,
) -> Panel:
    """Fine-tuning trajectories over training loss, coloured by the FLR, marked by the PLR; pre-trainings in grey, fixed FLRs dashed."""
    tune, base = results.sweep("tune"), results.sweep("convnet")
    loss, lines = arrays.logged(tune, "train_loss", "finetune"), []
    values = arrays.logged(tune, name, "finetune")
    before_loss, before = arrays.logged(tune, "train_loss"), arrays.logged(tune, name)
    for p in sorted({p for p, _ in pairs}):
        lines.append(
            Line(x=common_panels.log_mean(before_loss[p], 0), y=_middle(before[p], name), color=GREY, mark="end")
        )
    for p, f in pairs:
        x, y = common_panels.log_mean(loss[p, f], 0), _middle(values[p, f], name)
        lines.append(
            Line(x=x, y=y, value=float(known.flr[f]), mark="end", symbol=style.symbol(p), name=_named(known, p, f))
        )
    if baselines:
        base_loss, base_values = arrays.logged(base, "train_loss"), arrays.logged(base, name)
        for f in sorted({f for _, f in pairs}):
            k = int(np.abs(np.log(base.coords["lr"].values / known.flr[f])).argmin())
            x, y = common_panels.log_mean(base_loss[k], 0), _middle(base_values[k], name)
            lines.append(Line(x=x, y=y, value=float(base.coords["lr"].values[k]), dashed=True))
    upright = Axis(title=title, log=name != "test_error")
    return Panel(title=panel_title, x=Axis(title=LOSS, log=True), y=upright, layers=lines)


def _named(known: Roles, p: int, f: int) -> str:
    return f"{known.plr[p]:.2g} → {known.flr[f]:.2g}"


def _middle(values: arrays.Array, name: str) -> arrays.Array:
    return common_panels.mean(values, 0) if name == "test_error" else common_panels.log_mean(values, 0)


def within_and_down(results: StudyResults) -> Chart:
    """Figure 5: left, changing the ELR inside regime 2; right, fine-tuning from regime 2 with ELRs of regime 1."""
    known, tune = roles(results.sweep("convnet"), results.sweep("tune")), results.sweep("tune")
    own = common_panels.log_mean(arrays.settled(arrays.logged(tune, "train_loss")), 1)
    lines = []
    end = float(segment(tune, "pretrain")["epoch"].values[-1])
    for p, f in known.pairs("within"):
        before = common_panels.log_mean(arrays.logged(tune, "train_loss")[p], 0)
        after = common_panels.log_mean(arrays.logged(tune, "train_loss", "finetune")[p, f], 0)
        lines.append(Line(x=segment(tune, "pretrain")["epoch"].values, y=before, color=GREY))
        lines.append(Line(x=end + segment(tune, "finetune")["epoch"].values, y=after, value=float(known.flr[f])))
    levels = [
        Level(y=float(own[p]), label=f"ELR {known.plr[p]:.2g}")
        for p in range(len(known.plr))
        if known.first < known.plr[p] < known.second
    ]
    left = Panel(
        title="changing the ELR inside regime 2",
        x=Axis(title="epoch"),
        y=Axis(title=LOSS, log=True),
        layers=[*levels, *lines],
    )
    right = [
        _tuned(results, known, known.pairs(kind), "effective_grad_norm", SHARPNESS, f"to regime 1 from {kind} regime 2")
        for kind in ("low", "high")
    ]
    return chart([left, *right])


def lower(results: StudyResults) -> Chart:
    """Figure 17: fine-tuning with a decreased ELR."""
    return _two_quantities(results, "lower")


def higher(results: StudyResults) -> Chart:
    """Figure 18: fine-tuning with a slightly and with a much increased ELR."""
    known = roles(results.sweep("convnet"), results.sweep("tune"))
    kinds = [kind for kind in ("slightly", "much") if known.pairs(kind)] or ["much"]
    made = [
        _tuned(results, known, known.pairs(kind), name, title, f"{kind} increased ELR")
        for name, title in (("effective_grad_norm", SHARPNESS), ("test_error", ERROR))
        for kind in kinds
    ]
    return chart(made, columns=2)


def down(results: StudyResults) -> Chart:
    """Figure 23: from low and high regime 2 with ELRs of regime 1, sharpness and test error."""
    known = roles(results.sweep("convnet"), results.sweep("tune"))
    made = []
    for name, title in (("effective_grad_norm", SHARPNESS), ("test_error", ERROR)):
        for kind in ("low", "high"):
            made.append(_tuned(results, known, known.pairs(kind), name, title, f"from {kind} regime 2"))
    return chart(made, columns=2)


def _two_quantities(results: StudyResults, kind: str) -> Chart:
    known = roles(results.sweep("convnet"), results.sweep("tune"))
    made = [
        _tuned(results, known, known.pairs(kind), name, title, f"fine-tuning with {kind} ELR")
        for name, title in (("effective_grad_norm", SHARPNESS), ("test_error", ERROR))
    ]
    return chart(made, columns=2)


def connectivity(results: StudyResults) -> Chart:
    """Figure 19: losses along lines between neighbouring solutions, and between pre-trained and fine-tuned ones."""
    found = results.measurement("neighbour_paths")
    lines = [
        Line(
            x=found["alpha"].values,
            y=common_panels.log_mean(found["train_loss"].isel(pair=i).transpose("seed", "alpha").values, 0),
            value=float(found["high_lr"].values[i]),
            mark="both",
        )
        for i in range(found.sizes["pair"])
    ]
    left = Panel(
        title="between neighbouring ELRs of regime 1",
        x=Axis(title="position on the line"),
        y=Axis(title=LOSS, log=True),
        layers=lines,
    )
    tuned, known = results.measurement("tuned_paths"), roles(results.sweep("convnet"), results.sweep("tune_first"))
    made = [left]
    for kind in ("lower", "slightly", "much"):
        lines = [
            Line(
                x=tuned["alpha"].values,
                y=common_panels.log_mean(
                    tuned["train_loss"].isel(lr=p, finetune_lr=f).transpose("seed", "alpha").values, 0
                ),
                value=float(known.flr[f]),
                mark="both",
                symbol=style.symbol(p),
                name=_named(known, p, f),
            )
            for p, f in known.pairs(kind)
        ]
        if not lines:
            continue
        words = "lower ELR" if kind == "lower" else f"{kind} higher ELR"
        made.append(
            Panel(
                title=f"to fine-tuned, {words}",
                x=Axis(title="position on the line"),
                y=Axis(title=LOSS, log=True),
                layers=lines,
            )
        )
    return chart(made, columns=2)
