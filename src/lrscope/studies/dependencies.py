"""What a claim, figure or measurement rests on: names of sweeps and measurements, followed to the end."""

from __future__ import annotations

from collections.abc import Iterable

from lrscope.errors import LrscopeError
from lrscope.studies.types import Claim, PaperFigure, Scale, Study


def lacking(scale: Scale, needs: Iterable[str]) -> list[str]:
    """Those of the names that the scale does not have."""
    there = {part.name for part in scale.parts}
    return [name for name in needs if name not in there]


def closure(scale: Scale, needs: Iterable[str]) -> tuple[str, ...]:
    """The names with all that they rest on, in an order in which they can be computed: sweeps as declared, then
    measurements, each after those that it needs.

    Raises:
        LrscopeError: a name that the scale does not have, or measurements that need each other.
    """
    sweeps = [sweep.name for sweep in scale.sweeps]
    measurements = {measurement.name: measurement for measurement in scale.measurements}
    wanted: set[str] = set()
    ordered: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise LrscopeError(f"measurement {name} needs itself ({' -> '.join((*above, name))}): break the circle")
        if name in wanted:
            return
        if name in measurements:
            for need in measurements[name].needs:
                visit(need, (*above, name))
            ordered.append(name)
        elif name not in sweeps:
            raise LrscopeError(f"{name}: this scale has no sweep or measurement of that name: choose another scale")
        wanted.add(name)

    for name in needs:
        visit(name, ())
    return (*(name for name in sweeps if name in wanted), *ordered)


def claims_at(study: Study, scale: str) -> tuple[Claim, ...]:
    """The claims that can be checked at a scale."""
    return tuple(claim for claim in study.claims if not lacking(study.scales[scale], claim.needs))


def figures_at(study: Study, scale: str) -> tuple[PaperFigure, ...]:
    """The figures that can be drawn at a scale."""
    return tuple(figure for figure in study.figures if not lacking(study.scales[scale], figure.needs))
