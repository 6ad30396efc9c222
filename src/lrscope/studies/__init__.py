"""Papers as data: one folder a paper, one registry (`registry.py`) for command line, docs and tests."""
