"""A digest of values and code that is the same in every process: what a task trains with, read without its addresses.

Own code (functions, and classes with their methods) counts by what it does: bytecode, constants, defaults, closures and
the globals that it reads; comments, documentation and names of local variables do not count. What installed packages
define counts by name. Bytecode belongs to a minor version of Python, so under another one own code is another task's.
"""

from __future__ import annotations

import argparse
import dis
import enum
import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

PACKAGES = {"site-packages", "dist-packages"}
INTERNALS = frozenset(nn.Module().__dict__) - {"training"}
HOOKS = tuple(name for name in nn.Module().__dict__ if name.endswith("_hooks"))
# What says nothing about how an instance computes; what __init__ makes is read from its values.
NO_BEHAVIOUR = {
    *("__init__", "__new__", "__repr__", "__str__", "extra_repr", "reset_parameters", "__doc__", "__module__"),
    *("__dict__", "__weakref__", "__annotations__", "__qualname__", "__static_attributes__", "__firstlineno__"),
    *(
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__parameters__",
        "__orig_bases__",
        "__match_args__",
    ),
    *("__dataclass_fields__", "__dataclass_params__", "__abstractmethods__", "_abc_impl", "__slots__", "__hash__"),
}
PLAIN = (type(None), type(...), bool, int, float, complex, str, bytes, range, slice)
BY_NAME = (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size, np.dtype, Path)


def digest(value: object) -> str:
    """16 hexadecimal digits that are equal for equal values (numbers, tensors, modules, functions, classes, objects)."""
    return Walk().digest(value)


def attributes(model: nn.Module) -> dict[str, str]:
    """Digests of the modules' values that are neither parameters nor buffers, by dotted name."""
    found = {}
    for name, module in model.named_modules():
        for key, value in module.__dict__.items():
            if key not in INTERNALS:
                found[f"{name}.{key}" if name else key] = digest(value)
    return found


def is_installed(made: Any) -> bool:
    """Does a function or class come from an installed package, Python itself or lrscope?"""
    name = str(getattr(made, "__module__", None) or "builtins")
    root = name.partition(".")[0]
    if root in ("lrscope", "torch", "numpy", "builtins") or root in sys.stdlib_module_names - {"__main__"}:
        return True
    code = getattr(made, "__code__", None)
    file = code.co_filename if isinstance(code, types.CodeType) else getattr(sys.modules.get(name), "__file__", None)
    return file is not None and (bool(PACKAGES & set(Path(file).parts)) or file.startswith(_standard_library()))


@functools.cache
def _standard_library() -> str:
    return sysconfig.get_paths()["stdlib"]


