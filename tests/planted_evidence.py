"""What the rules look at, planted by hand: no result, no training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrscope.mapping.gather import Ending, Evidence, Quality, Score

Array = NDArray[np.float64]
TUNED_AT = (0.1, 0.2)


def same(values: Any) -> Quality:
    """Test results that choose too."""
    array = np.asarray(values, dtype=float)
    return Quality(test=array, chooses=array)


def learning_rates(count: int) -> Array:
    """1, 4, 16 ...: the middle of a cell is a power of two."""
    return np.asarray(4.0 ** np.arange(count))


def planted(votes: Sequence[Sequence[int]], **facts: Any) -> Evidence:
    """Evidence with these votes [L, U]; unless said, all is trained and finite, accuracies are 0.5 and nothing is fine-tuned."""
    votes_LU = np.array(votes, np.int64)
    lrs, units = votes_LU.shape
    nowhere = np.zeros(votes_LU.shape, bool)
    told: dict[str, Any] = {
        "lrs": learning_rates(lrs),
        "votes_LU": votes_LU,
        "slow_LU": nowhere,
        "jumps_LU": nowhere,
        "broken_LU": nowhere,
        "score": Score(accurate=True),
        "chosen_by": "test accuracy",
        "guess": 0.1,
        "pretrained": same(np.full(votes_LU.shape, 0.5)),
        "finetuned": None,
        "finetune_lrs": (),
        "lost_LFU": None,
        "averaged": None,
        "ending": None,
        "data_seeds": 1,
        "seeds": units,
        "scale_invariant": True,
        "schedule": "constant",
        "windows": 40,
        "trained_LU": ~nowhere,
        "tuned_LU": nowhere,
        "level_LU": np.zeros(votes_LU.shape),
        "best": None,
        "share": 1.0,
        "likely_LU": votes_LU,
    }
    return Evidence(**{**told, **facts})


def tuned(chooses: Any, **facts: Any) -> dict[str, Any]:
    """Facts of fine-tuning at 0.1 and 0.2 that ended with these qualities [L, F, U], all finite and converged."""
    quality = same(chooses)
    shape = quality.test.shape
    zeros = np.zeros(shape)
    return {
        "finetuned": quality,
        "finetune_lrs": TUNED_AT,
        "lost_LFU": np.zeros(shape, bool),
        "tuned_LU": np.ones((shape[0], shape[2]), bool),
        "ending": Ending(falls=np.zeros(shape, bool), drop=zeros, drift=zeros),
        **facts,
    }


def at(shape: tuple[int, ...], *places: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask that is set at some places."""
    found = np.zeros(shape, bool)
    for place in places:
        found[place] = True
    return found
