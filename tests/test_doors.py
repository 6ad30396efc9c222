"""Every door - command line, config file, Python call - takes what plainly means something and refuses the rest in one sentence.

Fuzzed by Hypothesis: no traceback, no hang, nothing written on a refusal.
"""

from __future__ import annotations

import inspect
import io
import math
import os
import re
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import chart_examples
import lrscope
from fake_results import fake_result
from lrscope import charts, landscapes
from lrscope.checked import checked
from lrscope.config import EngineConfig, SweepConfig
from lrscope.config.settings import OPTIONS, load_settings
from lrscope.dynamics.descend import PointRecord, descend
from lrscope.dynamics.objective import Differentiated
from lrscope.engine.arguments import SWEEP_ARGUMENTS, resolve
from lrscope.errors import LrscopeError, shown
from lrscope.hints import ABSENT, SYNONYMS, no_such_option
from lrscope.measures import alignment, equilibrium, features, geometry, landscape, sharpness, walks
from lrscope.measures.plane import Plane
from lrscope.readers import Whole
from lrscope.studies.band_images import band_chart
from lrscope.trained import State, stack
from tiny_tasks import mlp_task

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

# -- what is read ----------------------------------------------------------------------------------------------------


def named(value: Any) -> str:
    """A test's name: the same in every process, so without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))[:50]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"seeds": np.int64(2)}, {"seeds": 2}),
        ({"seeds": torch.tensor(2)}, {"seeds": 2}),
        ({"seeds": "2"}, {"seeds": 2}),
        ({"batch_size": 32.0}, {"batch_size": 32}),
        ({"batch_size": "1e2"}, {"batch_size": 100}),
        ({"lrs": "1e-3:1:4"}, {"lrs": (1e-3, 1e-2, 1e-1, 1.0)}),
        ({"lrs": 0.1}, {"lrs": (0.1,)}),
        ({"lrs": np.float32(0.5)}, {"lrs": (0.5,)}),
        ({"lrs": np.array([0.5, 1])}, {"lrs": (0.5, 1.0)}),
        ({"lrs": torch.tensor([0.5, 1])}, {"lrs": (0.5, 1.0)}),
        ({"lrs": xr.DataArray([0.5, 1], dims="lr")}, {"lrs": (0.5, 1.0)}),
        ({"lrs": range(1, 3)}, {"lrs": (1.0, 2.0)}),
        ({"lrs": ["0.5", Fraction(1)]}, {"lrs": (0.5, 1.0)}),
        ({"finetune_lrs": 1e-3, "finetune_epochs": np.float64(2)}, {"finetune_lrs": (1e-3,), "finetune_epochs": 2.0}),
        ({"average": "2,5"}, {"average": (2, 5)}),
        ({"average": 3}, {"average": (3,)}),
        ({"randaugment": "2,14"}, {"randaugment": (2, 14)}),
        ({"randaugment": np.array([2, 14])}, {"randaugment": (2, 14)}),
        ({"augment": np.True_}, {"augment": True}),
        ({"snapshot_epochs": 1}, {"snapshot_epochs": (1,)}),
    ],
    ids=named,
)
def test_what_plainly_means_a_value_is_read(options: dict[str, Any], expected: dict[str, Any]) -> None:
    config = SweepConfig(**{"lrs": (1e-2,), "steps": 5, **options})
    for name, value in expected.items():
        read = getattr(config, name)
        assert read == value
        assert type(read) is type(value)
        assert "numpy" not in type(read).__module__
    assert config == SweepConfig(**config.to_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": [0, 1]}, r"seeds: \[0, 1\] is not a whole number: use one from 1 to 10,000"),
        ({"seeds": 2.5}, "seeds: 2.5 is not a whole number"),
        ({"seeds": True}, "seeds: True is not a whole number"),
        ({"seeds": math.nan}, "seeds: nan is not a whole number"),
        ({"seeds": 10**23}, "seeds: .* is too large: use 10,000 or less"),
        ({"same_init": "no"}, "same_init: 'no' is neither true nor false"),
        ({"same_init": 1}, "same_init: 1 is neither true nor false"),
        (
            {"schedule": lambda step: 1.0},
            r"schedule: lambda cannot be called \(too many positional arguments\): pass a function",
        ),
        ({"lrs": True}, "lrs: True are no learning rates"),
        ({"lrs": {0.1, 1.0}}, "lrs: .* are no learning rates"),
        ({"lrs": [[0.1], [0.2]]}, r"lrs: \[0.1\] is not a learning rate"),
        ({"lrs": [0.1, 0.1]}, "lrs: 0.1 comes after 0.1: .* each once"),
        ({"lrs": range(1, 10**9)}, "lrs: 10,001 learning rates are more than 10,000"),
        ({"lrs": "1e-3:1:100000000"}, "lrs: .* has more than 10,000 points"),
        ({"epochs": math.inf, "steps": None}, "epochs: inf is outside"),
        ({"epochs": "1e400", "steps": None}, "epochs: inf is outside"),
        ({"weight_decay": math.nan, "space": "whole"}, "weight_decay: nan is outside"),
        ({"radius": math.inf}, "radius: inf is outside"),
        ({"momentum": "much", "space": "whole"}, "momentum: 'much' is not a number"),
        ({"average_every": 5}, "average_every: 5 is given without average"),
        ({"average": [2, 10**8]}, "average: 100000000 is too large"),
        ({"log_epochs": [math.nan]}, "log_epochs: nan is outside"),
        ({"randaugment": (10**8, 5)}, "randaugment: .* is not N,M"),
        ({"seeds": 10_000, "data_seeds": 1_000, "lrs": (0.1, 0.2)}, "seeds: .* are 20,000,000 runs, more than"),
    ],
    ids=named,
)
def test_what_means_nothing_is_refused(options: dict[str, Any], message: str) -> None:
    given = {"lrs": (1e-2,), "steps": 5, **options}
    with pytest.raises(LrscopeError, match=message) as caught:
        SweepConfig(**given)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(LrscopeError, match=message):
        resolve(given.pop("lrs"), None, None, given)


def test_hints_name_options_that_exist() -> None:
    options = {*OPTIONS, *SWEEP_ARGUMENTS}
    assert set(SYNONYMS.values()) <= options
    assert not set(SYNONYMS) & options
    assert not set(ABSENT) & set(SWEEP_ARGUMENTS)  # what a map has beside is told apart by who asks
    assert "did you mean 'seeds'" in no_such_option("random_state", SWEEP_ARGUMENTS)
    assert "no dampening" in no_such_option("dampening", SWEEP_ARGUMENTS)
    assert "clip_norm" in no_such_option("grad_clip", SWEEP_ARGUMENTS)
    assert "belongs to the task" in no_such_option("val_split", SWEEP_ARGUMENTS)
    assert no_such_option("val-split", OPTIONS, "--") == "did you mean '--validation'?"
    assert "regimes(result, margin=" in no_such_option("margin", SWEEP_ARGUMENTS)
    assert "named_task" in no_such_option("train_size", SWEEP_ARGUMENTS)
    assert no_such_option("train_size", OPTIONS, "--") == "did you mean '--train-size'?"
    assert no_such_option("zzz", ["a", "b"]) == "choose one of a, b"


# -- hostile values --------------------------------------------------------------------------------------------------


class Odd:
    """An object whose text cannot be had."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


