"""From a traced function of one run to a compiled library that calls it for all runs, through ctypes.

R runs, K steps or blocks a call, B batch.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from lrscope.engine.fused.lowering import Lowering
from lrscope.engine.fused.values import NotFusible, Placed, contiguous, ctype

HEADER = Path(__file__).with_name("kernels.h")
COMPILERS = ("g++", "clang++", "c++")
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-w"),
    # Sums are reordered where the code says so (omp simd); with -fassociative-math g++ 12 made wrong layer norms.
    *("-fopenmp-simd", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
)
# Where the value of run r at step k begins, in values: one for each run, run and step, step, or for all.
PLACES = {"run": "r", "run and step": "(k * R + r)", "step": "k", "all": "0"}

SOURCE = """#include "{header}"
extern "C" void call(int64_t K, int64_t R, {pointers}) {{
  for (int64_t r = 0; r < R; ++r)
    for (int64_t k = 0; k < K; ++k) {{
{inputs}
{body}
{outputs}
    }}
}}
"""


@dataclass(frozen=True)
class Input:
    """An argument of the traced function: an example, and where its values lie (`PLACES`).

    `gathered`: the array holds all examples, and the rows of the first dimension are those that the index names.
    """

    name: str
    example: Tensor
    place: str
    gathered: bool = False


class Library:
    """`call(K, R, tensors)` runs `function` for every run and step and leaves its results in the first tensors given.

    Args:
        function: of one run, tensors in, tensors out; traced once.
        inputs: its arguments in order.
        results: for each result the name of the input [R, ...] that it replaces, or None: then it is added to a float64
            array [R, ...] that is given before all inputs.

    Raises:
        NotFusible: the function holds an operation or a size that is not generated, or there is no compiler.
    """

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], inputs: Sequence[Input], results: Sequence[str | None]
    ) -> None:
        self.path = _compiled(_source(function, inputs, results))
        self._call = ctypes.CDLL(str(self.path)).call
        self._call.restype = None

    def __call__(self, steps: int, runs: int, tensors: Sequence[Tensor]) -> None:
        """Tensors: sums, then inputs, then the index [K, R, B] if an input is gathered; all contiguous."""
        pointers = [ctypes.c_void_p(t.data_ptr()) for t in tensors]
        self._call(ctypes.c_int64(steps), ctypes.c_int64(runs), *pointers)


def _source(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Input], results: Sequence[str | None]) -> str:
    values = [
        Placed(i.name, tuple(i.example.shape), ctype(i.example.dtype), contiguous(i.example.shape)) for i in inputs
    ]
    try:
        graph = make_fx(function, decomposition_table=_decompositions(), tracing_mode="fake")(
            *[i.example for i in inputs]
        )
    except Exception as error:  # tracing fails in as many ways as there are models
        raise NotFusible(f"tracing it fails: {type(error).__name__}") from error
    graph.graph.eliminate_dead_code()
    lowering = Lowering(graph, values)
    body = lowering.code()
    sums = [f"sum{i}" for i, name in enumerate(results) if name is None]
    kept = {name for name in results if name is not None}
    pointers = [f"double* {name}" for name in sums]
    pointers += [f"{'' if i.name in kept else 'const '}{ctype(i.example.dtype)}* {i.name}_all" for i in inputs]
    if any(i.gathered for i in inputs):
        pointers.append("const int64_t* index_all")
    heads = [line for i in inputs for line in _found(i)]
    tails = []
    for number, (name, output) in enumerate(zip(results, lowering.outputs, strict=True)):
        assert isinstance(output, Placed)
        size = max(1, torch.Size(output.shape).numel())
        if name is None:
            tails += [f"for (int i = 0; i < {size}; ++i) sum{number}[r * {size} + i] += ({output.start})[i];"]
        elif output.name != name:
            tails.append(f"std::memcpy({name}_all + r * {size}, {output.start}, sizeof({output.ctype}) * {size});")
        if tuple(output.strides) != contiguous(output.shape) and output.name != name:
            raise NotFusible("results that are views")
    return SOURCE.format(
        header=HEADER.name,
        pointers=", ".join(pointers),
        inputs="\n".join(heads),
        body=body,
        outputs=lowering.renamed("\n".join(tails)),
    )


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


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """TorchInductor's way to split operations into few; convolutions and pooling stay whole, to be refused."""
    from torch._inductor.decomposition import select_decomp_table

    whole = ("convolution", "pool")
    return {
        target: split for target, split in select_decomp_table().items() if not any(w in str(target) for w in whole)
    }


def _compiled(source: str) -> Path:
    """The shared library of a source, from the cache or compiled now.

    Raises:
        NotFusible: no compiler, or it refuses.
    """
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise NotFusible("there is no C++ compiler")
    folder = _cache()
    key = hashlib.sha256("\0".join([source, HEADER.read_text(), compiler, *FLAGS, _processor()]).encode()).hexdigest()
    library = folder / f"{key[:32]}.so"
    if not library.exists():
        try:
            _compile(compiler, source, library)
        except OSError as error:
            raise NotFusible(f"{folder} cannot be written: {error.strerror}") from error
    return library


def _compile(compiler: str, source: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as work:
        file, made = Path(work) / "call.cpp", Path(work) / "call.so"
        file.write_text(source)
        command = [compiler, *FLAGS, f"-I{HEADER.parent}", str(file), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise NotFusible(f"{compiler} failed: {lines[0]}")
        os.replace(made, library)


def _cache() -> Path:
    """The user's own cache folder; nobody else may write there."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(root) / "lrscope" / "steps"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise NotFusible(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def _processor() -> str:
    """What -march=native means here: a library compiled on another machine may not run on this one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        import platform

        return platform.processor() + platform.machine()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
