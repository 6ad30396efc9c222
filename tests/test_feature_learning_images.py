"""FL5 to FL8 of feature_learning: readings of frequency bands, transformers and sharpness, with planted effects.

P pre-training rates, F fine-tuning rates, U seeds.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_map, fake_result, regime_of
from lrscope.charts import Border, ErrorBars, Level, Line, Panel, Span
from lrscope.mapping import regimes
from lrscope.studies.feature_learning import (
    STUDY,
    effects_bands,
    effects_sharpness,
    figure_sharpness,
    figures,
    folds,
    measurement_functions,
)
from lrscope.studies.types import Finding
from lrscope.studies.verdicts import Undetermined
from planted_results import (
    PlantedResults,
    by_name,
    by_place,
    checked,
    planted_result,
    trained_alone,
    verdicts,
    with_levels,
    with_sets,
)
from trees import changed

LEVELS = {"background": 0.2, "low": 0.8, "mid": 0.6, "high": 0.15}
GOOD: dict[str, dict[str, dict[str, float]]] = {
    "pretrain": {
        "low": {"1": 0.3, "2A": 0.5, "2B": 0.25},
        "mid": {"1": 0.3, "2A": 0.3},
        **{f"without {name}": dict.fromkeys(("1", "2A", "2B"), 0.6) for name in LEVELS},
    },
    "average": {"low": {"2A": 0.6}, "mid": {"2A": 0.3}},
    "finetune": {
        "low": {"1": 0.4, "2A": 0.7},
        "mid": {"1": 0.3, "2A": 0.3},
        "without low": {"1": 0.6, "2A": 0.3},
        **{f"without {name}": {"1": 0.7, "2A": 0.7} for name in ("background", "mid", "high")},
    },
}


@pytest.fixture(scope="module")
def planted() -> xr.DataTree:
    return fake_result(lrs=12, seeds=1, data_seeds=3, epochs=8)


@pytest.fixture(scope="module")
def long() -> xr.DataTree:
    """Curves that show their regimes."""
    return planted_result()


@pytest.fixture
def labels(planted: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The planted regimes, whatever the curves say."""
    monkeypatch.setattr(folds, "regimes", fake_map)
    return [regime_of(float(lr)) for lr in planted["lr"].values]


@pytest.fixture
def images(planted: xr.DataTree, labels: list[str]) -> xr.DataTree:
    """Networks that rely on low bands in 2A."""
    accuracy = dict.fromkeys(("1", "2A", "2B", "3"), 0.8)
    levels = {"pretrain": accuracy, "average": accuracy, "finetune": accuracy}
    return with_levels(with_sets(planted, labels, GOOD), labels, levels)


def replaced(images: xr.DataTree, labels: list[str], segment: str, name: str, values: dict[str, float]) -> xr.DataTree:
    """The same with another accuracy on one feature set."""
    array = images[f"{segment}/feature_accuracy"].copy(deep=True)
    for label, value in values.items():
        array.loc[{"feature": name, "lr": images["lr"].values[[one == label for one in labels]]}] = value
    return changed(images, {f"{segment}/feature_accuracy": array})


# -- bands -------------------------------------------------------------------------------------------------------------


def test_the_most_useful_bands_are_those_on_which_networks_get_most_alone(planted: xr.DataTree) -> None:
    found = effects_bands.useful(PlantedResults(trained_alone(LEVELS)))
    assert found.best == "low"
    assert {name: values.mean() for name, values in found.accuracy.items()} == pytest.approx(LEVELS, abs=0.01)
    assert found.lead == pytest.approx([0.2] * 3, abs=0.02), "against the next one, by data seed"
    with pytest.raises(Undetermined, match=r"no group of bands alone can be learned: the best gets 0\.1"):
        effects_bands.useful(PlantedResults(trained_alone(dict.fromkeys(LEVELS, 0.15))))


