"""Data sets: what `load` promises, for every row of the table; no network, tiny files in the true formats."""

from __future__ import annotations

import gzip
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

import data_files
from lrscope.errors import LrscopeError
from lrscope.tasks import streams
from lrscope.tasks.data import DataSet, describe, digits, fetch, idx, load, names, spec
from lrscope.tasks.data.cifar import Cifar
from lrscope.tasks.data.subsets import redraw_labels
from system_deps import require_system

FILE_SETS = ("mnist", "fashion-mnist", "cifar10", "cifar100", "svhn")  # those that `fetch` downloads
NUMBERS = tuple(name for name in names() if not spec(name).is_text)  # texts: test_text.py


@dataclass(frozen=True)
class Copy:
    """A tiny copy of a data set that lies in files."""

    name: str
    root: Path
    made: data_files.Pictures
    folder: Path  # where its files go
    files: dict[str, bytes]  # file name -> content
    online: dict[str, bytes]  # what a server would have

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (self.folder / name).write_bytes(content)


@pytest.fixture
def copy_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Copy]:
    """Makes tiny copies, not yet written; torchvision expects their MD5 sums, and there is no Debian package."""
    from torchvision import datasets

    root = tmp_path / "data"
    monkeypatch.setenv("LRSCOPE_DATA", str(root))
    monkeypatch.setattr(idx, "SYSTEM", tmp_path / "system")

    def make(name: str) -> Copy:
        row = spec(name)
        made = data_files.pictures(row.shape, row.classes)
        family = row.family
        if isinstance(family, idx.Idx):
            data_class = getattr(datasets, family.torchvision)
            files = data_files.idx_files(made)
            online = {f"{file}.gz": gzip.compress(content) for file, content in files.items()}
            sums = [(file, data_files.md5(content)) for file, content in online.items()]
            monkeypatch.setattr(data_class, "resources", sums)
            return Copy(name, root, made, root / family.torchvision / "raw", files, online)
        if isinstance(family, Cifar):
            data_class = getattr(datasets, family.torchvision)
            files = data_files.cifar_files(made, fine=name == "cifar100")
            packed = data_files.archive(family.folder, files)
            data_files.expect_cifar(monkeypatch, data_class, files, packed)
            return Copy(name, root, made, root / family.folder, files, {data_class.filename: packed})
        files = data_files.svhn_files(made)
        data_files.expect_svhn(monkeypatch, datasets.SVHN, files)
        return Copy(name, root, made, root, files, files)

    return make


def normalised(pixels: data_files.Bytes, name: str) -> Tensor:
    """The literal twin: float64, from the table's constants."""
    mean, std = (np.array(constant)[:, None, None] for constant in (spec(name).mean, spec(name).std))
    return torch.from_numpy((pixels / 255 - mean) / std)


def arrays(data: DataSet) -> list[Tensor]:
    found = (data.train_x, data.train_y, data.test_x, data.test_y, data.feature_x, data.feature_y, data.clean_train_y)
    return [array for array in found if array is not None]


def same(a: DataSet, b: DataSet) -> bool:
    return all(torch.equal(x, y) for x, y in zip(arrays(a), arrays(b), strict=True))


def rows(x: Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in x}


def pairs(x: Tensor, y: Tensor) -> set[tuple[bytes, int]]:
    return {(row.numpy().tobytes(), int(label)) for row, label in zip(x, y, strict=True)}


# Every data set


@pytest.mark.parametrize("name", NUMBERS)
def test_what_every_data_set_promises(name: str, copy_of: Callable[[str], Copy]) -> None:
    if name in FILE_SETS:
        copy_of(name).write()
    row = spec(name)
    before = torch.get_rng_state()
    data = load(name, data_seed=3, train_size=30, test_size=10, label_noise=0.5)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(data, load(name, data_seed=3, train_size=30, test_size=10, label_noise=0.5))
    assert not torch.equal(data.train_x, load(name, data_seed=4, train_size=30, test_size=10).train_x)
    assert data.name == name
    assert data.classes == row.classes
    for x, y, size in ((data.train_x, data.train_y, 30), (data.test_x, data.test_y, 10)):
        assert x.shape == (size, *row.shape)
        assert y.shape == (size,)
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert x.is_contiguous()
        assert y.min() >= 0
        assert y.max() < row.classes
    assert data.clean_train_y is not None
    clean = load(name, data_seed=3, train_size=30, test_size=10)
    assert clean.clean_train_y is None
    assert torch.equal(clean.train_x, data.train_x)
    assert torch.equal(clean.train_y, data.clean_train_y)
    assert torch.equal(clean.test_y, data.test_y)  # test labels stay clean


