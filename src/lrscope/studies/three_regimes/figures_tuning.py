"""Figures of fine-tuning: the paper's 3, 5, 17 to 19 and 23. Trajectories are those of single runs, of the first seed: means over
seeds would hide jumps and peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Chart, Level, Line, Panel, style
from lrscope.charts.style import GREY
from lrscope.mapping import regimes
from lrscope.schema import segment
from lrscope.studies import arrays, common_panels
from lrscope.studies.common_panels import ERROR, LOSS, SHARPNESS
from lrscope.studies.three_regimes.effects_tuning import Roles, roles
from lrscope.studies.three_regimes.figures import chart
from lrscope.studies.types import StudyResults
from lrscope.studies.verdicts import Undetermined

QUANTITIES = (("effective_grad_norm", SHARPNESS), ("test_error", ERROR))
Pairs = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Tuned:
    """A sweep with fixed ELRs, one of fine-tuning, and their first seed."""

    base: xr.DataTree
    tune: xr.DataTree

    @classmethod
    def of(cls, results: StudyResults, base: str, tune: str) -> Tuned:
        """Both at the first seed that they share."""
        shared = arrays.shared_seeds(results.sweep(base), results.sweep(tune))
        return cls(*(result.isel(seed=[0]) for result in shared))

    def before(self, name: str, p: int) -> tuple[arrays.Array, arrays.Array]:
        """Training loss and a quantity along pre-training [W]."""
        return arrays.logged(self.tune, "train_loss")[p, 0], arrays.logged(self.tune, name)[p, 0]

    def after(self, name: str, p: int, f: int) -> tuple[arrays.Array, arrays.Array]:
        """The same along fine-tuning, from the last interval of pre-training on."""
        last = (values[-1:] for values in self.before(name, p))
        later = (arrays.logged(self.tune, n, "finetune")[p, f, 0] for n in ("train_loss", name))
        x, y = (np.concatenate(both) for both in zip(last, later, strict=True))
        return x, y

    def fixed(self, name: str, rate: float) -> tuple[float, arrays.Array, arrays.Array]:
        """The nearest fixed ELR, and loss and quantity along training with it."""
        lrs = self.base.coords["lr"].values
        k = int(np.abs(np.log(lrs / rate)).argmin())
        return float(lrs[k]), arrays.logged(self.base, "train_loss")[k, 0], arrays.logged(self.base, name)[k, 0]


def tuned_panel(seen: Tuned, known: Roles, pairs: Pairs, quantity: tuple[str, str], title: str) -> Panel:
    """Fine-tuning trajectories over training loss, coloured by the FLR, marked by the PLR; pre-trainings in grey, training with
    the nearest fixed ELR dashed."""
    name, words = quantity
    lines = []
    for p in sorted({p for p, _ in pairs}):
        x, y = seen.before(name, p)
        lines.append(
            Line(
                x=x,
                y=y,
                color=GREY,
                mark="end",
                symbol=style.symbol(p),
                width=1.2,
                name="pre-training",
            )
        )
    for f in sorted({f for _, f in pairs}):
        lr, x, y = seen.fixed(name, float(known.flr[f]))
        lines.append(Line(x=x, y=y, value=lr, dashed=True, width=1.2, name=f"from initialisation, {lr:.2g}"))
    for p, f in pairs:
        x, y = seen.after(name, p, f)
        named = f"{known.plr[p]:.2g} → {known.flr[f]:.2g}"
        lines.append(
            Line(x=x, y=y, value=float(known.flr[f]), mark="end", symbol=style.symbol(p), width=1.2, name=named)
        )
    return Panel(title=title, x=Axis(title=LOSS, log=True), y=Axis(title=words, log=name != "test_error"), layers=lines)


def _panels(results: StudyResults, base: str, tune: str, kinds: Sequence[str], words: Sequence[str]) -> list[Panel]:
    """A panel for each quantity and each kind that there is.

    Raises:
        Undetermined: there is none.
    """
    known, seen = roles(results.sweep(base), results.sweep(tune)), Tuned.of(results, base, tune)
    shown = [(known.pairs(kind), said) for kind, said in zip(kinds, words, strict=True) if known.pairs(kind)]
    if not shown:
        raise Undetermined(f"no pair of pre-training and fine-tuning ELR of {tune} is of the kind {' or '.join(kinds)}")
    return [tuned_panel(seen, known, pairs, quantity, said) for quantity in QUANTITIES for pairs, said in shown]


def regime_one(results: StudyResults) -> Chart:
    """Figure 3: trajectories of regime 1, and fine-tuning with smaller and larger ELRs."""
    result = results.sweep("convnet")
    inside = arrays.inside(regimes(result), "1")
    fixed = [
        common_panels.trajectories(result, *quantity, lrs=inside, panel_title="training with fixed ELRs", run=0)
        for quantity in QUANTITIES
    ]
    smaller = _panels(results, "convnet", "tune_lower", ("lower",), ("fine-tuning with a smaller ELR",))
    larger = _panels(results, "convnet", "tune_first", ("much",), ("fine-tuning with a much larger ELR",))
    return chart([panel for row in zip(fixed, smaller, larger, strict=True) for panel in row])


def lower(results: StudyResults) -> Chart:
    """Figure 17: fine-tuning with a decreased ELR."""
    words = ("fine-tuning with a smaller ELR",)
    return chart(
        [
            *_panels(results, "convnet", "tune_lower", ("lower",), (f"ConvNet, {words[0]}",)),
            *_panels(results, "noisy", "tune_noise_lower", ("lower",), (f"MLP, {words[0]}",)),
        ],
        columns=2,
    )


def higher(results: StudyResults) -> Chart:
    """Figure 18: fine-tuning with a slightly and with a much increased ELR."""
    words = ("slightly increased ELR", "much increased ELR")
    return chart(_panels(results, "convnet", "tune_first", ("slightly", "much"), words), columns=2)


def within_and_down(results: StudyResults) -> Chart:
    """Figure 5: left, changing the ELR inside regime 2; right, fine-tuning from regime 2 with ELRs of regime 1."""
    known = roles(results.sweep("noisy"), results.sweep("tune_noise"))
    seen = Tuned.of(results, "noisy", "tune_noise")
    right = [
        tuned_panel(seen, known, known.down(which), QUANTITIES[0], f"to regime 1 from {words} regime 2")
        for which, words in ((0, "low"), (-1, "high"))
    ]
    return chart([_within(results.sweep("tune_noise"), known), *right])


def _within(tune: xr.DataTree, known: Roles) -> Panel:
    """Changes of the ELR from the lowest and the highest of regime 2: curves of one seed, levels of all."""
    pairs, lines = known.some("within"), []
    ends = {min(p for p, _ in pairs), max(p for p, _ in pairs)}
    start, later = (segment(tune, node)["epoch"].values for node in ("pretrain", "finetune"))
    for p in sorted(ends):
        lines.append(
            Line(
                x=start,
                y=arrays.logged(tune, "train_loss")[p, 0],
                color=GREY,
                dashed=p > min(ends),
                name=f"pre-training, {known.plr[p]:.2g}",
            )
        )
    for p, f in pairs:
        if p in ends:
            after = arrays.logged(tune, "train_loss", "finetune")[p, f, 0]
            named = f"{known.plr[p]:.2g} → {known.flr[f]:.2g}"
            lines.append(Line(x=start[-1] + later, y=after, value=float(known.flr[f]), name=named))
    own = common_panels.log_mean(arrays.settled(arrays.logged(tune, "train_loss")), 1)
    levels = [Level(y=float(own[p]), label=f"ELR {known.plr[p]:.2g}") for p in sorted({p for p, _ in pairs})]
    return Panel(
        title="changing the ELR inside regime 2",
        x=Axis(title="epoch"),
        y=Axis(title=LOSS, log=True),
        layers=[*levels, *lines],
    )


def down(results: StudyResults) -> Chart:
    """Figure 23: from rising ELRs of regime 2 with those of regime 1, sharpness and test error."""
    known = roles(results.sweep("noisy"), results.sweep("tune_noise"))
    seen = Tuned.of(results, "noisy", "tune_noise")
    pairs = known.some("down")
    plrs = sorted({p for p, _ in pairs})
    found = [
        tuned_panel(seen, known, [pair for pair in pairs if pair[0] == p], quantity, f"from ELR {known.plr[p]:.2g}")
        for quantity in QUANTITIES
        for p in plrs
    ]
    rows = (found[i : i + len(plrs)] for i in range(0, len(found), len(plrs)))
    return chart([panel for row in rows for panel in common_panels.same_limits(row)], columns=len(plrs))


def connectivity(results: StudyResults) -> Chart:
    """Figure 19: losses along lines between neighbouring solutions, and between pre-trained and fine-tuned ones."""
    found, tuned = results.measurement("neighbour_paths"), results.measurement("tuned_paths")
    lines = [
        _path(found.isel(pair=i), float(found["high_lr"].values[i]), f"{low:.2g} and {high:.2g}", dashed=True)
        for i, (low, high) in enumerate(zip(found["low_lr"].values, found["high_lr"].values, strict=True))
    ]
    made = [_line_panel("between neighbouring ELRs of regime 1", lines)]
    plrs = sorted(set(tuned["lr"].values.tolist()))
    words = {"lower": "lower", "slightly": "slightly higher", "more": "higher", "much": "much higher"}
    for kind, how in words.items():
        at = np.flatnonzero(tuned["kind"].values == kind)
        lines = [_tuned_line(tuned.isel(pair=i), plrs) for i in at]
        if lines:
            made.append(_line_panel(f"to fine-tuned, {how} ELR", lines))
    return chart(made, columns=2)


def _tuned_line(pair: xr.Dataset, plrs: Sequence[float]) -> Line:
    plr, flr = float(pair["lr"]), float(pair["finetune_lr"])
    return _path(pair, flr, f"{plr:.2g} → {flr:.2g}", symbol=style.symbol(plrs.index(plr)))


def _path(pair: xr.Dataset, value: float, name: str, **look: Any) -> Line:
    """Losses along a line, geometric mean over the seeds that have one."""
    losses = common_panels.log_mean(pair["train_loss"].transpose("seed", "alpha").values, 0)
    return Line(x=pair["alpha"].values, y=losses, value=value, mark="both", name=name, **look)


def _line_panel(title: str, lines: Sequence[Line]) -> Panel:
    return Panel(title=title, x=Axis(title="position on the line"), y=Axis(title=LOSS, log=True), layers=lines)
