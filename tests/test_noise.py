"""Noise drawn from a run's seed: PyTorch's functions as they are answered, which networks that serves, and sweeps of them."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lrscope.engine.backends import BACKENDS
from lrscope.engine.backends.cpp import compiler as fused_compiler
from lrscope.engine.backends.inductor import NotCompiled
from lrscope.engine.plan import Plan
from lrscope.errors import LrscopeError
from lrscope.results import open_result
from lrscope.tasks import GaussianNoise
from lrscope.tasks.noise import Keyed, Noise, noise_of
from lrscope.tasks.norms import replace_batch_norms
from lrscope.tasks.task import Task
from tiny_tasks import (
    ALL_RUNS,
    BASE,
    BATCHED,
    CLASSES,
    ONE_RUN,
    SHORT,
    SINGLE,
    Dropping,
    computed,
    context_of,
    drawn,
    examples,
    same_bytes,
    stopped_and_resumed,
    task_of,
    train,
)
from trees import arrays

SEED = torch.tensor(20261128)


def keyed(call: Callable[[], Any], seed: Tensor = SEED) -> Any:
    with Keyed(seed):
        return call()


# -- the functions -------------------------------------------------------------------------------------------------


ONES = torch.ones(40, 30, 5, 6, dtype=torch.float64)
DROPOUTS = {
    "dropout": (functional.dropout, ONES, (0, 1, 2, 3)),
    "dropout, in place": (partial(functional.dropout, inplace=True), ONES, (0, 1, 2, 3)),
    "dropout1d": (functional.dropout1d, ONES[..., 0], (0, 1)),
    "dropout1d of one example": (functional.dropout1d, torch.ones(1200, 6), (0,)),
    "dropout2d": (functional.dropout2d, ONES, (0, 1)),
    "dropout2d, in place": (partial(functional.dropout2d, inplace=True), ONES, (0, 1)),
    "dropout3d": (functional.dropout3d, ONES[..., None], (0, 1)),
    "dropout3d of one example": (functional.dropout3d, torch.ones(1200, 2, 3, 4), (0,)),
    "torch.dropout": (lambda x, p: torch.dropout(x, p, True), ONES, (0, 1, 2, 3)),
    "Dropout": (lambda x, p: nn.Dropout(p)(x), ONES, (0, 1, 2, 3)),
    "Dropout2d": (lambda x, p: nn.Dropout2d(p)(x), ONES, (0, 1)),
}


@pytest.mark.parametrize("name", DROPOUTS)
def test_dropout_drops_what_pytorch_drops_and_scales_the_rest(name: str) -> None:
    """Elements or whole channels, independent of each other; what is kept is divided by the chance to be kept."""
    function, ones, own = DROPOUTS[name]
    given = ones.clone()
    found = keyed(lambda: function(given, 0.25))
    assert found.shape == ones.shape
    assert found.dtype == ones.dtype
    assert found.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert torch.equal(given, found if "in place" in name else ones)
    each = found.permute(*own, *(d for d in range(ones.dim()) if d not in own)).reshape(
        int(np.prod([ones.shape[d] for d in own])), -1
    )
    assert torch.equal(each, each[:, :1].expand_as(each)), "one number for all that is dropped together"
    kept = (each[:, 0] > 0).double().mean()
    assert abs(kept - 0.75) < 5 * (0.75 * 0.25 / len(each)) ** 0.5
    # PyTorch drops the same units of the same shape.
    with torch.random.fork_rng(devices=[]):
        theirs = function(ones.clone(), 0.25)
    assert torch.equal(theirs.unique(), found.unique())


@pytest.mark.parametrize("dims", [(40, 3000), (400, 300)])
@pytest.mark.parametrize("whole", [False, True])
def test_alpha_dropout_keeps_mean_and_variance(dims: tuple[int, int], whole: bool) -> None:
    x = torch.randn(*dims, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    function = functional.feature_alpha_dropout if whole else functional.alpha_dropout
    found = keyed(lambda: function(x, 0.2, True))
    assert abs(found.mean()) < 0.02
    assert abs(found.var() - 1) < 0.03
    with torch.random.fork_rng(devices=[]):
        theirs = function(x, 0.2, True)
    dropped = theirs.flatten().mode().values  # the one value that all dropped elements have
    assert (found == dropped).double().mean() == pytest.approx(0.2, abs=0.02)
    kept = (found != dropped) & (theirs != dropped)
    torch.testing.assert_close(found[kept], theirs[kept])


@pytest.mark.parametrize("off", [{"training": False}, {"p": 0.0}])
def test_dropout_that_is_off_draws_nothing(off: dict[str, Any]) -> None:
    with Keyed(SEED) as mode:
        for function in (functional.dropout, functional.dropout2d, functional.alpha_dropout):
            assert torch.equal(function(ONES, **{"p": 0.5, "training": True, **off}), ONES)
        assert not mode.stream.drawn
        assert not functional.dropout(ONES, 1.0).any()


ATTENTION = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask": {"attn_mask": torch.ones(4, 4, dtype=torch.bool).tril()},
    "added": {"attn_mask": torch.linspace(-1, 1, 16, dtype=torch.float64).view(4, 4)},
    "scale": {"scale": 0.3},
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_drops_some_of_pytorchs_own_weights(name: str) -> None:
    rng = torch.Generator().manual_seed(2)
    query, key = (torch.randn(3, 2, 4, 5, generator=rng, dtype=torch.float64) for _ in range(2))
    value = torch.eye(4, dtype=torch.float64).expand(3, 2, 4, 4)  # so that the weights come out
    attend = functional.scaled_dot_product_attention
    weights = attend(query, key, value, **ATTENTION[name])
    found = keyed(lambda: attend(query, key, value, dropout_p=0.5, **ATTENTION[name]))
    dropped = (found == 0) & (weights > 1e-9)
    assert 0 < dropped.sum() < 96
    torch.testing.assert_close(found, torch.where(dropped, 0.0, 2 * weights))


@pytest.mark.parametrize("need_weights", [True, False])
def test_multi_head_attention_draws_from_the_stream(need_weights: bool) -> None:
    attention = drawn(partial(nn.MultiheadAttention, 8, 2, dropout=0.5, batch_first=True))
    x = examples(4, (5, 8))[0]
    call = partial(attention, x, x, x, need_weights=need_weights)
    before = torch.get_rng_state()
    first, again, other = keyed(call)[0], keyed(call)[0], keyed(call, SEED + 1)[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    attention.dropout = 0.0
    torch.testing.assert_close(keyed(call)[0], call()[0])


MADE = {
    "rand": (lambda x: torch.rand(x.shape), "uniform"),
    "rand_like": (torch.rand_like, "uniform"),
    "uniform_": (lambda x: torch.empty_like(x).uniform_(0, 1), "uniform"),
    "randn": (lambda x: torch.randn(*x.shape), "normal"),
    "randn_like": (torch.randn_like, "normal"),
    "normal_": (lambda x: torch.empty_like(x).normal_(), "normal"),
    "bernoulli": (lambda x: torch.bernoulli(torch.full_like(x, 0.5)), "coin"),
    "bernoulli_": (lambda x: torch.empty_like(x).bernoulli_(0.5), "coin"),
}
MOMENTS = {"uniform": (1 / 2, 1 / 12), "normal": (0.0, 1.0), "coin": (1 / 2, 1 / 4)}


@pytest.mark.parametrize("name", MADE)
def test_numbers_have_their_mean_and_variance(name: str) -> None:
    make, kind = MADE[name]
    found = keyed(lambda: make(torch.zeros(200, 300)))
    mean, variance = MOMENTS[kind]
    assert found.shape == (200, 300)
    assert abs(float(found.mean()) - mean) < 5 * (variance / 60000) ** 0.5
    assert float(found.var()) == pytest.approx(variance, rel=0.03)


def test_a_generator_of_the_callers_own_is_asked_as_ever() -> None:
    own = torch.Generator().manual_seed(3)
    found = keyed(lambda: torch.rand(4, generator=own))
    assert torch.equal(found, torch.rand(4, generator=torch.Generator().manual_seed(3)))


# -- networks ------------------------------------------------------------------------------------------------------


class Forward(nn.Module):
    """A small net with something of the test's own between its layers."""

    def __init__(self, between: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.between = between
        self.first, self.norm, self.last = nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.between(self, self.norm(self.first(x))))
        return out


