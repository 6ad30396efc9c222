"""What is said on a terminal: never ends a training, whatever has become of the terminal, and holds no control codes.

A standard stream may be closed, full, a pipe that nobody reads any more, or in an encoding without dashes.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

ERRORS = "lrscope.plain"  # how characters are written that a stream's encoding lacks
PLAIN = str.maketrans({"…": "...", "–": "-", "—": "-", "×": "x", "≤": "<=", "≥": ">=", "±": "+-", "→": "->", "‘": "'"})
PLAIN |= str.maketrans({"’": "'", "“": '"', "”": '"', "·": "-", "•": "*", "−": "-", "²": "^2", "ρ": "rho"})
BIDIRECTIONAL = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x2028, 0x2029)
CONTROL = frozenset({*range(32), *range(127, 160), *BIDIRECTIONAL})
LINE = dict.fromkeys(CONTROL, "\N{REPLACEMENT CHARACTER}") | {ord(c): " " for c in "\n\r\t"}
LIBRARIES = (str(Path(__file__).parent) + os.sep, sysconfig.get_paths()["stdlib"] + os.sep, "<frozen")
PACKAGES = {"site-packages", "dist-packages"}
MADE_BY_DATACLASSES = "__create_fn__"  # in the names of such code
LINES = {code: shown for code, shown in LINE.items() if chr(code) not in "\n\t"}


def printable(text: str, *, lines: bool = False) -> str:
    """Text without control codes, escape sequences and changes of direction, which could repaint a terminal or hide what a
    page says. On one line, or with its line breaks."""
    return text.translate(LINES if lines else LINE).encode(errors="replace").decode()


class Steady:
    """A text stream whose writing never fails. `error` is the first refusal of the stream beneath.

    Args:
        stream: the stream beneath; None where the program has none.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.error: Exception | None = None

    def write(self, text: str) -> int:
        """Write, in other characters where the encoding lacks some, or else keep the first reason why not."""
        if self.stream is not None:
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                self.write(text.encode("ascii", ERRORS).decode())
            except (OSError, ValueError) as error:
                self.error = self.error or error
        return len(text)

    def flush(self) -> None:
        """Flush, likewise."""
        if self.stream is not None:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:
                self.error = self.error or error

    def isatty(self) -> bool:
        """Is it a terminal?"""
        try:
            return self.stream is not None and self.stream.isatty()
        except (OSError, ValueError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def say(words: str) -> None:
    """A line on standard error, or nothing where there is none."""
    steady = Steady(sys.stderr)
    steady.write(words + "\n")
    steady.flush()


def warn(words: str) -> None:
    """`warnings.warn` of the user's line that led here; a closed standard error is no reason to stop."""
    frame = _users_frame(sys._getframe(1))
    known = frame.f_globals
    place = frame.f_code.co_filename, frame.f_lineno, known.get("__name__", "<string>")
    with contextlib.suppress(OSError, ValueError):
        warnings.warn_explicit(words, UserWarning, *place, known.setdefault("__warningregistry__", {}))


def _users_frame(caller: FrameType) -> FrameType:
    """The first frame from here upwards whose code is neither lrscope's, nor of Python's own library or another package, nor
    made by one of them; the caller itself, where all are."""
    frame: FrameType | None = caller
    while frame is not None:
        if _is_users(frame):
            return frame
        frame = frame.f_back
    return caller


def _is_users(frame: FrameType) -> bool:
    """Is the frame's code in a file of the user's, or typed, at a prompt or after `python -c`?

    Code without a file (`<string>`, `<stdin>`) is of the module among whose names it runs. A library's is not the user's, nor is
    what runs among names without a module, which libraries make up, nor methods made by dataclasses. Of a text for `exec` in a
    file of the user's nobody sees the lines, but the line that calls `exec`.
    """
    file, known = frame.f_code.co_filename, frame.f_globals
    if _is_of_a_library(file) or not file.startswith("<"):
        return not _is_of_a_library(file)
    if "__name__" not in known or MADE_BY_DATACLASSES in frame.f_code.co_qualname:
        return False
    return "__file__" not in known or (file != "<string>" and not _is_of_a_library(known["__file__"]))


def _is_of_a_library(file: str) -> bool:
    return file.startswith(LIBRARIES) or not PACKAGES.isdisjoint(Path(file).parts)


@contextlib.contextmanager
def steady_streams() -> Iterator[tuple[Steady, Steady]]:
    """Yields sys.stdout and sys.stderr made fit for work: closed ones lead nowhere, instead of into the next file that is
    opened; characters that the encoding lacks are written in others; a refusal is kept, not raised."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    before = sys.stdout, sys.stderr
    out, err = Steady(sys.stdout), Steady(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        sys.stdout, sys.stderr = before


def lead_nowhere(number: int) -> None:
    """Let a file descriptor lead nowhere: what is still on its way to a stream that refuses it would be an error at the
    program's end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end].translate(PLAIN)
    return "".join(c if c.isascii() else "?" for c in lacking), error.end


codecs.register_error(ERRORS, _plain)