@pytest.mark.parametrize("name", NUMBERS)
def test_listing_says_what_is_there(name: str, copy_of: Callable[[str], Copy]) -> None:
    def row() -> object:
        return next(row for row in describe() if row.name == name).available

    if name in FILE_SETS:
        assert row() is False
        copy = copy_of(name)
        copy.write()
        assert row() is True
        next(copy.folder / file for file in copy.files).unlink()
    assert row() is (name not in FILE_SETS)
    assert [line.name for line in describe()] == list(names())


@pytest.mark.slow
def test_import_and_listing_leave_torchvision_and_sklearn_alone() -> None:
    code = (
        "import sys; from lrscope.tasks import data; data.describe(); data.load('ticks', train_size=2); "
        "print([m for m in ('torchvision', 'sklearn', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_table_knows_torchvisions_files(name: str) -> None:
    from torchvision import datasets

    family = spec(name).family
    assert isinstance(family, Cifar)
    data_class = getattr(datasets, family.torchvision)
    listed = [file for file, _ in (*data_class.train_list, *data_class.test_list)]
    assert sorted(family.files) == sorted([*listed, data_class.meta["filename"]])
    assert family.folder == data_class.base_folder


# Files in their true formats


@pytest.mark.parametrize("name", FILE_SETS)
def test_pixels_and_labels_are_those_of_the_files(name: str, copy_of: Callable[[str], Copy]) -> None:
    copy = copy_of(name)
    copy.write()
    data = load(name)
    for x, y, split in ((data.train_x, data.train_y, "train"), (data.test_x, data.test_y, "test")):
        pixels, labels = copy.made[split]
        torch.testing.assert_close(x.double(), normalised(pixels, name), rtol=1e-5, atol=1e-5)
        assert y.tolist() == labels.tolist()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_gzipped_files_are_read_as_plain_ones(name: str, copy_of: Callable[[str], Copy]) -> None:
    copy = copy_of(name)
    data_files.write_idx(copy.folder, copy.made, gz=True)
    zipped = load(name)
    for file in copy.folder.iterdir():
        file.unlink()
    copy.write()
    assert same(zipped, load(name))


def test_debians_fashion_mnist_comes_before_a_download(copy_of: Callable[[str], Copy]) -> None:
    copy = copy_of("fashion-mnist")
    other = data_files.pictures((1, 28, 28), 10, train=15, test=5)
    data_files.write_idx(idx.SYSTEM / "fashion-mnist", other, gz=True)
    copy.write()
    assert len(load("fashion-mnist").train_y) == 15
    assert fetch("fashion-mnist") == f"fashion-mnist is in {idx.SYSTEM / 'fashion-mnist'}"
    (idx.SYSTEM / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert len(load("fashion-mnist").train_y) == 40  # an incomplete package is passed over


@pytest.mark.slow
def test_debians_own_fashion_mnist() -> None:
    require_system("/usr/share/datasets/fashion-mnist", "dataset-fashion-mnist")
    data = load("fashion-mnist")
    assert data.train_x.shape == (60_000, 1, 28, 28)
    assert data.test_x.shape == (10_000, 1, 28, 28)
    assert torch.bincount(data.train_y).tolist() == [6000] * 10
    assert torch.bincount(data.test_y).tolist() == [1000] * 10
    assert abs(data.train_x.mean()) < 3e-4  # the constants are the data's own, to 4 places
    assert abs(data.train_x.std() - 1) < 3e-4
    assert data.train_y[:5].tolist() == [9, 0, 0, 3, 0]  # as published: an ankle boot, then tops and a dress


def test_digits_are_normalised_and_split() -> None:
    first, second = load("digits", data_seed=1), load("digits", data_seed=2)
    assert (len(first.train_y), len(first.test_y)) == (1024, 773)
    everything = torch.cat((first.train_x, first.test_x))
    images, labels = load_digits(return_X_y=True)
    known = {image.astype(int).tobytes(): label for image, label in zip(images, labels, strict=True)}
    pixels = ((everything.double() * 0.3760 + 0.3053) * 16).round().long()
    assert [known[image.numpy().tobytes()] for image in pixels] == [*first.train_y, *first.test_y]
    assert abs(everything.mean()) < 3e-4
    assert abs(everything.std() - 1) < 3e-4
    assert rows(first.train_x).isdisjoint(rows(first.test_x))  # all 1,797 images differ
    assert len(rows(everything)) == 1797
    assert rows(everything) == rows(torch.cat((second.train_x, second.test_x)))
    few = load("digits", data_seed=1, train_size=100, test_size=200)
    more = load("digits", data_seed=1, train_size=1500, test_size=200)
    assert rows(few.train_x) < rows(more.train_x)
    assert torch.equal(few.test_x, more.test_x)


# Drawing


@pytest.mark.parametrize("name", FILE_SETS)
def test_a_subset_is_unique_and_nested_and_the_test_set_fixed(name: str, copy_of: Callable[[str], Copy]) -> None:
    copy_of(name).write()
    whole = load(name)
    small, large = (load(name, data_seed=5, train_size=size, test_size=9) for size in (11, 23))
    assert len(rows(small.train_x)) == 11
    assert rows(small.train_x) < rows(large.train_x) < rows(whole.train_x)
    assert same(load(name, data_seed=5, train_size=40), whole)
    other = load(name, data_seed=6, train_size=11, test_size=9)
    assert rows(other.train_x) != rows(small.train_x)
    assert torch.equal(other.test_x, small.test_x)
    assert len(rows(small.test_x)) == 9
    assert pairs(small.train_x, small.train_y) < pairs(whole.train_x, whole.train_y)
    assert pairs(small.test_x, small.test_y) < pairs(whole.test_x, whole.test_y)


def test_drawn_subsets_cover_the_split_evenly(copy_of: Callable[[str], Copy]) -> None:
    copy_of("mnist").write()
    place = {row.numpy().tobytes(): i for i, row in enumerate(load("mnist").train_x)}
    drawn = [place[row] for seed in range(200) for row in rows(load("mnist", data_seed=seed, train_size=10).train_x)]
    counts = np.bincount(drawn, minlength=40)  # binomial(200, 1/4): mean 50, deviation 6.1
    assert counts.sum() == 2000
    assert abs(counts - 50).max() < 5 * 6.1


@pytest.mark.parametrize("share", [0.0, 0.2, 1 / 3, 0.9])
@pytest.mark.parametrize("count", [1, 7, 1000])
def test_label_noise_redraws_a_fixed_number_of_labels(share: float, count: int) -> None:
    labels = torch.arange(count) % 10
    impossible = labels + 10  # so that every redrawn label shows
    noisy = redraw_labels(impossible, share, 10, streams.generator("test", 0))
    assert int((noisy < 10).sum()) == round(share * count)
    assert torch.equal(noisy[noisy >= 10], impossible[noisy >= 10])
    assert torch.equal(impossible, labels + 10)


def test_label_noise_is_uniform_over_the_classes() -> None:
    noisy = redraw_labels(torch.full((40_000,), 3), 0.5, 10, streams.generator("test", 1))
    counts = torch.bincount(noisy, minlength=10) - 20_000 * (torch.arange(10) == 3)
    assert counts.sum() == 20_000
    assert (counts - 2000).abs().max() < 5 * math.sqrt(20_000 * 0.09)


def test_label_noise_is_drawn_by_the_data_seed(copy_of: Callable[[str], Copy]) -> None:
    copy_of("mnist").write()
    first, second = (load("mnist", data_seed=seed, label_noise=0.5) for seed in (0, 1))
    assert torch.equal(first.train_x, second.train_x)  # the whole split
    assert not torch.equal(first.train_y, second.train_y)


@pytest.mark.parametrize(("name", "pool"), [("digits", 2), ("digits", 8), ("mnist", 2), ("svhn", 4)])
def test_pooling_is_the_mean_of_squares(name: str, pool: int, copy_of: Callable[[str], Copy]) -> None:
    if name in FILE_SETS:
        copy_of(name).write()
    plain, pooled = load(name), load(name, pool=pool)
    for x, small in ((plain.train_x, pooled.train_x), (plain.test_x, pooled.test_x)):
        n, c, h, w = x.shape
        expected = x.double().view(n, c, h // pool, pool, w // pool, pool).mean((3, 5))
        torch.testing.assert_close(small.double(), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(plain.train_y, pooled.train_y)


def test_streams_are_named_and_63_bits() -> None:
    seeds = {streams.stream_seed(*parts) for parts in (("order", 0, 1), ("order", 1, 0), ("order", 0), ("noise", 0, 1))}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
    # Pinned, as a change would renew every result: printf lrscope/order/0/1 | sha256sum | head -c 16
    assert streams.stream_seed("order", 0, 1) == 0x5835B89F5014C72B >> 1
    assert torch.equal(
        torch.rand(3, generator=streams.generator("a", 1)), torch.rand(3, generator=streams.generator("a", 1))
    )
    with pytest.raises(ValueError, match="holds '/'"):
        streams.stream_seed("a/b")


# Ticks: geometry, for the numbers as stored


def split_ticks(x: Tensor) -> tuple[Tensor, Tensor]:
    """Two float64 arrays [..., F]: height over the upper and over the lower tick."""
    points = x.double().reshape(*x.shape[:-1], 16, 2)
    over = points[..., 1] - points[..., 0].abs()
    return over, over + 2


def labelled(x: Tensor) -> Tensor:
    """[..., F] bool: above the upper or below the lower tick."""
    upper, lower = split_ticks(x)
    return (upper > 0) | (lower < 0)


@pytest.fixture(scope="module")
def ticks() -> DataSet:
    return load("ticks", data_seed=0)


def test_ticks_have_the_papers_sizes(ticks: DataSet) -> None:
    assert ticks.train_x.shape == (512, 32)
    assert ticks.test_x.shape == (2000, 32)
    assert ticks.feature_x is not None
    assert ticks.feature_y is not None
    assert ticks.feature_x.shape == (16, 1000, 32)
    assert ticks.feature_y.shape == (16, 1000)
    assert (ticks.feature_x.dtype, ticks.feature_y.dtype) == (torch.float32, torch.int64)
    assert (ticks.classes, ticks.loss) == (2, "binary_cross_entropy")


def test_every_tick_alone_tells_the_label(ticks: DataSet) -> None:
    for x, y in ((ticks.train_x, ticks.train_y), (ticks.test_x, ticks.test_y)):
        assert torch.equal(labelled(x), y.bool()[:, None].expand(-1, 16))


def test_the_margin_is_empty_and_the_square_is_kept(ticks: DataSet) -> None:
    x = torch.cat((ticks.train_x, ticks.test_x))
    margin = 0.1 * math.sqrt(2)
    for height in split_ticks(x):
        nearest = float(height.abs().min())
        assert margin < nearest < margin + 1e-3  # 40,000 features: the nearest comes close
    assert x.abs().max() <= 2


def test_present_features_are_uniform_over_their_region() -> None:
    data = load("ticks", train_size=4000, test_size=1)
    margin = 0.1 * math.sqrt(2)
    # Exact areas: below and above each tick, with the margin cut off.
    pieces = {"between": 4 * (2 - 2 * margin), "above": (2 - margin) ** 2, "below": (2 - margin) ** 2}
    upper, lower = split_ticks(data.train_x)
    found = {"between": int(((upper < 0) & (lower > 0)).sum()), "above": int((upper > 0).sum())}
    found["below"] = upper.numel() - sum(found.values())
    ones = int(data.train_y.sum()) * 16
    assert found["between"] == upper.numel() - ones
    share = pieces["above"] / (pieces["above"] + pieces["below"])
    assert abs(found["above"] - share * ones) < 5 * math.sqrt(ones / 4)
    # Between the ticks, x and the height over the lower one are independent and uniform; above, |x| thins out.
    points = data.train_x.double().reshape(-1, 16, 2)
    inside = points[data.train_y == 0]
    x, height = inside[..., 0].flatten(), (inside[..., 1] - inside[..., 0].abs() + 2).flatten()
    assert uniformity(x, -2, 2) < 1.95  # Kolmogorov's 99.9% point
    assert uniformity(height, margin, 2 - margin) < 1.95
    assert abs(float(torch.corrcoef(torch.stack((x, height)))[0, 1])) < 5 / math.sqrt(len(x))
    outside = points[data.train_y == 1].flatten(0, 1)
    high = outside[outside[:, 1] > outside[:, 0].abs()]
    reach = 2 - margin  # area within |x| <= t: t (2 reach - t); over the whole: uniform
    t = high[:, 0].abs()
    assert uniformity(t * (2 * reach - t), 0, reach**2) < 1.95


def uniformity(values: Tensor, low: float, high: float) -> float:
    """Kolmogorov-Smirnov distance from uniform, times sqrt(n)."""
    ordered = (values.sort().values - low) / (high - low)
    n = len(ordered)
    steps = torch.arange(n, dtype=torch.float64) / n
    return float(torch.maximum(ordered - steps, steps + 1 / n - ordered).max()) * math.sqrt(n)


def test_probe_sets_have_one_feature_and_the_others_on_the_ticks(ticks: DataSet) -> None:
    assert ticks.feature_x is not None
    assert ticks.feature_y is not None
    upper, lower = split_ticks(ticks.feature_x)
    x = ticks.feature_x.double()[..., ::2]
    margin = 0.1 * math.sqrt(2)
    for feature in range(16):
        others = [k for k in range(16) if k != feature]
        assert torch.equal(labelled(ticks.feature_x[feature])[:, feature], ticks.feature_y[feature].bool())
        assert torch.minimum(upper[feature, :, feature].abs(), lower[feature, :, feature].abs()).min() > margin
        on_upper, on_lower = upper[feature][:, others] == 0, lower[feature][:, others] == 0
        assert torch.all(on_upper ^ on_lower)
        assert abs(int(on_upper.sum()) - 7500) < 5 * math.sqrt(15_000 / 4)
        assert uniformity(x[feature][:, others].flatten(), -2, 2) < 1.95
        assert abs(int(ticks.feature_y[feature].sum()) - 500) < 5 * math.sqrt(1000 / 4)
    assert ticks.feature_x.abs().max() <= 2


def test_tick_labels_are_balanced_and_seeds_differ() -> None:
    data = [load("ticks", data_seed=seed) for seed in range(5)]
    ones = sum(int(d.train_y.sum() + d.test_y.sum()) for d in data)
    total = 5 * 2512
    assert abs(ones - total / 2) < 5 * math.sqrt(total / 4)
    assert len({x.numpy().tobytes() for d in data for x in (d.train_x, d.test_x, d.feature_x) if x is not None}) == 15
    assert rows(data[0].train_x).isdisjoint(rows(data[0].test_x))
    smaller = load("ticks", data_seed=0, train_size=7)
    assert torch.equal(smaller.test_x, data[0].test_x)  # a stream for each part
    even = load("ticks", train_size=50, test_size=50)
    assert rows(even.train_x).isdisjoint(rows(even.test_x))
    assert not torch.equal(even.train_y, even.test_y)


# What can go wrong


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "minst"}, r"data set 'minst' is not known; did you mean 'mnist'"),
        ({"name": "xyzzy"}, r"'xyzzy' is not known; choose one of ag-news, cifar10, cifar100, digits"),
        (
            {"train_size": 1797},
            r"train_size: 1797 does not fit data set 'digits': choose a whole number from 1 to 1,796",
        ),
        ({"train_size": 0}, r"train_size: 0 does not fit"),
        ({"train_size": 10.5}, r"train_size: 10.5 is not a whole number"),
        ({"train_size": 1700, "test_size": 98}, r"test_size: 98 does not fit .* from 1 to 97, all that 'digits' has"),
        ({"name": "ticks", "train_size": -1}, r"train_size: -1 .* 'ticks': choose a whole number from 1 to 1,000,000"),
        ({"name": "ticks", "test_size": 0}, r"test_size: 0 .* 'ticks': choose a whole number from 1"),
        ({"label_noise": 1.0}, r"label_noise: 1 is outside \[0, 1\): use a number from 0 and below 1"),
        ({"label_noise": -0.1}, r"label_noise: -0.1 "),
        ({"label_noise": math.nan}, r"label_noise: nan "),
        ({"pool": 3}, r"pool=3 does not divide the side of 8 pixels of data set 'digits'; choose one of 1, 2, 4, 8$"),
        ({"pool": 0}, r"pool=0 does not divide"),
        ({"name": "ticks", "pool": 2}, r"pool=2 needs images, and data set 'ticks' has none; leave pool at 1"),
    ],
)
def test_wrong_requests_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        load(**{"name": "digits", **given})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FILE_SETS)
def test_sizes_beyond_a_split_are_refused(name: str, copy_of: Callable[[str], Copy]) -> None:
    copy_of(name).write()
    with pytest.raises(LrscopeError, match=r"train_size: 41 .* from 1 to 40, all that"):
        load(name, train_size=41)
    with pytest.raises(LrscopeError, match=r"test_size: 21 .* from 1 to 20, all that"):
        load(name, test_size=21)


