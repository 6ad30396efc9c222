"""Results as trees: what a node must be, nodes beyond today's three, results of schema version 1."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import lrscope
from fake_results import fake_result
from lrscope.errors import LrscopeError
from lrscope.export import export_result
from lrscope.mapping import regimes
from lrscope.reporting import report
from lrscope.results import open_result, save_result
from lrscope.schema import (
    AVERAGE,
    FINETUNE,
    PRETRAIN,
    ROOT_VARIABLES,
    SCHEMA_VERSION,
    TRAIN,
    Node,
    segment,
    variables_of,
)
from lrscope.storage.checksums import Damaged, seal
from lrscope.validation import result_nodes, result_traits, validate
from lrscope.version1 import as_tree
from tiny_tasks import ALL_RUNS, BASE, BATCHED, ONE_RUN, SINGLE, computed, mlp_task, same_bytes, train
from trees import arrays, changed, own, with_node

DATA = Path(__file__).parent / "data"
TODAY = (PRETRAIN, AVERAGE, FINETUNE)


@pytest.fixture
def result() -> xr.DataTree:
    return fake_result(lrs=4, seeds=2, epochs=6)


# -- the three nodes of today ---------------------------------------------------------------------------------------


def test_the_same_quantity_has_the_same_name_everywhere(result: xr.DataTree) -> None:
    assert list(result.children) == [node.name for node in TODAY]
    assert result_nodes(result) == TODAY
    for node in TODAY:
        assert "train_loss" in result[node.name]
        xr.testing.assert_identical(result[node.name]["train_loss"], result[f"{node.name}/train_loss"])
    assert result["pretrain/train_loss"].dims == ("lr", "data_seed", "seed", "epoch")
    assert result["finetune/train_loss"].dims == ("lr", "finetune_lr", "data_seed", "seed", "epoch")
    assert result["average/train_loss"].dims == ("lr", "n_average", "data_seed", "seed")
    assert set(result["finetune/train_loss"].coords) == {"lr", "data_seed", "seed", "finetune_lr", "epoch", "step"}
    assert result["pretrain"].sizes["epoch"] != result["finetune"].sizes["epoch"]


@pytest.mark.slow
def test_nodes_come_in_the_order_of_training_whatever_the_disk_says(result: xr.DataTree, tmp_path: Path) -> None:
    save_result(result, tmp_path)
    again = open_result(tmp_path)
    assert list(again.children) == ["pretrain", "average", "finetune"]
    assert same_bytes(again, result) == []


def renamed_axis(result: xr.DataTree) -> xr.DataTree:
    """Fine-tunes whose axis has another name, in all places."""
    node = own(result, "finetune").rename(finetune_lr="rate")
    return with_node(result, "finetune", node.assign_attrs(axes='["rate"]'))


BROKEN: dict[str, tuple[Any, str]] = {
    "no kind": (lambda r: restated(r, "finetune", kind=None), "node 'finetune' states no 'kind'"),
    "kind of a stranger": (lambda r: restated(r, "finetune", kind="magic"), "'finetune' is of the kind 'magic'"),
    "no parent": (lambda r: restated(r, "average", parent=None), "node 'average' states no 'parent'"),
    "average of nothing": (lambda r: restated(r, "average", parent=""), "'average' averages weights and has no parent"),
    "lost parent": (lambda r: restated(r, "finetune", parent="gone"), "'finetune' branches from 'gone', which is not"),
    "its own parent": (lambda r: restated(r, "finetune", parent="finetune"), "'finetune' branches from itself"),
    "axes": (lambda r: restated(r, "finetune", axes="finetune_lr"), "'finetune' has the axes 'finetune_lr', no JSON"),
    "axis of the root": (lambda r: restated(r, "finetune", axes='["lr"]'), "no JSON list of names of its own"),
    "axis twice": (lambda r: restated(r, "finetune", axes='["a", "a"]'), "'finetune' names an axis twice"),
    "lost axis": (
        lambda r: restated(r, "finetune", axes="[]"),
        "dimension 'finetune/finetune_lr' is not in the schema",
    ),
    "strange axis": (lambda r: restated(r, "finetune", axes='["x"]'), "axis 'finetune/x' has no coordinate"),
    "axis of a usual node": (renamed_axis, "node 'finetune' states another kind, parent or axes than it has"),
    "a step that is none": (
        lambda r: with_node(
            r, "pretrain", own(r, "pretrain").assign(nonfinite_step=own(r, "pretrain")["nonfinite_step"] * np.nan)
        ),
        "variable 'pretrain/nonfinite_step' holds numbers below -1, fractions or NaN",
    ),
    "steps out of order": (
        lambda r: with_node(
            r, "pretrain", own(r, "pretrain").assign_coords(step=("epoch", own(r, "pretrain")["step"].values[::-1]))
        ),
        "coordinate 'pretrain/step' is missing or not increasing",
    ),
    "steps lost": (
        lambda r: with_node(r, "pretrain", own(r, "pretrain").drop_vars("step")),
        "coordinate 'pretrain/step' is missing or not increasing",
    ),
    "a name that paints": (
        lambda r: with_node(r, "a\x1b[2J", own(r, "finetune")),
        "has no name of letters, digits and _",
    ),
    "no pre-training": (lambda r: with_node(r, "pretrain", None), "node 'pretrain' is missing"),
    "pre-training with a parent": (lambda r: restated(r, "pretrain", parent="average"), "does not start at initial"),
    "deeper": (lambda r: with_node(r, "pretrain/inner", xr.Dataset()), "node 'pretrain' has nodes below it"),
    "variable": (
        lambda r: changed(r, {"finetune/strange": r["finetune/status"]}),
        "variable 'finetune/strange' is not in the schema",
    ),
    "variable of the root": (lambda r: changed(r, {"train_loss": r["seconds"]}), "'train_loss' is not in the schema"),
    "order": (
        lambda r: changed(r, {"finetune/status": r["finetune/status"].transpose(..., "lr")}),
        "variable 'finetune/status' has dimensions .* transpose it",
    ),
    "learning rates": (
        lambda r: changed(r, {"finetune/finetune_lr": [-1.0, 1.0, 2.0]}),
        "'finetune/finetune_lr' holds -1, which is too small",
    ),
    "unordered": (lambda r: changed(r, {"finetune/finetune_lr": [3.0, 1.0, 2.0]}), "finetune_lr' is not increasing"),
    "fractions": (lambda r: changed(r, {"average/n_average": [1.5, 2.0, 3.0]}), "'average/n_average' holds fractions"),
    "epochs": (lambda r: changed(r, {"finetune/epoch": np.arange(10)[::-1]}), "'finetune/epoch' is not increasing"),
    "axis of the root that is a node's": (
        lambda r: changed(with_node(r, "average", None), {"n_average": [1.0]}),
        "dimension 'n_average' is not in the schema",
    ),
    "coordinate": (lambda r: changed(r, {"pretrain/group": list("abc")}), "coordinate 'pretrain/group' "),
    "status": (
        lambda r: changed(r, {"finetune/status": r["finetune/status"] + 7}),
        "variable 'finetune/status' holds the unknown status 7",
    ),
    "accuracy": (
        lambda r: changed(r, {"average/test_accuracy": r["average/test_accuracy"] + 1}),
        "'average/test_accuracy' holds accuracies outside",
    ),
    "numbers": (
        lambda r: changed(r, {"finetune/train_loss": r["finetune/train_loss"].astype(complex)}),
        "'finetune/train_loss' holds complex128",
    ),
}


def restated(result: xr.DataTree, name: str, **attributes: Any) -> xr.DataTree:
    """The result with other attributes of a node; without those that are None."""
    node = own(result, name)
    node.attrs = {k: v for k, v in (node.attrs | attributes).items() if v is not None}
    return with_node(result, name, node)


@pytest.mark.parametrize("case", BROKEN)
def test_every_broken_rule_is_one_sentence_that_names_the_node(case: str, result: xr.DataTree) -> None:
    breaks, words = BROKEN[case]
    if case == "coordinate":  # xarray itself refuses another label than the root's
        with pytest.raises(ValueError, match="not aligned"):
            breaks(result)
        return
    with pytest.raises(LrscopeError, match=words) as caught:
        validate(breaks(result))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("node", [None, *TODAY], ids=lambda n: "root" if n is None else n.name)
def test_every_variable_that_is_missing_is_named(node: Node | None, result: xr.DataTree) -> None:
    table, path = (ROOT_VARIABLES, "") if node is None else (variables_of(node), node.name + "/")
    wanted = [name for name, variable in table.items() if variable.belongs(result_traits(result))]
    assert wanted
    for name in wanted:
        nodes = {n.path: n.to_dataset(inherit=False) for n in result.subtree}
        where = "/" + path.rstrip("/")
        nodes[where] = nodes[where].drop_vars(name)
        with pytest.raises(LrscopeError, match=f"variable '{path}{name}' is missing"):
            validate(xr.DataTree.from_dict(nodes))


# -- other nodes ----------------------------------------------------------------------------------------------------


def branch_of(result: xr.DataTree, node: Node, axes: dict[str, Any]) -> xr.Dataset:
    """A node with every variable that it must have, all ones."""
    coords: dict[str, Any] = {"epoch": [1.0, 2.0]}
    for axis, values in axes.items():
        coords[axis] = np.array(values, dtype=object if isinstance(values[0], str) else None)
    sizes = {**result.sizes, **{name: len(values) for name, values in coords.items()}}
    table = {n: v for n, v in variables_of(node).items() if v.belongs(result_traits(result))}
    data = {name: (v.dims, np.ones([sizes[d] for d in v.dims])) for name, v in table.items()}
    return xr.Dataset(data, {**coords, "step": ("epoch", [4, 8])}, node.attributes())


OTHERS = [
    (Node("decay", TRAIN, "pretrain", ("decay_at",)), {"decay_at": [0.0, 2.0]}),
    (Node("again", TRAIN, "pretrain"), {}),
    (Node("low", TRAIN, "finetune", ("finetune_lr", "low_factor")), {"finetune_lr": [1e-4], "low_factor": [0.1, 1]}),
    (Node("shape", TRAIN, "pretrain", ("shape_schedule",)), {"shape_schedule": ["linear", "1-sqrt"]}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("node", "axes"), OTHERS, ids=lambda v: getattr(v, "name", ""))
def test_a_node_of_any_name_is_valid_that_follows_the_rules(
    node: Node, axes: dict[str, Any], result: xr.DataTree, tmp_path: Path
) -> None:
    grown = with_node(result, node.name, branch_of(result, node, axes))
    validate(grown)
    save_result(grown, tmp_path)
    again = open_result(tmp_path)
    assert same_bytes(again, grown) == []
    assert result_nodes(again)[-1] == node or node in result_nodes(again)
    assert regimes(again) == regimes(result), "the map is that of pre-training and fine-tunes"
    report(again, tmp_path / "page.html")
    export_result(again, "netcdf", None, tmp_path)
    with xr.open_datatree(tmp_path / "result.nc") as copy:
        np.testing.assert_array_equal(copy[f"{node.name}/train_loss"], grown[f"{node.name}/train_loss"])
    export_result(again, "csv", None, tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "result.csv").read_text())))
    mine = [row for row in rows if row["segment"] == node.name]
    assert len(mine) == 4 * 2 * np.prod([len(values) for values in axes.values()], dtype=int)
    for axis, values in axes.items():
        assert {row[axis] for row in mine} == {str(np.array(values)[i].item()) for i in range(len(values))}
    for lost in own(grown, node.name).data_vars:
        with pytest.raises(LrscopeError, match=f"variable '{node.name}/{lost}' is missing"):
            validate(with_node(grown, node.name, own(grown, node.name).drop_vars(lost)))


def test_an_axis_of_ones_own_holds_increasing_numbers_or_distinct_texts(result: xr.DataTree) -> None:
    node = OTHERS[0][0]
    for values, words in (
        ([2.0, 1.0], "not increasing"),
        ([0.0, np.inf], "not finite"),
        (["a", "a"], "distinct texts"),
    ):
        with pytest.raises(LrscopeError, match=f"'decay/decay_at' .*{words}"):
            validate(with_node(result, "decay", branch_of(result, node, {"decay_at": values})))


# -- branches as they are trained -----------------------------------------------------------------------------------

BRANCHES = (
    lrscope.Branch(name="decay", at=(0.5, 1.5), factors=(0.1, 0.5), until=2.25),
    lrscope.Branch(name="cool", parent="finetune", schedules=("linear", "cosine"), steps=4),
    lrscope.Branch(name="never", at_loss=(-1e6, 1e6), steps=3),
)
GROWN = replace(BASE, branches=BRANCHES)


@pytest.mark.slow
def test_branches_have_nodes_of_their_own(tmp_path: Path) -> None:
    result = train(mlp_task(), GROWN, BATCHED, tmp_path / "out")
    assert {node.name for node in result_nodes(result)} == {"pretrain", "average", "finetune", "decay", "cool", "never"}
    stated = {node.name: (node.parent, node.axes) for node in result_nodes(result)}
    assert stated["decay"] == ("pretrain", ("decay_at", "decay_factor"))
    assert stated["cool"] == ("finetune", ("finetune_lr", "cool_schedule"))
    assert result["cool/cool_schedule"].values.tolist() == ["linear", "cosine"]
    decay = segment(result, "decay")
    assert decay["decay_at"].values.tolist() == [0.5, 1.5]
    assert (decay["status"] == 0).all()
    assert decay["branch_step"].isel(decay_at=0).values.tolist() == np.full((2, 2, 1, 2), 3).tolist()
    # They have one end, so the later one is shorter, and is logged at other steps.
    long, short = (decay["train_loss"].isel(decay_at=i).dropna("epoch", how="all") for i in (0, 1))
    assert (long["step"].values.tolist(), short["step"].values.tolist()) == ([6, 11], [5])
    assert np.isfinite(decay["group_ess"].isel(decay_at=1).sel(epoch=short["epoch"].values).values).all()
    assert np.isfinite(decay["elr"].isel(decay_at=0).sel(epoch=long["epoch"].values).values).all()
    never = segment(result, "never")
    assert (never["status"].isel(never_loss=0) == 2).all(), "no loss is as low: stopped before it began"
    assert (never["branch_step"].isel(never_loss=0) == -1).all()
    assert np.isnan(never["train_loss"].isel(never_loss=0)).all()
    assert (never["status"].isel(never_loss=1) == 0).all()
    assert same_bytes(open_result(tmp_path / "out"), result) == []


@pytest.mark.slow
def test_branches_change_nothing_else_and_plans_agree(tmp_path: Path) -> None:
    grown, plain = (computed(mlp_task(), c, ALL_RUNS, tmp_path / str(i)) for i, c in enumerate((GROWN, BASE)))
    for name in ("decay", "cool", "never"):
        grown_alone = with_node(grown, name, None)
        assert name not in grown_alone.children
    left = {path: array for path, array in arrays(grown).items() if path.partition("/")[0] in ("pretrain", "finetune")}
    for path, array in left.items():
        if "epoch" in array.dims:  # branches add times at which their parents are logged
            continue
        np.testing.assert_array_equal(array, arrays(plain)[path], err_msg=path)
    alone = computed(mlp_task(), GROWN, ONE_RUN, tmp_path / "single")
    for path, array in arrays(grown).items():
        if path != "seconds":
            np.testing.assert_allclose(array, arrays(alone)[path], rtol=1e-4, atol=1e-6, err_msg=path)


# -- schema version 1 -----------------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A result that lrscope wrote before schema version 2."""
    with zipfile.ZipFile(DATA / "version1.zip") as archive:
        archive.extractall(tmp_path / "old")
    return tmp_path / "old"


