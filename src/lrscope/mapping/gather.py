"""From a result to the plain arrays that the rules look at.

L learning rates, F fine-tuning rates, U units (data seed x seed, C order), W windows, K random points.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.dynamics.own_schedule import name_of
from lrscope.mapping import quality, votes
from lrscope.mapping.types import show
from lrscope.schema import AVERAGE, FINETUNE, NOT_TRAINED, PRETRAIN, segment, segment_if_any

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
NON_FINITE = 1  # a code of `status`
ENTROPIES = (
    "cross_entropy",
    "binary_cross_entropy",
)  # losses whose best constant prediction gets the entropy of the labels


@dataclass(frozen=True, kw_only=True)
class Score:
    """What quality is: accuracy, or the part of the loss of guessing that training removed, 1 - loss / guessing (of MSE:
    the explained variance). Larger is better and 0.01 is a point, in either case."""

    accurate: bool
    scale: float = 1.0

    @property
    def name(self) -> str:
        """The variable's name without its split."""
        return "accuracy" if self.accurate else "loss"

    def quality(self, values: Array) -> Array:
        """Quality of accuracies or losses."""
        return values if self.accurate else 1 - values / self.scale

    def value(self, quality: float) -> float:
        """The inverse of `quality`."""
        return quality if self.accurate else (1 - quality) * self.scale

    def mean(self, quality_U: Array) -> float | None:
        """The mean over the finite units, as an accuracy or a loss; None if there are none."""
        known = quality_U[np.isfinite(quality_U)]
        return self.value(float(known.mean())) if len(known) else None

    def show(self, value: float | None) -> str:
        """An accuracy in percent, a loss with four digits; empty for None."""
        return show(value, accurate=self.accurate)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What runs reached in the end, in the score's quality: test [L, U] or [L, F, U], and what chooses: validation
    where there is a validation set, otherwise test."""

    test: Array
    chooses: Array

    def at(self, flr: int) -> Quality:
        """After fine-tuning at one of the rates."""
        return Quality(test=self.test[:, flr], chooses=self.chooses[:, flr])


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How fine-tuning ends [L, F, U]: where the training loss still falls from the third to the fourth quarter, by how
    many logs (`drop`), and how much the test quality changed meanwhile (`drift`). NaN where a curve is not finite."""

    falls: Mask
    drop: Array
    drift: Array

    def mostly_falls(self, flr: int) -> Mask:
        """Learning rates [L] where more than half of the finite fine-tunes still fall."""
        return np.asarray(2 * self.falls[:, flr].sum(1) > np.isfinite(self.drop[:, flr]).sum(1), dtype=bool)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the rules look at, as plain arrays.

    `trained_LU` and `tuned_LU` say which runs were pre-trained, and which were fine-tuned at the lowest FLR: all, unless
    the sweep was adaptive. `share` is the part of the grid's run-steps that was trained, `guess` the quality of guessing,
    `ending` None without fine-tunes or with too few logged epochs of them.
    """

    lrs: Array
    votes_LU: NDArray[np.int64]
    slow_LU: Mask
    jumps_LU: Mask
    broken_LU: Mask
    score: Score
    chosen_by: str
    guess: float
    pretrained: Quality
    finetuned: Quality | None
    finetune_lrs: tuple[float, ...]
    lost_LFU: Mask | None
    averaged: Quality | None
    ending: Ending | None
    data_seeds: int
    seeds: int
    scale_invariant: bool
    schedule: str
    windows: int
    trained_LU: Mask
    tuned_LU: Mask
    level_LU: Array
    best: int | None
    share: float
    likely_LU: NDArray[np.int64]  # votes, with the label of the ordered split for runs that were not trained

    @property
    def quality_LU(self) -> Array | None:
        """What chooses, after fine-tuning at the lowest FLR."""
        return None if self.finetuned is None else self.finetuned.chooses[:, 0]

    @property
    def tuning_learned(self) -> bool:
        """Does fine-tuning at the lowest FLR end better than guessing anywhere? If not, it cannot tell 2A from 2B."""
        values = self.quality_LU
        if values is None:
            return False
        means = [row[np.isfinite(row)].mean() for row in values if np.isfinite(row).any()]
        return max(means, default=-np.inf) >= self.guess + quality.LEAST_LEARNED * (1 - self.guess)

    @property
    def finetune_lr(self) -> float | None:
        """The lowest FLR."""
        return self.finetune_lrs[0] if self.finetune_lrs else None

    @property
    def units(self) -> int:
        """Runs per learning rate."""
        return self.data_seeds * self.seeds


def gather(result: xr.DataTree) -> Evidence:
    """Reduce a result to what the rules look at."""
    invariant = bool(int(result.attrs["scale_invariant"]))
    root, pretrain = result.to_dataset(), segment(result, PRETRAIN.name)
    classified = "train_accuracy" in pretrain
    loss = _curves(pretrain["train_loss"])
    accuracy = _curves(pretrain["train_accuracy"]) if classified else None
    task = json.loads(result.attrs["task"])
    guessing = votes.Guessing(
        loss=_units(root["random_train_loss"]),
        accuracy=_units(root["random_train_accuracy"]) if classified else None,
        constant_loss=float(task.get("constant_loss", 0.0)),
        constant_accuracy=_constant_accuracy(task),
        even_accuracy=_even_accuracy(task),
    )
    ballot = votes.vote(loss, accuracy, guessing, divergence_exists=invariant)
    score = _score(task, guessing)
    status = _runs(pretrain["status"])
    fine, averages = segment_if_any(result, FINETUNE), segment_if_any(result, AVERAGE)
    ends = None if fine is None else fine["status"]
    return Evidence(
        lrs=root["lr"].values.astype(np.float64),
        votes_LU=ballot.votes,
        slow_LU=ballot.slow,
        jumps_LU=ballot.jumps,
        broken_LU=status == NON_FINITE,
        score=score,
        chosen_by=f"{'validation' if 'validation_' + score.name in pretrain else 'test'} {score.name}",
        guess=_guess(task, guessing, score),
        pretrained=_quality(pretrain, score),
        finetuned=None if fine is None else _quality(fine, score, "finetune_lr"),
        finetune_lrs=() if fine is None else tuple(float(x) for x in fine["finetune_lr"].values),
        lost_LFU=None if ends is None else _runs(ends, "finetune_lr") == NON_FINITE,
        averaged=None if averages is None else _quality(averages, score),
        ending=None if fine is None else _ending(fine, score),
        data_seeds=result.sizes["data_seed"],
        seeds=result.sizes["seed"],
        scale_invariant=invariant,
        schedule=name_of(str(json.loads(result.attrs["config"]).get("schedule", "constant"))),
        windows=loss.shape[2],
        trained_LU=status != NOT_TRAINED,
        tuned_LU=np.zeros(status.shape, bool)
        if ends is None
        else _runs(ends.isel(finetune_lr=0, drop=True)) != NOT_TRAINED,
        level_LU=ballot.level,
        best=ballot.best,
        share=float(json.loads(result.attrs["plan"]).get("trained_share", 1.0)),
        likely_LU=ballot.votes,
    )


def _constant_accuracy(task: dict[str, Any]) -> float:
    """What no constant prediction exceeds in accuracy; 0 where its loss is not known, or no entropy."""
    if task.get("loss") not in ENTROPIES:
        return 0.0
    classes, entropy = int(task.get("classes", 0)), float(task.get("constant_loss", 0.0))
    return votes.most_frequent(entropy, classes) if classes > 1 and entropy > 0 else 0.0


def _even_accuracy(task: dict[str, Any]) -> float:
    """Accuracy of guessing classes evenly; 0 where their number is not known."""
    classes = int(task.get("classes", 0))
    return 1 / classes if classes > 1 else 0.0


def _score(task: dict[str, Any], guessing: votes.Guessing) -> Score:
    if task.get("kind", "classification") == "classification" and guessing.accuracy is not None:
        return Score(accurate=True)
    constant = guessing.constant_loss
    mean = float(np.nanmean(guessing.loss)) if np.isfinite(guessing.loss).any() else 1.0
    return Score(accurate=False, scale=constant if constant > 0 else mean if mean > 0 else 1.0)


def _guess(task: dict[str, Any], guessing: votes.Guessing, score: Score) -> float:
    """Quality of guessing: one over the number of classes, or none of the loss removed."""
    if not score.accurate:
        return 0.0
    assert guessing.accuracy is not None
    return guessing.even_accuracy or float(np.nanmean(guessing.accuracy))


def _quality(node: xr.Dataset, score: Score, *front: str) -> Quality:
    """Quality at the end of a segment, of the largest average; `front` names the axis that stays beside the runs'."""

    def end(name: str) -> Array:
        array = node[name]
        last = {d: -1 for d in ("epoch", *AVERAGE.axes) if d in array.dims}
        return score.quality(_runs(array.isel(last, drop=True), *front))

    test, held_out = end(f"test_{score.name}"), f"validation_{score.name}"
    return Quality(test=test, chooses=end(held_out) if held_out in node else test)


