"""lrscope: which learning rate, and when do I lower it?

Importing this package imports no PyTorch; the names below load what they need on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lrscope._version import __version__

if TYPE_CHECKING:
    from lrscope.config import EngineConfig, SweepConfig
    from lrscope.engine.sweep import sweep
    from lrscope.errors import LrscopeError
    from lrscope.grids import log_grid
    from lrscope.mapping import RegimeMap, regimes
    from lrscope.reporting import report, save_figures
    from lrscope.results import open_result
    from lrscope.tasks.named import named_task
    from lrscope.tasks.task import Task
    from lrscope.trained import Trained

_HOMES = {
    "EngineConfig": "lrscope.config",
    "LrscopeError": "lrscope.errors",
    "RegimeMap": "lrscope.mapping",
    "SweepConfig": "lrscope.config",
    "Task": "lrscope.tasks.task",
    "Trained": "lrscope.trained",
    "log_grid": "lrscope.grids",
    "named_task": "lrscope.tasks.named",
    "open_result": "lrscope.results",
    "regimes": "lrscope.mapping",
    "report": "lrscope.reporting",
    "save_figures": "lrscope.reporting",
    "sweep": "lrscope.engine.sweep",
}

__all__ = [
    "EngineConfig",
    "LrscopeError",
    "RegimeMap",
    "SweepConfig",
    "Task",
    "Trained",
    "__version__",
    "log_grid",
    "named_task",
    "open_result",
    "regimes",
    "report",
    "save_figures",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lrscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
