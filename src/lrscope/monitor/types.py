"""What the monitor says: groups of weights, a regime, warnings. Imports no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Weights that are looked at as one.

    name: of its first tensor, with the number of further ones.
    tensors: their names, those of wrappers left out.
    invariant: scale-invariant; None: not known, because no symmetries were looked for.
    matters: False where it is known that the outputs do not depend on it.
    compared: is its angular update comparable with that of others? That of biases and gains is not.
    """

    name: str
    tensors: tuple[str, ...]
    invariant: bool | None = None
    compared: bool = True
    matters: bool = True


@dataclass(frozen=True)
class LiveRegime:
    """The regime of a run in progress.

    regime: `1`, `2`, `3`, `dead` (no better than guessing, not scale-invariant), or `?` where nothing can be told.
    sure: is there more for it than one rule on one curve? Never with `?`.
    reason: why, in words.
    """

    regime: str
    sure: bool
    reason: str

    @property
    def confidence(self) -> str:
        """`sure`, `likely` or `undetermined`."""
        return "undetermined" if self.regime == "?" else "sure" if self.sure else "likely"

    def __str__(self) -> str:
        name = "regime undetermined" if self.regime == "?" else "dead run" if self.regime == "dead" else "regime "
        return name + (f"{self.regime}, {self.confidence}" if name.endswith(" ") else "") + f": {self.reason}"


@dataclass(frozen=True)
class Alarm:
    """A warning: `name` is one of `dead`, `skipped`, `too high`, `too low`, `uneven`; `words` say what to do."""

    name: str
    words: str

    def __str__(self) -> str:
        return self.words
