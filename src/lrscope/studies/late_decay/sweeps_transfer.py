"""LD8's sweeps: LD1's with the squared error, and one thing changed in each: the network, the images, the optimizer.

They are made from LD1's, so that all else stays as it is there: times of decay, cooldown, rates, batch size, weight decay. The main path
may end earlier, and draws are few. A run depends on its seed alone, so LD1's first draws are what these stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lrscope.config import SweepConfig
from lrscope.studies.types import StudySweep

DRAWS = 3  # ours: the least that give an interval
LOG_POINTS = 20  # ours: of a path and of a sub-path; evaluating 2,000 test images takes as long as five steps
# By the rule of LD8's criterion: experiments/late_decay_rates.py, docs/late_decay_theory.md.
ADAM = 1e-2
RMSPROP = 3e-3


CHANGED = {"resnet": "ResNet-18", "other_data": "other images", "adam": "Adam", "rmsprop": "RMSprop"}
ABOUT = {
    "resnet": "LD1's main path and sub-paths with a ResNet-18, which has batch norms.",
    "other_data": "The same with LD1's network and other images.",
    "adam": "The same with LD1's network and images, and Adam.",
    "rmsprop": "The same with RMSprop.",
}


def transfers(
    mse: StudySweep, *, network: Mapping[str, Any], images: Mapping[str, Any], until: float
) -> tuple[StudySweep, ...]:
    """LD1's sweep `mse` with another network, other images and other optimizers.

    network, images: arguments of the task that change with each. until: the latest decay, in epochs.
    """
    short = _cut(mse.config, until)
    tasks = {"resnet": {"model": "resnet18", **network}, "other_data": images}
    configs = {"adam": _with(short, "adam", ADAM), "rmsprop": _with(short, "rmsprop", RMSPROP)}
    return tuple(
        StudySweep(
            name=name, about=ABOUT[name], task={**mse.task, **tasks.get(name, {})}, config=configs.get(name, short)
        )
        for name in CHANGED
    )


def _cut(config: SweepConfig, until: float) -> SweepConfig:
    """The main path ends with the last decay; of logs and weights only what LD8 reads."""
    (branch,) = config.branches
    times = tuple(at for at in branch.at if at <= until)
    return replace(
        config,
        epochs=until,
        branches=(replace(branch, at=times),),
        log_epochs=times,
        data_seeds=DRAWS,
        log_points=LOG_POINTS,
        keep_weights=False,
        snapshot_epochs=(),
    )


def _with(config: SweepConfig, optimizer: str, lr: float) -> SweepConfig:
    """Its weight decay stays an L2 term in the gradient."""
    return replace(config, optimizer=optimizer, momentum=0.0, lrs=(lr,))
