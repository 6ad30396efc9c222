"""FL5 to FL8 of feature_learning: readings of frequency bands, transformers and sharpness, with planted effects.

P pre-training rates, F fine-tuning rates, U seeds.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_map, fake_result, regime_of
from lrscope.charts import Border, Span
from lrscope.mapping import regimes
from lrscope.studies.feature_learning import effects_bands, effects_sharpness, figures, folds
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


def of_splits(planted: xr.DataTree, values: dict[str, float]) -> xr.Dataset:
    """The measurement `vit_splits` with one accuracy for each set."""
    shape = tuple(planted.sizes[d] for d in ("lr", "data_seed", "seed"))
    noise = 0.001 * np.random.default_rng(2).standard_normal((len(values), *shape))
    levels = np.array([*values.values()])[:, None, None, None] + noise
    return xr.Dataset(
        {"accuracy": (("band", "lr", "data_seed", "seed"), levels)},
        {"band": np.array(list(values), dtype=object), **{d: planted[d] for d in ("lr", "data_seed", "seed")}},
        {"ends": [7, 2], "last": 21},
    )


@pytest.mark.slow
def test_a_transformer_is_judged_by_flrs_bands_and_splits(
    images: xr.DataTree, labels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "by_accuracy", lambda result: tuple(labels))
    monkeypatch.setattr("lrscope.studies.feature_learning.claims_vit.by_accuracy", lambda result: tuple(labels))
    convnet = replaced(images, labels, "finetune", "low", {"2A": 0.4})
    convnet = replaced(convnet, labels, "finetune", "without low", {"2A": 0.6})
    splits = of_splits(images, {"low 0": 0.6, "mid 0": 0.4, "low 1": 0.3, "mid 1": 0.5})

    def found(
        vit: xr.DataTree = images, practical: xr.DataTree = convnet, splits: xr.Dataset = splits
    ) -> dict[str, str]:
        return by_name(checked("FL7", {"vit": vit, "practical": practical}, {"vit_splits": splits}))

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
    never = of_splits(images, {"low 0": 0.6, "mid 0": 0.4, "low 1": 0.5, "mid 1": 0.45})
    assert found(splits=never)["mid before low with the lowest split"] == "contradicted", "though mid gained"
    always = of_splits(images, {"low 0": 0.3, "mid 0": 0.4, "low 1": 0.3, "mid 1": 0.5})
    assert found(splits=always)["low before mid with the usual split"] == "contradicted"


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
        return by_name(checked("FL8", {"converged": with_sharpness(long, **effects)}))

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
        checked("FL8", {"converged": changed(long, {"finetune/train_loss": stuck})})
    with pytest.raises(Undetermined, match="a training loss of 0"):
        checked("FL8", {"converged": changed(long, {"finetune/train_loss": 0 * stuck})})
    made = with_sharpness(long, within=0.1, across=0.0)
    found = effects_sharpness.at_equal_loss(made)
    two = [k for k, label in enumerate(regimes(made).labels) if label.regime.startswith("2")]
    lowest = made["finetune/train_loss"].isel(lr=two).min("epoch").max()
    assert found["level"] == pytest.approx([1.05 * float(lowest)] * 6)
    assert found["error"].shape == (len(two), 3, long.sizes["seed"] * long.sizes["data_seed"])
    # Where the first moment of fine-tuning is below the level already, nobody saw it pass.
    fast = made["finetune/train_loss"].copy(deep=True)
    fast[{"lr": two[0], "finetune_lr": 0}] = float(found["level"][0]) / 2
    early = effects_sharpness.at_equal_loss(changed(made, {"finetune/train_loss": fast}))
    assert early["early"][0, 0].all()
    assert early["early"].sum() == early["early"][0, 0].size
    assert np.isnan(early["sharpness"][0, 0]).all()
    assert np.isnan(early["error"][0, 0]).all()
    assert np.isfinite(early["sharpness"][1:]).all()
    high = changed(made, {"finetune/train_loss": made["finetune/train_loss"] + 0.02})
    with pytest.raises(Undetermined, match=r"in no draw .* a training loss of 0\.01: the best gets to 0\.021"):
        checked("FL8", {"converged": high})
    with pytest.raises(Undetermined, match="2 fine-tuning learning rates, 3 of each are needed"):
        checked("FL8", {"converged": made.isel(finetune_lr=[0, 1])})
    with pytest.raises(Undetermined, match="2 learning rates lie in regime 2 and"):
        checked("FL8", {"converged": made.isel(lr=[0, 1, 2, 3, *two[:2]])})


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
    found = effects_sharpness.at_equal_loss(made)
    bottom = 10 * 0.3 ** (made["finetune/train_loss"].sizes["epoch"] - 1)
    assert found["level"] == pytest.approx([1.05 * (bottom + floor) for floor in np.repeat([1e-3, 3e-3, 5e-3], 2)])
    assert found["error"] == pytest.approx(np.broadcast_to(0.5 + 0.01 * np.log(found["level"]), found["error"].shape))
    assert effects_sharpness.near_the_end(np.array([np.nan, 0.0101, 0.01])).tolist() == [False, False, True]
    zero = made["finetune/train_loss"].copy(deep=True)
    zero[{"data_seed": 0}] = 0.0
    without = effects_sharpness.at_equal_loss(changed(made, {"finetune/train_loss": zero}))
    assert np.isnan(without["level"]).tolist() == [True, True, False, False, False, False]
    assert np.isnan(without["error"][..., :2]).all()
    assert np.isfinite(without["error"][..., 2:]).all()


@pytest.mark.slow
def test_a_draw_that_does_not_get_low_leaves_the_others_to_be_judged(long: xr.DataTree) -> None:
    def found(floors: list[float], **effects: float) -> dict[str, str]:
        return by_name(checked("FL8", {"converged": with_floors(with_sharpness(long, **effects), floors)}))

    broken = {"within": 0.1, "across": 0.0, "sharper": 3.0}
    low, high = 0.003, 0.03
    partly = found([low, low, high], **broken)
    assert "undetermined" not in partly.values(), "one level for all, 0.03, would have left all undetermined"
    assert partly["slope over all fine-tunes"] == partly["equal error: sharpness apart"] == "supported"
    law = found([low, low, high], within=-0.1, across=-0.2)
    assert law["slope over all fine-tunes"] == law["slope within a pre-training"] == "contradicted"
    few = found([low, high, high], **broken)
    assert set(few.values()) == {"undetermined"}, "two seeds are not enough"
    numbers = checked("FL8", {"converged": with_floors(with_sharpness(long, **broken), [low, low, high])})
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
        return figures.sharpness(PlantedResults({"converged": with_floors(made, floors)})).panels[0].title

    assert title([0.001, 0.003, 0.03]) == "each draw at its training loss, 0.0013 to 0.0034"
    assert title([0.03, 0.03, 0.05]) == "each draw at its training loss, 0.032 to 0.053"


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
    line = figures.median(np.array([1.0]), values, "FLR 0.1", value=0.1)
    assert (line.y, line.low) == (pytest.approx([0.3]), None)
    assert line.told is not None
    assert list(line.told) == ["FLR 0.1: 0.3, quartiles 0.2 to 0.4"]
