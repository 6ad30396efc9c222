"""Where a result comes from: the attributes that are stored with it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy
import torch
import xarray as xr

from lrscope import __version__
from lrscope.engine.adaptive_rounds import share
from lrscope.engine.context import Context
from lrscope.engine.plan import Plan
from lrscope.schema import SCHEMA_VERSION


def attributes(
    context: Context, plan: Plan, identity: dict[str, Any], command: str | None, seconds: float
) -> dict[str, Any]:
    """The attributes of a result (docs/schema.md)."""
    experiment = context.store.experiment() or {}
    summary = context.task.summary()
    versions = {
        "lrscope": __version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "xarray": xr.__version__,
        "python": platform.python_version(),
    }
    space = context.config.space
    rounds = {"trained_share": share(context)} if context.config.adaptive else {}
    return {
        "schema_version": SCHEMA_VERSION,
        "title": f"{summary['name']}, space {space}",
        "task": json.dumps(summary),
        "config": json.dumps(context.config.to_dict()),
        "config_hash": identity["hash"],
        "plan": json.dumps({**plan.to_dict(), "threads": 1, **rounds}),
        "space": space,
        "scale_invariant": int(context.net.scale_invariant),
        "device": str(context.device),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
        "versions": json.dumps(versions),
        "code_hash": code_hash(),
        "created": experiment.get("created", ""),
        "seconds": seconds,
        "command": command or experiment.get("command") or "lrscope.sweep(task, config=SweepConfig(...))",
    }


@functools.cache  # a process runs the code that it loaded, whatever becomes of the files
def code_hash() -> str:
    """A hash of the package's own source."""
    root = Path(__file__).parent.parent
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sha.update(path.relative_to(root).as_posix().encode())
        sha.update(path.read_bytes())
    return sha.hexdigest()[:16]
