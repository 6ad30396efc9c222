"""Figures of three_regimes on planted results: that lines can be told apart, and that regimes are where they are named."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_result
from lrscope.charts import Line
from lrscope.studies import arrays
from lrscope.studies.three_regimes import STUDY
from lrscope.studies.types import PaperFigure
from planted_study import PlantedResults


@pytest.fixture(scope="module")
def planted() -> xr.DataTree:
    return fake_result(lrs=24, seeds=3, epochs=60, finetune=False, average=False, features=False)


def figure(number: str) -> PaperFigure:
    return next(one for one in STUDY.figures if one.number == number)


def lines_of(number: str, results: PlantedResults) -> list[Line]:
    return [layer for layer in figure(number).draw(results).layers if isinstance(layer, Line)]


def test_each_distance_between_checkpoints_has_a_mark_of_its_own() -> None:
    """Of 10 epochs in one network and 12 in another colours are the same to the eye."""
    alpha = np.linspace(0, 1, 11)
    nets = [
        xr.Dataset(
            {"train_loss": (("rate", "pair", "seed", "alpha"), np.ones((1, 6, 1, 11)))},
            {
                "rate": ["lowest"],
                "lr": ("rate", [lr]),
                "delta": ("pair", np.repeat(distances, 2)),
                "seed": [0],
                "alpha": alpha,
            },
        )
        for lr, distances in ((1e-3, (0.25, 2.0, 12.0)), (1e-2, (0.25, 10.0, 100.0)))
    ]
    names = list(figure("22").needs)
    assert names == ["checkpoint_paths"]
    found = xr.concat(nets, "net").assign_coords(net=["convnet", "noisy"])
    drawn = lines_of("22", PlantedResults({}, {"checkpoint_paths": found}))
    looks = {(line.name, line.symbol) for line in drawn}
    assert {name for name, _ in looks} == {f"{apart:g} epochs apart" for apart in (0.25, 2, 10, 12, 100)}
    assert len(looks) == len({symbol for _, symbol in looks}) == 5, "one mark for a distance, whatever the network"
    assert len(drawn) == 12


def test_transitions_are_those_of_a_network_with_a_wide_regime_two(planted: xr.DataTree) -> None:
    """Of one seed, with a line inside regime 2 that learns. The sweep that is drawn is logged densely enough for bursts."""
    assert figure("6").needs == ("noisy",)
    drawn = lines_of("6", PlantedResults({"noisy": planted}))
    regimes = [line.name.rpartition("regime ")[2] for line in drawn]
    assert {"1", "2", "3"} <= set(regimes)
    inside = [line for line in drawn if line.name.endswith("regime 2")]
    assert min(arrays.settled(np.asarray(line.y)) for line in inside) < 0.9 * np.log(2)
    sweep = next(sweep for sweep in STUDY.scales["laptop"].sweeps if sweep.name == "noisy")
    assert sweep.config.log_points >= 300
