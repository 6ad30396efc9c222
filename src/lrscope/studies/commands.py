"""What the commands about studies do: `studies`, `reproduce`, `verify`, `cite`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrscope.errors import LrscopeError, nearest
from lrscope.studies import answers, evidence, judged, registry
from lrscope.studies.costs import total
from lrscope.studies.dependencies import claims_at, figures_at, lacking
from lrscope.studies.judged import EARLIER, UNCHECKED
from lrscope.studies.types import SCALES, Claim, PaperFigure, Study

if TYPE_CHECKING:
    from lrscope.studies.reproduction import Reproduction

MISSING = 3  # exit code: evidence is missing, or of an earlier criterion
STOPPED = 130


def list_studies(*, as_json: bool) -> None:
    """The `studies` command: every study of the table with costs, figures, and claims with their verdicts."""
    rows = [_described(name) for name in registry.names()]
    if as_json:
        from lrscope.commands import dump

        dump(rows)
        return
    for row in rows:
        print(f"{row['name']}: {row['paper']}\n  {row['about']}")
        for scale in row["scales"]:
            print(f"  {scale['scale']}: {scale['runs']:,} runs, {scale['run_steps']:,} run-steps; {scale['about']}")
        print("  figures: " + ", ".join(f"{f['number']} ({f['title']})" for f in row["figures"]))
        for claim in row["claims"]:
            verdicts = [f"{verdict} ({scale})" for scale, verdict in claim["verdicts"].items()]
            print(f"  {claim['id']}: {', '.join(verdicts) or UNCHECKED}: {claim['sentence']}")
        print()


def _described(name: str) -> dict[str, Any]:
    study, folder = registry.study(name), evidence.folder_of(name)
    verdicts = {scale: _verdicts(study, evidence.load(folder, study, scale)) for scale in _scales(study)}
    scales = []
    for scale in _scales(study):
        size = total(study.scales[scale])
        scales.append(
            {"scale": scale, "about": study.scales[scale].about, "runs": size.runs, "run_steps": size.run_steps}
        )
    return {
        "name": study.name,
        "about": study.about,
        "paper": f"{study.paper.title} ({study.paper.venue}, {study.paper.year}; arXiv:{study.paper.arxiv})",
        "scales": scales,
        "figures": [
            {"number": f.number, "title": f.title, "scales": [s for s in _scales(study) if f in figures_at(study, s)]}
            for f in study.figures
        ],
        "claims": [
            {
                "id": c.id,
                "sentence": c.sentence,
                "criterion": c.criterion,
                "exploratory": c.exploratory,
                "scales": [s for s in _scales(study) if c in claims_at(study, s)],
                "verdicts": {s: verdicts[s][c.id] for s in _scales(study) if c.id in verdicts[s]},
            }
            for c in study.claims
        ],
    }


def _verdicts(study: Study, found: dict[str, Any] | None) -> dict[str, str]:
    """The verdicts of an evidence file, by claim; those by an earlier criterion are not told."""
    now = {name: str(record["verdict"]) for name, record in judged.records(found, study).items()}
    return dict.fromkeys(judged.records(found, study, EARLIER), EARLIER) | now


def reproduce(
    name: str,
    figures: Sequence[str],
    scale: str,
    root: Path,
    *,
    engine: dict[str, Any],
    dry_run: bool,
    as_json: bool,
    docs: Path | None,
) -> None:
    """The `reproduce` command: run what is missing, draw figures and gallery."""
    from lrscope.config import EngineConfig
    from lrscope.studies.reproduction import scale_of

    study = registry.study(name)
    scale_of(study, scale)
    chosen = chosen_figures(study, scale, figures)
    claims = [c for c in claims_at(study, scale) if not figures]
    needs = _needs([*chosen, *claims])
    config = EngineConfig(**engine)
    if dry_run:
        _print_plans(study, scale, needs, config, as_json=as_json)
        return
    folder = evidence.folder_of(name)
    reproduction = _reproduction(name, scale, root, config, needs, evidence.load(folder, study, scale))
    from lrscope.studies.gallery import publish

    for path in publish(reproduction, chosen, folder, docs):
        print(path)


def verify(
    name: str,
    wanted: Sequence[str],
    scale: str,
    root: Path,
    *,
    engine: dict[str, Any],
    fresh: bool,
    save: bool,
    as_json: bool,
    folder: Path | None,
) -> None:
    """The `verify` command: print what the claims' checks found. Exits with 3 where evidence is missing, or by an earlier
    criterion."""
    from lrscope.config import EngineConfig
    from lrscope.studies.reproduction import scale_of

    study = registry.study(name)
    scale_of(study, scale)
    claims = chosen_claims(study, scale, wanted)
    folder = folder or evidence.folder_of(name)
    if fresh and not save:
        there = evidence.load(folder, study, scale)
        reproduction = _reproduction(name, scale, root, EngineConfig(**engine), _needs(claims), there)
        found = answers.rows(claims, {claim.id: evidence.record(reproduction, claim) for claim in claims}, {})
    else:
        if save:
            _save(study, name, claims, scale, root, engine, folder)
        found = answers.recorded(study, claims, evidence.load(folder, study, scale))
    if as_json:
        from lrscope.commands import dump

        dump({"claims": found})
    else:
        for row in found:
            print(answers.in_words(row))
    left = list(answers.left_to_do(found, f"lrscope verify {name} --scale {scale} --fresh --save"))
    for sentence in left:
        print(f"lrscope: {sentence}", file=sys.stderr)
    if left:
        sys.exit(MISSING)


def _save(
    study: Study, name: str, claims: Sequence[Claim], scale: str, root: Path, engine: dict[str, Any], folder: Path
) -> None:
    """Check claims now and write what is found into `folder`."""
    from lrscope.config import EngineConfig
    from lrscope.studies.history import History
    from lrscope.studies.reproduction import now

    history = History(registry.source(name))
    for claim in claims:  # before hours of training rather than after
        evidence.fixed_before(claim, history, now())
    there = evidence.load(folder, study, scale)
    reproduction = _reproduction(name, scale, root, EngineConfig(**engine), _needs(claims), there)
    print(f"lrscope: wrote {evidence.save(reproduction, claims, folder, history)}", file=sys.stderr)


def _needs(users: Sequence[Claim | PaperFigure]) -> list[str]:
    return [need for user in users for need in user.needs]


def print_citation(name: str, format: str) -> None:
    """The `cite` command."""
    from lrscope.studies.cite import cite

    print(cite(registry.study(name).paper, format), end="")


def chosen_claims(study: Study, scale: str, wanted: Iterable[str]) -> list[Claim]:
    """Claims by id, or all that the scale can check.

    Raises:
        LrscopeError: an unknown one, or one that the scale cannot check.
    """
    ids = _split(wanted)
    known = {claim.id: claim for claim in study.claims}
    for name in ids:
        if name not in known:
            raise LrscopeError(f"claim: {study.name} has no {name!r}: {nearest(name, known)}")
        _refuse_lacking(study, scale, f"claim {name}", known[name].needs)
    return [known[name] for name in ids] if ids else list(claims_at(study, scale))


def chosen_figures(study: Study, scale: str, wanted: Iterable[str]) -> list[PaperFigure]:
    """Figures by number, or all that the scale can draw.

    Raises:
        LrscopeError: an unknown one, or one that the scale cannot draw.
    """
    numbers = _split(wanted)
    known = {figure.number: figure for figure in study.figures}
    for number in numbers:
        if number not in known:
            raise LrscopeError(f"figure: {study.name} has no {number!r}: {nearest(number, known)}")
        _refuse_lacking(study, scale, f"figure {number}", known[number].needs)
    return [known[number] for number in numbers] if numbers else list(figures_at(study, scale))


def _refuse_lacking(study: Study, scale: str, what: str, needs: Sequence[str]) -> None:
    missing = lacking(study.scales[scale], needs)
    if missing:
        others = [s for s in _scales(study) if not lacking(study.scales[s], needs)]
        raise LrscopeError(
            f"{what} needs {', '.join(missing)}, which scale {scale} leaves out: choose --scale {' or '.join(others)}"
        )


def _split(wanted: Iterable[str]) -> list[str]:
    """`--claim TR1 --claim TR2` and `--claim TR1,TR2` are the same; each once."""
    return list(dict.fromkeys(part.strip() for words in wanted for part in words.split(",") if part.strip()))


def _scales(study: Study) -> list[str]:
    return [scale for scale in SCALES if scale in study.scales]


def _reproduction(
    name: str, scale: str, root: Path, engine: Any, needs: Sequence[str], there: dict[str, Any] | None
) -> Reproduction:
    """A reproduction in which everything needed is there, made as the evidence that is there says."""
    from lrscope.engine.dispatch import Interrupted
    from lrscope.studies.reproduction import Reproduction

    recorded = {} if there is None else there.get("sweeps", {})
    reproduction = Reproduction(registry.study(name), scale, root, engine=engine, name=name, recorded=recorded)
    try:
        reproduction.prepare(needs)
    except Interrupted:
        print(
            f"lrscope: stopped; everything so far is in {reproduction.folder}. The same command goes on",
            file=sys.stderr,
        )
        sys.exit(STOPPED)
    return reproduction


def _print_plans(study: Study, scale: str, needs: Sequence[str], engine: Any, *, as_json: bool) -> None:
    """Each sweep's plan as soon as it is timed, then the sum."""
    from lrscope.engine.progress import span
    from lrscope.studies.dependencies import closure
    from lrscope.studies.planning import ASSUMPTION, plan

    names = closure(study.scales[scale], needs)
    sweeps = [sweep for sweep in study.scales[scale].sweeps if sweep.name in names]
    rows = []
    for i, sweep in enumerate(sweeps):
        print(f"[{i + 1}/{len(sweeps)}] timing a few steps of {sweep.name}", file=sys.stderr, flush=True)
        rows.append(plan(sweep, engine))
        if not as_json:
            print(_planned(rows[-1]), flush=True)
    estimated = any(not row["gpu_hours_timed"] for row in rows)
    if as_json:
        from lrscope.commands import dump

        dump({"sweeps": rows, "assumption": ASSUMPTION if estimated else "GPU hours are timed on this machine's GPU"})
        return
    steps, seconds, hours = (sum(row[key] for row in rows) for key in ("run_steps", "seconds", "gpu_hours"))
    how = "estimate" if estimated else "timed"
    predicted = f"predicted {span(seconds)} on this machine, less where sweeps share its cores"
    print(f"sum: {steps:,} run-steps; {predicted}; {_rounded(hours)} GPU hours ({how})")
    measured = [m.name for m in study.scales[scale].measurements if m.name in names]
    if measured:
        print(f"not in it: the measurements {', '.join(measured)}")
    if estimated:
        print(ASSUMPTION)
    print("nothing was written")


def _planned(row: dict[str, Any]) -> str:
    from lrscope.engine.progress import span

    shape = " x ".join(map(str, row["input_shape"]))
    made_up = "" if row["data_here"] else "; its data is not here, noise of the same shape was timed"
    how = "" if row["seconds_timed"] else ", estimated from two examples"
    return (
        f"{row['sweep']}: {row['about']}\n"
        f"  {row['task']}: {row['train_size']:,} examples of {shape}, {row['parameters']:,} parameters{made_up}\n"
        f"  {row['runs']:,} runs, {row['run_steps']:,} run-steps; predicted {span(row['seconds'])} on this machine "
        f"({row['device']}, {row['jobs']} processes{how}), {_hours(row)}"
    )


def _hours(row: dict[str, Any]) -> str:
    return f"{_rounded(row['gpu_hours'])} GPU hours " + ("(timed)" if row["gpu_hours_timed"] else "(estimate)")


def _rounded(hours: float) -> str:
    return f"{float(f'{hours:.2g}'):g}"
