"""The small JSON files of a sweep's folder: sealed with a checksum, and what they must hold. A checksum does not say who wrote
a file, so an experiment's types are looked at too; a plan's are by `Plan.from_dict`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lrscope.storage.files import parse_json

EXPERIMENT_FILE = "experiment.json"
PLAN_FILE = "plan.json"
SUM = "sha256"


def json_checksum(value: Mapping[str, Any]) -> str:
    """SHA-256 over JSON-ready values, whatever their order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sealed(value: Mapping[str, Any]) -> bytes:
    """The file of these values, with their checksum."""
    values = {key: item for key, item in value.items() if key != SUM}
    text = json.dumps({**values, SUM: json_checksum(values)}, indent=1, sort_keys=True)
    return (text + "\n").encode()


def content(name: str, data: bytes) -> dict[str, Any] | None:
    """What a JSON file of the folder says; None if it is not as `sealed` makes it."""
    try:
        value = parse_json(data)
        whole = isinstance(value, dict) and value.pop(SUM, None) == json_checksum(value)
    except (ValueError, RecursionError):
        return None
    return value if whole and (name != EXPERIMENT_FILE or _is_experiment(value)) else None


def _is_experiment(value: Mapping[str, Any]) -> bool:
    """Has everything in experiment.json its type?"""
    extends = value.get("extends", {"hashes": [], "turned": True})
    return (
        isinstance(value.get("hash"), str)
        and all(isinstance(value.get(key, {}), dict) for key in ("config", "task_summary"))
        and isinstance(value.get("command") or "", str)
        and isinstance(value.get("created", ""), str)
        and isinstance(extends, dict)
        and isinstance(extends.get("hashes"), list)
        and isinstance(extends.get("turned"), bool)
    )
