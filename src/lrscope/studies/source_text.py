"""The top level of a module as text that is read, never run: what defines its names, and where imported names come from."""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Place = tuple[str, str]  # a module, and a name in it; ("", "torch") is the module torch
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.ClassDef)


@dataclass(frozen=True)
class Module:
    """The top level of a module.

    Args:
        exists: is there such a module? One without a readable file has no definitions.
        definitions: the statements that bind or change each name, whole: with an `if`, its condition counts.
        imports: the places behind each imported name; several where a `try` imports one or the other.
        stars: the modules of `from ... import *`.
    """

    name: str
    package: str
    exists: bool
    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, set[Place]]
    stars: tuple[str, ...]

    @property
    def is_package(self) -> bool:
        """May other modules lie in it?"""
        return self.package == self.name

    def text(self, name: str) -> str:
        """A definition in normal form."""
        return "\n".join(map(ast.unparse, self.definitions[name]))

    def handed_on(self, name: str) -> set[Place]:
        """Where a name that was imported may come from."""
        stars = {(star, name) for star in self.stars} if name not in self.definitions else set()
        return self.imports.get(name) or stars

    def uses(self, name: str) -> Iterator[tuple[str, list[str]]]:
        """What a definition mentions: a module, and the names that lead on from it, as in `module.name.attribute`."""
        for node in self.definitions[name]:
            inside = _merged(_imports((n for n in ast.walk(node) if isinstance(n, ast.stmt)), self.package))
            for first, *rest in _chains(node):
                for package, imported in inside.get(first, ()):
                    yield package, [imported, *rest]
                yield self.name, [first, *rest]


def module_of(name: str) -> Module:
    """A module, which is not imported, only the packages that it lies in."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    try:
        spec = None if loaded or not name else importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    path = Path(loaded or (spec and spec.origin) or "")
    readable = path.suffix == ".py" and path.is_file()
    holds_modules = path.name == "__init__.py" or bool(spec and spec.submodule_search_locations)
    package = name if holds_modules else name.rpartition(".")[0]
    exists = loaded is not None or spec is not None
    return _parsed(name, package, exists, path.read_text(encoding="utf-8") if readable else "")


@functools.lru_cache(maxsize=256)
def _parsed(name: str, package: str, exists: bool, text: str) -> Module:
    tree = ast.parse(text)
    definitions: dict[str, list[ast.stmt]] = {}
    for node in _Plain().visit(tree).body:
        for defined in dict.fromkeys(_touched(node)):
            definitions.setdefault(defined, []).append(node)
    statements = [node for node in _top_level(tree.body) if isinstance(node, ast.stmt)]
    stars = [
        module
        for node in statements
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*" and (module := _origin(node, package))
    ]
    return Module(name, package, exists, definitions, _merged(_imports(statements, package)), tuple(stars))


def _top_level(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """These nodes and all inside them, but not the insides of functions, classes and comprehensions."""
    for node in nodes:
        yield node
        if not isinstance(node, (*SCOPES, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            yield from _top_level(ast.iter_child_nodes(node))


def _touched(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement of the top level binds, or whose values it changes: `x = 1`, `x[0] = 1`, `x.append(1)`."""
    if isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'":
        return
    for node in _top_level([statement]):
        if isinstance(node, SCOPES):
            yield node.name
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.name
        elif isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            yield from _base(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _base(node.value.func) if isinstance(node.value.func, ast.Attribute) else ()


def _base(node: ast.expr) -> list[str]:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return [node.id] if isinstance(node, ast.Name) else []


def _chains(node: ast.AST) -> Iterator[list[str]]:
    """`a.b.c` as [a, b, c], for every name in the code with all attributes that are taken of it."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        yield [node.id, *attributes]
    else:
        for child in ast.iter_child_nodes(node):
            yield from _chains(child)


def _imports(statements: Iterable[Any], package: str) -> Iterator[tuple[str, Place]]:
    for node in statements:
        if isinstance(node, ast.ImportFrom) and (module := _origin(node, package)):
            yield from ((a.asname or a.name, (module, a.name)) for a in node.names if a.name != "*")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                above, _, last = alias.name.rpartition(".")
                root = alias.name.partition(".")[0]
                yield (alias.asname, (above, last)) if alias.asname else (root, ("", root))


def _origin(node: ast.ImportFrom, package: str) -> str:
    """The module that `from ... import` names; "" where dots lead out of the package."""
    try:
        return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:
        return ""


def _merged(pairs: Iterable[tuple[str, Place]]) -> dict[str, set[Place]]:
    found: dict[str, set[Place]] = {}
    for name, place in pairs:
        found.setdefault(name, set()).add(place)
    return found


class _Plain(ast.NodeTransformer):
    """Code without what does not change its results: docstrings and annotations."""

    def visit(self, node: ast.AST) -> Any:
        self.generic_visit(node)
        if isinstance(node, (*SCOPES, ast.Module)) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, FUNCTIONS):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        return node
