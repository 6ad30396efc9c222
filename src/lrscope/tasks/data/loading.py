"""What the rest of lrscope asks of data sets: load one, fetch one, list all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lrscope.checked import Seed, checked
from lrscope.readers import Number
from lrscope.storage.paths import local
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.files import default_root
from lrscope.tasks.data.formats import Request
from lrscope.tasks.data.images import check_pool, pooled
from lrscope.tasks.data.subsets import redraw_labels
from lrscope.tasks.data.table import ROWS, spec
from lrscope.tasks.groups import NOISE_GROUPS, noise_groups
from lrscope.tasks.streams import generator
from lrscope.tasks.validation import Size, checked_size


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the listing of data sets."""

    name: str
    description: str
    classes: int
    shape: tuple[int, ...]  # of one input: (C, H, W), (32,) for ticks, or (T,) for texts
    train: int
    test: int
    available: bool  # on this machine, now
    obtain: str


@checked
def load(
    name: str,
    *,
    data_seed: Seed = 0,
    train_size: int | None = None,
    test_size: int | None = None,
    label_noise: float = 0.0,
    pool: int = 1,
    validation: Size = 0,
    root: str | Path | None = None,
) -> DataSet:
    """Data set `name` in memory; never downloads.

    data_seed: draws the training subset and the label noise; for digits and fortunes the split, for ticks everything.
    train_size, test_size: examples drawn without replacement; None takes the whole split (digits: 1024 and the rest;
        fortunes: 3072 and 1024; ticks: 512 and 2000, feature_learning App. A). These three excepted, all data seeds share
        the test subset.
    label_noise: fraction of the training labels, in [0, 1), redrawn uniformly over the classes (three_regimes uses 0.2).
        Examples whose label changed are the example group `corrupted`, all others `clean`.
    pool: side of the squares over which images are averaged; 2 makes 14 x 14 of 28 x 28.
    validation: size of the validation set: a fraction of the training examples, a whole number of examples, 0 for none, or None
        for the rule of `tasks.validation.count`. Its examples are unused ones of the training split where there are enough,
        otherwise held out of the training examples; for ticks generated. Drawn by `data_seed`; their labels stay clean.
    root: folder of downloaded files in torchvision's layout; None is `$LRSCOPE_DATA` or `~/.cache/lrscope/data`.
    """
    chosen = spec(name)
    label_noise = checked_label_noise(label_noise)
    check_pool(chosen, pool)
    request = Request(
        data_seed=data_seed,
        train_size=train_size,
        test_size=test_size,
        root=folder(root),
        validation=checked_size(validation),
    )
    data = chosen.family.load(chosen, request)
    data = replace(
        data,
        train_x=pooled(data.train_x, pool),
        test_x=pooled(data.test_x, pool),
        validation_x=None if data.validation_x is None else pooled(data.validation_x, pool),
    )
    if label_noise == 0:
        return data
    noisy = redraw_labels(data.train_y, label_noise, data.classes, generator("label noise", data_seed))
    return replace(
        data,
        train_y=noisy,
        clean_train_y=data.train_y,
        train_groups=noise_groups(noisy, data.train_y),
        train_group_names=NOISE_GROUPS,
    )


def checked_label_noise(value: float) -> float:
    """The fraction of redrawn labels; refused outside [0, 1)."""
    return Number(0, 1, below=True).read("label_noise", value)


@checked
def fetch(name: str, root: str | Path | None = None) -> str:
    """Download data set `name` into `root` unless it is there; a sentence saying where it is."""
    chosen = spec(name)
    return chosen.family.fetch(chosen, folder(root))


def describe(root: str | Path | None = None) -> list[Row]:
    """All data sets, in the table's order."""
    where = folder(root)
    return [
        Row(
            name=row.name,
            description=row.description,
            classes=row.classes,
            shape=row.shape,
            train=row.train,
            test=row.test,
            available=row.family.available(where),
            obtain=row.obtain,
        )
        for row in ROWS
    ]


def folder(root: str | Path | None) -> Path:
    """The folder of downloaded files that `root` stands for."""
    return default_root() if root is None else local(root, "root")
