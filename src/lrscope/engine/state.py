"""Names of the tensors that make up a chunk's state and its results, and what their columns are."""

from __future__ import annotations

SUMMED = ("train_loss", "train_accuracy", "grad_norm", "effective_grad_norm")
SCALARS = (*SUMMED, "test_loss", "test_accuracy", "norm")
FIXED = ("fixed_train_loss", "fixed_train_accuracy", "fixed_grad_norm")
AVERAGED = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
PRETRAINED = "pretrain_"  # begins the names of tensors as pre-training left them
# Tensors whose first axis is a logging interval or an average's size and whose second is the run; others begin with the run.
RUNS_SECOND = (
    "log_scalars",
    "log_groups",
    "log_examples",
    "average_scalars",
    "average_features",
    "average_weights",
    "average_validation",
    "snapshots",
)
