"""FL1 to FL4: what pre-training with one learning rate leaves behind, on the synthetic ticks.

L pre-training rates, F fine-tuning rates, U units (data seed x seed). Regimes are told from other runs than those
that are measured (states.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr

from lrscope.measures.features import sparsity
from lrscope.studies import panels, reading
from lrscope.studies.feature_learning.states import (
    Part,
    averaged,
    each,
    judged,
    mean_of_parts,
    over,
    probes,
    read_in,
    trained,
    tuned,
)
from lrscope.studies.reading import Array
from lrscope.studies.stats import all_of, finding, interval
from lrscope.studies.types import Claim, Finding, Lab

CHANCE = 0.5
SPARSER = float(np.log(1.5))  # ours: a third fewer features


def effective_number(part: Part, state: str) -> Array:
    """Features that a run relies on [L, U]: NaN where it learned nothing."""
    return np.asarray(
        sparsity(xr.DataArray(probes(part, state), dims=("lr", "unit", "feature")), chance=CHANCE)["effective_number"],
        dtype=np.float64,
    )


def _best_in_2a(lab: Lab) -> Finding:
    parts = judged(lab.sweep("ticks"))

    def mean(part: Part, label: str) -> Array:
        return over(tuned(part)[:, :-1].mean(1), part.inside(label))

    def spread(part: Part, label: str) -> Array:
        return over(tuned(part)[:, :-1].std(1), part.inside(label))

    def moved(part: Part) -> Array:
        found, before = tuned(part), trained(part)
        pairs = [(p, f) for p in part.inside("1") for f, flr in enumerate(part.flr[:-1]) if flr <= 1.001 * part.plr[p]]
        return np.asarray(np.abs(np.mean([found[p, f] - before[p] for p, f in pairs], axis=0)), dtype=np.float64)

    over_one = each(parts, lambda part: mean(part, "2A") - over(trained(part), part.upper_one()))
    over_2b = each(parts, lambda part: mean(part, "2A") - mean(part, "2B"))
    wider = each(parts, lambda part: spread(part, "2B") - spread(part, "2A"))
    nothing = each(parts, moved)
    return all_of(
        [
            finding(over_one, 0.0, "better than regime 1"),
            finding(over_2b, 0.0, "better than 2B"),
            finding(wider, 0.0, "FLRs agree more than in 2B"),
            finding(0.01 - nothing, 0.0, "nothing changes in regime 1"),
        ],
        f"Fine-tuning from 2A ends {100 * mean_of_parts(over_one):.1f} points above pre-training in upper regime 1 and {100 * mean_of_parts(over_2b):.1f} above "
        f"fine-tuning from 2B; the spread over FLRs is {100 * mean_of_parts(wider):.1f} points wider in 2B; in regime 1 smaller and equal FLRs move "
        f"accuracy by {100 * mean_of_parts(nothing):.2f} points. Regimes from the other data seeds."
        + read_in(over_one, over_2b, wider, nothing),
    )


def _averages(lab: Lab) -> Finding:
    parts = judged(lab.sweep("ticks"))
    most = int(lab.sweep("ticks")["n_average"].values[-1])

    def behind(label: str, n: int) -> Array:
        return each(parts, lambda part: over(averaged(part, n) - tuned(part)[:, 0], part.inside(label)))

    good, bad = behind("2A", most), behind("2B", most)
    numbers: dict[float, Array] = {int(n): behind("2A", int(n)) for n in lab.sweep("ticks")["n_average"].values}
    gaps = by_plr(parts, "2A", lambda part: averaged(part, most) - tuned(part)[:, 0])
    return all_of(
        [finding(good + 0.02, 0.0, "matches in 2A"), finding(-0.05 - bad, 0.0, "fails in 2B")],
        f"An average of {most} checkpoints against the lowest FLR: {100 * mean_of_parts(good):+.1f} points in 2A, {100 * mean_of_parts(bad):+.1f} in 2B. In 2A by "
        f"PLR: {_list(gaps, '{:+.1f}', 100)}; by number of checkpoints: {_list(numbers, '{:+.1f}', 100)}. Regimes from the other data seeds; a PLR counts as 2A "
        f"where most of them say so.{read_in(good, bad)}",
        by_number={str(n): interval(values)[:3] for n, values in numbers.items()},
        by_plr={f"{plr:.4g}": interval(values)[:3] for plr, values in gaps.items()},
    )


def by_plr(parts: list[Part], label: str, effect: Callable[[Part], Array]) -> dict[float, Array]:
    """An effect [L, U] of every part, mean over its units, at each PLR that the maps of most parts give a label."""
    kept = [
        k
        for k in range(len(parts[0].plr))
        if sum(part.others.labels[k].regime == label for part in parts) > len(parts) / 2
    ]
    return at_plrs(parts, kept, effect)


def at_plrs(parts: list[Part], positions: Sequence[int], effect: Callable[[Part], Array]) -> dict[float, Array]:
    """An effect [L, U] of every part, mean over its units, at some PLRs."""

    def at(k: int) -> Array:
        return each(parts, lambda part: effect(part)[k])

    return {float(parts[0].plr[k]): at(k) for k in positions}


def _list(values: Mapping[float, Array], style: str, factor: float = 1.0) -> str:
    return ", ".join(f"{key:.3g} {style.format(factor * mean_of_parts(value))}" for key, value in values.items())


def _sparse(lab: Lab) -> Finding:
    parts = judged(lab.sweep("ticks"))

    def sparser(part: Part, state: str, where: list[int]) -> Array:
        """Log ratio of the features relied on at the lowest PLRs and in another state elsewhere."""
        before = panels.mean(effective_number(part, "pre")[part.lowest()], 0)
        return np.asarray(np.log(before / panels.mean(effective_number(part, state)[where], 0)), dtype=np.float64)

    effects = {
        "sparse in 2A": each(parts, lambda part: sparser(part, "pre", part.inside("2A"))),
        "kept by the lowest FLR": each(parts, lambda part: sparser(part, "low", part.inside("2A"))),
        "kept by SWA": each(parts, lambda part: sparser(part, "swa", part.inside("2A"))),
        "restored by the highest FLR from the lowest PLRs": each(
            parts, lambda part: sparser(part, "high", part.lowest())
        ),
        "restored by the highest FLR from regime 3": each(parts, lambda part: sparser(part, "high", part.inside("3"))),
    }
    gone = each(parts, lambda part: over(probes(part, "pre").mean(2), part.inside("3")) - CHANCE)
    even = each(parts, lambda part: panels.mean(effective_number(part, "pre")[part.lowest()], 0))
    ratios = ", ".join(f"{name} {np.exp(mean_of_parts(values)):.2f}" for name, values in effects.items())
    after = at_plrs(parts, parts[0].lowest(), lambda part: effective_number(part, "high"))
    top = parts[0].flr[-1]
    return all_of(
        [
            *(finding(values, SPARSER, name) for name, values in effects.items()),
            finding(0.02 - gone, 0.0, "gone in regime 3"),
        ],
        f"At the lowest PLRs runs rely on {mean_of_parts(even):.1f} of 16 features; how many times fewer elsewhere: {ratios}. In regime 3 "
        f"single-feature accuracy lies {100 * mean_of_parts(gone):.1f} points above chance. After FLR {top:.3g} from the lowest PLRs they rely on, by FLR / "
        f"PLR: {_list({top / plr: values for plr, values in after.items()}, '{:.1f}')}.{read_in(*effects.values(), gone)}",
        after_highest={f"{plr:.4g}": interval(values)[:3] for plr, values in after.items()},
    )


def _geometry(lab: Lab) -> Finding:
    parts = judged(lab.sweep("ticks"))
    found = lab.measured("geometry")

    def of(part: Part, name: str, pair: str) -> Array:
        here = {axis: part.result[axis].values for axis in ("data_seed", "seed")}
        return reading.units(found[name].sel(pair=pair).sel(here))

    def two(part: Part) -> list[int]:
        return [*part.inside("2A"), *part.inside("2B")]

    def gap(name: str) -> Array:
        return each(parts, lambda part: over(of(part, name, "high-swa") - of(part, name, "low-swa"), two(part)))

    def rise(part: Part, positions: list[int]) -> Array:
        return over(of(part, "barrier_test_error", "low-high"), positions)

    def turned(part: Part, positions: list[int]) -> Array:
        return over(of(part, "angle", "low-high"), positions)

    appears = each(parts, lambda part: rise(part, part.inside("2A")) - rise(part, part.upper_one()))
    higher = each(parts, lambda part: rise(part, part.inside("2B")) - rise(part, part.inside("2A")))
    angle, barrier = gap("angle"), gap("barrier_test_error")
    thrown = each(parts, lambda part: turned(part, part.lowest()) - turned(part, part.upper_one()))
    return all_of(
        [
            finding(appears, 0.0, "barriers in 2A"),
            finding(higher, 0.0, "higher in 2B"),
            finding(angle, 0.0, "SWA closer to low by angle"),
            finding(barrier, 0.0, "SWA closer to low by barrier"),
            finding(thrown, 0.0, "catapult"),
        ],
        f"Barriers in test error between lowest- and highest-FLR solutions: {100 * mean_of_parts(appears):.1f} points more in 2A than in upper regime 1, "
        f"{100 * mean_of_parts(higher):.1f} more in 2B than in 2A. From the high-FLR solution SWA lies {mean_of_parts(angle):.2f} rad and {100 * mean_of_parts(barrier):.1f} points "
        f"farther than from the low one. At the lowest PLRs the two solutions lie {mean_of_parts(thrown):.2f} rad farther apart than in upper regime 1."
        + read_in(appears, higher, angle, barrier, thrown),
        curves=_curves(found),
    )


def _curves(found: xr.Dataset) -> dict[str, dict[str, list[float]]]:
    """What Figure 9 draws, by PLR: mean angles and median barriers of test error."""
    runs = ("data_seed", "seed")
    angle, barrier = found["angle"].mean(runs), found["barrier_test_error"].median(runs)
    return {
        str(pair): {
            "plr": [float(lr) for lr in found["lr"].values],
            "angle": [round(float(v), 4) for v in angle.sel(pair=pair).transpose("lr").values],
            "median_barrier": [round(float(v), 4) for v in barrier.sel(pair=pair).transpose("lr").values],
        }
        for pair in found["pair"].values
    }


CLAIMS = (
    Claim(
        id="FL1",
        sentence="Fine-tuned test accuracy peaks in 2A, where fine-tuning rates agree; in 2B they spread and drop; in regime 1 fine-tuning with a smaller or equal rate changes nothing.",
        criterion="Ticks, without the highest FLR, which overfits in a fixed length; regimes by the runs of the other data seeds. 95% intervals over seeds: mean accuracy after fine-tuning from 2A minus that of pre-training in the upper half of regime 1, and minus fine-tuning from 2B, above 0; deviation over FLRs in 2B minus 2A above 0; mean change by FLRs up to the PLR in regime 1 below one point.",
        needs=("ticks",),
        check=_best_in_2a,
        figures=("1", "8"),
    ),
    Claim(
        id="FL2",
        sentence="Averaging weights matches fine-tuning in 2A and fails in 2B.",
        criterion="Ticks, regimes by the runs of the other data seeds. 95% intervals over seeds of test accuracy of the average over most checkpoints minus that of fine-tuning with the lowest FLR: above -2 points in 2A, below -5 points in 2B.",
        needs=("ticks",),
        check=_averages,
        figures=("8",),
    ),
    Claim(
        id="FL3",
        sentence="Single-feature accuracies are even at small PLRs, sparse in 2A and gone above; a low FLR and averaging keep the sparsity, a high FLR restores it from anywhere.",
        criterion="Ticks, regimes by the runs of the other data seeds. Number of features relied on (participation ratio of single-feature accuracies above chance), 95% intervals over seeds: at the lowest decade of PLRs it is more than 1.5 times that in 2A after pre-training, after the lowest FLR and after averaging five checkpoints, and that after the highest FLR from the lowest decade and from regime 3; mean single-feature accuracy in regime 3 is less than two points above chance.",
        needs=("ticks",),
        check=_sparse,
        figures=("2", "3", "10"),
    ),
    Claim(
        id="FL4",
        sentence="Barriers between low- and high-FLR solutions appear in 2A and are higher in 2B; the average lies close to the low-FLR solution and far from the high-FLR one; an FLR far above the PLR catapults.",
        criterion="Ticks, regimes by the runs of the other data seeds; lowest FLR, highest FLR, average of five checkpoints. 95% intervals over seeds, all above 0: test-error barrier between low and high in 2A minus upper half of regime 1, and 2B minus 2A; in 2A and 2B angle and test-error barrier from the average to high minus to low; angle between low and high at the lowest decade of PLRs minus upper half of regime 1.",
        needs=("ticks", "geometry"),
        check=_geometry,
        figures=("9",),
    ),
)
