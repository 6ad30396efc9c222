"""Landscapes of a user's own checkpoints: what a plain PyTorch loop saved, in any form; what does not fit is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import lrscope
from chart_examples import check_drawn
from lrscope.errors import LrscopeError
from lrscope.landscapes import Landscape, landscape, match, networks
from lrscope.landscapes.files import natural
from lrscope.tasks.streams import generator
from test_cli import in_process
from tiny_tasks import drawn, examples

CLASSES = 3
States = list[dict[str, Tensor]]


def net(norm: bool = True) -> nn.Module:
    """One hidden layer, with a batch norm or without."""
    layers = [nn.Linear(5, 6), nn.BatchNorm1d(6) if norm else nn.Identity(), nn.Tanh(), nn.Linear(6, CLASSES)]
    return nn.Sequential(*layers)


def task(model: Callable[[], nn.Module] = net, **options: Any) -> lrscope.Task:
    return lrscope.Task(model, examples(64, (5,)), examples(30, (5,), key="test"), name="own", **options)


def train(model: nn.Module, lr: float, steps: int, every: int = 4) -> States:
    """A plain loop: the state dict after every few steps, the first before all."""
    x, y = examples(64, (5,))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    found = []
    for step in range(steps + 1):
        if step % every == 0:
            found.append(copy.deepcopy(model.state_dict()))
        optimizer.zero_grad()
        rows = torch.arange(16) + 16 * (step % 4)
        functional.cross_entropy(model.train()(x[rows]), y[rows]).backward()
        optimizer.step()
    return found


@pytest.fixture(scope="module")
def states() -> dict[str, States]:
    """A main path at a large learning rate and a path that decays from its fourth checkpoint."""
    model = drawn(net)
    main = train(model, 1.0, 24)
    model.load_state_dict(main[3])
    return {"main": main, "decay": train(model, 0.1, 8)[1:]}


@pytest.fixture(scope="module")
def folder(states: dict[str, States], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saved in both forms: safetensors on the main path, PyTorch's own on the other."""
    where = tmp_path_factory.mktemp("checkpoints")
    (where / "decay").mkdir()
    for i, state in enumerate(states["main"]):
        save_file(state, where / f"step{4 * i}.safetensors")
    for i, state in enumerate(states["decay"]):
        torch.save({"epoch": i, "model_state_dict": state}, where / "decay" / f"{i}.pt")
    (where / "notes.txt").write_text("not a checkpoint")
    return where


GRID: dict[str, Any] = {"grid": (5, 4)}


@pytest.fixture(scope="module")
def found(folder: Path) -> Landscape:
    return landscape(task(), folder, **GRID)


def test_checkpoints_of_a_plain_loop_have_the_losses_of_that_loop(found: Landscape, states: dict[str, States]) -> None:
    labels = [str(label) for label in found.data["label"].values]
    assert labels == [f"main/step{4 * i}" for i in range(7)] + ["decay/0", "decay/1"]
    assert found.data["leaves"].values.tolist() == [-1, 3]
    model, (x, y) = drawn(net).train(), examples(64, (5,))
    for state, loss, accuracy in zip(
        states["main"], found.data["own_train_loss"].values, found.data["own_train_accuracy"].values, strict=False
    ):
        model.load_state_dict(state)
        with torch.no_grad():
            output = model(x)  # one batch: the task's 64 examples are fewer than 128
        assert loss == pytest.approx(float(functional.cross_entropy(output, y)), rel=1e-5)
        assert accuracy == pytest.approx(float((output.argmax(1) == y).float().mean()))
    assert found.data["test_loss"].sizes == {"y": 4, "x": 5}
    assert 0 < float(found.data["explained"].sum()) <= 1 + 1e-9
    assert any("statistics in the checkpoints are not used" in note for note in found.notes)
    check_drawn(found.chart("accuracy"))


