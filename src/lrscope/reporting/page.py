"""The report: one HTML file with everything in it. No network, no other files; all text from the result is escaped.

Text reaches HTML only through Jinja's autoescaping; figures travel as JSON with `<`, `>` and `&` as unicode escapes.
A content security policy admits the page's own two scripts by their hashes and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lrscope.charts import style, to_plotly
from lrscope.charts.text import NOTHING, number, plural
from lrscope.errors import LrscopeError
from lrscope.mapping.types import REGIMES, RegimeMap
from lrscope.reporting import frames, text
from lrscope.reporting.banner import banner
from lrscope.reporting.figures import drawings
from lrscope.schema import STATUS, STATUS_REMEDY, segment
from lrscope.storage.files import check_target, mode_of, write_whole

PHASES = {"pretrain": "pre-training", "finetune": "fine-tuning"}  # other segments go by their names
MOST_ROWS = 12  # a longer table is folded


def write_page(result: xr.DataTree, path: Path, regime_map: RegimeMap) -> Path:
    """Render and write the report."""
    mode = mode_of(path, follow=False)
    if mode is not None and stat.S_ISDIR(mode):
        raise LrscopeError(f"report path {path} is a folder: name a file in it, such as {path / 'report.html'}")
    check_target(path)
    return write_text(render(result, regime_map), path)


def write_text(page: str, path: Path) -> Path:
    """Write a page so that the file is either whole or absent."""
    write_whole(path, page.encode(errors="replace"))
    return path


def render(result: xr.DataTree, regime_map: RegimeMap) -> str:
    """The page as text."""
    found = drawings(result, regime_map)
    words = context(result, regime_map)
    return fill(
        "report.html",
        {d.name: to_plotly(d.chart) | {"selectable": d.selectable} for d in found},
        rates=[_sentence(row, words) for row in words["rows"]],
        drawings=found,
        colors=style.REGIME_COLOR,
        **words,
    )


def fill(template_name: str, figures: dict[str, Any], *, rates: Sequence[str] = (), **words: Any) -> str:
    """A template with the page's style, script and Plotly.js in it. `words` are escaped.

    Args:
        template_name: a file of `template/` that fills the blocks of its `base.html`.
        figures: by name, as `to_plotly` makes them, with `selectable`.
        rates: one sentence per learning rate, for pages that bring one forward.
        words: what else the template names.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    folder = files("lrscope.reporting") / "template"
    library, script = get_plotlyjs(), (folder / "report.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template_name).render(
        policy=content_policy(library, script),
        css=Markup((folder / "report.css").read_text(encoding="utf-8")),
        plotly=Markup(library),
        script=Markup(script),
        figures=Markup(embed(figures)),
        rates=Markup(embed(list(rates))),
        **words,
    )


def embed(value: Any) -> str:
    """JSON that stays inert inside a script element, whatever strings it holds. NaN is refused: it is no JSON."""
    words = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        words = words.replace(character, f"\\u{ord(character):04x}")
    return words


def content_policy(*scripts: str) -> str:
    """A policy under which only these scripts run and nothing is fetched."""
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{d}'" for d in digests)
    rules = ("default-src 'none'", f"script-src {allowed}", "style-src 'unsafe-inline'", "img-src data: blob:")
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def context(result: xr.DataTree, regime_map: RegimeMap) -> dict[str, Any]:
    """Everything the template says in words and tables."""
    grid = frames.grid(result)
    attrs = result.attrs
    runs = result.sizes["data_seed"] * result.sizes["seed"]
    data_seeds, seeds = (plural(result.sizes[d], d.replace("_", " ")) for d in frames.SEEDS)
    facts = [
        ("task", _task(attrs["task"])),
        ("space", f"{attrs['space']}, {'' if int(attrs['scale_invariant']) else 'not '}scale-invariant"),
        ("learning rates", f"{result.sizes['lr']}, from {grid.text(grid.lr[0])} to {grid.text(grid.lr[-1])}"),
        ("runs per learning rate", f"{runs} ({data_seeds} × {seeds})"),
        ("epochs", number(float(segment(result, "pretrain")["epoch"].values[-1]))),
        *frames.training(result),
        ("date", text.moment(str(attrs["created"]))),
        ("training time", text.duration(float(attrs["seconds"]))),
        ("device", str(attrs["device"])),
        ("machine", str(attrs["machine"])),
        ("config hash", str(attrs["config_hash"])),
        ("code hash", str(attrs["code_hash"])),
    ]
    return {
        "title": str(attrs["title"]),
        "grid": grid,
        "banner": banner(regime_map, grid.short, text.parse(attrs["task"])),
        "has_regimes": frames.has_regimes(regime_map),
        "borders": borders(regime_map),
        "notes": [text.sentence(n) for n in regime_map.notes],
        "rows": regime_rows(result, regime_map),
        "folded": len(regime_map.labels) > MOST_ROWS,
        "regimes": [(r, style.REGIME_NAME[r]) for r in REGIMES if r in {label.regime for label in regime_map.labels}],
        "quality": regime_map.measure,
        "finetune_lr": None if regime_map.finetune_lr is None else text.rate(regime_map.finetune_lr),
        "statuses": statuses(result),
        "facts": facts,
        "command": str(attrs["command"]),
        "tables": [(name, text.flatten(text.parse(attrs[name]), "")) for name in ("config", "plan", "versions")],
    }