def flat_of(folder: Path) -> xr.Dataset:
    return xr.open_zarr(folder / "results.zarr", consolidated=False, zarr_format=3).load()


PREFIXES = {"pretrain": "", "finetune": "finetune_", "average": "average_"}


def test_a_result_of_version_1_opens_with_every_number(old: Path) -> None:
    result, flat = open_result(old), flat_of(old)
    assert flat.attrs["schema_version"] == 1
    assert result.attrs["schema_version"] == SCHEMA_VERSION
    assert result_nodes(result) == TODAY
    seen = set()
    for path, array in arrays(result, coordinates=True).items():
        node, _, name = path.rpartition("/")
        name = name if name in ("finetune_lr", "n_average") else PREFIXES.get(node, "") + name
        seen.add(name)
        assert array.values.tolist() == flat[name].values.tolist() or array.dtype.kind == "f"
        if array.dtype.kind == "f":
            assert array.values.tobytes() == flat[name].values.tobytes(), path
        assert array.dims == tuple("epoch" if d == "finetune_epoch" else d for d in flat[name].dims)
        assert array.attrs == flat[name].attrs
    assert seen == {str(name) for name in flat.variables}, "nothing is lost"
    kept = {name: value for name, value in result.attrs.items() if name != "schema_version"}
    assert kept == {n: v for n, v in flat.attrs.items() if n not in ("schema_version", "checksums")}


