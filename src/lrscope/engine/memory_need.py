"""How much memory a plan needs, from one measured training step of a single run and an account of all tensors kept.

R runs, P parameters, G groups, B batch. Checked against measured peaks by benchmarks/memory.py (docs/performance.md).
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lrscope.config.branches import FINETUNE
from lrscope.engine.backends import backend
from lrscope.engine.branching import most_held
from lrscope.engine.noise import with_noise
from lrscope.engine.plan import Plan
from lrscope.engine.segments import BRANCH
from lrscope.tasks.factory import tensors as named_tensors
from lrscope.tasks.random_state import seeded

if TYPE_CHECKING:
    from lrscope.engine.context import Context
    from lrscope.engine.material import Material

MEASURED = (4, 8)  # ours, examples of the two measured steps: activations grow with the batch, the rest does not
PROGRAM = 300_000_000  # ours, bytes: Python and PyTorch on a GPU, whose memory the system does not count
WORKER = 30_000_000  # ours, bytes: pages that a worker writes to though it was forked with them
# Ours, bytes: what PyTorch loads when it is first needed, by a module that is there afterwards.
LOADED = {"torch._dynamo": 165_000_000, "torch._inductor.decomposition": 60_000_000}
COPIES_SAVED = 2  # of a chunk's state, while safetensors puts the file together


@dataclass(frozen=True)
class Passes:
    """Bytes that one run's passes hold for each example at most: in a training step, and in evaluation."""

    step: int
    evaluation: int


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors made while it is active: those that live `now`, the `most` at a time, and the `largest`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = self.largest = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what is new among its results."""
        kwargs = kwargs or {}
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = func(*args, **kwargs)
        for tensor in tree_leaves(result):
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key in given or key in self._known:
                continue
            self._known[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.most, self.largest = max(self.most, self.now), max(self.largest, storage.nbytes())
            weakref.finalize(storage, self._gone, key)
        return result

    def _gone(self, key: int) -> None:
        self.now -= self._known.pop(key, 0)


def measured(context: Context) -> Passes:
    """One run's passes over a few examples, measured; a batch that the model wants whole is taken whole."""
    whole = context.config.batch_size
    with seeded(0):
        try:
            if whole <= max(MEASURED):
                raise RuntimeError
            few, more = (_pass(context, size) for size in MEASURED)
            each = [(b - a) / (MEASURED[1] - MEASURED[0]) for a, b in zip(few, more, strict=True)]
        except Exception:  # a model may ask for more examples than these, in any way
            each = [found / whole for found in _pass(context, whole)]
    return Passes(*(math.ceil(max(0.0, found)) for found in each))


def _pass(context: Context, size: int) -> tuple[int, int]:
    """Bytes of one run's training step and forward pass over `size` examples.

    What the forward pass saves for the backward one lives until that has reached it; there the largest tensor's gradient
    and the next one's come on top.
    """
    net, program, material = context.net, context.program("single", False), _material(context)
    values = dict(named_tensors(net.module))
    params = {s.name: values[s.name].detach().requires_grad_() for s in net.slots}
    frozen = {name: values[name].detach() for name in net.frozen}
    if net.keyed:
        level = torch.zeros((), dtype=context.dtype, device=material.device) if net.added else None
        frozen = with_noise(frozen, torch.zeros((), dtype=torch.int64, device=material.device), level)
    x, y = material.train_x[:size].clone(), material.train_y[:size].clone()  # in inference mode they save no gradient
    net.module.train()
    with Live() as step, torch.enable_grad():
        loss = program.loss_of_run(params, frozen, x, y)
        saved = step.now
        del loss
    with Live() as forward, torch.no_grad():
        program.loss_of_run(params, frozen, x, y)
    return saved + 2 * step.largest, forward.most


def resident(device: torch.device) -> int:
    """Bytes that this process has in memory: the program, its libraries, the task's data."""
    return psutil.Process().memory_info().rss if device.type == "cpu" else PROGRAM


