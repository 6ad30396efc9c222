"""benchmarks/gpu.py, run on the CPU: it runs, and its checks can fail."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from benchmark_scripts import benchmark
from lrscope.engine.chunk import ChunkTrainer


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with smaller batches and pictures."""
    module = benchmark("gpu")
    monkeypatch.setattr(module, "SIZES", (2, 4))
    monkeypatch.setattr(module, "CONVNET", module.SMALL)
    return module


@pytest.mark.slow
def test_every_row_holds_on_the_cpu(gpu: ModuleType) -> None:
    rows = list(gpu.rows("cpu", 0.01))
    judged = [row for row in rows if row.passed is not None]
    assert [row.check for row in judged if not row.passed] == []
    assert len(judged) == 4
    assert [row.check for row in rows if row.found == gpu.UNASKED] == [
        "memory is bounded by the batch",
        "steps do not wait for the GPU",
    ]
    assert all("times as fast" in row.found for row in rows if row.check.startswith("a run-step"))


@pytest.mark.slow
def test_a_checkpoint_that_changes_a_bit_fails(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ChunkTrainer.load

    def load(trainer: ChunkTrainer, tensors: dict[str, torch.Tensor], cursor: dict[str, int]) -> None:
        whole(trainer, tensors, cursor)
        trainer.tensors["weights"][0, 0] += 1e-6

    monkeypatch.setattr(ChunkTrainer, "load", load)
    assert [row.passed for row in gpu.resume("cpu")] == [False, False]


@pytest.mark.slow
def test_another_precision_does_not_agree(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = gpu.context_of
    turns = iter(["float32", "float64"] * 2)
    monkeypatch.setattr(gpu, "context_of", lambda *a, **k: exact(*a, **{**k, "precision": next(turns)}))
    assert [row.passed for row in gpu.agreement("cpu")] == [False, False]


def test_without_a_gpu_it_says_so(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="use --device cpu"):
        gpu.main()
