"""What `lrscope map` was asked for: options of the command line over a config file over defaults. Imports no PyTorch."""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from lrscope.config import LATER_FIELDS, EngineConfig, SweepConfig
from lrscope.errors import LrscopeError, shown
from lrscope.grids import check_lrs, parse_lrs
from lrscope.hints import no_such_option
from lrscope.options import POINTS, Increasing, Number, Pair, Rates, Reader, Text, Whole, Word, readers
from lrscope.places import for_sharing
from lrscope.tasks.validation import ADVICE, parse_size

TEXTS = ("ag-news", "fortunes")  # the table of data sets needs PyTorch; a test compares
Size = Annotated[int, Whole(1, 100_000_000)]
MOST_BYTES = 1_000_000  # ours: of a config file
LEAST_LRS = 6  # two a regime: fewer cannot show a border between them


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """All options of `lrscope map`; a config file has the same names with underscores.

    Options of a sweep are read as `SweepConfig` and `EngineConfig` read them; grids and lists are kept as text.
    """

    data: Annotated[str, Word(words="the name of a data set (lrscope data list)")] = "digits"
    model: Annotated[str | None, Word(words="mlp, convnet, resnet18, transformer or vit")] = (
        None  # None: mlp for digits and ticks, transformer for texts, convnet for the other images
    )
    width: Annotated[int | None, Whole(1, 1_000_000)] = None
    space: str = "sphere"
    scale_invariant: bool | None = None
    radius: float | None = None
    lrs: str = "1e-5:1:24"
    seeds: int = 3
    data_seeds: int = 1
    epochs: float | None = None
    steps: int | None = None
    batch_size: int | None = None
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "constant"
    finetune_lrs: str | None = None
    finetune_epochs: float | None = None
    finetune_steps: int | None = None
    average: str | None = None
    average_every: int | None = None
    train_size: Size | None = None
    test_size: Size | None = None
    validation: Annotated[str | None, Text(Word(words=ADVICE.removeprefix("pass ")))] = None
    label_noise: Annotated[float, Number(0, 1, below=True)] = 0.0
    pool: Annotated[int, Whole(1, 1_000)] = 1
    features: Annotated[str | None, Word(words="bands, or bands:low=1-6,mid=7-24")] = None
    augment: bool = False
    randaugment: str | None = None
    same_init: bool = True
    precision: str = "float32"
    log_points: int = 200
    adaptive: bool = False
    margin: Annotated[float | None, POINTS] = None  # of the recommendation, in points; None: its default
    device: str = "auto"
    jobs: int | None = None
    path: str = "auto"
    chunk: int | None = None
    compile: bool | None = None
    on: str = "local"
    extend_finetunes: bool = False
    out: Annotated[str | None, Word(words="a folder or URL")] = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (reader, _) = getattr(self, field.name), READERS[field.name]
            if not (value is None and field.default is None):
                object.__setattr__(self, field.name, reader.read(field.name, value))

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
        return replace(self, **values)

    def sweep_config(self) -> SweepConfig:
        """The sweep of filled settings; every wrong value is refused here."""
        check_lrs("lrs", parse_lrs(self.lrs), at_least=LEAST_LRS)
        names = {f.name for f in fields(SweepConfig)} & {f.name for f in fields(self)}
        given = {name: getattr(self, name) for name in names}
        absent = {name for name, value in given.items() if value is None}
        return SweepConfig(**{name: value for name, value in given.items() if name not in absent})

    def engine_config(self) -> EngineConfig:
        """Where and how the sweep runs."""
        names = ("device", "jobs", "path", "chunk", "compile", "on", "extend_finetunes")
        return EngineConfig(**{name: getattr(self, name) for name in names})

    def task_options(self) -> dict[str, Any]:
        """Arguments of `named_task`."""
        names = ("data", "model", "width", "train_size", "test_size", "label_noise", "pool", "features")
        return {**{name: getattr(self, name) for name in names}, "validation": parse_size(self.validation)}

    def request(self) -> dict[str, Any]:
        """What determines the numbers, as JSON: two calls with equal requests ask for the same result. Options that came
        later count only where they are used, so that maps of earlier versions are known again."""
        elsewhere = ("jobs", "out", "device", "path", "chunk", "compile", "on", "extend_finetunes", "margin")
        later = {*LATER_FIELDS, "features", "validation"}
        unused = {f.name for f in fields(self) if f.name in later and getattr(self, f.name) == f.default}
        return {k: v for k, v in asdict(self).items() if k not in elsewhere and k not in unused}

    def command(self, *, shared: bool = False) -> str:
        """A command line that repeats these settings. One that is stored and `shared` names no folder of this machine and
        holds no credentials of a URL."""
        words = ["lrscope", "map"]
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default or field.name in ("jobs", "extend_finetunes"):
                continue
            option = "--" + field.name.replace("_", "-")
            if field.name == "same_init":
                words.append("--own-init")
            elif isinstance(value, bool):
                words.append(option if value else option.replace("--", "--no-", 1))
            elif field.name == "out":
                words += [option, for_sharing(value) if shared else value]
            else:
                words += [option, str(value)]
        return shlex.join(words)


def read_margin(value: str | None) -> float | None:
    """The margin of a command line that reads a finished map."""
    return None if value is None else POINTS.read("margin", value)


def _all_readers() -> dict[str, tuple[Reader, bool]]:
    """Of every option its reader: its own, the sweep's, or the engine's; what a sweep reads from text stays text."""
    own, shared = readers(MapSettings), {**readers(SweepConfig), **readers(EngineConfig)}
    found = {}
    for field in fields(MapSettings):
        reader, optional = own.get(field.name) or shared[field.name]
        found[field.name] = (Text(reader) if isinstance(reader, (Rates, Increasing, Pair)) else reader), optional
    return found


READERS = _all_readers()


def load_settings(path: Path | None, options: Mapping[str, Any]) -> MapSettings:
    """Settings from a TOML file (or none), overridden by the options that are not None."""
    given = {name: value for name, value in options.items() if value is not None}
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
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise LrscopeError(
            f"config: {path} cannot be read ({_line(error)}): write one name = value a line (TOML)"
        ) from None
    for name, value in values.items():
        if name not in READERS:
            raise LrscopeError(f"config: {shown(name)} in {path} is no option: {no_such_option(name, READERS)}")
        try:
            values[name] = READERS[name][0].read(name, value)
        except LrscopeError as error:
            raise LrscopeError(f"config: {path}: {error}") from None
    return values


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
