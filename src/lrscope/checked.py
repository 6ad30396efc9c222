"""`checked`: a public function reads its arguments as their annotations say before its first line runs.

`Annotated[int, Whole(2, 100)]` is read by that reader; `int`, `float`, `bool` and `str` by the plain ones; a class means
an object of that class; `Sequence[...]` and `tuple[..., ...]` mean a list of what stands in the brackets; `ArrayLike` means
numbers in any shape; with `| None` None is let through. What does not fit is refused in one sentence with the parameter's
name. Annotations that name anything else are not checked.
"""

from __future__ import annotations

import collections.abc
import functools
import importlib
import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ParamSpec, TypeVar

from lrscope.errors import LrscopeError, shown
from lrscope.readers import Flag, Number, Reader, Whole, Word
from lrscope.values import as_list, plain

P = ParamSpec("P")
R = TypeVar("R")

MOST_NUMBERS = 10_000_000  # ours: of a range that stands for an array
LARGEST = 2**53  # of an int without limits of its own: the whole numbers that a float holds
FLOATS = Number(-1.7e308, 1.7e308)
TEXT = Word(optional=True)
Count = Annotated[int, Whole(1, 1_000_000)]  # ours: of batches, draws, points, eigenvalues
Seed = Annotated[int, Whole(0, LARGEST)]
Steps = Annotated[int, Whole(1, 100_000_000)]  # as of a sweep
Positive = Annotated[float, Number(0, 1e30, above=True)]

