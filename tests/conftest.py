"""Rules for every test: one torch thread a process, global random state left as found, the same examples in CI. Files with the
longest tests go first."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest

from s3_server import s3, s3_endpoint  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Iterator

# No deadline: the first call of a torch kernel is slow. In CI the same examples every time.
hypothesis.settings.register_profile("lrscope", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("lrscope")

# With single tests of 20 seconds and more. Begun last, one of them would leave the other workers with nothing to do.
LONGEST = (
    "test_three_regimes.py",
    "test_learning_order_study.py",
    "test_late_decay_study.py",
    "test_feature_learning.py",
    "test_ray.py",
    "test_ray_cluster.py",
    "test_symmetries_models.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole files, so that what the tests of one share is made once."""
    assert all((Path(__file__).parent / name).exists() for name in LONGEST)
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    """Workers share the cores, and sums over threads round differently."""
    import rich.console  # noqa: F401 - draws from Python's global generator when first imported
    import sklearn.datasets  # noqa: F401 - imports rich
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _random_state_left_alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that draws from, or seeds, a global generator; puts the state back in any case."""
    before = _random_states()
    yield
    changed = [name for name, state in _random_states().items() if not _same(state, before[name])]
    _restore(before)
    if changed and request.node.get_closest_marker("changes_random_state") is None:
        pytest.fail(
            f"this test changed the global random state of {', '.join(changed)}: give the code a generator of its own, "
            "or mark the test changes_random_state and say why",
            pytrace=False,
        )


def _random_states() -> dict[str, Any]:
    import torch

    return {"python": random.getstate(), "numpy": np.random.get_state(legacy=True), "torch": torch.get_rng_state()}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return bool((a == b).all()) if hasattr(a, "all") else bool(a == b)


def _restore(states: dict[str, Any]) -> None:
    import torch

    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
