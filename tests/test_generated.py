"""Generated code in a hostile world: tampered caches, others' folders, compilers that fail, hang or lie."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lrscope.config import EngineConfig
from lrscope.engine import choose
from lrscope.engine.backends.cpp import cache, check, compiler, library
from lrscope.engine.backends.cpp.backend import EVALUATION, Generated
from lrscope.engine.backends.cpp.library import Library
from lrscope.engine.backends.cpp.values import Input, NotFusible
from lrscope.engine.choose import choose_plan
from lrscope.engine.dispatch import Interrupted
from lrscope.engine.plan import Plan
from lrscope.engine.sweep import sweep
from lrscope.engine.sweep_folder import Store
from lrscope.errors import LrscopeError
from test_memory import StopAtTick, close
from test_workers import ENVIRONMENT
from tiny_tasks import BASE, BATCHED, compiler_needed, context_of, mlp_task, same_bytes, train

pytestmark = compiler_needed
REAL = shutil.which("g++") or shutil.which("clang++") or "c++"


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a process that has loaded nothing yet; the folder of libraries."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module, name in ((library, "_ready"), (compiler, "_described"), (compiler, "_hanging"), (cache, "_said")):
        monkeypatch.setattr(module, name, type(getattr(module, name))())
    cache.private.cache_clear()
    return tmp_path / "cache" / "lrscope" / "steps"


def doubled(w: Tensor) -> tuple[Tensor]:
    return (w * 2 + 1,)


def tripled(w: Tensor) -> tuple[Tensor]:
    return (w * 3 - 1,)


def works(function: Callable[[Tensor], tuple[Tensor]] = doubled) -> bool:
    """Make the function's library, as a fresh process would, and try it."""
    library._ready.clear()
    w = torch.linspace(-1, 1, 5, dtype=torch.float64)[None]
    made, given = Library(function, [Input("w", w, "run")], ["w"]), w.clone()
    made(1, 1, [given])
    return torch.allclose(given, function(w)[0], rtol=1e-12)


def silent() -> contextlib.AbstractContextManager[object]:
    return warnings.catch_warnings(action="error")


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.so"))


# -- the cache ---------------------------------------------------------------------------------------------------------


