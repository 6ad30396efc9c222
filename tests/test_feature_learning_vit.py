"""FL7 of feature_learning: a transformer, its fine-tunes and the bands that it relies on, with planted effects.

Draws of the data, one seed each.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_map, fake_result, regime_of
from lrscope.studies.feature_learning import STUDY, effects_bands, folds, measurement_functions
from lrscope.studies.types import Finding
from planted_results import by_name, by_place, checked, on_bands, replaced, trained_alone
from trees import changed


@pytest.fixture(scope="module")
def planted() -> xr.DataTree:
    return fake_result(lrs=12, seeds=1, data_seeds=3, epochs=8)


@pytest.fixture
def labels(planted: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The planted regimes, whatever the curves say."""
    monkeypatch.setattr(folds, "regimes", fake_map)
    return [regime_of(float(lr)) for lr in planted["lr"].values]


@pytest.fixture
def images(planted: xr.DataTree, labels: list[str]) -> xr.DataTree:
    """Networks that rely on low bands in 2A."""
    return on_bands(planted, labels)


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


CONTROLS = trained_alone({"lowest": 0.9, "rest": 0.7})  # the transformer gets 0.7 and 0.6 there
SHARE = "share of the lowest bands minus that of the others"
MORE, IN_1 = "low bands, more than ResNet", "high minus low FLR in 1"
FALLS = [f"low leads by less with the split after band {end} than after {before}" for before, end in ((7, 5), (5, 2))]
HALF = "lead of low with the lowest split minus half of that with the usual one"


@pytest.fixture
def transformer(images: xr.DataTree, labels: list[str], monkeypatch: pytest.MonkeyPatch) -> xr.DataTree:
    """The high FLR is better in regime 1 and as good elsewhere."""
    monkeypatch.setattr("lrscope.studies.feature_learning.claims_vit.by_accuracy", lambda result: tuple(labels))
    return with_high_flr(images, labels, 0.03)


def with_high_flr(images: xr.DataTree, labels: list[str], better: float) -> xr.DataTree:
    """The lower FLRs are worse by so much in regime 1."""
    tuned = images["finetune/test_accuracy"].copy(deep=True)
    tuned[{"lr": [k for k, label in enumerate(labels) if label == "1"], "finetune_lr": [0, 1]}] -= better
    return changed(images, {"finetune/test_accuracy": tuned})


def with_bands(made: xr.DataTree, labels: list[str], low: float, mid: float, where: tuple[str, ...]) -> xr.DataTree:
    """What networks get on low and on mid bands alone after fine-tuning from some regimes."""
    for name, level in (("low", low), ("mid", mid)):
        made = replaced(made, labels, "finetune", name, dict.fromkeys(where, level))
    return made


def judged(vit: xr.DataTree, resnet: xr.DataTree, splits: xr.Dataset, **controls: xr.DataTree) -> Finding:
    return checked("FL7", {"vit": vit, "practical": resnet, **CONTROLS, **controls}, {"vit_splits": splits})


@pytest.mark.slow
def test_a_transformer_is_judged_by_flrs_bands_and_splits(
    images: xr.DataTree, transformer: xr.DataTree, labels: list[str]
) -> None:
    convnet = with_bands(images, labels, 0.4, 0.3, ("2A",))
    splits = of_splits(images, (0.4, 0.3, 0.1))

    def found(vit: xr.DataTree = transformer, resnet: xr.DataTree = convnet) -> dict[str, str]:
        return by_name(judged(vit, resnet, splits))

    assert set(found().values()) == {"supported"}
    assert found(resnet=images)[MORE] != "supported"
    tuned = transformer["finetune/test_accuracy"]
    assert found(images)[IN_1] != "supported", "both FLRs agree there"
    assert found(with_high_flr(images, labels, -0.03))[IN_1] == "contradicted"
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


