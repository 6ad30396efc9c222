"""Evidence: what each claim's check found, with what it was computed from and the commit that fixed its criterion beforehand.

One small JSON file per study and scale, `evidence/<study>/<scale>.json`, committed beside the code and shipped with the package.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrscope._version import __version__
from lrscope.errors import LrscopeError
from lrscope.storage.files import write_whole
from lrscope.studies import judged, registry
from lrscope.studies.history import Commit, History
from lrscope.studies.types import Claim, Study
from lrscope.terminal import warn

if TYPE_CHECKING:
    from lrscope.studies.reproduction import Reproduction

FOLDER = "evidence"


def folder_of(name: str) -> Path:
    """Where the evidence of a study lies: beside the package, at the root of its repository, or, for a study of one's own,
    in the current folder."""
    if registry.is_own(name):
        return Path.cwd() / FOLDER
    package = Path(__file__).resolve().parent.parent
    shipped = package / FOLDER
    return shipped if shipped.is_dir() else package.parent.parent / FOLDER


def path_of(folder: Path, study: str, scale: str) -> Path:
    """The file of a study at a scale."""
    return folder / study / f"{scale}.json"


def load(folder: Path, study: Study, scale: str) -> dict[str, Any] | None:
    """The evidence of a study at a scale; None if there is none.

    Raises:
        LrscopeError: a file that cannot be read.
    """
    path = path_of(folder, study.name, scale)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LrscopeError(f"evidence {path} cannot be read ({error}): restore it with git, or delete it") from error
    if not isinstance(found, dict) or not isinstance(found.get("claims"), list):
        raise LrscopeError(f"evidence {path} is not of lrscope's form: restore it with git, or delete it")
    return found


def record(reproduction: Reproduction, claim: Claim) -> dict[str, Any]:
    """Check a claim in what is there: its headline, its parts, and what the check found beside them; NaN is written as None."""
    finding = reproduction.check(claim)
    headline = finding.headline
    made: dict[str, Any] = plain(
        {
            "id": claim.id,
            "sentence": claim.sentence,
            "criterion": claim.criterion,
            "verdict": finding.verdict,
            "headline": headline.name,
            "effect": headline.value,
            "low": headline.low,
            "high": headline.high,
            "unit": headline.unit,
            "seeds": headline.seeds,
            "note": finding.note,
            "parts": [asdict(part) for part in finding.parts],
            "numbers": finding.numbers,
            "exploratory": claim.exploratory,
        }
    )
    return made


def parts_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of a record. One of an earlier version has a single verdict, which is one part without a unit."""
    if "parts" in row:
        return list(row["parts"])
    plain_part = {"verdict": row["verdict"], "value": row["effect"], "low": row["low"], "high": row["high"]}
    return [
        {
            **plain_part,
            "name": "",
            "unit": "",
            "criterion": "",
            "seeds": row["seeds"],
            "asked": row["seeds"],
            "note": "",
        }
    ]


def fixed_before(claim: Claim, history: History, started: str) -> Commit:
    """The commit that fixed a claim's criterion, which must be older than the runs; exploratory claims may come after.

    Raises:
        LrscopeError: there is none, or it is younger; the sentence says what to do.
    """
    if history.repository is None:
        raise LrscopeError(
            f"criterion of {claim.id}: {history.source} is in no git repository with its whole history, which dates "
            "criteria: save evidence from a full clone"
        )
    commit = history.standing(claim.id, claim.criterion)
    if commit is None:
        raise LrscopeError(
            f"criterion of {claim.id}: it is not committed as it stands, as a string literal in "
            f'Claim(id="{claim.id}", criterion="..."): commit it, then run into another --root'
        )
    if not claim.exploratory and when(commit.date) > when(started):
        raise LrscopeError(
            f"criterion of {claim.id}: commit {commit.hash[:9]} of {commit.date} is younger than the runs it judges "
            f"({started}): run them anew into another --root, or declare the claim exploratory"
        )
    return commit


def save(reproduction: Reproduction, claims: Sequence[Claim], folder: Path, history: History) -> Path:
    """Check claims and write them into the evidence file; other claims in it stay, those by an earlier criterion too, if what
    they rest on is the same.

    Raises:
        LrscopeError: a criterion that was not committed before its runs.
    """
    from lrscope.engine.provenance import code_hash
    from lrscope.studies.reproduction import now

    study, scale = reproduction.study, reproduction.scale_name
    sweeps, measurements = reproduction.records({need for claim in claims for need in claim.needs})
    made = {}
    for claim in claims:
        own_sweeps, own_measurements = reproduction.records(claim.needs)
        parts = {**own_sweeps, **own_measurements}
        started = min((part["created"] for part in parts.values()), key=when, default=now())
        commit = fixed_before(claim, history, started)
        made[claim.id] = record(reproduction, claim) | {
            "rests_on": sorted(parts),
            "started": started,
            "criterion_commit": commit.hash,
            "criterion_date": commit.date,
        }
    before = load(folder, study, scale)
    rows = judged.records(before, study, judged.EARLIER) | judged.records(before, study)
    if before is not None:
        fresh = {**sweeps, **measurements}
        stale = {
            name
            for name, part in {**before["sweeps"], **before["measurements"]}.items()
            if name in fresh and _key(part) not in reproduction.known_as(name)
        }
        dropped = [name for name, row in rows.items() if stale & set(row["rests_on"]) and name not in made]
        if dropped:
            warn(
                f"evidence of {', '.join(dropped)} is left out: {', '.join(sorted(stale))} changed since; check these claims too",
            )
        rows = {name: row for name, row in rows.items() if not stale & set(row["rests_on"])}
        used = {name for row in rows.values() for name in row["rests_on"]}
        sweeps = {name: part for name, part in before["sweeps"].items() if name in used} | sweeps
        measurements = {name: part for name, part in before["measurements"].items() if name in used} | measurements
    rows |= made
    content = {
        "study": study.name,
        "scale": scale,
        "created": now(),
        "versions": _versions(),
        "code_hash": code_hash(),
        "machine": _machine(),
        "sweeps": sweeps,
        "measurements": measurements,
        "claims": [rows[claim.id] for claim in study.claims if claim.id in rows],
    }
    path = path_of(folder, study.name, scale)
    write_whole(path, (json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return path


def when(stamp: str) -> datetime:
    """An ISO 8601 time."""
    return datetime.fromisoformat(stamp)


def plain(value: Any) -> Any:
    """JSON-ready: NaN and infinities become None, NumPy's numbers Python's."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [plain(v) for v in value]
    raise TypeError(f"{type(value).__name__} in a finding: use numbers, text, lists and dictionaries")


def _key(part: Mapping[str, Any]) -> object:
    return part.get("config_hash", part.get("identity"))


def _versions() -> dict[str, str]:
    import numpy
    import torch

    return {
        "lrscope": __version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
    }


def _machine() -> str:
    import os

    return f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores"
