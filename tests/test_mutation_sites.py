"""The faults of mutation testing: which there are in a text, and that each is put in and nothing else."""

from __future__ import annotations

import ast

from benchmark_scripts import benchmark

SOURCE = '''
"""Docstring."""
LIMIT = 3


def among(values, *, strict=True):
    """Docstring."""
    assert values
    found = [v for v in values if 0 < v < LIMIT]
    if not found and strict:
        raise ValueError(f"none of {len(values)}")
    return max(found, default=None)
'''
FAULTS = [  # where, what it is then
    ("", "LIMIT = 4"),
    ("", "strict=False"),
    ("among", "if 1 < v < LIMIT"),
    ("among", "if 0 <= v < LIMIT"),
    ("among", "if 0 >= v < LIMIT"),
    ("among", "if 0 < v <= LIMIT"),
    ("among", "if 0 < v >= LIMIT"),
    ("among", "if True]"),
    ("among", "if not found or strict:"),
    ("among", "if found and strict:"),
    ("among", "pass"),
    ("among", "return None"),
    ("among", "return max(found)"),
    ("among", "return min(found, default=None)"),
]


def test_every_fault_is_one_change_of_the_text() -> None:
    sites = benchmark("mutation_sites").sites
    plain = ast.unparse(ast.parse(SOURCE)).splitlines()
    found = []
    for k in range(len(sites(ast.parse(SOURCE)))):
        tree = ast.parse(SOURCE)
        site = sites(tree)[k]
        site.change()
        text = ast.unparse(ast.fix_missing_locations(tree)).splitlines()
        compile(tree, "source", "exec")
        (changed,) = [line for line, before in zip(text, plain, strict=True) if line != before]
        found.append((site.function, changed))
    assert len(found) == len(FAULTS)
    for function, part in FAULTS:
        assert any(where == function and part in line for where, line in found), part
