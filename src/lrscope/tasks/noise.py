"""Noise that a network draws in training, drawn for each run from a seed instead of a global generator, so that many runs
train in one batch. The network is left as it is: while it runs, PyTorch's functions that draw are answered here.

B batch, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lrscope.errors import LrscopeError, shown
from lrscope.tasks.factory import weights_type
from lrscope.tasks.keyed_random import KeyedStream
from lrscope.tasks.losses import Loss, placed_loss
from lrscope.tasks.outputs import as_weights
from lrscope.tasks.random_state import seeded, states

Noise = Literal["none", "keyed", "global"]
"""What a model's passes draw: nothing; only in train mode, and only what `Keyed` answers; or something else."""
ALPHA = -1.7580993408473766  # -scale * alpha of SELU, its value at minus infinity (Klambauer et al. 2017)
PLAIN = {"size", "dtype", "device", "layout", "pin_memory", "memory_format"}  # arguments that only say what to make


class Keyed(TorchFunctionMode):
    """Inside, the functions of `ANSWERS` (dropouts, `rand_like`, `randn_like` and others) draw from a stream of their own.

    Draws are numbered in the order of the calls. A call that draws nothing, or from the caller's own generator, is left to
    PyTorch. So are other functions that draw; they use the global generators.

    Args:
        seed: int64 [], of one run and pass; under `vmap` one for each run.
    """

    def __init__(self, seed: Tensor) -> None:
        super().__init__()
        self.stream = KeyedStream(seed)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Answer `func`, or let PyTorch."""
        answer = ANSWERS.get(func)
        found = NotImplemented if answer is None else answer(self.stream, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if found is NotImplemented else found


def noise_of(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> Noise:
    """What the passes of a model and its loss draw, found by running them on x [B, ...], y [B, ...]."""
    loss = placed_loss(loss, x.device, weights_type(model))
    x, y = as_weights(x, model), y.to(weights_type(model)) if y.is_floating_point() else y
    if _draws(lambda: loss(model.eval()(x), y)):
        return "global"
    if not _draws(lambda: loss(model.train()(x), y)):
        return "none"
    try:
        return "global" if _draws(lambda: _try_keyed(model, loss, x, y)) else "keyed"
    except Exception:  # a user's code may raise anything
        return "global"


def _draws(call: Callable[[], object]) -> bool:
    """Does it draw from a global generator?"""
    with seeded(0):
        before = states()
        with torch.enable_grad():
            call()
        return states() != before


def _try_keyed(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> None:
    """A training pass with its gradient; fails where that draws once more what the pass drew, as checkpointed layers do: it is
    computed outside of `Keyed`."""
    with Keyed(torch.zeros((), dtype=torch.int64)):
        output = model(x)
    mean = loss(output, y).mean()
    weights = [p for p in model.parameters() if p.requires_grad]
    if weights and mean.requires_grad:
        with _RefuseDraws():  # type: ignore[no-untyped-call]
            torch.autograd.grad(mean, weights, allow_unused=True)


class _RefuseDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, operations that draw random numbers fail."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation that draws none."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise RuntimeError(f"{func} draws")
        return func(*args, **(kwargs or {}))


class GaussianNoise(nn.Module):
    """Adds independent normal numbers to its input [B, ...] in train mode. In a loop of one's own they come from PyTorch's global
    generator, in a sweep from each run's stream.

    Args:
        std: their standard deviation, in the input's unit.

    Raises:
        LrscopeError: `std` is not a finite number of 0 or more.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        if isinstance(std, bool) or not isinstance(std, int | float) or not 0 <= std < math.inf:
            raise LrscopeError(f"std: {shown(std)} is not a finite number of 0 or more: pass one such as 0.1")
        self.std = float(std)

    def forward(self, x: Tensor) -> Tensor:
        """x with noise; in eval mode x."""
        return x + self.std * torch.randn_like(x) if self.training and self.std else x

    def extra_repr(self) -> str:
        """Shown in the model's text."""
        return f"std={self.std:g}"


# -- answers: each gets the stream and PyTorch's arguments, and returns NotImplemented where there is nothing to draw ------


