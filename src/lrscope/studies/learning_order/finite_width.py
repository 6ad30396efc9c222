"""The two-layer network of learning_order, trained at finite width: eq. 3.1 to 3.4 step by step.

Signal and noise part of the weights are kept apart (eq. 3.4); their sum decides activations and outputs. What is descended
is both at once, and W's accumulated gradient from M_2 (eq. 5.1) with them.

S data sets, R runs on each, P weights, B times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lrscope.checked import Count, Positive, checked
from lrscope.dynamics.descend import descend
from lrscope.errors import LrscopeError
from lrscope.studies.learning_order.distribution import BOTH, P_ONLY, Examples
from lrscope.studies.learning_order.quantities import Curves, error_q, losses, stacked
from lrscope.studies.learning_order.runs import Run, over_runs
from lrscope.studies.learning_order.two_layers import Outputs, TwoLayers, Widths
from lrscope.tasks.streams import generator


class Parts(NamedTuple):
    """What a point of `Decoupled` holds."""

    signal: Tensor  # [S R, P]
    noise: Tensor  # [S R, P]
    signal_m2: Tensor  # [S R, m_W d], W's signal from M_2


@dataclass(frozen=True)
class Decoupled:
    """An objective whose points are signal, noise and W's signal from M_2, one after the other (eq. 3.4, 5.1).

    Noise xi_t is part of the gradient, as in eq. 3.1. Runs on the same data set share it.
    """

    model: TwoLayers
    noise_std: Tensor  # tau_xi [S R, 1]
    first_step: int = 0  # the number in the run of what a descent calls step 0

    @property
    def size(self) -> int:
        """2 P + m_W d."""
        return 2 * self.model.size + self.model.widths.first * self.model.dimension

    def parts(self, points: Tensor) -> Parts:
        """Of points [S R, size]."""
        p = self.model.size
        return Parts(points[:, :p], points[:, p : 2 * p], points[:, 2 * p :])

    def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Each part's gradient [S R, size], with its weight decay, and the training loss [S R]."""
        signal, noise, _ = self.parts(points)
        of_loss, of_m2, loss = self.model.parts(signal + noise)
        xi = self._drawn(self.first_step + step) * self.noise_std
        return torch.cat([of_loss, xi, of_m2], 1) + self.model.weight_decay * points, loss

    def _drawn(self, step: int) -> Tensor:
        """Standard normal numbers [S R, P] of a step of the run."""
        model = self.model
        streams = (generator("learning order", "gradient noise", model.size, seed, step) for seed in model.seeds)
        drawn = torch.stack([torch.randn(model.size, generator=s, dtype=model.x.dtype) for s in streams])
        return drawn.repeat_interleave(model.count, 0)


@checked
def finite_width(
    examples: Examples,
    runs: Sequence[Run],
    test: Examples,
    *,
    widths: Widths,
    start_std: Positive,
    until: Positive,
    every: Count = 1,
    stop_below: float = 0.0,
) -> Curves:
    """Train all runs on each data set by eq. 3.1 up to a time; measure before the first step and after every `every` steps.

    Learning rates are annealed where the training loss is seen below a run's threshold, which is looked at when it measures.
    Runs take the same number of steps. A small learning rate gets less far in T = learning rate x steps with them, so pass
    runs of one algorithm at a time.

    Args:
        runs: without activation noise.
        test: as many data sets as `examples`; the errors on P are counted on them.
        widths: numbers of neurons.
        start_std: tau_0. About width^(-1/3) lets both the noise's outputs and what the signal changes in the activations vanish
            with the width.
        until: T that the slowest run comes to; the others go on with it.
        every: steps between measurements.
        stop_below: end where all runs have been below this training loss.

    Returns:
        `QUANTITIES` by name [B + 1, S, R] (g: [B + 1, S, R, 3]). r's linear predictor is W^T u / 2, with the noise in it; in a
        frozen run that is r's odd part at infinite width only. NaN from where a run overflowed.

    Raises:
        LrscopeError: activation noise; test examples that do not fit.
    """
    _check(examples, runs, test)
    training = Training(TwoLayers(examples, runs, widths, start_std), runs, test)
    records = [training.measure()]
    below = records[0]["loss"] < stop_below
    while not training.is_at(until) and not bool(below.all()):
        training.go_on(every)
        records.append(training.measure())
        below |= records[-1]["loss"] < stop_below
    return stacked(records)


def _check(examples: Examples, runs: Sequence[Run], test: Examples) -> None:
    noisy = [run.activation_noise for run in runs if run.activation_noise > 0]
    if noisy:
        raise LrscopeError(f"activation_noise: {noisy[0]:g}: there is none at finite width: use infinite_width, or 0")
    sets, _, dimension = examples.first.shape
    if (len(test.first), test.first.shape[-1]) != (sets, dimension):
        given = f"{len(test.first)} data sets in {test.first.shape[-1]} dimensions"
        raise LrscopeError(f"test: {given} do not fit {sets} in {dimension}: sample as many, of the same dimension")


