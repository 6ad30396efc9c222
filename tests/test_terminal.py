"""What becomes of standard output and standard error never ends a training, and no text from a result repaints a terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType, ModuleType
from typing import Any, TextIO
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lrscope
from lrscope.engine.progress import Bar, Plain, default_progress
from lrscope.engine.tick import Tick
from lrscope.terminal import Steady, printable, say, steady_streams, warn
from tiny_tasks import BATCHED, SHORT, mlp_task, same_bytes, sweep, train


def closed() -> TextIO:
    stream = io.StringIO()
    stream.close()
    return stream


def full() -> TextIO:
    return open("/dev/full", "w", buffering=1)


def unread() -> TextIO:
    """A pipe whose reader has left."""
    ours, theirs = os.pipe()
    os.close(ours)
    return open(theirs, "w", buffering=1)


def ascii_only() -> TextIO:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


BROKEN: dict[str, Callable[[], TextIO | None]] = {
    "none": lambda: None,
    "closed": closed,
    "full": full,
    "unread": unread,
    "ascii": ascii_only,
}


@contextmanager
def replaced(stream: TextIO | None) -> Iterator[None]:
    """sys.stderr is `stream`; what it could not write is thrown away afterwards."""
    before, sys.stderr = sys.stderr, stream  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stderr = before
        if stream is not None and not stream.closed:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno()) if not isinstance(stream, io.TextIOWrapper) or _has_number(
                    stream
                ) else None
            stream.close()


def _has_number(stream: TextIO) -> bool:
    try:
        stream.fileno()
    except (OSError, ValueError):
        return False
    return True


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("reporter", [Plain, Bar])
def test_progress_never_raises(kind: str, reporter: Callable[[], Any]) -> None:
    with replaced(BROKEN[kind]()):
        progress = reporter()
        progress.begin(2, 10, 0)
        for _ in range(10):
            progress.tick(Tick(1, 0.5, 1.5))
        progress.end()
        say("— a dash")
        warn("a warning")
        default_progress()


@pytest.mark.slow
def test_a_sweep_is_trained_whatever_becomes_of_standard_error() -> None:
    whole = train(mlp_task(), SHORT)
    for kind in ("none", "closed", "full", "unread"):
        with replaced(BROKEN[kind]()):
            assert same_bytes(sweep(mlp_task(), config=SHORT, engine=BATCHED, progress=True), whole) == [], kind


def test_a_steady_stream_keeps_the_first_refusal_and_passes_on_the_rest() -> None:
    beneath = io.StringIO()
    steady = Steady(beneath)
    print("words", file=steady)
    assert beneath.getvalue() == "words\n"
    assert steady.error is None
    assert steady.encoding == beneath.encoding
    beneath.close()
    assert steady.write("more") == 4
    assert isinstance(steady.error, ValueError)
    assert not steady.isatty()


def test_characters_that_an_encoding_lacks_are_written_in_others() -> None:
    beneath = ascii_only()
    steady = Steady(beneath)
    steady.write("1–2 … 3 × 4 ≤ 5 ü \udc80")
    steady.flush()
    assert beneath.buffer.getvalue() == b"1-2 ... 3 x 4 <= 5 ? ?"  # type: ignore[attr-defined]


@pytest.mark.slow
@given(st.text())
def test_printable_text_has_no_control_codes(text: str) -> None:
    for lines in (False, True):
        shown = printable(text, lines=lines)
        shown.encode()
        kept = {"\n", "\t"} if lines else set()
        assert not [c for c in shown if unicodedata.category(c) == "Cc" and c not in kept]
        assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u2028\u2029")
        assert len(shown) == len(text)


def test_plain_words_are_left_as_they_are() -> None:
    assert printable("Größe 1–2: 学習率 ρ²") == "Größe 1–2: 学習率 ρ²"
    assert printable("a\x1b[2Jb\nc") == "a\N{REPLACEMENT CHARACTER}[2Jb c"


def test_streams_are_put_back() -> None:
    before = sys.stdout, sys.stderr
    with steady_streams() as (out, err):
        assert (sys.stdout, sys.stderr) == (out, err)
    assert (sys.stdout, sys.stderr) == before


CITE = [sys.executable, "-c", "import sys; sys.argv[0] = 'lrscope'; from lrscope.cli import main; main()", "studies"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "code", "words"),
    [
        ('"$@" >&- 2>err', 0, ""),
        ('"$@" >/dev/full 2>err', 1, "lrscope: cannot write to standard output ([Errno 28] No space left on device)"),
        ('"$@" 2>err | true; exit ${PIPESTATUS[0]}', 0, ""),
        ('"$@" >/dev/null 2>&-', 0, ""),
        ('"$@" nonsense 2>/dev/full', 2, ""),
        ('PYTHONIOENCODING=ascii "$@" >out 2>err', 0, ""),
        ('PYTHONIOENCODING=cp1252 "$@" >out 2>err', 0, ""),
    ],
)
def test_the_command_line_with_streams_that_are_closed_full_or_narrow(
    shell: str, code: int, words: str, tmp_path: Any
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(["bash", "-c", shell, "bash", *CITE], cwd=tmp_path, env=environment, check=False, timeout=120)
    said = (tmp_path / "err").read_text() if (tmp_path / "err").exists() else ""
    assert said.strip() == words
    assert done.returncode == code


OURS, LIBRARY = __file__, lrscope.__file__
IN_A_LIBRARY = {"__name__": "dataclasses_of_a_library", "__file__": LIBRARY}
DATACLASS = """
from dataclasses import dataclass
from lrscope.terminal import warn

