"""What a sweep trains, resolved and checked at construction. Saved with every result."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

from lrscope.errors import LrscopeError

SPACES = ("sphere", "whole")
OPTIMIZERS = ("sgd", "adam")
PRECISIONS = ("float32", "float64", "bf16")
PATHS = ("auto", "batched", "single")
LEAST_ADAPTIVE_LRS = 8  # ours: with fewer, scouts and neighbours of the borders are the whole grid
PLACES_TO_RUN = ("local", "ray")
MAGNITUDES = 31  # Cubuk et al. 2020: magnitudes of RandAugment go up to 30
LATER_FIELDS = ("log_epochs", "snapshot_epochs", "keep_weights", "optimizer", "randaugment")  # of SweepConfig


def log_grid(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` learning rates from `low` to `high`, evenly spaced on a logarithmic axis, rounded to 4 digits."""
    if not (0 < low < high < math.inf):
        raise LrscopeError(f"lrs: the grid {low:g}:{high:g}:{count} needs 0 < low < high: write low:high:count")
    if count < 2:
        raise LrscopeError(f"lrs: the grid {low:g}:{high:g}:{count} needs at least 2 points: raise its count")
    ratio = math.log(high / low)
    return tuple(float(f"{low * math.exp(ratio * i / (count - 1)):.4g}") for i in range(count))


def parse_lrs(text: str) -> tuple[float, ...]:
    """Read `low:high:count` (log grid) or `a,b,c` (a list) as the command line and config files write them."""
    try:
        if ":" in text:
            low, high, count = text.split(":")
            return log_grid(float(low), float(high), int(count))
        return tuple(float(part) for part in re.split(r"[,\s]+", text.strip()) if part)
    except ValueError:
        raise LrscopeError(
            f"lrs: cannot read {text!r}: write low:high:count, such as 1e-5:1:24, or a list 1e-3,1e-2"
        ) from None


