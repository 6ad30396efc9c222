"""The paper's figures, 1 to 28, from the study's sweeps and measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from lrscope.mapping import regimes
from lrscope.studies import panels, reading
from lrscope.studies.charts import Chart, Line, Panel
from lrscope.studies.panels import ELR, ERROR, LOSS, SHARPNESS
from lrscope.studies.three_regimes.claims_tuning import Roles, roles
from lrscope.studies.types import Lab

GREY = "#9aa1ab"


def _chart(found: Sequence[Panel], *, columns: int = 3, color: str = ELR) -> Chart:
    return Chart(panels=list(found), columns=min(columns, len(found)), color_title=color)


def overview(lab: Lab, names: Sequence[str]) -> Chart:
    """The six panels of Figure 1 for every sweep."""
    found = []
    for name in names:
        result = lab.sweep(name)
        prefix = f"{name}: " if len(names) > 1 else ""
        found += [_titled(panel, prefix + panel.title) for panel in panels.overview(result)]
    return _chart(found, color=panels.rate(lab.sweep(names[0])))


def _titled(panel: Panel, title: str) -> Panel:
    from dataclasses import replace

    return replace(panel, title=title)


def landscapes(lab: Lab, names: Sequence[str]) -> Chart:
    """Sharpness against training loss, and its end over learning rates, one row of panels per quantity."""
    results = [lab.sweep(name) for name in names]
    found = []
    for name, result in zip(names, results, strict=True):
        variable, title = panels.sharpness(result)
        found.append(panels.trajectories(result, variable, title, panel_title=f"{name}: {title} against loss"))
    found += [
        _titled(panels.ends(r, "train_loss", LOSS), f"{n}: {LOSS} at the end")
        for n, r in zip(names, results, strict=True)
    ]
    found += [
        _titled(panels.ends(r, "test_error", ERROR), f"{n}: {ERROR} at the end")
        for n, r in zip(names, results, strict=True)
    ]
    return _chart(found, columns=len(names), color=panels.rate(results[0]))


def regime_one(lab: Lab) -> Chart:
    """Figure 3: trajectories of regime 1, and fine-tuning with smaller and larger ELRs."""
    result = lab.sweep("convnet")
    inside = reading.inside(regimes(result), "1")
    known = roles(lab)
    pairs = [*known.pairs("lower"), *known.pairs("much")]
    return _chart(
        [
            panels.trajectories(
                result, "effective_grad_norm", SHARPNESS, lrs=inside, panel_title="training with fixed ELRs"
            ),
            _tuned(lab, known, pairs, "effective_grad_norm", SHARPNESS, "fine-tuning"),
            panels.trajectories(result, "test_error", ERROR, lrs=inside, panel_title="training with fixed ELRs"),
            _tuned(lab, known, pairs, "test_error", ERROR, "fine-tuning"),
        ],
        columns=2,
    )


def _tuned(
    lab: Lab,
    known: Roles,
    pairs: Sequence[tuple[int, int]],
    name: str,
    title: str,
    panel_title: str,
    baselines: bool = True,
) -> Panel:
    """Fine-tuning trajectories over training loss, coloured by the FLR; pre-trainings in grey, fixed FLRs dashed."""
    tune, base = lab.sweep("tune"), lab.sweep("convnet")
    loss, lines = reading.units(tune["finetune_train_loss"]), []
    values = _quantity(tune, name, "finetune_")
    before_loss, before = reading.units(tune["train_loss"]), _quantity(tune, name, "")
    for p in sorted({p for p, _ in pairs}):
        lines.append(Line(x=panels.log_mean(before_loss[p], 0), y=_middle(before[p], name), color=GREY, mark="end"))
    for p, f in pairs:
        x, y = panels.log_mean(loss[p, f], 0), _middle(values[p, f], name)
        lines.append(
            Line(x=x, y=y, value=float(known.flr[f]), mark="end", name=f"{known.plr[p]:.2g} → {known.flr[f]:.2g}")
        )
    if baselines:
        base_loss, base_values = reading.units(base["train_loss"]), _quantity(base, name, "")
        for f in sorted({f for _, f in pairs}):
            k = int(np.abs(np.log(base["lr"].values / known.flr[f])).argmin())
            x, y = panels.log_mean(base_loss[k], 0), _middle(base_values[k], name)
            lines.append(Line(x=x, y=y, value=float(base["lr"].values[k]), dashed=True))
    return Panel(title=panel_title, x_title=LOSS, y_title=title, lines=lines, log_x=True, log_y=name != "test_error")


def _quantity(result: xr.Dataset, name: str, prefix: str) -> reading.Array:
    return reading.error_curve(result, prefix) if name == "test_error" else reading.units(result[prefix + name])


def _middle(values: reading.Array, name: str) -> reading.Array:
    return panels.mean(values, 0) if name == "test_error" else panels.log_mean(values, 0)


def equilibration(lab: Lab, count: int) -> Chart:
    """Figures 4 and 21: ELR against effective gradient norm of every weight tensor, at `count` ELRs; the line is equal ESS."""
    result = lab.sweep("convnet")
    found = regimes(result)
    if count == 1:
        two = reading.inside(found, "2")
        chosen = [two[0]]
    else:
        chosen = [int(k) for k in np.linspace(len(result["lr"]) // 3, len(result["lr"]) - 1, count).round()]
    elr, steep = (
        panels.log_mean(reading.settled(np.moveaxis(reading.units(result[n]), -1, 2)), 1)
        for n in ("group_elr", "group_effective_grad_norm")
    )  # [L, G]
    made = []
    for k in chosen:
        ess = float(np.exp(np.nanmean(np.log(elr[k] * steep[k]))))
        ends = np.array([np.nanmin(elr[k]) / 1.5, np.nanmax(elr[k]) * 1.5])
        made.append(
            Panel(
                title=f"ELR {result['lr'].values[k]:.2g}, regime {found.labels[k].regime}",
                x_title="ELR of the tensor",
                y_title="effective gradient norm of the tensor",
                lines=[
                    Line(
                        x=elr[k],
                        y=steep[k],
                        mark="points",
                        color="#0072B2",
                        name="weight tensors" if k == chosen[0] else "",
                    ),
                    Line(
                        x=ends, y=ess / ends, dashed=True, color="#1b1f24", name="equal ESS" if k == chosen[0] else ""
                    ),
                ],
                log_x=True,
                log_y=True,
            )
        )
    return _chart(made, color="")


def stabilisation(lab: Lab) -> Chart:
    """Figure 20: the tensors' effective gradient norms, ELRs and ESS along training at one ELR of regime 2."""
    result = lab.sweep("convnet")
    k = reading.inside(regimes(result), "2")[0]
    names = [str(n) for n in result["group"].values]
    made = []
    for variable, title in (
        ("group_effective_grad_norm", "effective gradient norm"),
        ("group_elr", "ELR of the tensor"),
        ("group_ess", "effective step size (ESS)"),
    ):
        values = panels.log_mean(reading.units(result[variable])[k], 0)  # [W, G]
        colors = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#1b1f24", GREY)
        lines = [
            Line(
                x=result["epoch"].values,
                y=values[:, g],
                color=colors[g % len(colors)],
                name=name if variable == "group_ess" else "",
            )
            for g, name in enumerate(names)
        ]
        made.append(Panel(title=title, x_title="epoch", y_title=title, lines=lines, log_y=True))
    return _chart(made, color="")


