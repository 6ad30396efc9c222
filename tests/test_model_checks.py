"""What a user's model may be: each kind trains as it would alone, or is refused by name before anything is planned."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, weight_norm
from torch.optim.swa_utils import update_bn

from lrscope.engine.context import Context
from lrscope.engine.net import build_net
from lrscope.engine.trial import distinct_examples
from lrscope.errors import LrscopeError
from lrscope.symmetries.invariance import prepare
from lrscope.tasks.random_state import kept
from lrscope.tasks.streams import stream_seed
from lrscope.tasks.task import Task
from tiny_tasks import BATCHED, CLASSES, SHORT, SINGLE, drawn, examples, same_bytes, task_of, train

STILL = replace(SHORT, lrs=(1e-14,), space="whole", seeds=3, steps=1, batch_size=24)


def layers(*inside: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(5, 6), *(make() for make in inside), nn.Linear(6, CLASSES))


def norm(**options: Any) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(6, **options)


def initial(task: Task, seed: int) -> nn.Module:
    return task.new_model(stream_seed("init", 0, seed))


def own_losses(task: Task) -> list[float]:
    """Test losses at the start of three seeds, of the models alone: batch norms with the training set's statistics."""
    data, found = task.data(0), []
    for seed in range(3):
        model = initial(task, seed)
        if not isinstance(model, Frozen):  # whose statistics update_bn would reset
            update_bn(torch.split(data.train_x, STILL.batch_size), model)
        with torch.no_grad():
            found.append(functional.cross_entropy(model.eval()(data.test_x), data.test_y).item())
    return found


class Frozen(nn.Module):
    """A batch norm that its owner keeps in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.head = nn.Linear(5, 6), norm(), nn.Linear(6, CLASSES)
        self.norm.running_mean.fill_(2.0)
        self.norm.running_var.fill_(9.0)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(self.layer(x)).relu())
        return out


class Buffered(nn.Module):
    """Random features, a mask of truth values and an order, all drawn by the seed and none of them trained."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("features", torch.randn(5, 6))
        self.register_buffer("mask", torch.rand(6) < 0.5)
        self.register_buffer("order", torch.randperm(6), persistent=False)
        self.register_buffer("same", torch.arange(6.0))
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head((((x @ self.features) + self.same / 10) * self.mask)[:, self.order])
        return out


class Twice(nn.Module):
    """One batch norm, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm, self.head = nn.Linear(5, 6), nn.Linear(6, 6), norm(), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(3 + 2 * self.b(self.norm(self.a(x)).relu())))
        return out


class Split(nn.Module):
    """Each quarter of a batch has a norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(5, 6), nn.Linear(6, CLASSES)
        self.norms = nn.ModuleList(norm() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        z = self.layer(x)
        parts = zip(self.norms, z.chunk(4), strict=True) if self.training else [(self.norms[0], z)]
        out: Tensor = self.head(torch.cat([norm(part) for norm, part in parts]))
        return out


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, CLASSES)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.second(self.first(x).relu()))
        return out


class Odd(nn.Module):
    """Parameters that do not train: whole numbers, truth values, a frozen scale."""

    def __init__(self) -> None:
        super().__init__()
        self.chosen = nn.Parameter(torch.tensor([0, 2, 4]), requires_grad=False)
        self.on = nn.Parameter(torch.tensor([True, False, True]), requires_grad=False)
        self.scale = nn.Parameter(torch.tensor(1.7), requires_grad=False)
        self.head = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.scale * x[:, self.chosen] * self.on)
        return out


class Spectral(nn.Module):
    """A complex buffer, as filters in frequency space are."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", torch.tensor([1, 1j, -1]))
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.fft.irfft(torch.fft.rfft(x) * self.filter, n=5))
        return out


class Words(nn.Module):
    """Looks up a row for each example."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 6, **options)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.table((x[:, 0] > 0).long())
        return out


