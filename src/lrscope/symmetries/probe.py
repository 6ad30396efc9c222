"""A float64 copy of a model: its outputs, and the slopes of random functions of them when tensors are rescaled.

At a weight tensor w with gradient g, <w, g> is the slope of the output in the logarithm of the tensor's size. M draws.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from lrscope.dynamics.float64 import InFloat64
from lrscope.errors import LrscopeError, first_line, shown
from lrscope.symmetries.batches import Forward, floats, fresh, plain, rows
from lrscope.symmetries.depthwise import DepthwiseAtOnce
from lrscope.symmetries.legs import Leg, sampled, sums_along
from lrscope.symmetries.products import Flow, flow
from lrscope.tasks.random_state import seeded
from lrscope.wrappers import named_parameters, unwrapped, wait_for_no_one

TINY = 1e-20  # ours: an eps that is no eps any more, and still above the square of float64's rounding
FEW = 8  # ours: examples of a draw; a batch norm over two values invents symmetries
FEWER = 2  # ours: those of a draw where draws are many and no example depends on the others
MANY = 64  # ours: tensors from which on draws are many, so that a unit that is rarely active is seen to be
ALIKE = 1e-9  # ours, of their norm: outputs that differ by no more than rounding
WARM_UP = 4  # ours: batches from which running statistics are made
MOMENTUM = 0.75  # ours: of the running statistics meanwhile; of what they were 1/256 is left
EPS = re.compile(r"(^|_)eps(ilon)?$")
NORMS = (
    functional.batch_norm,
    functional.group_norm,
    functional.instance_norm,
    functional.layer_norm,
    functional.rms_norm,
)
SPECIAL = 0.2  # ours: by how much tensors of one value are spread
NO_GRADIENTS = "model: its outputs have no gradients: return them without detach() or no_grad()"
PLAIN_SPREAD = 0.1  # ours, of their deviation: the others


class WithoutEps(TorchFunctionMode):
    """Inside, the eps of PyTorch's normalisations is next to nothing."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, a normalisation with another eps."""
        if func not in NORMS:
            return func(*args, **(kwargs or {}))
        bound = inspect.signature(func).bind(*args, **(kwargs or {}))
        bound.arguments["eps"] = TINY
        return func(*bound.args, **bound.kwargs)


@dataclass
class Slopes:
    """Of one random function of the outputs.

    slope, size: by tensor, <w, g> and the norm of the products of entries, which is what the slope is where nothing cancels.
    slopes, sizes: the same for the slices of legs. Of tensors whose size nobody asks for, slopes are those of sampled slices,
        the others NaN: all of them take three times as long.
    """

    slope: dict[str, float] = field(default_factory=dict)
    size: dict[str, float] = field(default_factory=dict)
    slopes: dict[Leg, Tensor] = field(default_factory=dict)
    sizes: dict[Leg, Tensor] = field(default_factory=dict)