class Walk:
    """Goes through a value once and feeds what it is to a hash. Subclasses may know more of some code."""

    def __init__(self) -> None:
        self.sha = hashlib.sha256()
        self._seen: dict[int, int] = {}
        self._alive: list[object] = []  # an address is not used again while these live

    def digest(self, value: object) -> str:
        """The digest of a value; a walk makes one."""
        self.value(value)
        return self.sha.hexdigest()[:16]

    def _again(self) -> Walk:
        """A new walk of the same kind."""
        return Walk()

    def say(self, *words: str | bytes) -> None:
        """Words with their lengths, so that no two sequences of words read alike."""
        for word in words:
            raw = word.encode() if isinstance(word, str) else word
            self.sha.update(f"{len(raw)}:".encode() + raw)

    def value(self, value: Any) -> None:
        """Any value."""
        if type(value) in PLAIN:
            self.say(type(value).__name__, repr(value))
        elif isinstance(value, BY_NAME):
            self.say(type(value).__name__, str(value))
        elif isinstance(value, enum.Enum):
            self.say(type(value).__qualname__, value.name)
        elif isinstance(value, types.ModuleType):
            self.say("module", value.__name__)
        elif id(value) in self._seen:
            self.say("again", str(self._seen[id(value)]))
        else:
            self._seen[id(value)] = len(self._seen)
            self._alive.append(value)
            self._new(value)

    def _new(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, np.ndarray):
            self.say("array", str(value.dtype), str(value.shape))
            self.value(value.tolist()) if value.dtype.hasobject else self.say(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, nn.Module):
            self._module(value)
        elif isinstance(
            value, (type, types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)
        ):
            self._callable(value)
        elif isinstance(value, types.CodeType):
            self._code(value, None)
        elif isinstance(value, (property, staticmethod, classmethod)):
            self.say(type(value).__name__)
            self.value([value.fget, value.fset] if isinstance(value, property) else value.__func__)
        elif isinstance(value, torch.Generator):
            self.say("generator", str(value.initial_seed()))
        else:
            self._container_or_object(value)

    def _container_or_object(self, value: Any) -> None:
        self.say(type(value).__qualname__)
        if hasattr(value, "__wrapped__"):  # functools.cache and the like
            self.value(value.__wrapped__)
        if isinstance(value, Mapping):
            for key, item in value.items():
                self.value(key)
                self.value(item)
            self.say("end")
        elif isinstance(value, AbstractSet):
            self.say(*sorted(self._again().digest(item) for item in value), "end")
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            for item in value:
                self.value(item)
            self.say("end")
        if isinstance(value, (argparse.Namespace, types.SimpleNamespace)) or not _of_python(type(value)):
            self._object(value)
        elif not isinstance(value, (Mapping, AbstractSet, Sequence)):
            self._text(value)

    def _object(self, value: Any) -> None:
        """An object of a class of the user's or of an installed package: its class and its attributes."""
        self.value(type(value))
        state = {name: getattr(value, name) for name in _slots(type(value)) if hasattr(value, name)}
        state |= getattr(value, "__dict__", {})
        if not state:
            self._text(value)
        for name, item in state.items():
            self.say(str(name))
            self.value(item)
        self.say("end")

    def _text(self, value: Any) -> None:
        """What an object says of itself, unless that holds an address."""
        text = repr(value)
        if " at 0x" not in text:
            self.say(text)

    def _tensor(self, tensor: Tensor) -> None:
        self.say("tensor", str(tensor.dtype), str(tensor.requires_grad))
        if is_lazy(tensor):
            return
        self.say(str(tuple(tensor.shape)))
        if tensor.device.type != "meta":
            self.say(tensor_bytes(tensor))

    def _module(self, module: nn.Module) -> None:
        self.value(type(module))
        own = {key: value for key, value in module.__dict__.items() if key not in INTERNALS}
        hooks = [list(getattr(module, name, {}).values()) for name in HOOKS]
        for named in (own, module._parameters, module._buffers, module._modules):
            for name, item in named.items():
                self.say(name)
                self.value(item)
            self.say("end")
        if any(hooks):
            self.value(hooks)

    def _callable(self, value: Any) -> None:
        if isinstance(value, functools.partial):
            self.say("partial")
            self.value([value.func, value.args, value.keywords])
        elif isinstance(value, types.MethodType):
            self.say("method")
            self.value(value.__func__)
            self.value(value.__self__)
        elif isinstance(value, types.BuiltinFunctionType):
            self.say("builtin", value.__qualname__)
            self.value(value.__self__)
        elif is_installed(value):
            self.say("installed", str(value.__module__), value.__qualname__)
        elif isinstance(value, type):
            self._class(value)
        else:
            self._function(value)

    def _class(self, made: type) -> None:
        self.say("class", made.__qualname__)
        for base in made.__bases__:
            self.value(base)
        for name, member in sorted(vars(made).items()):
            if name not in NO_BEHAVIOUR and not isinstance(
                member, (types.MemberDescriptorType, types.GetSetDescriptorType)
            ):
                self.say(name)
                self.value(member)
        self.say("end")

    def _function(self, function: types.FunctionType) -> None:
        self.say("function")
        self._code(function.__code__, function.__doc__)
        self.value([function.__defaults__, function.__kwdefaults__])
        for cell in function.__closure__ or ():
            try:
                self.value(cell.cell_contents)
            except ValueError:  # not yet filled
                self.say("empty")
        self._globals(function)
        self.say("end")

    def _globals(self, function: types.FunctionType) -> None:
        for name in _globals_read(function.__code__):
            if name in function.__globals__:
                self.say(name)
                self.value(function.__globals__[name])

    def _code(self, code: types.CodeType, doc: str | None) -> None:
        arguments = code.co_argcount + code.co_kwonlyargcount
        self.say(
            "code", code.co_code, " ".join(code.co_varnames[:arguments]), str(code.co_flags & 0x0F), *code.co_names
        )
        for index, constant in enumerate(code.co_consts):
            if index == 0 and isinstance(constant, (str, type(None))) and constant == doc:
                continue  # documentation, or that there is none
            self._code(constant, None) if isinstance(constant, types.CodeType) else self.value(constant)
        self.say("end")


def tensor_bytes(tensor: Tensor) -> bytes:
    """The bytes of a tensor's elements, of any type and layout."""
    plain = tensor.detach().cpu()
    plain = (plain if plain.layout == torch.strided else plain.to_dense()).resolve_conj().resolve_neg()
    raw: bytes = plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return raw


def _slots(made: type) -> list[str]:
    """Names of the attributes that a class keeps in slots."""
    found: list[str] = []
    for each in made.__mro__:
        slots = vars(each).get("__slots__", ())
        found += [slots] if isinstance(slots, str) else list(slots)
    return [name for name in found if name not in ("__dict__", "__weakref__")]


def _of_python(made: type) -> bool:
    """Is it a class of Python itself or of PyTorch's private parts (a lock, a logger), whose insides are its own affair?"""
    root = made.__module__.partition(".")[0]
    return (
        root == "builtins"
        or made.__module__.startswith("torch._")
        or (root in sys.stdlib_module_names and root != "__main__")
    )


def _globals_read(code: types.CodeType) -> list[str]:
    """Names of the globals that a function and the functions inside it read, but never set."""
    read, written = set(), set()
    for each in _nested(code):
        for instruction in dis.get_instructions(each):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                read.add(str(instruction.argval))
            elif instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                written.add(str(instruction.argval))
    return sorted(read - written)


def _nested(code: types.CodeType) -> list[types.CodeType]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return [code, *(each for c in inner for each in _nested(c))]
