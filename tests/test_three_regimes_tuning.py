"""TR7, TR10, TR11: what changing the ELR does, on trajectories with known places."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_result
from lrscope.engine.segments import phases
from lrscope.mapping import regimes
from lrscope.studies import arrays, costs
from lrscope.studies.three_regimes import STUDY, claims_tuning, effects_tuning
from lrscope.studies.three_regimes.measurement_functions import tuned_paths
from lrscope.studies.verdicts import Undetermined
from planted_study import PlantedResults, checked, verdicts
from trees import changed, own, with_node

SEEDS, BEFORE, AFTER = 5, 60, 40
DIMS = ("lr", "finetune_lr", "data_seed", "seed", "epoch")


@pytest.fixture(scope="module")
def planted() -> xr.DataTree:
    return fake_result(lrs=24, seeds=SEEDS, epochs=BEFORE, finetune=False, average=False, features=False)


def test_roles_of_rates_follow_the_map() -> None:
    known = effects_tuning.Roles(
        plr=np.array([1e-4, 1e-3, 4e-3, 3e-2]), flr=np.array([5e-5, 2e-4, 1e-3, 4e-3, 3e-2]), first=2e-3, second=6e-2
    )
    assert known.pairs("lower") == [(0, 0), (1, 0), (1, 1)]
    assert known.pairs("slightly") == [(0, 1)]
    assert known.pairs("much") == [(0, 2)]
    assert known.pairs("within") == [(2, 4), (3, 3)]
    assert known.down(0) == [(2, 0), (2, 1), (2, 2)]
    assert known.down(-1) == [(3, 0), (3, 1), (3, 2)]
    with pytest.raises(Undetermined, match="'much'"):
        effects_tuning.Roles(plr=np.array([1e-3]), flr=np.array([1e-3]), first=2e-3, second=6e-2).some("much")
    with pytest.raises(Undetermined, match="only one"):
        effects_tuning.Roles(plr=np.array([1e-2]), flr=np.array([1e-3]), first=2e-3, second=6e-2).down(0)


def test_a_jump_is_read_where_it_comes_down_for_the_last_time() -> None:
    loss = np.array([0.1, 0.01, 1.0, 0.1, 0.01, 0.001])
    values = np.arange(6.0)
    assert effects_tuning.last_crossing(loss, values, 0.1**1.5) == pytest.approx(3.5)
    assert np.isnan(effects_tuning.last_crossing(loss, values, 10.0)), "it starts below and stays there"
    burst = np.array([1.0, 0.1, 0.01, 1.0])  # at the end, as with noisy labels near the border
    assert effects_tuning.last_crossing(burst, np.arange(4.0), 0.1**1.5) == pytest.approx(1.5)
    away = np.array([0.01, 0.1, 1.0, 0.1])  # a jump that does not come back
    assert np.isnan(effects_tuning.last_crossing(away, np.arange(4.0), 0.1**1.5))
    assert np.isnan(effects_tuning.last_crossing(loss, values, 1e-4)), "it never gets there"
    both = effects_tuning.last_crossing(
        np.stack([loss, loss[::-1]]), np.stack([values, values]), np.array([0.05, 0.05])
    )
    assert both == pytest.approx([3.3, 3.65], abs=0.01), "each at its own place"


def steep_at(loss: Any, lr: Any) -> Any:
    """Sharpness on the trajectory of an ELR: lower by 0.3 decades per decade of it."""
    return 10 * loss**0.7 * (lr / 1e-3) ** -0.3


def tuned(
    planted: xr.DataTree,
    rates: tuple[int, ...],
    part: float,
    *,
    last: float = 1e-6,
    jumps: tuple[tuple[int, int], ...] = (),
    back: bool = True,
) -> xr.DataTree:
    """Fine-tuning from each of some ELRs (positions in the grid) at each of them: at the same one it goes on; otherwise it lies
    the part `part` of the way from the other ELR's trajectory to its own. Loss falls to `last`; at pairs of `jumps` it rises to a
    hundred times of what it was first, and stays there unless it comes `back`."""
    lrs, count = planted["lr"].values[list(rates)], len(rates)
    tune = planted.isel(lr=list(rates))
    start = arrays.per_seed(tune["pretrain/train_loss"])[..., -1]  # [P, U]
    t = np.linspace(0, 1, AFTER + 1)[1:]
    loss = np.exp(np.log(start)[..., None] * (1 - t) + np.log(last) * t)  # [P, U, W]
    every = np.repeat(loss[:, None], count, axis=1)
    for p, f in jumps:
        every[p, f, :, 3 : 8 if back else AFTER] = 100 * start[p][:, None]
    steep = np.empty((count, count, SEEDS, AFTER))
    for p in range(count):
        for f in range(count):
            ends = np.log(steep_at(every[p, f], lrs[p])), np.log(steep_at(every[p, f], lrs[f]))
            steep[p, f] = np.exp(part * ends[0] + (1 - part) * ends[1])
    curves = {
        name: (DIMS, values[:, :, None]) for name, values in (("train_loss", every), ("effective_grad_norm", steep))
    }
    before = steep_at(tune["pretrain/train_loss"], tune["lr"]).transpose(*tune["pretrain/train_loss"].dims)
    tune = changed(tune, {"pretrain/effective_grad_norm": before})
    return with_node(tune, "finetune", xr.Dataset(curves, {"finetune_lr": lrs, "epoch": np.arange(1.0, AFTER + 1)}))


def on_trajectories(planted: xr.DataTree) -> xr.DataTree:
    steep = steep_at(planted["pretrain/train_loss"], planted["lr"]).transpose(*planted["pretrain/train_loss"].dims)
    return changed(planted, {"pretrain/effective_grad_norm": steep})


@pytest.mark.parametrize(
    ("own", "lower", "larger"), [(1.0, 1, -1), (0.0, -1, 1), (0.5, 0, 0), (1.5, 0, -2), (2.0, -1, -3), (-1.0, -3, -1)]
)
def test_the_side_on_which_fine_tuning_ends(planted: xr.DataTree, own: float, lower: int, larger: int) -> None:
    """With a smaller ELR its own trajectory is the flatter one; with a larger one the other's is. Beyond it is not on it."""
    base, tune = on_trajectories(planted), tuned(planted, (4, 8), own)
    lrs = planted["lr"].values[[4, 8]]
    half = 0.15 * np.log10(lrs[1] / lrs[0])
    assert effects_tuning.flatter_side(base, tune, 1, 0) == pytest.approx(np.full(SEEDS, lower * half), abs=0.02)
    assert effects_tuning.flatter_side(base, tune, 0, 1) == pytest.approx(np.full(SEEDS, larger * half), abs=0.02)


