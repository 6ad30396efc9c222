"""Training steps of many runs as one generated C++ function: each run trains its steps with its weights in the L1 cache.

The step of a single run is traced once (make_fx), written as C++ (`lowering`), compiled by the system's compiler and
called through ctypes with the arrays' addresses. R runs, K steps a call, B batch, P parameters, N examples.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from lrscope.engine.fused.lowering import Lowering
from lrscope.engine.fused.values import NotFusible, Placed, contiguous, ctype

Step = Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]
HEADER = Path(__file__).with_name("kernels.h")
COMPILERS = ("g++", "clang++", "c++")
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fPIC",
    "-shared",
    "-w",
    "-ffp-contract=fast",
    *(f"-f{word}" for word in ("no-math-errno", "no-trapping-math", "no-signed-zeros", "associative-math")),
)

SIGNATURE = """
extern "C" void train(int64_t K, int64_t R, {pointers}) {{
  for (int64_t r = 0; r < R; ++r)
    for (int64_t k = 0; k < K; ++k) {{
{locals}
{body}
{stores}
    }}
}}
"""


class FusedSteps:
    """`steps(weights, velocity, squares, sums, frozen, x, y, index, lr, rho)`: K steps of all runs.

    Args:
        step: one step of a batch of runs [R, ...] (`Program._step`); traced with R = 1.
        tensors: example arguments of `step` for a single run, in the order weights [1, P], velocity, squares [1, G],
            sums, frozen by name, x [1, B, ...], y [1, B, ...], lr [1], rho [1].

    Raises:
        NotFusible: the step holds an operation or a size that is not generated, or there is no compiler.
    """

    def __init__(self, step: Step, *tensors: Any) -> None:
        source, self._constants = _generate(step, *tensors)
        self.library = _compiled(source)
        self._train = ctypes.CDLL(str(self.library)).train
        self._train.restype = None

    def __call__(
        self,
        weights: Tensor,
        velocity: Tensor,
        squares: Tensor,
        sums: Tensor,
        frozen: dict[str, Tensor],
        x: Tensor,
        y: Tensor,
        index: Tensor,
        lr: Tensor,
        rho: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """K steps of all runs on the examples x [N, ...], y [N, ...] that index [K, R, B] names; lr [K, R], rho [R]."""
        state = [t.clone(memory_format=torch.contiguous_format) for t in (weights, velocity, squares, sums)]
        given = [t.contiguous() for t in (x, y, index, lr, rho, *frozen.values())]
        pointers = [ctypes.c_void_p(t.data_ptr()) for t in (*state, *given)]
        self._train(ctypes.c_int64(lr.shape[0]), ctypes.c_int64(lr.shape[1]), *pointers)
        return state[0], state[1], state[2], state[3]


def _generate(
    step: Step,
    weights: Tensor,
    velocity: Tensor,
    squares: Tensor,
    sums: Tensor,
    frozen: dict[str, Tensor],
    x: Tensor,
    y: Tensor,
    lr: Tensor,
    rho: Tensor,
) -> tuple[str, None]:
    names = tuple(frozen)

    def flat(*given: Tensor) -> tuple[Tensor, ...]:
        w, v, s, total, xb, yb, a, b = given[:8]
        return step(w, v, s, total, dict(zip(names, given[8:], strict=True)), xb, yb, a, b)

    inputs = [weights, velocity, squares, sums, x, y, lr, rho, *frozen.values()]
    try:
        graph = make_fx(flat, decomposition_table=_decompositions(), tracing_mode="fake")(*inputs)
    except Exception as error:  # tracing fails in as many ways as there are models
        raise NotFusible(f"tracing it fails: {type(error).__name__}") from error
    graph.graph.eliminate_dead_code()
    words = [
        "weights",
        "velocity",
        "squares",
        "sums",
        "x",
        "y",
        "lr",
        "rho",
        *(f"frozen{i}" for i in range(len(names))),
    ]
    values = [
        Placed(word, tuple(t.shape), ctype(t.dtype), contiguous(t.shape)) for word, t in zip(words, inputs, strict=True)
    ]
    lowering = Lowering(graph, values)
    batch, features, targets = x.shape[1], x[0, 0].numel(), y[0, 0].numel()
    places = {
        "weights": ("r", weights),
        "velocity": ("r", velocity) if velocity.dim() else ("", velocity),
        "squares": ("r", squares),
        "sums": ("r", sums),
        "lr": ("(k * R + r)", lr),
        "rho": ("r", rho),
        **{f"frozen{i}": ("r", t) for i, t in enumerate(frozen.values())},
    }
    pointers = [f"{ctype(places[w][1].dtype)}* {w}_all" for w in words[:4]]
    pointers += [f"const {ctype(x.dtype)}* x_all, const {ctype(y.dtype)}* y_all, const int64_t* index_all"]
    pointers += [f"const {ctype(places[w][1].dtype)}* {w}_all" for w in words[6:]]
    heads = [
        f"const {ctype(t.dtype)}* {w} = {w}_all{f' + {at} * {t.numel()}' if at else ''};"
        for w, (at, t) in places.items()
    ]
    heads += [
        f"const int64_t* index = index_all + (k * R + r) * {batch};",
        f"alignas(64) {ctype(x.dtype)} x[{batch * features}]; alignas(64) {ctype(y.dtype)} y[{batch * targets}];",
        f"for (int b = 0; b < {batch}; ++b) {{",
        f"  std::memcpy(x + b * {features}, x_all + index[b] * {features}, sizeof(x[0]) * {features});",
        f"  std::memcpy(y + b * {targets}, y_all + index[b] * {targets}, sizeof(y[0]) * {targets});",
        "}",
    ]
    body = lowering.code()
    stores = []
    for word, output, old in zip(words[:4], lowering.outputs, (weights, velocity, squares, sums), strict=True):
        assert isinstance(output, Placed)
        if output.name == word:
            continue
        if tuple(output.strides) != contiguous(output.shape) or output.shape != tuple(old.shape):
            raise NotFusible("outputs that are views")
        size = f"sizeof({ctype(old.dtype)}) * {old.numel()}"
        to = f"{word}_all + {places[word][0]} * {old.numel()}"
        stores.append(f"std::memcpy({to}, {output.start}, {size});")
    text = SIGNATURE.format(
        pointers=", ".join(pointers), locals="\n".join(heads), body=body, stores=lowering.renamed("\n".join(stores))
    )
    return f'#include "{HEADER.name}"\n{text}', None


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """TorchInductor's way to split operations into few; convolutions stay whole, to be refused."""
    from torch._inductor.decomposition import select_decomp_table

    table = select_decomp_table()
    return {target: split for target, split in table.items() if "convolution" not in str(target)}


def _compiled(source: str) -> Path:
    """The shared library of a source, from the cache or compiled now.

    Raises:
        NotFusible: no compiler, or it refuses.
    """
    import shutil

    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise NotFusible("there is no C++ compiler")
    folder = _cache()
    key = hashlib.sha256("\0".join([source, HEADER.read_text(), compiler, *FLAGS, _processor()]).encode()).hexdigest()
    library = folder / f"{key[:32]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            file, made = Path(work) / "steps.cpp", Path(work) / "steps.so"
            file.write_text(source)
            command = [compiler, *FLAGS, f"-I{HEADER.parent}", str(file), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ["no message"]
                raise NotFusible(f"{compiler} failed: {lines[0]}")
            os.replace(made, library)
    return library


def _cache() -> Path:
    """The user's own cache folder; nobody else may write there."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(root) / "lrscope" / "steps"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _processor() -> str:
    """What -march=native means here: a library compiled on another machine may not run on this one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        import platform

        return platform.processor() + platform.machine()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