@pytest.mark.parametrize("name", FILE_SETS)
def test_missing_files_are_said_with_the_command(
    name: str, copy_of: Callable[[str], Copy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LrscopeError) as caught:
        load(name)
    assert f"data set '{name}' is not in {tmp_path / 'data'}" in str(caught.value)
    assert f"run `lrscope data fetch {name}`" in str(caught.value)
    assert ("`sudo apt-get install dataset-fashion-mnist`" in str(caught.value)) is (name == "fashion-mnist")
    # Another folder than the default: the command says so, quoted.
    with pytest.raises(LrscopeError, match=f"LRSCOPE_DATA='{tmp_path}/my data' lrscope data fetch {name}`"):
        load(name, root=tmp_path / "my data")
    # Part of the files is not enough.
    copy = copy_of(name)
    copy.write()
    (copy.folder / list(copy.files)[-1]).unlink()
    with pytest.raises(LrscopeError, match="is not in"):
        load(name)


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lrscope.tasks.data.files import default_root

    monkeypatch.setenv("HOME", str(tmp_path))
    for unset in ("LRSCOPE_DATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(unset, "")
    assert default_root() == tmp_path / ".cache" / "lrscope" / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_root() == tmp_path / "cache" / "lrscope" / "data"
    monkeypatch.setenv("LRSCOPE_DATA", "~/mine")
    assert default_root() == tmp_path / "mine"


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("file", "change", "why"),
    [
        (TRAIN_IMAGES, lambda raw: b"<!DOCTYPE html>", "its first bytes are 3c 21 44 4f, not those of an IDX file"),
        (TRAIN_IMAGES, lambda raw: b"", "its first bytes are missing"),
        (TRAIN_IMAGES, lambda raw: raw[:9], "it ends within its header"),
        (TRAIN_IMAGES, lambda raw: raw[:-1], "it holds 31359 values where its header says 31360"),
        (TRAIN_IMAGES, lambda raw: raw + b"0", "it holds 31361 values where its header says 31360"),
        (TRAIN_IMAGES, lambda raw: data_files.idx(np.zeros((40, 8, 8), np.uint8)), "its images have 8 x 8 pixels"),
        (TRAIN_LABELS, lambda raw: data_files.idx(np.zeros(39, np.uint8)), "it holds 39 labels for 40 images"),
        (TRAIN_LABELS, lambda raw: data_files.idx(np.zeros(0, np.uint8)), "it holds 0 values where its header says 0"),
        (TRAIN_LABELS, lambda raw: data_files.idx(np.full(40, 77, np.uint8)), "it holds label 77 of 10 classes"),
    ],
)
@pytest.mark.parametrize("gz", [False, True])
def test_damaged_idx_files_are_named(
    file: str, change: Callable[[bytes], bytes], why: str, gz: bool, copy_of: Callable[[str], Copy]
) -> None:
    copy = copy_of("mnist")
    data_files.write_idx(copy.folder, copy.made, gz=gz)
    path = copy.folder / (f"{file}.gz" if gz else file)
    content = change(copy.files[file])
    path.write_bytes(gzip.compress(content) if gz else content)
    for use in (load, fetch):
        with pytest.raises(LrscopeError) as caught:
            use("mnist")
        assert f"data file {path} is damaged or unreadable ({why}" in str(caught.value)
        assert str(caught.value).endswith("; delete it and run `lrscope data fetch mnist`")


@pytest.mark.parametrize("change", [lambda raw: raw[: len(raw) // 2], lambda raw: b"x" * len(raw), lambda raw: b""])
def test_a_damaged_debian_file_is_reinstalled(change: Callable[[bytes], bytes], copy_of: Callable[[str], Copy]) -> None:
    copy = copy_of("fashion-mnist")
    folder = idx.SYSTEM / "fashion-mnist"
    data_files.write_idx(folder, copy.made, gz=True)
    path = folder / f"{TRAIN_IMAGES}.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(LrscopeError) as caught:
        load("fashion-mnist")
    assert f"data file {path} is damaged" in str(caught.value)
    assert "run `sudo apt-get install --reinstall dataset-fashion-mnist`" in str(caught.value)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_files_with_a_wrong_sum_are_named(name: str, copy_of: Callable[[str], Copy]) -> None:
    copy = copy_of(name)
    copy.write()
    for file, content in copy.files.items():
        (copy.folder / file).write_bytes(content[:-1])
        with pytest.raises(LrscopeError) as caught:
            load(name)
        assert str(caught.value) == (
            f"data file {copy.folder / file} is damaged or unreadable (its MD5 sum is not the official one); "
            f"delete it and run `lrscope data fetch {name}`"
        )
        (copy.folder / file).write_bytes(content)
    load(name)


# Fetching


@pytest.mark.parametrize("name", FILE_SETS)
def test_fetch_brings_what_load_reads(
    name: str, copy_of: Callable[[str], Copy], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of(name)
    asked = data_files.serve(monkeypatch, copy.online)
    assert fetch(name) == f"{name} is in {copy.folder}"
    assert asked
    assert load(name).train_y.tolist() == copy.made["train"][1].tolist()
    asked.clear()
    assert fetch(name) == f"{name} is in {copy.folder}"
    assert asked == []  # what is there is not downloaded again
    # The remedy for a damaged file works: delete it, fetch it.
    file = copy.folder / next(iter(copy.files))
    file.unlink()
    fetch(name)
    assert same(load(name), load(name))


@pytest.mark.parametrize("name", FILE_SETS)
def test_fetch_without_a_network_says_what_to_do(
    name: str, copy_of: Callable[[str], Copy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = copy_of(name)
    data_files.serve(monkeypatch, {})
    with pytest.raises(LrscopeError) as caught:
        fetch(name)
    message = str(caught.value)
    assert f"data set '{name}' could not be downloaded to {copy.root} (" in message
    assert "Name or service not known" in message
    assert f"check network and disk and run `lrscope data fetch {name}` again, or copy " in message
    assert "\n" not in message
    assert ("`sudo apt-get install dataset-fashion-mnist`" in message) is (name == "fashion-mnist")
    # A server that sends something else.
    data_files.serve(monkeypatch, dict.fromkeys(copy.online, b"<html>Sign in to the hotel's network</html>"))
    with pytest.raises(LrscopeError, match="could not be downloaded"):
        fetch(name)
    assert not next(row for row in describe() if row.name == name).available


def test_fetch_into_a_folder_that_cannot_be_made(copy_of: Callable[[str], Copy], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LrscopeError, match=r"root='.*/file/x' cannot be made \(Not a directory\); set LRSCOPE_DATA to"):
        fetch("mnist", root=tmp_path / "file" / "x")


def test_fetch_where_there_is_nothing_to_fetch() -> None:
    assert fetch("digits") == "digits comes with scikit-learn: nothing to fetch"
    assert fetch("ticks") == "ticks is generated: nothing to fetch"
    with pytest.raises(LrscopeError, match="did you mean"):
        fetch("tick")


def test_digits_without_the_file_come_from_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package reads scikit-learn's file itself; where that has moved, scikit-learn is asked."""
    direct = digits._digits()
    monkeypatch.setattr("lrscope.tasks.data.digits.importlib.util.find_spec", lambda _: None)
    asked = digits._digits()
    for a, b in zip(direct, asked, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
