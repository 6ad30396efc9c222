"""lrscope: which learning rate, and when do I lower it?

Importing this package imports no PyTorch; the names in `__init__.pyi` load what they need on first use.
"""

import lazy_loader

from lrscope._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
