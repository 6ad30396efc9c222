"""What goes wrong on the user's side, said in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LrscopeError(Exception):
    """Input that cannot be used: one sentence naming the field, the value and the remedy.

    The command line prints the sentence and exits with code 2.
    """


class AnotherSweep(LrscopeError):
    """A folder keeps a sweep of other settings; nothing in it was touched.

    Args:
        message: the sentence.
        differing: what the settings differ in, in words; empty where that is not known.
    """

    def __init__(self, message: str, differing: str = "") -> None:
        super().__init__(message)
        self.differing = differing


def nearest(name: str, known: Iterable[str]) -> str:
    """The tail of a message about an unknown name: the nearest known ones, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "choose one of " + ", ".join(names)