class Missing(nn.Module):
    """A buffer with a number that is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edges", torch.tensor([0.0, torch.nan]))
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(x)
        return out


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(6), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(CLASSES))


RIGHT: dict[str, Callable[[], nn.Module]] = {
    "plain": layers(norm, nn.ReLU),
    "no affine": layers(lambda: norm(affine=False)),
    "average": layers(lambda: norm(momentum=None)),
    "frozen norm": Frozen,
    "frozen layer": lambda: nn.Sequential(nn.Linear(5, 6).requires_grad_(False), nn.Linear(6, CLASSES)),
    "random buffers": Buffered,
    "norm called twice": Twice,
    "split batch": Split,
    "tied": Tied,
    "other parameters": Odd,
    "complex buffer": Spectral,
    "lazy": lazy,
    "row norms limited": lambda: nn.Sequential(Words(max_norm=0.5), nn.Linear(6, CLASSES)),
    "row without training": lambda: nn.Sequential(Words(padding_idx=0), nn.Linear(6, CLASSES)),
    "NaN in a buffer": Missing,
    "whole model in eval mode": lambda: layers(norm)().eval(),
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("engine", [SINGLE, BATCHED], ids=["single", "batched"])
@pytest.mark.parametrize("kind", RIGHT)
def test_each_kind_of_model_computes_as_it_does_alone(kind: str, engine: Any) -> None:
    task = task_of(RIGHT[kind], (5,))
    found = train(task, STILL, engine)["pretrain/test_loss"].isel(lr=0, epoch=-1).values
    assert found.ravel().tolist() == pytest.approx(own_losses(task), rel=1e-5)


class NormAct(nn.BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


def hooked() -> nn.Module:
    found = norm()
    found.register_forward_hook(lambda module, given, output: -output)
    return found


class Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = layers(norm)()

    def forward(self, x: Tensor) -> Any:
        return (self.net(x), x) if self.training else self.net(x)


class Wider(Auxiliary):
    def forward(self, x: Tensor) -> Any:
        out = self.net(x)
        return torch.cat([out, out], 1) if self.training else out


class OwnGenerator(Auxiliary):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Any:
        return self.net(x + torch.randn(x.shape, generator=self.generator))


class Counting(Auxiliary):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return self.net(x) * self.calls


class Attribute(Auxiliary):
    """Drawn by the seed, but neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.order = torch.randperm(5)

    def forward(self, x: Tensor) -> Any:
        return self.net(x[:, self.order])


class Ragged(nn.Module):
    """Its depth is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(*(nn.Linear(5, 5) for _ in range(int(torch.randint(1, 1000, ())))), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Any:
        return self.net(x)


def gradient_hook() -> nn.Module:
    found = layers(norm)()
    found[0].weight.register_hook(lambda g: g.clamp(-1, 1))
    return found


def module_hook() -> nn.Module:
    found = layers(norm)()
    found[0].register_full_backward_hook(lambda m, i, o: None)
    return found


def compiled_in_place() -> nn.Module:
    found = layers(norm)()
    found[0].compile()
    return found


def partly_eval() -> nn.Module:
    found = layers(norm)()
    found[1].eval()
    return found


class ReadsNorm(Auxiliary):
    """Uses its batch norm's running statistics itself."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> Any:
        mean = getattr(self.norm, "running_mean", torch.zeros(5))
        return self.net(self.norm(x) + (0 if self.training else mean))


