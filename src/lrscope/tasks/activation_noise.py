"""Gaussian noise before chosen layers in training (learning_order, Sec. 6): a map of the layer's places, one for the whole batch.

The map is drawn by PyTorch's own function, so inside `tasks.noise.Keyed` it comes from the run's stream. B batch, C channels,
H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from lrscope.errors import LrscopeError
from lrscope.tasks.norms import PopulationBatchNorm

LISTED = 8  # ours: kinds of layers that a message names
# Activations are functions, whether a layer or the model's own code calls them.
ACTIVATIONS: Mapping[str, tuple[Callable[..., Any], ...]] = {
    "ReLU": (functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_),
    "GELU": (functional.gelu,),
    "SiLU": (functional.silu,),
    "ELU": (functional.elu, functional.elu_),
    "LeakyReLU": (functional.leaky_relu, functional.leaky_relu_),
    "Softplus": (functional.softplus,),
    "Tanh": (torch.tanh, torch.tanh_, Tensor.tanh, Tensor.tanh_, functional.tanh),
    "Sigmoid": (torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_, functional.sigmoid),
}


class ActivationNoise:
    """Adds noise to what comes into chosen layers of a module, in the passes inside `at`.

    Args:
        module: gets hooks before the layers that `before` names.
        before: each an activation (`ACTIVATIONS`), by whatever it is called; the class of a layer, such as Conv2d; or the name of
            one, such as blocks.0.conv1.

    Raises:
        LrscopeError: the module has no such layer, or a layer is named twice.
    """

    def __init__(self, module: nn.Module, before: Sequence[str]) -> None:
        self.level: Tensor | float | None = None
        self.words = tuple(before)
        self.met: set[str] = set()
        self._functions = {f: word for word in before for f in ACTIVATIONS.get(word, ())}
        self._hooks: list[RemovableHandle] = []
        hooked: set[nn.Module] = set()
        for word in before:
            layers = [] if word in ACTIVATIONS else named_layers(module, word)
            if len(set(before)) < len(self.words) or hooked & set(layers) or self._calls_chosen(layers):
                raise LrscopeError(f"noise_before: {word!r} names a layer twice: name each once")
            hooked |= set(layers)
            for layer in layers:
                self._hooks.append(layer.register_forward_pre_hook(self._hook(word), with_kwargs=True))

    def remove(self) -> None:
        """Take the hooks off the module again."""
        for hook in self._hooks:
            hook.remove()

    def _calls_chosen(self, layers: Sequence[nn.Module]) -> bool:
        chosen = set(self._functions.values())
        return any(type(layer).__name__ in chosen for layer in layers)

    def _hook(self, word: str) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]] | None]:
        def hook(
            _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
            if self.level is None or not (given or named):
                return None
            if given:
                return (self.noisy(word, given[0]), *given[1:]), named
            first = "input" if "input" in named else next(iter(named))
            return given, {**named, first: self.noisy(word, named[first])}

        return hook

    def noisy(self, word: str, x: Tensor) -> Tensor:
        """x [B, ...] with noise of the present level."""
        self.met.add(word)
        assert self.level is not None
        shape = x.shape[2:] if x.dim() > 3 else x.shape[1:]
        drawn = torch.randn(shape, dtype=x.dtype, device=x.device)
        return x + (drawn * self.level).to(x.dtype)

    @contextmanager
    def at(self, level: Tensor | float) -> Iterator[None]:
        """Passes inside get noise of this standard deviation, in the unit of what comes into the layers."""
        self.level = level
        try:
            with _Before(self, self._functions):
                yield
        finally:
            self.level = None


class _Before(TorchFunctionMode):
    """Inside, chosen functions get noisy inputs."""

    def __init__(self, noise: ActivationNoise, functions: Mapping[Callable[..., Any], str]) -> None:
        super().__init__()
        self.noise, self.functions = noise, functions

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, with noise before what is chosen; in place, if it was to work there."""
        word, kwargs = self.functions.get(func), dict(kwargs or {})
        if word is None:
            return func(*args, **kwargs)
        x = args[0] if args else kwargs.pop("input")
        found = func(self.noise.noisy(word, x), *args[1:], **kwargs)
        return x.copy_(found) if _in_place(func, args, kwargs) else found


def _in_place(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Does the call change its input? Of the activations those whose name says so, and those whose last argument is True."""
    return func.__name__.endswith("_") or kwargs.get("inplace", args[-1] if len(args) > 1 else False) is True


def named_layers(module: nn.Module, word: str) -> list[nn.Module]:
    """The layers of that class, or the one of that name.

    Raises:
        LrscopeError: there is none; lists the kinds that there are.
    """
    layers = {name: layer for name, layer in module.named_modules() if name}
    if word in layers:
        return [layers[word]]
    found = [layer for layer in layers.values() if _kind(layer) == word]
    if not found:
        kinds = ", ".join(sorted({_kind(layer) for layer in layers.values()})[:LISTED])
        raise LrscopeError(
            f"noise_before: {word!r} is neither an activation ({', '.join(ACTIVATIONS)}) nor a kind or name of the "
            f"model's layers: name one, of kinds {kinds}"
        )
    return found


def _kind(layer: nn.Module) -> str:
    """The class by which users know a layer: batch norms are replaced for training, and known as BatchNorm."""
    return "BatchNorm" if isinstance(layer, PopulationBatchNorm) else type(layer).__name__


def check_met(noise: ActivationNoise) -> None:
    """Refuse what a trial pass did not come by.

    Raises:
        LrscopeError: names it.
    """
    for word in noise.words:
        if word not in noise.met:
            raise LrscopeError(
                f"noise_before: the model calls no {word}, so no noise would be added: name a layer that it has"
            )
