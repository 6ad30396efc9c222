"""What `lrscope map` was asked for: options of the command line over a config file over defaults. Imports no PyTorch."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast, get_type_hints

from lrscope.config import LATER_FIELDS, EngineConfig, SweepConfig, check_lrs, parse_lrs
from lrscope.errors import LrscopeError, nearest
from lrscope.tasks.validation import parse_size

TEXTS = ("ag-news", "fortunes")  # the table of data sets needs PyTorch; a test compares
LEAST_LRS = 6  # two a regime: fewer cannot show a border between them


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """All options of `lrscope map`; a config file has the same names with underscores."""

    data: str = "digits"
    model: str | None = None  # None: mlp for digits and ticks, transformer for texts, convnet for the other images
    width: int | None = None
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
    train_size: int | None = None
    test_size: int | None = None
    validation: str | None = None
    label_noise: float = 0.0
    pool: int = 1
    features: str | None = None
    augment: bool = False
    randaugment: str | None = None
    same_init: bool = True
    precision: str = "float32"
    log_points: int = 200
    adaptive: bool = False
    device: str = "auto"
    jobs: int | None = None
    path: str = "auto"
    chunk: int | None = None
    compile: bool | None = None
    on: str = "local"
    out: str | None = None

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
        lrs = parse_lrs(self.lrs)
        check_lrs("lrs", lrs, at_least=LEAST_LRS)
        parsed = ("lrs", "finetune_lrs", "average", "randaugment")
        shared = {f.name for f in fields(SweepConfig)} & {f.name for f in fields(self)} - set(parsed)
        return SweepConfig(
            lrs=lrs,
            finetune_lrs=parse_lrs(self.finetune_lrs) if self.finetune_lrs else (),
            average=_whole_numbers("average", self.average, "2,5,10"),
            randaugment=self._randaugment(),
            **{name: getattr(self, name) for name in shared},
        )

    def _randaugment(self) -> tuple[int, int] | None:
        numbers = _whole_numbers("randaugment", self.randaugment, "2,14")
        return cast("tuple[int, int]", numbers) if numbers else None  # how many there are is checked with the rest

    def engine_config(self) -> EngineConfig:
        """Where and how the sweep runs."""
        names = ("device", "jobs", "path", "chunk", "compile", "on")
        return EngineConfig(**{name: getattr(self, name) for name in names})

    def task_options(self) -> dict[str, Any]:
        """Arguments of `named_task`."""
        names = ("data", "model", "width", "train_size", "test_size", "label_noise", "pool", "features")
        return {**{name: getattr(self, name) for name in names}, "validation": parse_size(self.validation)}

    def request(self) -> dict[str, Any]:
        """What determines the numbers, as JSON: two calls with equal requests ask for the same result. Options that came
        later count only where they are used, so that maps of earlier versions are known again."""
        elsewhere = ("jobs", "out", "device", "path", "chunk", "compile", "on")
        later = {*LATER_FIELDS, "features", "validation"}
        unused = {f.name for f in fields(self) if f.name in later and getattr(self, f.name) == f.default}
        return {k: v for k, v in asdict(self).items() if k not in elsewhere and k not in unused}

    def command(self) -> str:
        """A command line that repeats these settings."""
        words = ["lrscope", "map"]
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default or field.name == "jobs":
                continue
            option = "--" + field.name.replace("_", "-")
            if field.name == "same_init":
                words.append("--own-init")
            elif isinstance(value, bool):
                words.append(option if value else option.replace("--", "--no-", 1))
            else:
                words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
        return shlex.join(words)


def _whole_numbers(name: str, text: str | None, such_as: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise LrscopeError(f"{name}: cannot read {text!r}: write whole numbers such as {such_as}") from None


def load_settings(path: Path | None, options: Mapping[str, Any]) -> MapSettings:
    """Settings from a TOML file (or none), overridden by the options that are not None."""
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text())
        except FileNotFoundError:
            raise LrscopeError(f"config: {path} does not exist: name a TOML file, or leave it out") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise LrscopeError(
                f"config: {path} cannot be read ({error}): write one name = value a line (TOML)"
            ) from None
    values.update({name: value for name, value in options.items() if value is not None})
    known = get_type_hints(MapSettings)
    for name, value in values.items():
        if name not in known:
            raise LrscopeError(f"config: {name!r} in {path} is no option: {nearest(name, known)}")
        values[name] = _typed(name, value, known[name])
    for one, other in (("epochs", "steps"), ("finetune_epochs", "finetune_steps")):
        if options.get(one) is not None and options.get(other) is None:
            values.pop(other, None)
        elif options.get(other) is not None and options.get(one) is None:
            values.pop(one, None)
    return MapSettings(**values).filled()


def _typed(name: str, value: Any, hint: Any) -> Any:
    """A config file's value as the option's type: lists for the grids, whole numbers where floats are meant."""
    allowed = {t for t in getattr(hint, "__args__", (hint,)) if t is not type(None)}
    if str in allowed and isinstance(value, list):
        return ",".join(map(str, value))
    if allowed == {str} and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if allowed == {float} and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) not in allowed:
        wanted = " or ".join(sorted(t.__name__ for t in allowed))
        raise LrscopeError(f"config: {name} = {value!r} is a {type(value).__name__}: write a {wanted}")
    return value