def test_parts_of_low_bands_are_compared_between_a_floor_and_a_ceiling(
    images: xr.DataTree, transformer: xr.DataTree, labels: list[str]
) -> None:
    splits = of_splits(images, (0.4, 0.3, 0.1))

    def found(resnet: xr.DataTree, vit: xr.DataTree = transformer) -> Finding:
        return judged(vit, resnet, splits)

    def of_resnet(low: float, mid: float) -> xr.DataTree:
        return with_bands(images, labels, low, mid, ("2A",))

    assert by_name(found(of_resnet(0.7, 0.2)))[MORE] == "contradicted", "0.75 against 0.86"
    full = found(of_resnet(0.7, 0.15))
    assert by_name(full)[MORE] == "undetermined"
    (note,) = {part.note for part in full.parts if part.name == MORE}
    assert note == "low bands are 0.92 of the ResNet's part already: more could hardly show"
    assert {name: ends[0] for name, ends in full.numbers["low_parts"].items()} == pytest.approx(
        {"vit": 0.75, "resnet": 0.92}, abs=0.01
    )
    assert "low makes 0.75 of the transformer's and 0.92 of the ResNet's." in full.note
    floor = {"low": 0.12, "mid": 0.1, "where": ("2A",)}
    for low in (found(with_bands(images, labels, **floor)), found(images, with_bands(transformer, labels, **floor))):
        (part,) = (part for part in low.parts if part.name == MORE)
        assert part.verdict == "undetermined", "a ratio of floors, whatever networks of regime 1 get"
        assert "neither low nor mid bands alone reach twice chance in 2A" in part.note


def test_a_transformer_of_2a_at_a_floor_is_read_if_others_are_not(
    images: xr.DataTree, transformer: xr.DataTree, labels: list[str]
) -> None:
    splits, of_bands = of_splits(images, (-0.4, -0.5, -0.6), low=0.1), ("low before mid with the usual split", SHARE)
    alone = with_bands(transformer, labels, 0.12, 0.12, ("2A",))
    found = by_name(judged(alone, images, splits))
    assert found[of_bands[0]] == "contradicted", "networks of regime 1 get 0.4 on low bands"
    nowhere = by_name(judged(with_bands(alone, labels, 0.12, 0.12, ("1", "2B")), images, splits))
    assert {nowhere[name] for name in of_bands} == {"undetermined"}


def judged_by_splits(images: xr.DataTree, *leads: float) -> dict[str, str]:
    found = by_name(judged(images, images, of_splits(images, leads)))
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


def test_the_lowest_bands_are_ignored_where_a_smaller_share_of_them_is_used(
    images: xr.DataTree, transformer: xr.DataTree, labels: list[str]
) -> None:
    splits = of_splits(images, (0.4, 0.3, 0.1))

    def found(**levels: float) -> Finding:
        return judged(transformer, images, splits, **trained_alone(levels))

    plain = judged(transformer, images, splits)
    (share,) = (part for part in plain.parts if part.name == SHARE)
    assert share.verdict == "supported"
    two_a = [k for k, label in enumerate(labels) if label == "2A"]
    got = {
        name: splits["accuracy"].sel(band=band).isel(lr=two_a).mean(("lr", "seed")).values
        for name, band in (("lowest", "low 2"), ("rest", "mid 2"))
    }
    shares = {name: (got[name] - 0.1) / (effects_bands.trained_on(CONTROLS[f"only_{name}"]) - 0.1) for name in got}
    assert share.per_seed == pytest.approx(shares["lowest"] - shares["rest"]), "draw by draw"
    assert {name: ends[0] for name, ends in plain.numbers["shares"].items()} == pytest.approx(
        {name: values.mean() for name, values in shares.items()}
    )
    assert f"the transformer gets {shares['lowest'].mean():.2f} and {shares['rest'].mean():.2f}." in plain.note
    assert f"on bands 1 to 2 alone get {100 * plain.numbers['trained_alone']['lowest'][0]:.1f}% on them" in plain.note
    assert f"those on bands 3 to 21 alone {100 * plain.numbers['trained_alone']['rest'][0]:.1f}%" in plain.note
    assert by_name(found(lowest=0.75, rest=0.9))[SHARE] == "contradicted", "0.92 and 0.63"
    others = {name: verdict for name, verdict in by_name(plain).items() if name != SHARE}
    for levels in ({"lowest": 0.15, "rest": 0.7}, {"lowest": 0.9, "rest": 0.15}):
        floor = found(**levels)
        (share,) = (part for part in floor.parts if part.name == SHARE)
        assert share.verdict == "undetermined"
        assert share.note == "networks trained on these bands alone get less than twice chance (0.15)"
        assert {name: verdict for name, verdict in by_name(floor).items() if name != SHARE} == others
        assert "of that above chance" not in floor.note.lower()
    assert list(plain.numbers["by_split"]) == ["7", "5", "2"]


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
