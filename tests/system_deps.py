"""What some tests need from the system: without it they skip and name the remedy, or fail where none may skip."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# Set to 1 by .ci/run: there a missing package is a broken machine, not a reason to test less.
REQUIRE = "LRSCOPE_REQUIRE_SYSTEM_DEPS"


def require_system(path: str, package: str) -> Path:
    """The file, folder or command `path` that Debian's `package` brings; skips (or fails) the test that lacks it."""
    if Path(path).exists():
        return Path(path)
    if (command := shutil.which(path)) is not None:
        return Path(command)
    reason = f"{path} is missing: `sudo make system-deps` installs Debian's package {package}"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{reason} ({REQUIRE}=1, so this is a failure)", pytrace=False)
    pytest.skip(reason)
