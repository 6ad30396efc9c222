"""What benchmarks/width_drift.py makes of curves: planted ones, of which the answer is known; and a smoke run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmark_scripts import benchmark

runs, found, drifts = (benchmark(name) for name in ("drift_runs", "drift_statistics", "width_drift"))
LRS = [10**e for e in (-4.0, -3.5, -3.0, -2.5, -2.0)]
NONE = found.NO_DRIFT


def parabola(best: float, lrs: list[float] = LRS) -> list[float]:
    return [0.3 + math.log(lr / best) ** 2 for lr in lrs]


@pytest.mark.parametrize("best", [3e-4, 1e-3, 2.2e-3])
def test_the_best_learning_rate_of_a_parabola(best: float) -> None:
    assert found.best_lr(LRS, parabola(best)) == pytest.approx(best)
    uneven = [LRS[0] / 5, *LRS[1:3], 3 * LRS[-1]]  # every second point of a grid is left out, but beside the best
    assert found.best_lr(uneven, parabola(best, uneven)) == pytest.approx(best)
    broken = parabola(best)
    broken[-1] = math.nan  # a run that overflowed; beside it the grid's own lowest point is taken
    assert found.best_lr(LRS, broken) == pytest.approx(best if best < 2e-3 else LRS[3])


def test_a_best_at_an_end_is_refused() -> None:
    assert found.best_lr(LRS, parabola(1e-5)) == 0
    assert found.best_lr(LRS, parabola(1.0)) == math.inf
    assert math.isnan(found.best_lr(LRS, [math.nan] * 5))
    beside = found.best_lr(LRS, [3.0, 2.0, 1.0, math.inf, math.inf])
    assert beside == pytest.approx(LRS[2]), "no parabola, but the lowest of the grid"
    assert found.best_lr(LRS, [1.0] * 2 + [0.5] * 2 + [1.0]) == pytest.approx(math.sqrt(LRS[2] * LRS[3]))


@pytest.mark.parametrize("bests", [[0.011], [0.01, 0.2], [1e-9], [1e9], [0.02, 1e9]])
def test_the_search_ends_where_every_seed_has_neighbours(bests: list[float]) -> None:
    lrs = [2.0**k for k in range(-12, -1)]
    whole = np.array([parabola(best, lrs) for best in bests]).T
    there, test = np.zeros(len(lrs), bool), np.full(whole.shape, np.nan)
    rounds = 0
    while wanted := found.next_rungs(test, there):
        assert not there[wanted].any()
        there[wanted], test[wanted] = True, whole[wanted]
        rounds += 1
    assert rounds <= 4
    assert there[::2].all()
    for column in whole.T:
        k = int(column.argmin())
        assert there[max(k - 1, 0) : k + 2].all()
    assert not there.all(), "not the whole grid"


def test_the_search_ends_where_all_runs_overflow() -> None:
    assert found.next_rungs(np.full((5, 2), np.nan), np.array([True, False] * 2 + [True])) == []


def of(values: Any, rule: Any = found.geometric) -> Any:
    return found.drift(list(values), [rule] * len(values))


def test_drifts_and_their_intervals() -> None:
    values = np.array([[1e-3, 1e-3, 1e-3], [2e-3, 2e-3, 2e-3], [1.5e-3] * 3])
    assert of(values) == pytest.approx((2, 2, 2))
    noisy = np.array([[1e-3, 1e-3, 1e-3], [1e-3, 2e-3, 4e-3]])
    assert of(noisy) == pytest.approx((2, 1, 4))
    for beyond in (math.nan, 0.0, math.inf):
        noisy[0, 1] = beyond
        assert all(math.isnan(x) for x in of(noisy))


def test_what_three_seeds_can_say() -> None:
    """As the head of the benchmark has it: what intervals cover, and how often chance alone makes a verdict."""
    source, truth = np.random.default_rng(0), np.linspace(0, math.log(3), 4)[:, None]
    drawn = [of(np.exp(truth + source.normal(0, 0.2, (4, 3)))) for _ in range(400)]
    assert np.mean([one.low <= 3 <= one.high for one in drawn]) == pytest.approx(0.76, abs=0.06)
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    assert np.mean([found.moves(a, b, 3) != "undetermined" for a, b in pairs]) < 0.15


def test_what_noise_alone_gives() -> None:
    """The mean log drift of scales that share a best learning rate, against the factor computed from the scatter."""
    source = np.random.default_rng(0)
    draws = [np.exp(source.normal(0, 0.3, (4, 3))) for _ in range(2000)]
    seen = np.mean([math.log(found.spread([found.geometric(v) for v in best])) for best in draws])
    told = math.sqrt(np.mean([math.log(found.of_noise(best)) ** 2 for best in draws]))
    assert told == pytest.approx(seen, rel=0.05)
    assert math.isnan(found.of_noise(np.ones((4, 1))))


def test_the_trend_per_doubling() -> None:
    scales, seeds = [1, 2, 4, 8], np.array([0.9, 1.0, 1.1])
    falling = np.array([[0.1 * s**-0.5] * 3 for s in scales]) * seeds
    assert found.trend(scales, falling) == pytest.approx((2**-0.5,) * 3)
    source = np.random.default_rng(1)
    kept = [found.trend(scales, np.exp(source.normal(0, 0.3, (4, 3)))) for _ in range(1000)]
    assert np.mean([low < 1 < high for _, low, high in kept]) == pytest.approx(0.95, abs=0.02)
    assert all(map(math.isnan, found.trend(scales, falling[:, :1])))


def test_the_border_of_votes() -> None:
    votes = np.array([[1, 1, 1], [1, 1, 1], [1, 2, 1], [2, 2, 2], [2, 2, 2]])
    assert found.border(LRS, votes) == pytest.approx(math.sqrt(LRS[2] * LRS[3]))
    assert found.border(LRS, np.ones((5, 3), int)) == math.inf
    assert found.border(LRS, np.array([[1], [1], [1], [0], [0]])) == math.inf, "what is unknown is beyond no border"
    assert found.border(LRS, np.full((5, 3), 2)) == 0
    assert math.isnan(found.border(LRS, np.zeros((5, 3), int)))


@pytest.mark.parametrize(
    ("adamw", "hyperball", "word"),
    [
        ((3.0, 2.5, 3.5), (1.4, 1.2, 1.9), "hyperball moves less than adamw"),
        ((1.4, 1.2, 1.9), (3.0, 2.5, 3.5), "hyperball moves more than adamw"),
        ((3.0, 1.5, 3.5), (1.4, 1.2, 1.9), "hyperball: undetermined"),
        (NONE, (1.4, 1.2, 1.9), "hyperball: undetermined"),
    ],
)
def test_the_criterion(adamw: tuple[float, ...], hyperball: tuple[float, ...], word: str) -> None:
    pair = {"adamw": found.Drift(*adamw), "hyperball": found.Drift(*hyperball)}
    assert drifts.compared(pair, seeds=3) == word
    assert drifts.compared(pair, seeds=2) == "hyperball: undetermined"


def test_hyperball_is_the_papers_rule() -> None:
    """Two steps of a run's optimizer against W <- R Norm(W - lr R Norm(u)), u being Adam's own update, in float64."""
    run = runs.Run("digits", "hyperball", width=4, depth=1, steps=10, lr=0.03, seed=0)
    model, twin = (runs.network(run).double() for _ in range(2))
    (ours,), draws = runs.optimizers(model, run), torch.Generator().manual_seed(0)
    images = torch.randn(8, 1, 8, 8, dtype=torch.float64, generator=draws)
    rule = {name: 0.03 if name.startswith("convs") else 1e-3 for name, _ in twin.named_parameters()}
    adam = torch.optim.Adam([{"params": [p], "lr": rule[n]} for n, p in twin.named_parameters()])
    for _ in range(2):
        before = {name: p.detach().clone() for name, p in twin.named_parameters()}
        for net, optimizer in ((model, ours), (twin, adam)):
            optimizer.zero_grad()
            functional.cross_entropy(net(images), torch.arange(8)).backward()
            optimizer.step()
        with torch.no_grad():
            for name, p in twin.named_parameters():
                if name.startswith("convs"):
                    old, update = before[name], p - before[name]
                    moved = old + 0.03 * old.norm() * update / update.norm()
                    p.copy_(moved * old.norm() / moved.norm())
        for one, other in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def planted(run: Any) -> dict[str, Any]:
    """AdamW's best learning rate and border fall with the square root of the width, those of Hyperball stay."""
    shift = (run.width / 4) ** -0.5 if run.optimizer == "adamw" else 1.0
    best = shift * {"adamw": 2e-3, "hyperball": 1e-2}[run.optimizer] * (1 + 0.02 * run.seed)
    t = np.arange(runs.WINDOWS)
    low = run.lr < 3 * best
    loss = 2 * np.exp(-0.15 * t) if low else np.full(len(t), 1.2)
    noise = np.random.default_rng(run.seed).normal(0, 0.01, len(t))
    test = 0.3 + min(math.log(run.lr / best) ** 2, 50)
    return {
        "run": runs.asdict(run),
        "loss": (loss * (1 + noise)).tolist(),
        "accuracy": (0.9 - 0.2 * (not low) + noise).tolist(),
        "test_loss": test,
    }


