"""Where measurements go: anything with `log(step, values)`, or a function of these two.

`values` are numbers by name, such as `group_angle/layer1.weight`, and the text `regime`. Trackers' packages load on use.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lrscope.charts.text import number
from lrscope.errors import LrscopeError, first_line, nearest, shown
from lrscope.storage.files import disk_error
from lrscope.storage.paths import local
from lrscope.terminal import say, warn

Values = Mapping[str, float | str]


@runtime_checkable
class Sink(Protocol):
    """Takes measurements."""

    def log(self, step: int, values: Values) -> None:
        """Values at an update, by name."""


class Calls:
    """A function of update and values."""

    def __init__(self, function: Callable[[int, Values], Any]) -> None:
        self.function = function

    def log(self, step: int, values: Values) -> None:
        """See `Sink`."""
        self.function(step, values)


class Terminal:
    """The regime on standard error, at most once in `every` updates."""

    def __init__(self, every: int = 100) -> None:
        self.every, self.last = every, 0

    def log(self, step: int, values: Values) -> None:
        """See `Sink`."""
        if step - self.last >= self.every:
            self.last = step
            say(f"update {step}: loss {number(float(values.get('train_loss', math.nan)))}; {values['regime']}")


class Jsonl:
    """One JSON object a line; what is not finite is null."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = local(path, "sinks")

    def log(self, step: int, values: Values) -> None:
        """See `Sink`."""
        told = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"update": step, **told}, allow_nan=False) + "\n")
        except OSError as error:
            raise disk_error(error, Path(self.path)) from error


class TensorBoard:
    """A SummaryWriter, or the folder of a new one."""

    def __init__(self, writer: Any = "runs/lrscope") -> None:
        needed("tensorboard", "tensorboard")
        made = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        self.writer = writer if hasattr(writer, "add_scalar") else made(str(writer))

    def log(self, step: int, values: Values) -> None:
        """See `Sink`."""
        for name, value in numbers(values).items():
            self.writer.add_scalar(f"lrscope/{name}", value, step)


class Wandb:
    """A run of Weights & Biases, or the one that is open."""

    def __init__(self, run: Any = None) -> None:
        self.run = needed("wandb", "wandb").run if run is None else run
        if self.run is None:
            raise LrscopeError("sinks: no run of wandb is open: call wandb.init() first, or pass Wandb(run)")

    def log(self, step: int, values: Values) -> None:
        """See `Sink`. The update is a value of its own, because wandb counts its steps itself."""
        told = {f"lrscope/{name}": v for name, v in values.items()}
        self.run.log({"lrscope/update": step, **told})


class Mlflow:
    """The active run of MLflow."""

    def __init__(self) -> None:
        self.module = needed("mlflow", "mlflow")

    def log(self, step: int, values: Values) -> None:
        """See `Sink`."""
        told = {f"lrscope/{_plain(name)}": value for name, value in numbers(values).items()}
        self.module.log_metrics(told, step=step)


NAMED: dict[str, Callable[[], Sink]] = {
    "terminal": Terminal,
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": Mlflow,
}


def needed(module: str, package: str) -> Any:
    """A tracker's module.

    Raises:
        LrscopeError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise LrscopeError(
            f"sinks: {package} is not installed: run `pip install {package}`, or leave this sink out"
        ) from error


def as_sinks(given: Any) -> list[Sink]:
    """Sinks of what a user names: a sink, a function, a word of NAMED, a path that ends in .jsonl, or a list of these."""
    items = given if isinstance(given, (list, tuple)) else [given]
    return [_as_sink(item) for item in items]


def _as_sink(given: Any) -> Sink:
    if isinstance(given, str) and given in NAMED:
        return NAMED[given]()
    if isinstance(given, os.PathLike) or (isinstance(given, str) and given.endswith(".jsonl")):
        return Jsonl(given)
    if isinstance(given, str):
        raise LrscopeError(f"sinks: {shown(given)} is unknown: {nearest(given, NAMED)}; or a path that ends in .jsonl")
    if isinstance(given, Sink):
        return given
    if callable(given):
        return Calls(given)
    raise LrscopeError(f"sinks: {shown(given)} is no sink: pass an object with log(step, values), a function or a name")


def send(sinks: list[Sink], step: int, values: Values) -> None:
    """To all of them. One that fails is left out from then on, with a warning: it is no reason to end a training."""
    for sink in list(sinks):
        try:
            sink.log(step, values)
        except Exception as error:  # whatever a tracker raises
            sinks.remove(sink)
            warn(f"monitor: {type(sink).__name__} failed and gets nothing any more: {first_line(error)}")


def numbers(values: Values) -> dict[str, float]:
    """The finite numbers among the values."""
    return {name: v for name, v in values.items() if isinstance(v, (int, float)) and math.isfinite(v)}


def _plain(name: str) -> str:
    """A name as MLflow takes it."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in name)


def flat(
    names: Sequence[str], scalars: Sequence[float], kinds: Sequence[str], groups: Any, places: Sequence[str]
) -> dict[str, float | str]:
    """Values by name: scalars, then those of each group, NaN left out."""
    told: dict[str, float | str] = {n: float(v) for n, v in zip(names, scalars, strict=True) if not math.isnan(v)}
    for kind, row in zip(kinds, groups, strict=True):
        told |= {f"{kind}/{place}": float(v) for place, v in zip(places, row, strict=True) if not math.isnan(v)}
    return told
