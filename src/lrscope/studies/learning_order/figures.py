"""The study's figures. Lines are means over seeds with their ranges.

U seeds, B times, W logging intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Border, Chart, HeatMap, Image, Layer, Level, Line, Note, Panel, Points, style
from lrscope.reporting import frames
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.learning_order import effects_theory as effects
from lrscope.studies.learning_order.effects_images import CLEAN, PATCH, TRAIN, Curves, anneals, chance, curves
from lrscope.studies.learning_order.effects_theory import LARGE, LEARNED, NOISY, SMALL
from lrscope.studies.types import StudyResults

COLOR = {LARGE: style.COLORS[1], SMALL: style.COLORS[0], NOISY: style.COLORS[2]}
METHODS = {
    "large": ("large, annealed", style.COLORS[1]),
    "small": ("small", style.COLORS[0]),
    "small_noise": ("small + noise, annealed", style.COLORS[2]),
}
REFERENCES = {
    "small_shown": ("small, no patches (84%)", style.COLORS[3]),
    "large_shown": ("large, no patches (84%)", style.COLORS[5]),
    "unpatched": ("small, unpatched images alone", style.COLORS[4]),
}
RATES = (("small", style.COLORS[0]), ("large", style.COLORS[1]))
BOUND = "power of the bound"
CORNER = 0.35  # |zeta| as Figure 2 draws it


def spread(x: Array, values: Array, **options: object) -> Line:
    """Mean over seeds of [U, B] with their range."""
    found = frames.spread(np.moveaxis(np.asarray(values, dtype=float), 0, -1))
    return Line(x=x, y=found.mean, low=found.low, high=found.high, **options)  # type: ignore[arg-type]


# -- experiments ---------------------------------------------------------------------------------------------------------


def lead(results: StudyResults) -> Chart:
    """Figure 1: training and test accuracy of both rates."""
    plain = results.sweep("plain")
    rates = [f"{name}, {lr:g}" for (name, _), lr in zip(RATES, plain.coords["lr"].values[[0, -1]], strict=True)]
    panels = []
    for of, title in ((TRAIN, "training accuracy"), (CLEAN, "test accuracy")):
        found = [curves(plain, of, place) for place in (0, -1)]
        lines = [_line(one, name, color) for one, name, (_, color) in zip(found, rates, RATES, strict=True)]
        panels.append(_epochs(title, [*_borders(anneals(plain)), *lines]))
    return Chart(panels=panels, columns=2, legend_title="learning rate")


def patched(results: StudyResults) -> Chart:
    """Figure 3: accuracy on clean images and on images with a patch alone; of runs without patches, at the same part of training."""
    first = anneals(results.sweep("large"))
    last = float(curves(results.sweep("large"), CLEAN).epochs[-1])
    clean = [_method(results, name, CLEAN, METHODS) for name in METHODS]
    references = [_method(results, name, CLEAN, REFERENCES, last) for name in REFERENCES]
    alone = [_method(results, name, PATCH, METHODS) for name in METHODS]
    guessing = Level(y=chance(results.sweep("large")), label="chance")
    panels = [
        _epochs("clean images", [*_borders(first), *references, *clean]),
        _epochs("images with a patch alone", [*_borders(first), guessing, *alone]),
    ]
    return Chart(panels=panels, columns=2, legend_title="learning rate")


def _method(
    results: StudyResults, name: str, of: str, words: Mapping[str, tuple[str, str]], last: float | None = None
) -> Line:
    """A sweep's line; with `last` its epochs are stretched to end there, dashed."""
    found, (label, color) = curves(results.sweep(name), of), words[name]
    if last is not None:
        found = Curves(found.values, found.epochs * last / found.epochs[-1])
    return _line(found, label, color, dashed=last is not None)


def _line(found: Curves, name: str, color: str, *, dashed: bool = False) -> Line:
    return spread(found.epochs, found.values, name=name, color=color, dashed=dashed)