def test_the_larger_rate_has_the_flatter_trajectory(planted: xr.DataTree) -> None:
    """Where it does not, fine-tuning that stays on it does not end on the flatter one."""
    base = on_trajectories(planted)
    steep = 1 / base["pretrain/effective_grad_norm"]
    turned = changed(base, {"pretrain/effective_grad_norm": steep.transpose(*base["pretrain/train_loss"].dims)})
    tune = tuned(planted, (4, 8), 1.0)
    curves = {f"{n}/effective_grad_norm": 1 / tune[f"{n}/effective_grad_norm"] for n in ("pretrain", "finetune")}
    assert effects_tuning.flatter_side(turned, changed(tune, curves), 1, 0).max() < 0


def test_nothing_is_said_where_nothing_could_have_happened(planted: xr.DataTree) -> None:
    base = on_trajectories(planted)
    assert np.isfinite(effects_tuning.flatter_side(base, tuned(planted, (4, 8), 1.0), 1, 0, fall=2.0)).all()
    start = arrays.per_seed(planted["pretrain/train_loss"])[8, :, -1].min()
    near = tuned(planted, (4, 8), 1.0, last=0.9 * start)
    assert np.isnan(effects_tuning.flatter_side(base, near, 1, 0, fall=2.0)).all()


def barriers(heights: dict[str, dict[tuple[int, int], float]], sweeps: dict[str, xr.DataTree]) -> xr.Dataset:
    """Hills of known heights between pre-trained and fine-tuned weights, by sweep and positions of both ELRs in it."""
    alpha = np.linspace(0, 1, 11)
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal(SEEDS)
    rows = [(name, *pair, height) for name, of_one in heights.items() for pair, height in of_one.items()]
    values = [1 + 4 * height * noise[:, None] * alpha * (1 - alpha) for *_, height in rows]
    rates = {name: sweeps[name]["lr"].values for name in heights}
    about = {
        "sweep": [name for name, *_ in rows],
        "lr": [rates[name][p] for name, p, _, _ in rows],
        "finetune_lr": [rates[name][f] for name, _, f, _ in rows],
    }
    coords = {name: ("pair", np.array(said)) for name, said in about.items()}
    return xr.Dataset(
        {"train_loss": (("pair", "seed", "alpha"), np.array(values))}, {**coords, "seed": np.arange(SEEDS)}
    )


