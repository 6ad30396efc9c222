"""Where a study is carried out: trains the sweeps and computes the measurements that are missing, and keeps them.

ROOT/<study>/<scale>/<sweep>/            a sweep, as `lrscope.sweep` keeps it
ROOT/<study>/<scale>/measured/<name>.zarr  a measurement (measurement_store.py)
ROOT/<study>/<scale>/timings.json        wall seconds spent on each sweep, over all calls
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from lrscope.checked import checked
from lrscope.config import EngineConfig, SweepConfig
from lrscope.config.identity import hashes
from lrscope.errors import AnotherSweep, LrscopeError, nearest
from lrscope.results import has_result
from lrscope.schema import segment
from lrscope.storage.files import read_json, write_whole
from lrscope.storage.paths import local
from lrscope.storage.records import EXPERIMENT_FILE
from lrscope.studies import measurement_store
from lrscope.studies.declared_results import DeclaredResults
from lrscope.studies.dependencies import closure
from lrscope.studies.phrases import plan
from lrscope.studies.types import Claim, Finding, Measurement, PaperFigure, Scale, Study, StudyResults, StudySweep
from lrscope.terminal import say, warn

if TYPE_CHECKING:
    from lrscope.charts import Chart
    from lrscope.engine.progress import Progress
    from lrscope.trained import Trained

DEFAULT_ROOT = Path("runs/studies")
TIMINGS = "timings.json"


class Reproduction:
    """A study at one scale, with the folder that keeps its parts.

    Args:
        study, scale: what is carried out.
        root: local folder; the study has a folder of its own in it.
        engine: device and processes.
        name: what the command line calls the study, if that is not its name.
        recorded: records of the sweeps in the evidence: their plans are followed where that can be done.
        quiet: report nothing on stderr.

    Raises:
        LrscopeError: a scale that the study does not have.
    """

    @checked
    def __init__(
        self,
        study: Study,
        scale: str,
        root: str | os.PathLike[str] = DEFAULT_ROOT,
        *,
        engine: EngineConfig | None = None,
        name: str = "",
        recorded: Mapping[str, Any] | None = None,
        quiet: bool = False,
    ) -> None:
        self.study, self.scale_name = study, scale
        self.scale = scale_of(study, scale)
        self.folder = local(root, "root") / study.name / scale
        self.engine = engine or EngineConfig()
        self.quiet = quiet
        self._recorded = recorded or {}
        self.command = f"lrscope reproduce {name or study.name} --scale {scale}"
        self._sweeps = {sweep.name: self.scale.begun(sweep) for sweep in self.scale.sweeps}
        self._measurements = {measurement.name: measurement for measurement in self.scale.measurements}
        self._results: dict[str, xr.DataTree] = {}
        self._stored: dict[str, measurement_store.StoredMeasurement] = {}
        self._codes: dict[str, list[Any]] = {}  # as they were when this began

    @checked
    def prepare(self, needs: Iterable[str]) -> None:
        """Train and compute what is missing of the names and of all that they rest on, in order.

        Raises:
            LrscopeError: a folder keeps something else, a measurement's code was changed meanwhile, or what training and
                measuring raise.
            Interrupted: stopped by SIGINT or SIGTERM; the same call goes on.
        """
        names = closure(self.scale, needs)
        for name in names:
            if name in self._measurements:
                self._code(name)
        begun = time.monotonic()
        trained = self._train_side_by_side(names)
        spent: dict[str, float] = {"training": time.monotonic() - begun if trained else 0.0, "measuring": 0.0}
        for name in names:
            if name in trained:
                self._train(name)  # which opens it
                continue
            kind = "sweep" if name in self._sweeps else "measurement"
            self._announce(name, names)
            begun = time.monotonic()
            done = self._train(name) if kind == "sweep" else self._measure(name)
            seconds = time.monotonic() - begun
            if done:
                spent["training" if kind == "sweep" else "measuring"] += seconds
            self._say(f"    {'done in ' + _span(seconds) if done else 'there from before'}")
        whole = ", ".join(f"{what} {_span(seconds)}" for what, seconds in spent.items())
        self._say(f"{self.study.name}, {self.scale_name}: {len(names)} parts there; this time {whole}")

    def _announce(self, name: str, names: Sequence[str]) -> None:
        sweep = self._sweeps.get(name)
        kind, about = ("sweep", sweep.about) if sweep else ("measurement", self._measurements[name].about)
        self._say(f"[{names.index(name) + 1}/{len(names)}] {kind} {name}: {about}")

    def _train_side_by_side(self, names: Sequence[str]) -> set[str]:
        """Train the sweeps that are missing so that they share the cores; those that were trained. Where there is one alone,
        or one core, none is."""
        from lrscope.engine.progress import Plain
        from lrscope.studies.side_by_side import shared_jobs, side_by_side

        missing = [name for name in names if name in self._sweeps and not has_result(self.folder / name)]
        jobs = shared_jobs(self.engine) if len(missing) > 1 else 1
        if jobs == 1:
            return set()
        for name in names:
            if name in self._sweeps and name not in missing:
                self._train(name)  # which refuses what is of other settings before hours of training
        anew = {name: self._is_new(name) for name in missing}

        def ended(name: str, seconds: float) -> None:
            self._spend(name, seconds, anew=anew[name])
            if has_result(self.folder / name):
                self._say(f"    {name}: done in {_span(seconds)}")

        def work(name: str) -> None:
            self._open(name, progress=False if self.quiet else Plain(name))

        side_by_side(work, missing, jobs, begun=partial(self._announce, names=names), ended=ended)
        return set(missing)

    @checked
    def ready(self, needs: Iterable[str]) -> bool:
        """Is everything there already, and of the present declarations? Trains and computes nothing."""
        for name in closure(self.scale, needs):
            if name in self._sweeps:
                if name not in self._results and not has_result(self.folder / name):
                    return False
                try:
                    self._train(name)
                except LrscopeError:
                    return False
            elif not self._known(name):
                return False
        return True

    @property
    def names(self) -> tuple[str, ...]:
        """Sweeps and measurements that are there and were asked for in this reproduction's life."""
        return (*self._results, *self._stored)

    @checked
    def check(self, claim: Claim) -> Finding:
        """What the claim's check finds in what is there (`prepare` first). An exploratory claim gets no verdict."""
        from lrscope.studies.verdicts import Undetermined, reported, undetermined

        try:
            finding = claim.check(self.view(claim.needs))
        except Undetermined as reason:
            finding = undetermined(str(reason))
        return reported(finding) if claim.exploratory else finding

    @checked
    def chart(self, figure: PaperFigure) -> Chart:
        """The figure's chart from what is there (`prepare` first)."""
        return figure.draw(self.view(figure.needs))

    def view(self, needs: Iterable[str]) -> StudyResults:
        """What a claim, figure or measurement with these needs may read."""
        return DeclaredResults(self, frozenset(closure(self.scale, needs)))

    def records(self, needs: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What evidence says of the sweeps and of the measurements under these needs; all must be there."""
        from lrscope.engine.follow import named

        timings = self._timings()
        sweeps, measurements = {}, {}
        for name in closure(self.scale, needs):
            if name in self._sweeps:
                attrs = self._results[name].attrs
                sweeps[name] = {
                    "title": attrs["title"],
                    "plan": plan(attrs["plan"]),
                    **named(attrs, json.loads(attrs["plan"])),
                    "runs": int(segment(self._results[name], "pretrain")["status"].size),
                    "seconds": round(timings.get(name, float(attrs["seconds"])), 1),
                    "created": attrs["created"],
                }
            else:
                there = self._stored[name]
                measurements[name] = {
                    "identity": there.identity,
                    "seconds": round(there.seconds, 1),
                    "created": there.created,
                }
        return sweeps, measurements

    def known_as(self, name: str) -> set[str]:
        """What evidence of the same part may call it: its own `config_hash` or `identity`, and those of both rules by which
        sweeps are or were known (`lrscope.config.identity`)."""
        if name in self._sweeps:
            return {self._results[name].attrs["config_hash"], *self._hashes(name)}
        return {self._stored[name].identity, *(self._identity(name, rule) for rule in (0, 1))}

    def _hashes(self, name: str) -> tuple[str, str]:
        there = read_json(self.folder / name / EXPERIMENT_FILE)
        return hashes(there["task"], SweepConfig.from_dict(there["config"]))

    def result(self, name: str) -> xr.DataTree:
        """A sweep's result."""
        return self._results[name]

    def trained(self, name: str) -> Trained:
        """A sweep's stored weights."""
        from lrscope.tasks.builtin import named_task
        from lrscope.trained import Trained

        return Trained.open(self.folder / name, named_task(**self._sweeps[name].arguments))

    def measurement(self, name: str) -> xr.Dataset:
        """A measurement's arrays.

        Raises:
            Undetermined: it could not be made, because what it speaks of does not show.
        """
        from lrscope.studies.verdicts import Undetermined

        if self._stored[name].reason:
            raise Undetermined(self._stored[name].reason)
        return self._stored[name].arrays

    def _train(self, name: str) -> bool:
        """Train a sweep or open it; was there anything to train?"""
        if name in self._results:
            return False
        there, anew, begun = has_result(self.folder / name), self._is_new(name), time.monotonic()
        try:
            self._results[name] = self._open(name, progress=not self.quiet)
        finally:
            if not there:
                self._spend(name, time.monotonic() - begun, anew=anew)
        return not there

    def _is_new(self, name: str) -> bool:
        """Is nothing of a sweep there?"""
        folder = self.folder / name
        return not (folder.is_dir() and any(folder.iterdir()))

    def _open(self, name: str, *, progress: Progress | bool) -> xr.DataTree:
        """A sweep's result, trained if it is not there."""
        folder = self.folder / name
        try:
            return self._swept(self._sweeps[name], folder, progress)
        except AnotherSweep as error:
            what = f" (it differs in {error.differing})" if error.differing else ""
            raise LrscopeError(
                f"sweep {name}: {folder} holds results of other settings than {self.study.name} declares now{what}; they are "
                "left as they are: choose another --root, or move that folder away"
            ) from error

    def _swept(self, declared: StudySweep, folder: Path, progress: Progress | bool) -> xr.DataTree:
        from lrscope.engine.sweep import sweep, sweep_again
        from lrscope.tasks.builtin import named_task

        how: dict[str, Any] = {"out": folder, "progress": progress, "command": self.command}
        task, record = named_task(**declared.arguments), self._recorded.get(declared.name)
        if record is None:
            return sweep(task, config=declared.config, engine=self.engine, **how)
        tell = partial(self._tell, declared.name)
        return sweep_again(task, config=declared.config, engine=self.engine, record=record, tell=tell, **how)

    def _tell(self, name: str, words: str) -> None:
        self._say(f"    sweep {name}: {words}")

    def _measure(self, name: str) -> bool:
        """Compute a measurement or open it; was there anything to compute?"""
        if self._known(name):
            return False
        measurement = self._measurements[name]
        if self._changed(name):
            raise LrscopeError(
                f"measurement {name}: its code was changed after this command had begun, and what runs may be old or new: call "
                "the command again; what is there is kept"
            )
        if self._place(name).exists():
            self._say("    what is stored is of other code, arguments or sweeps: it is computed anew")
        created, begun, identity = now(), time.monotonic(), self._identity(name)
        arrays, reason = self._computed(measurement)
        made = measurement_store.StoredMeasurement(arrays, identity, time.monotonic() - begun, created, reason)
        if self._changed(name):
            warn(
                f"measurement {name}: its code or arguments were changed while it was computed; it is stored as of those "
                "before: call the command again",
            )
        path = self._place(name)
        measurement_store.write(path, made)
        self._stored[name] = measurement_store.read(path) or made  # as the next call will find it
        return True

    def _computed(self, measurement: Measurement) -> tuple[xr.Dataset, str]:
        """A measurement's arrays; or none, and the reason, where it speaks of something that does not show."""
        from lrscope.studies.verdicts import Undetermined

        try:
            arrays = measurement.run(self.view(measurement.needs))
        except Undetermined as reason:
            self._say(f"    it cannot be made, and what needs it is undetermined: {reason}")
            return xr.Dataset(), str(reason)
        if not isinstance(arrays, xr.Dataset):
            raise LrscopeError(
                f"measurement {measurement.name}: it returned {type(arrays).__name__}: return an xarray Dataset"
            )
        return arrays, ""

    def _code(self, name: str) -> list[Any]:
        if name not in self._codes:
            self._codes[name] = measurement_store.code_of(self._measurements[name])
        return self._codes[name]

    def _changed(self, name: str) -> bool:
        """Is a measurement's code another than when this began? What runs may have been loaded before or after."""
        return measurement_store.code_of(self._measurements[name]) != self._code(name)

    def _known(self, name: str) -> bool:
        """Is the measurement there, computed from what is there now? Its sweeps must be open."""
        if name not in self._stored:
            there = measurement_store.read(self._place(name))
            if there is not None and there.identity == self._identity(name):
                self._stored[name] = there
        return name in self._stored

    def _identity(self, name: str, rule: int | None = None) -> str:
        """What determines a measurement's arrays, with its sweeps known as they are or (0, 1) by one of the rules."""
        below = closure(self.scale, self._measurements[name].needs)
        sweeps = [part for part in below if part in self._sweeps]
        known = {p: self._results[p].attrs["config_hash"] if rule is None else self._hashes(p)[rule] for p in sweeps}
        needed = [part for part in below if part in self._measurements]
        codes = [self._code(part) for part in (name, *needed)]
        return measurement_store.identity(codes, known, self.scale.first_seed)

    def _place(self, name: str) -> Path:
        return self.folder / "measured" / f"{name}.zarr"

    def _timings(self) -> dict[str, float]:
        try:
            found = read_json(self.folder / TIMINGS)
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _spend(self, name: str, seconds: float, *, anew: bool) -> None:
        """Add to a sweep's wall time, because it may take several calls; `anew`: nothing of it was there before."""
        if self.folder.is_dir():
            timings = self._timings()
            timings[name] = (0.0 if anew else timings.get(name, 0.0)) + seconds
            write_whole(self.folder / TIMINGS, json.dumps(timings, indent=1).encode())

    def _say(self, words: str) -> None:
        if not self.quiet:
            say(words)


@checked
def scale_of(study: Study, scale: str) -> Scale:
    """A scale of a study.

    Raises:
        LrscopeError: the study has none of that name.
    """
    if scale not in study.scales:
        raise LrscopeError(f"scale: {study.name} has no {scale!r}: {nearest(scale, study.scales)}")
    return study.scales[scale]


def now() -> str:
    """The time, ISO 8601 UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _span(seconds: float) -> str:
    from lrscope.engine.progress import span

    return span(seconds)
