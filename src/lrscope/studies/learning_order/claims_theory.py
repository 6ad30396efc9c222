"""LO5 to LO9: the theory's two-layer network, simulated.

U seeds.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.learning_order import effects_theory as effects
from lrscope.studies.learning_order.comparison import at_loss
from lrscope.studies.learning_order.effects_theory import LARGE, NOISY, SMALL, Compared
from lrscope.studies.types import REPORTED, Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part

HALF = 0.25  # ours: half of what the exponents of S and L-S in p differ by
OF_S, OF_L_S = 1.0, 1.5  # Theorems 3.5, 3.4: at least p, and at most p kappa with p = kappa^2 / 2
LOOSE = 1.75  # ours: a power of L-S above it says that the bound is loose here
MARGIN = 0.15  # ours: of an exponent, over a decade of d; Lemma 4.2 leaves a factor log d open, which adds as much
OF_CURVATURE, OF_SIGNAL, OF_M2 = -0.25, 1.0, 0.5  # in d: Lemmas 4.2, 4.1; what Lemma 5.2 is below (15/32)
NO_EFFECT, NO_EFFECT_FINITE, EFFECT = 0.01, 0.05, 0.15  # ours, in decades of error on P
SMALL_GRADIENT = 1e-6  # `unique_minimum`, whose import takes PyTorch
LEVELS = (0.5, 0.2)  # ours: times log 2; further losses at which times are reported
TIME, ERROR, POWER, SHARE = "decades of T", "decades of test error on P", "exponent", "of the squared norm"


def _order(results: StudyResults) -> Finding:
    curves, shares = (results.measurement(name) for name in ("race", "shares"))
    large, small = effects.race(curves, LARGE), effects.race(curves, SMALL)
    one, other = Compared.of(curves), Compared.of(shares)
    ratio = one.error_ratio()
    return finding(
        [
            part("L-S: Q after P", large.q_after_p, above=0.0, unit=TIME),
            part("L-S: P after the anneal", large.p_after_anneal, below=0.0, unit=TIME),
            part("L-S: Q after the anneal", large.q_after_anneal, above=0.0, unit=TIME),
            part("S: P after Q", -small.q_after_p, above=0.0, unit=TIME),
            *_shares(one, curves),
            part("S over L-S", lambda: _judged(one, curves, ratio), above=0.0, unit=ERROR),
            part(
                "S over L-S, shares of eq. 1.1",
                lambda: _judged(other, shares, other.error_ratio()),
                above=0.0,
                unit=ERROR,
            ),
        ],
        f"At training loss {one.level:.3g} S makes {_said(10 ** arrays.average(ratio))} times as many errors on P as L-S, at {other.level:.3g} with "
        f"the shares of eq. 1.1 {_said(10 ** arrays.average(other.error_ratio()))} times.",
        level=one.level,
        level_shares=other.level,
        left_out=[one.left_out, other.left_out],
        q_after_p={f"{level:g} log 2": _times(curves, level * float(np.log(2))) for level in LEVELS},
    )


def _times(curves: xr.Dataset, level: float) -> dict[str, float]:
    """Decades of T from P to Q where another loss counts as learned."""
    return {name: arrays.average(effects.race(curves, name, level).q_after_p) for name in (LARGE, SMALL)}


def _judged(found: Compared, curves: xr.Dataset, values: Array) -> Array:
    """Values that are read at a training loss of which the theorems speak (`Compared.require`)."""
    found.require(float(curves.attrs["p"]), float(curves.attrs["q"]))
    return values


def _shares(found: Compared, curves: xr.Dataset) -> list[Part]:
    """How much of what W has comes from examples with Q: the parts of both algorithms."""

    def one(words: str, values: Array, *, above: float | None = None, below: float | None = None) -> Part:
        return part(words, lambda: _judged(found, curves, values), unit=SHARE, above=above, below=below)

    return [
        one("S: what W has from examples with Q", found.share_of_m2(SMALL), below=0.5),
        one("S: the same along w*", found.share_along(SMALL), below=0.5),
        one("L-S: what W has from examples with Q", found.share_of_m2(LARGE), above=0.5),
        one("L-S: the same along w*", found.share_along(LARGE), above=0.5),
    ]


def _said(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "an undetermined number"


def _scaling(results: StudyResults) -> Finding:
    scaling = results.measurement("scaling")
    (powers, parts), ratios, sizes = _powers(scaling), _ratios(scaling), effects.over_kappa(scaling)
    loose = "; the bound for L-S is loose here" if powers[LARGE] > LOOSE else ""
    return finding(
        parts,
        f"The power of p of the test error is {_said(powers[SMALL])} (S) and {_said(powers[LARGE])} (L-S); the theorems bound it: at most "
        f"1, at least 1.5{loose}. S over L-S by kappa: {', '.join(f'{kappa}: {_said(value)}' for kappa, value in ratios.items())}.",
        exponents=powers,
        ratios_by_kappa=ratios,
        levels=[size.level for size in sizes],
        left_out=[size.left_out for size in sizes],
    )


def _powers(scaling: xr.Dataset) -> tuple[dict[str, float], list[Part]]:
    """How test errors go with p: by algorithm, NaN if undetermined, and the parts that judge it."""

    def of(algorithm: str) -> Array:
        return effects.powers_of_p(scaling, algorithm)

    unit = f"{POWER} of p"
    parts = {
        SMALL: part("S: error at least like p", lambda: of(SMALL), below=OF_S + HALF, unit=unit),
        LARGE: part("L-S: error at most like p kappa", lambda: of(LARGE), above=OF_L_S - HALF, unit=unit),
    }
    apart = part("power of L-S minus that of S", lambda: of(LARGE) - of(SMALL), above=HALF, unit=unit)
    return {name: found.value for name, found in parts.items()}, [*parts.values(), apart]


def _ratios(scaling: xr.Dataset) -> dict[str, float]:
    """How many times as many test errors S makes as L-S, by kappa, at whatever training loss all reach: the theorems together say
    1 / kappa, up to constants."""
    found = effects.over_kappa(scaling)
    ratios = [10 ** effects.log_ratio(*(one.values("error", name) for name in (SMALL, LARGE))) for one in found]
    return {f"{kappa:.3g}": arrays.average(row) for kappa, row in zip(scaling["kappa"].values, ratios, strict=True)}


def _lemmas(results: StudyResults) -> Finding:
    curves = results.measurement("lemmas")
    d = curves["dimension"].values.astype(float)
    whole = curves.assign(signal=effects.squared_norm(curves))
    curvature, of_small = (effects.before_anneal(curves, "curvature", of=name) for name in (LARGE, SMALL))
    signal = effects.before_anneal(whole, "signal")
    of_m2, of_m2_large = (effects.largest_of(curves, "norm_w_m2", name) for name in (SMALL, LARGE))
    power, power_large = effects.exponents(d, of_m2), effects.exponents(d, of_m2_large)
    sizes = {"curvature": curvature, "squared signal": signal, "signal from examples with Q": of_m2}
    unit = f"{POWER} of d"
    return finding(
        [
            part(
                "curvature before the anneal (4.2)",
                lambda: _slower_than_small(d, curvature, of_small),
                below=OF_CURVATURE + MARGIN,
                unit=unit,
            ),
            part(
                "squared signal at the anneal (4.1)",
                effects.exponents(d, signal),
                below=OF_SIGNAL + MARGIN,
                unit=unit,
            ),
            part("W's signal from examples with Q under S (5.2)", power, below=OF_M2, unit=unit),
            part("the same under L-S, minus that", power_large - power, above=0.0, unit=unit),
        ],
        "15/32, the power of Lemma 5.2, and 1/2, which it must be below, cannot be told apart over a decade of d.",
        means={name: [arrays.average(row) for row in values] for name, values in sizes.items()},
        curvature_under_s=arrays.average(effects.exponents(d, of_small)),
    )


def _slower_than_small(d: Array, large: Array, small: Array) -> Array:
    """The exponents of L-S's curvature.

    Raises:
        Undetermined: S, whose curvature no lemma bounds, stays within the bound too.
    """
    below = OF_CURVATURE + MARGIN
    if part("S", effects.exponents(d, small), below=below, unit=POWER).verdict == "supported":
        raise Undetermined("the curvature of S over the same time stays within the bound too: it tells nothing apart")
    return effects.exponents(d, large)


def _control(results: StudyResults) -> Finding:
    infinite, finite, minima = (results.measurement(name) for name in ("control", "finite", "minimum"))
    convex, network = _by_model(infinite)
    level = _level(finite)
    on_the_way = effects.counted(finite.sel(model="convex"), level)
    histories = {model: effects.between_minima(minima, model) for model in ("convex", "network")}
    reached = effects.at_minima(minima, "convex", SMALL_GRADIENT)
    check = part("convex, infinite width (a check)", convex, above=-NO_EFFECT, below=NO_EFFECT, unit=ERROR)
    other = part("network, several histories", histories["network"], above=NO_EFFECT, unit=ERROR)
    return finding(
        [
            part(
                "convex, several histories to the minimum",
                np.where(reached, histories["convex"], np.nan),
                below=NO_EFFECT,
                unit=ERROR,
            ),
            part(
                "convex, finite width",
                lambda: _narrow(on_the_way),
                above=-NO_EFFECT_FINITE,
                below=NO_EFFECT_FINITE,
                unit=ERROR,
            ),
            part("network, infinite width", lambda: _seen(network), above=EFFECT, unit=ERROR),
            replace(check, verdict=REPORTED),
            replace(other, verdict=REPORTED),
        ],
        "S over L-S at equal training loss, and errors at the minimum from several histories; the network of the same size shows "
        "whether there is an effect to be seen.",
        finite_network=arrays.average(effects.counted(finite.sel(model="network"), level)),
        minimum_reached=int(reached.sum()),
    )


def _narrow(effect: Array) -> Array:
    """An effect whose interval is no wider than what counts as no effect.

    Raises:
        Undetermined: it is wider.
    """
    _, low, high, _ = interval(effect)
    if high - low > 2 * NO_EFFECT_FINITE:
        raise Undetermined(f"its interval is {high - low:.2g} decades wide, more than {2 * NO_EFFECT_FINITE:g}")
    return effect


def _seen(found: Compared) -> Array:
    """The network's order effect.

    Raises:
        Undetermined: it is not shown, so that a convex model without one shows nothing.
    """
    found.require_learned()
    effect = found.error_ratio()
    if part("network", effect, above=EFFECT, unit=ERROR).verdict != "supported":
        raise Undetermined(
            f"the network's own effect is not shown to be above {EFFECT:g} decades: the control shows nothing"
        )
    return effect


def _level(curves: xr.Dataset) -> float:
    """A training loss that the network and the convex model reach."""
    return max(effects.common_level(curves.sel(model=name)) for name in ("network", "convex"))


def _by_model(curves: xr.Dataset) -> tuple[Array, Compared]:
    """The order effect of the convex model, and the network at the same training loss."""
    level = _level(curves)
    errors = Compared.of(curves.sel(model="convex"), level).found["error_p"]
    effect = effects.log_ratio(*(errors.sel(algorithm=name).values for name in (SMALL, LARGE)))
    return effect, Compared.of(curves.sel(model="network"), level)


def _mitigation(results: StudyResults) -> Finding:
    curves = results.measurement("race")
    noisy, found = effects.race(curves, NOISY), Compared.of(curves)
    quiet = float(curves.attrs["eps"]) + float(curves.attrs["q"]) * np.log(2)
    over_large = effects.log_ratio(found.values("error_p", NOISY), found.values("error_p", LARGE))
    loss_on_q = at_loss(curves.sel(algorithm=[NOISY]), quiet)["loss_q_only"].values[0]
    return finding(
        [
            part("S + noise: Q after P", noisy.q_after_p, above=0.0, unit=TIME),
            part("S over S + noise", found.error_ratio(NOISY), above=0.0, unit=ERROR),
            part("S + noise over L-S", over_large, below=0.0, unit=ERROR),
            part("loss on Q alone where the noise is taken away", loss_on_q, above=effects.LEARNED, unit="nat"),
        ],
        f"At training loss {found.level:.3g}. The convolutional extension of App. F is not in the paper's main text, and is not "
        "simulated.",
        level=found.level,
    )


CLAIMS = (
    Claim(
        id="LO5",
        sentence="In the two-layer network on P and Q, L-S learns P first and Q after the anneal; S learns Q first, and P only from the examples with P alone. S then makes more errors on P.",
        criterion="Infinite width, where test errors are integrals and never 0; a pattern is learned where the training loss on the examples with it alone falls below 0.8 log 2; 95% intervals over data sets. L-S: Q is learned later than P, P before the anneal, Q after it. S: P is learned later than Q. A data set in which one of the two times is not reached says nothing. At the lowest training loss that all runs of both reach, times 1.05: the part |W2|^2 / (|W1|^2 + |W2|^2) of W's signal that comes from examples with Q (eq. 5.1) is below one half under S and above it under L-S, and so is the same part of the components along w*; the error on P of S over that of L-S is above 1, with the shares of eq. 1.1 too. Whatever is compared at a training loss is undetermined unless that loss is below 0.5 min(p, q) log 2, because the theorems speak of small losses. A data set is left out for both algorithms where one of them has not learned both patterns at that loss; undetermined if more than a quarter is. eps_1, at which L-S anneals, is ours: at no d that can be run is it as small as Theorem 3.4 asks.",
        needs=("race", "shares"),
        check=_order,
        figures=("2", "phases"),
    ),
    Claim(
        id="LO6",
        sentence="The lemmas' quantities stay within their bounds' scaling: curvature before the anneal, signal at the anneal, what W learns from examples with Q under S.",
        criterion="N/d fixed, r = c d^(-3/4), weight decay = c' d^(-5/4), times in proportion to d, five d over a decade; 95% intervals over data sets. Before the anneal of L-S, which must come before T = 1 / weight decay, the lemma's own range, else a data set says nothing. Power of d, with a margin of 0.15 (ours), of: the largest curvature of L-S before its anneal, below -0.25; undetermined if that of S over the same time stays within this bound as well; the largest squared norm of its signal before its anneal, below 1. The largest norm of W's signal from examples with Q under S: power below 1/2, which is the trivial one, without a margin; and the power of the same under L-S, data set by data set, minus that: above 0. The lemma's 15/32 and 1/2 cannot be told apart over a decade.",
        needs=("lemmas",),
        check=_lemmas,
        figures=("lemmas",),
    ),
    Claim(
        id="LO7",
        sentence="Control: a convex model has no order effect; at its minimum it does not matter what was learned first.",
        criterion="Activations frozen at initialisation, so that the loss with its weight decay is strongly convex; errors on P in decades; 95% intervals over data sets. At finite width the convex model is trained on, with small steps and no noise, to a gradient below 1e-6 from four histories: L-S, S, first the examples with Q alone, first those with P alone. Largest over smallest error: below 0.01; a data set in which a history does not get there says nothing. Error of S over that of L-S at finite width, at the lowest training loss that all runs reach, times 1.05: within -0.05 and 0.05, undetermined while the interval is wider than that window. Counted errors are read from 30 wrong test examples on. The network at infinite width, at such a training loss: S over L-S above 0.15; undetermined where that is not shown, because the control then shows nothing, or where more than a quarter of the data sets have not learned both patterns there. The convex model at infinite width is a check and reported: without noise in the activations both algorithms follow the same path, convex or not. The network from the four histories is reported too.",
        needs=("control", "finite", "minimum"),
        check=_control,
        figures=("control",),
    ),
    Claim(
        id="LO8",
        sentence="Small learning rate with noise before activations, which is reduced later (here to none, where the training loss at which L-S anneals is reached), in the theory's setting: it learns P first, and makes fewer errors on P than the small learning rate alone.",
        criterion="Infinite width, reported: T at which S + noise learns Q over that at which it learns P; error on P of S over that of S + noise, and of S + noise over that of L-S, at equal training loss, where both L-S and S have learned both patterns; loss on the examples with Q alone where the noise is taken away. The convolutional extension is in App. F, of which the main text tells nothing that could be simulated.",
        needs=("race",),
        check=_mitigation,
        figures=("2",),
        exploratory=True,
    ),
    Claim(
        id="LO9",
        sentence="In the two-layer network on P and Q the test error of S is at least of the order of p, that of L-S at most of the order of p kappa.",
        criterion="Infinite width; 95% intervals over data sets. Over at least four kappa with p = kappa^2/2 over a factor of 8, N = d/kappa^2, all at one d, each at the lowest training loss that all runs of both algorithms reach, times 1.05: the power of p of the test error is below 1.25 under S, above 1.25 under L-S, and that of L-S minus that of S, data set by data set, above 0.25. A power of L-S above 1.75 is reported: the bound is loose then. Undetermined unless each of these losses is below 0.5 min(p, q) log 2, because the theorems speak of small losses. A data set is left out for both algorithms where one of them has not learned both patterns (0.8 log 2 on the examples with it alone) at that loss; undetermined if more than a quarter is. eps_1 is ours, as in LO5.",
        needs=("scaling",),
        check=_scaling,
        figures=("scaling",),
    ),
)
