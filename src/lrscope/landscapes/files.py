"""Checkpoints on disk or in memory as named tensors: safetensors, and state dicts saved by PyTorch, which run no code here.

A source is opened for its tensors' names and shapes, and read for as many of them as are wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lrscope.errors import LrscopeError, first_line, shown
from lrscope.storage.files import check_readable, mode_of, read_error
from lrscope.storage.paths import is_stray, local
from lrscope.trained import State

SAFE, PICKLED = (".safetensors",), (".pt", ".pth", ".bin", ".ckpt")
INSIDE = ("state_dict", "model_state_dict", "model", "weights")  # where training loops put a model's state dict
MAIN = "main"
Read = Callable[[Iterable[str] | None], dict[str, Tensor]]


@dataclass(frozen=True)
class Source:
    """One checkpoint. `read` returns the tensors of these names, or all."""

    label: str
    read: Read


def sources(checkpoints: Any) -> dict[str, list[Source]]:
    """The checkpoints of each path, the main one first.

    Args:
        checkpoints: a folder, whose files are the main path in the order of their names, numbers as numbers, and each of whose
            folders is a path that leaves it; a folder without files, each of whose folders holds one checkpoint; a list of
            files or state dicts; or any of them by the name of their path.

    Raises:
        LrscopeError: nothing to read, or something else.
    """
    if isinstance(checkpoints, Mapping) and not _is_state(checkpoints):
        found = {str(name): _path(str(name), given) for name, given in checkpoints.items()}
    elif isinstance(checkpoints, str | Path):
        found = _folders(local(checkpoints, "checkpoints"))
    else:
        found = {MAIN: _path(MAIN, checkpoints)}
    if isinstance(checkpoints, Mapping) and (empty := next((n for n, path in found.items() if not path), None)):
        raise LrscopeError(f"checkpoints: the path {shown(empty)} has none: name one that has, or leave it out")
    if not any(found.values()):
        raise LrscopeError(
            f"checkpoints: there are none in {shown(checkpoints)}: pass {' or '.join(SAFE + PICKLED)} files"
        )
    return {name: path for name, path in found.items() if path}


def left_out(checkpoints: Any) -> list[str]:
    """Notes on folders with checkpoints inside the folders of named paths, which are read only under names of their own."""
    if not isinstance(checkpoints, Mapping):
        return []
    given = [local(path, "checkpoints").resolve() for path in _places(checkpoints.values())]
    notes = []
    for name, path in checkpoints.items():
        folder = local(path, "checkpoints") if isinstance(path, str | Path) else None
        if folder is None or not folder.is_dir() or not _files(folder):
            continue
        inside = [each for each in _inside(folder) if _files(each)]
        unread = [each.name for each in inside if not any(each.resolve() in (one, one.parent) for one in given)]
        if unread:
            notes.append(
                f"path {name}: of {folder} only its own files are read, not the folders {', '.join(unread)} in it: name those as "
                "paths of their own"
            )
    return notes


def _places(given: Iterable[Any]) -> Iterator[str | Path]:
    """All files and folders that are named, also in lists."""
    for item in given:
        if isinstance(item, str | Path):
            yield item
        elif isinstance(item, Sequence):
            yield from _places(item)


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts step9 before step10."""
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", name)]


def _folders(folder: Path) -> dict[str, list[Source]]:
    if (mode_of(folder) or 0) & 0o170000 != 0o040000:
        raise LrscopeError(
            f"checkpoints: {folder} is no folder: name one that holds {' or '.join(SAFE + PICKLED)} files"
        )
    inside = _inside(folder)
    main, others = _files(folder), {p.name: _files(p) for p in inside}
    if main or not any(others.values()):
        return {MAIN: main, **others}
    alone = [_only(path) for path in inside]
    if None in alone:
        raise LrscopeError(
            f"checkpoints: {folder} holds none itself, but its folders do: pass folders by name, the main path first, such as "
            f'{{"main": "{inside[0]}"}}'
        )
    return {MAIN: [Source(path.name, one.read) for path, one in zip(inside, alone, strict=True) if one is not None]}


