"""Feature sets: named test sets made of the test inputs, measured at the end of every phase, drawn by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import lrscope
from fake_results import fake_result
from lrscope.charts import to_matplotlib, to_plotly
from lrscope.config.settings import MapSettings, load_settings
from lrscope.errors import LrscopeError
from lrscope.mapping import regimes
from lrscope.reporting import figures, phases
from lrscope.results import open_result, save_result
from lrscope.tasks import bands
from lrscope.tasks.data import load
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.features import BandSets, parse_features, with_features, with_only_bands
from lrscope.tasks.streams import generator, stream_seed
from lrscope.validation import validate
from naive import Naive, new_model
from tiny_tasks import (
    ALL_RUNS,
    BASE,
    CLASSES,
    SHORT,
    computed,
    context_of,
    examples,
    mlp_task,
    probed_task,
    same_bytes,
    train,
)
from trees import arrays, changed

PAPER = ("background", "low", "mid", "high")
OPTIONS: dict[str, Any] = {
    "seeds": 2,
    "epochs": 12,
    "batch_size": 32,
    "finetune_lrs": (1e-3,),
    "finetune_epochs": 1,
    "average": (2,),
    "keep_weights": True,
    "jobs": 1,
    "progress": False,
}
LRS = (1e-2, 3e-2)


def digits(features: Any, **options: Any) -> lrscope.Task:
    return lrscope.named_task("digits", "mlp", width=16, train_size=256, test_size=150, features=features, **options)


def images(height: int, width: int, channels: int = 1) -> DataSet:
    """Normalised noise with its normalisation."""
    pixels = torch.rand(6, channels, height, width, generator=generator("tests", "features", height, width))
    mean, std = (0.3, 0.5, 0.2)[:channels], (0.2, 0.4, 0.3)[:channels]
    shape = (1, channels, 1, 1)
    x = (pixels - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    y = torch.arange(6) % 3
    options = {"train_x": x, "train_y": y, "test_x": x, "test_y": y, "classes": 3}
    return DataSet(name="noise", loss="cross_entropy", normalisation=(mean, std), **options)


def banded(pixels: np.ndarray, first: int, last: int) -> np.ndarray:
    """feature_learning, App. A, literally: the inverse DFT of the frequencies with first <= |k| + |l| <= last."""
    spectrum = np.fft.fftshift(np.fft.fft2(pixels), axes=(-2, -1))
    height, width = pixels.shape[-2:]
    for i in range(height):
        for j in range(width):
            if not first <= abs(i - height // 2) + abs(j - width // 2) <= last:
                spectrum[..., i, j] = 0
    return np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(-2, -1))).real


# --- what the sets hold ---


@pytest.mark.parametrize(
    ("height", "width", "channels"), [(8, 8, 1), (14, 14, 1), (28, 28, 1), (32, 32, 3), (7, 11, 1)]
)
def test_bands_are_the_papers_and_sum_to_the_pixels(height: int, width: int, channels: int) -> None:
    data = images(height, width, channels)
    found = with_features(data, "bands")
    assert found.feature_names == PAPER
    assert found.feature_x is not None
    assert found.feature_y is not None
    assert all(torch.equal(y, data.test_y) for y in found.feature_y)
    assert data.normalisation is not None
    m, s = (np.array(v)[:, None, None] for v in data.normalisation)
    pixels = data.test_x.double().numpy() * s + m
    sets = found.feature_x.double().numpy()
    for name, (first, last), x in zip(PAPER, bands.paper_bands(height, width).values(), sets, strict=True):
        expected = banded(pixels, first, last)
        np.testing.assert_allclose(x, (expected - m) / s if name == "background" else expected, atol=2e-6)
    np.testing.assert_allclose(sets[0] * s + m + sets[1:].sum(0), pixels, atol=3e-6)


@pytest.mark.parametrize("options", [{}, {"pool": 2}])
def test_data_sets_tell_their_normalisation(options: dict[str, Any]) -> None:
    data = load("digits", train_size=100, test_size=50, **options)
    assert data.normalisation == ((0.3053,), (0.376,))
    pixels = data.test_x * 0.376 + 0.3053
    assert (pixels.min(), pixels.max()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))
    found = with_features(data, "bands").feature_x
    assert found is not None
    torch.testing.assert_close(found[0] * 0.376 + 0.3053 + found[1:].sum(0), pixels, atol=1e-5, rtol=0)


def test_fashion_mnist_pooled_has_bands() -> None:
    data = with_features(load("fashion-mnist", train_size=10, test_size=20, pool=2), "bands")
    assert data.feature_x is not None
    assert data.feature_x.shape == (4, 20, 1, 14, 14)
    pixels = data.test_x * 0.3530 + 0.2860
    whole = data.feature_x[0] * 0.3530 + 0.2860 + data.feature_x[1:].sum(0)
    torch.testing.assert_close(whole, pixels, atol=1e-5, rtol=0)


def test_own_ranges_masks_and_functions_side_by_side() -> None:
    data = images(8, 8)
    edge = bands.mask(8, 8, 3, 8)
    faint = torch.full((8, 8), 0.5)
    given = {"low": (1, 2), "edges": edge, "faint": faint, "flipped": lambda x: x.flip(-1)}
    made = with_features(data, given)
    assert made.feature_names == tuple(given)
    low, edges, half, flipped = made.feature_x
    pixels = data.test_x * 0.2 + 0.3
    torch.testing.assert_close(low, torch.from_numpy(banded(pixels.double().numpy(), 1, 2)).float(), atol=2e-6, rtol=0)
    torch.testing.assert_close(
        edges, torch.from_numpy(banded(pixels.double().numpy(), 3, 8)).float(), atol=2e-6, rtol=0
    )
    torch.testing.assert_close(half, (pixels / 2 - 0.3) / 0.2)  # it keeps of frequency 0: normalised as in training
    assert torch.equal(flipped, data.test_x.flip(-1))


def test_functions_can_neither_change_the_test_set_nor_the_random_state() -> None:
    data = images(8, 8)
    before, state = data.test_x.clone(), torch.get_rng_state()

    def noisy(x: Tensor) -> Tensor:
        return x.add_(torch.randn_like(x))

    first, again = (with_features(data, {"noisy": noisy}).feature_x for _ in range(2))
    assert torch.equal(data.test_x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first[0], before)


def test_ranges_of_the_command_line() -> None:
    assert parse_features("bands") == BandSets()
    assert parse_features("bands:1-6,7-24") == BandSets({"1-6": (1, 6), "7-24": (7, 24)})
    assert parse_features("bands: low=1-6 , top = 8").ranges == {"low": (1, 6), "top": (8, 8)}
    assert parse_features("bands / removed / scaled:1-6") == BandSets({"1-6": (1, 6)}, scaled=True, removed=True)
    data = images(8, 8)
    by_text, by_dict = with_features(data, "bands:low=0-3"), with_features(data, {"low": (0, 3)})
    assert by_text.feature_names == by_dict.feature_names == ("low",)
    assert torch.equal(by_text.feature_x, by_dict.feature_x)


def test_scaled_bands_keep_their_contrast_and_sum_to_what_the_network_sees() -> None:
    data = images(8, 8, 3)
    plain, scaled = (with_features(data, text).feature_x for text in ("bands", "bands/scaled"))
    s = torch.tensor([0.2, 0.4, 0.3]).view(1, 1, 3, 1, 1)
    torch.testing.assert_close(scaled[1:], plain[1:] / s)
    torch.testing.assert_close(scaled[0], plain[0])
    torch.testing.assert_close(scaled.sum(0), data.test_x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("text", ["bands/removed", "bands/scaled/removed", "bands/removed:low=0-2,top=3-8"])
def test_removed_bands_leave_the_rest_as_it_was(text: str) -> None:
    data = images(8, 8, 3)
    found = with_features(data, text)
    alone = with_features(data, text.replace("/scaled", "").replace("/removed", "/scaled"))
    count = len(alone.feature_names)
    assert found.feature_names[count:] == tuple(f"without {name}" for name in alone.feature_names)
    torch.testing.assert_close(found.feature_x[count:], data.test_x - alone.feature_x, atol=1e-5, rtol=0)


def test_images_of_one_group_of_bands_hold_nothing_else() -> None:
    whole = load("digits", train_size=60, test_size=40)
    for group, (first, last) in {"mid": (3, 6), "2-5": (2, 5)}.items():
        made = with_only_bands(whole, group)
        for before, after in ((whole.train_x, made.train_x), (whole.test_x, made.test_x)):
            pixels = before.double().numpy() * 0.376 + 0.3053
            np.testing.assert_allclose(after.double().numpy(), banded(pixels, first, last) / 0.376, atol=1e-5)
    kept = lrscope.named_task("digits", "mlp", train_size=60, test_size=40, validation=20, only_bands="background")
    data = kept.data(0)
    assert kept.name.endswith("only background bands")
    for x in (data.train_x, data.test_x, data.validation_x):
        assert x.flatten(1).std(1).max() < 1e-5, "every image is of one colour"
    for group, words in {"mids": "'mids' is unknown: write background", "9-24": "goes from 9 to 24"}.items():
        with pytest.raises(LrscopeError, match=words):
            with_only_bands(whole, group)


# --- what is refused ---


def wrong(made: Any) -> Any:
    return {"odd": lambda x: made}


def failing(x: Tensor) -> Tensor:
    raise IndexError("no such row")


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ("band", "features: 'band' is unknown: write bands"),
        ("bands:", "cannot read '' in 'bands:'"),
        ("bands:1-x", "cannot read '1-x'"),
        ("bands:1-2,1-2", "'1-2' comes twice"),
        ("bands:1-9", "'1-9' goes from 1 to 9, but images of 8 x 8 have the bands 0 to 8"),
        ("bands:4-2", "goes from 4 to 2"),
        ("bands:1-4,4-6", "band 4 is in '1-4' and in '4-6'"),
        ({"a": (1, 2), "b": (2, 3)}, "band 2 is in 'a' and in 'b'"),
        ({"a": (1, 2.5)}, "'a' is (1, 2.5): give the first and the last band"),
        ({"a": (1,)}, "'a' is (1,)"),
        ({"a": (-1, 2)}, "'a' goes from -1 to 2"),
        ({}, "there are none"),
        (["bands"], "list is not readable"),
        ({str(i): torch.clone for i in range(65)}, "65 are too many"),
        ({"": torch.clone}, "'' is no name"),
        ({3: torch.clone}, "3 is no name"),
        ({"odd": "left"}, "'odd' is a str: pass a function"),
        ({"odd": failing}, "the function of 'odd' fails (IndexError: no such row)"),
        (wrong([1.0]), "the function of 'odd' returns list"),
        (wrong(torch.zeros(6, 1, 8, 7)), "returns shape (6, 1, 8, 7), the test inputs have (6, 1, 8, 8)"),
        (wrong(torch.zeros(6, 1, 8, 8, dtype=torch.int64)), "returns torch.int64"),
        (wrong(torch.zeros(6, 1, 8, 8, dtype=torch.bool)), "returns torch.bool"),
        (wrong(torch.full((6, 1, 8, 8), torch.nan)), "the function of 'odd' returns NaN or infinity"),
        ({"odd": torch.ones(7, 8)}, "the mask of 'odd' has shape (7, 8), the images (8, 8)"),
        ({"odd": torch.full((8, 8), torch.inf)}, "the mask of 'odd' holds what is no weight"),
        ({"odd": torch.ones(8, 8, dtype=torch.complex64)}, "the mask of 'odd' holds what is no weight"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(features: Any, words: str) -> None:
    with pytest.raises(LrscopeError) as caught:
        with_features(images(8, 8), features)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("features", ["bands", "bands:1-2", {"low": (1, 2)}, {"low": torch.ones(8, 8)}])
def test_bands_need_images(features: Any) -> None:
    words = r"needs images .*, but the inputs of 'ticks' have shape \(32,\)"
    with pytest.raises(LrscopeError, match=words):
        lrscope.named_task("ticks", "mlp", train_size=20, test_size=20, features=features)
    x = torch.randint(5, (6, 4), generator=generator("tests", "texts"))
    texts = replace(images(8, 8), train_x=x, test_x=x, name="texts")
    with pytest.raises(LrscopeError, match="needs images"):
        with_features(texts, features)
    with pytest.raises(LrscopeError, match="returns -1: words are numbered from 0"):
        with_features(texts, {"gone": lambda x: x - x.max() - 1 + x.max()})
    assert torch.equal(with_features(texts, {"first": lambda x: x * 0}).feature_x[0], x * 0)


def test_a_mask_of_ones_at_frequency_0_alone_is_the_background() -> None:
    data = images(8, 8)
    one = torch.zeros(8, 8)
    one[0, 0] = 1
    found = with_features(data, {"one": one, "background": (0, 0)}).feature_x
    assert torch.equal(found[0], found[1])


# --- tasks ---


def own_task(features: Any, **options: Any) -> lrscope.Task:
    train, test = examples(64, (6,)), examples(40, (6,), key="test")
    return lrscope.Task(lambda: nn.Linear(6, CLASSES), train, test, name="own", features=features, **options)


def test_names_and_sets_identify_a_task_and_their_absence_changes_nothing() -> None:
    plain = lrscope.named_task("digits", "mlp", width=8, train_size=256)
    assert plain.fingerprint([0]) == "8df6eeb388ce53f4", "as before there were feature sets: older sweeps stay known"
    prints = [own_task(f).fingerprint([0]) for f in (None, {"a": torch.neg}, {"b": torch.neg}, {"a": torch.abs})]
    assert len(set(prints)) == 4
    assert MapSettings().filled().request().keys().isdisjoint({"features"})
    settings = load_settings(None, {"features": "bands"})
    assert settings.request()["features"] == "bands"
    assert settings.task_options()["features"] == "bands"
    assert "--features bands" in settings.command()


def test_a_config_file_names_bands(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('data = "digits"\nfeatures = "bands:1-2,3-6"\n')
    assert load_settings(tmp_path / "a.toml", {}).features == "bands:1-2,3-6"


def test_feature_sets_need_accuracy_and_the_same_names_for_all_data_seeds() -> None:
    x = torch.randn(20, 3, generator=generator("tests", "regression"))
    with pytest.raises(LrscopeError, match="features: they are measured in accuracy, which a regression has not"):
        lrscope.Task(lambda: nn.Linear(3, 1), (x, x[:, :1]), (x, x[:, :1]), loss="mse", features={"a": torch.neg})

    def data(seed: int) -> DataSet:
        return with_features(images(8, 8), {"ab"[seed]: torch.neg})

    task = lrscope.Task.from_data("odd", lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), data)
    with pytest.raises(LrscopeError, match=r"data seed 1: feature_names: \['b'\], but \['a'\] for data seed 0"):
        task.data(1)
    named = images(8, 8)
    for names in (("a",), ("a", "a"), ("a", "")):
        sets = torch.stack([named.test_x] * 2)
        bad = replace(named, feature_x=sets, feature_y=torch.stack([named.test_y] * 2), feature_names=names)
        with pytest.raises(LrscopeError, match="for 2 feature sets: give each one word of its own"):
            lrscope.Task.from_data("bad", lambda: nn.Linear(8, 3), lambda seed, bad=bad: bad)


def test_own_images_may_tell_their_normalisation() -> None:
    data = images(8, 8)
    pair = (data.test_x, data.test_y)

    def task(**options: Any) -> Tensor:
        make = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3))  # noqa: E731
        found = lrscope.Task(make, pair, pair, features="bands", **options).data(0).feature_x
        assert found is not None
        return found

    torch.testing.assert_close(task(normalisation=data.normalisation), with_features(data, "bands").feature_x)
    torch.testing.assert_close(task().sum(0), data.test_x, atol=1e-5, rtol=0)  # taken as they are


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (0.5, r"0\.5 is not \(mean, std\)"),
        (([0.5], [0.0]), "needs finite means and positive stds"),
        (([float("nan")], [1.0]), "needs finite means and positive stds"),
        (([0.5] * 2, [1.0] * 2), "2 means and 2 stds for 1 channels"),
        (("a", "b"), "holds no numbers"),
    ],
)
def test_a_normalisation_that_makes_no_sense_is_refused(given: Any, words: str) -> None:
    pair = (images(8, 8).test_x, images(8, 8).test_y)
    with pytest.raises(LrscopeError, match=f"normalisation: .*{words}"):
        lrscope.Task(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), pair, pair, normalisation=given)


def test_arrays_are_masks_and_results_too() -> None:
    data = images(8, 8)
    mask = torch.rand(8, 8, generator=generator("tests", "mask")).round()
    found = with_features(data, {"tensor": mask, "array": mask.numpy(), "lists": mask.tolist()}).feature_x
    assert found is not None
    assert all(torch.equal(part, found[0]) for part in found[1:])
    given = {"array": lambda x: x.numpy() * 2, "numbers": (np.int64(1), np.int64(3)), "drawn": noisy}
    first, again = with_features(data, given).feature_x, with_features(data, given).feature_x
    assert first is not None
    assert again is not None
    assert torch.equal(first, again)
    assert torch.equal(first[0], data.test_x * 2)


def noisy(x: Tensor) -> np.ndarray:
    return x.numpy() + np.random.normal(size=x.shape)


# --- sweeps ---


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> lrscope.Trained:
    features = "bands"
    out = tmp_path_factory.mktemp("features") / "out"
    lrscope.sweep(digits(features), LRS, out=out, path="batched", compile=False, **OPTIONS)
    return lrscope.Trained.open(out, digits(features))


@pytest.mark.slow
def test_results_name_their_features(swept: lrscope.Trained, tmp_path: Path) -> None:
    result = swept.result
    assert result["feature"].values.tolist() == list(PAPER)
    assert result["feature"].dtype == object
    assert result["pretrain/feature_accuracy"].dims == ("lr", "data_seed", "seed", "feature")
    again = open_result(save_result(result, tmp_path))
    xr.testing.assert_identical(
        again["finetune/feature_accuracy"].sel(feature="mid"), result["finetune/feature_accuracy"].sel(feature="mid")
    )
    netcdf = tmp_path / "result.nc"
    result.to_netcdf(netcdf)
    with xr.open_datatree(netcdf) as read:
        assert read["feature"].values.tolist() == list(PAPER)
    with pytest.raises(LrscopeError, match="coordinate 'feature' holds a name twice"):
        validate(changed(result, {"feature": ["a", "b", "a", "c"]}))


def by_hand(swept: lrscope.Trained, state: Any, *, seed: int, lr: float) -> list[float]:
    """Accuracies of stored weights on the bands: PyTorch's own modules in float64, NumPy's DFT, loops."""
    task, config = swept.task, swept.config
    model = new_model(task, config, stream_seed("init", 0, seed))
    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in swept.net.views(state.weights).items():
            named[name].copy_(value[0])
    data = lrscope.named_task("digits", "mlp", width=16, train_size=256, test_size=150).data(0)
    mean, std = 0.3053, 0.3760
    pixels = data.test_x.double().numpy() * std + mean
    twin = Naive(task, config, lr=lr, seed=seed)
    found = []
    for first, last in ((0, 0), (1, 2), (3, 6), (7, 8)):
        x = banded(pixels, first, last)
        x = (x - mean) / std if first == 0 else x
        found.append(twin.evaluate(model.train(), torch.from_numpy(x), data.test_y)[1])
    return found


@pytest.mark.slow
def test_feature_accuracies_are_those_of_the_stored_weights_on_the_bands(swept: lrscope.Trained) -> None:
    logged, expected = [], []
    for lr in LRS:
        for seed in (0, 1):
            for moment, node in (({}, "pretrain"), ({"finetune_lr": 1e-3}, "finetune"), ({"n_average": 2}, "average")):
                found = swept.result[f"{node}/feature_accuracy"].sel(lr=lr, seed=seed, data_seed=0, **moment)
                logged.append(found.values)
                expected.append(by_hand(swept, swept.state(lr=lr, seed=seed, **moment), seed=seed, lr=lr))
    np.testing.assert_allclose(logged, expected, atol=1.01 / 150)  # rounding may tip one of 150 examples
    assert (np.ptp(expected, axis=1) > 0.1).mean() > 0.5, "bands differ by far more than rounding in most runs"


@pytest.mark.slow
def test_accuracy_on_features_is_logged_along_training_where_that_is_asked_for(tmp_path: Path) -> None:
    config = replace(BASE, log_features=True, log_points=3, epochs=None, average=(2,))
    plain = computed(probed_task(), replace(config, log_features=False), ALL_RUNS, tmp_path / "plain")
    result = computed(probed_task(), config, ALL_RUNS, tmp_path / "logged")
    logged = result["pretrain/logged_feature_accuracy"]
    assert logged.dims == ("lr", "data_seed", "seed", "epoch", "feature")
    for node in ("pretrain", "finetune"):
        last = result[f"{node}/logged_feature_accuracy"].isel(epoch=-1).drop_vars(("epoch", "step"))
        xr.testing.assert_equal(last, result[f"{node}/feature_accuracy"])
    assert (logged.isel(epoch=0) != logged.isel(epoch=-1)).any()
    assert {n for n in arrays(result) if n not in arrays(plain)} == {
        "pretrain/logged_feature_accuracy",
        "finetune/logged_feature_accuracy",
    }
    others = result.map_over_datasets(lambda node: node.drop_vars("logged_feature_accuracy", errors="ignore"))
    assert same_bytes(others, plain) == [], "the rest of the sweep does not change"
    shorter = computed(
        probed_task(), replace(config, steps=logged["step"].values.tolist()[0]), ALL_RUNS, tmp_path / "s"
    )
    xr.testing.assert_equal(shorter["pretrain/feature_accuracy"], logged.isel(epoch=0).drop_vars(("epoch", "step")))


@pytest.mark.slow
def test_a_result_with_logged_features_must_hold_them() -> None:
    result = train(probed_task(), replace(SHORT, log_features=True))
    validate(result)
    lacking = result.map_over_datasets(lambda node: node.drop_vars("logged_feature_accuracy", errors="ignore"))
    with pytest.raises(LrscopeError, match="logged_feature_accuracy' is missing"):
        validate(lacking)


def test_logging_features_that_are_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LrscopeError, match=r"log_features: mlp batch has no feature sets .* leave it out"):
        context_of(mlp_task(), replace(BASE, log_features=True), tmp_path)


@pytest.mark.slow
def test_a_users_features_are_measured(tmp_path: Path) -> None:
    """What a network of one input cannot see changes nothing, what it sees turns its answers round."""
    train, test = examples(64, (6,)), examples(40, (6,), key="test")
    features = {"same": torch.clone, "turned": torch.neg, "nothing": torch.zeros_like}
    task = lrscope.Task(lambda: nn.Linear(6, CLASSES), train, test, name="own", features=features)
    options = {"seeds": 1, "steps": 30, "batch_size": 16, "space": "whole", "jobs": 1, "progress": False}
    result = lrscope.sweep(task, (0.1, 1.0), out=tmp_path / "out", **options)
    found = result["pretrain/feature_accuracy"].sel(data_seed=0, seed=0)
    np.testing.assert_array_equal(
        found.sel(feature="same"), result["pretrain/test_accuracy"].sel(data_seed=0, seed=0)[:, -1]
    )
    assert (found.sel(feature="turned") < found.sel(feature="same")).all()
    shares = torch.bincount(test[1], minlength=CLASSES) / len(test[1])
    assert np.isin(found.sel(feature="nothing").values.round(6), shares.double().numpy().round(6)).all()


# --- reports ---


def named_result(count: int) -> xr.DataTree:
    result = fake_result(lrs=8, seeds=2, epochs=3)
    return changed(result.isel(feature=slice(count)), {"feature": [f"part {k}" for k in range(count)]})


def test_a_few_named_features_are_lines_by_name_and_many_stay_ranks() -> None:
    few, many = named_result(4), named_result(9)
    panels = phases.features(few)
    assert panels is not None
    assert panels[0].names == ("part 0", "part 1", "part 2", "part 3")
    np.testing.assert_allclose(
        panels[0].ranks.values,
        few["pretrain/feature_accuracy"].transpose("feature", "lr", "data_seed", "seed").values.reshape(4, 8, -1),
    )
    assert [p.names for p in phases.features(many)] == [()] * len(panels)
    assert phases.features(fake_result(lrs=4, seeds=1, epochs=3))[0].names == ()


def drawing(result: xr.DataTree) -> figures.Drawing:
    return next(d for d in figures.drawings(result, regimes(result)) if d.name == "features")


@pytest.mark.slow
def test_the_report_shows_the_names_of_features(tmp_path: Path) -> None:
    result = named_result(4)
    found = drawing(result)
    made = to_plotly(found.chart)
    json.dumps(made, allow_nan=False)
    listed = [t["name"] for t in made["data"] if t.get("showlegend")]
    assert listed == ["part 0", "part 1", "part 2", "part 3", "usual test accuracy"]
    assert "coloraxis" not in made["wide"]
    line = next(t for t in made["data"] if t["name"] == "part 2")
    np.testing.assert_allclose(
        line["y"], result["pretrain/feature_accuracy"][..., 2].mean(("data_seed", "seed")), rtol=1e-4
    )
    figure = to_matplotlib(found.chart)
    assert [t.get_text() for legend in figure.legends for t in legend.get_texts()] == listed
    drawn = figure.legends[0].get_lines()
    shown = [ln.get_color() for ln in figure.axes[0].get_lines()[-5:]]
    assert [ln.get_color() for ln in drawn] == shown
    assert "a line for each of part 0, part 1" in found.alt
    ranks = drawing(named_result(9))
    assert "coloraxis" in to_plotly(ranks.chart)["wide"]
    assert "sorted within each run" in ranks.alt
    page = lrscope.report(result, tmp_path / "report.html")
    assert "part 3" in Path(page).read_text()
