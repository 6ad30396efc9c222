"""Checksums over a result's Zarr folder.

The root's metadata holds under `checksums` one SHA-256 per array of every group, over the names and bytes of all its files,
one per group's metadata, and one over itself; so a flipped bit, a torn file and a missing chunk (which Zarr would read as
fill values) are noticed and named.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lrscope.errors import LrscopeError
from lrscope.storage.files import read_json, write_whole
from lrscope.storage.paths import Remote
from lrscope.storage.plain_zarr import ROOT, below, entries

KEY = "checksums"
ITSELF = "metadata"


class Damaged(LrscopeError):
    """A result whose bytes are not those that were written."""


def seal(folder: Path) -> None:
    """Write the checksums of a finished Zarr folder into its root metadata; the last step before it is put in place."""
    root = json.loads((folder / ROOT).read_bytes())
    root["attributes"].pop(KEY, None)
    checksums = {array: _of_files(folder, array) for array in _arrays(folder)}
    checksums[ITSELF] = _of_json({**root, "checksums": checksums})
    root["attributes"][KEY] = checksums
    write_whole(folder / ROOT, json.dumps(root).encode())


def verify(folder: Path, named: Path | Remote | None = None) -> None:
    """Compare a Zarr folder with its checksums; messages call it `named`.

    Raises:
        Damaged: it names what differs.
    """
    try:
        root = read_json(folder / ROOT)
        checksums = dict(root["attributes"].pop(KEY))
        itself = checksums.pop(ITSELF)
        whole = itself == _of_json({**root, "checksums": checksums})
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise _damaged(named or folder, "metadata")
    wrong = sorted(set(checksums) ^ set(_arrays(folder)))
    wrong += [
        array for array in sorted(checksums) if array not in wrong and checksums[array] != _of_files(folder, array)
    ]
    if wrong:
        raise _damaged(
            named or folder, ", ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        )


def _arrays(folder: Path) -> list[str]:
    """Paths of everything in the root and its groups but the root's own metadata."""
    return [path.relative_to(folder).as_posix() for path in entries(folder)]


def _of_files(folder: Path, array: str) -> str:
    sha = hashlib.sha256()
    base = folder / array
    for path in below(base) if base.is_dir() else [base]:
        if path.is_file():
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            sha.update(f"{path.relative_to(folder).as_posix()} {digest}\n".encode())
    return sha.hexdigest()


def _of_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _damaged(folder: Path | Remote, what: str) -> Damaged:
    return Damaged(
        f"result {folder} is damaged ({what}): run the same lrscope map command again, which puts it together anew from "
        "its chunks"
    )
