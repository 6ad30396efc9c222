"""What README and docs show is run: Python blocks as they stand, command lines through the parser, TOML through settings."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from lrscope import results, schema
from lrscope.cli import app
from lrscope.config.settings import load_settings
from lrscope.dynamics import schedules
from lrscope.studies import commands as study_commands
from lrscope.studies import registry

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[Any]:
    """All fenced blocks of a language, with page and number as test id."""
    found = []
    for page in PAGES:
        for i, text in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)):
            found.append(pytest.param(text, id=f"{page.name}-{i}"))
    return found


def surroundings() -> dict[str, Any]:
    """What the README's example says the reader has: a model, training and test data."""
    generator = torch.Generator().manual_seed(0)
    x, x_test = torch.randn(256, 6, generator=generator), torch.randn(64, 6, generator=generator)

    def make_model() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))

    return {
        "make_model": make_model,
        "x": x,
        "y": (x[:, 0] > 0).long(),
        "x_test": x_test,
        "y_test": (x_test[:, 0] > 0).long(),
    }


@pytest.mark.slow
@pytest.mark.changes_random_state  # examples draw their data as a reader would
@pytest.mark.parametrize("text", blocks("python"))
def test_python_examples_run(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schedules, "SCHEDULES", dict(schedules.SCHEDULES))  # an example adds one
    exec(compile(text, "example", "exec"), surroundings())
    said = capsys.readouterr().out
    if "Reproduction(" in text:
        assert "verdict='supported'" in said
        assert list(tmp_path.rglob("losses.zarr"))
        return
    if "three_regimes_everywhere" in text:
        verdicts = re.findall(r"^([\w. -]+): (\w+), ", said, re.MULTILINE)
        assert [verdict for _, verdict in verdicts] == ["supported"] * 2 + ["undetermined"] * 2 + ["supported"]
        assert "MLP: supported, 0.733 decades of ELR, above 0.2, 3 of 4 seeds" in said
        assert "the claim: undetermined by ResNet-18" in said
        return
    if "patch_chart(" in text:
        assert (tmp_path / "patches.png").stat().st_size > 5000, "the example checks the rest itself"
        return
    if "features=" in text:
        assert all(name in said for name in ("background", "high", "left half", "upside down", "coarse", "estimate"))
        assert len(list(tmp_path.rglob("report.html"))) == 2
        return
    if "def accuracy(model, batch)" in text:
        assert len(re.findall(r"0\.\d+", said)) == 4, "an accuracy for each of two learning rates and two seeds"
        return
    if "SubsetRandomSampler" in text:
        assert said.split() == ["192", "None", "192", "None", "192", "32"]
        return
    if "decay_curve(" in text:
        assert (
            "cooldown, learning rate 0.1, cooldown_factor 0.1: test loss at the end; each ends 8 epochs after" in said
        )
        assert re.search(r"saturation: .*95%.*; gains up to 2 % of the test loss", said)
        return
    if "learning_order(" in text:
        assert "tau of the order between seeds 1.00" in said, "the example checks the rest itself"
        assert said.index("line ") < said.index("product ")
        return
    if "class Lion" in text:
        small, large = (float(x) for x in re.findall(r"[\d.e-]+", said.partition("[")[2]))
        assert 0 <= small < large < 0.5
        return
    if "SCHEDULES[" in text:
        assert said.split() == ["[1.0,", "0.5625,", "0.25,", "0.0625]"]
        return
    if "def spherical" in text:
        assert said == "its noise is drawn for many runs at once\n"
        return
    if "Statistic(" in text:
        assert re.findall(r"0\.\d", said) == ["0.1"] * 3 + ["0.2"] * 3
        return
    if (
        "assert loss.dims" in text
        or "ActivationNoise(" in text
        or "learning_curves(" in text
        or "late_decay_curves(" in text
    ):
        assert said == "", "the example checks itself"
        return
    if 'name="anneal"' in text:
        assert "'anneal_loss', 'anneal_factor', 'anneal_schedule', 'last_lr'" in said
        assert all(int(step) > 0 for step in re.findall(r"-?\d+", said.partition("(")[0])), (
            "every run left the main path"
        )
        return
    if 'name="decay"' in text:
        assert said == "('lr', 'decay_at', 'decay_factor', 'data_seed', 'seed', 'epoch')\n"
        return
    if "lrscope.landscape(" in text:
        assert "path cooldown: 4 checkpoints, leaves at main/step40" in said
        assert (tmp_path / "seen" / "loss.png").stat().st_size > 5000
        return
    if "function_landscape(" in text:
        assert said == "open closed\n"
        return
    if "def on_spheres" in text:
        assert said == "norms of the first layer stay: True\n"
        return
    if "OnSphere(" in text:
        norm, radius, loss = map(float, re.findall(r"\d+\.\d+", said))
        assert norm == radius
        assert loss < 0.5
        return
    if "find_symmetries(" in text:
        assert "scale-invariant {'0.weight': 1} 16 train mode only\n" in said
        return
    if "Monitor(" in text and "look_ahead=" in text:
        outlook = r"a decay now would reach about 0\.\d+ \[0\.\d+, 0\.\d+\] \(without it 0\.\d+\)\n"
        assert re.fullmatch(r"regime 2, \w+: loss stationary for \d+ updates at 0\.\d+; " + outlook, said)
        assert len((tmp_path / "monitor.jsonl").read_text().splitlines()) == 60
        return
    if "MonitorCallback(" in text:
        assert re.search(r"^update \d+0: loss \d\.\d+; (regime|dead run)", said, re.MULTILINE)
        return
    if "Monitor(" in text:
        assert re.match(r"update 600: loss 0\.\d+; regime ", said)
        assert (tmp_path / "monitor.html").stat().st_size > 100_000
        return
    if "def losses(scale)" in text:
        assert float(said.split()[3]) < 1e-4
        return
    if "descend(" in text:
        assert re.search(r"steps taken: \[300, 300, 300, \d\]", said), "the last run overflows, the others do not"
        return
    if "to_plotly(" in text:
        assert (tmp_path / "losses.pdf").stat().st_size > 5000
        assert "heatmap" in (tmp_path / "losses.json").read_text()
        return
    if "Trained" in text:
        assert "hessian_1" in said
        return
    assert "border 1|2" in said
    if "xor" in text:
        assert re.search(r"start: 0\.0\d+, then decay to 0\.001", said), "the page says what this example answers"
    assert list(tmp_path.rglob("report.html"))


