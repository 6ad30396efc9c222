"""decay_curve: from a result with branches that leave the main path at several times to the quality at their ends.

K times of decay, D draws of the data, S seeds, U units: the draws where there are several, else the seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.checked import checked
from lrscope.decay.saturation import LEAST, better_than_last, mean_interval, saturation
from lrscope.decay.types import DecayCurve, DecayTime, Saturation
from lrscope.errors import LrscopeError, nearest, shown
from lrscope.export import finals
from lrscope.readers import Number, Word
from lrscope.schema import PRETRAIN, Node, segment
from lrscope.validation import result_nodes, validate

Array = NDArray[np.float64]
QUALITIES = ("test_loss", "test_accuracy", "validation_loss", "validation_accuracy")
POINTS = 0.3  # of accuracy: the margin by which `regimes` chooses where to start
PERCENT = 2.0  # ours, of a loss: hundreds of test images tell no smaller differences
LEAST_TIMES = 2
FORM = "lrscope.Branch(name='decay', at=[10, 20, 40], factors=[0.1], until=60)"
Margin = Annotated[float | None, Number(0, 100, above=True)]


@dataclass(frozen=True)
class Ends:
    """One curve's runs.

    Attributes:
        node, lr, point: the branch, the main path's learning rate and the place on the branch's other axes.
        at, length: K times and lengths after them, in epochs.
        value, before, train_loss: [K, D, S]; NaN where a run did not end, or nothing is logged.
    """

    node: Node
    lr: float
    point: Mapping[str, Any]
    at: Array
    length: Array
    value: Array
    before: Array
    train_loss: Array


@checked
def decay_curve(
    result: xr.DataTree,
    *,
    branch: str | None = None,
    of: Annotated[str, Word(QUALITIES)] = "test_loss",
    lr: float | None = None,
    point: Mapping[str, Any] | None = None,
    margin: Margin = None,
) -> DecayCurve:
    """The quality at the end of training against the time at which the learning rate decays, and where waiting stops to pay.

    Args:
        result: what `sweep` returned or `open_result` opened, with a branch that leaves pre-training at two or more times.
        branch: its name; None: the only one.
        of: `test_loss`, `test_accuracy`, `validation_loss` or `validation_accuracy`, at the end of each run.
        lr: the main path's learning rate; None: the only one.
        point: a value on each further axis of the branch that has several, such as {"decay_factor": 0.1}.
        margin: what waiting may gain and not count: points of accuracy (0.3 by default), or percent of the loss at the latest
            time (2 by default).

    Raises:
        LrscopeError: no such branch, learning rate or point, or several and none named; a single seed.
    """
    found = decay_curves(result, branch=branch, of=of, lr=lr, point=point, margin=margin)
    if len(found) > 1:
        names = "; ".join(curve.title for curve in found[:6])
        raise LrscopeError(f"result: it has {len(found)} curves ({names}): name one by branch, lr and point")
    return found[0]


@checked
def decay_curves(
    result: xr.DataTree,
    *,
    branch: str | None = None,
    of: Annotated[str, Word(QUALITIES)] = "test_loss",
    lr: float | None = None,
    point: Mapping[str, Any] | None = None,
    margin: Margin = None,
) -> tuple[DecayCurve, ...]:
    """All curves of a result: of every branch with times of decay, at every learning rate and every place on its other axes.

    Args:
        branch, lr, point: only those.
        result, of, margin: as in `decay_curve`.

    Raises:
        LrscopeError: as in `decay_curve`, but several are no error.
    """
    validate(result)
    if result.sizes["data_seed"] * result.sizes["seed"] < 2:
        raise LrscopeError("result: one seed has no interval: train with seeds=3 (--seeds 3) or more")
    nodes = _named(decaying(result), branch, result)
    found = [ends for node in nodes for ends in _ends(result, node, of, lr, dict(point or {}))]
    if not found:
        raise LrscopeError(_nowhere(result, nodes, lr, point or {}))
    return tuple(_curve(result, ends, of, margin) for ends in found)


def decaying(result: xr.DataTree) -> tuple[Node, ...]:
    """The branches that leave pre-training at two or more times."""
    return tuple(
        node
        for node in result_nodes(result)
        if node.parent == PRETRAIN.name and _axis(node) in node.axes and result[node.name].sizes[_axis(node)] > 1
    )


def _axis(node: Node) -> str:
    return f"{node.name}_at"


def _named(nodes: tuple[Node, ...], branch: str | None, result: xr.DataTree) -> tuple[Node, ...]:
    if not nodes:
        raise LrscopeError(
            f"result: no branch leaves pre-training at {LEAST_TIMES} or more times: train with branches=[{FORM}] (--branches)"
        )
    if branch is None:
        return nodes
    names = [node.name for node in nodes]
    if branch in names:
        return (nodes[names.index(branch)],)
    if branch in result.children:
        raise LrscopeError(
            f"branch: {branch} does not leave pre-training at {LEAST_TIMES} or more times: name one of {', '.join(names)}"
        )
    raise LrscopeError(f"branch: {shown(branch)} is not in the result: {nearest(branch, names)}")


def _ends(result: xr.DataTree, node: Node, of: str, lr: float | None, point: dict[str, Any]) -> Iterator[Ends]:
    """The runs of each learning rate and place that fit."""
    data = segment(result, node.name)
    if of not in data:
        raise LrscopeError(f"of: the result has no {of}: {_instead(of)}")
    last, main = finals(data, node.runs), segment(result, PRETRAIN.name)
    at = data[_axis(node)].values.astype(float)
    others = [axis for axis in node.axes if axis != _axis(node)]
    for rate, *values in product(data["lr"].values.tolist(), *(data[axis].values.tolist() for axis in others)):
        place = dict(zip(others, values, strict=True))
        if (lr is not None and not np.isclose(rate, lr, rtol=1e-9)) or any(
            place.get(axis) != wanted for axis, wanted in point.items()
        ):
            continue
        runs = last.sel(lr=rate, **place).transpose(_axis(node), "data_seed", "seed")
        before = _before(main.sel(lr=rate), of, runs["branch_step"].values)
        length = runs["epoch"].values.astype(float)
        loss = runs["train_loss"].values.astype(float)
        yield Ends(node, float(rate), place, at, length, runs[of].values.astype(float), before, loss)


def _instead(of: str) -> str:
    if of.startswith("validation"):
        return "train with --validation, or choose test_loss"
    return "its task is a regression: choose test_loss"


def _before(main: xr.Dataset, of: str, steps: NDArray[np.int64]) -> Array:
    """The main path's quality where it is left after so many steps [K, D, S]; NaN where it is not logged."""
    found = np.full(steps.shape, np.nan)
    if "epoch" not in main[of].dims:
        return found
    values = main[of].transpose("data_seed", "seed", "epoch").values
    for k, step in enumerate(steps.reshape(len(steps), -1).max(1)):
        logged = np.flatnonzero(main["step"].values == step)
        if len(logged):
            found[k] = values[..., logged[0]]
    return found