def _ending(fine: xr.Dataset, score: Score) -> Ending | None:
    """How fine-tuning ends; None where too few windows were logged to tell."""
    windows = fine.sizes["epoch"]
    if windows < votes.RULES.least_windows:
        return None
    loss = _windows(fine["train_loss"], "finetune_lr", "epoch")
    test = score.quality(_windows(fine[f"test_{score.name}"], "finetune_lr", "epoch"))
    finite = np.asarray(np.isfinite(loss).all(-1), dtype=bool)
    seen = votes.decline(np.where(finite[..., None], loss, 1.0).reshape(-1, windows))
    third, fourth = slice(windows // 2, 3 * windows // 4), votes.final_window(windows)
    drift = test[..., fourth].mean(-1) - test[..., third].mean(-1)
    return Ending(
        falls=seen.falls.reshape(finite.shape) & finite,
        drop=np.where(finite, seen.drop.reshape(finite.shape), np.nan),
        drift=np.where(finite, drift, np.nan),
    )


def _runs(array: xr.DataArray, *front: str) -> NDArray[Any]:
    """Values [L, U], or [L, F, U] with `finetune_lr` in front."""
    values: NDArray[Any] = array.transpose("lr", *front, "data_seed", "seed").values
    return values.reshape(*values.shape[: 1 + len(front)], -1)


def _windows(array: xr.DataArray, *axes: str) -> Array:
    """Curves [L, U, W], or [L, F, U, W]; `axes`: `finetune_lr`, if there is one, and that of the windows."""
    *front, windows = axes
    values: Array = array.transpose("lr", *front, "data_seed", "seed", windows).values
    return values.reshape(*values.shape[: 1 + len(front)], -1, values.shape[-1])


def _curves(array: xr.DataArray) -> Array:
    return _windows(array, "epoch")


def _units(array: xr.DataArray) -> Array:
    values: Array = array.transpose("data_seed", "seed", "random_point").values
    return values.reshape(-1, values.shape[-1])
