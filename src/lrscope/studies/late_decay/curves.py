"""From parameters and seeds to labelled curves of late_decay's model: a large learning rate, then its decay.

S seeds, G gammas, L learning rates, R = G x L runs on each data set, B times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from lrscope.checked import Count, Positive, Seed, Steps, checked, checked_fields
from lrscope.dynamics.descend import PointRecord, descend
from lrscope.errors import LrscopeError
from lrscope.readers import Number, Whole
from lrscope.studies.forked import in_processes
from lrscope.studies.late_decay.invariant import destination
from lrscope.studies.late_decay.norm_power import Gamma, Nonnegative, NormPower, weights_of
from lrscope.studies.late_decay.problems import Problems, directions, sample

QUANTITIES = {
    "loss": "training loss: half the mean squared error, without label noise",
    "test_loss": "test loss: half the squared distance of the linear predictor from the teacher",
    "norm": "norm of the weights w",
    "predictor_norm": "norm of the linear predictor |w|^gamma w",
    "off": "distance of the linear predictor from the next interpolator",
    "along": "distance of that interpolator from the minimum-norm one",
    "distance": "distance of the linear predictor from the minimum-norm interpolator",
    "destination": "distance from the minimum-norm interpolator to the one in which gradient flow from here ends",
    "sharpness": "trace of the Gauss-Newton matrix",
}
OF_DATA = {
    "minimum_norm": "norm of the minimum-norm interpolator",
    "teacher_norm": "norm of the teacher",
    "zero_loss": "training loss at w = 0",
}
RUNS = 1000  # ours: trained together; more no longer fit into a core's cache
Times = Annotated[int, Whole(1, 10_000)]
Fraction = Annotated[float, Number(0, 1, above=True)]


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Setting:
    """Data and training. Each gamma goes with each learning rate.

    Args:
        examples, dimension: N and d of each data set, N < d.
        gamma: exponents of the model; 0 is the linear model.
        lr: the large learning rates, of phases I and II.
        steps: with the large rate.
        decay: the small rate of phase III over the large one.
        small_steps: with the small rate; 0 for none.
        batch: examples in a batch, drawn with replacement; None for all.
        label_noise: standard deviation of the noise that is added to labels anew in each step.
        weight_noise: standard deviation of the Gaussian noise that each step adds to each weight.
        start_norm: where training starts, in a random direction.
        start_of: what has this norm: the `weights`, or the linear `predictor` (which then is the same for all gammas).
        teacher_norm: norm of the teacher.
    """

    examples: Count = 20
    dimension: Count = 40
    gamma: Sequence[Gamma]
    lr: Sequence[Positive]
    steps: Steps
    decay: Fraction = 0.1
    small_steps: Annotated[int, Whole(0, 100_000_000)] = 0
    batch: Count | None = 1
    label_noise: Nonnegative = 0.0
    weight_noise: Nonnegative = 0.0
    start_norm: Positive = 1.5
    start_of: Literal["weights", "predictor"] = "weights"
    teacher_norm: Positive = 1.0

    def __post_init__(self) -> None:
        for name in ("gamma", "lr"):
            values = getattr(self, name)
            if not values:
                raise LrscopeError(f"{name}: there is none: pass at least one")
            if len(set(values)) < len(values):
                raise LrscopeError(f"{name}: {values} has a value twice: pass each once")
        if self.examples >= self.dimension:
            raise LrscopeError(
                f"examples: {self.examples} in {self.dimension} dimensions leave at most one interpolator: use fewer "
                f"than {self.dimension}"
            )

    @property
    def runs(self) -> list[tuple[float, float]]:
        """gamma and learning rate of each run on a data set [R]."""
        return [(gamma, lr) for gamma in self.gamma for lr in self.lr]


@checked
def late_decay_curves(
    setting: Setting,
    seeds: Sequence[Seed],
    *,
    times: Times = 100,
    even: Annotated[int, Whole(0, 10_000)] = 0,
    dtype: torch.dtype = torch.float64,
    jobs: Annotated[int, Whole(1, 1000)] = 1,
) -> xr.Dataset:
    """Train every gamma with every learning rate on the data set of every seed.

    Args:
        seeds: each names a data set, a start and the draws of training. What it gives does not depend on the others, up to rounding.
        times: how many times are recorded with the large rate, and again with the small one, about evenly in the logarithm.
        even: how many more are recorded with the large rate, about evenly in the steps.
        dtype: torch.float32 is faster, and rounds distances at 1e-7.
        jobs: processes that share the data sets, each with one thread, where the system can fork. Numbers do not depend on it.

    Returns:
        `QUANTITIES` over (gamma, lr, seed, time), and `OF_DATA` over seed. Time is in steps, and `small` says at which times the rate is the small one. NaN from where a run overflowed. Attributes: the setting.

    Raises:
        LrscopeError: no seeds.
    """
    if not seeds:
        raise LrscopeError("seeds: there are none: pass one for each data set")
    at = _times(setting, times, even)
    together = 1 if setting.weight_noise else max(1, RUNS // len(setting.runs))  # a run's number names its weight noise
    size = math.ceil(len(seeds) / math.ceil(len(seeds) / together))  # even ones, so that processes end at one time
    chunks = [seeds[first : first + size] for first in range(0, len(seeds), size)]
    found = in_processes(partial(_trained, setting, at=at, dtype=dtype), chunks, jobs)
    return _dataset(setting, seeds, at, {name: np.concatenate([c[name] for c in found], -1) for name in found[0]})


def _times(setting: Setting, times: int, even: int) -> list[int]:
    """0, then numbers of steps that grow geometrically within each phase, to its end; and even ones with the large rate."""
    found = {0} | {round(setting.steps * k / even) for k in range(1, even + 1)}
    for start, steps in ((0, setting.steps), (setting.steps, setting.small_steps)):
        if steps:
            found |= {start + round(step) for step in np.geomspace(1, steps, times)}
    return sorted(found)


def _trained(setting: Setting, seeds: Sequence[int], at: list[int], dtype: torch.dtype) -> dict[str, np.ndarray]:
    """[B, G, L, S] of each quantity, and `OF_DATA` [S]."""
    problems = sample(setting.examples, setting.dimension, seeds=seeds, teacher_norm=setting.teacher_norm, dtype=dtype)
    gammas, rates = zip(*setting.runs, strict=True)
    model = NormPower(problems, gammas, batch=setting.batch, label_noise=[setting.label_noise])
    whole = setting.steps + setting.small_steps
    found = descend(
        model,
        starts(setting, model),
        _rates(setting, torch.tensor(rates, dtype=dtype).repeat(len(seeds))),
        whole,
        noise=setting.weight_noise,
        stream=("late decay", "weight noise", seeds[0]),
        record={"point": PointRecord(partial(measured, model), at)},
    ).recorded["point"]
    shape = (len(at), len(seeds), len(setting.gamma), len(setting.lr))
    by_run = found.double().view(*shape, len(QUANTITIES)).permute(4, 0, 2, 3, 1).numpy()
    return dict(zip(QUANTITIES, by_run, strict=True)) | of_data(problems)


def of_data(problems: Problems) -> dict[str, np.ndarray]:
    """`OF_DATA` [S] each."""
    found = {
        "minimum_norm": problems.minimum_norm.norm(dim=1),
        "teacher_norm": problems.teacher.norm(dim=1),
        "zero_loss": problems.label_square / 2,
    }
    return {name: values.double().numpy() for name, values in found.items()}


def starts(setting: Setting, model: NormPower) -> Tensor:
    """Weights that training starts at [S R, d]."""
    start = (setting.start_norm * directions(model.problems))[:, None].expand(-1, model.count, -1)
    if setting.start_of == "predictor":
        start = weights_of(start, model.gamma)
    return start.reshape(-1, model.size)


def _rates(setting: Setting, large: Tensor) -> Tensor:
    """Learning rates [T, S R], without memory for what repeats: where nothing decays, and where there is one rate."""
    large = large[:1] if len(setting.lr) == 1 else large
    if not setting.small_steps:
        return large
    factor = torch.ones(setting.steps + setting.small_steps, 1, dtype=large.dtype)
    factor[setting.steps :] = setting.decay
    return factor * large


def measured(model: NormPower, points: Tensor) -> Tensor:
    """`QUANTITIES` in their order [S R, 9]."""
    alpha = model.predictors(points)
    off, along = (part.norm(dim=-1).view(-1) for part in model.problems.parts(alpha))
    found = {
        "loss": model.loss(points),
        "test_loss": model.test_loss(points),
        "norm": points.norm(dim=1),
        "predictor_norm": alpha.norm(dim=-1).view(-1),
        "off": off,
        "along": along,
        "distance": torch.hypot(off, along),
        "destination": destination(model, points).view(-1),
        "sharpness": model.sharpness(points),
    }
    return torch.stack([found[name] for name in QUANTITIES], 1)


def _dataset(setting: Setting, seeds: Sequence[int], at: list[int], found: dict[str, np.ndarray]) -> xr.Dataset:
    dims = ("gamma", "lr", "seed", "time")
    data: dict[str, Any] = {
        name: (dims, np.moveaxis(found[name], 0, -1), {"long_name": words}) for name, words in QUANTITIES.items()
    }
    data |= {name: ("seed", found[name], {"long_name": words}) for name, words in OF_DATA.items()}
    coords = {
        "gamma": list(setting.gamma),
        "lr": list(setting.lr),
        "seed": list(seeds),
        "time": ("time", at, {"units": "steps"}),
        "small": ("time", np.asarray(at) > setting.steps, {"long_name": "whether the rate was the small one"}),
    }
    attributes = {name: value for name, value in asdict(setting).items() if name not in coords and value is not None}
    return xr.Dataset(data, coords, attributes)