@pytest.fixture
def one_net(monkeypatch: pytest.MonkeyPatch) -> claims_tuning.Net:
    net = claims_tuning.Net("net", "base", "lower", "larger", "within", "down", "scratch", "tuned_paths")
    monkeypatch.setattr(claims_tuning, "NETS", (net,))
    return net


LOWER, JUMPS = ("barrier with a smaller ELR", "stays on the flatter trajectory with a smaller ELR"), ((0, 2), (1, 2))
BARRIER, MOVES = "barrier where a larger ELR jumps", "moves to the flatter one where a larger ELR jumps"
CALM = "barrier where a larger ELR does not jump"


def basins(
    planted: xr.DataTree,
    *,
    below: float = 0.0,
    above: float = 0.3,
    calm: float = 0.0,
    own: tuple[float, float] = (1.0, 0.0),
    **jumps: Any,
) -> dict[str, str]:
    """Verdicts of TR7: fine-tuning with a smaller ELR has a barrier `below`; with larger ones `calm` where the ELR is twice as
    large, and `above` where it is more and jumps unless told otherwise."""
    larger = tuned(planted, (2, 4, 9), own[1], **({"jumps": JUMPS} | jumps))
    sweeps = {"base": on_trajectories(planted), "lower": tuned(planted, (3, 5), own[0]), "larger": larger}
    heights = {"lower": {(1, 0): below}, "larger": {(0, 1): calm, (0, 2): above, (1, 2): above}}
    found = verdicts("TR7", PlantedResults(sweeps, {"tuned_paths": barriers(heights, sweeps)}))
    return {name.removesuffix(", net"): verdict for name, verdict in found.items()}


@pytest.mark.parametrize(
    ("told", "refuted"),
    [
        ({}, []),
        ({"below": 0.1}, [LOWER[0]]),
        ({"own": (0.0, 0.0)}, [LOWER[1]]),
        ({"above": 0.05}, [BARRIER]),
        ({"own": (1.0, 1.0)}, [MOVES]),
        ({"calm": 0.3}, [CALM]),
    ],
)
def test_each_part_of_the_basins_can_fail(
    planted: xr.DataTree, one_net: claims_tuning.Net, told: dict[str, Any], refuted: list[str]
) -> None:
    found = basins(planted, **told)
    assert [name for name, verdict in found.items() if verdict == "contradicted"] == refuted
    assert list(found) == [*LOWER, BARRIER, MOVES, CALM]
    assert {found[name] for name in found if name not in refuted} == {"supported"}


def test_where_no_larger_rate_jumps_nothing_is_said_of_jumps(planted: xr.DataTree, one_net: claims_tuning.Net) -> None:
    """However large it is: the paper speaks of jumps. The low barrier it has then agrees with the paper."""
    found = basins(planted, above=0.02, jumps=())
    assert (found[BARRIER], found[MOVES], found[CALM]) == ("undetermined", "undetermined", "supported")
    assert basins(planted, above=0.3, jumps=())[CALM] == "contradicted", "a barrier without a jump"
    every = basins(planted, jumps=((0, 1), *JUMPS))
    assert (every[BARRIER], every[CALM]) == ("supported", "undetermined")


