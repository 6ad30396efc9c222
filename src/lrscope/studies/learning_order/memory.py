"""What the noise remembers: past gradients, and how much of the activations under which they were taken is left.

S data sets, R runs, H past gradients. Decay is kept as a logarithm, variances in units of tau_0^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lrscope.studies.learning_order.runs import Run, decay_rate, over_runs, variance_after


class Noise:
    """The noise part of the weights (eq. 3.4) in every run, at a time from which its learning rate stays."""

    def __init__(self, runs: Sequence[Run], sets: int) -> None:
        self.large, self.small = over_runs(runs, "large_lr"), over_runs(runs, "small_lr")
        self.weight_decay = over_runs(runs, "weight_decay")
        self.extra = over_runs(runs, "activation_noise").expand(sets, -1)
        self.frozen = over_runs(runs, "frozen") > 0
        shape = (sets, len(runs))
        self.lr = self.large.expand(shape)
        self.log_decay = torch.zeros(shape, dtype=torch.float64)  # of a weight, since the start
        self.variance = torch.ones(shape, dtype=torch.float64)

    def set(self, annealed: Tensor, quiet: Tensor) -> None:
        """From here on: the small learning rate in the runs [S, R] that are annealed, no activation noise in the quiet ones."""
        self.lr = torch.where(annealed, self.small, self.large)
        self.extra = torch.where(quiet, 0.0, self.extra)

    def left(self, elapsed: Tensor | float) -> Tensor:
        """Logarithm of a weight's decay between the start of all and a time `elapsed` from here [S, R]."""
        return self.log_decay + elapsed * decay_rate(self.lr, self.weight_decay)

    def variance_at(self, elapsed: Tensor | float) -> Tensor:
        """[S, R], in units of tau_0^2."""
        return variance_after(elapsed, self.variance, self.lr, self.large, self.weight_decay)

    def moment(self, elapsed: Tensor | float) -> Moment:
        """What is needed of a time to correlate its activations with those of others."""
        variance, left = self.variance_at(elapsed), self.left(elapsed)
        # As if no noise were added: then the initial weights decay, and that changes no activation.
        log_std = torch.where(self.frozen, left, variance.log() / 2)
        return Moment(left, log_std, -(self.extra.square() / variance).log1p() / 2)

    def advance(self, elapsed: float) -> None:
        """Go on by a time."""
        self.log_decay, self.variance = self.left(elapsed), self.variance_at(elapsed)


@dataclass(frozen=True)
class Moment:
    """A time: logarithms [..., S, R] of decay, of the noise's standard deviation, and of its share in what decides activations."""

    log_decay: Tensor
    log_std: Tensor
    log_share: Tensor

    def correlation(self, now: Moment) -> Tensor:
        """rho between the weights that decide activations at this time and at a later one."""
        log = now.log_decay - self.log_decay + self.log_std - now.log_std + self.log_share + now.log_share
        return log.exp().clamp(max=1.0)


@dataclass
class Past:
    """Gradients' sources [S, R, ...], each with the moment of its activations and the decay at its end."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    count: int = 0
    merged: int = 0  # how many of them, the oldest, stand for several gradients
    sources: Tensor = field(init=False)  # [room, S, R, ...]
    times: Tensor = field(init=False)  # [room, 4, S, R]

    def __post_init__(self) -> None:
        self.sources = torch.empty(0, *self.shape, dtype=self.dtype)
        self.times = torch.empty(0, 4, *self.shape[:2], dtype=torch.float64)

    def add(self, source: Tensor, activations: Moment, end: Tensor) -> None:
        """`source` is what counts at the time whose logarithm of decay is `end`; its activations were those of a moment."""
        if self.count == len(self.sources):
            self.sources, self.times = _doubled(self.sources), _doubled(self.times)
        self.sources[self.count] = source
        self.times[self.count] = torch.stack([end, activations.log_decay, activations.log_std, activations.log_share])
        self.count += 1

    def merge(self, size: int, apart: int) -> None:
        """Put the `size` oldest gradients that are still by themselves into one, with the mean of their moments, where `apart` or
        more follow them: long after, what is left of their activations hardly differs."""
        first, rest = self.merged, self.merged + size
        if size == 1 or self.count - rest < apart:
            return
        ends, *moment = self.times[first:rest].unbind(1)
        left = (ends[-1] - ends).exp().to(self.dtype)
        source = (self.sources[first:rest] * left.view(*left.shape, *(1 for _ in self.shape[2:]))).sum(0)
        times = torch.stack([ends[-1], *(values.mean(0) for values in moment)])
        for buffer, one in ((self.sources, source), (self.times, times)):
            buffer[first + 1 : self.count - size + 1] = buffer[rest : self.count].clone()
            buffer[first] = one
        self.merged, self.count = first + 1, self.count - size + 1

    def seen(self, now: Moment) -> tuple[Tensor, Tensor, Tensor]:
        """Sources [H, S, R, ...], how much of each is left now, and rho between its activations and those now [H, S, R]."""
        end, *moment = self.times[: self.count].unbind(1)
        return self.sources[: self.count], (now.log_decay - end).exp(), Moment(*moment).correlation(now)


def _doubled(buffer: Tensor) -> Tensor:
    room = max(16, len(buffer))
    return torch.cat([buffer, buffer.new_empty(room, *buffer.shape[1:])])
