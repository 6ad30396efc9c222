"""The table of statistics: what is logged is what it says, older chunks are read, and a new statistic is one entry."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lrscope.dynamics.statistics import (
    AVERAGE,
    END,
    INTERVAL,
    STEP,
    AverageFacts,
    EndFacts,
    GroupFacts,
    IntervalFacts,
    Statistic,
    StepFacts,
    packed,
    packed_size,
    shapes,
    unpacked,
)
from lrscope.dynamics.statistics import (
    computed as named_values,
)
from lrscope.engine import older
from lrscope.engine.assemble import assemble
from lrscope.engine.checked import load_checkpoint
from lrscope.engine.chunk import Stopped
from lrscope.engine.state import LOG, PRETRAINED, run_axis
from lrscope.engine.sweep_folder import CHECKPOINT, DONE
from lrscope.schema import AVERAGE as AVERAGED
from lrscope.schema import FINETUNE, PRETRAIN, SHARED, variables_of
from lrscope.tasks.streams import generator
from tiny_tasks import ALL_RUNS, BASE, computed, context_of, grouped_task, mlp_task, same_bytes
from trees import own

R, G = 4, 3
EVERY = (*STEP, *INTERVAL, *END, *AVERAGE)


def drawn(*shape: int, key: str) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=generator("tests", "statistics", key))


def facts() -> StepFacts:
    squares = drawn(R, G, key="gradient")
    return StepFacts(
        drawn(R, key="loss"),
        drawn(R, key="accuracy"),
        squares,
        squares.sum(1),
        squares / 4,
        drawn(R, G, key="weights"),
        drawn(R, key="lr"),
    )


def test_statistics_of_a_step_come_back_by_name() -> None:
    given = facts()
    sums = packed(torch.ones(R, dtype=torch.bool), given)
    assert sums.shape == (R, packed_size(G))
    assert torch.equal(sums[:, 0], torch.ones(R).double())
    found = unpacked(sums, G)
    assert set(found) == {s.name for s in STEP}
    for statistic in STEP:
        assert torch.equal(found[statistic.name], statistic.of(given)), statistic.name


def test_the_effective_step_size_is_that_of_the_step_taken() -> None:
    """three_regimes, Sec. 3.1, with the clipped gradient."""
    given = facts()
    found = unpacked(packed(torch.ones(R, dtype=torch.bool), given), G)["group_ess"]
    for r in range(R):
        for g in range(G):
            expected = float(given.lr[r]) * float(given.moved_squares[r, g]) ** 0.5 / float(given.squares[r, g]) ** 0.5
            assert float(found[r, g]) == pytest.approx(expected, rel=1e-12)


def test_gradient_norms_are_those_of_the_whole_gradient() -> None:
    """Clipped or not; docs/schema.md."""
    given = facts()
    found = unpacked(packed(torch.ones(R, dtype=torch.bool), given), G)
    total, rho = given.gradient_squares.sum(1).sqrt(), given.squares.sum(1).sqrt()
    torch.testing.assert_close(found["grad_norm"], total, rtol=1e-12, atol=0)
    torch.testing.assert_close(found["effective_grad_norm"], total * rho, rtol=1e-12, atol=0)
    of_groups = given.gradient_squares.sqrt() * given.squares.sqrt()
    torch.testing.assert_close(found["group_effective_grad_norm"], of_groups, rtol=1e-12, atol=0)


def columns(count: int, tenths: int) -> Tensor:
    """[1, count] with a number of its own in each column."""
    return torch.arange(count)[None] + tenths / 10


def test_every_number_stands_under_its_own_name() -> None:
    groups = GroupFacts(train=columns(3, 1)[None], test=columns(3, 2)[None])
    squares, lr = torch.tensor([[4.0, 16.0]]), torch.tensor([2.0])
    interval = IntervalFacts((columns(1, 3)[0], columns(1, 4)[0]), squares, lr, groups, columns(1, 5), columns(1, 6))
    named = {name: value.flatten().tolist() for name, value in named_values(interval, INTERVAL, "pretrain").items()}
    assert (named["test_loss"], named["test_accuracy"]) == (pytest.approx([0.3]), pytest.approx([0.4]))
    assert (named["group_norm"], named["group_elr"]) == ([2.0, 4.0], [0.5, 0.125])
    for k, word in enumerate(("loss", "accuracy", "true_accuracy")):
        assert named[f"example_group_{word}"] == pytest.approx([k + 0.1])
    assert (named["test_group_loss"], named["test_group_accuracy"]) == (pytest.approx([0.2]), pytest.approx([1.2]))
    assert set(named) == {s.name for s in INTERVAL}
    of_finetunes = {s.name for s in INTERVAL if "finetune" in s.segments}
    assert set(named_values(interval, INTERVAL, "finetune")) == of_finetunes < set(named)
    none = interval._replace(examples=GroupFacts(), own=None, features=None)
    assert not any("example" in name or "test_group" in name for name in named_values(none, INTERVAL, "pretrain"))


def test_ends_and_averages_stand_under_their_own_names() -> None:
    end = EndFacts(columns(3, 1), torch.tensor([3.0]), columns(2, 2), columns(2, 3), columns(1, 4))
    named = {name: value.flatten().tolist() for name, value in named_values(end, END, "pretrain").items()}
    of_pass = [named[f"fixed_{word}"][0] for word in ("train_loss", "train_accuracy", "grad_norm")]
    assert of_pass == pytest.approx([0.1, 1.1, 2.1])
    assert named["fixed_effective_grad_norm"] == pytest.approx([2.1 * 3])
    assert [named["validation_loss"][0], named["validation_accuracy"][0]] == pytest.approx([0.3, 1.3])
    pairs = [(columns(1, k)[0], columns(1, k + 1)[0]) for k in (1, 3)]
    average = AverageFacts(*pairs, columns(2, 5), columns(2, 6), columns(1, 7), columns(1, 8))
    found = {name: float(value.flatten()[0]) for name, value in named_values(average, AVERAGE, "average").items()}
    assert [found[f"{part}_{word}"] for part in ("train", "test") for word in ("loss", "accuracy")] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4]
    )
    assert [found[f"validation_{word}"] for word in ("loss", "accuracy", "metric")] == pytest.approx([0.6, 1.6, 0.8])
    assert "validation_loss" not in named_values(average._replace(validation=None), AVERAGE, "average")


def test_a_statistic_is_computed_where_its_segment_and_its_task_have_it() -> None:
    """Traits of the network, such as `invariant`, do not matter here: those values are computed all the same."""
    groups = Statistic("a", "1", "a", lambda _: None, dims=("test_group",), needs="test_groups invariant")
    assert groups.is_computed("branch", ["test_groups", "metrics"])
    assert not groups.is_computed("branch", ["metrics"])
    assert not groups.is_computed("average", ["test_groups"])
    for word in ("example_groups", "test_groups", "features", "logged_features", "validation", "metrics"):
        assert not replace(groups, needs=word).is_computed("branch", ["classification"]), word
    assert shapes([groups], "average", ["test_groups"], {"test_group": 4}) == {}
    once = iter(["test_groups"])
    every = replace(groups, name="b", dims=())
    assert shapes([groups, every], "pretrain", once, {"test_group": 4}) == {"a": (4,), "b": ()}


@pytest.mark.parametrize("statistic", EVERY, ids=lambda s: f"{s.name}, {s.segments[0]}")
def test_every_statistic_is_described(statistic: object) -> None:
    assert statistic.meaning  # type: ignore[attr-defined]
    assert statistic.unit in ("nat", "1", "1/weight", "weight", "task's own")  # type: ignore[attr-defined]
    assert set(statistic.dims) <= set(SHARED)  # type: ignore[attr-defined]
    for node in (PRETRAIN, FINETUNE, AVERAGED):
        assert (statistic.name in variables_of(node)) or node.name not in statistic.segments  # type: ignore[attr-defined]


def needs_of(name: str) -> set[str]:
    """What a statistic takes, by the words of its name."""
    starts = {"example_group": "example_groups", "test_group": "test_groups", "validation": "validation"}
    ends = {"metric": "metrics", "logged_feature_accuracy": "logged_features"}
    found = {trait for word, trait in starts.items() if name.startswith(word)}
    found |= {trait for word, trait in ends.items() if name.endswith(word)}
    if "feature" not in name and name.endswith("accuracy"):
        found.add("classification")
    if "effective" in name or name in ("group_elr", "group_ess"):
        found.add("invariant")
    own = {"feature_accuracy": "features", "example_group_true_accuracy": "true_labels"}
    return found | {trait for word, trait in own.items() if name == word}


def test_what_a_statistic_takes_follows_from_its_name() -> None:
    for statistic in (*STEP, *INTERVAL, *END, *AVERAGE):
        assert set(statistic.needs.split()) - {"always"} == needs_of(statistic.name)


@pytest.mark.parametrize("task", [mlp_task, grouped_task], ids=lambda t: t.__name__)
def test_results_hold_every_statistic_that_the_task_has(task: object, tmp_path: Path) -> None:
    context = context_of(task(), BASE, tmp_path)  # type: ignore[operator]
    result = computed(task(), BASE, ALL_RUNS, tmp_path / "out")  # type: ignore[operator]
    for table, kinds in (((*STEP, *INTERVAL, *END), ("pretrain", "finetune")), (AVERAGE, ("average",))):
        for statistic in table:
            for kind in kinds:
                has = kind in statistic.segments and set(statistic.needs.split()) <= context.traits
                assert (statistic.name in own(result, kind)) == has, (kind, statistic.name)


# -- older chunks ---------------------------------------------------------------------------------------------------


def as_earlier(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Packed as earlier versions did it."""
    found = dict(tensors)
    starts = {name.rpartition(".")[0] + "." for name in tensors if "." in name} | {LOG}
    for start in starts:
        kind = start.partition(".")[0]
        for array, words in older.PACKED.items():
            if array.startswith("average_") != (kind == "average"):
                continue
            names = [start + word for word in words if word != "norm"]
            if not all(name in found for name in names) or (start == LOG and not array.startswith("log_")):
                continue
            columns = [found.pop(name) for name in names]
            if array == "log_scalars":
                norm = found.get(start + "group_norm", torch.ones(()))
                total = norm.square().sum(-1).sqrt() if norm.dim() else None
                effective = found.pop(start + "fixed_effective_grad_norm", None)
                if total is None:  # a fine-tune: what its last norm was follows from the two gradient norms
                    total = torch.ones_like(columns[0])
                    if effective is not None:
                        total[-1] = effective / found[start + "fixed_grad_norm"]
                columns.append(total)
            found[array if start == LOG else start + array] = torch.stack(columns, -1)
        for now, earlier in (("feature_accuracy", "features"), ("weights", "weights")):
            if kind == "average" and start + now in found:
                found[start + "average_" + earlier] = found.pop(start + now)
            elif kind != "average" and now == "feature_accuracy" and start + now in found and start != LOG:
                found[start + earlier] = found.pop(start + now)
    return found


