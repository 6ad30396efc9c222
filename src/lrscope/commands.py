"""What the commands do beyond parsing: plan, train, print."""

from __future__ import annotations

import json
import stat
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrscope.config.settings import MapSettings, load_settings
from lrscope.errors import LrscopeError, shown
from lrscope.storage.files import mode_of, read_json
from lrscope.storage.paths import Remote, exists, local, place
from lrscope.values import as_number

if TYPE_CHECKING:
    import xarray as xr

    from lrscope.config import EngineConfig, SweepConfig
    from lrscope.mapping.types import RegimeMap


COLUMNS = 80


def run_map(config: str | None, options: Mapping[str, Any], *, dry_run: bool, as_json: bool) -> None:
    """The `map` command: train what is missing, print the map, write the report."""
    settings = load_settings(None if config is None else local(config, "config"), options)
    sweep_config = settings.sweep_config()  # refuses bad values before PyTorch loads
    engine_config = settings.engine_config()
    out = place(settings.out or "")
    if dry_run:
        _plan(settings, sweep_config, engine_config, out, as_json=as_json)
        return
    result = _finished(out, settings)
    if result is None:
        result = _train(settings, sweep_config, engine_config, out)
    regime_map = print_map(result, margin=settings.margin, as_json=as_json)
    page = out / "report.html"
    if settings.margin is not None or not exists(page):
        from lrscope.reporting import report

        report(result, page, regime_map=regime_map)
    if not as_json:
        print(f"\nreport: {page}")


def _plan(
    settings: MapSettings, sweep_config: SweepConfig, engine_config: EngineConfig, out: Path | Remote, *, as_json: bool
) -> None:
    from lrscope.engine.context import choose_device
    from lrscope.engine.sweep import dry_run
    from lrscope.studies.planning import available, made_up
    from lrscope.tasks.builtin import named_task
    from lrscope.tasks.data import load

    choose_device(engine_config.device)
    here = available(settings.data)
    task = named_task(**settings.task_options(), source=load if here else made_up)
    plan = {"data_here": here, **dry_run(task, config=sweep_config, engine=engine_config, out=out)}
    print_plan(plan, out, as_json=as_json)


def _train(
    settings: MapSettings, sweep_config: SweepConfig, engine_config: EngineConfig, out: Path | Remote
) -> xr.DataTree:
    from lrscope.engine import sweep as engine
    from lrscope.engine.context import choose_device
    from lrscope.engine.dispatch import Interrupted
    from lrscope.engine.sweep_folder import Store
    from lrscope.tasks.builtin import named_task

    choose_device(engine_config.device)
    task = named_task(**settings.task_options())
    try:
        result = engine.sweep(
            task, config=sweep_config, engine=engine_config, out=out, command=settings.command(shared=True)
        )
    except Interrupted:
        print(f"lrscope: stopped; everything so far is in {out}. To go on: {settings.command()}", file=sys.stderr)
        sys.exit(130)
    store = Store(out)
    store.write_experiment({**(store.experiment() or {}), "request": settings.request()})
    _forget_report(out / "report.html")
    return result


def _forget_report(page: Path | Remote) -> None:
    """Remove the page about an earlier result, if it is one: not what somebody put in its place."""
    if isinstance(page, Remote) or stat.S_ISREG(mode_of(page, follow=False) or 0):
        page.unlink(missing_ok=True)


def _finished(out: Path | Remote, settings: MapSettings) -> xr.DataTree | None:
    """The finished result of the same request, if the folder holds it whole. Opened without loading data or PyTorch."""
    from lrscope.results import has_result, open_result
    from lrscope.storage.checksums import Damaged
    from lrscope.storage.records import EXPERIMENT_FILE

    if not has_result(out):
        return None
    try:
        known = read_json(out / EXPERIMENT_FILE)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(known, dict) or not settings.is_asked_by(known.get("request")):
        return None
    try:
        return open_result(out)
    except Damaged:  # `sweep` says so and puts it together anew
        return None


def find_map(result: xr.DataTree, margin: float | None) -> RegimeMap:
    """The map of a result, within a margin in points; None: the default."""
    from lrscope.mapping import regimes

    return regimes(result) if margin is None else regimes(result, margin=margin)


def print_map(result: xr.DataTree, *, margin: float | None = None, as_json: bool) -> RegimeMap:
    """Find the regimes and print them as tables or JSON; returns the map."""
    from lrscope.schema import STATUS_REMEDY, segment

    found = find_map(result, margin)
    counts, runs = status_counts(result), int(segment(result, "pretrain")["status"].size)
    if as_json:
        dump(
            {
                **found.to_dict(),
                "runs": runs,
                "status": counts,
                "seconds": round(float(result.attrs["seconds"]), 3),
                "title": result.attrs["title"],
                "command": result.attrs["command"],
            }
        )
        return found
    print(result.attrs["title"])
    print(found)
    for name, count in counts.items():
        if count and name != "finished":
            print(f"{count} of {runs} runs {name}: {STATUS_REMEDY[name]}")
    return found