def _dropout(stream: KeyedStream, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return _multiplied(stream, input, input.shape, p, training, inplace)


def _feature_dropout(
    stream: KeyedStream, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, dims: int = 0
) -> Any:
    """Whole channels of [B, C, ...], of [C, ...] where there are fewer than `dims` dimensions."""
    kept = input.shape[: 1 if input.dim() < dims else 2]
    return _multiplied(stream, input, _spread(kept, input), p, training, inplace)


def _dropout1d(stream: KeyedStream, *args: Any, **kwargs: Any) -> Any:
    return _feature_dropout(stream, *args, **kwargs, dims=3)


def _dropout3d(stream: KeyedStream, *args: Any, **kwargs: Any) -> Any:
    return _feature_dropout(stream, *args, **kwargs, dims=5)


def _spread(shape: torch.Size, input: Tensor) -> torch.Size:
    """The shape of one number for all places of the last dimensions."""
    return torch.Size((*shape, *(1 for _ in input.shape[len(shape) :])))


def _multiplied(stream: KeyedStream, input: Tensor, shape: torch.Size, p: float, training: bool, inplace: bool) -> Any:
    if not training or not 0 < p <= 1:
        return NotImplemented
    mask = stream.kept(shape, 1 - p).to(input.dtype)
    return _placed(input, input * (mask / (1 - p) if p < 1 else mask), inplace)


def _placed(input: Tensor, found: Tensor, inplace: bool) -> Tensor:
    return input.copy_(found) if inplace else found


def _alpha_dropout(
    stream: KeyedStream, input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Any:
    return _to_alpha(stream, input, input.shape, p, training, inplace)


def _feature_alpha_dropout(
    stream: KeyedStream, input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Any:
    return _to_alpha(stream, input, _spread(input.shape[:2], input), p, training, inplace)


def _to_alpha(stream: KeyedStream, input: Tensor, shape: torch.Size, p: float, training: bool, inplace: bool) -> Any:
    """Dropped values become SELU's limit; mean and variance stay (Klambauer et al. 2017, Sec. 2)."""
    if not training or not 0 < p < 1:
        return NotImplemented
    scale = ((1 - p) * (1 + p * ALPHA**2)) ** -0.5
    found = torch.where(stream.kept(shape, 1 - p), input, ALPHA) * scale - scale * ALPHA * p
    return _placed(input, found, inplace)


def _attention(
    stream: KeyedStream,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Attention written out, as in PyTorch's documentation of it, with dropout of the weights."""
    if not dropout_p:
        return NotImplemented
    if enable_gqa:
        key, value = (t.repeat_interleave(query.size(-3) // t.size(-3), -3) for t in (key, value))
    scores = query @ key.transpose(-2, -1) * (query.size(-1) ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        whole = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(attn_mask.logical_not(), -math.inf) if whole else scores + attn_mask
    weights = scores.softmax(-1)
    dropped = _dropout(stream, weights, dropout_p)
    return (weights if dropped is NotImplemented else dropped) @ value


def _multi_head_attention(stream: KeyedStream, *args: Any, **kwargs: Any) -> Any:
    """PyTorch's own function, with the answers of this module in the place of the functions that it calls."""
    inside = {
        **vars(functional),
        "has_torch_function": lambda _: False,
        "dropout": lambda *a, **k: _or_torch(functional.dropout, stream, *a, **k),
        "scaled_dot_product_attention": lambda *a, **k: _or_torch(
            functional.scaled_dot_product_attention, stream, *a, **k
        ),
    }
    original = functional.multi_head_attention_forward
    made = FunctionType(original.__code__, inside, original.__name__, original.__defaults__)
    made.__kwdefaults__ = original.__kwdefaults__
    return made(*args, **kwargs)


def _or_torch(func: Callable[..., Any], stream: KeyedStream, *args: Any, **kwargs: Any) -> Any:
    found = ANSWERS[func](stream, *args, **kwargs)
    return func(*args, **kwargs) if found is NotImplemented else found


def _made(draw: Callable[[KeyedStream, torch.Size, torch.dtype], Tensor], like: bool) -> Callable[..., Any]:
    """The answer to a function that makes a tensor of random numbers, from a size or like another tensor."""
    empty = torch.empty_like if like else torch.empty

    def answer(stream: KeyedStream, *args: Any, **kwargs: Any) -> Any:
        given = {name: value for name, value in kwargs.items() if value is not None}
        if set(given) - PLAIN:
            return NotImplemented
        form = empty(*args, **given)
        return draw(stream, form.shape, form.dtype) if form.is_floating_point() else NotImplemented

    return answer


def _bernoulli(stream: KeyedStream, input: Tensor, p: float | None = None, **others: Any) -> Any:
    if others or not input.is_floating_point():
        return NotImplemented
    chosen = stream.uniform(input.shape, input.dtype) < input if p is None else stream.kept(input.shape, p)
    return chosen.to(input.dtype)


def _bernoulli_(stream: KeyedStream, input: Tensor, p: Any = 0.5, **others: Any) -> Any:
    if others:
        return NotImplemented
    chosen = stream.uniform(input.shape, p.dtype) < p if isinstance(p, Tensor) else stream.kept(input.shape, p)
    return input.copy_(chosen)


def _normal_(stream: KeyedStream, input: Tensor, mean: float = 0.0, std: float = 1.0, **others: Any) -> Any:
    return NotImplemented if others else input.copy_(mean + std * stream.normal(input.shape, input.dtype))


def _uniform_(stream: KeyedStream, input: Tensor, low: float = 0.0, high: float = 1.0, **others: Any) -> Any:
    return NotImplemented if others else input.copy_(low + (high - low) * stream.uniform(input.shape, input.dtype))


ANSWERS: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.dropout: _dropout,
    torch.dropout: _dropout,
    functional.dropout1d: _dropout1d,
    functional.dropout2d: _feature_dropout,
    functional.dropout3d: _dropout3d,
    torch.feature_dropout: _feature_dropout,
    functional.alpha_dropout: _alpha_dropout,
    torch.alpha_dropout: _alpha_dropout,
    functional.feature_alpha_dropout: _feature_alpha_dropout,
    torch.feature_alpha_dropout: _feature_alpha_dropout,
    functional.scaled_dot_product_attention: _attention,
    functional.multi_head_attention_forward: _multi_head_attention,
    torch.rand: _made(KeyedStream.uniform, like=False),
    torch.rand_like: _made(KeyedStream.uniform, like=True),
    torch.randn: _made(KeyedStream.normal, like=False),
    torch.randn_like: _made(KeyedStream.normal, like=True),
    torch.bernoulli: _bernoulli,
    Tensor.bernoulli: _bernoulli,
    Tensor.bernoulli_: _bernoulli_,
    Tensor.normal_: _normal_,
    Tensor.uniform_: _uniform_,
}