def test_chunks_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """Finished chunks and a checkpoint, packed as they were, give the same result without training anything again."""
    config = replace(BASE, keep_weights=True)
    context = context_of(mlp_task(), config, tmp_path)
    context.store.create()
    for unit in context.units(ALL_RUNS):
        context.run_unit(ALL_RUNS, unit, lambda _: None, lambda: False)
    now = assemble(context, ALL_RUNS)
    for chunk in context.chunks(ALL_RUNS):
        saved = context.store.load(chunk.name + DONE)
        assert saved is not None
        packed_up = as_earlier(saved[0])
        assert any(name.endswith("log_scalars") for name in packed_up)
        assert any(name.endswith("average_scalars") for name in packed_up)
        context.store.save(chunk.name + DONE, packed_up, saved[1])
    again = context_of(mlp_task(), config, tmp_path)
    found = assemble(again, ALL_RUNS)
    rounded = [n for n in same_bytes(found, now) if not n.endswith("fixed_effective_grad_norm")]
    assert rounded == []
    assert not list(tmp_path.rglob("*foreign*"))


def moments_as_earlier(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The optimizer's state in one tensor, as earlier versions had it."""
    found = dict(tensors)
    for start in ("", PRETRAINED):
        if start + "first_moment" in found:
            first, second = (found.pop(start + name) for name in ("first_moment", "second_moment"))
            found[start + "velocity"] = torch.cat([first, second, found.pop(start + "steps")[:, None]], 1)
        elif start + "weights" in found and start + "velocity" not in found:
            found[start + "velocity"] = torch.zeros(())
    return found


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"momentum": 0.0}, {"optimizer": "adam"}], ids=str)
@pytest.mark.parametrize("at", [9, 25], ids=["pretrain", "average or later"])
def test_a_checkpoint_of_an_earlier_version_goes_on(options: dict[str, Any], at: int, tmp_path: Path) -> None:
    config = replace(BASE, **{"momentum": 0.0, **options})
    context = context_of(mlp_task(), config, tmp_path)
    context.store.create()
    unit = "00000"
    ticks = iter([False] * at + [True])
    with pytest.raises(Stopped):
        context.run_unit(ALL_RUNS, unit, lambda _: None, ticks.__next__)
    saved = context.store.load(unit + CHECKPOINT)
    assert saved is not None
    tensors = moments_as_earlier(as_earlier(saved[0]))
    back = older.by_name(tensors)
    assert set(back) == set(saved[0])
    for name, value in saved[0].items():
        if not name.endswith("fixed_effective_grad_norm"):  # rounded on the way
            assert torch.equal(back[name], value), name
        assert back[name].shape[run_axis(name)] == len(context.chunks(ALL_RUNS)[0].runs)
    context.store.save(unit + CHECKPOINT, tensors, saved[1])
    again = context_of(mlp_task(), config, tmp_path)
    found = load_checkpoint(again, ALL_RUNS, again.chunk(ALL_RUNS, unit))
    assert found is not None
    assert found[1]["cursor"] == saved[1]["cursor"]
    assert not list(tmp_path.rglob("*foreign*"))


