"""What both simulators measure on the way, from outputs on the training examples.

S data sets, R runs, N examples, B times.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from lrscope.studies.learning_order.distribution import P_ONLY, Q_ONLY, Examples

Curves = dict[str, np.ndarray]  # [B, S, R] each, and [B, S, R, 3] for g

QUANTITIES = {
    "time": "T = learning rate x steps",
    "annealed": "1 once the learning rate is the small one",
    "loss": "training loss (nat)",
    "loss_p_only": "training loss on the examples with P alone, the complement of M_2",
    "loss_q_only": "training loss on the examples with Q alone, the complement of M_1",
    "loss_m1": "training loss on M_1, the examples with P",
    "loss_m2": "training loss on M_2, the examples with Q",
    "loss_r_m1": "training loss of r alone on M_1 (Lemma 4.4)",
    "g": "g(z - zeta), g(z), g(z + zeta)",
    "along": "component along w* of r's linear predictor, (r(x) - r(-x)) / 2",
    "across": "norm of the rest of r's linear predictor",
    "error_p": "test error on examples with P alone",
    "error_p_signal": "the same of the signal part alone, without the noise's own output",
    "error_q": "test error on examples with Q alone",
    "error_both": "test error on examples with both",
    "norm_w": "Frobenius norm of W's signal part (Lemma 4.1)",
    "norm_v": "Frobenius norm of V's signal part (Lemma 4.1)",
    "norm_w_m2": "Frobenius norm of W's signal part that comes from M_2 (Lemma 5.2)",
    "norm_w_m1": "Frobenius norm of W's signal part that comes from the complement of M_2 (eq. 5.1)",
    "along_m2": "component along w* of r's linear predictor that comes from M_2",
    "noise_std": "standard deviation of the noise part over tau_0: 1 at the start (eq. 3.3)",
    "noise_kept": "correlation of the noise part with the initialisation",
}


def losses(r: Tensor, g: Tensor, examples: Examples) -> dict[str, Tensor]:
    """Mean logistic losses [S, R] over subsets, for outputs r and g [S, R, N] on the examples; NaN over an empty subset."""
    labels = examples.labels[:, None]
    whole, first = softplus(-labels * (r + g)), softplus(-labels * r)
    kind = examples.kind
    return {
        "loss": whole.mean(-1),
        "loss_p_only": _mean(whole, kind == P_ONLY),
        "loss_q_only": _mean(whole, kind == Q_ONLY),
        "loss_m1": _mean(whole, examples.has_first),
        "loss_m2": _mean(whole, examples.has_second),
        "loss_r_m1": _mean(first, examples.has_first),
    }


def error_q(g: Tensor) -> Tensor:
    """Test error on examples with Q alone [...], exact: the share of the directions [..., 3] with a wrong sign, where 0 counts half."""
    wrong = (1 + torch.tensor([1.0, -1.0, 1.0], dtype=g.dtype) * g.sign()) / 2
    return wrong @ torch.tensor([0.25, 0.5, 0.25], dtype=g.dtype)


def pull(outputs: Tensor, labels: Tensor) -> Tensor:
    """Minus the derivative of the training loss by each output [S, R, N]: y sigmoid(-y f) / N."""
    return labels * torch.sigmoid(-labels * outputs) / outputs.shape[-1]


def stacked(records: list[dict[str, Tensor]]) -> Curves:
    """Records of B times as arrays [B, S, R, ...], float64."""
    return {name: torch.stack([r[name].double() for r in records]).numpy() for name in records[0]}


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Over the chosen examples [S, N]: [S, R]."""
    weights = chosen[:, None].to(values)
    return (values * weights).sum(-1) / weights.sum(-1)
