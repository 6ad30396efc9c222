"""Where a chunk's branches leave their parents: the states that are kept for them, and what begins from one.

R runs, P parameters. A state is the weights [R, P], the optimizer's tensors [R, ...] and, but where fine-tunes and averages
begin, at which of the parent's steps [R] each run left it (-1: it never came there).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from lrscope.engine.segments import AT_END, BRANCH, Phase, start
from lrscope.engine.state import BRANCHED, KEPT, LOG, PRETRAINED, kept_at, kept_below

Tensors = dict[str, Tensor]


def keep_moment(tensors: Tensors, phases: Sequence[Phase], number: int, step: int, names: Sequence[str]) -> None:
    """Keep the state of phase `number` after `step` steps (AT_END: at its end), if branches leave it there.

    Args:
        names: the tensors that make up a state.
    """
    if step not in phases[number].leaves_at:
        return
    passed = phases[number].steps if step == AT_END else step
    came_R = torch.ones_like(tensors["weights"][:, 0], dtype=torch.bool)
    if not passed and BRANCHED in tensors:
        came_R = tensors[BRANCHED] >= 0
    if passed:
        finished = f"{phases[number].kind}.{number}.finite_steps"
        came_R = tensors[finished if step == AT_END else "finite_steps"] >= passed
    prefix = kept_at(number, step)
    tensors.update({prefix + name: tensors[name] for name in names})
    tensors[prefix + BRANCHED] = torch.where(came_R, float(passed), -1.0).to(torch.float64)


def keep_losses(tensors: Tensors, phases: Sequence[Phase], number: int, step: int, names: Sequence[str]) -> None:
    """Keep the state of those runs of phase `number` whose training loss is, for the first time, as low as a branch asks."""
    if not phases[number].leaves_below:
        return
    loss_R = tensors[LOG + "train_loss"][-1]
    for i, wanted in enumerate(phases[number].leaves_below):
        prefix = kept_below(number, i)
        before_R = tensors.get(prefix + BRANCHED, torch.full_like(loss_R, -1.0, dtype=torch.float64))
        now_R = (before_R < 0) & (loss_R <= wanted)
        for name in names:
            value = tensors[name]
            old = tensors.get(prefix + name, torch.zeros_like(value))
            tensors[prefix + name] = torch.where(now_R.view(-1, *[1] * (value.dim() - 1)), value, old)
        tensors[prefix + BRANCHED] = torch.where(now_R, float(step), before_R)


def state_for(tensors: Tensors, phases: Sequence[Phase], number: int, names: Sequence[str]) -> Tensors:
    """The state at which phase `number` begins, by name. Runs that never came there are NaN."""
    prefix = start(phases, number)
    found = {name: tensors[prefix + name] for name in names}
    if phases[number].kind == BRANCH:
        found[BRANCHED] = tensors[prefix + BRANCHED].clone()
        found["weights"] = torch.where(found[BRANCHED][:, None] < 0, torch.nan, found["weights"])
    return found


def last_use(phases: Sequence[Phase]) -> dict[str, int]:
    """The last phase that begins from a kept state, by the state's prefix."""
    return {start(phases, i): i for i, phase in enumerate(phases) if phase.kind == BRANCH}


def forget(tensors: Tensors, used: Mapping[str, int], number: int) -> None:
    """Drop what no phase after `number` begins from. The end of pre-training stays: it is a result.

    Args:
        used: of the chunk's phases (`last_use`).
    """
    for name in [name for name in tensors if name.startswith(KEPT)]:
        if used.get(name[: name.rindex(":") + 1], -1) <= number:
            del tensors[name]


def held(phases: Sequence[Phase], number: int, window: int) -> set[str]:
    """The prefixes of the states for later branches that a chunk holds in phase `number` after `window` logging intervals."""
    later = [(i, phase) for i, phase in enumerate(phases) if i > number and phase.kind == BRANCH]
    return {start(phases, i) for i, phase in later if _is_kept(phases, phase, number, window)}


def _is_kept(phases: Sequence[Phase], branch: Phase, number: int, window: int) -> bool:
    assert branch.parent is not None
    if branch.parent != number:
        return branch.parent < number
    if branch.left_below is not None:
        return window > 0
    return branch.left_at != AT_END and branch.left_at <= (0, *phases[number].windows)[window]


def most_held(phases: Sequence[Phase]) -> int:
    """How many states a chunk holds at a time for later branches, the end of pre-training aside."""
    changes = [0] * (len(phases) + 2)
    for prefix, child in last_use(phases).items():
        if prefix != PRETRAINED:
            changes[phases[child].parent or 0] += 1
            changes[child + 1] -= 1
    return max(accumulate(changes))
