"""A study whose sweeps and measurements are given, and the verdicts of its claims."""

from __future__ import annotations

from typing import Any

import xarray as xr

from lrscope.studies.three_regimes import STUDY
from lrscope.studies.types import Finding
from lrscope.studies.verdicts import Undetermined


class PlantedResults:
    """What claims and figures of three_regimes read."""

    scale, first_seed = "smoke", 0

    def __init__(
        self, sweeps: dict[str, xr.DataTree] | None = None, measurements: dict[str, xr.DataTree] | None = None
    ) -> None:
        self.sweeps, self.measurements = sweeps or {}, measurements or {}

    def sweep(self, name: str) -> xr.DataTree:
        return self.sweeps[name]

    def measurement(self, name: str) -> xr.Dataset:
        return self.measurements[name]

    def trained(self, name: str) -> Any:
        raise AssertionError("claims read no weights")


def checked(claim: str, results: PlantedResults) -> Finding:
    return next(c for c in STUDY.claims if c.id == claim).check(results)


def the_verdict(claim: str, sweeps: dict[str, xr.DataTree]) -> str:
    try:
        return checked(claim, PlantedResults(sweeps, {})).verdict
    except Undetermined:
        return "undetermined"


def part_verdicts(claim: str, **sweeps: xr.DataTree) -> list[str]:
    """The verdict of each part, in their order, of a claim that reads sweeps only."""
    found = checked(claim, PlantedResults(sweeps))
    assert "nan" not in found.note
    return [part.verdict for part in found.parts]


def verdicts(claim: str, results: PlantedResults) -> dict[str, str]:
    """The verdict of each part."""
    return {part.name: part.verdict for part in checked(claim, results).parts}
