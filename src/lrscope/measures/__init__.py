"""Measures: functions of trained runs that return named arrays."""

from lrscope.measures.features import sparsity

__all__ = ["sparsity"]
