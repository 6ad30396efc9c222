"""What code a measurement is computed by: a hash of its function and of all that the function uses inside its study.

Followed are names of the study's own package and of what all studies share (`lrscope.studies`), through imports, from
definition to definition. The text is read, never run. Comments, docstrings, annotations and formatting do not count; nor
does what lies outside, such as PyTorch, NumPy or the rest of lrscope. A function that no module defines at its top level
(a lambda, one made by another function, or typed in) counts by its byte code and by what it holds (`held_values`).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

from lrscope.config import digest
from lrscope.errors import LrscopeError
from lrscope.studies.lazy_functions import Lazy
from lrscope.studies.source_text import Place, module_of

SHARED = "lrscope.studies"
EVERYTHING = "*"  # as the name in a place: all that the module defines


def source_hash(function: Callable[..., Any]) -> str:
    """The hash of a function's code; that of a `partial` or `Lazy` is the code beneath, without its arguments.

    Raises:
        LrscopeError: the code of a `Lazy` cannot be read.
    """
    while isinstance(function, functools.partial):
        function = function.func
    place, packages = place_of(function), followed(function)
    if place is None:
        from lrscope.studies.held_values import held_digest

        return held_digest(function, packages)
    return digest(_texts([place], packages))


def is_there(function: Lazy) -> bool:
    """Is a function of that name defined there, or imported by name from where it is? Nothing is imported but packages."""
    return _definition((function.module, function.name)) is not None


def followed(function: Any) -> frozenset[str]:
    """The packages whose code counts: what studies share, and, if it lies outside lrscope, the function's own."""
    while isinstance(function, functools.partial):
        function = function.func
    lazy = isinstance(function, Lazy)
    home = function.module if lazy else getattr(function, "__module__", None)
    modules = [home or "", *((_definition((function.module, function.name)) or ("",))[:1] if lazy else ())]
    return frozenset({SHARED, *(module.partition(".")[0] for module in modules)} - {"", "lrscope", "builtins"})


def place_of(value: Any) -> Place | None:
    """Where a function or class is defined at the top level of a module, so that its text can be read; None if it is not.

    Raises:
        LrscopeError: a `Lazy` whose definition is not there.
    """
    if isinstance(value, Lazy):
        found = _definition((value.module, value.name))
        if found is None:
            raise LrscopeError(
                f"measurement function {value.module}:{value.name}: its code cannot be read: define it at the top level "
                "of a .py file, or import it there by its name"
            )
        return found
    if not isinstance(value, FunctionType | type):
        return None
    module, name = value.__module__ or "", value.__qualname__
    here = getattr(sys.modules.get(module), name, None) is value
    return (module, name) if here and name in module_of(module).definitions else None


def texts_around(function: FunctionType, packages: frozenset[str]) -> list[Any] | None:
    """The texts that a lambda, closure or method may use: those of the definition that it lies in, or, where that has no name
    (a lambda among the arguments of a call), those behind the names in its code. None if its module has no text."""
    module = module_of(function.__module__ or "")
    if not module.definitions or not within(module.name, packages):
        return None
    outer = function.__qualname__.partition(".")[0]
    if outer in module.definitions:
        return _texts([(module.name, outer)], packages)
    names = sorted({name for code in _nested(function.__code__) for name in code.co_names})
    found = {(module.name, name) for name in names}
    waiting = [place for name in names for place in module.imports.get(name, ())]
    while waiting:
        package, name = waiting.pop()
        if _is_module(package, name, packages):
            inside = {(f"{package}.{name}".strip("."), each) for each in names}
            waiting += inside - found
            found |= inside
    return _texts(found, packages)


def within(module: str, packages: frozenset[str]) -> bool:
    """Does a module lie in one of the packages?"""
    return any(f"{module}.".startswith(f"{root}.") for root in packages)


def _texts(start: Iterable[Place], packages: frozenset[str]) -> list[Any]:
    return [(place, module_of(place[0]).text(place[1])) for place in sorted(_used(list(start), packages))]


def _definition(place: Place) -> Place | None:
    """Where a name that a module has is defined: there, or behind imports by name."""
    waiting: list[Place] = [place]
    seen: set[Place] = set()
    while waiting:
        place = waiting.pop()
        if place not in seen:
            seen.add(place)
            module = module_of(place[0])
            if place[1] in module.definitions:
                return place
            waiting += sorted(module.handed_on(place[1]))
    return None


def _used(start: list[Place], packages: frozenset[str]) -> set[Place]:
    """The places themselves, and all that they use directly or through others."""
    found: set[Place] = set()
    seen: set[Place] = set()
    waiting = list(start)
    while waiting:
        place = waiting.pop()
        if place in seen or not (place in start or within(place[0], packages)):
            continue
        seen.add(place)
        module, name = module_of(place[0]), place[1]
        if name == EVERYTHING:
            waiting += [(module.name, each) for each in (*module.definitions, *module.imports)]
            waiting += [(star, EVERYTHING) for star in module.stars]
        if name in module.definitions:
            found.add(place)
            for package, chain in module.uses(name):
                waiting += _along(package, chain, packages, frozenset())
        for package, imported in module.handed_on(name):
            waiting += _along(package, [imported], packages, frozenset())
    return found


def _along(package: str, chain: list[str], packages: frozenset[str], passed: frozenset[Place]) -> Iterator[Place]:
    """The places that `package.a.b.c` may mean. Modules are passed through; where one ends it, all that it defines may be
    used. `passed`: names already followed, because imports may go round."""
    place, rest = (package, chain[0]), chain[1:]
    inner = f"{package}.{chain[0]}".strip(".")
    is_module = _is_module(*place, packages)
    if is_module:
        yield from _along(inner, rest, packages, passed) if rest else [(inner, EVERYTHING)]
    if not package or place in passed or not within(package, packages):
        return
    module = module_of(package)
    behind = module.handed_on(chain[0]) - {place}
    if chain[0] in module.definitions or (behind and not rest):
        yield place
    for origin, name in behind if rest else ():
        yield from _along(origin, [name, *rest], packages, passed | {place})


def _is_module(package: str, name: str, packages: frozenset[str]) -> bool:
    """Packages above are passed through on the way to the modules that count."""
    inner = f"{package}.{name}".strip(".")
    if any(root.startswith(f"{inner}.") for root in packages):
        return True
    return within(inner, packages) and (not package or module_of(package).is_package) and module_of(inner).exists


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
