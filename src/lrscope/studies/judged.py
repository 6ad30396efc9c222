"""Does a record of the evidence still judge its claim? It does if the criterion is the one that it was judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrscope.studies.types import Claim, Study

CURRENT = "judged by the criterion"
EARLIER = "judged by an earlier criterion"
UNCHECKED = "not checked yet"
UNKNOWN = "judged by a criterion that no change names"


def standing(study: Study, claim: Claim, record: Mapping[str, Any]) -> str:
    """`CURRENT`, `EARLIER` where logged changes lead from the record's criterion to the claim's, else `UNKNOWN`.

    A claim that became exploratory, or ceased to be, is judged otherwise by the same words: that is a change too, whose
    texts before and after may be the same.
    """
    if (record["criterion"], record.get("exploratory", False)) == (claim.criterion, claim.exploratory):
        return CURRENT
    return EARLIER if record["criterion"] in earlier_criteria(study, claim) else UNKNOWN


def earlier_criteria(study: Study, claim: Claim) -> set[str]:
    """The criteria from which logged changes led to the present one, over any number of steps."""
    found: set[str] = set()
    texts = [claim.criterion]
    while texts:
        after = texts.pop()
        led = {change.before for change in study.changes if (change.claim, change.after) == (claim.id, after)}
        texts += led - found
        found |= led
    return found


def records(found: Mapping[str, Any] | None, study: Study, state: str = CURRENT) -> dict[str, dict[str, Any]]:
    """Those records of an evidence file that have this standing, by claim."""
    claims = {claim.id: claim for claim in study.claims}
    known = [] if found is None else [record for record in found["claims"] if record["id"] in claims]
    return {record["id"]: record for record in known if standing(study, claims[record["id"]], record) == state}
