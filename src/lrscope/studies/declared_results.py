"""What of a reproduction a claim, a figure or a measurement may read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrscope.errors import LrscopeError

if TYPE_CHECKING:
    import xarray as xr

    from lrscope.studies.reproduction import Reproduction
    from lrscope.trained import Trained


@dataclass(frozen=True)
class DeclaredResults:
    """The part of a reproduction that somebody declared to need: reading more would leave evidence incomplete."""

    reproduction: Reproduction
    allowed: frozenset[str]

    @property
    def scale(self) -> str:
        """`smoke`, `laptop` or `paper`."""
        return self.reproduction.scale_name

    @property
    def first_seed(self) -> int:
        """Where seeds begin."""
        return self.reproduction.scale.first_seed

    def sweep(self, name: str) -> xr.DataTree:
        """The result of a sweep."""
        return self.reproduction.result(self._checked(name))

    def trained(self, name: str) -> Trained:
        """The stored weights of a sweep."""
        return self.reproduction.trained(self._checked(name))

    def measurement(self, name: str) -> xr.Dataset:
        """What a measurement returned."""
        return self.reproduction.measurement(self._checked(name))

    def _checked(self, name: str) -> str:
        if name not in self.allowed:
            there = ", ".join(sorted(self.allowed)) or "nothing"
            raise LrscopeError(f"{name!r} is read but not declared: add it to `needs` (declared so far: {there})")
        return name