@pytest.mark.slow
def test_reliance_on_the_most_useful_bands_is_told_from_its_absence(images: xr.DataTree, labels: list[str]) -> None:
    alone = trained_alone(LEVELS)

    def found(resnet: xr.DataTree, convnet: xr.DataTree = images) -> dict[str, str]:
        return by_name(checked("FL5", {"resnet": resnet, "convnet": convnet, **alone}))

    def fails(segment: str, name: str, values: dict[str, float]) -> set[str]:
        parts = found(replaced(images, labels, segment, name, values))
        return {part.removeprefix("ResNet: ") for part, verdict in parts.items() if verdict == "contradicted"}

    assert set(found(images).values()) == {"supported"}
    assert fails("pretrain", "low", {"1": 0.6}) == {
        "low alone, 2A above 1",
        "low alone ahead of the others, 2A above 1",
    }
    assert "low alone, 2A above 2B" in fails("pretrain", "low", {"2B": 0.6})
    assert fails("finetune", "mid", {"2A": 0.8}) == {"low alone ahead of the others in 2A"}
    assert "low alone, more by the lowest FLR" in fails("finetune", "low", {"2A": 0.45})
    assert fails("average", "low", {"2A": 0.45}) == {"low alone, more by averaging"}
    assert not fails("finetune", "without low", {"1": 0.2}), "what removing bands costs is reported"
    weak = found(images, replaced(images, labels, "pretrain", "low", {"1": 0.6}))
    assert weak["ConvNet: low alone, 2A above 1"] == "contradicted"


def test_a_floor_is_undetermined(images: xr.DataTree, labels: list[str]) -> None:
    """What networks get on bands alone says nothing where they get nothing."""
    made = images
    for segment in ("pretrain", "average", "finetune"):
        for name in ("low", "mid"):
            made = replaced(made, labels, segment, name, dict.fromkeys(("1", "2A", "2B"), 0.12))
    parts = checked("FL5", {"resnet": made, "convnet": made, **trained_alone(LEVELS)}).parts
    alone = [part for part in parts if " alone" in part.name]
    assert {part.verdict for part in alone} == {"undetermined"}
    assert all("no group of bands alone reaches twice chance in 2A" in part.note for part in alone)


def test_the_bands_that_are_most_useful_decide_not_the_mid_ones(images: xr.DataTree) -> None:
    mid = {**LEVELS, "mid": 0.9}
    found = by_name(checked("FL5", {"resnet": images, "convnet": images, **trained_alone(mid)}))
    assert found["mid is the most useful group"] == "supported"
    assert found["ResNet: mid alone ahead of the others in 2A"] == "contradicted"


@pytest.mark.slow
def test_conventional_training_is_read_from_its_drawn_border(
    images: xr.DataTree, labels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "by_rules", lambda result: tuple("1" for _ in result["lr"]))
    best = {"1": 0.7, "2A": 0.8, "2B": 0.6, "3": 0.5}
    peak = np.array([best[label] for label in labels]) - 0.001 * abs(np.arange(len(labels)) - labels.index("2A"))
    before = by_place(images, "pretrain/test_accuracy", peak)
    after = {"1": 0.8, "2A": 0.9, "2B": 0.7, "3": 0.6}
    made = changed(
        with_levels(images, labels, {"average": after, "finetune": after}), {"pretrain/test_accuracy": before}
    )
    alone = trained_alone(LEVELS)
    assert set(verdicts(checked("FL6", {"practical": made, **alone}))) == {"supported"}
    for segment, name in (("finetune", "fine-tuning"), ("average", "averaging")):
        lost = with_levels(made, labels, {segment: {**after, "1": 0.65}})
        assert by_name(checked("FL6", {"practical": lost, **alone}))[f"{name} helps in 1"] == "contradicted"
    held = with_levels(made, labels, {"average": {**after, "2B": 0.95, "3": 0.95}})
    assert by_name(checked("FL6", {"practical": held, **alone}))["averaging: 2A above 2B"] == "contradicted"
    better = with_levels(made, labels, {"average": {**after, "1": 0.95}})
    assert (
        by_name(checked("FL6", {"practical": better, **alone}))["averaging: best of 2 above best of 1"]
        == "contradicted"
    )


# -- a transformer -----------------------------------------------------------------------------------------------------


def of_splits(planted: xr.DataTree, leads: tuple[float, float, float], low: float = 0.7) -> xr.Dataset:
    """The measurement `vit_splits` with what low bands lead mid ones by, split by split."""
    values = {
        name: level for i, lead in enumerate(leads) for name, level in ((f"low {i}", low), (f"mid {i}", low - lead))
    }
    shape = tuple(planted.sizes[d] for d in ("lr", "data_seed", "seed"))
    noise = 0.001 * np.random.default_rng(2).standard_normal((len(values), *shape))
    levels = np.array([*values.values()])[:, None, None, None] + noise
    return xr.Dataset(
        {"accuracy": (("band", "lr", "data_seed", "seed"), levels)},
        {"band": np.array(list(values), dtype=object), **{d: planted[d] for d in ("lr", "data_seed", "seed")}},
        {"ends": [7, 5, 2], "last": 21},
    )


