"""sweep: train a task over learning rates and seeds, or continue where an earlier call was stopped."""

from __future__ import annotations

import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
import xarray as xr

from lrscope.config import EngineConfig, SweepConfig
from lrscope.engine.adaptive_rounds import check, forecast, train_rounds
from lrscope.engine.arguments import check_progress, check_task, resolve, signature_with_options
from lrscope.engine.assemble import Vanished, assemble, slabs
from lrscope.engine.checked import RANDOM
from lrscope.engine.choose import choose_plan, predict
from lrscope.engine.context import Context
from lrscope.engine.dispatch import Interrupted
from lrscope.engine.evaluation_time import evaluation_seconds
from lrscope.engine.extend import LENGTHS, check_extension, extend, is_extended, steps_kept, turn_units
from lrscope.engine.follow import follow_or_choose
from lrscope.engine.identity import hash_there, identity_of, stated
from lrscope.engine.memory_need import memory
from lrscope.engine.plan import Plan, count_chunks
from lrscope.engine.progress import Progress, Silent, default_progress
from lrscope.engine.provenance import attributes
from lrscope.engine.rehearsal import rehearse
from lrscope.engine.segments import steps_per_run
from lrscope.engine.sweep_folder import Store
from lrscope.engine.train_units import train_units, workers
from lrscope.errors import AnotherSweep, LrscopeError
from lrscope.results import open_result, save_result
from lrscope.storage.checksums import Damaged
from lrscope.storage.locks import Lease
from lrscope.storage.paths import Remote, place
from lrscope.tasks.random_state import kept
from lrscope.tasks.task import Task
from lrscope.tasks.validation import NONE
from lrscope.terminal import warn

if TYPE_CHECKING:
    from lrscope.config.keywords import Reals, SweepOptions


def sweep(
    task: Task,
    lrs: Reals | None = None,
    *,
    config: SweepConfig | None = None,
    engine: EngineConfig | None = None,
    out: str | os.PathLike[str] | Remote | None = None,
    progress: Progress | bool = True,
    command: str | None = None,
    **options: Unpack[SweepOptions],
) -> xr.DataTree:
    """Train `task` at every learning rate and seed; return the labelled arrays of docs/schema.md.

    Args:
        task: what is trained.
        lrs: learning rates in increasing order, or their grid: "1e-4:1:24" or `log_grid(1e-4, 1, 24)`.
        config: a whole `SweepConfig` instead of `lrs` and `options`.
        engine: device, processes and plan.
        out: folder or fsspec URL that keeps the sweep: a call with the same task and config continues or opens what is
            there. None trains into a temporary folder that is removed.
        progress: show progress on stderr, or an object of your own.
        command: recorded as the way to repeat the sweep.
        options: fields of `SweepConfig` (seeds, epochs, finetune_lrs, ...) and `EngineConfig` (device, jobs, ...), which
            read NumPy's and PyTorch's numbers and the command line's texts too (docs/usage.md). batch_size defaults to that of
            the task's train loader, otherwise to 128.

    Raises:
        LrscopeError: input that cannot be used.
        Interrupted: stopped by SIGINT or SIGTERM; the same call goes on.
    """
    check_task(task)
    config, engine = resolve(lrs, config, engine, options, task.batch_size, task.optimizer is not None)
    check_progress(progress)
    if engine.extend_finetunes:
        check_extension(config, kept=out is not None)
    if out is None:
        with tempfile.TemporaryDirectory(prefix="lrscope-") as folder:
            return _sweep(task, config, engine, folder, progress, command).load()
    return _sweep(task, config, engine, out, progress, command)


sweep.__signature__ = signature_with_options(sweep)  # type: ignore[attr-defined]  # for help() and notebooks


def sweep_again(
    task: Task,
    *,
    config: SweepConfig,
    engine: EngineConfig,
    out: Path,
    progress: Progress | bool,
    command: str,
    record: Mapping[str, Any],
    tell: Callable[[str], None],
) -> xr.DataTree:
    """`sweep` by the plan that a record of evidence names (`engine.follow`); `tell` hears why it cannot be followed."""
    return _sweep(task, config, engine, out, progress, command, partial(follow_or_choose, record=record, tell=tell))


