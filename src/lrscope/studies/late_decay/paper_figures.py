"""The list of figures. The paper's own numbers are not known to us; the names are ours."""

from __future__ import annotations

from lrscope.studies.late_decay import figures
from lrscope.studies.late_decay.sweeps_transfer import CHANGED
from lrscope.studies.types import PaperFigure

MODEL = "20 examples in 40 dimensions, label noise; medians over data sets, bands hold the middle 95%. "

FIGURES = (
    PaperFigure(
        number="sub-paths",
        title="Final test loss against the time of the decay",
        look_for="Lines fall to the right and turn flat: a star marks where waiting stops to pay. The dashed line is the main path just before "
        "the decay.",
        differs="Fewer images and a narrower network on a laptop, several draws of the images instead of one run; cross-entropy is ours.",
        needs=("mse", "cross_entropy"),
        draw=figures.sub_paths,
    ),
    PaperFigure(
        number="planes",
        title="Landscapes around the training paths",
        look_for="Training loss (left): a valley that the main path runs along, and that is open. Test loss (right): closed, with the main path and the "
        "sub-paths' ends (diamonds) coming nearer to its lowest point.",
        differs="One row for each of the first two draws of the images. Fewer images and a narrower network on a laptop; distances from the surface are "
        "not shown.",
        needs=("planes",),
        draw=figures.planes,
    ),
    PaperFigure(
        number="phases",
        title="The three phases of the model",
        look_for="The distance from the manifold falls first. Then, for gamma above 0, excess norm and test loss fall while the training loss stays; "
        "after the decay (vertical line) the training loss falls alone.",
        differs=MODEL + "The paper's settings are not known to us.",
        needs=("model",),
        draw=figures.phases,
    ),
    PaperFigure(
        number="success",
        title="How often phase II ends at the minimum-norm solution",
        look_for="Marks above the line are runs that the theorem's bound describes. Whiskers reach from Clopper and Pearson's lower end with all "
        "runs that say nothing failed to the upper end with all of them successful.",
        differs="20 examples in 40 dimensions, label noise. The theorem's assumptions are not known to us.",
        needs=("model", "success"),
        draw=figures.success,
    ),
    PaperFigure(
        number="landscape",
        title="Landscapes of the model",
        look_for="Training loss: open valleys along the manifold (line), straight for gamma 0, bent and flatter towards the minimum-norm solution for "
        "gamma 2. Test loss: one closed basin around the teacher.",
        differs="One data set of 20 examples in 40 dimensions; the paper draws planes of its own choice.",
        needs=("landscape",),
        draw=figures.landscape,
    ),
    PaperFigure(
        number="speed",
        title="Speed of phase II against the norm at the start",
        look_for="Lines rise the more steeply the larger gamma is: far out phase II is fast.",
        differs="The paper has no such figure. " + MODEL,
        needs=("speed",),
        draw=figures.speed,
    ),
    PaperFigure(
        number="schedules",
        title="Schedules of one length side by side",
        look_for="The larger the sum of a schedule's squared rates, the further left it ends, as long as it comes down. For gamma 0 that makes no "
        "difference.",
        differs="The paper has no such figure: it asks the question. 20 examples in 40 dimensions, label noise.",
        needs=("schedules", "courses", "diagonal"),
        draw=figures.schedules,
    ),
    PaperFigure(
        number="transfers",
        title="Final test loss against the time of the decay: another network, other images, Adam, RMSprop",
        look_for="Lines fall to the right where a later decay ends lower there, too. Test losses of different panels do not compare.",
        differs="The paper has no such figure: it is the summary's next checks. Each panel differs from the squared error's of the first figure in what "
        "its title says, with three draws of the images. On a laptop main paths are shorter, and the ResNet has smaller images.",
        needs=tuple(CHANGED),
        draw=figures.transfers,
    ),
)
