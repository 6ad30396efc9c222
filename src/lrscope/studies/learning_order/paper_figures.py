"""The list of figures: what each shows in the paper, and what differs here. Those without the paper's number are ours."""

from __future__ import annotations

from lrscope.studies.learning_order import figures
from lrscope.studies.types import PaperFigure

SMALL = (
    "A smaller network, fewer and smaller images on a laptop, with patches of more contrast; several draws instead of one; lines are "
    "means, bands ranges. "
)
OURS = "The paper has no such figure. "
THEORY = "Simulated at infinite width; the paper proves, and simulates nothing. "
RANGES = "Lines are means over data sets, bands ranges. "
DOTS = "Dots are single data sets, lines means. "

FIGURES = (
    PaperFigure(
        number="1",
        title="A large and a small learning rate, both annealed",
        look_for="Until the first vertical line the small rate leads in both panels; after it the large one leads in test accuracy.",
        differs=SMALL + "No patches.",
        needs=("plain",),
        draw=figures.lead,
    ),
    PaperFigure(
        number="2",
        title="The pattern Q, and which pattern is learned first",
        look_for="First panel: z has one label, its neighbours the other. Then: L-S learns P before the anneal (vertical line) and Q after "
        "it; S learns Q first; S bends g while L-S cannot; the error on P of S stays higher. S + noise, the mitigation: like L-S, until "
        "its noise ends at the training loss at which L-S anneals.",
        differs=THEORY + RANGES + "The paper's figure is the first panel alone.",
        needs=("race",),
        draw=figures.theory,
    ),
    PaperFigure(
        number="3",
        title="Patched images: accuracy without a patch, and on a patch alone",
        look_for="Right: the small rate knows the patches at once, the two others after the anneal (vertical line). Left: the small rate "
        "ends lowest, near what the unpatched images alone give.",
        differs=SMALL
        + "Dashed: training without patches on the 84% of the images that no patch alone replaces, and on the unpatched "
        "alone, with as many steps, stretched to the same length.",
        needs=("large", "small", "small_noise", "small_shown", "large_shown", "unpatched"),
        draw=figures.patched,
    ),
    PaperFigure(
        number="patches",
        title="Training images without and with a patch, and a patch alone",
        look_for="A patch is a square of noise; those of different classes look alike.",
        differs="Other images on a laptop. The paper shows patches in App. H.2.",
        needs=("patched",),
        draw=figures.pictures,
    ),
    PaperFigure(
        number="phases",
        title="Which pattern is learned first, over r d and weight decay",
        look_for="Positive: Q is learned before P, negative: P before Q (white line: border); empty: one of them is not learned. S has Q first where r d is large; L-S has P first where weight decay "
        "renews activations before Q is learned.",
        differs=OURS + THEORY + "Means over data sets.",
        needs=("phases",),
        draw=figures.phases,
    ),
    PaperFigure(
        number="scaling",
        title="Test error over the share of examples with P alone",
        look_for="In the limit of many dimensions Theorems 3.4 and 3.5 bound the error by p kappa, like p^1.5, for L-S, and from below by p "
        "for S (dashed). No d that can be run is near that limit: nothing is judged here.",
        differs=OURS + THEORY + DOTS,
        needs=("scaling",),
        draw=figures.scaling,
    ),
    PaperFigure(
        number="lemmas",
        title="The lemmas' quantities over the dimension",
        look_for="Each grows no faster, or falls no slower, than its bound (dashed, through the smallest d). In the last panel that is the "
        "power 1/2, from which Lemma 5.2's 15/32 cannot be told here.",
        differs=OURS + THEORY + DOTS,
        needs=("lemmas",),
        draw=figures.lemmas,
    ),
    PaperFigure(
        number="control",
        title="The network and a convex model",
        look_for="Above, at infinite width: at equal training loss S makes more errors on P with the network; with activations frozen "
        "both lines are one. Below, at finite width, lines may lie apart, because the noise part of the weights has an output of its "
        "own, which L-S keeps and S lets decay. LO7 judges the signal part alone.",
        differs=OURS + "Means over data sets.",
        needs=("control", "finite"),
        draw=figures.control,
    ),
)
