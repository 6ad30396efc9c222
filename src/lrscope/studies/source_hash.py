"""What code a measurement is computed by: a hash of its function and of all that the function uses inside its study.

Followed are names of the study's own package and of what all studies share (`lrscope.studies`), through imports, from
definition to definition. The text is read, never run. Comments, docstrings, annotations and formatting do not count; nor
does what lies outside, such as PyTorch, NumPy or the rest of lrscope.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from lrscope.config import digest
from lrscope.studies.lazy_functions import Lazy

SHARED = "lrscope.studies"
Place = tuple[str, str]  # a module, and a name that it defines


def source_hash(function: Callable[..., Any]) -> str:
    """The hash of a function's code; that of a `partial` or `Lazy` is the code beneath, without its arguments."""
    while isinstance(function, functools.partial):
        function = function.func
    module, name = _place(function)
    if name not in _module(module).definitions:
        return digest([_alone(function)])
    followed = {SHARED, module.partition(".")[0]} if not module.startswith("lrscope.") else {SHARED}
    return digest([(place, _module(place[0]).text(place[1])) for place in sorted(_used((module, name), followed))])


def is_there(function: Lazy) -> bool:
    """Is there a function of that name in that module? Nothing is imported but the packages that it lies in."""
    module = _module(function.module)
    return function.name in module.definitions or function.name in module.imports


def _place(function: Callable[..., Any]) -> Place:
    if isinstance(function, Lazy):
        return function.module, function.name
    return getattr(function, "__module__", "") or "", getattr(function, "__qualname__", "")


def _used(start: Place, followed: set[str]) -> set[Place]:
    """The place itself, and all that it uses directly or through others."""
    found: set[Place] = set()
    waiting = [start]
    while waiting:
        place = waiting.pop()
        if place not in found and any(f"{place[0]}.".startswith(f"{root}.") for root in followed):
            module = _module(place[0])
            if place[1] in module.definitions:
                found.add(place)
                waiting += module.uses(place[1])
            elif place[1] in module.imports:  # handed on from elsewhere
                waiting.append(module.imports[place[1]])
    return found


@dataclass(frozen=True)
class _Module:
    """The top level of a module: its definitions, and (module, name) behind each imported name."""

    name: str
    definitions: dict[str, ast.stmt]
    imports: dict[str, Place]

    def text(self, name: str) -> str:
        """A definition in normal form."""
        return ast.unparse(self.definitions[name])

    def uses(self, name: str) -> Iterator[Place]:
        """What a definition mentions: names of this module, imported ones, and `module.name`."""
        node = self.definitions[name]
        imports = self.imports | dict(_imports([n for n in ast.walk(node) if isinstance(n, ast.stmt)]))
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                yield imports.get(part.id, (self.name, part.id))
            elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in imports:
                package, module = imports[part.value.id]
                yield f"{package}.{module}".strip("."), part.attr


def _module(name: str) -> _Module:
    path = _path(name)
    return _parsed(name, path.read_text(encoding="utf-8") if path else "")


@functools.lru_cache(maxsize=256)
def _parsed(name: str, text: str) -> _Module:
    tree = ast.parse(text)
    definitions: dict[str, ast.stmt] = {}
    for node in _Plain().visit(tree).body:
        for defined in _defined(node):
            definitions[defined] = node
    return _Module(name, definitions, dict(_imports(tree.body)))


def _path(module: str) -> Path | None:
    """The file of a module, which is not imported; None if it has none."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    try:
        spec = None if loaded else importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    path = Path(loaded or (spec and spec.origin) or "")
    return path if path.suffix == ".py" and path.is_file() else None


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]


def _imports(statements: list[Any]) -> Iterator[tuple[str, Place]]:
    for node in statements:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((alias.asname or alias.name, (node.module, alias.name)) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.asname, ("", alias.name)) for alias in node.names if alias.asname)


class _Plain(ast.NodeTransformer):
    """Code without what does not change its results: docstrings and annotations."""

    def visit(self, node: ast.AST) -> Any:
        self.generic_visit(node)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        return node


def _alone(function: Callable[..., Any]) -> Any:
    """A function that no module defines at its top level (a lambda, one made by another function, or typed in): its byte
    code, which depends on Python's version, its default values, and what it took from around it."""
    code = getattr(function, "__code__", None)
    if code is None:
        return _place(function)
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    taken = map(repr, [*(getattr(function, "__defaults__", None) or ()), *cells])
    return [_byte_code(code), [words for words in taken if " at 0x" not in words]]


def _byte_code(code: CodeType) -> list[Any]:
    constants = [_byte_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]
