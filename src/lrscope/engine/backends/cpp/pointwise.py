"""Element-wise operations of PyTorch as C++ expressions. Operands come as text, converted to the result's type."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from lrscope.engine.backends.cpp.values import Formula

aten = torch.ops.aten
prims = torch.ops.prims


def literal(value: Any, kind: str) -> str:
    """A Python number as a constant of a C++ type."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{kind}({'NAN' if math.isnan(value) else 'INFINITY' if value > 0 else '-INFINITY'})"
    return f"{kind}({value!r})" if not isinstance(value, bool) else f"{kind}({int(value)})"


def _power(x: str, exponent: str) -> str:
    number = float(exponent[exponent.index("(") + 1 : -1])
    return f"square({x})" if number == 2 else f"std::pow({x}, {exponent})"


def _binary(word: str) -> Callable[..., str]:
    return lambda a, b: f"({a} {word} {b})"


def _function(name: str) -> Callable[..., str]:
    return lambda *args: f"{name}({', '.join(args)})"


POINTWISE: dict[Any, Callable[..., str]] = {
    aten.add.Tensor: _binary("+"),
    aten.add.Scalar: _binary("+"),
    aten.sub.Tensor: _binary("-"),
    aten.sub.Scalar: _binary("-"),
    aten.rsub.Scalar: lambda a, b: f"({b} - {a})",
    aten.mul.Tensor: _binary("*"),
    aten.mul.Scalar: _binary("*"),
    aten.div.Tensor: _binary("/"),
    aten.div.Scalar: _binary("/"),
    aten.bitwise_and.Tensor: _binary("&"),
    aten.bitwise_and.Scalar: _binary("&"),
    aten.bitwise_or.Tensor: _binary("|"),
    aten.bitwise_xor.Tensor: _binary("^"),
    aten.bitwise_xor.Scalar: _binary("^"),
    aten.bitwise_right_shift.Tensor_Scalar: _binary(">>"),
    aten.__rshift__.Scalar: _binary(">>"),
    aten.logical_and.default: _binary("&&"),
    aten.logical_or.default: _binary("||"),
    aten.logical_not.default: lambda a: f"!{a}",
    aten.bitwise_not.default: lambda a: f"!{a}",  # of choices: others are refused
    aten.neg.default: lambda a: f"(-{a})",
    aten.abs.default: _function("std::abs"),
    aten.exp.default: _function("exp_of"),
    aten.log.default: _function("log_of"),
    aten.log1p.default: _function("log1p_of"),
    aten.expm1.default: _function("std::expm1"),
    aten.sqrt.default: _function("std::sqrt"),
    aten.rsqrt.default: lambda a: f"(1 / std::sqrt({a}))",
    aten.reciprocal.default: lambda a: f"(1 / {a})",
    aten.sigmoid.default: _function("sigmoid"),
    aten.tanh.default: _function("std::tanh"),
    aten.erf.default: _function("std::erf"),
    aten.sin.default: _function("std::sin"),
    aten.cos.default: _function("std::cos"),
    aten.relu.default: _function("relu"),
    aten.minimum.default: _function("smaller"),
    aten.maximum.default: _function("larger"),
    aten.clamp_max.default: _function("smaller"),
    aten.clamp_min.default: _function("larger"),
    aten.clamp.default: lambda a, low, high: f"smaller(larger({a}, {low}), {high})",
    aten.pow.Tensor_Scalar: _power,
    aten.where.self: _function("chosen"),
    aten.clone.default: lambda a: a,
    prims.convert_element_type.default: lambda a: a,
}

WHOLE = ("int32_t", "int64_t")
# Of whole numbers: modulo 2^32 or 2^64 as PyTorch has it, where C++ leaves open what comes.
WRAPPING: dict[Any, str] = {
    aten.add.Tensor: "+",
    aten.add.Scalar: "+",
    aten.sub.Tensor: "-",
    aten.sub.Scalar: "-",
    aten.mul.Tensor: "*",
    aten.mul.Scalar: "*",
}

COMPARISONS: dict[Any, Callable[..., str]] = {
    target: _binary(word)
    for word, targets in {
        ">": (aten.gt.Scalar, aten.gt.Tensor),
        ">=": (aten.ge.Scalar, aten.ge.Tensor),
        "<": (aten.lt.Scalar, aten.lt.Tensor),
        "<=": (aten.le.Scalar, aten.le.Tensor),
        "==": (aten.eq.Scalar, aten.eq.Tensor),
        "!=": (aten.ne.Scalar, aten.ne.Tensor),
    }.items()
    for target in targets
}


def writer(target: Any, kind: str) -> Callable[..., str]:
    """What writes an operation of the tables as an expression of a type."""
    if kind in WHOLE and target in WRAPPING:
        return lambda a, b: f"(u{kind}({a}) {WRAPPING[target]} u{kind}({b}))"
    return COMPARISONS[target] if target in COMPARISONS else POINTWISE[target]


def _filled(args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...], kind: str) -> Formula:
    return Formula(shape, kind, lambda _: literal(args[-1], kind), constant=True)


def _counted(args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...], kind: str) -> Formula:
    return Formula(shape, kind, lambda index: f"{kind}({kwargs['start']} + {kwargs['step']} * {index[0]})")


MADE: dict[Any, Callable[..., Formula]] = {  # of no input
    aten.full.default: _filled,
    aten.scalar_tensor.default: _filled,
    prims.iota.default: _counted,
}
