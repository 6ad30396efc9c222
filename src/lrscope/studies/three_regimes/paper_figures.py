"""The list of the paper's figures: what each shows there, and what differs here."""

from __future__ import annotations

from functools import partial

from lrscope.studies.three_regimes import figures, figures_measurements, figures_tuning
from lrscope.studies.types import PaperFigure

SMALL = "Smaller network and images, a few thousand steps instead of 1000 epochs, several seeds instead of one."
MLP = "An MLP on digits instead of the ConvNet on CIFAR-10."
WIDE = "An MLP with 256 units a layer on digits instead of the ConvNet on CIFAR-10."
SEEDS = " Several seeds instead of one."
DRAWS = " Several draws of the data with one seed each, instead of one."
ONE_SEED = " Trajectories are single runs, of the first seed."
TUNED_LINES = " Single runs of the first seed; grey: pre-training; dashed: training from initialisation with the nearest fixed ELR."
TUNED = SMALL + TUNED_LINES
NOISY = MLP + SEEDS + " With 20% label noise, where regime 2 is 1.5 decades wide." + TUNED_LINES

FIGURES = (
    PaperFigure(
        number="1",
        title="Three regimes of training on the sphere",
        look_for="Low ELRs fall steadily, medium ones level off, high ones never leave the level of guessing; over the ELR the final loss "
        "bends at both borders. Along training, trajectories of regime 1 pass a peak of sharpness, where those of regime 2 stop.",
        differs=SMALL + ONE_SEED,
        needs=("convnet",),
        draw=partial(figures.single_runs, name="convnet"),
    ),
    PaperFigure(
        number="2",
        title="The toy function under three ELRs",
        look_for="The smallest ELR decays exponentially, the medium one settles at a level, the largest one is chaotic.",
        differs="Nothing but the starting point, which the paper does not publish.",
        needs=("toy",),
        draw=figures_measurements.toy_values,
    ),
    PaperFigure(
        number="3",
        title="Regime 1: trajectories, and fine-tuning with other ELRs",
        look_for="At equal training loss a larger ELR runs flatter and with less test error; the lowest coincide. Decreased ELRs stay on "
        "their trajectory, much increased ones jump up and come down on a flatter one.",
        differs=TUNED,
        needs=("convnet", "tune_lower", "tune_first"),
        draw=figures_tuning.regime_one,
    ),
    PaperFigure(
        number="4",
        title="Equilibration of effective step sizes",
        look_for="In regime 2 the weight tensors lie along the dashed line: equal product of ELR and effective gradient norm.",
        differs=SMALL,
        needs=("convnet",),
        draw=partial(figures.equilibration, count=1),
    ),
    PaperFigure(
        number="5",
        title="Regime 2: changing the ELR within it, and going down to regime 1",
        look_for="Left: the loss moves to the new ELR's level. Right: from low regime 2 all trajectories end together, from high regime 2 "
        "they spread.",
        differs=NOISY,
        needs=("noisy", "tune_noise"),
        draw=figures_tuning.within_and_down,
    ),
    PaperFigure(
        number="6",
        title="Transitions between the regimes",
        look_for="Just above the border 1|2 the loss lingers and may suddenly converge; just below 2|3 it dips from the level of guessing and "
        "returns.",
        differs=MLP + " With 20% label noise, where regime 2 is 1.5 decades wide. One seed, logged 300 times.",
        needs=("noisy",),
        draw=figures.transitions,
    ),
    PaperFigure(
        number="7",
        title="Regimes in standard training",
        look_for="Whole-space SI training shows all three regimes; conventional training 1 and 2: trajectories pass the peak of sharpness "
        "below the dotted border; with a cosine the best runs start in low regime 2.",
        differs="MLPs on digits (left, one seed's trajectories, so that jumps show) and on 256 images of Fashion-MNIST (others) instead of ConvNet and ResNet-18 on CIFAR-10. Sharpness of the others is the gradient norm, as in the paper.",
        needs=("whole", "constant", "cosine"),
        draw=figures.standard,
    ),
    PaperFigure(
        number="8",
        title="Individual ELRs of the toy function",
        look_for="In regime 2 they circle around eq. 9's values; in regime 1 they stop before; in regime 3 nothing settles.",
        differs="Nothing but the starting point.",
        needs=("toy",),
        draw=figures_measurements.toy_groups,
    ),
    PaperFigure(
        number="9",
        title="Mean gradient norm against gradient covariance trace",
        look_for="One line for all ELRs: the two measures say the same.",
        differs=SMALL + " A point per checkpoint instead of per epoch.",
        needs=("steepness",),
        draw=figures_measurements.two_traces,
    ),
    PaperFigure(
        number="10",
        title="Fisher trace and top Hessian eigenvalue",
        look_for="The same picture as with the gradient norm: lower lines for larger ELRs.",
        differs=SMALL + " A point per checkpoint instead of per epoch.",
        needs=("steepness",),
        draw=figures_measurements.other_measures,
    ),
    PaperFigure(
        number="11",
        title="Three regimes of other networks",
        look_for="The same three regimes for a ResNet-18.",
        differs="One ResNet-18 (k = 4, 512 images) instead of four pairs of network and data set.",
        needs=("resnet",),
        draw=partial(figures.overview, name="resnet"),
    ),
    PaperFigure(
        number="12",
        title="Every run with its own seed",
        look_for="The same picture although nothing is shared between runs.",
        differs=MLP + SEEDS + ONE_SEED,
        needs=("mlp_own",),
        draw=partial(figures.single_runs, name="mlp_own"),
    ),
    PaperFigure(
        number="13",
        title="Networks of different width",
        look_for="Borders are clearer for wide networks, and the second lies at a lower ELR.",
        differs=MLP + SEEDS + " Widths 16, 64 and 256.",
        needs=("width_small", "width_usual", "width_large"),
        draw=partial(
            figures.landscapes,
            names={"width_small": "narrow: ", "width_usual": "usual width: ", "width_large": "wide: "},
        ),
    ),
    PaperFigure(
        number="14",
        title="Data augmentation",
        look_for="Augmentation lifts training loss and sharpness and blurs the border 1|2 as a smaller network does (Figure 13).",
        differs=MLP + SEEDS,
        needs=("width_usual", "augmented"),
        draw=partial(figures.landscapes, names={"width_usual": "plain images: ", "augmented": "augmented: "}),
    ),
    PaperFigure(
        number="15",
        title="Label noise",
        look_for="With label noise the peak of sharpness at the border 1|2 stands out.",
        differs=WIDE + DRAWS + " 20% noise only." + ONE_SEED,
        needs=("noise0", "noise20"),
        draw=partial(
            figures.landscapes, names={"noise0": "clean labels: ", "noise20": "20% label noise: "}, single=True
        ),
    ),
    PaperFigure(
        number="16",
        title="The first epochs, without and with label noise",
        look_for="With noise test error and sharpness rise and fall again (double descent); in regime 2 the second descent is missing.",
        differs=WIDE + " One seed.",
        needs=("noise0", "noise20"),
        draw=figures.first_epochs,
    ),
    PaperFigure(
        number="17",
        title="Regime 1: fine-tuning with a decreased ELR",
        look_for="Trajectories go on where they were.",
        differs=TUNED + " Below: the MLP on digits with 20% label noise.",
        needs=("convnet", "tune_lower", "noisy", "tune_noise_lower"),
        draw=figures_tuning.lower,
    ),
    PaperFigure(
        number="18",
        title="Regime 1: fine-tuning with an increased ELR",
        look_for="Slightly increased: the same trajectory, noisier. Much increased: up, and down on the flatter trajectory of the new ELR.",
        differs=TUNED,
        needs=("convnet", "tune_first"),
        draw=figures_tuning.higher,
    ),
    PaperFigure(
        number="19",
        title="Linear connectivity in regime 1",
        look_for="Barriers between neighbouring ELRs; none after a decrease; one after a large increase.",
        differs=SMALL + " Geometric means over seeds.",
        needs=("neighbour_paths", "tuned_paths"),
        draw=figures_tuning.connectivity,
    ),
    PaperFigure(
        number="20",
        title="Weight tensors along training in regime 2",
        look_for="All three settle, and the effective step sizes cluster.",
        differs=SMALL,
        needs=("convnet",),
        draw=figures.stabilisation,
    ),
    PaperFigure(
        number="21",
        title="Weight tensors at several ELRs",
        look_for="On the dashed line in regime 2, off it in regimes 1 and 3.",
        differs=SMALL,
        needs=("convnet",),
        draw=partial(figures.equilibration, count=6),
    ),
    PaperFigure(
        number="22",
        title="Lines between checkpoints of regime-2 runs",
        look_for="Convex and lower in the middle at low ELR, hilly at the highest, the more so the further apart the checkpoints.",
        differs=SMALL
        + " Besides, the MLP on digits with 20% label noise. Lines of one seed, a mark for each distance.",
        needs=("checkpoint_paths",),
        draw=figures_measurements.between_checkpoints,
    ),
    PaperFigure(
        number="23",
        title="From regime 2 to regime 1",
        look_for="One bundle from low regime 2, a fan from high regime 2, narrower in test error than in sharpness.",
        differs=NOISY,
        needs=("noisy", "tune_noise"),
        draw=figures_tuning.down,
    ),
    PaperFigure(
        number="24",
        title="Regime 3 and a random walk",
        look_for="Weights of adjacent steps, and ten steps apart, are as in the walk, while regime 2 remembers; the walk's loss lies below.",
        differs=SMALL
        + " A hundred steps after training instead of whole runs, one seed. The cosine of adjacent weights, which the paper draws, tells the "
        "step size alone: cosines over ten steps and of updates are beside it.",
        needs=("walks",),
        draw=figures_measurements.walks,
    ),
    PaperFigure(
        number="25",
        title="SI networks in the whole space with weight decay",
        look_for="Three regimes, and periodic jumps at the high LRs of regime 1.",
        differs=MLP + SEEDS + " Curves and trajectories are those of one seed at a few LRs, so that jumps show.",
        needs=("whole",),
        draw=partial(figures.single_runs, name="whole"),
    ),
    PaperFigure(
        number="26",
        title="Conventional training",
        look_for="Two regimes, then dead networks (dashed); trajectories pass the peak of sharpness below the dotted border; the best test error at the top of regime 1 (constant LR), at medium initial LRs (cosine).",
        differs="An MLP on 256 images of Fashion-MNIST at 7 x 7 pixels instead of two networks on two CIFARs, five draws of the data with one seed each. Drawn is the gradient norm, as in the paper.",
        needs=("constant", "cosine"),
        draw=figures.conventional,
    ),
    PaperFigure(
        number="27",
        title="SI MLP",
        look_for="All three regimes for a network without convolutions.",
        differs="Digits (8 x 8) instead of MNIST, 64-64-64-10 instead of 784-300-100-10.",
        needs=("mlp",),
        draw=partial(figures.single_runs, name="mlp"),
    ),
    PaperFigure(
        number="28",
        title="A text Transformer, trained conventionally",
        look_for="Regimes 1 and 2, then overflow. Trajectories pass the peak of sharpness below the dotted border.",
        differs="Debian's fortunes with the topic as label instead of AG News, several draws of the data.",
        needs=("transformer",),
        draw=figures.transformer,
    ),
)