# What to pass instead of a wrong object, by the name of the class that is wanted.
REMEDIES = {
    "Task": "pass lrscope.Task(model=..., train=..., test=...) or lrscope.named_task(...)",
    "DataTree": "pass what lrscope.sweep or lrscope.open_result returns",
    "DataArray": "pass a variable of a result, such as result['pretrain/test_loss']",
    "RegimeMap": "pass what lrscope.regimes returns, or leave it out",
    "Trained": "pass lrscope.Trained.open(folder, task)",
    "State": "pass what Trained.state returns",
    "Program": "pass what Trained.program returns",
    "Material": "pass what Trained.material returns",
    "Objective": "pass an object with size and gradient(points, step), such as Differentiated(loss, size)",
    "Optimizer": "pass one of lrscope.dynamics.optimizers, such as Adam()",
    "Values": "pass FunctionValues(function, size) or a NetworkValues",
    "Plane": "pass plane.Plane(origin, first, second) or Plane.through(first, second, third)",
    "Tensor": "pass a torch.Tensor",
    "Module": "pass a torch.nn.Module",
    "SweepConfig": "pass lrscope.SweepConfig(lrs=..., ...)",
    "EngineConfig": "pass lrscope.EngineConfig(...)",
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Read the arguments of a public function before it runs; what cannot be used is refused in one sentence.

    Raises (the function returned):
        LrscopeError: an argument that is not what its annotation says.
        TypeError: as any Python function, too many, too few or unknown arguments.
    """
    signature = inspect.signature(function)

    @functools.cache
    def known() -> dict[str, Check]:
        hints = _hints(function)
        named = [p.name for p in signature.parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        found = {name: _check(hints[name]) for name in named if name in hints}
        return {name: check for name, check in found.items() if check is not None}

    @functools.wraps(function)
    def reading(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if name in known():
                bound.arguments[name] = known()[name].read(name, value)
        return function(*bound.args, **bound.kwargs)

    return reading


def checked_fields(kind: type[R]) -> type[R]:
    """`checked` for the fields of a dataclass: they are read when an object is made."""
    kind.__init__ = checked(kind.__init__)  # type: ignore[method-assign]
    return kind


class Check(typing.Protocol):
    """Reads one argument."""

    def read(self, name: str, value: Any) -> Any:
        """The value to pass on, or an LrscopeError that begins with the parameter's name."""


@dataclass(frozen=True)
class _Any:
    """One of several kinds, the first that takes the value; with `optional` None too."""

    kinds: tuple[Check, ...]
    optional: bool

    def read(self, name: str, value: Any) -> Any:
        if value is None and self.optional:
            return None
        refused = []
        for kind in self.kinds:
            try:
                return kind.read(name, value)
            except LrscopeError as error:
                refused.append(error)
        raise refused[0]


@dataclass(frozen=True)
class _Object:
    """An object of one of the classes."""

    kind: type

    def read(self, name: str, value: Any) -> Any:
        if not isinstance(value, self.kind):
            word = self.kind.__name__
            remedy = REMEDIES.get(word, f"pass one of type {word}")
            article = "an" if word[0] in "AEIO" else "a"
            raise LrscopeError(f"{name}: {shown(value)} is not {article} {word}: {remedy}")
        return value


@dataclass(frozen=True)
class _Path:
    """A path or URL."""

    def read(self, name: str, value: Any) -> Any:
        from lrscope.storage.paths import place

        return place(value, name)


@dataclass(frozen=True)
class _Items:
    """A list of what `item` reads, as a tuple."""

    item: Check | None

    def read(self, name: str, value: Any) -> tuple[Any, ...]:
        given = isinstance(value, (list, tuple, collections.abc.Iterator, collections.abc.Set))
        items = list(value) if given else as_list(value)
        if items is None:
            raise LrscopeError(f"{name}: {shown(value)} is not a list: pass a list or a tuple")
        return tuple(items if self.item is None else (self.item.read(name, item) for item in items))


@dataclass(frozen=True)
class _Tuple:
    """As many items as there are checks, as a tuple."""

    items: tuple[Check | None, ...]

    def read(self, name: str, value: Any) -> tuple[Any, ...]:
        items = _Items(None).read(name, value)
        if len(items) != len(self.items):
            raise LrscopeError(f"{name}: {shown(value)} has {len(items)} items: pass {len(self.items)}")
        return tuple(item if c is None else c.read(name, item) for c, item in zip(self.items, items, strict=True))


@dataclass(frozen=True)
class Numbers:
    """Numbers in any shape, left as they are."""

    def read(self, name: str, value: Any) -> Any:
        """The value; a range that would take gigabytes as an array is refused before it is one."""
        import numpy as np

        if isinstance(value, range) and len(value) > MOST_NUMBERS:
            raise LrscopeError(f"{name}: {shown(value)} has more than {MOST_NUMBERS:,} numbers: pass fewer")
        try:
            array = np.asarray(plain(value) if not hasattr(value, "__array__") else value)
            numeric = array.dtype.kind in "biuf"
        except (TypeError, ValueError, RuntimeError):
            numeric = False
        if not numeric:
            raise LrscopeError(f"{name}: {shown(value)} are not numbers: pass an array, or lists of equal lengths")
        return value


@dataclass(frozen=True)
class _Function:
    """Anything that can be called."""

    def read(self, name: str, value: Any) -> Any:
        if not callable(value):
            raise LrscopeError(f"{name}: {shown(value)} cannot be called: pass a function")
        return value


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function; names that its module knows only while types are checked are found."""
    module = importlib.import_module(function.__module__)
    names: dict[str, Any] = {}
    while True:
        try:
            hints = typing.get_type_hints(function, localns=names, include_extras=True)
        except NameError as error:
            unknown = str(error.name)
            names[unknown] = _later(module, unknown)
        else:
            hints.pop("return", None)
            return hints


def _later(module: types.ModuleType, name: str) -> Any:
    """What `name` means in the module's `if TYPE_CHECKING:` block."""
    import ast

    for node in ast.walk(ast.parse(inspect.getsource(module))):
        for alias in getattr(node, "names", ()):
            if isinstance(node, ast.Import) and (alias.asname or alias.name) == name:
                return importlib.import_module(alias.name)
            if isinstance(node, ast.ImportFrom) and node.module and (alias.asname or alias.name) == name:
                return getattr(importlib.import_module(node.module), alias.name)
    return Any


def _check(hint: Any) -> Check | None:
    """The check that an annotation asks for; None for what is not checked."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        reader = next((extra for extra in inside[1:] if isinstance(extra, Reader)), None)
        return _check(inside[0]) if reader is None else _Any((reader,), type(None) in typing.get_args(inside[0]))
    if "_SupportsArray" in str(hint):  # numpy.typing.ArrayLike is a union of what makes an array
        return _Any((Numbers(),), type(None) in inside)
    if origin in (typing.Union, types.UnionType):
        return _union(inside)
    if origin is typing.Literal:
        return Word(tuple(map(str, inside)))
    if origin in (collections.abc.Sequence, collections.abc.Iterable, list) or (
        origin is tuple and inside[-1:] == (Ellipsis,)
    ):
        return _Items(_check(inside[0]))
    if origin is tuple and inside:
        return _Tuple(tuple(_check(item) for item in inside))
    if getattr(origin, "__name__", "") == "ndarray":
        return Numbers()
    if origin is collections.abc.Callable:
        return _Function()
    if origin in (collections.abc.Mapping, dict):
        return _Object(Mapping)
    simple: dict[Any, Check] = {bool: Flag(), int: Whole(-LARGEST, LARGEST), float: FLOATS, str: TEXT}
    if hint in simple:
        return simple[hint]
    return _Object(hint) if isinstance(hint, type) and hint not in (object, Any) else None


def _union(inside: tuple[Any, ...]) -> Check | None:
    from lrscope.storage.paths import Remote

    optional = type(None) in inside
    given = [hint for hint in inside if hint is not type(None)]
    if any(typing.get_origin(hint) is os.PathLike or hint is Remote for hint in given):
        return _Any((_Path(),), optional)
    kinds = [_check(hint) for hint in given]
    if None in kinds:
        return None
    return _Any(tuple(kind for kind in kinds if kind is not None), optional)