def test_a_jump_that_has_not_come_back_counts_for_neither(planted: xr.DataTree, one_net: claims_tuning.Net) -> None:
    away = tuned(planted, (2, 4, 9), 0.0, jumps=JUMPS, back=False)
    assert np.isnan(effects_tuning.jumped(away, 0, 2)).all()
    assert (effects_tuning.jumped(away, 0, 1) == 0).all()
    assert (effects_tuning.jumped(tuned(planted, (2, 4, 9), 0.0, jumps=JUMPS), 0, 2) == 1).all()
    found = basins(planted, back=False)
    assert (found[BARRIER], found[MOVES], found[CALM]) == ("undetermined", "undetermined", "supported")


def test_barriers_are_judged_where_trajectories_are_missing(planted: xr.DataTree, one_net: claims_tuning.Net) -> None:
    every = tuned(planted, (2, 4, 9), 0.0)
    one = every.isel(lr=[0])
    larger = with_node(one, "finetune", own(one, "finetune").isel(finetune_lr=[1]))
    base = planted.isel(lr=[k for k in range(24) if k not in (2, 4, 9)])
    measured = barriers({"larger": {(0, 1): 0.0}}, {"larger": every})
    found = verdicts(
        "TR7", PlantedResults({"base": base, "lower": larger, "larger": larger}, {"tuned_paths": measured})
    )
    assert list(found.values()) == ["undetermined"] * 4 + ["supported"]


def test_a_jump_at_once_is_held_against_pre_training(planted: xr.DataTree) -> None:
    tune = tuned(planted, (2, 4, 9), 0.0)
    loss = tune["finetune/train_loss"].copy(deep=True)
    loss[{"lr": 0, "finetune_lr": 2, "epoch": slice(0, 2)}] = 100 * loss[{"lr": 0, "finetune_lr": 2, "epoch": 0}]
    loss[{"lr": 0, "finetune_lr": 2, "seed": 1, "epoch": 20}] = np.nan
    found = effects_tuning.jumped(changed(tune, {"finetune/train_loss": loss}), 0, 2)
    assert found == pytest.approx([1, np.nan, 1, 1, 1], nan_ok=True)


@pytest.mark.slow
def test_a_network_without_larger_rates_is_undetermined_there(planted: xr.DataTree, one_net: claims_tuning.Net) -> None:
    lower, outside = tuned(planted, (3, 5), 1.0), within_two(planted, 1.0)
    sweeps = {"base": on_trajectories(planted), "lower": lower, "larger": outside}
    found = checked("TR7", PlantedResults(sweeps, {"tuned_paths": barriers({"lower": {(1, 0): 0.0}}, sweeps)}))
    assert [part.verdict for part in found.parts] == ["supported"] * 2 + ["undetermined"] * 3
    assert "of the kind 'larger'" in found.note
    assert "nan" not in found.note


def test_a_measurement_without_pairs_is_empty_and_its_claim_undetermined(
    planted: xr.DataTree, one_net: claims_tuning.Net
) -> None:
    """A grid whose rates lie elsewhere ends nothing but the parts that speak of them."""
    outside = within_two(planted, 1.0)
    results = PlantedResults({"base": planted, "lower": outside, "larger": outside})
    found = tuned_paths(results, (("base", "lower"), ("base", "larger")))
    assert found.sizes["pair"] == 0
    results.measurements["tuned_paths"] = found
    assert {part.verdict for part in checked("TR7", results).parts} == {"undetermined"}
    results.sweeps |= {"lower": tuned(planted, (3, 5), 1.0), "larger": tuned(planted, (2, 4, 9), 0.0)}
    parts = checked("TR7", results).parts
    assert {part.verdict for part in parts} == {"undetermined"}, "of these no line was measured"
    assert "no line was measured from ELR 0.000" in parts[0].note


@pytest.mark.parametrize(("share", "verdict"), [(1.0, "supported"), (0.3, "contradicted")])
def test_levels_inside_regime_two(planted: xr.DataTree, one_net: claims_tuning.Net, share: float, verdict: str) -> None:
    results = PlantedResults({"base": planted, "within": within_two(planted, share)})
    found = checked("TR10", results)
    assert found.verdict == verdict
    for part in found.parts:
        assert part.per_seed == pytest.approx(np.full(SEEDS, share), abs=0.1)


