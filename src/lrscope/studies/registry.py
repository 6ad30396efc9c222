"""The one table of studies. Each is imported when it is asked for, and checked then.

A study that is not in the table is named by where it is: `my_study:STUDY`, a module of the current folder or an
installed one, and the name of its `Study` in it.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

from lrscope.checked import checked
from lrscope.errors import LrscopeError, nearest
from lrscope.studies.dependencies import closure, lacking
from lrscope.studies.lazy_functions import Lazy
from lrscope.studies.source_hash import is_there
from lrscope.studies.types import SCALES, Study

TABLE: dict[str, str] = {
    "three_regimes": "lrscope.studies.three_regimes:STUDY",
    "feature_learning": "lrscope.studies.feature_learning:STUDY",
    "learning_order": "lrscope.studies.learning_order:STUDY",
    "late_decay": "lrscope.studies.late_decay:STUDY",
}


def names() -> tuple[str, ...]:
    """The studies of the table, in its order."""
    return tuple(name for name, where in TABLE.items() if _spec(where.partition(":")[0]) is not None)


@checked
def study(name: str) -> Study:
    """A study by its name in the table, or by `module:NAME`.

    Raises:
        LrscopeError: there is none of that name, or its declarations contradict each other.
    """
    where = name if ":" in name else TABLE.get(name)
    if where is None:
        raise LrscopeError(f"study {name!r} is not known: {nearest(name, names())}")
    module, _, attribute = where.partition(":")
    return _loaded(module, attribute)


def source(name: str) -> Path:
    """The file that declares a study, or its folder where it has one: where its criteria are written down."""
    module = (name if ":" in name else TABLE[name]).partition(":")[0]
    found = _spec(module)
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin)
    return path.parent if path.name == "__init__.py" else path


def is_own(name: str) -> bool:
    """Does the study come from outside this package?"""
    return not (name if ":" in name else TABLE[name]).startswith("lrscope.")


@checked
def check(found: Study) -> Study:
    """Refuse declarations that contradict each other; returns the study.

    Raises:
        LrscopeError: it names the study, the field and the remedy.
    """
    where = f"study {found.name}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", found.name):
        raise LrscopeError(f"study {found.name!r}: its name becomes a folder: use small letters, digits and _")
    _unique(where, "claims", [claim.id for claim in found.claims])
    _unique(where, "figures", [figure.number for figure in found.figures])
    _unique(where, "figures, as file names", [slug(figure.number) for figure in found.figures])
    if not found.scales:
        raise LrscopeError(f"{where}: it has no scales: declare one of {', '.join(SCALES)}")
    kinds: dict[str, str] = {}
    for scale_name, scale in found.scales.items():
        at = f"{where}, scale {scale_name}"
        if scale_name not in SCALES:
            raise LrscopeError(f"{at}: no such scale: choose among {', '.join(SCALES)}")
        _unique(at, "sweeps and measurements", [part.name for part in scale.parts])
        for kind, parts in (("sweep", scale.sweeps), ("measurement", scale.measurements)):
            for part in parts:
                if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", part.name):
                    raise LrscopeError(
                        f"{at}: {kind} {part.name!r}: its name becomes a folder: use letters, digits, _ and -"
                    )
                if kinds.setdefault(part.name, kind) != kind:
                    raise LrscopeError(
                        f"{at}: {part.name} is a {kind} here and something else at another scale: rename one"
                    )
        for measurement in scale.measurements:
            missing = lacking(scale, measurement.needs)
            if missing:
                raise LrscopeError(
                    f"{at}: measurement {measurement.name} needs {missing[0]}, which this scale does not have: "
                    "declare it there, or leave the measurement out"
                )
            if isinstance(measurement.run, Lazy) and not is_there(measurement.run):
                raise LrscopeError(
                    f"{at}: measurement {measurement.name}: there is no function {measurement.run.name} in "
                    f"{measurement.run.module}: check the names in lazy(...)"
                )
            closure(scale, [measurement.name])  # refuses circles
    _check_needs(where, found)
    _check_references(where, found)
    return found


def slug(number: str) -> str:
    """A figure's number as a file name: `fig5`, `figA-2`."""
    return "fig" + re.sub(r"[^A-Za-z0-9]+", "-", number).strip("-")


def _check_needs(where: str, found: Study) -> None:
    """Everything needed exists, and some scale has all that a claim or figure needs."""
    users = [(f"claim {c.id}", c.needs) for c in found.claims] + [
        (f"figure {f.number}", f.needs) for f in found.figures
    ]
    known = {part.name for scale in found.scales.values() for part in scale.parts}
    for user, needs in users:
        for name in needs:
            if name not in known:
                raise LrscopeError(
                    f"{where}: {user} needs {name!r}, which is no sweep or measurement: {nearest(name, known)}"
                )
        if not any(not lacking(scale, needs) for scale in found.scales.values()):
            raise LrscopeError(
                f"{where}: no scale has all that {user} needs ({', '.join(needs)}): declare them at one scale"
            )


def _check_references(where: str, found: Study) -> None:
    """Claims name figures that exist, changes name claims that exist."""
    figures = {figure.number for figure in found.figures}
    for claim in found.claims:
        for number in claim.figures:
            if number not in figures:
                raise LrscopeError(f"{where}: claim {claim.id} names figure {number!r}: {nearest(number, figures)}")
    claims = {claim.id for claim in found.claims}
    for change in found.changes:
        if change.claim not in claims:
            raise LrscopeError(f"{where}: a change names claim {change.claim!r}: {nearest(change.claim, claims)}")


def _unique(where: str, what: str, values: list[str]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise LrscopeError(f"{where}: {what}: {twice[0]!r} is there twice: rename one")


@cache
def _loaded(module: str, attribute: str) -> Study:
    if _spec(module) is None:
        raise LrscopeError(f"study {module}:{attribute}: there is no module {module}: call lrscope from its folder")
    found = getattr(importlib.import_module(module), attribute or "STUDY", None)
    if not isinstance(found, Study):
        raise LrscopeError(
            f"study {module}:{attribute}: there is no Study of that name in {module}: check the name after ':'"
        )
    return check(found)


def _spec(module: str) -> importlib.machinery.ModuleSpec | None:
    """Where a module lies; the current folder counts, as it does for `python -m`."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path and not module.startswith("lrscope."):
        sys.path.insert(0, here)
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
