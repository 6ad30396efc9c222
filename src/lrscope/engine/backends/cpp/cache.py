"""Where compiled libraries are kept: a folder of this user alone, each library sealed by a SHA-256 in its name.

A library is code that runs in this process, so nothing is loaded that another user could have put there, or whose bytes
are not those that were tested. Name and bytes appear in one rename: there is no torn pair.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from functools import cache
from pathlib import Path

from lrscope.engine.backends.cpp.values import NotFusible
from lrscope.terminal import warn

MOST_LINKS = 40  # as Linux follows
_said: set[str] = set()


def folder() -> Path:
    """The user's cache of libraries, made if need be; a private folder of this process, with one warning, where that
    cannot be trusted or written.

    Raises:
        NotFusible: there is no private folder either.
    """
    where = _wanted()
    try:
        if where is None:
            raise OSError(None, "the user has no home folder")
        doubt = _doubt_of_parents(where)
        if doubt is None:
            for there in (*reversed(where.parents), where):  # closed to others whatever the umask
                if not there.exists():
                    there.mkdir(exist_ok=True, mode=0o700)
            doubt = doubt_of(where) or _doubt_of_last(where)
        if doubt is None:
            return where
        raise OSError(None, doubt)
    except OSError as error:
        return instead_of(where, error)


def instead_of(where: Path | None, error: OSError) -> Path:
    """A private folder of this process, because `where` cannot serve; says why, once.

    Raises:
        NotFusible: it cannot be made.
    """
    reason = error.strerror or str(error)
    text = f"generated code is not kept for later runs, because {reason}"
    if where is not None and str(where) not in reason:
        text = f"generated code is not kept for later runs, because {where} cannot be used: {reason}"
    if text not in _said:
        _said.add(text)
        warn(f"{text}; it is compiled into a private folder of this process")
    return private(os.getpid())


@cache
def private(pid: int) -> Path:
    """A new folder that only this user may enter, removed at this process's end. `pid` is this process's: forked ones
    have their own.

    Raises:
        NotFusible: there is no safe place for it.
    """
    try:
        made = Path(tempfile.mkdtemp(prefix="lrscope-"))
    except OSError as error:
        raise NotFusible(f"there is no folder for generated code: {error.strerror or error}") from error
    atexit.register(_remove, made, pid)
    doubt = doubt_of(made)
    if doubt is not None:
        raise NotFusible(f"there is no folder for generated code: {doubt}")
    return made


def _remove(made: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(made, ignore_errors=True)


def _wanted() -> Path | None:
    """XDG_CACHE_HOME, which must be absolute to count, or ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    root = given if os.path.isabs(given) else os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root) / "lrscope" / "steps" if os.path.isabs(root) else None


# -- whom a folder belongs to ------------------------------------------------------------------------------------------


def doubt_of(path: Path) -> str | None:
    """Why somebody else could change what lies under `path`, or None: every folder and link on the way there must belong
    to this user or root, and no folder may be writable by others unless it is sticky, as /tmp is."""
    parts, there, links = list(reversed(path.parts[1:])), Path(path.root), 0
    doubt = _doubt_of_folder(there)
    while parts and doubt is None:
        part = parts.pop()
        if part == "..":
            there = there.parent
            continue
        next_one = there / part
        found = next_one.lstat()
        if not stat.S_ISLNK(found.st_mode):
            there, doubt = next_one, _doubt_of_folder(next_one)
            continue
        links += 1
        if found.st_uid not in (0, os.getuid()):
            return f"the link {next_one} belongs to user {found.st_uid}"
        if links > MOST_LINKS:
            return f"{path} leads through too many links"
        target = Path(os.readlink(next_one))
        parts += [p for p in reversed(target.parts) if p != target.root]
        there = Path(target.root) if target.is_absolute() else there
    return doubt


def _doubt_of_parents(path: Path) -> str | None:
    """The same of the part of `path` that is there already."""
    while not os.path.lexists(path):
        path = path.parent
    return doubt_of(path)


def _doubt_of_folder(path: Path) -> str | None:
    found = path.lstat()
    if found.st_uid not in (0, os.getuid()):
        return f"{path} belongs to user {found.st_uid}"
    if found.st_mode & 0o022 and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return f"others may write to {path} (chmod go-w {path} helps)"
    return None


def _doubt_of_last(path: Path) -> str | None:
    """The cache itself must be this user's and closed to all others."""
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        return f"{path} is not a folder"
    if found.st_uid != os.getuid():
        return f"{path} belongs to user {found.st_uid}"
    if found.st_mode & 0o022:
        return f"others may write to {path} (remove it, or its files may be theirs)"
    if found.st_mode & 0o077:
        path.chmod(0o700)
    return None


# -- libraries in it ---------------------------------------------------------------------------------------------------


def find(where: Path, key: str) -> Path | None:
    """The library that was kept under `key`, its bytes verified. Damaged ones are removed, with a warning."""
    try:
        there = sorted(name for name in os.listdir(where) if name.startswith(key + "-"))
    except OSError:
        return None
    for name in there:
        path = where / name
        data = _bytes(path)
        if data is not None and name == _name(key, data):
            return path
        forget(path, "it is damaged")
    return None


def keep(where: Path, key: str, made: Path) -> Path:
    """Move the tested library `made`, which lies under `where`, to its place: on disk first, then under its name.

    Raises:
        OSError: `where` cannot be written, or is full.
    """
    path = where / _name(key, made.read_bytes())
    made.chmod(0o600)
    for there in (made, where):
        descriptor = os.open(there, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if there == made:
            os.replace(made, path)
    return path


def forget(path: Path, reason: str) -> None:
    """Remove a library that must not be loaded, and say so."""
    with contextlib.suppress(OSError):
        path.unlink()
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    warn(f"the generated code in {path} is not used, because {reason}; it is compiled again")


def _name(key: str, data: bytes) -> str:
    return f"{key}-{hashlib.sha256(key.encode() + data).hexdigest()}.so"


def _bytes(path: Path) -> bytes | None:
    """The bytes of a plain file that is this user's and that no other may write to."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
        if not ours:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError:
        return None
    finally:
        os.close(descriptor)
