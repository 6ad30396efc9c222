"""Where training ends with weight decay, from several histories (learning_order, Sec. 1): a strongly convex loss has one minimum.

H histories, P weights. One data set at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lrscope.checked import Count, Positive, checked
from lrscope.dynamics.descend import descend
from lrscope.studies.learning_order.distribution import P_ONLY, Q_ONLY, Examples
from lrscope.studies.learning_order.finite_width import Training
from lrscope.studies.learning_order.runs import Run
from lrscope.studies.learning_order.two_layers import TwoLayers, Widths

HISTORIES = ("L-S", "S", "Q alone first", "P alone first")
SMALL_GRADIENT = 1e-6  # ours: Euclidean norm of the gradient at which a minimum counts as reached
LOOK = 100  # ours: steps between looks at the gradient


class Ends(NamedTuple):
    """Of each history."""

    error_p: Tensor  # [H], on test examples with P alone
    gradient: Tensor  # [H], norm of the gradient of the training loss with its weight decay


@checked
def ends(
    examples: Examples,
    runs: Sequence[Run],
    test: Examples,
    *,
    widths: Widths,
    start_std: Positive,
    until: Positive,
    step: Positive = 2.0,
    most: Count = 6000,
) -> Ends:
    """Train a network with each of `HISTORIES`, then on with small steps and no noise until the gradient is small.

    Args:
        examples: one data set, on which all are trained on.
        runs: L-S and S, which share r, weight decay and whether activations are frozen. With frozen ones the loss is strongly
            convex.
        test: as many data sets.
        widths, start_std: as in `finite_width`.
        until: T = learning rate x steps of each history. The last two see examples with one pattern alone, without noise.
        step: size of those steps and of all that follow; well below 2 over the largest curvature, which is about 0.35.
        most: steps after the histories, at most.

    Returns:
        The gradient says whether a minimum is reached (`SMALL_GRADIENT`).
    """
    large, small = runs
    model = TwoLayers(examples, [small] * len(HISTORIES), widths, start_std)
    first = [_after(examples, run, widths, start_std, until) for run in (large, small)]
    steps = round(until / step)
    for kind in (Q_ONLY, P_ONLY):
        alone = TwoLayers(_only(examples, kind), [small], widths, start_std)
        first.append(descend(alone, alone.initial, step, steps).weights)
    points = _descended(model, torch.cat(first), step, most)
    return Ends(_errors(model, points, test), _gradient(model, points))


def _after(examples: Examples, run: Run, widths: Widths, start_std: float, until: float) -> Tensor:
    """Weights [1, P] after a run by eq. 3.1."""
    training = Training(TwoLayers(examples, [run], widths, start_std), [run], examples)
    while not training.is_at(until):
        training.go_on(1)
        training.look()  # which anneals
    return training.weights


def _only(examples: Examples, kind: int) -> Examples:
    """A data set's examples of one kind."""
    kept = examples.kind[0] == kind
    names = ("first", "scale", "side", "labels", "kind")
    return replace(examples, **{name: getattr(examples, name)[:, kept] for name in names})


def _descended(model: TwoLayers, points: Tensor, step: float, most: int) -> Tensor:
    for _ in range(-(-most // LOOK)):
        if bool((_gradient(model, points) < SMALL_GRADIENT).all()):
            break
        points = descend(model, points, step, LOOK).weights
    return points


def _gradient(model: TwoLayers, points: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(model.gradient(points, 0)[0], dim=1)
    return norm


def _errors(model: TwoLayers, points: Tensor, test: Examples) -> Tensor:
    """On test examples with P alone [H]; an output of 0 is half an error."""
    alone = _only(test, P_ONLY)
    margin = alone.labels * model.outputs(points, alone.first).r[0]
    return ((1 - margin.sign()) / 2).mean(-1)
