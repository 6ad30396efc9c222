"""Local files: written whole or not at all, read only where they are regular files, refusals said in a sentence.

Every writer of the package goes through `staged` or `write_whole`: neither puts anything in the place of a folder, a link,
a device or a pipe. Every reader of what may be somebody else's goes through `read_whole`: a pipe would never end.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrscope.errors import LrscopeError

if TYPE_CHECKING:
    from lrscope.storage.paths import Remote

WRITING = ".writing"  # ending of what is not whole yet
NAME_KEPT = 40  # characters of a file's name in that of its staging file: with four bytes each well below 255 bytes
MOST_JSON = 64 << 20  # ours, bytes: a plan of 100,000 chunks has 20 MiB
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def disk_error(error: OSError, folder: Path | Remote) -> LrscopeError:
    """Turn an operating system's refusal to write into a sentence that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LrscopeError(
            f"no space left on the device that holds {folder}: everything finished is kept; "
            "make room and run the same command again"
        )
    return LrscopeError(f"cannot write to {folder} ({_why(error)}): choose another --out or change its permissions")


def read_error(error: OSError, path: Path | Remote) -> LrscopeError:
    """Turn an operating system's refusal to read into a sentence that says what to do."""
    return LrscopeError(f"cannot read {path} ({_why(error)}): check the name, its permissions and its disk")


def mode_of(path: Path, *, follow: bool = True) -> int | None:
    """What lies at `path`, as `stat` tells it; None if there is nothing. `follow` goes to where a symbolic link points.

    Raises:
        LrscopeError: the system does not say (no permission, a name that is too long, links in a circle).
    """
    try:
        return os.stat(path, follow_symlinks=follow).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise read_error(error, path) from error
    except ValueError as error:  # a NUL byte, or characters that the file system's encoding lacks
        raise LrscopeError(f"{str(path)!r} is no name of a file ({error}): choose another") from error


def kind(mode: int) -> str:
    """`a folder`, `a pipe`, ..., `a file`, as messages say it."""
    return next((words for test, words in KINDS if test(mode)), "a file")


def check_target(path: Path) -> None:
    """Refuse to write where something lies that is no regular file: it would be replaced.

    Raises:
        LrscopeError: it names what is there.
    """
    mode = mode_of(path, follow=False)
    if mode is None or stat.S_ISREG(mode):
        return
    what = f"{kind(mode)} to {os.readlink(path)}" if stat.S_ISLNK(mode) else kind(mode)
    raise LrscopeError(f"out: {path} is {what}, which lrscope does not replace: name a new or a regular file")


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yields the name of a file beside `path` that takes its place when the block ends; after an error nothing has changed.

    Raises:
        LrscopeError: something other than a regular file lies at `path`, or the system refuses.
    """
    check_target(path)
    staging = path.with_name(f"{path.name[:NAME_KEPT]}.{os.getpid()}-{secrets.token_hex(4)}{WRITING}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield staging
        with open(staging, "rb") as file:
            os.fsync(file.fileno())
        os.replace(staging, path)
    except OSError as error:
        raise disk_error(error, path.parent) from error
    finally:
        _remove(staging)


def write_whole(path: Path | Remote, data: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one.

    Raises:
        LrscopeError: something other than a regular file lies there, or the system refuses.
    """
    if not isinstance(path, Path):
        path.write_bytes(data)
        return
    with staged(path) as staging, open(staging, "xb") as file:
        file.write(data)


def read_whole(path: Path | Remote, most: int | None = None) -> bytes:
    """A regular file's content, of at most `most` bytes.

    Raises:
        FileNotFoundError: there is none.
        LrscopeError: it is no regular file, too long, or the system refuses.
    """
    if not isinstance(path, Path):
        data = path.read_bytes()
        _check_length(path, len(data), most)
        return data
    check_readable(path)
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            _check_length(path, os.fstat(file.fileno()).st_size, most)
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise read_error(error, path) from error


def check_readable(path: Path) -> None:
    """Refuse what is no regular file, before it is opened: a pipe has no end and a device does something.

    Raises:
        FileNotFoundError: there is nothing.
        LrscopeError: it names what is there.
    """
    mode = mode_of(path)
    if mode is None:
        raise FileNotFoundError(path)
    if not stat.S_ISREG(mode):
        raise LrscopeError(f"{path} is {kind(mode)}, not a file that lrscope wrote: move it away")


def parse_json(data: bytes | str) -> Any:
    """JSON that may be anybody's.

    Raises:
        ValueError: it is none, or nested so deeply that reading it would end the program.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path | Remote) -> Any:
    """A JSON file's content.

    Raises:
        FileNotFoundError: there is none.
        ValueError: no JSON.
        LrscopeError: it is no regular file, too long, or the system refuses.
    """
    return parse_json(read_whole(path, MOST_JSON))


def _check_length(path: Path | Remote, length: int, most: int | None) -> None:
    if most is not None and length > most:
        raise LrscopeError(
            f"{path} has {length:,} bytes, of which lrscope writes at most {most:,}: it was not made by lrscope"
        )


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # where nothing could be made there is nothing to remove; what hindered it has been said
        return


def _why(error: OSError) -> str:
    return error.strerror or (str(error) or type(error).__name__).splitlines()[0]
