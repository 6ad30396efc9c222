"""Small faults that can be put into a Python file: where, of what kind, and how to make them (for mutants.py).

Left out: texts of messages, docstrings, annotations, assertions, imports and arguments of class decorators.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Div,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
PAIRS = [
    ("min", "max"),
    ("any", "all"),
    ("nanmin", "nanmax"),
    ("minimum", "maximum"),
    ("floor", "ceil"),
    ("argmin", "argmax"),
]
SWAPS = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])} | {
    "mean": "sum",
    "nanmean": "nansum",
    "median": "max",
    "nanmedian": "nanmax",
    "isfinite": "isnan",
    "sorted": "list",
}
DEVICE = "device"  # no test on a CPU can tell whether it is there
WORDS = 2  # longer strings are messages


@dataclass(frozen=True)
class Site:
    """One possible fault: `function` is the outermost one that it lies in (empty: none), `top` the module's statement,
    `change` puts it into the tree."""

    kind: str
    line: int
    what: str
    function: str
    top: ast.stmt
    change: Callable[[], None]


def sites(tree: ast.Module) -> list[Site]:
    """All faults of a module, in the order of its text."""
    return [site for top in tree.body for site in _Finder(top).statement(top, tree.body, "", None, False)]


def _text(node: ast.AST, length: int = 80) -> str:
    return ast.unparse(node)[:length]


def _put(parent: Any, field: str, new: ast.AST, index: int | None = None) -> Callable[[], None]:
    """A change that puts a node into a field of another one, or into the list that stands there."""
    holder = getattr(parent, field)
    ast.copy_location(new, holder[index] if index is not None and hasattr(holder[index], "lineno") else parent)
    return partial(setattr, parent, field, new) if index is None else partial(holder.__setitem__, index, new)


def _children(node: ast.AST, skip: frozenset[str]) -> Iterator[tuple[str, int | None, Any]]:
    """Expressions and keywords of a node, each with its field and its place if that is a list."""
    for field, value in ast.iter_fields(node):
        if field not in skip and isinstance(value, ast.expr):
            yield field, None, value
        elif field not in skip and isinstance(value, list):
            yield from (
                (field, k, v) for k, v in enumerate(value) if isinstance(v, ast.expr | ast.keyword | ast.withitem)
            )


BODIES = ("body", "orelse", "finalbody", "handlers")
NOT_VALUES = frozenset({*BODIES, "annotation", "returns", "decorator_list", "bases", "keywords", "type"})
NOT_PARTS = frozenset({"ctx", "op", "ops", "generators", "annotation"})
SKIPPED = (ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.Pass, ast.Assert)


class _Finder:
    """Walks one statement of a module. `quiet` is set inside what is raised, whose words are not changed."""

    def __init__(self, top: ast.stmt) -> None:
        self.top = top

    def site(self, kind: str, node: Any, what: str, function: str, change: Callable[[], None]) -> Site:
        return Site(kind, node.lineno, what, function, self.top, change)

    def bodies(self, node: ast.AST, function: str, inside: Any, quiet: bool) -> Iterator[Site]:
        for field in BODIES:
            body = getattr(node, field, [])
            for statement in body if isinstance(body, list) else []:
                yield from self.statement(statement, body, function, inside, quiet)

    def statement(self, node: Any, body: list[Any], function: str, inside: Any, quiet: bool) -> Iterator[Site]:
        """Faults of a statement that stands in `body`; `inside` is the outermost function or None."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from self.function(node, function, inside, quiet)
        elif isinstance(node, ast.ClassDef):
            yield from self.bodies(node, f"{function}{node.name}." if inside is None else function, inside, quiet)
        elif isinstance(node, ast.ExceptHandler):
            yield from self.bodies(node, function, inside, quiet)
        elif not isinstance(node, SKIPPED) and not _docstring(node) and not _type_checking(node):
            name = function if inside is not None else ""
            yield from self.whole(node, body, name, inside)
            quiet = quiet or isinstance(node, ast.Raise)
            for field, index, value in _children(node, NOT_VALUES):
                yield from self.expression(value, node, field, index, name, inside, quiet)
            yield from self.bodies(node, function, inside, quiet)

    def function(self, node: Any, function: str, inside: Any, quiet: bool) -> Iterator[Site]:
        name = function if inside is not None else ""
        for field in ("defaults", "kw_defaults"):
            for k, value in enumerate(getattr(node.args, field)):
                if value is not None:
                    yield from self.expression(value, node.args, field, k, name, inside, quiet)
        yield from self.bodies(node, function if inside is not None else function + node.name, inside or node, quiet)

    def whole(self, node: Any, body: list[Any], name: str, inside: Any) -> Iterator[Site]:
        """Faults that take a statement as a whole."""
        place = body.index(node)

        def instead(what: str, new: ast.stmt) -> Site:
            change = partial(body.__setitem__, place, ast.copy_location(new, node))
            return self.site("statement deleted", node, what, name, change)

        if isinstance(node, ast.Raise):
            yield instead("raise deleted", ast.Pass())
        elif isinstance(node, ast.Continue):
            yield instead("continue -> break", ast.Break())
        elif isinstance(node, ast.Break):
            yield instead("break -> continue", ast.Continue())
        elif _can_go(node, inside):
            yield instead(f"deleted: {_text(node)}", ast.Pass())
        if isinstance(node, ast.AugAssign):
            yield self.operation(node, name, "=")
        if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
            yield self.site("returns None", node, f"None: {_text(node)}", name, _put(node, "value", ast.Constant(None)))
        if isinstance(node, ast.If | ast.While):
            yield from self.negation(node, name)

    def operation(self, node: Any, name: str, sign: str = "") -> Site:
        new = OPERATIONS[type(node.op)]
        what = f"{type(node.op).__name__}{sign} -> {new.__name__}{sign}: {_text(node)}"
        return self.site("arithmetic", node, what, name, partial(setattr, node, "op", new()))

    def negation(self, node: Any, name: str) -> Iterator[Site]:
        """A condition without a fault of its own: no single comparison, no `and`, `or` or `not`."""
        test = node.test
        own = isinstance(test, ast.BoolOp) or (isinstance(test, ast.Compare) and len(test.ops) == 1)
        if not own and not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
            change = _put(node, "test", ast.UnaryOp(ast.Not(), test))
            yield self.site("condition negated", test, f"not ({_text(test)})", name, change)

    def expression(
        self, node: Any, parent: Any, field: str, index: int | None, name: str, inside: Any, quiet: bool
    ) -> Iterator[Site]:
        if isinstance(node, ast.keyword | ast.withitem):
            inner = "value" if isinstance(node, ast.keyword) else "context_expr"
            yield from self.expression(getattr(node, inner), node, inner, None, name, inside, quiet)
            return
        if isinstance(node, ast.Constant):
            yield from self.constant(node, parent, field, index, name, quiet)
            return
        yield from self.own(node, parent, field, index, name, quiet)
        if isinstance(node, ast.Lambda):
            name, inside = name or "<lambda>", inside or node
        for generator in getattr(node, "generators", []):
            yield from self.generator(generator, name, inside, quiet)
        for inner, k, value in _children(node, NOT_PARTS | ({"values"} if isinstance(node, ast.JoinedStr) else set())):
            if not (k == 0 and inner == "args" and getattr(getattr(node, "func", None), "id", "") == "cast"):
                yield from self.expression(value, node, inner, k, name, inside, quiet)
        for part in node.values if isinstance(node, ast.JoinedStr) else []:
            if isinstance(part, ast.FormattedValue):
                yield from self.expression(part.value, part, "value", None, name, inside, quiet)

    def constant(self, node: Any, parent: Any, field: str, index: int | None, name: str, quiet: bool) -> Iterator[Site]:
        value, new = node.value, None
        if isinstance(value, bool):
            new = not value
        elif isinstance(value, int | float):
            new = value + 1
        elif isinstance(value, str) and not quiet and len(value.split()) <= WORDS:
            new = f"XX{value}XX"
        if new is not None:
            kind = "string" if isinstance(value, str) else "constant"
            change = _put(parent, field, ast.Constant(new), index)
            yield self.site(kind, node, f"{value!r} -> {new!r}", name, change)

    def own(self, node: Any, parent: Any, field: str, index: int | None, name: str, quiet: bool) -> Iterator[Site]:
        """Faults of an expression apart from those of its parts."""
        if isinstance(node, ast.Compare):
            for k, op in enumerate(node.ops):
                for new in COMPARISONS[type(op)]:
                    what = f"{type(op).__name__} -> {new.__name__}: {_text(node)}"
                    yield self.site("comparison", node, what, name, partial(node.ops.__setitem__, k, new()))
        elif isinstance(node, ast.BinOp):
            yield self.operation(node, name)
        elif isinstance(node, ast.BoolOp):
            other = ast.Or if isinstance(node.op, ast.And) else ast.And
            what = f"{type(node.op).__name__} -> {other.__name__}: {_text(node)}"
            yield self.site("and/or/not", node, what, name, partial(setattr, node, "op", other()))
        elif isinstance(node, ast.UnaryOp):
            word = "constant" if isinstance(node.operand, ast.Constant) else "and/or/not"
            change = _put(parent, field, node.operand, index)
            yield self.site(word, node, f"{type(node.op).__name__} dropped: {_text(node)}", name, change)
        elif isinstance(node, ast.IfExp):
            yield from self.negation(node, name)
        elif isinstance(node, ast.Call):
            yield from self.call(node, name, quiet)

    def call(self, node: ast.Call, name: str, quiet: bool) -> Iterator[Site]:
        for k, keyword in enumerate(node.keywords):
            if not quiet and keyword.arg != DEVICE:
                change = partial(node.keywords.__delitem__, k)
                yield self.site(
                    "keyword dropped", keyword.value, f"without {keyword.arg}=: {_text(node)}", name, change
                )
        field = "attr" if isinstance(node.func, ast.Attribute) else "id"
        old = getattr(node.func, field, "")
        if old in SWAPS:
            what, change = f"{old} -> {SWAPS[old]}: {_text(node)}", partial(setattr, node.func, field, SWAPS[old])
            yield self.site("function swapped", node, what, name, change)

    def generator(self, node: ast.comprehension, name: str, inside: Any, quiet: bool) -> Iterator[Site]:
        yield from self.expression(node.iter, node, "iter", None, name, inside, quiet)
        for k, condition in enumerate(node.ifs):
            yield from self.expression(condition, node, "ifs", k, name, inside, quiet)
            change = partial(node.ifs.__setitem__, k, ast.copy_location(ast.Constant(True), condition))
            yield self.site("condition dropped", condition, f"if dropped: {_text(condition)}", name, change)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _can_go(node: ast.stmt, inside: Any) -> bool:
    """Can a statement be left out? A call, `+=`, what sets an item or attribute, and names that were bound before."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign) and inside is not None:
        if any(isinstance(target, ast.Subscript | ast.Attribute) for target in node.targets):
            return True
        target = node.targets[0]
        return len(node.targets) == 1 and isinstance(target, ast.Name) and target.id in _bound(inside, node.lineno)
    return isinstance(node, ast.AugAssign)


def _bound(function: ast.AST, line: int) -> set[str]:
    """Names that a function binds before a line, its arguments included."""
    nodes = list(ast.walk(function))
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.lineno < line}
    return stored | {n.arg for n in nodes if isinstance(n, ast.arg)}