def test_a_library_is_compiled_once_and_sealed(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert works()
    (path,) = kept(fresh)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setattr(compiler.Compiler, "library", lambda *_: pytest.fail("compiled again"))
    with silent():
        assert works()
    assert os.listdir(fresh) == [path.name], "nothing is left of the work"


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


TAMPERING: dict[str, Callable[[Path, bytes], None]] = {
    "a flipped bit": lambda path, data: _put(path, flipped(data)),
    "truncated": lambda path, data: _put(path, data[: len(data) // 3]),
    "one byte short": lambda path, data: _put(path, data[:-1]),
    "empty": lambda path, data: _put(path, b""),
    "of another processor": lambda path, data: _put(path, data[:18] + b"\xb7\x00" + data[20:]),
    "no library": lambda path, data: _put(path, b"#!/bin/sh\nexit 0\n"),
    "a link to it": lambda path, data: _link(path, data),
    "a folder": lambda path, data: (path.unlink(), path.mkdir()),  # type: ignore[func-returns-value]
    "a FIFO": lambda path, data: (path.unlink(), os.mkfifo(path)),  # type: ignore[func-returns-value]
    "writable by all": lambda path, data: path.chmod(0o666),
}


def _put(path: Path, data: bytes) -> None:
    path.unlink()  # what is loaded stays as it is
    path.write_bytes(data)
    path.chmod(0o600)


def _link(path: Path, data: bytes) -> None:
    elsewhere = path.parent / "elsewhere"
    elsewhere.write_bytes(data)
    path.unlink()
    path.symlink_to(elsewhere)


@pytest.mark.slow
@pytest.mark.parametrize("how", TAMPERING)
def test_a_tampered_library_is_compiled_again(how: str, fresh: Path) -> None:
    assert works()
    (path,) = kept(fresh)
    data = path.read_bytes()
    TAMPERING[how](path, data)
    with pytest.warns(UserWarning, match=r"the generated code in .* is not used, because it is damaged"):
        assert works()
    whole = [p for p in kept(fresh) if p.is_file() and not p.is_symlink()]
    assert [p.read_bytes() for p in whole if cache._name(p.name[:32], p.read_bytes()) == p.name]
    with silent():
        assert works()


@pytest.mark.slow
def test_swapped_libraries_are_compiled_again(fresh: Path) -> None:
    assert works(doubled)
    assert works(tripled)
    one, two = kept(fresh)
    data = one.read_bytes(), two.read_bytes()
    for path, new in ((one, data[1]), (two, data[0])):
        _put(path, new)
    with pytest.warns(UserWarning, match="it is damaged"):
        assert works(doubled)
    with pytest.warns(UserWarning, match="it is damaged"):
        assert works(tripled)


@pytest.mark.slow
def test_a_library_that_is_sealed_but_wrong_fails_its_self_test(fresh: Path) -> None:
    """As an older version might have left it, or a compiler that was wrong for once."""
    works(doubled)
    works(tripled)
    good = {p.name[:32]: p for p in kept(fresh)}
    library._ready.clear()
    (key, path), (_, other) = good.items()
    wrong = other.read_bytes()
    path.unlink()
    (fresh / cache._name(key, wrong)).write_bytes(wrong)
    (fresh / cache._name(key, wrong)).chmod(0o600)
    with pytest.warns(UserWarning, match=r"is not used, because w differ by .* from PyTorch's.*; it is compiled again"):
        assert all(map(works, (doubled, tripled)))


@pytest.mark.parametrize(
    ("ours", "theirs", "right"),
    [
        (-1e-2, 1e-2, True),  # each on its own side of a kink, both as near
        (1.5e-2, 1e-2, True),
        (2.5e-2, 1e-2, False),  # PyTorch's is much nearer
        (-5e-2, 5e-2, False),  # as near, but neither says what was computed
        (1e-2, 0.0, False),  # PyTorch's has lost nothing
    ],
)
def test_the_self_test_accepts_a_kink_and_no_more(ours: float, theirs: float, right: bool) -> None:
    """Ours and PyTorch's float32, as parts of the change away from what float64 has."""
    begun, exact = torch.zeros(8), torch.linspace(0.5, 1, 8)

    def away(by: float) -> Tensor:
        return exact + by * exact.norm() * torch.eye(8)[3]

    def refuse() -> dict[int, Tensor]:
        raise RuntimeError("float64 is not taken")

    one = check.Trial(
        [begun], {0: away(theirs)}, {0: "w"}, frozenset(), torch.finfo(torch.float32).eps, lambda: {0: exact}
    )
    assert one.fault([away(theirs)]) is None
    found = one.fault([away(ours)])
    assert found is None if right else "w differ by" in str(found)
    assert replace(one, exact=refuse).fault([away(ours)]) is not None


@pytest.mark.slow
def test_a_library_that_is_sealed_but_foreign_is_compiled_again(fresh: Path) -> None:
    works()
    (path,) = kept(fresh)
    data = path.read_bytes()
    foreign = data[:18] + b"\xb7\x00" + data[20:]
    path.unlink()
    (fresh / cache._name(path.name[:32], foreign)).write_bytes(foreign)
    (fresh / cache._name(path.name[:32], foreign)).chmod(0o600)
    with pytest.warns(UserWarning, match="it cannot be loaded"):
        assert works()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["processor", "compiler", "header", "flags"])
def test_what_a_library_depends_on_is_in_its_name(
    change: str, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home folder may be shared by machines, and compilers are updated."""
    assert works()
    if change == "processor":
        monkeypatch.setattr(library, "_processor", lambda: "another")
    elif change == "compiler":  # the same path, another version
        described = {key: text + b"\n#define __VERSION__ 99\n" for key, text in compiler._described.items()}
        monkeypatch.setattr(compiler, "_described", described)
    elif change == "header":
        other = tmp_path / "kernels.h"
        other.write_text(library.HEADERS[0].read_text() + "\n// changed\n")
        monkeypatch.setattr(library, "HEADERS", (other, *library.HEADERS[1:]))
    else:
        monkeypatch.setattr(library, "FLAGS", (*compiler.FLAGS, "-g0"))
    assert works()
    assert len(kept(fresh)) == 2


# -- whose folder it is ------------------------------------------------------------------------------------------------

PLANTED = """
#include <cstdint>
#include <cstdio>
__attribute__((constructor)) static void run() {{ fclose(fopen("{marker}", "w")); }}
extern "C" void call(int64_t, int64_t, double*) {{}}
"""


@pytest.fixture
def planted(fresh: Path, tmp_path: Path) -> Iterator[None]:
    """Whoever loads what lies in the cache leaves a mark; the test that uses this must leave none."""
    works()
    (path,) = kept(fresh)
    marker, source, made = tmp_path / "it ran", tmp_path / "planted.cpp", tmp_path / "planted.so"
    source.write_text(PLANTED.format(marker=marker))
    subprocess.run([REAL, "-shared", "-fPIC", str(source), "-o", str(made)], check=True, timeout=60)
    path.unlink()
    data = made.read_bytes()
    place = fresh / cache._name(path.name[:32], data)
    place.write_bytes(data)
    place.chmod(0o600)
    yield
    assert not marker.exists(), "a planted library ran"


@pytest.mark.slow
def test_the_planted_library_would_run(planted: None, fresh: Path, tmp_path: Path) -> None:
    """The fixture above can fail: in a folder that is trusted the library is loaded (and then fails its self-test)."""
    with pytest.warns(UserWarning, match="differ"):
        assert works()
    (tmp_path / "it ran").unlink()


@pytest.mark.slow
@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("level", ["steps", "lrscope", "cache"])
@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_cache_that_others_may_write_is_not_used(level: str, mode: int, fresh: Path) -> None:
    folder = {"steps": fresh, "lrscope": fresh.parent, "cache": fresh.parent.parent}[level]
    folder.chmod(mode)
    with pytest.warns(UserWarning, match=r"others may write to .*; it is compiled into a private folder"):
        assert works()
    with silent():
        assert works(tripled), "said once"
    private = cache.private(os.getpid())
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert len(kept(private)) == 2


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders away")
@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("level", ["steps", "lrscope", "cache"])
def test_a_cache_of_somebody_else_is_not_used(level: str, fresh: Path) -> None:
    folder = {"steps": fresh, "lrscope": fresh.parent, "cache": fresh.parent.parent}[level]
    os.chown(folder, 12345, 12345)
    with pytest.warns(UserWarning, match="belongs to user 12345"):
        assert works()


@pytest.mark.slow
@pytest.mark.usefixtures("planted")
def test_a_link_into_a_folder_that_others_may_write_is_not_followed(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    fresh.parent.parent.rename(shared / "cache")
    shared.chmod(0o777)
    (tmp_path / "link").symlink_to("shared/cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "link"))
    with pytest.warns(UserWarning, match="others may write to"):
        assert works()


def test_a_link_of_ones_own_is_followed(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    with silent():
        assert works()
    assert len(kept(tmp_path / "disk" / "lrscope" / "steps")) == 1


def test_a_sticky_folder_may_be_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "tmp"))
    with silent():
        assert works()


@pytest.mark.parametrize("how", ["a file", "no home", "not absolute", "links in a circle", "read-only"])
def test_without_a_cache_a_private_folder_serves(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    if how == "a file":
        place.touch()
    elif how == "links in a circle":
        place.symlink_to(place)
    elif how == "read-only":
        monkeypatch.setenv("XDG_CACHE_HOME", "/proc/self")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "relative" if how == "not absolute" else "")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        monkeypatch.chdir(tmp_path)
    with pytest.warns(
        UserWarning, match=r"generated code is not kept for later runs, because .* private folder"
    ) as said:
        assert works()
    assert len(said) == 1
    assert not list(tmp_path.glob("~*")) + list(tmp_path.glob("relative*"))


@pytest.mark.slow
def test_a_full_disk_is_no_accident(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cache.keep

    def full(where: Path, key: str, made: Path) -> Path:
        if where == fresh:
            raise OSError(28, "No space left on device")
        return whole(where, key, made)

    monkeypatch.setattr(cache, "keep", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert works()
    assert not kept(fresh)


def test_without_any_folder_other_steps_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    def refuse(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    compiler._described.update({_key_of(REAL): b"described before"})
    with (
        pytest.warns(UserWarning, match="cannot be used"),
        pytest.raises(NotFusible, match="there is no folder for generated code"),
    ):
        works()


def _key_of(path: str) -> tuple[object, ...]:
    found = os.stat(path)
    return path, found.st_ino, found.st_size, found.st_mtime_ns


# -- the compiler ------------------------------------------------------------------------------------------------------

WRAPPED = 'case " $* " in *" -dM "*) exec "$REAL" "$@";; esac\n'  # a compiler that describes itself as it should
COMPILERS: dict[str, tuple[str, str]] = {
    "prints nothing": ("exit 0", "made no library"),
    "fails in silence": ("exit 3", "failed: no message, exit status 3"),
    "prints garbage": (r"printf '\377\376\000garbage\n' >&2; printf '\377\200'; exit 1", "failed: .*garbage"),
    "dies": ("kill -9 $$", "failed: "),
    "is no program": ("\x7fELF nonsense", "failed: "),
    "describes itself and prints nothing": (WRAPPED, "made no library"),
    "describes itself and fails": (WRAPPED + "echo 'error: no' >&2; exit 1", "failed: error: no"),
    "writes garbage": (WRAPPED + 'eval "out=\\${$#}"; echo garbage > "$out"', "made no library that can be used"),
    "writes half": (
        WRAPPED + '"$REAL" "$@"; eval "out=\\${$#}"; head -c 4000 "$out" > "$out.x"; mv "$out.x" "$out"',
        "made no library that can be used|self-test fails: it dies with SIGBUS|self-test fails: it dies with SIGSEGV",
    ),
    "computes wrongly": (
        WRAPPED + 'sed -i "s/double(2.0)/double(2.01)/; s/double(2)/double(2.01)/" "$TMPDIR/call.cpp"\n'
        'sed -i "s/+= left \\* right/+= T(1.01) * left * right/" "$TMPDIR/kernels.h"\n'
        'exec "$REAL" "$@"',
        "its self-test fails: w differ by",
    ),
    "makes what crashes": (
        WRAPPED + 'sed -i "s/for (int64_t r = 0/__builtin_trap(); for (int64_t r = 0/" "$TMPDIR/call.cpp"\n'
        'exec "$REAL" "$@"',
        "its self-test fails: it dies with SIG",
    ),
    "makes what never returns": (
        WRAPPED
        + 'sed -i "s/for (int64_t r = 0/for (volatile int i = 1; i;) {} for (int64_t r = 0/" "$TMPDIR/call.cpp"\n'
        'exec "$REAL" "$@"',
        "its self-test fails: it did not return within",
    ),
    "hangs": ("sleep 600 & echo $$ $! > $PIDS; wait", "did not end within 1 s"),
    "hangs when compiling": (WRAPPED + "sleep 600 & echo $$ $! > $PIDS; wait", "did not end within 1 s"),
    "hangs and ignores signals": (
        "trap '' TERM INT HUP; sleep 600 & echo $$ $! > $PIDS; while :; do sleep 1; done",
        "did not end within 1 s",
    ),
    "leaves a process behind": (WRAPPED + "sleep 600 & echo $$ $! > $PIDS; exit 1", "failed: no message"),
}


def fake_compiler(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch | None = None) -> dict[str, str]:
    """Put a compiler called g++ first on the search path; the environment with it."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "g++").write_text(f"#!/bin/sh\n{COMPILERS[how][0]}\n")
    (folder / "g++").chmod(0o755)
    changes = {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "REAL": REAL,
        "PIDS": str(tmp_path / "pids"),
    }
    for name, value in changes.items():
        if monkeypatch is not None:
            monkeypatch.setenv(name, value)
    return {**ENVIRONMENT, "XDG_CACHE_HOME": str(tmp_path / "cache"), **changes}


def vanished(pids: Path) -> bool:
    """Do all processes whose numbers are in the file end soon?"""
    numbers = [int(n) for n in pids.read_text().split()]
    assert numbers
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not any(alive(n) for n in numbers):
            return True
        time.sleep(0.02)
    return False


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("how", COMPILERS)
def test_a_compiler_that_misbehaves_is_refused_by_name(
    how: str, tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_compiler(how, tmp_path, monkeypatch)
    if "hangs" in how:
        monkeypatch.setattr(compiler, "COMPILE_LIMIT", 1.0)
        monkeypatch.setattr(compiler, "DESCRIBE_LIMIT", 1.0 if how != "hangs when compiling" else 60.0)
    monkeypatch.setattr(check, "LIMIT", 1.0)
    with warnings.catch_warnings(action="ignore"), pytest.raises(NotFusible, match=COMPILERS[how][1]):
        works()
    assert not kept(fresh)
    if (tmp_path / "pids").exists():
        assert vanished(tmp_path / "pids")
    assert ("hangs" in how or "leaves" in how) == (tmp_path / "pids").exists()


@pytest.mark.parametrize("how", ["hangs", "hangs when compiling", "describes itself and fails"])
def test_torchinductor_is_not_handed_a_compiler_that_makes_nothing(
    how: str, tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose.can_compile(torch.device("cpu"))
    fake_compiler(how, tmp_path, monkeypatch)
    monkeypatch.setattr(compiler, "COMPILE_LIMIT", 1.0)
    monkeypatch.setattr(compiler, "DESCRIBE_LIMIT", 1.0 if how == "hangs" else 60.0)
    assert not choose.can_compile(torch.device("cpu"))
    if "hangs" in how:
        with pytest.raises(NotFusible, match=r"hangs$"):  # known, so nobody waits again
            compiler.compiler()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["prints garbage", "describes itself and fails", "computes wrongly"])
def test_another_path_trains_and_the_plan_says_why(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_compiler(how, tmp_path, monkeypatch)
    monkeypatch.setattr(choose, "can_compile", lambda _: False)
    with warnings.catch_warnings(action="ignore"):
        plan = choose_plan(context_of(mlp_task(), CONFIG, tmp_path, replace(BATCHED, compile=True)), 1)
    assert not plan.compiled
    assert "not fused (" in plan.chosen


WORKING = """
    import signal
    import sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    from pathlib import Path
    import torch
    from tiny_tasks import BATCHED, mlp_task
    from test_generated import CONFIG
    from dataclasses import replace
    import lrscope.cli
    from lrscope.engine.sweep import sweep
    from unittest.mock import patch
    torch.set_num_threads(1)
    def run(**_):
        sweep(mlp_task(), config=CONFIG, engine=replace(BATCHED, compile=True), out=Path(sys.argv[1]), progress=False)
    with patch.object(lrscope.cli, "app", run):
        lrscope.cli.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_compiler_ends_with_the_program(number: int, tmp_path: Path) -> None:
    environment = fake_compiler("hangs when compiling", tmp_path)
    command = [sys.executable, "-c", textwrap.dedent(WORKING), str(tmp_path / "out")]
    with open(tmp_path / "said", "w") as said, subprocess.Popen(command, env=environment, stderr=said) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text().strip():
            assert process.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        status = process.wait(60)
    words = (tmp_path / "said").read_text()
    assert status == (130 if number != signal.SIGKILL else -signal.SIGKILL)
    assert "Traceback" not in words
    assert vanished(tmp_path / "pids")
    left = list((tmp_path / "cache").rglob("work-*"))
    assert not left or number == signal.SIGKILL, "nobody can tidy up after SIGKILL"


# -- the plan knows what is generated ----------------------------------------------------------------------------------

CONFIG = replace(BASE, precision="float64", lrs=(1e-3, 2e-3))
ASKED = replace(BATCHED, compile=True)


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared cache")


@pytest.fixture
def compiled_once(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests have in common is compiled once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


def refusing(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """From now on this function of evaluation cannot be generated."""
    whole = Generated.sums

    def sums(self: Generated, name: str, f: object, *args: object, **options: object) -> object:
        def strange(given: object, *block: Tensor) -> object:
            raise NotFusible("as the test has it")

        return whole(self, name, strange if name == function else f, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Generated, "sums", sums)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
def test_the_plan_names_what_is_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = choose_plan(context_of(mlp_task(), CONFIG, tmp_path, ASKED), 1)
    assert plan.generated == ("populations", "metrics")
    assert set(plan.generated) <= set(EVALUATION)
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    refusing(monkeypatch, "metrics")
    plan = choose_plan(context_of(mlp_task(), CONFIG, tmp_path, ASKED), 1)
    assert plan.fused
    assert plan.generated == ("populations",)
    assert "metrics not generated (as the test has it)" in plan.chosen


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
def test_a_run_that_is_alone_on_its_data_is_generated_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One learning rate and one seed on each draw of the data: nothing to batch, and the slowest path until now."""
    monkeypatch.setattr(choose, "FUSED_PAYS_AFTER", 0.0)
    alone, engine = replace(CONFIG, lrs=(1e-2,), seeds=1), EngineConfig(device="cpu", jobs=1)
    plan = choose_plan(context_of(mlp_task(), alone, tmp_path, engine), 1)
    assert plan.fused, plan.chosen
    assert (plan.path, plan.chunk) == ("batched", 1)
    single = choose_plan(context_of(mlp_task(), alone, tmp_path, replace(engine, path="single")), 1)
    assert not single.fused, "as asked"
    assert not choose_plan(context_of(mlp_task(), alone, tmp_path, replace(engine, compile=False)), 1).fused


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
def test_what_cannot_be_generated_any_more_is_a_recorded_re_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(mlp_task(), CONFIG, ASKED, tmp_path / "whole")
    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        sweep(mlp_task(), config=CONFIG, engine=ASKED, out=out, progress=StopAtTick(2))
    refusing(monkeypatch, "metrics")
    with pytest.warns(
        UserWarning, match=r"metrics cannot be generated any more \(as the test has it\): PyTorch computes"
    ):
        again = train(mlp_task(), CONFIG, ASKED, out)
    (change,) = json.loads(again.attrs["plan"])["replans"]
    assert change["without"] == ["metrics"]
    assert json.loads(again.attrs["plan"])["generated"] == ["populations"]
    assert json.loads(whole.attrs["plan"])["replans"] == []
    assert close(again, whole)
    for part in ("results.zarr", "chunks"):
        shutil.rmtree(out / part)
    with silent():  # whoever continues follows the plan as it is now, and is told nothing again
        third = train(mlp_task(), CONFIG, ASKED, out)
    assert json.loads(third.attrs["plan"])["replans"] == [change]


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
def test_a_plan_without_that_record_is_followed_and_completed(tmp_path: Path) -> None:
    whole = train(mlp_task(), CONFIG, ASKED, tmp_path / "whole")
    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        sweep(mlp_task(), config=CONFIG, engine=ASKED, out=out, progress=StopAtTick(2))
    store = Store(out)
    old = store.plan()
    assert old is not None
    del old["generated"]
    store.write_plan(old)
    assert same_bytes(train(mlp_task(), CONFIG, ASKED, out), whole) == []
    assert (store.plan() or {})["generated"] == ["populations", "metrics"]
    assert (store.plan() or {})["replans"] == []


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
def test_steps_that_cannot_be_made_any_more_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        sweep(mlp_task(), config=CONFIG, engine=ASKED, out=tmp_path / "out", progress=StopAtTick(2))
    fake_compiler("computes wrongly", tmp_path, monkeypatch)
    with pytest.raises(
        LrscopeError, match=r"out: .* cannot be made here \(its self-test fails: .*continue on the machine"
    ):
        train(mlp_task(), CONFIG, ASKED, tmp_path / "out")
    assert list((tmp_path / "out" / "chunks").iterdir()), "nothing is lost"
