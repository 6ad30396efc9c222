"""A model and a batch by name, as the command line gives them: `file.py:make_model`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from lrscope.errors import LrscopeError, first_line, nearest, shown
from lrscope.tasks.random_state import seeded
from lrscope.values import as_whole

LARGEST = 100_000_000  # ours: numbers in a batch that is drawn


def model_and_batch(where: str, batch: str | None, shape: str | None) -> tuple[nn.Module, Any]:
    """The model that a function makes, and a batch for it.

    Args:
        where: `file.py:make_model` or `module:make_model`, a function without arguments that returns a model, or a model and
            a batch; or a model itself.
        batch: the same for a function that returns a batch.
        shape: of a batch of normal draws, such as `8,3,32,32`.

    Raises:
        LrscopeError: nothing of that name, a function that fails or returns something else, no batch.
    """
    made = called(where, "model")
    model, given = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module):
        raise LrscopeError(
            f"model: {where} gives {shown(type(model).__name__)}: return an nn.Module, or an nn.Module and a batch"
        )
    if batch is not None and shape is not None:
        raise LrscopeError("batch: --batch and --shape both say what the model is given: use one of them")
    if batch is not None:
        given = called(batch, "batch")
    if shape is not None:
        given = _drawn(shape)
    if given is None:
        given = getattr(model, "dummy_inputs", None)  # models of transformers have some
    if given is None:
        raise LrscopeError(
            f"batch: nothing says what {where} is given: use --shape 8,3,32,32 for normal draws, --batch file.py:make_batch, "
            "or return a model and a batch"
        )
    return model, given


def called(where: str, what: str) -> Any:
    """What a name leads to; a function is called."""
    found = _named(where, what)
    if isinstance(found, nn.Module) or not callable(found):
        return found
    try:
        with seeded(0):
            return found()
    except Exception as error:
        raise LrscopeError(f"{what}: {where} failed ({first_line(error)}): correct it") from error


def _named(where: str, what: str) -> Any:
    home, colon, name = where.rpartition(":")
    if not (home and colon and name):
        raise LrscopeError(f"{what}: {shown(where)} names no function of a file: write file.py:make_{what}")
    module = _module(home, what)
    if not hasattr(module, name):
        raise LrscopeError(f"{what}: there is no {name} in {home}: {nearest(name, _public(module))}")
    return getattr(module, name)


def _public(module: ModuleType) -> list[str]:
    return [name for name in vars(module) if not name.startswith("_")] or ["a function"]


def _module(home: str, what: str) -> ModuleType:
    """A file ending in .py, or a module of the current folder or an installed one."""
    try:
        if home.endswith(".py"):
            return _of_file(Path(home), what)
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(home)
    except LrscopeError:
        raise
    except Exception as error:
        raise LrscopeError(f"{what}: {home} cannot be imported ({first_line(error)}): correct it") from error


def _of_file(path: Path, what: str) -> ModuleType:
    if not path.is_file():
        raise LrscopeError(f"{what}: there is no file {path}: give the path of a Python file")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # for what it imports from beside it
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _drawn(shape: str) -> torch.Tensor:
    sizes = [as_whole(part) for part in shape.replace("x", ",").split(",")]
    numbers = [n for n in sizes if n is not None and n > 0]
    size = 1
    for n in numbers:
        size *= n
    if len(numbers) < len(sizes) or size > LARGEST:
        raise LrscopeError(
            f"shape: {shown(shape)} is no shape of at most {LARGEST:,} numbers: write whole numbers such as 8,3,32,32"
        )
    return torch.randn(numbers, generator=torch.Generator().manual_seed(0))
