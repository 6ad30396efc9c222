"""What `lrscope map` was asked for: options of the command line over a config file over defaults. Imports no PyTorch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from lrscope.config.engine import EngineConfig
from lrscope.config.option import Option, options
from lrscope.config.sweep import SweepConfig
from lrscope.config.task import TaskConfig
from lrscope.errors import LrscopeError, shown
from lrscope.grids import check_lrs, parse_lrs
from lrscope.hints import no_such_option
from lrscope.readers import POINTS, Word, read_fields
from lrscope.tasks.validation import parse_size

TEXTS = ("ag-news", "fortunes")  # the table of data sets needs PyTorch; a test compares
MOST_BYTES = 1_000_000  # ours: of a config file
LEAST_LRS = 6  # two a regime: fewer cannot show a border between them
UNRECORDED = ("jobs", "extend_finetunes")  # of a machine or a single call: no part of the command that repeats a map


@dataclass(frozen=True, kw_only=True)
class MapConfig:
    """What a map has beside its sweep: how its result is read and where it is kept."""

    margin: Annotated[float | None, POINTS] = None
    """Points (hundredths of accuracy) within which learning rates count as equally good.

    Default: 0.3
    Panel: Result
    """
    out: Annotated[str | None, Word(words="a folder or URL")] = None
    """Where the result is kept.

    Default: runs/DATA-MODEL
    """

    def __post_init__(self) -> None:
        read_fields(self)


KINDS = (TaskConfig, SweepConfig, EngineConfig, MapConfig)
# A map needs no learning rates, and some of its defaults follow from the data (`MapSettings.filled`).
OTHER_DEFAULTS: dict[str, dict[str, Any]] = {
    "lrs": {"default": "1e-5:1:24"},
    "batch_size": {"default": None, "default_words": "128; digits 64, ticks 16"},
    "epochs": {"default_words": "40; ticks 40,000 steps"},
    "finetune_epochs": {"default_words": "20; ticks 20,000 steps"},
    "radius": {"default_words": "the initial norm; ticks 1"},
}


def map_options(*kinds: type) -> dict[str, Option]:
    """The options of a map by name, with lists as text: all fields of the configs that it is made of."""
    found = {name: option.as_text() for kind in kinds for name, option in options(kind).items()}
    return {name: replace(option, **OTHER_DEFAULTS.get(name, {})) for name, option in found.items()}


OPTIONS: Mapping[str, Option] = MappingProxyType(map_options(*KINDS))


@dataclass(frozen=True, init=False)
class MapSettings:
    """A value for every option of `lrscope map`, which is an attribute too; a config file has the same names.

    Options are read as the configs read them; grids and lists are kept as text.
    """

    values: Mapping[str, Any]

    def __init__(self, **given: Any) -> None:
        for name in given:
            if name not in OPTIONS:
                raise LrscopeError(f"{shown(name)} is no option of a map: {no_such_option(name, OPTIONS)}")
        values = {name: option.read(given.get(name, option.default)) for name, option in OPTIONS.items()}
        object.__setattr__(self, "values", MappingProxyType(values))

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "values")[name]
        except KeyError:
            raise AttributeError(f"a map has no option {name!r}") from None

    def filled(self) -> MapSettings:
        """With the defaults that depend on the data: ticks as feature_learning trains it, a model, a length."""
        values: dict[str, Any] = {}
        ticks = self.data == "ticks"
        usual = "transformer" if self.data in TEXTS else "mlp" if self.data in ("digits", "ticks") else "convnet"
        values["model"] = self.model or usual
        values["batch_size"] = self.batch_size or (16 if ticks else 64 if self.data == "digits" else 128)
        if ticks and self.radius is None and self.space == "sphere":
            values["radius"] = 1.0
        if self.epochs is None and self.steps is None:
            values.update({"steps": 40_000} if ticks else {"epochs": 40.0})
        if self.finetune_lrs and self.finetune_epochs is None and self.finetune_steps is None:
            values.update({"finetune_steps": 20_000} if ticks else {"finetune_epochs": 20.0})
        if self.validation is not None:  # 0.10 and 0.1 ask for the same
            values["validation"] = str(parse_size(self.validation))
        values["out"] = self.out or f"runs/{self.data}-{values['model']}"
        return MapSettings(**{**self.values, **values})

    def sweep_config(self) -> SweepConfig:
        """The sweep of filled settings; every wrong value is refused here."""
        at_least = 1 if self.branches else LEAST_LRS  # branches ask other questions than where regimes begin
        check_lrs("lrs", parse_lrs(self.lrs), at_least=at_least)
        return SweepConfig(**{name: value for name, value in self._of(SweepConfig).items() if value is not None})

    def engine_config(self) -> EngineConfig:
        """Where and how the sweep runs."""
        return EngineConfig(**self._of(EngineConfig))

    def task_options(self) -> dict[str, Any]:
        """Arguments of `named_task`."""
        return TaskConfig(**self._of(TaskConfig)).arguments()

    def _of(self, kind: type) -> dict[str, Any]:
        return {name: self.values[name] for name in options(kind)}

    def request(self) -> dict[str, Any]:
        """What determines the numbers and differs from its default, as JSON: two calls with equal requests ask for the same
        result."""
        return _differing({**self._of(TaskConfig), **self._of(SweepConfig)})

    def is_asked_by(self, request: Any) -> bool:
        """Is this what a stored request asks for? Those of earlier versions say most of their defaults too."""
        return isinstance(request, dict) and _differing(request) == self.request()

    def command(self, *, shared: bool = False) -> str:
        """A command line that repeats these settings. One that is stored and `shared` names no folder of this machine and
        holds no credentials of a URL."""
        import shlex

        from lrscope.storage.paths import for_sharing

        words = ["lrscope", "map"]
        for name, option in OPTIONS.items():
            value = self.values[name]
            if value == option.default or name in UNRECORDED:
                continue
            if option.is_switch:
                words.append(option.flags[0 if value else 1])
            else:
                words += [option.flags[0], for_sharing(value) if shared and name == "out" else str(value)]
        return shlex.join(words)


def _differing(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: v for name, v in values.items() if name not in OPTIONS or v != OPTIONS[name].default}


def read_margin(value: str | None) -> float | None:
    """The margin of a command line that reads a finished map."""
    points: float | None = OPTIONS["margin"].read(value)
    return points


def load_settings(path: Path | None, given: Mapping[str, Any]) -> MapSettings:
    """Settings from a TOML file (or none), overridden by the options that are not None."""
    given = {name: value for name, value in given.items() if value is not None}
    values = {} if path is None else _from_file(path)
    for one, other in (("epochs", "steps"), ("finetune_epochs", "finetune_steps")):
        if one in given and other not in given:
            values.pop(other, None)
        elif other in given and one not in given:
            values.pop(one, None)
    return MapSettings(**{**values, **given}).filled()


def _from_file(path: Path) -> dict[str, Any]:
    """The options of a TOML file, each read as its kind."""
    if not os.path.exists(path):
        raise LrscopeError(f"config: {path} does not exist: name a TOML file, or leave it out")
    if not os.path.isfile(path):
        raise LrscopeError(f"config: {path} is not a file: name a TOML file, or leave it out")
    if path.stat().st_size > MOST_BYTES:
        raise LrscopeError(
            f"config: {path} has more than {MOST_BYTES:,} bytes: name a TOML file with one name = value a line"
        )
    import tomllib

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise LrscopeError(
            f"config: {path} cannot be read ({_line(error)}): write one name = value a line (TOML)"
        ) from None
    for name, value in values.items():
        if name not in OPTIONS:
            raise LrscopeError(f"config: {shown(name)} in {path} is no option: {no_such_option(name, OPTIONS)}")
        try:
            values[name] = OPTIONS[name].read(value)
        except LrscopeError as error:
            raise LrscopeError(f"config: {path}: {error}") from None
    return values


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
