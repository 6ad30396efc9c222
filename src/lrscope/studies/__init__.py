"""Papers as data: one folder a paper, one registry (`registry.py`) for command line, docs and tests.

The names in `__init__.pyi` are what a study is written with.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
