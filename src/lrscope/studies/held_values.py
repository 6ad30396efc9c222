"""A digest of what a measurement's function holds: its arguments, what it took from around it, and functions among these."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import Any

from lrscope.studies.lazy_functions import Lazy
from lrscope.studies.source_hash import followed, place_of, source_hash, texts_around, within
from lrscope.tasks.identity import Walk, is_installed


def held_digest(value: object, packages: frozenset[str]) -> str:
    """A digest of a value as `lrscope.tasks.identity` makes it, with the code of these packages read as text."""
    return _StudyWalk(packages).digest(value)


def bound(function: Any) -> list[str]:
    """Arguments that `lazy` or `functools.partial` gave a function: scales differ in them."""
    given: list[Any] = []
    packages = followed(function)
    while isinstance(function, functools.partial):
        given.append([function.args, sorted(function.keywords.items())])
        function = function.func
    if isinstance(function, Lazy) and function.arguments:
        given.append(function.arguments)
    return [held_digest(each, packages) for each in given]


class _StudyWalk(Walk):
    def __init__(self, packages: frozenset[str]) -> None:
        super().__init__()
        self._packages = packages

    def _again(self) -> Walk:
        return _StudyWalk(self._packages)

    def _new(self, value: Any) -> None:
        if isinstance(value, Lazy):
            self.say("lazy", source_hash(value))
            self.value(value.arguments)
        else:
            super()._new(value)

    def _callable(self, value: Any) -> None:
        counts = within(str(getattr(value, "__module__", None) or ""), self._packages)
        if (counts or not is_installed(value)) and place_of(value) is not None:
            self.say("text", source_hash(value))
        elif counts and isinstance(value, FunctionType):
            self._function(value)
        elif counts and isinstance(value, type):
            self._class(value)
        else:
            super()._callable(value)

    def _globals(self, function: FunctionType) -> None:
        texts = texts_around(function, self._packages | followed(function))
        if texts is None:
            super()._globals(function)
        else:
            self.say("texts", *(word for (module, name), text in texts for word in (module, name, text)))
