"""Mapping: from results to regimes, borders and a recommendation."""

from lrscope.mapping.regime_map import regimes
from lrscope.mapping.types import Border, Label, Recommendation, RegimeMap

__all__ = ["Border", "Label", "Recommendation", "RegimeMap", "regimes"]
