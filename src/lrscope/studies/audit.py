"""Rules that committed evidence must keep; the tests hold every study of the table to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lrscope.studies import evidence
from lrscope.studies.dependencies import claims_at
from lrscope.studies.history import History
from lrscope.studies.types import SCALES, Claim, Study, strength


def audit(study: Study, folder: Path, history: History) -> list[str]:
    """What is wrong with the evidence of a study, a sentence each: nothing where all is well.

    Git's part is left out where there is no history (an installed package, an archive, a shallow clone).
    """
    return [words for scale in SCALES for words in _problems(study, scale, folder, history)]


def _problems(study: Study, scale: str, folder: Path, history: History) -> Iterator[str]:
    path = evidence.path_of(folder, study.name, scale)
    if scale not in study.scales:
        if path.exists():
            yield f"{path}: {study.name} has no scale {scale}"
        return
    found = evidence.load(folder, study, scale)
    if found is None:
        return
    claims = {claim.id: claim for claim in claims_at(study, scale)}
    records = {record["id"]: record for record in found["claims"]}
    for name in sorted(set(claims) ^ set(records)):
        yield f"{path}: claim {name} is in {'the study' if name in claims else 'the evidence'} only"
    for name in claims.keys() & records.keys():
        where = f"{path}: claim {name}"
        if records[name]["criterion"] != claims[name].criterion:
            yield f"{where}: judged by another criterion than the study's"
        elif claims[name].exploratory != records[name]["exploratory"]:
            yield f"{where}: exploratory in one place and not in the other"
        elif records[name]["verdict"] != (weak := _weakest(records[name])):
            yield f"{where}: {records[name]['verdict']}, but its weakest part is {weak}"
        elif history.repository is not None:
            yield from _dated(where, claims[name], records[name], history)
        if history.repository is not None:
            yield from _changed(where, study, claims[name], folder, history)


def _weakest(record: dict[str, Any]) -> str:
    verdicts: list[str] = [part["verdict"] for part in evidence.parts_of(record)]
    return min(verdicts, key=strength)


def _dated(where: str, claim: Claim, record: dict[str, Any], history: History) -> Iterator[str]:
    """The criterion was committed, then run."""
    commit = history.standing(claim.id, claim.criterion)
    if commit is None:
        yield f"{where}: its criterion is not committed as it stands"
    elif commit.hash != record["criterion_commit"]:
        yield f"{where}: commit {record['criterion_commit'][:9]} did not bring the criterion; {commit.hash[:9]} did"
    elif not claim.exploratory and evidence.when(commit.date) > evidence.when(record["started"]):
        yield f"{where}: its criterion ({commit.date}) is younger than its runs ({record['started']})"


def _changed(where: str, study: Study, claim: Claim, folder: Path, history: History) -> Iterator[str]:
    """Every text that the criterion has had since there was evidence is in the log of changes."""
    texts = history.texts_since(claim.id, folder / study.name)
    logged = {(change.before, change.after) for change in study.changes if change.claim == claim.id}
    for before, after in zip(texts, [*texts[1:], claim.criterion], strict=False):  # no texts: nothing to log
        if before != after and (before, after) not in logged:
            yield f"{where}: its criterion was changed after evidence was committed; add a Change (before: {before!r})"
