"""Drawing a user's model for a seed: what a factory must do, and what is found out by drawing it more than once."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from lrscope.errors import LrscopeError
from lrscope.tasks.random_state import seeded

Model = Callable[[], nn.Module] | nn.Module
NEW_ONE = "pass a function that returns a new model"


def _itself(model: nn.Module) -> nn.Module:
    return model


@dataclass
class Drawing:
    """How models are drawn.

    make: returns a model, drawing from the global generators.
    reset: `make` initialises a copy of one module anew.
    shared: what `make` returns has tensors that it returned before, so a copy is taken.
    constant: the model is the same for every seed.
    wrap: makes of a model what takes an example.
    """

    make: Callable[[], nn.Module]
    reset: bool = False
    shared: bool = False
    constant: bool = False
    wrap: Callable[[nn.Module], nn.Module] = _itself

    @classmethod
    def of(cls, model: Model, example: Tensor, wrap: Callable[[nn.Module], nn.Module] = _itself) -> Drawing:
        """A drawing of a user's model, tried with two seeds; `example` [1, ...] is one that it takes, once `wrap` has made of it
        what takes examples.

        Raises:
            LrscopeError: no model, one that cannot be drawn anew or does not repeat itself.
        """
        drawing = cls(as_factory(model), reset=isinstance(model, nn.Module), wrap=wrap)
        drawing.try_out(example)
        return drawing

    def draw(self, seed: int, example: Tensor) -> nn.Module:
        """The model of a seed: PyTorch's, NumPy's and Python's global generators are seeded by it and put back. Lazy
        layers are initialised by a pass on `example` [1, ...].

        Raises:
            LrscopeError: the factory fails or returns no model.
        """
        with seeded(seed):
            try:
                model = self.make()
            except LrscopeError:
                raise
            except Exception as error:
                raise LrscopeError(f"model: the factory failed ({_said(error)}): correct it") from error
            if not isinstance(model, nn.Module):
                raise LrscopeError(f"model: the factory returned {type(model).__name__}: return an nn.Module")
            if self.shared:
                model = copied(model)
            _initialise_lazy(self.wrap(model), example)
        return model

    def try_out(self, example: Tensor) -> None:
        """Draw two seeds, one of them twice, and keep what this shows in `shared` and `constant`.

        Raises:
            LrscopeError: as `of`.
        """
        first = self.draw(0, example)
        _refuse_special(first)
        _check_types(first)
        values = {name: tensor.detach().clone() for name, tensor in tensors(first)}
        again = self.draw(0, example)
        if different := _differing(values, again):
            raise LrscopeError(
                f"model: two calls of the factory under one seed gave different {', '.join(different[:3])}: draw only from "
                "the global generators of torch, NumPy and random, which lrscope seeds, never from time or os.urandom"
            )
        known = {tensor.untyped_storage().data_ptr() for _, tensor in tensors(first) if tensor.numel()}
        other = self.draw(1, example)
        self.shared = any(t.untyped_storage().data_ptr() in known for _, t in tensors(other) if t.numel())
        varied = _differing(values, other)
        self.constant = not varied
        if other is first and self.constant:
            raise LrscopeError(
                "model: the factory returns one and the same module, so all seeds would have the same weights: build the "
                "module inside the function, or pass the module itself, which is then initialised anew for every seed"
            )
        stuck = [n for n, p in other.named_parameters() if p.requires_grad and n not in varied and _looks_drawn(p)]
        if self.reset and stuck:
            raise LrscopeError(
                f"model: {', '.join(stuck[:3])} stays the same for every seed, because no reset_parameters draws it "
                f"anew: {NEW_ONE}"
            )


def tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All parameters and buffers by name; a shared one under its first name."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def _differing(values: dict[str, Tensor], model: nn.Module) -> list[str]:
    """Names of the tensors that are others than in `values`, or missing on one side."""
    found = dict(tensors(model))
    return [n for n in {**values, **found} if n not in values or n not in found or not same_values(values[n], found[n])]


def same_values(a: Tensor, b: Tensor) -> bool:
    """Are they of one shape, type and value? NaN equals NaN here."""
    b = b.detach()
    same = a.shape == b.shape and a.dtype == b.dtype
    return same and bool(((a == b) | ((a != a) & (b != b))).all())


def _looks_drawn(parameter: Tensor) -> bool:
    """Does it hold several different values? Ones and zeros are constants that need no draw."""
    return parameter.numel() > 1 and bool((parameter.detach() != parameter.detach().reshape(-1)[0]).any())


def _refuse_special(model: nn.Module) -> None:
    """Refuse modules that do not take other weights or are another one each time, and gradients in a form of their own."""
    for name, module in model.named_modules():
        said, kind = f"model: {name or 'it'}", type(module).__name__
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise LrscopeError(f"{said} is a {kind}, which places weights itself: return the module inside (.module)")
        if isinstance(module, torch.jit.ScriptModule):
            raise LrscopeError(
                f"{said} is a {kind}, whose weights are compiled into it: return the module that it was made from, without "
                "torch.jit"
            )
        if kind == "OptimizedModule" or module._compiled_call_impl is not None:
            raise LrscopeError(f"{said} was given to torch.compile: leave that out, lrscope compiles what gains by it")
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse:
            raise LrscopeError(f"{said} makes sparse gradients, which lrscope does not train with: use sparse=False")


def _check_types(model: nn.Module) -> None:
    """Refuse weights of types that the engine does not train."""
    weights = {name: p for name, p in model.named_parameters() if p.is_floating_point() or p.is_complex()}
    complex_ones = [name for name, p in weights.items() if p.is_complex()]
    if complex_ones:
        raise LrscopeError(
            f"model: its parameters {', '.join(complex_ones[:3])} are complex, which cannot be trained here: keep real and "
            "imaginary parts as two real parameters"
        )
    types = {p.dtype: name for name, p in weights.items()}
    if len(types) > 1:
        said = ", ".join(f"{name} is {_type_name(dtype)}" for dtype, name in types.items())
        raise LrscopeError(f"model: its parameters have several types ({said}): bring them to one")
    for dtype, name in types.items():
        if dtype not in (torch.float32, torch.float64):
            raise LrscopeError(
                f"model: its parameters are {_type_name(dtype)} ({name}): return it in float32 (model.float()); precision "
                "bf16 then computes in bfloat16"
            )


def weights_type(model: nn.Module) -> torch.dtype:
    """The floating type of the model's parameters; float32 without any."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _initialise_lazy(model: nn.Module, example: Tensor) -> None:
    """Give lazy layers their shapes and initial values by a pass in eval mode (in place)."""
    lazy = [name for name, module in model.named_modules() if isinstance(module, LazyModuleMixin)]
    if not lazy:
        return
    modes = {module: module.training for module in model.modules()}
    x = example.to(weights_type(model)) if example.is_floating_point() else example
    try:
        with torch.no_grad():
            model.eval()(x)
    except Exception as error:
        raise LrscopeError(
            f"model: its lazy layers {', '.join(lazy[:3])} cannot be initialised by an example of shape "
            f"{tuple(x.shape[1:])} ({_said(error)}): change the model or the data"
        ) from error
    for module, training in modes.items():
        module.training = training
    left = [name for name, tensor in tensors(model) if is_lazy(tensor)]
    if left:
        raise LrscopeError(
            f"model: its lazy layers {', '.join(left[:3])} are not reached by a pass in eval mode, so they have no shape: "
            "remove them, or give them their sizes"
        )


