"""Scale symmetries of a model: which weights can be rescaled without a change of its outputs.

Read `find` (the search), `probe` (slopes of a float64 copy), `null_space` (sparse bases), `rescaling` (verification).
"""

from lrscope.symmetries.find import find_symmetries
from lrscope.symmetries.types import Part, Symmetries, Symmetry

__all__ = ["Part", "Symmetries", "Symmetry", "find_symmetries"]
