"""Tasks by name: a data set and a model of the tables, as the command line offers them."""

from __future__ import annotations

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
) -> Task:
    """The task of training `model` (mlp, convnet, resnet18) on `data` (digits, fashion-mnist, ...)."""
    examples = partial(
        _load, data, train_size=train_size, test_size=test_size, label_noise=label_noise, pool=pool, root=root
    )
    first = examples(0)
    outputs = 1 if first.loss == "binary_cross_entropy" else first.classes
    factory = partial(_build, model, data=data, shape=tuple(first.train_x.shape[1:]), outputs=outputs, width=width)
    return Task.from_data(f"{data} / {model}" + (f" k={width}" if width else ""), factory, examples)


def _load(name: str, data_seed: int, **options: Any) -> DataSet:
    return load(name, data_seed=data_seed, **options)


def _build(name: str, **options: Any) -> nn.Module:
    return build(name, **options)
