"""An option is in one place: from a config's field come its command-line option, its key in a config file, its keyword, its
row in the documentation and its help."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

import lrscope
from lrscope.cli import app
from lrscope.config import EngineConfig, SweepConfig, TaskConfig, settings
from lrscope.config import keywords as written_keywords
from lrscope.config.command_line import taking
from lrscope.config.generate import keywords, passed_type, tables, with_tables
from lrscope.config.option import field_texts, options, sections
from lrscope.config.settings import KINDS, OPTIONS, MapConfig, MapSettings, load_settings, map_options
from lrscope.engine.arguments import SWEEP_ARGUMENTS
from lrscope.errors import LrscopeError
from lrscope.readers import Flag, Increasing, Pair, Rates, Real, Text, Whole, Word, readers
from lrscope.tasks.builtin import named_task
from lrscope.tasks.data import names

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Added(SweepConfig):
    """A sweep with options that somebody adds."""

    warm_up: Annotated[int, Whole(0, 1_000)] = 5
    """Steps of a warm-up that nobody has. It is made up.

    Origin: ours: a test
    Panel: Made up
    """
    sparkle: Annotated[bool, Flag(off="dull")] = False
    """Shine while training."""


@dataclass(frozen=True)
class Bare:
    """No option: its field does not say what it takes."""

    steps: int = 3


# -- an option that is added ----------------------------------------------------------------------------------------


def test_an_added_field_is_an_option_of_the_command_line() -> None:
    made, got = typer.Typer(), {}

    @made.command()
    @taking(map_options(Added))
    def command(config: str = "none", **given: Any) -> None:
        got.update(given)

    done = CliRunner().invoke(made, ["--warm-up", "7", "--dull", "--seeds", "4"])
    assert done.exit_code == 0, done.output
    assert {name: value for name, value in got.items() if value is not None} == {
        "warm_up": "7",
        "sparkle": False,
        "seeds": "4",
    }
    said = flat(CliRunner().invoke(made, ["--help"]).output)
    assert "Steps of a warm-up that nobody has. It is made up. Default: 5." in said
    assert "Shine while training. Default: false." in said
    assert "Made up" in said


def test_an_added_field_is_a_key_of_config_files_and_part_of_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "OPTIONS", map_options(*KINDS, Added))
    monkeypatch.setattr(settings, "SweepConfig", Added)
    (tmp_path / "map.toml").write_text("warm_up = 9\nsparkle = true\n")
    read = load_settings(tmp_path / "map.toml", {"sparkle": False})
    assert (read.warm_up, read.sparkle) == (9, False)
    assert read.sweep_config().warm_up == 9  # type: ignore[attr-defined]
    assert read.request()["warm_up"] == 9
    assert "--warm-up 9" in read.command()
    assert "--sparkle" in MapSettings(sparkle=True).command()
    (tmp_path / "map.toml").write_text("warm_up = 2000\n")
    with pytest.raises(LrscopeError, match="warm_up: 2000 is too large: use 1,000 or less"):
        load_settings(tmp_path / "map.toml", {})


def test_an_added_field_is_a_keyword_and_a_row_of_the_documentation() -> None:
    source = keywords(Added, EngineConfig)
    assert "    warm_up: Whole\n" in source
    assert '    """Steps of a warm-up that nobody has. It is made up. Default: 5."""\n' in source
    assert "    sparkle: bool\n" in source
    table = tables(map_options(Added)).partition("**Made up**")[2]
    row = "a whole number from 0 to 1,000 | 5 (ours: a test) |"
    assert f"| `warm_up` | Steps of a warm-up that nobody has. It is made up. | {row}" in table
    assert "| `sparkle` | Shine while training. | true or false | false |" in table


def test_a_field_that_does_not_say_what_it_takes_is_no_option() -> None:
    with pytest.raises(TypeError, match=r"Bare\.steps: say what it takes"):
        options(Bare)
    with pytest.raises(TypeError, match="Text: say in passed_type"):
        passed_type(options(TaskConfig)["validation"])


# -- the options that there are -------------------------------------------------------------------------------------


def test_the_keywords_are_those_of_the_configs() -> None:
    source = Path(inspect.getfile(written_keywords)).read_text(encoding="utf-8")
    assert source == keywords(SweepConfig, EngineConfig), "an option changed: make options"
    both = [*SweepConfig.__dataclass_fields__, *EngineConfig.__dataclass_fields__]
    assert ["lrs", *written_keywords.SweepOptions.__annotations__] == both


def test_the_documentation_lists_every_option_of_a_map() -> None:
    page = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    assert page == with_tables(page, OPTIONS), "an option changed: make options"
    assert page.count("\n| `seeds` |") == 1


def test_the_signature_of_sweep_shows_every_option_with_type_and_default() -> None:
    shown = inspect.signature(lrscope.sweep).parameters
    assert sorted(shown) == sorted(["task", *SWEEP_ARGUMENTS])
    assert (shown["seeds"].default, shown["seeds"].annotation) == (3, int)
    assert shown["jobs"].annotation == int | None
    for kind in (SweepConfig, EngineConfig):
        hints = get_type_hints(kind)
        for name, option in options(kind).items():
            if name != "lrs":
                assert (shown[name].default, shown[name].annotation) == (option.default, hints[name])


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_says_what_it_does_and_where_its_default_comes_from(kind: type) -> None:
    assert list(options(kind)) == list(readers(kind)) == list(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    for name, option in options(kind).items():
        assert re.fullmatch(r"[A-Z].*[^.]\.", option.text), name
        nothing = option.default in (None, MISSING, (), False, 0, 1, "auto", "local", "constant", "digits", "float32")
        assert nothing or option.origin, f"{name}: say in its text where {option.default} comes from"
        assert option.panel != kind.__name__, f"{name}: name the panel of the first field"


@pytest.mark.parametrize("columns", [80, 120])
def test_help_shows_every_option_once_with_its_whole_text(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERMINAL_WIDTH", str(columns))
    output = CliRunner().invoke(app, ["map", "--help"]).output
    assert max(map(len, output.splitlines())) <= columns
    assert "…" not in output, "a word is cut"
    said = flat(output)
    for name, option in OPTIONS.items():
        assert len(re.findall(rf"^│ +{option.flags[0]} ", output, re.MULTILINE)) == 1, name
        assert flat(option.help) in said, name
        assert said.count(f" {option.panel} ") >= 1


def test_commands_share_the_texts_of_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for command, shared in [("show", ["margin"]), ("report", ["margin"]), ("verify", ["jobs", "device", "on"])]:
        said = flat(CliRunner().invoke(app, [command, "--help"]).output)
        assert all(flat(OPTIONS[name].help) in said for name in shared)


def flat(text: str) -> str:
    """Without borders and line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def test_a_task_by_name_takes_what_a_map_takes() -> None:
    arguments = inspect.signature(named_task).parameters
    for name, option in options(TaskConfig).items():
        required = name in ("data", "model")
        assert arguments[name].default == (inspect.Parameter.empty if required else option.default), name
    assert set(TaskConfig(data="ticks", model="mlp").arguments()) <= set(arguments)
    taken = OPTIONS["data"].reader.takes().replace(" or ", ", ").split(", ")
    assert sorted(taken) == sorted(names())


