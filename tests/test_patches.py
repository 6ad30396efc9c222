"""Patch data: which images are patched and how, the test sets, the reference without patches, options and the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lrscope
from lrscope.charts import to_matplotlib
from lrscope.config import TaskConfig
from lrscope.config.settings import MapSettings, load_settings
from lrscope.errors import LrscopeError
from lrscope.studies.patch_images import patch_chart
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.features import with_features
from lrscope.tasks.patch_options import Patches, parse_patches
from lrscope.tasks.patches import GROUPS, Patterns, side, with_patches
from lrscope.tasks.streams import generator

N, C, H, W, K = 1000, 3, 12, 10, 4
PATCHES = Patches(size=4)
TOP, LEFT = 4, 3  # of a patch of 4 in the middle of 12 x 10


def images(count: int = N, height: int = H, width: int = W) -> DataSet:
    """Noise with a normalisation."""
    rng = generator("tests", "patches")
    x, test_x = torch.randn(count, C, height, width, generator=rng), torch.randn(300, C, height, width, generator=rng)
    y, test_y = torch.arange(count) % K, torch.arange(300) % K
    return DataSet(
        name="noise",
        train_x=x,
        train_y=y,
        test_x=test_x,
        test_y=test_y,
        classes=K,
        loss="cross_entropy",
        normalisation=((0.5,) * C, (0.25,) * C),
        validation_x=test_x[:10],
        validation_y=test_y[:10],
    )


def centre(x: torch.Tensor) -> torch.Tensor:
    return x[:, :, TOP : TOP + 4, LEFT : LEFT + 4]


def around(x: torch.Tensor) -> torch.Tensor:
    found = x.clone()
    centre(found).zero_()
    return found


def coefficients(x: torch.Tensor, y: torch.Tensor, patterns: Patterns) -> torch.Tensor:
    """What each patch [N, C, S, S] has of its class's pattern; fails where it is not z and a multiple of that alone."""
    left, v = centre(x) - patterns.z, patterns.v[y]
    found = (left * v).sum((1, 2, 3)) / v.square().sum((1, 2, 3))
    torch.testing.assert_close(left, found.view(-1, 1, 1, 1) * v, atol=1e-5, rtol=0)
    return found


def test_the_groups_have_the_papers_sizes_and_images() -> None:
    """learning_order, Sec. 6: 20% without a patch, 64% with both, 16% with a patch alone."""
    data = images()
    made = with_patches(data, PATCHES, 3)
    groups = made.train_groups
    assert made.train_group_names == GROUPS == ("image only", "image and patch", "patch only")
    assert torch.bincount(groups).tolist() == [200, 640, 160]
    only, both, patch = (groups == g for g in range(3))
    patterns = Patterns.drawn(PATCHES, C, 4, K, 3)
    assert torch.equal(made.train_x[only], data.train_x[only])
    assert torch.equal(around(made.train_x[both]), around(data.train_x[both]))
    assert not around(made.train_x[patch]).any()
    signs = coefficients(made.train_x[both], data.train_y[both], patterns)
    torch.testing.assert_close(signs.abs(), torch.ones(640), atol=1e-3, rtol=0)
    assert abs(signs.mean()) < 5 / 640**0.5
    factors = coefficients(made.train_x[patch], data.train_y[patch], patterns)
    assert factors.abs().max() < 1.75
    assert factors.abs().max() > 1.6, "uniform up to 1.75"
    assert factors.abs().mean() == pytest.approx(1.75 / 2, abs=5 * 1.75 / 12**0.5 / 160**0.5)
    assert abs((factors > 0).double().mean() - 0.5) < 5 * 0.5 / 160**0.5
    for label in range(K):
        assert abs((groups[data.train_y == label] > 0).double().mean() - 0.8) < 5 * 0.4 / 250**0.5
    assert torch.equal(made.train_y, data.train_y)
    for name in ("test_x", "test_y", "validation_x"):
        assert torch.equal(getattr(made, name), getattr(data, name)), name