def _if_training(draw: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda module, x: draw(x) if module.training else x


def _sequential(*layers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(
        nn.Linear(5, 8), nn.LayerNorm(8), nn.ReLU(), *(layer() for layer in layers), nn.Linear(8, CLASSES)
    )


def _hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, CLASSES))
    model[2].register_forward_hook(lambda m, _, out: out + 0.1 * torch.randn_like(out) if m.training else out)
    return model


NETS: dict[str, tuple[Callable[[], nn.Module], Noise]] = {
    "no noise": (_sequential(), "none"),
    "dropout of nothing": (_sequential(partial(nn.Dropout, 0.0)), "none"),
    "dropout": (_sequential(partial(nn.Dropout, 0.3)), "keyed"),
    "two dropouts": (_sequential(partial(nn.Dropout, 0.3), partial(nn.AlphaDropout, 0.3)), "keyed"),
    "dropout by a function, batch norm": (Dropping, "keyed"),
    "gaussian noise": (_sequential(partial(GaussianNoise, 0.2)), "keyed"),
    "a hook": (_hooked, "keyed"),
    "rand_like": (partial(Forward, _if_training(lambda x: x * (0.5 + torch.rand_like(x)))), "keyed"),
    "a drop path": (
        partial(Forward, _if_training(lambda x: x * x.new_empty(len(x), 1).bernoulli_(0.8) / 0.8)),
        "keyed",
    ),
    "an attention layer": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (5, 1)),
            nn.Linear(1, 8),
            nn.TransformerEncoderLayer(8, 2, 8, dropout=0.2, batch_first=True),
            nn.Flatten(),
            nn.Linear(40, CLASSES),
        ),
        "keyed",
    ),
    "numpy": (partial(Forward, _if_training(lambda x: x * float(np.random.rand()))), "global"),
    "python": (partial(Forward, _if_training(lambda x: x * random.random())), "global"),
    "randint": (partial(Forward, _if_training(lambda x: x * torch.randint(1, 3, (1,)))), "global"),
    "dropout and numpy": (
        partial(Forward, _if_training(lambda x: functional.dropout(x, 0.2) * np.random.rand())),
        "global",
    ),
    "dropout left on": (partial(Forward, lambda _, x: functional.dropout(x, 0.2)), "global"),
    "a checkpointed layer": (
        partial(Forward, lambda m, x: checkpoint(functional.dropout, x, 0.3, m.training, use_reentrant=False)),
        "global",
    ),
}
KEYED = [name for name, (_, noise) in NETS.items() if noise == "keyed"]