def check_lrs(name: str, lrs: Sequence[float], *, at_least: int = 1) -> None:
    """Refuse an empty, non-positive, unordered or too small grid."""
    if len(lrs) == 0:
        raise LrscopeError(f"{name}: the grid is empty: give at least {at_least} learning rates, such as 1e-5:1:24")
    for lr in lrs:
        if not (math.isfinite(lr) and lr > 0):
            raise LrscopeError(f"{name}: {lr:g} is not a positive finite learning rate: remove it from the grid")
    for a, b in pairwise(lrs):
        if b <= a:
            raise LrscopeError(
                f"{name}: {b:g} comes after {a:g}: list the learning rates in increasing order, each once"
            )
    if len(lrs) < at_least:
        raise LrscopeError(
            f"{name}: {len(lrs)} learning rates are too few for a map of regimes: give at least {at_least}, such as 1e-5:1:24"
        )


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """A sweep over learning rates and seeds: what is trained and what is logged.

    Everything here determines the numbers; where and how it runs is `EngineConfig`.
    """

    lrs: tuple[float, ...]
    seeds: int = 3  # ours: the least that shows a spread
    data_seeds: int = 1
    space: str = "sphere"  # three_regimes, Sec. 4
    scale_invariant: bool | None = None  # None: yes on the sphere, no in the whole space
    radius: float | None = None  # total weight norm on the sphere; None: the initial one (three_regimes, Sec. 4)
    epochs: float | None = None
    steps: int | None = None
    batch_size: int = 128  # three_regimes, Sec. 4
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "constant"
    finetune_lrs: tuple[float, ...] = ()
    finetune_epochs: float | None = None
    finetune_steps: int | None = None
    average: tuple[int, ...] = ()
    average_every: int | None = None  # steps between averaged checkpoints; None: one epoch (feature_learning, App. A)
    same_init: bool = True  # three_regimes, Sec. 4: same initialisation and batch order for every LR
    augment: bool = False
    precision: str = "float32"
    log_points: int = 200  # ours: a curve as fine as a screen shows
    adaptive: bool = False  # train only the runs that the map's answer needs, in rounds (docs/regimes.md)
    random_points: int = 16  # ours: the mean of 16 points is known to a quarter of their spread
    log_epochs: tuple[float, ...] = ()  # further logged moments of pre-training, parts of epochs too
    snapshot_epochs: tuple[float, ...] = ()  # moments of pre-training whose weights are kept
    keep_weights: bool = False  # of fine-tunes and averages too; those of pre-training always are
    randaugment: tuple[int, int] | None = None  # (N, M) of Cubuk et al. 2020: operations an image, magnitude of 0 to 30
    optimizer: str = "sgd"  # three_regimes, Sec. 4; adam: Kingma & Ba 2015, as torch.optim.Adam

    def __post_init__(self) -> None:
        check_lrs("lrs", self.lrs)
        if self.finetune_lrs:
            check_lrs("finetune_lrs", self.finetune_lrs)
        for name in ("seeds", "data_seeds", "batch_size", "log_points", "random_points"):
            value = getattr(self, name)
            if value < 1:
                raise LrscopeError(f"{name}: {value} is too small: use 1 or more")
        if self.space not in SPACES:
            raise LrscopeError(f"space: {self.space!r} is unknown: choose sphere or whole")
        if self.precision not in PRECISIONS:
            raise LrscopeError(f"precision: {self.precision!r} is unknown: choose one of {', '.join(PRECISIONS)}")
        if self.space == "sphere":
            if self.scale_invariant is False:
                raise LrscopeError("scale_invariant: false does not go with space sphere: use space whole")
            if self.momentum or self.weight_decay:
                raise LrscopeError(
                    f"momentum {self.momentum:g} and weight_decay {self.weight_decay:g}: training on the sphere has "
                    "neither: set both to 0, or use space whole"
                )
        elif self.radius is not None:
            raise LrscopeError(f"radius: {self.radius:g} has no meaning in space whole: leave it out")
        if self.radius is not None and not self.radius > 0:
            raise LrscopeError(f"radius: {self.radius:g} is not positive: use a total weight norm above 0")
        if not 0 <= self.momentum < 1:
            raise LrscopeError(f"momentum: {self.momentum:g} is outside [0, 1): use 0.9 or leave it out")
        if self.optimizer not in OPTIMIZERS:
            raise LrscopeError(f"optimizer: {self.optimizer!r} is unknown: choose sgd or adam")
        if self.optimizer == "adam" and self.space == "sphere":
            raise LrscopeError(
                "optimizer: 'adam' does not train on the sphere, where steps are projected SGD: use space whole"
            )
        if self.optimizer == "adam" and self.momentum:
            raise LrscopeError(f"momentum: {self.momentum:g} is SGD's, and adam has moments of its own: leave it out")
        if self.weight_decay < 0:
            raise LrscopeError(f"weight_decay: {self.weight_decay:g} is negative: use 0 or more")
        if self.randaugment is not None:
            _check_randaugment(self.randaugment)
        self._check_length("epochs", "steps", "")
        if self.finetune_lrs:
            self._check_length("finetune_epochs", "finetune_steps", "finetune_")
        elif self.finetune_epochs is not None or self.finetune_steps is not None:
            raise LrscopeError("finetune_lrs: missing, yet a fine-tuning length is given: name the learning rates too")
        if any(n < 2 for n in self.average) or list(self.average) != sorted(set(self.average)):
            raise LrscopeError(
                f"average: {list(self.average)} must be increasing whole numbers from 2 on: such as 2,5,10"
            )
        if self.average_every is not None and self.average_every < 1:
            raise LrscopeError(f"average_every: {self.average_every} is too small: use 1 step or more")

        for name in ("log_epochs", "snapshot_epochs"):
            moments = getattr(self, name)
            if list(moments) != sorted(set(moments)) or any(not 0 < m < math.inf for m in moments):
                raise LrscopeError(f"{name}: {list(moments)} must be increasing positive numbers: such as 0.1,0.5,1")
        if self.adaptive:
            if len(self.lrs) < LEAST_ADAPTIVE_LRS:
                raise LrscopeError(
                    f"adaptive: {len(self.lrs)} learning rates are too few to leave any out: give at least "
                    f"{LEAST_ADAPTIVE_LRS}, such as 1e-5:1:24, or leave adaptive out"
                )
            if self.average and not self.finetune_lrs:
                raise LrscopeError(
                    "adaptive: averages are taken only where runs are fine-tuned: name finetune_lrs too, or leave average out"
                )

    def _check_length(self, epochs: str, steps: str, prefix: str) -> None:
        e, s = getattr(self, epochs), getattr(self, steps)
        if (e is None) == (s is None):
            raise LrscopeError(f"{epochs} and {steps}: give exactly one of them (now {epochs}={e}, {steps}={s})")
        if (e if e is not None else s) <= 0:
            raise LrscopeError(f"{prefix}length: {e if e is not None else s} is not positive: train for 1 step or more")

    @property
    def invariant(self) -> bool:
        """Is the network made scale-invariant?"""
        return self.space == "sphere" if self.scale_invariant is None else self.scale_invariant

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    def determining(self) -> dict[str, Any]:
        """What determines the numbers: fields that came later count only where they are used, so that an unfinished sweep
        of an earlier version goes on."""
        absent = {f.name: f.default for f in fields(self) if f.name in LATER_FIELDS}
        return {k: v for k, v in self.to_dict().items() if k not in absent or v != absent[k]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SweepConfig:
        """The inverse of `to_dict`."""
        known = {f.name for f in fields(cls)}
        kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
        return cls(**kept)


def _check_randaugment(given: Sequence[int]) -> None:
    """Refuse anything but (N, M) with N >= 1 operations of magnitude 0 <= M <= 30 (Cubuk et al. 2020)."""
    whole = len(given) == 2 and all(isinstance(n, int) and not isinstance(n, bool) for n in given)
    if not whole or given[0] < 1 or not 0 <= given[1] < MAGNITUDES:
        raise LrscopeError(
            f"randaugment: {list(given)} is not N,M with N >= 1 operations an image and a magnitude M from 0 to "
            f"{MAGNITUDES - 1}: write 2,14"
        )


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Where and how a sweep runs: in local processes or on Ray (`on`). `path`, `chunk` and `compile` fix the plan; None and
    auto let the engine time them."""

    device: str = "auto"
    jobs: int | None = None
    path: str = "auto"
    chunk: int | None = None
    compile: bool | None = None
    checkpoint_seconds: float = 15.0  # ours: what a kill may cost
    on: str = "local"

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise LrscopeError(f"jobs: {self.jobs} is too small: use 1 or more processes")
        if self.on not in PLACES_TO_RUN:
            raise LrscopeError(f"on: {self.on!r} is unknown: choose local or ray")
        if self.path not in PATHS:
            raise LrscopeError(f"path: {self.path!r} is unknown: choose one of {', '.join(PATHS)}")
        if self.chunk is not None and self.chunk < 1:
            raise LrscopeError(f"chunk: {self.chunk} is too small: use 1 run or more")
        if self.path == "single" and self.chunk not in (None, 1):
            raise LrscopeError(f"chunk: {self.chunk} does not go with path single: leave it out, or use path batched")


def digest(parts: Iterable[Any]) -> str:
    """A short hash of JSON-ready values."""
    text = json.dumps(list(parts), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
