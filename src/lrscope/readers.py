"""How the values of options are read, the same way for Python calls, config files and the command line.

A reader stands in the annotation of a dataclass field or of a parameter (`Annotated[int, Whole(1, 100)]`). It takes what
plainly means such a value - NumPy and PyTorch numbers, text such as "3" or "1e-3:1:8", a single number for a list - and
refuses everything else in one sentence that names the field, the value and what would do. Imports no PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Protocol, get_args, get_origin, get_type_hints, runtime_checkable

from lrscope.errors import LrscopeError, shown
from lrscope.grids import check_lrs, parse_lrs
from lrscope.values import MOST_ITEMS, as_list, as_number, as_whole, plain

MOST_TEXT = 1_000  # ours: letters of an option
MOST_POINTS = 50  # ours: of a margin; within half of all accuracy everything is equal


@runtime_checkable
class Reader(Protocol):
    """Reads one kind of value."""

    def read(self, name: str, value: Any) -> Any:
        """The value as its kind, or an LrscopeError that begins with the field's name."""

    def takes(self) -> str:
        """What it reads, in words for the documentation."""


@runtime_checkable
class Written(Reader, Protocol):
    """Reads a kind of value that has a text of its own."""

    def as_text(self, value: Any) -> str:
        """The text of a value that was read, which reads as the same; empty for an empty list."""


@dataclass(frozen=True)
class Flag:
    """True or False; a word or a number is neither. `off`: the command line's word for False, if it is not `no-NAME`."""

    off: str = ""

    def read(self, name: str, value: Any) -> bool:
        """See `Reader`."""
        value = plain(value)
        if not isinstance(value, bool):
            raise LrscopeError(f"{name}: {shown(value)} is neither true nor false: use one of them, without quotes")
        return value

    def takes(self) -> str:
        """See `Reader`."""
        return "true or false"


@dataclass(frozen=True)
class Whole:
    """A whole number from `least` to `most`."""

    least: int
    most: int

    def read(self, name: str, value: Any) -> int:
        """See `Reader`."""
        number = as_whole(value)
        if number is None:
            raise LrscopeError(
                f"{name}: {shown(value)} is not a whole number: use one{self.takes().removeprefix('a whole number')}"
            )
        if number < self.least:
            raise LrscopeError(f"{name}: {shown(number)} is too small: use {self.least:,} or more")
        if number > self.most:
            raise LrscopeError(f"{name}: {shown(number)} is too large: use {self.most:,} or less")
        return number

    def takes(self) -> str:
        """See `Reader`."""
        return f"a whole number {self._from_to()}"

    def _from_to(self) -> str:
        return f"from {self.least:,} to {self.most:,}"


@dataclass(frozen=True)
class Number:
    """A finite number from `least` to `most`; the ends are left out where `above` or `below` say so.

    An int stays an int: sweeps are known by their options' JSON, in which 5 and 5.0 differ.
    """

    least: float
    most: float
    above: bool = False
    below: bool = False

    def read(self, name: str, value: Any) -> float:
        """See `Reader`."""
        number = as_number(value)
        if number is None:
            raise LrscopeError(
                f"{name}: {shown(value)} is not a number: use one{self.takes().removeprefix('a number')}"
            )
        low = number > self.least if self.above else number >= self.least
        high = number < self.most if self.below else number <= self.most
        if not (low and high):
            raise LrscopeError(f"{name}: {number:g} is outside {self.span()}: use {self.takes()}")
        return number

    def span(self) -> str:
        """The interval as mathematics writes it."""
        return f"{'(' if self.above else '['}{self.least:g}, {self.most:g}{')' if self.below else ']'}"

    def takes(self) -> str:
        """See `Reader`."""
        low = f"above {self.least:g}" if self.above else f"from {self.least:g}"
        return f"a number {low} {'and below' if self.below else 'and up to' if self.above else 'to'} {self.most:g}"


@dataclass(frozen=True)
class Real:
    """Any number; infinity and NaN too."""

    def read(self, name: str, value: Any) -> float:
        """See `Reader`."""
        number = as_number(value)
        if number is None:
            raise LrscopeError(f"{name}: {shown(value)} is not a number: use one")
        return number

    def takes(self) -> str:
        """See `Reader`."""
        return "a number"


POINTS = Number(0, MOST_POINTS, above=True)  # a margin in points


@dataclass(frozen=True)
class Word:
    """A text that is not empty (unless `optional`); one of `choices`, if there are any. `words` says what else it may be."""

    choices: tuple[str, ...] = ()
    words: str = "a text"
    optional: bool = False

    def read(self, name: str, value: Any) -> str:
        """See `Reader`."""
        value = plain(value)
        if not isinstance(value, str):
            raise LrscopeError(f"{name}: {shown(value)} is not a text: use {self.takes()}")
        text = value[:]
        if self.choices and text not in self.choices:
            raise LrscopeError(f"{name}: {shown(text)} is unknown: choose {either(self.choices)}")
        if not text.strip() and not self.optional:
            raise LrscopeError(f"{name}: {shown(text)} is empty: leave it out, or use {self.takes()}")
        if len(text) > MOST_TEXT and not self.optional:
            raise LrscopeError(f"{name}: {shown(text)} has more than {MOST_TEXT:,} letters: shorten it")
        return text

    def takes(self) -> str:
        """See `Reader`."""
        return either(self.choices) if self.choices else self.words


