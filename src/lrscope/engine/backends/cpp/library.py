"""From a traced function of one run to a compiled library that calls it for all runs, through ctypes.

R runs, K steps or blocks a call, B batch.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from lrscope.engine.backends.cpp import cache, check
from lrscope.engine.backends.cpp.compiler import FLAGS, Compiler, compiler
from lrscope.engine.backends.cpp.lowering import Lowering
from lrscope.engine.backends.cpp.values import PLACES, Input, NotFusible, Placed, contiguous, ctype
from lrscope.errors import LrscopeError
from lrscope.tasks.factory import same_values

HEADERS = tuple(Path(__file__).with_name(name) for name in ("kernels.h", "convolutions.h"))
_ready: dict[str, Path] = {}  # by key: libraries that this process has loaded and tested

ARENA = """  const std::unique_ptr<char[]> held(new char[{size} + 64]);
  char* const arena = held.get() + (64 - reinterpret_cast<uintptr_t>(held.get()) % 64);
"""
SOURCE = """{headers}
{parts}
extern "C" void call(int64_t K, int64_t R, {pointers}) {{
{arena}  for (int64_t r = 0; r < R; ++r)
    for (int64_t k = 0; k < K; ++k) {{
{inputs}
{body}
{outputs}
    }}
}}
"""


class Library:
    """`call(K, R, tensors)` runs `function` for every run and step and leaves its results in the first tensors given.

    Args:
        function: of one run, tensors in, tensors out; traced once.
        inputs: its arguments in order.
        results: for each result the name of the input [R, ...] that it replaces, or None: then it is added to a float64
            array [R, ...] that is given before all inputs.

    Raises:
        NotFusible: the function holds an operation or a size that is not generated, there is no compiler that works, or
            what it makes fails its self-test.

    Tensors that the function holds besides its arguments are part of the code; a copy of each tells whether one has changed.
    """

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], inputs: Sequence[Input], results: Sequence[str | None]
    ) -> None:
        source, held = _source(function, inputs, results)
        self._held = [(tensor, tensor.detach().clone()) for tensor in held]
        self._call = check.load(_tested(source, partial(check.trial, function, inputs, results)))

    def __call__(self, steps: int, runs: int, tensors: Sequence[Tensor]) -> None:
        """Tensors: sums, then inputs, then the index [K, R, B] if an input is gathered; all contiguous.

        Raises:
            LrscopeError: a tensor that the function holds has changed since it was traced.
        """
        for tensor, as_traced in self._held:
            if not same_values(as_traced, tensor):
                raise LrscopeError(
                    f"model, loss or metric: a tensor of shape {list(tensor.shape)} that it holds, no parameter, was changed "
                    "while it trains, which generated code does not see: choose another --out with --no-compile"
                )
        check.call_with(self._call, steps, runs, tensors)


def _source(
    function: Callable[..., Sequence[Tensor]], inputs: Sequence[Input], results: Sequence[str | None]
) -> tuple[str, list[Tensor]]:
    """C++ of the function, and the tensors whose values stand in it."""
    values = [
        Placed(i.name, tuple(i.example.shape), ctype(i.example.dtype), contiguous(i.example.shape)) for i in inputs
    ]
    try:
        graph = make_fx(
            function, decomposition_table=_decompositions(), tracing_mode="fake", _allow_non_fake_inputs=True
        )(*[i.example for i in inputs])
    except Exception as error:  # tracing fails in as many ways as there are models
        raise NotFusible(f"tracing it fails: {type(error).__name__}") from error
    graph.graph.eliminate_dead_code()
    lowering = Lowering(graph, values)
    body = lowering.arrays.body(lowering.lines, {value.name: value.ctype for value in values}, lowering.outputs)
    sums = [f"sum{i}" for i, name in enumerate(results) if name is None]
    kept = {name for name in results if name is not None}
    pointers = [f"double* {name}" for name in sums]
    pointers += [f"{'' if i.name in kept else 'const '}{ctype(i.example.dtype)}* {i.name}_all" for i in inputs]
    if any(i.gathered for i in inputs):
        pointers.append("const int64_t* index_all")
    heads = [line for i in inputs for line in _found(i)]
    tails = []
    for number, (name, output) in enumerate(zip(results, lowering.outputs, strict=True)):
        size = max(1, torch.Size(output.shape).numel())
        if name is None:
            tails += [f"for (int i = 0; i < {size}; ++i) sum{number}[r * {size} + i] += ({output.start})[i];"]
        elif output.name != name:
            tails.append(f"std::memcpy({name}_all + r * {size}, {output.start}, sizeof({output.ctype}) * {size});")
        if tuple(output.strides) != contiguous(output.shape) and output.name != name:
            raise NotFusible("results that are views")
    held = [getattr(graph, str(node.target)) for node in graph.graph.nodes if node.op == "get_attr"]
    source = SOURCE.format(
        headers="\n".join(f'#include "{header.name}"' for header in HEADERS),
        pointers=", ".join(pointers),
        inputs="\n".join(heads),
        body=body.text,
        parts=body.parts,
        arena=ARENA.format(size=body.arena) if body.arena else "",
        outputs=body.renamed("\n".join(tails)),
    )
    return source, held


def _found(given: Input) -> list[str]:
    """C++ that makes an input's values for run r and step k available under its name."""
    kind, size = ctype(given.example.dtype), max(1, given.example.numel())
    if not given.gathered:
        return [f"const {kind}* {given.name} = {given.name}_all + {PLACES[given.place]} * {size};"]
    rows = given.example.shape[1]
    row = size // rows
    return [
        f"alignas(64) {kind} {given.name}[{size}];",
        f"for (int b = 0; b < {rows}; ++b) std::memcpy({given.name} + b * {row}, "
        f"{given.name}_all + index_all[{PLACES[given.place]} * {rows} + b] * {row}, sizeof({kind}) * {row});",
    ]


