"""Imported once, by the process from which the tests' children are forked: the first steps of everything are slow."""

import tempfile
from pathlib import Path

import xarray.backends.zarr  # noqa: F401 - on first use, otherwise
import zarr.api.asynchronous  # noqa: F401

import kill_points
from lrscope.engine.dispatch import start_autograd
from tiny_tasks import ALL_RUNS, computed

start_autograd()
with tempfile.TemporaryDirectory() as folder:
    computed(kill_points.TASK, kill_points.CONFIG, ALL_RUNS, Path(folder))
