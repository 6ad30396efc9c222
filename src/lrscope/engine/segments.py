"""The tree of segments as phases in steps: pre-training, averages, fine-tunes and branches, each at every point of its axes.

Phases are trained in the order of the tree, depth first, so that a phase comes after the one that it leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from lrscope.config import MOST_STEPS, SweepConfig
from lrscope.config.branches import AVERAGE, FINETUNE, MOST_POINTS, PRETRAIN, Branch
from lrscope.dynamics.own_schedule import OwnSchedule
from lrscope.engine.state import kept_at, kept_below
from lrscope.errors import LrscopeError, shown
from lrscope.values import plain

BRANCH = "branch"
AT_END = -1  # in place of a step: the end of the parent


@dataclass(frozen=True)
class Phase:
    """A stretch of training: a segment at one point of its axes.

    Attributes:
        kind: pretrain, average, finetune or branch.
        windows: step counts at which metrics are logged; the last one is its length.
        segment: the name of its segment.
        point: its place on the segment's axes, those of the segments above it first.
        lr: learning rate of all runs; None: each run has its own.
        factor: what the learning rate is multiplied by.
        schedule, warmup: course of the learning rate, and steps of a linear rise before it.
        snapshots: step counts, all of them windows, at which weights are kept.
        parent: number of the phase that it leaves; None for pre-training.
        left_at: after how many of the parent's steps it begins (AT_END: all).
        left_below: it begins, run by run, where the parent's training loss is first as low; None: it begins at a step.
        fresh: does the optimizer start afresh?
        stream, offset: whose batches it sees, from which step on.
        begun: steps from the start of pre-training to its beginning, if that is the same for all runs.
        leaves_at, leaves_below: steps (AT_END: the last) and losses at which branches leave this one.
    """

    kind: str
    windows: tuple[int, ...]
    segment: str
    point: tuple[tuple[str, Any], ...] = ()
    lr: float | None = None
    factor: float = 1.0
    schedule: str = "constant"
    warmup: int = 0
    snapshots: tuple[int, ...] = ()
    parent: int | None = None
    left_at: int = AT_END
    left_below: float | None = None
    fresh: bool = True
    stream: str = PRETRAIN
    offset: int = 0
    begun: int | None = 0
    leaves_at: tuple[int, ...] = ()
    leaves_below: tuple[float, ...] = ()

    @property
    def steps(self) -> int:
        """Length in optimizer steps."""
        return self.windows[-1]

    @property
    def is_averaged(self) -> bool:
        """Are its weights averaged, and only the averages evaluated?"""
        return self.kind == AVERAGE


def windows(steps: int, steps_per_epoch: int, points: int, also: Iterable[int] = ()) -> tuple[int, ...]:
    """Ends of the logging windows: every epoch, thinned evenly to at most `points`; the last step always; and `also`."""
    epochs = max(1, -(-steps // steps_per_epoch))
    ends = {steps, *also}
    count = min(epochs, points)
    for i in range(1, count):
        ends.add(round(i * epochs / count) * steps_per_epoch)
    return tuple(sorted(e for e in ends if 0 < e <= steps))


def length(epochs: float | None, steps: int | None, steps_per_epoch: int) -> int:
    """A phase's length in steps."""
    return steps if steps is not None else max(1, round((epochs or 0) * steps_per_epoch))


def moments(name: str, epochs: Sequence[float], steps: int, steps_per_epoch: int, least: int = 1) -> tuple[int, ...]:
    """Moments given in epochs as steps of a phase of `steps` steps; a phase's own epochs begin at 0."""
    found = tuple(dict.fromkeys(max(least, round(e * steps_per_epoch)) for e in epochs))
    if found and found[-1] > steps:
        said = "fine-tuning" if name.startswith(FINETUNE) else "training"
        raise LrscopeError(
            f"{name}: {epochs[-1]:g} comes after the end of {said} at epoch {steps / steps_per_epoch:g}: leave it out, "
            "or train longer"
        )
    return found