def _sweep(
    task: Task,
    config: SweepConfig,
    engine: EngineConfig,
    out: str | os.PathLike[str] | Remote,
    progress: Progress | bool,
    command: str | None,
    new_plan: Callable[[Context, int], Plan] = choose_plan,
) -> xr.DataTree:
    """`sweep` with its arguments resolved, into a folder."""
    store = Store(place(out))
    config = _as_written_there(store, config)
    identity = identity_of(task, config, stated(store))
    finished = _finished(store, identity)
    if finished is not None:  # nothing to write, so a folder that cannot be written to will do
        return finished
    with _locked(store) as alive, kept(), gradients():
        context = Context.build(task, config, engine, store)
        context.identity = identity["hash"] = hash_there(store, identity["task"], config)
        if engine.extend_finetunes:
            extend(store, identity, config, len(task.data(0).train_x) // config.batch_size, command)
        _check_folder(store, identity, task)
        store.create()
        _write_experiment(store, task, config, identity, command)
        turn_units(store, identity, context.phases)
        there = _open_whole(store, identity)
        if there is not None:  # finished in the meantime, or experiment.json was damaged
            return there
        store.keep_damaged_result()
        with workers(context) as jobs:
            plan = _plan(store, context, jobs, new_plan)
            try:
                _compute(context, plan, jobs, progress, alive, partial(_save, context, identity, command))
            except (LrscopeError, Interrupted):
                raise
            except Exception:
                alive()
                _forget_fruitless(store)
                raise
        return open_result(store.folder)


def _save(context: Context, identity: dict[str, Any], command: str | None, plan: Plan) -> None:
    """Lay the chunks out and save them, one slab of runs in memory at a time."""
    seconds: list[float] = []

    def parts() -> Iterator[xr.DataTree]:
        for slab in slabs(context):
            part = assemble(context, plan, slab)
            seconds.append(float(part["seconds"].sum()))
            yield part

    save_result(parts(), context.store.folder, lambda: attributes(context, plan, identity, command, math.fsum(seconds)))


def _finished(store: Store, identity: dict[str, Any]) -> xr.DataTree | None:
    """The whole result of this very sweep, if it is there; anything else is looked at once the folder is locked."""
    with warnings.catch_warnings(action="ignore"):
        known = store.experiment()
        ours = known is not None and known.get("hash") == identity["hash"]
        return _open_whole(store, identity) if ours else None


def _open_whole(store: Store, identity: dict[str, Any]) -> xr.DataTree | None:
    """The result that lies in the folder; None if there is none or, with a warning, if it is damaged."""
    if not store.is_finished():
        return None
    try:
        result = open_result(store.folder)
    except Damaged as error:
        warn(str(error))
        return None
    if result.attrs["config_hash"] != identity["hash"]:
        if is_extended(store, result.attrs["config_hash"]):
            return None
        raise AnotherSweep(f"out: {store.folder} holds the result of another sweep: choose another --out")
    return result


def dry_run(
    task: Task,
    *,
    config: SweepConfig,
    engine: EngineConfig | None = None,
    out: str | os.PathLike[str] | Remote | None = None,
) -> dict[str, Any]:
    """The plan with predicted time and memory; trains only the few steps that it times and writes nothing.

    Args:
        task, config, engine: as of `sweep`.
        out: the folder of the sweep. With `extend_finetunes` only the steps that it has not are counted.
    """
    engine = engine or EngineConfig()
    store = Store(Path("unused") if out is None else place(out))
    if engine.extend_finetunes:
        check_extension(config, kept=out is not None)
        config = _as_written_there(store, config)
    with kept(), gradients():
        context = Context.build(task, config, engine, store)
        there = 0
        if engine.extend_finetunes:
            each = len(task.data(0).train_x) // config.batch_size
            there = steps_kept(store, identity_of(task, config, stated(store)), config, context.phases, each)
        if config.adaptive:
            check(context)
        with workers(context) as jobs:
            rehearse(context)
            plan = choose_plan(context, jobs, predicting=True)
            whole = steps_per_run(context.phases)
            evaluated = evaluation_seconds(context, plan, jobs) * (whole - there) / whole
            trained = predict(context, plan, jobs, whole - there)
            early = forecast(context, plan, jobs) if config.adaptive else {}
    runs, steps = config.data_seeds * config.seeds * len(config.lrs), whole - there
    if early:  # what is left out is not evaluated either
        early["seconds"] = [seconds * (1 + evaluated / trained) for seconds in early["seconds"]]
    return {
        "task": task.summary(),
        "runs": runs,
        "steps_per_run": steps,
        "run_steps": runs * steps,
        "parameters": context.net.size,
        "groups": list(context.net.groups),
        "device": str(context.device),
        "jobs": jobs,
        "chunks": count_chunks(config, plan.chunk),
        "plan": plan.to_dict(),
        "seconds": trained + evaluated,
        "evaluation_seconds": evaluated,
        "bytes": memory(context, plan, jobs),
        **({"adaptive": early} if early else {}),
    }


@contextmanager
def _locked(store: Store) -> Iterator[Callable[[], None]]:
    """Yields a function that raises if the lock was lost."""
    lock = store.lock()
    try:
        yield lock.check if isinstance(lock, Lease) else lambda: None
    finally:
        lock.release()


@contextmanager
def gradients() -> Iterator[None]:
    """Training computes gradients, also where the caller has switched them off or is in inference mode."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _as_written_there(store: Store, config: SweepConfig) -> SweepConfig:
    """The same config, its numbers as those of the folder's sweep are written: 5 and 5.0 epochs are one length, but two texts
    in JSON, by which a sweep is known."""
    with warnings.catch_warnings(action="ignore"):  # said once the folder is locked
        there = store.experiment()
    if there is None or "config" not in there:
        return config
    try:
        earlier = SweepConfig.from_dict(there["config"])
    except LrscopeError:  # a stranger's: another sweep than this one
        return config
    same = {f.name: getattr(earlier, f.name) for f in fields(config)}
    return replace(config, **{name: value for name, value in same.items() if value == getattr(config, name)})


def _check_folder(store: Store, identity: dict[str, Any], task: Task) -> None:
    """Raise if the folder holds another sweep. Where experiment.json is damaged the chunks tell."""
    there = store.experiment()
    if there is None:
        known = store.recovered()
        there = {"hash": known["identity"]} if known is not None else None
    if there is None or there.get("hash") == identity["hash"]:
        return
    ours, theirs = json.loads(json.dumps(identity["config"])), there.get("config", {})
    defaults = json.loads(json.dumps({f.name: f.default for f in fields(SweepConfig) if f.default is not MISSING}))
    differing = [k for k in ours if theirs and ours[k] != theirs.get(k, defaults.get(k))]
    differing = (
        differing
        or _differing(task.summary(), there.get("task_summary"))
        or ["the model or its data, or lrscope's version"]
    )
    what = ", ".join(differing[:4])
    extending = ", or --extend-finetunes if fine-tunes are to be longer" if set(differing) <= set(LENGTHS) else ""
    raise AnotherSweep(
        f"out: {store.folder} holds another sweep (it differs in {what}): choose another --out, or delete that folder{extending}",
        what,
    )


def _differing(ours: dict[str, Any], theirs: Any) -> list[str]:
    """What differs in the descriptions of two tasks beside the name; those of earlier versions had no validation set."""
    if not isinstance(theirs, dict):
        return []
    theirs = {"validation": {"size": 0, "source": NONE}, **theirs}
    return [k for k in ours if k != "name" and k in theirs and ours[k] != theirs[k]]


def _write_experiment(
    store: Store, task: Task, config: SweepConfig, identity: dict[str, Any], command: str | None
) -> None:
    with warnings.catch_warnings(action="ignore"):  # said before
        there = store.experiment()
    if there is None:
        created = datetime.now(UTC).isoformat(timespec="seconds")
        store.write_experiment({**identity, "task_summary": task.summary(), "command": command, "created": created})


def _plan(store: Store, context: Context, jobs: int, new: Callable[[Context, int], Plan]) -> Plan:
    """The plan of whoever began this sweep, or a new one."""
    saved = store.plan()
    if saved is not None:
        return Plan.from_dict(saved)
    known = store.recovered()
    if known is not None:
        plan = Plan.from_dict(known["plan"])
    else:
        rehearse(context)
        plan = new(context, jobs)
    store.write_plan(plan.to_dict())
    return plan


def _forget_fruitless(store: Store) -> None:
    """Remove a plan that failed before any chunk was trained, and the random points evaluated by it: the next call makes
    another one."""
    done, begun = store.units()
    if not any(not unit.startswith(RANDOM) for unit in done | begun):
        store.forget_plan(done)


def _compute(
    context: Context,
    plan: Plan,
    jobs: int,
    progress: Progress | bool,
    alive: Callable[[], None],
    save: Callable[[Plan], None],
) -> None:
    """Train what is missing, then save. Damaged units are found when they are laid out, and computed again."""
    reporter = progress if not isinstance(progress, bool) else default_progress() if progress else Silent()

    def train(plan: Plan) -> Plan:
        return train_units(context, plan, jobs, reporter, alive)

    plan = train_rounds(context, plan, train) if context.config.adaptive else train(plan)
    for _ in slabs(context):
        try:
            alive()
            save(plan)
        except Vanished:
            plan = train(plan)
        else:
            return
    save(plan)
