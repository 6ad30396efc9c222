"""What the study measures beyond its sweeps: the theory's simulations, and a picture of the patches.

The seeds of a simulation are data sets; they begin at the scale's first seed. With one r and one weight decay curves are over
(algorithm, seed, time).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from lrscope.studies.forked import in_processes
from lrscope.studies.learning_order.curves import Setting, finite_learning_curves, learning_curves
from lrscope.studies.learning_order.distribution import Q_ONLY, Examples, sample
from lrscope.studies.learning_order.runs import Run, large_then_small, small
from lrscope.studies.learning_order.two_layers import Widths
from lrscope.studies.learning_order.unique_minimum import HISTORIES, Ends, ends
from lrscope.studies.patch_images import patch_chart
from lrscope.studies.types import StudyResults
from lrscope.tasks.builtin import named_task

MODELS = {"network": False, "convex": True}  # whether activations are frozen
STEPS = {
    True: 6000,
    False: 1000,
}  # ours: the convex model needs about half of its own, the network reaches no minimum in any; what it gets is only reported
TEST_EXAMPLES = 1000  # the default of `finite_learning_curves`
SHOWN = (
    "loss",
    "loss_p_only",
    "loss_q_only",
    "annealed",
    "error_p",
)  # kept where many pairs of r and weight decay are run


def curves(results: StudyResults, setting: Mapping[str, Any], seeds: int, **how: Any) -> xr.Dataset:
    """Both algorithms, and with `activation_noise` a third one, at infinite width (`learning_curves`)."""
    return _single(learning_curves(Setting(**setting), _seeds(results, seeds), **how))


def control(results: StudyResults, setting: Mapping[str, Any], seeds: int, **how: Any) -> xr.Dataset:
    """The same of the network and of the convex model [model, ...]."""
    found = {name: curves(results, setting, seeds, frozen=frozen, **how) for name, frozen in MODELS.items()}
    return _joined("model", found)


def finite(
    results: StudyResults, setting: Mapping[str, Any], seeds: int, widths: Sequence[int], **how: Any
) -> xr.Dataset:
    """The same at finite width (`finite_learning_curves`); `widths` of W and V."""
    neurons = Widths(first=widths[0], second=widths[1])
    made, chosen = Setting(**setting), _seeds(results, seeds)
    found = {
        name: _single(finite_learning_curves(made, chosen, widths=neurons, frozen=frozen, **how))
        for name, frozen in MODELS.items()
    }
    return _joined("model", found).assign_attrs(test_examples=how.get("test_examples", TEST_EXAMPLES))


def minimum(
    results: StudyResults,
    setting: Mapping[str, Any],
    seeds: int,
    widths: Sequence[int],
    test_examples: int,
    jobs: int = 1,
    **how: Any,
) -> xr.Dataset:
    """Errors on P and gradients [model, seed, history] where training from several histories ends (`unique_minimum.ends`); `jobs`
    processes share the data sets."""
    made, neurons = Setting(**setting), Widths(first=widths[0], second=widths[1])
    chosen = _seeds(results, seeds)

    def of(piece: tuple[bool, int]) -> list[np.ndarray]:
        frozen, seed = piece
        examples, runs, test = _run_pair(made, seed, frozen, test_examples)
        found = ends(examples, runs, test, widths=neurons, until=made.until, most=STEPS[frozen], **how)
        return [values.double().numpy() for values in found]

    pieces = list(product(MODELS.values(), chosen))
    by_piece = np.stack(in_processes(of, pieces, jobs)).reshape(len(MODELS), seeds, len(Ends._fields), len(HISTORIES))
    data = dict(zip(Ends._fields, np.moveaxis(by_piece, 2, 0), strict=True))
    dims, coords = ("model", "seed", "history"), {"model": list(MODELS), "seed": chosen, "history": list(HISTORIES)}
    attrs = {"p": made.p, "test_examples": test_examples}
    return xr.Dataset({name: (dims, values) for name, values in data.items()}, coords, attrs)


def _run_pair(setting: Setting, seed: int, frozen: bool, test: int) -> tuple[Examples, list[Run], Examples]:
    """A seed's training examples, its two runs, and its test examples."""
    drawn = partial(sample, dimension=setting.dimension, p=setting.p, q=setting.q, seeds=[seed])
    examples = drawn(setting.examples)
    pair = {
        "r": setting.r[0],
        "weight_decay": setting.weight_decay[0],
        "large_lr": setting.large_lr,
        "small_lr": setting.small_lr,
    }
    q = float((examples.kind == Q_ONLY).double().mean())
    runs = [large_then_small(eps=setting.eps, q=q, **pair), small(**pair)]
    return examples, [replace(run, frozen=frozen) for run in runs], drawn(test, purpose="test")


