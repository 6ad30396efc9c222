"""The command line, thin: reads options, calls the library, prints. PyTorch is imported only where it is needed."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from lrscope._version import __version__
from lrscope.config.command_line import as_typer, taking
from lrscope.config.settings import OPTIONS
from lrscope.errors import LrscopeError, first_line, shown
from lrscope.hints import no_such_option
from lrscope.terminal import lead_nowhere, printable, steady_streams

app = typer.Typer(
    help="Which learning rate, and when do I lower it? Maps the training regimes of a network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="The data sets: what is there, and how to get the rest.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Result = Annotated[str, typer.Argument(help="Folder or URL of a finished map.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


def _option(help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, show_default=False)


Margin = Annotated[str | None, as_typer(OPTIONS["margin"])]


@app.command("map")
@taking(OPTIONS)
def map_command(
    config: Annotated[str | None, typer.Argument(help="TOML file with any of the options below.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only plan: predicted time and memory.")] = False,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Train a grid of learning rates and seeds, find the regimes, say where to start.

    The same command continues a map that was stopped, and shows one that is finished.
    """
    from lrscope.commands import run_map

    run_map(config, options, dry_run=dry_run, as_json=as_json)


@app.command()
def show(result: Result, margin: Margin = None, as_json: AsJson = False) -> None:
    """Print the regimes, borders and the recommended range of a finished map."""
    from lrscope.commands import print_map
    from lrscope.config.settings import read_margin
    from lrscope.results import open_result

    points = read_margin(margin)
    print_map(open_result(result), margin=points, as_json=as_json)


@app.command()
def report(
    result: Result,
    out: Annotated[str | None, typer.Option(help="HTML file. Default: RESULT/report.html.", show_default=False)] = None,
    figures: Annotated[
        str | None, typer.Option(help="Also save each figure in this folder.", show_default=False)
    ] = None,
    format: Annotated[str, typer.Option(help="Figure formats: png, pdf, svg, or several a,b.")] = "png",
    margin: Margin = None,
) -> None:
    """Write the report: one self-contained HTML page; figures as files on request."""
    from lrscope.commands import find_map
    from lrscope.config.settings import read_margin
    from lrscope.reporting import report as write
    from lrscope.reporting import save_figures
    from lrscope.reporting.files import check_formats
    from lrscope.results import open_result, result_folder

    points, formats = read_margin(margin), tuple(format.split(","))
    check_formats(formats)
    opened = open_result(result)
    found = find_map(opened, points)
    print(write(opened, out or result_folder(result) / "report.html", regime_map=found))
    if figures is not None:
        for path in save_figures(opened, figures, formats=formats, regime_map=found):
            print(path)


