"""FL5, FL6 and FL8 of feature_learning: readings of frequency bands and of sharpness, with planted effects.

P pre-training rates, F fine-tuning rates, U seeds.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_map, fake_result, regime_of
from lrscope.mapping import regimes
from lrscope.studies.feature_learning import effects_bands, effects_sharpness, folds
from lrscope.studies.types import Finding
from lrscope.studies.verdicts import Undetermined
from planted_results import (
    LEVELS,
    PlantedResults,
    by_name,
    by_place,
    checked,
    on_bands,
    planted_result,
    replaced,
    trained_alone,
    verdicts,
    with_floors,
    with_levels,
    with_sharpness,
)
from trees import changed


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
    return on_bands(planted, labels)


# -- bands -------------------------------------------------------------------------------------------------------------


def test_the_most_useful_bands_are_those_on_which_networks_get_most_alone(planted: xr.DataTree) -> None:
    found = effects_bands.useful(PlantedResults(trained_alone(LEVELS)))
    assert found.best == "low"
    assert {name: values.mean() for name, values in found.accuracy.items()} == pytest.approx(LEVELS, abs=0.01)
    assert found.lead == pytest.approx([0.2] * 3, abs=0.02), "against the next one, by data seed"
    with pytest.raises(Undetermined, match=r"no group of bands alone can be learned: the best gets 0\.1"):
        effects_bands.useful(PlantedResults(trained_alone(dict.fromkeys(LEVELS, 0.15))))


def test_the_lead_of_the_most_useful_bands_is_no_luck() -> None:
    """Chosen by the other draws; equally useful groups lead by 0.56 in the draws that choose them."""
    rng = np.random.default_rng(0)
    draws = [dict(zip("ab", rng.standard_normal((2, 4)), strict=True)) for _ in range(400)]
    leads = [effects_bands.Useful(accuracy, "a").lead.mean() for accuracy in draws]
    assert abs(np.mean(leads)) < 0.2
    turns = {"a": np.array([0.9, 0.5, 0.5]), "b": np.array([0.6, 0.6, 0.6])}
    assert effects_bands.Useful(turns, "a").lead == pytest.approx([-0.3, -0.1, -0.1]), "one draw makes the mean of a"
    assert np.isnan(effects_bands.Useful({"a": np.array([0.9]), "b": np.array([0.6])}, "a").lead).tolist() == [True]


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
    assert all("no group of bands alone reaches twice chance in any of 1, 2A, 2B" in part.note for part in alone)


@pytest.mark.parametrize("elsewhere", ["1", "2B"])
def test_networks_that_use_no_bands_in_2a_alone_refute(images: xr.DataTree, labels: list[str], elsewhere: str) -> None:
    """They are at a floor in 2A, while those of another regime are not."""
    made = images
    for segment in ("pretrain", "average", "finetune"):
        for name in ("low", "mid"):
            low = {label: 0.4 if (name, label) == ("low", elsewhere) else 0.12 for label in ("1", "2A", "2B")}
            made = replaced(made, labels, segment, name, low)
    found = by_name(checked("FL5", {"resnet": made, "convnet": made, **trained_alone(LEVELS)}))
    assert found[f"ResNet: low alone, 2A above {elsewhere}"] == "contradicted"
    assert "undetermined" not in found.values()


def test_of_regime_1_its_upper_half_tells_a_floor(images: xr.DataTree, labels: list[str]) -> None:
    made = images
    for name in ("low", "mid"):
        made = replaced(made, labels, "pretrain", name, dict.fromkeys(("1", "2A", "2B"), 0.12))
    one = [k for k, label in enumerate(labels) if label == "1"]
    array = made["pretrain/feature_accuracy"]

    def undetermined(places: list[int]) -> bool:
        known = array.copy(deep=True)
        known.loc[{"feature": "low", "lr": made["lr"].values[places]}] = 0.4
        parts = {"resnet": changed(made, {"pretrain/feature_accuracy": known}), "convnet": images}
        return by_name(checked("FL5", {**parts, **trained_alone(LEVELS)}))["ResNet: low alone, 2A above 1"] == (
            "undetermined"
        )

    assert undetermined(one[: len(one) // 2])
    assert not undetermined(one[len(one) // 2 :])


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
    found = checked("FL6", {"practical": made, **alone})
    assert set(verdicts(found)) == {"supported"}
    # The rate on the border belongs to 2 by convention alone: 2B is the best of the rest.
    moved = {name: ends[0] for name, ends in found.numbers["border_above"].items()}
    assert moved == pytest.approx({"fine-tuning": -0.2, "averaging": -0.2}, abs=0.01)
    assert "the sign depends on where the border is drawn (fine-tuning, averaging)." in found.note
    for segment, name in (("finetune", "fine-tuning"), ("average", "averaging")):
        lost = with_levels(made, labels, {segment: {**after, "1": 0.65}})
        assert by_name(checked("FL6", {"practical": lost, **alone}))[f"{name} helps in 1"] == "contradicted"
    held = with_levels(made, labels, {"average": {**after, "2B": 0.95, "3": 0.95}})
    found = checked("FL6", {"practical": held, **alone})
    assert by_name(found)["averaging: 2A above 2B"] == "contradicted"
    assert found.numbers["border_above"]["averaging"][0] == pytest.approx(0.05, abs=0.01)
    assert "the sign depends on where the border is drawn (fine-tuning)." in found.note
    stays = checked("FL6", {"practical": with_levels(held, labels, {"finetune": {**after, "2B": 0.95}}), **alone})
    assert "the sign stays." in stays.note
    floor = replaced(replaced(made, labels, "finetune", "low", {"2A": 0.12}), labels, "finetune", "mid", {"2A": 0.12})
    assert by_name(checked("FL6", {"practical": floor, **alone}))["low alone, 2A above 1"] == "contradicted"
    better = with_levels(made, labels, {"average": {**after, "1": 0.95}})
    assert (
        by_name(checked("FL6", {"practical": better, **alone}))["averaging: best of 2 above best of 1"]
        == "contradicted"
    )


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
    judged = sharpness_judged(changed(made, {"finetune/train_loss": fast}))
    rates = [f"{lr:.4g}" for lr in made["lr"].values[two]]
    counts = {rate: len(found["level"]) if rate == rates[0] else 0 for rate in rates}
    assert judged.numbers["passed_before_the_first_log"] == counts
    runs = 3 * len(found["level"])
    assert f"moment, of {runs} runs at each PLR: {', '.join(f'{r} {n}' for r, n in counts.items())}." in judged.note
    high = changed(made, {"finetune/train_loss": made["finetune/train_loss"] + 0.02})
    with pytest.raises(Undetermined, match=r"in no draw .* a training loss of 0\.01: the best gets to 0\.021"):
        sharpness_judged(high)
    with pytest.raises(Undetermined, match="2 fine-tuning learning rates, 3 of each are needed"):
        sharpness_judged(made.isel(finetune_lr=[0, 1]))
    with pytest.raises(Undetermined, match="2 learning rates lie in regime 2 and"):
        sharpness_judged(made.isel(lr=[0, 1, 2, 3, *two[:2]]))


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
