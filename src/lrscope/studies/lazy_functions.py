"""Functions that are imported when they are called: declaring a study imports no PyTorch."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from lrscope.errors import LrscopeError, nearest


@dataclass(frozen=True)
class Lazy:
    """A function by where it is, with keyword arguments to call it with."""

    module: str
    name: str
    arguments: tuple[tuple[str, Any], ...] = ()

    def __call__(self, *values: Any) -> Any:
        """Import the module and call the function.

        Raises:
            LrscopeError: the module has no function of that name.
        """
        module = importlib.import_module(self.module)
        if not hasattr(module, self.name):
            raise LrscopeError(f"lazy: {self.module} has no {self.name!r}: {nearest(self.name, vars(module))}")
        return getattr(module, self.name)(*values, **dict(self.arguments))


def lazy(where: str, **arguments: Any) -> Lazy:
    """`lazy("my_study.measurement_functions:losses", name="sphere")`: that function, with `name` given."""
    module, _, name = where.partition(":")
    return Lazy(module, name, tuple(sorted(arguments.items())))
