"""The house's rules, as tests: what source, documents and metadata must keep to."""

from __future__ import annotations

import ast
import graphlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from lrscope._version import __version__

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
# Each of these writes or reads pickles, which run code when loaded.
PICKLING_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
PICKLING_CALLS = {"torch.load", "torch.save", "pandas.read_pickle"}
HEAVY_MODULES = {"torch", "torchvision", "sklearn", "scipy", "matplotlib", "plotly", "xarray", "zarr"}
MAX_LINES = 400
MAX_WORDS = 40  # of a sentence in the documents
# Put together from pieces, so that this file passes its own test.
MACHINE_PATHS = ["/" + "work/", "../" + "shared", "shared/" + "papers", "/" + "root/", "/" + "tmp/w/", "/" + "opt/pypi"]


@cache
def tracked_files() -> list[Path]:
    """What git tracks or would track; without git (a source archive), everything outside made folders."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.CalledProcessError):
        paths = [p for p in ROOT.rglob("*") if not any(made(part) for part in p.relative_to(ROOT).parts)]
    else:
        paths = [ROOT / name for name in listed.split("\0") if name]
    return sorted(p for p in paths if p.is_file())


def made(part: str) -> bool:
    """Whether a folder (or file) of this name is made by tools, not written."""
    return part in {"runs", "dist", "build", "__pycache__"} or (part.startswith(".") and part != ".ci")


def documents() -> list[Path]:
    return [p for p in tracked_files() if p.suffix == ".md"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(node: ast.expr) -> str:
    """`torch.load` for the expression torch.load, else ''."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


def pickling(tree: ast.AST) -> list[str]:
    """What in this module pickles, each with its line. `torch.load(..., weights_only=True)` makes tensors and plain containers
    only: state dicts of users are read by it."""
    found = []
    safe = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and is_weights_only(node)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute() if node in safe:
                continue
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
                found += [(node.lineno, m) for m in modules if m.split(".")[0] in PICKLING_MODULES]
            case ast.ImportFrom(module=str(module), names=names):
                if module.split(".")[0] in PICKLING_MODULES:
                    found.append((node.lineno, module))
                full = [f"{module}.{alias.name}" for alias in names]
                found += [(node.lineno, name) for name in full if name in PICKLING_CALLS]
            case ast.Attribute() if dotted(node) in PICKLING_CALLS:
                found.append((node.lineno, dotted(node)))
            case ast.keyword(arg="allow_pickle", value=value) if not (
                isinstance(value, ast.Constant) and value.value is False
            ):
                found.append((node.value.lineno, "allow_pickle"))
    return [f"line {line}: {what}" for line, what in found]


def is_weights_only(call: ast.Call) -> bool:
    """Is it `torch.load` with the literal `weights_only=True`?"""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    value = given.get("weights_only")
    return dotted(call.func) == "torch.load" and isinstance(value, ast.Constant) and value.value is True


def headings(text: str) -> set[str]:
    """The anchors of a Markdown page, as GitHub names them."""
    titles = re.findall(r"^#+ +(.+?) *#*$", without_code_blocks(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def without_code_blocks(text: str) -> str:
    return re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)


def broken_links(page: Path, root: Path = ROOT) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", without_code_blocks(page.read_text(encoding="utf-8")))
    broken = []
    for target in re.findall(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)", text) + re.findall(r"^\[[^\]]+\]: +(\S+)", text, re.M):
        if re.match(r"[a-z][a-z0-9+.-]*:", target, flags=re.IGNORECASE):
            continue  # http:, mailto:
        file, _, anchor = target.partition("#")
        goal = (page.parent / file).resolve() if file else page
        inside = goal.is_relative_to(root)
        if not inside or not goal.exists():
            broken.append(f"{target} (no such file{'' if inside else ' in the repository'})")
        elif anchor and goal.suffix == ".md" and anchor not in headings(goal.read_text(encoding="utf-8")):
            broken.append(f"{target} (no such heading)")
    return broken


