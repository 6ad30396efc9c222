"""How an option reads a schedule: its text, or a function of the user's. Imports no PyTorch unless a function is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lrscope.dynamics.own_schedule import OwnSchedule
from lrscope.dynamics.schedules import HELP, parse
from lrscope.readers import Word


@dataclass(frozen=True)
class Course:
    """The text of a schedule, or a function of (step, steps)."""

    def read(self, name: str, value: Any) -> str:
        """See `lrscope.readers.Reader`."""
        if isinstance(value, OwnSchedule):
            return value
        if callable(value):
            return OwnSchedule(value)
        text = Word(words=self.takes()).read(name, value)
        parse(text)
        return text

    def takes(self) -> str:
        """See `lrscope.readers.Reader`."""
        return HELP
