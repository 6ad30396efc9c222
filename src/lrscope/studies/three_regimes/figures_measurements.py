"""Figures of measurements: the paper's 2, 8 to 10, 22 and 24."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Chart, Level, Line, Panel, style
from lrscope.studies import common_panels
from lrscope.studies.common_panels import LOSS
from lrscope.studies.three_regimes.effects_measurements import of_net
from lrscope.studies.three_regimes.figures import chart
from lrscope.studies.types import StudyResults

NETS = {"mlp": "MLP", "convnet": "small ConvNet", "wide": "wide ConvNet", "noisy": "MLP, 20% label noise"}
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
    """Figure 22: losses along lines between checkpoints of a regime-2 run of the first seed, by the epochs between them. Each
    distance has a mark of its own: networks have different ones, of which some are too near to each other to differ in colour."""
    found, made = results.measurement("checkpoint_paths"), []
    distances = sorted({float(d) for d in np.ravel(found["delta"].values) if np.isfinite(d)})
    for net in found["net"].values:
        there = of_net(found, str(net)).isel(seed=0)
        for rate in there["rate"].values:
            here = there.sel(rate=rate)
            lines = [_between(here.isel(pair=i), distances) for i in np.argsort(here["delta"].values)]
            title = f"{NETS[str(net)]}, ELR {float(here['lr']):.2g}"
            made.append(Panel(title=title, x=Axis(title="position on the line"), y=Axis(title=LOSS), layers=lines))
    return chart(made, color="epochs between the checkpoints")


def _between(pair: xr.Dataset, distances: Sequence[float]) -> Line:
    apart = float(pair["delta"])
    return Line(
        x=pair["alpha"].values,
        y=pair["train_loss"].values,
        value=apart,
        mark="both",
        symbol=style.symbol(distances.index(apart)),
        name=f"{apart:g} epochs apart",
    )


def walks(results: StudyResults) -> Chart:
    """Figure 24: training loss, cosine between weights of adjacent steps, ten steps apart and between successive updates, in regimes
    2 and 3 and of a random walk, of the first seed; without the networks that only show a trend over widths."""
    found, made = results.measurement("walks"), []
    for net in (one for one in found["net"].values if str(one) in NETS):
        there = of_net(found, str(net)).isel(seed=0)
        for name, title, along in (
            ("loss", LOSS, "moment"),
            ("cosine", "cosine of adjacent weights", "step"),
            ("moment_cosine", "cosine of weights ten steps apart", "moment"),
            ("update_cosine", "cosine of successive updates", "step"),
        ):
            lines = [
                Line(
                    x=there[along].values,
                    y=there[name].sel(regime=r).values,
                    color=style.REGIME_COLOR[r],
                    name=f"regime {r}",
                )
                for r in sorted(map(str, there["regime"].values))
                if bool(there["loss"].sel(regime=r).notnull().any())
            ]
            walk = there[f"walk_{name}"].sel(regime="3").values
            lines.append(Line(x=there[along].values, y=walk, dashed=True, name="random walk"))
            made.append(Panel(title=f"{NETS[str(net)]}", x=Axis(title="step"), y=Axis(title=title), layers=lines))
    return chart(made, columns=4, color="")
