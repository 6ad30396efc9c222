"""The monitor in loops of all kinds: training stays what it is, updates are what optimizers did, records go on after a stop."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import lrscope
from lrscope.errors import LrscopeError
from lrscope.monitor import Monitor, history
from lrscope.monitor.movement import Snapshot
from lrscope.monitor.sinks import Jsonl, Terminal
from lrscope.monitor.tracked import Tracked
from lrscope.symmetries.types import INVARIANT, NO_EFFECT, Part, Symmetries, Symmetry
from lrscope.tasks.random_state import states
from lrscope.tasks.streams import generator
from lrscope.wrappers import unwrapped
from planted_run import Planted

D = 8


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def net() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(6, D), nn.BatchNorm1d(D), nn.ReLU(), nn.Linear(D, 3)))


def batches(count: int, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    draws = generator("tests", "monitor", seed)
    for _ in range(count):
        x = torch.randn(16, 6, generator=draws)
        yield x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long()


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def train(model: nn.Module, optimizer: Any, monitor: Monitor | None, steps: int = 45, seed: int = 0) -> list[float]:
    seen = []
    for batch in batches(steps, seed):
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        if monitor is not None:
            monitor.step(loss)
        seen.append(float(loss.detach()))
    return seen


def sgd(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), **({"lr": 0.05} | options))


class OwnSGD(torch.optim.Optimizer):
    """Writes through `.data`, as optimizers of old do."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad.data, alpha=-group["lr"])


