# What a study is written with, and where it comes from: read by `lazy_loader`, type checkers and editors.

from .lazy_functions import lazy as lazy
from .registry import check as check
from .reproduction import Reproduction as Reproduction
from .types import Change as Change
from .types import Claim as Claim
from .types import Finding as Finding
from .types import Measurement as Measurement
from .types import Paper as Paper
from .types import PaperFigure as PaperFigure
from .types import Part as Part
from .types import Scale as Scale
from .types import Study as Study
from .types import StudyResults as StudyResults
from .types import StudySweep as StudySweep
from .types import SweepConfig as SweepConfig
from .verdicts import Undetermined as Undetermined
from .verdicts import exact as exact
from .verdicts import finding as finding
from .verdicts import interval as interval
from .verdicts import part as part
