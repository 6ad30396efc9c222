"""Figures of measurements: the paper's 2, 8 to 10, 22 and 24."""

from __future__ import annotations

import xarray as xr

from lrscope.charts import Axis, Chart, Level, Line, Panel, style
from lrscope.studies import common_panels
from lrscope.studies.common_panels import LOSS
from lrscope.studies.three_regimes.figures import chart
from lrscope.studies.types import StudyResults

DECAYED = 1e-12  # below it the toy function is drawn no further: it is zero for the eye


def toy_values(results: StudyResults) -> Chart:
    """Figure 2: the toy function in the three regimes."""
    found = results.measurement("toy")
    curve = found["curve"].where(found["curve"] > DECAYED)
    lines = [
        Line(
            x=found["step"].values,
            y=curve.sel(drawn=elr).values,
            value=float(elr),
            name=f"ELR {elr:g}",
        )
        for elr in found["drawn"].values
    ]
    panel = Panel(
        title="value of the toy function", x=Axis(title="step"), y=Axis(title="F(x, y)", log=True), layers=lines
    )
    return chart([panel], columns=1)


def toy_groups(results: StudyResults) -> Chart:
    """Figure 8: individual ELRs of the toy function against their equilibrium values."""
    found = results.measurement("toy")
    made = []
    for elr in found["drawn"].values:
        for g in range(found.sizes["pair"]):
            values = found["group_elr"].sel(drawn=elr).isel(pair=g)
            level = float(found["drawn_equilibrium"].sel(drawn=elr).isel(pair=g))
            made.append(
                Panel(
                    title=f"ELR {elr:g}, pair {g + 1}",
                    x=Axis(title="step"),
                    y=Axis(title="individual ELR", log=True),
                    layers=[
                        Line(x=found["step"].values, y=values.values, value=float(elr)),
                        Level(y=level, label="eq. 9"),
                    ],
                )
            )
    return chart(made)


def two_traces(results: StudyResults) -> Chart:
    """Figure 9: mean gradient norm against the gradient covariance's trace."""
    found = results.measurement("steepness")
    return chart(
        [_measured(found, "gradient_norm", "covariance_trace", "mean gradient norm", "gradient covariance trace")]
    )


def _measured(found: xr.Dataset, x: str, y: str, x_title: str, y_title: str) -> Panel:
    lines = [
        Line(
            x=common_panels.log_mean(found[x].sel(lr=lr).transpose("seed", "epoch").values, 0),
            y=common_panels.log_mean(found[y].sel(lr=lr).transpose("seed", "epoch").values, 0),
            value=float(lr),
            mark="both",
        )
        for lr in found["lr"].values
    ]
    return Panel(title=y_title, x=Axis(title=x_title, log=True), y=Axis(title=y_title, log=True), layers=lines)


def other_measures(results: StudyResults) -> Chart:
    """Figure 10: Fisher trace and top Hessian eigenvalue against training loss."""
    found = results.measurement("steepness")
    return chart(
        [
            _measured(found, "train_loss", "gradient_norm", LOSS, "mean gradient norm"),
            _measured(found, "train_loss", "fisher_trace", LOSS, "Fisher trace"),
            _measured(found, "train_loss", "hessian_top", LOSS, "top Hessian eigenvalue"),
        ]
    )


def between_checkpoints(results: StudyResults) -> Chart:
    """Figure 22: losses along lines between checkpoints of a regime-2 run, by the epochs between them."""
    found = results.measurement("checkpoint_paths")
    made = []
    for lr in found["lr"].values:
        lines = [
            Line(
                x=found["alpha"].values,
                y=common_panels.log_mean(
                    found["train_loss"].sel(lr=lr, delta=delta).transpose("seed", "alpha").values, 0
                ),
                value=float(delta),
                mark="both",
                name=f"{delta:g} epochs apart",
            )
            for delta in found["delta"].values
        ]
        along = Axis(title="position on the line")
        made.append(Panel(title=f"ELR {lr:.2g}", x=along, y=Axis(title=LOSS), layers=lines))
    return chart(made, color="epochs between the checkpoints")


def walks(results: StudyResults) -> Chart:
    """Figure 24: training loss and step-to-step cosine in regimes 2 and 3 and of a random walk."""
    found = results.measurement("walks")
    steps, moments, lines, cosines = found["step"].values, found["moment"].values, [], []
    for regime in ("2", "3"):
        color = style.REGIME_COLOR[regime]
        part = found.sel(regime=regime).transpose("seed", ...)
        name = f"regime {regime}"
        lines.append(Line(x=moments, y=common_panels.mean(part["loss"].values, 0), color=color, name=name))
        cosines.append(Line(x=steps, y=common_panels.mean(part["cosine"].values, 0), color=color, name=name))
    walk = found.sel(regime="3").transpose("seed", ...)
    lines.append(Line(x=moments, y=common_panels.mean(walk["walk_loss"].values, 0), dashed=True, name="random walk"))
    cosines.append(Line(x=steps, y=common_panels.mean(walk["walk_cosine"].values, 0), dashed=True, name="random walk"))
    return chart(
        [
            Panel(title="training loss", x=Axis(title="step"), y=Axis(title=LOSS), layers=lines),
            Panel(
                title="cosine between successive weights",
                x=Axis(title="step"),
                y=Axis(title="cosine"),
                layers=cosines,
            ),
        ],
        color="",
    )