def test_lists_folders_and_names_give_the_same(found: Landscape, folder: Path, states: dict[str, States]) -> None:
    for given in (states, {"main": folder, "decay": [folder / "decay" / "0.pt", states["decay"][1]]}):
        again = landscape(task(), given, **GRID)
        for name in ("train_loss", "test_accuracy", "own_test_loss", "off", "explained"):
            np.testing.assert_allclose(again.data[name], found.data[name], rtol=1e-6, err_msg=name)
    alone = landscape(task(), states["main"], **GRID)
    assert alone.data["path_name"].values.tolist() == ["main"]


def test_a_folder_may_hold_one_folder_for_each_checkpoint(
    found: Landscape, states: dict[str, States], tmp_path: Path
) -> None:
    """As trainers of Hugging Face write them, with their optimizers beside them."""
    for i, state in enumerate(states["main"]):
        (tmp_path / f"checkpoint-{i}").mkdir()
        save_file(state, tmp_path / f"checkpoint-{i}" / "model.safetensors")
        torch.save({"step": i}, tmp_path / f"checkpoint-{i}" / "optimizer.pt")
    again = landscape(task(), tmp_path, **GRID)
    assert [str(label) for label in again.data["label"].values] == [f"main/checkpoint-{i}" for i in range(7)]
    np.testing.assert_allclose(again.data["own_train_loss"], found.path("main")["own_train_loss"], rtol=1e-6)
    save_file(states["main"][0], tmp_path / "checkpoint-1" / "other.safetensors")
    (tmp_path / "checkpoint-1" / "empty").mkdir()
    with pytest.raises(
        LrscopeError, match="holds none itself, but its folders do: pass folders by name, the main path first"
    ):
        landscape(task(), tmp_path, **GRID)
    with pytest.raises(LrscopeError, match="checkpoints: the path 'main' has none: name one that has"):
        landscape(task(), {"main": tmp_path / "checkpoint-1" / "empty", "late": states["main"]}, **GRID)
    with pytest.raises(LrscopeError, match="path: there is no path 'late': name one of main, decay"):
        found.path("late")


def test_blocks_of_columns_change_nothing(found: Landscape, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for networks whose checkpoints do not fit into memory together."""
    from lrscope.landscapes import make

    monkeypatch.setattr(make, "components", partial(make.components, memory=9 * 8 * 7))
    again = landscape(task(), folder, **GRID)
    np.testing.assert_allclose(again.data["train_loss"], found.data["train_loss"], rtol=1e-4)
    np.testing.assert_allclose(again.data["explained"], found.data["explained"], rtol=1e-6)


def test_one_network_at_a_time_gives_the_same(found: Landscape, folder: Path) -> None:
    single = landscape(task(), folder, path="single", **GRID)
    assert (single.data.attrs["path"], found.data.attrs["path"]) == ("single", "batched")
    np.testing.assert_allclose(single.data["train_loss"], found.data["train_loss"], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"around": "step24", "surface": "flat"}, "surface: flat is of no use, as random directions have no third"),
        (
            {"around": "step24", "margin": 1},
            "margin: 1 is of no use, as coordinates along random directions go from -1 to 1",
        ),
        ({"around": "step24", "through": [0, 1, 2]}, "through: a plane through checkpoints has no random directions"),
        ({"through": [0, 1, 2], "seed": 0}, "seed: 0 is of no use, as only random directions are drawn, with around"),
        ({"seed": 3}, "seed: 3 is of no use, .*: leave it out"),
    ],
)
def test_options_that_a_surface_has_no_use_for_are_refused(options: dict[str, Any], message: str, folder: Path) -> None:
    """Before anything is evaluated."""
    with pytest.raises(LrscopeError, match=message):
        landscape(task(), folder / "of nothing", **options)


def test_folders_inside_a_named_path_are_read_or_said_to_be_left_out(folder: Path, states: dict[str, States]) -> None:
    def notes(given: Any) -> list[str]:
        return [note for note in landscape(task(), given, **GRID).notes if "only its own files are read" in note]

    alone = notes({"main": folder})
    assert len(alone) == 1
    assert alone[0].endswith("not the folders decay in it: name those as paths of their own")
    assert notes({"main": folder, "late": str(folder / "decay")}) == []
    assert notes({"main": folder, "late": [folder / "decay" / "0.pt", folder / "decay" / "1.pt"]}) == []
    assert notes(folder) == []
    assert notes(states) == []


def test_random_directions_store_their_seed(folder: Path) -> None:
    found = landscape(task(), folder, around="step24", seed=7, grid=(3, 3))
    assert found.data.attrs["seed"] == 7
    centre = found.data["train_loss"].sel(x=0, y=0)
    assert float(centre) == pytest.approx(float(found.data["own_train_loss"][6]), rel=1e-5)
    assert "random filter-normalised directions of seed 7 around main/step24" in str(found)
    again = landscape(task(), folder, around="step24", seed=7, grid=(3, 3))
    assert again.data["test_loss"].identical(found.data["test_loss"])


def wrapped(prefix: str, states: States) -> States:
    return [{prefix + name: value for name, value in state.items()} for state in states]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_prefixes_are_left_out_and_said(prefix: str, states: dict[str, States], found: Landscape) -> None:
    again = landscape(task(), {"main": wrapped(prefix, states["main"]), "decay": states["decay"]}, **GRID)
    np.testing.assert_allclose(again.data["train_loss"], found.data["train_loss"], rtol=1e-6)
    assert any(f"begin with {prefix}, which was left out" in note for note in again.notes)


def test_other_real_types_are_said(states: dict[str, States]) -> None:
    halves = [{n: v.half() if v.is_floating_point() else v for n, v in state.items()} for state in states["main"]]
    found = landscape(task(), halves, **GRID)
    assert any("weights stored as float16 are evaluated in float32" in note for note in found.notes)


class Tied(nn.Module):
    """Two names of one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False)
        self.last.weight = self.first.weight
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.last(torch.tanh(self.first(x))))
        return y