@dataclass
class Options:
    x: int

    def __post_init__(self):
        warn("words")
"""


BY_DEFAULT = """
from dataclasses import dataclass, field
from functools import partial
from lrscope.terminal import warn

@dataclass
class Options:
    x: object = field(default_factory=partial(warn, "words"))
"""


def of_a_library(text: str) -> dict[str, Any]:
    """The names of a module of lrscope with this text."""
    module = ModuleType(IN_A_LIBRARY["__name__"])
    vars(module).update(IN_A_LIBRARY)
    with patch.dict(sys.modules, {module.__name__: module}):
        exec(compile(text, LIBRARY, "exec"), vars(module))
    return vars(module)


def through_pythons_own() -> None:
    with ExitStack() as stack:
        stack.callback(warn, "words")  # called by a line of contextlib


CALLS: dict[str, FunctionType] = {
    "directly": lambda: warn("words"),
    "through Python's own functions": through_pythons_own,
    "through a dataclass of a library": lambda: of_a_library(DATACLASS)["Options"](1),
    "in text for exec": lambda: exec("warn('words')"),
    "in text for exec with names of its own": lambda: exec("warn('words')", {"warn": warn}),
    "in text that a library executes": lambda: exec("warn('words')", {**IN_A_LIBRARY, "warn": warn}),
    "in code that a library makes": lambda: exec(compile("warn('words')", "<made up>", "exec"), {"warn": warn}),
    "at a prompt of a library's": lambda: exec(compile("warn('words')", "<x>", "exec"), {**IN_A_LIBRARY, "warn": warn}),
}


@pytest.mark.parametrize("how", CALLS)
def test_a_warning_names_the_users_line(how: str) -> None:
    """Through however many functions of Python's own, of packages and without a file it comes."""
    with pytest.warns(UserWarning, match="words") as said:
        CALLS[how]()
    assert said[0].filename == OURS
    assert said[0].lineno in {line for _, _, line in CALLS[how].__code__.co_lines()}


@pytest.mark.parametrize("file", ["<stdin>", "<ipython-input-3-abc>", "<doctest mine.f[0]>"])
def test_a_warning_names_what_is_typed(file: str) -> None:
    names = {"__name__": "__main__", "warn": warn, **({"__file__": OURS} if "doctest" in file else {})}
    with pytest.warns(UserWarning, match="words") as said:
        exec(compile("\n\nwarn('words')", file, "exec"), names)
    assert (said[0].filename, said[0].lineno) == (file, 3)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("from lrscope.terminal import warn\ndef mine():\n    warn('words')\n\nmine()", 3),
        (f"{BY_DEFAULT}\n\nOptions()", 11),
        ("from lrscope.terminal import warn\n\nexec('warn(words)', {'warn': warn, 'words': 'words'})", 3),
    ],
)
def test_a_warning_names_the_line_after_python_c(text: str, line: int) -> None:
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.splitlines()[0] == f"<string>:{line}: UserWarning: words"


def test_a_warning_is_said_once_for_a_line() -> None:
    """As `warnings.warn` does."""
    with warnings.catch_warnings(record=True, action="default") as said:
        for _ in range(2):
            warn("the same words")
    assert len(said) == 1
