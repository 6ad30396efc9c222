"""A sweep's folder, local or on an object store: experiment, plan, finished chunks, checkpoints, the lock. Every file
is whole or absent.

experiment.json            resolved config and hash of what determines the numbers
plan.json                  how the runs are cut into chunks
rounds.json                what each round of an adaptive sweep trains
chunks/NAME.done.safetensors        finished arrays of a unit of work
chunks/NAME.checkpoint.safetensors  where an unfinished one goes on
results.zarr               the assembled result
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor

from lrscope.engine.plan import Plan
from lrscope.errors import LrscopeError
from lrscope.results import RESULTS_FOLDER, has_result
from lrscope.storage.files import (
    MOST_JSON,
    WRITING,
    check_readable,
    disk_error,
    kind,
    mode_of,
    parse_json,
    read_error,
    read_json,
    read_whole,
    write_whole,
)
from lrscope.storage.locks import Lease, owner_words
from lrscope.storage.paths import Remote, names, rename
from lrscope.storage.records import EXPERIMENT_FILE, PLAN_FILE, content, sealed
from lrscope.terminal import warn

DONE = ".done.safetensors"
CHECKPOINT = ".checkpoint.safetensors"
OWNER_FILE = "owner.json"
ROUNDS_FILE = "rounds.json"
FILES = (EXPERIMENT_FILE, PLAN_FILE, ROUNDS_FILE, OWNER_FILE, "lock")
FOLDERS = ("chunks", RESULTS_FOLDER, RESULTS_FOLDER + WRITING)
DAMAGED, FOREIGN = ".damaged", ".foreign"  # endings, with a number, of what was set aside
WORKERS_LEAVE = 20.0  # ours, seconds: longer than any training step


def checksum(tensors: Mapping[str, Tensor], meta: str) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    sha = hashlib.sha256(meta.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


class Store:
    """The folder of one sweep. Holds nothing but its place, so that it may be sent to workers elsewhere."""

    def __init__(self, folder: Path | Remote) -> None:
        self.folder = folder
        self.chunks = folder / "chunks"

    def lock(self) -> FileLock | Lease:
        """Take the folder for this process. On a local one the operating system frees it when the process dies; on an
        object store the next process does, when it has seen no sign of life for a while.

        Refuses what cannot be written, holds something else, or is in use.
        """
        if isinstance(self.folder, Remote):
            self._refuse_strangers(self.folder)
            return Lease(self.folder / "lock", self.folder).acquire()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._refuse_strangers(self.folder)
            self._refuse_odd(self.folder)
            lock = FileLock(self.folder / "lock")
            self._acquire(lock)
        except (FileExistsError, NotADirectoryError):
            raise LrscopeError(f"out: {self.folder} is not a folder: choose another --out") from None
        except OSError as error:
            raise disk_error(error, self.folder) from error
        with contextlib.suppress(LrscopeError):  # without it another process cannot say who is here; no reason to stop
            write_whole(self.folder / OWNER_FILE, json.dumps(_owner()).encode())
        return lock

    @staticmethod
    def _refuse_odd(folder: Path) -> None:
        """Refuse a pipe, a link or a folder where a file is kept and the reverse, before anything is trained."""
        for name in (*FILES, *FOLDERS):
            mode = mode_of(folder / name, follow=False)
            if mode is not None and not (stat.S_ISDIR if name in FOLDERS else stat.S_ISREG)(mode):
                kept = "a folder" if name in FOLDERS else "a file"
                raise LrscopeError(
                    f"out: {folder / name} is {kind(mode)} where lrscope keeps {kept}: move it away, or choose another --out"
                )

    def _refuse_strangers(self, folder: Path | Remote) -> None:
        there = names(folder)
        strangers = sorted(name for name in there if not self._is_ours(name))
        if strangers and EXPERIMENT_FILE not in there:
            raise LrscopeError(
                f"out: {folder} holds other files ({', '.join(strangers[:3])}) and no lrscope result: "
                "choose an empty or new folder"
            )

    def _acquire(self, lock: FileLock) -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            try:  # workers of a killed process hold its lock until they notice, a training step later
                lock.acquire(timeout=WORKERS_LEAVE if _is_dead(self._holder()) else 0)
            except Timeout:
                owner = self._holder()
                raise LrscopeError(
                    f"out: {self.folder} is in use by {owner_words(owner)}: "
                    "wait for it to end, stop it, or choose another --out"
                ) from None

    def _holder(self) -> dict[str, Any]:
        """What the last process to take the lock said of itself."""
        try:
            owner = read_json(self.folder / OWNER_FILE)
        except (FileNotFoundError, LrscopeError, ValueError):
            owner = None
        return owner if isinstance(owner, dict) else {}

    @staticmethod
    def _is_ours(name: str) -> bool:
        return name in ("chunks", "lock", OWNER_FILE) or name.endswith(WRITING) or DAMAGED in name

    def create(self) -> None:
        """Make the folder of chunks; remove what a killed process left half written. Only the lock's holder may."""
        if isinstance(self.folder, Remote) or isinstance(self.chunks, Remote):
            return  # no folders there, and nothing half written
        try:
            self.chunks.mkdir(parents=True, exist_ok=True)
            for path in (*self.folder.glob("*.json.*" + WRITING), *self.chunks.glob("*" + WRITING)):
                path.unlink()
        except OSError as error:
            raise disk_error(error, self.folder) from error

    # -- the experiment and its plan -------------------------------------------------------------------------------

    def experiment(self) -> dict[str, Any] | None:
        """What this folder was made for, or None if it is new."""
        return self.read_json(EXPERIMENT_FILE)

    def plan(self) -> dict[str, Any] | None:
        """The plan that was chosen, or None."""
        return self.read_json(PLAN_FILE)

    def write_experiment(self, value: Mapping[str, Any]) -> None:
        """Keep what this folder is for."""
        self.write_json(EXPERIMENT_FILE, value)

    def write_plan(self, value: Mapping[str, Any]) -> None:
        """Keep the plan; it is followed from now on."""
        self.write_json(PLAN_FILE, value)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a small file of the folder, whole or not at all. A damaged one is kept beside it, under another name."""
        path = self.folder / name
        with contextlib.suppress(FileNotFoundError):
            old = read_whole(path, MOST_JSON)
            if content(name, old) is None:  # copied, not renamed: a kill in between must not leave a folder without it
                aside = _free_name(path, DAMAGED)
                write_whole(self.folder / aside, old)
                warn(f"{path} was damaged; what was in it is kept as {aside}")
        write_whole(path, sealed(value))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The content; None if the file is absent, or damaged, which a warning says."""
        path = self.folder / name
        try:
            value = content(name, read_whole(path, MOST_JSON))
        except FileNotFoundError:
            return None
        if value is None:
            warn(f"{path} is damaged; it is made anew from what the chunks know")
        return value

    def recovered(self) -> dict[str, Any] | None:
        """What the chunks know of the sweep: `identity` (the experiment's hash) and `plan`; None if there are none."""
        found: list[dict[str, Any]] = []
        for name in sorted(names(self.chunks)):
            saved = self.load(name) if name.endswith((DONE, CHECKPOINT)) else None
            if saved is None or not isinstance(saved[1].get("identity"), str):
                continue
            with contextlib.suppress(LrscopeError):  # a stranger's: it says so when it is to be used
                Plan.from_dict(saved[1].get("plan"))
                found.append(saved[1])
        return max(found, key=lambda meta: len(meta["plan"]["replans"]), default=None)  # the plan as changed last

    @property
    def result(self) -> Path | Remote:
        """Where the assembled result lies."""
        return self.folder / RESULTS_FOLDER

    def is_finished(self) -> bool:
        """Is the assembled result there?"""
        return has_result(self.folder)

    def keep_damaged_result(self) -> None:
        """Rename a damaged result where no finished unit is left from which it could be put together again."""
        if (
            isinstance(self.result, Path)
            and self.is_finished()
            and not any(n.endswith(DONE) for n in names(self.chunks))
        ):
            warn(f"{self.result} is kept as {self._rename_aside(self.result, DAMAGED)}")

    # -- units of work ---------------------------------------------------------------------------------------------

    def units(self) -> tuple[set[str], set[str]]:
        """Units with a result, and units with a checkpoint, by one listing: nothing is opened. What turns out to be
        damaged when it is loaded counts as absent from then on."""
        there = names(self.chunks)
        done = {name.removesuffix(DONE) for name in there if name.endswith(DONE)}
        return done, {name.removesuffix(CHECKPOINT) for name in there if name.endswith(CHECKPOINT)}

    def is_done(self, unit: str) -> bool:
        """Is the unit's result on disk and whole? A damaged file is set aside, so that the unit is computed again."""
        return self.load(unit + DONE) is not None

    def save(self, name: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Save tensors and JSON-ready meta under `name` (unit + DONE or CHECKPOINT) with a checksum."""
        arrays = _apart(tensors)
        text = json.dumps(meta, sort_keys=True)
        data = save(arrays, metadata={"meta": text, "sha256": checksum(arrays, text)})
        write_whole(self.chunks / name, data)

    def load(self, name: str, most: int | None = None) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors and meta under `name`; None if absent. A file whose checksum is wrong, or which is longer than `most`
        bytes, is named, set aside and reported as absent.

        Raises:
            LrscopeError: it is no regular file or cannot be read, which is no proof of damage: it stays where it is.
        """
        path = self.chunks / name
        try:
            tensors, metadata = _tensors(path, most)
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError):
            tensors, metadata = {}, {}
        meta = metadata.get("meta", "")
        if metadata.get("sha256") != checksum(tensors, meta):
            self.set_aside(name, DAMAGED)
            warn(f"{path} is damaged; it is computed again")
            return None
        with contextlib.suppress(ValueError):
            if isinstance(known := parse_json(meta), dict):
                return tensors, known
        return tensors, {}  # made by somebody else: whoever uses it finds nothing that fits

    def set_aside(self, name: str, ending: str) -> str:
        """Rename a file of the chunks, out of the way and not deleted; returns its new name."""
        return self._rename_aside(self.chunks / name, ending)

    @staticmethod
    def _rename_aside(path: Path | Remote, ending: str) -> str:
        aside = _free_name(path, ending)
        try:
            rename(path, aside)
        except FileNotFoundError:  # another process was faster
            return aside
        except OSError as error:
            raise disk_error(error, path.parent) from error
        return aside

    def forget_plan(self, units: Iterable[str]) -> None:
        """Remove the plan, and these finished units, which hold it too."""
        (self.folder / PLAN_FILE).unlink(missing_ok=True)
        for unit in units:
            (self.chunks / (unit + DONE)).unlink(missing_ok=True)

    def forget_result(self, unit: str) -> None:
        """Remove a unit's result once a checkpoint that takes its place is on disk."""
        (self.chunks / (unit + DONE)).unlink(missing_ok=True)

    def forget_checkpoint(self, unit: str) -> None:
        """Remove a unit's checkpoint once its result is on disk."""
        (self.chunks / (unit + CHECKPOINT)).unlink(missing_ok=True)


