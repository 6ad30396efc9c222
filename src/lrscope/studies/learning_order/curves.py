"""From parameters and seeds to labelled curves of learning_order's algorithms L-S and S, by either simulator.

Both give the same layout, so finite and infinite width are compared by subtraction.

A algorithms, S seeds, R pairs of r and weight decay, B times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from typing import Annotated, Literal

import numpy as np
import xarray as xr

from lrscope.checked import Count, Positive, Seed, checked, checked_fields
from lrscope.errors import LrscopeError
from lrscope.readers import Whole
from lrscope.studies.forked import in_processes
from lrscope.studies.learning_order.distribution import Q_ONLY, SIDES, Examples, Fraction, sample
from lrscope.studies.learning_order.finite_width import finite_width
from lrscope.studies.learning_order.generalization import total_error
from lrscope.studies.learning_order.infinite_width import infinite_width
from lrscope.studies.learning_order.quantities import QUANTITIES, Curves
from lrscope.studies.learning_order.runs import Nonnegative, Run, large_then_small, small
from lrscope.studies.learning_order.two_layers import Widths

Jobs = Annotated[int, Whole(1, 1000)]
ALGORITHMS = ("L-S", "S", "S + noise")
DERIVED = {
    "curvature": "g(z + zeta) + g(z - zeta) - 2 g(z) (Lemma 4.2)",
    "error": "test error over the whole distribution",
}


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Setting:
    """The data of Sec. 2 and the training of Sec. 3. Each r goes with each weight decay.

    Args:
        examples, dimension, p, q: N, d, p_0 and q_0, as in `distribution.sample`.
        r: distances of the three directions of Q.
        weight_decay: lambdas.
        eps: eps_1. L-S anneals below a training loss of eps_1 + q log 2, where q is the data set's own share of Q alone.
        until: T = learning rate x steps at the end.
        large_lr, small_lr: eta_1 and eta_2.
    """

    examples: Count
    dimension: Count
    p: Fraction
    q: Fraction
    r: Sequence[Positive]
    weight_decay: Sequence[Nonnegative]
    eps: Positive
    until: Positive
    large_lr: Positive = 1.0
    small_lr: Positive = 1e-3

    def __post_init__(self) -> None:
        for name in ("r", "weight_decay"):
            if not getattr(self, name):
                raise LrscopeError(f"{name}: there is none: pass at least one")


@checked
def learning_curves(
    setting: Setting,
    seeds: Sequence[Seed],
    *,
    hold: Positive = 20.0,
    block: Count = 10,
    frozen: bool = False,
    activation_noise: Nonnegative = 0.0,
    jobs: Jobs = 1,
) -> xr.Dataset:
    """Both algorithms at infinite width.

    Args:
        seeds: each is a data set. Each process simulates them one after the other, so memory does not grow with their number.
        hold, block: as in `infinite_width`.
        frozen: the control: activations stay those of the initialisation, so the loss is convex.
        activation_noise: above 0 there is a third algorithm, "S + noise": S with this much noise in what decides activations
            (`Run`), until the loss at which L-S anneals.
        jobs: processes that share the seeds, each with one thread, where the system can fork.

    Returns:
        `QUANTITIES` with `curvature` and `error` over (algorithm, r, weight_decay, seed, time); `g` also over `side` (-1, 0,
        1). Time is T.

    Raises:
        LrscopeError: no seeds; a hold that does not suit the setting.
    """

    def of(seed: int) -> Curves:
        examples = _examples(setting, seed).by_kind()  # as the simulator needs them, so that they are held once
        runs = _runs(setting, examples, frozen, activation_noise)
        every = [run for of_algorithm in runs for run in of_algorithm]
        return infinite_width(examples, every, until=setting.until, hold=hold, block=block)

    return _dataset(setting, seeds, in_processes(of, seeds, jobs))


@checked
def finite_learning_curves(
    setting: Setting,
    seeds: Sequence[Seed],
    *,
    widths: Widths,
    start_std: Positive,
    times: Count = 100,
    every: Count = 1,
    test_examples: Count = 1000,
    frozen: bool = False,
    jobs: Jobs = 1,
) -> xr.Dataset:
    """Both algorithms at finite width. S takes until / small_lr steps.

    Args:
        widths, start_std, every: as in `finite_width`.
        times: T goes from 0 to `until` in so many intervals. What is recorded of a time is what was last measured.
        test_examples: for each seed; the errors on P are counted on them.
        seeds, frozen, jobs: as in `learning_curves`.

    Returns:
        The layout of `learning_curves`.

    Raises:
        LrscopeError: no seeds.
    """
    grid = np.linspace(0, setting.until, times + 1)
    train = partial(finite_width, widths=widths, start_std=start_std, until=setting.until, every=every)

    def of(seed: int) -> Curves:
        examples, test = _examples(setting, seed), _examples(setting, seed, test_examples)
        curves = [train(examples, runs, test) for runs in _runs(setting, examples, frozen)]
        return _joined([_at(of_algorithm, grid) for of_algorithm in curves], 2)

    return _dataset(setting, seeds, in_processes(of, seeds, jobs))


def _examples(setting: Setting, seed: int, test: int = 0) -> Examples:
    """A seed's training examples, or so many test examples."""
    purpose: Literal["training", "test"] = "test" if test else "training"
    n = test or setting.examples
    return sample(n, setting.dimension, p=setting.p, q=setting.q, seeds=[seed], purpose=purpose)