def _nowhere(result: xr.DataTree, nodes: tuple[Node, ...], lr: float | None, point: Mapping[str, Any]) -> str:
    rates = result.coords["lr"].values.tolist()
    if lr is not None and not np.isclose(rates, lr, rtol=1e-9).any():
        return f"lr: {lr:g} was not trained: name one of {shown(rates)}"
    axes = {axis: segment(result, node.name)[axis].values.tolist() for node in nodes for axis in node.axes}
    return f"point: {shown(dict(point))} was not trained: name values of {shown(axes)}"


def _curve(result: xr.DataTree, ends: Ends, of: str, margin: float | None) -> DecayCurve:
    there = np.asarray(np.isfinite(ends.value).any((1, 2)), dtype=np.bool_)
    if there.sum() < LEAST_TIMES:
        raise LrscopeError(
            f"result: runs of {ends.node.name} end finite at {there.sum()} of {len(there)} times: use a smaller learning rate"
        )
    kept = np.flatnonzero(there)
    units = _units(ends.value[kept])
    complete = units[:, np.isfinite(units).all(0)]
    is_loss = of.endswith("loss")
    allowed = margin if margin is not None else PERCENT if is_loss else POINTS
    costs = _percent(complete, of) if is_loss else -100 * complete
    notes = _notes(ends, there, units, costs, allowed)
    return DecayCurve(
        branch=ends.node.name,
        lr=ends.lr,
        quality=of,
        budget=_budget(result, ends, kept),
        margin=allowed,
        unit=f"% of the {of.replace('_', ' ')} at the latest time" if is_loss else "points",
        times=_times(ends, kept, units, costs),
        saturation=_saturation(ends.at[kept], costs, allowed, result),
        runs=_runs(result, ends),
        point=ends.point,
        notes=notes,
    )


