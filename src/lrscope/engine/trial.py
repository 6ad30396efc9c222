"""Trying a model before anything is planned: each mode that will run, repeatability, and what is done to it for training.

B batch, N examples.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lrscope.dynamics.float64 import InFloat64
from lrscope.errors import LrscopeError, first_line, listed
from lrscope.tasks.factory import same_values, tensors, weights_type
from lrscope.tasks.identity import attributes
from lrscope.tasks.losses import Loss, placed_loss
from lrscope.tasks.norms import PopulationBatchNorm, population_norms
from lrscope.tasks.outputs import as_weights
from lrscope.tasks.random_state import seeded, states

SAME = 1e-4  # ours, relative: float32 rounding of a deep net stays below, another function does not
EXAMPLES = 64  # ours: a batch norm over fewer values invents symmetries
FEW, FEW_IMAGES = 16, 8  # ours: examples on which norms are compared
LOOKED_AT = 512  # ours: examples among which distinct ones are sought


def distinct_examples(x: Tensor, count: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    """Up to `count` examples of x [N, ...] and their numbers, spread over all of them, no two alike as far as there are
    others: padded or sorted data may begin with equal ones.

    Raises:
        LrscopeError: all examples are alike.
    """
    numbers = torch.arange(min(len(x), LOOKED_AT)) * len(x) // min(len(x), LOOKED_AT)
    spread = x[numbers]
    rows = spread.reshape(len(spread), -1).to(torch.float32)
    keys = (rows @ torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(0))).tolist()
    first_of: dict[float, int] = {}
    for index, key in enumerate(keys):
        first_of.setdefault(key, index)
    if len(first_of) == 1 and len(x) > 1:
        other = (x != x[:1]).reshape(len(x), -1).any(1).nonzero()
        if not len(other):
            raise LrscopeError(
                "data: the train inputs are all alike: nothing can be learned from them, so pass other ones"
            )
        pair = torch.tensor([0, int(other[0])])
        return x[pair], pair
    chosen = sorted(first_of.values())
    chosen = [chosen[i * len(chosen) // count] for i in range(count)] if len(chosen) > count else chosen
    return spread[torch.tensor(chosen)], numbers[torch.tensor(chosen)]


def refuse_lost_hooks(model: nn.Module) -> None:
    """Refuse hooks on gradients: a run's weights are tensors of its own, on which they do not hang."""
    hooked = [name for name, p in model.named_parameters() if p._backward_hooks or p._post_accumulate_grad_hooks]
    hooked += [
        name or type(m).__name__ for name, m in model.named_modules() if m._backward_hooks or m._backward_pre_hooks
    ]
    if hooked:
        raise LrscopeError(
            f"model: {listed(hooked)} has hooks on its gradient, which would be lost: do in forward what they do"
        )


