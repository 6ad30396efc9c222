# The names of the package and where they come from: read by `lazy_loader`, type checkers and editors.

from .noise import GaussianNoise as GaussianNoise
from .task import Task as Task