def prose(text: str) -> list[str]:
    """A document's paragraphs and list items, each on one line; code is one word, of a link only its text is left.

    Left out are code blocks, comments, tables, headings and where links lead.
    """
    text = re.sub(r"<!--.*?-->", "", without_code_blocks(text), flags=re.DOTALL)
    text = re.sub(r"`[^`]+`", "code", text)
    text = re.sub(r"^\[[^\]]+\]: .*$", "", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text), flags=re.MULTILINE)
    text = re.sub(r"^\s*(\||#+ ).*$", "", text, flags=re.MULTILINE)
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+\.) )", text)
    return [" ".join(re.sub(r"^(?:[-*+]|\d+\.) ", "", part.strip()).split()) for part in parts if part.strip()]


def sentences(paragraph: str) -> list[str]:
    """A paragraph's sentences. Full stops of "Sec. 3.1", "Fig. 9" and the like end none."""
    return re.split(r"(?<!\bet al\.)(?<!\b(?:Sec|Fig|App)\.)(?<!\b[Ee]q\.)(?<=[.!?])[\"*)]*\s+(?=\S)", paragraph)


def long_sentences(text: str) -> list[str]:
    found = [sentence for paragraph in prose(text) for sentence in sentences(paragraph)]
    counted = [(len(re.findall(r"\S*\w\S*", sentence)), sentence) for sentence in found]
    return [f"{words} words: {sentence}" for words, sentence in counted if words > MAX_WORDS]


def test_there_is_source_to_check():
    assert SOURCES
    assert {"pyproject.toml", "Makefile", "README.md", ".ci/run"} <= {name_of(p) for p in tracked_files()}


@pytest.mark.slow
def test_source_never_pickles():
    found = {name_of(p): pickling(ast.parse(p.read_text(encoding="utf-8"))) for p in SOURCES}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import torch, pickle as p",
        "from pickle import loads",
        "from torch import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "torch.load(path, weights_only=True, pickle_module=dill); f = torch.load",
        "pandas.read_pickle(path, weights_only=True)",
        "f = torch.save",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
    ],
)
def test_pickling_is_found(code: str):
    assert pickling(ast.parse(code))


def test_no_pickling_is_found_where_there_is_none():
    assert pickling(ast.parse("import torch\nfrom torch import nn\nx.load(p)\nnp.load(p, allow_pickle=False)")) == []
    assert pickling(ast.parse("torch.load(p, weights_only=True, mmap=True)")) == []


WARNING = {"warnings.warn", "warnings.warn_explicit"}


def warning_by_itself(tree: ast.AST) -> list[int]:
    """Lines that warn, or import what warns, other than by `lrscope.terminal.warn`."""
    found = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and dotted(node) in WARNING]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "warnings":
            found += [node.lineno for alias in node.names if f"warnings.{alias.name}" in WARNING]
        elif isinstance(node, ast.Import):
            found += [node.lineno for alias in node.names if alias.name == "warnings" and alias.asname]
    return found


def test_warnings_name_the_users_line():
    """By `lrscope.terminal.warn`, which seeks it: a `stacklevel` is right for one way to a line only."""
    others = [p for p in SOURCES if name_of(p) != "src/lrscope/terminal.py"]
    found = {name_of(p): warning_by_itself(ast.parse(p.read_text(encoding="utf-8"))) for p in others}
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert warning_by_itself(ast.parse((ROOT / "src/lrscope/terminal.py").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("import warnings\nwarnings.warn('words', stacklevel=2)", 1),
        ("import warnings\nsay = warnings.warn_explicit", 1),
        ("from warnings import catch_warnings, warn", 1),
        ("import os, warnings as w", 1),
        ("import warnings\nfrom lrscope.terminal import warn\nwith warnings.catch_warnings():\n    warn('words')", 0),
    ],
)
def test_other_ways_to_warn_are_found(code: str, count: int):
    assert len(warning_by_itself(ast.parse(code))) == count


def test_source_files_are_short():
    lines = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    long = {name: n for name, n in lines.items() if n > MAX_LINES}
    assert long == {}, f"over {MAX_LINES} lines: cut them where the subject changes"


