"""What benchmarks/width_drift.py makes of curves: planted ones, of which the answer is known; nothing is trained here."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark_scripts import benchmark

drifts = benchmark("width_drift")
LRS = [10**e for e in (-4.0, -3.5, -3.0, -2.5, -2.0)]


def parabola(best: float) -> list[float]:
    return [0.3 + math.log(lr / best) ** 2 for lr in LRS]


@pytest.mark.parametrize("best", [3e-4, 1e-3, 2.2e-3])
def test_the_best_learning_rate_of_a_parabola(best: float) -> None:
    assert drifts.best_lr(LRS, parabola(best)) == pytest.approx(best)
    broken = parabola(best)
    broken[-1] = math.nan  # a run that overflowed; beside it the grid's own lowest point is taken
    assert drifts.best_lr(LRS, broken) == pytest.approx(best if best < 2e-3 else LRS[3])


def test_a_best_at_an_end_is_unknown() -> None:
    assert math.isnan(drifts.best_lr(LRS, parabola(1e-5)))
    assert math.isnan(drifts.best_lr(LRS, parabola(1.0)))
    assert math.isnan(drifts.best_lr(LRS, [math.nan] * 5))
    assert drifts.best_lr(LRS, [3.0, 2.0, 1.0, math.inf, math.inf]) == LRS[2], "no parabola, but the lowest of the grid"


def test_drifts_and_their_intervals() -> None:
    values = np.array([[1e-3, 1e-3, 1e-3], [2e-3, 2e-3, 2e-3], [1.5e-3] * 3])
    assert drifts.drift(values, drifts.geometric) == pytest.approx((2, 2, 2))
    noisy = np.array([[1e-3, 1e-3, 1e-3], [1e-3, 2e-3, 4e-3]])
    seen, low, high = drifts.drift(noisy, drifts.geometric)
    assert (seen, low, high) == pytest.approx((2, 1, 4))
    noisy[0, 1] = math.nan
    assert all(math.isnan(x) for x in drifts.drift(noisy, drifts.geometric))


def test_the_border_of_votes() -> None:
    votes = np.array([[1, 1, 1], [1, 1, 1], [1, 2, 1], [2, 2, 2], [2, 2, 2]])
    assert drifts.border(LRS, votes) == pytest.approx(math.sqrt(LRS[2] * LRS[3]))
    assert math.isnan(drifts.border(LRS, np.ones((5, 3), int)))


@pytest.mark.parametrize(
    ("adamw", "hyperball", "word"),
    [
        ((3.0, 2.5, 3.5), (1.4, 1.2, 1.9), "hyperball moves less"),
        ((1.4, 1.2, 1.9), (3.0, 2.5, 3.5), "hyperball moves more"),
        ((3.0, 1.5, 3.5), (1.4, 1.2, 1.9), "hyperball: undetermined"),
        ((math.nan,) * 3, (1.4, 1.2, 1.9), "hyperball: undetermined"),
    ],
)
def test_the_criterion(adamw: tuple[float, ...], hyperball: tuple[float, ...], word: str) -> None:
    found = {"adamw": adamw, "hyperball": hyperball}
    assert drifts.compared(found, seeds=3) == word
    assert drifts.compared(found, seeds=2) == "hyperball: undetermined"


def planted(run: Any) -> dict[str, Any]:
    """AdamW's best learning rate and border fall with the square root of the width, those of Hyperball stay."""
    shift = (run.width / 8) ** -0.5 if run.optimizer == "adamw" else 1.0
    best = shift * {"adamw": 2e-3, "hyperball": 1e-2}[run.optimizer] * (1 + 0.02 * run.seed)
    t = np.arange(drifts.WINDOWS)
    low = run.lr < 3 * best
    loss = 2 * np.exp(-0.15 * t) if low else np.full(len(t), 1.2)
    noise = np.random.default_rng(run.seed).normal(0, 0.01, len(t))
    test = 0.3 + min(math.log(run.lr / best) ** 2, 50)
    return {
        "run": drifts.asdict(run),
        "loss": (loss * (1 + noise)).tolist(),
        "accuracy": (0.9 - 0.2 * (not low) + noise).tolist(),
        "test_loss": test,
    }


def test_the_table_of_planted_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found as planted; a second call trains nothing."""
    trained: list[Any] = []
    monkeypatch.setattr(drifts, "trained", lambda run: trained.append(run) or planted(run))
    guessing = drifts.votes.Guessing(np.full((3, 20), 2.3), np.full((3, 20), 0.1), 2.3, 0.1)
    monkeypatch.setattr(drifts, "guessing", lambda *_: guessing)
    words = ["--tasks", "digits", "--axes", "width", "--scales", "1", "2", "4", "--optimizers", "adamw", "hyperball"]
    drifts.main([*words, "--root", str(tmp_path)])
    said = capsys.readouterr().out
    found = json.loads(said.splitlines()[-1])["drifts"]
    assert found["digits/width/adamw/best"] == pytest.approx([2, 2, 2], rel=0.05)
    assert found["digits/width/hyperball/best"] == pytest.approx([1, 1, 1], rel=0.05)
    assert found["digits/width/adamw/border 1|2"][0] == pytest.approx(2, rel=0.5), "to a cell of the grid"
    assert found["digits/width/hyperball/border 1|2"][0] == 1
    assert "best: hyperball moves less" in said
    assert len(trained) == len(list(tmp_path.rglob("*.json")))
    count = len(trained)
    drifts.main([*words, "--root", str(tmp_path)])
    assert len(trained) == count
    assert capsys.readouterr().out == said


def test_learning_rates_are_the_same_at_every_scale() -> None:
    assert drifts.grid(1e-4, 1e-1, 2) == [1e-4, 3.162e-4, 1e-3, 3.162e-3, 1e-2, 3.162e-2, 1e-1]
    given = drifts.arguments(["--smoke"])
    assert (given.tasks, given.scales, given.steps) == (["digits"], [1, 2], 40)


def test_lowering_the_learning_rate() -> None:
    assert [drifts.lowered(step, 100) for step in (0, 79, 80, 90, 100)] == [1, 1, 1, 0.5, 0]
