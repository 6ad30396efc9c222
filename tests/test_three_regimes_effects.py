"""Effects of the study three_regimes that are read from measurements: on arrays with planted numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_result
from lrscope.mapping import regimes
from lrscope.studies import arrays
from lrscope.studies.three_regimes import STUDY, claims_equilibrium, measurement_functions
from lrscope.studies.three_regimes.effects import barrier
from lrscope.studies.three_regimes.effects_measurements import (
    along_lines,
    bump,
    of_net,
    partial_correlation,
    walk_and_regimes,
)
from lrscope.studies.three_regimes.effects_tuning import size
from planted_study import PlantedResults, checked, verdicts
from trees import changed

SEEDS = 4


def lines(
    lowest: float, highest: float, farther: float = 0.0, *, low_hill: float = 0.0, hill: float = 0.0
) -> xr.Dataset:
    """Losses 1 + bend * 4 a (1 - a) over three pairs of checkpoints, a valley where the bend is negative: at the lowest ELR, in
    the middle and at the highest, where it grows by `farther` per decade of epochs. In the middle of the lines a hill stands, at
    the lowest ELR of one height, at the highest of another that the pair farthest apart has, the others by tenths."""
    alpha = np.linspace(0, 1, 11)
    delta = np.array([1.0, 10.0, 100.0])
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal((3, SEEDS))
    bends = np.array([lowest, 0.0, highest])[:, None, None] * noise
    bends[-1] += farther * (np.log10(delta) - 1)[:, None]
    hills = np.array([low_hill, 0.0, hill])[:, None, None] * np.array([[0.01], [0.1], [1.0]]) ** np.array(
        [[[0]], [[0]], [[1]]]
    )
    values = 1 + bends[..., None] * 4 * alpha * (1 - alpha) + hills[..., None] * (np.abs(alpha - 0.5) < 0.01)
    return xr.Dataset(
        {"train_loss": (("rate", "pair", "seed", "alpha"), values)},
        {
            "rate": ["lowest", "middle", "highest"],
            "lr": ("rate", [1e-3, 3e-3, 1e-2]),
            "delta": ("pair", delta),
            "alpha": alpha,
            "seed": np.arange(SEEDS),
        },
    )


def nets(found: xr.Dataset, names: tuple[str, ...]) -> xr.Dataset:
    """The same for all networks."""
    return xr.concat([found] * len(names), "net").assign_coords(net=list(names))


def test_valleys_and_hills_are_read_off_lines() -> None:
    found = along_lines(lines(-0.3, 0.4, 0.2))
    assert found["lower"] == pytest.approx(np.full(SEEDS, 0.3), rel=0.05)
    assert found["bump_lowest"] == pytest.approx(np.zeros(SEEDS), abs=1e-12)
    assert found["bump_far"] == pytest.approx(np.full(SEEDS, 0.6), rel=0.05), "of the pair farthest apart"
    assert found["farther"] == pytest.approx(np.full(SEEDS, 0.2), abs=0.02)


def test_a_hill_in_a_valley_is_a_bump() -> None:
    """It does not reach above the straight line between the ends, and yet the loss is not convex."""
    alpha = np.linspace(0, 1, 11)
    valley = 1 - 2 * alpha * (1 - alpha)
    hill = valley + 0.3 * (np.arange(11) == 5)
    assert barrier(hill) == pytest.approx(0, abs=1e-12)
    assert bump(np.stack([valley, hill, 2 - alpha, 1 + alpha * (1 - alpha)])) == pytest.approx(
        [0, 0.28, 0, 0.25], abs=1e-9
    )


@pytest.mark.parametrize(
    ("paths", "hills", "wanted"),
    [
        ((-0.3, 0.4, 0.2), {}, ["supported"] * 4),
        ((0.4, 0.01, -0.004), {}, ["contradicted"] * 4),
        ((-0.3, 0.4, -0.2), {}, ["supported", "supported", "supported", "contradicted"]),
        ((-0.3, 0.01, 0.001), {}, ["supported", "supported", "contradicted", "supported"]),  # convex at the highest too
        ((-0.4, -0.4, 0.0), {"hill": 0.2}, ["supported"] * 4),  # in a valley, and only between those farthest apart
        ((-0.4, 0.4, 0.2), {"low_hill": 0.2}, ["supported", "contradicted", "supported", "supported"]),
    ],
)
def test_each_part_of_the_valleys_can_fail(
    paths: tuple[float, ...], hills: dict[str, float], wanted: list[str]
) -> None:
    measured = nets(lines(*paths, **hills), tuple(claims_equilibrium.NETS.values()))
    found = verdicts("TR12", PlantedResults({}, {"checkpoint_paths": measured}))
    assert list(found.values()) == wanted * 2


def test_one_learning_rate_of_regime_two_is_no_lowest_and_highest() -> None:
    """Of the network that has no more; the other is judged."""
    one = lines(-0.3, -0.3)
    both = [lines(-0.3, 0.4, 0.2), one.assign_coords(lr=("rate", [1e-3] * 3))]
    measured = xr.concat(both, "net").assign_coords(net=list(claims_equilibrium.NETS.values()))
    found = checked("TR12", PlantedResults({}, {"checkpoint_paths": measured}))
    assert [part.verdict for part in found.parts] == ["supported"] * 4 + ["undetermined"] * 4
    assert "undetermined, a single ELR of regime 2" in found.note


@pytest.mark.parametrize("scale", ["laptop", "paper"])
@pytest.mark.parametrize("name", claims_equilibrium.NETS.values())
def test_each_distance_between_checkpoints_is_seen_from_several(scale: str, name: str) -> None:
    """Otherwise a burst at one checkpoint would make the farthest pairs the highest. One distance is a fraction of an epoch."""
    sweep = next(sweep for sweep in STUDY.scales[scale].sweeps if sweep.name == name)
    pairs = measurement_functions.pairs_of(sweep.config.snapshot_epochs)
    apart = [later - first for first, later in pairs]
    assert min(apart) < 1
    assert max(apart) > 40 * min(apart)
    assert {apart.count(one) for one in apart} == {3}
    assert len({later for _, later in pairs}) == len(pairs)


def test_the_middle_rate_is_drawn_and_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a figure shows it, of the first seed: no line is evaluated for the others, and no part needs one."""
    result = fake_result(lrs=24, seeds=SEEDS, epochs=60, finetune=False, average=False, features=False)
    seen: list[tuple[float, int]] = []

    def between(_trained: Any, first: Any, _later: Any, **_options: Any) -> xr.Dataset:
        seen.append((first["lr"], first["seed"]))
        return xr.Dataset({"train_loss": ("alpha", np.ones(measurement_functions.geometry.POINTS))})

    monkeypatch.setattr(measurement_functions.geometry, "between", between)
    trained = SimpleNamespace(config=SimpleNamespace(snapshot_epochs=(5.0, 5.25, 8.0, 10.0)), state=lambda **at: at)
    results = PlantedResults({"net": result})
    monkeypatch.setattr(results, "trained", lambda name: trained)
    found = measurement_functions.checkpoint_paths(results, ("net",)).sel(net="net")
    assert len(set(seen)) == 2 * SEEDS + 1
    known = found["train_loss"].notnull().all(["pair", "alpha"]).transpose("rate", "seed").values
    assert known.tolist() == [[True] * SEEDS, [True] + [False] * (SEEDS - 1), [True] * SEEDS]
    assert all(np.isfinite(values).all() for values in along_lines(found).values())


