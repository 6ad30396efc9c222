"""Ways to spoil a sweep's folder: bytes, kinds of files, and values in metadata whose checksums are made to fit again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from lrscope.engine.sweep_folder import Store
from lrscope.storage.checksums import seal
from lrscope.storage.records import json_checksum

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 0.5, 10**9, 10**30, float("nan"), float("inf"), -0.1, 1e300),
    *("", "a", "x" * 5000, "\x1b[2J\x07", "../..", "zstd", "float32", "string", "sphere", "1|2"),
    *([], {}, [[]], [1, 2], [1e9, 1e9, 1e9], {"a": 1}, [None] * 3, [["b"]] * 100),
)
ODD = ("folder", "pipe", "link to itself", "link to /dev/zero", "nothing")


class Hangs(BaseException):
    """It takes longer than it may."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `Hangs` in this thread after so many seconds."""

    def ring(*_: object) -> None:
        raise Hangs

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def peak_bytes() -> int:
    """Most memory this process ever held."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def files(folder: Path) -> list[Path]:
    """Everything that may be spoilt, the same list every time."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in ("lock", "owner.json"))


def spoil(folder: Path, data: st.DataObject) -> str:
    """One drawn change to a folder; returns what was done."""
    path = data.draw(st.sampled_from(files(folder)))
    ways = [spoil_bytes, spoil_kind, swap]
    if path.suffix == ".json":
        ways += [spoil_json] * 4
    if path.suffix == ".safetensors":
        ways += [spoil_tensors] * 4
    way = data.draw(st.sampled_from(ways))
    return f"{way.__name__} {path.relative_to(folder)}: {way(folder, path, data)}"


def spoil_bytes(folder: Path, path: Path, data: st.DataObject) -> str:
    """Cut, flip or lengthen."""
    content = bytearray(path.read_bytes())
    way = data.draw(st.sampled_from(["cut", "flip", "longer", "empty"]))
    at = data.draw(st.integers(0, max(0, len(content) - 1)))
    if way == "cut":
        del content[at:]
    elif way == "flip" and content:
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif way == "longer":
        content += b"\0more" * 100
    else:
        content.clear()
    path.write_bytes(content)
    return f"{way} at {at}"


def spoil_kind(folder: Path, path: Path, data: st.DataObject) -> str:
    """Put something that is no file, or nothing, in its place; or a file in its folder's."""
    odd = data.draw(st.sampled_from(ODD))
    if data.draw(st.booleans()) and path.parent != folder:
        path = path.parent
        shutil.rmtree(path)
        if odd == "folder":
            path.write_text("a file")
            return f"a file instead of {path.name}"
    else:
        path.unlink()
    if odd == "folder":
        path.mkdir()
    elif odd == "pipe":
        os.mkfifo(path)
    elif odd.startswith("link"):
        path.symlink_to(path if "itself" in odd else Path("/dev/zero"))
    return f"{odd} instead of {path.name}"


def swap(folder: Path, path: Path, data: st.DataObject) -> str:
    """Two files change places."""
    other = data.draw(st.sampled_from(files(folder)))
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    other.write_bytes(one)
    return f"with {other.relative_to(folder)}"


def spoil_json(folder: Path, path: Path, data: st.DataObject) -> str:
    """Change a value somewhere inside, or add one, and make the checksums fit."""
    try:
        meta = json.loads(path.read_bytes())
    except ValueError:
        return "nothing, it was damaged before"
    if not isinstance(meta, dict) or not meta:
        return "nothing, it is no object"
    said = _spoil_value(meta, data)
    zarr = folder / "results.zarr"
    if zarr in path.parents:
        path.write_text(json.dumps(meta))
        with contextlib.suppress(Exception):  # beyond what can be sealed
            seal(zarr)
    else:
        meta.pop("sha256", None)
        path.write_text(json.dumps({**meta, "sha256": json_checksum(meta)}))
    return said


def _spoil_value(meta: Any, data: st.DataObject) -> str:
    places = list(_places(meta, ()))
    *way, last = data.draw(st.sampled_from(places))
    for key in way:
        meta = meta[key]
    old = meta[last]
    if isinstance(old, str) and old.startswith(("{", "[")) and data.draw(st.booleans()):  # JSON in an attribute
        inner = json.loads(old)
        if inner:
            said = _spoil_value(inner, data)
            meta[last] = json.dumps(inner)
            return f"{last} / {said}"
    if data.draw(st.booleans()):
        meta[last] = data.draw(st.sampled_from(VALUES))
        return f"{(*way, last)} = {meta[last]!r:.60}"
    del meta[last]
    return f"without {(*way, last)}"


def _places(meta: Any, way: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    items = meta.items() if isinstance(meta, dict) else enumerate(meta) if isinstance(meta, list) else ()
    for key, value in items:
        yield (*way, key)
        yield from _places(value, (*way, key))


def spoil_tensors(folder: Path, path: Path, data: st.DataObject) -> str:
    """Drop, reshape, retype or overwrite a tensor or what stands beside it, and make the checksum fit."""
    store = Store(folder)
    saved = store.load(path.name)
    if saved is None:
        return "nothing, it was damaged before"
    tensors, meta = saved
    tensors = {name: value.clone() for name, value in tensors.items()}
    way = data.draw(st.sampled_from(["meta", "drop", "longer", "flat", "int", "half", "nan", "rename"]))
    name = data.draw(st.sampled_from(sorted(tensors)))
    if way == "meta":
        said = _spoil_value(meta, data)
    else:
        said, value = f"{way} {name}", tensors.pop(name)
        if way == "longer":
            tensors[name] = torch.cat([value.reshape(-1), value.reshape(-1)])
        elif way == "flat":
            tensors[name] = value.reshape(-1)
        elif way in ("int", "half"):
            tensors[name] = value.to(torch.int64 if way == "int" else torch.float16)
        elif way == "nan":
            tensors[name] = torch.full_like(value, torch.nan)
        elif way == "rename":
            tensors["another." + name] = value
    store.save(path.name, tensors, meta)
    return said