def _only(folder: Path) -> Source | None:
    """The checkpoint of a folder that holds one: its only file of safetensors (beside which optimizers may be kept), or its
    only file."""
    safe = [path for path in _listed(folder) if path.suffix in SAFE and path.is_file()]
    found = [_file(path) for path in safe] or _files(folder)
    return found[0] if len(found) == 1 else None


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not is_stray(path.name)]
    except OSError as error:
        raise read_error(error, folder) from error


def _inside(folder: Path) -> list[Path]:
    """The folders in a folder."""
    return sorted((p for p in _listed(folder) if p.is_dir()), key=lambda p: natural(p.name))


def _files(folder: Path) -> list[Source]:
    known = (p for p in _listed(folder) if p.suffix in SAFE + PICKLED and p.is_file())
    return [_file(path) for path in sorted(known, key=lambda p: natural(p.name))]


def _path(name: str, given: Any) -> list[Source]:
    if isinstance(given, str | Path):
        folder = local(given, "checkpoints")
        return [_file(folder)] if folder.is_file() else _folders(folder)[MAIN]
    if _is_state(given) or not isinstance(given, Sequence):
        raise LrscopeError(
            f"checkpoints: {name} is {shown(type(given).__name__)}: pass a folder, or a list of files or state dicts"
        )
    return [_one(item, number) for number, item in enumerate(given)]


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, Tensor) for v in value.values())


def _one(item: Any, number: int) -> Source:
    if isinstance(item, str | Path):
        return _file(local(item, "checkpoints"))
    if isinstance(item, Mapping):
        return Source(str(number), partial(_chosen, _unwrapped(item, f"checkpoint {number}")))
    hint = "pass Trained as the task for states of a sweep" if isinstance(item, State) else "pass model.state_dict()"
    raise LrscopeError(
        f"checkpoints: number {number} is {shown(type(item).__name__)}, no state dict and no file: {hint}"
    )


def _file(path: Path) -> Source:
    read = _safe if path.suffix in SAFE else _pickled
    if path.suffix not in SAFE + PICKLED:
        raise LrscopeError(
            f"checkpoints: {path} is none of {', '.join(SAFE + PICKLED)}: save a state dict in one of them"
        )
    return Source(path.stem, partial(read, path))


def _safe(path: Path, keys: Iterable[str] | None) -> dict[str, Tensor]:
    try:
        check_readable(path)
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in (file.keys() if keys is None else keys)}
    except (SafetensorError, ValueError) as error:
        raise LrscopeError(
            f"checkpoints: {path} is damaged or no safetensors file ({first_line(error)}): leave it out"
        ) from error
    except OSError as error:
        raise read_error(error, path) from error


def _pickled(path: Path, keys: Iterable[str] | None) -> dict[str, Tensor]:
    """Tensors of a file that `torch.save` wrote; mapped into memory where the file's form allows, so that few are read."""
    try:
        check_readable(path)
        try:
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # the form before PyTorch 1.6
            held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise read_error(error, path) from error
    except Exception as error:  # an unpickler meets what a file holds
        raise LrscopeError(
            f"checkpoints: {path} holds more than tensors, or is damaged ({first_line(error)[:90]}): save "
            "model.state_dict() alone, since other objects could run code when loaded"
        ) from error
    return _chosen(_unwrapped(held, str(path)), keys)


def _unwrapped(held: Any, label: str) -> dict[str, Tensor]:
    """A state dict, or the one that a dictionary of a training loop holds."""
    for name in INSIDE:
        if isinstance(held, Mapping) and _is_state(held.get(name, {})):
            return _tensors(held[name])
    if not _is_state(held):
        raise LrscopeError(
            f"checkpoints: {label} is no state dict: save model.state_dict(), alone or as one of {', '.join(INSIDE)}"
        )
    return _tensors(held)


def _tensors(held: Mapping[str, Any]) -> dict[str, Tensor]:
    return {str(key): value.detach() for key, value in held.items() if isinstance(value, Tensor)}


def _chosen(tensors: dict[str, Tensor], keys: Iterable[str] | None) -> dict[str, Tensor]:
    return tensors if keys is None else {key: tensors[key] for key in keys}