def within_and_down(lab: Lab) -> Chart:
    """Figure 5: left, changing the ELR inside regime 2; right, fine-tuning from regime 2 with ELRs of regime 1."""
    known, tune = roles(lab), lab.sweep("tune")
    own = panels.log_mean(reading.settled(reading.units(tune["train_loss"])), 1)
    lines = []
    end = float(tune["epoch"].values[-1])
    for p, f in known.pairs("within"):
        before = panels.log_mean(reading.units(tune["train_loss"])[p], 0)
        after = panels.log_mean(reading.units(tune["finetune_train_loss"])[p, f], 0)
        lines.append(Line(x=tune["epoch"].values, y=before, color=GREY))
        lines.append(Line(x=end + tune["finetune_epoch"].values, y=after, value=float(known.flr[f])))
    levels = [
        (float(own[p]), f"ELR {known.plr[p]:.2g}")
        for p in range(len(known.plr))
        if known.first < known.plr[p] < known.second
    ]
    left = Panel(
        title="changing the ELR inside regime 2", x_title="epoch", y_title=LOSS, lines=lines, log_y=True, levels=levels
    )
    right = [
        _tuned(lab, known, known.pairs(kind), "effective_grad_norm", SHARPNESS, f"to regime 1 from {kind} regime 2")
        for kind in ("low", "high")
    ]
    return _chart([left, *right])


