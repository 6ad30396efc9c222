"""Monitor: what a learning rate does to a run in progress, in any training loop.

Read `monitor` (the entry), `tracked` (which tensors train), `movement` (how far a step turned them), `stationarity` (a test),
`regime` (the map's rules, as far as they apply to one unfinished run), `alarms` (warnings).
"""

from lrscope.monitor.monitor import Monitor
from lrscope.monitor.types import Alarm, Group, LiveRegime, LookAhead

__all__ = ["Alarm", "Group", "LiveRegime", "LookAhead", "Monitor"]
