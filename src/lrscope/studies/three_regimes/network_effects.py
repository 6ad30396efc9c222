"""Effects of one network among several: where they do not show, its parts are undetermined and the others are judged."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined

Named = dict[str, Array]


class Effects:
    """Numbers per seed by name, computed when they are first asked for.

    Args:
        compute: returns them, or raises `Undetermined`.
    """

    def __init__(self, compute: Callable[[], Named]) -> None:
        self._found = cache(compute)

    def of(self, read: Callable[[Named], Array]) -> Callable[[], Array]:
        """A quantity for `part`: what `read` makes of the numbers."""
        return lambda: read(self._found())

    def named(self, name: str) -> Callable[[], Array]:
        """The same for one of the numbers."""
        return self.of(lambda found: found[name])

    def words(self, say: Callable[[Named], str]) -> str:
        """What `say` makes of the numbers, or why there are none."""
        try:
            return say(self._found())
        except Undetermined as reason:
            return f"undetermined, {reason}"
