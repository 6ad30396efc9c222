"""Options as parameters of a Typer command: every option once, with its text, under its heading."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import typer

from lrscope.config.option import Option

C = TypeVar("C", bound=Callable[..., Any])


def as_typer(option: Option, *, panel: bool = False) -> Any:
    """The option for a parameter of a Typer command; `lrscope.readers` reads what the command line gives, a text or a switch.

    Args:
        panel: show it under its heading.
    """
    return typer.Option(
        "/".join(option.flags),
        help=option.help,
        show_default=False,
        metavar="" if option.is_switch else "NUMBER" if option.is_number else "TEXT",
        rich_help_panel=option.panel if panel else None,
    )


def taking(options: Mapping[str, Option]) -> Callable[[C], C]:
    """A decorator: the command takes these options, each None where it is left out, in place of its `**` parameter."""

    def decorated(command: C) -> C:
        own = inspect.signature(command, eval_str=True)
        named = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        made = [_parameter(option) for option in options.values()]
        by_name = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in named]
        command.__signature__ = own.replace(parameters=[*by_name[:1], *made, *by_name[1:]])  # type: ignore[attr-defined]
        return command

    return decorated


def _parameter(option: Option) -> inspect.Parameter:
    kind: Any = bool | None if option.is_switch else str | None
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind, as_typer(option, panel=True)],
    )
