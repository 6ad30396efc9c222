"""Whether a checkpoint's state fits the monitor that is to load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrscope.errors import LrscopeError

VERSION = 3  # 2 counts losses, 3 has the spacing of measurements


def check_state(state: Mapping[str, Any], every: int | None, *, averaged: bool) -> None:
    """Refuse what no monitor of this version made, or one with other options.

    Raises:
        LrscopeError: says which option to make the monitor with.
    """
    if state.get("version") != VERSION:
        raise LrscopeError("state: it is not the state of a monitor of this version: pass what state_dict() returned")
    if state["every"] != every:
        raise LrscopeError(f"every: the state was measured with every={state['every']}: make the monitor with that")
    wanted = state["average"] is not None
    if wanted != averaged:
        raise LrscopeError(f"look_ahead: the state was kept with {wanted}: make the monitor with look_ahead={wanted}")
