"""Where a result lies: a local folder (`Path`) or a prefix behind an fsspec URL (`Remote`), told apart by `place`.

An object store has no folders to make and none to rename: a write of one object replaces it whole or fails, and
listings and reads after a write see it (Amazon S3 User Guide, "Amazon S3 data consistency model").
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from lrscope.errors import LrscopeError, first_line, shown
from lrscope.storage.files import mode_of, read_error

# By pattern, in small letters: Finder, Explorer, sync clients, file systems, NFS, editors.
STRAY = (
    *(".ds_store", "._*", ".spotlight-v100", ".fseventsd", ".trash*", "thumbs.db", "ehthumbs.db", "desktop.ini"),
    *("$recycle.bin", ".directory", ".dropbox*", ".syncthing.*", ".stfolder", ".owncloudsync*", "@eadir", ".nfs*"),
    *(".fuse_hidden*", ".__afs*", "lost+found", ".snapshot*", "*~", ".*.sw?", ".#*", "#*#", ".ipynb_checkpoints"),
)
_STRAY = re.compile("|".join(map(fnmatch.translate, STRAY)))  # at once: every file of a result is asked about

URL = re.compile(r"[a-z][a-z0-9+.:-]+://")
PACKAGES = {
    "s3": "pip install 'lrscope[s3]' (it brings s3fs)",
    "s3a": "pip install 'lrscope[s3]' (it brings s3fs)",
    "gs": "pip install gcsfs",
    "gcs": "pip install gcsfs",
    "abfs": "pip install adlfs",
    "az": "pip install adlfs",
}


def place(where: str | os.PathLike[str] | Remote, name: str = "out") -> Path | Remote:
    """A folder or file from what a user wrote: `Remote` for a URL such as s3://bucket/prefix, else a `Path` without `~`.

    Raises:
        LrscopeError: it is no path (`name` is the argument's), or the home that it names is not known.
    """
    if isinstance(where, Remote):
        return where
    text = os.fspath(where) if isinstance(where, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise LrscopeError(
            f"{name}: {shown(where)} is not a path: use a text such as runs/first, a pathlib.Path or a URL"
        )
    if URL.match(text) and not text.startswith("file://"):
        return Remote(text.rstrip("/"))
    try:
        return Path(text.removeprefix("file://")).expanduser()
    except RuntimeError:
        raise LrscopeError(f"{name}: the home folder of {shown(text)} is not known: write the path without ~") from None


def local(where: str | os.PathLike[str] | Remote, name: str) -> Path:
    """`place` for what must be on this machine.

    Raises:
        LrscopeError: it is a URL, or what `place` raises.
    """
    found = place(where, name)
    if isinstance(found, Remote):
        raise LrscopeError(f"{name}: {found} is a URL: name a folder or file of this machine")
    return found


def for_sharing(where: str) -> str:
    """What may be stored of a path or URL that a user wrote: no credentials, and no folders of this machine above its own."""
    if URL.match(where) and not where.startswith("file://"):
        kind, rest = where.split("://", 1)
        bucket, slash, prefix = rest.partition("?")[0].partition("/")
        return f"{kind}://{bucket.rpartition('@')[2]}{slash}{prefix}"
    path = where.removeprefix("file://")
    return PurePath(path).name if PurePath(path).is_absolute() or path.startswith("~") else path


def names(folder: Path | Remote) -> set[str]:
    """Names of what lies directly in a folder, without what desktops and editors leave everywhere; none if there is no
    such folder."""
    if isinstance(folder, Remote):
        return {name for name in folder.names() if not is_stray(name)}
    try:
        return {name for name in os.listdir(folder) if not is_stray(name)}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise read_error(error, folder) from error


def rename(path: Path | Remote, name: str) -> None:
    """Give a file another name in the same folder."""
    if isinstance(path, Remote):
        path.rename(name)
    else:
        path.rename(path.with_name(name))


def is_stray(name: str) -> bool:
    """Is it a file that Finder, Explorer, a sync client, a network file system or an editor leaves in any folder?"""
    return _STRAY.match(name.lower()) is not None


def exists(path: Path | Remote) -> bool:
    """Is there anything of this name?

    Raises:
        LrscopeError: the system does not say.
    """
    return path.exists() if isinstance(path, Remote) else mode_of(path) is not None


def is_of_this_process(folder: Path | Remote) -> bool:
    """Does it lie in this process's memory, where no other process sees it?"""
    return isinstance(folder, Remote) and any(part.startswith("memory:") for part in folder.url.split("::"))


@dataclass(frozen=True)
class Remote:
    """A folder or object behind an fsspec URL, with those methods of `pathlib.Path` that lrscope uses.

    Holds no connection: it may be sent to other processes and machines, each of which finds endpoint and credentials in
    its own environment or fsspec configuration.
    """

    url: str

    def __str__(self) -> str:
        return for_sharing(self.url)

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.url).name

    @property
    def suffix(self) -> str:
        """The ending of the last part, with its dot."""
        return PurePosixPath(self.url).suffix

    @property
    def parent(self) -> Remote:
        """The folder that holds it."""
        return Remote(self.url.rpartition("/")[0])

    def exists(self) -> bool:
        """Is there an object of this name, or anything below it?"""
        with self._words() as (fs, path):
            return bool(fs.exists(path))

    def read_bytes(self) -> bytes:
        """The object's content.

        Raises:
            FileNotFoundError: there is none.
        """
        with self._words() as (fs, path):
            content: bytes = fs.cat_file(path)
            return content

    def read_text(self) -> str:
        """The object's content as UTF-8."""
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes) -> None:
        """Replace the object: all of it or, on an error, nothing."""
        with self._words(writing=True) as (fs, path):
            fs.pipe_file(path, data)

    def create(self, data: bytes) -> bool:
        """Write the object unless there is one; False if there is. Of several that try at once one succeeds."""
        with self._words(writing=True) as (fs, path):
            try:
                fs.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if refused_as_present(error):
                    return False
                raise
            return True

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        with self._words(writing=True) as (fs, path):
            try:
                fs.rm_file(path)
            except FileNotFoundError:
                if not missing_ok:
                    raise

    def rename(self, name: str) -> None:
        """Give the object another name in the same folder."""
        with self._words(writing=True) as (fs, path):
            fs.mv(path, f"{path.rpartition('/')[0]}/{name}")

    def names(self) -> set[str]:
        """Names directly below, by one listing (1,000 names a request on S3)."""
        with self._words() as (fs, path):
            try:
                found = fs.ls(path, detail=False, refresh=True)
            except (FileNotFoundError, NotADirectoryError):
                return set()
            own = PurePosixPath(path).name
            return {n for f in found if (n := f.rstrip("/").rpartition("/")[2]) and (n != own or f.rstrip("/") != path)}

    def files(self) -> dict[str, bytes]:
        """Everything below, by path relative to this."""
        with self._words() as (fs, path):
            found = fs.find(path)
            if not found:
                return {}
            contents = fs.cat(found)  # several at a time
            return {f[len(path) :].lstrip("/"): contents[f] for f in found}

    def write_files(self, contents: dict[str, bytes], last: str) -> None:
        """Replace everything below by `contents`; the object `last`, by whose presence all is known to be whole, goes
        first and comes last."""
        (self / last).unlink(missing_ok=True)
        with self._words(writing=True) as (fs, path):
            old = fs.find(path)
            if old:
                fs.rm(old)
            fs.pipe({f"{path}/{name}": data for name, data in contents.items() if name != last})
            fs.pipe_file(f"{path}/{last}", contents[last])

    @contextlib.contextmanager
    def _words(self, writing: bool = False) -> Iterator[tuple[Any, str]]:
        """The file system and the path on it; what it refuses becomes a sentence."""
        import fsspec

        protocol = self.url.partition(":")[0]
        try:
            fs, path = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            remedy = PACKAGES.get(protocol, f"install what fsspec asks for ({error})")
            raise LrscopeError(f"out: {self} needs a package that is missing: {remedy}") from None
        except ValueError as error:
            raise LrscopeError(f"out: {self} is no URL that fsspec knows ({error}): use s3://bucket/prefix") from None
        try:
            yield fs, path
        except FileExistsError:
            raise
        except FileNotFoundError as error:
            if not writing:
                raise
            raise LrscopeError(f"cannot write to {self} ({first_line(error)}): does the bucket exist?") from error
        except LrscopeError:
            raise
        except Exception as error:  # object stores' libraries have exceptions of their own
            what = "write to" if writing else "read"
            raise LrscopeError(
                f"cannot {what} {self} ({first_line(error)}): check the URL, the credentials and the endpoint"
            ) from error


def refused_as_present(error: OSError) -> bool:
    """Did an object store refuse a conditional write because the object is there, or is just being made?"""
    cause = error.__cause__
    code = getattr(cause, "response", {}).get("Error", {}).get("Code", "") if cause is not None else ""
    return code in ("PreconditionFailed", "ConditionalRequestConflict") or "pre-condition" in str(error).lower()