def test_levels_are_held_against_training_for_as_long(planted: xr.DataTree) -> None:
    """Going down ends at the new ELR's level, which has come down by a fifth of the way meanwhile."""
    tune = within_two(planted, 1.0)
    own = arrays.settled(arrays.per_seed(tune["pretrain/train_loss"]))
    later = own[0] * (own[0] / own[1]) ** 0.2
    ends = tune["finetune/train_loss"].copy(deep=True)
    for p in (0, 1):
        ends[{"lr": p, "finetune_lr": 0}] = np.broadcast_to(later[:, None], ends.shape[2:])
    found = effects_tuning.levels(planted, changed(tune, {"finetune/train_loss": ends}))
    assert found["down"] == pytest.approx(np.ones(SEEDS))
    assert found["up"] == pytest.approx(np.ones(SEEDS), abs=0.1)


def cut(tune: xr.DataTree, interval: int, factors: tuple[float, ...], cuts: tuple[float, ...]) -> xr.DataTree:
    """The result as it would be with further logged times in one interval of fine-tuning: what is a mean over steps is multiplied
    by factors in the parts, so that the mean stays, test accuracy stays at its end. `cuts`: ends of the parts, from 0 to 1."""
    node = own(tune, "finetune")
    epoch = node["epoch"].values
    begin, end = (0.0, *epoch)[interval], epoch[interval]
    places = [begin + part * (end - begin) for part in cuts]
    at = np.repeat(np.arange(len(epoch)), np.where(np.arange(len(epoch)) == interval, len(factors), 1))
    lengths = np.diff([0.0, *cuts, 1.0])
    assert np.dot(lengths, factors) == pytest.approx(1.0)
    parts = node.isel(epoch=at)
    for name in ("train_loss", "effective_grad_norm", "test_accuracy"):
        if name in parts:
            parts[name] = parts[name].copy(deep=True)
            here = slice(interval, interval + len(factors))
            values = np.array(factors) if name != "test_accuracy" else np.array([*[0.5] * len(cuts), 1.0])
            parts[name].values[..., here] *= values
    times = np.array([*epoch[:interval], *places, *epoch[interval:]])
    parts = parts.assign_coords(epoch=times, step=("epoch", (100 * times).round().astype(int)))
    config = json.dumps({**json.loads(tune.attrs["config"]), "finetune_log_epochs": places})
    return changed(with_node(tune, "finetune", parts), config=config)


CUTS, SPIKE = (0.05, 0.5, 0.75), (10.0, *[0.5 / 0.95] * 3)


def test_further_logged_times_change_nothing_that_is_read(planted: xr.DataTree) -> None:
    """Parts of an interval of which the first lies far above the others: no jump, no other median, no other end."""
    base, tune = on_trajectories(planted), tuned(planted, (2, 4, 9), 0.0, jumps=JUMPS)
    for interval in (0, 20):
        more = cut(tune, interval, SPIKE, CUTS)
        assert more["finetune"].sizes["epoch"] == AFTER + 3
        for name in ("train_loss", "effective_grad_norm"):
            assert arrays.evenly_tuned(more, name) == pytest.approx(arrays.evenly_tuned(tune, name))
        for pair in ((0, 1), (0, 2), (1, 2), (1, 0)):
            assert effects_tuning.jumped(more, *pair).tolist() == effects_tuning.jumped(tune, *pair).tolist()
            sides = (effects_tuning.flatter_side(base, result, *pair) for result in (more, tune))
            assert next(sides) == pytest.approx(next(sides))
    level = within_two(planted, 1.0)
    found, before = (effects_tuning.levels(planted, result) for result in (cut(level, 9, SPIKE, CUTS), level))
    assert all(found[way] == pytest.approx(before[way]) for way in before)
    fan, scratch = fans(planted, 0.1, 0.9, 0.3)
    spread, plain = (
        effects_tuning.tuned_spread(planted, result, scratch) for result in (cut(fan, 12, SPIKE, CUTS), fan)
    )
    assert all(spread[name] == pytest.approx(plain[name]) for name in plain)


