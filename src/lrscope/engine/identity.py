"""The identity of a sweep, and the hash by which its folder knows it (`lrscope.config.identity` has the rule)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable
from typing import Any

from lrscope.config import SweepConfig
from lrscope.config.identity import hash_of
from lrscope.engine.sweep_folder import Store
from lrscope.results import open_result
from lrscope.storage.checksums import Damaged
from lrscope.tasks.task import Task


def identity_of(task: Task, config: SweepConfig, stated: Iterable[Any] = ()) -> dict[str, Any]:
    """What determines the numbers; equal identities may share a folder.

    Args:
        stated: the hashes that the folder states, if any: one that is this sweep's, as earlier versions wrote it too, is kept.
    """
    fingerprint = task.fingerprint(config.draws)
    return {"task": fingerprint, "config": config.to_dict(), "hash": hash_of(fingerprint, config, stated)}


def stated(store: Store) -> list[Any]:
    """The hash of the folder's sweep as experiment.json states it, if it does."""
    with warnings.catch_warnings(action="ignore"):  # said once the folder is locked
        there = store.experiment()
    return [] if there is None else [there.get("hash")]


def hash_there(store: Store, fingerprint: str, config: SweepConfig) -> str:
    """The hash by which the folder knows the sweep of `config`. Where experiment.json is damaged, its result and its chunks
    tell."""
    found = stated(store)
    if not found:
        with warnings.catch_warnings(action="ignore"), contextlib.suppress(Damaged):
            if store.is_finished():
                found.append(open_result(store.folder).attrs["config_hash"])
        known = store.recovered()
        if known is not None:
            found.append(known["identity"])
    return hash_of(fingerprint, config, found)
