"""The arguments of `sweep`: options into configs, and everything that is no option checked at the door."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any

from lrscope.config import EngineConfig, SweepConfig, option
from lrscope.dynamics.optimizers import OPTIMIZERS, OWN
from lrscope.dynamics.own_schedule import check_given
from lrscope.engine.progress import Progress
from lrscope.errors import LrscopeError, shown
from lrscope.hints import no_such_option
from lrscope.readers import either
from lrscope.tasks.task import Task
from lrscope.terminal import warn


def resolve(
    lrs: Any,
    config: SweepConfig | None,
    engine: EngineConfig | None,
    options: Mapping[str, Any],
    batch_size: int | None = None,
    own_optimizer: bool = False,
) -> tuple[SweepConfig, EngineConfig]:
    """The configs that the arguments of `sweep` make.

    batch_size: the task's own (`Task.batch_size`), which stands where the options name none. A whole config that
        differs from it counts, with a warning.
    own_optimizer: has the task an optimizer of its own (`Task.optimizer`)? It stands where the options name none.

    Raises:
        LrscopeError: an unknown option, one that is given twice, a value that cannot be used.
    """
    ours, theirs = option.options(SweepConfig), option.options(EngineConfig)
    for name in options:
        if name not in OPTIONS:
            raise LrscopeError(f"{name}: there is no such option of sweep: {no_such_option(name, SWEEP_ARGUMENTS)}")
    _check_kind("config", config, SweepConfig)
    _check_kind("engine", engine, EngineConfig)
    given = dict(options) if lrs is None else {"lrs": lrs, **options}
    for holder, known, whole in (("config", ours, config), ("engine", theirs, engine)):
        twice = [name for name in given if name in known]
        if whole is not None and twice:
            raise LrscopeError(f"{twice[0]}: passed both directly and in `{holder}`: pass only one of them")
    if config is None:
        if lrs is None:
            raise LrscopeError(
                "lrs: no learning rates given: pass log_grid(1e-4, 1, 24), its text 1e-4:1:24, or a list"
            )
        own: dict[str, Any] = {} if batch_size is None else {"batch_size": batch_size}
        own |= {"optimizer": OWN} if own_optimizer else {}
        config = SweepConfig(**{**own, **{name: value for name, value in given.items() if name in ours}})
    elif batch_size is not None and config.batch_size != batch_size:
        warn(
            f"batch_size: the config says {config.batch_size}, the train loader {batch_size}; the config counts. Give both the "
            "same, or pass options instead of a config",
        )
    _check_own_optimizer(config, own_optimizer)
    for schedule in (config.schedule, *(each for branch in config.branches for each in branch.schedules)):
        check_given(schedule)
    if engine is None:
        engine = EngineConfig(**{name: value for name, value in given.items() if name in theirs})
    return config, engine


def _check_own_optimizer(config: SweepConfig, given: bool) -> None:
    if given and config.optimizer != OWN:
        raise LrscopeError(
            f"optimizer: the task has one of its own, and {config.optimizer} is asked for: say optimizer='task' to train with "
            "the task's, or use a Task without one"
        )
    if not given and config.optimizer == OWN:
        raise LrscopeError(
            "optimizer: 'task' is asked for, but the task has none of its own: pass "
            "lrscope.Task(..., optimizer=lambda params, lr: torch.optim.NAdam(params, lr)), or choose "
            f"{either(tuple(OPTIMIZERS))}"
        )


def _check_kind(name: str, value: Any, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise LrscopeError(
            f"{name}: {shown(value)} is not a {kind.__name__}: pass lrscope.{kind.__name__}(...), or options"
        )


def check_task(task: Any) -> None:
    """Refuse what is not a task."""
    if not isinstance(task, Task):
        raise LrscopeError(
            f"task: {shown(task)} is not a Task: pass lrscope.Task(model=..., train=..., test=...) or lrscope.named_task(...)"
        )


def check_progress(progress: Any) -> None:
    """Refuse what is neither a switch nor an object with the methods of `Progress`."""
    methods = [name for name, value in vars(Progress).items() if inspect.isfunction(value) and not name.startswith("_")]
    if not isinstance(progress, bool) and not all(callable(getattr(progress, name, None)) for name in methods):
        raise LrscopeError(
            f"progress: {shown(progress)} is neither True nor False nor an object with {', '.join(methods)}: pass one of them"
        )


def signature_with_options(function: Callable[..., Any]) -> inspect.Signature:
    """The function's signature with every option of `SweepConfig` and `EngineConfig` instead of `**options`."""
    own = inspect.signature(function)
    named = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    made = [
        inspect.Parameter(o.name, inspect.Parameter.KEYWORD_ONLY, default=o.default, annotation=o.type)
        for o in OPTIONS.values()
        if o.default is not MISSING
    ]
    return own.replace(parameters=named + made)


OPTIONS = {**option.options(SweepConfig), **option.options(EngineConfig)}
SWEEP_ARGUMENTS = (*dict.fromkeys(("lrs", "config", "engine", "out", "progress", "command", *OPTIONS)),)
