"""A study that trains in seconds, for tests of what carries studies out. `CALLS` counts measurements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from lrscope.charts import Axis, Chart, Line, Panel
from lrscope.config import SweepConfig
from lrscope.studies import registry
from lrscope.studies.types import (
    Claim,
    Finding,
    Measurement,
    Paper,
    PaperFigure,
    Scale,
    Study,
    StudyResults,
    StudySweep,
)
from lrscope.studies.verdicts import finding, part

CALLS: list[str] = []
CONFIG = SweepConfig(lrs=(1e-2, 1e-1), seeds=3, steps=4, batch_size=32, random_points=2)
SWEEP = StudySweep(
    name="sphere",
    about="A small net on the sphere.",
    task={"data": "digits", "model": "mlp", "width": 8, "train_size": 64, "test_size": 32},
    config=CONFIG,
)


def final_losses(results: StudyResults) -> xr.Dataset:
    CALLS.append("losses")
    return xr.Dataset(
        {"loss": results.sweep("sphere")["pretrain/fixed_train_loss"].mean("data_seed")}, attrs={"unit": "nat"}
    )


def double(results: StudyResults) -> xr.Dataset:
    CALLS.append("double")
    return results.measurement("losses") * 2


def noise(results: StudyResults) -> xr.Dataset:
    CALLS.append("noise")
    return xr.Dataset({"x": ("i", np.arange(5.0))}, coords={"i": list("abcde")})


def losses_are_positive(results: StudyResults) -> Finding:
    loss = results.measurement("double")["loss"]
    parts = [part(f"ELR {lr:g}", loss.sel(lr=lr), above=0.0, unit="nats") for lr in loss["lr"].values]
    return finding(parts, "Losses are what they are.", factor=2)


def more_than_there_is(results: StudyResults) -> Finding:
    return finding([part("noise", [np.nan, 1.0], above=0.0, unit="fraction")], "Only one seed was there.")


def losses_chart(results: StudyResults) -> Chart:
    loss = results.measurement("losses")["loss"]
    line = Line(x=loss["lr"].values, y=loss.mean("seed").values, name="loss", mark="both")
    return Chart(panels=[Panel(title="loss", x=Axis(title="ELR", log=True), y=Axis(title="loss"), layers=[line])])


LOSSES = Measurement(name="losses", about="Final losses.", needs=("sphere",), run=final_losses)
DOUBLE = Measurement(name="double", about="Twice that.", needs=("losses",), run=double)
NOISE = Measurement(name="noise", about="Nothing trained.", needs=(), run=noise)

STUDY = Study(
    name="tiny",
    paper=Paper(
        authors=("Doe, Jane", "Müller & Sons, K."),
        title="Tiny Nets: 100% of What They Do",
        year=2020,
        venue="Journal of Small Things",
        arxiv="2001.00001",
        key="doe2020tiny",
    ),
    about="What tiny nets do.",
    claims=(
        Claim(
            id="T1",
            sentence="Losses are positive.",
            criterion="The mean loss over learning rates exceeds 0; 95% interval over seeds.",
            needs=("double",),
            check=losses_are_positive,
            figures=("1",),
        ),
        Claim(
            id="T2",
            sentence="There is noise.",
            criterion="None: exploratory.",
            needs=("noise",),
            check=more_than_there_is,
            exploratory=True,
        ),
    ),
    figures=(
        PaperFigure(
            number="1",
            title="Losses",
            look_for="Points.",
            differs="Everything.",
            needs=("losses",),
            draw=losses_chart,
        ),
    ),
    scales={
        "smoke": Scale(sweeps=(SWEEP,), measurements=(LOSSES, DOUBLE, NOISE), about="digits, seconds"),
        "paper": Scale(
            sweeps=(
                replace(
                    SWEEP,
                    task={"data": "cifar10", "model": "convnet", "width": 4},
                    config=replace(CONFIG, steps=None, epochs=2.0),
                ),
            ),
            measurements=(LOSSES,),
            about="CIFAR-10, on a GPU",
        ),
    },
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """The study, known to the command line by its name."""
    monkeypatch.setitem(registry.TABLE, "tiny", "tiny_study:STUDY")
    CALLS.clear()
    return "tiny"
