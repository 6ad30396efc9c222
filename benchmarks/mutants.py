"""Mutation testing, run by hand: which small faults in a source file does no test notice? docs/decisions.md has what was found.

    python benchmarks/mutants.py --results mutants.jsonl --sources src/lrscope/mapping/votes.py --tests tests/test_votes_twin.py

One process imports everything and collects the tests. Each test runs once in a fork, which says what functions it calls and
for how long. Then every fault gets a fork: the tree is changed and compiled, functions that are alive take their new code (so
that decorated ones and references elsewhere change too), and the tests that call the faulty function run until one fails. First
come those that found faults in the same function before, then the quickest. Results are appended, a line of JSON for each fault,
and what was decided is not run again; with `--again` what survived is.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import collections
import gc
import importlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest
from mutation_sites import Site, sites

Key = tuple[str, str, int]  # of a function: file, qualified name, first line
Say = Callable[..., None]
TIMES, SPARE_SECONDS = 10, 10  # a test that takes ten times as long hangs
HEAVY = ("torch", "numpy", "xarray", "sklearn.datasets", "rich.console", "scipy.stats", "hypothesis.strategies")


def in_fork(work: Callable[[Say], None], seconds: float) -> tuple[list[Any], int]:
    """What `work` says, one JSON value a call, and the status of its process, which ends after so much CPU time."""
    with tempfile.TemporaryFile("a+") as file:
        pid = os.fork()
        if not pid:
            try:
                null = os.open(os.devnull, os.O_RDWR)
                for stream in (0, 1, 2):
                    os.dup2(null, stream)
                resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, resource.RLIM_INFINITY))
                work(lambda *words: (file.write(json.dumps(words) + "\n"), file.flush()))
            finally:
                os._exit(0)
        status = os.waitpid(pid, 0)[1]
        file.seek(0)
        return [json.loads(line) for line in file], status


def key_of(code: CodeType) -> Key:
    return code.co_filename, code.co_qualname, code.co_firstlineno


class Failures:
    """Notes the first test that fails."""

    def __init__(self) -> None:
        self.first: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.first = self.first or (report.nodeid if report.failed else None)


class Tests:
    """The collected tests: how long each takes, and which functions of the sources it calls."""

    def __init__(self, session: pytest.Session, sources: Iterable[str], measured: Path | None) -> None:
        self.items, self.sources = {item.nodeid: item for item in session.items}, set(sources)
        self.failures = Failures()
        session.config.pluginmanager.register(self.failures)
        known = json.loads(measured.read_text()) if measured and measured.exists() else {}
        for name in self.items.keys() - known.keys():
            known[name] = self.measure(name)
        if measured:
            measured.write_text(json.dumps(known))
        self.seconds = {name: known[name]["seconds"] for name in self.items}
        self.calls = {name: {tuple(key) for key in known[name]["calls"]} for name in self.items}

    def run(self, name: str, following: str | None = None) -> bool:
        """Does the test pass? Fixtures that the following one shares stay."""
        item, after = self.items[name], self.items[following] if following else None
        item.ihook.pytest_runtest_protocol(item=item, nextitem=after)
        return self.failures.first is None

    def measure(self, name: str) -> dict[str, Any]:
        """Seconds and calls of one test, alone with its fixtures; without calls if it fails as it is."""

        def work(say: Say) -> None:
            called: set[Key] = set()

            def note(frame: Any, event: str, _: Any) -> None:
                if event == "call" and frame.f_code.co_filename in self.sources:
                    called.add(key_of(frame.f_code))

            before = time.process_time()
            sys.setprofile(note)
            passed = self.run(name)
            sys.setprofile(None)
            say(time.process_time() - before, sorted(called) if passed else [])

        said, _ = in_fork(work, 600)
        seconds, calls = said[0] if said else (0.0, [])
        return {"seconds": seconds, "calls": calls}


class Source:
    """A file, its faults, and the functions of it that are alive."""

    def __init__(self, path: Path) -> None:
        self.path = str(path.resolve())
        self.name = ".".join(path.resolve().with_suffix("").parts).partition(".src.")[2].removesuffix(".__init__")
        self.module = importlib.import_module(self.name)
        self.tree = ast.parse(path.read_text())
        self.sites = sites(self.tree)
        self.alive: dict[Key, list[FunctionType]] = {}

    def find_alive(self) -> None:
        for thing in gc.get_objects():
            if type(thing) is FunctionType and thing.__code__.co_filename == self.path:
                self.alive.setdefault(key_of(thing.__code__), []).append(thing)

    def labels(self) -> list[str]:
        """A name for each fault that survives changes elsewhere in the file."""
        seen: collections.Counter[str] = collections.Counter()
        found = []
        for site in self.sites:
            label = f"{self.name}:{site.function}:{site.kind}:{site.what}"
            seen[label] += 1
            found.append(f"{label}#{seen[label]}")
        return found

    def change(self, site: Site) -> None:
        """Put a fault into the running program."""
        site.change()
        ast.fix_missing_locations(self.tree)
        if not site.function:
            reload_from(self.module, self.tree, site.top)
            return
        new = {key_of(code): code for code in nested(compile(self.tree, self.path, "exec", dont_inherit=True))}
        changed = [
            (f, new[key]) for key, fs in self.alive.items() for f in fs if new.get(key, f.__code__) != f.__code__
        ]
        if not changed:
            raise LookupError("no function that is alive has this fault")
        for function, code in changed:
            function.__code__ = code


def nested(code: CodeType) -> Iterable[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from nested(inner)


# --- faults outside functions: constants, tables, defaults ---


def reload_from(module: ModuleType, tree: ast.Module, top: ast.stmt) -> None:
    """Execute a statement of a module again, and those after it that use its names; what holds the old values gets the new."""
    space = dict(module.__dict__)
    changed: set[str] = set()
    for statement in tree.body[tree.body.index(top) :]:
        uses = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        if statement is not top and not uses & changed:
            continue
        exec(
            compile(ast.Module([statement], []), str(module.__file__), "exec", __future__.annotations.compiler_flag),
            space,
        )
        if isinstance(statement, ast.FunctionDef):
            take_defaults(getattr(module, statement.name), space[statement.name])
        elif isinstance(statement, ast.ClassDef):
            take_attributes(getattr(module, statement.name), space[statement.name])
            space[statement.name] = getattr(module, statement.name)
            changed.add(statement.name)
        else:
            names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            for name in names & module.__dict__.keys():
                rebind(name, module.__dict__[name], space[name])
            changed |= names


def rebind(name: str, old: Any, new: Any) -> None:
    """A new value wherever a module has the old one by this name."""
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get(name, rebind) is old:
            module.__dict__[name] = new


def beneath(function: Any) -> Any:
    """The function under decorators, of a method or property too; None if there is none."""
    function = getattr(function, "fget", None) or getattr(function, "__func__", function)
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function if isinstance(function, FunctionType) else None


def take_defaults(old: Any, new: Any) -> None:
    old, new = beneath(old), beneath(new)
    if old and new:
        old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__


def take_attributes(old: type, new: type) -> None:
    """Defaults and class attributes; of a dataclass those of its `__init__` too."""
    for name, value in list(vars(new).items()):
        if beneath(value):
            take_defaults(vars(old).get(name), value)
        elif not name.startswith("__") and type(value).__name__ != "member_descriptor":
            setattr(old, name, value)


# --- the run ---


class Run:
    """Takes the place of pytest's own loop over tests."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.sources = options, [Source(Path(path)) for path in options.sources]
        self.results: Path = options.results
        self.done = {row["label"]: row for row in self.rows()}
        self.found: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for row in self.done.values():
            self.found[row["function"]].update([row["by"]] if row["by"] else [])

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.results.read_text().splitlines()] if self.results.exists() else []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for name in HEAVY:
            importlib.import_module(name)
        self.tests = Tests(session, [source.path for source in self.sources], self.options.measured)
        for source in self.sources:
            source.find_alive()
        gc.freeze()
        for source in self.sources:
            for label, site in zip(source.labels(), source.sites, strict=True):
                if self.wanted(label, site):
                    self.judge(source, label, site)
        return True

    def wanted(self, label: str, site: Site) -> bool:
        """What was not run yet, and with `--again` what survived."""
        again = self.options.again and label in self.done and self.done[label]["outcome"] != "killed"
        return (again or label not in self.done) and (not self.options.functions or bool(site.function))

    def order(self, source: Source, site: Site) -> list[str]:
        """The tests that call the faulty function (all if it lies in none), in the order in which they run."""
        outer = site.function.partition(".<locals>")[0]
        near = [
            name
            for name, calls in self.tests.calls.items()
            if not outer or any(file == source.path and f"{q}.".startswith(f"{outer}.") for file, q, _ in calls)
        ]
        found = self.found[site.function]
        return sorted(near, key=lambda name: (-found[name], self.tests.seconds[name]))

    def judge(self, source: Source, label: str, site: Site) -> None:
        order, total, chosen = self.order(source, site), 0.0, list[str]()
        for name in order:
            total += self.tests.seconds[name]
            if not chosen or total <= self.options.seconds:
                chosen.append(name)

        def work(say: Say) -> None:
            try:
                source.change(site)
            except Exception as error:
                say("error", repr(error))
                return
            for name, following in zip(chosen, [*chosen[1:], None], strict=True):
                say("at", name)
                if not self.tests.run(name, following):
                    say("killed", self.tests.failures.first)
                    return
            say("survived", None)

        said, status = in_fork(work, TIMES * total + SPARE_SECONDS) if chosen else ([("not covered", None)], 0)
        outcome, by = said[-1] if said else ("error", f"status {status}")
        if outcome == "at":
            outcome, by = "did not end", f"{by}, status {status}"
        row = {"label": label, "line": site.line, "kind": site.kind, "what": site.what, "function": site.function}
        self.write({**row, "file": source.name, "outcome": outcome, "by": by, "met": len(chosen), "of": len(order)})

    def write(self, row: dict[str, Any]) -> None:
        self.done[row["label"]] = row
        if row["outcome"] == "killed":
            self.found[row["function"]].update([row["by"]])
        else:
            print(
                f"{row['file']}:{row['line']} {row['kind']}: {row['what']} {row['outcome']} {row['met']} of {row['of']}"
            )
        with self.results.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def summary(self) -> str:
        """Counts of outcomes by file."""
        counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for row in self.done.values():
            counts[row["file"]].update([row["outcome"], "all"])
        return "\n".join(f"{file}: {dict(count)}" for file, count in sorted(counts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", nargs="+", required=True)
    parser.add_argument("--tests", nargs="+", default=["tests"])
    parser.add_argument("--results", type=Path, required=True, help="file of results, read and appended to")
    parser.add_argument("--measured", type=Path, help="file for what each test calls, so that it is measured once")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of tests for one fault; what is not met is counted"
    )
    parser.add_argument("--marks", default="not slow", help="pytest's -m")
    parser.add_argument("--functions", action="store_true", help="only faults inside functions")
    parser.add_argument("--again", action="store_true", help="run once more what survived")
    options = parser.parse_args()
    os.environ["CI"] = "1"  # the same hypothesis examples every time
    run = Run(options)
    flags = ["-q", "-s", "-m", options.marks, "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no"]
    pytest.main([*options.tests, *flags], plugins=[run])
    print(run.summary())


if __name__ == "__main__":
    main()