HOSTILE: list[Any] = [
    *(None, True, -1, 0, 1, 2, 10**23, 10**5000, 2.5, -0.0, math.nan, math.inf, -math.inf, 1e308, 1j, b"x"),
    *("", " ", "x", "1", "1e400", "nan", "-1", "1:2:3", "1e-3:1:99999999999", "\x1b[31m", "\ud800", "x" * 5000, "\0"),
    *(
        [],
        [1],
        [1, 1],
        [0.1, 0.2],
        [None],
        ["x"],
        [[1, 2], [3]],
        (),
        {},
        {"a": 1},
        {1, 2},
        range(10**9),
        object(),
        Odd(),
    ),
    *(len, int, np.int64(3), np.float32(0.1), np.array([0.1, 0.2]), np.array([["a"]]), np.array(None), np.ones((2, 2))),
    *(torch.tensor(3), torch.tensor([0.1, 0.2]), torch.ones(2, 3), torch.ones(2, device="meta"), torch.float32),
    *(Path("x"), iter([1, 2]), xr.DataArray([1.0]), xr.Dataset(), Fraction(1, 3)),
]
hostile = st.sampled_from(HOSTILE)
TEXTS = [
    "",
    " ",
    "x",
    "-",
    "--",
    "0",
    "-1",
    "1",
    "3",
    "2.5",
    "1e-3",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "true",
    "9" * 23,
    "9" * 5000,
]
TEXTS += [
    "1,2",
    "2,5,10",
    "1e-3:1:8",
    "1:2:3:4",
    "1e-3:1:99999999",
    "sphere",
    "whole",
    "adam",
    "cosine",
    "step:0.2@0.3,0.6",
]
TEXTS += [
    "bands",
    "bands:1-",
    "mlp",
    "digits",
    "digts",
    "cpu",
    "gpu",
    "~",
    "~nobody-here/x",
    "x" * 300,
    "\x1b[2J",
    "é/ü",
    "s3://",
    "a\nb",
]


