"""What the study measures beyond the logs: a tick, geometry between solutions, images of frequency bands, other splits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from lrscope.measures import geometry
from lrscope.studies.feature_learning.effects import nearest_average
from lrscope.studies.types import StudyResults
from lrscope.tasks import bands
from lrscope.tasks.builtin import named_task
from lrscope.tasks.data import load
from lrscope.trained import Trained, stack

PAIRS = ("low-high", "low-swa", "high-swa")
SHOWN = 2  # test images drawn
# feature_learning, Fig. 16: the last band of low; the first is the usual split of 32 x 32 images
SPLITS = (8, 6, 4, 2)
MID_ENDS = 24


def tick(results: StudyResults) -> xr.Dataset:
    """The first feature of ticks' training examples [N, 2] and their labels."""
    data = load("ticks", data_seed=results.first_seed)
    return xr.Dataset(
        {"x": (("example", "axis"), data.train_x[:, :2].numpy()), "label": ("example", data.train_y.numpy())}
    )


def geometry_of(trained: Trained) -> xr.Dataset:
    """Angles (radians) and barriers between the solutions of the lowest FLR, the highest and an average over five
    checkpoints [pair, lr, data_seed, seed]; barriers of loss and error on train and test."""
    config = trained.config
    low, high = config.finetune_lrs[0], config.finetune_lrs[-1]
    n = config.average[nearest_average(trained.result)]
    ends: dict[str, dict[str, Any]] = {
        "low": {"finetune_lr": low},
        "high": {"finetune_lr": high},
        "swa": {"n_average": n},
    }
    seeds = config.training_seeds
    rows: list[xr.Dataset] = []
    for data_seed, lr in itertools.product(config.draws, config.lrs):
        states = {
            name: stack([trained.state(lr=lr, seed=s, data_seed=data_seed, **end) for s in seeds])
            for name, end in ends.items()
        }
        for pair in PAIRS:
            first, second = pair.split("-")
            found = geometry.between_runs(trained, states[first], states[second], data_seed=data_seed)
            rows.append(
                found[[name for name in found if "position" not in found[name].dims]]
                .rename(run="seed")
                .assign_coords(seed=list(seeds))
                .expand_dims(pair=[pair], lr=[lr], data_seed=[data_seed])
            )
    return xr.combine_by_coords(rows)  # type: ignore[return-value]  # of data sets it makes a data set


def ticks_geometry(results: StudyResults) -> xr.Dataset:
    """`geometry_of` the sweep `ticks`."""
    return geometry_of(results.trained("ticks"))


def band_examples(results: StudyResults, task: Mapping[str, Any]) -> xr.Dataset:
    """The first test images [image, channel, row, column] of a task, normalised, with their normalisation [channel]."""
    data = named_task(**{"validation": 0, **task, "features": None}).data(0)
    mean, std = data.normalisation or ((0.0,), (1.0,))
    return xr.Dataset(
        {
            "picture": (("image", "channel", "row", "column"), data.test_x[:SHOWN].numpy()),
            "mean": ("channel", list(mean)),
            "std": ("channel", list(std)),
        }
    )


def splits_of(height: int, width: int) -> tuple[list[int], int]:
    """The last low band of each split of images of this size, the usual split first, and the last mid band of all. Of small images
    two splits may be one."""
    top = bands.highest_band(height, width)
    ends = (max(1, round(end / bands.PAPER_SIZE * top)) for end in SPLITS)
    return list(dict.fromkeys(ends)), round(MID_ENDS / bands.PAPER_SIZE * top)


def vit_splits(results: StudyResults, scaled: bool) -> xr.Dataset:
    """Accuracy of the lowest FLR's solutions on low and mid bands of several splits [band, lr, data_seed, seed]; `low 0` and
    `mid 0` are the usual split. `scaled` as in `bands.masked_set`."""
    trained = results.trained("vit")
    config, data = trained.config, trained.task.data(0)
    height, width = data.test_x.shape[-2:]
    ends, last = splits_of(height, width)
    ranges = {f"low {i}": (1, end) for i, end in enumerate(ends)} | {
        f"mid {i}": (end + 1, last) for i, end in enumerate(ends)
    }
    mean, std = data.normalisation or ((0.0,), (1.0,))
    found = np.full((len(ranges), len(config.lrs), config.data_seeds, config.seeds), np.nan)
    for d, draw in enumerate(config.draws):
        examples = trained.task.data(draw)
        masks = [bands.mask(height, width, *both) for both in ranges.values()]
        sets = [bands.masked_set(examples.test_x, mean, std, mask, scaled=scaled) for mask in masks]
        program, material = trained.program(), trained.material(draw)
        for (i, lr), (s, seed) in itertools.product(enumerate(config.lrs), enumerate(config.training_seeds)):
            state = trained.state(lr=lr, seed=seed, data_seed=draw, finetune_lr=config.finetune_lrs[0])
            populations = program.populations(state.weights, state.frozen, material.batches()[0])
            for b, x in enumerate(sets):
                accuracy = program.metrics(state.weights, state.frozen, populations, x, examples.test_y)[1]
                found[b, i, d, s] = float(accuracy[0])
    return xr.Dataset(
        {"accuracy": (("band", "lr", "data_seed", "seed"), found)},
        {
            "band": np.array(list(ranges), dtype=object),
            "lr": list(config.lrs),
            "data_seed": list(config.draws),
            "seed": list(config.training_seeds),
        },
        {"ends": ends, "last": last},
    )
