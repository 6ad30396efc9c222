"""Checksums over a result's Zarr folder, and the refusal of anything in it that is not plain arrays.

The root's metadata holds under `checksums` one SHA-256 per array, over the names and bytes of all its files, and one over
itself; so a flipped bit, a torn file and a missing chunk (which Zarr would read as fill values) are noticed and named.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lrscope.errors import LrscopeError
from lrscope.places import Remote, is_stray

ROOT = "zarr.json"
KEY = "checksums"
ITSELF = "metadata"
# Codecs that only move numbers and text about. Zarr would look others up by name among whatever is installed.
CODECS = frozenset(["blosc", "bytes", "crc32c", "gzip", "sharding_indexed", "transpose", "vlen-utf8", "zstd"])


class Damaged(LrscopeError):
    """A result whose bytes are not those that were written."""


def seal(folder: Path) -> None:
    """Write the checksums of a finished Zarr folder into its root metadata; the last step before it is put in place."""
    root = json.loads((folder / ROOT).read_bytes())
    root["attributes"].pop(KEY, None)
    checksums = {array: _of_files(folder, array) for array in _arrays(folder)}
    checksums[ITSELF] = _of_json({**root, "checksums": checksums})
    root["attributes"][KEY] = checksums
    (folder / ROOT).write_text(json.dumps(root))


def verify(folder: Path, named: Path | Remote | None = None) -> None:
    """Compare a Zarr folder with its checksums; messages call it `named`.

    Raises:
        Damaged: it names what differs.
    """
    try:
        root = json.loads((folder / ROOT).read_bytes())
        checksums = dict(root["attributes"].pop(KEY))
        itself = checksums.pop(ITSELF)
        whole = itself == _of_json({**root, "checksums": checksums})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
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


def refuse_foreign(folder: Path, named: Path | Remote | None = None) -> None:
    """Refuse what could make Zarr do more than read arrays: codecs by unknown names, the older format's pickled objects.
    Messages call the folder `named`.

    Raises:
        LrscopeError: it names the file.
    """
    for path in _below(folder):
        shown = (named or folder) / path.relative_to(folder).as_posix()
        if path.name in (".zarray", ".zgroup", ".zattrs", ".zmetadata") or path.is_symlink():
            raise LrscopeError(
                f"result {shown} is not of a kind that lrscope writes: do not open results that you do not trust"
            )
        if path.name != ROOT:
            continue
        try:
            codecs = _codecs(json.loads(path.read_bytes()))
        except (OSError, ValueError):  # damaged: it is named when the checksums are compared
            continue
        for name in codecs:
            if name not in CODECS:
                raise LrscopeError(
                    f"result {shown} asks for the codec {name!r}, which lrscope does not use: do not open results that you "
                    "do not trust"
                )


def _codecs(meta: Any) -> list[str]:
    """Names of all codecs in an array's metadata, those inside of others too."""
    found = []
    if isinstance(meta, dict):
        for key, value in meta.items():
            if key in ("codecs", "index_codecs", "storage_transformers") and isinstance(value, list):
                found += [str(c.get("name")) if isinstance(c, dict) else str(c) for c in value]
            if key != "attributes":
                found += _codecs(value)
    elif isinstance(meta, list):
        for value in meta:
            found += _codecs(value)
    return found


def _arrays(folder: Path) -> list[str]:
    """Names of everything in the root but its own metadata."""
    return sorted(p.name for p in folder.iterdir() if p.name != ROOT and not is_stray(p.name))


def _below(folder: Path) -> list[Path]:
    """Everything below a folder but what desktops and editors leave in any."""
    found = []
    for path in sorted(folder.iterdir()):
        if not is_stray(path.name):
            found += [path, *(_below(path) if path.is_dir() and not path.is_symlink() else [])]
    return found


def _of_files(folder: Path, array: str) -> str:
    sha = hashlib.sha256()
    base = folder / array
    for path in _below(base) if base.is_dir() else [base]:
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
