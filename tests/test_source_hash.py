"""What makes a measurement new: the code that it runs, and nothing else."""

from __future__ import annotations

import copy
import functools
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrscope.errors import LrscopeError
from lrscope.studies import arrays, measurement_store, registry, source_hash
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


# Every way by which a measurement may reach `f` of impl.py, whose code is then changed.
WAYS = {
    "handed on": {"front.py": "from ways_study.impl import f as g"},
    "handed on by a package": {
        "front/__init__.py": "from .impl import f as g",
        "front/impl.py": "from ..impl import f",
    },
    "everything handed on": {"front.py": "from .impl import *\n\n\ndef g(r):\n    return f(r)"},
    "relative": {"front.py": "from .impl import f\n\n\ndef g(r):\n    return f(r)"},
    "relative, of the package": {"front.py": "from . import impl\n\n\ndef g(r):\n    return impl.f(r)"},
    "relative, inside": {"front.py": "def g(r):\n    from .impl import f\n    return f(r)"},
    "dotted": {"front.py": "import ways_study.impl\n\n\ndef g(r):\n    return ways_study.impl.f(r)"},
    "dotted, by another name": {"front.py": "import ways_study.impl as im\n\n\ndef g(r):\n    return im.f(r)"},
    "a module handed on": {
        "front.py": "from .middle import im\n\n\ndef g(r):\n    return im.f(r)",
        "middle.py": "from . import impl as im",
    },
    "a module as a value": {"front.py": "from . import impl\n\n\ndef g(r):\n    return getattr(impl, 'f')(r)"},
    "a table": {"front.py": "from .impl import f\n\nT = {}\nT['f'] = f\n\n\ndef g(r):\n    return T['f'](r)"},
    "a list": {"front.py": "from .impl import f\n\nT = []\nT.append(f)\n\n\ndef g(r):\n    return T[0](r)"},
    "one of two": {
        "front.py": "try:\n    from .impl import f\nexcept ImportError:\n    from .other import f\n\n\ndef g(r):\n"
        "    return f(r)",
        "other.py": "def f(r):\n    return 0",
    },
    "async": {"front.py": "from .impl import f\n\n\nasync def h(r):\n    return f(r)\n\n\ndef g(r):\n    return h"},
    "two names at once": {"front.py": "from .impl import f\n\na, g = 1, f"},
    "round": {"front.py": "from .back import h\nfrom .impl import f as g", "back.py": "from .front import g as h"},
    "in a module of its own": {
        "front.py": "from ways_functions import g",
        "../ways_functions.py": "def g(r):\n    return 1",
    },
}
IMPL = {
    "plain": "def f(r):\n    return 1\n",
    "if": "if True:\n\n    def f(r):\n        return 1\n",
    "its condition": "if 1:\n\n    def f(r):\n        return 0\n",
    "try": "try:\n    import json\n\n    def f(r):\n        return 1\nexcept ImportError:\n    pass\n",
    "async": "async def f(r):\n    return 1\n",
    "with": "import contextlib\n\nwith contextlib.suppress(TypeError):\n\n    def f(r):\n        return 1\n",
    "for": "for k in (0, 1):\n    f = k\n",
    "changed later": "f = [0]\nf += [1]\n",
    "twice": "f = 1\nf = f + 2\n",
    "attribute": "def f(r):\n    return f.x\n\n\nf.x = 1\n",
}


@pytest.mark.parametrize(
    ("way", "impl"),
    [*((way, "plain") for way in WAYS), *(("dotted, by another name", impl) for impl in IMPL if impl != "plain")],
)
def test_code_is_followed_on_every_way(way: str, impl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))  # packages above are imported
    hashes, started = [], lazy("ways_study.front:g")
    for value in ("1", "7", "1"):
        for name, text in {"__init__.py": "", "impl.py": IMPL[impl], **WAYS[way]}.items():
            file = tmp_path / "ways_study" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            changed = name == "../ways_functions.py" if "../ways_functions.py" in WAYS[way] else name == "impl.py"
            file.write_text(text.replace("1", value) + "\n" if changed else text + "\n")
        importlib.invalidate_caches()
        assert source_hash.is_there(started)
        hashes.append(source_hash.source_hash(started))
    assert hashes[0] == hashes[2] != hashes[1]


def test_what_cannot_be_followed_is_refused(study) -> None:
    study("functions.py", "def other", "from hashed_study.effects import gone\nfrom json import nothing\n\n\ndef other")
    for name in ("gone", "nothing", "missing"):
        function = lazy(f"hashed_study.functions:{name}")
        assert not source_hash.is_there(function)
        with pytest.raises(
            LrscopeError, match=rf"functions:{name}: its code cannot be read: define it at the top level"
        ):
            source_hash.source_hash(function)


