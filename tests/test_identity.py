"""Identity from values and code: what trains differently has another digest; addresses, comments and hash seeds have no say."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lrscope.errors import LrscopeError
from lrscope.tasks.identity import digest
from lrscope.tasks.losses import name_of
from lrscope.tasks.task import Task
from tiny_tasks import CLASSES, drawn, examples

FACTOR = 2.0
TRAIN, TEST = examples(24, (5,)), examples(12, (5,), key="test")


def made(source: str, name: str = "f", **names: Any) -> Any:
    """What `source` defines as `name`, anew in a module of its own."""
    scope: dict[str, Any] = {"torch": torch, "nn": nn, "functional": functional, "__name__": "own", **names}
    exec(source, scope)
    return scope[name]


def scaled(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda o, y: factor * functional.cross_entropy(o, y, reduction="none")


class Scaled:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, o: Tensor, y: Tensor) -> Tensor:
        return self.factor * functional.cross_entropy(o, y, reduction="none")

    def method(self, o: Tensor, y: Tensor) -> Tensor:
        return self(o, y)


def smoothed(amount: float) -> Any:
    return functools.partial(functional.cross_entropy, reduction="none", label_smoothing=amount)


def weighted(*weights: float) -> nn.Module:
    return nn.CrossEntropyLoss(weight=torch.tensor(weights, dtype=torch.float32), reduction="none")


LOSSES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "partial": (lambda: smoothed(0.1), lambda: smoothed(0.2)),
    "partial of a tensor": (
        lambda: functools.partial(functional.cross_entropy, weight=torch.ones(3)),
        lambda: functools.partial(functional.cross_entropy, weight=torch.tensor([1.0, 1.0, 2.0])),
    ),
    "module": (lambda: weighted(1, 1, 1), lambda: weighted(1, 9, 1)),
    "closure": (lambda: scaled(1.0), lambda: scaled(2.0)),
    "object": (lambda: Scaled(1.0), lambda: Scaled(2.0)),
    "bound method": (lambda: Scaled(1.0).method, lambda: Scaled(2.0).method),
    "default": (lambda: made("f = lambda o, y, a=1: a"), lambda: made("f = lambda o, y, a=2: a")),
    "keyword default": (lambda: made("def f(*, a=1): 0"), lambda: made("def f(*, a=2): 0")),
    "constant": (lambda: made("f = lambda o, y: 2 * o"), lambda: made("f = lambda o, y: 3 * o")),
    "operation": (lambda: made("f = lambda o, y: o + y"), lambda: made("f = lambda o, y: o - y")),
    "attribute": (lambda: made("f = lambda o, y: o.sin()"), lambda: made("f = lambda o, y: o.cos()")),
    "global": (lambda: made("f = lambda o: A * o", A=1.0), lambda: made("f = lambda o: A * o", A=2.0)),
    "helper": (
        lambda: made("def g(o): return o\ndef f(o, y): return g(o)"),
        lambda: made("def g(o): return -o\ndef f(o, y): return g(o)"),
    ),
    "nested function": (
        lambda: made("def f(o): return (lambda z: z + 1)(o)"),
        lambda: made("def f(o): return (lambda z: z + 2)(o)"),
    ),
    "global of a nested function": (
        lambda: made("def f(o): return (lambda z: z * A)(o)", A=1.0),
        lambda: made("def f(o): return (lambda z: z * A)(o)", A=2.0),
    ),
    "cached": (
        lambda: functools.cache(made("def f(o): return o")),
        lambda: functools.cache(made("def f(o): return -o")),
    ),
    "array": (lambda: functools.partial(max, np.ones(2)), lambda: functools.partial(max, np.zeros(2))),
    "set": (lambda: functools.partial(max, {"a", "b"}), lambda: functools.partial(max, {"a", "c"})),
    "library's function": (lambda: functional.cross_entropy, lambda: functional.nll_loss),
    "built-in": (lambda: torch.sin, lambda: torch.cos),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_that_train_differently_differ_and_equal_ones_are_equal(kind: str) -> None:
    first, other = LOSSES[kind]
    assert digest(first()) == digest(first()), "made twice, at two addresses"
    assert digest(first()) != digest(other())


@pytest.mark.parametrize(
    "source",
    [
        "def f(o, y):\n    z = o * 2  # twice\n\n    return z",
        'def f(o, y):\n    "Says so."\n    w = o * 2\n    return w',
    ],
)
def test_comments_documentation_and_local_names_do_not_count(source: str) -> None:
    assert digest(made(source)) == digest(made("def f(o, y):\n    z = o * 2\n    return z"))


NET = """
class Net(nn.Module):
    {values}
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)
        {made}
    def forward(self, x):
        return {forward}