def steps(
    adjacent: float = 0.02, held: float = 0.9, lag: float = 0.0, two: float = 0.2, above: float = 1.5, turn: float = 0.0
) -> xr.Dataset:
    """Cosines of weights from step to step in regime 3 and in 2 (`held`); of weights further apart beside a walk's, in 3 (`lag`)
    and in 2 (`two`), whose steps are so small that a walk's cosine is 0.7; how far 3's loss lies above the walk's; and cosines of
    updates beside a walk's (`turn`)."""
    noise = 0.001 * np.random.default_rng(1).standard_normal((2, SEEDS, 6))
    per_step, per_moment = ("regime", "seed", "step"), ("regime", "seed", "moment")
    three = np.array([0.0, 1.0])[:, None, None]
    loss = np.array([1.0, 5.0 + above])[:, None, None] + noise
    expected = 0.05 * three + 0.7 * (1 - three) + np.zeros_like(noise[:1])
    values = {
        "cosine": (per_step, adjacent * three + held * (1 - three) + noise),
        "update_cosine": (per_step, -0.4 + turn * three + noise),
        "expected_update_cosine": (per_step, np.full_like(noise, -0.4)),
        "moment_cosine": (per_moment, expected + lag * three + two * (1 - three) + noise),
        "expected_moment_cosine": (per_moment, expected),
        "loss": (per_moment, loss),
        "constant": (per_moment, 0.9 * loss),
        "walk_loss": (per_moment, np.full_like(loss, 5.0)),
        "walk_constant": (per_moment, np.full_like(loss, 4.0)),
    }
    return xr.Dataset(values, {"regime": ["2", "3"], "seed": np.arange(SEEDS), "parameters": 600, "runs": SEEDS + 1})