@pytest.mark.parametrize("scale", list(STUDY.scales))
def test_further_logged_times_are_none_of_the_even_ones(scale: str) -> None:
    """One that were would be taken out of what claims read. Sweeps that figures 17 and 18 draw have them at laptop scale."""
    dense = set()
    for sweep in STUDY.scales[scale].sweeps:
        config, per_epoch = sweep.config, costs.train_size(sweep) // sweep.config.batch_size
        if config.finetune_log_epochs:
            dense.add(sweep.name)
            plain = phases(replace(config, finetune_log_epochs=()), per_epoch)[-1].windows
            extra = {round(epoch * per_epoch) for epoch in config.finetune_log_epochs}
            assert len(extra) == len(config.finetune_log_epochs)
            assert not extra & set(plain), sweep.name
            assert set(phases(config, per_epoch)[-1].windows) == extra | set(plain)
    figures = [figure for figure in STUDY.figures if figure.number in ("17", "18")]
    drawn = {name for figure in figures for name in figure.needs if name.startswith("tune")}
    assert dense == (drawn if scale == "laptop" else set())


def within_two(planted: xr.DataTree, share: float) -> xr.DataTree:
    """Fine-tuning inside regime 2 that goes `share` of the way from the old level to the new one, on a log scale."""
    two = arrays.learning(planted, regimes(planted))
    at = [two[0], two[-1]]
    lrs = planted["lr"].values[at]
    tune = planted.isel(lr=at)
    own = np.log(arrays.settled(arrays.per_seed(tune["pretrain/train_loss"])))
    whole = own[None] - own[:, None]
    level = np.exp(own[:, None] + share * whole)
    level[[0, 1], [0, 1]] = np.exp(own)  # going on with the same ELR
    rng = np.random.default_rng(0)
    values = level[..., None] * np.exp(0.02 * rng.standard_normal((2, 2, SEEDS, 10)))
    coords = {"finetune_lr": lrs, "epoch": np.arange(1.0, 11)}
    return with_node(tune, "finetune", xr.Dataset({"train_loss": (DIMS, values[:, :, None])}, coords))


def fans(
    planted: xr.DataTree, low: float, high: float, error: float, shift: float = 0.0
) -> tuple[xr.DataTree, xr.DataTree]:
    """Fine-tuning from the lowest and highest ELR of regime 2 with three ELRs of regime 1, and training with these from
    initialisation. Per decade of ELR sharpness falls by 0.4 decades from initialisation and by these parts of it after fine-
    tuning, after the highest `shift` decades off; test error by two points and by a part of them."""
    two = arrays.learning(planted, regimes(planted))
    tune, lrs = planted.isel(lr=[two[0], two[-1]]), planted["lr"].values[[4, 6, 8]]
    steps = np.log10(lrs / lrs[-1])[:, None, None]
    loss = np.broadcast_to(np.geomspace(1.0, 1e-3, AFTER), (3, SEEDS, AFTER))
    rng = np.random.default_rng(0)

    def curves(part: float, points: float) -> dict[str, Any]:
        noise = rng.standard_normal((3, SEEDS, 1))
        steep = 10 * loss**0.7 * 10 ** (-0.4 * part * steps + 0.003 * noise)
        accuracy = 0.8 + 0.02 * points * steps + 0.0003 * noise + 0 * loss
        return {"train_loss": loss, "effective_grad_norm": steep, "test_accuracy": accuracy}

    rows = [curves(low, 0.1), curves(high, error)]
    rows[1]["effective_grad_norm"] = rows[1]["effective_grad_norm"] * 10**shift
    epoch = np.arange(1.0, AFTER + 1)
    fine = {name: (DIMS, np.stack([row[name] for row in rows])[:, :, None]) for name in rows[0]}
    tune = with_node(tune, "finetune", xr.Dataset(fine, {"finetune_lr": lrs, "epoch": epoch}))
    scratch = planted.isel(lr=[4, 6, 8])
    plain = {name: (("lr", "data_seed", "seed", "epoch"), v[:, None]) for name, v in curves(1.0, 1.0).items()}
    node = xr.Dataset(plain, {"epoch": epoch})
    return tune, with_node(scratch, "pretrain", node)


LOW = "low regime 2 above the flattest, over a quarter of regime 1's range"
FAN = "range of sharpness from low regime 2 over half of regime 1's"
WIDER = "wider range of sharpness from high regime 2"
MUCH = "range of sharpness from high regime 2 over one and a half of regime 1's"
BESIDE = "high regime 2 off the middle of regime 1's range, over half of it"
NARROW = "range of test error from high regime 2 below half of regime 1's"