def borders(regime_map: RegimeMap) -> list[tuple[str, str, str, bool]]:
    """(name, place, reason, has a place) of each border; one for all where all are undetermined for the same reason."""
    found = list(regime_map.borders.values())
    reasons = {b.reason for b in found}
    if len(found) > 1 and len(reasons) == 1 and all(b.lr is None for b in found):
        return [("Regimes", "undetermined", text.sentence(found[0].reason), False)]
    return [
        (f"Border {b.between}", text.interval(b, text.rate), text.sentence(b.reason), b.lr is not None) for b in found
    ]


def regime_rows(result: xr.DataTree, regime_map: RegimeMap) -> list[dict[str, Any]]:
    """One row per learning rate: regime, votes, flags, what was reached, and whether it is recommended."""
    grid = frames.grid(result)
    loss, _, sharpness = (panel.spread.mean for panel in frames.quantities(result))
    advice = regime_map.recommended
    rows = []
    for label in regime_map.labels:
        at = int(np.abs(np.log(grid.lr) - np.log(label.lr)).argmin())
        rows.append(
            {
                "lr": grid.text(label.lr),
                "regime": label.regime,
                "name": style.REGIME_NAME.get(label.regime, ""),
                "votes": text.votes(label),
                "flags": ", ".join(label.flags),
                "loss": number(float(loss[at])),
                "before": regime_map.show(label.before) or NOTHING,
                "after": "" if regime_map.finetune_lr is None else regime_map.show(label.after) or NOTHING,
                "sharpness": number(float(sharpness[at])),
                "start": advice.low is not None and advice.high is not None and advice.low <= label.lr <= advice.high,
            }
        )
    return rows


def statuses(result: xr.DataTree) -> list[dict[str, Any]]:
    """How many runs ended how, per phase, with what to do about it; outcomes that did not occur are left out."""
    grid = frames.grid(result)
    rows = []
    for name in result.children:
        node, phase = segment(result, name), PHASES.get(name, name)
        if "status" not in node:
            continue
        codes = node["status"].values
        for code, status in STATUS.items():
            count = int((codes == code).sum())
            if not count:
                continue
            rates = grid.lr[(codes == code).any(axis=tuple(range(1, codes.ndim)))]
            where = grid.text(rates[0]) if rates.size == 1 else f"{grid.text(rates[0])} to {grid.text(rates[-1])}"
            everywhere = rates.size == grid.lr.size
            rows.append(
                {
                    "phase": phase,
                    "status": status,
                    "count": count,
                    "total": codes.size,
                    "where": "all" if everywhere else where,
                    "remedy": text.sentence(STATUS_REMEDY[status]),
                }
            )
    return rows


def _sentence(row: dict[str, Any], words: dict[str, Any]) -> str:
    """What the page says about the learning rate that is brought forward."""
    regime = f"regime {row['regime']}, " if words["has_regimes"] else ""
    quality = f"{words['quality']} {row['before']}" + (f", {row['after']} after the decay" if row["after"] else "")
    return f"{words['grid'].short} {row['lr']}: {regime}final training loss {row['loss']}, {quality}."


def _task(attribute: Any) -> str:
    """Name and sizes of the task on one line."""
    return ", ".join(f"{name} {value}" if name else value for name, value in text.task_rows(text.parse(attribute)))