def test_passed_types_follow_the_readers() -> None:
    types = {name: passed_type(option) for name, option in {**options(SweepConfig), **options(EngineConfig)}.items()}
    assert types["seeds"] == "Whole"
    assert types["jobs"] == "Whole | None"
    assert types["momentum"] == "Real"
    assert types["space"] == 'Literal["sphere", "whole"]'
    assert types["schedule"] == "str | Callable[[int, int], float]"
    assert types["finetune_lrs"] == types["log_epochs"] == types["finetune_log_epochs"] == "Reals"
    assert types["average"] == "Wholes"
    assert types["randaugment"] == "tuple[int, int] | Sequence[int] | str | None"


def test_a_request_says_what_differs_from_the_defaults_and_earlier_ones_are_known() -> None:
    asked = load_settings(None, {"finetune_lrs": "1e-3", "seeds": 4, "jobs": 2, "out": "runs/x"})
    assert asked.request() == {
        "model": "mlp",
        "batch_size": 64,
        "epochs": 40.0,
        "seeds": 4,
        "finetune_lrs": "1e-3",
        "finetune_epochs": 20.0,
    }
    earlier = {**{name: o.default for name, o in OPTIONS.items() if name in EARLIER}, **asked.request()}
    assert asked.is_asked_by(earlier)
    assert asked.is_asked_by(asked.request())
    for other in ({**earlier, "seeds": 3}, {**earlier, "unheard_of": 1}, {}, None, []):
        assert not asked.is_asked_by(other)


# What a request of earlier versions said, used or not.
EARLIER = (
    *("data", "model", "width", "space", "scale_invariant", "radius", "lrs", "seeds", "data_seeds", "epochs", "steps"),
    *("batch_size", "momentum", "weight_decay", "schedule", "finetune_lrs", "finetune_epochs", "finetune_steps"),
    *("average", "average_every", "train_size", "test_size", "label_noise", "pool", "augment", "same_init"),
    *("precision", "log_points", "adaptive"),
)


def test_settings_have_the_options_as_attributes_and_nothing_else() -> None:
    read = MapSettings(margin="0.5")
    assert read.margin == 0.5
    with pytest.raises(AttributeError, match="a map has no option 'sedes'"):
        _ = read.sedes
    with pytest.raises(LrscopeError, match="'sedes' is no option of a map: did you mean 'seeds'"):
        MapSettings(sedes=3)
    assert read == MapSettings(margin=0.5) != MapSettings()
    assert set(OPTIONS) == {name for kind in KINDS for name in options(kind)}
    assert MapConfig(margin="1").margin == 1.0  # type: ignore[arg-type]


# -- texts below fields ---------------------------------------------------------------------------------------------


def test_texts_below_fields_are_read_with_those_of_the_classes_above() -> None:
    texts = field_texts(Added)
    assert texts["warm_up"].startswith("Steps of a warm-up")
    assert texts["seeds"] == field_texts(SweepConfig)["seeds"]
    assert sections("What it\n  does.\n\nDefault: by\n  model\nOrigin: ours: why\n") == {
        "": "What it does.",
        "Default": "by model",
        "Origin": "ours: why",
    }
    made = type("Made", (), {})  # without source
    assert field_texts(made) == {}


def test_lists_are_texts_on_the_command_line() -> None:
    for name in ("lrs", "finetune_lrs", "average", "randaugment", "log_epochs", "finetune_log_epochs"):
        assert isinstance(OPTIONS[name].reader, Text)
        assert isinstance(options(SweepConfig)[name].reader, (Rates, Increasing, Pair))
        assert OPTIONS[name].default in (None, "1e-5:1:24")
    assert isinstance(OPTIONS["space"].reader, Word)
    assert not OPTIONS["space"].is_number
    assert options(SweepConfig)["seeds"].is_number
    assert Real().takes() == "a number"
