"""Figures of single sweeps and comparisons of sweeps: the paper's 1, 4, 6, 7, 11 to 16, 20, 21, 25 to 28."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Border, Chart, Line, Panel, Points, style
from lrscope.mapping import regimes
from lrscope.schema import segment
from lrscope.studies import arrays, common_panels
from lrscope.studies.common_panels import ELR, ERROR, LOSS, LR, SHARPNESS
from lrscope.studies.three_regimes.effects_conventional import alive
from lrscope.studies.three_regimes.effects_peak import stops_passing
from lrscope.studies.types import StudyResults


def chart(found: Sequence[Panel], *, columns: int = 3, color: str = ELR) -> Chart:
    return Chart(panels=list(found), columns=min(columns, len(found)), color_title=color)


def overview(results: StudyResults, name: str) -> Chart:
    """The six panels of Figure 1 for a sweep."""
    return overviews(results, {name: ""})


def overviews(results: StudyResults, names: Mapping[str, str]) -> Chart:
    """The same for several, with what their panels' titles begin with."""
    sweeps = [results.sweep(name) for name in names]
    found = [
        titled(panel, words + panel.title)
        for result, words in zip(sweeps, names.values(), strict=True)
        for panel in common_panels.overview(result)
    ]
    return chart(found, color=common_panels.rate(sweeps[0]))


def single_runs(results: StudyResults, name: str) -> Chart:
    """The same with curves of the first seed alone, at a few learning rates: jumps, which a mean over seeds hides."""
    result = results.sweep(name)
    few = common_panels.representative(result)
    return chart(common_panels.overview(result, lrs=few, run=0), color=common_panels.rate(result))


def conventional(results: StudyResults) -> Chart:
    """Figure 26: the six panels for constant and for cosine schedules; over constant learning rates with the border that the paper
    draws, where trajectories stop passing the peak of sharpness, beside that of the losses."""
    drawn = overviews(results, {"constant": "constant: ", "cosine": "cosine: "})
    constant, cosine = drawn.panels[:6], drawn.panels[6:]
    return replace(drawn, panels=[*constant[:3], *_with_peak(constant[3:], results.sweep("constant")), *cosine])


def transformer(results: StudyResults) -> Chart:
    """Figure 28: the six panels for the text Transformer, over learning rates with the border by the peak of sharpness."""
    drawn = overview(results, "transformer")
    return replace(drawn, panels=[*drawn.panels[:3], *_with_peak(drawn.panels[3:], results.sweep("transformer"))])


def _with_peak(panels: Sequence[Panel], result: xr.DataTree) -> list[Panel]:
    """Panels of a network that is not scale-invariant, over constant learning rates: with the border by which its claims are
    judged, where trajectories stop passing the peak of sharpness, dotted and named; as they are where no seed shows it."""
    border = _peak_border(result)
    if border is None:
        return list(panels)
    return [
        titled(replace(panel, layers=[*panel.layers, border]), panel.title.replace(" at the end", ", dotted: peak"))
        for panel in panels
    ]


def _peak_border(result: xr.DataTree) -> Border | None:
    """Where trajectories stop passing the peak, the median over seeds with its range; None where no seed shows it."""
    found = stops_passing(result, alive(result))
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    return Border(x=float(np.median(found)), low=float(found.min()), high=float(found.max()), dotted=True)


def titled(panel: Panel, title: str) -> Panel:
    return replace(panel, title=title)


def landscapes(results: StudyResults, names: Mapping[str, str], *, single: bool = False) -> Chart:
    """Sharpness against training loss, and ends over learning rates: one row of panels per quantity, on the same axes. `names` are
    those of sweeps, with what their panels' titles begin with. `single`: trajectories of the first seed, because a mean hides
    peaks along training."""
    rows = _landscapes(
        {words: results.sweep(name) for name, words in names.items()}, tuple(names.values()) if single else ()
    )
    color = common_panels.rate(results.sweep(next(iter(names))))
    return chart([panel for row in rows for panel in common_panels.same_limits(row)], columns=len(names), color=color)


def _landscapes(sweeps: Mapping[str, xr.DataTree], single: Sequence[str] = ()) -> list[list[Panel]]:
    """The rows of `landscapes`; `single` names the sweeps whose trajectories are those of their first seed, at a few learning rates."""
    rows = [
        [
            common_panels.trajectories(
                result,
                *common_panels.sharpness(result),
                panel_title=f"{words}sharpness against loss",
                lrs=common_panels.representative(result) if words in single else None,
                run=0 if words in single else None,
            )
            for words, result in sweeps.items()
        ]
    ]
    for variable, title in (("train_loss", LOSS), ("test_error", ERROR)):
        ends = {words: common_panels.ends(result, variable, title) for words, result in sweeps.items()}
        rows.append([titled(panel, f"{words}{title} at the end") for words, panel in ends.items()])
    return rows


