"""Which learning rates to start from, and why, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrscope.mapping.types import Recommendation


def recommend(
    lrs: NDArray[np.float64],
    labels: Sequence[str],
    quality_LU: NDArray[np.float64] | None,
    pretrained_LU: NDArray[Any],
    finetune_lr: float | None,
) -> Recommendation:
    """Start in 2A where fine-tuning has shown it; otherwise just above the border 1|2, to be checked by fine-tuning.

    Args:
        labels: regimes by learning rate. quality_LU: test quality after fine-tuning (larger is better) or None.
        pretrained_LU: test quality after pre-training. finetune_lr: the low FLR that quality_LU was reached with.
    """
    best = [k for k, label in enumerate(labels) if label == "2A"]
    if best and quality_LU is not None:
        with np.errstate(all="ignore"):
            inside = float(np.nanmean(quality_LU[best]))
            elsewhere = [k for k in range(len(labels)) if k not in best and np.isfinite(quality_LU[k]).any()]
            outside = max((float(np.nanmean(quality_LU[k])) for k in elsewhere), default=np.nan)
        return Recommendation(
            low=float(lrs[best[0]]),
            high=float(lrs[best[-1]]),
            reason=(
                f"subregime 2A: decaying from here to {finetune_lr:g} ends at test quality {abs(inside):.4g} on average, "
                f"as good as the best of the grid within noise (best outside 2A: {abs(outside):.4g}); "
                "stay until the loss is stationary, then decay below the border 1|2"
            ),
        )
    ones = [k for k, label in enumerate(labels) if label == "1"]
    twos = [k for k, label in enumerate(labels) if label.startswith("2")]
    if ones and twos and quality_LU is not None:
        return Recommendation(
            low=float(lrs[ones[-1]]),
            high=float(lrs[ones[-1]]),
            reason="no 2A seen: the highest learning rate of regime 1, the flattest that still converges by itself",
        )
    if ones and twos:
        stop = twos[min(1, len(twos) - 1)]
        return Recommendation(
            low=float(lrs[ones[-1]]),
            high=float(lrs[stop]),
            reason=(
                "around the border 1|2, where the papers find the best starts; "
                "add --finetune-lrs to see how far 2A reaches"
            ),
        )
    if ones:
        with np.errstate(all="ignore"):
            reached = float(np.nanmean(pretrained_LU[ones[-1]]))
        return Recommendation(
            low=None,
            high=None,
            reason=f"only regime 1 seen up to {lrs[ones[-1]]:g} (test quality {abs(reached):.4g} there): "
            "extend the grid up until the loss no longer converges",
        )
    return Recommendation(
        low=None, high=None, reason="no converging learning rate seen: extend the grid down, or train longer"
    )
