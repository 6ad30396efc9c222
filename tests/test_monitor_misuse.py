"""The monitor in the hands of users who do what was not foreseen: each works, or is refused with the reason and the way out."""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lrscope.errors import LrscopeError
from lrscope.monitor import Monitor
from lrscope.tasks.streams import generator

D = 8


def seeded(*layers: Any) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            *(layer() if callable(layer) and not isinstance(layer, nn.Module) else layer for layer in layers)
        )


def net() -> nn.Sequential:
    return seeded(lambda: nn.Linear(6, D), nn.BatchNorm1d(D), nn.ReLU(), lambda: nn.Linear(D, 3))


def batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    draws = generator("tests", "monitor misuse")
    for _ in range(count):
        x = torch.randn(16, 6, generator=draws)
        yield x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long()


def train(model: nn.Module, optimizer: Any, monitor: Monitor, steps: int) -> None:
    for x, y in batches(steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        monitor.step(loss)


def sgd(model: nn.Module, lr: float = 0.05) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)


# -- networks ----------------------------------------------------------------------------------------------------------


def test_a_network_without_norm_layers_has_no_regime_3() -> None:
    model = seeded(lambda: nn.Linear(6, D), nn.Tanh(), lambda: nn.Linear(D, 3))
    optimizer = sgd(model, 0.0)
    monitor = Monitor(model, optimizer, batch=next(batches(1))[0], every=2, chance=math.log(3))
    assert [g.invariant for g in monitor.groups] == [False] * 4
    train(model, optimizer, monitor, 2)
    with torch.no_grad():
        model[2].weight.zero_()
    for _ in range(320):
        with torch.no_grad():
            model[0].weight.mul_(1.001)
        monitor.step(1.11)
    assert monitor.regime().regime == "dead"
    assert monitor.result()["effective_grad_norm"].isnull().all(), "it is of scale-invariant weights alone"
    assert [w.name for w in monitor.warnings()] == ["dead"]