def test_shared_parameters_may_go_by_any_of_their_names() -> None:
    main = train(drawn(Tied), 0.3, 16)
    one = [{n: v for n, v in state.items() if n != "first.weight"} for state in main]
    a, b = (landscape(task(Tied), given, **GRID) for given in (main, one))
    np.testing.assert_array_equal(a.data["train_loss"], b.data["train_loss"])
    assert a.data.attrs["parameters"] == 25 + 5 * CLASSES + CLASSES


def test_a_regression_has_no_accuracy() -> None:
    x = torch.randn(32, 4, generator=generator("tests", "regression"))
    own = lrscope.Task(partial(nn.Linear, 4, 1), (x, x[:, :1]), (x[:9], x[:9, :1]), loss="mse")
    states = [{"weight": torch.eye(5)[i, :4][None] + i % 3, "bias": torch.tensor([i % 2 - 0.5])} for i in range(5)]
    found = landscape(own, states, **GRID)
    assert "train_accuracy" not in found.data
    assert found.chart().panels[0].title.startswith("training loss")


def test_a_loss_of_model_and_batch(states: dict[str, States], found: Landscape) -> None:
    """The same examples and loss as a dict: the task's network is one around the user's model, whose names checkpoints have."""

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")

    train, test = ({"x": x, "y": y} for x, y in (examples(64, (5,)), examples(30, (5,), key="test")))
    again = landscape(lrscope.Task(net, train, test, loss), states, batch_size=64, **GRID)
    np.testing.assert_allclose(again.data["train_loss"], found.data["train_loss"], rtol=1e-5)
    np.testing.assert_allclose(again.data["own_test_loss"], found.data["own_test_loss"], rtol=1e-5)
    with pytest.raises(LrscopeError, match=r"main/0 lacks model\.3\.weight"):
        landscape(lrscope.Task(net, train, test, loss), changed(states["main"], 0, **{"3_weight": None}), **GRID)


