"""A lock where there is no operating system to keep it: on an object store.

`lock/NUMBER.json` says who holds it and carries a counter that the owner raises while it lives. The highest number is the
holder's. Whoever wants the lock watches the counter for `PATIENCE` seconds of its own clock; no clocks of two machines
are ever compared. A counter that stood still belongs to a dead owner: the next number is made by a conditional
write, which only one of several succeeds in. An owner that was only asleep finds the higher number and stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from functools import cache
from typing import Any

from lrscope.errors import LrscopeError
from lrscope.storage.paths import Remote

HEARTBEAT = 5.0  # ours, seconds: 17,000 small writes a day, and a live owner is recognised within it
PATIENCE = 30.0  # ours, seconds: six heartbeats may fail before an owner counts as dead

_talking = threading.Lock()  # held while a lease's thread talks to the store: a fork in the middle would copy its locks


@cache
def _guard_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_talking.acquire, after_in_parent=_talking.release, after_in_child=_talking.release)


def owner_words(owner: Mapping[str, Any]) -> str:
    """`process 12 on host a`, as messages name an owner."""
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"


class Lease:
    """Held from `acquire` to `release`; a thread keeps it alive.

    Args:
        folder: where the numbers lie.
        of: what is locked, for messages.
    """

    def __init__(self, folder: Remote, of: Remote) -> None:
        self.folder, self.of = folder, of
        self.number = 0
        self._owner = {"pid": os.getpid(), "host": socket.gethostname(), "id": uuid.uuid4().hex}
        self._counter = 0
        self._done = threading.Event()
        self._lost: dict[str, Any] | None = None
        self._thread: threading.Thread | None = None

    # -- taking --------------------------------------------------------------------------------------------------------

    def acquire(self) -> Lease:
        """Take the lock.

        Raises:
            LrscopeError: a live process holds it.
        """
        before = self._highest()
        if before:
            self._wait_for_life(before)
        self.number = before + 1
        if not self._file(self.number).create(self._content()):
            raise self._in_use(self._read(self.number))
        if (after := self._highest()) > self.number:  # others came and went between our look and our write
            self._file(self.number).unlink(missing_ok=True)
            raise self._in_use(self._read(after))
        for number in self._numbers():
            if number < self.number:
                self._file(number).unlink(missing_ok=True)
        _guard_forks()
        self._thread = threading.Thread(target=self._live, name="lease", daemon=True)
        self._thread.start()
        return self

    def _wait_for_life(self, number: int) -> None:
        """Return once the holder of `number` is dead or has let go."""
        first = self._read(number)
        begun = time.monotonic()
        while first and time.monotonic() - begun < PATIENCE:
            time.sleep(HEARTBEAT / 5)
            now = self._read(number)
            if not now:
                return
            if now != first:
                raise self._in_use(now)

    def _in_use(self, owner: Mapping[str, Any]) -> LrscopeError:
        return LrscopeError(
            f"out: {self.of} is in use by {owner_words(owner)}: wait for it to end, stop it, or choose another --out"
        )

    # -- holding -------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise if another process took the lock over, because this one seemed dead for `PATIENCE` seconds."""
        if self._lost is not None:
            raise LrscopeError(
                f"out: {self.of} was taken over by {owner_words(self._lost)} while this process gave no sign of life: "
                "let that one finish; everything done here is kept"
            )

    def _live(self) -> None:
        while not self._done.wait(HEARTBEAT):
            with _talking, contextlib.suppress(LrscopeError):  # a store that does not answer may do so next time
                if self._done.is_set():
                    return
                if (highest := self._highest()) > self.number:
                    self._lost = self._read(highest)
                    return
                self._counter += 1
                self._file(self.number).write_bytes(self._content())

    def release(self) -> None:
        """Let go; a store that does not answer is left to the next one's patience."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(LrscopeError):
            self._file(self.number).unlink(missing_ok=True)

    # -- files ---------------------------------------------------------------------------------------------------------

    def _file(self, number: int) -> Remote:
        return self.folder / f"{number:06d}.json"

    def _numbers(self) -> list[int]:
        stems = (name.removesuffix(".json") for name in self.folder.names())
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def _highest(self) -> int:
        return max(self._numbers(), default=0)

    def _content(self) -> bytes:
        return json.dumps({**self._owner, "counter": self._counter}).encode()

    def _read(self, number: int) -> dict[str, Any]:
        """What the owner of `number` last wrote; empty if it let go."""
        try:
            value = json.loads(self._file(number).read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            return {"damaged": True}
        return value if isinstance(value, dict) else {"damaged": True}
