"""A Zarr folder that may be anybody's, looked through before Zarr opens it: plain arrays of plausible sizes and nothing else.

A kilobyte of metadata can claim a terabyte, which Zarr would fill in, and a compressed file can unpack to a thousand times
its size. So what the metadata claims is compared with what the files hold, and what a file says it unpacks to with its
place in the array, before anything is allocated.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numcodecs.zstd import Zstd

from lrscope.errors import LrscopeError
from lrscope.storage.files import kind, mode_of, read_json, read_whole
from lrscope.storage.paths import Remote, is_stray

ROOT = "zarr.json"
# What lrscope's results use; Zarr would look others up by name among whatever is installed.
CODECS = frozenset(["bytes", "vlen-utf8", "zstd"])
OLDER = (".zarray", ".zgroup", ".zattrs", ".zmetadata")  # of Zarr's older format, which has pickled objects
FREE = 256 << 20  # ours, bytes: arrays of this size are opened however well they are compressed
DENSEST = (
    100  # ours: bytes of arrays per byte of files beyond that; logged curves reach 3, with 95% of the runs untrained 60
)
MOST_TEXT = 16 << 20  # ours, bytes: the names of a million groups of weights
MOST_AXES = 16
LONGEST_AXIS = 2**63 - 1  # as NumPy counts
WIDTHS = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
}
WIDTHS |= {"int64": 8, "uint64": 8, "float64": 8}
TEXT_WIDTH = 64  # ours, bytes of memory: a short text and the reference to it


def below(folder: Path) -> list[Path]:
    """Everything below a folder, sorted, without what desktops and editors leave in any."""
    found, waiting = [], _inside(folder)
    while waiting:  # no recursion: a stranger's folders may be nested thousands deep
        path = waiting.pop()
        found.append(path)
        if path.is_dir() and not path.is_symlink():
            waiting += _inside(path)
    return found


def _inside(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if not is_stray(path.name)), reverse=True)


def refuse_foreign(folder: Path, named: Path | Remote | None = None) -> None:
    """Refuse what could make Zarr do more than read arrays: codecs by unknown names, the older format's pickled objects,
    links, pipes and devices. Messages call the folder `named`.

    Raises:
        LrscopeError: it names the file.
    """
    for path in below(folder):
        shown = (named or folder) / path.relative_to(folder).as_posix()
        mode = mode_of(path, follow=False) or 0
        if path.name in OLDER or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise LrscopeError(
                f"result {shown} is not of a kind that lrscope writes ({kind(mode)}): do not open results that you do not trust"
            )
        if path.name != ROOT or not stat.S_ISREG(mode):
            continue
        try:
            codecs = codec_names(read_json(path))
        except (FileNotFoundError, ValueError, RecursionError):  # damaged: named when the checksums are compared
            continue
        for name in codecs:
            if name not in CODECS:
                raise LrscopeError(
                    f"result {shown} asks for the codec {name!r}, which lrscope does not use: do not open results that you "
                    "do not trust"
                )


def codec_names(meta: Any) -> list[str]:
    """Names of all codecs in an array's metadata, those inside of others too."""
    found = []
    if isinstance(meta, dict):
        for key, value in meta.items():
            if key in ("codecs", "index_codecs", "storage_transformers") and isinstance(value, list):
                found += [str(c.get("name")) if isinstance(c, dict) else str(c) for c in value]
            if key != "attributes":
                found += codec_names(value)
    elif isinstance(meta, list):
        for value in meta:
            found += codec_names(value)
    return found


def groups_in(folder: Path) -> list[str]:
    """Names of the groups right below a Zarr folder. A group holds arrays, an array holds none; a damaged one is still told."""
    return [path.name for path in _inside(folder)[::-1] if _is_group(path)]


def entries(folder: Path) -> list[Path]:
    """Everything in a Zarr folder and in its groups: arrays, and the metadata of the groups; sorted."""
    groups = [folder / name for name in groups_in(folder)]
    found = [path for place in (folder, *groups) for path in _inside(place)]
    return sorted(path for path in found if path not in (folder / ROOT, *groups))