def _runs(setting: Setting, examples: Examples, frozen: bool, activation_noise: float = 0.0) -> list[list[Run]]:
    """[A][R], in the order of `ALGORITHMS`."""
    q = float((examples.kind == Q_ONLY).double().mean())
    pairs = [
        {"r": r, "weight_decay": decay, "large_lr": setting.large_lr, "small_lr": setting.small_lr}
        for r, decay in product(setting.r, setting.weight_decay)
    ]
    found = [[large_then_small(eps=setting.eps, q=q, **pair) for pair in pairs], [small(**pair) for pair in pairs]]
    if activation_noise > 0:
        level = found[0][0].anneal_below
        found.append([replace(run, activation_noise=activation_noise, quiet_below=level) for run in found[1]])
    return [[replace(run, frozen=frozen) for run in runs] for runs in found]


def _at(curves: Curves, grid: np.ndarray) -> Curves:
    """What was measured last at each time of a grid. Curves are [M, 1, R, ...]; a run has times of its own once it is annealed."""
    times = curves["time"][:, 0]
    rows = [np.searchsorted(times[:, run], grid * (1 + 1e-9), side="right") - 1 for run in range(times.shape[1])]
    found = {name: np.stack([values[row, :, i] for i, row in enumerate(rows)], 2) for name, values in curves.items()}
    return found | {"time": np.broadcast_to(grid[:, None, None], found["loss"].shape)}


def _joined(curves: Sequence[Curves], axis: int) -> Curves:
    return {name: np.concatenate([c[name] for c in curves], axis) for name in curves[0]}


def _dataset(setting: Setting, seeds: Sequence[int], found: Sequence[Curves]) -> xr.Dataset:
    """Curves [B, 1, A R, ...] of each seed, with labels."""
    if not found:
        raise LrscopeError("seeds: there are none: pass one for each data set")
    curves = _joined(found, 1)
    time, grid = curves.pop("time")[:, 0, 0], (len(setting.r), len(setting.weight_decay))
    algorithms = curves["loss"].shape[2] // (grid[0] * grid[1])
    data = {}
    for name, values in curves.items():
        by_run = np.moveaxis(values, (2, 1, 0), (0, 1, 2))  # [A R, S, B, ...]
        data[name] = (
            _dims(name),
            by_run.reshape(algorithms, *grid, *by_run.shape[1:]),
            {"long_name": QUANTITIES[name]},
        )
    coords = {
        "algorithm": list(ALGORITHMS[:algorithms]),
        "r": list(setting.r),
        "weight_decay": list(setting.weight_decay),
        "seed": list(seeds),
        "time": ("time", time, {"long_name": QUANTITIES["time"]}),
        "side": list(SIDES),
    }
    attributes = {name: value for name, value in asdict(setting).items() if name not in coords}
    return _with_derived(xr.Dataset(data, coords, attributes))


def _dims(name: str) -> tuple[str, ...]:
    dims = ("algorithm", "r", "weight_decay", "seed", "time")
    return (*dims, "side") if name == "g" else dims


def _with_derived(curves: xr.Dataset) -> xr.Dataset:
    g, p, q = curves["g"], curves.attrs["p"], curves.attrs["q"]
    errors = [curves[name].values for name in ("error_p", "error_q", "error_both")]
    found = {
        "curvature": g.sel(side=-1) + g.sel(side=1) - 2 * g.sel(side=0),
        "error": xr.zeros_like(curves["error_p"]) + total_error(*errors, p=p, q=q),
    }
    return curves.assign({name: values.assign_attrs(long_name=DERIVED[name]) for name, values in found.items()})
