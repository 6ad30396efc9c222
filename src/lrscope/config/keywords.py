"""The options of `sweep` as editors complete them. Written by `make options` from the configs: do not edit.

Types are what may be passed; the configs hold what it is read as. NumPy's, PyTorch's and pandas' numbers and arrays, and
text as the command line writes it, are read too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lrscope.config.branches import Branch

    Real = float | np.floating | np.integer
    Whole = int | np.integer
    Reals = float | str | Sequence[float] | np.ndarray | Tensor
    Wholes = int | str | Sequence[int] | np.ndarray | Tensor


class SweepOptions(TypedDict, total=False):
    """Fields of `SweepConfig` but `lrs`, then of `EngineConfig`."""

    seeds: Whole
    """Training seeds per learning rate. Default: 3."""
    data_seeds: Whole
    """Draws of the data, each trained with all seeds. Default: 1."""
    first_seed: Whole
    """The first training seed; the others follow it. A run depends on its own seed alone. Default: 0."""
    first_data_seed: Whole
    """The first draw of the data; the others follow it. Default: 0."""
    same_init: bool
    """Start every learning rate from the same initialisation with the same batches, or each from its own. Default:
    true.
    """
    adaptive: bool
    """Train only the runs that the borders need, in rounds; the others stay untrained. Default: false."""
    space: Literal["sphere", "whole"]
    """Where weights live: sphere or whole. Weight decay is for the whole space. Default: sphere."""
    scale_invariant: bool | None
    """Make the network scale-invariant. Default: true on the sphere, false in the whole space."""
    radius: Real | None
    """Total norm of the weights on the sphere. Default: the initial norm."""
    epochs: Real | None
    """Length of pre-training in epochs."""
    steps: Whole | None
    """Length of pre-training in optimizer steps, instead of epochs."""
    batch_size: Whole
    """Examples per step. Default: 128."""
    optimizer: Literal["sgd", "rmsprop", "adam", "adamw", "muon", "task"]
    """The optimizer, as torch.optim has it; task is the task's own: one of sgd, rmsprop, adam, adamw, muon, task. On
    the sphere weights are projected back after each update. Default: sgd.
    """
    momentum: Real
    """Momentum of sgd and rmsprop. Default: 0."""
    nesterov: bool
    """Nesterov's momentum instead of the heavy ball, for sgd. Default: false."""
    betas: tuple[float, float] | Sequence[float] | str
    """How long adam, adamw and muon average gradients and their squares: two numbers from 0 and below 1, such as
    0.9,0.999. Default: 0.9,0.999.
    """
    epsilon: Real
    """Term in the denominator of rmsprop, adam, adamw and muon. Default: 1e-08."""
    rmsprop_alpha: Real
    """How long rmsprop averages squared gradients. Default: 0.99."""
    muon_momentum: Real
    """Momentum of muon. Default: 0.95."""
    weight_decay: Real
    """Weight decay in the whole space. An L2 term in the gradient for sgd, rmsprop and adam, decoupled for adamw and
    muon. Default: 0.
    """
    clip_norm: Real | None
    """Largest norm of a run's gradient; longer ones are shortened to it. Default: none."""
    schedule: str | Callable[[int, int], float]
    """Course of the learning rate during pre-training; in Python also a function of (step, steps) that returns a
    factor: constant, cosine, linear, 1-sqrt, step:FACTOR@FRACTION,FRACTION such as step:0.2@0.3,0.6, exponential:END
    such as exponential:0.01, cyclic:LOW@CYCLES such as cyclic:0.1@4 or wsd:FRACTION such as wsd:0.2 or wsd:0.2,linear.
    Default: constant.
    """
    warmup_epochs: Real | None
    """Length of a linear rise of the learning rate at the beginning of pre-training, in epochs; the schedule follows.
    Default: none.
    """
    warmup_steps: Whole | None
    """Length of the rise in optimizer steps, instead of epochs."""
    augment: bool
    """Crop images at random from a black frame of an eighth of the side, and flip them. Default: false."""
    randaugment: tuple[int, int] | Sequence[int] | str | None
    """RandAugment of images: N,M with N from 1 to 100 operations an image and a magnitude M from 0 to 30, such as 2,14.
    It is slow. Default: none.
    """
    activation_noise: Real
    """Standard deviation of noise that is added before layers in training: one map for the whole batch. Default: 0."""
    noise_before: str
    """The layers that it is added before: activations, classes or names of layers with commas between them. Default:
    ReLU.
    """
    noise_schedule: str | Callable[[int, int], float]
    """Course of that noise over pre-training; later segments go on with what it comes to at their step, at most its
    end: constant, cosine, linear, 1-sqrt, step:FACTOR@FRACTION,FRACTION such as step:0.2@0.3,0.6, exponential:END such
    as exponential:0.01, cyclic:LOW@CYCLES such as cyclic:0.1@4 or wsd:FRACTION such as wsd:0.2 or wsd:0.2,linear.
    Default: constant.
    """
    precision: Literal["float32", "float64", "bf16"]
    """Numbers that the network is trained in: one of float32, float64, bf16. Default: float32."""
    finetune_lrs: Reals
    """Learning rates at which every run is fine-tuned: low:high:count, such as 1e-5:1:24, or a list such as 1e-3,1e-2.
    Default: none.
    """
    finetune_epochs: Real | None
    """Length of each fine-tuning in epochs."""
    finetune_steps: Whole | None
    """Length of each fine-tuning in optimizer steps, instead of epochs."""
    average: Wholes
    """How many checkpoints are averaged (SWA) after pre-training: increasing whole numbers from 2 to 10,000, such as
    2,5,10. Default: none.
    """
    average_every: Whole | None
    """Steps between averaged checkpoints. Default: one epoch."""
    branches: Branch | str | Sequence[Branch | Mapping[str, Any]]
    """Further segments that leave pre-training, a fine-tuning or another branch: branches with ; between them, such as
    decay at=10,20 factors=0.1 epochs=5. Default: none.
    """
    log_points: Whole
    """Logged points of a phase at most. Default: 200."""
    log_epochs: Reals
    """Further times of pre-training that are logged, in epochs and parts of them: increasing numbers above 0 and up to
    1e+08, such as 0.1,0.5,1. Default: none.
    """
    finetune_log_epochs: Reals
    """Further times of each fine-tuning that are logged, in epochs from its beginning: increasing numbers above 0 and
    up to 1e+08, such as 0.1,0.5,1. Default: none.
    """
    log_features: bool
    """Log accuracy on feature sets along training, not only at the end of each segment. Default: false."""
    snapshot_epochs: Reals
    """Times of pre-training, in epochs, whose weights are kept: increasing numbers above 0 and up to 1e+08, such as
    0.1,0.5,1. Default: none.
    """
    keep_weights: bool
    """Keep the weights of fine-tunes, branches and averages too; those at the end of pre-training always are. Default:
    false.
    """
    random_points: Whole
    """Random points per seed, whose loss marks where training is no better than chance. Default: 16."""
    device: str
    """Where tensors live: auto, cpu, cuda or mps. Auto prefers a GPU. Default: auto."""
    jobs: Whole | None
    """Processes that train at a time. Default: one per core."""
    path: Literal["auto", "batched", "single"]
    """How runs are trained: one of auto, batched, single. Auto times both ways. Default: auto."""
    chunk: Whole | None
    """Runs that are trained together. Default: timed."""
    compile: bool | None
    """Compile the training steps, as C++ or by torch.compile. Default: where it pays."""
    checkpoint_seconds: Real
    """Seconds between checkpoints of unfinished runs. Default: 15."""
    on: Literal["local", "ray"]
    """Where processes run: local or ray. Ray's may run on many machines. Default: local."""
    extend_finetunes: bool
    """The folder holds this sweep with shorter fine-tunes: keep its pre-training and fine-tune anew, longer. Default:
    false.
    """