class Adapted(nn.Module):
    """A frozen layer with a low-rank one beside it, whose second matrix starts at zero, named as PEFT names them."""

    def __init__(self) -> None:
        super().__init__()
        self.base_layer, self.lora_A, self.lora_B = (
            nn.Linear(6, 3),
            nn.Linear(6, 2, bias=False),
            nn.Linear(2, 3, bias=False),
        )
        self.base_layer.requires_grad_(False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base_layer(x) + self.lora_B(self.lora_A(x))
        return out


class Wrapped(nn.Module):
    """As PeftModel wraps a model, whose layers it replaced in place."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.base_model = inside

    def forward(self, x: Tensor) -> Any:
        return self.base_model(x)


@pytest.mark.parametrize("outer", [True, False])
def test_adapters_beside_frozen_weights(outer: bool) -> None:
    inside = seeded(Adapted)
    model = Wrapped(inside)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    monitor = Monitor(model if outer else inside, optimizer, batch=next(batches(1))[0], every=2)
    before = "base_model." * outer
    assert [g.name for g in monitor.groups] == [f"{before}0.lora_A.weight", f"{before}0.lora_B.weight"]
    train(model, optimizer, monitor, 10)
    angle = monitor.result()["group_angle"]
    assert (angle > 0).all()


def test_weights_that_are_zero_before_an_update_have_no_angle() -> None:
    """From nowhere there is no direction to turn from; one that stays zero has none either."""
    model = nn.ParameterDict({name: nn.Parameter(torch.zeros(4)) for name in ("grows", "stays")})
    monitor = Monitor(model, sgd(model), every=2)
    for k in range(6):
        with torch.no_grad():
            model["grows"].fill_(0.0 if k == 2 else 0.3 * (k + 1))
        monitor.step(1.0)
    result = monitor.result()
    assert result["group_angle"].sel(group="grows").isnull().values.tolist() == [False, True, False]
    assert result["group_angle"].sel(group="stays").isnull().all()
    assert monitor.warnings() == ()


@pytest.mark.parametrize("wrap", [False, True])
def test_sharded_weights_are_refused(wrap: bool) -> None:
    """As FSDP leaves weights: they know the devices among which they are divided, or their wrapper does."""
    model: nn.Module = net()
    optimizer = sgd(model)
    if wrap:
        model = type("FullyShardedDataParallel", (Wrapped,), {})(model)
    else:
        model[3].weight.device_mesh = object()
    with pytest.raises(
        LrscopeError, match=r"the weights of the .* are sharded \(FSDP\).*: use DistributedDataParallel, or leave"
    ):
        Monitor(model, optimizer)


# -- losses and gradients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (torch.ones(4), r"loss: its shape is \(4,\): pass one number, such as loss.mean\(\)"),
        (torch.ones(0), r"loss: its shape is \(0,\)"),
        (np.ones(3), "is not one number: pass the loss that backward"),
        ({"loss": 1.0}, "is not one number: pass the loss that backward"),
        (torch.tensor(1 + 1j), "loss: it is complex: pass a real number"),
    ],
)
def test_a_loss_that_is_not_one_number(loss: Any, words: str) -> None:
    model = net()
    monitor = Monitor(model, sgd(model), every=2)
    with pytest.raises(LrscopeError, match=words):
        monitor.step(loss)
    assert (monitor.calls, monitor.losses.count) == (0, 0), "a call that is refused leaves nothing behind"


@pytest.mark.parametrize("loss", [torch.ones(1), torch.ones(1, 1), np.float32(1), np.array(1.0), 1, torch.tensor(1)])
def test_a_loss_that_is_one_number_in_another_form(loss: Any) -> None:
    model = net()
    optimizer = sgd(model)
    monitor = Monitor(model, optimizer, every=2)
    train(model, optimizer, monitor, 1)
    with torch.no_grad():
        model[0].weight.mul_(1.1)
    monitor.losses.taken(torch.device("cpu"))
    monitor.step(loss)
    assert float(monitor.result()["train_loss"][0]) == 1.0


def test_weights_without_a_gradient_are_measured_for_what_they_are() -> None:
    """As of a layer that no output depends on: it has a norm, and neither turns nor counts in the norm of the gradient."""
    model = nn.ModuleDict({"used": net(), "idle": seeded(lambda: nn.Linear(3, 3))})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    monitor = Monitor(model, optimizer, look_ahead=True)
    for x, y in batches(10):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model["used"](x), y)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    idle = monitor.result().sel(group="idle.0.weight")
    assert idle["group_angle"].isnull().all()
    assert idle["group_effective_grad_norm"].isnull().all()
    norm = float(model["idle"][0].weight.detach().norm())
    np.testing.assert_allclose(idle["group_norm"], norm, rtol=1e-5)
    total = math.sqrt(sum(float(p.grad.square().sum()) for p in model["used"].parameters()))
    assert float(monitor.result()["grad_norm"][-1]) == pytest.approx(total, rel=1e-5)
    assert monitor.warnings() == ()


# -- what a look ahead is given ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [lambda x: x, lambda x: [x, x], lambda x: (x,), lambda x: torch.stack([x, x]), lambda x: [float(x.detach())]],
)
def test_an_evaluation_may_return_losses_with_their_graph(form: Any) -> None:
    model, monitor = looking()
    x, y = next(batches(1))
    ahead = monitor.look_ahead(lambda copy: form(functional.cross_entropy(copy(x), y)))
    assert ahead.now == pytest.approx(float(functional.cross_entropy(model(x), y).detach()))


@pytest.mark.parametrize("found", [None, [], {"loss": 1.0}, ["low"], [None]])
def test_an_evaluation_that_returns_no_losses_is_refused(found: Any) -> None:
    _, monitor = looking()
    with pytest.raises(LrscopeError, match=r"evaluate: it returned .*: return a loss, or a list of losses"):
        monitor.look_ahead(lambda copy: found)


def test_an_evaluation_in_the_place_of_a_switch_is_refused() -> None:
    model = net()
    with pytest.raises(LrscopeError, match="look_ahead"):
        Monitor(model, sgd(model), look_ahead=lambda copy: 1.0)


def test_an_evaluation_that_fails_leaves_the_measurement_to_come() -> None:
    """At an odd number of updates the weights are held, to be compared after the next."""
    model, monitor = looking()
    train(model, monitor.optimizers[0], monitor, 1)

    def fails(copy: nn.Module) -> float:
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError, match="no data"):
        monitor.look_ahead(fails)
    train(model, monitor.optimizers[0], monitor, 1)
    assert monitor.result()["group_angle"].sel(group="0.weight").notnull().all()


def test_weights_that_come_later_are_averaged_from_then_on() -> None:
    model = nn.ParameterDict({"first": nn.Parameter(torch.ones(1)), "late": nn.Parameter(torch.ones(1))})
    optimizer = torch.optim.SGD([model["first"]], lr=0.1)
    monitor = Monitor(model, optimizer, every=1, look_ahead=True)
    for k in range(1, 7):
        if k == 4:
            optimizer.add_param_group({"params": [model["late"]]})
        with torch.no_grad():
            for weight in model.values():
                weight.fill_(k)
        monitor.step(1.0)
    seen = []
    monitor.look_ahead(lambda copy: seen.append([float(w.detach()) for w in copy.values()]) or 1.0)
    assert seen[0] == [6, 6]
    assert seen[1] == pytest.approx([0.9 * 6 + 0.1, 4 + 0.9 * 2 + 0.1])


def test_a_look_ahead_waits_for_no_other_process() -> None:
    """On a CPU synchronised batch norms refuse to train; elsewhere they would wait for processes without a monitor."""
    model = nn.SyncBatchNorm.convert_sync_batchnorm(net()).eval()
    optimizer = sgd(model)
    monitor = Monitor(model, optimizer, every=1, look_ahead=True)
    train(model, optimizer, monitor, 2)
    x, y = next(batches(1))
    found = monitor.look_ahead(lambda copy: functional.cross_entropy(copy(x), y), batches=[x])
    assert np.isfinite(found.ahead)
    assert "forward" not in vars(model[1]), "the model itself goes on waiting"


# -- loaders of a look ahead ---------------------------------------------------------------------------------------------------


def looking() -> tuple[nn.Sequential, Monitor]:
    model = net()
    optimizer = sgd(model)
    monitor = Monitor(model, optimizer, every=2, look_ahead=True)
    train(model, optimizer, monitor, 4)
    return model, monitor


class Stream:
    """Batches made anew for each pass; knows how many were alive at once."""

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
        self.most = 0

    def __iter__(self) -> Iterator[Tensor]:
        for x, _ in batches(12):
            self.alive.add(x)
            self.most = max(self.most, len(self.alive))
            yield x


def test_a_loader_is_not_kept_in_memory() -> None:
    _, monitor = looking()
    stream = Stream()
    monitor.look_ahead(lambda copy: 1.0, batches=stream)
    assert 0 < stream.most <= 3


def test_a_loader_that_reshuffles_gives_both_the_same_and_goes_on_as_before() -> None:
    """Its generator is that of the training, which must not notice."""
    _, monitor = looking()
    monitor.average.weights = {n: p.detach().clone() for n, p in monitor.model.named_parameters()}
    own = torch.Generator().manual_seed(3)
    x = torch.cat([x for x, _ in batches(4)])
    loader = torch.utils.data.DataLoader(
        x, 24, shuffle=True, generator=own
    )  # the last batch is shorter: the order matters
    before = own.get_state()
    seen = []
    monitor.look_ahead(lambda copy: seen.append(copy[1].running_var.clone()) or 1.0, batches=loader)
    assert torch.equal(own.get_state(), before)
    assert torch.equal(*seen)
    monitor.look_ahead(lambda copy: 1.0, batches=iter([x]))


def test_a_loader_that_is_exhausted_is_refused() -> None:
    model, monitor = looking()
    read = iter([x for x, _ in batches(2)])
    list(read)
    for none in (read, []):
        with pytest.raises(
            LrscopeError, match="batches: there are none, as of an iterator that was read before: pass a list"
        ):
            monitor.look_ahead(lambda copy: 1.0, batches=none)
    assert not torch.equal(model[1].running_var, torch.ones(D)), "those of the model stay"
    plain = seeded(lambda: nn.Linear(6, 3))
    monitor = Monitor(plain, sgd(plain), every=2, look_ahead=True)
    train(plain, monitor.optimizers[0], monitor, 4)
    monitor.look_ahead(lambda copy: 1.0, batches=[])  # nothing is made of batches without batch norms


# -- trackers -----------------------------------------------------------------------------------------------------------


class Tracker(ModuleType):
    """Stands for wandb, mlflow and tensorboard, of which it has the calls that the sinks make."""

    def __init__(self, *, open_run: bool = True) -> None:
        super().__init__("tracker")
        self.told: list[tuple[int, dict[str, Any]]] = []
        self.run = self if open_run else None

    def log(self, values: dict[str, Any]) -> None:
        self.told.append((values["lrscope/update"], values))

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.told.append((step, values))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.told.append((step, {name: value}))

    def SummaryWriter(self, folder: str) -> Tracker:
        return self


@pytest.mark.parametrize("name", ["wandb", "mlflow", "tensorboard"])
def test_trackers_get_every_measurement(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Tracker()
    for module in (name, "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, tracker)
    model = net()
    optimizer = sgd(model)
    train(model, optimizer, Monitor(model, optimizer, every=5, sinks=name), 20)
    assert sorted({step for step, _ in tracker.told}) == [5, 10, 15, 20]
    last = {k: v for step, values in tracker.told if step == 20 for k, v in values.items()}
    assert last["lrscope/group_norm/0.weight"] == pytest.approx(float(model[0].weight.detach().norm()), rel=1e-5)
    if name != "wandb":  # which takes words too
        assert all(math.isfinite(value) for value in last.values())


def test_wandb_without_an_open_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", Tracker(open_run=False))
    model = net()
    with pytest.raises(LrscopeError, match=r"sinks: no run of wandb is open: call wandb.init\(\) first"):
        Monitor(model, sgd(model), sinks="wandb")