def refused(call: Callable[[], Any]) -> None:
    """Runs `call`; raises unless it succeeds or is refused in one sentence."""
    try:
        call()
    except LrscopeError as error:
        text = str(error)
        assert text
        assert len(text.splitlines()) == 1, text
        assert len(text) < 1500, text
        assert text.isprintable(), repr(text)


@FEW
@given(st.dictionaries(st.sampled_from([*SWEEP_ARGUMENTS, "nesterov", "x"]), hostile, max_size=4))
def test_any_options_of_a_sweep(options: dict[str, Any]) -> None:
    options = {"lrs": [0.1], "steps": 3, **options}
    config, engine = options.pop("config", None), options.pop("engine", None)
    for name in ("out", "progress", "command"):
        options.pop(name, None)
    refused(lambda: resolve(options.pop("lrs"), config, engine, options))


@FEW
@given(kind=st.sampled_from([SweepConfig, EngineConfig]), data=st.data())
def test_any_field_of_a_config(kind: Any, data: st.DataObject) -> None:
    name, value = data.draw(st.sampled_from(list(kind.__dataclass_fields__))), data.draw(hostile)
    valid = {"lrs": (0.1,), "steps": 3} if kind is SweepConfig else {}
    refused(lambda: kind(**{**valid, name: value}))


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command line of any options with any values."""
    text = st.sampled_from(TEXTS)
    command = draw(
        st.sampled_from(["map", "map", "map", "map", "show", "report", "export", "cite", "studies", "data", "x"])
    )
    if command != "map":
        return [command, *draw(st.lists(text.filter(lambda t: t != "--"), min_size=1, max_size=3))]
    names = draw(
        st.lists(st.sampled_from([*OPTIONS, "own_init", "nesterov", "no_compile", "dry_run", "json"]), max_size=4)
    )
    words = ["map", *draw(st.lists(text, max_size=1))]
    for name in names:
        words.append("--" + name.replace("_", "-"))
        if name in OPTIONS and OPTIONS[name].reader.takes() != "true or false":
            words.append(draw(text))
    return words


@pytest.mark.slow
@FEW
@example(words=["map", "x" * 300])
@example(words=["show", "x" * 300])
@given(words=lines())
def test_any_command_line(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    from lrscope import commands
    from lrscope.cli import main

    folder = tmp_path_factory.mktemp("line")

    def done(*_args: Any, **_options: Any) -> Any:
        raise SystemExit(0)

    err, out = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(commands, "_train", done)
        patch.setattr(commands, "_plan", done)
        patch.setattr(sys, "argv", ["lrscope", *words])
        patch.setattr(sys, "stderr", err)
        patch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as stopped:
            main()
    said = err.getvalue()
    assert stopped.value.code in (0, 2)
    if stopped.value.code == 2 and "Usage" not in said:
        assert said.startswith("lrscope: ")
        assert len(said.splitlines()) == 1, said
        assert said.strip().isprintable(), said
    assert list(folder.rglob("*")) == []


RAW = [
    *(
        "1",
        "-1",
        "1.5",
        "1e400",
        "nan",
        "inf",
        "true",
        '""',
        '"x"',
        '"3"',
        "[]",
        "[1]",
        "[[1]]",
        '["a", 1]',
        "{}",
        "{a = 1}",
    )
]
RAW += [
    "9" * 23,
    "9" * 5000,
    "[" * 2000 + "]" * 2000,
    "1979-05-27",
    "0x_",
    "",
    "'1e-3:1:8'",
    "[1e-3, 1e-2, 1, 2, 3, 4]",
    '"\\u001b[2J"',
]


@FEW
@given(
    st.dictionaries(
        st.sampled_from([*OPTIONS, "nesterov", '"a b"', "a.b", "[table]"]), st.sampled_from(RAW), max_size=3
    )
)
def test_any_config_file(values: dict[str, str]) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"lrscope-doors-{os.getpid()}.toml"
    path.write_text("\n".join(n if n.startswith("[") else f"{n} = {v}" for n, v in values.items()))
    try:
        refused(lambda: load_settings(path, {}).sweep_config())
    finally:
        path.unlink()


def test_a_config_file_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "large.toml").write_text("#" * 1_000_001)
    os.mkfifo(tmp_path / "pipe.toml")
    for name, words in [
        ("", "is not a file"),
        ("pipe.toml", "is not a file"),
        ("large.toml", "more than 1,000,000 bytes"),
    ]:
        with pytest.raises(LrscopeError, match=words):
            load_settings(tmp_path / name, {})


# -- every public function -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Public functions by name, each with arguments that it takes."""
    out, task = tmp_path_factory.mktemp("doors") / "out", mlp_task(train=64)
    lrscope.sweep(task, [1e-2], steps=2, seeds=1, batch_size=16, out=out, progress=False, jobs=1)
    trained = lrscope.Trained.open(out, task)
    state, result = trained.state(lr=1e-2, seed=0), fake_result()
    path = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    accuracy = xr.DataArray([[0.6, 0.7], [0.5, 0.9]], dims=("seed", "feature"))
    one = {"trained": trained, "state": state, "data_seed": 0}
    walk = {**one, "elr": 1e-3, "steps": 2, "every": 1, "seed": 0}
    page = tmp_path_factory.mktemp("pages")
    objective = Differentiated(lambda points: points.square().sum(1), 4)
    grid = Plane(state.weights[0], state.weights[0].flip(0), torch.ones(trained.net.size))
    return {
        "log_grid": (lrscope.log_grid, {"low": 1e-3, "high": 1.0, "count": 4}),
        "find_symmetries": (
            lrscope.find_symmetries,
            {"model": torch.nn.Linear(4, 2), "batch": torch.ones(8, 4), "forward": None, "mode": "train", "seed": 0},
        ),
        "regimes": (lrscope.regimes, {"result": result}),
        "open_result": (lrscope.open_result, {"path": out}),
        "report": (lrscope.report, {"result": 5, "path": page / "r.html", "regime_map": None}),
        "save_figures": (lrscope.save_figures, {"result": 5, "folder": page, "formats": ("png",), "regime_map": None}),
        "named_task": (
            lrscope.named_task,
            {
                "data": "digits",
                "model": "mlp",
                "width": 4,
                "train_size": 16,
                "test_size": 4,
                "label_noise": 0.0,
                "pool": 1,
            },
        ),
        "open": (lrscope.Trained.open, {"folder": out, "task": task, "device": "cpu"}),
        "state": (trained.state, {"lr": 1e-2, "seed": 0, "data_seed": 0, "finetune_lr": None, "epoch": None}),
        "program": (trained.program, {"dtype": torch.float32, "path": "single"}),
        "material": (trained.material, {"data_seed": 0, "dtype": torch.float32}),
        "learning_rate": (trained.learning_rate, {"lr": 1e-2, "state": state}),
        "stack": (stack, {"states": [state, state]}),
        "State": (State, {"weights": state.weights, "frozen": state.frozen}),
        "sharpness": (sharpness.of, {**one, "measures": ["grad_norm"], "batches": 1, "hessian_top": 1}),
        "between": (
            geometry.between,
            {"trained": trained, "first": state, "second": state, "points": 2, "test": False},
        ),
        "between_runs": (geometry.between_runs, {"trained": trained, "first": state, "second": state, "points": 2}),
        "descend": (
            descend,
            {
                "objective": objective,
                "start": path,
                "lr": 0.1,
                "steps": 2,
                "radius": 1.0,
                "groups": (((0, 4),),),
                "noise": [0.0, 0.1, 0.0, 0.0, 0.0],
                "stream": ("doors", 1),
                "record": {"norm": PointRecord(lambda weights: weights.norm(dim=1))},
            },
        ),
        "at_points": (landscape.at_points, {"trained": trained, "at": state, "points": state.weights, "memory": 9}),
        "on_plane": (
            landscape.on_plane,
            {"trained": trained, "at": state, "plane": grid, "x": [0.0, 1.0], "y": [0.0], "path": "single"},
        ),
        "level_set": (
            landscapes.level_set,
            {"values": np.eye(3), "x": [0, 1, 2], "y": [0, 1, 2], "path": [[1.0, 1.0]], "at_path": [0.5], "of": "loss"},
        ),
        "function_landscape": (
            landscapes.function_landscape,
            {
                "values": landscape.FunctionValues(objective.loss, 4),
                "paths": {"main": path},
                "surface": "flat",
                "grid": (3, 3),
                "margin": 0.5,
                "since": 0,
                "until": 1,
                "leaves": {},
                "memory": 1000,
            },
        ),
        "landscape": (
            landscapes.landscape,
            {"task": trained, "checkpoints": [state], "around": 0, "seed": 0, "grid": (3, 3), "test": False},
        ),
        "evaluate": (
            landscape.evaluate,
            {"values": landscape.FunctionValues(objective.loss, 4), "points": path, "memory": 100},
        ),
        "FunctionValues": (landscape.FunctionValues, {"function": len, "size": 4}),
        "Plane": (Plane, {"origin": path[0], "first": path[1], "second": path[2]}),
        "through": (Plane.through, {"first": path[0], "second": path[1], "third": path[2]}),
        "grid": (Plane(*path[:3]).grid, {"x": [0.0], "y": [0.0, 1.0]}),
        "coordinates": (Plane(*path[:3]).coordinates, {"points": path}),
        "line": (geometry.line, {"first_P": path[0], "second_P": path[1], "points": 3, "on_sphere": False}),
        "barrier": (geometry.barrier, {"values": [0.0, 1.0, 0.0], "axis": -1}),
        "angles": (geometry.angles, {"first": path, "second": path}),
        "group_angles": (geometry.group_angles, {"first": path, "second": path, "segments": (((0, 2),),)}),
        "step_cosines": (geometry.step_cosines, {"trajectory_TP": path, "lag": 1}),
        "training": (walks.training, walk),
        "random_walk": (walks.random_walk, walk),
        "expected_cosine": (walks.expected_cosine, {"step_sizes": [0.1, 0.2, 0.3], "lag": 1}),
        "identities": (equilibrium.identities, {**one, "elr": 1e-3, "steps": 2, "seed": 0}),
        "ess_spread": (
            equilibrium.ess_spread,
            {"group_ess": xr.DataArray([[1.0, 2.0]], dims=("epoch", "group")), "final": 0.5},
        ),
        "at_loss": (
            alignment.at_loss,
            {"train_loss": [2.0, 1.0], "values": [0.0, 1.0], "levels": 1.5, "logarithmic": False},
        ),
        "lowest_common_level": (alignment.lowest_common_level, {"train_loss": [2.0, 1.0]}),
        "sparsity": (features.sparsity, {"accuracy": accuracy, "chance": 0.5, "noise": 0.01}),
        "sparsity_over_runs": (features.sparsity_over_runs, {"accuracy": accuracy, "chance": 0.5, "noise": 0.01}),
        "band_chart": (band_chart, {"images": torch.rand(1, 1, 8, 8), "mean": [0.5], "std": [1.0]}),
        **{kind.__name__: (kind, example) for kind, example in chart_examples.LAYERS.items()},
        "Axis": (
            charts.Axis,
            {"title": "t", "log": False, "limits": (0.5, 2.0), "ticks": [(1.0, "one")], "bare": True},
        ),
        "Panel": (charts.Panel, {"title": "t", "x": charts.Axis(), "layers": (), "height": None}),
        "Chart": (charts.Chart, {"panels": [charts.Panel(title="t")], "columns": 3, "share_x": True}),
    }


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_argument_of_a_public_function(doors: dict[str, Any], data: st.DataObject) -> None:
    function, valid = doors[data.draw(st.sampled_from(sorted(doors)))]
    name, value = data.draw(st.sampled_from(sorted(valid))), data.draw(hostile)
    refused(lambda: function(**{**valid, name: value}))


