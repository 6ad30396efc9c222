"""Every backend of the table computes what single runs compute, one after the other: steps, gradients, evaluation.

R runs. Adding a backend to the table enrols it here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch._inductor.config
from torch import Tensor

from lrscope.config import SweepConfig
from lrscope.engine.backends import BACKENDS
from lrscope.engine.chunk import ChunkTrainer
from lrscope.engine.plan import Plan, cut
from lrscope.engine.program import Program
from lrscope.engine.step import Named, StepInputs, StepState
from tiny_tasks import BASE, compiler_needed, context_of, grouped_task

CONFIG = replace(BASE, precision="float64", average=(), finetune_lrs=(), finetune_steps=None)
KINDS = {
    "sphere": CONFIG,
    "momentum": replace(CONFIG, space="whole", momentum=0.9, weight_decay=1e-2),
    "adam": replace(CONFIG, space="whole", optimizer="adam", clip_norm=0.5),
}
INDUCTOR = ("inductor", "inductor, single")  # slow to compile: they see one kind, and repeat themselves in test_adam.py


def marked(name: str, *values: object) -> object:
    compiled = name in (*INDUCTOR, "generated")
    return pytest.param(name, *values, marks=[compiler_needed, pytest.mark.slow] if compiled else [])


each = pytest.mark.parametrize("name", [marked(name) for name in BACKENDS if name not in INDUCTOR])
each_kind = pytest.mark.parametrize(
    ("name", "kind"), [marked(n, k) for n in BACKENDS for k in KINDS if n not in INDUCTOR or k == "adam"]
)
batched = pytest.mark.parametrize("name", [marked(n) for n in BACKENDS if n not in (*INDUCTOR, "single")])
STEPS = 2


def trainer_at(config: SweepConfig, folder: Path) -> ChunkTrainer:
    """All runs of a small task with a batch norm and example groups, at their start."""
    context = context_of(grouped_task(), config, folder)
    return context.trainer(Plan("batched", 64, False, "", 0.0), cut(config, 64)[0])


def rows_of(named: Named, rows: slice) -> Named:
    return {name: value[rows] for name, value in named.items()}


def stepped(program: Program, trainer: ChunkTrainer, rows: slice) -> Named:
    """The state of these runs after a few steps, by name."""
    state = StepState.of(trainer.tensors, trainer._remembered)
    mine = StepState(state.weights[rows], rows_of(state.optimizer, rows), state.squares[rows], state.sums[rows])
    phase = trainer.phases[0]
    x, y, order = trainer._batches(trainer._order(phase), 0, STEPS)
    lr = (trainer._lr(phase)[rows])[None].expand(STEPS, -1)
    inputs = StepInputs(rows_of(trainer.frozen, rows), x, y, lr, trainer.rho_R[rows], order[:, rows])
    return program.steps(mine, inputs).named()


def evaluated(program: Program, trainer: ChunkTrainer, rows: slice) -> dict[str, Tensor]:
    """Everything that evaluation gives for these runs."""
    material, frozen = trainer.material, rows_of(trainer.frozen, rows)
    weights = trainer.tensors["weights"][rows]
    test, groups = material.window_metrics(program, weights, frozen)
    assert groups.train is not None
    batches = material.batches()
    return {
        **{f"population {name}": value for name, value in program.populations(weights, frozen, batches[0]).items()},
        "test": torch.stack(test, 1),
        "groups": groups.train,
        "train mode": torch.stack(program.train_mode_metrics(weights, frozen, *batches), 1),
        "fixed pass": program.fixed_pass(weights, frozen, *batches),
    }


def one_by_one(found: list[Named]) -> Named:
    return {name: torch.cat([one[name] for one in found]) for name in found[0]}


def parts(program: Program, runs: int) -> list[slice]:
    """What the backend takes at a time."""
    return [slice(0, runs)] if program.backend.path == "batched" else [slice(r, r + 1) for r in range(runs)]


@each_kind
def test_it_agrees_with_single_runs(name: str, kind: str, tmp_path: Path) -> None:
    trainer = trainer_at(KINDS[kind], tmp_path)
    program, plain = trainer.program.on(BACKENDS[name]()), trainer.program.one_run()
    runs = len(trainer.chunk.runs)
    with torch._inductor.config.patch({"cpp.simdlen": 1}):  # scalar code compiles in half the time
        ours = one_by_one([stepped(program, trainer, part) for part in parts(program, runs)])
    theirs = one_by_one([stepped(plain, trainer, part) for part in parts(plain, runs)])
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-9, atol=1e-12, msg=lambda m, key=key: f"{key}: {m}")
    found = one_by_one([evaluated(program, trainer, part) for part in parts(program, runs)])
    for key, value in one_by_one([evaluated(plain, trainer, part) for part in parts(plain, runs)]).items():
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-12, msg=lambda m, key=key: f"{key}: {m}")


@each
def test_it_repeats_itself_to_the_bit_and_leaves_what_it_is_given(name: str, tmp_path: Path) -> None:
    trainer = trainer_at(KINDS["momentum"], tmp_path)
    before = {key: value.clone() for key, value in trainer.tensors.items()}
    program = trainer.program.on(BACKENDS[name]())
    part = parts(program, len(trainer.chunk.runs))[0]
    first, second = stepped(program, trainer, part), stepped(program, trainer, part)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(torch.equal(trainer.tensors[key], before[key]) for key in before)


@batched
def test_a_run_that_overflows_changes_no_other(name: str, tmp_path: Path) -> None:
    found = []
    for broken in (False, True):
        trainer = trainer_at(KINDS["momentum"], tmp_path / str(broken))
        program = trainer.program.on(BACKENDS[name]())
        if broken:
            trainer.tensors["weights"][1] = torch.nan
        found.append(stepped(program, trainer, slice(0, len(trainer.chunk.runs))))
    whole, broken = found
    others = [r for r in range(len(whole["weights"])) if r != 1]
    assert broken["weights"][1].isnan().all()
    assert float(broken["sums"][1, 0]) == 0
    assert all(torch.equal(whole[key][others], broken[key][others]) for key in whole)