@pytest.mark.parametrize(
    ("planted_fans", "refuted"),
    [
        ((0.1, 0.9, 0.3), []),
        ((-0.1, 0.9, -0.3), []),  # a little either way
        ((0.9, 0.8, 0.3), [FAN, LOW, WIDER]),
        ((-0.9, 0.8, 0.3), [FAN, WIDER]),  # a fan turned round is one
        ((0.1, 0.3, 0.3), ["range of sharpness from high regime 2 over half of regime 1's"]),
        ((0.1, 1.8, 0.3), [MUCH]),
        ((0.1, 0.9, 0.3, 0.3), [BESIDE]),
        ((0.1, 0.9, 0.3, -0.3), [BESIDE]),
        ((0.1, 0.9, 0.8), [NARROW]),  # narrower, not much
        ((0.1, 0.9, -0.8), [NARROW]),  # as wide, turned round
        ((1.0, 1.2, 0.3), [FAN, LOW]),  # regime 1's own fan
    ],
)
def test_each_part_of_the_fans_can_fail(
    planted: xr.DataTree, one_net: claims_tuning.Net, planted_fans: tuple[float, ...], refuted: list[str]
) -> None:
    tune, scratch = fans(planted, *planted_fans)
    found = verdicts("TR11", PlantedResults({"base": planted, "down": tune, "scratch": scratch}))
    assert [name for name, verdict in found.items() if verdict == "contradicted"] == [
        f"{name}, net" for name in refuted
    ]
    assert len(found) == 9
    assert {verdict for name, verdict in found.items() if name.removesuffix(", net") not in refuted} == {"supported"}


@pytest.mark.slow
def test_without_a_common_loss_the_fans_are_undetermined(planted: xr.DataTree, one_net: claims_tuning.Net) -> None:
    tune, scratch = fans(planted, 0.1, 0.9, 0.3)
    loss = tune["finetune/train_loss"].copy(deep=True)
    loss[{"lr": 1}] = loss[{"lr": 1}] * 1e-4  # it begins below what the others reach
    part = changed(tune, {"finetune/train_loss": loss})
    found = checked("TR11", PlantedResults({"base": planted, "down": part, "scratch": scratch}))
    assert {one.verdict for one in found.parts} == {"undetermined"}
    assert "in no seed all runs (high) pass the lowest training loss that all reach" in found.note


def test_each_seed_has_a_loss_of_its_own(planted: xr.DataTree, one_net: claims_tuning.Net) -> None:
    """One that stays high moves no other, and one that begins below says nothing by itself."""
    tune, scratch = fans(planted, 0.1, 0.9, 0.3)
    loss = tune["finetune/train_loss"].copy(deep=True)
    loss[{"lr": 1, "seed": 0}] = loss[{"lr": 1, "seed": 0}] * 1e-4
    loss[{"lr": 1, "seed": 1}] = np.maximum(loss[{"lr": 1, "seed": 1}], 0.1)
    found = effects_tuning.tuned_spread(planted, changed(tune, {"finetune/train_loss": loss}), scratch)
    assert found["level"][1:] == pytest.approx([0.105, *[found["level"][2]] * 3])
    assert found["level"][2] < 0.002
    assert np.isfinite(found["high"]).tolist() == [False, True, True, True, True]


def test_without_a_range_there_is_nothing_to_cover(planted: xr.DataTree, one_net: claims_tuning.Net) -> None:
    """Training from initialisation that ends the sharper and the worse the larger the ELR."""
    tune, scratch = fans(planted, 0.1, 0.9, 0.3)
    steep, right = (scratch[f"pretrain/{name}"] for name in ("effective_grad_norm", "test_accuracy"))
    turned = changed(scratch, {"pretrain/effective_grad_norm": 1 / steep, "pretrain/test_accuracy": 1 - right})
    found = verdicts("TR11", PlantedResults({"base": planted, "down": tune, "scratch": turned}))
    assert found["range of sharpness from initialisation, net"] == "contradicted"
    assert found["range of test error from initialisation, net"] == "contradicted"
