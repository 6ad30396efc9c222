"""Optimizers: one file each, one table. Each updates many runs at once (`protocol.Optimizer`); importing needs no PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from lrscope.dynamics.layout import Slots
from lrscope.dynamics.optimizers.adam import Adam, AdamW
from lrscope.dynamics.optimizers.muon import Muon
from lrscope.dynamics.optimizers.own import OwnOptimizer
from lrscope.dynamics.optimizers.protocol import Optimizer
from lrscope.dynamics.optimizers.rmsprop import RMSprop
from lrscope.dynamics.optimizers.sgd import SGD

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
    "muon": Muon,
}
OWN = "task"  # instead of one of the table: the task's own (`OwnOptimizer`)

__all__ = ["OPTIMIZERS", "OWN", "Optimizer", "OwnOptimizer", "make", "options"]


def options(name: str) -> tuple[str, ...]:
    """The fields of `SweepConfig` that the optimizer `name` reads."""
    if name == OWN:
        return ()
    return tuple(f.name for f in fields(OPTIMIZERS[name]) if f.name != "slots")  # type: ignore[arg-type]


def make(name: str, given: object, slots: Slots) -> Optimizer:
    """The optimizer `name` with the options that are attributes of `given`, for weights that lie in `slots`."""
    values: dict[str, Any] = {option: getattr(given, option) for option in options(name)}
    if any(f.name == "slots" for f in fields(OPTIMIZERS[name])):  # type: ignore[arg-type]
        values["slots"] = slots
    return OPTIMIZERS[name](**values)
