"""What `verify` says of claims: a row each, in words and for programs, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lrscope.studies.evidence import parts_of
from lrscope.studies.judged import EARLIER, UNCHECKED, records
from lrscope.studies.phrases import aligned, effect, table
from lrscope.studies.types import Claim, Study

FOUND = ("verdict", "headline", "effect", "low", "high", "unit", "seeds", "note", "parts")
NOTHING: dict[str, Any] = {
    "headline": "",
    "effect": None,
    "low": None,
    "high": None,
    "unit": "",
    "seeds": 0,
    "note": "",
    "parts": [],
}


def rows(
    claims: Sequence[Claim], current: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A row for each claim: `id`, `sentence`, `criterion`, and what was found (`FOUND`), from records by claim.

    A claim that was judged by an earlier criterion has that as its verdict and nothing else that was found: what was is
    under `earlier`, with the criterion of then. `earlier` is None for all other claims.
    """
    return [_row(claim, current.get(claim.id), before.get(claim.id)) for claim in claims]


def recorded(study: Study, claims: Sequence[Claim], found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The rows of claims from an evidence file."""
    return rows(claims, records(found, study), records(found, study, EARLIER))


def in_words(row: Mapping[str, Any]) -> str:
    """A row as lines of text."""
    before = row["earlier"]
    head = f"{row['verdict']}, {effect(row)}" if before is None and row["parts"] else row["verdict"]
    lines = [f"{row['id']}: {head}", f"  {row['sentence']}", f"  criterion: {row['criterion']}", *_parts(row)]
    if before is not None:
        lines += [
            f"  earlier criterion: {before['criterion']}",
            f"  found by it: {before['verdict']}, {effect(before)}",
            *_parts(before),
            f"  {before['note']}",
        ]
    return "\n".join([*lines, *([f"  {row['note']}"] if row["note"] else [])]) + "\n"


def left_to_do(answers: Sequence[Mapping[str, Any]], command: str) -> Iterator[str]:
    """A sentence about claims without evidence, and one about those that were judged by an earlier criterion."""
    absent = [row["id"] for row in answers if row["verdict"] == UNCHECKED]
    before = [row["id"] for row in answers if row["verdict"] == EARLIER]
    if absent:
        yield f"no evidence for {', '.join(absent)}: {command} makes it"
    if before:
        yield f"{', '.join(before)}: {EARLIER}: {command} checks anew, with runs in another --root"


def _row(claim: Claim, now: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> dict[str, Any]:
    head = {"id": claim.id, "sentence": claim.sentence, "criterion": claim.criterion}
    if now is not None:
        return head | _found(now) | {"earlier": None}
    if before is None:
        return head | {"verdict": UNCHECKED} | NOTHING | {"earlier": None}
    return head | {"verdict": EARLIER} | NOTHING | {"earlier": {"criterion": before["criterion"], **_found(before)}}


def _found(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record found, with what those of earlier versions lack."""
    whole = {"headline": "", "unit": "", **record, "parts": parts_of(record)}
    return {key: whole[key] for key in FOUND}


def _parts(row: Mapping[str, Any]) -> list[str]:
    told = table(row)
    return [aligned(told)] if told else []
