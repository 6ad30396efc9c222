"""What `reproduce` leaves behind: figures as files, a page with all of them, and a page for the docs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lrscope.charts import Chart, to_matplotlib
from lrscope.charts.text import plural
from lrscope.reporting import text
from lrscope.reporting.files import write_one
from lrscope.reporting.gallery import Picture, ShownClaim, render
from lrscope.reporting.page import write_text
from lrscope.studies import answers, cite, evidence, phrases
from lrscope.studies.dependencies import claims_at, figures_at
from lrscope.studies.registry import slug
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.types import Claim, PaperFigure
from lrscope.studies.verdicts import Undetermined
from lrscope.terminal import warn

FORMATS = ("png", "pdf")
PAGE = "gallery.html"


def publish(
    reproduction: Reproduction, figures: Sequence[PaperFigure], evidence_folder: Path, docs: Path | None
) -> list[Path]:
    """Draw the figures, write the page about all that can be drawn from what is there, and, into `docs`, a page of text
    with its pictures. Returns what was written. A figure about something that the results do not show is left out with a
    warning."""
    study, scale = reproduction.study, reproduction.scale_name
    wanted = [f for f in figures_at(study, scale) if f in figures or reproduction.ready(f.needs)]
    drawn = {figure.number: _chart(reproduction, figure) for figure in wanted}
    shown = [figure for figure in wanted if drawn[figure.number] is not None]
    rows = answers.recorded(study, claims_at(study, scale), evidence.load(evidence_folder, study, scale))
    claims = {row["id"]: _shown_claim(reproduction, row) for row in rows}
    pictures = [_picture(f, chart, claims, study.claims) for f in shown if (chart := drawn[f.number]) is not None]
    written = []
    folder = reproduction.folder / "figures"
    for picture in (p for p, figure in zip(pictures, shown, strict=True) if figure in figures):
        static = to_matplotlib(picture.chart)
        written += [write_one(static, folder / f"{picture.name}.{name}") for name in FORMATS]
    placed = {row.id for picture in pictures for row in picture.claims}
    others = [row for row in claims.values() if row.id not in placed]
    page = render(pictures, others, _words(reproduction, claims))
    written.append(write_text(page, reproduction.folder / PAGE))
    if docs is not None:
        written += _write_docs(reproduction, pictures, claims, docs)
    return written


def _chart(reproduction: Reproduction, figure: PaperFigure) -> Chart | None:
    try:
        return reproduction.chart(figure)
    except Undetermined as reason:
        warn(f"figure {figure.number} is not drawn: {reason}")
        return None


def _shown_claim(reproduction: Reproduction, row: Mapping[str, Any]) -> ShownClaim:
    """A claim, checked in what is there, or else as the evidence has it (a row of `answers`)."""
    claim = next(claim for claim in reproduction.study.claims if claim.id == row["id"])
    if reproduction.ready(claim.needs):
        (row,) = answers.rows([claim], {claim.id: evidence.record(reproduction, claim)}, {})
    before = row["earlier"]
    found = before or row
    was = f"{before['verdict']} by the earlier criterion, which was: {before['criterion']} " if before else ""
    return ShownClaim(
        id=claim.id,
        sentence=claim.sentence,
        criterion=claim.criterion,
        verdict=row["verdict"],
        effect=phrases.effect(found) if found["parts"] else "",
        parts=phrases.table(found),
        note=was + found["note"],
    )


def _picture(figure: PaperFigure, chart: Chart, shown: Mapping[str, ShownClaim], claims: Sequence[Claim]) -> Picture:
    return Picture(
        name=slug(figure.number),
        number=figure.number,
        title=figure.title,
        look_for=figure.look_for,
        differs=figure.differs,
        chart=chart,
        claims=[shown[c.id] for c in claims if c.id in shown and figure.number in c.figures],
    )


def _words(reproduction: Reproduction, claims: Mapping[str, ShownClaim]) -> dict[str, Any]:
    """What the page says beyond figures and claims."""
    study = reproduction.study
    sweeps, measurements = reproduction.records(reproduction.names)
    facts = [("scale", f"{reproduction.scale_name}: {reproduction.scale.about}")]
    for name, part in sweeps.items():
        runs, took = plural(part["runs"], "run"), text.duration(part["seconds"])
        facts.append((f"sweep {name}", f"{part['title']}; {runs}, {took}; {text.moment(part['created'])}"))
    for name, part in measurements.items():
        facts.append((f"measurement {name}", f"{text.duration(part['seconds'])}; {text.moment(part['created'])}"))
    facts += [
        (f"change of {change.claim}", f"{change.date}: {change.reason} Before: {change.before}")
        for change in study.changes
    ]
    return {
        "title": study.paper.title,
        "study": study.name,
        "scale": reproduction.scale_name,
        "paper": cite.text(study.paper).strip(),
        "about": study.about,
        "summary": _summary([row.verdict for row in claims.values()]),
        "command": reproduction.command,
        "facts": facts,
    }


def _summary(verdicts: Sequence[str]) -> str:
    """`Of 5 claims 3 are supported, 1 is contradicted, 1 is not checked yet.`"""
    counts = [(v, verdicts.count(v)) for v in dict.fromkeys(verdicts)]
    parts = [f"{count} {'is' if count == 1 else 'are'} {verdict}" for verdict, count in counts]
    return f"Of {plural(len(verdicts), 'claim')} {', '.join(parts)}." if parts else "No claims at this scale."


def _write_docs(
    reproduction: Reproduction, pictures: Sequence[Picture], claims: Mapping[str, ShownClaim], folder: Path
) -> list[Path]:
    """`folder/<study>.md` and a PNG per figure in `folder/<study>/`. Pictures of other figures that the page has already stay,
    with their claims as they are now."""
    study, scale, page = reproduction.study, reproduction.scale_name, folder / f"{reproduction.study.name}.md"
    lines = [f"# {_md(study.paper.title)}", "", _md(cite.text(study.paper).strip()), "", _md(study.about), ""]
    about = _md(reproduction.scale.about.rstrip("."))
    lines += [f"Scale `{scale}`: {about}. {_made_by(reproduction)}", ""]
    images, written = _images(page, _made_by(reproduction)), []
    for picture in pictures:
        written.append(write_one(to_matplotlib(picture.chart), folder / study.name / f"{picture.name}.png"))
        images[picture.name] = f"![{_md(picture.alt)}]({study.name}/{picture.name}.png)"
    others = dict(claims)
    for figure in figures_at(study, scale):
        if image := images.get(slug(figure.number)):
            lines += [f"## Figure {_md(figure.number)}: {_md(figure.title)}", "", image, ""]
            lines += [f"In the paper: {_md(figure.look_for)}", "", f"Different here: {_md(figure.differs)}", ""]
            for claim in study.claims:
                if claim.id in claims and figure.number in claim.figures:
                    lines += _claim_lines(claims[claim.id])
                    others.pop(claim.id, None)
    if others:
        lines += ["## Claims without a figure here", ""]
        lines += [line for row in others.values() for line in _claim_lines(row)]
    return [*written, write_text("\n".join(lines).rstrip() + "\n", page)]


def _made_by(reproduction: Reproduction) -> str:
    return f"Made by `{reproduction.command}`."


def _images(page: Path, made_by: str) -> dict[str, str]:
    """The lines that show pictures on a page which this command made, by their names."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if made_by not in text.split("\n## ")[0]:
        return {}
    return {found[1]: found[0] for found in re.finditer(r"^!\[.*\]\([^/()]+/(.+)\.png\)$", text, re.MULTILINE)}


def _claim_lines(row: ShownClaim) -> list[str]:
    effect = f" ({row.effect})" if row.effect else ""
    lines = [f"- **{_md(row.id)}, {row.verdict}**{effect}: {_md(row.sentence)}", f"  Criterion: {_md(row.criterion)}"]
    lines += [f"  Seen: {_md(row.note)}"] if row.note else []
    if row.parts:
        heads, *rows = ([_md(cell) for cell in cells] for cells in row.parts)
        lines += ["", *("  | " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows))]
    return [*lines, ""]


def _md(words: str) -> str:
    """Text on one line that Markdown leaves as it is."""
    return "".join("\\" + c if c in r"\`*_[]<>#|" else c for c in " ".join(words.split()))
