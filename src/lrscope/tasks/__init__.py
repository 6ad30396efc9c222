"""Tasks: data sets, models, losses. The names in `__init__.pyi` load what they need on first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