def test_the_table_of_planted_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found as planted; a second call trains nothing, and one after a kill only what is missing."""
    trained: list[Any] = []
    monkeypatch.setattr(runs, "trained", lambda run: trained.append(run) or planted(run))
    guessing = runs.votes.Guessing(np.full((3, 20), 2.3), np.full((3, 20), 0.1), 2.3, 0.1)
    monkeypatch.setattr(drifts, "guessing", lambda *_: guessing)
    words = ["--model", "digits", "--part", "width", "--scales", "1", "2", "4", "--jobs", "1", "--root", str(tmp_path)]
    drifts.main(words)
    said = capsys.readouterr().out
    table = json.loads(said.splitlines()[-1])["drifts"]["digits/width"]
    assert table["best"]["adamw"] == pytest.approx([2, 2, 2], rel=0.05)
    assert table["best"]["hyperball"] == pytest.approx([1, 1, 1], rel=0.05)
    assert table["border 1|2"]["adamw"] == pytest.approx([2, 2, 2], rel=1e-3), "cells are factors of 2"
    assert table["border 1|2"]["hyperball"][0] == 1
    assert "best: hyperball moves less than adamw" in said
    files = sorted(tmp_path.rglob("*.json"))
    assert len(trained) == len(files)
    trained.clear()
    drifts.main(words)
    assert capsys.readouterr().out == said
    assert not trained
    files[3].unlink()
    files[3].with_suffix(".1.part").write_text("{")  # what a kill leaves
    drifts.main(words)
    assert capsys.readouterr().out == said
    assert len(trained) == 1


def test_what_lies_beyond_the_grid_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "trained", planted)
    guessing = runs.votes.Guessing(np.full((3, 20), 2.3), np.full((3, 20), 0.1), 2.3, 0.1)
    monkeypatch.setattr(drifts, "guessing", lambda *_: guessing)
    words = ["--model", "digits", "--part", "width", "--scales", "1", "4", "--jobs", "1", "--root", str(tmp_path)]
    drifts.main([*words, "--powers", "-14", "-10"])
    said = capsys.readouterr().out
    assert "| hyperball | best | beyond the grid, above | beyond the grid, above | ? | ? | ? |" in said
    assert "none seen | none seen" in said
    assert "best: hyperball: undetermined" in said
    assert json.loads(said.splitlines()[-1])["drifts"]["digits/width"]["best"]["hyperball"] == [None] * 3


def test_the_smoke_run_and_its_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--smoke", "--jobs", "1", "--root", str(tmp_path)]
    drifts.main([*words, "--dry-run"])
    assert "digits, width x2, hyperball: up to 10 runs" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    drifts.main(words)
    curves = [json.loads(file.read_text()) for file in tmp_path.rglob("*.json")]
    assert len(curves) in range(16, 25)
    assert all(len(one["loss"]) == runs.WINDOWS and one["loss"][-1] < one["loss"][0] for one in curves)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["smoke"] is True


def test_options_that_make_no_grid(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        drifts.arguments(["--powers", "-3", "-2"])
    assert "2 or more apart" in capsys.readouterr().err


def test_lowering_the_learning_rate() -> None:
    assert [runs.lowered(step, 100) for step in (0, 79, 80, 90, 100)] == [1, 1, 1, 0.5, 0]