def _borders(epochs: Sequence[float]) -> list[Layer]:
    return [Border(x=epoch) for epoch in epochs]


def _epochs(title: str, layers: Sequence[Layer]) -> Panel:
    return Panel(title=title, x=Axis(title="epoch"), y=Axis(title="accuracy"), layers=list(layers))


def pictures(results: StudyResults) -> Chart:
    """Training images of each group."""
    found = results.measurement("patched")
    pixels = found["pixels"].values
    panels = [
        Panel(title=str(title), layers=[_image(one)])
        for one, title in zip(pixels, found["title"].values.tolist(), strict=True)
    ]
    return Chart(panels=panels, columns=int(found.attrs["columns"]))


def _image(pixels: Array) -> Image:
    return Image(values=pixels if pixels.shape[-1] == 3 else pixels[..., 0], low=0.0, high=1.0)


# -- theory --------------------------------------------------------------------------------------------------------------


def theory(results: StudyResults) -> Chart:
    """Figure 2, and the race: losses on P and Q, curvature and error on P against T."""
    found = results.measurement("race")
    learned = Level(y=LEARNED, label="learned")
    rows = {
        "loss_p_only": ("loss on P alone", "training loss (nat)", [learned]),
        "loss_q_only": ("loss on Q alone", "training loss (nat)", [learned]),
        "curvature": ("curvature (Lemma 4.2)", "g(z+zeta) + g(z-zeta) - 2 g(z)", []),
        "error_p": ("error on P", "test error", []),
    }
    panels = [_timed(found, name, *words) for name, words in rows.items()]
    return Chart(panels=[_directions(), *panels], columns=3, legend_title="algorithm")


def _directions() -> Panel:
    """The three directions of Q."""
    places = {-1: "z - zeta: -1", 0: "z: +1", 1: "z + zeta: -1"}
    lines: list[Layer] = [Line(x=[0, 1], y=[0, side * CORNER], color=style.GREY, mark="end") for side in places]
    notes: list[Layer] = [Note(x=1, y=side * CORNER, words=words, side="right") for side, words in places.items()]
    axis = Axis(title="along zeta", limits=(-2 * CORNER, 2 * CORNER))
    return Panel(
        title="directions of Q and their labels",
        x=Axis(title="along z", limits=(0, 1.6)),
        y=axis,
        layers=[*lines, *notes],
    )


def _timed(found: xr.Dataset, name: str, title: str, unit: str, levels: Sequence[Layer]) -> Panel:
    """A quantity of all algorithms against T, with the mean time of the anneal. T is logarithmic, because both patterns are
    learned in its first twentieth."""
    found = found.isel(time=slice(1, None))
    time = found["time"].values.astype(float)
    algorithms = [str(one) for one in found["algorithm"].values]
    lines = [
        spread(time, found[name].sel(algorithm=one).values, name=one, color=COLOR.get(one, style.COLORS[3]))
        for one in algorithms
    ]
    return Panel(
        title=title,
        x=Axis(title="T = learning rate x steps", log=True),
        y=Axis(title=unit, log=name == "error_p"),
        layers=[*_annealed(found), *levels, *lines],
    )


def _annealed(found: xr.Dataset) -> list[Layer]:
    """The anneal of L-S, mean over seeds with its range."""
    times = effects.race(found, LARGE).annealed
    if not np.isfinite(times).all():
        return []
    return [Border(x=float(times.mean()), low=float(times.min()), high=float(times.max()))]


def phases(results: StudyResults) -> Chart:
    """Who is learned first: decades of T from Q to P over r d and weight decay, by algorithm."""
    found = results.measurement("phases")
    x = found["r"].values.astype(float) * float(found.attrs["dimension"])
    y = found["weight_decay"].values.astype(float)
    panels = []
    for algorithm in (LARGE, SMALL):
        decades = -effects.race(found, algorithm).q_after_p  # [r, weight decay, U]
        mean = np.array([[arrays.average(seeds) for seeds in row] for row in decades])
        heat = HeatMap(x=x, y=y, values=mean.T, title="decades of T from Q to P", traced=0.0)
        across, up = Axis(title="r d", log=True), Axis(title="weight decay", log=True)
        panels.append(Panel(title=algorithm, layers=[heat], x=across, y=up))
    return Chart(panels=panels, columns=2, color_title="decades of T from Q to P", color_log=False)