@dataclass(frozen=True)
class Rates:
    """Learning rates in increasing order: `low:high:count`, a list (or its text `a,b,c`), or a single one."""

    optional: bool = False  # may be empty

    def read(self, name: str, value: Any) -> tuple[float, ...]:
        """See `Reader`."""
        rates = self._numbers(name, value)
        if rates or not self.optional:
            check_lrs(name, rates)
        return rates

    def _numbers(self, name: str, value: Any) -> tuple[float, ...]:
        value = plain(value)
        if isinstance(value, str):
            return parse_lrs(value, name)
        single = as_number(value)
        if single is not None:
            return (float(single),)
        items = as_list(value)
        if items is None:
            raise LrscopeError(f"{name}: {shown(value)} are no learning rates: use {self.takes()}")
        numbers = []
        for item in items:
            number = as_number(item)
            if number is None:
                raise LrscopeError(f"{name}: {shown(item)} is not a learning rate: use {self.takes()}")
            numbers.append(float(number))
        return tuple(numbers)

    def takes(self) -> str:
        """See `Reader`."""
        return "low:high:count, such as 1e-5:1:24, or a list such as 1e-3,1e-2"


@dataclass(frozen=True)
class Increasing:
    """Numbers in increasing order, each read by `item`: a list, its text `a,b,c`, or a single one. May be empty."""

    item: Whole | Number
    such_as: str

    def read(self, name: str, value: Any) -> tuple[Any, ...]:
        """See `Reader`."""
        items = split(name, value, self.takes())
        numbers = tuple(self.item.read(name, item) for item in items)
        if any(b <= a for a, b in pairwise(numbers)):
            raise LrscopeError(f"{name}: {shown(list(numbers))} must be increasing, each once: use {self.takes()}")
        return numbers

    def takes(self) -> str:
        """See `Reader`."""
        kind = "whole numbers" if isinstance(self.item, Whole) else "numbers"
        return f"increasing {kind} {self.item.takes().partition(' number ')[2]}, such as {self.such_as}"


@dataclass(frozen=True)
class Pair:
    """Two numbers, each read by its own reader: a list, or its text `N,M`."""

    first: Whole | Number
    second: Whole | Number
    words: str
    such_as: str

    def read(self, name: str, value: Any) -> tuple[Any, Any]:
        """See `Reader`."""
        wrong = LrscopeError(f"{name}: {shown(plain(value))} is not {self.words}: write {self.such_as}")
        try:
            items = split(name, value, self.such_as)
            if len(items) != 2:
                raise wrong
            return self.first.read(name, items[0]), self.second.read(name, items[1])
        except LrscopeError:
            raise wrong from None

    def takes(self) -> str:
        """See `Reader`."""
        return f"{self.words}, such as {self.such_as}"


@dataclass(frozen=True)
class Text:
    """What `reader` reads, kept as text: how the command line and config files write it. An empty list, where it may be
    empty, is None, as an option that is left out."""

    reader: Reader

    def read(self, name: str, value: Any) -> str | None:
        """See `Reader`."""
        value = plain(value)
        if isinstance(self.reader, Written):
            return self.reader.as_text(self.reader.read(name, value)) or None
        items = as_list(value)
        if items is not None:
            if not all(isinstance(plain(i), (str, int, float)) for i in items):
                self.reader.read(name, items)
            value = ",".join(str(plain(i)) for i in items)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        self.reader.read(name, value)
        return None if items == [] else Word().read(name, value)

    def takes(self) -> str:
        """See `Reader`."""
        return self.reader.takes()


def split(name: str, value: Any, takes: str) -> list[Any]:
    """The items of a list, of its text `a,b,c`, or of a single number."""
    value = plain(value)
    if isinstance(value, str):
        found = [part.strip() for part in value.split(",")] if value.strip() else []
    elif as_number(value) is not None:
        found = [value]
    else:
        items = as_list(value)
        if items is None:
            raise LrscopeError(f"{name}: {shown(value)} is not a list: use {takes}")
        found = items
    if len(found) > MOST_ITEMS:
        raise LrscopeError(f"{name}: it has more than {MOST_ITEMS:,} items: use fewer")
    return found


def either(words: Sequence[str], joint: str = " or ") -> str:
    """`a or b`; `one of a, b, c`; with another joint `a, b and c`."""
    if joint == " or ":
        return joint.join(words) if len(words) < 3 else "one of " + ", ".join(words)
    return joint.join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@cache
def readers(kind: Any) -> Mapping[str, tuple[Reader, bool]]:
    """The readers in the annotations of a dataclass by field, and whether the field may be None."""
    hints = get_type_hints(kind, include_extras=True)
    found = {f.name: reader_in(hints[f.name]) for f in fields(kind)}
    return {name: reader for name, reader in found.items() if reader is not None}


def reader_in(hint: Any) -> tuple[Reader, bool] | None:
    """The reader in an annotation, and whether it allows None; None without a reader."""
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        for extra in extras:
            if isinstance(extra, Reader):
                return extra, type(None) in get_args(inner)
        return None
    for part in get_args(hint):
        found = reader_in(part)
        if found is not None:
            return found[0], found[1] or type(None) in get_args(hint)
    return None


def read_fields(config: Any) -> None:
    """Read every field of a frozen dataclass at its construction, leaving the values it reads them as."""
    known: Mapping[str, tuple[Reader, bool]] = readers(config.__class__)
    for field in fields(config):
        reader = known.get(field.name)
        if reader is None:
            continue
        value = getattr(config, field.name)
        if not (value is None and reader[1]):
            object.__setattr__(config, field.name, reader[0].read(field.name, value))