@pytest.mark.slow  # trains a small sweep
def test_a_study_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/extending.md shows, saved as it says, is known to the commands."""
    (text,) = (block.values[0] for block in blocks("python") if "STUDY = Study(" in block.values[0])
    (tmp_path / "my_study.py").write_text(text.partition("reproduction = ")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["my_study:STUDY", "--scale", "smoke", "--jobs", "1"]
    done = CliRunner().invoke(app, ["verify", *words, "--fresh"])
    assert done.exit_code == 0, done.output
    assert re.search(r"^M1: supported, effect [\d.]+ decades of loss, 95% interval", done.stdout, re.MULTILINE)
    done = CliRunner().invoke(app, ["reproduce", *words])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "runs/studies/my_study/smoke/gallery.html").exists()


def commands() -> list[Any]:
    found = []
    for block in blocks("sh"):
        for line in block.values[0].splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "lrscope":
                found.append(pytest.param(words[1:], id=" ".join(words)))
    return found


@pytest.mark.parametrize("words", commands())
def test_command_lines_parse_and_resolve(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[str] = []
    import lrscope.commands

    def map_only(config: Path | None, options: dict[str, Any], *, dry_run: bool, as_json: bool) -> None:
        load_settings(None, options).sweep_config()
        reached.append("map")

    class Reached(Exception):
        pass

    def of_a_model(model: str, *rest: str, **options: Any) -> None:
        raise Reached(model)

    def opened(path: Any) -> None:
        raise Reached(path)

    def study_only(name: str, *rest: Any, **options: Any) -> None:
        raise Reached(registry.study(name))

    monkeypatch.setattr(study_commands, "verify", study_only)
    monkeypatch.setattr(study_commands, "reproduce", study_only)
    monkeypatch.setattr(lrscope.commands, "run_map", map_only)
    monkeypatch.setattr(lrscope.commands, "print_symmetries", of_a_model)
    monkeypatch.setattr(lrscope.commands, "make_landscape", of_a_model)
    monkeypatch.setattr(results, "open_result", opened)
    done = CliRunner().invoke(app, [w for w in words if not w.endswith(".toml")])
    if words[0] == "map":
        assert reached == ["map"], done.output
    elif words[0] in ("data", "studies"):
        assert done.exit_code == 0, done.output
    else:  # a command that begins by opening its result, a study or a model
        assert isinstance(done.exception, Reached), done.output


@pytest.mark.parametrize("text", blocks("toml"))
def test_config_files_resolve(text: str, tmp_path: Path) -> None:
    (tmp_path / "experiment.toml").write_text(text)
    assert load_settings(tmp_path / "experiment.toml", {}).sweep_config().lrs


def test_the_demo_resolves() -> None:
    settings = load_settings(ROOT / "demo.toml", {})
    config = settings.sweep_config()
    assert len(config.lrs) >= 24
    assert config.seeds == 3
    assert config.steps == 1600
    assert config.finetune_lrs
    assert settings.out == "runs/demo"


def table(part: str) -> list[list[str]]:
    """The cells of a table's rows whose first cell is a name."""
    rows = [line for line in part.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_schema_page_and_the_schema_name_the_same_things() -> None:
    page = (ROOT / "docs" / "schema.md").read_text()
    by_title = {part.splitlines()[0]: part for part in page.split("\n## ")}
    nodes = {node.name: node for node in (schema.PRETRAIN, schema.AVERAGE, schema.FINETUNE)}
    places = nodes | {"branch": schema.Node("branch", schema.TRAIN, "pretrain", ("branch_at",))}
    known = {name: schema.variables_of(node) for name, node in places.items()} | {"root": schema.ROOT_VARIABLES}
    told = {"all": list(places), "train": [n for n in places if places[n].kind == schema.TRAIN]}
    named: dict[str, dict[str, tuple[str, str]]] = {node: {} for node in known}
    for cells in table(by_title["Variables"]):
        for node in told.get(cells[1], cells[1].split(", ")):
            for name in re.findall(r"`(\w+)`", cells[0]):
                assert name not in named[node], (node, name)
                units = cells[3].split(", ")  # of several: of losses, of accuracies
                named[node][name] = cells[2], units[-1 if name.endswith("accuracy") else 0]
    for node, rows in named.items():
        assert set(rows) == set(known[node]), node
        runs = ", ".join(places[node].runs if node in places else schema.RUN)
        for name, (dims, unit) in rows.items():
            assert tuple(d.strip() for d in dims.replace("R", runs).split(",")) == known[node][name].dims, (node, name)
            assert unit == known[node][name].unit, (node, name)
    stated = [schema.Node(*(cell.strip("`") for cell in cells[:3])) for cells in table(by_title["Nodes"])]
    axes = [tuple(re.findall(r"`(\w+)`", cells[3])) for cells in table(by_title["Nodes"])]
    assert [replace(node, axes=own) for node, own in zip(stated, axes, strict=True)] == list(nodes.values())
    listed = {cells[0].strip("`"): cells[1] for cells in table(by_title["Dimensions"])}
    assert [name for name, where in listed.items() if where == "root"] == list(schema.SHARED)
    assert set(listed) - set(schema.SHARED) == {"epoch", *schema.AVERAGE.axes, *schema.FINETUNE.axes}
    assert f"Schema version: **{schema.SCHEMA_VERSION}**" in page
    attributes = " ".join(line.split("|")[1] for line in by_title["Attributes"].splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", attributes)) == set(schema.ATTRIBUTES)