class Training:
    """All runs after a number of steps."""

    def __init__(self, model: TwoLayers, runs: Sequence[Run], test: Examples) -> None:
        self.model, self.test, self.step = model, test, 0
        self.alone = Alone.of(test)
        shape = (model.sets, model.count)
        self.large, self.small = over_runs(runs, "large_lr"), over_runs(runs, "small_lr")
        self.anneal_below = over_runs(runs, "anneal_below")
        self.noise_std = (model.start_std * over_runs(runs, "gradient_noise")).to(model.x).repeat(model.sets)[:, None]
        noise = model.initial
        self.points = torch.cat([torch.zeros_like(noise), noise, noise.new_zeros(len(noise), self._first)], 1)
        self.time = torch.zeros(shape, dtype=torch.float64)
        self.annealed = torch.zeros(shape, dtype=torch.bool)
        self.look()

    @property
    def _first(self) -> int:
        """Weights in W."""
        return self.model.widths.first * self.model.dimension

    @property
    def _parts(self) -> Parts:
        return Decoupled(self.model, self.noise_std).parts(self.points)

    @property
    def weights(self) -> Tensor:
        """Signal and noise part together [S R, P]."""
        signal, noise, _ = self._parts
        return signal + noise

    def is_at(self, until: float) -> bool:
        """Whether all runs have come to this time, but for rounding."""
        return bool((self.time >= until * (1 - 1e-9)).all())

    def go_on(self, steps: int) -> None:
        """By eq. 3.1, then anneal where it is time."""
        lr = torch.where(self.annealed, self.small, self.large)
        objective = Decoupled(self.model, self.noise_std, self.step)
        self.points = descend(objective, self.points, lr.flatten().to(self.points), steps).weights
        self.step += steps
        self.time += steps * lr

    def _outputs(self, x: Tensor | None = None) -> Outputs:
        return self.model.outputs(self.weights, x)

    def _losses(self, outputs: Outputs) -> dict[str, Tensor]:
        r, g = outputs
        return losses(r, g @ self.model.on_sides.transpose(1, 2), self.model.examples)

    def _anneal(self, found: dict[str, Tensor]) -> None:
        self.annealed = self.annealed | (found["loss"].double() < self.anneal_below)

    def look(self) -> dict[str, Tensor]:
        """Losses now [S, R]; learning rates of the next steps follow from them."""
        found = self._losses(self._outputs())
        self._anneal(found)
        return found

    def measure(self) -> dict[str, Tensor]:
        """All quantities now [S, R]; learning rates of the next steps follow from the loss."""
        annealed = self.annealed
        outputs = self._outputs()
        found, g = self._losses(outputs), outputs.g
        self._anneal(found)
        signal, noise, signal_m2 = self._parts
        predictor = self._predictor((signal + noise)[:, : self._first])
        return {
            "time": self.time.clone(),
            "annealed": annealed.double(),
            **found,
            "g": g,
            "error_q": error_q(g.double()),
            "along": predictor[..., 0],
            "across": torch.linalg.vector_norm(predictor[..., 1:], dim=-1),
            **self._errors(g),
            "error_p_signal": self._error_of_signal(signal),
            "norm_w": self._norm(signal[:, : self._first]),
            "norm_v": self._norm(signal[:, self._first :]),
            "norm_w_m2": self._norm(signal_m2),
            "norm_w_m1": self._norm(signal[:, : self._first] - signal_m2),
            "along_m2": self._predictor(signal_m2)[..., 0],
            "noise_std": self._norm(noise) / (self.model.start_std * self.model.size**0.5),
            "noise_kept": torch.cosine_similarity(noise, self.model.initial).view(self.time.shape),
        }

    def _norm(self, weights: Tensor) -> Tensor:
        """[S, R]."""
        norm: Tensor = torch.linalg.vector_norm(weights, dim=1)
        return norm.view(self.time.shape)

    def _predictor(self, of_w: Tensor) -> Tensor:
        """W^T u / 2 [S, R, d], the linear part of r, for W [S R, m_W d]."""
        model = self.model
        w = of_w.view(model.sets, model.count, model.widths.first, model.dimension)
        return (model.u_first[..., None, :] @ w)[..., 0, :] / 2

    def _errors(self, g: Tensor) -> dict[str, Tensor]:
        """Counted on the test examples; an output of 0 is half an error, NaN where there are no examples of a kind."""
        r = self._outputs(self.test.first).r
        margin = self.test.labels[:, None] * (r + g @ self.test.on_sides.transpose(1, 2))
        wrong = _wrong(margin)
        kinds = {"error_p": P_ONLY, "error_both": BOTH}
        return {name: _mean(wrong, self.test.kind == kind) for name, kind in kinds.items()}

    def _error_of_signal(self, signal: Tensor) -> Tensor:
        """On test examples with P alone, without what the noise part adds to the outputs."""
        r = self.model.outputs_of(signal, self.weights, self.alone.x).r
        return _mean(_wrong(self.alone.labels[:, None] * r), self.alone.counts)


@dataclass(frozen=True)
class Alone:
    """The test examples with P alone: M rows of each data set, of which some may not count."""

    x: Tensor  # [S, M, d]
    labels: Tensor  # [S, M]
    counts: Tensor  # [S, M] bool

    @classmethod
    def of(cls, test: Examples) -> Alone:
        """Of test examples."""
        alone = test.kind == P_ONLY
        rows = alone.double().argsort(dim=1, descending=True, stable=True)[:, : int(alone.sum(1).max())]
        x = test.first.gather(1, rows[..., None].expand(-1, -1, test.first.shape[-1]))
        return cls(x, test.labels.gather(1, rows), alone.gather(1, rows))


def _wrong(margin: Tensor) -> Tensor:
    """1 where a margin is negative, half where it is 0."""
    return torch.where(margin.isnan(), torch.nan, (1 - margin.sign()) / 2)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Over the chosen examples [S, N]: [S, R]."""
    weights = chosen[:, None].to(values)
    return (values * weights).sum(-1) / weights.sum(-1)
