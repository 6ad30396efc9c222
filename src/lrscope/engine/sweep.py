"""sweep: train a task over learning rates and seeds, or continue where an earlier call was stopped."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from lrscope import __version__
from lrscope.config import EngineConfig, SweepConfig, digest
from lrscope.dynamics.schedules import factors
from lrscope.engine.assemble import Vanished, assemble
from lrscope.engine.choose import choose_plan, default_jobs, memory, predict
from lrscope.engine.context import Context, choose_device
from lrscope.engine.dispatch import run_here, run_processes, single_threaded
from lrscope.engine.lease import Lease
from lrscope.engine.plan import Plan, chunk_at, count_chunks, steps_per_run
from lrscope.engine.progress import Progress, Silent, default_progress
from lrscope.engine.store import CHECKPOINT, Store
from lrscope.errors import LrscopeError
from lrscope.places import Remote, place
from lrscope.results import SCHEMA_VERSION, open_result, save_result
from lrscope.tasks.task import Task


def sweep(
    task: Task,
    lrs: tuple[float, ...] | list[float] | None = None,
    *,
    config: SweepConfig | None = None,
    engine: EngineConfig | None = None,
    out: str | os.PathLike[str] | Remote | None = None,
    progress: Progress | bool = True,
    command: str | None = None,
    **options: Any,
) -> xr.Dataset:
    """Train `task` at every learning rate and seed; return the labelled arrays of docs/schema.md.

    Args:
        task: what is trained.
        lrs: learning rates in increasing order; `log_grid(low, high, count)` makes them.
        config: a whole `SweepConfig` instead of `lrs` and `options`.
        engine: device, processes and plan.
        out: folder or fsspec URL that keeps the sweep: a call with the same task and config continues or opens what is
            there. None trains into a temporary folder that is removed.
        progress: show progress on stderr, or an object of your own.
        command: recorded as the way to repeat the sweep.
        options: fields of `SweepConfig` (seeds, epochs, finetune_lrs, ...) and `EngineConfig` (device, jobs, ...).

    Raises:
        LrscopeError: input that cannot be used.
        Interrupted: stopped by SIGINT or SIGTERM; the same call goes on.
    """
    config, engine = _resolve(lrs, config, engine, options)
    if out is None:
        with tempfile.TemporaryDirectory(prefix="lrscope-") as folder:
            return sweep(task, config=config, engine=engine, out=folder, progress=progress, command=command)
    store = Store(place(out))
    with _locked(store) as alive, random_state_kept(engine):
        context = Context.build(task, config, engine, store)
        identity = _identity(task, config)
        finished = _check_folder(store, identity)
        if finished:
            return open_result(store.folder)
        store.create()
        _write_experiment(store, task, config, identity, command)
        with _workers(context) as jobs:
            plan = _plan(store, context, jobs)
            result = _computed(context, plan, jobs, progress, alive)
        result.attrs = _attributes(context, plan, identity, command, result)
        save_result(result, store.folder)
        return open_result(store.folder)


def dry_run(
    task: Task,
    *,
    config: SweepConfig,
    engine: EngineConfig | None = None,
) -> dict[str, Any]:
    """The plan with predicted time and memory; trains only the few steps that it times and writes nothing."""
    engine = engine or EngineConfig()
    with random_state_kept(engine):
        context = Context.build(task, config, engine, Store(Path("unused")))
        with _workers(context) as jobs:
            plan = choose_plan(context, jobs, predicting=True)
    runs = config.data_seeds * config.seeds * len(config.lrs)
    return {
        "task": task.summary(),
        "runs": runs,
        "steps_per_run": steps_per_run(context.phases),
        "run_steps": runs * steps_per_run(context.phases),
        "parameters": context.net.size,
        "groups": list(context.net.groups),
        "device": str(context.device),
        "jobs": jobs,
        "chunks": count_chunks(config, plan.chunk),
        "plan": plan.to_dict(),
        "seconds": predict(context, plan, jobs),
        "bytes": memory(context, plan, jobs),
    }


def _resolve(
    lrs: tuple[float, ...] | list[float] | None,
    config: SweepConfig | None,
    engine: EngineConfig | None,
    options: dict[str, Any],
) -> tuple[SweepConfig, EngineConfig]:
    known = set(SweepConfig.__dataclass_fields__) | set(EngineConfig.__dataclass_fields__)
    for name in options:
        if name not in known:
            from lrscope.errors import nearest

            raise LrscopeError(f"{name}: there is no such option of sweep: {nearest(name, known)}")
        for holder, given in (("config", config), ("engine", engine)):
            if given is not None and name in given.__dataclass_fields__:
                raise LrscopeError(f"{name}: given beside {holder}, which has its own: pass one of them")
    if config is None:
        if lrs is None:
            raise LrscopeError("lrs: no learning rates given: pass log_grid(1e-4, 1, 24) or a list")
        config = SweepConfig.from_dict({**options, "lrs": [float(x) for x in lrs]})
    elif lrs is not None:
        raise LrscopeError("lrs: given beside config, which has its own: pass one of them")
    if engine is None:
        engine = EngineConfig(**{k: v for k, v in options.items() if k in EngineConfig.__dataclass_fields__})
    factors(config.schedule, 1)
    return config, engine


@contextmanager
def _locked(store: Store) -> Iterator[Callable[[], None]]:
    """Yields a function that raises if the lock was lost."""
    lock = store.lock()
    try:
        yield lock.check if isinstance(lock, Lease) else lambda: None
    finally:
        lock.release()


@contextmanager
def _workers(context: Context) -> Iterator[int]:
    """Yields how many units can be computed at a time."""
    if context.engine.on == "ray":
        from lrscope.engine.on_ray import cluster

        with cluster(context.engine.jobs, context.device.type) as slots:
            yield slots
    else:
        yield default_jobs(context)


def random_state_kept(engine: EngineConfig) -> AbstractContextManager[None]:
    """Leaves torch's global generators as they were: dropout draws from them."""
    device = choose_device(engine.device)
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _identity(task: Task, config: SweepConfig) -> dict[str, Any]:
    """What determines the numbers; equal identities may share a folder."""
    return {
        "task": task.fingerprint(range(config.data_seeds)),
        "config": config.to_dict(),
        "hash": digest([task.fingerprint(range(config.data_seeds)), config.to_dict()]),
    }


