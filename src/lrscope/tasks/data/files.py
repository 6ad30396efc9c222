"""Where data files lie, and what to say when they are missing, damaged or out of reach."""

from __future__ import annotations

import os
import shlex
import tarfile
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from lrscope.errors import LrscopeError
from lrscope.storage.paths import place


def default_root() -> Path:
    """The folder of downloaded data: `$LRSCOPE_DATA`, or `lrscope/data` in the user's cache folder (XDG). A user without a
    home directory, such as a container's, has `lrscope-data` where the program runs."""
    if given := os.environ.get("LRSCOPE_DATA"):
        found = place(given, "LRSCOPE_DATA")
        if isinstance(found, Path):
            return found
        raise LrscopeError(f"LRSCOPE_DATA: {found} is a URL: name a folder of this machine")
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lrscope" / "data"
    except RuntimeError:
        return Path("lrscope-data")


def fetch_command(name: str, root: Path) -> str:
    """The shell command that brings data set `name` into `root`, as it can be pasted."""
    elsewhere = "" if root == default_root() else f"LRSCOPE_DATA={shlex.quote(str(root))} "
    return f"`{elsewhere}lrscope data fetch {name}`"


def missing(name: str, folder: Path, root: Path, other_way: str = "") -> LrscopeError:
    """The files of `name` are not in `folder`; `other_way` is a further command that would bring them."""
    either = f" or `{other_way}`" if other_way else ""
    return LrscopeError(f"data set {name!r} is not in {folder}; run {fetch_command(name, root)}{either}")


def damaged(path: Path, why: str, remedy: str) -> LrscopeError:
    """A file that is there and cannot be what it should be."""
    return LrscopeError(f"data file {path} is damaged or unreadable ({why}); {remedy}")


def refetch(name: str, root: Path) -> str:
    """The remedy for a damaged file that `fetch` had brought."""
    return f"delete it and run {fetch_command(name, root)}"


def download(name: str, root: Path, call: Callable[[], object], files: str, other_way: str = "") -> None:
    """Run torchvision's download `call`; `files` are the files under `root` that it should leave there."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LrscopeError(
            f"root={str(root)!r} cannot be made ({error.strerror}); set LRSCOPE_DATA to a folder that can be written"
        ) from error
    try:
        call()
    except (OSError, RuntimeError, EOFError, HTTPException, tarfile.TarError, zlib.error) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        either = f", or run `{other_way}`" if other_way else ""
        raise LrscopeError(
            f"data set {name!r} could not be downloaded to {root} ({why}); check network and disk and run "
            f"{fetch_command(name, root)} again, or copy {files} there from another machine{either}"
        ) from error