def test_importing_the_package_loads_nothing_heavy():
    """A command line that answers at once: what takes long is imported where it is used. Nor does Ray's board, a process that
    every sweep on Ray starts."""
    code = "import sys, lrscope, lrscope.engine.ray_board; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert "lrscope" in loaded.split()
    assert HEAVY_MODULES & set(loaded.split()) == set()


def loads_scipy_stats(module: str) -> bool:
    """Does a module's import load `scipy.stats`?"""
    if "scipy" not in module:
        return False
    names = [
        f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.parse(module).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    ]
    return any(name.startswith("scipy.stats") for name in names)


def test_scipy_stats_is_loaded_where_it_is_used():
    """It takes a second, which every process that trains or shows a map would pay; `scipy.special` has the quantiles. Studies
    load PyTorch and more with what they measure."""
    files = [p for p in SOURCES if not name_of(p).startswith("src/lrscope/studies/")]
    assert [name_of(p) for p in files if loads_scipy_stats(p.read_text(encoding="utf-8"))] == []
    assert loads_scipy_stats("from scipy import stats")
    assert loads_scipy_stats("import scipy.stats as s")
    assert not loads_scipy_stats("from scipy import special\ndef f():\n    from scipy import stats")


@pytest.mark.slow  # loads PyTorch and the reports' libraries
def test_every_public_name_loads():
    """`__init__.pyi` names them and where they come from."""
    import lrscope

    assert sorted(lrscope.__all__) == sorted(set(dir(lrscope)))
    assert {name for name in lrscope.__all__ if getattr(lrscope, name).__module__.split(".")[0] != "lrscope"} == set()
    with pytest.raises(AttributeError, match="sweeep"):
        _ = lrscope.sweeep


def test_links_lead_somewhere():
    broken = {name_of(page): broken_links(page) for page in documents()}
    assert {name: links for name, links in broken.items() if links} == {}


def test_broken_links_are_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](#a-title) [b](https://example.org) `[c](nowhere)`\n```\n[d](nowhere)\n```\n")
    assert broken_links(page, tmp_path) == []
    page.write_text("# A title\n[a](#another)\n[b](nowhere.md)\n![c](nowhere.png 'title')\n\n[d]: nowhere.md\n[e](..)")
    assert len(broken_links(page, tmp_path)) == 5


def test_sentences_are_short():
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = {name_of(page): long_sentences(page.read_text(encoding="utf-8")) for page in pages}
    assert {name: long for name, long in found.items() if long} == {}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("word " * 40, 0),
        ("word " * 41, 1),
        ("- " + "word " * 40, 0),  # the mark of an item, and a dash, are no words
        ("word - " * 40, 0),
        ("1. A start.\n2. " + "word\n" * 41, 1),
        ("word " * 30 + "end. Word " + "word " * 30, 0),
        ("word " * 30 + "(Sec. 3.1) " + "word " * 30, 1),
        ("word " * 30 + "in [a link](somewhere.md) " + "word " * 30, 1),
        ("`one two three` " * 40, 0),
        ("![a b c](d.png 'e f g') " + "word " * 37, 0),
        ("word " * 30 + "\n\n" + "word " * 30, 0),
        ("word " * 30 + "\n- " + "word " * 30, 0),
        ("```\n" + "word " * 41 + "\n```", 0),
        ("# " + "word " * 41, 0),
        ("| " + "word " * 41 + "|", 0),
        ("<!-- " + "word " * 41 + "-->", 0),
    ],
)
def test_long_sentences_are_found(text: str, count: int):
    assert len(long_sentences(text)) == count


def test_tracked_files_name_no_machine():
    """What is in the repository works anywhere: no path of a developer's machine is in it."""
    found = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{name_of(path)}: {part}" for part in MACHINE_PATHS if part in text]
    assert found == []