ADJACENT, LAG, HELD, MEMORY, ABOVE = range(5)  # of the parts of a network
WALKS = (  # what is planted, and the parts that it contradicts
    ({}, ()),
    ({"turn": -0.5}, ()),  # the passage speaks of weights
    ({"adjacent": 0.5}, (ADJACENT, HELD)),
    ({"adjacent": -0.5, "held": 0.5}, (ADJACENT,)),  # weights that turn round are no walk's
    ({"held": 0.3}, (HELD,)),
    ({"lag": 0.5}, (LAG, MEMORY)),  # farther from a walk's than regime 2's
    ({"lag": -0.5, "two": 1.0}, (LAG,)),
    ({"two": 0.0}, (MEMORY,)),
    ({"lag": -0.05, "two": 0.14}, (MEMORY,)),  # it counts either way
    ({"above": -1.5}, (ABOVE,)),
)


@pytest.mark.parametrize(("planted", "broken"), WALKS)
def test_each_part_of_the_walk_can_fail(planted: dict[str, float], broken: tuple[int, ...]) -> None:
    found = walk_and_regimes(steps(**planted))
    for name in ("adjacent", "lag", "above", "turn"):
        if name in planted:
            assert found[name] == pytest.approx(np.full(SEEDS, planted[name]), abs=0.01), name
    wanted = ["contradicted" if k in broken else "supported" for k in range(5)]
    measured = nets(steps(**planted), tuple(claims_equilibrium.WALKING.values()))
    without_two = [wanted[k] for k in (ADJACENT, LAG, ABOVE)]  # the wide network is trained in regime 3 only
    assert list(verdicts("TR14", PlantedResults({}, {"walks": measured})).values()) == [*wanted, *wanted, *without_two]


def test_a_walk_of_two_seeds_and_one_with_noise_leave_it_open() -> None:
    names = tuple(claims_equilibrium.WALKING.values())
    few = nets(steps().isel(seed=slice(0, 2)), names)
    assert set(verdicts("TR14", PlantedResults({}, {"walks": few})).values()) == {"undetermined"}
    loud = nets(steps(above=0.2), names)
    loud["loss"] = loud["loss"] + np.array([2.0, -2.0, 1.0, -1.0])[:, None]
    found = verdicts("TR14", PlantedResults({}, {"walks": loud}))
    assert {name for name, verdict in found.items() if verdict == "inconclusive"} == {
        f"regime 3's loss above the walk's, {net}" for net in claims_equilibrium.WALKING
    }


def test_what_is_not_judged_of_walks_is_told() -> None:
    """Successive updates, and the trend over widths of networks that differ in nothing else."""
    names = (*claims_equilibrium.WALKING.values(), "walk_8", "walk_16")
    each = [steps(turn=-0.22, above=above) for above in (1.0, 1.0, -2.0, 0.5, -1.0)]
    each = [net.assign_coords(parameters=100 * k) for k, net in enumerate(each)]
    measured = xr.concat(each, "net").assign_coords(net=list(names))
    note = checked("TR14", PlantedResults({}, {"walks": measured})).note
    assert note.count("its successive updates have a mean cosine -0.22 off a walk's") == len(claims_equilibrium.WALKING)
    assert note.endswith("differ in width alone, nats: 300 weights +0.5, 400 weights -1, 200 weights -2.")