def _check_folder(store: Store, identity: dict[str, Any]) -> bool:
    """True if the folder holds the finished result of this very sweep; raises if it holds another one."""
    there = store.experiment()
    if there is None:
        return False
    if there.get("hash") != identity["hash"]:
        ours, theirs = json.loads(json.dumps(identity["config"])), there.get("config", {})
        differing = [k for k in ours if ours[k] != theirs.get(k)] or ["the model or its data"]
        raise LrscopeError(
            f"out: {store.folder} holds another sweep (it differs in {', '.join(differing[:4])}): "
            "choose another --out, or delete that folder"
        )
    return store.is_finished()


def _write_experiment(
    store: Store, task: Task, config: SweepConfig, identity: dict[str, Any], command: str | None
) -> None:
    if store.experiment() is None:
        created = datetime.now(UTC).isoformat(timespec="seconds")
        store.write_experiment({**identity, "task_summary": task.summary(), "command": command, "created": created})


def _plan(store: Store, context: Context, jobs: int) -> Plan:
    saved = store.plan()
    if saved is not None:
        return Plan(**saved)
    plan = choose_plan(context, jobs)
    store.write_plan(plan.to_dict())
    return plan


def _computed(
    context: Context, plan: Plan, jobs: int, progress: Progress | bool, alive: Callable[[], None]
) -> xr.Dataset:
    """The result. Damaged units are found when they are laid out, and computed again."""
    _train(context, plan, jobs, progress, alive)
    try:
        return assemble(context, plan)
    except Vanished:
        _train(context, plan, jobs, progress, alive)
        return assemble(context, plan)


def _train(context: Context, plan: Plan, jobs: int, progress: Progress | bool, alive: Callable[[], None]) -> None:
    """Compute every unit that is not in the store yet."""
    reporter = progress if not isinstance(progress, bool) else default_progress() if progress else Silent()
    done, begun = context.store.units()
    count = count_chunks(context.config, plan.chunk)
    todo = sum(1 for u in context.each_unit(plan) if u not in done)
    if not todo:
        return
    each = steps_per_run(context.phases)
    runs = len(context.config.lrs) * context.config.seeds * context.config.data_seeds
    steps = sum(_runs_in(context, plan, u) for u in done if u.isdigit() and int(u) < count) * each
    for unit in begun - done:
        saved = context.store.load(unit + CHECKPOINT)
        if saved is not None:
            cursor = saved[1]["cursor"]
            trained = sum(p.steps for p in context.phases[: cursor["phase"]]) + cursor["step"]
            steps += trained * _runs_in(context, plan, unit)
    reporter.begin(runs, runs * each, steps)

    def work(unit: str, tick: Any, stopping: Any) -> None:
        context.run_unit(plan, unit, tick, stopping)

    def finished(unit: str) -> None:
        del unit
        alive()

    units = (u for u in context.each_unit(plan) if u not in done)
    try:
        with single_threaded(context.device):
            if context.engine.on == "ray":
                from lrscope.engine.on_ray import run_on_ray
                from lrscope.engine.ray_job import SweepJob

                run_on_ray(units, SweepJob.of(context, plan), reporter.tick, finished, jobs, context.device.type)
            elif jobs == 1 or todo == 1:
                run_here(units, work, reporter.tick, finished)
            else:
                run_processes(list(units), work, reporter.tick, finished, jobs)
    finally:
        reporter.end()


def _runs_in(context: Context, plan: Plan, unit: str) -> int:
    return len(chunk_at(context.config, plan.chunk, int(unit)).runs)


def _attributes(
    context: Context, plan: Plan, identity: dict[str, Any], command: str | None, result: xr.Dataset
) -> dict[str, Any]:
    import numpy

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
    return {
        "schema_version": SCHEMA_VERSION,
        "title": f"{summary['name']}, space {space}",
        "task": json.dumps(summary),
        "config": json.dumps(context.config.to_dict()),
        "config_hash": identity["hash"],
        "plan": json.dumps({**plan.to_dict(), "threads": 1}),
        "space": space,
        "scale_invariant": int(context.net.scale_invariant),
        "device": str(context.device),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
        "versions": json.dumps(versions),
        "code_hash": code_hash(),
        "created": experiment.get("created", ""),
        "seconds": float(result["seconds"].sum()),
        "command": command or experiment.get("command") or "lrscope.sweep(task, config=SweepConfig(...))",
    }


def code_hash() -> str:
    """A hash of the package's own source."""
    root = Path(__file__).parent.parent
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sha.update(path.relative_to(root).as_posix().encode())
        sha.update(path.read_bytes())
    return sha.hexdigest()[:16]
