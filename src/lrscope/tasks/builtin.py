"""Tasks by name: a data set and a model of the tables, as the command line offers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import nn
from torch.nn import functional

from lrscope.checked import checked
from lrscope.errors import LrscopeError
from lrscope.readers import Word
from lrscope.tasks.data import load
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.features import Features, with_features, with_only_bands
from lrscope.tasks.groups import with_classes
from lrscope.tasks.models import build
from lrscope.tasks.partitions import PARTITIONS
from lrscope.tasks.patch_options import Patches, PatchReader
from lrscope.tasks.patches import with_patches
from lrscope.tasks.task import Task
from lrscope.tasks.validation import Size, SizeReader

CLASS_LOSSES = ("cross_entropy", "mse")
MOST_PARAMETERS = 1 << 30  # ours: 4 GiB of weights for a single run


@checked
def named_task(
    data: str,
    model: str,
    *,
    width: int | None = None,
    model_options: Mapping[str, float] | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    label_noise: float = 0.0,
    pool: int = 1,
    groups: Annotated[str | None, Word(PARTITIONS)] = None,
    features: Features | None = None,
    only_bands: str | None = None,
    patches: Annotated[Patches | None, PatchReader()] = None,
    validation: Annotated[Size, SizeReader()] = None,
    loss: Annotated[str | None, Word(CLASS_LOSSES)] = None,
    root: Path | None = None,
    source: Callable[..., DataSet] = load,
) -> Task:
    """The task of training `model` (mlp, convnet, resnet18, wideresnet16, vgg11, transformer, vit) on `data` (digits, ...).

    model_options: arguments of the model beside its width: of vit patch, depth and dropout.
    groups: `classes` logs loss and accuracy of each class over time, of its training examples (by their labels before label
        noise, instead of other groups such as clean and corrupted) and of its test examples.
    features: test sets that show which features a network uses: `bands` (background, low, mid and high frequencies of
        images, feature_learning App. A), `bands:low=1-6,mid=7-24`, or a dict of functions of the test inputs
        (`tasks.features.with_features`).
    only_bands: train and test on images that hold one group of bands alone: background, low, mid, high or a range such as
        9-24 (`tasks.features.with_only_bands`).
    patches: a patch that tells the class over some training images, and patched test sets: a `tasks.patch_options.Patches`, the
        fraction of patched images, or text such as `0.8,only=0.2,train=unpatched` (learning_order, App. H.2).
    validation: examples to choose by, so that the test set only reports: a fraction of the training examples, a whole number of
        examples or 0 for none. None: of unused training examples of the data set a tenth of `train_size`, but at least 1,000
        or all there are, if there are at least 500; otherwise a tenth of the training examples is held out of training, if
        that gives at least 500; otherwise none. A size of your own is taken from the unused ones where they are enough.
    loss: `mse` trains on the mean squared error to one-hot labels, of data with three classes or more. None: `cross_entropy`.
    source: stands in for `load`, with its arguments: a plan can be made without the data.
    """
    options: dict[str, Any] = {
        "train_size": train_size,
        "test_size": test_size,
        "label_noise": label_noise,
        "pool": pool,
        "validation": validation,
        "root": root,
    }
    examples = partial(_load, source, data, options, features, only_bands, patches)
    first = examples(0)
    outputs = 1 if first.loss == "binary_cross_entropy" else first.classes
    chosen = dict(model_options or {})
    shape = tuple(first.train_x.shape[1:])
    factory = partial(_build, model, data=data, shape=shape, outputs=outputs, width=width, **chosen)
    _check_size(factory, width)
    examples = examples if groups is None else partial(_by_class, examples)
    words = [f"{data} / {model}", *([f"k={width}"] if width else []), *(f"{k}={v:g}" for k, v in chosen.items())]
    words += [f"only {only_bands} bands"] if only_bands else []
    words += [f"patches {patches}"] if patches else []
    if loss != "mse":
        return Task.from_data(" ".join(words), factory, examples)
    if first.loss != "cross_entropy":
        raise LrscopeError(f"loss: {data!r} has two classes and one output: mse on one-hot labels needs three or more")
    return Task.from_data(" ".join([*words, "mse"]), factory, partial(_one_hot, examples), classification=True)


def _one_hot(examples: Callable[[int], DataSet], data_seed: int) -> DataSet:
    """The examples with labels as rows [N, K], for the squared error."""
    data = examples(data_seed)
    names = ("train_y", "test_y", "validation_y", "clean_train_y")
    labels = {name: getattr(data, name) for name in names if getattr(data, name) is not None}
    rows: dict[str, Any] = {name: functional.one_hot(y, data.classes).float() for name, y in labels.items()}
    return replace(data, loss="mse", **rows)


def _check_size(factory: Callable[[], nn.Module], width: int | None) -> None:
    """Refuse a model that no machine would hold, before it is allocated."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        count = sum(p.numel() for p in factory().parameters())
    if count > MOST_PARAMETERS:
        raise LrscopeError(
            f"width: {width} makes a model of {count:.2g} parameters, more than {MOST_PARAMETERS:.2g}: use a smaller width"
        )


def _load(
    source: Callable[..., DataSet],
    name: str,
    options: dict[str, Any],
    features: Features | None,
    only_bands: str | None,
    patches: Patches | None,
    data_seed: int,
) -> DataSet:
    data = source(name, data_seed=data_seed, **options)
    data = data if only_bands is None else with_only_bands(data, only_bands)
    data = data if features is None else with_features(data, features)
    return data if patches is None else with_patches(data, patches, data_seed)


def _by_class(examples: Callable[[int], DataSet], data_seed: int) -> DataSet:
    return with_classes(examples(data_seed))


def _build(name: str, **options: Any) -> nn.Module:
    return build(name, **options)