@pytest.mark.parametrize("name", NETS)
def test_what_a_network_draws_is_found_by_running_it(name: str) -> None:
    make, expected = NETS[name]
    task = task_of(make, (5,))
    assert task.noise == expected
    assert context_of(task, replace(SHORT, space="whole"), Path("unused")).net.noise == expected


def test_a_loss_that_draws_is_none_of_the_networks_noise() -> None:
    def noisy(output: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(output + torch.rand_like(output), y, reduction="none")

    x, y = examples(4, (5,))
    assert noise_of(drawn(NETS["dropout"][0]), noisy, x, y) == "global"


@pytest.mark.parametrize("name", KEYED)
def test_gradients_in_a_batch_are_those_of_runs_alone(name: str) -> None:
    """Of the same function: the mask is not drawn again in between, and the same with the global generators anywhere."""
    model = replace_batch_norms(drawn(NETS[name][0]).double())
    x = examples(6, (5,))[0].double()
    seeds = torch.arange(3) + SEED

    def loss(weights: dict[str, Tensor], seed: Tensor) -> Tensor:
        with Keyed(seed):
            out: Tensor = functional_call(model, weights, (x,))
        return out.square().sum()

    weights = {n: p.detach() for n, p in model.named_parameters()}
    stacked = {n: w.expand(3, *w.shape) for n, w in weights.items()}
    with warnings.catch_warnings(action="ignore"):  # PyTorch's, of an attention that is slow
        batch = vmap(grad_and_value(loss), in_dims=(0, 0))(stacked, seeds)
    for run, seed in enumerate(seeds):
        gradient, value = grad_and_value(loss)(weights, seed)
        torch.testing.assert_close(batch[1][run], value, rtol=1e-12, atol=1e-12)
        for key, found in gradient.items():
            torch.testing.assert_close(batch[0][key][run], found, rtol=1e-12, atol=1e-12)
    assert len({float(v) for v in batch[1]}) == 3, "runs draw differently"
    key = next(reversed(weights))
    torch.autograd.gradcheck(lambda w: loss({**weights, key: w}, SEED), weights[key].clone().requires_grad_())


@pytest.mark.parametrize("std", [-1, float("nan"), float("inf"), "0.1", True])
def test_a_standard_deviation_that_is_none_is_refused(std: Any) -> None:
    with pytest.raises(LrscopeError, match=r"std: .* is not a finite number of 0 or more: pass one such as 0\.1"):
        GaussianNoise(std)


def test_gaussian_noise_is_a_layer_of_ones_own_loop_too() -> None:
    layer, x = GaussianNoise(0.5), torch.zeros(100, 100)
    with torch.random.fork_rng(devices=[]):
        assert float(layer(x).std()) == pytest.approx(0.5, rel=0.05)
        torch.manual_seed(0)
        ours = layer(x)
        torch.manual_seed(0)
        assert torch.equal(ours, 0.5 * torch.randn(100, 100))
    assert layer.eval()(x) is x
    assert "std=0.5" in repr(layer)


# -- sweeps --------------------------------------------------------------------------------------------------------


EXACT = replace(BASE, precision="float64")
IN_TWOS = Plan("batched", 2, False, "", 0.0)


def noisy_task(make: Callable[[], nn.Module] = NETS["two dropouts"][0]) -> Task:
    return task_of(make, (5,))


def close(a: Any, b: Any) -> None:
    one, other = arrays(a), arrays(b)
    assert set(one) == set(other)
    for name, array in one.items():
        if array.dtype.kind == "f" and name != "seconds":
            np.testing.assert_allclose(array, other[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two dropouts", "dropout by a function, batch norm", "gaussian noise"])
def test_another_plan_gives_the_same_runs(name: str, tmp_path: Path) -> None:
    """All phases, random points and evaluation: alone, in twos and all together."""
    found = [
        computed(noisy_task(NETS[name][0]), EXACT, plan, tmp_path / str(i))
        for i, plan in enumerate((ONE_RUN, IN_TWOS, ALL_RUNS))
    ]
    close(found[0], found[1])
    close(found[0], found[2])


@pytest.mark.slow
@pytest.mark.parametrize("plan", [IN_TWOS, ONE_RUN], ids=["batched", "single"])
def test_stopped_in_the_middle_and_resumed_is_the_same_to_the_byte(plan: Plan, tmp_path: Path) -> None:
    make = partial(noisy_task, Dropping)
    whole = computed(make(), BASE, plan, tmp_path / "whole")
    for stop in (5, 14):
        assert same_bytes(stopped_and_resumed(make, BASE, plan, tmp_path / str(stop), stop), whole) == []


def test_noisy_networks_train_in_batches_without_a_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=UserWarning, module="zarr")
        result = train(noisy_task(), SHORT, BATCHED, tmp_path)
    assert '"path": "batched"' in result.attrs["plan"]


@pytest.mark.parametrize("same_init", [True, False])
def test_seeds_and_steps_draw_differently(same_init: bool, tmp_path: Path) -> None:
    """Learning rates draw alike, unless each has an initialisation of its own."""
    context = context_of(noisy_task(), replace(SHORT, same_init=same_init), tmp_path)
    chunk = context.chunks(ALL_RUNS)[0]
    trainer, phase = context.trainer(ALL_RUNS, chunk), context.phases[0]
    names = [seed if same_init else (seed, lr) for seed, lr in chunk.runs]

    def drawn(purpose: str, step: int, count: int) -> list[list[int]]:
        found = trainer._noise(purpose, phase, step, count)
        assert found is not None
        return found.tolist()

    by_step = drawn("noise", 0, 5)
    assert by_step[2:] == drawn("noise", 2, 3), "whatever the steps of a call"
    assert len({word for row in by_step for word in row}) == 5 * len(set(names))
    for row in by_step:
        assert len(set(zip(row, names, strict=True))) == len(set(names))
    assert not {*by_step[0]} & {*drawn("log noise", 0, 1)[0]}


def test_random_points_draw_by_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[tuple[str | int, ...]] = []

    def seeds(names: Any, device: torch.device) -> Tensor:
        named.extend(names)
        return torch.arange(len(named))[-1:]

    monkeypatch.setattr("lrscope.engine.material.seeds", seeds)
    context = context_of(noisy_task(), replace(SHORT, random_points=3), tmp_path)
    context.material(0).random_points(context.program("batched", False), group=1)
    assert named == [("random noise", 0, seed, number) for seed in range(SHORT.seeds) for number in range(3)]


def test_batches_of_a_pass_at_fixed_weights_draw_differently(tmp_path: Path) -> None:
    """Of the same examples: the mean over two batches is that of neither alone."""
    context = context_of(noisy_task(), replace(SHORT, precision="float64"), tmp_path)
    trainer = context.trainer(ALL_RUNS, context.chunks(ALL_RUNS)[0])
    weights, frozen = trainer.tensors["weights"], trainer._frozen("end noise", trainer.phases[0])
    x, y = trainer.material.batches(1)
    for passed in (
        trainer.program.fixed_pass,
        lambda *given: torch.stack(trainer.program.train_mode_metrics(*given), 1),
    ):
        one, two = ([t.expand(k, *t.shape[1:]) for t in (x, y)] for k in (1, 2))
        assert ((passed(weights, frozen, *one) - passed(weights, frozen, *two))[:, 0].abs() > 1e-6).all()


@pytest.mark.slow
def test_noise_is_on_in_training_and_off_in_tests() -> None:
    fixed = replace(SHORT, lrs=(1e-15,), precision="float64")
    noisy, calm = (train(task_of(partial(Dropping, p, nn.LayerNorm), (5,)), fixed, BATCHED) for p in (0.4, 0.0))
    for name in ("pretrain/train_loss", "pretrain/fixed_train_loss", "random_train_loss"):
        assert (abs(noisy[name] - calm[name]) > 1e-4).all(), name
    assert (abs(noisy["pretrain/test_loss"] - calm["pretrain/test_loss"]) < 1e-10).all()


def test_the_users_module_stays_as_it_is() -> None:
    model = drawn(NETS["two dropouts"][0])
    before = (repr(model), list(model.state_dict()), model.training)
    context = context_of(task_of(model, (5,)), replace(SHORT, space="whole"), Path("unused"))
    assert (repr(model), list(model.state_dict()), model.training) == before
    assert isinstance(model[3], nn.Dropout)
    assert list(context.net.module.state_dict()) == before[1]


@pytest.mark.parametrize("name", ["inductor", "inductor, single"])
def test_torch_compile_refuses_networks_that_draw(name: str, tmp_path: Path) -> None:
    trainer = context_of(noisy_task(), SHORT, tmp_path).trainer(
        ONE_RUN, context_of(noisy_task(), SHORT, tmp_path).chunks(ONE_RUN)[0]
    )
    trainer.program = trainer.program.on(BACKENDS[name]())
    with pytest.raises(NotCompiled, match="the network draws noise"):
        trainer.advance(1)


def test_a_plan_says_why_steps_are_not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_compiler, "COMPILERS", ("no such compiler",))
    for name, engine in (("batched", BATCHED), ("single", SINGLE)):
        result = train(noisy_task(), SHORT, replace(engine, compile=True), tmp_path / name)
        assert "not compiled (the network draws noise in training)" in result.attrs["plan"]


@pytest.mark.slow
def test_a_sweep_begun_with_other_noise_is_another_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before noise was keyed, and after its rule changes; a network without noise is known as ever."""
    prints = []
    for rule in (b"noise: keyed random numbers, 1", b"another"):
        monkeypatch.setattr("lrscope.tasks.task.NOISE_RULE", rule)
        prints.append([task_of(NETS[n][0], (5,)).fingerprint([0]) for n in ("dropout", "no noise", "numpy")])
    assert prints[0][0] != prints[1][0]
    assert prints[0][1:] == prints[1][1:]
    train(noisy_task(), SHORT, SINGLE, tmp_path)
    monkeypatch.undo()
    with pytest.raises(LrscopeError, match=r"out: .* holds another sweep"):
        train(noisy_task(), SHORT, SINGLE, tmp_path)
    assert open_result(tmp_path).sizes["lr"] == 2
