"""What a field of a config says about an option, read from the class: its reader, default and the text below the field.

The text is a string literal below the field. Its first lines say what the option does; a line that begins with one of these
words says something apart:

    Default: in words what stands where the option is left out, if that depends on the data, the model or the machine
    Origin: where the default comes from - a paper's section, or "ours" and the reason
    Panel: heading under which this option and those after it stand in help and documentation
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from functools import cache
from itertools import pairwise
from typing import Any, get_type_hints

from lrscope.readers import Flag, Increasing, Number, Pair, Rates, Reader, Real, Text, Whole, Written, readers

KEYS = ("Default", "Origin", "Panel")
_KEY = re.compile(rf"^({'|'.join(KEYS)}): *", re.MULTILINE)
LISTS = (Rates, Increasing, Pair, Written)


@dataclass(frozen=True)
class Option:
    """One option: a field of a config.

    Attributes:
        name: of the field, the keyword and the key in a config file.
        reader: reads a value and refuses what cannot be used.
        optional: may it be None?
        default: where it is left out; `dataclasses.MISSING` if it must be given.
        kind: the config that it is a field of.
        text: what it does, in one or more sentences.
        default_words: the default in words, where it depends on something; else empty.
        origin: where the default comes from; empty where there is nothing to choose.
        panel: heading that it stands under.
    """

    name: str
    reader: Reader
    optional: bool
    default: Any
    kind: type
    text: str = ""
    default_words: str = ""
    origin: str = ""
    panel: str = ""

    @property
    def type(self) -> Any:
        """The field's type, without its reader."""
        return get_type_hints(self.kind)[self.name]

    @property
    def is_switch(self) -> bool:
        """Is it given without a value on the command line?"""
        return isinstance(self.reader, Flag)

    @property
    def is_number(self) -> bool:
        """Is it a single number?"""
        return isinstance(self.reader, (Whole, Number, Real))

    @property
    def flags(self) -> tuple[str, ...]:
        """How the command line writes it: `--seeds`; a switch on and off, `--augment` and `--no-augment`."""
        word = self.name.replace("_", "-")
        if not isinstance(self.reader, Flag):
            return (f"--{word}",)
        return f"--{word}", f"--{self.reader.off or 'no-' + word}"

    @property
    def shown_default(self) -> str:
        """The default as help and documentation show it; empty if there is none."""
        if self.default_words or self.default in (None, MISSING, ()):
            return self.default_words
        if isinstance(self.default, bool):
            return str(self.default).lower()
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default))
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    @property
    def help(self) -> str:
        """What it does, what it takes where that is no plain number, and its default."""
        first, *rest = self.text.split(". ", 1)
        takes = "" if self.is_switch or self.is_number else f": {self.reader.takes()}"
        default = [f"Default: {self.shown_default}."] if self.shown_default else []
        return " ".join([f"{first.rstrip('.')}{takes}.", *rest, *default])

    def read(self, value: Any) -> Any:
        """The value as its kind; None is left where it is the default.

        Raises:
            LrscopeError: it cannot be used.
        """
        return value if value is None and self.default is None else self.reader.read(self.name, value)

    def as_text(self) -> Option:
        """The same option where lists are kept as text, as the command line writes them; left out, a list is None."""
        if not isinstance(self.reader, LISTS):
            return self
        default = ",".join(map(str, self.default)) if isinstance(self.default, tuple) else self.default
        return replace(self, reader=Text(self.reader), default=default or None)


@cache
def options(kind: type) -> Mapping[str, Option]:
    """The options of a config by name, in the order of its fields.

    Raises:
        TypeError: a field has no reader in its annotation.
    """
    read, texts = readers(kind), field_texts(kind)
    panel, found = "", {}
    for field in fields(kind):
        if field.name not in read:
            raise TypeError(f"{kind.__name__}.{field.name}: say what it takes, as in Annotated[int, Whole(1, 100)]")
        parts = sections(texts.get(field.name, ""))
        panel = parts.get("Panel", panel)
        reader, optional = read[field.name]
        found[field.name] = Option(
            field.name,
            reader,
            optional,
            _default(field),
            kind,
            text=parts[""],
            default_words=parts.get("Default", ""),
            origin=parts.get("Origin", ""),
            panel=panel or kind.__name__,
        )
    return found


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def sections(text: str) -> dict[str, str]:
    """The text below a field in parts: under "" what it does, under `Default`, `Origin` and `Panel` what they say."""
    first, *rest = _KEY.split(textwrap.dedent(text))
    parts = dict(zip(rest[::2], rest[1::2], strict=True))
    return {key: " ".join(words.split()) for key, words in {"": first, **parts}.items()}


def field_texts(kind: type) -> dict[str, str]:
    """The string literals below the fields of a class and of those it derives from; none where the source is not there."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base is not object:
            found |= _own_texts(base)
    return found


def _own_texts(kind: type) -> dict[str, str]:
    found = {}
    for field, below in pairwise(_bodies(kind.__module__).get(kind.__name__, [])):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = inspect.cleandoc(text)
    return found


@cache
def _bodies(module: str) -> Mapping[str, list[ast.stmt]]:
    """The bodies of a module's classes by name; none where its source is not there (a console, an installation without)."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, TypeError, KeyError):
        return {}
    return {node.name: node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
