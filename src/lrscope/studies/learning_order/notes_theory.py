"""Sentences in the notes of LO5 and LO6."""

from __future__ import annotations

import numpy as np
import xarray as xr

from lrscope.studies import arrays
from lrscope.studies.learning_order import effects_theory as effects
from lrscope.studies.learning_order.effects_theory import LARGE, SMALL, Compared


def said(value: float) -> str:
    """A number, or words where there is none."""
    return f"{value:.2f}" if np.isfinite(value) else "an undetermined number"


def only_from(found: Compared, curves: xr.Dataset) -> str:
    """How far the sentence "P only from the examples with P alone" is from what is found."""
    p, q = float(curves.attrs["p"]), float(curves.attrs["q"])
    alike = float(effects.share(np.array(1 - p - q), np.array(p)))
    return (
        f"P only from the examples with P alone would be 0 of the square along w*, all examples alike {alike:.2g}; S has "
        f"{said(arrays.average(found.share_along(SMALL)))}, L-S {said(arrays.average(found.share_along(LARGE)))}."
    )


def locally(powers: dict[str, list[float]]) -> str:
    """Powers between neighbouring d, which a single one over all of them hides."""
    words = [f"{name} {', '.join(said(one) for one in of)}" for name, of in powers.items()]
    return f"Powers from each d to the next: {'; '.join(words)}."