@pytest.mark.slow
def test_what_reads_results_reads_those_of_version_1(old: Path, tmp_path: Path) -> None:
    result = open_result(old)
    regimes(result)
    report(result, tmp_path / "page.html")
    export_result(result, "csv", None, tmp_path)
    save_result(result, tmp_path / "new")
    again = open_result(tmp_path / "new")
    assert same_bytes(again, result) == []
    root = json.loads((tmp_path / "new" / "results.zarr" / "zarr.json").read_text())
    assert root["attributes"]["schema_version"] == SCHEMA_VERSION


def test_damage_of_a_result_of_version_1_is_named(old: Path) -> None:
    chunk = next(
        p for p in (old / "results.zarr" / "finetune_test_loss").rglob("*") if p.is_file() and p.name != "zarr.json"
    )
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(Damaged, match=r"\(finetune_test_loss\)"):
        open_result(old)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda flat: flat.drop_vars("finetune_test_loss"), "'finetune/test_loss' is missing"),
        (lambda flat: flat.assign(strange=flat["status"]), "'pretrain/strange' is not in the schema"),
        (lambda flat: flat.assign_attrs(space="cube"), "neither 'sphere' nor 'whole'"),
        (lambda flat: flat.assign(status=flat["status"] + 9), "'pretrain/status' holds the unknown status 9"),
    ],
)
def test_version_1_is_held_to_the_same_rules(change: Any, words: str, old: Path) -> None:
    with pytest.raises(LrscopeError, match=words):
        validate(as_tree(change(flat_of(old))))


