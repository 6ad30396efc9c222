"""The two-layer network of learning_order at infinite width, with memory kernels.

r(x) = <w, x> / 4 for any x, plus each training example's own term; g is a sum over past gradients at three directions. The
learning rate enters through the noise alone: T = learning rate x steps is the time. Residuals are evaluated every `hold` of T
and held in between; r is evaluated every `block` holds and continued in a straight line in between.

S data sets, R runs on each of them, N examples, d dimensions, H past holds, B blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lrscope.checked import Count, Positive, checked
from lrscope.errors import LrscopeError
from lrscope.studies.learning_order import generalization
from lrscope.studies.learning_order.distribution import P_ONLY, Q_ONLY, Examples
from lrscope.studies.learning_order.kernels import Three, own_excess
from lrscope.studies.learning_order.memory import Noise, Past
from lrscope.studies.learning_order.quantities import Curves, error_q, losses, pull, stacked
from lrscope.studies.learning_order.runs import Run, over_runs

APART = 8  # ours: blocks whose gradients of g are remembered hold by hold; of older ones the sum of a block is


@checked
def infinite_width(
    examples: Examples,
    runs: Sequence[Run],
    *,
    until: Positive,
    hold: Positive = 20.0,
    block: Count = 10,
    stop_below: float = 0.0,
) -> Curves:
    """Train all runs on each data set up to time `until`; measure at the start of every block and at the end.

    Runs on the same data set share the products with x1, which are most of the work. Learning rates are annealed at the
    start of a block.

    Args:
        runs: they share data, times and nothing else.
        until: T, rounded up to whole blocks.
        hold: T between evaluations of the residuals; with `block` 1 and `hold` equal to the learning rate every step is one
            of eq. 3.1.
        block: holds between evaluations of r.
        stop_below: end where all runs have been below this training loss.

    Returns:
        `QUANTITIES` by name [B + 1, S, R] (g: [B + 1, S, R, 3]). The test errors are integrals over r's linear predictor.

    Raises:
        LrscopeError: a hold that is shorter than a learning rate, or so long that g would oscillate and diverge.
    """
    _check(examples, runs, hold)
    state = _State(examples, runs, hold, block)
    records, lowest = [state.measure()], torch.full((len(examples.seeds), len(runs)), math.inf)
    for _ in range(math.ceil(until / (hold * block) - 1e-9)):
        state.go_on()
        records.append(state.measure())
        lowest = torch.minimum(lowest, records[-1]["loss"])
        if bool((lowest < stop_below).all()):
            break
    return _with_errors(stacked(records), examples.first.shape[-1])


def _check(examples: Examples, runs: Sequence[Run], hold: float) -> None:
    if not runs:
        raise LrscopeError("runs: there are none: pass at least one Run")
    largest = max(run.large_lr for run in runs)
    if hold < largest:
        raise LrscopeError(f"hold: {hold:g} is shorter than a step of large_lr {largest:g}: use that or more")
    # The loss's second derivative in g's kernel space is at most 1/4 mean(alpha^2) (1 + r^2) / 2; steps diverge beyond 2 over it.
    steepest = float(examples.scale.square().mean(1).max()) * (1 + max(run.r for run in runs) ** 2) / 8
    if hold * steepest > 2:
        raise LrscopeError(f"hold: {hold:g} is too long for g to converge: use {2 / steepest:.3g} or less")


class _State:
    """All runs at the start of a block."""

    def __init__(self, examples: Examples, runs: Sequence[Run], hold: float, block: int) -> None:
        self.examples, self.hold, self.block = (examples := examples.by_kind()), hold, block
        # How many examples have P alone, and how many have P: of the others x1 is 0.
        self.ends = [(int((kind == P_ONLY).sum()), int((kind != Q_ONLY).sum())) for kind in examples.kind]
        self.x, self.labels = examples.first, examples.labels[:, None]
        sets, n, d = self.x.shape
        shape, self.dtype = (sets, len(runs)), self.x.dtype
        self.on_sides = examples.on_sides
        self.squares = torch.linalg.vector_norm(self.x, dim=2).square()[:, None]  # [S, 1, N]
        self.first_of_m2 = examples.has_second[:, None].to(self.dtype)
        self.three, self.weight_decay = Three.of(over_runs(runs, "r")), over_runs(runs, "weight_decay")
        self.anneal_below, self.quiet_below = over_runs(runs, "anneal_below"), over_runs(runs, "quiet_below")
        self.noise, self.time = Noise(runs, sets), 0.0
        self.annealed = torch.zeros(shape, dtype=torch.bool)
        self.quiet = torch.zeros(shape, dtype=torch.bool)
        self.w = torch.zeros(*shape, d, dtype=self.dtype)  # r's linear predictor is w / 4
        self.w_m2 = torch.zeros_like(self.w)
        self.own = torch.zeros(*shape, n, dtype=self.dtype)
        self.r, self.r_before = torch.zeros_like(self.own), torch.zeros_like(self.own)
        self.g = torch.zeros(*shape, 3, dtype=torch.float64)
        self.past_own, self.past_g = Past((*shape, n), self.dtype), Past((*shape, 3), torch.float64)
        self.square_v, self.square_own, self.square_own_m2 = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
        self._set_rates()

    def go_on(self) -> None:
        """One block."""
        self._set_rates()
        middle = (self.block * self.hold - self.noise.lr) / 2  # of the block's gradients
        activations = self.noise.moment(middle)
        total = torch.zeros_like(self.own)
        for k in range(self.block):
            total = self._one_hold(k, total)
        kept = (self.noise.left(self.block * self.hold) - self.noise.log_decay).exp()
        self.noise.advance(self.block * self.hold)
        self.time += self.block * self.hold
        self.past_own.add(total, activations, self.noise.log_decay)
        self.past_g.merge(self.block, APART * self.block)
        self._update_r(total, kept)

    def _one_hold(self, k: int, total: Tensor) -> Tensor:
        """Move g by one hold; the sum of the block's residuals so far, each with what is left of it."""
        noise, begin, end = self.noise, k * self.hold, (k + 1) * self.hold
        outputs = self.r + (self.r - self.r_before) * (k / self.block) + self._g_of_examples()
        residual = pull(outputs, self.labels)
        kept = (noise.left(end) - noise.left(begin)).exp()
        amount = self._amount(kept)
        source = (residual @ self.on_sides).double() * amount[..., None]
        kernel = self.three.kernel(torch.ones_like(amount))
        own = torch.einsum("sri,srij,srj->sr", source, kernel, source)
        fixed = kept * (source * self.g).sum(-1) + own  # source times g at the end, if all activations stayed
        self.past_g.add(source, noise.moment(begin + (self.hold - noise.lr) / 2), noise.left(end))
        sources, left, rho = self.past_g.seen(noise.moment(end))
        self.g = torch.einsum("hsr,hsrij,hsrj->sri", left, self.three.kernel(rho), sources)
        changed = (source * self.g).sum(-1) - fixed
        self.square_v = kept**2 * self.square_v + 2 * fixed - own + self._share(self.hold) * changed
        return total * _as(kept, total) + residual * _as(amount, total)

    def _amount(self, kept: Tensor) -> Tensor:
        """The sum of lr (1 - lr lambda)^j over the steps of a hold after which `kept` is left of a weight [S, R]."""
        decays = self.weight_decay > 0
        return torch.where(decays, (1 - kept) / self.weight_decay.clamp(min=1e-300), self.hold)

    def _share(self, elapsed: float) -> Tensor:
        """Twice the mean, over the steps of a time, of how much of it has passed: 0 for a single step [S, R]."""
        return 1 - self.noise.lr / elapsed

    def _norms_of_own(self, total: Tensor, kept: Tensor, own: Tensor) -> None:
        """Squared norms of what W's signal has in directions of single examples, after the block, where its terms are `own`."""
        alone = total.square() * self.squares / 4
        fixed = _as(kept, total) * total * self.own + alone  # total times the own terms, if all activations stayed
        grown = 2 * fixed - alone + _as(self._share(self.block * self.hold), total) * (total * own - fixed)
        self.square_own = kept**2 * self.square_own + grown.sum(-1).double()
        self.square_own_m2 = kept**2 * self.square_own_m2 + (grown * self.first_of_m2).sum(-1).double()

    def _update_r(self, total: Tensor, kept: Tensor) -> None:
        """The linear predictor, the own terms and r at the block's end."""
        of_p, of_both = self._pulled(total)
        self.w = self.w * _as(kept, total) + of_p + of_both
        self.w_m2 = self.w_m2 * _as(kept, total) + of_both
        sources, left, rho = self.past_own.seen(self.noise.moment(0.0))
        own = torch.einsum("hsr,hsrn->srn", (left * own_excess(rho)).to(self.dtype), sources) * self.squares
        self._norms_of_own(total, kept, own)
        self.own = own
        self.r_before, self.r = self.r, self._linear() + self.own

    def _pulled(self, total: Tensor) -> tuple[Tensor, Tensor]:
        """What residuals [S, R, N] give the linear predictor [S, R, d]: those of examples with P alone, and with both."""
        products = [
            (of_set[:, :alone] @ x[:alone], of_set[:, alone:end] @ x[alone:end])
            for of_set, x, (alone, end) in zip(total, self.x, self.ends, strict=True)
        ]
        of_p, of_both = (torch.stack(one) for one in zip(*products, strict=True))
        return of_p, of_both

    def _linear(self) -> Tensor:
        """r's linear part on the examples [S, R, N]."""
        found = torch.zeros_like(self.own)
        for of_set, w, x, (_, end) in zip(found, self.w, self.x, self.ends, strict=True):
            of_set[:, :end] = w @ x[:end].T / 4
        return found

    def _g_of_examples(self) -> Tensor:
        return self.g.to(self.dtype) @ self.on_sides.transpose(1, 2)

    def _set_rates(self) -> None:
        """Anneal where the training loss has come below a run's threshold."""
        loss = losses(self.r, self._g_of_examples(), self.examples)["loss"].double()
        self.annealed = self.annealed | (loss < self.anneal_below)
        self.quiet = self.quiet | (loss < self.quiet_below)
        self.noise.set(self.annealed, self.quiet)

    def measure(self) -> dict[str, Tensor]:
        """All quantities now [S, R]."""
        w, w_m2 = self.w.double(), self.w_m2.double()
        square, square_m1, square_m2 = (one.square().sum(-1) / 4 for one in (w, w - w_m2, w_m2))
        return {
            "time": torch.full_like(self.square_v, self.time),
            "annealed": self.annealed.double(),
            **losses(self.r, self._g_of_examples(), self.examples),
            "g": self.g,
            "error_q": error_q(self.g),
            "along": self.w[..., 0].double() / 4,
            "across": torch.linalg.vector_norm(self.w[..., 1:].double(), dim=-1) / 4,
            "norm_w": (square + self.square_own).sqrt(),
            "norm_v": self.square_v.sqrt(),
            "norm_w_m2": (square_m2 + self.square_own_m2).sqrt(),
            "norm_w_m1": (square_m1 + self.square_own - self.square_own_m2).clamp(min=0).sqrt(),
            "along_m2": w_m2[..., 0] / 4,
            "noise_std": self.noise.variance.sqrt(),
            "noise_kept": (self.noise.log_decay - self.noise.variance.log() / 2).exp(),
        }


def _as(factor: Tensor, values: Tensor) -> Tensor:
    """A factor [S, R] for values [S, R, N]."""
    return factor[..., None].to(values)


def _with_errors(curves: Curves, dimension: int) -> Curves:
    """With the test errors that are integrals over r's linear predictor."""
    along, across = curves["along"], curves["across"]
    return curves | {
        "error_p": generalization.error_p(along, across),
        "error_p_signal": generalization.error_p(along, across),  # the noise has no output here
        "error_both": generalization.error_both(along, across, curves["g"], dimension),
    }
