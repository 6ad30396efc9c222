"""Rules that committed evidence must keep; the tests hold every study of the table to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lrscope.studies import evidence
from lrscope.studies.dependencies import claims_at
from lrscope.studies.history import History
from lrscope.studies.judged import CURRENT, UNKNOWN, earlier_criteria, standing
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
    for name in sorted(records.keys() - claims.keys()):
        yield f"{path}: claim {name} is in the evidence only"
    for name in sorted(claims.keys() - records.keys()):
        yield from _left_out(f"{path}: claim {name}", claims[name], found["created"], history)
    for name in claims.keys() & records.keys():
        yield from _judged(f"{path}: claim {name}", study, claims[name], records[name], history)
        if history.repository is not None:
            yield from _changed(f"{path}: claim {name}", study, claims[name], folder, history)


def _left_out(where: str, claim: Claim, created: str, history: History) -> Iterator[str]:
    """A claim without a record is new, or has a new criterion: otherwise it could have been checked."""
    commit = history.standing(claim.id, claim.criterion)
    if commit is not None and evidence.when(commit.date) <= evidence.when(created):
        yield f"{where}: its criterion ({commit.date}) is older than the evidence ({created}), which leaves it out"


def _judged(where: str, study: Study, claim: Claim, record: dict[str, Any], history: History) -> Iterator[str]:
    """The record is of the claim's criterion, or of one from which logged changes lead to it."""
    state = standing(study, claim, record)
    if state == UNKNOWN and record["criterion"] == claim.criterion:
        yield f"{where}: exploratory in one place and not in the other; add a Change"
    elif state == UNKNOWN:
        yield f"{where}: judged by another criterion than the study's; add a Change (before: {record['criterion']!r})"
    elif record["verdict"] != (weak := _weakest(record)):
        yield f"{where}: {record['verdict']}, but its weakest part is {weak}"
    elif history.repository is not None:
        yield from _dated(where, record, history, now=state == CURRENT)


def _weakest(record: dict[str, Any]) -> str:
    verdicts: list[str] = [part["verdict"] for part in evidence.parts_of(record)]
    return min(verdicts, key=strength)


def _dated(where: str, record: dict[str, Any], history: History, *, now: bool) -> Iterator[str]:
    """The criterion was committed, then run; `now`: it stands to this day."""
    claim, criterion, named = record["id"], record["criterion"], record["criterion_commit"]
    brought = history.brought(claim, criterion)
    if not brought or (now and history.standing(claim, criterion) is None):
        yield f"{where}: its criterion is not committed as it stands"
        return
    known = {commit.hash: commit for commit in (brought[:1] if now else brought)}
    if named not in known:
        yield f"{where}: commit {named[:9]} did not bring the criterion; {brought[0].hash[:9]} did"
    elif not record["exploratory"] and evidence.when(known[named].date) > evidence.when(record["started"]):
        yield f"{where}: its criterion ({known[named].date}) is younger than its runs ({record['started']})"


def _changed(where: str, study: Study, claim: Claim, folder: Path, history: History) -> Iterator[str]:
    """From every text that the criterion had when evidence was committed logged changes lead to the present one. Drafts that
    no evidence was judged by need none."""
    led = {claim.criterion, *earlier_criteria(study, claim)}
    for text in history.texts_with(claim.id, folder / study.name):
        if text not in led:
            yield f"{where}: its criterion was changed after evidence was committed; add a Change (before: {text!r})"