def _free_name(path: Path | Remote, ending: str) -> str:
    """A name beside `path` that nothing has yet."""
    taken = names(path.parent)
    return next(name for i in itertools.count(1) if (name := f"{path.name}{ending}-{i}") not in taken)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors on the CPU, contiguous, no two in the same memory; copied only where they must be."""
    found: dict[str, Tensor] = {}
    taken: set[int] = set()
    for key, value in tensors.items():
        one = value.detach().cpu().contiguous()
        at = one.untyped_storage().data_ptr()
        found[key] = one.clone() if at in taken else one
        taken.add(at)
    return found


def _tensors(path: Path | Remote, most: int | None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A safetensors file's tensors and what its header says beside them.

    Raises:
        FileNotFoundError: there is none.
        SafetensorError, ValueError: its structure is damaged, or it is longer than `most` bytes.
        LrscopeError: it cannot be read.
    """
    if isinstance(path, Path):
        check_readable(path)
        try:
            if most is not None and path.stat().st_size > most:
                raise ValueError("too long")
            if _is_unicode(path):
                with safe_open(path, framework="pt") as file:
                    tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
                    return tensors, file.metadata() or {}
        except FileNotFoundError:
            raise
        except OSError as error:
            raise read_error(error, path) from error
    data = read_whole(path)
    tensors = load_tensors(data)  # refuses a header that is damaged or too long
    length = int.from_bytes(data[:8], "little")
    return tensors, parse_json(data[8 : 8 + length]).get("__metadata__") or {}


def _is_unicode(path: Path) -> bool:
    """Can the path be handed to a library that takes Unicode only?"""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _owner() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def _is_dead(owner: Mapping[str, Any]) -> bool:
    """Did the owner run on this machine, and does it no longer?"""
    pid = owner.get("pid")
    if owner.get("host") != socket.gethostname() or not isinstance(pid, int) or not 0 < pid < 1 << 31:
        return False
    return not psutil.pid_exists(pid)