class Probe:
    """A copy of a model that is tried out; the model itself stays as it is.

    Args:
        model: any module.
        batch: what it is given.
        forward: how.
        training: in train mode, or in eval mode.
    """

    def __init__(self, model: nn.Module, batch: Any, forward: Forward, *, training: bool) -> None:
        self.model = _copied(model)
        self.forward, self.training = forward, training
        self.weights = {
            name: p for name, p in named_parameters(self.model) if p.requires_grad and p.is_floating_point()
        }
        if not self.weights:
            raise LrscopeError("model: none of its parameters trains: set requires_grad on those that you ask about")
        self.shapes = {name: tuple(p.shape) for name, p in self.weights.items()}
        self.batch = _plain(batch, next(iter(self.weights.values())).device)
        self.order: list[str] = []  # tensors as they are first used
        self._size: int | None = FEW if rows(self.batch) else None
        self._drawn: int | None = None
        self._mix_whole = True
        self._settle()

    def fresh(self, seed: int, *, larger: bool = False) -> Any:
        """A new batch; a larger one has twice as many examples, where their number can change."""
        size = None if self._size is None else self._size * (2 if larger else 1)
        return self._fresh(seed, size)

    def drawn(self, seed: int) -> Any:
        """A new batch for draws. Where many are made and no example depends on the others, it has fewer: they say as much, in
        half the time or less."""
        return self.fresh(seed) if self._drawn is None else self._fresh(seed, self._drawn)

    def _fresh(self, seed: int, size: int | None) -> Any:
        generator = torch.Generator().manual_seed(seed)
        return fresh(self.batch, generator, size=size, mix_whole=self._mix_whole)

    def outputs(self, batch: Any, *, training: bool, seed: int = 0) -> list[Tensor]:
        """All outputs on a batch, without gradients; buffers, such as running statistics, stay as they are."""
        with torch.no_grad():
            kept = [(b, b.clone()) for b in self.model.buffers()]
            try:
                return list(floats(self._run(batch, training, seed)))
            finally:
                for buffer, value in kept:
                    buffer.copy_(value)

    def slopes(
        self,
        batch: Any,
        *,
        training: bool,
        seed: int,
        count: int,
        legs: Iterable[Leg],
        sized: Collection[str] | None = None,
    ) -> Iterator[Slopes]:
        """The slopes of `count` random functions of the outputs on a batch; sizes, and the slopes of all slices, of the tensors
        in `sized`; None: of all."""
        sized = self.weights if sized is None else sized
        with torch.enable_grad():
            outputs = [x for x in floats(self._run(batch, training, seed)) if x.requires_grad]
        if not outputs:
            raise LrscopeError(NO_GRADIENTS)
        passed = flow(outputs, {name: p for name, p in self.weights.items() if name not in sized})
        generator = torch.Generator().manual_seed(seed)
        count = min(count, sum(x.numel() for x in outputs))
        for i in range(count):
            with torch.enable_grad():
                scalar = torch.stack([(x * _cotangent(x, generator)).sum() for x in outputs]).sum()
            yield self._back(scalar, list(legs), sized, passed, keep=i + 1 < count)

    def _back(self, scalar: Tensor, legs: list[Leg], sized: Collection[str], passed: Flow, *, keep: bool) -> Slopes:
        found = Slopes()
        order: list[str] = []
        by_tensor: dict[str, list[Leg]] = {}
        for leg in legs:
            by_tensor.setdefault(leg.tensor, []).append(leg)

        def measure(name: str) -> Callable[[Tensor], None]:
            def measured(weight: Tensor) -> None:
                order.append(name)
                _add(found, name, weight, by_tensor.get(name, []), sizes=name in sized)
                weight.grad = None

            return measured

        hooks: list[Any] = [
            p.register_post_accumulate_grad_hook(measure(name))  # type: ignore[no-untyped-call]
            for name, p in self.weights.items()
            if p.requires_grad
        ]
        hooks += [
            product.hook(self.weights[name].detach(), by_tensor.get(name, []), partial(_pass, found, name))
            for name, products in passed.products.items()
            for product in products
        ]
        try:
            scalar.backward(retain_graph=keep, inputs=passed.leaves if passed.products else None)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise LrscopeError(
                f"model: no gradients can be had ({first_line(error)}): it must backpropagate"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
        self.order = self.order or order[::-1]
        return found

    def _run(self, batch: Any, training: bool, seed: int) -> Any:
        self.model.train(training)
        with seeded(seed), _eager(), InFloat64(), WithoutEps(), DepthwiseAtOnce():
            return self.forward(self.model, batch)

    def _settle(self) -> None:
        """Find a kind of batch that the model takes: of another size, with mixed tokens, or as given."""
        error: Exception | None = None
        for size, mix in ((self._size, True), (None, True), (None, False)):
            self._size, self._mix_whole = size, mix
            try:
                outputs = self.outputs(self.fresh(0), training=self.training)
            except Exception as found:
                error = error or found
                continue
            if outputs and all(bool(torch.isfinite(x).all()) for x in outputs):
                self._check_gradients()
                self._move_buffers()
                if self._size is not None and len(self.weights) >= MANY and self._is_separate():
                    self._drawn = FEWER
                return
        self._refuse(error)

    def _is_separate(self) -> bool:
        """Does no example depend on those before or behind it, in either mode? Not asked of whole numbers and masks: few
        examples hold few tokens."""
        given = [x for x in tree_leaves(self.batch) if isinstance(x, Tensor)]
        return all(x.is_floating_point() for x in given) and all(
            self._is_same(kept, training) for kept in (slice(FEWER), slice(-FEWER, None)) for training in (True, False)
        )

    def _is_same(self, kept: slice, training: bool) -> bool:
        """Do the outputs of these examples stay as they are among others, whose own change?"""
        one, two = self.fresh(0), self.fresh(1)

        def among(x: Any, y: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            mixed = y.clone()
            mixed[kept] = x[kept]
            return mixed

        try:
            before, after = (self.outputs(x, training=training) for x in (one, tree_map(among, one, two)))
        except Exception:  # one mode may be all that the model has
            return False
        if not all(a.dim() and len(a) == FEW and a.shape == b.shape for a, b in zip(before, after, strict=True)):
            return False
        stays = all(_are_alike(a[kept], b[kept]) for a, b in zip(before, after, strict=True))
        return stays and not all(_are_alike(a, b) for a, b in zip(before, after, strict=True))

    def _check_gradients(self) -> None:
        with torch.enable_grad():
            outputs = list(floats(self._run(self.fresh(0), self.training, 0)))
        if not any(x.requires_grad for x in outputs):
            raise LrscopeError(NO_GRADIENTS)

    def _move_buffers(self) -> None:
        """Bring running statistics from 0 and 1 to what they are in training; far from it eval mode may forget its inputs."""
        for module in self.model.modules():
            if isinstance(module, _BatchNorm) and module.momentum:
                module.momentum = MOMENTUM
        with contextlib.suppress(Exception), torch.no_grad():  # eval mode may be all that the model has
            for seed in range(WARM_UP if next(self.model.buffers(), None) is not None else 0):
                self._run(self.fresh(seed), True, seed)

    def _refuse(self, error: Exception | None) -> None:
        """Say why no batch does: by the batch as it is given."""
        try:
            outputs = self.outputs(self.batch, training=self.training)
        except Exception as found:
            raise LrscopeError(
                f"batch: the model cannot take it ({first_line(found)}): pass a tensor, a tuple or list of arguments, a dict of "
                "keywords, or say forward=lambda model, batch: ..."
            ) from found
        if not outputs:
            raise LrscopeError(
                "model: it returns no tensor of floats: return one, or a list, a dict or a dataclass of them"
            )
        raise LrscopeError("model: its outputs on this batch are not finite: pass a batch on which they are") from error


def _are_alike(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() <= ALIKE * one.norm())


def _eager() -> AbstractContextManager[Any]:
    """Inside, nothing is compiled: a float64 copy would be compiled anew. Loads no compiler where nothing was compiled."""
    compiler = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiler else contextlib.nullcontext()


def _plain(batch: Any, device: torch.device) -> Any:
    try:
        return plain(batch, device)
    except Exception as error:  # objects of the user's own
        raise LrscopeError(f"batch: {shown(batch)} cannot be read: pass tensors, in tuples, lists or dicts") from error


def _copied(model: nn.Module) -> nn.Module:
    """A copy in float64, its norms' eps next to nothing, its weights moved off special values."""
    inner = unwrapped(model)
    computed = {id(x): x.detach().clone() for m in inner.modules() for x in vars(m).values() if _is_computed(x)}
    try:
        probe = copy.deepcopy(inner, computed).double()
    except Exception as error:
        raise LrscopeError(
            f"model: it cannot be copied to float64 ({first_line(error)}): pass one that was just made"
        ) from error
    generator = torch.Generator().manual_seed(0)
    for parameter in probe.parameters():
        parameter.grad = None
        if parameter.is_floating_point():
            _move(parameter, generator)
    for module in probe.modules():
        for name, value in list(vars(module).items()):
            if EPS.search(name) and isinstance(value, float):
                setattr(module, name, TINY)
    wait_for_no_one(probe)
    return probe


def _is_computed(value: object) -> bool:
    """Is it a tensor that a forward pass left behind, which PyTorch does not copy?"""
    return isinstance(value, Tensor) and not value.is_leaf


@torch.no_grad()
def _move(parameter: Tensor, generator: torch.Generator) -> None:
    """Spread a tensor of one value, such as 0, 1 or a layer scale, and move others a little (in place)."""
    if not parameter.numel():
        return
    noise = torch.randn(parameter.shape, generator=generator).to(parameter)  # in float32 it takes a tenth of the time
    value = parameter.reshape(-1)[0].clone()
    if not bool((parameter == value).all()):
        parameter.add_(noise * parameter.std(correction=0), alpha=PLAIN_SPREAD)
    elif value == 0:
        inputs = parameter[0].numel() if parameter.dim() > 1 else 1
        parameter.copy_(noise * max(SPECIAL, 2 * inputs**-0.5) if parameter.dim() > 1 else noise * SPECIAL)
    else:
        parameter.copy_((value if value.abs() > SPECIAL else 0.5 * value.sign()) + SPECIAL * noise)


def _cotangent(x: Tensor, generator: torch.Generator) -> Tensor:
    """A random one, of a size that suits the output's."""
    drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device)
    return drawn / x.detach().square().mean().sqrt().clamp(min=1e-30)


def _pass(found: Slopes, name: str, slope: float, slopes: Mapping[Leg, Tensor]) -> None:
    """Add what one product with a tensor says; it may be in several."""
    found.slope[name] = found.slope.get(name, 0.0) + slope
    for leg, sums in slopes.items():
        found.slopes[leg] = found.slopes[leg] + sums if leg in found.slopes else sums


def _add(found: Slopes, name: str, weight: Tensor, legs: list[Leg], *, sizes: bool) -> None:
    """Enter what the gradient of a tensor says."""
    assert weight.grad is not None
    gradient = weight.grad.to_dense() if weight.grad.is_sparse else weight.grad
    weight = weight.detach()
    if not sizes:
        found.slope[name] = float(torch.dot(weight.reshape(-1), gradient.reshape(-1)))
        for leg in legs:
            found.slopes[leg] = leg.sums_at(weight, gradient, sampled(leg.length)).cpu()
        return
    sums, squares = sums_along(weight, gradient, {0, *(leg.axis for leg in legs)})
    found.slope[name], found.size[name] = float(sums[0].sum()), float(squares[0].sum().sqrt())
    for leg in legs:
        found.slopes[leg] = leg.sums(sums[leg.axis]).cpu()
        found.sizes[leg] = leg.sums(squares[leg.axis]).sqrt().cpu()
