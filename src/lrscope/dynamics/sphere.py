"""The sphere: the weights of a run keep their total norm. R runs, P parameters, G groups."""

from __future__ import annotations

from torch import Tensor

from lrscope.dynamics.layout import Segments, group_squares


def project(weights_RP: Tensor, rho_R: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """Rescale all weights of each run together to norm rho: after an update, the second half of three_regimes, eq. 2.

    Returns: weights [R, P] and their groups' squared norms [R, G].
    """
    squares = group_squares(weights_RP, segments)
    scale_R = rho_R / squares.sum(1).sqrt()
    return weights_RP * scale_R[:, None], squares * scale_R[:, None].square()
