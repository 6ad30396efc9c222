"""What a study is: a paper's experiment as data. Sweeps, measurements, figures and claims, at three scales.

Declarations only; nothing here trains, draws or reads files. Importing this imports no PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from lrscope.checked import checked_fields
from lrscope.config import SweepConfig
from lrscope.readers import Real

if TYPE_CHECKING:
    import xarray as xr

    from lrscope.charts import Chart
    from lrscope.trained import Trained

SCALES = ("smoke", "laptop", "paper")
VERDICTS = ("supported", "contradicted", "inconclusive", "reported")  # the last: exploratory claims have no verdict


class StudyResults(Protocol):
    """What measurements, claims and figures read. Names are those of the study's sweeps and measurements."""

    @property
    def scale(self) -> str:
        """`smoke`, `laptop` or `paper`."""
        ...

    def sweep(self, name: str) -> xr.Dataset:
        """The result of a sweep (docs/schema.md)."""
        ...

    def trained(self, name: str) -> Trained:
        """The stored weights of a sweep, with its task: for measurements."""
        ...

    def measurement(self, name: str) -> xr.Dataset:
        """What a measurement returned."""
        ...


@checked_fields
@dataclass(frozen=True, kw_only=True)
class StudySweep:
    """One sweep of a study: arguments of `named_task`, and what is trained."""

    name: str
    about: str  # one sentence
    task: Mapping[str, Any]
    config: SweepConfig

    @property
    def arguments(self) -> dict[str, Any]:
        """What `named_task` is called with: no validation set unless the study names one, because the papers have none."""
        return {"validation": 0, **self.task}


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Arrays computed from trained weights, or by a simulation of its own; stored beside the sweeps.

    `needs` names sweeps and other measurements; `version` is raised when the function changes, so that stored arrays
    are not taken for the new ones.
    """

    name: str
    about: str
    needs: tuple[str, ...]
    run: Callable[[StudyResults], xr.Dataset]
    version: int = 1


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a claim's check found.

    Args:
        effect, low, high: effect size with its 95% interval over seeds (equal ends where it is exact).
        seeds: independent units that the interval is over.
        verdict: one of `VERDICTS`.
        note: one or two sentences: what was seen, and if it is not `supported`, why that may be.
        numbers: further numbers worth keeping, JSON-ready.
    """

    effect: Annotated[float, Real()]
    low: Annotated[float, Real()]
    high: Annotated[float, Real()]
    seeds: int
    verdict: str
    note: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of the paper, in our words, with a criterion fixed before its first run.

    `criterion` is a sentence; what it says is what `check` computes. A criterion that changes gets a `Change`.
    """

    id: str
    sentence: str
    criterion: str
    needs: tuple[str, ...]
    check: Callable[[StudyResults], Finding]
    figures: tuple[str, ...] = ()
    exploratory: bool = False


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Change:
    """A criterion that was changed: the log that everybody sees."""

    claim: str
    date: str  # ISO 8601
    before: str
    after: str
    reason: str


@checked_fields
@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """A figure of the paper: drawn from the study's results on the paper's axes.

    `look_for` says what the paper shows there; `differs` what is different here (scale, data, model).
    """

    number: str  # the paper's, such as "5"
    title: str
    look_for: str
    differs: str
    needs: tuple[str, ...]
    draw: Callable[[StudyResults], Chart]


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Scale:
    """The study at one size. All scales use the same names for sweeps and measurements; a scale may leave some out,
    and the claims and figures that need them are then missing there."""

    sweeps: tuple[StudySweep, ...]
    measurements: tuple[Measurement, ...]
    about: str  # data, models, seeds, and how long it takes

    @property
    def parts(self) -> tuple[StudySweep | Measurement, ...]:
        """Sweeps, then measurements."""
        return (*self.sweeps, *self.measurements)


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Paper:
    """Bibliographic data."""

    authors: tuple[str, ...]  # "Family, Given"
    title: str
    year: int
    venue: str
    arxiv: str
    key: str  # BibTeX


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Study:
    """A paper, reproduced."""

    name: str
    paper: Paper
    about: str
    claims: tuple[Claim, ...]
    figures: tuple[PaperFigure, ...]
    scales: Mapping[str, Scale]
    changes: tuple[Change, ...] = ()