@pytest.mark.slow
def test_any_argument_beyond_all_measure(doors: dict[str, Any]) -> None:
    """Numbers that no float holds, or no memory; every argument of every function meets them."""
    for function, valid in doors.values():
        for name in valid:
            for value in (10**5000, 1e308, range(10**9)):
                refused(lambda: function(**{**valid, name: value}))  # noqa: B023 - called at once


@pytest.mark.slow
def test_the_arguments_of_the_doors_are_fine(doors: dict[str, Any]) -> None:
    for name, (function, valid) in doors.items():
        if name not in ("report", "save_figures"):  # drawing takes seconds; they are given no result
            function(**valid)


@pytest.mark.parametrize(
    ("door", "change", "message"),
    [
        ("sparsity", {"accuracy": xr.DataArray([60.0, 70.0], dims="feature")}, "accuracy: it holds 70: pass fractions"),
        ("sparsity", {"accuracy": 0.5}, "accuracy: 0.5 is not a DataArray: pass a variable of a result"),
        (
            "report",
            {"result": {}},
            "result: {} is not a DataTree: pass what lrscope.sweep or lrscope.open_result returns",
        ),
        ("report", {"result": xr.DataTree(), "regime_map": "2A"}, "regime_map: '2A' is not a RegimeMap"),
        ("report", {"path": 5}, "result: 5 is not a DataTree"),
        ("open_result", {"path": 5}, "path: 5 is not a path"),
        ("material", {"data_seed": 1}, "data_seed: 1 was not trained: the sweep has those from 0 to 0"),
        ("between", {"points": 1}, "points: 1 is too small: use 2 or more"),
        ("between", {"test": "no"}, "test: 'no' is neither true nor false"),
        ("angles", {"second": torch.ones(5, 3)}, r"weights: shapes \(5, 4\) and \(5, 3\) do not go together"),
        ("sharpness", {"measures": "hessian"}, "measures: 'hessian' is not a list"),
        ("sharpness", {"state": State(torch.ones(1, 3), {})}, r"state: its weights have shape \(1, 3\), .*the net"),
        ("program", {"path": "fast"}, "path: 'fast' is unknown: choose single or batched"),
        ("Line", {"y": np.arange(4.0)}, "line: the shapes of x, y, low, high are"),
    ],
    ids=named,
)
def test_misuse_is_named(doors: dict[str, Any], door: str, change: dict[str, Any], message: str) -> None:
    function, valid = doors[door]
    with pytest.raises(LrscopeError, match=message):
        function(**{**valid, **change})


