"""What a report begins with: where to start in one sentence, what is reached there, and what that rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lrscope.charts.text import plural
from lrscope.mapping.types import RegimeMap
from lrscope.reporting.text import rate, sentence


@dataclass(frozen=True, kw_only=True)
class Banner:
    """Plain sentences, each with its full stop.

    Attributes:
        known: is anything recommended?
        headline: the answer.
        reached: (test result, what it is) before the decay and after it, or one pair where nothing was decayed.
        at: where that was measured.
        alternative: what else was measured; empty if nothing.
        basis: what the answer rests on, sentence by sentence.
    """

    known: bool
    headline: str
    reached: tuple[tuple[str, str], ...] = ()
    at: str = ""
    alternative: str = ""
    basis: tuple[str, ...] = ()


def banner(regime_map: RegimeMap, short: str, task: Any) -> Banner:
    """The answer of a map.

    Args:
        regime_map: the map.
        short: what its learning rates are called, such as `ELR` or `peak learning rate`.
        task: the result's `task` attribute as a value; anything but a dictionary is taken as empty.
    """
    advice = regime_map.recommended
    ends = [rate(x) for x in (advice.low, advice.high) if x is not None]
    if not ends:
        return Banner(known=False, headline=f"Where to start is undetermined: {sentence(advice.reason, capital=False)}")
    start = f"Start at {short} {' to '.join(dict.fromkeys(ends))}"
    headline = f"{start}, then decay to {rate(advice.finetune_lr)}." if advice.finetune_lr is not None else f"{start}."
    chooser = who_chose(advice.chosen_by, task)
    return Banner(
        known=True,
        headline=headline,
        reached=_reached(regime_map),
        at=_where(regime_map, short),
        alternative=sentence(advice.alternative),
        basis=(*_clauses(regime_map), *([chooser] if chooser else [])),
    )


def _reached(regime_map: RegimeMap) -> tuple[tuple[str, str], ...]:
    advice = regime_map.recommended
    if advice.before is None:
        return ()
    if advice.after is None:
        return ((regime_map.show(advice.before), regime_map.measure),)
    return (
        (regime_map.show(advice.before), f"{regime_map.measure} before the decay"),
        (regime_map.show(advice.after), f"{regime_map.measure} after the decay"),
    )


def _where(regime_map: RegimeMap, short: str) -> str:
    best = regime_map.recommended.best
    return "" if best is None else f"mean over {plural(regime_map.seeds, 'seed')} at {short} {rate(best)}"


def _clauses(regime_map: RegimeMap) -> list[str]:
    """The reason's clauses as sentences, without the one that states what `reached` shows and the one on who chose, which
    `who_chose` says with numbers of examples."""
    advice = regime_map.recommended
    shown = [regime_map.measure] if advice.before is not None else []
    shown += [f"chosen by {advice.chosen_by}"] if advice.chosen_by else []
    clauses = [c for c in advice.reason.split("; ") if c and not c.startswith(tuple(shown))]
    return [sentence(c) for c in clauses]


def who_chose(chosen_by: str, task: Any) -> str:
    """Which examples chose and which report, with their numbers; empty where nothing was chosen."""
    if not chosen_by:
        return ""
    told = task if isinstance(task, dict) else {}
    validation = told.get("validation")
    validation = validation if isinstance(validation, dict) else {}
    size, tests = _count(validation.get("size")), _examples(told.get("test_size"), "test")
    if chosen_by.startswith("validation"):
        source = validation.get("source")
        origin = f" ({source})" if isinstance(source, str) else ""
        return f"Chosen by the {chosen_by} on {_examples(size, 'validation')}{origin}; the {tests} only report."
    return (
        f"Chosen by the {chosen_by} on the {tests} that also report it, which is optimistic: a validation set "
        "(--validation) would keep the two apart."
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _examples(size: Any, kind: str) -> str:
    known = _count(size)
    return f"{kind} examples" if known is None else f"{known:,} {kind} example{'' if known == 1 else 's'}"
