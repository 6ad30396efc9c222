"""Symmetries of models as they train: in DDP, compiled, with LoRA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lrscope
from lrscope.symmetries import find_symmetries
from test_symmetries import D, drawn, seeded

pytestmark = pytest.mark.slow
Wrap = Callable[[nn.Module], nn.Module]


def network() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            nn.Linear(4, D), nn.BatchNorm1d(D), nn.ReLU(), nn.Linear(D, 5), nn.ReLU(), nn.Linear(5, 3)
        )
    )


def in_ddp(model: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(model)


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend=refuse)


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend=refuse)
    return model


def with_a_compiled_part(model: nn.Module) -> nn.Module:
    model[0] = compiled(model[0])
    return model


def after_a_step(model: nn.Module) -> nn.Module:
    model(drawn(8, 4)).sum().backward()
    return model


def refuse(graph: Any, inputs: Any) -> Any:
    raise AssertionError("the copy in float64 was compiled")


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
        torch.compiler.reset()


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(
    "wraps",
    [
        (in_ddp,),
        (in_ddp, after_a_step),
        (compiled,),
        (compiled_in_place,),
        (with_a_compiled_part,),
        (in_ddp, compiled),
        (compiled, in_ddp),
    ],
    ids=lambda wraps: " ".join(wrap.__name__ for wrap in wraps),
)
def test_a_wrapped_model_has_the_symmetries_of_the_one_inside(wraps: tuple[Wrap, ...]) -> None:
    expected = find_symmetries(network(), drawn(8, 4))
    assert [len(expected.of(kind)) for kind in ("scale-invariant", "rescaling")] == [1, 2]
    model = network()
    for wrap in wraps:
        model = wrap(model)
    found = find_symmetries(model, drawn(8, 4))
    assert found == expected, "tensors have the names that the model inside gives them"
    first, rest = lrscope.sphere_groups(model, found)
    assert [name for name, _ in first["params"]] == ["0.weight"]
    assert len(rest["params"]) == len(list(model.parameters())) - 1


def test_a_compiled_function_inside_is_run_as_it_is() -> None:
    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.half = network(), torch.compile(lambda x: x / 2, backend=refuse)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(self.half(x))

    assert len(find_symmetries(Inside(), drawn(8, 4))) == len(find_symmetries(network(), drawn(8, 4)))
    torch.compiler.reset()


def test_batch_norms_that_wait_for_other_processes_do_not_wait() -> None:
    """On a CPU they refuse to run, elsewhere they would hang where one process alone asks."""
    model = nn.SyncBatchNorm.convert_sync_batchnorm(network())
    assert find_symmetries(model, drawn(8, 4)) == find_symmetries(network(), drawn(8, 4))


class Low(nn.Module):
    """A linear layer as PEFT's LoRA makes it: frozen, beside two matrices that train, of which the second begins at 0."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer, self.lora_dropout = base.requires_grad_(False), nn.ModuleDict({"default": nn.Dropout(0.1)})
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, base.out_features, bias=False)})
        nn.init.zeros_(self.lora_B["default"].weight)

    def forward(self, x: Tensor) -> Tensor:
        low = self.lora_B["default"](self.lora_A["default"](self.lora_dropout["default"](x)))
        out: Tensor = self.base_layer(x) + 2.0 * low
        return out


def with_lora() -> nn.Module:
    """As `get_peft_model` wraps a model: adapters in two layers, all else frozen."""
    model = network().requires_grad_(False)
    model[0], model[3] = Low(model[0], 2), Low(model[3], 2)
    inside = nn.Module()
    inside.model, inside.forward = model, model.forward
    outside = nn.Module()
    outside.base_model, outside.forward = inside, inside.forward
    return outside


def test_lora_s_two_matrices_are_a_pair() -> None:
    """Each inner channel by itself. Beside frozen weights nothing else is free, not even before a batch norm."""
    found = find_symmetries(seeded(with_lora), drawn(16, 4))
    pair = "base_model.model.{}.lora_{}.default.weight"
    assert [(one.kind, dict(one.powers), one.channels, one.eval) for one in found] == [
        ("rescaling", {pair.format(i, "A"): 1, pair.format(i, "B"): -1}, 2, True) for i in (0, 3)
    ]
