"""Data sets, in memory: `load` one, `fetch` its files, `describe` them all."""

from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.formats import Spec
from lrscope.tasks.data.loading import Row, describe, fetch, load
from lrscope.tasks.data.table import names, spec

__all__ = ["DataSet", "Row", "Spec", "describe", "fetch", "load", "names", "spec"]