"""


def net(values: str = "a = 1", made_too: str = "pass", forward: str = "self.layer(x)") -> nn.Module:
    return drawn(made(NET.format(values=values, made=made_too, forward=forward), "Net"))


@pytest.mark.parametrize(
    "other",
    [
        lambda: net(values="a = 2"),
        lambda: net(made_too="self.slope = 0.2"),
        lambda: net(made_too="self.act = torch.relu"),
        lambda: net(made_too="self.act = lambda z: -z"),
        lambda: net(made_too="self.layer.bias.requires_grad_(False)"),
        lambda: net(made_too="self.register_buffer('m', torch.ones(3), persistent=False)"),
        lambda: net(made_too="self.layer.register_forward_hook(lambda m, i, o: -o)"),
        lambda: net(made_too="self.layer.eval()"),
        lambda: net(forward="-self.layer(x)"),
        lambda: net(values="def helper(self): return 1"),
    ],
    ids=["class", "number", "function", "lambda", "frozen", "buffer", "hook", "mode", "forward", "method"],
)
def test_models_that_compute_differently_differ(other: Callable[[], nn.Module]) -> None:
    assert digest(other()) == digest(other())
    assert digest(other()) != digest(net())


def test_options_that_a_layer_does_not_show_count() -> None:
    heads = [drawn(lambda n=n: nn.MultiheadAttention(8, n)) for n in (2, 4)]
    assert repr(heads[0]) == repr(heads[1])
    assert digest(heads[0]) != digest(heads[1])


def test_objects_are_known_by_their_values_not_by_their_addresses() -> None:
    class Slotted:
        __slots__ = ("a",)

        def __init__(self, a: object) -> None:
            self.a = a

    loop: list[Any] = [1]
    loop.append(loop)
    for value in (Slotted([1]), object(), loop, torch.nn.Parameter(torch.eye(2)).to_sparse(), torch.tensor([1j, 2])):
        assert len(digest(value)) == 16
    assert digest(Slotted([1])) == digest(Slotted([1])) != digest(Slotted([2]))
    assert digest(object()) == digest(object())
    assert digest(torch.ones(2, dtype=torch.bfloat16)) != digest(torch.ones(2, dtype=torch.float16))
    assert digest([1, [2]]) != digest([[1], 2])


def test_a_task_is_known_by_its_loss_and_its_model() -> None:
    def task(loss: Any = "cross_entropy", **options: str) -> Task:
        return Task(
            lambda: made(
                NET.format(**{"values": "a = 1", "made": "pass", "forward": "self.layer(x)", **options}), "Net"
            )(),
            TRAIN,
            TEST,
            loss=loss,
            classification=True,
        )

    tasks = [
        *(task(), task(forward="-self.layer(x)"), task(made="self.p = 1")),
        *(task(weighted(1, 1, 1)), task(weighted(1, 9, 1)), task(smoothed(0.1)), task(scaled(2.0))),
    ]
    prints = [t.fingerprint([0]) for t in tasks]
    assert len(set(prints)) == len(prints)
    assert task(scaled(2.0)).fingerprint([0]) == prints[-1]


def test_a_task_is_known_by_what_is_measured_and_by_its_normalisation() -> None:
    """A result without accuracy is not one with; pixel operations depend on the normalisation."""
    images = tuple((x[:, None, :, None], y) for x, y in (TRAIN, TEST))

    def net() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(5, CLASSES))

    def task(loss: Any = "cross_entropy", *, classification: bool = True, **options: Any) -> Task:
        return Task(net, *images, loss=loss, classification=classification, **options)

    tasks = [
        *(task(), task(classification=False)),
        *(task(smoothed(0.1)), task(smoothed(0.1), classification=False)),
        *(task(normalisation=(0.1, 1.0)), task(normalisation=(0.1, 2.0))),
    ]
    prints = [t.fingerprint([0]) for t in tasks]
    assert len(set(prints)) == len(prints)
    assert Task(net, *images).fingerprint([0]) == prints[0]


def test_a_model_that_is_another_one_at_each_call_is_refused() -> None:
    """Its sweep could not be gone on with."""

    class Stamped(nn.Linear):
        def __init__(self) -> None:
            super().__init__(5, CLASSES)
            self.made = time.monotonic_ns()

    with pytest.raises(LrscopeError, match="model: made is another one at each call under one seed"):
        Task(Stamped, TRAIN, TEST).fingerprint([0])


def test_a_users_loss_never_bears_a_named_ones_name() -> None:
    """Otherwise the checks and the constant prediction of the named loss would be applied to it."""

    def cross_entropy(o: Tensor, y: Tensor) -> Tensor:
        return 3 * functional.cross_entropy(o, y, reduction="none")

    assert name_of(made("def cross_entropy(o, y): 0", "cross_entropy")) == "cross_entropy (own)"
    assert name_of(smoothed(0.1)) == "cross_entropy (own)"
    task = Task(lambda: nn.Linear(5, CLASSES), TRAIN, TEST, loss=smoothed(0.1), classification=True)
    assert "constant_loss" not in task.summary()


SCRIPT = """
import sys; sys.path.insert(0, {tests!r})
import functools, torch, lrscope
from torch import nn
from torch.nn import functional
NAMES = {{"alpha", "beta", "gamma", "delta"}}
class Lambda(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f, self.names, self.inner = f, set(NAMES), object()
    def forward(self, x): return self.f(x) if "alpha" in NAMES else x
    def __repr__(self): return f"Lambda({{self.f}})"
def loss(o, y): return functional.cross_entropy(o, y, reduction="none") * (1 if "beta" in {{"beta", "x", "y"}} else 2)
x = torch.ones(8, 5) * torch.arange(8)[:, None]
task = lrscope.Task(lambda: nn.Sequential(nn.Linear(5, 2), Lambda(lambda z: z.relu())), (x, torch.arange(8) % 2),
                    (x, torch.arange(8) % 2), loss=loss, classification=True)
print(task.fingerprint([0]))
"""


@pytest.mark.slow
def test_processes_with_other_hash_seeds_agree(tmp_path: Path) -> None:
    """The addresses differ, the order of sets does, and one process runs from another file."""
    found = []
    for seed in ("1", "2"):
        script = tmp_path / f"script{seed}.py"
        script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, script], env=env, capture_output=True, text=True, check=True, timeout=300
        )
        found.append(done.stdout.strip())
    assert found[0] == found[1] != ""
