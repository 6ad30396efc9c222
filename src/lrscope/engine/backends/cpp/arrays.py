"""The local arrays of generated code: they share memory where their lives do not overlap."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from lrscope.engine.backends.cpp.pointwise import literal
from lrscope.engine.backends.cpp.values import NotFusible, Placed, contiguous, ctype

LARGEST_LOCALS = 1 << 22  # ours, bytes: of an 8 MiB stack
LARGEST_ARENA = 1 << 25  # ours, bytes: beyond the stack, and beyond most caches
LONGEST = 400  # ours, pieces of code: compilers take minutes for a longer function
PART = 40  # ours, pieces of code of each function that a longer one is divided into
LONGEST_CONSTANT = 1 << 14  # ours, elements: such as a mask of 128 x 128 tokens
LINE = 64  # bytes of a cache line, and of the longest vector
SIZES = {"float": 4, "double": 8, "int64_t": 8, "int32_t": 4, "bool": 1}


@dataclass
class Body:
    """What computes a function's results from its inputs.

    text: the lines.
    parts: functions that they call.
    arena: bytes that they want under this name, from the beginning of a cache line on; 0 where the stack does.
    names: what local arrays are called.
    """

    text: str
    parts: str
    arena: int
    names: Mapping[str, str]

    def renamed(self, text: str) -> str:
        """Text with the arrays' names of `Arrays.new` replaced by those that they have now."""
        return re.sub(r"local\d+_", lambda m: self.names[m[0]], text)


@dataclass
class Arrays:
    """All local arrays, by name their type and number of elements; and the text of constants."""

    sizes: dict[str, tuple[str, int]] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)

    def constant(self, value: Tensor) -> Placed:
        """An array that is written into the code.

        Raises:
            NotFusible: it is too long.
        """
        if value.numel() > LONGEST_CONSTANT:
            raise NotFusible(f"a constant of {value.numel()} elements")
        kind, name = ctype(value.dtype), f"constant{len(self.constants)}"
        text = ", ".join(literal(one, kind) for one in value.reshape(-1).tolist())
        self.constants.append(f"static const {kind} {name}[] = {{{text}}};")
        return Placed(name, tuple(value.shape), kind, contiguous(value.shape))

    def new(self, shape: tuple[int, ...], kind: str, strides: tuple[int, ...]) -> Placed:
        """One more, with no gaps but those of its strides."""
        name = f"local{len(self.sizes)}_"
        self.sizes[name] = kind, 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        return Placed(name, shape, kind, strides)

    def body(self, pieces: Sequence[str], inputs: Mapping[str, str], outputs: Sequence[Placed]) -> Body:
        """Code that consists of `pieces`.

        Args:
            pieces: loops and calls, in order.
            inputs: the types of the arrays that are given, by name.
            outputs: what must be there at the end.

        Raises:
            NotFusible: the arrays are too large.
        """
        slots, chosen = self._shared(pieces, {output.name for output in outputs})
        places, total = [], 0
        for kind, size in slots:
            places.append(total)
            total += -(-size * SIZES[kind] // LINE) * LINE
        if total > LARGEST_ARENA:
            raise NotFusible(f"{total} bytes of intermediate values")
        arena = total if total > LARGEST_LOCALS else 0
        head = [
            f"{kind}* __restrict const slot{i} = reinterpret_cast<{kind}*>(arena + {place});"
            if arena
            else f"alignas({LINE}) {kind} slot{i}[{size}];"
            for i, ((kind, size), place) in enumerate(zip(slots, places, strict=True))
        ]
        body = Body("", "", arena, {name: f"slot{slot}" for name, slot in chosen.items()})
        text = [body.renamed(piece) for piece in pieces]
        if len(text) > LONGEST:
            text, body.parts = _divided(text, {f"slot{i}": kind for i, (kind, _) in enumerate(slots)}, inputs)
        body.parts = "\n".join([*self.constants, body.parts])
        body.text = "\n".join([*head, *text])
        return body

    def _shared(self, pieces: Sequence[str], kept: set[str]) -> tuple[list[tuple[str, int]], dict[str, int]]:
        """The type and size of each slot, and which slot an array has."""
        lives: dict[str, list[int]] = {}
        for at, piece in enumerate(pieces):
            for name in re.findall(r"local\d+_", piece):
                lives.setdefault(name, [at, at])[1] = at
        for name in kept & lives.keys():
            lives[name][1] = len(pieces)
        slots: list[tuple[str, int, int]] = []  # type, elements, last use
        chosen: dict[str, int] = {}
        for name, (first, last) in sorted(lives.items(), key=lambda item: item[1][0]):
            kind, size = self.sizes[name]
            free = [i for i, (k, _, end) in enumerate(slots) if k == kind and end < first]
            fits = min((i for i in free if slots[i][1] >= size), key=lambda i: slots[i][1], default=None)
            slot = fits if fits is not None else max(free, key=lambda i: slots[i][1], default=len(slots))
            if slot == len(slots):
                slots.append((kind, size, last))
            slots[slot] = kind, max(size, slots[slot][1]), last
            chosen[name] = slot
        return [(kind, size) for kind, size, _ in slots], chosen


def _divided(text: Sequence[str], slots: Mapping[str, str], inputs: Mapping[str, str]) -> tuple[list[str], str]:
    """Calls of functions that do what `text` does, and these functions."""
    calls, parts = [], []
    for number, begin in enumerate(range(0, len(text), PART)):
        body = "\n".join(text[begin : begin + PART])
        used = set(re.findall(r"[a-z]\w*", body))
        here, given = [n for n in slots if n in used], [n for n in inputs if n in used]
        arguments = [f"{slots[n]}* __restrict {n}" for n in here] + [f"const {inputs[n]}* {n}" for n in given]
        parts.append(f"SHARED void part{number}({', '.join(arguments)}) {{\n{body}\n}}")
        calls.append(f"part{number}({', '.join([*here, *given])});")
    return calls, "\n".join(parts)
