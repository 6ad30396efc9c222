"""Tasks by name: a data set and a model of the tables, as the command line offers them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from lrscope.tasks.data import load
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.models import build
from lrscope.tasks.task import Task


def named_task(
    data: str,
    model: str,
    *,
    width: int | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    label_noise: float = 0.0,
    pool: int = 1,
    root: Path | None = None,
    source: Callable[..., DataSet] = load,
) -> Task:
    """The task of training `model` (mlp, convnet, resnet18, transformer) on `data` (digits, fashion-mnist, ...). `source`
    stands in for `load`, with its arguments: a plan can be made without the data."""
    options: dict[str, Any] = {
        "train_size": train_size,
        "test_size": test_size,
        "label_noise": label_noise,
        "pool": pool,
        "root": root,
    }
    examples = partial(_load, source, data, options)
    first = examples(0)
    outputs = 1 if first.loss == "binary_cross_entropy" else first.classes
    factory = partial(_build, model, data=data, shape=tuple(first.train_x.shape[1:]), outputs=outputs, width=width)
    return Task.from_data(f"{data} / {model}" + (f" k={width}" if width else ""), factory, examples)


def _load(source: Callable[..., DataSet], name: str, options: dict[str, Any], data_seed: int) -> DataSet:
    return source(name, data_seed=data_seed, **options)


def _build(name: str, **options: Any) -> nn.Module:
    return build(name, **options)