def equilibration(results: StudyResults, count: int) -> Chart:
    """Figures 4 and 21: ELR against effective gradient norm of every weight tensor, at `count` ELRs; the line is equal ESS."""
    result = results.sweep("convnet")
    found = regimes(result)
    if count == 1:
        two = arrays.inside(found, "2")
        chosen = [two[0]]
    else:
        chosen = [
            int(k) for k in np.linspace(len(result.coords["lr"]) // 3, len(result.coords["lr"]) - 1, count).round()
        ]
    elr, steep = (
        common_panels.log_mean(arrays.settled(np.moveaxis(arrays.logged(result, n), -1, 2)), 1)
        for n in ("group_elr", "group_effective_grad_norm")
    )  # [L, G]
    made = []
    for k in chosen:
        ess = float(np.exp(np.nanmean(np.log(elr[k] * steep[k]))))
        ends = np.array([np.nanmin(elr[k]) / 1.5, np.nanmax(elr[k]) * 1.5])
        made.append(
            Panel(
                title=f"ELR {result.coords['lr'].values[k]:.2g}, regime {found.labels[k].regime}",
                x=Axis(title="ELR of the tensor", log=True),
                y=Axis(title="effective gradient norm of the tensor", log=True),
                layers=[
                    Points(x=elr[k], y=steep[k], color=style.COLORS[0], name="weight tensors"),
                    Line(x=ends, y=ess / ends, dashed=True, name="equal ESS"),
                ],
            )
        )
    return chart(made, color="")


def stabilisation(results: StudyResults) -> Chart:
    """Figure 20: the tensors' effective gradient norms, ELRs and ESS along training at one ELR of regime 2."""
    result = results.sweep("convnet")
    k = arrays.inside(regimes(result), "2")[0]
    names = [str(n) for n in result.coords["group"].values]
    made = []
    for variable, title in (
        ("group_effective_grad_norm", "effective gradient norm"),
        ("group_elr", "ELR of the tensor"),
        ("group_ess", "effective step size (ESS)"),
    ):
        values = common_panels.log_mean(arrays.logged(result, variable)[k], 0)  # [W, G]
        lines = [
            Line(x=segment(result, "pretrain")["epoch"].values, y=values[:, g], color=color, name=name)
            for g, (name, color) in enumerate(zip(names, style.ramp(len(names)), strict=True))
        ]
        made.append(Panel(title=title, x=Axis(title="epoch"), y=Axis(title=title, log=True), layers=lines))
    return chart(made, color="")


def transitions(results: StudyResults) -> Chart:
    """Figure 6: training loss in the regimes and at the transitions between them, of one seed: of the network whose regime 2 is
    wide, so that its middle is no transition."""
    result = results.sweep("noisy")
    found = regimes(result)
    first, second = (arrays.border_index(result, found, between) for between in ("1|2", "2|3"))
    top = len(result.coords["lr"]) - 1
    chosen = sorted(
        {max(0, first - 8), first - 1, first, (first + second) // 2, second - 1, second, min(second + 4, top)}
    )
    panel = common_panels.curves(result, "train_loss", LOSS, lrs=chosen, run=0)
    lines = [
        replace(line, name=f"{line.value:.2g}, regime {found.labels[k].regime}", width=1.2)
        for line, k in zip((layer for layer in panel.layers if isinstance(layer, Line)), chosen, strict=True)
    ]
    others = [layer for layer in panel.layers if not isinstance(layer, Line)]
    return chart([replace(panel, layers=[*others, *lines])], columns=1)


STANDARD = {"whole": "SI net, whole space: ", "constant": "constant LR: ", "cosine": "cosine schedule: "}


def standard(results: StudyResults) -> Chart:
    """Figure 7: whole-space training of an SI net (single runs, because a mean hides their jumps), conventional training with constant
    and with cosine schedules; on the same axes as far as the networks are the same. Over constant learning rates with the border by
    the peak of sharpness, as in Figure 26."""
    rows = _landscapes({words: results.sweep(name) for name, words in STANDARD.items()}, (STANDARD["whole"],))
    rows = [[first, *common_panels.same_limits(others)] for first, *others in rows]
    at = list(STANDARD).index("constant")
    marked = _with_peak([row[at] for row in rows[1:]], results.sweep("constant"))
    ends = [[*row[:at], panel, *row[at + 1 :]] for row, panel in zip(rows[1:], marked, strict=True)]
    return chart([panel for row in (rows[0], *ends) for panel in row], columns=3, color=LR)


def first_epochs(results: StudyResults) -> Chart:
    """Figure 16: test error and sharpness in the first epochs, without and with label noise, of one seed: from the middle of
    regime 1 to the lower half of regime 2."""
    made = []
    for name, words in (("noise0", "clean labels"), ("noise20", "20% label noise")):
        result = results.sweep(name)
        found = regimes(result)
        one, two = (arrays.shown(found, regime) for regime in ("1", "2"))
        chosen = [*one[len(one) // 2 :: 2], *two[: (len(two) + 1) // 2 : 2]]
        for variable, title in (("test_error", ERROR), ("effective_grad_norm", SHARPNESS)):
            panel = common_panels.curves(result, variable, title, lrs=chosen, log_x=True, run=0)
            layers = [replace(layer, width=1.2) for layer in panel.layers if isinstance(layer, Line)]  # chance is far
            made.append(replace(panel, title=f"{words}: {title}", layers=layers))
    alike = [common_panels.same_limits(made[i::2]) for i in (0, 1)]
    return chart([panel for row in zip(*alike, strict=True) for panel in row], columns=2)
