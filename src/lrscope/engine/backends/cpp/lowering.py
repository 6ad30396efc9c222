"""From a traced graph of one run's training step to a C++ function body.

Views cost nothing; an element-wise operation that is read once, by a loop over as many elements, is written into that
loop; everything else is computed into a local array.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

from lrscope.engine.backends.cpp.arrays import Arrays
from lrscope.engine.backends.cpp.images import IMAGES
from lrscope.engine.backends.cpp.pointwise import COMPARISONS, MADE, POINTWISE, literal, writer
from lrscope.engine.backends.cpp.rows import ROWS
from lrscope.engine.backends.cpp.values import (
    Formula,
    Index,
    NotFusible,
    Placed,
    Value,
    broadcast,
    contiguous,
    ctype,
    lies_as,
    nesting,
    seen_as,
    strides_of,
)

aten = torch.ops.aten
LARGEST_MATRIX = (
    1 << 18
)  # ours, elements: beyond 1 MiB a library's blocking wins (measured with AVX2: 512 x 512 takes half)
SEVERAL_SUMS = 128  # ours, elements: longer sums wait for their one register, so they get several
REDUCTIONS = (aten.sum.dim_IntList, aten.sum.default, aten.mean.default, aten.mean.dim, aten.amax.default)
ONE_PASS = (*REDUCTIONS, aten.cat.default)


class Lowering:
    """Walks a graph once: `inputs` are the placeholders' values; afterwards `lines` compute `outputs`, in `arrays`."""

    def __init__(self, graph: GraphModule, inputs: Sequence[Value]) -> None:
        self.lines: list[str] = []
        self.outputs: tuple[Placed, ...] = ()
        self.arrays = Arrays()
        self._images = any(node.target in IMAGES for node in graph.graph.nodes)
        self._values: dict[Node, Any] = {}
        self._given = iter(inputs)
        for node in graph.graph.nodes:
            self._visit(node, graph)

    def _visit(self, node: Node, graph: GraphModule) -> None:
        if node.op == "placeholder":
            self._values[node] = next(self._given)
        elif node.op == "get_attr":
            self._values[node] = self.arrays.constant(getattr(graph, str(node.target)))
        elif node.op == "output":
            self.outputs = tuple(self.place(self._value(a)) for a in node.args[0])  # type: ignore[union-attr]
        elif node.op == "call_function":
            self._values[node] = self._call(node)
        else:
            raise NotFusible(f"a graph's {node.op}")

    def _value(self, argument: Any) -> Any:
        return self._values[argument] if isinstance(argument, Node) else argument

    def _call(self, node: Node) -> Any:
        target, kwargs = node.target, node.kwargs
        args: list[Any] = [
            [self._value(x) for x in a] if isinstance(a, list | tuple) else self._value(a) for a in node.args
        ]
        if target is operator.getitem:
            return args[0][args[1]]
        if target is aten.bitwise_not.default and node.meta["val"].dtype != torch.bool:
            raise NotFusible("the bits of integers")
        if target in POINTWISE or target in COMPARISONS:
            return self._kept(node, self._pointwise(node, args, kwargs))
        shape = _shape(node)
        if target in VIEWS:
            return self._view(target, args, shape)
        if target is aten.unbind.int:
            return self._unbound(args[0], args[1] if len(args) > 1 else 0)
        if target in MADE:
            return MADE[target](args, kwargs, shape, ctype(node.meta["val"].dtype))
        if target in REDUCTIONS:
            return self._reduction(target, args, kwargs, shape, ctype(node.meta["val"].dtype))
        if target is aten.var_mean.correction:
            return self._var_mean(args, kwargs)
        if target is aten.var.correction:
            return self._var_mean(args, kwargs)[0]
        if target is aten.argmax.default:
            return self._argmax(args, shape)
        if target is aten.cat.default:
            return self._cat(args[0], args[1] if len(args) > 1 else 0, shape)
        if target is aten.mm.default:
            return self._product(args[0], args[1])
        if target is aten.bmm.default:
            return self._products(args[0], args[1])
        if target in ROWS:
            return ROWS[target](self, args)
        if target is aten.addmm.default and not kwargs:
            bias, product = args[0], self._product(args[1], args[2])
            return self._kept(node, self._formula(shape, product.ctype, lambda x, y: f"({x} + {y})", bias, product))
        if target in IMAGES:
            return IMAGES[target](self, args)
        raise NotFusible(f"the operation {target}")

    # -- element by element ------------------------------------------------------------------------------------------

    def _pointwise(self, node: Node, args: list[Any], kwargs: dict[str, Any]) -> Formula:
        kind = ctype(node.meta["val"].dtype)
        if kwargs.get("alpha", 1) != 1:
            raise NotFusible("add and sub with alpha")
        write = writer(node.target, kind)
        if node.target is torch.ops.prims.convert_element_type.default:
            args = args[:1]
        inside = kind
        if node.target in COMPARISONS:
            inside = ctype(_compared(node))
        of = [a for a in args if isinstance(a, Placed | Formula)]

        def at(index: Index) -> str:
            words = []
            for a in args:
                if not isinstance(a, Placed | Formula):
                    words.append(literal(a, inside))
                    continue
                text = broadcast(a, index)
                first_of_where = node.target is aten.where.self and not words
                words.append(text if a.ctype == inside or first_of_where else f"{inside}({text})")
            text = write(*words)
            return text if node.target in COMPARISONS else f"{kind}({text})"

        return Formula(_shape(node), kind, at, constant=all(isinstance(a, Formula) and a.constant for a in of))

    def _formula(self, shape: tuple[int, ...], kind: str, write: Callable[..., str], *values: Value) -> Formula:
        return Formula(shape, kind, lambda index: write(*(broadcast(v, index) for v in values)))

    def _kept(self, node: Node, formula: Formula) -> Value:
        """The formula itself if it is read once, by a loop over as many elements; otherwise an array."""
        users = list(node.users)
        if formula.constant:
            return formula
        if len(users) == 1 and list(_flat(users[0].args)).count(node) == 1:
            user = users[0]
            domain = _shape(user) if user.target in POINTWISE or user.target in COMPARISONS else ()
            if user.target in ONE_PASS or (domain and math.prod(domain) == math.prod(formula.shape)):
                return formula
        return self.place(formula)

    def place(self, value: Value) -> Placed:
        """The value in memory."""
        if isinstance(value, Placed):
            return value
        to = self.array(value.shape, value.ctype)
        self.loops(value.shape, lambda index: f"{to.at(index)} = {value.at(index)};")
        return to

    def array(self, shape: tuple[int, ...], kind: str, strides: tuple[int, ...] | None = None) -> Placed:
        """A new local array; images have the channels of a pixel side by side, unless `strides` says otherwise."""
        return self.arrays.new(shape, kind, strides_of(shape, self._nesting(shape)) if strides is None else strides)

    def _nesting(self, shape: Sequence[int]) -> tuple[int, ...]:
        return nesting(len(shape), images=self._images)

    def dense(self, value: Value) -> Placed:
        """The value in memory as `array` lays it out."""
        placed, wanted = self.place(value), strides_of(value.shape, self._nesting(value.shape))
        return placed if lies_as(placed, wanted) else self._copied(placed, wanted)

    def plus(self, one: Placed, other: Value) -> Placed:
        """The sum of an array and what is broadcast to it."""
        return self.place(self._formula(one.shape, one.ctype, lambda x, y: f"({x} + {y})", one, other))

    def summed(self, value: Value, dims: Sequence[int]) -> Placed:
        """The sum over some axes, which go."""
        shape = tuple(n for d, n in enumerate(value.shape) if d not in dims)
        return seen_as(self._fold(value, dims, "+", value.ctype), shape)

    def _copied(self, value: Placed, strides: tuple[int, ...]) -> Placed:
        to = self.array(value.shape, value.ctype, strides)
        self.loops(value.shape, lambda index: f"{to.at(index)} = {value.at(index)};")
        return to

    def loops(self, shape: Sequence[int], body: Callable[[Index], str], *, hint: str = "GCC ivdep") -> None:
        """A line for each index of a shape; without dependence between them, unless the hint says otherwise."""
        self.lines.append(_loops(shape, body, "i", self._nesting(shape), hint))

    # -- views -------------------------------------------------------------------------------------------------------

    def _view(self, target: Any, args: list[Any], shape: tuple[int, ...]) -> Value:
        value: Value = args[0]
        if isinstance(value, Formula) and value.constant:
            return Formula(shape, value.ctype, value.at, constant=True)
        placed = self.place(value)
        if target is aten.alias.default:
            return placed
        sample = torch.empty_strided(placed.shape, placed.strides, device="meta")
        if target in (aten.view.default, aten.reshape.default, aten._unsafe_view.default):
            try:
                return seen_as(placed, shape)
            except RuntimeError:
                return seen_as(self._copied(placed, contiguous(placed.shape)), shape)
        viewed = target(sample, *args[1:])
        offset = placed.offset + viewed.storage_offset()
        return Placed(placed.name, tuple(viewed.shape), placed.ctype, tuple(viewed.stride()), offset)

    def _unbound(self, value: Value, dim: int) -> list[Value]:
        dim = dim % len(value.shape)
        shape = tuple(n for d, n in enumerate(value.shape) if d != dim)
        return [self._view(aten.select.int, [value, dim, place], shape) for place in range(value.shape[dim])]

    # -- over several elements ---------------------------------------------------------------------------------------

    def _reduction(
        self, target: Any, args: list[Any], kwargs: dict[str, Any], shape: tuple[int, ...], kind: str
    ) -> Value:
        value: Value = args[0]
        if kwargs:
            raise NotFusible(f"{target} with {', '.join(kwargs)}")
        dims = args[1] if len(args) > 1 and args[1] else range(len(value.shape))
        dims = [d % len(value.shape) for d in dims] if value.shape else []
        if target is aten.amax.default:
            reduced = self._fold(value, dims, "larger", kind)
        else:
            reduced = self._fold(value, dims, "+", kind)
            if target in (aten.mean.default, aten.mean.dim):
                reduced = self._scaled(reduced, math.prod(value.shape[d] for d in dims))
        return seen_as(reduced, shape)

    def _fold(self, value: Value, dims: Sequence[int], word: str, kind: str) -> Placed:
        """Reduce `dims`, which stay with size 1, by + or the function `larger`, in the type `kind`."""
        order = self._nesting(value.shape)
        long = [d for d in order if value.shape[d] > 1]
        if (
            word == "+"
            and self._images
            and len(value.shape) == 4
            and {0, 2, 3} <= set(dims)
            and long
            and long[-1] not in dims
        ):
            value = self._fold(
                value, (2, 3), word, kind
            )  # image by image: a sum over all pixels at once would lose digits
        to = self.array(tuple(1 if d in dims else n for d, n in enumerate(value.shape)), kind)
        begin = f"{kind}({'0' if word == '+' else '-INFINITY'})"

        def folded(a: str, b: str) -> str:
            b = b if value.ctype == kind else f"{kind}({b})"
            return f"{a} + {b}" if word == "+" else f"{word}({a}, {b})"

        if long and long[-1] in dims:  # along the rows: sum in a register
            outer = [1 if d in dims else n for d, n in enumerate(value.shape)]
            inner = [n if d in dims else 1 for d, n in enumerate(value.shape)]

            def row(index: Index) -> str:
                def add(deep: Index) -> str:
                    both = [j if d in dims else i for d, (i, j) in enumerate(zip(index, deep, strict=True))]
                    return f"sum = {folded('sum', value.at(both))};"

                several = " simdlen(32)" if inner[order[-1]] >= SEVERAL_SUMS else ""
                hint = f"omp simd reduction(+:sum){several}" if word == "+" else "GCC ivdep"
                return f"{{ {kind} sum = {begin};\n{_loops(inner, add, 'j', order, hint)}\n{to.at(index)} = sum; }}"

            self.loops(outer, row)
        else:  # across the rows: a vector of sums
            self.loops(to.shape, lambda index: f"{to.at(index)} = {begin};")

            def add(index: Index) -> str:
                there = to.at(["0" if d in dims else i for d, i in enumerate(index)])
                return f"{there} = {folded(there, value.at(index))};"

            self.loops(value.shape, add)
        return to

    def _scaled(self, value: Value, divisor: float) -> Placed:
        kind = value.ctype
        return self.place(self._formula(value.shape, kind, lambda x: f"{x} / {literal(divisor, kind)}", value))

    def _var_mean(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[Placed, Placed]:
        value = self.place(args[0])
        dims = [d % len(value.shape) for d in (args[1] if len(args) > 1 and args[1] else range(len(value.shape)))]
        count = math.prod(value.shape[d] for d in dims)
        mean = self._scaled(self._fold(value, dims, "+", value.ctype), count)
        far = self._formula(value.shape, value.ctype, lambda x, m: f"square({x} - {m})", value, mean)
        correction = kwargs.get("correction")
        var = self._scaled(self._fold(far, dims, "+", value.ctype), count - (1 if correction is None else correction))
        if kwargs.get("keepdim"):
            return var, mean
        shape = tuple(n for d, n in enumerate(value.shape) if d not in dims)
        return seen_as(var, shape), seen_as(mean, shape)

    def _argmax(self, args: list[Any], shape: tuple[int, ...]) -> Placed:
        value: Value = args[0]
        if len(args) < 2 or args[1] is None:
            raise NotFusible("argmax over everything")
        dim = args[1] % len(value.shape)
        to = self.array(tuple(1 if d == dim else n for d, n in enumerate(value.shape)), "int64_t")

        def row(index: Index) -> str:
            def at(j: str) -> str:
                return value.at([j if d == dim else i for d, i in enumerate(index)])

            return (
                f"{{ int64_t best = 0; {value.ctype} most = {at('0')};\n"
                f"for (int j = 1; j < {value.shape[dim]}; ++j)\n"
                f"if ({at('j')} > most || ({at('j')} != {at('j')} && most == most)) {{ best = j; most = {at('j')}; }}\n"
                f"{to.at(index)} = best; }}"
            )

        self.loops(to.shape, row)
        return seen_as(to, shape)

    def _cat(self, values: list[Value], dim: int, shape: tuple[int, ...]) -> Placed:
        to, begin = self.array(shape, values[0].ctype), 0
        dim = dim % len(shape)
        for value in values:
            part = Placed(to.name, value.shape, to.ctype, to.strides, begin * to.strides[dim])
            self.loops(value.shape, lambda index, p=part, v=value: f"{p.at(index)} = {v.at(index)};")  # type: ignore[misc]
            begin += value.shape[dim]
        return to

    def _product(self, a: Value, b: Value) -> Placed:
        one = self._products(*(_in_a_row(self.place(x)) for x in (a, b)))
        return Placed(one.name, one.shape[1:], one.ctype, one.strides[1:], one.offset)

    def _products(self, a: Value, b: Value) -> Placed:
        """Of two rows of matrices, one by one."""
        (count, m, k), n = a.shape, b.shape[2]
        if max(m * k, k * n, m * n) > LARGEST_MATRIX:
            raise NotFusible(f"a product of matrices [{m}, {k}] and [{k}, {n}]")
        a, b = self.place(a), self.place(b)
        to = self.array((count, m, n), a.ctype)
        sizes = ", ".join(map(str, (m, k, n, *a.strides[1:], *b.strides[1:])))
        starts = (x.start if count == 1 else f"{x.start} + i * {x.strides[0]}" for x in (a, b, to))
        head = "" if count == 1 else f"for (int i = 0; i < {count}; ++i) "
        self.lines.append(f"{head}product<{a.ctype}, {sizes}>({', '.join(starts)});")
        return to


VIEWS = (
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
    aten.permute.default,
    aten.transpose.int,
    aten.t.default,
    aten.expand.default,
    aten.slice.Tensor,
    aten.select.int,
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.alias.default,
    aten.detach.default,
)


def _in_a_row(matrix: Placed) -> Placed:
    return Placed(matrix.name, (1, *matrix.shape), matrix.ctype, (0, *matrix.strides), matrix.offset)


def _shape(node: Node) -> tuple[int, ...]:
    value = node.meta["val"]
    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()


def _flat(args: Any) -> list[Any]:
    return [x for a in args for x in (_flat(a) if isinstance(a, list | tuple) else [a])]


def _compared(node: Node) -> torch.dtype:
    values = [a.meta["val"] if isinstance(a, Node) else a for a in node.args[:2]]
    return torch.result_type(*values)  # type: ignore[arg-type]


def _loops(
    shape: Sequence[int],
    body: Callable[[Index], str],
    prefix: str,
    order: Sequence[int],
    hint: str,
) -> str:
    """Nested loops over `shape` in an order of its axes, without those of size 1, around the line that `body` writes for an
    index."""
    index = ["0" if n == 1 else f"{prefix}{d}" for d, n in enumerate(shape)]
    heads = [f"for (int {index[d]} = 0; {index[d]} < {shape[d]}; ++{index[d]})" for d in order if shape[d] != 1]
    if heads:
        heads.insert(len(heads) - 1, f"#pragma {hint}")
    return "\n".join([*heads, body(index)])