WRONG: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "subclass": (layers(lambda: NormAct(6)), "batch norm 1 is of the class NormAct, which may do more than normalise"),
    "synchronised": (layers(lambda: nn.SyncBatchNorm(6)), "batch norm 1 is a SyncBatchNorm"),
    "no statistics": (layers(lambda: norm(track_running_stats=False)), "batch norm 1 has track_running_stats=False"),
    "no momentum": (layers(lambda: norm(momentum=0.0)), "batch norm 1 has momentum 0"),
    "hook": (layers(hooked), "batch norm 1 has hooks, which would be lost"),
    "eval mode": (partly_eval, "model: 1 is in eval mode while the model is in train mode"),
    "running statistics read": (
        ReadsNorm,
        "computes something else when lrscope's batch norms stand in for net.1, norm",
    ),
    "spectral norm": (
        layers(lambda: nn.utils.spectral_norm(nn.Linear(6, 6))),
        "training changes its buffers 1.weight_u",
    ),
    "spectral parametrisation": (
        layers(lambda: parametrizations.spectral_norm(nn.Linear(6, 6))),
        "training changes its buffers 1.parametrizations.weight.0._u",
    ),
    "auxiliary output": (Auxiliary, "in train mode it returns tuple: return one tensor of outputs in both modes"),
    "shapes differ": (Wider, r"returns shape \(48, 6\) in train mode and \(48, 3\) in eval mode"),
    "own generator": (OwnGenerator, "two passes in train mode under one seed give different outputs"),
    "counts": (Counting, "two passes in train mode under one seed give different outputs"),
    "attribute": (Attribute, "two seeds differ in order .*register it as a buffer"),
    "depth": (Ragged, "its tensors net.* are not the same for every seed, in number or shape"),
    "gradient hook": (gradient_hook, "0.weight has hooks on its gradient"),
    "module's gradient hook": (module_hook, "model: 0 has hooks on its gradient"),
    "float64": (lambda: layers(norm)().double(), "precision: float32, but the model's weights are float64"),
    "several devices": (lambda: nn.DataParallel(layers(norm)()), "it is a DataParallel, .*return the module inside"),
    "traced": (
        lambda: torch.jit.trace(layers(nn.ReLU)(), torch.ones(2, 5)),
        "it is a TopLevelTracedModule, whose weights",
    ),
    "compiled": (lambda: torch.compile(layers(norm)()), "it was given to torch.compile: leave that out"),
    "compiled in place": (compiled_in_place, "model: 0 was given to torch.compile"),
    "sparse gradients": (
        lambda: nn.Sequential(Words(sparse=True), nn.Linear(6, CLASSES)),
        "model: 0.table makes sparse gradients, .*use sparse=False",
    ),
    "no parameters": (nn.Identity, "no trainable parameters"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
@pytest.mark.parametrize("kind", WRONG)
def test_what_would_be_computed_otherwise_is_refused_by_name(kind: str) -> None:
    model, message = WRONG[kind]
    x, y = examples(48, (3 if kind == "no parameters" else 5,))
    with pytest.raises(LrscopeError, match=message) as caught:
        build_net(Task(model, (x, y), (x, y)), invariant=False, device=torch.device("cpu"), dtype=torch.float32)
    assert "\n" not in str(caught.value)


def test_a_float64_model_trains_in_float64() -> None:
    task = task_of(lambda: layers(norm)().double(), (5,))
    found = train(task, replace(STILL, precision="float64", space="sphere", radius=None))
    assert (found["pretrain/status"] == 0).all()


@pytest.mark.slow
def test_pixels_are_cast_by_the_model_itself() -> None:
    """The check of scale invariance runs in float64, whatever type the model names."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = layers(norm, nn.ReLU)()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.net(x.to(torch.float32) / 255 + torch.zeros(5))
            return out

    x, y = examples(48, (5,))
    pixels = (x * 40 + 128).clamp(0, 255).to(torch.uint8)
    found = train(Task(Net, (pixels, y), (pixels, y)), SHORT)
    assert (found["pretrain/status"] == 0).all()


class LayerDrop(nn.Module):
    """Noise from one of the generators that are not PyTorch's."""

    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.net, self.draw = layers(nn.ReLU)(), draw

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x * float(self.draw() < 0.5) if self.training else x)
        return out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this model draws noise")
@pytest.mark.parametrize("draw", [np.random.rand, random.random], ids=["numpy", "python"])
def test_noise_of_any_generator_repeats(draw: Callable[[], float]) -> None:
    task = task_of(functools.partial(LayerDrop, draw), (5,))
    found = []
    for seed in (1, 2):  # states that the sweep must not depend on
        with kept():
            np.random.seed(seed)
            random.seed(seed)
            found.append(train(task, replace(SHORT, space="whole", lrs=(0.1,)), SINGLE))
    once, again = found
    assert same_bytes(once, again) == []
    assert np.unique(once["pretrain/train_loss"].values).size > 1


def test_a_readout_of_another_parametrisation_is_frozen_at_norm_10() -> None:
    x, _ = examples(48, (5,))
    for wrap in (weight_norm, parametrizations.weight_norm, parametrizations.orthogonal):
        model = drawn(lambda wrap=wrap: nn.Sequential(nn.Linear(5, 6), norm(), wrap(nn.Linear(6, CLASSES))))
        with torch.no_grad():
            direction = model(x).clone() if wrap is None else model[2].weight.detach().clone()
        ready = prepare(model, x, invariant=True)
        weight = ready[2].weight.detach()
        assert weight.norm().item() == pytest.approx(10, rel=1e-5), wrap
        assert torch.allclose(weight / 10, direction / direction.norm(), atol=1e-6)


def test_a_readout_that_shares_its_weights_is_refused() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.head = nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Linear(5, 3, bias=False)
            self.head.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(functional.pad(self.norm(self.first(x)), (0, 2)))
            return out

    with pytest.raises(LrscopeError, match="readout head shares its weights with first"):
        prepare(drawn(Shared), examples(48, (5,))[0], invariant=True)


def test_subclasses_of_other_norms_keep_their_affine_parameters_frozen() -> None:
    class Gemma(nn.LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            return functional.layer_norm(x, self.normalized_shape, 1 + self.weight, self.bias, self.eps)

    task = task_of(lambda: nn.Sequential(nn.Linear(5, 6), Gemma(6), nn.ReLU(), nn.Linear(6, CLASSES)), (5,))
    net = build_net(task, invariant=True, device=torch.device("cpu"), dtype=torch.float32)
    assert [slot.name for slot in net.slots] == ["0.weight", "0.bias"]
    assert set(net.frozen) == {"1.weight", "1.bias", "3.weight", "3.bias"}


def test_weights_of_the_outermost_module_are_named() -> None:
    class Token(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.randn(5))
            self.norm, self.head = nn.LayerNorm(5), nn.Linear(5, CLASSES)
            nn.init.zeros_(self.head.weight)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.norm(x + self.token))
            return out

    with pytest.raises(LrscopeError, match="outputs change when token is rescaled"):
        build_net(task_of(Token, (5,)), invariant=True, device=torch.device("cpu"), dtype=torch.float32)


