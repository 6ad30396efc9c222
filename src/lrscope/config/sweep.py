"""What a sweep trains, resolved and checked at construction. Saved with every result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

from lrscope.config.branches import MOST_STEPS, Branch, Branches, check_tree
from lrscope.config.schedule import Course
from lrscope.dynamics.optimizers import OPTIMIZERS, OWN
from lrscope.dynamics.optimizers import options as options_of
from lrscope.errors import LrscopeError, shown
from lrscope.readers import Flag, Increasing, Number, Pair, Rates, Whole, Word, either, read_fields

LEAST_ADAPTIVE_LRS = 8  # ours: with fewer, scouts and neighbours of the borders are the whole grid
MOST_RUNS = 10_000_000  # ours: the largest sweep of docs/scaling.md
LAST_SEED = 1_000_000_000  # ours
HUGE = 1e6  # ours: of norms and decays; beyond it float32 overflows or nothing is left of the weights

Steps = Annotated[int, Whole(1, MOST_STEPS)]
Epochs = Annotated[float, Number(0, MOST_STEPS, above=True)]
Yes = Annotated[bool, Flag()]
Times = Annotated[tuple[float, ...], Increasing(Number(0, MOST_STEPS, above=True), "0.1,0.5,1")]
RANDAUGMENT = Pair(  # Cubuk et al. 2020: magnitudes go up to 30
    Whole(1, 100),
    Whole(0, 30),
    "N,M with N from 1 to 100 operations an image and a magnitude M from 0 to 30",
    "2,14",
)
BETAS = Pair(Number(0, 1, below=True), Number(0, 1, below=True), "two numbers from 0 and below 1", "0.9,0.999")


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """A sweep over learning rates and seeds: what is trained and what is logged.

    Everything here determines the numbers; where and how it runs is `EngineConfig`.
    """

    lrs: Annotated[tuple[float, ...], Rates()]
    """Learning rates. On the sphere they are effective ones (ELR).

    Panel: Learning rates and seeds
    """
    seeds: Annotated[int, Whole(1, 10_000)] = 3
    """Training seeds per learning rate.

    Origin: ours: the least that shows a spread
    """
    data_seeds: Annotated[int, Whole(1, 1_000)] = 1  # every draw of the data is held in memory
    """Draws of the data, each trained with all seeds."""
    first_seed: Annotated[int, Whole(0, LAST_SEED)] = 0
    """The first training seed; the others follow it. A run depends on its own seed alone."""
    first_data_seed: Annotated[int, Whole(0, LAST_SEED)] = 0
    """The first draw of the data; the others follow it."""
    same_init: Annotated[bool, Flag(off="own-init")] = True
    """Start every learning rate from the same initialisation with the same batches, or each from its own.

    Origin: three_regimes, Sec. 4
    """
    adaptive: Yes = False
    """Train only the runs that the borders need, in rounds; the others stay untrained."""

    space: Annotated[str, Word(("sphere", "whole"))] = "sphere"
    """Where weights live. Weight decay is for the whole space.

    Origin: three_regimes, Sec. 4
    Panel: Space of the weights
    """
    scale_invariant: Yes | None = None
    """Make the network scale-invariant.

    Default: true on the sphere, false in the whole space
    """
    radius: Annotated[float | None, Number(1 / HUGE, HUGE)] = None
    """Total norm of the weights on the sphere.

    Default: the initial norm
    Origin: three_regimes, Sec. 4
    """
    epochs: Epochs | None = None
    """Length of pre-training in epochs.

    Panel: Training
    """
    steps: Steps | None = None
    """Length of pre-training in optimizer steps, instead of epochs."""
    batch_size: Annotated[int, Whole(1, 10_000_000)] = 128
    """Examples per step.

    Origin: three_regimes, Sec. 4
    """
    optimizer: Annotated[str, Word((*OPTIMIZERS, OWN))] = "sgd"
    """The optimizer, as torch.optim has it; task is the task's own. On the sphere weights are projected back after each update.

    Origin: three_regimes, Sec. 4
    """
    momentum: Annotated[float, Number(0, 1, below=True)] = 0.0
    """Momentum of sgd and rmsprop."""
    nesterov: Yes = False
    """Nesterov's momentum instead of the heavy ball, for sgd."""
    betas: Annotated[tuple[float, float], BETAS] = (0.9, 0.999)
    """How long adam, adamw and muon average gradients and their squares.

    Origin: Kingma & Ba 2015, Alg. 1
    """
    epsilon: Annotated[float, Number(0, 1)] = 1e-8
    """Term in the denominator of rmsprop, adam, adamw and muon.

    Origin: Kingma & Ba 2015, Alg. 1
    """
    rmsprop_alpha: Annotated[float, Number(0, 1, below=True)] = 0.99
    """How long rmsprop averages squared gradients.

    Origin: torch.optim.RMSprop
    """
    muon_momentum: Annotated[float, Number(0, 1, below=True)] = 0.95
    """Momentum of muon.

    Origin: Jordan et al. 2024
    """
    weight_decay: Annotated[float, Number(0, HUGE)] = 0.0
    """Weight decay in the whole space. An L2 term in the gradient for sgd, rmsprop and adam, decoupled for adamw and muon."""
    clip_norm: Annotated[float | None, Number(0, HUGE, above=True)] = None
    """Largest norm of a run's gradient; longer ones are shortened to it.

    Default: none
    """
    schedule: Annotated[str, Course()] = "constant"
    """Course of the learning rate during pre-training; in Python also a function of (step, steps) that returns a factor."""
    warmup_epochs: Epochs | None = None
    """Length of a linear rise of the learning rate at the beginning of pre-training, in epochs; the schedule follows.

    Default: none
    """
    warmup_steps: Steps | None = None
    """Length of the rise in optimizer steps, instead of epochs."""
    augment: Yes = False
    """Crop images at random from a black frame of an eighth of the side, and flip them.

    Origin: feature_learning, App. A
    """
    randaugment: Annotated[tuple[int, int] | None, RANDAUGMENT] = None
    """RandAugment of images. It is slow.

    Default: none
    """
    activation_noise: Annotated[float, Number(0, HUGE)] = 0.0
    """Standard deviation of noise that is added before layers in training: one map for the whole batch."""
    noise_before: Annotated[str, Word(words="activations, classes or names of layers with commas between them")] = (
        "ReLU"
    )
    """The layers that it is added before.

    Origin: learning_order, Sec. 6
    """
    noise_schedule: Annotated[str, Course()] = "constant"
    """Course of that noise over pre-training; later segments go on with what it comes to at their step, at most its end."""
    precision: Annotated[str, Word(("float32", "float64", "bf16"))] = "float32"
    """Numbers that the network is trained in."""

    finetune_lrs: Annotated[tuple[float, ...], Rates(optional=True)] = ()
    """Learning rates at which every run is fine-tuned.

    Default: none
    Panel: Fine-tuning and averaging
    """
    finetune_epochs: Epochs | None = None
    """Length of each fine-tuning in epochs."""
    finetune_steps: Steps | None = None
    """Length of each fine-tuning in optimizer steps, instead of epochs."""
    average: Annotated[tuple[int, ...], Increasing(Whole(2, 10_000), "2,5,10")] = ()
    """How many checkpoints are averaged (SWA) after pre-training.

    Default: none
    """
    average_every: Steps | None = None
    """Steps between averaged checkpoints.

    Default: one epoch
    Origin: feature_learning, App. A
    """

    branches: Annotated[tuple[Branch, ...], Branches()] = ()
    """Further segments that leave pre-training, a fine-tuning or another branch.

    Default: none
    Panel: Branches
    """

    log_points: Annotated[int, Whole(1, 10_000)] = 200
    """Logged points of a phase at most.

    Origin: ours: a curve as fine as a screen shows
    Panel: Logging
    """
    log_epochs: Times = ()
    """Further times of pre-training that are logged, in epochs and parts of them.

    Default: none
    """
    finetune_log_epochs: Times = ()
    """Further times of each fine-tuning that are logged, in epochs from its beginning.

    Default: none
    """
    log_features: Yes = False
    """Log accuracy on feature sets along training, not only at the end of each segment."""
    snapshot_epochs: Times = ()
    """Times of pre-training, in epochs, whose weights are kept.

    Default: none
    """
    keep_weights: Yes = False
    """Keep the weights of fine-tunes, branches and averages too; those at the end of pre-training always are."""
    random_points: Annotated[int, Whole(1, 10_000)] = 16
    """Random points per seed, whose loss marks where training is no better than chance.

    Origin: ours: the mean of 16 is known to a quarter of their spread
    """

    def __post_init__(self) -> None:
        read_fields(self)
        runs = len(self.lrs) * self.seeds * self.data_seeds
        if runs > MOST_RUNS:
            raise LrscopeError(
                f"seeds: {len(self.lrs):,} learning rates x {self.seeds:,} seeds x {self.data_seeds:,} data seeds are {runs:,} "
                f"runs, more than {MOST_RUNS:,}: use fewer"
            )
        self._check_space()
        self._check_optimizer()
        self._check_warmup()
        self._check_noise()
        self._check_length("epochs", "steps")
        if self.finetune_lrs:
            if self.finetune_epochs is None and self.finetune_steps is None:
                raise LrscopeError(
                    "finetune_epochs: missing, yet finetune_lrs are given: say how long to fine-tune, in finetune_epochs or "
                    "finetune_steps"
                )
            self._check_length("finetune_epochs", "finetune_steps")
        elif self.finetune_epochs is not None or self.finetune_steps is not None:
            raise LrscopeError("finetune_lrs: missing, yet a fine-tuning length is given: name the learning rates too")
        if self.finetune_log_epochs and not self.finetune_lrs:
            raise LrscopeError(
                f"finetune_log_epochs: {shown(list(self.finetune_log_epochs))} is given without finetune_lrs: name the learning "
                "rates of fine-tuning too, or leave it out"
            )
        if self.average_every is not None and not self.average:
            raise LrscopeError(
                f"average_every: {self.average_every} is given without average: name the numbers of checkpoints too, such as "
                "2,5,10, or leave it out"
            )
        check_tree(self.branches, finetunes=bool(self.finetune_lrs))
        if self.adaptive:
            self._check_adaptive()

    def _check_space(self) -> None:
        if self.space == "sphere":
            if self.scale_invariant is False:
                raise LrscopeError("scale_invariant: false does not go with space sphere: use space whole")
            if self.weight_decay:
                raise LrscopeError(
                    f"weight_decay: {self.weight_decay:g} has no meaning on the sphere, where the norm of the weights is fixed: "
                    "leave it out, or use space whole"
                )
        elif self.radius is not None:
            raise LrscopeError(f"radius: {self.radius:g} has no meaning in space whole: leave it out")

    def _check_optimizer(self) -> None:
        """Refuse options of other optimizers."""
        defaults = {f.name: f.default for f in fields(self)}
        if self.optimizer == OWN and self.space == "sphere":
            raise LrscopeError(
                "optimizer: the task's own does not train on the sphere, because nothing says how its steps depend on the "
                "radius: use space whole"
            )
        own = options_of(self.optimizer)
        for name in dict.fromkeys(option for optimizer in OPTIMIZERS for option in options_of(optimizer)):
            if name not in own and getattr(self, name) != defaults[name]:
                owners = either([o for o in OPTIMIZERS if name in options_of(o)], " and ")
                raise LrscopeError(
                    f"{name}: {shown(getattr(self, name))} is an option of {owners}, not of {_named(self.optimizer)}: leave it "
                    "out"
                )
        if self.nesterov and not self.momentum:
            raise LrscopeError("nesterov: it needs momentum, which is 0: give momentum too, such as 0.9")

    def _check_warmup(self) -> None:
        if self.warmup_epochs is not None and self.warmup_steps is not None:
            raise LrscopeError(
                f"warmup_epochs and warmup_steps: give one of them (now warmup_epochs={self.warmup_epochs}, "
                f"warmup_steps={self.warmup_steps})"
            )

    def _check_noise(self) -> None:
        """Refuse options of noise that there is not, and a course of noise where its step is not known."""
        defaults = {f.name: f.default for f in fields(self)}
        for name in ("noise_before", "noise_schedule"):
            if not self.activation_noise and getattr(self, name) != defaults[name]:
                raise LrscopeError(f"{name}: given without activation_noise: say how strong it is, or leave it out")
        if self.noise_schedule != "constant" and any(branch.at_loss for branch in self.branches):
            raise LrscopeError(
                "noise_schedule: a branch begins at a loss, so the step of its noise is not known before: use a "
                "constant schedule, or branches at times"
            )

    def _check_length(self, epochs: str, steps: str) -> None:
        e, s = getattr(self, epochs), getattr(self, steps)
        if (e is None) == (s is None):
            raise LrscopeError(f"{epochs} and {steps}: give exactly one of them (now {epochs}={e}, {steps}={s})")

    def _check_adaptive(self) -> None:
        if len(self.lrs) < LEAST_ADAPTIVE_LRS:
            raise LrscopeError(
                f"adaptive: {len(self.lrs)} learning rates are too few to leave any out: give at least "
                f"{LEAST_ADAPTIVE_LRS}, such as 1e-5:1:24, or leave adaptive out"
            )
        if self.average and not self.finetune_lrs:
            raise LrscopeError(
                "adaptive: averages are taken only where runs are fine-tuned: name finetune_lrs too, or leave average out"
            )

    @property
    def invariant(self) -> bool:
        """Is the network made scale-invariant?"""
        return self.space == "sphere" if self.scale_invariant is None else self.scale_invariant

    @property
    def training_seeds(self) -> range:
        """The training seeds, in their order."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def draws(self) -> range:
        """The data seeds, in their order."""
        return range(self.first_data_seed, self.first_data_seed + self.data_seeds)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SweepConfig:
        """The inverse of `to_dict`.

        Raises:
            LrscopeError: a value that cannot be used, or no learning rates.
        """
        known = {f.name for f in fields(cls)}
        return cls(**{"lrs": (), **{k: v for k, v in values.items() if k in known}})


def _named(optimizer: str) -> str:
    return "the task's own optimizer" if optimizer == OWN else optimizer
