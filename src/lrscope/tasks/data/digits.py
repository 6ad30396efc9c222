"""Digits: 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.formats import Request, Spec
from lrscope.tasks.data.held_out import arrays, draw
from lrscope.tasks.data.images import normalised
from lrscope.tasks.data.subsets import checked_size
from lrscope.tasks.streams import generator

WHITE = 16.0  # a pixel counts the inked ones of a 4 x 4 block (sklearn.datasets.load_digits)


class Digits:
    """No official split: a permutation by `data_seed` gives the training images; the rest are for testing."""

    def available(self, root: Path) -> bool:
        return True

    def fetch(self, spec: Spec, root: Path) -> str:
        return f"{spec.name} comes with scikit-learn: nothing to fetch"

    def load(self, spec: Spec, request: Request) -> DataSet:
        data, target = _digits()
        pixels = torch.from_numpy(data).view(-1, *spec.shape)
        labels = torch.from_numpy(target).to(torch.int64)
        count = len(labels)
        train = checked_size("train_size", request.train_size, spec.train, count - 1, spec.name)
        test = checked_size("test_size", request.test_size, count - train, count - train, spec.name)
        order = torch.randperm(count, generator=generator("digits split", request.data_seed))
        # From the two ends: at one test_size the test images are the same for every train_size.
        test_index = order[count - test :].sort().values
        drawn = draw(order[: count - test], train, request.validation, request.data_seed)
        return DataSet(
            name=spec.name,
            **arrays(drawn, lambda index: (normalised(pixels[index], WHITE, spec), labels[index])),
            test_x=normalised(pixels[test_index], WHITE, spec),
            test_y=labels[test_index],
            classes=spec.classes,
            loss="cross_entropy",
            normalisation=(spec.mean, spec.std),
        )


def _digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What `sklearn.datasets.load_digits(return_X_y=True)` returns, from its file: importing scikit-learn takes 2 s."""
    package = importlib.util.find_spec("sklearn")
    folders = (package.submodule_search_locations if package is not None else None) or []
    file = next((p for f in folders if (p := Path(f) / "datasets" / "data" / "digits.csv.gz").exists()), None)
    if file is None:
        from sklearn.datasets import load_digits

        data, target = load_digits(return_X_y=True)
        return data, target
    with gzip.open(file, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",")
    return table[:, :-1], table[:, -1].astype(np.int64)
