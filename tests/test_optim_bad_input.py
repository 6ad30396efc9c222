"""What the optimizers on the sphere refuse, each in one sentence with a remedy; nothing is half done afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import lrscope
from lrscope import LrscopeError
from lrscope.symmetries.types import Part, Symmetries, Symmetry
from sphere_problems import copies, fill, same, weights

SGD, AdamW = torch.optim.SGD, torch.optim.AdamW


def zeros(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def row_of_zeros() -> nn.Parameter:
    p = weights((3, 4))[0]
    with torch.no_grad():
        p[1] = 0
    return p


def nan() -> nn.Parameter:
    p = weights((3, 4))[0]
    with torch.no_grad():
        p[0, 0] = float("nan")
    return p


def frozen() -> nn.Parameter:
    return weights((3, 4))[0].requires_grad_(False)


def sharded() -> nn.Parameter:
    """As FSDP leaves weights, so far as it can be told from outside: they know the devices among which they are divided."""
    p = weights((3, 4))[0]
    p.device_mesh = object()
    return p


def complex_weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(2, 2, dtype=torch.complex64))


BAD: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: lrscope.SphereSGD([zeros(3, 4)], 0.1),
        "params: weight 0 of param group 0, of shape (3, 4), is all zeros, without a direction to keep a norm along: init",
    ),
    (lambda: lrscope.SphereSGD([("lora_B", zeros(3, 4))], 0.1), "params: weight 'lora_B' is all zeros"),
    (
        lambda: lrscope.SphereSGD([zeros(3), zeros(2)], 0.1, sphere="group"),
        "params: all weights of param group 0 are zero",
    ),
    (lambda: lrscope.SphereSGD([row_of_zeros()], 0.1, sphere="row"), "has rows of zeros, without a direction"),
    (lambda: lrscope.OnSphere(SGD([zeros(3, 4)], 0.1)), "is all zeros"),
    (
        lambda: lrscope.OnSphere(SGD([nan()], 0.1)),
        "holds NaN, infinity or numbers too large to be squared: initialise it anew",
    ),
    (
        lambda: lrscope.SphereSGD([frozen()], 0.1),
        "is frozen (requires_grad is False), so no step moves it: leave it off the sphere",
    ),
    (lambda: lrscope.OnSphere(SGD([frozen()], 0.1)), "is frozen"),
    (lambda: lrscope.OnSphere(SGD([complex_weight()], 0.1)), "holds torch.complex64 instead of real floats"),
    (
        lambda: lrscope.OnSphere(AdamW(weights(), 0.1)),
        "weight_decay: 0.01 of param group 0 cannot shrink weights whose norm is kept",
    ),
    (
        lambda: lrscope.SphereSGD(weights(), 0.1, weight_decay=0.1),
        "would only lengthen their steps: pass weight_decay=0",
    ),
    (
        lambda: lrscope.SphereSGD([*weights((2, 2)), *weights((2, 2), dtype=torch.float32)], 0.1),
        "of several types (torch.float32 and",
    ),
    (lambda: lrscope.OnSphere(SGD([sharded()], 0.1)), "is not here as a whole (a meta tensor, or sharded by FSDP)"),
    (lambda: lrscope.OnSphere(SGD([nn.Parameter(torch.ones(2, 2, device="meta"))], 0.1)), "is not here as a whole"),
    (lambda: lrscope.OnSphere(torch.optim.LBFGS(weights())), "LBFGS cannot be on a sphere, since it remembers steps"),
    (lambda: lrscope.OnSphere(torch.optim.ASGD(weights())), "ASGD cannot be on a sphere"),
    (lambda: lrscope.OnSphere(torch.optim.SparseAdam(weights())), "SparseAdam cannot be on a sphere"),
    (lambda: lrscope.OnSphere(weights()), "is no torch.optim.Optimizer: pass one, such as"),
    (
        lambda: lrscope.OnSphere(lrscope.SphereSGD(weights(), 0.1)),
        "the weights of this SphereSGD are on spheres already",
    ),
    (lambda: lrscope.OnSphere(lrscope.OnSphere(SGD(weights(), 0.1))), "of this OnSphere are on spheres already"),
    (
        lambda: lrscope.OnSphere(SGD(weights(), 0.1, differentiable=True)),
        "differentiable: True cannot be used on a sphere",
    ),
    (
        lambda: lrscope.OnSphere(SGD(weights(), 0.1), sphere="matrx"),
        "sphere: 'matrx' of param group 0 is unknown: use 'group'",
    ),
    (
        lambda: lrscope.OnSphere(SGD(weights(), 0.1), hyperball=1),
        "hyperball: 1 of param group 0 is neither True nor False",
    ),
    (
        lambda: lrscope.OnSphere(SGD(weights(), 0.1), radius=-1),
        "radius: -1 of param group 0 is neither a number above 0 nor 2 of them",
    ),
    (lambda: lrscope.OnSphere(SGD(weights(), 0.1), radius=[1, 2, 3]), "radius: [1, 2, 3]"),
    (lambda: lrscope.OnSphere(SGD(weights(), 0.1), radius="big"), "radius: 'big'"),
    (lambda: lrscope.OnSphere(SGD(weights(), 0.1), radius=float("nan")), "radius: nan"),
    (lambda: lrscope.OnSphere(SGD(weights((5,)), 0.1)), "params: none of them lies on a sphere"),
    (lambda: lrscope.OnSphere(SGD(weights(), 0.1), sphere=None), "params: none of them lies on a sphere"),
    (lambda: lrscope.SphereSGD(weights(), -0.1), "lr: -0.1 is not a finite number of 0 or more"),
    (lambda: lrscope.SphereSGD(weights(), "0.1"), "lr: '0.1'"),
    (lambda: lrscope.SphereSGD(weights(), float("nan")), "lr: nan"),
    (lambda: lrscope.SphereSGD(weights(), 0.1, momentum=-1), "momentum: -1"),
    (lambda: lrscope.SphereSGD(weights(), 0.1, nesterov=True), "nesterov: True needs momentum"),
]


@pytest.mark.parametrize(("make", "sentence"), BAD, ids=[sentence[:50] for _, sentence in BAD])
def test_what_cannot_be_used_is_refused(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(LrscopeError, match=re.escape(sentence)) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [lambda g: lrscope.SphereSGD(g, 0.1), lambda g: lrscope.OnSphere(SGD(g, 0.1))])
def test_a_weight_in_two_groups(make: Callable[[Any], Any]) -> None:
    """PyTorch refuses it when the groups are passed, in its words, and we do where one is added."""
    (p, q) = weights((2, 2), (2, 2))
    with pytest.raises((LrscopeError, ValueError), match="more than one parameter group"):
        make([{"params": [p]}, {"params": [q, p]}])
    optimizer = make([p])
    with pytest.raises(
        LrscopeError, match="params: some parameters appear in more than one parameter group: give every"
    ):
        optimizer.add_param_group({"params": [q, p]})
    assert len(optimizer.param_groups) == 1
    with (
        pytest.raises(LrscopeError, match=r"weight 0 of param group 1, of shape \(2, 2\), is twice in its group"),
        pytest.warns(UserWarning, match="duplicate parameters"),
    ):
        optimizer.add_param_group({"params": [q, q]})
    assert len(optimizer.param_groups) == 1


def test_pytorchs_own_checks_speak_for_themselves() -> None:
    with pytest.raises(ValueError, match="can't optimize a non-leaf Tensor"):
        lrscope.SphereSGD([2 * weights((2, 2))[0]], 0.1)
    with pytest.raises(TypeError, match="optimizer can only optimize Tensors"):
        lrscope.SphereSGD([1.0], 0.1)


@pytest.mark.parametrize(
    "group",
    [
        {"params": [zeros(2, 2)]},
        {"params": weights((2, 2)), "sphere": "round"},
        {"params": weights((2, 2)), "weight_decay": 0.1},
    ],
)
def test_a_group_that_is_refused_is_not_added(group: dict[str, Any]) -> None:
    for make in (lambda p: lrscope.SphereSGD(p, 0.1), lambda p: lrscope.OnSphere(SGD(p, 0.1))):
        optimizer = make(weights((3, 4)))
        with pytest.raises(LrscopeError):
            optimizer.add_param_group(dict(group))
        assert len(optimizer.param_groups) == 1
        fill(optimizer.param_groups[0]["params"], 0)
        optimizer.step()


def test_an_optimizer_that_is_refused_is_as_it_was() -> None:
    (p,) = weights((3, 4))
    inner = SGD([{"params": [p]}, {"params": [zeros(2, 2)]}], 0.1)
    keys = [sorted(group) for group in inner.param_groups]
    with pytest.raises(LrscopeError):
        lrscope.OnSphere(inner)
    assert [sorted(group) for group in inner.param_groups] == keys


def test_weight_decay_is_fine_where_there_is_no_sphere() -> None:
    matrix, vector = weights((3, 4), (4,))
    groups = [{"params": [matrix], "weight_decay": 0}, {"params": [vector], "sphere": None}]
    lrscope.OnSphere(AdamW(groups, 0.1, weight_decay=0.1))


@pytest.mark.parametrize("make", [lambda p: lrscope.SphereSGD(p, 0.1), lambda p: lrscope.OnSphere(SGD(p, 0.1))])
def test_weight_decay_that_comes_later_is_refused(make: Callable[[Any], Any]) -> None:
    """As of a schedule for the decay, or of `set` in a notebook; by the next step, which moves nothing."""
    params = weights((3, 4), (4,))
    optimizer = make([{"params": [params[0]]}, {"params": [params[1]], "sphere": None}])
    optimizer.param_groups[1]["weight_decay"] = 0.1
    fill(params, 0)
    optimizer.step()
    optimizer.param_groups[0]["weight_decay"] = 0.1
    before = copies(params)
    for step in (optimizer.step, lambda: optimizer.step(lambda: torch.zeros(()))):
        with pytest.raises(LrscopeError, match=r"weight_decay: 0\.1 of param group 0 cannot shrink weights"):
            step()
        assert same(params, before)


@pytest.mark.parametrize("hyperball", [False, True])
def test_sparse_gradients(hyperball: bool) -> None:
    table = nn.Embedding(4, 3, sparse=True, _weight=weights((4, 3))[0])
    before = copies(table.parameters())
    for optimizer in (
        lrscope.OnSphere(SGD(table.parameters(), 0.1), hyperball=hyperball),
        lrscope.SphereSGD(table.parameters(), 0.1, hyperball=hyperball),
    ):

        def closure(optimizer: torch.optim.Optimizer = optimizer) -> torch.Tensor:
            optimizer.zero_grad()
            loss = table(torch.tensor([1, 2])).sum()
            loss.backward()
            return loss

        closure()
        for step in (optimizer.step, lambda o=optimizer, c=closure: o.step(c)):
            with pytest.raises(LrscopeError, match="has a sparse gradient, but its norm depends on all its weights"):
                step()
            assert same(table.parameters(), before)


def test_a_weight_frozen_later() -> None:
    """It stays where it is, unless it shares a sphere with others that move."""
    for sphere in ("matrix", "group"):
        params = weights((3, 4), (2, 2))
        optimizer = lrscope.SphereSGD(params, 0.1, sphere=sphere)
        params[1].requires_grad_(False)
        before = copies(params)
        params[0].grad = torch.ones_like(params[0])
        if sphere == "group":
            with pytest.raises(LrscopeError, match="was frozen, but keeping its group's norm would rescale it"):
                optimizer.step()
            assert same(params, before)
        else:
            optimizer.step()
            assert [torch.equal(p, old) for p, old in zip(params, before, strict=True)] == [False, True]


# -- sphere_groups: planted symmetries, as find_symmetries returns them ------------------------------------------------------


def found(*symmetries: Symmetry) -> Symmetries:
    return Symmetries(model="Sequential", mode="train", tensors=6, weights=99, draws=40, found=symmetries)


def one(kind: str, *parts: Part, **more: Any) -> Symmetry:
    return Symmetry(kind, parts, **more)


def model() -> nn.Sequential:
    with torch.random.fork_rng():
        return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))


def told(groups: list[dict[str, Any]]) -> list[tuple[str | None, list[str]]]:
    return [(group["sphere"], [name for name, _ in group["params"]]) for group in groups]


def test_groups_of_a_model() -> None:
    net = model()
    symmetries = found(
        one("scale-invariant", Part("0.weight", 1.0, axis=0), channels=3, eval=False),
        one("group", Part("1.weight", 1.0), Part("1.bias", 1.0)),
        one("rescaling", Part("2.weight", 1.0), Part("2.bias", -1.0)),
        one("no effect", Part("0.bias", 1.0)),
    )
    rest = (None, ["0.bias", "2.weight", "2.bias"])
    joint = ("group", ["1.weight", "1.bias"])
    assert told(lrscope.sphere_groups(net, symmetries)) == [("matrix", ["0.weight"]), joint, rest]
    assert told(lrscope.sphere_groups(net, symmetries, per="channel")) == [("row", ["0.weight"]), joint, rest]
    assert told(lrscope.sphere_groups(net, symmetries, per="network")) == [("group", ["0.weight", *joint[1]]), rest]
    optimizer = lrscope.OnSphere(AdamW(lrscope.sphere_groups(net, symmetries), 0.1))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0, 0, 0.01]
    assert optimizer.param_groups[1]["param_names"] == ["1.weight", "1.bias"]


def test_groups_leave_out_what_a_norm_would_change() -> None:
    net = model()
    symmetries = found(
        one("scale-invariant", Part("1.weight", 1.0)),  # one axis: a sphere of its own
        one("scale-invariant", Part("0.weight", 1.0), train=False),
        one("group", Part("2.weight", 1.0), Part("2.bias", 2.0)),
        one("group", Part("0.bias", 1.0), Part("1.weight", 1.0)),
    )
    groups = lrscope.sphere_groups(net, symmetries)
    assert told(groups) == [("group", ["1.weight"]), (None, ["0.weight", "0.bias", "1.bias", "2.weight", "2.bias"])]


def test_groups_of_another_model_or_of_nothing() -> None:
    with pytest.raises(
        LrscopeError, match=r"found: weight '9\.weight' is not one that trains in this Sequential: pass what"
    ):
        lrscope.sphere_groups(model(), found(one("scale-invariant", Part("9.weight", 1.0))))
    net = model()
    net[0].weight.requires_grad_(False)
    with pytest.raises(LrscopeError, match=r"found: weight '0\.weight' is not one that trains"):
        lrscope.sphere_groups(net, found(one("scale-invariant", Part("0.weight", 1.0))))
    with pytest.raises(LrscopeError, match="nothing in this Sequential is scale-invariant"):
        lrscope.sphere_groups(model(), found())
    with pytest.raises(LrscopeError, match="per: "):
        lrscope.sphere_groups(model(), found(), per="layer")
