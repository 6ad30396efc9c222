"""From a result to the plain arrays that both the page and the static figures draw.

Shapes: L learning rates, S runs of one learning rate (data seeds x seeds), E epochs, G groups, K features.
Values that are not finite are left out of every mean; where none is left, the mean is NaN and nothing is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.charts import Axis, Border, Layer, Span, style
from lrscope.dynamics.optimizers import OPTIMIZERS, OWN, options
from lrscope.dynamics.own_schedule import name_of
from lrscope.mapping import types
from lrscope.mapping.types import RegimeMap
from lrscope.reporting.text import parse, rate
from lrscope.schema import segment

Array = NDArray[np.float64]

SEEDS = ("data_seed", "seed")
FINAL_SHARE = 0.2  # windows at the end that count as final: three_regimes averages the last 200 of 1000 epochs (Fig. 4)
MOST_POINTS = 300  # points of a curve; ours: finer than a pixel column on most screens


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The axis of learning rates: `lr` (L,), cell `edges` (L + 1,) half-way between neighbours on the log scale."""

    lr: Array
    edges: Array
    name: str
    short: str

    def text(self, lr: float) -> str:
        """A learning rate as the command line prints it."""
        return rate(float(lr))

    @property
    def axis(self) -> Axis:
        """The axis of every panel over learning rates."""
        low, high = (float(edge) for edge in self.edges[[0, -1]])
        return Axis(title=self.name, short=self.short, log=True, limits=(low, high))


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Values over runs, (..., S), and what remains of them over the last axis: mean, deviation, range, (...)."""

    values: Array
    mean: Array
    sd: Array
    low: Array
    high: Array


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Neighbouring learning rates with one regime, from cell edge to cell edge."""

    regime: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Backdrop:
    """What lies behind every figure over learning rates: shaded regimes and their borders. Nothing where none is known."""

    stretches: tuple[Stretch, ...]
    borders: tuple[types.Border, ...]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One quantity over the grid. `spread` is (L, ...); `reference` a level to compare with."""

    title: str
    log: bool
    spread: Spread
    reference: float | None = None


def grid(result: xr.DataTree) -> Grid:
    """The axis of learning rates with the words that fit the result's space."""
    lr = np.asarray(result.coords["lr"].values, dtype=float)
    logs = np.log(lr)
    inner = (logs[1:] + logs[:-1]) / 2
    first, last = (logs[0] - inner[0], inner[-1] - logs[-1]) if lr.size > 1 else (-0.5, 0.5)
    edges = np.exp(np.concatenate([[logs[0] - abs(first)], inner, [logs[-1] + abs(last)]]))
    sphere = result.attrs["space"] == "sphere"
    peak = "" if schedule(result) == "constant" else "peak "
    name = "effective learning rate (ELR)" if sphere else "learning rate"
    return Grid(lr=lr, edges=edges, name=peak + name, short=peak + ("ELR" if sphere else "learning rate"))


def schedule(result: xr.DataTree) -> str:
    """The schedule that the learning rates of the grid are the peaks of; `constant` if they have none."""
    config = parse(result.attrs["config"])
    return str(config.get("schedule", "constant")) if isinstance(config, dict) else "constant"


def training(result: xr.DataTree) -> list[tuple[str, str]]:
    """The optimizer with its options and the schedule with its warm-up, as names and words."""
    read = parse(result.attrs["config"])
    config = read if isinstance(read, dict) else {}
    return [("optimizer", _optimizer(config)), ("schedule", name_of(schedule(result)) + _warmup(config))]


def _optimizer(config: dict[str, Any]) -> str:
    """Options that are zero or off are left out."""
    name = str(config.get("optimizer", "sgd"))
    clauses = ["the task's own" if name == OWN else name]
    for option in options(name) if name in OPTIMIZERS else ():
        value = config.get(option)
        if value:
            numbers = value if isinstance(value, list) else [] if value is True else [value]
            clauses.append(" ".join((option.replace("_", " "), " and ".join(map(str, numbers)))).strip())
    if config.get("clip_norm"):
        clauses.append(f"gradients clipped to norm {config['clip_norm']}")
    return ", ".join(clauses)


def _warmup(config: dict[str, Any]) -> str:
    for unit in ("epochs", "steps"):
        if config.get("warmup_" + unit):
            return f" after a warm-up of {config['warmup_' + unit]} {unit}"
    return ""


def has_regimes(regime_map: RegimeMap) -> bool:
    """Is the regime of any learning rate known?"""
    return any(label.regime != "?" for label in regime_map.labels)


def backdrop(axis: Grid, regime_map: RegimeMap) -> Backdrop:
    """Neighbouring learning rates of one regime merged into spans; the borders that have a place."""
    if not has_regimes(regime_map):
        return Backdrop(stretches=(), borders=())
    named = {round(float(np.log(x.lr)), 9): x.regime for x in regime_map.labels}
    found: list[Stretch] = []
    for i, lr in enumerate(axis.lr):
        regime = named.get(round(float(np.log(lr)), 9), "?")
        low, high = float(axis.edges[i]), float(axis.edges[i + 1])
        if found and found[-1].regime == regime:
            low = found.pop().low
        found.append(Stretch(regime=regime, low=low, high=high))
    return Backdrop(stretches=tuple(found), borders=tuple(b for b in regime_map.borders.values() if b.lr is not None))