def print_order(
    result: xr.DataTree, *, of: str | None, level: str | None, segment: str, point: Sequence[str], as_json: bool
) -> None:
    """Find the learning order and print it as a table or JSON."""
    from lrscope.order import learning_order

    given: dict[str, Any] = {} if level is None else {"level": level}  # read as Python's argument is
    found = learning_order(result, of=of, segment=segment, point=dict(map(_place, point)), **given)
    if as_json:
        dump(found.to_dict())
        return
    print(result.attrs["title"])
    print(found)


def print_decay(result: xr.DataTree, given: Mapping[str, str | None], *, point: Sequence[str], as_json: bool) -> None:
    """Find the decay curves that are asked for and print them as tables or JSON."""
    from lrscope.decay import decay_curves

    asked: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    found = decay_curves(result, point=dict(map(_place, point)), **asked)
    if as_json:
        dump([curve.to_dict() for curve in found])
        return
    print(result.attrs["title"])
    print("\n\n".join(map(str, found)))


def print_symmetries(model: str, *, batch: str | None, shape: str | None, mode: str, as_json: bool) -> None:
    """Find the scale symmetries of a user's model and print them as text or JSON."""
    from lrscope.symmetries import find_symmetries
    from lrscope.symmetries.find import MODE
    from lrscope.symmetries.source import model_and_batch

    MODE.read("mode", mode)  # before a model is made
    made, given = model_and_batch(model, batch, shape)
    found = find_symmetries(made, given, mode=mode)
    if as_json:
        dump(found.to_dict())
        return
    print(found)


def make_landscape(
    task: str,
    checkpoints: str,
    *,
    out: str | None,
    through: str | None,
    grid: str,
    as_json: bool,
    **options: str | None,
) -> None:
    """Draw the landscape around the checkpoints of a user's task; print what is found as text or JSON."""
    from lrscope.landscapes import landscape
    from lrscope.symmetries.source import called
    from lrscope.tasks.task import Task

    folder = local(checkpoints, "checkpoints")
    where = folder.with_name(folder.name + "-landscape") if out is None else local(out, "out")
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    given |= {"grid": grid.split("x")} | ({} if through is None else {"through": through.split(",")})
    made = called(task, "task")
    if not isinstance(made, Task):
        raise LrscopeError(f"task: {task} gives {shown(type(made).__name__)}: return an lrscope.Task")
    found = landscape(made, folder, **given)
    files = found.save(where)
    if as_json:
        dump(found.to_dict())
        return
    print(found)
    print("\n" + "\n".join(map(str, files)))


def _place(text: str) -> tuple[str, float | str]:
    """Axis and value of a text such as decay_at=4."""
    axis, equals, value = text.partition("=")
    if not (axis and equals and value):
        raise LrscopeError(f"point: {shown(text)} is not an axis and a value: write one such as decay_at=4")
    number = as_number(value)
    return axis, value if number is None else float(number)


def status_counts(result: xr.DataTree) -> dict[str, int]:
    """How many pre-training runs ended in each status."""
    from lrscope.schema import STATUS, segment

    codes = segment(result, "pretrain")["status"]
    return {name: int((codes == code).sum()) for code, name in STATUS.items()}


def print_plan(plan: Mapping[str, Any], out: Path | Remote, *, as_json: bool) -> None:
    """Print a dry run."""
    from lrscope.engine.progress import span

    if as_json:
        dump(plan)
        return
    how = plan["plan"]
    if not plan["data_here"]:
        print("the data is not here: noise of the same shape was timed")
    print(f"{plan['runs']} runs of {plan['steps_per_run']:,} steps: {plan['run_steps']:,} run-steps")
    print(
        f"model: {plan['parameters']:,} trainable parameters in {len(plan['groups'])} groups; device {plan['device']}"
    )
    print(
        f"plan: {how['path']}, {plan['chunks']} chunks of up to {how['chunk']} runs, {plan['jobs']} processes"
        + (", compiled" if how["compiled"] else "")
    )
    print(f"chosen: {how['chosen']}")
    if "adaptive" in plan:
        low, high = plan["adaptive"]["run_steps"]
        fast, slow = plan["adaptive"]["seconds"]
        print(
            f"adaptive: {low:,} to {high:,} run-steps ({low / plan['run_steps']:.0%} to {high / plan['run_steps']:.0%}), "
            f"{span(fast)} to {span(slow)}; the next line is the whole grid's"
        )
    evaluated = span(plan["evaluation_seconds"])
    print(f"predicted: {span(plan['seconds'])} ({evaluated} of evaluation), {plan['bytes'] / 2**30:.1f} GiB of memory")
    print(f"nothing was written; without --dry-run the result goes to {out}")


def print_data(*, as_json: bool) -> None:
    """Print the table of data sets."""
    from lrscope.tasks.data import describe

    rows = describe()
    if as_json:
        dump([asdict(row) for row in rows])
        return
    for row in rows:
        shape, classes = "x".join(map(str, row.shape)), f"{row.classes} classes"
        sizes = f"{row.train:,} / {row.test:,} examples"
        print(f"{row.name:<14}{classes:<13}{shape:<9}{sizes:<26}{'here' if row.available else 'not here'}")
        for line in [row.description, *([] if row.available else [f"to get it: {row.obtain}"])]:
            print(textwrap.fill(line, COLUMNS, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False))


def dump(value: Any) -> None:
    """Print JSON, NaN-free, on stdout."""
    print(json.dumps(value, indent=1, allow_nan=False))
