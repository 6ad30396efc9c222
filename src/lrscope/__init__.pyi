# The names of the package and where they come from: read by `lazy_loader`, type checkers and editors.

from .config import Branch as Branch
from .config import EngineConfig as EngineConfig
from .config import SweepConfig as SweepConfig
from .decay import DecayCurve as DecayCurve
from .decay import decay_curve as decay_curve
from .engine.sweep import sweep as sweep
from .errors import LrscopeError as LrscopeError
from .grids import log_grid as log_grid
from .landscapes import Landscape as Landscape
from .landscapes import landscape as landscape
from .mapping import RegimeMap as RegimeMap
from .mapping import regimes as regimes
from .monitor import Monitor as Monitor
from .optim import OnSphere as OnSphere
from .optim import SphereSGD as SphereSGD
from .optim import sphere_groups as sphere_groups
from .order import LearningOrder as LearningOrder
from .order import learning_order as learning_order
from .reporting import report as report
from .reporting import save_figures as save_figures
from .results import open_result as open_result
from .symmetries import Symmetries as Symmetries
from .symmetries import find_symmetries as find_symmetries
from .tasks.builtin import named_task as named_task
from .tasks.task import Task as Task
from .trained import Trained as Trained

__version__: str
