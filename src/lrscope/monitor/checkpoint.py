"""A monitor's state in a checkpoint: what it holds, whether it fits the monitor that is to load it, and loading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lrscope.errors import LrscopeError
from lrscope.monitor.curve import Early
from lrscope.monitor.history import read, stated
from lrscope.monitor.types import Group, LiveRegime, LookAhead

if TYPE_CHECKING:
    from lrscope.monitor.monitor import Monitor

VERSION = 4  # 2 counts losses, 4 keeps those of the first updates one by one


def state_of(monitor: Monitor) -> dict[str, Any]:
    """Tensors, numbers and names. What was computed on a device must have been read."""
    return {
        "version": VERSION,
        "every": monitor.every,
        "before": None if monitor._before is None else asdict(monitor._before),
        "counts": [monitor.updates, monitor.calls, monitor.skipped, *monitor._since],
        "scale": monitor._scale,
        "direct": monitor._direct,
        "first": monitor._first,
        "groups": [asdict(group) for group in monitor.groups],
        "history": monitor.history.state(),
        "early": None if monitor.early is None else monitor.early.state(),
        "waiting": stated(monitor._waiting),
        "logged": monitor._logged,
        "losses": monitor.losses.state(),
        "snapshot": monitor.snapshot.state(),
        "average": None if monitor.average is None else monitor.average.state(),
        "ahead": None if monitor.ahead is None else asdict(monitor.ahead),
    }


def load(monitor: Monitor, state: Mapping[str, Any]) -> None:
    """The inverse of `state_of`."""
    monitor.updates, monitor.calls, monitor.skipped, *monitor._since = state["counts"]
    monitor._before = None if state["before"] is None else LiveRegime(**state["before"])
    monitor._scale, monitor._direct, monitor._first = state["scale"], state["direct"], state["first"]
    monitor.groups = [Group(**{**told, "tensors": tuple(told["tensors"])}) for told in state["groups"]]
    monitor._held = []  # so that they are looked at anew
    monitor._look_at_tensors()
    monitor.history.load(state["history"])
    monitor.early = None if state["early"] is None else Early.of(state["early"])
    monitor._waiting, monitor._logged = read(state["waiting"]), state["logged"]
    monitor.losses.load(state["losses"])
    monitor.snapshot.load(state["snapshot"], monitor._found)
    if monitor.average is not None:
        monitor.average.load(state["average"], monitor._found)
    monitor.ahead = None if state["ahead"] is None else LookAhead(**state["ahead"])
    monitor._pending = monitor._used = monitor._told = None


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
