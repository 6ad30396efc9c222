"""Reading and writing at places that data name: rows of tables, entries of rows.

V rows of a table, D entries of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from lrscope.engine.backends.cpp.images import Maker
from lrscope.engine.backends.cpp.pointwise import literal
from lrscope.engine.backends.cpp.values import Formula, Index, NotFusible, Placed, Value

aten = torch.ops.aten


def gather(make: Maker, args: Sequence[Any]) -> Formula:
    """aten.gather(values, dim, places)."""
    value, dim, where = args[0], args[1], args[2]
    dim = dim % len(value.shape)

    def at(index: Index) -> str:
        found = f"inside({where.at(index)}, {value.shape[dim]})"
        return str(value.at([found if d == dim else i for d, i in enumerate(index)]))

    return Formula(where.shape, value.ctype, at)


def scatter(make: Maker, args: Sequence[Any]) -> Placed:
    """aten.scatter(values, dim, places, number): one element a row."""
    value, dim, where, new = args
    dim = dim % len(value.shape)
    if any((w != 1) if d == dim else (w != n) for d, (w, n) in enumerate(zip(where.shape, value.shape, strict=True))):
        raise NotFusible("scatter of several elements a row")

    def at(index: Index) -> str:
        row = where.at(["0" if d == dim else i for d, i in enumerate(index)])
        return f"chosen({index[dim]} == {row}, {literal(new, value.ctype)}, {value.at(index)})"

    return make.place(Formula(value.shape, value.ctype, at))


def select_scatter(make: Maker, args: Sequence[Any]) -> Placed:
    """aten.select_scatter(values, new, dim, place): the values with `new` in one place of an axis."""
    value, new, dim, place = args
    dim, place = dim % len(value.shape), place % value.shape[dim]

    def at(index: Index) -> str:
        rest = [i for d, i in enumerate(index) if d != dim]
        return f"chosen({index[dim]} == {place}, {new.at(rest)}, {value.at(index)})"

    return make.place(Formula(value.shape, value.ctype, at))


def embedding(make: Maker, args: Sequence[Any]) -> Placed:
    """aten.embedding(table [V, D], places): rows of the table."""
    table, where = make.place(args[0]), make.place(args[1])
    rows, width = table.shape

    def at(index: Index) -> str:
        return table.at([f"inside({where.at(index[:-1])}, {rows})", index[-1]])

    return make.place(Formula((*where.shape, width), table.ctype, at))


def embedding_backward(make: Maker, args: Sequence[Any]) -> Placed:
    """aten.embedding_dense_backward(gradient, places, V, the row that gets none, whether rows are divided by how often they are
    read)."""
    gradient, where = make.place(args[0]), make.place(args[1])
    rows, padding, by_frequency = args[2:5]
    if by_frequency:
        raise NotFusible("gradients of an embedding by frequency")
    table = make.array((rows, gradient.shape[-1]), gradient.ctype)
    make.loops(table.shape, lambda index: f"{table.at(index)} = {table.ctype}(0);")

    def add(index: Index) -> str:
        place = where.at(index)
        to, of = table.at([f"inside({place}, {rows})", "j"]), gradient.at([*index, "j"])
        return f"if ({place} != {padding}) for (int j = 0; j < {gradient.shape[-1]}; ++j) {to} = {to} + {of};"

    make.loops(where.shape, add, hint="GCC unroll 1")  # the next may add to the same row
    return table


ROWS: dict[Any, Callable[[Any, Sequence[Any]], Value]] = {
    aten.gather.default: gather,
    aten.scatter.value: scatter,
    aten.select_scatter.default: select_scatter,
    aten.embedding.default: embedding,
    aten.embedding_dense_backward.default: embedding_backward,
}