def test_examples_that_are_looked_at_are_not_all_alike() -> None:
    x, y = examples(400, (5,))
    x[:396] = 0
    assert len(distinct_examples(x)[0]) == 5
    found, rows = distinct_examples(examples(1000, (5,))[0])
    assert len(found) == 64 == len(set(rows.tolist()))
    x = torch.zeros(100_000, 1)
    x[77_777] = 1
    found, rows = distinct_examples(x)
    assert (found[:, 0].tolist(), rows.tolist()) == ([0, 1], [0, 77_777])
    with pytest.raises(LrscopeError, match="train inputs are all alike"):
        distinct_examples(torch.zeros(30, 5))
    x, y = examples(48, (5,))
    x[:40] = 0
    assert (train(Task(layers(norm), (x, y), (x, y)), SHORT)["pretrain/status"] == 0).all()


class Scripted(nn.Module):
    """Fails where `when` says so: of a mode and a number of examples."""

    def __init__(self, when: Callable[[bool, int], bool]) -> None:
        super().__init__()
        self.net, self.when = layers(nn.ReLU)(), when

    def forward(self, x: Tensor) -> Tensor:
        if self.when(self.training, len(x)):
            raise ValueError("too few")
        out: Tensor = self.net(x)
        return out


@pytest.mark.parametrize(
    ("when", "message"),
    [
        (lambda training, n: training and n == 8, r"model: a training step on a batch of 8 fails \(too few\)"),
        (lambda training, n: not training and n == 20, r"model: evaluation of 20 test examples together fails"),
    ],
    ids=["batch size", "test set"],
)
def test_every_function_is_tried_at_its_own_size_before_anything_is_kept(
    when: Callable[[bool, int], bool], message: str, tmp_path: Path
) -> None:
    task = task_of(functools.partial(Scripted, when), (5,))
    with pytest.raises(LrscopeError, match=message):
        train(task, replace(SHORT, space="whole"), SINGLE, tmp_path)
    assert not (tmp_path / "plan.json").exists()


def test_a_model_that_trains_on_large_batches_only_is_measured_on_one() -> None:
    """However it says so: memory is otherwise measured on a few examples."""

    class Large(Auxiliary):
        def forward(self, x: Tensor) -> Any:
            assert not self.training or len(x) >= 16, "too few examples"
            return self.net(x)

    found = train(task_of(Large, (5,)), replace(SHORT, space="whole", batch_size=24, steps=2))
    assert (found["pretrain/status"] == 0).all()


@pytest.mark.slow
def test_a_plan_that_failed_before_any_chunk_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, right = task_of(layers(norm), (5,)), Context.run_unit

    def failing(self: Context, plan: Any, name: str, *rest: Any) -> None:
        if not name.startswith("random-"):
            raise RuntimeError("a kernel failed")
        right(self, plan, name, *rest)

    monkeypatch.setattr(Context, "run_unit", failing)
    with pytest.raises(RuntimeError, match="a kernel failed"):
        train(task, SHORT, BATCHED, tmp_path)
    assert not (tmp_path / "plan.json").exists()
    monkeypatch.setattr(Context, "run_unit", right)
    found = train(task, SHORT, SINGLE, tmp_path)
    assert '"path": "single"' in found.attrs["plan"]


@pytest.mark.slow
def test_seeds_that_begin_alike_are_warned_about() -> None:
    start = drawn(layers(norm))
    with pytest.warns(UserWarning, match="initial weights do not depend on the seed: the 2 seeds differ in the order"):
        train(task_of(lambda: start.requires_grad_() and __import__("copy").deepcopy(start), (5,)), SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["module", "partial"])
def test_tensors_inside_a_loss_follow_the_precision(form: str) -> None:
    weight = torch.tensor([1.0, 2.0, 3.0])
    losses: dict[str, Any] = {
        "module": nn.CrossEntropyLoss(weight=weight, reduction="none"),
        "partial": functools.partial(functional.cross_entropy, weight=weight, reduction="none"),
    }
    task = task_of(layers(norm), (5,), loss=losses[form], classification=True)
    assert (train(task, replace(SHORT, precision="float64"))["pretrain/status"] == 0).all()
