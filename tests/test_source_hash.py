"""What makes a measurement new: the code that it runs, and nothing else."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lrscope.errors import LrscopeError
from lrscope.studies import measurement_store, registry, source_hash
from lrscope.studies.lazy_functions import lazy
from lrscope.studies.types import Measurement

FILES = {
    "__init__.py": "",
    "functions.py": '''
"""Functions."""
from hashed_study import effects
from hashed_study.effects import rise as up

STEPS = 3
SEEN: list[int] = []


def measure(results: object) -> int:
    """Measured."""
    from hashed_study import later

    SEEN.append(1)
    return up(STEPS) + effects.fall(2) + later.last()  # three terms


def other(results):
    return 9
''',
    "effects.py": """
import math

HALF = 0.5


class Unused:
    size = 1


def rise(x):
    return _shared(x)


def fall(x):
    return HALF * x


def _shared(x):
    return math.floor(x)


def apart(x):
    return x
""",
    "later.py": "def last():\n    return 4\n",
}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """A package of a study's own; returns a measurement's hash after a change of one of its files."""
    folder = tmp_path / "hashed_study"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def hashed(file: str = "functions.py", before: str = "", after: str = "") -> str:
        for name, text in FILES.items():
            assert name != file or before in text
            (folder / name).write_text(text.replace(before, after) if name == file and before else text)
        importlib.invalidate_caches()
        return source_hash.source_hash(lazy("hashed_study.functions:measure"))

    yield hashed
    for name in [name for name in sys.modules if name.startswith("hashed_study")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("functions.py", "effects.fall(2)", "effects.fall(3)"),
        ("functions.py", "STEPS = 3", "STEPS = 4"),
        ("functions.py", "SEEN: list[int] = []", "SEEN: list[int] = [1]"),
        ("effects.py", "HALF = 0.5", "HALF = 0.25"),
        ("effects.py", "return HALF * x", "return HALF / x"),
        ("effects.py", "math.floor", "math.ceil"),  # of a function that a function uses
        ("later.py", "return 4", "return 5"),  # imported inside the function
    ],
)
def test_code_that_is_run_makes_it_new(study, file: str, before: str, after: str) -> None:
    assert study(file, before, after) != study()


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("functions.py", "# three terms", "# 3 terms"),
        ("functions.py", '"""Measured."""', '"""Something measured."""'),
        ("functions.py", "results: object", "results: str"),
        ("functions.py", "-> int:", "-> float:"),
        ("functions.py", "SEEN: list[int]", "SEEN: list[str]"),
        ("functions.py", "return 9", "return 8"),  # of another measurement
        ("effects.py", "size = 1", "size = 2"),
        ("effects.py", "def apart(x):\n    return x", "def apart(x):\n    return 2 * x"),
        ("effects.py", "return HALF * x", "return (HALF  *  x)"),
    ],
)
def test_what_is_not_run_does_not(study, file: str, before: str, after: str) -> None:
    assert study(file, before, after) == study()


def test_a_function_is_known_in_every_form(study) -> None:
    expected = study()
    functions = importlib.import_module("hashed_study.functions")
    assert source_hash.source_hash(functions.measure) == expected
    assert source_hash.source_hash(functools.partial(functions.measure, x=1)) == expected, "arguments count apart"
    assert source_hash.source_hash(functions.other) != expected


def test_functions_without_a_file_are_known_by_their_code() -> None:
    def typed_in(text: str) -> Any:
        space: dict[str, Any] = {"__name__": "typed_in"}
        exec(compile(text, "<typed in>", "exec"), space)
        return source_hash.source_hash(space["f"])

    assert typed_in("def f(r):\n    return 1\n") == typed_in("# a comment\n\ndef f(r):\n    return 1\n")
    assert typed_in("def f(r):\n    return 1\n") != typed_in("def f(r):\n    return 2\n")
    assert typed_in("def f(r):\n    return [1 for _ in r]\n") != typed_in("def f(r):\n    return [2 for _ in r]\n")
    assert typed_in("def f(r):\n    return r.a\n") != typed_in("def f(r):\n    return r.b\n")
    assert source_hash.source_hash(lambda r: 1) != source_hash.source_hash(lambda r: 2), "two on one line"

    def taking(value: int) -> Any:
        return lambda r: value

    assert source_hash.source_hash(taking(1)) == source_hash.source_hash(taking(1))
    assert source_hash.source_hash(taking(1)) != source_hash.source_hash(taking(2))


def test_arguments_are_part_of_the_identity() -> None:
    def identity(**arguments: Any) -> str:
        run = lazy("lrscope.studies.three_regimes.toy:toy_pair", **arguments)
        return measurement_store.identity(Measurement(name="m", about="", needs=(), run=run), [], {})

    assert identity(a=1, b=2) == identity(b=2, a=1)
    assert identity(a=1) != identity(a=2)


@pytest.mark.parametrize("name", registry.names())
def test_measurements_of_the_studies_are_found_without_importing_them(name: str) -> None:
    code = (
        "import sys; from lrscope.studies import registry, source_hash as s\n"
        f"for scale in registry.study({name!r}).scales.values():\n"
        "    for m in scale.measurements:\n"
        "        assert m.run.name in s._module(m.run.module).definitions, m.name\n"
        "        s.source_hash(m.run)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"


def test_a_function_that_is_not_there_is_named() -> None:
    with pytest.raises(LrscopeError, match=r"toy has no 'toy_pairs'.*did you mean 'toy_pair'"):
        lazy("lrscope.studies.three_regimes.toy:toy_pairs")(None)