@app.command()
def order(
    result: Result,
    of: Annotated[
        str | None, _option("Groups of train or test examples, of training examples under true labels, or features.")
    ] = None,
    level: Annotated[str | None, _option("Accuracy that counts as learned. Default: 0.9.")] = None,
    segment: Annotated[str, typer.Option(help="Segment of training whose times are looked at.")] = "pretrain",
    point: Annotated[
        list[str] | None, _option("Where on an axis of the segment, such as decay_at=4; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which groups of examples are learned first, and whether learning rates agree on that."""
    from lrscope.commands import print_order
    from lrscope.results import open_result

    print_order(open_result(result), of=of, level=level, segment=segment, point=point or [], as_json=as_json)


@app.command()
def decay(
    result: Result,
    branch: Annotated[str | None, _option("Only this branch.")] = None,
    of: Annotated[
        str, typer.Option(help="test_loss, test_accuracy, validation_loss or validation_accuracy.")
    ] = "test_loss",
    lr: Annotated[str | None, _option("Only this learning rate of the main path.")] = None,
    point: Annotated[
        list[str] | None, _option("Where on a further axis of the branch, such as decay_factor=0.1; may be repeated.")
    ] = None,
    margin: Annotated[
        str | None,
        _option("What waiting may gain and not count, in points of accuracy (0.3) or percent of the loss (2)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say when the learning rate should decay: quality at the end against the time of the decay, and where that saturates."""
    from lrscope.commands import print_decay
    from lrscope.results import open_result

    given = {"branch": branch, "of": of, "lr": lr, "margin": margin}
    print_decay(open_result(result), given, point=point or [], as_json=as_json)


@app.command()
def export(
    result: Result,
    format: Annotated[str, typer.Option(help="csv (one row a run) or netcdf (everything).")] = "csv",
    out: Annotated[
        str | None, typer.Option(help="File. Default: RESULT/result.csv or .nc.", show_default=False)
    ] = None,
) -> None:
    """Write a result as CSV or NetCDF."""
    from lrscope.export import export_result
    from lrscope.results import open_result, result_folder
    from lrscope.storage.paths import place

    print(export_result(open_result(result), format, place(out) if out else None, result_folder(result)))


@app.command()
def symmetries(
    model: Annotated[
        str,
        typer.Argument(
            help="FILE.py:NAME, a function that returns a model, or a model and a batch; MODULE:NAME likewise.",
            show_default=False,
        ),
    ],
    batch: Annotated[str | None, _option("FILE.py:NAME of a function that returns a batch.")] = None,
    shape: Annotated[str | None, _option("Shape of a batch of normal draws, such as 8,3,32,32.")] = None,
    mode: Annotated[str, typer.Option(help="train, or eval, where batch norms have fixed statistics.")] = "train",
    as_json: AsJson = False,
) -> None:
    """Say which weights of a model can be rescaled without a change of its outputs."""
    from lrscope.commands import print_symmetries

    print_symmetries(model, batch=batch, shape=shape, mode=mode, as_json=as_json)


@app.command("landscape")
def landscape_command(
    task: Annotated[
        str,
        typer.Argument(help="FILE.py:NAME of a Task or a function that returns one; MODULE:NAME.", show_default=False),
    ],
    checkpoints: Annotated[
        str,
        typer.Argument(
            help="Folder of .safetensors, .pt, .pth, .bin or .ckpt files: the main path. Folders in it: paths that leave it.",
            show_default=False,
        ),
    ],
    out: Annotated[str | None, typer.Option(help="Folder. Default: CHECKPOINTS-landscape.", show_default=False)] = None,
    surface: Annotated[str | None, _option("curved (PC3 follows a parabola in PC1) or flat. Default: curved.")] = None,
    through: Annotated[str | None, _option("Labels of three checkpoints a,b,c: the plane through them.")] = None,
    around: Annotated[str | None, _option("Label of a checkpoint: random filter-normalised directions.")] = None,
    seed: Annotated[str | None, _option("Seed of the random directions. Default: 0.")] = None,
    grid: Annotated[str, typer.Option(help="Points along x and y.")] = "42x31",
    margin: Annotated[str | None, _option("Room around all checkpoints, in their extent. Default: 0.5.")] = None,
    since: Annotated[
        str | None, _option("First checkpoint of the main path whose level counts. Default: its last quarter.")
    ] = None,
    until: Annotated[str | None, _option("Last checkpoint of the main path whose level counts.")] = None,
    batch_size: Annotated[
        str | None, _option("Examples that batch norms take their statistics over. Default: the task's, or 128.")
    ] = None,
    path: Annotated[str | None, _option("single or batched: networks evaluated one at a time or together.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Draw training and test loss around the checkpoints of a network, and say whether their level sets are open or closed."""
    from lrscope.commands import make_landscape

    given = {"surface": surface, "around": around, "seed": seed, "margin": margin, "since": since, "until": until}
    more = {"batch_size": batch_size, "path": path, "device": device}
    make_landscape(task, checkpoints, out=out, through=through, grid=grid, as_json=as_json, **given, **more)


@app.command()
def studies(as_json: AsJson = False) -> None:
    """List the papers that can be reproduced: scales with their costs, figures, claims with their verdicts."""
    from lrscope.studies.commands import list_studies

    list_studies(as_json=as_json)


Name = Annotated[
    str, typer.Argument(help="A name from lrscope studies, or MODULE:NAME of your own.", show_default=False)
]
ScaleName = Annotated[str, typer.Option(help="smoke (seconds), laptop (minutes), paper (the paper's own).")]
Root = Annotated[str, typer.Option(help="Folder that keeps sweeps, measurements and figures.")]
Jobs = Annotated[str | None, as_typer(OPTIONS["jobs"])]
Device = Annotated[str | None, as_typer(OPTIONS["device"])]
On = Annotated[str | None, as_typer(OPTIONS["on"])]


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}


@app.command()
def reproduce(
    name: Name,
    figure: Annotated[list[str] | None, _option("Only this figure; may be repeated, or several a,b.")] = None,
    scale: ScaleName = "laptop",
    root: Root = "runs/studies",
    jobs: Jobs = None,
    device: Device = None,
    on: On = None,
    docs: Annotated[str | None, _option("Also write NAME.md with its pictures into this folder.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only plan: predicted time of every sweep.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")] = False,
) -> None:
    """Train and measure what is missing of a paper's study; draw its figures and a page with all of them.

    The same command continues what was stopped.
    """
    from lrscope.storage.paths import local
    from lrscope.studies.commands import reproduce as run

    engine = _given(jobs=jobs, device=device, on=on)
    where, pages = local(root, "root"), None if docs is None else local(docs, "docs")
    run(name, figure or [], scale, where, engine=engine, dry_run=dry_run, as_json=as_json, docs=pages)


@app.command()
def verify(
    name: Name,
    claim: Annotated[list[str] | None, _option("Only this claim; may be repeated, or several a,b.")] = None,
    scale: ScaleName = "laptop",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Check anew, training and measuring what is missing in --root.")
    ] = False,
    save: Annotated[bool, typer.Option("--save", help="The same, and write the evidence.")] = False,
    root: Root = "runs/studies",
    evidence: Annotated[str | None, _option("Folder of the evidence. Default: the one that came with lrscope.")] = None,
    jobs: Jobs = None,
    device: Device = None,
    on: On = None,
    as_json: AsJson = False,
) -> None:
    """Say which claims of a paper hold: criterion, effect with its 95% interval, seeds, verdict.

    Reads the evidence that comes with lrscope; exit code 3 says that some is missing, whatever the verdicts are.
    """
    from lrscope.storage.paths import local
    from lrscope.studies.commands import verify as run

    engine = _given(jobs=jobs, device=device, on=on)
    where, kept = local(root, "root"), None if evidence is None else local(evidence, "evidence")
    run(name, claim or [], scale, where, engine=engine, fresh=fresh, save=save, as_json=as_json, folder=kept)


@app.command()
def cite(name: Name, format: Annotated[str, typer.Option(help="bibtex, ris or text.")] = "bibtex") -> None:
    """Print how to cite a study's paper."""
    from lrscope.studies.commands import print_citation

    print_citation(name, format)


@data_app.command("list")
def data_list(as_json: AsJson = False) -> None:
    """List the data sets and whether they are here."""
    from lrscope.commands import print_data

    print_data(as_json=as_json)


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="A name from lrscope data list.")]) -> None:
    """Download a data set."""
    from lrscope.tasks.data import fetch

    print(fetch(name))


def _version(value: bool) -> None:
    if value:
        print(f"lrscope {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Entry point: bad input ends with one sentence and exit code 2. What becomes of standard error changes nothing; a
    standard output that refuses what is printed is said at the end, with exit code 1, unless its reader just left."""
    with steady_streams() as (out, err):
        code = _run()
        out.flush()
        if out.error is not None:
            if not isinstance(out.error, BrokenPipeError):
                print(f"lrscope: cannot write to standard output ({out.error})", file=sys.stderr)
                code = code or 1
            lead_nowhere(1)
        err.flush()
        if err.error is not None:
            lead_nowhere(2)
    sys.exit(code)


def _run() -> int:
    """The command's exit code."""
    try:
        code = app(prog_name="lrscope", standalone_mode=False)
    except LrscopeError as error:
        return _refuse(str(error))
    except USAGE as error:
        return _usage(error)
    except (MemoryError, RuntimeError) as error:
        from lrscope.engine.dispatch import out_of_memory

        if not out_of_memory(error):
            raise
        return _refuse(f"memory: it ran out ({first_line(error)}): close other programs, or use a machine with more")
    except (KeyboardInterrupt, typer.Abort):
        print("lrscope: stopped; run the same command again to continue from the last checkpoint", file=sys.stderr)
        return 130
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            return 1
    return code if isinstance(code, int) else 0


USAGE: type[Exception] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)  # click's or Typer's


def _refuse(sentence: str) -> int:
    print(f"lrscope: {' '.join(printable(sentence).split())}", file=sys.stderr)
    return 2


def _usage(error: Any) -> int:
    """Say in one sentence what is wrong with a command line; without any words, show the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    context = getattr(error, "ctx", None)
    command = "lrscope" if context is None else context.command_path
    if context is not None and type(error).__name__ == "NoSuchOption":
        known = [
            o.lstrip("-") for p in context.command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("--")
        ]
        name = shown(error.option_name)[1:-1]
        return _refuse(f"{name}: there is no such option of {command}: {no_such_option(name, known, '--')}")
    message = error.format_message().rstrip(".")
    return _refuse(message if message.endswith("?") else f"{message}: see {command} --help")
