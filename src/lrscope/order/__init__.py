"""Learning order: which groups of examples are learned first, and whether learning rates agree on that.

Read `times` (when a curve reaches a level), `ranks` (orders and their agreement), `learning_order` (of a result).
"""

from lrscope.order.learning_order import learning_order
from lrscope.order.types import Agreement, GroupTime, LearningOrder

__all__ = ["Agreement", "GroupTime", "LearningOrder", "learning_order"]
