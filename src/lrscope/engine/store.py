"""A sweep's folder on disk: experiment, plan, finished chunks, checkpoints, the lock. Every file is whole or absent.

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
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lrscope.errors import LrscopeError
from lrscope.results import EXPERIMENT_FILE, PLAN_FILE, RESULTS_FOLDER, disk_error

DONE = ".done.safetensors"
CHECKPOINT = ".checkpoint.safetensors"
OWNER_FILE = "owner.json"
WRITING = ".writing"
SUM = "sha256"
WORKERS_LEAVE = 20.0  # ours, seconds: longer than any training step


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one."""
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
    """The folder of one sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chunks = folder / "chunks"

    def lock(self) -> FileLock:
        """Take the folder for this process; the operating system frees it when the process dies.

        Refuses what cannot be written, holds something else, or is in use.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            strangers = sorted(p.name for p in self.folder.iterdir() if not self._is_ours(p.name))
            if strangers and not (self.folder / EXPERIMENT_FILE).exists():
                raise LrscopeError(
                    f"out: {self.folder} holds other files ({', '.join(strangers[:3])}) and no lrscope result: "
                    "choose an empty or new folder"
                )
            lock = FileLock(self.folder / "lock")
            self._acquire(lock)
        except (FileExistsError, NotADirectoryError):
            raise LrscopeError(f"out: {self.folder} is not a folder: choose another --out") from None
        except OSError as error:
            raise disk_error(error, self.folder) from error
        with contextlib.suppress(LrscopeError):  # without it another process cannot say who is here; no reason to stop
            write_whole(self.folder / OWNER_FILE, json.dumps(_owner()).encode())
        return lock

    def _acquire(self, lock: FileLock) -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            try:  # workers of a killed process hold its lock until they notice, a training step later
                lock.acquire(timeout=WORKERS_LEAVE if _is_dead(self._holder()) else 0)
            except Timeout:
                owner = self._holder()
                raise LrscopeError(
                    f"out: {self.folder} is in use by process {owner.get('pid', '?')} on {owner.get('host', '?')}: "
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
        if not path.exists():
            return None
        try:
            value = json.loads(path.read_text())
            if value.pop(SUM) == json_checksum(value):
                return dict(value)
        except (ValueError, KeyError, AttributeError, TypeError):
            pass
        warnings.warn(f"{path} is damaged; it is made anew from what the chunks know", stacklevel=2)
        return None

    def recovered(self) -> dict[str, Any] | None:
        """What the chunks know of the sweep: `identity` (the experiment's hash) and `plan`; None if there are none."""
        found: list[dict[str, Any]] = []
        for path in sorted(self.chunks.glob("*.safetensors")):
            saved = self.load(path.name)
            if saved is not None and "identity" in saved[1]:
                found.append(saved[1])
        return max(found, key=lambda meta: len(meta["plan"]["replans"]), default=None)  # the plan as changed last

    @property
    def result(self) -> Path:
        """Where the assembled result lies."""
        return self.folder / RESULTS_FOLDER

    # -- units of work ---------------------------------------------------------------------------------------------

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
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            if metadata["sha256"] != checksum(tensors, metadata["meta"]):
                raise ValueError("checksum")
            return tensors, json.loads(metadata["meta"])
        except (SafetensorError, KeyError, ValueError, OSError):
            warnings.warn(f"{path} is damaged; it is computed again", stacklevel=2)
            path.unlink(missing_ok=True)
            return None

    def forget_checkpoint(self, unit: str) -> None:
        """Remove a unit's checkpoint once its result is on disk."""
        (self.chunks / (unit + CHECKPOINT)).unlink(missing_ok=True)

    def forget_other_checkpoints(self, units: Collection[str]) -> None:
        """Remove checkpoints that no unit to do goes on from: what a kill between two steps of a re-plan left."""
        for path in self.chunks.glob("*" + CHECKPOINT):
            if path.name.removesuffix(CHECKPOINT) not in units:
                path.unlink()


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
