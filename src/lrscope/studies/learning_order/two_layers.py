"""The two-layer network of learning_order at finite width, Sec. 2: f(x) = r(x1) + g(x2), with its own gradient.

r and g are sums of neurons u_i relu(<row_i, x>). The second layer u is random, +1 or -1 over the root of the width, and fixed.
Rows of W have d coordinates; those of V have the two that the three directions of Q span, since all others see weight
decay and noise only and nothing depends on them. So V may be much wider than W at no cost.

S data sets, R runs on each, N examples, d dimensions of x1; widths m_W and m_V; P = m_W d + 2 m_V weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lrscope.checked import Count, Positive, checked, checked_fields
from lrscope.errors import LrscopeError
from lrscope.studies.learning_order.distribution import Examples
from lrscope.studies.learning_order.kernels import directions
from lrscope.studies.learning_order.quantities import pull
from lrscope.studies.learning_order.runs import Run, over_runs
from lrscope.tasks.streams import generator


class Outputs(NamedTuple):
    """What the network says."""

    r: Tensor  # [S, R, N], of x1
    g: Tensor  # [S, R, 3], of z - zeta, z and z + zeta


class Neurons(NamedTuple):
    """A number for each neuron and input."""

    first: Tensor  # [S, R, N, m_W]
    second: Tensor  # [S, R, 3, m_V]


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Widths:
    """Numbers of neurons: of W, which sees x1, and of V, which sees x2."""

    first: Count
    second: Count


class TwoLayers:
    """An objective: the training loss plus lambda / 2 times the squared norm of the weights. Its points are S x R rows.

    Row s R + j is run j on data set s.

    Args:
        examples: S data sets; their seeds name second layers and initialisations, and their type is that of the weights.
        runs: R; r, weight decay and whether activations are frozen are taken from them.
        widths: of the two layers.
        start_std: tau_0, the standard deviation of the initial weights.
    """

    @checked
    def __init__(self, examples: Examples, runs: Sequence[Run], widths: Widths, start_std: Positive) -> None:
        if not runs:
            raise LrscopeError("runs: there are none: pass at least one Run")
        self.examples, self.widths = examples, widths
        self.x, self.labels, self.on_sides = examples.first, examples.labels[:, None], examples.on_sides
        self.sets, _, self.dimension = self.x.shape
        self.count = len(runs)
        self.points = directions(over_runs(runs, "r")).to(self.x)  # [R, 3, 2]
        self.weight_decay = over_runs(runs, "weight_decay").to(self.x).repeat(self.sets)[:, None]  # [S R, 1]
        self.u_first = self._second_layer("W", widths.first)
        self.u_second = self._second_layer("V", widths.second)
        self.in_m2 = examples.has_second[:, None].to(self.x)
        self.frozen = over_runs(runs, "frozen") > 0  # [R]
        self.start_std, self.initial = start_std, self._start(start_std)
        self._at_start: dict[int, tuple[Tensor, Neurons]] = {}

    @property
    def size(self) -> int:
        """P."""
        return self.widths.first * self.dimension + 2 * self.widths.second

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the data sets."""
        return self.examples.seeds

    def _second_layer(self, layer: str, width: int) -> Tensor:
        """u [S, 1, width]."""
        streams = (generator("learning order", "second layer", layer, width, seed) for seed in self.seeds)
        signs = torch.stack([2 * torch.randint(2, (width,), generator=stream) - 1 for stream in streams])
        return (signs / math.sqrt(width)).to(self.x)[:, None]

    def _start(self, std: float) -> Tensor:
        """Initial weights [S R, P], the same for all runs on a data set."""
        streams = (generator("learning order", "initialisation", self.size, seed) for seed in self.seeds)
        drawn = torch.stack([torch.randn(self.size, generator=stream, dtype=self.x.dtype) for stream in streams])
        return std * drawn.repeat_interleave(self.count, 0)

    def layers(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """W [S, R, m_W, d] and V [S, R, m_V, 2] of weights [S R, P]."""
        end = self.widths.first * self.dimension
        first, second = weights[:, :end], weights[:, end:]
        rows = (self.sets, self.count)
        return first.view(*rows, self.widths.first, self.dimension), second.view(*rows, self.widths.second, 2)

    def outputs(self, weights: Tensor, x: Tensor | None = None) -> Outputs:
        """r on x1 [S, N, d] (the training examples', if left out) and g of the weights [S R, P]."""
        x = self.x if x is None else x
        if bool(self.frozen.any()):
            return self._sums(*self._neurons(weights, x))
        first, second = self._heights(weights, x)
        return Outputs(self._summed(first.relu(), self.u_first), self._summed(second.relu(), self.u_second))

    def outputs_of(self, part: Tensor, weights: Tensor, x: Tensor) -> Outputs:
        """What a part of the weights [S R, P] adds to the outputs, with the activations of all weights."""
        return self._sums(self._heights(part, x), self._neurons(weights, x)[1])

    def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Gradient [S R, P] and loss [S R] at points [S R, P]; the step makes no difference."""
        gates, f, residual = self._residuals(points)
        of_loss = self._joined(gates, residual, self._of_w(gates.first, residual))
        return of_loss + self.weight_decay * points, self._loss(f) + self.weight_decay[:, 0] / 2 * points.square().sum(
            1
        )

    def parts(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The training loss's gradient [S R, P], W's share [S R, m_W d] from M_2 in it (eq. 5.1), and the loss [S R]."""
        gates, f, residual = self._residuals(points)
        of_w, of_w_m2 = (self._of_w(gates.first, pulled) for pulled in (residual, residual * self.in_m2))
        return self._joined(gates, residual, of_w), of_w_m2, self._loss(f)

    def _residuals(self, points: Tensor) -> tuple[Neurons, Tensor, Tensor]:
        """Which neurons are active, the outputs [S, R, N], and minus the loss's derivatives by them."""
        heights, gates = self._neurons(points, self.x)
        r, g = self._sums(heights, gates)
        f = r + g @ self.on_sides.transpose(1, 2)
        return gates, f, pull(f, self.labels)

    def _joined(self, gates: Neurons, residual: Tensor, of_w: Tensor) -> Tensor:
        """W's gradient [S R, m_W d] with V's after it: [S R, P]."""
        sources = residual @ self.on_sides  # [S, R, 3]
        of_v = -self.u_second[..., None] * ((gates.second * sources[..., None]).transpose(2, 3) @ self.points)
        return torch.cat([of_w, of_v.reshape(len(of_w), -1)], 1)

    def _loss(self, f: Tensor) -> Tensor:
        """[S R]."""
        return softplus(-self.labels * f).mean(-1).view(-1)

    def _of_w(self, gates: Tensor, pulled: Tensor) -> Tensor:
        """W's gradient [S R, m_W d] for minus the loss's derivatives by the outputs [S, R, N]."""
        summed = (gates * pulled[..., None]).transpose(2, 3) @ self.x[:, None]
        return (-self.u_first[..., None] * summed).reshape(self.sets * self.count, -1)

    def _neurons(self, weights: Tensor, x: Tensor) -> tuple[Neurons, Neurons]:
        """Each neuron's <row, x1> or <row, x2>, and whether it is active: 1(<row, x> >= 0), of the initial weights in frozen runs."""
        heights = self._heights(weights, x)
        if bool(self.frozen.all()):
            return heights, self._initial_gates(x)
        gates = _active(heights)
        if bool(self.frozen.any()):
            frozen, initial = self.frozen[:, None, None], self._initial_gates(x)
            gates = Neurons(*(torch.where(frozen, old, new) for old, new in zip(initial, gates, strict=True)))
        return heights, gates

    def _initial_gates(self, x: Tensor) -> Neurons:
        """Those of the initial weights, computed once for each x, which is kept so that no other gets its id."""
        if id(x) not in self._at_start:
            self._at_start[id(x)] = x, _active(self._heights(self.initial, x))
        return self._at_start[id(x)][1]

    def _heights(self, weights: Tensor, x: Tensor) -> Neurons:
        w, v = self.layers(weights)
        return Neurons(x[:, None] @ w.transpose(2, 3), self.points @ v.transpose(2, 3))

    def _sums(self, heights: Neurons, gates: Neurons) -> Outputs:
        r = self._summed(gates.first * heights.first, self.u_first)
        return Outputs(r, self._summed(gates.second * heights.second, self.u_second))

    def _summed(self, active: Tensor, second_layer: Tensor) -> Tensor:
        """Over the neurons, times their weights in the second layer."""
        summed: Tensor = (active @ second_layer[..., None])[..., 0]
        return summed


def _active(heights: Neurons) -> Neurons:
    return Neurons(*((values >= 0).to(values) for values in heights))