def test_states_of_a_sweep(tmp_path: Path) -> None:
    """The main path from snapshots, a path that leaves it from a branch: the values are those that were logged."""
    options: dict[str, Any] = {"space": "whole", "epochs": 4, "batch_size": 16, "jobs": 1, "progress": False}
    branch = lrscope.Branch(name="cooldown", at=[2], factors=[0.1], epochs=1)
    kept = {"snapshot_epochs": (1, 2, 3, 4), "keep_weights": True, "branches": [branch]}
    result = lrscope.sweep(task(), [0.5], seeds=1, **options, **kept, path="single", out=tmp_path / "out")
    trained = lrscope.Trained.open(tmp_path / "out", task())
    run: dict[str, Any] = {"lr": 0.5, "seed": 0}
    paths = {
        "main": [trained.state(**run, epoch=epoch) for epoch in (1, 2, 3, 4)],
        "cooldown": [trained.state(**run, branch="cooldown")],
    }
    for option in ({"batch_size": 4}, {"device": "cuda"}):
        with pytest.raises(LrscopeError, match=f"{next(iter(option))}: .* is of no use with a sweep"):
            landscape(trained, paths, **option, **GRID)  # type: ignore[arg-type]
    found = landscape(trained, paths, leaves={"cooldown": 1}, **GRID)
    assert found.data["leaves"].values.tolist() == [-1, 1]
    logged = result["pretrain/test_loss"].values.ravel()
    np.testing.assert_allclose(found.path("main")["own_test_loss"], logged[-4:], rtol=1e-5)
    assert found.data.attrs["path"] == "single"
    with pytest.raises(
        LrscopeError, match=r"checkpoints: main is no list of states of one run: pass what Trained\.state"
    ):
        landscape(trained, [state.weights for state in paths["main"]], **GRID)
    with pytest.raises(LrscopeError, match="checkpoints: main is no list of states"):
        landscape(trained, [], **GRID)


def changed(states: States, number: int, **tensors: Tensor | None) -> States:
    found = [dict(state) for state in states]
    for name, value in tensors.items():
        key = name.replace("_", ".")
        if value is None:
            del found[number][key]
        else:
            found[number][key] = value
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: changed(s, 2, **{"3_weight": None}), r"main/2 lacks 3\.weight: pass the model that was trained"),
        (lambda s: changed(s, 0, head=torch.ones(2)), "main/0 has head, which the model lacks"),
        (
            lambda s: [{f"net.{n}": v for n, v in state.items()} for state in s],
            r"main/0 lacks 0\.weight, 0\.bias, 1\.weight and 3 more and has net\.0\.weight, ",
        ),
        (
            lambda s: changed(s, 1, **{"0_weight": torch.ones(6, 4)}),
            r"main/1 has 0\.weight of shape \(6, 4\), the model of",
        ),
        (
            lambda s: changed(s, 3, **{"0_bias": torch.full((6,), torch.nan)}),
            r"main/3 has weights that are not finite in 0\.bias",
        ),
        (
            lambda s: changed(s, 3, **{"0_bias": torch.ones(6).half()}),
            r"main/0 holds 0\.bias as float32, main/3 as float16",
        ),
        (
            lambda s: changed(s, 0, **{"0_bias": torch.ones(6).int()}),
            r"main/0 holds 0\.bias as int32: pass weights in float32",
        ),
        (lambda s: s[:2], "checkpoints: 2 make no plane of principal components: pass 3 or more"),
        (lambda s: [s[0]] * 4, "checkpoints: they are all alike"),
        (lambda s: [], r"checkpoints: there are none in \[\]"),
        (lambda s: 5, "checkpoints: main is 'int': pass a folder, or a list of files or state dicts"),
        (lambda s: s[0], "checkpoints: main is .*: pass a folder, or a list"),
        (
            lambda s: [drawn(net)],
            r"checkpoints: number 0 is 'Sequential', no state dict and no file: pass model\.state_dict\(\)",
        ),
        (lambda s: [{"epoch": 3}], r"checkpoints: checkpoint 0 is no state dict: save model\.state_dict\(\)"),
        (lambda s: "nowhere", "checkpoints: nowhere is no folder: name one that holds .safetensors"),
        (lambda s: ["nowhere.pt"], r"nowhere\.pt"),
        (lambda s: ["model.onnx"], r"checkpoints: model\.onnx is none of \.safetensors, \.pt"),
    ],
)
def test_checkpoints_that_do_not_fit_are_named(
    change: Callable[[States], Any], message: str, states: dict[str, States], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LrscopeError, match=message):
        landscape(task(), change(states["main"]), **GRID)


