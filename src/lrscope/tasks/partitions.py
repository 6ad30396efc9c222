"""Partitions of examples that are known by a name. Importing it needs no PyTorch."""

from __future__ import annotations

PARTITIONS = ("classes",)