def phases(config: SweepConfig, steps_per_epoch: int) -> tuple[Phase, ...]:
    """The phases that every chunk goes through, in order: pretrain and its branches, average, one fine-tune per FLR with its
    branches.

    Raises:
        LrscopeError: a moment or a length that training does not have.
    """
    tree = _Tree(config, steps_per_epoch)
    steps = length(config.epochs, config.steps, steps_per_epoch)
    kept = moments("snapshot_epochs", config.snapshot_epochs, steps, steps_per_epoch)
    logged = moments("log_epochs", config.log_epochs, steps, steps_per_epoch)
    warmup = _warmup(config, steps, steps_per_epoch)
    root = Phase(PRETRAIN, (steps,), PRETRAIN, schedule=config.schedule, snapshots=kept, warmup=warmup)
    tree.add(root, also=(*kept, *logged))
    if config.average:
        every = config.average_every or steps_per_epoch
        ends = tuple((n - 1) * every for n in range(2, max(config.average) + 1))
        tree.keep(Phase(AVERAGE, ends, AVERAGE, parent=0, fresh=False, offset=steps, begun=steps))
    for lr in config.finetune_lrs:
        long = length(config.finetune_epochs, config.finetune_steps, steps_per_epoch)
        also = moments("finetune_log_epochs", config.finetune_log_epochs, long, steps_per_epoch)
        point = (("finetune_lr", lr),)
        tree.add(Phase(FINETUNE, (long,), FINETUNE, point, lr, parent=0, stream=FINETUNE, begun=steps), also=also)
    return tuple(tree.found)


class _Tree:
    """Phases in the order in which they are trained."""

    def __init__(self, config: SweepConfig, steps_per_epoch: int) -> None:
        self.config = config
        self.steps_per_epoch = steps_per_epoch
        self.found: list[Phase] = []

    def keep(self, phase: Phase) -> None:
        """The next phase, which nothing leaves."""
        _check_length(phase, self.steps_per_epoch)
        if len(self.found) >= MOST_POINTS:
            raise LrscopeError(f"branches: they have more than {MOST_POINTS:,} combinations of their lists: use fewer")
        self.found.append(phase)

    def add(self, phase: Phase, also: Iterable[int] = ()) -> None:
        """The next phase, logged at times of its own, and what leaves it."""
        _check_length(phase, self.steps_per_epoch)
        children = [branch for branch in self.config.branches if branch.parent == phase.segment]
        steps = phase.steps
        leaves = {step for branch in children for step in self._times(branch, steps)}
        losses = {loss for branch in children for loss in branch.at_loss}
        ends = windows(self._longest(phase), self.steps_per_epoch, self.config.log_points, (*also, *leaves, steps))
        number = len(self.found)
        self.keep(
            replace(
                phase,
                windows=tuple(end for end in ends if end <= steps),
                leaves_at=tuple(sorted(leaves)),
                leaves_below=tuple(sorted(losses)),
            )
        )
        for branch in children:
            for child in self._points(branch, number):
                self.add(child)

    def _longest(self, phase: Phase) -> int:
        """The length by which a phase's logging is thinned: that of the longest of its segment, so that all points share
        their times."""
        branch = next((b for b in self.config.branches if b.name == phase.segment), None)
        if branch is None or branch.until is None:
            return phase.steps
        return max(phase.steps, round(branch.until * self.steps_per_epoch))

    def _times(self, branch: Branch, steps: int) -> tuple[int, ...]:
        if not branch.at:
            return () if branch.at_loss else (AT_END,)
        name = f"branches: {branch.name}: at"
        found = moments(name, branch.at, steps, self.steps_per_epoch, least=0)
        rounded = [round(epoch * self.steps_per_epoch) for epoch in branch.at]
        for i, epoch in enumerate(branch.at):
            if rounded.count(rounded[i]) > 1 or (epoch and not rounded[i]):
                raise LrscopeError(
                    f"{name}: {epoch:g} epochs are {rounded[i]} steps of {self.steps_per_epoch} an epoch, as another time is: "
                    "give times that are at least a step apart"
                )
        return found

    def _points(self, branch: Branch, number: int) -> Iterator[Phase]:
        """The branch's phases that leave phase `number`, one for each combination of its lists."""
        for values in product(*branch.axes.values()):
            yield self._phase(branch, number, dict(zip(branch.axes, values, strict=True)))

    def _phase(self, branch: Branch, number: int, values: dict[str, Any]) -> Phase:
        parent, name = self.found[number], branch.name
        at = AT_END
        if branch.at:
            (at,) = moments("at", (values[f"{name}_at"],), parent.steps, self.steps_per_epoch, least=0)
        loss = values.get(f"{name}_loss")
        passed = parent.steps if at == AT_END else at
        begun = None if loss is not None or parent.begun is None else parent.begun + passed
        continues = branch.optimizer == "kept" and loss is None
        lr = values.get(f"{name}_lr")
        return Phase(
            BRANCH,
            (self._length(branch, begun),),
            name,
            (*parent.point, *values.items()),
            lr=parent.lr if lr is None else lr,
            factor=values.get(f"{name}_factor", 1.0) * (1.0 if lr is not None else parent.factor),
            schedule=values.get(f"{name}_schedule", "constant"),
            parent=number,
            left_at=at,
            left_below=loss,
            fresh=branch.optimizer == "fresh",
            stream=parent.stream if continues else name,
            offset=parent.offset + passed if continues else 0,
            begun=begun,
        )

    def _length(self, branch: Branch, begun: int | None) -> int:
        if branch.until is None:
            return length(branch.epochs, branch.steps, self.steps_per_epoch)
        assert begun is not None
        steps = round(branch.until * self.steps_per_epoch) - begun
        if steps < 1:
            raise LrscopeError(
                f"branches: {branch.name}: until {branch.until:g} is over when it begins, at epoch "
                f"{begun / self.steps_per_epoch:g}: use a later one, or leave this time out of at"
            )
        return steps


