"""The system's C++ compiler as a guest: named exactly, given a time limit, and never outliving this program."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrscope.engine.backends.cpp.values import NotFusible

COMPILERS = ("g++", "clang++", "c++")
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-w"),
    # Sums are reordered where the code says so (omp simd); with -fassociative-math g++ 12 made wrong layer norms.
    *("-fopenmp-simd", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
)
# What `-march=native` means here and the compiler's version, in the compiler's own words: all its predefined macros.
DESCRIBE = ("-march=native", "-dM", "-E", "-x", "c++", os.devnull)
# Ours, seconds. The steps of a ResNet-18, among the longest that are generated, take 17 s of processor time: a compiler that
# takes nearly twenty times as long hangs.
COMPILE_LIMIT = 300.0
DESCRIBE_LIMIT = 60.0  # ours, seconds: it takes 20 ms
LARGEST_FILE = 64 << 20  # ours, bytes that a compiler may write into one file; libraries have some 100 KB
MESSAGE = 1 << 16  # bytes of a compiler's messages that are read
# The compiler runs in a process group of its own. A second process of that group waits for the end of a pipe that only
# we hold open, and then ends the group: so it dies with us, however we die.
WATCHED = f"""ulimit -f {LARGEST_FILE // 512}
exec 3<&0 </dev/null
(read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 &
"$@" 3<&-
"""
_described: dict[tuple[object, ...], bytes] = {}
_hanging: set[str] = set()


@dataclass(frozen=True)
class Compiler:
    """A compiler and all that its libraries depend on besides the source."""

    path: str
    description: bytes

    def library(self, files: dict[str, str], main: str, folder: Path) -> Path:
        """Write the named texts into `folder`, compile the one called `main`; the library's path there.

        Raises:
            NotFusible: it fails, hangs, or makes nothing.
            OSError: `folder` cannot be written, or is full.
        """
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        made = folder / "call.so"
        said = run([self.path, *FLAGS, str(folder / main), "-o", str(made)], folder, COMPILE_LIMIT)
        if said.status:
            for words in ("No space left on device", "Disk quota exceeded"):
                if words in said.errors:
                    raise OSError(None, words)
            raise NotFusible(f"{self.path} failed: {said.first_line}")
        if not made.is_file() or not made.stat().st_size:
            raise NotFusible(f"{self.path} made no library")
        return made


@dataclass(frozen=True)
class Said:
    """What a compiler left behind: its exit status, standard output, and messages."""

    status: int
    output: bytes
    errors: str

    @property
    def first_line(self) -> str:
        """The first message, or that there is none."""
        lines = self.errors.strip().splitlines()
        return lines[0][:200] if lines else f"no message, exit status {self.status}"


def compiler() -> Compiler:
    """The first compiler of `COMPILERS` on the search path.

    Raises:
        NotFusible: there is none, or it fails or hangs when asked for its version.
    """
    if os.name != "posix":
        raise NotFusible("generated code needs a POSIX system")
    path = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if path is None:
        raise NotFusible("there is no C++ compiler")
    _refuse_hanging(path)
    try:
        stat = os.stat(path)
        key = path, stat.st_ino, stat.st_size, stat.st_mtime_ns
        if key not in _described:
            with tempfile.TemporaryDirectory(prefix="lrscope-") as folder:
                said = run([path, *DESCRIBE], Path(folder), DESCRIBE_LIMIT)
            if said.status:
                raise NotFusible(f"{path} failed: {said.first_line}")
            _described[key] = said.output
    except OSError as error:
        raise NotFusible(f"{path} cannot be asked for its version: {error.strerror or error}") from error
    return Compiler(path, _described[key])


def makes_libraries() -> bool:
    """Does the system's compiler make a library of a line of C++, within `COMPILE_LIMIT`?"""
    try:
        with tempfile.TemporaryDirectory(prefix="lrscope-") as folder:
            compiler().library({"trial.cpp": "int trial() { return 1; }\n"}, "trial.cpp", Path(folder))
    except (NotFusible, OSError):
        return False
    return True


def _refuse_hanging(path: str) -> None:
    if path in _hanging:
        raise NotFusible(f"{path} hangs")


def run(command: Sequence[str], folder: Path, limit: float) -> Said:
    """Run a compiler in a process group of its own and end whatever is left of the group afterwards.

    Args:
        command: the compiler and its arguments.
        folder: where it may write.
        limit: seconds after which it is killed.

    Raises:
        NotFusible: it takes longer, or did so before in this process.
    """
    _refuse_hanging(command[0])
    environment = {**os.environ, "LC_ALL": "C", "TMPDIR": str(folder)}
    shell: list[str] = ["/bin/sh", "-c", WATCHED, "sh", *command]
    with open(folder / "output", "wb") as output, open(folder / "errors", "wb") as errors, _terminable():
        # ruff's SIM115 does not apply: the group is ended below whatever happens.
        process = subprocess.Popen(
            shell, stdin=subprocess.PIPE, stdout=output, stderr=errors, env=environment, start_new_session=True
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            _hanging.add(command[0])
            raise NotFusible(f"{command[0]} did not end within {limit:g} s") from None
        finally:
            _end(process)
    return Said(
        status, (folder / "output").read_bytes(), (folder / "errors").read_bytes()[:MESSAGE].decode("utf-8", "replace")
    )


def _end(process: subprocess.Popen[Any]) -> None:
    """Kill the process's group, which its watcher keeps in being after the compiler's end."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    process.wait()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM interrupts as SIGINT does, where the program has no better idea."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not ours:
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