def _said(error: Exception) -> str:
    """An error's type and first line."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def as_factory(model: Model) -> Callable[[], nn.Module]:
    """The function that returns a freshly initialised model.

    Raises:
        LrscopeError: it is no model, needs arguments, or has layers that nothing initialises.
    """
    if not isinstance(model, nn.Module):
        if not callable(model):
            raise LrscopeError(
                f"model: {type(model).__name__} is no model: pass an nn.Module or a function that returns one"
            )
        if inspect.isclass(model) and any(
            p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
            for p in inspect.signature(model).parameters.values()
        ):
            raise LrscopeError(f"model: {model.__name__} needs arguments: pass lambda: {model.__name__}(...)")
        return model
    stuck = [
        name or type(module).__name__
        for name, module in model.named_modules()
        if any(p is not None and p.requires_grad for p in module._parameters.values())
        if not hasattr(module, "reset_parameters")
    ]
    if stuck:
        raise LrscopeError(
            f"model: {', '.join(stuck)} cannot be initialised anew for each seed (no reset_parameters): {NEW_ONE}"
        )
    copied(model)
    return lambda: _initialised_anew(model)


def copied(model: nn.Module) -> nn.Module:
    """A copy that shares nothing with `model`.

    Raises:
        LrscopeError: PyTorch cannot copy it, as it cannot lazy layers.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise LrscopeError(f"model: it cannot be copied for each seed ({_said(error)}): {NEW_ONE}") from error


def _initialised_anew(model: nn.Module) -> nn.Module:
    """A copy whose modules were reset, children before their parents, which may overwrite them.

    What does not train stays: frozen parameters, and the buffers of modules that are frozen or in eval mode on their own.
    """
    new = copied(model)
    for module in _children_first(new):
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    with torch.no_grad():
        for old, module in zip(model.modules(), new.modules(), strict=True):
            for name, parameter in old._parameters.items():
                if parameter is not None and not parameter.requires_grad:
                    module._parameters[name].copy_(parameter)  # type: ignore[union-attr]
            if _is_frozen(old, model):
                for name, buffer in old._buffers.items():
                    if buffer is not None:
                        module._buffers[name].copy_(buffer)  # type: ignore[union-attr]
    return new


def _is_frozen(module: nn.Module, model: nn.Module) -> bool:
    own = [p for p in module._parameters.values() if p is not None]
    return (model.training and not module.training) or (bool(own) and not any(p.requires_grad for p in own))


def _children_first(model: nn.Module) -> Iterator[nn.Module]:
    """All modules once, each after its children, siblings in their order."""
    seen: set[nn.Module] = set()

    def walk(module: nn.Module) -> Iterator[nn.Module]:
        if module not in seen:
            seen.add(module)
            for child in module.children():
                yield from walk(child)
            yield module

    return walk(model)
