"""Landscapes around the checkpoints of any network: a surface in weight space, losses on it, level sets, pictures.

Read `make` (from checkpoints to a landscape), `surfaces` (where points lie), `level_sets` (open or closed), `match` (do
checkpoints fit a model). Values at points come from `measures.landscape`.
"""

from lrscope.landscapes.level_sets import LevelSet, level_set
from lrscope.landscapes.make import function_landscape, landscape
from lrscope.landscapes.types import Landscape

__all__ = ["Landscape", "LevelSet", "function_landscape", "landscape", "level_set"]