def flattened(result: xr.DataTree) -> xr.Dataset:
    """A result as version 1 laid it out."""
    found: dict[str, Any] = {}
    for path, array in arrays(result, coordinates=True).items():
        node, _, name = path.rpartition("/")
        dims = ["finetune_epoch" if d == "epoch" and node == "finetune" else d for d in array.dims]
        found[name if name in ("finetune_lr", "n_average") else PREFIXES.get(node, "") + name] = (dims, array.values)
    coords = {"finetune_lr", "n_average", "finetune_epoch", "finetune_step", "epoch", "step", *result.coords}
    flat = xr.Dataset(found).set_coords(coords & set(found))
    return flat.assign_attrs({**result.attrs, "schema_version": 1})


@pytest.mark.slow
def test_a_sweep_whose_result_is_of_version_1_is_opened_and_not_trained(tmp_path: Path) -> None:
    first = train(mlp_task(), BASE, SINGLE, tmp_path)
    shutil.rmtree(tmp_path / "results.zarr")
    flattened(first).to_zarr(tmp_path / "results.zarr", consolidated=False, zarr_format=3)
    seal(tmp_path / "results.zarr")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    again = train(mlp_task(), BASE, SINGLE, tmp_path)
    assert same_bytes(again, first) == []
    assert {p: p.stat().st_mtime_ns for p in before} == before, "read only"
    trained = lrscope.Trained.open(tmp_path, mlp_task())
    assert trained.state(lr=1e-3, seed=0).weights.isfinite().all()
