"""The list of the paper's figures: what each shows there, and what differs here."""

from __future__ import annotations

from functools import partial

from lrscope.studies.feature_learning import figure_sharpness, figures
from lrscope.studies.types import PaperFigure

SEEDS = " Bands are one standard deviation over seeds."
LINES = (
    " Up to two lines have bands of one standard deviation over seeds. More are medians, after the mean of each seed over the panel is taken "
    "off and that over all seeds put back: what is left is how rates differ within a seed. The page tells their quartiles at a pointer."
)
TICKS = (
    "Nothing but seeds: the paper does not state which, and on a laptop there are 25 data sets with 2 runs each for 10 with 5 (at smoke scale: "
    "everything)."
)
SMALL = (
    "Fashion-MNIST and smaller networks instead of CIFAR, one to two thousand steps instead of 200 epochs, several data seeds instead of one "
    "seed; regimes by this map, not by hand."
)
POOLED = (
    "Fashion-MNIST pooled to 14 x 14 and a smaller network instead of CIFAR, several data seeds instead of one seed"
)
CUT = " The bands are cut at the same fractions of the highest one as the paper's at 32 x 32."
BANDS = (
    CUT
    + " On a laptop bands alone are divided by the standard deviation, because the background of Fashion-MNIST is black; what the bands are "
    "worth is also shown by removing them."
)
DRAWN = " As in the paper regime 2 begins at the best pre-training accuracy; 2A ends where the lowest FLR falls behind."
ONE_FLR = " On a laptop one FLR."
ALL_STAGES = ("pre", "swa", "low", "high")