def _warmup(config: SweepConfig, steps: int, steps_per_epoch: int) -> int:
    """Length of the learning rate's rise in steps.

    Raises:
        LrscopeError: it is as long as pre-training.
    """
    if config.warmup_epochs is None and config.warmup_steps is None:
        return 0
    found = length(config.warmup_epochs, config.warmup_steps, steps_per_epoch)
    if found >= steps:
        name = "warmup_epochs" if config.warmup_steps is None else "warmup_steps"
        raise LrscopeError(
            f"{name}: the learning rate rises over {found:,} steps, and pre-training has {steps:,}: use a shorter warm-up"
        )
    return found


def _check_length(phase: Phase, steps_per_epoch: int) -> None:
    """Refuse a phase of more steps than a schedule can be held in memory for."""
    names = {PRETRAIN: "epochs", AVERAGE: "average_every", FINETUNE: "finetune_epochs"}
    if phase.steps > MOST_STEPS:
        name = names.get(phase.kind, f"branches: {phase.segment}")
        raise LrscopeError(
            f"{name}: {phase.steps:,} steps ({steps_per_epoch:,} an epoch) are more than {MOST_STEPS:,}: train for fewer"
        )


def steps_per_run(found: Sequence[Phase]) -> int:
    """Training steps of one run through all phases."""
    return sum(p.steps for p in found)


def trunk(found: Sequence[Phase]) -> int:
    """How many phases pre-training has with the branches that leave it: those before averages and fine-tunes."""
    return next((i for i, phase in enumerate(found) if phase.kind in (AVERAGE, FINETUNE)), len(found))


def tuned_stop(found: Sequence[Phase]) -> int:
    """End of the phases that tell 2A from 2B: averaging and the lowest FLR's fine-tuning with its branches."""
    tuned = [i for i, phase in enumerate(found) if phase.kind == FINETUNE]
    return tuned[1] if len(tuned) > 1 else len(found)


def start(found: Sequence[Phase], number: int) -> str:
    """How the names of the tensors begin at which phase `number` begins."""
    phase = found[number]
    assert phase.parent is not None
    if phase.left_below is not None:
        return kept_below(phase.parent, found[phase.parent].leaves_below.index(phase.left_below))
    return kept_at(phase.parent, phase.left_at)


def phase_at(found: Sequence[Phase], branch: str, point: Mapping[str, Any]) -> int:
    """The number of a branch's phase at this point of its axes; an axis with one value need not be named.

    Raises:
        LrscopeError: no such branch, axis or value, or several that fit.
    """
    those = {i: dict(phase.point) for i, phase in enumerate(found) if phase.kind == BRANCH and phase.segment == branch}
    if not those:
        known = ", ".join(dict.fromkeys(phase.segment for phase in found if phase.kind == BRANCH)) or "none"
        raise LrscopeError(
            f"branch: there is no branch {shown(branch)} (the sweep has {known}): name one of the sweep's"
        )
    axes = {axis: sorted({at[axis] for at in those.values()}) for axis in next(iter(those.values()))}
    point = {axis: OwnSchedule(value) if callable(value) else plain(value) for axis, value in point.items()}
    for axis, value in point.items():
        if axis not in axes:
            raise LrscopeError(f"point: {branch} has no axis {shown(axis)}: name those of {', '.join(axes) or 'none'}")
        if value not in axes[axis]:
            raise LrscopeError(f"point: {axis}: {shown(value)} was not trained: name one of {axes[axis]}")
    for axis, values in axes.items():
        if axis not in point and len(values) > 1:
            raise LrscopeError(f"point: {axis}: not named, and there are several: name one of {values}")
    return next(i for i, at in those.items() if all(at[axis] == value for axis, value in point.items()))
