"""By what a sweep is known: a hash of its task and of what its config asks for beyond the defaults.

**The rule.** The hash is over the task's fingerprint and the fields of `SweepConfig` that differ from their defaults. So a
field that is added changes the hash of no sweep that leaves it out. A default of such a field is never changed: it is part of
what every hash means (a test holds the defaults).

**Sweeps of earlier versions.** Their hash is over all fields that there were then (`ALWAYS_STATED`), defaults too, and over later
ones where they differ. A folder, its units or its result that state this hash keep it, and so are opened, continued and
extended as they were begun: `hash_of` gives the hash that is stated if it is this sweep's by either rule.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any

from lrscope.config.sweep import SweepConfig

# An option that meant something else in earlier versions: what it means now stands in the hash in place of its value.
RULES = {("augment", True): "crops from a black frame of an eighth of the side"}
ALWAYS_STATED = {
    *("lrs", "seeds", "data_seeds", "space", "scale_invariant", "radius", "epochs", "steps", "batch_size", "momentum"),
    *("weight_decay", "schedule", "finetune_lrs", "finetune_epochs", "finetune_steps", "average", "average_every"),
    *("same_init", "augment", "precision", "log_points", "adaptive", "random_points"),
}


def differing(config: SweepConfig) -> dict[str, Any]:
    """The fields that differ from their defaults, JSON-ready."""
    defaults = {f.name: f.default for f in fields(config) if f.default is not MISSING}
    asked = {k: v for k, v in _by_rules(config).items() if k not in defaults or v != defaults[k]}
    return {**asked, **({"branches": [branch.asked() for branch in config.branches]} if config.branches else {})}


def _by_rules(config: SweepConfig) -> dict[str, Any]:
    meanings = {name: rule for (name, value), rule in RULES.items() if getattr(config, name) == value}
    return {**config.to_dict(), **meanings}


def hashes(fingerprint: str, config: SweepConfig) -> tuple[str, str]:
    """The hash of the sweep of a task with this fingerprint: by the rule, and as earlier versions stated it."""
    asked = differing(config)
    stated = {k: v for k, v in _by_rules(config).items() if k in ALWAYS_STATED or k in asked}
    return digest([fingerprint, asked]), digest([fingerprint, stated])


def hash_of(fingerprint: str, config: SweepConfig, stated: Iterable[Any] = ()) -> str:
    """The hash of a sweep: what its folder states, if that is this sweep's by either rule."""
    known = hashes(fingerprint, config)
    return next((hash_ for hash_ in stated if hash_ in known), known[0])


def digest(parts: Iterable[Any]) -> str:
    """A short hash of JSON-ready values."""
    text = json.dumps(list(parts), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
