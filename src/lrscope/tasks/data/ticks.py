"""Ticks: the synthetic example of feature_learning (Sec. 3, App. A), 16 features that each decide the label alone.

A feature is a point (x, y) of the square [-2, 2]^2, which two ticks cut: y = |x| and y = |x| - 2. Label 0 lies between
them, label 1 above the upper or below the lower one. A margin around both ticks stays empty.
Reading of "a margin of 0.1 sqrt(2) in the vertical direction": points keep |y - |x|| > 0.1 sqrt(2) and
|y - (|x| - 2)| > 0.1 sqrt(2). As the ticks have slope +-1, no point is then nearer to a tick than 0.1.
A missing feature lies on one of the ticks, chosen by a fair coin, with x uniform in [-2, 2]; both ticks stay within the
square there. Labels are fair coins, one a point.

Coordinates are multiples of 2^-22 (torch.rand gives multiples of 2^-24), so float32 computes y - |x| without rounding:
the geometry holds exactly for the stored numbers.

Shapes: N points, F = 16 features, M = 1000 points of a feature set.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from torch import Tensor

from lrscope.tasks.builtin_sizes import TRAIN_TEST
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.formats import Request, Spec
from lrscope.tasks.data.subsets import checked_size
from lrscope.tasks.streams import generator
from lrscope.tasks.validation import NONE, UNUSED, Size, count

FEATURES = 16  # feature_learning, Sec. 3; so are the numbers below (App. A and the authors' public code)
HALF_SIDE = 2.0
GAP = 2.0  # vertical distance of the two ticks
MARGIN = 0.1 * math.sqrt(2)
TRAIN, TEST = TRAIN_TEST["ticks"]
PROBE = 1000


def tick_labels(points: Tensor) -> Tensor:
    """[...] int64 for points [..., 2]: 0 between the ticks, 1 above or below them, -1 within the margin."""
    above_upper = points[..., 1] - points[..., 0].abs()
    above_lower = above_upper + GAP
    labels = ((above_upper > 0) | (above_lower < 0)).to(torch.int64)
    return labels.masked_fill((above_upper.abs() <= MARGIN) | (above_lower.abs() <= MARGIN), -1)


def uniform(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Uniform in [-2, 2)."""
    return (2 * torch.rand(shape, generator=rng) - 1) * HALF_SIDE


def coins(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Fair coins: 0 or 1, int64."""
    return torch.randint(2, shape, generator=rng)


def present(labels: Tensor, rng: torch.Generator) -> Tensor:
    """[..., 2] for labels [...]: points uniform over the region of their label, by rejection."""
    points = uniform((*labels.shape, 2), rng)
    while (rejected := tick_labels(points) != labels).any():
        points[rejected] = uniform((int(rejected.sum()), 2), rng)
    return points


def absent(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """[*shape, 2]: points on one of the ticks."""
    x = uniform(shape, rng)
    return torch.stack((x, x.abs() - GAP * coins(shape, rng)), dim=-1)


def examples(count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs [N, 2 F] (x and y of the first feature, then of the second, ...) with all features present; labels [N]."""
    labels = coins((count,), rng)
    return present(labels[:, None].expand(count, FEATURES), rng).flatten(1), labels


def probes(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Single-feature test sets [F, M, 2 F] and labels [F, M]: in the f-th only feature f is present."""
    labels = coins((FEATURES, PROBE), rng)
    features = absent((FEATURES, PROBE, FEATURES), rng)
    one = torch.arange(FEATURES)
    features[one, :, one] = present(labels, rng)
    return features.flatten(2), labels


class Ticks:
    """Generated; `data_seed` draws training, validation, test and feature sets, each from a stream of its own."""

    def available(self, root: Path) -> bool:
        return True

    def fetch(self, spec: Spec, root: Path) -> str:
        return f"{spec.name} is generated: nothing to fetch"

    def load(self, spec: Spec, request: Request) -> DataSet:
        train = checked_size("train_size", request.train_size, spec.train, None, spec.name)
        test = checked_size("test_size", request.test_size, spec.test, None, spec.name)
        train_x, train_y = examples(train, generator("ticks training", request.data_seed))
        test_x, test_y = examples(test, generator("ticks test", request.data_seed))
        feature_x, feature_y = probes(generator("ticks probes", request.data_seed))
        validation_x, validation_y = validation_examples(request.validation, train, request.data_seed)
        return DataSet(
            name=spec.name,
            train_x=train_x,
            train_y=train_y,
            test_x=test_x,
            test_y=test_y,
            classes=spec.classes,
            loss="binary_cross_entropy",
            feature_x=feature_x,
            feature_y=feature_y,
            validation_x=validation_x,
            validation_y=validation_y,
            validation_source=NONE if validation_x is None else UNUSED,
        )


def validation_examples(size: Size, train: int, data_seed: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Inputs and labels of the validation set, generated like the training set, which loses none: there is no end of unused
    examples. By the rule as many as would be held out elsewhere."""
    number, _ = count(size, train) if size is None else count(size, train, sys.maxsize)
    return examples(number, generator("ticks validation", data_seed)) if number else (None, None)