FIGURES = (
    PaperFigure(
        number="1",
        title="Test accuracy of pre-trained and fine-tuned solutions",
        look_for="Fine-tuned accuracy peaks in 2A, where all FLRs agree; in 2B they fan out and drop.",
        differs=POOLED + "; regimes by this map, not by hand." + LINES,
        needs=("fine_tuned",),
        draw=partial(figures.accuracy, name="fine_tuned", averages=False),
    ),
    PaperFigure(
        number="2",
        title="A single tick",
        look_for="Class 0 between the two dashed lines, class 1 above and below, an empty margin around them.",
        differs="Nothing.",
        needs=("tick",),
        draw=figures.tick,
    ),
    PaperFigure(
        number="3",
        title="Features become sparse",
        look_for="At small PLRs all features matter a little; towards 2A one stands out, and fine-tuning makes it plainer.",
        differs=TICKS + SEEDS + " Features are sorted in each run, because every run picks its own.",
        needs=("ticks",),
        draw=partial(figures.features, names={"ticks": ""}, stages=("pre", "low")),
    ),
    PaperFigure(
        number="4",
        title="Four groups of frequency bands",
        look_for="Background is one colour, low bands are blurs, mid bands hold outlines and textures, high bands fine patterns.",
        differs="Grey test images of Fashion-MNIST instead of colour ones of CIFAR-10." + CUT,
        needs=("band_examples",),
        draw=figures.bands,
    ),
    PaperFigure(
        number="5",
        title="Accuracy on frequency bands",
        look_for="Mid frequencies rise towards 2A and more so after fine-tuning; background and low ones stay behind.",
        differs=SMALL + SEEDS + BANDS,
        needs=("resnet",),
        draw=partial(figures.features, names={"resnet": ""}, stages=("pre", "low"), removed=(False, True)),
    ),
    PaperFigure(
        number="6",
        title="Conventional training",
        look_for="Left: the best accuracy from 2A. Right: mid frequencies peak there.",
        differs=SMALL + LINES + BANDS + DRAWN,
        needs=("practical",),
        draw=figures.practice,
    ),
    PaperFigure(
        number="7",
        title="Frequency bands and masked spectra",
        look_for="Background is one colour, low bands are blurs, mid bands hold outlines and textures, high bands fine patterns.",
        differs="Grey test images of Fashion-MNIST instead of colour ones of CIFAR-10."
        + CUT
        + " One figure with Figure 4.",
        needs=("band_examples",),
        draw=figures.bands,
    ),
    PaperFigure(
        number="8",
        title="Ticks: fine-tuning and averaging",
        look_for="Left: all FLRs agree in 2A, where accuracy is best. Right: averages are good in 2A and fail in 2B.",
        differs=TICKS + LINES,
        needs=("ticks",),
        draw=partial(figures.accuracy, name="ticks"),
    ),
    PaperFigure(
        number="9",
        title="Ticks: geometry between solutions",
        look_for="Barriers appear in 2A and are high in 2B; the average stays near the low-FLR solution until 2B ends; at the smallest PLRs the "
        "high FLR ends far away (a catapult).",
        differs=TICKS + SEEDS + " Barriers: medians and quartiles.",
        needs=("ticks", "geometry"),
        draw=figures.geometry,
    ),
    PaperFigure(
        number="10",
        title="Ticks: feature accuracies at four stages",
        look_for="Averages and the low FLR keep what 2A has picked; the high FLR picks features from anywhere.",
        differs=TICKS
        + SEEDS
        + " The paper's caption gives the high FLR as 7.5e-5; its axis and code have 7.5e-3, as here.",
        needs=("ticks",),
        draw=partial(figures.features, names={"ticks": ""}, stages=ALL_STAGES),
    ),
    PaperFigure(
        number="11",
        title="Frequency bands at four stages, SI networks",
        look_for="Mid frequencies peak in 2A, clearly for the ResNet, weakly for the ConvNet.",
        differs=SMALL + SEEDS + BANDS,
        needs=("resnet", "convnet"),
        draw=partial(figures.features, names={"resnet": "ResNet-18: ", "convnet": "ConvNet: "}, stages=ALL_STAGES),
    ),
    PaperFigure(
        number="12",
        title="Conventional training: fine-tuning and averaging",
        look_for="Both are best in 2A; in regime 1 both improve on pre-training.",
        differs=SMALL + LINES + DRAWN + ONE_FLR,
        needs=("practical",),
        draw=partial(figures.accuracy, name="practical"),
    ),
    PaperFigure(
        number="13",
        title="Conventional training: frequency bands at four stages",
        look_for="The mid-frequency bias in 2A, strongest after fine-tuning or averaging.",
        differs=SMALL + SEEDS + BANDS + DRAWN + ONE_FLR,
        needs=("practical",),
        draw=partial(figures.features, names={"practical": ""}, stages=ALL_STAGES),
    ),
    PaperFigure(
        number="14",
        title="Vision transformer: fine-tuning and averaging",
        look_for="In regime 1 the high FLR is better, in 2A both agree; the high FLR's accuracy does not depend on the PLR.",
        differs="On a laptop a transformer of two blocks of width 32 with patches of 7 x 7 on Fashion-MNIST, without dropout and augmentation; at paper scale three "
        "seeds instead of one." + LINES + DRAWN,
        needs=("vit",),
        draw=partial(figures.accuracy, name="vit"),
    ),
    PaperFigure(
        number="15",
        title="Vision transformer: frequency bands at four stages",
        look_for="Low frequencies matter more than for convolutional networks.",
        differs="As Figure 14.",
        needs=("vit",),
        draw=partial(figures.features, names={"vit": ""}, stages=ALL_STAGES),
    ),
    PaperFigure(
        number="16",
        title="Vision transformer: other splits between low and mid",
        look_for="The lower the split, the more mid gains over low.",
        differs="As Figure 14.",
        needs=("vit", "vit_splits"),
        draw=figures.splits,
    ),
    PaperFigure(
        number="17",
        title="Sharpness against test error at equal training loss",
        look_for="Along a line (one pre-training, several FLRs) error rises with sharpness; between lines it need not.",
        differs=POOLED
        + "; whiskers are one standard error over them. The training loss is the lowest that all these runs of a draw reach, not 6e-4; draws in "
        "which it is above 0.01 are left out. Pre-training of regime 1, which the paper shows in black, is left out where it does not get there.",
        needs=("converged", "fine_tuned"),
        draw=figure_sharpness.sharpness,
    ),
    *(
        PaperFigure(
            number=f"{number}, CIFAR-100",
            title=f"{title}, CIFAR-100",
            look_for=f"As Figure {number}, plainer.",
            differs="Three seeds instead of one.",
            needs=needs,
            draw=draw,
        )
        for number, title, needs, draw in (
            (
                "11",
                "Frequency bands at four stages, SI networks",
                ("resnet100", "convnet100"),
                partial(
                    figures.features, names={"resnet100": "ResNet-18: ", "convnet100": "ConvNet: "}, stages=ALL_STAGES
                ),
            ),
            (
                "12",
                "Conventional training: fine-tuning and averaging",
                ("practical100",),
                partial(figures.accuracy, name="practical100"),
            ),
            (
                "13",
                "Conventional training: frequency bands at four stages",
                ("practical100",),
                partial(figures.features, names={"practical100": ""}, stages=ALL_STAGES),
            ),
        )
    ),
)
