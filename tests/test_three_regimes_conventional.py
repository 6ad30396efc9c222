"""TR18 and TR20 on planted results: where learning ends, and which learning rates generalise best."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from fake_results import BORDERS, fake_result
from lrscope.charts import Border
from lrscope.mapping import regimes
from lrscope.studies import arrays
from lrscope.studies.three_regimes import STUDY, effects_conventional, figures
from test_three_regimes_peak import PASSES, STOPS
from trees import changed

FIRST, SECOND = np.log10(BORDERS["1|2"]), np.log10(BORDERS["2|3"])
LRS, SEEDS, BROKEN = 33, 4, 4


class Planted:
    """A study whose sweeps are given."""

    scale = "smoke"

    def __init__(self, **sweeps: xr.DataTree) -> None:
        self.sweeps = sweeps

    def sweep(self, name: str) -> xr.DataTree:
        return self.sweeps[name]


def verdicts(claim: str, **sweeps: xr.DataTree) -> list[str]:
    check = next(c for c in STUDY.claims if c.id == claim).check
    found = check(Planted(**sweeps))
    assert "nan" not in found.note
    return [part.verdict for part in found.parts]


def planted(broken: int) -> xr.DataTree:
    """Regimes 1 and 2, dead networks, overflow at the `broken` highest learning rates; gradient norms pass a peak below the
    border 1|2 and stop at it above."""
    made = fake_result(
        lrs=LRS,
        seeds=SEEDS,
        epochs=40,
        finetune=False,
        average=False,
        features=False,
        invariant=False,
        space="whole",
        nonfinite_lrs=broken,
    )
    lr = np.log10(made["lr"].values)
    curves = 10 ** np.where((lr < FIRST)[:, None], PASSES, STOPS)
    steep = made["pretrain/grad_norm"].copy(deep=True)
    steep[:] = np.where(np.isfinite(steep), curves[:, None, None], np.nan)
    return changed(made, {"pretrain/grad_norm": steep})


@pytest.fixture(scope="module")
def result() -> xr.DataTree:
    return planted(BROKEN)


def with_errors(result: xr.DataTree, best: float, slope: float = 0.05) -> xr.DataTree:
    """Test errors that rise with the distance in decades from the learning rate 10**best."""
    error = 0.2 + slope * np.abs(np.log10(result["lr"].values) - best)
    accuracy = result["pretrain/test_accuracy"].copy(deep=True)
    noise = 0.001 * np.random.default_rng(0).standard_normal(accuracy.shape)
    accuracy[:] = np.where(np.isfinite(accuracy), 1 - error[:, None, None, None] + noise, np.nan)
    return changed(result, {"pretrain/test_accuracy": accuracy})


def test_regime_two_ends_where_networks_die(result: xr.DataTree) -> None:
    living = effects_conventional.alive(result)
    assert np.log10(effects_conventional.top(result, living)) == pytest.approx(np.full(SEEDS, SECOND), abs=0.13)
    part = result.isel(lr=slice(0, 20))
    assert np.isnan(effects_conventional.top(part, effects_conventional.alive(part))).all(), "the grid ends in regime 2"


def test_dead_networks_on_unequal_classes_do_not_learn(result: xr.DataTree) -> None:
    """They predict the most frequent class, which a map by accuracy takes for learning: the loss tells."""
    dead = [k for k, lr in enumerate(np.log10(result["lr"].values)) if lr > SECOND][:-BROKEN]
    accuracy, loss = (result[f"pretrain/{name}"].copy(deep=True) for name in ("train_accuracy", "train_loss"))
    accuracy[{"lr": dead}], loss[{"lr": dead}] = 0.56, np.log(2) * 1.01
    part = changed(result, {"pretrain/train_accuracy": accuracy, "pretrain/train_loss": loss})
    assert "2" in {arrays.labels(regimes(part))[k] for k in dead}, "what is tried"
    assert (effects_conventional.alive(part) == effects_conventional.alive(result)).all()


def test_the_best_rates_are_held_against_their_neighbourhoods(result: xr.DataTree) -> None:
    at_top, medium = with_errors(result, FIRST - 0.25), with_errors(result, FIRST + 0.2)
    assert verdicts("TR18", constant=at_top, cosine=medium) == ["supported"] * 6
    low, high = with_errors(result, FIRST - 1.0), with_errors(result, SECOND)
    assert verdicts("TR18", constant=low, cosine=low)[2:] == ["contradicted", "supported"] * 2
    assert verdicts("TR18", constant=high, cosine=high)[2:] == ["supported", "contradicted"] * 2


def test_without_a_border_nothing_is_held_against_the_claim(result: xr.DataTree) -> None:
    low, high = result.isel(lr=slice(0, 10)), result.isel(lr=slice(18, None))
    assert verdicts("TR18", constant=low, cosine=low) == ["undetermined"] * 6
    assert verdicts("TR18", constant=high, cosine=high) == ["undetermined", "supported", *["undetermined"] * 4]


def test_a_third_regime_is_neither_overflow_nor_death(result: xr.DataTree) -> None:
    loss = result["pretrain/train_loss"].copy(deep=True)
    dead = [k for k, lr in enumerate(np.log10(result["lr"].values)) if lr > SECOND][:-BROKEN]
    loss[{"lr": dead}] *= 5.0
    part = changed(result, {"pretrain/train_loss": loss})
    assert verdicts("TR18", constant=part, cosine=part)[1] == "contradicted"


def test_a_transformer_generalises_as_well_in_both_regimes(result: xr.DataTree) -> None:
    flat = with_errors(result, FIRST, slope=0.0)
    assert verdicts("TR20", transformer=flat)[0::2] == ["supported", "supported"]
    assert verdicts("TR20", transformer=flat)[1] == "contradicted", "half of what lies above is dead"
    broken = planted(int((np.log10(result["lr"].values) > SECOND).sum()))
    assert verdicts("TR20", transformer=with_errors(broken, FIRST, slope=0.0)) == ["supported"] * 3
    assert verdicts("TR20", transformer=with_errors(broken, FIRST - 1.0))[2] == "contradicted"
    assert verdicts("TR20", transformer=with_errors(broken, SECOND))[2] == "contradicted"


def test_overflow_right_above_regime_one_leaves_no_regime_two(result: xr.DataTree) -> None:
    lr = np.log10(result["lr"].values)
    one = [k for k in range(LRS) if lr[k] < FIRST]
    part = with_errors(result.isel(lr=[*one, *range(LRS - BROKEN, LRS)]), FIRST, slope=0.0)
    found = effects_conventional.both_regimes(part)
    assert (found["width"] == 0).all()
    assert np.isnan(found["two"]).all()
    slow = result.isel(lr=one)
    assert np.isnan(effects_conventional.both_regimes(slow)["width"]).all(), "the grid ends in regime 1"


def test_the_border_of_the_peak_is_drawn_and_named(result: xr.DataTree) -> None:
    drawn = figures.conventional(Planted(constant=result, cosine=result)).panels
    dotted = [[layer for layer in panel.layers if isinstance(layer, Border) and layer.dotted] for panel in drawn]
    assert [len(layers) for layers in dotted] == [0, 0, 0, 1, 1, 1, *[0] * 6]
    assert np.log10(dotted[3][0].x) == pytest.approx(FIRST, abs=0.13)
    assert all(("peak" in panel.title) == bool(layers) for panel, layers in zip(drawn, dotted, strict=True))
    low = result.isel(lr=slice(0, 10))
    assert not any("peak" in panel.title for panel in figures.conventional(Planted(constant=low, cosine=low)).panels)