def scaling(results: StudyResults) -> Chart:
    """Test errors over p, with what the theorems' powers would be."""
    found = results.measurement("scaling")
    p = found["kappa"].values.astype(float) ** 2 / 2
    order = np.argsort(p)
    layers: list[Layer] = []
    compared = effects.over_kappa(found)
    for name, power in ((SMALL, 1.0), (LARGE, 1.5)):
        errors = np.array([one.values("error", name) for one in compared])
        layers += _with_power(p[order], errors[order], power, name, COLOR[name], f"like p^{power:g}")
    return Chart(panels=[_powers("test error at equal training loss", "p", "test error", layers)], columns=1)


def _with_power(
    x: Array, values: Array, power: float, name: str, color: str, words: str, through: int = -1
) -> list[Layer]:
    """Values [K, U] over x [K], and a power law through the last or first (`through`) known mean."""
    runs = Points(x=np.repeat(x, values.shape[1]), y=values.ravel(), color=color, name=f"{name}, single seeds", size=3)
    mean = np.array([arrays.average(row) for row in values])
    known = np.flatnonzero(np.isfinite(mean))
    if not len(known):
        return [runs]
    law = mean[known[through]] * (x / x[known[through]]) ** power
    line = Line(x=x, y=mean, name=name, color=color, mark="both")
    return [runs, line, Line(x=x, y=law, name=f"{name}, {words}", color=color, dashed=True)]


def _powers(title: str, x: str, y: str, layers: Sequence[Layer]) -> Panel:
    return Panel(title=title, x=Axis(title=x, log=True), y=Axis(title=y, log=True), layers=list(layers))


def lemmas(results: StudyResults) -> Chart:
    """The lemmas' quantities over d, with the power of each bound."""
    found = results.measurement("lemmas")
    d = found["dimension"].values.astype(float)
    whole = found.assign(signal=effects.squared_norm(found))
    rows = (
        (
            "curvature before the anneal (4.2)",
            "curvature",
            effects.before_anneal(found, "curvature"),
            -0.25,
            LARGE,
            BOUND,
        ),
        (
            "squared signal at the anneal (4.1)",
            "squared norm",
            effects.before_anneal(whole, "signal"),
            1.0,
            LARGE,
            BOUND,
        ),
        (
            "signal from examples with Q (5.2)",
            "norm",
            effects.largest_of(found, "norm_w_m2", SMALL),
            0.5,
            SMALL,
            "power 1/2",
        ),
    )
    panels = [
        _powers(title, "d", unit, _with_power(d, values, power, name, COLOR[name], words, through=0))
        for title, unit, values, power, name, words in rows
    ]
    return Chart(panels=panels, columns=3)


def control(results: StudyResults) -> Chart:
    """Error on P against training loss, of the network and of the convex model, at both widths."""
    rows = {"infinite width": results.measurement("control"), "finite width": results.measurement("finite")}
    panels = [
        _against_loss(found.sel(model=model), f"{model}, {words}")
        for words, found in rows.items()
        for model in ("network", "convex")
    ]
    return Chart(panels=panels, columns=2, legend_title="algorithm")


def _against_loss(found: xr.Dataset, title: str) -> Panel:
    mean = found.mean("seed").isel(time=slice(1, None))
    lines = [
        Line(
            x=mean["loss"].sel(algorithm=one).values,
            y=mean["error_p"].sel(algorithm=one).values,
            name=one,
            color=COLOR[one],
            dashed=one == SMALL,
        )
        for one in (LARGE, SMALL)
    ]
    return Panel(
        title=title, x=Axis(title="training loss (nat)"), y=Axis(title="test error on P", log=True), layers=lines
    )