# -- a new one ------------------------------------------------------------------------------------------------------

ADDED = """
    import lrscope.dynamics.statistics as statistics
    from lrscope.dynamics.statistics import Statistic
    largest = Statistic("largest_group", "weight", "norm of the largest group", lambda f: f.squares.sqrt().max(1).values)
    share = Statistic("loss_per_lr", "nat", "mean of the loss over the learning rate", lambda f: f.loss / f.lr)
    statistics.STEP, statistics.INTERVAL = (*statistics.STEP, share), (*statistics.INTERVAL, largest)
    import numpy as np
    from lrscope.results import open_result
    from tiny_tasks import BASE, SINGLE, mlp_task, train
    from pathlib import Path
    import sys
    out = Path(sys.argv[1])
    train(mlp_task(), BASE, SINGLE, out)
    result = open_result(out)
    assert result["finetune/largest_group"].dims == ("lr", "finetune_lr", "data_seed", "seed", "epoch")
    np.testing.assert_allclose(result["pretrain/largest_group"], result["pretrain/group_norm"].max("group"), rtol=1e-12)
    assert (result["pretrain/loss_per_lr"] > result["pretrain/train_loss"]).all()
    assert result["pretrain/loss_per_lr"].attrs["units"] == "nat"
"""


@pytest.mark.slow
def test_a_statistic_is_one_entry(tmp_path: Path) -> None:
    """Two entries more are computed, stored, validated and opened, without a change anywhere else."""
    script = textwrap.dedent(ADDED)
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out")],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
