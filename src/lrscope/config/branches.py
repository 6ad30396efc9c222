"""Branches of a training tree: segments that leave pre-training, a fine-tuning or another branch. Imports no PyTorch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

from lrscope.config.schedule import Course
from lrscope.dynamics.own_schedule import OwnSchedule
from lrscope.errors import LrscopeError, nearest, shown
from lrscope.readers import Increasing, Number, Rates, Whole, Word, read_fields
from lrscope.schema import ROOT_VARIABLES, SHARED, TRAIN, Node, variables_of
from lrscope.values import as_list, plain

MOST_STEPS = 100_000_000  # ours: a run's schedule is held in memory, 8 bytes a step
MOST_BRANCHES = 100  # ours: names of a result's nodes
MOST_POINTS = 10_000  # ours: trained one after the other
HUGE = 1e6  # ours: of factors
PRETRAIN, AVERAGE, FINETUNE = "pretrain", "average", "finetune"
ROOT_NAMES = (PRETRAIN, AVERAGE, FINETUNE, "random")
LISTED = {"at": "at", "at_loss": "loss", "lrs": "lr", "factors": "factor", "schedules": "schedule"}  # field -> axis
FORM = "write NAME at=EPOCH,EPOCH factors=F,F epochs=E, such as decay at=10,20 factors=0.1 epochs=5"
TAKEN = {*SHARED, *ROOT_VARIABLES, "epoch", "step"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Schedules:
    """Reads schedules: a list, or their text with | between them, because a schedule has commas."""

    def read(self, name: str, value: Any) -> tuple[str, ...]:
        """See `lrscope.readers.Reader`."""
        value = plain(value)
        if isinstance(value, OwnSchedule) or callable(value):
            value = [value]
        items = value.split("|") if isinstance(value, str) else as_list(value)
        if items is None:
            raise LrscopeError(f"{name}: {shown(value)} are no schedules: use {self.takes()}")
        found = tuple(Course().read(name, item.strip() if type(item) is str else item) for item in items)
        if len(set(found)) < len(found):
            raise LrscopeError(f"{name}: {shown(list(found))} has one of them twice: give each once")
        return found

    def takes(self) -> str:
        """See `lrscope.readers.Reader`."""
        return "schedules with | between them, such as linear|1-sqrt"


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A segment that leaves another one and trains on from there, without training again what came before.

    Each list that is given is an axis of the result's node: `at` of the branch `decay` is `decay_at`, then `decay_loss`,
    `decay_lr`, `decay_factor` and `decay_schedule`. The branch is trained at every combination of them.
    """

    name: Annotated[str, Word(words="a name of small letters, digits and _")]
    """What the segment is called; its node in the result has this name."""
    parent: Annotated[str, Word(words="pretrain, finetune or a branch named before")] = PRETRAIN
    """The segment that it leaves."""
    at: Annotated[tuple[float, ...], Increasing(Number(0, MOST_STEPS), "10,20,40")] = ()
    """Times, in epochs of the parent, at which it leaves the parent; 0 is the parent's beginning.

    Default: the parent's end
    """
    at_loss: Annotated[tuple[float, ...], Increasing(Number(-HUGE, HUGE), "0.1,0.5")] = ()
    """Training losses: each run leaves its parent at the first logged interval whose mean loss is as low."""
    lrs: Annotated[tuple[float, ...], Rates(optional=True)] = ()
    """Learning rates that all runs have from there on.

    Default: the parent's
    """
    factors: Annotated[tuple[float, ...], Increasing(Number(0, HUGE, above=True), "0.01,0.1")] = ()
    """Factors of the parent's learning rate (of the one before its schedule), instead of learning rates."""
    schedules: Annotated[tuple[str, ...], Schedules()] = ()
    """Courses of the learning rate along the branch.

    Default: constant
    """
    optimizer: Annotated[str, Word(("kept", "fresh"))] = "kept"
    """Does the optimizer's state go on from the parent's, or start afresh?"""
    epochs: Annotated[float | None, Number(0, MOST_STEPS, above=True)] = None
    """Length in epochs."""
    steps: Annotated[int | None, Whole(1, MOST_STEPS)] = None
    """Length in optimizer steps, instead of epochs."""
    until: Annotated[float | None, Number(0, MOST_STEPS, above=True)] = None
    """End, in epochs since pre-training began, instead of a length: branches at every time have one budget."""

    def __post_init__(self) -> None:
        read_fields(self)
        if not _NAME.fullmatch(self.name) or self.name in ROOT_NAMES:
            raise LrscopeError(
                f"branches: {shown(self.name)} is no name for a branch: use small letters, digits and _, but none of "
                f"{', '.join(ROOT_NAMES)}"
            )
        self._check_names()
        if self.lrs and self.factors:
            raise self._wrong("it has both lrs and factors: give one of them")
        if self.at and self.at_loss:
            raise self._wrong("it has both at and at_loss: give one of them")
        if sum(length is not None for length in (self.epochs, self.steps, self.until)) != 1:
            raise self._wrong("say how long it is, in one of epochs, steps and until")

    def _check_names(self) -> None:
        """Refuse names that something else has in the result."""
        if self.name in TAKEN:
            raise LrscopeError(f"branches: {self.name!r} is a name of something else in the result: use another one")
        variables = variables_of(Node(self.name, TRAIN, PRETRAIN))
        for axis in self.axes:
            if axis in variables or axis in TAKEN:
                raise self._wrong(f"its axis would be called {axis}, as a variable is: use another name")

    def _wrong(self, what: str) -> LrscopeError:
        return LrscopeError(f"branches: {self.name}: {what}")

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The branch's own axes by name, with their values."""
        given = {axis: getattr(self, field) for field, axis in LISTED.items()}
        return {f"{self.name}_{axis}": values for axis, values in given.items() if values}

    def asked(self) -> dict[str, Any]:
        """The fields that differ from their defaults, JSON-ready."""
        values = asdict(self)
        return {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}

    def __str__(self) -> str:
        """As the command line writes it."""
        words = [self.name]
        for name, value in self.asked().items():
            if name != "name":
                mark = "|" if name == "schedules" else ","
                words.append(f"{name}={mark.join(map(_text, value)) if isinstance(value, tuple) else _text(value)}")
        return " ".join(words)