def _is_group(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return _states_group(folder) or any((inside / ROOT).is_file() for inside in folder.iterdir())


def _states_group(folder: Path) -> bool:
    """Does the folder's metadata say so?"""
    try:
        return bool(read_json(folder / ROOT)["node_type"] == "group")
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return False


def check_sizes(folder: Path, named: Path | Remote) -> None:
    """Refuse arrays, in the root or in a group, that claim what their files cannot hold. Messages call the folder `named`.

    Raises:
        LrscopeError: it names the array, or the claimed and the actual sizes.
    """
    claimed = held = 0
    for path in entries(folder):
        try:
            size = _check_array(path) if path.name != ROOT else 0 if _states_group(path.parent) else None
        except FileNotFoundError:
            size = None
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RuntimeError):
            size = None
        if size is None:
            name = path.relative_to(folder).as_posix()
            raise LrscopeError(f"result {named} holds {name!r}, which is no array of lrscope: do not open it")
        claimed, held = claimed + size, held + _bytes(path)
    if claimed > max(FREE, DENSEST * held):
        raise LrscopeError(
            f"result {named} claims {claimed / 1e9:,.1f} GB of numbers in {held / 1e6:,.1f} MB of files, more than any training "
            "leaves: do not open it"
        )


def _bytes(path: Path) -> int:
    """What an array's files take; nothing of a group's metadata."""
    return sum(p.stat().st_size for p in below(path) if p.is_file()) if path.is_dir() else 0


def _check_array(folder: Path) -> int | None:
    """Bytes of an array in memory; None if it is none that lrscope writes."""
    meta = read_json(folder / ROOT)
    shape, grid = meta["shape"], meta["chunk_grid"]
    chunk = grid["configuration"]["chunk_shape"]
    names = [codec["name"] for codec in meta["codecs"]]
    plain = (
        meta["node_type"] == "array"
        and grid["name"] == "regular"
        and meta["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "/"}}
        and not meta.get("storage_transformers")
        and len(shape) == len(chunk) <= MOST_AXES
        and all(type(n) is int and 0 <= n <= LONGEST_AXIS for n in shape)
        and all(type(c) is int and 1 <= c <= max(1, n) for c, n in zip(chunk, shape, strict=True))
    )
    text = meta["data_type"] == "string"
    if not plain or names not in (["vlen-utf8" if text else "bytes", "zstd"], ["vlen-utf8" if text else "bytes"]):
        return None
    items, width = math.prod(chunk), TEXT_WIDTH if text else _width(meta["data_type"])
    key = re.compile("/".join(["c", *[r"\d+"] * len(shape)]))
    for path in below(folder):
        if path.name == ROOT or path.is_dir():
            continue
        if key.fullmatch(path.relative_to(folder).as_posix()) is None:
            return None
        _check_chunk(path, items, None if text else width, compressed="zstd" in names)
    return int(math.prod(shape) * width)


def _width(kind_of_number: str | Mapping[str, Any]) -> int:
    """Bytes of one number or fixed-length text."""
    if isinstance(kind_of_number, str):
        return WIDTHS[kind_of_number]
    if kind_of_number["name"] != "fixed_length_utf32":
        raise ValueError(kind_of_number["name"])
    width = kind_of_number["configuration"]["length_bytes"]
    if type(width) is not int or not 0 < width <= MOST_TEXT:
        raise ValueError(width)
    return width


def _check_chunk(path: Path, items: int, width: int | None, *, compressed: bool) -> None:
    """Raise `ValueError` unless the file unpacks to so many items (`width` None: texts)."""
    if width is not None:
        with open(path, "rb") as file:
            size = unpacked_size(file.read(18)) if compressed else path.stat().st_size
        if size != items * width:
            raise ValueError(path)
        return
    data = read_whole(path, MOST_TEXT)
    if compressed:
        if unpacked_size(data) > MOST_TEXT:
            raise ValueError(path)
        data = Zstd().decode(data)
    if int.from_bytes(data[:4], "little") != items:  # Zarr makes room for as many texts as this says
        raise ValueError(path)


def unpacked_size(data: bytes) -> int:
    """Bytes that a Zstandard frame says it unpacks to (RFC 8878, Sec. 3.1.1.1).

    Raises:
        ValueError: it is none, or does not say.
    """
    if len(data) < 6 or data[:4] != b"\x28\xb5\x2f\xfd":
        raise ValueError("no frame")
    flags = data[4]
    single, length = flags >> 5 & 1, (0, 2, 4, 8)[flags >> 6]
    length = length or single
    start = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    if not length or len(data) < start + length:
        raise ValueError("no size")
    return int.from_bytes(data[start : start + length], "little") + (256 if length == 2 else 0)


def _without_asserts() -> None:
    """Under `python -O` zarr's metadata of a group keeps an entry that an assert would have taken out: take it out."""
    from zarr.core.group import GroupMetadata

    read = GroupMetadata.from_dict

    def plain(data: dict[str, Any]) -> GroupMetadata:
        return read({name: value for name, value in data.items() if name != "node_type"})

    GroupMetadata.from_dict = plain  # type: ignore[method-assign]


if not __debug__:
    _without_asserts()