def try_modes(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> bool:
    """Run model and loss twice in train and in eval mode on x [B, ...], y [B, ...]; does either draw noise, as dropout does?

    Raises:
        LrscopeError: a mode fails or returns no tensor, shapes differ between modes, a pass changes buffers (which all
            runs would share) or does not repeat itself under one seed.
    """
    shapes, drew = {}, False
    loss = placed_loss(loss, x.device, weights_type(model))
    for mode in ("train", "eval"):
        before = {name: buffer.clone() for name, buffer in model.named_buffers()}
        output, noisy = _pass(model, loss, x, y, mode)
        drew |= noisy
        changed = [name for name, buffer in model.named_buffers() if not same_values(before[name], buffer)]
        if changed:
            raise LrscopeError(
                f"model: training changes its buffers {listed(changed)}, which runs would share: remove them (in a norm by "
                "track_running_stats=False; PyTorch's batch norms are taken care of)"
            )
        if not _close(output, _pass(model, loss, x, y, mode)[0]):
            raise LrscopeError(
                f"model: two passes in {mode} mode under one seed give different outputs: draw only from the global generators "
                "of torch, NumPy and random, which lrscope seeds, and keep no state that a pass changes"
            )
        shapes[mode] = tuple(output.shape)
    if shapes["train"] != shapes["eval"]:
        raise LrscopeError(
            f"model: it returns shape {shapes['train']} in train mode and {shapes['eval']} in eval mode: return one shape"
        )
    return drew


def _pass(model: nn.Module, loss: Loss, x: Tensor, y: Tensor, mode: str) -> tuple[Tensor, bool]:
    """The output of a pass with its loss, and whether it drew from a global generator."""
    with seeded(0):
        before = states()
        output = output_in(model, x, mode)
        with torch.no_grad():
            loss(output, y.to(output.dtype) if y.is_floating_point() else y)
        return output, states() != before


def output_in(model: nn.Module, x: Tensor, mode: str) -> Tensor:
    """The model's output on x [B, ...] in train or eval mode.

    Raises:
        LrscopeError: it fails, or returns anything but a tensor.
    """
    try:
        with torch.no_grad():
            output = model.train(mode == "train")(as_weights(x, model))
    except LrscopeError:
        raise
    except Exception as error:
        raise LrscopeError(
            f"model: in {mode} mode it cannot take a batch of shape {tuple(x.shape)} ({first_line(error)}): change the model, "
            "or the batch size"
        ) from error
    if not isinstance(output, Tensor):
        raise LrscopeError(
            f"model: in {mode} mode it returns {type(output).__name__}: return one tensor of outputs in both modes"
        )
    return output


def compare_norms(original: nn.Module, swapped: nn.Module, x: Tensor) -> None:
    """Do the norms that stand in for batch norms compute as the original ones, on x [B, ...] in both modes? In eval mode
    with x's own statistics.

    `original` is changed: its statistics and precision.

    Raises:
        LrscopeError: they do not; names the norms.
    """
    norms = population_norms(swapped)
    if not norms:
        return
    original, swapped = original.double(), copy.deepcopy(swapped).double()
    x = x[:FEW] if x.dim() < 3 else x[:FEW_IMAGES]
    for name in norms:
        norm = original.get_submodule(name)
        assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over calls
    for norm in population_norms(swapped).values():
        norm.collecting = True
    same = _same_in(original, swapped, x, "train")
    for norm in population_norms(swapped).values():
        norm.collecting = False
        _use(norm, norm.statistics())
    same &= _same_in(original, swapped, x, "eval")
    if not same:
        raise LrscopeError(
            f"model: it computes something else when lrscope's batch norms stand in for {listed(norms)}: use batch norms only "
            "by calling them, or train without (layer or group norms)"
        )


def _same_in(original: nn.Module, swapped: nn.Module, x: Tensor, mode: str) -> bool:
    """Equal outputs in a mode, in float64: rounding grows through deep nets."""
    with InFloat64():
        with seeded(0):
            expected = output_in(original, x, mode)
        with seeded(0):
            return _close(output_in(swapped, x, mode), expected)


def _use(norm: PopulationBatchNorm, statistics: tuple[Tensor, Tensor] | None) -> None:
    if statistics is not None:
        norm.population_mean, norm.population_var = statistics


def per_run_buffers(template: nn.Module, other: nn.Module, x: Tensor) -> tuple[str, ...]:
    """Names of the buffers that differ between two seeds' models, and so belong to a run as its weights do. x [B, ...].

    Raises:
        LrscopeError: the models differ in more than tensors, which one template could not stand for; names in what.
    """
    ours, theirs = dict(tensors(template)), dict(tensors(other))
    shapes = {n: tuple(t.shape) for n, t in ours.items()}, {n: tuple(t.shape) for n, t in theirs.items()}
    if shapes[0] != shapes[1]:
        differing = [n for n in {**ours, **theirs} if shapes[0].get(n) != shapes[1].get(n)]
        raise LrscopeError(
            f"model: its tensors {listed(differing)} are not the same for every seed, in number or shape: build the same layers "
            "for every seed"
        )
    found = tuple(n for n, b in template.named_buffers() if not same_values(b, theirs[n]))
    given = {n: t for n, t in theirs.items() if n in found or n in dict(template.named_parameters())}
    for mode in ("train", "eval"):
        with seeded(0), torch.no_grad():
            stood_in = functional_call(template.train(mode == "train"), given, (as_weights(x, template),))
        with seeded(0):
            own = output_in(other, x, mode)
        if not _close(stood_in, own):
            _refuse_attributes(template, other, mode)
    return found


def _refuse_attributes(template: nn.Module, other: nn.Module, mode: str) -> None:
    ours, theirs = attributes(template), attributes(other)
    differing = [n for n in ours if ours[n] != theirs.get(n)] or ["something that no tensor holds"]
    raise LrscopeError(
        f"model: two seeds differ in {listed(differing)} ({mode} mode), which is no parameter and no buffer, so that all runs "
        "would share it: register it as a buffer (register_buffer)"
    )


def _close(a: Tensor, b: Tensor) -> bool:
    """Equal to rounding; two outputs that are not finite in the same places are."""
    if a.shape != b.shape:
        return False
    finite = torch.isfinite(b)
    if not torch.equal(torch.isfinite(a), finite):
        return False
    a, b = a[finite].double(), b[finite].double()
    return bool((a - b).norm() <= SAME * b.norm())
