"""learning_order: from a result with groups of examples to the order in which they are learned.

L learning rates, U units (data seed x seed, C order), T logged times, E groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.checked import checked
from lrscope.errors import LrscopeError, nearest, shown
from lrscope.order.ranks import between_units, interval, interval_of_pairs, mean, ranks, within_units
from lrscope.order.times import FirstTimes, first_times
from lrscope.order.types import Agreement, GroupTime, LearningOrder
from lrscope.readers import Number, Word
from lrscope.schema import TRAIN, Node
from lrscope.validation import result_nodes, validate

Array = NDArray[np.float64]
REACHED = 0.9  # ours: nearly all of a group
NON_FINITE = 1  # a code of `status`


@dataclass(frozen=True, kw_only=True)
class Source:
    """A variable with an accuracy for each group over time, its dimension, what it is of, and how to have it logged."""

    variable: str
    dim: str
    words: str
    remedy: str


_GROUPS = "lrscope.Task(..., {split}_groups=...) or --groups classes"
SOURCES = {
    "train": Source(
        variable="example_group_accuracy",
        dim="example_group",
        words="groups of training examples",
        remedy=_GROUPS.format(split="train") + " or --label-noise",
    ),
    "true": Source(
        variable="example_group_true_accuracy",
        dim="example_group",
        words="groups of training examples, under the labels before noise",
        remedy="--label-noise",
    ),
    "test": Source(
        variable="test_group_accuracy",
        dim="test_group",
        words="groups of test examples",
        remedy=_GROUPS.format(split="test"),
    ),
    "features": Source(
        variable="logged_feature_accuracy",
        dim="feature",
        words="feature sets",
        remedy="log_features=True (--log-features) and feature sets (--features bands, --patches 0.8)",
    ),
}
LEVEL = Number(0, 1, above=True)


@checked
def learning_order(
    result: xr.DataTree,
    *,
    of: Annotated[str | None, Word(tuple(SOURCES))] = None,
    level: Annotated[float, LEVEL] = REACHED,
    segment: str = "pretrain",
    point: Mapping[str, Any] | None = None,
) -> LearningOrder:
    """Which groups of examples are learned first at each learning rate, and whether learning rates agree on that.

    Args:
        result: what `sweep` returned or `open_result` opened, of a task with groups of examples, or with feature sets whose
            accuracy is logged along training (`log_features`).
        of: groups of `train` or of `test` examples, training examples under their `true` labels, or `features`, the feature
            sets; None: the first of train, test and features that the result has.
        level: the accuracy that counts as learned.
        segment: whose training is looked at; its times begin at its own start.
        point: a value on each axis of the segment that has several, such as {"decay_at": 10}.

    Raises:
        LrscopeError: a result without accuracies of groups, or with those of one group only, an unknown segment or point.
    """
    validate(result)
    node = _node(result, segment)
    data = _at(result.children[segment].to_dataset(), node, point or {})
    source = _source(data, of)
    curves, groups = _curves(data, source)
    found = _first(curves, data, level)
    return _described(found, data, source, groups, segment, level)


def ordered(result: xr.DataTree) -> list[str]:
    """Of what pre-training has a learning order: those of `train`, `test` and `features` with two or more groups."""
    data = result.children["pretrain"].to_dataset()
    there = [of for of in ("train", "test", "features") if SOURCES[of].variable in data and "train_accuracy" in data]
    return [of for of in there if len(curves_of(data, SOURCES[of])[1]) > 1]


def _node(result: xr.DataTree, segment: str) -> Node:
    known = {node.name: node for node in result_nodes(result) if node.kind == TRAIN}
    if segment not in known:
        raise LrscopeError(f"segment: {shown(segment)} is not one that was trained: {nearest(segment, known)}")
    return known[segment]


def _at(data: xr.Dataset, node: Node, point: Mapping[str, Any]) -> xr.Dataset:
    """The variables of a segment at a point of its own axes."""
    for axis in point:
        if axis not in node.axes:
            raise LrscopeError(f"point: {node.name} has no axis {shown(axis)}: its axes are {list(node.axes)}")
    for axis in node.axes:
        values = data[axis].values.tolist()
        if axis not in point and len(values) > 1:
            raise LrscopeError(f"point: {node.name} has several {axis}: name one of {shown(values)}")
        wanted = point.get(axis, values[0])
        if wanted not in values:
            raise LrscopeError(f"point: {axis} {shown(wanted)} was not trained: name one of {shown(values)}")
        data = data.isel({axis: values.index(wanted)})
    return data


def _source(data: xr.Dataset, of: str | None) -> Source:
    if "train_accuracy" not in data:
        raise LrscopeError("result: its task is a regression, which has no accuracy: an order needs one")
    asked = SOURCES if of is None else {of: SOURCES[of]}
    found = next((s for s in asked.values() if s.variable in data), None)
    if found is not None:
        return found
    remedy = (SOURCES[of] if of else SOURCES["train"]).remedy
    words = SOURCES[of].words if of else "groups of examples"
    raise LrscopeError(f"result: it has no accuracies of {words}: train again with {remedy}")


def curves_of(data: xr.Dataset, source: Source) -> tuple[Array, tuple[str, ...]]:
    """Accuracies [L, U, E, T] and names of the groups that have examples for every data seed that was trained."""
    values = data[source.variable].transpose("lr", "data_seed", "seed", source.dim, "epoch").values.astype(float)
    curves = values.reshape(values.shape[0], -1, *values.shape[3:])
    known = np.isfinite(curves).any(3)  # [L, U, E]
    there = known.any((0, 1)) & (known | ~known.any(2, keepdims=True)).all((0, 1))
    names = [str(name) for name in data[source.dim].values]
    return curves[:, :, there], tuple(name for name, holds in zip(names, there, strict=True) if holds)


def _curves(data: xr.Dataset, source: Source) -> tuple[Array, tuple[str, ...]]:
    curves, groups = curves_of(data, source)
    if not np.isfinite(data[source.variable]).any():
        raise LrscopeError("result: no run has an accuracy of any group: see the status of its runs")
    if len(groups) < 2:
        raise LrscopeError(
            f"result: the groups that have examples for every data seed are {list(groups)}: an order needs two or more"
        )
    return curves, groups


def _first(curves: Array, data: xr.Dataset, level: float) -> FirstTimes:
    """First times [L, U, E]; NaN for runs that were not trained, or never came to where the segment begins."""
    found = first_times(curves, data["epoch"].values, level)
    status = data["status"].transpose("lr", "data_seed", "seed").values.reshape(curves.shape[:2])
    absent = (~np.isfinite(curves).any((2, 3)) & (status != NON_FINITE))[..., None]
    ends = {name: np.where(absent, np.nan, getattr(found, name)) for name in ("estimate", "low", "high")}
    return FirstTimes(kept=found.kept, **ends)


def _described(
    found: FirstTimes, data: xr.Dataset, source: Source, groups: tuple[str, ...], segment: str, level: float
) -> LearningOrder:
    seeds = data.sizes["data_seed"], data.sizes["seed"]
    steps = float(data["step"].values[-1] / data["epoch"].values[-1])
    lrs = [float(lr) for lr in data["lr"].values]
    times = [row for k, lr in enumerate(lrs) for row in _times(found, k, lr, groups, seeds, steps)]
    taus, agreements = _agreements(found.estimate, lrs, seeds)
    return LearningOrder(
        of=source.words,
        segment=segment,
        level=level,
        groups=groups,
        times=tuple(times),
        agreements=agreements,
        runs=_runs(found, taus, data, groups),
        notes=_notes(
            found, level, int(np.prod(seeds)), [n for n in map(str, data[source.dim].values) if n not in groups]
        ),
    )


def _times(
    found: FirstTimes, k: int, lr: float, groups: tuple[str, ...], seeds: tuple[int, int], steps: float
) -> list[GroupTime]:
    """The groups of one learning rate, first to last; [U, E] arrays of its runs."""
    estimate, places = found.estimate[k], ranks(found.estimate[k])
    there = ~np.isnan(estimate).any(1)
    middle = np.median(estimate[there], axis=0) if there.any() else np.full(len(groups), np.nan)
    low, high = interval(found.low[k], found.high[k], np.median, *seeds)
    first, last = interval(places, places, np.mean, *seeds)
    rank = mean(places, 0)
    return [
        GroupTime(
            lr=lr,
            group=groups[e],
            epoch=_number(middle[e]),
            step=_number(middle[e] * steps),
            low=_number(low[e]),
            high=_number(high[e]),
            reached=int(np.isfinite(estimate[:, e]).sum()),
            kept=int((found.kept[k, :, e] & there).sum()),
            runs=int(there.sum()),
            rank=_number(rank[e]),
            rank_low=_number(first[e]),
            rank_high=_number(last[e]),
        )
        for e in np.lexsort((middle, rank))
    ]


def _agreements(times: Array, lrs: list[float], seeds: tuple[int, int]) -> tuple[Array, tuple[Agreement, ...]]:
    """Kendall's tau [L, L, U] of times [L, U, E], and what it comes to for each pair of learning rates."""
    taus = within_units(times)
    ends: dict[tuple[int, int], tuple[Any, Any]] = {
        (i, j): interval(taus[i, j], taus[i, j], np.mean, *seeds) for i, j in combinations(range(len(lrs)), 2)
    }
    for k, own in enumerate(times):
        pairs = between_units(own)
        taus[k, k], ends[k, k] = mean(pairs, 1), interval_of_pairs(pairs, *seeds)
    trained = np.asarray(~np.isnan(times).any(2))
    both = {(i, j): int((trained[i] & trained[j]).sum()) for i, j in ends}
    return taus, tuple(_agreement(lrs[i], lrs[j], taus[i, j], *ends[i, j], both[i, j]) for i, j in sorted(ends))


