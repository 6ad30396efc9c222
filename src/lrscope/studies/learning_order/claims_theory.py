"""LO5 to LO8: the theory's two-layer network, simulated.

U seeds.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.learning_order import effects_theory as effects
from lrscope.studies.learning_order.effects_theory import LARGE, NOISY, SMALL
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, exact, finding, part

HALF = 0.25  # ours: half of what the exponents of S and L-S in p differ by
OF_S, OF_L_S = 1.0, 1.5  # Theorems 3.4, 3.5: p, and p kappa with p = kappa^2 / 2
LOGARITHM = (
    0.15  # ours: what one factor log d adds to an exponent over a decade of d; the lemmas leave such factors open
)
OF_CURVATURE, OF_SIGNAL, OF_M2 = -0.25, 1.0, 15 / 32  # in d: Lemmas 4.2, 4.1, 5.2
NOISE_LEVEL = 0.01  # ours: three standard errors of the norm of 50,000 weights
STATIONARY = 1e-9  # ours: rounding over a run
NO_EFFECT, NO_EFFECT_FINITE, EFFECT = 0.01, 0.05, 0.05  # ours, in decades of error on P
TIME, ERROR, POWER, SHARE = "decades of T", "decades of test error on P", "exponent", "of the squared norm"


def _order(results: StudyResults) -> Finding:
    curves, shares, scaling = (results.measurement(name) for name in ("race", "shares", "scaling"))
    large, small = effects.race(curves, LARGE), effects.race(curves, SMALL)
    level, level_shares = effects.common_level(curves), effects.common_level(shares)
    of_m2 = {name: effects.share_of_m2(curves, name, level) for name in (LARGE, SMALL)}
    (powers, parts), ratios = _exponents(scaling), _ratios(scaling)
    ratio = effects.error_ratio(curves, level)
    return finding(
        [
            part("L-S: Q after P", large.q_after_p, above=0.0, unit=TIME),
            part("L-S: P after the anneal", large.p_after_anneal, below=0.0, unit=TIME),
            part("L-S: Q after the anneal", large.q_after_anneal, above=0.0, unit=TIME),
            part("S: P after Q", -small.q_after_p, above=0.0, unit=TIME),
            part("S: what W has from examples with Q", of_m2[SMALL], below=0.5, unit=SHARE),
            part("L-S: what W has from examples with Q", of_m2[LARGE], above=0.5, unit=SHARE),
            part("S over L-S", ratio, above=0.0, unit=ERROR),
            part("S over L-S, shares of eq. 1.1", effects.error_ratio(shares, level_shares), above=0.0, unit=ERROR),
            *parts,
        ],
        f"At training loss {level:.3g} S makes {_said(10 ** arrays.average(ratio))} times as many errors on P as L-S. The power of p "
        f"of the test error is {_said(powers[SMALL])} (S) and {_said(powers[LARGE])} (L-S); the theorems bound it: at most 1, at "
        f"least 1.5. S over L-S by kappa: {', '.join(f'{kappa}: {_said(value)}' for kappa, value in ratios.items())}.",
        level=level,
        level_shares=level_shares,
        exponents=powers,
        ratios_by_kappa=ratios,
    )


def _said(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "an undetermined number"


def _exponents(scaling: xr.Dataset) -> tuple[dict[str, float], list[Part]]:
    """How test errors go with p, by algorithm, and the two parts that judge it."""
    powers, parts = {}, []
    words = {SMALL: ("S: error like p", OF_S), LARGE: ("L-S: error like p kappa", OF_L_S)}
    for name, (said, expected) in words.items():
        errors, _ = effects.read_sizes(scaling, name)
        found = effects.exponents(scaling["kappa"].values ** 2 / 2, errors)
        powers[name] = arrays.average(found)
        parts.append(part(said, found, above=expected - HALF, below=expected + HALF, unit=f"{POWER} of p"))
    return powers, parts


def _ratios(scaling: xr.Dataset) -> dict[str, float]:
    """How many times as many test errors S makes as L-S, by kappa: the theorems together say 1 / kappa, up to constants."""
    small, large = (effects.read_sizes(scaling, name)[0] for name in (SMALL, LARGE))
    ratios = np.divide(small, large, out=np.full(small.shape, np.nan), where=large > 0)
    return {f"{kappa:.3g}": arrays.average(row) for kappa, row in zip(scaling["kappa"].values, ratios, strict=True)}


def _lemmas(results: StudyResults) -> Finding:
    curves, finite = results.measurement("lemmas"), results.measurement("finite").sel(model="network")
    d = curves["dimension"].values.astype(float)
    whole = curves.assign(signal=effects.squared_norm(curves))
    curvature = effects.before_anneal(curves, "curvature")
    signal = effects.before_anneal(whole, "signal")
    of_m2 = effects.largest_of(curves, "norm_w_m2", SMALL)
    sizes = {"curvature": curvature, "squared signal": signal, "signal from examples with Q": of_m2}
    return finding(
        [
            _bounded("curvature before the anneal (4.2)", d, curvature, OF_CURVATURE),
            _bounded("squared signal at the anneal (4.1)", d, signal, OF_SIGNAL),
            _bounded("W's signal from examples with Q under S (5.2)", d, of_m2, OF_M2),
            part(
                "noise at the anneal over initialisation (3.3), finite width",
                effects.last_before_anneal(finite, "noise_std"),
                above=1 - NOISE_LEVEL,
                below=1 + NOISE_LEVEL,
                unit="ratio of standard deviations",
            ),
            exact(
                "noise before the anneal (3.4), infinite width",
                effects.worst_before_anneal(curves, "noise_std", 1.0),
                at_most=STATIONARY,
                unit="largest change of the standard deviation",
                seeds=curves.sizes["seed"],
            ),
        ],
        "Each exponent in d is held against its lemma's bound and one factor log d.",
        means={name: [arrays.average(row) for row in values] for name, values in sizes.items()},
    )


def _bounded(name: str, d: Array, values: Array, bound: float) -> Part:
    return part(name, effects.exponents(d, values), below=bound + LOGARITHM, unit=f"{POWER} of d")


def _control(results: StudyResults) -> Finding:
    measured = {"infinite": results.measurement("control"), "finite": results.measurement("finite")}
    found = {words: _by_model(curves) for words, curves in measured.items()}
    convex, network = found["infinite"]["convex"], found["infinite"]["network"]
    return finding(
        [
            part("convex, infinite width", convex, above=-NO_EFFECT, below=NO_EFFECT, unit=ERROR),
            part(
                "convex, finite width",
                found["finite"]["convex"],
                above=-NO_EFFECT_FINITE,
                below=NO_EFFECT_FINITE,
                unit=ERROR,
            ),
            part("network, infinite width", lambda: _seen(network), above=EFFECT, unit=ERROR),
        ],
        "S over L-S at equal training loss; the network of the same size shows whether there is an effect to be seen.",
        finite_network=arrays.average(found["finite"]["network"]),
    )


def _seen(effect: Array) -> Array:
    """The network's order effect.

    Raises:
        Undetermined: it is not shown, so that a convex model without one shows nothing.
    """
    if part("network", effect, above=EFFECT, unit=ERROR).verdict != "supported":
        raise Undetermined(
            f"the network's own effect is not shown to be above {EFFECT:g} decades: the control shows nothing"
        )
    return effect


def _by_model(curves: xr.Dataset) -> dict[str, Array]:
    """Order effects of the network and of the convex model, at a training loss that all reach."""
    level = max(effects.common_level(curves.sel(model=name)) for name in ("network", "convex"))
    return {name: effects.error_ratio(curves.sel(model=name), level) for name in ("network", "convex")}


def _mitigation(results: StudyResults) -> Finding:
    curves = results.measurement("race")
    noisy, level = effects.race(curves, NOISY), effects.common_level(curves)
    return finding(
        [
            part("S + noise: Q after P", noisy.q_after_p, above=0.0, unit=TIME),
            part("S over S + noise", effects.error_ratio(curves, level, by=NOISY), above=0.0, unit=ERROR),
        ],
        f"At training loss {level:.3g}. The convolutional extension of App. F is not in the paper's main text, and is not simulated.",
        level=level,
    )


CLAIMS = (
    Claim(
        id="LO5",
        sentence="In the two-layer network on P and Q, L-S learns P first and Q after the anneal; S learns Q first, and P only from the examples with P alone. S then makes more errors on P; its test error goes like p, that of L-S like p kappa.",
        criterion="Infinite width; a pattern is learned where the training loss on the examples with it alone falls below 0.8 log 2; what is not learned counts as learned at the end; 95% intervals over data sets. L-S: Q is learned later than P, P before the anneal, Q after it. S: P is learned later than Q. At the lowest training loss that all runs of both reach, times 1.05: of W's squared signal less than half comes from examples with Q under S, more than half under L-S; the error on P of S over that of L-S is above 1, with the shares of eq. 1.1 too. Over kappa with p = kappa^2/2 and N = d/kappa^2, each at such a training loss, the test error goes like a power of p between 0.75 and 1.25 under S, between 1.25 and 1.75 under L-S; a run is left out where the examples with P alone are not learned there.",
        needs=("race", "shares", "scaling"),
        check=_order,
        figures=("2", "phases", "scaling"),
    ),
    Claim(
        id="LO6",
        sentence="The lemmas' quantities stay within their bounds' scaling: curvature before the anneal, signal at the anneal, what W learns from examples with Q under S; the noise is stationary.",
        criterion="N/d fixed, r = c d^(-3/4), weight decay = c' d^(-5/4), times in proportion to d, over a decade of d; 95% intervals over data sets. Power of d of: the largest curvature of L-S before its anneal, below -0.25; the largest squared norm of its signal before it, below 1; the largest norm of W's signal from examples with Q under S, below 15/32; each with 0.15 for one factor log d. At finite width the standard deviation of the noise part of L-S just before its anneal is that at initialisation, to 1%. At infinite width it does not change before the anneal by more than 1e-9.",
        needs=("lemmas", "finite"),
        check=_lemmas,
        figures=("lemmas",),
    ),
    Claim(
        id="LO7",
        sentence="Control: a convex model has no order effect.",
        criterion="Activations frozen at initialisation, so that the loss is convex. Error on P of S over that of L-S at the lowest training loss that all runs reach, times 1.05, in decades; 95% intervals over data sets. Convex: within -0.01 and 0.01 at infinite width, within -0.05 and 0.05 at finite width, where rates differ and noise is drawn. The network on the same data at infinite width: above 0.05; undetermined where that is not shown, because the control then shows nothing.",
        needs=("control", "finite"),
        check=_control,
        figures=("control",),
    ),
    Claim(
        id="LO8",
        sentence="Small learning rate with noise before activations, which is taken away later, in the theory's setting: it learns P first, and makes fewer errors on P than the small learning rate alone.",
        criterion="Infinite width, reported: T at which S + noise learns Q over that at which it learns P; error on P of S over that of S + noise at equal training loss. The convolutional extension is in App. F, of which the main text tells nothing that could be simulated.",
        needs=("race",),
        check=_mitigation,
        figures=("2",),
        exploratory=True,
    ),
)