CONTROLS = trained_alone({"lowest": 0.3, "rest": 0.5})
FALLS = [f"low leads by less with the split after band {end} than after {before}" for before, end in ((7, 5), (5, 2))]
HALF = "lead of low with the lowest split minus half of that with the usual one"


@pytest.mark.slow
def test_a_transformer_is_judged_by_flrs_bands_and_splits(
    images: xr.DataTree, labels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "by_accuracy", lambda result: tuple(labels))
    monkeypatch.setattr("lrscope.studies.feature_learning.claims_vit.by_accuracy", lambda result: tuple(labels))
    convnet = replaced(images, labels, "finetune", "low", {"2A": 0.4})
    convnet = replaced(convnet, labels, "finetune", "without low", {"2A": 0.6})
    splits = of_splits(images, (0.4, 0.3, 0.1))

    def found(
        vit: xr.DataTree = images, practical: xr.DataTree = convnet, splits: xr.Dataset = splits
    ) -> dict[str, str]:
        return by_name(checked("FL7", {"vit": vit, "practical": practical, **CONTROLS}, {"vit_splits": splits}))

    assert set(found().values()) == {"supported"}
    alike = found(practical=images)
    assert alike["low bands, more than ResNet"] != "supported"
    for side in ("vit", "practical"):
        floor = replaced(
            replaced(convnet, labels, "finetune", "low", {"2A": 0.12}), labels, "finetune", "mid", {"2A": 0.1}
        )
        assert found(**{side: floor})["low bands, more than ResNet"] == "undetermined", "a network at its floor"
    tuned = images["finetune/test_accuracy"]
    high = xr.DataArray([0.0, 0.0, 0.05], dims="finetune_lr", coords={"finetune_lr": tuned["finetune_lr"]})
    apart = changed(images, {"finetune/test_accuracy": (tuned + high).transpose(*tuned.dims)})
    assert found(apart)["high minus low FLR in 2A"] == "contradicted"
    rise = by_place(images, "finetune/test_accuracy", 0.1 * np.log10(images["lr"].values)) * (high > 0)
    leaning = changed(images, {"finetune/test_accuracy": (tuned + rise).transpose(*tuned.dims)})
    assert found(leaning)["high FLR: best minus worst PLR of 1 and 2A"] == "contradicted"
    known = [k for k, label in enumerate(labels) if label in ("1", "2A")]
    hump = xr.zeros_like(tuned)
    hump[{"lr": known[1:-1]}] = 0.06
    humped = changed(images, {"finetune/test_accuracy": tuned + hump})
    assert found(humped)["high FLR: best minus worst PLR of 1 and 2A"] == "contradicted", "its slope is small"


def judged_by_splits(images: xr.DataTree, *leads: float) -> dict[str, str]:
    sweeps = {"vit": images, "practical": images, **CONTROLS}
    found = by_name(checked("FL7", sweeps, {"vit_splits": of_splits(images, leads)}))
    return {name: found[name] for name in ("low before mid with the usual split", *FALLS, HALF)}