@pytest.mark.parametrize("value", [5, None, "digits", lambda: None], ids=named)
def test_a_sweep_of_no_task_is_refused(value: Any) -> None:
    with pytest.raises(LrscopeError, match=r"is not a Task: pass lrscope\.Task"):
        lrscope.sweep(value, [0.1], steps=1)
    with pytest.raises(LrscopeError, match="out: 5 is not a path"):
        lrscope.sweep(mlp_task(), [0.1], steps=1, out=5)  # type: ignore[arg-type]
    with pytest.raises(LrscopeError, match="progress: 'yes' is neither True nor False"):
        lrscope.sweep(mlp_task(), [0.1], steps=1, progress="yes")  # type: ignore[arg-type]


def test_checked_leaves_pythons_own_errors_and_signatures() -> None:
    @checked
    def door(count: Annotated[int, Whole(1, 3)], *, name: str = "x") -> tuple[int, str]:
        """Says what it was given."""
        return count, name

    assert door("2", name="y") == (2, "y")  # type: ignore[arg-type]
    assert list(inspect.signature(door).parameters) == ["count", "name"]
    assert get_args(get_type_hints(door, include_extras=True)["count"])[1] == Whole(1, 3)
    for call in (lambda: door(), lambda: door(1, nome="x"), lambda: door(1, 2, 3)):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(LrscopeError, match="count: 4 is too large"):
        door(4)


def test_values_are_shown_in_one_short_line() -> None:
    for value in HOSTILE:
        text = shown(value)
        assert len(text) < 200
        assert text.isprintable()