def _units(values: Array) -> Array:
    """[K, U] of values [K, D, S]: means over the seeds of each draw where there are several, because runs on the same examples
    share what those do. NaN where one of them did not end."""
    return values.mean(2) if values.shape[1] > 1 else values[:, 0]


def _percent(losses: Array, of: str) -> Array:
    """Losses [K, U] in percent of the mean at the latest time."""
    if not losses.size:
        return losses
    level = float(losses[-1].mean())
    if not level > 0:
        raise LrscopeError(
            f"of: the {of.replace('_', ' ')} at the latest time is {level:g}, of which there is no percent: choose an accuracy"
        )
    return 100 * losses / level


def _saturation(at: Array, costs: Array, margin: float, result: xr.DataTree) -> Saturation:
    found = saturation(costs, margin)
    if found is None:
        several = result.sizes["data_seed"] > 1
        what = "draws of the data (--data-seeds)" if several else "seeds (--seeds)"
        return Saturation(reason=f"{costs.shape[1]} {what} ended at all times, {LEAST} are needed")
    first, early, late = found
    return Saturation(
        at=float(at[first]) if first < len(at) - 1 else None,
        low=float(at[early]) if early >= 0 else None,
        high=float(at[late]) if late is not None else None,
    )


def _times(ends: Ends, kept: NDArray[np.int64], units: Array, costs: Array) -> tuple[DecayTime, ...]:
    rows = []
    for k, place in enumerate(kept):
        value = mean_interval(units[k][np.isfinite(units[k])])
        gain = mean_interval(costs[k] - costs[-1])
        finite = int(np.isfinite(ends.value[place]).sum())
        rows.append(
            DecayTime(
                at=float(ends.at[place]),
                end=float(ends.at[place] + ends.length[place]),
                **dict(zip(("value", "low", "high"), map(_number, value), strict=True)),
                before=_number(_mean(ends.before[place])),
                train_loss=_number(_mean(ends.train_loss[place])),
                **dict(zip(("gain", "gain_low", "gain_high"), map(_number, gain), strict=True)),
                runs=finite,
                lost=ends.value[place].size - finite,
            )
        )
    return tuple(rows)


def _mean(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else np.nan


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _budget(result: xr.DataTree, ends: Ends, kept: NDArray[np.int64]) -> str:
    main = segment(result, PRETRAIN.name)
    step = float(main["epoch"].values[-1] / main["step"].values[-1])  # an epoch's part
    for name, times in (("total", ends.at + ends.length), ("cooldown", ends.length)):
        if np.ptp(times[kept]) <= 1.5 * step:
            return name
    return "own"


def _notes(ends: Ends, there: NDArray[np.bool_], units: Array, costs: Array, margin: float) -> tuple[str, ...]:
    notes = []
    if not there.all():
        lost = ", ".join(f"{at:g}" for at in ends.at[~there])
        notes.append(f"left out, because no run ended finite: decay at {lost}")
    if costs.shape[1] < units.shape[1]:
        notes.append(f"gains are those of the {costs.shape[1]} of {units.shape[1]} units that ended at all times")
    best = better_than_last(costs, margin)
    if best is not None:
        notes.append(
            f"the latest time ends worse than the decay at {ends.at[there][best]:g} (95%, corrected for the choice of that one "
            f"among {len(costs) - 1}): what follows it may be too short"
        )
    return tuple(notes)


def _runs(result: xr.DataTree, ends: Ends) -> xr.Dataset:
    dims = ("decay_at", "data_seed", "seed")
    arrays = {"value": ends.value, "before": ends.before, "train_loss": ends.train_loss}
    coords = {"decay_at": ends.at, **{name: result.coords[name].values for name in dims[1:]}}
    return xr.Dataset({name: (dims, values) for name, values in arrays.items()}, coords)
