"""What is written from the options: the keywords that editors complete, and the tables in docs/usage.md.

`make options` writes both anew after an option was added or changed; a test compares them with the options.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from lrscope.config.branches import Branches
from lrscope.config.engine import EngineConfig
from lrscope.config.option import Option, options
from lrscope.config.schedule import Course
from lrscope.config.settings import OPTIONS
from lrscope.config.sweep import SweepConfig
from lrscope.readers import Flag, Increasing, Number, Pair, Rates, Reader, Real, Whole, Word
from lrscope.storage.files import write_whole

WIDTH = 120
BEGIN, END = "<!-- options: written by `make options` -->", "<!-- options end -->"
KEYWORDS = '''"""The options of `sweep` as editors complete them. Written by `make options` from the configs: do not edit.

Types are what may be passed; the configs hold what it is read as. NumPy's, PyTorch's and pandas' numbers and arrays, and
text as the command line writes it, are read too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lrscope.config.branches import Branch

    Real = float | np.floating | np.integer
    Whole = int | np.integer
    Reals = float | str | Sequence[float] | np.ndarray | Tensor
    Wholes = int | str | Sequence[int] | np.ndarray | Tensor


class SweepOptions(TypedDict, total=False):
    """Fields of `SweepConfig` but `lrs`, then of `EngineConfig`."""

'''


def keywords(*kinds: type) -> str:
    """The source of `lrscope.config.keywords` for the options of these configs."""
    return KEYWORDS + "".join(_keyword(o) for kind in kinds for o in options(kind).values() if o.name != "lrs")


def _keyword(option: Option) -> str:
    typed = f"    {option.name}: {passed_type(option)}\n"
    if len(option.help) + 10 <= WIDTH:
        return f'{typed}    """{option.help}"""\n'
    lines = textwrap.wrap(option.help, WIDTH - 4, initial_indent='"""', break_on_hyphens=False)
    return typed + textwrap.indent("\n".join(lines) + '\n"""\n', "    ")


def passed_type(option: Option) -> str:
    """The type of what a caller may pass, as the keywords write it.

    Raises:
        TypeError: the reader is of a kind that none is known for.
    """
    return _passed(option.reader) + (" | None" if option.optional else "")


def _passed(reader: Reader) -> str:
    match reader:
        case Flag():
            return "bool"
        case Whole():
            return "Whole"
        case Number() | Real():
            return "Real"
        case Word(choices=()):
            return "str"
        case Course():
            return "str | Callable[[int, int], float]"
        case Word(choices=choices):
            quoted = ", ".join(f'"{choice}"' for choice in choices)
            return f"Literal[{quoted}]"
        case Rates() | Increasing(item=Number()):
            return "Reals"
        case Increasing():
            return "Wholes"
        case Pair(first=Whole()):
            return "tuple[int, int] | Sequence[int] | str"
        case Pair():
            return "tuple[float, float] | Sequence[float] | str"
        case Branches():
            return "Branch | str | Sequence[Branch | Mapping[str, Any]]"
    raise TypeError(f"{type(reader).__name__}: say in passed_type what a caller may pass to it")


def tables(known: Mapping[str, Option]) -> str:
    """The options as Markdown, a table for each heading."""
    panels: dict[str, list[Option]] = {}
    for option in known.values():
        panels.setdefault(option.panel, []).append(option)
    return "\n\n".join(
        "\n".join(
            [f"**{panel}**", "", "| option | what it is | takes | default |", "|---|---|---|---|", *map(_row, here)]
        )
        for panel, here in panels.items()
    )


def _row(option: Option) -> str:
    origin = f" ({option.origin})" if option.origin else ""
    cells = f"`{option.name}`", option.text, option.reader.takes(), f"{option.shown_default}{origin}".strip()
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def with_tables(page: str, known: Mapping[str, Option]) -> str:
    """The page with its tables of options written anew between the two marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables(known)}\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Write the keywords and the tables into the checkout whose root is the first argument, or the current folder."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    usage = root / "docs" / "usage.md"
    write_whole(usage, with_tables(usage.read_text(encoding="utf-8"), OPTIONS).encode())
    source = root / "src" / "lrscope" / "config" / "keywords.py"
    write_whole(source, keywords(SweepConfig, EngineConfig).encode())


if __name__ == "__main__":
    main()