def _headers() -> dict[str, str]:
    """The headers' texts by name."""
    return {header.name: header.read_text(encoding="utf-8") for header in HEADERS}


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """TorchInductor's way to split operations into few; convolutions, pooling and embeddings stay whole."""
    from torch._decomp import decomposition_table
    from torch._inductor.decomposition import select_decomp_table

    whole = ("convolution", "pool", "embedding")
    table = {
        target: split for target, split in select_decomp_table().items() if not any(w in str(target) for w in whole)
    }
    softmax = torch.ops.aten._softmax_backward_data.default  # TorchInductor's has an operation of its own
    return table | {softmax: decomposition_table[softmax]}


def _tested(source: str, trials: Callable[[int], check.Trial]) -> Path:
    """The library of a source, from the cache or compiled now; in this process it has agreed with PyTorch.

    Raises:
        NotFusible: no compiler, it fails, or the library does.
    """
    guest = compiler()
    parts = [source, *_headers().values(), guest.path, *FLAGS, _processor()]
    key = hashlib.sha256(b"\0".join([*(p.encode() for p in parts), guest.description])).hexdigest()[:32]
    if key in _ready and _ready[key].exists():
        return _ready[key]
    folder = cache.folder()
    path = cache.find(folder, key)
    if path is not None and (fault := _fault_here(path, trials)) is not None:
        cache.forget(path, fault)
        path = None
    try:
        path = path or _made(guest, source, key, folder, trials)
    except OSError as error:
        private = cache.instead_of(folder, error)
        try:
            path = _made(guest, source, key, private, trials)
        except OSError as again:
            raise NotFusible(f"{guest.path} made no library that can be used: {again.strerror or again}") from again
    _ready[key] = path
    return path


def _fault_here(path: Path, trials: Callable[[int], check.Trial]) -> str | None:
    try:
        return check.tested_here(path, trials)
    except check.Unloadable as error:
        return str(error.strerror)


def _made(guest: Compiler, source: str, key: str, folder: Path, trials: Callable[[int], check.Trial]) -> Path:
    """Compile into `folder`, test in a process of its own, and only then give the library its name.

    Raises:
        NotFusible: the compiler fails, or the library does.
        OSError: `folder` cannot be written or is full, or nothing in it can be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="work-", dir=folder, ignore_cleanup_errors=True) as work:
        files = {**_headers(), "call.cpp": source}
        made = guest.library(files, "call.cpp", Path(work))
        fault = check.tested_apart(made, trials)
        if fault is not None:
            raise NotFusible(f"its self-test fails: {fault}")
        return cache.keep(folder, key, made)


def _processor() -> str:
    """What the library may count on: one compiled on another machine may not run on this one, though both share a home."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    return "\n".join([platform.machine(), platform.processor(), *platform.libc_ver(), *names])