def _text(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


@dataclass(frozen=True)
class Branches:
    """Reads branches: `Branch`es, tables of a config file, or their text with ; between them."""

    def read(self, name: str, value: Any) -> tuple[Branch, ...]:
        """See `lrscope.readers.Reader`."""
        if isinstance(value, (Branch, Mapping)):
            value = [value]
        items = [part for part in value.split(";") if part.strip()] if isinstance(value, str) else as_list(value)
        if items is None:
            raise LrscopeError(f"{name}: {shown(value)} are no branches: use lrscope.Branch(...), or {FORM}")
        if len(items) > MOST_BRANCHES:
            raise LrscopeError(f"{name}: there are more than {MOST_BRANCHES}: use fewer, with lists in them")
        return tuple(_branch(name, item) for item in items)

    def takes(self) -> str:
        """See `lrscope.readers.Reader`."""
        return "branches with ; between them, such as decay at=10,20 factors=0.1 epochs=5"

    def as_text(self, value: Sequence[Branch]) -> str:
        """The text of what was read."""
        return "; ".join(map(str, value))


def _branch(option: str, item: Any) -> Branch:
    if isinstance(item, Branch):
        return item
    values = _words(option, item) if isinstance(item, str) else item
    if not isinstance(values, Mapping):
        raise LrscopeError(f"{option}: {shown(item)} is no branch: use lrscope.Branch(...), or {FORM}")
    known = tuple(f.name for f in fields(Branch))
    for name in values:
        if name not in known:
            hint = nearest(str(name), known)
            raise LrscopeError(f"{option}: {shown(name)} is no option of a branch: {hint} ({', '.join(known)})")
    if "name" not in values:
        raise LrscopeError(f"{option}: {shown(dict(values))} has no name: give it one")
    label = shown(values["name"]) if not isinstance(values["name"], str) else values["name"]
    try:
        return Branch(**values)
    except LrscopeError as error:
        said = str(error)
        raise error if said.startswith(f"{option}:") else LrscopeError(f"{option}: {label}: {said}") from None


def _words(option: str, text: str) -> dict[str, Any]:
    name, *rest = text.split()
    values: dict[str, Any] = {"name": name.removesuffix(":")}
    for word in rest:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise LrscopeError(f"{option}: cannot read {shown(word)} in {shown(text.strip())}: {FORM}")
        if key in values:
            raise LrscopeError(f"{option}: {shown(text.strip())} says {key} twice: say it once")
        values[key] = value
    return values


def check_tree(branches: Sequence[Branch], *, finetunes: bool) -> None:
    """Refuse branches that do not make a tree with pre-training as its root.

    Args:
        branches: in the order in which they are given.
        finetunes: are there fine-tunes to branch from?
    """
    known = [PRETRAIN, *([FINETUNE] if finetunes else [])]
    timed = set(known)  # segments whose end is known in epochs since pre-training began
    for branch in branches:
        if branch.name in known:
            raise LrscopeError(f"branches: there are two of the name {branch.name}: give each one of its own")
        if branch.parent not in known:
            raise LrscopeError(_no_parent(branch, known))
        if branch.until is not None and (branch.parent not in timed or branch.at_loss):
            raise LrscopeError(
                f"branches: {branch.name}: until counts from the start of pre-training, and when it begins is not known "
                "before: say epochs or steps"
            )
        known.append(branch.name)
        if branch.parent in timed and not branch.at_loss:
            timed.add(branch.name)


def _no_parent(branch: Branch, known: Sequence[str]) -> str:
    if branch.parent == AVERAGE:
        return f"branches: {branch.name}: averages are not trained on: use parent pretrain"
    if branch.parent == FINETUNE:
        return f"branches: {branch.name}: there are no fine-tunes to leave: name finetune_lrs too"
    return (
        f"branches: {branch.name}: its parent {shown(branch.parent)} is none of {', '.join(known)}: name one of them, or a "
        "branch that comes before"
    )
