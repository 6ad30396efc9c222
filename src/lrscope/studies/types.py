"""What a study is: a paper's experiment as data. Sweeps, measurements, figures and claims, at three scales.

Declarations only; nothing here trains, draws or reads files. Importing this imports no PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from lrscope.checked import checked_fields
from lrscope.config import SweepConfig as SweepConfig
from lrscope.config.sweep import LAST_SEED
from lrscope.errors import LrscopeError, nearest
from lrscope.readers import Real, Whole

if TYPE_CHECKING:
    import xarray as xr

    from lrscope.charts import Chart
    from lrscope.trained import Trained

SCALES = ("smoke", "laptop", "paper")
# From the weakest to the strongest. `inconclusive`: the interval holds the bound; `undetermined`: there is no interval.
VERDICTS = ("contradicted", "undetermined", "inconclusive", "supported")
REPORTED = "reported"  # of exploratory claims, which have no criterion to pass


class StudyResults(Protocol):
    """What measurements, claims and figures read. Names are those of the study's sweeps and measurements."""

    @property
    def scale(self) -> str:
        """`smoke`, `laptop` or `paper`."""
        ...

    @property
    def first_seed(self) -> int:
        """The scale's: what a measurement draws by itself begins there."""
        ...

    def sweep(self, name: str) -> xr.DataTree:
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

    `needs` names sweeps and other measurements. Stored arrays are known by the function's code and its arguments
    (`source_hash`): if they change, it is computed anew. `lazy` declares a function without importing its module. A function
    that raises `Undetermined` says that what it measures does not show: claims that need it are undetermined then.
    """

    name: str
    about: str
    needs: tuple[str, ...]
    run: Callable[[StudyResults], xr.Dataset]


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a claim - one data set, one border, one inequality - with its own verdict.

    Args:
        name: what is compared, in a few words, such as `ResNet-18` or `border 2|3`.
        verdict: one of `VERDICTS`, or `reported`.
        value, low, high: the quantity with its 95% interval over seeds; equal where it is exact, NaN where there is none.
        unit: of all three, such as `decades of ELR`.
        criterion: what they are held against, such as `above 0.2`.
        above, below: the same as numbers, None where there is no such bound.
        seeds, asked: independent runs or draws that the value could be read in, and those that there are.
        per_seed: the quantity in each of them, NaN where it could not be read; empty where the value is exact.
        cell: the least width of the interval, that of a grid which quantises the quantity; 0 where none does.
        note: why it is undetermined, or anything else that the table should say.
    """

    name: str
    verdict: str
    value: Annotated[float, Real()]
    low: Annotated[float, Real()]
    high: Annotated[float, Real()]
    unit: str
    criterion: str
    seeds: int
    asked: int
    above: float | None = None
    below: float | None = None
    per_seed: tuple[Annotated[float, Real()], ...] = ()
    cell: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in (*VERDICTS, REPORTED):
            raise LrscopeError(
                f"part {self.name}: verdict: {self.verdict!r} is unknown: {nearest(self.verdict, VERDICTS)}"
            )

    @property
    def room(self) -> float:
        """What lies between the interval and its nearer bound, in half-widths of the interval: negative beyond it, infinite where
        the value is exact or has no bound."""
        half = (self.high - self.low) / 2
        gaps = [
            *([] if self.above is None else [self.low - self.above]),
            *([] if self.below is None else [self.below - self.high]),
        ]
        return min(gaps) / half if gaps and half > 0 else math.inf


def strength(verdict: str) -> int:
    """The place of a verdict in `VERDICTS`: the weakest has 0."""
    return (*VERDICTS, REPORTED).index(verdict)


def weakest(parts: Sequence[Part]) -> Part:
    """The part that decides about the claim: the one whose verdict comes first in `VERDICTS`.

    Among supported ones it is the one whose interval lies nearest to a bound, in half-widths of the interval; among others the
    first.
    """
    return min(parts, key=lambda part: (strength(part.verdict), part.room if part.verdict == "supported" else 0.0))


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a claim's check found: a verdict for each part, and the headline, which is the weakest part.

    Args:
        parts: at least one; their names differ.
        note: one or two sentences: what was seen, and if it is not `supported`, why that may be.
        numbers: further numbers worth keeping, JSON-ready.
    """

    parts: tuple[Part, ...]
    note: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if not names:
            raise LrscopeError("finding: it has no parts: return at least one part(...)")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise LrscopeError(f"finding: two parts are called {twice!r}: rename one")

    @property
    def headline(self) -> Part:
        """The weakest part."""
        return weakest(self.parts)

    @property
    def verdict(self) -> str:
        """The headline's."""
        return self.headline.verdict


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
    and the claims and figures that need them are then missing there.

    `first_seed` is where the training seeds and the draws of the data of all its sweeps begin when the scale is carried out
    (`begun`), and what its measurements draw by themselves: evidence is made with seeds at which nobody has looked before.
    """

    sweeps: tuple[StudySweep, ...]
    measurements: tuple[Measurement, ...]
    about: str  # data, models, seeds, and how long it takes
    first_seed: Annotated[int, Whole(0, LAST_SEED)] = 0

    def __post_init__(self) -> None:
        for sweep in self.sweeps:
            if sweep.config.first_seed or sweep.config.first_data_seed:
                raise LrscopeError(
                    f"sweep {sweep.name}: its seeds begin at {sweep.config.first_seed} and {sweep.config.first_data_seed}: leave "
                    "first_seed and first_data_seed out of a study's sweeps, its scale has first_seed"
                )

    def begun(self, sweep: StudySweep) -> StudySweep:
        """A sweep with the seeds of the scale."""
        config = replace(sweep.config, first_seed=self.first_seed, first_data_seed=self.first_seed)
        return replace(sweep, config=config)

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