def memory(context: Context, plan: Plan, jobs: int) -> int:
    """Predicted peak bytes of `jobs` workers and the process that they are forked from."""
    needed = ["torch._dynamo"] if plan.path == "batched" else []
    needed += ["torch._inductor.decomposition"] if plan.compiled else []
    code = sum(LOADED[name] for name in needed if name not in context.loaded)
    return int(context.resident + code + _data(context) + jobs * (WORKER + worker(context, plan)))


def worker(context: Context, plan: Plan) -> int:
    """Bytes that a worker needs beside what it shares with the process that it is forked from."""
    return max(_chunk(context, plan), _points(context, plan))


def smaller_points(context: Context, plan: Plan, jobs: int, limit: int) -> int:
    """How many random points may be evaluated at a time so that the plan stays below `limit` bytes: halved as long as that
    helps; 0 for all."""
    points = 0
    while memory(context, replace(plan, points=points), jobs) > limit:
        now = points or context.config.random_points
        if now == 1 or _points(context, replace(plan, points=now)) <= _chunk(context, plan):
            break
        points = -(-now // 2)
    return points


def _data(context: Context) -> int:
    """Examples that are not in memory yet: in the training precision, or on another device."""
    data, material = context.task.data(context.config.first_data_seed), _material(context)
    given = {t.data_ptr() for t in vars(data).values() if isinstance(t, Tensor)}
    tensors = [t for t in vars(material).values() if isinstance(t, Tensor)]
    made = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(size for at, size in made.items() if at not in given)


def _material(context: Context) -> Material:
    return context.material(context.config.first_data_seed)


def _item(context: Context) -> int:
    return 8 if context.dtype == torch.float64 else 4


def _chunk(context: Context, plan: Plan) -> int:
    config, size, runs, item = context.config, context.net.size, plan.chunk, _item(context)
    remembered = sum(value.numel() for value in context.remembered(1).values()) / size
    kept = size * item * _kept_copies(context)
    logs = sum(len(p.windows) for p in context.phases) * (9 + 4 * len(context.net.groups)) * 8
    logs += sum(len(p.windows) for p in context.phases) * 3 * 8 * _example_groups(context)
    logs += sum(len(p.windows) for p in context.phases) * 8 * _logged_features(context)
    followed = len(context.phases) > 1
    states = (2 if followed else 1) + most_held(context.phases)
    state = size * item * (1 + remembered) * states + kept + logs
    if config.average:
        state += 8 * size
    passes = context.passes
    step = config.batch_size * passes.step + size * item * (3 + 2 * remembered)
    slab = backend(plan.path).slab(context.device)
    evaluation = min(slab, _largest_set(context)) * passes.evaluation
    if plan.fused:
        step, evaluation = size * item * (2 + remembered), 0
    saving = COPIES_SAVED * state
    return int(runs * (state + max(step, evaluation, saving)))


def _kept_copies(context: Context) -> int:
    """Weights that a run keeps beside those it trains: snapshots, twice while one is appended; fine-tuned and averaged."""
    config = context.config
    copies = 2 * sum(len(p.snapshots) for p in context.phases)
    if config.keep_weights:
        later = sum(phase.kind in (FINETUNE, BRANCH) for phase in context.phases)
        copies += later + 2 * len(config.average)
    return copies


def _example_groups(context: Context) -> int:
    groups = _material(context).groups
    return 0 if groups is None else len(groups.sizes)


def _logged_features(context: Context) -> int:
    return context.sizes["feature"] if context.config.log_features else 0


def _largest_set(context: Context) -> int:
    material = _material(context)
    return max(len(material.train_x) if context.config.average else 0, len(material.test_x))


def _points(context: Context, plan: Plan) -> int:
    """What random points need: a group of them, drawn, scaled, and evaluated by training batches."""
    count = plan.points or context.config.random_points
    at_once = 1 if plan.path == "single" else count
    weights = 3 * count * context.net.size * _item(context)
    return weights + at_once * context.config.batch_size * context.passes.evaluation
