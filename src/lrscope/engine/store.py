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
import json
import os
import socket
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor

from lrscope.engine.lease import Lease, owner_words
from lrscope.errors import LrscopeError
from lrscope.places import Remote, names
from lrscope.results import EXPERIMENT_FILE, PLAN_FILE, RESULTS_FOLDER, disk_error, has_result

DONE = ".done.safetensors"
CHECKPOINT = ".checkpoint.safetensors"
OWNER_FILE = "owner.json"
WRITING = ".writing"
SUM = "sha256"
WORKERS_LEAVE = 20.0  # ours, seconds: longer than any training step


def write_whole(path: Path | Remote, data: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one."""
    if isinstance(path, Remote):
        path.write_bytes(data)
        return
    staging = path.with_name(f"{path.name}.{os.getpid()}{WRITING}")
    try:
        with open(staging, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staging, path)
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise disk_error(error, path.parent) from error


def checksum(tensors: Mapping[str, Tensor], meta: str) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    sha = hashlib.sha256(meta.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def json_checksum(value: Mapping[str, Any]) -> str:
    """SHA-256 over JSON-ready values, whatever their order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


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
            lock = FileLock(self.folder / "lock")
            self._acquire(lock)
        except (FileExistsError, NotADirectoryError):
            raise LrscopeError(f"out: {self.folder} is not a folder: choose another --out") from None
        except OSError as error:
            raise disk_error(error, self.folder) from error
        with contextlib.suppress(LrscopeError):  # without it another process cannot say who is here; no reason to stop
            write_whole(self.folder / OWNER_FILE, json.dumps(_owner()).encode())
        return lock

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
            owner = json.loads((self.folder / OWNER_FILE).read_text())
        except (OSError, ValueError):
            owner = None
        return owner if isinstance(owner, dict) else {}

    @staticmethod
    def _is_ours(name: str) -> bool:
        return name in ("chunks", "lock", OWNER_FILE) or name.endswith(WRITING)

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
        """Keep a small file of the folder, whole or not at all."""
        content = {key: item for key, item in value.items() if key != SUM}
        text = json.dumps({**content, SUM: json_checksum(content)}, indent=1, sort_keys=True)
        write_whole(self.folder / name, (text + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The content; None if the file is absent, or damaged, which a warning says."""
        path = self.folder / name
        try:
            value = json.loads(path.read_text())
            if value.pop(SUM) == json_checksum(value):
                return dict(value)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, AttributeError, TypeError):
            pass
        warnings.warn(f"{path} is damaged; it is made anew from what the chunks know", stacklevel=2)
        return None

    def recovered(self) -> dict[str, Any] | None:
        """What the chunks know of the sweep: `identity` (the experiment's hash) and `plan`; None if there are none."""
        found: list[dict[str, Any]] = []
        for name in sorted(names(self.chunks)):
            saved = self.load(name) if name.endswith((DONE, CHECKPOINT)) else None
            if saved is not None and "identity" in saved[1]:
                found.append(saved[1])
        return max(found, key=lambda meta: len(meta["plan"]["replans"]), default=None)  # the plan as changed last

    @property
    def result(self) -> Path | Remote:
        """Where the assembled result lies."""
        return self.folder / RESULTS_FOLDER

    def is_finished(self) -> bool:
        """Is the assembled result there?"""
        return has_result(self.folder)

    # -- units of work ---------------------------------------------------------------------------------------------

    def units(self) -> tuple[set[str], set[str]]:
        """Units with a result, and units with a checkpoint, by one listing: nothing is opened. What turns out to be
        damaged when it is loaded counts as absent from then on."""
        there = names(self.chunks)
        done = {name.removesuffix(DONE) for name in there if name.endswith(DONE)}
        return done, {name.removesuffix(CHECKPOINT) for name in there if name.endswith(CHECKPOINT)}

    def is_done(self, unit: str) -> bool:
        """Is the unit's result on disk and whole? A damaged file is removed, so that the unit is computed again."""
        return self.load(unit + DONE) is not None

    def save(self, name: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Save tensors and JSON-ready meta under `name` (unit + DONE or CHECKPOINT) with a checksum."""
        arrays = {key: value.detach().cpu().clone() for key, value in tensors.items()}  # tensors may share memory
        text = json.dumps(meta, sort_keys=True)
        data = save(arrays, metadata={"meta": text, "sha256": checksum(arrays, text)})
        write_whole(self.chunks / name, data)

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors and meta under `name`; None if absent. A damaged file is named, removed and reported as absent."""
        path = self.chunks / name
        if isinstance(path, Path) and not path.exists():
            return None
        try:
            tensors, metadata = _tensors(path)
            if metadata["sha256"] != checksum(tensors, metadata["meta"]):
                raise ValueError("checksum")
            return tensors, json.loads(metadata["meta"])
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, ValueError, OSError):
            warnings.warn(f"{path} is damaged; it is computed again", stacklevel=2)
            path.unlink(missing_ok=True)
            return None

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


def _tensors(path: Path | Remote) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A safetensors file's tensors and what its header says beside them."""
    if isinstance(path, Path):
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118 - not a dict
    data = path.read_bytes()
    tensors = load_tensors(data)  # refuses a header that is damaged or too long
    length = int.from_bytes(data[:8], "little")
    return tensors, json.loads(data[8 : 8 + length]).get("__metadata__") or {}


def _owner() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def _is_dead(owner: Mapping[str, Any]) -> bool:
    """Did the owner run on this machine, and does it no longer?"""
    if owner.get("host") != socket.gethostname() or not isinstance(owner.get("pid"), int):
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's
        return False
    return False