def held_by_default(value: Any) -> Any:
    def f(r: Any, *, k: Any = value) -> Any:
        return k

    return f


def held_around(value: Any) -> Any:
    return lambda r: value


def wrapped(value: Any) -> Any:
    @functools.wraps(test_what_cannot_be_followed_is_refused)
    def f(r: Any) -> Any:
        return value

    return f


def one_more(x: int) -> int:
    return x + 1


def one_less(x: int) -> int:
    return x - 1


LONG = np.arange(5000)
HOLDERS = {
    "a keyword's default": held_by_default,
    "a closure": held_around,
    "a wrapper that calls itself by another's name": wrapped,
    "partial": lambda value: functools.partial(one_more, value),
    "a keyword of partial": lambda value: functools.partial(one_more, x=value),
    "lazy": lambda value: lazy("lrscope.studies.three_regimes.toy:toy_pair", x=value),
}
VALUES = {
    "numbers": (1, 2),
    "long arrays": (LONG, np.where(LONG == 2500, 7, LONG)),
    "functions": (one_more, one_less),
    "functions in a list": ([one_more], [one_less]),
    "functions without a name": (lambda r: 1, lambda r: 2),
    "functions of what studies share": (arrays.settled, arrays.border),
    "functions to be imported": (lazy("json:dumps"), lazy("json:loads")),
    "arguments of these": (functools.partial(one_more, 1), functools.partial(one_more, 2)),
    "sets": ({"a", "b"}, {"a", "c"}),
}


def identity_of(run: Any) -> str:
    return measurement_store.identity(
        [measurement_store.code_of(Measurement(name="m", about="", needs=(), run=run))], {}
    )


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("holder", HOLDERS)
def test_what_a_function_holds_is_part_of_the_identity(holder: str, values: str) -> None:
    hold, (first, second) = HOLDERS[holder], VALUES[values]
    assert identity_of(hold(first)) == identity_of(hold(copy.copy(first)))
    assert identity_of(hold(first)) != identity_of(hold(second))


@pytest.mark.parametrize(
    "made",
    [
        "{name} = [lambda r: effects.fall(2)][0]",
        "{name} = functools.partial(functools.partial, f=lambda r: hashed_study.effects.fall(2))",
        "def make():\n    def {name}(r):\n        return effects.fall(2)\n    return {name}\n\n\n{name} = make()",
    ],
)
def test_functions_without_a_name_are_followed_too(study, made: str) -> None:
    head = "import functools\nimport hashed_study.effects\nfrom hashed_study import effects\n\n"

    def hashed(*changed: str) -> str:
        study(*changed)
        (Path(sys.path[0]) / "hashed_study" / "made.py").write_text(head + made.format(name="run"))
        importlib.invalidate_caches()
        return identity_of(importlib.import_module("hashed_study.made").run)

    assert hashed() == hashed()
    assert hashed() != hashed("effects.py", "return HALF * x", "return HALF / x")
    assert hashed() != hashed("effects.py", "HALF = 0.5", "HALF = 0.25")


@pytest.mark.slow
def test_processes_agree_about_functions_without_a_name() -> None:
    code = "from test_source_hash import identity_of; print(identity_of(lambda r: r in {'a', 'b', 'c', 'd'}))"
    here = Path(__file__).parent
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            cwd=here,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_arguments_are_part_of_the_identity() -> None:
    def identity(**arguments: Any) -> str:
        run = lazy("lrscope.studies.three_regimes.toy:toy_pair", **arguments)
        return measurement_store.identity(
            [measurement_store.code_of(Measurement(name="m", about="", needs=(), run=run))], {}
        )

    assert identity(a=1, b=2) == identity(b=2, a=1)
    assert identity(a=1) != identity(a=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names())
def test_measurements_of_the_studies_are_found_without_importing_them(name: str) -> None:
    code = (
        "import sys; from lrscope.studies import registry, source_hash as s\n"
        f"for scale in registry.study({name!r}).scales.values():\n"
        "    for m in scale.measurements:\n"
        "        assert s.is_there(m.run), m.name\n"
        "        s.source_hash(m.run)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"


def test_a_function_that_is_not_there_is_named() -> None:
    with pytest.raises(LrscopeError, match=r"toy has no 'toy_pairs'.*did you mean 'toy_pair'"):
        lazy("lrscope.studies.three_regimes.toy:toy_pairs")(None)
