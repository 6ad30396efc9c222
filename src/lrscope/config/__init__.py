"""Every option in one place: its name, type with limits, default, origin and one text, in a dataclass per subject.

`TaskConfig` says what is trained on, `SweepConfig` what is trained and logged, `EngineConfig` where and how it runs,
`MapConfig` what `lrscope map` has beside. The command line, config files, the keywords of `sweep` and the table of options in
docs/usage.md are made from their fields (`options`), so an option is added by adding a field. Imports no PyTorch.
"""

from lrscope.config.branches import MOST_STEPS, Branch
from lrscope.config.engine import EngineConfig
from lrscope.config.identity import digest
from lrscope.config.sweep import MOST_RUNS, SweepConfig
from lrscope.config.task import TaskConfig

__all__ = ["MOST_RUNS", "MOST_STEPS", "Branch", "EngineConfig", "SweepConfig", "TaskConfig", "digest"]