def shading(back: Backdrop, *, letters: bool = True) -> list[Layer]:
    """Regimes as tinted stretches with their letters above them, borders (dotted inside regime 2) with their intervals."""
    layers: list[Layer] = [
        Span(
            low=s.low,
            high=s.high,
            label=s.regime,
            color=style.REGIME_COLOR[s.regime],
            place="above" if letters else "none",
        )
        for s in back.stretches
    ]
    for b in back.borders:
        if b.lr is not None:
            layers.append(Border(x=b.lr, low=b.low, high=b.high, dotted=b.between == "2A|2B"))
    return layers


def spread(values: Array) -> Spread:
    """Summarise the last axis, leaving out what is not finite."""
    values = np.where(np.isfinite(values), values, np.nan)
    count = np.isfinite(values).sum(-1)
    divisor = np.maximum(count, 1)
    mean = np.where(count > 0, np.nansum(values, -1) / divisor, np.nan)
    variance = np.nansum((values - mean[..., None]) ** 2, -1) / np.maximum(count - 1, 1)
    low = np.where(count > 0, np.where(np.isnan(values), np.inf, values).min(-1), np.nan)
    high = np.where(count > 0, np.where(np.isnan(values), -np.inf, values).max(-1), np.nan)
    return Spread(values=values, mean=mean, sd=np.where(count > 0, np.sqrt(variance), np.nan), low=low, high=high)


def pooled(array: xr.DataArray, *front: str) -> Array:
    """Values with the named dimensions in front and all seeds pooled into the last axis: (..., S)."""
    values = np.asarray(array.transpose(*front, *SEEDS).values, dtype=float)
    return values.reshape(*values.shape[: len(front)], -1)


def suits_log(values: Array) -> bool:
    """Whether a log axis fits: nearly all values positive. The few others (an error of 0) then leave a gap."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and np.mean(finite > 0) > 0.95)


def is_classification(result: xr.DataTree) -> bool:
    """Whether accuracies exist; regression has losses only."""
    task = parse(result.attrs["task"])
    return not (isinstance(task, dict) and task.get("kind") == "regression")


def sharpness(result: xr.DataTree, prefix: str = "") -> tuple[str, str]:
    """(variable of a trained node, words) of the gradient-norm sharpness that this result has."""
    if int(result.attrs["scale_invariant"]):
        return prefix + "effective_grad_norm", "sharpness (effective gradient norm)"
    return prefix + "grad_norm", "sharpness (gradient norm)"


def quality(result: xr.DataTree) -> tuple[str, str]:
    """(variable of any node, words) of the test quality that this task has."""
    return ("test_accuracy", "test accuracy") if is_classification(result) else ("test_loss", "test loss")


def regime_at(back: Backdrop, lr: float) -> str:
    """The regime of the span that holds this learning rate."""
    return next((s.regime for s in back.stretches if s.low <= lr <= s.high), "?")


def with_level(panel: Quantity) -> Array:
    """All values of a panel and its reference, flat: what its axis must hold."""
    level = [] if panel.reference is None else [panel.reference]
    return np.concatenate([panel.spread.values.ravel(), level])


def quantities(result: xr.DataTree) -> tuple[Quantity, ...]:
    """Training loss, test quality and sharpness at the end of pre-training, each (L, S)."""
    random = np.asarray(result.dataset["random_train_loss"].values, dtype=float)
    test, words = quality(result)
    steep, steep_words = sharpness(result, "fixed_")
    pretrain = segment(result, "pretrain")
    rows: list[tuple[str, Array, bool, float | None]] = [
        ("training loss", pooled(pretrain["fixed_train_loss"], "lr"), True, mean_of(random)),
        (words, pooled(pretrain[test].isel(epoch=-1), "lr"), test == "test_loss", None),
        (steep_words, pooled(pretrain[steep], "lr"), True, None),
    ]
    return tuple(
        Quantity(title=title, log=log and suits_log(values), spread=spread(values), reference=level)
        for title, values, log, level in rows
    )


def nonfinite_counts(result: xr.DataTree) -> NDArray[np.int64]:
    """(L,): how many runs of each learning rate overflowed."""
    return np.asarray((pooled(segment(result, "pretrain")["status"], "lr") == 1).sum(-1), dtype=np.int64)


def mean_of(values: Array) -> float | None:
    """Mean of the finite values, None without any."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def final_epochs(array: xr.DataArray) -> xr.DataArray:
    """The last fifth of the windows, at least one."""
    keep = max(1, round(array.sizes["epoch"] * FINAL_SHARE))
    return array.isel(epoch=slice(-keep, None))


def thinned(count: int) -> NDArray[np.int64]:
    """At most `MOST_POINTS` indices out of `count`, evenly spaced, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(np.int64))