def test_changelog_and_version_agree():
    """The newest released heading is this version, or an older one with [Unreleased] above it."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.findall(r"^## \[(\S+?)\](.*)$", text, flags=re.MULTILINE)
    assert found, "CHANGELOG.md has no sections"
    for name, rest in found:
        assert name == "Unreleased" or re.fullmatch(r" - \d{4}-\d{2}-\d{2}", rest), f"[{name}] needs a date"
    released = [as_numbers(name) for name, _ in found if name != "Unreleased"]
    assert released == sorted(released, reverse=True), "the newest comes first"
    current = as_numbers(__version__)
    assert current in released or found[0][0] == "Unreleased", f"CHANGELOG.md says nothing of {__version__}"
    assert all(release <= current for release in released), f"CHANGELOG.md is ahead of version {__version__}"


def as_numbers(version: str) -> tuple[int, ...]:
    assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{version!r} is not major.minor.patch"
    return tuple(int(part) for part in version.split("."))


def test_version_is_said_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert (ROOT / project["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8").count(__version__) == 1


def test_citation_is_complete():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    papers = ["2209.03695", "2410.22113", "1907.04595", "2401.11600"]
    try:
        import yaml
    except ImportError:
        assert "\t" not in text
        assert f"\nversion: {__version__}\n" in text
        assert [p for p in papers if f"arXiv:{p}" not in text] == []
        return
    citation = yaml.safe_load(text)
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == __version__
    assert {"message", "title", "authors", "license"} <= set(citation)
    assert [r["identifiers"][0]["value"].removeprefix("arXiv:") for r in citation["references"]] == papers
    assert all(r["title"] and r["year"] and r["authors"] for r in citation["references"])


@cache
def requirements() -> set[str]:
    """The distributions that pyproject.toml asks for directly, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    return {normal(re.split(r"[<>=!~\[ ;]", requirement)[0]) for requirement in asked} - {"lrscope"}


def test_constraints_pin_every_requirement():
    """What pyproject.toml asks for directly is pinned exactly, and nothing is pinned twice."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!]+", pin)] == []
    pinned = [normal(pin.split("==")[0]) for pin in pins]
    assert len(pinned) == len(set(pinned))
    assert requirements() - set(pinned) == set()


@pytest.mark.slow
def test_what_the_source_imports_is_required():
    """No module is there only because another package happens to bring it."""
    homes = importlib.metadata.packages_distributions()
    undeclared = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names=names):
                    modules = {alias.name.split(".")[0] for alias in names}
                case ast.ImportFrom(module=str(module), level=0):
                    modules = {module.split(".")[0]}
                case _:
                    continue
            for module in modules - sys.stdlib_module_names - {"lrscope"}:
                if not {normal(home) for home in homes.get(module, [])} & requirements():
                    undeclared.add(f"{name_of(path)}: {module}")
    assert undeclared == set()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.slow
def test_system_packages_of_the_tests_are_installed_by_make():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    match = re.search(r"^SYSTEM_PACKAGES := (.+)$", makefile, flags=re.MULTILINE)
    assert match
    asked = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and dotted(node.func).endswith("require_system"):
                package = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "package")]
                asked |= {p.value for p in package if isinstance(p, ast.Constant)}
    assert asked - set(match[1].split()) == set()


def test_scripts_are_executable():
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


# -- which package imports which ------------------------------------------------------------------------------------


def loaded_at_once(body: list[ast.stmt]) -> Iterator[str]:
    """The modules of lrscope that a module's import imports: not those for type checkers, nor those inside functions."""
    for node in body:
        if isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lrscope."):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("lrscope."))
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from loaded_at_once(node.body)


@pytest.mark.slow
def test_no_two_packages_import_each_other() -> None:
    """Packages and single modules below `lrscope` stand in an order in which each imports only what comes before it."""
    package = ROOT / "src" / "lrscope"
    imports: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        own = path.relative_to(package).with_suffix("").parts[0]
        found = {name.split(".")[1] for name in loaded_at_once(ast.parse(path.read_text(encoding="utf-8")).body)}
        imports.setdefault(own, set()).update(found - {own})
    order = list(graphlib.TopologicalSorter(imports).static_order())  # raises CycleError, which names the circle
    place = {name: i for i, name in enumerate(order)}
    for below, above in (("tasks", "engine"), ("dynamics", "engine"), ("engine", "measures"), ("measures", "studies")):
        assert place[below] < place[above]
    assert not imports["engine"] & {"reporting", "studies", "cli", "commands", "charts"}
    assert not imports["charts"] & {"reporting", "studies", "mapping", "engine"}
