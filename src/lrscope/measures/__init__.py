"""Measures: functions of trained runs that return named arrays."""

from lrscope.measures.features import sparsity, sparsity_over_runs

__all__ = ["sparsity", "sparsity_over_runs"]