def scaling(
    results: StudyResults,
    kappa_squares: Sequence[float],
    dimension: int,
    setting: Mapping[str, Any],
    seeds: int,
    **how: Any,
) -> xr.Dataset:
    """Curves over kappa [kappa, ...], with N = d / kappa^2 and p = kappa^2 / 2 (Assumption 3.3)."""
    found = {}
    for square in kappa_squares:
        sizes = {"examples": round(dimension / square), "dimension": dimension, "p": square / 2}
        found[float(np.sqrt(square))] = curves(results, {**setting, **sizes}, seeds, **how)
    return _joined("kappa", found)


def lemmas(
    results: StudyResults,
    dimensions: Sequence[int],
    kappa_square: float,
    r: float,
    weight_decay: float,
    until: float,
    hold: float,
    setting: Mapping[str, Any],
    seeds: int,
    **how: Any,
) -> xr.Dataset:
    """Curves over d [dimension, ...] with the dependencies of Assumption 3.3: N = d / kappa^2, r like d^(-3/4), weight decay like
    d^(-5/4). The values given are those of the largest d; `until` and `hold` are in units of d, and so is the result's time.
    `longest` [dimension] is 1 / lambda, the time up to which Lemma 4.2 speaks, in these units.
    """
    found, largest = {}, max(dimensions)
    for d in dimensions:
        decay = weight_decay * (d / largest) ** -1.25
        own = {
            "examples": round(d / kappa_square),
            "dimension": d,
            "p": kappa_square / 2,
            "r": [r * (d / largest) ** -0.75],
            "weight_decay": [decay],
            "until": until * d,
        }
        one = curves(results, {**setting, **own}, seeds, hold=hold * d, **how)
        longest = 1 / (decay * d)
        found[d] = one.assign_coords(time=(one["time"] / d).round(9)).assign(longest=longest)
    return _joined("dimension", found)


def phases(results: StudyResults, setting: Mapping[str, Any], seeds: int, **how: Any) -> xr.Dataset:
    """Some curves over (algorithm, r, weight_decay, seed, time)."""
    found = learning_curves(Setting(**setting), _seeds(results, seeds), **how)
    return found[list(SHOWN)]


def patches(results: StudyResults, task: Mapping[str, Any], columns: int) -> xr.Dataset:
    """Pictures of the training images of a task with patches [picture, row, column, channel], a row of `columns` for each group,
    and their titles [picture]."""
    data = named_task(**{"validation": 0, **task}).data(results.first_seed)
    chart = patch_chart(data, columns=columns)
    shown = [np.asarray(panel.image.values, dtype=np.float64) for panel in chart.panels if panel.image is not None]
    pictures = np.stack([one if one.ndim == 3 else one[..., None] for one in shown])
    titles = np.array([panel.title for panel in chart.panels], dtype=object)
    return xr.Dataset(
        {"pixels": (("picture", "row", "column", "channel"), pictures)},
        {"picture": np.arange(len(shown)), "title": ("picture", titles)},
        {"columns": chart.columns},
    )


def _seeds(results: StudyResults, count: int) -> range:
    return range(results.first_seed, results.first_seed + count)


def _single(found: xr.Dataset) -> xr.Dataset:
    """Without the axes of r and weight decay, which go into the attributes."""
    own = {name: float(found[name].values[0]) for name in ("r", "weight_decay")}
    return found.isel(r=0, weight_decay=0, drop=True).assign_attrs(own)


def _joined(dim: str, found: Mapping[Any, xr.Dataset]) -> xr.Dataset:
    """Datasets side by side along a new dimension, with the attributes that they share."""
    parts: Iterable[xr.Dataset] = found.values()
    joined = xr.concat(list(parts), dim=dim, combine_attrs="drop_conflicts")
    return joined.assign_coords({dim: np.array(list(found), dtype=object if dim == "model" else float)})
