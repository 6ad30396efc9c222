"""What goes wrong on the user's side, said in one sentence."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable
from typing import Any

SHOWN = 60  # ours: letters of a value in a message
NAMED = 6  # ours: names in a message
_LONG = re.compile(r"\S{600,}")  # ours: letters; paths have 4,096 at most and seldom 200
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = SHOWN
_SHORT.maxlist = _SHORT.maxtuple = 6
_SHORT.maxlevel = 3


class LrscopeError(Exception):
    """Input that cannot be used: one sentence naming the field, the value and the remedy.

    The command line prints the sentence and exits with code 2. Control characters, which a path or a stranger's file may
    hold, are written as blanks, and of a word that no screen shows whole the beginning is kept.
    """

    def __init__(self, message: str = "", *rest: Any) -> None:
        text = "".join(c if c.isprintable() or c == "\n" else " " for c in str(message))
        super().__init__(_LONG.sub(lambda word: word[0][:SHOWN] + "...", text), *rest)


class AnotherSweep(LrscopeError):
    """A folder keeps a sweep of other settings; nothing in it was touched.

    Args:
        message: the sentence.
        differing: what the settings differ in, in words; empty where that is not known.
    """

    def __init__(self, message: str, differing: str = "") -> None:
        super().__init__(message)
        self.differing = differing


def shown(value: Any) -> str:
    """A value as a message shows it: one line of its `repr`, cut where it is long, without control characters."""
    try:
        text = "".join(c if c.isprintable() else " " for c in _SHORT.repr(value))
    except Exception:  # a repr of the user's own, or a whole number that is too long to be written
        return f"a value of type {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 2 * SHOWN else text[: 2 * SHOWN] + " ..."


def first_line(error: BaseException) -> str:
    """An error's first line, or its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def listed(names: Iterable[str]) -> str:
    """The first names of many."""
    all_names = list(names)
    more = f" and {len(all_names) - NAMED} more" if len(all_names) > NAMED else ""
    return ", ".join(all_names[:NAMED]) + more


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str:
    """The tail of a message about an unknown name: known ones that resemble it by at least `cutoff` (0 to 1), or all."""
    names = sorted(known)
    close = difflib.get_close_matches(name[: 2 * SHOWN], names, n=3, cutoff=cutoff)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "choose one of " + ", ".join(names)
