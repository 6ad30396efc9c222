"""What the rules look at: a result reduced to plain arrays, run by run, and what counts as quality and as guessing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from fake_results import fake_result
from lrscope.mapping.gather import Ending, Evidence, Quality, Score, gather
from lrscope.schema import NOT_TRAINED
from trees import changed


def small(**options: Any) -> xr.DataTree:
    """A result with 4 learning rates, 3 data seeds of 2 seeds and 12 windows."""
    return fake_result(**{"lrs": 4, "data_seeds": 3, "seeds": 2, "epochs": 12, "features": False, **options})


def told(result: xr.DataTree, **facts: Any) -> Evidence:
    """What is gathered where the task says more."""
    return gather(changed(result, task=json.dumps({**json.loads(result.attrs["task"]), **facts})))


def test_the_quality_of_a_loss_is_the_part_of_guessing_that_is_gone() -> None:
    score = Score(accurate=False, scale=2.0)
    np.testing.assert_allclose(score.quality(np.array([0.0, 0.5, 2.0, 3.0])), [1.0, 0.75, 0.0, -0.5])
    assert score.value(0.75) == 0.5
    assert score.mean(np.array([0.75, np.nan, 0.25])) == 1.0
    assert score.mean(np.array([np.nan])) is None
    assert score.show(0.5) == "0.5"
    accuracy = Score(accurate=True)
    assert (score.name, accuracy.name) == ("loss", "accuracy")
    assert accuracy.value(accuracy.quality(np.array([0.3]))[0]) == 0.3
    assert accuracy.show(0.5) == "50.00%"


def test_every_run_is_found_in_its_place() -> None:
    """Units count data seeds first: seed 1 of data seed 2 is number 5."""
    result = small()
    result["pretrain/status"][1, 2, 1] = 1
    result["pretrain/status"][3, 0, 1] = NOT_TRAINED
    result["finetune/status"][2, 1, 1, 0] = 1
    result["finetune/status"][0, 0, 2, 0] = NOT_TRAINED
    seen = gather(result)
    assert (seen.data_seeds, seen.seeds, seen.units, seen.windows) == (3, 2, 6, 12)
    assert np.argwhere(seen.broken_LU).tolist() == [[1, 5]]
    assert np.argwhere(~seen.trained_LU).tolist() == [[3, 1]]
    assert np.argwhere(~seen.tuned_LU).tolist() == [[0, 4]]
    assert seen.lost_LFU is not None
    assert np.argwhere(seen.lost_LFU).tolist() == [[2, 1, 2]]
    assert seen.finetune_lrs == (1e-4, 1e-3, 5e-3)
    assert seen.finetune_lr == 1e-4


def test_quality_is_that_of_the_last_window_and_of_the_largest_average() -> None:
    result = small()
    for name in ("pretrain/test_accuracy", "finetune/test_accuracy", "average/test_accuracy"):
        last = result[name]
        last[:] = 0.0
        last[{d: -1 for d in ("epoch", "n_average") if d in last.dims}] = 0.75
    result["finetune/test_accuracy"][1, 2, 2, 1, -1] = 0.25
    seen = gather(result)
    assert seen.finetuned is not None
    assert seen.averaged is not None
    assert (seen.pretrained.test == 0.75).all()
    assert (seen.averaged.test == 0.75).all()
    assert np.argwhere(seen.finetuned.test != 0.75).tolist() == [[1, 2, 5]]
    assert np.argwhere(seen.finetuned.at(2).test != 0.75).tolist() == [[1, 5]]
    assert seen.quality_LU is not None
    assert (seen.quality_LU == 0.75).all(), "the lowest fine-tuning rate"


def test_without_fine_tunes_nothing_is_tuned() -> None:
    seen = gather(small(finetune=False, average=False))
    assert not seen.tuned_LU.any()
    assert not seen.tuning_learned
    assert (seen.finetuned, seen.lost_LFU, seen.averaged, seen.ending, seen.quality_LU) == (None,) * 5
    assert (seen.finetune_lrs, seen.finetune_lr) == ((), None)


@pytest.mark.parametrize(("validation", "name"), [(0, "test accuracy"), (64, "validation accuracy")])
def test_the_validation_set_chooses_where_there_is_one(validation: int, name: str) -> None:
    result = small(validation=validation)
    seen = gather(result)
    assert seen.chosen_by == name
    measured = result[f"pretrain/{name.replace(' ', '_')}"]
    last = measured.isel(epoch=-1) if "epoch" in measured.dims else measured
    np.testing.assert_array_equal(seen.pretrained.chooses, last.values.reshape(4, 6))
    np.testing.assert_array_equal(seen.pretrained.test, result["pretrain/test_accuracy"].values[..., -1].reshape(4, 6))


def test_guessing_gets_one_over_the_number_of_classes_or_what_random_points_get() -> None:
    result = small(finetune=False, average=False)
    assert gather(result).guess == 0.5
    assert told(result, classes=10).guess == 0.1
    assert told(result, classes=1).guess == told(result, classes=0).guess
    assert told(result, classes=0).guess == pytest.approx(float(result["random_train_accuracy"].mean()))
    assert gather(small(finetune=False, average=False, regression=True)).guess == 0.0


def test_a_loss_is_measured_against_the_best_constant_or_random_points() -> None:
    result = small(finetune=False, average=False, regression=True)
    seen = gather(result)
    assert (seen.score.accurate, seen.chosen_by) == (False, "test loss")
    assert seen.score.scale == pytest.approx(float(result["random_train_loss"].mean()))
    assert told(result, constant_loss=0.25).score.scale == 0.25
    result["random_train_loss"][0, 0, 0] = np.nan
    assert gather(result).score.scale == pytest.approx(float(result["random_train_loss"].mean()))
    result["random_train_loss"][:] = 0.5
    assert gather(result).score.scale == 0.5
    for nothing in (0.0, np.nan):
        result["random_train_loss"][:] = nothing
        assert gather(result).score.scale == 1.0
    assert told(small(finetune=False, average=False), kind="regression").score.name == "loss"


def test_an_entropy_that_is_not_known_bounds_no_accuracy() -> None:
    """A network that is not scale-invariant, in equilibrium with all labels right, is not dead."""
    result = small(finetune=False, average=False, invariant=False, space="whole")
    result["pretrain/train_loss"][-1] = 0.3
    result["pretrain/train_accuracy"][-1] = 0.9
    assert (told(result, loss="cross_entropy").votes_LU == gather(result).votes_LU).all()
    assert (told(result, loss="cross_entropy", constant_loss=0.69).votes_LU == gather(result).votes_LU).all()
    assert (gather(result).votes_LU[-1] == 2).all()
    result["pretrain/train_accuracy"][-1] = 0.7
    assert (told(result, loss="cross_entropy", classes=10).votes_LU == gather(result).votes_LU).all()
    one = told(result, loss="cross_entropy", classes=1, constant_loss=0.1)
    assert (one.votes_LU == told(result, constant_loss=0.1).votes_LU).all()


def test_the_entropy_of_two_classes_bounds_the_accuracy_of_a_constant() -> None:
    shares = np.array([0.62, 0.38])
    constant = float(-(shares * np.log(shares)).sum())
    result = small(finetune=False, average=False, invariant=False, space="whole")
    result["pretrain/train_loss"][-1], result["pretrain/train_accuracy"][-1] = 1.01 * constant, 0.62
    for loss, vote in (("cross_entropy", 3), ("binary_cross_entropy", 3), ("mse", 2)):
        assert (told(result, loss=loss, constant_loss=constant).votes_LU[-1] == vote).all()


def test_what_a_result_leaves_out_is_the_usual() -> None:
    """A constant learning rate, all of the grid, classes."""
    result = small(finetune=False, average=False)
    config, task = (json.loads(result.attrs[name]) for name in ("config", "task"))
    del config["schedule"], task["kind"]
    bare = gather(changed(result, config=json.dumps(config), task=json.dumps(task)))
    assert (bare.schedule, bare.share, bare.score) == ("constant", 1.0, Score(accurate=True, scale=1.0))
    config["schedule"] = "cosine"
    other = gather(changed(result, config=json.dumps(config), plan=json.dumps({"trained_share": 0.25})))
    assert (other.schedule, other.share) == ("cosine", 0.25)


def test_most_fine_tunes_are_more_than_half_of_the_finite_ones() -> None:
    falls = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], bool)[:, None]
    drop = np.array([[1, 1, 0], [1, 0, 0], [1, 0, np.nan], [1, np.nan, np.nan]])[:, None]
    ending = Ending(falls=falls, drop=drop, drift=np.zeros(drop.shape))
    assert ending.mostly_falls(0).tolist() == [True, False, False, True]


@pytest.mark.parametrize(("best", "learned"), [(0.52, True), (0.505, False), (np.nan, False)])
def test_fine_tuning_learned_if_its_best_mean_is_clear_of_guessing(best: float, learned: bool) -> None:
    """A fiftieth of the way from guessing, here 0.5, to perfect."""
    reached = np.full((4, 1, 2), np.nan)
    reached[1], reached[2, 0] = 0.4, [best, np.nan]
    if not np.isfinite(best):
        reached[:] = np.nan
    seen = replace(gather(small()), finetuned=Quality(test=reached, chooses=reached))
    assert seen.tuning_learned == learned


def test_fine_tunes_end_as_their_last_quarters_do() -> None:
    result = small(lrs=3)
    loss, quality = result["finetune/train_loss"], result["finetune/test_accuracy"]
    loss[:], quality[:] = 0.1, 0.5
    loss[1, 1] = np.exp(-0.4 * np.arange(10))
    loss[2, 1, 2, 1, 3] = np.nan
    quality[0, 2, ..., 7:] = 0.6  # the last quarter of ten windows
    quality[0, 2, ..., 5:7] = [0.35, 0.45]  # the quarter before it
    ending = gather(result).ending
    assert ending is not None
    assert np.argwhere(ending.falls.any(2)).tolist() == [[1, 1]]
    assert np.argwhere(np.isnan(ending.drop)).tolist() == np.argwhere(np.isnan(ending.drift)).tolist() == [[2, 1, 5]]
    assert ending.drop[1, 1] == pytest.approx(1.0, abs=0.01)
    assert ending.drift[0, 2] == pytest.approx(0.2)
    assert not ending.drift[1].any()