def transitions(lab: Lab) -> Chart:
    """Figure 6: training loss in the regimes and at the transitions between them."""
    result = lab.sweep("convnet")
    found = regimes(result)
    first, second = (int(np.searchsorted(result["lr"].values, reading.border(found, b))) for b in ("1|2", "2|3"))
    chosen = sorted(
        {max(0, first - 4), first - 1, first, (first + second) // 2, second - 1, second, len(result["lr"]) - 1}
    )
    return _chart([panels.curves(result, "train_loss", LOSS, lrs=chosen)], columns=1)


def standard(lab: Lab) -> Chart:
    """Figure 7: whole-space training of an SI net, conventional training with constant and with cosine schedules."""
    return landscapes(lab, ("whole", "constant", "cosine"))


def toy_values(lab: Lab) -> Chart:
    """Figure 2: the toy function in the three regimes."""
    found = lab.measured("toy")
    lines = [
        Line(x=found["step"].values, y=found["curve"].sel(drawn=elr).values, value=float(elr), name=f"ELR {elr:g}")
        for elr in found["drawn"].values
    ]
    panel = Panel(title="value of the toy function", x_title="step", y_title="F(x, y)", lines=lines, log_y=True)
    return _chart([panel], columns=1)


def toy_groups(lab: Lab) -> Chart:
    """Figure 8: individual ELRs of the toy function against their equilibrium values."""
    found = lab.measured("toy")
    made = []
    for elr in found["drawn"].values:
        for g in range(found.sizes["pair"]):
            values = found["group_elr"].sel(drawn=elr).isel(pair=g)
            level = float(found["drawn_equilibrium"].sel(drawn=elr).isel(pair=g))
            made.append(
                Panel(
                    title=f"ELR {elr:g}, pair {g + 1}",
                    x_title="step",
                    y_title="individual ELR",
                    lines=[Line(x=found["step"].values, y=values.values, value=float(elr))],
                    log_y=True,
                    levels=[(level, "eq. 9")],
                )
            )
    return _chart(made)


def two_traces(lab: Lab) -> Chart:
    """Figure 9: mean gradient norm against the gradient covariance's trace."""
    found = lab.measured("steepness")
    return _chart(
        [_measured(found, "gradient_norm", "covariance_trace", "mean gradient norm", "gradient covariance trace")]
    )


def _measured(found: xr.Dataset, x: str, y: str, x_title: str, y_title: str) -> Panel:
    lines = [
        Line(
            x=panels.log_mean(found[x].sel(lr=lr).transpose("seed", "epoch").values, 0),
            y=panels.log_mean(found[y].sel(lr=lr).transpose("seed", "epoch").values, 0),
            value=float(lr),
            mark="both",
        )
        for lr in found["lr"].values
    ]
    return Panel(
        title=f"{y_title} against {x_title}", x_title=x_title, y_title=y_title, lines=lines, log_x=True, log_y=True
    )


def other_measures(lab: Lab) -> Chart:
    """Figure 10: Fisher trace and top Hessian eigenvalue against training loss."""
    found = lab.measured("steepness")
    return _chart(
        [
            _measured(found, "train_loss", "gradient_norm", LOSS, "mean gradient norm"),
            _measured(found, "train_loss", "fisher_trace", LOSS, "Fisher trace"),
            _measured(found, "train_loss", "hessian_top", LOSS, "top Hessian eigenvalue"),
        ]
    )


def first_epochs(lab: Lab) -> Chart:
    """Figure 16: test error and sharpness in the first epochs, without and with label noise."""
    made = []
    for name, words in (("noise0", "clean labels"), ("noise20", "20% label noise")):
        result = lab.sweep(name)
        top = int(np.searchsorted(result["lr"].values, reading.border(regimes(result), "2|3")))
        chosen = list(range(0, top, max(1, top // 8)))
        for variable, title in (("test_error", ERROR), ("effective_grad_norm", SHARPNESS)):
            made.append(_titled(panels.curves(result, variable, title, lrs=chosen, log_x=True), f"{words}: {title}"))
    return _chart(made, columns=2)


def lower(lab: Lab) -> Chart:
    """Figure 17: fine-tuning with a decreased ELR."""
    return _two_quantities(lab, "lower")


def higher(lab: Lab) -> Chart:
    """Figure 18: fine-tuning with a slightly and with a much increased ELR."""
    known = roles(lab)
    made = []
    for name, title in (("effective_grad_norm", SHARPNESS), ("test_error", ERROR)):
        for kind in ("slightly", "much"):
            made.append(_tuned(lab, known, known.pairs(kind), name, title, f"{kind} increased ELR"))
    return _chart(made, columns=2)


def down(lab: Lab) -> Chart:
    """Figure 23: from low and high regime 2 with ELRs of regime 1, sharpness and test error."""
    known = roles(lab)
    made = []
    for name, title in (("effective_grad_norm", SHARPNESS), ("test_error", ERROR)):
        for kind in ("low", "high"):
            made.append(_tuned(lab, known, known.pairs(kind), name, title, f"from {kind} regime 2"))
    return _chart(made, columns=2)


def _two_quantities(lab: Lab, kind: str) -> Chart:
    known = roles(lab)
    made = [
        _tuned(lab, known, known.pairs(kind), name, title, f"fine-tuning with {kind} ELR")
        for name, title in (("effective_grad_norm", SHARPNESS), ("test_error", ERROR))
    ]
    return _chart(made, columns=2)


def connectivity(lab: Lab) -> Chart:
    """Figure 19: losses along lines between neighbouring solutions, and between pre-trained and fine-tuned ones."""
    found = lab.measured("neighbour_paths")
    lines = [
        Line(
            x=found["alpha"].values,
            y=panels.log_mean(found["train_loss"].isel(pair=i).transpose("seed", "alpha").values, 0),
            value=float(found["high_lr"].values[i]),
            mark="both",
        )
        for i in range(found.sizes["pair"])
    ]
    left = Panel(
        title="between neighbouring ELRs of regime 1",
        x_title="position on the line",
        y_title=LOSS,
        lines=lines,
        log_y=True,
    )
    tuned, known = lab.measured("tuned_paths"), roles(lab)
    made = [left]
    for kind in ("lower", "slightly", "much"):
        lines = [
            Line(
                x=tuned["alpha"].values,
                y=panels.log_mean(tuned["train_loss"].isel(lr=p, finetune_lr=f).transpose("seed", "alpha").values, 0),
                value=float(known.flr[f]),
                mark="both",
                name=f"{known.plr[p]:.2g} → {known.flr[f]:.2g}",
            )
            for p, f in known.pairs(kind)
        ]
        words = "lower ELR" if kind == "lower" else f"{kind} higher ELR"
        made.append(
            Panel(
                title=f"pre-trained to fine-tuned, {words}",
                x_title="position on the line",
                y_title=LOSS,
                lines=lines,
                log_y=True,
            )
        )
    return _chart(made, columns=2)


def between_checkpoints(lab: Lab) -> Chart:
    """Figure 22: losses along lines between checkpoints of a regime-2 run, by the epochs between them."""
    found = lab.measured("checkpoint_paths")
    made = []
    for lr in found["lr"].values:
        lines = [
            Line(
                x=found["alpha"].values,
                y=panels.log_mean(found["train_loss"].sel(lr=lr, delta=delta).transpose("seed", "alpha").values, 0),
                value=float(delta),
                mark="both",
                name=f"{delta:g} epochs apart",
            )
            for delta in found["delta"].values
        ]
        made.append(Panel(title=f"ELR {lr:.2g}", x_title="position on the line", y_title=LOSS, lines=lines))
    return _chart(made, color="epochs between the checkpoints")


def walks(lab: Lab) -> Chart:
    """Figure 24: training loss and step-to-step cosine in regimes 2 and 3 and of a random walk."""
    found = lab.measured("walks")
    steps, moments, lines, cosines = found["step"].values, found["moment"].values, [], []
    for regime, color in (("2", "#CC79A7"), ("3", "#D55E00")):
        part = found.sel(regime=regime).transpose("seed", ...)
        name = f"regime {regime}"
        lines.append(Line(x=moments, y=panels.mean(part["loss"].values, 0), color=color, name=name))
        cosines.append(Line(x=steps, y=panels.mean(part["cosine"].values, 0), color=color, name=name))
    walk = found.sel(regime="3").transpose("seed", ...)
    lines.append(
        Line(x=moments, y=panels.mean(walk["walk_loss"].values, 0), color="#1b1f24", dashed=True, name="random walk")
    )
    cosines.append(
        Line(x=steps, y=panels.mean(walk["walk_cosine"].values, 0), color="#1b1f24", dashed=True, name="random walk")
    )
    return _chart(
        [
            Panel(title="training loss", x_title="step", y_title=LOSS, lines=lines),
            Panel(title="cosine between successive weights", x_title="step", y_title="cosine", lines=cosines),
        ],
        color="",
    )