OPTIMIZERS: dict[str, Callable[[nn.Module], Any]] = {
    "sgd": lambda m: sgd(m, momentum=0.9, weight_decay=1e-3),
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=1e-2),
    "adamw, one by one": lambda m: torch.optim.AdamW(m.parameters(), lr=1e-2, foreach=False),
    "adam, fused": lambda m: torch.optim.Adam(m.parameters(), lr=1e-2, fused=True),
    "adafactor": lambda m: torch.optim.Adafactor(m.parameters()),
    "rmsprop": lambda m: torch.optim.RMSprop(m.parameters(), lr=1e-3),
    "sgd, fused": lambda m: sgd(m, momentum=0.9, fused=True),
    "own": lambda m: OwnSGD(m.parameters(), 0.05),
    "a learning rate that is a tensor": lambda m: torch.optim.Adam(m.parameters(), lr=torch.tensor(1e-2)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_the_same_bit_for_bit(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        found = []
        for watched in (False, True):
            model = nn.Sequential(net(), nn.Dropout(0.2))
            optimizer = OPTIMIZERS[name](model)
            monitor = Monitor(model, optimizer, every=3, look_ahead=True) if watched else None
            torch.manual_seed(2)
            losses = train(model, optimizer, monitor)
            if monitor is not None:
                monitor.look_ahead(lambda m: loss_of(m, next(batches(1))))
                assert monitor.updates in (44, 45), (
                    "an optimizer that writes through .data is found out at its second step"
                )
                assert monitor.result()["group_angle"].notnull().any("update").all()
            found.append((losses, [*model.state_dict().values()], states()))
    (plain, watched_run) = found
    assert plain[0] == watched_run[0]
    assert all(torch.equal(a, b) for a, b in zip(plain[1], watched_run[1], strict=True))
    assert plain[2] == watched_run[2]


def test_what_is_measured_is_what_happened() -> None:
    """Against the definitions, in float64, from copies of one's own."""
    model = net().double()
    optimizer = sgd(model, lr=0.1)
    monitor = Monitor(model, optimizer, every=5)
    losses, seen = [], {}
    for step, (x, y) in enumerate(batches(20), 1):
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        optimizer.zero_grad()
        loss = loss_of(model, (x.double(), y))
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        losses.append(float(loss.detach()))
        seen[step] = before, {n: (p.detach().clone(), p.grad.clone()) for n, p in model.named_parameters()}
    result = monitor.result()
    assert result["update"].values.tolist() == [5, 10, 15, 20]
    np.testing.assert_allclose(result["train_loss"], np.reshape(losses, (4, 5)).mean(1), rtol=1e-6)
    for step in (5, 20):
        before, after = seen[step]
        at = result.sel(update=step)
        total = math.sqrt(sum(float(g.square().sum()) for _, g in after.values()))
        assert float(at["grad_norm"]) == pytest.approx(total, rel=1e-5)
        for name in ("0.weight", "3.weight"):
            old, (new, gradient) = before[name].flatten(), after[name]
            new, gradient = new.flatten(), gradient.flatten()
            cosine = float(old @ new / old.norm() / new.norm())
            one = at.sel(group=name)
            assert float(one["group_angle"]) == pytest.approx(math.acos(cosine), rel=1e-4)
            assert float(one["group_norm"]) == pytest.approx(float(new.norm()), rel=1e-5)
            assert float(one["group_elr"]) == pytest.approx(0.1 / float(new.norm()) ** 2, rel=1e-5)
            wanted = float(new.norm() * gradient.norm())
            assert float(one["group_effective_grad_norm"]) == pytest.approx(wanted, rel=1e-5)
    assert result["group_angle"].attrs["units"] == "rad"


def test_sgd_turns_scale_invariant_weights_by_its_effective_step() -> None:
    """tan(angle) = lr |g| / |w| (ELR times the gradient at norm 1), because such a gradient is orthogonal to the weights."""
    model = net()
    optimizer = sgd(model, lr=0.02)
    monitor = Monitor(model, optimizer, every=2)
    for batch in batches(2):
        before = model[0].weight.detach().clone()
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    gradient = model[0].weight.grad
    wanted = math.atan(0.02 * float(gradient.norm()) / float(before.norm()))
    assert float(monitor.result()["group_angle"].sel(group="0.weight")[-1]) == pytest.approx(wanted, rel=1e-3)


def test_small_turns_are_measured_in_float32() -> None:
    """An arccos in float32 sees nothing below 3e-4 radians."""
    weight = nn.Parameter(torch.zeros(1000))
    with torch.no_grad():
        weight[0] = 5.0
    model = nn.Module()
    model.weight = weight
    monitor = Monitor(model, sgd(model), every=2)
    for _ in range(2):
        with torch.no_grad():
            weight[1] += 5e-6
        monitor.step(1.0)
    assert float(monitor.result()["group_angle"][0, 0]) == pytest.approx(1e-6, rel=1e-2)


# -- which calls are updates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sgd", "adam, fused"])
def test_accumulation_counts_updates_only(name: str) -> None:
    model = net()
    optimizer = OPTIMIZERS[name](model)
    monitor = Monitor(model, optimizer, every=2)
    for k, batch in enumerate(batches(24), 1):
        loss = loss_of(model, batch)
        (loss / 4).backward()
        if k % 4 == 0:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        monitor.step(loss)
    assert (monitor.updates, monitor.calls, monitor.skipped) == (6, 24, 0)
    assert monitor.result()["calls"].values.tolist() == [8, 8, 8]


def test_updates_that_a_scaler_skips_are_counted() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    monitor = Monitor(model, optimizer, scaler=scaler, every=2)
    for k, batch in enumerate(batches(40)):
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        scaler.scale(loss * (float("inf") if k % 4 == 3 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        monitor.step(loss)
    assert (monitor.updates, monitor.calls, monitor.skipped) == (30, 40, 10)
    assert float(monitor.result()["loss_scale"][0]) == 8.0
    assert [a.name for a in monitor.warnings()] == [], "they are few"
    assert sum(monitor.result()["skipped"].values) == 9, "the last call came after the last measurement"


def test_a_scaler_that_skips_everything_is_warned_of() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    monitor = Monitor(model, optimizer, scaler=scaler)
    for batch in batches(25):
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        scaler.scale(loss * float("nan")).backward()
        scaler.step(optimizer)
        scaler.update()
        monitor.step(loss)
    assert (monitor.updates, monitor.skipped) == (0, 25)
    assert str(monitor.warnings()[0]).startswith("the scaler skipped 25 of the last 25 updates: gradients overflow")


def test_several_optimizers_in_turn() -> None:
    model = net()
    first, second = sgd(model[0]), torch.optim.AdamW(model[3].parameters(), lr=1e-2)
    monitor = Monitor(model, [first, second], every=3)
    for k, batch in enumerate(batches(30)):
        model.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        (first if k % 2 else second).step()
        monitor.step(loss)
    angle = monitor.result()["group_angle"]
    assert monitor.updates == 30
    assert angle.sel(group=["0.weight", "3.weight"]).notnull().sum("update").values.tolist() == [5, 5]
    assert "1.weight" not in angle["group"].values, "the batch norm is in no optimizer"


def test_weights_that_come_later_or_are_frozen() -> None:
    model = nn.ModuleDict({"body": net(), "late": seeded(lambda: nn.Linear(3, 3))})
    model["body"][0].weight.requires_grad_(False)
    optimizer = sgd(model["body"])
    monitor = Monitor(model, optimizer, every=2)

    def forward(batch: tuple[Tensor, Tensor], late: bool) -> Tensor:
        out = model["body"](batch[0])
        return functional.cross_entropy(model["late"](out) if late else out, batch[1])

    for k, batch in enumerate(batches(16)):
        if k == 8:
            optimizer.add_param_group({"params": model["late"].parameters(), "lr": 0.5})
        optimizer.zero_grad()
        loss = forward(batch, k >= 8)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    result = monitor.result()
    assert "body.0.weight" not in result["group"].values
    late = result.sel(group="late.weight")
    assert late["group_norm"].isnull().values.tolist() == [True] * 4 + [False] * 4
    assert float(late["group_lr"][-1]) == 0.5
    assert result["group_norm"].sel(group="body.3.weight").notnull().all()


def test_gradients_that_are_gone_leave_the_rest() -> None:
    model = net()
    optimizer = sgd(model)
    monitor = Monitor(model, optimizer, every=2)
    for batch in batches(6):
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        monitor.step(loss)
    result = monitor.result()
    assert result["grad_norm"].isnull().all()
    assert result["group_angle"].sel(group=["0.weight", "3.weight"]).notnull().all()


@pytest.mark.slow  # torch.compile loads much
def test_wrappers_are_looked_through() -> None:
    inner = net()
    model = nn.DataParallel(torch.compile(inner, backend="eager"))
    assert unwrapped(model) is inner
    monitor = Monitor(model, sgd(model), every=2)
    assert [g.name for g in monitor.groups] == [n for n, _ in inner.named_parameters()]
    parts = nn.Sequential(torch.compile(inner, backend="eager"), seeded(lambda: nn.Linear(3, 2)))
    assert Monitor(parts, sgd(parts)).groups[0].name == "0.0.weight"


@pytest.mark.slow  # compiles
def test_a_compiled_model_with_a_compiled_step() -> None:
    found = []
    for watched in (False, True):
        model = net()
        compiled = torch.compile(model, backend="aot_eager")
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        step = torch.compile(optimizer.step, backend="aot_eager")
        monitor = Monitor(compiled, optimizer, every=3, look_ahead=True) if watched else None
        for batch in batches(12):
            optimizer.zero_grad()
            loss = loss_of(compiled, batch)
            loss.backward()
            step()
            if monitor is not None:
                monitor.step(loss)
        if monitor is not None:
            monitor.look_ahead(lambda copy: loss_of(copy, next(batches(1))), batches=[next(batches(1))[0]])
            assert (monitor.updates, monitor.groups[0].name) == (12, "0.weight")
        found.append([*model.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.slow  # starts a process group
def test_a_model_in_ddp(tmp_path: Path) -> None:
    found = []
    distributed = torch.distributed
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        for watched in (False, True):
            model = nn.parallel.DistributedDataParallel(net())
            optimizer = sgd(model, momentum=0.9)
            monitor = Monitor(model, optimizer, every=3, look_ahead=True) if watched else None
            train(model, optimizer, monitor, 12)
            if monitor is not None:
                monitor.look_ahead(lambda copy: loss_of(copy, next(batches(1))), batches=[next(batches(1))[0]])
                assert (monitor.updates, monitor.groups[0].name) == (12, "0.weight")
            found.append([*model.state_dict().values()])
    finally:
        distributed.destroy_process_group()
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_two_monitors_see_the_same() -> None:
    model = net()
    optimizer = sgd(model)
    first, second = (Monitor(model, optimizer, every=3) for _ in range(2))
    for batch in batches(9):
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        first.step(loss)
        second.step(loss.item())
    a, b = first.result(), second.result()
    assert a.drop_vars("train_loss").identical(b.drop_vars("train_loss"))


def test_half_precision_and_sparse_gradients() -> None:
    model = seeded(lambda: nn.Sequential(nn.Embedding(20, D, sparse=True), nn.Flatten(), nn.Linear(2 * D, 3)))
    model[2].bfloat16()
    optimizer = sgd(model)
    monitor = Monitor(model, optimizer, every=2, look_ahead=True)
    draws = generator("tests", "monitor", "tokens")
    for _ in range(4):
        optimizer.zero_grad()
        tokens = torch.randint(0, 20, (16, 2), generator=draws)
        out = model[2](model[1](model[0](tokens)).bfloat16())
        loss = functional.cross_entropy(out.float(), tokens[:, 0] % 3)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    assert monitor.result()[["group_angle", "group_norm", "grad_norm"]].to_array().notnull().all()


def test_a_loss_that_is_not_passed_has_not_diverged() -> None:
    run = Planted(chance=1.0)
    run.step(320, None)
    assert run.monitor.warnings() == ()
    assert run.monitor.line() == "update 320: no loss; regime undetermined: no loss was passed to step"
    run.step(320, 0.5)
    run.step(10, None)
    assert run.monitor.regime().regime == "2", "rows with losses count"
    run.step(10, math.nan)
    (warning,) = run.monitor.warnings()
    assert str(warning).startswith("the loss is nan at update 660")


@pytest.mark.parametrize("loss", [math.nan, 0.5])
def test_rows_that_become_one_keep_the_losses_that_were_passed(loss: float) -> None:
    none, one, other = (
        history.Row(k, 2, 0, n, np.array([x]), np.zeros((1, 1)))
        for k, n, x in ((2, 0, math.nan), (4, 2, loss), (6, 1, 0.3))
    )
    np.testing.assert_equal(history.merged([none, one]).scalars[history.LOSS], loss)
    np.testing.assert_equal(history.merged([none, one, other]).scalars[history.LOSS], (loss + 0.3) / 2)
    assert history.counted(history.merged([none, one, other])) == [6, 6, 0, 3]


def test_learning_rates_are_those_of_the_update_where_the_schedule_steps_first() -> None:
    for told in (True, False):
        run = Planted(every=2)
        for k in range(8):
            run.optimizer.param_groups[0]["lr"] = 1.0 / (k + 1)
            if told:
                run.monitor.before_update()
            with torch.no_grad():
                run.model.weight.mul_(1.01)
            run.optimizer.param_groups[0]["lr"] = 1.0 / (k + 2)
            run.monitor.step(1.0)
        lr = run.monitor.result()["group_lr"][:, 0].values
        np.testing.assert_allclose(lr, 1 / np.array([2, 4, 6, 8]) if told else 1 / np.array([3, 5, 7, 9]))


def test_weights_in_compiled_parts_are_averaged_too() -> None:
    """A compiled part holds its module under a name that the monitor leaves out."""
    part = nn.Module()
    part._orig_mod = seeded(lambda: nn.Linear(1, 1, bias=False))
    model = nn.ModuleList([part])
    monitor = Monitor(model, sgd(model), every=2, look_ahead=True)
    for value in range(1, 5):
        with torch.no_grad():
            part._orig_mod.weight.fill_(value)
        monitor.step(1.0)
    ahead = monitor.look_ahead(lambda m: m[0]._orig_mod.weight)
    assert ahead.now == 4
    assert ahead.ahead == pytest.approx(2 + 2 * 0.9)


def test_a_snapshot_is_loaded_to_where_the_weights_are() -> None:
    found = [Tracked("here", torch.empty(2, device="meta"), {}, None)]
    snapshot = Snapshot()
    snapshot.load({"here": torch.ones(2), "gone": torch.ones(2)}, found)
    assert [copy.device.type for copy in snapshot.copies.values()] == ["meta", "cpu"]


def test_a_group_that_is_frozen_has_no_learning_rate() -> None:
    run = Planted(every=2)
    run.model.other = nn.Parameter(torch.ones(2))
    run.optimizer.add_param_group({"params": [run.model.other], "lr": 0.1})
    run.step(10)
    run.model.other.requires_grad_(False)
    run.step(10)
    lr = run.monitor.result()["group_lr"].sel(group="other")
    assert lr.isnull().values.tolist() == [False] * 5 + [True] * 5
    assert run.monitor.readings().since == 0


# -- groups ----------------------------------------------------------------------------------------------------------------


def test_groups_are_the_symmetries() -> None:
    model = net()
    with torch.random.fork_rng():
        monitor = Monitor(model, sgd(model), batch=next(batches(1))[0], every=2)
    kinds = {g.name: (g.invariant, g.matters, g.compared) for g in monitor.groups}
    assert kinds["0.weight"] == (True, True, True)
    assert kinds["0.bias"][1] is False, "a bias before a batch norm has no effect"
    assert kinds["3.weight"] == (False, True, True)
    train(model, monitor.optimizers[0], monitor, 10)
    result = monitor.result()
    effective = result["grad_norm"] ** 2
    assert (result["effective_grad_norm"] > 0).all()
    assert (result["effective_grad_norm"] ** 2 < effective * result["group_norm"].sel(group="0.weight") ** 2).all()


def test_joint_groups_come_as_one() -> None:
    model = net()
    parts = tuple(Part(name, 1.0) for name in ("1.weight", "1.bias"))
    told = Symmetries(
        "Sequential",
        "train",
        6,
        0,
        0,
        (
            Symmetry("group", parts),
            Symmetry(INVARIANT, (Part("0.weight", 1.0),)),
            Symmetry(NO_EFFECT, (Part("0.bias", 1.0),)),
        ),
    )
    monitor = Monitor(model, sgd(model), symmetries=told)
    assert [g.name for g in monitor.groups] == ["0.weight", "1.weight and 1 other", "0.bias", "3.weight", "3.bias"]
    assert monitor.groups[1].tensors == ("1.weight", "1.bias")


def test_symmetries_of_eval_mode_make_no_groups() -> None:
    model = net()
    parts = (
        Symmetry(INVARIANT, (Part("0.weight", 1.0),), train=False),
        Symmetry(NO_EFFECT, (Part("0.bias", 1.0),), train=False),
    )
    groups = Monitor(model, sgd(model), symmetries=Symmetries("Sequential", "eval", 6, 0, 0, parts)).groups
    assert [(g.invariant, g.matters) for g in groups] == [(False, True)] * 6


@pytest.mark.parametrize("hyperball", [False, True])
def test_the_effective_learning_rate_on_spheres(hyperball: bool) -> None:
    """SphereSGD's learning rate is the effective one already; normalised updates have none."""
    for make, power in (
        (lambda p: lrscope.SphereSGD(p, 0.02, hyperball=hyperball), 0),
        (lambda p: lrscope.OnSphere(torch.optim.SGD(p, 0.02), hyperball=hyperball), 2),
    ):
        model = net()
        monitor = Monitor(model, make(model.parameters()), every=2)
        train(model, monitor.optimizers[0], monitor, 40)
        at = monitor.result().isel(update=-1)
        elr, norm = (at[name].sel(group="0.weight") for name in ("group_elr", "group_norm"))
        wanted = math.nan if hyperball else 0.02 / float(norm) ** power
        assert float(elr) == pytest.approx(wanted, rel=1e-5, nan_ok=True)
        bias = at.sel(group="3.bias")
        assert float(bias["group_elr"]) == pytest.approx(0.02 / float(bias["group_norm"]) ** 2, rel=1e-5)
        assert monitor.readings().equilibrium[0] == "norm kept"
        assert monitor.readings().equilibrium[-1] != "norm kept", "vectors are on no sphere"


# -- the record --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [12, 13, 14, 15])
def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(stop: int, tmp_path: Path) -> None:
    def made() -> tuple[nn.Module, Any, Monitor]:
        model = net()
        optimizer = sgd(model, momentum=0.9)
        return model, optimizer, Monitor(model, optimizer, every=4, look_ahead=True)

    def run(parts: tuple[nn.Module, Any, Monitor], first: int, last: int) -> None:
        model, optimizer, monitor = parts
        for batch in list(batches(30))[first:last]:
            optimizer.zero_grad()
            loss = loss_of(model, batch)
            loss.backward()
            optimizer.step()
            monitor.step(loss)

    whole, before, after = made(), made(), made()
    run(whole, 0, 30)
    run(before, 0, stop)
    torch.save([part.state_dict() for part in before], tmp_path / "checkpoint.pt")
    for part, state in zip(after, torch.load(tmp_path / "checkpoint.pt", weights_only=True), strict=True):
        part.load_state_dict(state)
    run(after, stop, 30)
    assert whole[2].result().identical(after[2].result())
    assert whole[2].line() == after[2].line()
    for name, weight in whole[2].average.weights.items():
        assert torch.equal(weight, after[2].average.weights[name])


def test_a_long_record_stays_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "CAPACITY", 8)
    model = net()
    optimizer = sgd(model)
    monitor = Monitor(model, optimizer, every=2)
    losses = train(model, optimizer, monitor, 64)
    result = monitor.result()
    assert result["update"].values.tolist() == [16, 32, 48, 64]
    np.testing.assert_allclose(result["train_loss"], np.reshape(losses, (4, 16)).mean(1), rtol=1e-5)
    assert result["calls"].values.tolist() == [16] * 4


def test_the_average_lies_between_the_weights() -> None:
    """A weight that jumps about 1 has an average near it, however far it began."""
    weight = nn.Parameter(torch.tensor([9.0]))
    model = nn.Module()
    model.weight = weight
    monitor = Monitor(model, sgd(model), every=2, look_ahead=True)
    draws = generator("tests", "monitor", "average")
    for _ in range(600):
        with torch.no_grad():
            weight.mul_(0.9).add_(0.1).add_(0.3 * torch.randn(1, generator=draws))
        monitor.step(1.0)
    ahead = monitor.look_ahead(lambda m: (m.weight - 1).square())
    assert ahead.ahead < 0.1
    assert ahead.low is None
    assert ahead.update == 600
    several = monitor.look_ahead(lambda m: [float(m.weight.detach()) + k for k in (0.0, 1.0, 2.0)])
    assert several.low < several.ahead < several.high
    assert "[" in str(several)


def test_the_mean_age_of_the_average_is_a_tenth_of_the_run() -> None:
    """Weights that are their number have the average 0.9 times it, plus 0.1."""
    weight = nn.Parameter(torch.zeros(1))
    model = nn.Module()
    model.weight = weight
    monitor = Monitor(model, sgd(model), every=2, look_ahead=True)
    for update in range(1, 101):
        with torch.no_grad():
            weight.fill_(update / 2)  # 50 measurements
        monitor.step(1.0)
        if update % 2 == 0:
            assert float(monitor.average.weights["weight"]) == pytest.approx(0.9 * update / 2 + 0.1, rel=1e-5)


def test_a_look_ahead_renews_statistics_of_batch_norms_on_a_copy() -> None:
    model = net()
    optimizer = sgd(model)
    monitor = Monitor(model, optimizer, every=2, look_ahead=True)
    train(model, optimizer, monitor, 10)
    before = {n: b.clone() for n, b in model.named_buffers()}
    inputs = [x for x, _ in batches(4, seed=1)]
    means = []

    def evaluate(copy: nn.Module) -> float:
        assert copy is not model
        assert copy.training
        means.append(copy[1].running_mean.clone())
        return 1.0

    drawn = states()
    monitor.look_ahead(lambda copy: 1.0, batches=torch.utils.data.DataLoader(torch.cat(inputs), 16, shuffle=True))
    assert states() == drawn
    monitor.look_ahead(evaluate, batches=inputs)
    with torch.no_grad():
        wanted = torch.stack([model[0](x).mean(0) for x in inputs]).mean(0)
    torch.testing.assert_close(means[0], wanted)
    assert not torch.equal(means[0], means[1])
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())


# -- where it goes ---------------------------------------------------------------------------------------------------


def test_sinks_get_every_measurement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = net()
    optimizer = sgd(model)
    got: list[int] = []

    class Broken:
        def log(self, step: int, values: Any) -> None:
            raise OSError("gone")

    sinks = [Jsonl(tmp_path / "log.jsonl"), lambda step, values: got.append(step), Broken(), Terminal(every=20)]
    monitor = Monitor(model, optimizer, every=5, sinks=sinks)
    with pytest.warns(UserWarning, match="Broken failed and gets nothing any more: gone"):
        train(model, optimizer, monitor, 40)
    assert got == list(range(5, 45, 5))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == got
    assert lines[-1]["group_norm/0.weight"] == pytest.approx(float(model[0].weight.detach().norm()), rel=1e-5)
    assert lines[-1]["regime"].startswith("regime undetermined: ")
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == ["update 20", "update 40"]


@pytest.mark.parametrize(
    ("sinks", "words"),
    [
        ("wandb", r"sinks: wandb is not installed: run `pip install wandb`"),
        ("mlflow", r"sinks: mlflow is not installed: run `pip install mlflow`"),
        ("tensorboard", r"sinks: tensorboard is not installed: run `pip install tensorboard`"),
        ("wand", r"sinks: 'wand' is unknown: did you mean 'wandb'"),
        (3, r"sinks: 3 is no sink"),
    ],
)
def test_sinks_that_cannot_be_had(sinks: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("wandb", "mlflow", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    model = net()
    with pytest.raises(LrscopeError, match=words):
        Monitor(model, sgd(model), sinks=sinks)


@pytest.mark.slow  # finds symmetries, loads the page's libraries
def test_the_page_stands_alone(tmp_path: Path) -> None:
    model = net()
    optimizer = sgd(model, weight_decay=1e-2)
    with torch.random.fork_rng():
        monitor = Monitor(
            model, optimizer, batch=next(batches(1))[0], every=2, chance=math.log(3), look_ahead=True, horizon=500
        )
    train(model, optimizer, monitor, 100)
    monitor.look_ahead(lambda m: loss_of(m, next(batches(1))))
    page = monitor.report(tmp_path / "page.html", title="<script>alert(1)</script>").read_text()
    assert "<script>alert(1)" not in page
    assert f"R{str(monitor.regime())[1:20]}" in page
    assert "http://" not in page.split("plot-loss")[0]
    assert "averaged weights" in page
    assert page.count('<th scope="row">0.weight</th>') == 1
    assert "(sharpness)" in page
    assert "0 of them skipped" not in page
    plain = Monitor(model, optimizer, every=2)
    train(model, optimizer, plain, 4)
    assert "(sharpness)" not in plain.report(tmp_path / "plain.html").read_text(), (
        "of all weights it is a gradient norm"
    )


# -- what is refused -----------------------------------------------------------------------------------------------


def test_what_cannot_be_watched_is_refused(tmp_path: Path) -> None:
    model, other = net(), net()
    frozen = net().requires_grad_(False)
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: Monitor(model, "adam"), r"optimizer: .* is no torch.optim.Optimizer: pass the optimizer"),
        (lambda: Monitor(model, []), r"optimizer: an empty list is no"),
        (lambda: Monitor(3, sgd(model)), r"model: 3 is not a Module: pass a torch.nn.Module"),
        (lambda: Monitor(model, sgd(other)), r"optimizer: it holds none of the 6 tensors of the Sequential"),
        (lambda: Monitor(frozen, sgd(frozen)), r"none of its tensors requires a gradient: unfreeze"),
        (lambda: Monitor(model, sgd(model), every=0), r"every: 0 is too small: use 1 or more"),
        (lambda: Monitor(model, sgd(model)).step(torch.ones(4)), r"loss: its shape is \(4,\): pass one number"),
        (lambda: Monitor(model, sgd(model)).step("low"), r"loss: 'low' is not one number"),
        (lambda: Monitor(model, sgd(model)).look_ahead(loss_of), r"make the monitor with look_ahead=True"),
        (lambda: Monitor(model, sgd(model)).report(tmp_path), r"path: .* is a folder: name a file in it"),
        (
            lambda: Monitor(model, sgd(model)).report(tmp_path / "a.html"),
            r"nothing is measured before update 10: train longer",
        ),
        (lambda: Monitor(model, sgd(model)).load_state_dict({}), r"state: it is not the state of a monitor"),
    ]
    for call, words in cases:
        with pytest.raises(LrscopeError, match=words):
            call()
    monitor = Monitor(model, sgd(model), every=4)
    with pytest.raises(LrscopeError, match="every: the state was measured with every=4: make"):
        Monitor(model, sgd(model)).load_state_dict(monitor.state_dict())
    with pytest.raises(LrscopeError, match="make the monitor with look_ahead=False"):
        Monitor(model, sgd(model), every=4, look_ahead=True).load_state_dict(monitor.state_dict())


def test_the_package_has_it() -> None:
    assert lrscope.Monitor is Monitor