def test_a_network_that_was_not_in_regime_three_is_undetermined() -> None:
    """Its runs are NaN there; the others are judged, and what losses consist of is said of them."""
    names = tuple(claims_equilibrium.WALKING.values())
    measured = nets(steps(), names)
    lost = measured.where(measured["net"] != "wide")
    found = checked("TR14", PlantedResults({}, {"walks": lost}))
    by_net = {
        net: [p.verdict for p in found.parts if p.name.endswith(f", {net}")] for net in claims_equilibrium.WALKING
    }
    assert by_net["MLP"] == by_net["small ConvNet"] == ["supported"] * 5
    assert set(by_net["wide ConvNet"]) == {"undetermined"}
    assert (
        "MLP (600 weights; 4 of 5 runs are in regime 3) "
        "6.5 to 6.5 nats, the mean output alone costs 0.90 of it; the walk 5.0 to 5.0, 0.80 of it" in found.note
    )
    assert "wide ConvNet not in regime 3" in found.note


def test_runs_in_regime_three_are_chosen_before_they_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the loss that is then compared with the walk's."""
    result = fake_result(lrs=24, seeds=SEEDS, epochs=60, finetune=False, average=False, features=False)
    k = arrays.inside(regimes(result), "3")
    loss = result["pretrain/train_loss"].copy(deep=True)
    loss[{"lr": k, "seed": 1}] = 0.5 * arrays.guessing(result)

    def walked(_trained: Any, lr: float, seed: int) -> xr.Dataset:
        return xr.Dataset({"loss": ("moment", np.full(3, 0.1 + seed))})

    monkeypatch.setattr(measurement_functions, "_walk", walked)
    results = PlantedResults({"net": changed(result, {"pretrain/train_loss": loss})})
    monkeypatch.setattr(results, "trained", lambda name: SimpleNamespace(net=SimpleNamespace(size=600)))
    found = measurement_functions.walking(results, ("net",)).sel(net="net")
    assert np.isnan(found["loss"].sel(regime="3").values).all(1).tolist() == [False, True, False, False]
    assert found["loss"].sel(regime="2").notnull().all()
    assert int(found["runs"]) == SEEDS


def test_one_network_has_only_its_own_seeds() -> None:
    few = steps().isel(seed=slice(0, 2)).sel(regime=["3"])
    both = xr.concat([steps(), few], "net", join="outer").assign_coords(net=["a", "b"])
    assert of_net(both, "b").sizes["seed"] == 2
    assert of_net(both, "a").sizes["seed"] == SEEDS


def test_measures_are_correlated_at_equal_loss() -> None:
    """What both owe to the loss counts for nothing."""
    rng = np.random.default_rng(2)
    loss, own = 10 ** rng.uniform(-2, 0, (SEEDS, 3, 5)), rng.standard_normal((2, SEEDS, 3, 5))
    dims = ("seed", "lr", "epoch")
    values = {
        "train_loss": loss,
        "a": loss * np.exp(0.1 * own[0]),
        "b": loss**2 * np.exp(0.3 * own[0]),
        "c": loss * np.exp(0.1 * own[1]),
    }
    found = xr.Dataset({name: (dims, array) for name, array in values.items()})
    found["b"][0] = loss[0] ** 2 * np.exp(-0.3 * own[0][0])
    assert partial_correlation(found.transpose("epoch", ...), "a", "b") == pytest.approx([-1, 1, 1, 1])
    assert np.abs(partial_correlation(found, "a", "c")).mean() < 0.7


def test_noise_has_no_size() -> None:
    """Each value with its own sign would make a range of it."""
    noise = np.array([-0.4, 0.5, -0.5, 0.3, np.nan])
    assert size(noise) == pytest.approx(-noise, nan_ok=True)
    assert size(-noise) == pytest.approx(-noise, nan_ok=True)
    assert np.isnan(size(np.full(3, np.nan))).all()
