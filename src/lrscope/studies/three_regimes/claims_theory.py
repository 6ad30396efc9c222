"""TR1 to TR4: the equations of Sec. 3, exact to rounding."""

from __future__ import annotations

import numpy as np

from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import exact, finding


def _total_elr(results: StudyResults) -> Finding:
    found = results.measurement("identities")
    return finding(
        [exact("eq. 3", float(found["eq3"].max()), at_most=1e-9, unit="relative residual", seeds=found.sizes["seed"])],
        f"Largest relative residual over {int(found['steps'])} float64 steps of {found.sizes['lr']} ELRs.",
    )


def _group_rules(results: StudyResults) -> Finding:
    found = results.measurement("identities")
    worst = {"eq. 4": float(found["eq4"].max()), "eq. 5": float(found["eq5"].max())}
    return finding(
        largest_first(worst, at_most=1e-9, unit="relative residual", seeds=found.sizes["seed"]),
        f"Eq. 4 to {worst['eq. 4']:.1g}, eq. 5 to {worst['eq. 5']:.1g}, over "
        f"{int(found['steps'])} float64 steps of {found.sizes['lr']} ELRs.",
    )


def largest_first(worst: dict[str, float], *, at_most: float, unit: str, seeds: int) -> list[Part]:
    """Deviations with one bound, as parts: the largest leads."""
    ordered = sorted(worst.items(), key=lambda item: -item[1])
    return [exact(name, value, at_most=at_most, unit=unit, seeds=seeds) for name, value in ordered]


def _one_pair(results: StudyResults) -> Finding:
    found = results.measurement("toy_pair")
    multiple = found["multiple"].values  # ELR times alpha
    below, above = multiple < 1, multiple > 1
    fallen = float(found["value"].values[below].max())
    rate = float(np.abs(found["rate"].values[below] / np.abs(1 - 2 * multiple[below, None]) - 1).max())
    level = found["value"].values[above] / ((1 - 1 / multiple[above]) / 2)[:, None]
    away = float(np.abs(level - 1).max())
    worst = {"level above 1/alpha": away, "rate below 1/alpha": rate, "final value below 1/alpha": fallen}
    return finding(
        largest_first(worst, at_most=1e-3, unit="relative deviation", seeds=found.sizes["start"]),
        f"Below 1/alpha the function ends under {fallen:.1g} and falls at eq. 20's rate to {rate:.1g}; above, its level is "
        f"(alpha - 1/ELR)/2 to {away:.1g}.",
    )


def _three_pairs(results: StudyResults) -> Finding:
    from lrscope.studies.three_regimes import toy

    found = results.measurement("toy")
    elr = found["elr"].values
    total, final, predicted = found["value"].values, found["final"].values, found["equilibrium"].values[:, None]
    astray = np.abs(found["mean_group_elr"].values / predicted - 1).max(-1)  # [ELR, start]
    spread = found["spread"].values.max(-1)
    threshold = float(found.attrs["threshold"])
    below, two, three = elr < threshold, (elr > threshold) & (elr < 0.3), elr >= 0.3
    worst = float(astray[two].max())
    checks = {
        "converges below": final[below] < 1e-12,
        "does not above": total[~below] > 1e-3,
        "stops early in 1": astray[elr == toy.PAPER_ELRS[0]] > 10 * worst,
        "no equilibrium in 3": (spread[three] > 1.0) & (astray[three] > 0.5),
    }
    failed = [name for name, held in checks.items() if not held.all()]
    starts = found.sizes["start"]
    return finding(
        [
            exact("group ELRs from eq. 9 in regime 2", worst, at_most=0.02, unit="relative distance", seeds=starts),
            *(
                exact(name, float((~held).mean()), at_most=0.0, unit="of the runs do not", seeds=starts)
                for name, held in checks.items()
            ),
        ],
        "Largest relative distance of regime 2's mean group ELRs from eq. 9; "
        + (
            f"these fail: {', '.join(failed)}."
            if failed
            else "threshold, early stop and absence of equilibrium as stated."
        ),
        astray=np.round(astray, 5).tolist(),
        elr=elr.tolist(),
    )


CLAIMS = (
    Claim(
        id="TR1",
        sentence="The reciprocals of the groups' effective learning rates sum to the reciprocal of the total one at every step (eq. 3).",
        criterion="Largest relative residual of eq. 3 over all recorded float64 steps, ELRs and seeds is at most 1e-9.",
        needs=("identities",),
        check=_total_elr,
    ),
    Claim(
        id="TR2",
        sentence="The total squared effective step size is the convex combination of the groups' (eq. 4), and each group's ELR follows its update rule (eq. 5).",
        criterion="Largest relative residual of eq. 4 and eq. 5 over all recorded float64 steps, ELRs and seeds is at most 1e-9.",
        needs=("identities",),
        check=_group_rules,
    ),
    Claim(
        id="TR3",
        sentence="One pair converges linearly below ELR 1/alpha and settles at (alpha - 1/ELR)/2 above (Proposition 1).",
        criterion="Over all starting points: below 1/alpha the final value is at most 1e-3 and the rate of |x/y| within 1e-3 of eq. 20's; above, the level is within 1e-3 of (alpha - 1/ELR)/2, relatively.",
        needs=("toy_pair",),
        check=_one_pair,
    ),
    Claim(
        id="TR4",
        sentence="Several pairs converge only below ELR 1/sum(alpha); above it the mean group ELRs sit at eq. 9's values; in regime 1 they stop before, in regime 3 there is no equilibrium.",
        criterion="At every starting point: final value under 1e-12 below the threshold, mean value above 1e-3 beyond it; mean group ELRs within 2% of eq. 9 in regime 2, and at ELR 0.1 (regime 1) more than ten times as far from it; in regime 3 more than 50% away, with a spread over steps larger than their mean.",
        needs=("toy",),
        check=_three_pairs,
        figures=("2", "8"),
    ),
)
