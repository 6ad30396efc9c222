"""A sweep by the plan by which it was trained before, elsewhere: on the same kind of processor its arrays are then the same to
the byte. A plan that is chosen by timing may be another each time, and chaotic runs differ between plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from lrscope.config.identity import hashes
from lrscope.engine.choose import can_compile, check_fits, choose_plan
from lrscope.engine.context import Context
from lrscope.engine.dispatch import single_threaded
from lrscope.engine.plan import Plan
from lrscope.errors import LrscopeError

MEASURED = ("chosen", "run_step_seconds")  # the fields of a plan that say how it was found, not what is done


class NotFollowed(LrscopeError):
    """Why a plan cannot be followed here."""


def named(attrs: Mapping[Any, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """What a record has to say of a sweep so that it can be trained by the same plan again.

    Args:
        attrs: of its result.
        plan: the plan in there, read.
    """
    done = {name: plan[name] for name in (f.name for f in fields(Plan)) if name in plan and name not in MEASURED}
    return {"config_hash": attrs["config_hash"], "device": attrs["device"], "steps_of_plan": done}


def follow_or_choose(context: Context, jobs: int, *, record: Mapping[str, Any], tell: Callable[[str], None]) -> Plan:
    """The plan that a record names (`named`), or the fastest one after telling why not."""
    try:
        return _followed(context, record, jobs)
    except NotFollowed as reason:
        tell(f"the plan that the evidence names is not followed, a plan is timed: {reason}")
        return choose_plan(context, jobs)


def _followed(context: Context, record: Mapping[str, Any], jobs: int) -> Plan:
    """
    Raises:
        NotFollowed: the record is of another sweep or another kind of device, or the plan cannot be carried out here.
    """
    if record.get("config_hash") not in hashes(context.task.fingerprint(context.config.draws), context.config):
        raise NotFollowed("it is of another configuration, or of other data")
    if "steps_of_plan" not in record:
        raise NotFollowed("the evidence is of an earlier version, which did not keep all of it")
    there, here = str(record.get("device")).partition(":")[0], context.device.type
    if there != here:
        raise NotFollowed(f"it is for {there}, and this is {here}")
    plan = _read(record["steps_of_plan"])
    _check_asked(context, plan)
    if plan.replans:
        raise NotFollowed("it was changed while the sweep was trained, because memory ran out")
    try:
        check_fits(context, plan, jobs)
    except LrscopeError as error:
        raise NotFollowed(str(error)) from error
    if plan.compiled:
        _compile(context, plan)
    return plan


def _read(steps: Any) -> Plan:
    try:
        return Plan.from_dict({**steps, "chosen": "named by the evidence", "run_step_seconds": 0.0})
    except (LrscopeError, TypeError) as error:
        raise NotFollowed("it is of a newer version of lrscope") from error


def _check_asked(context: Context, plan: Plan) -> None:
    """What the user asked for goes first."""
    engine, runs = context.engine, context.config.seeds * len(context.config.lrs)
    asked = {
        "path": engine.path in ("auto", plan.path),
        "chunk": engine.chunk is None or min(engine.chunk, runs) == plan.chunk,
        "compile": engine.compile in (None, plan.compiled),
    }
    other = [name for name, fits in asked.items() if not fits]
    if other:
        raise NotFollowed(f"another {other[0]} is asked for")


def _compile(context: Context, plan: Plan) -> None:
    """Make the plan's programs, all of them."""
    if not can_compile(context.device):
        raise NotFollowed("its steps are compiled, and there is no compiler here")
    try:
        with single_threaded(context.device):
            _, lost = context.warm(plan)
    except LrscopeError as error:
        raise NotFollowed(f"its compiled steps cannot be made here ({error.__cause__ or error})") from error
    if lost:
        raise NotFollowed(f"{', '.join(lost)} cannot be compiled here ({next(iter(lost.values()))})")