def test_patterns_have_their_distributions() -> None:
    many = Patterns.drawn(Patches(), 3, 60, 5, 0)
    assert many.z.std() == pytest.approx(1.25, rel=0.05)
    assert abs(many.z.mean()) < 0.07
    assert many.v.shape == (5, 3, 60, 60)
    assert many.v.abs().max() <= 0.1
    assert many.v.std() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    assert abs(np.corrcoef(many.v[0].flatten(), many.v[1].flatten())[0, 1]) < 0.05


def test_test_sets_are_mixed_and_patches_alone_under_the_test_labels() -> None:
    data = images()
    made = with_patches(data, PATCHES, 3)
    assert made.feature_names == ("mixed", "patch only")
    assert made.feature_x is not None
    assert made.feature_y is not None
    mixed, alone = made.feature_x
    assert all(torch.equal(y, data.test_y) for y in made.feature_y)
    patterns = Patterns.drawn(PATCHES, C, 4, K, 3)
    assert not around(alone).any()
    assert coefficients(alone, data.test_y, patterns).abs().max() < 1.75
    zero = ~around(mixed).flatten(1).any(1)
    same = (mixed == data.test_x).flatten(1).all(1)
    assert [int(zero.sum()), int(same.sum())] == [48, 60]
    both = ~zero & ~same
    assert torch.equal(around(mixed[both]), around(data.test_x[both]))
    signs = coefficients(mixed[both], data.test_y[both], patterns).abs()
    torch.testing.assert_close(signs, torch.ones(192), atol=1e-3, rtol=0)


def test_a_data_seed_fixes_everything() -> None:
    data = images()
    first, again, other = (with_patches(data, PATCHES, seed) for seed in (1, 1, 2))
    for name in ("train_x", "train_groups", "feature_x"):
        assert torch.equal(getattr(first, name), getattr(again, name)), name
        assert not torch.equal(getattr(first, name), getattr(other, name)), name


def test_training_on_the_unpatched_images_is_on_exactly_those() -> None:
    data = images()
    whole, reference = with_patches(data, PATCHES), with_patches(data, replace(PATCHES, train="unpatched"))
    kept = whole.train_groups == 0
    assert torch.equal(reference.train_x, data.train_x[kept])
    assert torch.equal(reference.train_y, data.train_y[kept])
    assert torch.equal(reference.feature_x, whole.feature_x)
    assert reference.train_group_names == GROUPS
    assert not reference.train_groups.any()


def test_training_on_what_is_shown_is_on_images_without_patches() -> None:
    """All but those that a patch alone replaces, as they are without patches."""
    data = images()
    whole, reference = with_patches(data, PATCHES), with_patches(data, replace(PATCHES, train="shown"))
    kept = whole.train_groups != 2
    assert torch.equal(reference.train_x, data.train_x[kept])
    assert torch.equal(reference.train_y, data.train_y[kept])
    assert torch.equal(reference.feature_x, whole.feature_x)
    assert not reference.train_groups.any()
    assert len(reference.train_x) == round(replace(PATCHES, train="shown").kept * len(data.train_x))


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 7), (28, 28, 6), (14, 14, 3), (8, 8, 2), (12, 40, 3)])
def test_the_side_is_the_papers_share_of_the_image(height: int, width: int, size: int) -> None:
    assert side(images(8, height, width), Patches()) == size