class Runs:
    """What runs code when a pickle is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was-run"),)


def test_files_run_no_code_and_damage_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for content in ({"weights": Runs()}, drawn(net)):
        torch.save(content, "a.pt")
        with pytest.raises(
            LrscopeError, match=r"a\.pt holds more than tensors, or is damaged .*save model\.state_dict\(\) alone"
        ):
            landscape(task(), ["a.pt"], **GRID)
    assert not Path("was-run").exists()
    data = (folder / "step0.safetensors").read_bytes()
    Path("b.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(LrscopeError, match=r"b\.safetensors is damaged or no safetensors file"):
        landscape(task(), ["b.safetensors"], **GRID)


def test_a_buffer_that_is_not_the_models_is_refused() -> None:
    class Scaled(nn.Module):
        def __init__(self, scale: float = 2.0) -> None:
            super().__init__()
            self.inner = nn.Linear(5, CLASSES)
            self.register_buffer("scale", torch.tensor(scale))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.scale * self.inner(x)
            return y

    good = train(drawn(Scaled), 0.5, 12)
    landscape(task(Scaled), good, **GRID)
    with pytest.raises(
        LrscopeError, match=r"the buffer scale of main/1 is not the model's: landscapes move parameters only"
    ):
        landscape(task(Scaled), changed(good, 1, scale=torch.tensor(3.0)), **GRID)


def test_what_memory_cannot_hold_is_refused_beforehand(
    states: dict[str, States], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "machine_memory", lambda device: (10_000, 4_000))
    with pytest.raises(
        LrscopeError, match=r"a surface through 69 parameters needs .* GiB, .* GiB are free: use a machine"
    ):
        landscape(task(), states["main"], **GRID)


def test_a_model_that_cannot_be_batched_is_evaluated_alone(
    states: dict[str, States], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any) -> int:
        raise RuntimeError("vmap: not this")

    monkeypatch.setattr(networks.NetworkValues, "at_once", fails)
    with pytest.raises(LrscopeError, match=r"path: batched fails for this model \(vmap: not this\): use path='single'"):
        landscape(task(), states["main"], path="batched", **GRID)


def test_files_go_by_their_numbers() -> None:
    names = ["step10", "step9", "last", "step9b", "10", "9"]
    assert sorted(names, key=natural) == ["9", "10", "last", "step9", "step9b", "step10"]


def test_a_prefix_that_is_the_models_own_stays() -> None:
    layout = match.Layout((), {"module.weight": (1,)}, {}, (), {})
    assert match._prefix({"module.weight": torch.ones(1)}, layout) == ""


# -- the command line --------------------------------------------------------------------------------------------------

MODULE = """
import test_landscape_files

def make_task():
    return test_landscape_files.task()

number = 5
"""


def test_the_command_draws_and_says(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MODULE)
    words = ("landscape", "mine.py:make_task", str(folder))
    code, out, err = in_process(*words, "--out", "seen", "--grid", "5x4")
    assert code == 0, err
    assert "path decay: 2 checkpoints, leaves at main/step12" in out
    assert {path.name for path in Path("seen").iterdir()} == {
        "landscape.nc",
        "landscape.html",
        "loss.png",
        "accuracy.png",
    }
    for more, message in (
        (("--grid", "5"), "grid: "),
        (("--through", "step0,step4"), "through: 2 checkpoints make no plane"),
        (("--surface", "round"), "surface: 'round' is unknown"),
    ):
        code, out, err = in_process(*words, *more)
        assert (code, len(err.splitlines())) == (2, 1)
        assert message in err
    code, out, err = in_process("landscape", "mine.py:number", str(folder))
    assert (code, out) == (2, "")
    assert "task: mine.py:number gives 'int': return an lrscope.Task" in err
