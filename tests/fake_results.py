"""Schema-valid synthetic results with plausible three-regime curves, for tests of everything that reads a result.

The true borders are `BORDERS`; nothing here was trained. Shapes: (lr, data_seed, seed, epoch, ...), as in docs/schema.md.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.mapping.types import Border, Label, Recommendation, RegimeMap
from lrscope.schema import (
    AVERAGE,
    FINETUNE,
    PRETRAIN,
    ROOT_VARIABLES,
    SCHEMA_VERSION,
    TRAIN,
    Node,
    Variable,
    segment,
    variables_of,
)
from lrscope.validation import result_traits, validate

Array = NDArray[np.float64]

BORDERS = {"1|2": 7.5e-3, "2A|2B": 1.8e-2, "2|3": 5.6e-2}  # feature_learning's ticks, read off by its authors
EPOCH_STEPS = 32


def fake_result(
    *,
    lrs: int = 16,
    seeds: int = 5,
    data_seeds: int = 1,
    epochs: int = 40,
    finetune: bool = True,
    average: bool = True,
    features: bool = True,
    invariant: bool = True,
    regression: bool = False,
    validation: int = 0,
    space: str = "sphere",
    schedule: str = "constant",
    groups: tuple[str, ...] = ("layers.0.weight", "layers.3.weight", "layers.6.weight"),
    nonfinite_lrs: int = 0,
    title: str = "ticks, 3-layer MLP, unit sphere",
    command: str = "lrscope map --task ticks --space sphere --seeds 5 --out runs/ticks",
    config: dict[str, Any] | None = None,
    key: int = 0,
) -> xr.DataTree:
    """A result whose `nonfinite_lrs` highest learning rates overflow half-way; passes `validate`."""
    rng = np.random.default_rng(key)
    lr = np.logspace(-4, 0, lrs)
    coords: dict[str, Any] = {
        "lr": lr,
        "data_seed": np.arange(data_seeds),
        "seed": np.arange(seeds),
        "group": np.array(groups, dtype=object),
        "random_point": np.arange(4),
    }
    if features:
        coords["feature"] = np.arange(16)
    nodes = [PRETRAIN, *([AVERAGE] if average else []), *([FINETUNE] if finetune else [])]
    kind = "regression" if regression else "classification"
    attrs = {
        "schema_version": SCHEMA_VERSION,
        "title": title,
        "task": json.dumps(
            {
                "name": "ticks",
                "kind": kind,
                "classes": 2,
                "train_size": 512,
                "test_size": 2000,
                "validation": {"size": validation, "source": "unused training examples" if validation else "none"},
            }
        ),
        "config": json.dumps(
            config or {"task": "ticks", "lr": {"low": 1e-4, "high": 1.0, "n": lrs}, "batch": 16, "schedule": schedule}
        ),
        "config_hash": "c0ffee12",
        "plan": json.dumps({"path": "batched", "chunk": 64, "compiled": True, "threads": 1, "chosen_by": "timing"}),
        "space": space,
        "scale_invariant": int(invariant),
        "device": "cpu",
        "machine": "x86_64, 2 cores",
        "versions": json.dumps({"python": "3.12.0", "torch": "2.9.0", "lrscope": "0.1.0"}),
        "code_hash": "0123abcd",
        "created": "2025-01-02T03:04:05+00:00",
        "seconds": 431.5,
        "command": command,
    }
    result = xr.DataTree.from_dict(
        {"/": xr.Dataset(coords=coords, attrs=attrs)} | {node.name: _empty(node, epochs) for node in nodes}
    )
    curves = _Curves(result, rng, regression=regression)
    broken = slice(lrs - nonfinite_lrs, lrs)
    variable_of: dict[str, dict[str, Any]] = {"": {}, **{node.name: {} for node in nodes}}
    for node, name, variable in _expected(result, nodes):
        dims = variable.dims
        values = curves.variable(node, name, dims)
        if nonfinite_lrs and dims[0] == "lr":
            if name == "status":
                values[broken] = 2.0 if node.parent else 1.0
            elif name == "nonfinite_step":
                values[broken] = epochs // 2 * EPOCH_STEPS + 7
            elif "epoch" in dims and node == PRETRAIN:
                values[broken, :, :, epochs // 2 :] = np.nan
            elif name != "seconds":
                values[broken] = np.nan
        variable_of[node.name][name] = (dims, values.astype(np.int64) if name in INTEGERS else values)
    parts = {
        node.path: node.to_dataset(inherit=False).assign(variable_of[node.path.lstrip("/")]) for node in result.subtree
    }
    result = xr.DataTree.from_dict(parts)
    validate(result)
    return result


ROOT = Node("", "")  # where what belongs to no segment is
INTEGERS = ("status", "nonfinite_step")


def _empty(node: Node, epochs: int) -> xr.Dataset:
    """A node without variables."""
    axes = {"finetune_lr": [1e-4, 1e-3, 5e-3], "n_average": [2, 5, 10]}
    coords: dict[str, Any] = {axis: np.array(axes[axis]) for axis in node.axes}
    if node.kind == TRAIN:
        coords["epoch"] = np.arange(1, (11 if node.parent else epochs + 1), dtype=float)
        coords["step"] = ("epoch", coords["epoch"] * EPOCH_STEPS)
    return xr.Dataset(coords=coords, attrs=node.attributes())


def _expected(result: xr.DataTree, nodes: list[Node]) -> list[tuple[Node, str, Variable]]:
    """The variables that the result must hold, in the order in which their values are drawn."""
    traits = result_traits(result)
    tables = [(ROOT, ROOT_VARIABLES), *((node, variables_of(node)) for node in nodes)]
    found = [(n, name, v) for n, table in tables for name, v in table.items() if v.belongs(traits)]
    return sorted(found, key=lambda row: f"{row[0].name}_{row[1]}" if row[0].parent else row[1])


class _Curves:
    """Draws each variable from one latent training loss per (lr, data_seed, seed, epoch)."""

    def __init__(self, result: xr.DataTree, rng: np.random.Generator, *, regression: bool) -> None:
        self.result, self.rng = result, rng
        self.guess = 1.0 if regression else float(np.log(2))
        self.lr = np.asarray(result.coords["lr"].values, dtype=float)
        shape = tuple(result.sizes[d] for d in ("data_seed", "seed"))
        self.loss = self._loss(self.lr, np.asarray(segment(result, "pretrain")["epoch"].values, dtype=float), shape)
        self.quality = self._quality()  # (lr,): how good the place is where the pre-training ends, 0 to 1

    def _loss(self, lr: Array, epoch: Array, shape: tuple[int, ...]) -> Array:
        """(lr, data_seed, seed, epoch): power-law convergence, a plateau, or worse than guessing."""
        one_two, two_three = np.log10(BORDERS["1|2"]), np.log10(BORDERS["2|3"])
        place = np.clip((np.log10(lr) - one_two) / (two_three - one_two), 0, 1)[:, None, None, None]
        seed = self.rng.normal(0, 0.12, (1, *shape, 1))
        steps = (lr[:, None, None, None] * epoch * EPOCH_STEPS / 0.05) * np.exp(seed)
        falling = self.guess / (1 + steps**1.8)
        plateau = np.where(place > 0, self.guess * (0.12 + 0.75 * place), 0)
        plateau = np.where(place >= 1, self.guess * 1.35, plateau)
        noise = np.exp(self.rng.normal(0, 1, (*np.broadcast_shapes(falling.shape, plateau.shape),)) * 0.06)
        return np.asarray((falling + plateau) * noise)

    def _quality(self) -> Array:
        x = np.log10(self.lr)
        rise = 0.72 + 0.2 / (1 + np.exp(-(x + 2.6) * 3))
        fall = 1 / (1 + np.exp((x - np.log10(BORDERS["2|3"])) * 9))
        return np.asarray(0.5 + (rise - 0.5) * fall)

    def _noise(self, shape: tuple[int, ...], scale: float) -> Array:
        return np.asarray(self.rng.normal(0, scale, shape))

    def variable(self, node: Node, name: str, dims: tuple[str, ...]) -> Array:
        """Values of one variable of a node with these dimensions."""
        sizes = (self.result[node.name] if node.name else self.result).sizes
        shape = tuple(sizes[d] for d in dims)
        if name == "status":
            return np.zeros(shape)
        if name == "nonfinite_step":
            return np.full(shape, -1.0)
        if name == "seconds":
            return np.full(shape, 5.4)
        if name == "random_train_loss":
            return self.guess * 1.1 + self._noise(shape, 0.02)
        if name == "random_train_accuracy":
            return 0.5 + self._noise(shape, 0.01)
        if "group" in dims:
            return self._group(name, shape)
        base = name.removeprefix("fixed_").replace("validation_", "test_")
        if base == "feature_accuracy":
            return self._features(dims, shape)
        if node.parent:
            return self._second_phase(base, dims, shape)
        loss = self.loss if "epoch" in dims else self.loss[..., -3:].mean(-1)
        return self._from_loss(base, loss)

    def _from_loss(self, base: str, loss: Array) -> Array:
        """A pre-training metric from the latent loss, (lr, ...)."""
        tail = (1,) * (loss.ndim - 1)
        lr, quality = self.lr.reshape(-1, *tail), self.quality.reshape(-1, *tail)
        progress = np.clip(1 - loss / self.guess, 0, 1)
        noise = self._noise(loss.shape, 0.006)
        if base == "train_loss":
            return loss
        if base == "test_loss":
            return loss + self.guess * (0.25 + (0.95 - quality) * progress) * np.exp(noise)
        if base == "train_accuracy":
            return np.clip(0.5 + 0.5 * progress + noise, 0, 1)
        if base == "test_accuracy":
            return np.clip(0.5 + (quality - 0.5) * progress**0.5 + noise, 0, 1)
        if base == "elr":
            return np.broadcast_to(lr, loss.shape).copy()
        sharpness = 3 * (loss / self.guess) ** 0.7 * (lr / 1e-3) ** -0.3 + 0.004
        return sharpness * np.exp(noise * 8) * (1.0 if base == "effective_grad_norm" else 0.4)

    def _group(self, name: str, shape: tuple[int, ...]) -> Array:
        """(lr, data_seed, seed, epoch, group): groups drift apart below the border 1|2 and equalise above."""
        depth = np.linspace(-1, 1, shape[-1])
        one_two = np.log10(BORDERS["1|2"])
        apart = 0.5 / (1 + np.exp((np.log10(self.lr) - one_two) * 8))
        factor = np.exp(apart[:, None, None, None, None] * depth) * np.exp(self._noise(shape, 0.02))
        lr = self.lr.reshape(-1, 1, 1, 1, 1)
        gradient = self._from_loss("effective_grad_norm", self.loss)[..., None]
        drift = np.exp(0.6 * depth)
        if name == "group_norm":
            return np.broadcast_to(np.exp(-0.3 * depth), shape) / np.sqrt(shape[-1])
        if name == "group_elr":
            return np.broadcast_to(lr * shape[-1] * drift, shape) * np.exp(self._noise(shape, 0.01))
        if name == "group_effective_grad_norm":
            return gradient * factor / drift
        return lr * gradient * factor

    def _features(self, dims: tuple[str, ...], shape: tuple[int, ...]) -> Array:
        """Probe accuracies: flat for small learning rates, one or two features stand out around subregime 2A."""
        rank = np.arange(shape[-1])
        near = np.exp(-((np.log10(self.lr) - np.log10(1.3e-2)) ** 2) / 0.18)
        alive = (self.quality - 0.5) / 0.42
        sharp = 0.12 + 0.3 * near[:, None] * np.exp(-rank / 1.5)
        mean = 0.5 + alive[:, None] * sharp - 0.004 * rank
        values = mean.reshape(-1, *(1,) * (len(dims) - 2), shape[-1]) + self._noise(shape, 0.012)
        return np.asarray(self.rng.permuted(values, axis=-1))

    def _second_phase(self, base: str, dims: tuple[str, ...], shape: tuple[int, ...]) -> Array:
        """Fine-tuned or averaged metrics: best around subregime 2A whatever the second learning rate."""
        x = np.log10(self.lr)
        good = 0.93 - 0.05 / (1 + np.exp((x - np.log10(5e-3)) * 5))
        second = np.linspace(0.0, 1.0, shape[1])
        high = np.log10(self.lr)[:, None] > np.log10(BORDERS["2A|2B"])
        lost = (0.03 + 0.15 * (1 - second[None, :])) * np.clip(x[:, None] - np.log10(BORDERS["2A|2B"]), 0, 2)
        accuracy = np.clip(good[:, None] - np.where(high, lost, 0), 0.5, 1)
        accuracy = accuracy.reshape(*accuracy.shape, *(1,) * (len(shape) - 2))
        if "epoch" in dims:
            start = self.quality.reshape(-1, *(1,) * (len(shape) - 1))
            share = np.linspace(0.3, 1, shape[-1])
            accuracy = start + (accuracy - start) * share
        accuracy = np.clip(accuracy + self._noise(shape, 0.006), 0, 1)
        if base == "test_accuracy":
            return accuracy
        if base == "train_accuracy":
            return np.clip(accuracy + 0.06, 0, 1)
        if base in ("train_loss", "test_loss"):
            return (1 - accuracy) * (0.3 if base == "train_loss" else 1.5) + 1e-4
        return (1 - accuracy) * 8 + 0.01


def regime_of(lr: float, *, invariant: bool = True) -> str:
    """The true regime of a learning rate in these synthetic results."""
    for regime, border in zip(("1", "2A", "2B"), BORDERS.values(), strict=True):
        if lr < border:
            return regime
    return "3" if invariant else "dead"


def fake_map(
    result: xr.DataTree, *, known: bool = True, flags: tuple[str, ...] = (), notes: tuple[str, ...] = ()
) -> RegimeMap:
    """The map that belongs to `fake_result`; with `known=False` nothing is determined, as with one seed too few."""
    lrs = [float(x) for x in result.coords["lr"].values]
    seeds = result.sizes["seed"] * result.sizes["data_seed"]
    measure = "test_accuracy" if "test_accuracy" in segment(result, "pretrain") else "test_loss"
    reached = {
        "before": [_mean(segment(result, "pretrain")[measure].isel(epoch=-1, lr=i)) for i in range(len(lrs))],
        "after": [_after(result, measure, i) for i in range(len(lrs))],
    }
    more: dict[str, Any] = {
        "seeds": seeds,
        "notes": notes,
        "measure": measure.replace("_", " "),
        "finetune_lr": float(segment(result, "finetune")["finetune_lr"][0]) if "finetune" in result.children else None,
    }
    values = [{name: of[i] for name, of in reached.items()} for i in range(len(lrs))]
    if not known:
        why = "too few seeds: repeat with at least 3"
        return RegimeMap(
            labels=tuple(Label(lr=x, regime="?", votes={"?": seeds}, **v) for x, v in zip(lrs, values, strict=True)),
            borders={b: Border(between=b, reason=why) for b in BORDERS},
            recommended=Recommendation(low=None, high=None, reason=why),
            **more,
        )
    labels = []
    names = [regime_of(lr, invariant=bool(result.attrs["scale_invariant"])) for lr in lrs]
    for i, lr in enumerate(lrs):
        odd = i + 1 < len(lrs) and names[i + 1] != names[i] and seeds > 1
        votes = {names[i]: seeds - 1, names[i + 1]: 1} if odd else {names[i]: seeds}
        slow = ("slow", *flags) if lr < 3e-4 else ()
        labels.append(Label(lr=lr, regime=names[i], flags=slow, votes=votes, **values[i]))
    borders = {}
    for name, true in BORDERS.items():
        above = int(np.searchsorted(lrs, true))
        if above == 0 or above == len(lrs):
            borders[name] = Border(between=name, reason="outside the grid: widen it")
            continue
        low, high = lrs[above - 1], lrs[above]
        borders[name] = Border(
            between=name, lr=float(np.sqrt(low * high)), low=low, high=high, reason="95% bootstrap interval over seeds"
        )
    return RegimeMap(labels=tuple(labels), borders=borders, recommended=_fake_advice(lrs, values, more), **more)


def _fake_advice(lrs: list[float], values: list[dict[str, float | None]], more: dict[str, Any]) -> Recommendation:
    """The learning rates of subregime 2A, the best in their middle; nothing where the grid has none."""
    inside = [i for i, lr in enumerate(lrs) if regime_of(lr) == "2A"]
    if not inside:
        return Recommendation(low=None, high=None, reason="not all regimes seen: widen the grid")
    best = inside[len(inside) // 2]
    return Recommendation(
        low=lrs[inside[0]],
        high=lrs[inside[-1]],
        best=lrs[best],
        finetune_lr=more["finetune_lr"],
        **values[best],
        undecided=(lrs[max(inside[0] - 1, 0)], lrs[inside[-1]]),
        cliff=next((lr for lr in lrs if lr > BORDERS["2|3"]), None),
        alternative=f"without a decay 0.0034 is best: {more['measure']} so and so",
        margin=0.3,
        chosen_by=more["measure"],
        reason=f"{more['measure']} so and so at the best; equal to the best within 0.3 points over {more['seeds']} seeds (95%); "
        f"chosen by {more['measure']}, which is optimistic; seeds are lost from 0.1 on",
    )


def _mean(array: xr.DataArray) -> float | None:
    values = np.asarray(array.values, dtype=float)
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else None


def _after(result: xr.DataTree, measure: str, i: int) -> float | None:
    if "finetune" not in result.children:
        return None
    return _mean(segment(result, "finetune")[measure].isel(epoch=-1, finetune_lr=0, lr=i))