def test_feature_sets_that_there_are_stay() -> None:
    made = with_patches(with_features(images(), {"flipped": lambda x: x.flip(-1)}), PATCHES)
    assert made.feature_names == ("flipped", "mixed", "patch only")
    assert torch.equal(made.feature_x[0], made.test_x.flip(-1))


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "patches"),
    [
        ("0.8", Patches()),
        (0.5, Patches(fraction=0.5)),
        ("only=0.1", Patches(only=0.1)),
        ("0.5, only = 0.1, size=3,train=unpatched", Patches(fraction=0.5, only=0.1, size=3, train="unpatched")),
    ],
)
def test_texts_are_read_and_written(text: Any, patches: Patches) -> None:
    assert parse_patches(text) == patches
    assert parse_patches(str(patches)) == patches


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("0", "patches: fraction: 0 is outside (0, 1]"),
        ("much", "patches: fraction: 'much' is not a number"),
        ("0.8,only", "patches: cannot read 'only'"),
        ("0.8,width=3", "patches: 'width' is no option of patches"),
        ("0.8,only=0.2,only=0.3", "says only twice"),
        ("0.8,fraction=0.3", "says fraction twice"),
        ("0.8,size=0", "patches: size: 0 is too small"),
        ("0.8,train=patched", "patches: train: 'patched' is unknown: choose one of all, unpatched, shown"),
        ("1,train=unpatched", "patches: fraction 1 leaves no unpatched image"),
        ("1,only=1,train=shown", "patches: only=1 of fraction 1 leaves no image"),
        (["0.8"], "says nothing of patches: write the fraction"),
    ],
)
def test_what_makes_no_sense_is_refused(value: Any, words: str) -> None:
    with pytest.raises(LrscopeError) as caught:
        parse_patches(value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_that_cannot_be_patched_is_refused() -> None:
    data = images(20)
    with pytest.raises(LrscopeError, match=r"patches: size 11 is more than the 10 pixels"):
        with_patches(data, "0.8,size=11")
    with pytest.raises(LrscopeError, match=r"in groups already \(a, b\)"):
        with_patches(replace(data, train_groups=torch.zeros(20).long(), train_group_names=("a", "b")), "0.8")
    with pytest.raises(LrscopeError, match="are no class numbers"):
        with_patches(replace(data, train_y=torch.zeros(20, K)), "0.8")
    with pytest.raises(LrscopeError, match="patches: the feature sets of 'noise' have no names"):
        with_patches(replace(data, feature_x=data.test_x[None], feature_y=data.test_y[None]), "0.8")
    with pytest.raises(LrscopeError, match=r"patches: they need images .*'ticks' have shape \(32,\)"):
        lrscope.named_task("ticks", "mlp", train_size=20, test_size=20, patches="0.8")


def test_a_task_takes_patches_by_name_from_every_side(tmp_path: Path) -> None:
    sizes = {"data": "digits", "train_size": 100, "test_size": 50}
    task = lrscope.named_task("digits", "mlp", train_size=100, test_size=50, patches="0.8,only=0.2")
    assert task.name == "digits / mlp patches 0.8"
    assert task.summary()["example_groups"] == {"image only": 20, "image and patch": 64, "patch only": 16}
    toml = tmp_path / "map.toml"
    toml.write_text('data = "digits"\npatches = 0.8\n')
    for settings in (load_settings(toml, {}), MapSettings(**sizes, patches="0.8").filled()):
        assert settings.task_options()["patches"] == "0.8"
        assert "--patches 0.8" in settings.command()
    with pytest.raises(LrscopeError, match="patches: cannot read 'many'"):
        TaskConfig(patches="0.8,many")
    one, two = (task.data(seed) for seed in (0, 1))
    assert not torch.equal(one.train_groups, two.train_groups)
    again = lrscope.named_task("digits", "mlp", train_size=100, test_size=50, patches=Patches())
    assert again.fingerprint([0]) == task.fingerprint([0])


def test_the_picture_shows_each_group_as_it_is() -> None:
    data = with_patches(images(), PATCHES)
    chart = patch_chart(data, columns=K)
    assert [panel.title for panel in chart.panels] == [f"class {c}" if c else g for g in GROUPS for c in range(K)]
    first = chart.panels[2 * K].layers[0].values
    index = int((data.train_groups == 2).nonzero()[:, 0][(data.train_y[data.train_groups == 2] == 0).nonzero()[0]])
    expected = (data.train_x[index].double() * 0.25 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(first, expected)
    assert to_matplotlib(chart).axes
    assert len(patch_chart(with_patches(images(), replace(PATCHES, train="unpatched"))).panels) == 5
    with pytest.raises(LrscopeError, match="'noise' has no patches: pass what"):
        patch_chart(images())