def _agreement(first: float, second: float, taus: Array, low: Any, high: Any, runs: int) -> Agreement:
    told = {name: _number(value) for name, value in (("tau", mean(taus, 0)), ("low", low), ("high", high))}
    return Agreement(first=first, second=second, ordered=int(np.isfinite(taus).sum()), runs=runs, **told)


def _number(value: Any) -> float | None:
    """A finite number; None for what is not reached or not known."""
    return float(value) if np.isfinite(value) else None


def _runs(found: FirstTimes, taus: Array, data: xr.Dataset, groups: tuple[str, ...]) -> xr.Dataset:
    dims, shape = ("lr", "data_seed", "seed"), tuple(data.sizes[d] for d in ("lr", "data_seed", "seed"))
    arrays = {"epoch": found.estimate, "low": found.low, "high": found.high, "kept": found.kept}
    arrays["rank"] = ranks(found.estimate)
    coords = {name: data[name].values for name in dims} | {"group": list(groups), "other_lr": data["lr"].values}
    variables = {name: ((*dims, "group"), values.reshape(*shape, -1)) for name, values in arrays.items()}
    variables["tau"] = (("lr", "other_lr", *dims[1:]), taus.reshape(shape[0], *shape))
    return xr.Dataset(variables, coords)


def _notes(found: FirstTimes, level: float, units: int, empty: list[str]) -> tuple[str, ...]:
    notes = []
    if empty:
        notes.append(f"left out, because without examples for some data seed: {', '.join(empty)}")
    trained, reached = ~np.isnan(found.estimate), np.isfinite(found.estimate)
    if not reached.any():
        notes.append(
            f"no group reaches {100 * level:g}%, so there is no order: choose a lower --level, or train longer"
        )
    early = reached & (found.low == 0)
    if early.any():
        notes.append(
            f"{early.sum()} of {reached.sum()} times lie before the first logged one, and are ties: log earlier with --log-epochs"
        )
    if (trained & ~reached).any() and reached.any():
        notes.append("groups that are not reached share the last places of an order")
    if units < 2:
        notes.append("one seed shows no spread: train with --seeds 3 or more")
    return tuple(notes)