def test_where_low_and_mid_are_split_has_to_matter(
    images: xr.DataTree, labels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that relies on the lowest bands refutes it; that mid never leads does not."""
    monkeypatch.setattr("lrscope.studies.feature_learning.claims_vit.by_accuracy", lambda result: tuple(labels))
    usual = "low before mid with the usual split"
    assert set(judged_by_splits(images, 0.4, 0.3, 0.1).values()) == {"supported"}, "low leads at every split"
    assert set(judged_by_splits(images, 0.4, 0.1, -0.2).values()) == {"supported"}
    lowest = judged_by_splits(images, 0.4, 0.35, 0.3)
    assert lowest[HALF] == "contradicted", "most of the lead rests on the lowest bands"
    assert lowest[FALLS[0]] == lowest[FALLS[1]] == "supported"
    grown = judged_by_splits(images, 0.4, 0.45, 0.5)
    assert grown[FALLS[0]] == grown[FALLS[1]] == grown[HALF] == "contradicted"
    assert judged_by_splits(images, 0.4, 0.45, 0.1)[FALLS[0]] == "contradicted", "each step counts"
    assert judged_by_splits(images, -0.1, -0.2, -0.3)[usual] == "contradicted"


def test_what_transformers_get_on_either_side_of_the_lowest_split_is_told(
    images: xr.DataTree, labels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrscope.studies.feature_learning.claims_vit.by_accuracy", lambda result: tuple(labels))
    sweeps = {"vit": images, "practical": images, **CONTROLS}
    found = checked("FL7", sweeps, {"vit_splits": of_splits(images, (0.4, 0.3, 0.1))})
    alone = found.numbers["trained_alone"]
    assert [alone[name][0] for name in ("lowest", "rest")] == pytest.approx([0.3, 0.5], abs=0.01)
    assert f"on bands 1 to 2 alone get {100 * alone['lowest'][0]:.1f}% on them" in found.note
    assert f"those on bands 3 to 21 alone {100 * alone['rest'][0]:.1f}%" in found.note
    assert not [part for part in found.parts if "alone" in part.name], "reported, not judged"
    assert list(found.numbers["by_split"]) == ["7", "5", "2"]
    other = checked(
        "FL7",
        {**sweeps, **trained_alone({"lowest": 0.9, "rest": 0.2})},
        {"vit_splits": of_splits(images, (0.4, 0.3, 0.1))},
    )
    assert verdicts(other) == verdicts(found)


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_controls_hold_either_side_of_the_lowest_split_that_is_measured(scale: str) -> None:
    sweeps = {sweep.name: sweep for sweep in STUDY.scales[scale].sweeps}
    side = {"digits": 8, "fashion-mnist": 28, "cifar10": 32}[str(sweeps["vit"].task["data"])]
    ends, last = measurement_functions.splits_of(side, side)
    lowest = "1" if ends[-1] == 1 else f"1-{ends[-1]}"
    assert [sweeps[f"only_{name}"].task["only_bands"] for name in ("lowest", "rest")] == [
        lowest,
        f"{ends[-1] + 1}-{last}",
    ]
    assert len(set(ends)) == len(ends)
    for name in ("only_lowest", "only_rest"):
        task, whole = sweeps[name].task, sweeps["vit"].task
        assert {**task, "features": None, "only_bands": None} == {**whole, "features": None, "only_bands": None}
        assert not sweeps[name].config.finetune_lrs


# -- sharpness ---------------------------------------------------------------------------------------------------------


def test_slopes_within_across_and_over_all() -> None:
    f, p = np.linspace(0, 1, 3)[None, :, None], np.linspace(0, 0.5, 4)[:, None, None]
    sharp, error = f + p + np.zeros((4, 3, 2)), 0.1 * f - 0.2 * p + np.zeros((4, 3, 2))
    assert effects_sharpness.mean_slopes(sharp, error) == pytest.approx([0.1, 0.1])
    assert effects_sharpness.mean_slopes(sharp.swapaxes(0, 1), error.swapaxes(0, 1)) == pytest.approx([-0.2, -0.2])
    expected = np.polyfit(sharp[..., 0].ravel(), error[..., 0].ravel(), 1)[0]
    assert effects_sharpness.overall_slopes(sharp, error) == pytest.approx([expected] * 2)


def test_pairs_are_chosen_by_the_other_seeds() -> None:
    rng = np.random.default_rng(0)
    draws = [effects_sharpness.equal_error(rng.standard_normal((3, 2, 4)), np.zeros((3, 2, 4))) for _ in range(100)]
    luck = np.mean([found.sharpness.mean() for found in draws])
    assert abs(luck) < 0.3, "what is far apart by luck, about 2, is not so in the seed left out"
    plr = np.array([0.0, 0.1, 0.2, 0.5])[:, None, None] + np.zeros((4, 3, 6))
    found = effects_sharpness.equal_error(plr, np.zeros((4, 3, 6)))
    assert found.sharpness == pytest.approx([0.5] * 6)
    assert found.error == pytest.approx([0.0] * 6)
    assert {pair[0][0] for pair in found.pairs if pair} == {3}
    reverse = effects_sharpness.reversed_pairs(plr, -0.1 * plr)
    assert (reverse.error, reverse.sharpness) == (pytest.approx([-0.05] * 6), pytest.approx([0.5] * 6))
    law = effects_sharpness.reversed_pairs(plr, 0.1 * plr)
    assert law.error == pytest.approx([0.02] * 6), "the least against it: 0.2 decades"
    assert effects_sharpness.reversed_pairs(0.1 * plr, plr).pairs == (None,) * 6, (
        "no pair has clearly different sharpness"
    )
    never = effects_sharpness.equal_error(plr, plr)
    assert (never.pairs, bool(np.isnan(never.error).all())) == ((None,) * 6, True), "no pair has equal error"


def sharpness_judged(made: xr.DataTree) -> Finding:
    """FL8 on fine-tunes whose regimes are those of the same sweep."""
    return checked("FL8", {"converged": made, "fine_tuned": made})


def at_equal_loss(made: xr.DataTree) -> dict[str, np.ndarray]:
    return effects_sharpness.at_equal_loss(made, made)


def with_sharpness(planted: xr.DataTree, within: float, across: float, sharper: float = 1.0) -> xr.DataTree:
    """Fine-tunes whose loss falls alike from 10; sharpness grows by a decade over FLRs and by `sharper` decades over PLRs,
    error by so much."""
    loss = planted["finetune/train_loss"]
    fall = xr.DataArray(10.0 * 0.3 ** np.arange(loss.sizes["epoch"]), dims="epoch")
    f, p = (xr.DataArray(np.linspace(0, 1, loss.sizes[d]), dims=d) for d in ("finetune_lr", "lr"))
    noise = xr.DataArray(1e-4 * np.random.default_rng(5).standard_normal(loss.shape), dims=loss.dims)
    return changed(
        planted,
        {
            "finetune/train_loss": (xr.zeros_like(loss) + fall).transpose(*loss.dims),
            "finetune/effective_grad_norm": (xr.zeros_like(loss) + 10 ** (f + sharper * p)).transpose(*loss.dims),
            "finetune/test_accuracy": (1 - (0.4 + within * f + across * p + noise)).transpose(*loss.dims),
        },
    )


@pytest.mark.slow
def test_sharpness_is_held_against_error_within_and_across(long: xr.DataTree) -> None:
    def found(**effects: float) -> dict[str, str]:
        return by_name(sharpness_judged(with_sharpness(long, **effects)))

    broken = found(within=0.1, across=0.0, sharper=3.0)
    assert broken["slope over all fine-tunes"] == broken["slope within a pre-training"] == "supported"
    assert broken["equal error: sharpness apart"] == "supported"
    law = found(within=0.1, across=0.1)
    assert law["slope over all fine-tunes"] == "supported"
    assert law["equal error: sharpness apart"] in ("contradicted", "undetermined"), "one law for all"
    assert law["reverse: the sharper one's test error minus the other's"] == "contradicted"
    turned = found(within=0.1, across=-0.35, sharper=4.0)
    assert turned["reverse: the sharper one's test error minus the other's"] == "supported"
    assert turned["reverse: sharpness apart"] == "supported"
    reverse = found(within=-0.1, across=-0.2)
    assert reverse["slope over all fine-tunes"] == reverse["slope within a pre-training"] == "contradicted"


@pytest.mark.slow
def test_fine_tunes_are_compared_at_a_loss_that_all_reach(long: xr.DataTree) -> None:
    stuck = xr.full_like(long["finetune/train_loss"], 0.005)
    with pytest.raises(Undetermined, match="all fine-tunes start below"):
        sharpness_judged(changed(long, {"finetune/train_loss": stuck}))
    with pytest.raises(Undetermined, match="a training loss of 0"):
        sharpness_judged(changed(long, {"finetune/train_loss": 0 * stuck}))
    made = with_sharpness(long, within=0.1, across=0.0)
    found = at_equal_loss(made)
    two = [k for k, label in enumerate(regimes(made).labels) if label.regime.startswith("2")]
    lowest = made["finetune/train_loss"].isel(lr=two).min("epoch").max()
    assert found["level"] == pytest.approx([1.05 * float(lowest)] * 6)
    assert found["error"].shape == (len(two), 3, long.sizes["seed"] * long.sizes["data_seed"])
    # Regimes, and regime 1's own runs, are those of another sweep, which may have more learning rates.
    part = effects_sharpness.at_equal_loss(made.isel(lr=two), made)
    assert all(np.array_equal(part[key], found[key], equal_nan=True) for key in found)
    assert len(part["one_error"]) == [label.regime for label in regimes(made).labels].count("1")
    with pytest.raises(Undetermined, match="none of the learning rates that are fine-tuned to a low loss"):
        effects_sharpness.at_equal_loss(made.isel(lr=[0, 1]), made)
    # Where the first moment of fine-tuning is below the level already, nobody saw it pass.
    fast = made["finetune/train_loss"].copy(deep=True)
    fast[{"lr": two[0], "finetune_lr": 0}] = float(found["level"][0]) / 2
    early = at_equal_loss(changed(made, {"finetune/train_loss": fast}))
    assert early["early"][0, 0].all()
    assert early["early"].sum() == early["early"][0, 0].size
    assert np.isnan(early["sharpness"][0, 0]).all()
    assert np.isnan(early["error"][0, 0]).all()
    assert np.isfinite(early["sharpness"][1:]).all()
    high = changed(made, {"finetune/train_loss": made["finetune/train_loss"] + 0.02})
    with pytest.raises(Undetermined, match=r"in no draw .* a training loss of 0\.01: the best gets to 0\.021"):
        sharpness_judged(high)
    with pytest.raises(Undetermined, match="2 fine-tuning learning rates, 3 of each are needed"):
        sharpness_judged(made.isel(finetune_lr=[0, 1]))
    with pytest.raises(Undetermined, match="2 learning rates lie in regime 2 and"):
        sharpness_judged(made.isel(lr=[0, 1, 2, 3, *two[:2]]))


def with_floors(made: xr.DataTree, floors: list[float]) -> xr.DataTree:
    """Fine-tunes of each data seed that end at another training loss; their error is linear in its logarithm."""
    floor = xr.DataArray(floors, dims="data_seed", coords={"data_seed": made["data_seed"]})
    loss = made["finetune/train_loss"] + floor
    error = made["finetune/test_accuracy"] - 0.01 * np.log(loss)
    new = {"finetune/train_loss": loss, "finetune/test_accuracy": error}
    return changed(made, {name: values.transpose(*made[name].dims) for name, values in new.items()})


@pytest.mark.slow
def test_each_draw_is_read_at_its_own_loss(long: xr.DataTree) -> None:
    plain = with_sharpness(long, within=0.0, across=0.0)
    made = with_floors(
        changed(plain, {"finetune/test_accuracy": 0.5 + 0 * plain["finetune/test_accuracy"]}), [1e-3, 3e-3, 5e-3]
    )
    found = at_equal_loss(made)
    bottom = 10 * 0.3 ** (made["finetune/train_loss"].sizes["epoch"] - 1)
    assert found["level"] == pytest.approx([1.05 * (bottom + floor) for floor in np.repeat([1e-3, 3e-3, 5e-3], 2)])
    assert found["error"] == pytest.approx(np.broadcast_to(0.5 + 0.01 * np.log(found["level"]), found["error"].shape))
    assert effects_sharpness.near_the_end(np.array([np.nan, 0.0101, 0.01])).tolist() == [False, False, True]
    zero = made["finetune/train_loss"].copy(deep=True)
    zero[{"data_seed": 0}] = 0.0
    without = at_equal_loss(changed(made, {"finetune/train_loss": zero}))
    assert np.isnan(without["level"]).tolist() == [True, True, False, False, False, False]
    assert np.isnan(without["error"][..., :2]).all()
    assert np.isfinite(without["error"][..., 2:]).all()


@pytest.mark.slow
def test_a_draw_that_does_not_get_low_leaves_the_others_to_be_judged(long: xr.DataTree) -> None:
    def found(floors: list[float], **effects: float) -> dict[str, str]:
        return by_name(sharpness_judged(with_floors(with_sharpness(long, **effects), floors)))

    broken = {"within": 0.1, "across": 0.0, "sharper": 3.0}
    low, high = 0.003, 0.03
    partly = found([low, low, high], **broken)
    assert "undetermined" not in partly.values(), "one level for all, 0.03, would have left all undetermined"
    assert partly["slope over all fine-tunes"] == partly["equal error: sharpness apart"] == "supported"
    law = found([low, low, high], within=-0.1, across=-0.2)
    assert law["slope over all fine-tunes"] == law["slope within a pre-training"] == "contradicted"
    few = found([low, high, high], **broken)
    assert set(few.values()) == {"undetermined"}, "two seeds are not enough"
    numbers = sharpness_judged(with_floors(with_sharpness(long, **broken), [low, low, high]))
    assert "2 of 6 draws stay above 0.01" in numbers.note
    assert numbers.numbers["pairs_of_equal_error"][4:] == [None, None]
    assert {part.asked for part in numbers.parts} == {6}


def test_pairs_are_neither_chosen_by_nor_read_in_seeds_without_runs() -> None:
    plr = np.array([0.0, 0.1, 0.2, 0.5])[:, None, None] + np.zeros((4, 3, 6))
    gone = plr.copy()
    gone[..., 2] = np.nan
    found = effects_sharpness.equal_error(gone, np.zeros((4, 3, 6)))
    assert np.array_equal(np.isnan(found.sharpness), np.arange(6) == 2)
    assert np.nanmean(found.sharpness) == pytest.approx(0.5)
    assert found.pairs[2] is None
    gone[..., 1:] = np.nan
    assert effects_sharpness.equal_error(gone, np.zeros((4, 3, 6))).pairs == (None,) * 6, "nobody else chooses"


# -- figures -----------------------------------------------------------------------------------------------------------


def test_figure_17_shows_the_draws_that_are_read(long: xr.DataTree) -> None:
    made = with_sharpness(long, within=0.1, across=0.0)

    def title(floors: list[float]) -> str:
        read = with_floors(made, floors)
        return figure_17({"converged": read, "fine_tuned": read}).title

    assert title([0.001, 0.003, 0.03]) == "each draw at its training loss, 0.0013 to 0.0034"
    assert title([0.03, 0.03, 0.05]) == "each draw at its training loss, 0.032 to 0.053"


def figure_17(sweeps: dict[str, xr.DataTree]) -> Panel:
    return figure_sharpness.sharpness(PlantedResults(sweeps)).panels[0]


def test_figure_17_names_regime_1_only_where_it_is_seen(long: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pre-training does not come down to the level of fine-tunes."""
    monkeypatch.setattr(effects_sharpness, "regimes", fake_map)
    made = with_sharpness(long, within=0.1, across=0.0)
    short = changed(made, {"pretrain/train_loss": made["pretrain/train_loss"] + 1.0})

    def names(whole: xr.DataTree) -> list[str]:
        panel = figure_17({"converged": made, "fine_tuned": whole})
        drawn = [layer for layer in panel.layers if isinstance(layer, ErrorBars | Line)]
        assert all((np.isfinite(layer.x) & np.isfinite(layer.y)).any() for layer in drawn)
        assert any(layer.value is not None for layer in drawn), "the fine-tunes"
        return [layer.name for layer in drawn if layer.name]

    assert set(names(made)) == {"regime 1, pre-training"}
    assert names(short) == []


@pytest.mark.parametrize("number", ["5", "11", "13"])
def test_figures_of_bands_show_what_guessing_gets(
    number: str, images: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "regimes", fake_map)
    figure = next(figure for figure in STUDY.figures if figure.number == number)
    chart = figure.draw(PlantedResults(dict.fromkeys(figure.needs, images)))
    for panel in chart.panels:
        levels = [(layer.y, layer.label) for layer in panel.layers if isinstance(layer, Level)]
        assert levels == [(pytest.approx(0.1), "guessing")], panel.title


def test_three_lines_and_more_are_levelled_medians(images: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLRs half a point apart, draws ten points: the bands of three deviations would be one grey area."""
    monkeypatch.setattr(figures, "regimes", fake_map)
    tuned, before = images["finetune/test_accuracy"], images["pretrain/test_accuracy"]
    draw = xr.DataArray([-0.1, 0.0, 0.1], dims="data_seed", coords={"data_seed": images["data_seed"]})
    flr = xr.DataArray([0.0, 0.005, 0.01], dims="finetune_lr", coords={"finetune_lr": tuned["finetune_lr"]})
    new = {
        "finetune/test_accuracy": (0 * tuned + 0.8 + draw + flr).transpose(*tuned.dims),
        "pretrain/test_accuracy": (0 * before + 0.79 + draw).transpose(*before.dims),
    }
    made = changed(images, new)
    panel = figures.tuned_panel(made, "fine-tuning")
    lines = [layer for layer in panel.layers if isinstance(layer, Line)]
    assert [float(np.ptp(line.y)) for line in lines] == pytest.approx([0.0] * 4, abs=1e-9)
    assert [float(np.mean(line.y)) for line in lines] == pytest.approx([0.8, 0.805, 0.81, 0.79])
    assert all(line.low is None for line in lines)
    assert lines[0].told is not None
    assert lines[0].told[0] == "FLR 1e-4: 0.8, quartiles 0.8 to 0.8", "the draws' own levels are taken off"
    assert "seeds levelled" in panel.y.title
    few = figures.tuned_panel(made.isel(finetune_lr=[0, 2]), "fine-tuning")
    banded = [layer for layer in few.layers if isinstance(layer, Line)]
    assert [float(np.mean(line.high - line.low)) for line in banded] == pytest.approx([0.2] * 3), "two deviations"
    assert "levelled" not in few.y.title
    averages = figures.averaged_panel(images, "averaging")
    assert all(layer.low is None for layer in averages.layers if isinstance(layer, Line))


def test_a_seed_that_overflows_somewhere_is_levelled_where_all_are_known() -> None:
    values = np.array([[[0.5, 0.7], [0.6, 0.8]], [[0.1, np.nan], [0.2, 0.4]]])  # [L, lines, U]
    found, other = figures.levelled(values, np.array([[0.4, 0.6], [0.1, np.nan]]))
    assert found == pytest.approx(np.array([[[0.6, 0.6], [0.7, 0.7]], [[0.2, np.nan], [0.3, 0.3]]]), nan_ok=True)
    assert other == pytest.approx(np.array([[0.5, 0.5], [0.2, np.nan]]), nan_ok=True)
    nowhere = np.array([[[0.5, np.nan]]])
    assert figures.levelled(nowhere)[0] is nowhere


def test_regimes_behind_the_lines_of_conventional_networks_are_the_drawn_ones(
    images: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = ("1", "1", "2A", *("2B",) * 9)
    monkeypatch.setattr(figures, "by_accuracy", lambda result: drawn)
    monkeypatch.setattr(figures, "regimes", fake_map)

    def shown(result: xr.DataTree) -> list[str]:
        panel = figures.tuned_panel(result, "fine-tuning")
        return [layer.label for layer in panel.layers if isinstance(layer, Span)]

    assert shown(changed(images, scale_invariant=0)) == ["1", "2A", "2B"]
    assert shown(images) == ["1", "2A", "2B", "3"]
    conventional = figures.tuned_panel(changed(images, scale_invariant=0), "fine-tuning")
    assert not any(isinstance(layer, Border) for layer in conventional.layers), "a drawn border has no interval"


def test_a_stage_that_is_another_one_is_not_drawn_twice(images: xr.DataTree) -> None:
    sweeps = PlantedResults({"resnet": images, "convnet": images.isel(finetune_lr=[0])})
    titles = [
        [panel.title for panel in figures.features(sweeps, {name: ""}, ("pre", "low", "high")).panels]
        for name in ("resnet", "convnet")
    ]
    assert titles == [
        [figures.STAGES[stage] for stage in stages] for stages in (("pre", "low", "high"), ("pre", "low"))
    ]


def test_many_lines_are_medians_that_tell_their_quartiles() -> None:
    values = np.array([[0.1, 0.2, 0.3, 0.4, 0.9]])
    line = figures.median(np.array([1.0]), values, value=0.1)
    assert (line.y, line.low) == (pytest.approx([0.3]), None)
    assert line.told is not None
    assert list(line.told) == ["FLR 0.1: 0.3, quartiles 0.2 to 0.4"]
    lost = figures.median(np.array([1.0, 2.0]), np.array([[0.3, np.nan], [np.nan, np.nan]]), name="5 checkpoints")
    assert lost.y == pytest.approx([0.3, np.nan], nan_ok=True)
    assert next(iter(lost.told or ())) == "5 checkpoints: 0.3, quartiles 0.3 to 0.3"
