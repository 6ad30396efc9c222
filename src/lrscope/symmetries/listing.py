"""Symmetries as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from lrscope.symmetries.types import GROUP, INVARIANT, NO_EFFECT, RESCALING, Symmetries, Symmetry

WIDTH = 100  # ours: letters of a line


def listing(found: Symmetries) -> str:
    """All symmetries as a table of lines."""
    head = (
        f"{found.model}: {_count(found.tensors, 'tensor', 'tensors')} with {found.weights:,} weights that train, "
        f"{_count(len(found), 'symmetry', 'symmetries')} in {found.mode} mode"
    )
    blocks = [
        _singles("scale-invariant, each tensor by itself", found.of(INVARIANT)),
        *(_group(one) for one in found.of(GROUP)),
        _pairs(found.of(RESCALING)),
        _singles("no effect on the outputs", found.of(NO_EFFECT)),
    ]
    return "\n\n".join([head, *filter(None, blocks), *_footnote(found)])


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _mark(one: Symmetry) -> str:
    return "" if one.train and one.eval else "*"


def _footnote(found: Symmetries) -> list[str]:
    if not any(_mark(one) for one in found):
        return []
    return [f"* in {found.mode} mode only"]


def _singles(title: str, found: Iterable[Symmetry]) -> str:
    """Symmetries of one tensor each, those with equal channels together."""
    texts: dict[str, list[str]] = {}
    for one in found:
        texts.setdefault(_channels(one), []).append(one.parts[0].label + _mark(one))
    count = sum(map(len, texts.values()))
    lines = [f"{title} ({count}):"]
    for channels, names in texts.items():
        lines += [_filled(names, 1), *([f"    {channels}"] if channels else [])]
    return "\n".join(lines) if count else ""


def _channels(one: Symmetry) -> str:
    if one.channels is None:
        return ""
    axes = {part.axis for part in one.parts}
    side = {0: "output channel", 1: "input channel"}.get(next(iter(axes)) or 0) if len(one.parts) == 1 else None
    return f"each {side} too" if side else f"each of {one.channels} channels with a factor of its own"


def _group(one: Symmetry) -> str:
    """A group of tensors that have one factor."""
    what = ": a residual stream" if one.is_stream else ""
    channels = _channels(one)
    title = f"one group of {len(one.parts)} tensors{what}{_mark(one)}" + (f", {channels}" if channels else "")
    return f"{title}:\n{_filled([part.label for part in one.parts], 1)}"


def _pairs(found: Sequence[Symmetry]) -> str:
    title = f"rescaling, what stands before | is multiplied and what stands behind it divided ({len(found)}):"
    return "\n".join([title, *(line for one in found for line in _pair(one))]) if found else ""


def _pair(one: Symmetry) -> list[str]:
    up = [part.label for part in one.parts if part.power > 0]
    down = [part.label for part in one.parts if part.power < 0]
    notes = ["a residual stream"] * one.is_stream + ([_channels(one)] if one.channels else [])
    text = _filled([*up[:-1], f"{up[-1]} | {down[0]}" + ("" if down[1:] else _mark(one)), *down[1:]], 1)
    if down[1:]:
        text += _mark(one)
    return [text, *([f"    {'; '.join(notes)}"] if notes else [])]


def _filled(names: Iterable[str], level: int) -> str:
    indent = "  " * level
    lines = textwrap.wrap(
        ", ".join(names),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)
