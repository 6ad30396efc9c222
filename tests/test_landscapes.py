"""Landscapes with known answers: a bowl, a ring-shaped valley, a planted parabola; level sets by their definition.

P parameters; nothing here trains.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.decomposition import PCA
from torch import Tensor

from chart_examples import check_drawn
from lrscope.errors import LrscopeError
from lrscope.landscapes import Landscape, function_landscape, level_set, told
from lrscope.landscapes.components import components, distances
from lrscope.landscapes.make import View, survey_of
from lrscope.landscapes.rows import Matrix, in_memory
from lrscope.landscapes.surfaces import Surface, filter_normalised, of_components
from lrscope.measures import geometry
from lrscope.measures.landscape import FunctionValues, evaluate
from lrscope.measures.plane import Plane
from lrscope.tasks.streams import generator
from lrscope.trained import State

SIZE = 12


def drawn(*shape: int, key: str) -> Tensor:
    return torch.randn(*shape, generator=generator("tests", "landscapes", key), dtype=torch.float64)


E = torch.linalg.qr(drawn(SIZE, SIZE, key="axes"))[0].T  # orthonormal rows


def at(*coordinates: Tensor) -> Tensor:
    """Points with these coordinates along the first axes [T, P]."""
    return torch.stack(coordinates, 1) @ E[: len(coordinates)]


def seen(loss: Callable[[Tensor], Any], paths: dict[str, Tensor], **options: Any) -> Landscape:
    return function_landscape(FunctionValues(loss, SIZE), paths, **options)


# -- principal components ----------------------------------------------------------------------------------------------


def test_components_are_those_of_scikit_learn_in_any_memory() -> None:
    points = drawn(9, SIZE, key="cloud") * torch.arange(1, SIZE + 1)
    main = np.arange(9)
    before = points.clone()
    whole, blocks = (components(Matrix(points), main, memory=memory) for memory in (1 << 20, 8 * 9 * 5))
    assert torch.equal(points, before), "they are only read"
    expected = PCA(5).fit(points.numpy())
    for found in (whole, blocks):
        np.testing.assert_allclose(found.explained, expected.explained_variance_ratio_, rtol=1e-9)
        np.testing.assert_allclose(found.directions.abs(), np.abs(expected.components_), atol=1e-9)
        np.testing.assert_allclose(found.mean, points.mean(0), atol=1e-12)
        np.testing.assert_allclose(found.scores, (points - found.mean) @ found.directions.T, atol=1e-9)
        assert (found.scores[-1] >= found.scores[0]).all(), "paths go to the right"


def test_explained_variance_of_planted_spreads() -> None:
    """Coordinates of variances 9, 4 and 1 that are not correlated."""
    turn = 2 * np.pi * torch.arange(12, dtype=torch.float64) / 12
    points = at(3 * turn.cos(), 2 * turn.sin(), (2 * turn).cos())
    found = components(Matrix(points), np.arange(12))
    np.testing.assert_allclose(found.explained, [9 / 14, 4 / 14, 1 / 14])
    assert len(found.explained) == 3, "what is rounding is left out"
    np.testing.assert_allclose((found.directions @ E[:3].T).abs(), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(distances(Matrix(points), 0, np.array([0, 6]), memory=8 * 12 * 5), [0, 6])


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.ones(2, SIZE), "checkpoints: 2 make no plane of principal components: pass 3 or more"),
        (torch.ones(5, SIZE), "checkpoints: they are all alike, which is no plane"),
        (torch.arange(5.0)[:, None] * E[:1], "checkpoints: they lie on one line, which is no plane"),
    ],
)
@pytest.mark.parametrize("memory", [1 << 20, 1])
def test_checkpoints_that_span_no_plane_are_refused(points: Tensor, message: str, memory: int) -> None:
    with pytest.raises(LrscopeError, match=message):
        components(Matrix(points.double()), np.arange(len(points)), memory=memory)


# -- surfaces ----------------------------------------------------------------------------------------------------------


def test_a_curved_surface_follows_a_planted_parabola() -> None:
    """Coordinates (x, y, 0.05 x^2): the surface goes through all points, the flat one misses them by the parabola's height."""
    x, y = torch.linspace(-2, 2, 21, dtype=torch.float64), torch.tensor([-0.6, 0.0, 0.6]).double()
    points = at(*(v.flatten() for v in torch.meshgrid(x, y, indexing="ij")), (0.05 * x**2).repeat_interleave(3))
    found = components(Matrix(points), np.arange(len(points)))
    surface, fit = of_components(found, curved=True)
    assert fit == pytest.approx(1)
    assert surface.bend is not None
    assert abs(surface.bend.coefficients[2]) == pytest.approx(0.05)
    flat, nothing = of_components(found, curved=False)
    assert np.isnan(nothing)
    for point, score in zip(points, found.scores, strict=True):
        a, b, off = surface.coordinates(point)
        assert (a, b, off) == pytest.approx((float(score[0]), float(score[1]), 0), abs=1e-9)
        assert flat.coordinates(point)[2] == pytest.approx(abs(float(score[2])), abs=1e-9)
    back = torch.cat(list(surface.points(*found.scores[:, :2].T.numpy(), torch.float64)))
    torch.testing.assert_close(back, points)


def test_few_checkpoints_have_no_parabola() -> None:
    found = seen(lambda w: w.square().sum(1), {"main": drawn(3, SIZE, key="three")})
    assert found.surface.bend is None
    assert any("the surface is flat" in note for note in found.notes)


def test_random_directions_have_the_norms_of_the_filters() -> None:
    shapes = {"conv": (3, 2, 2), "bias": (3,), "linear": (2, 4)}
    weights = drawn(23, key="weights")
    first, second = filter_normalised(shapes, weights, seed=5)
    for found in (first, second):
        torch.testing.assert_close(found[:12].view(3, 4).norm(dim=1), weights[:12].view(3, 4).norm(dim=1))
        torch.testing.assert_close(found[15:].view(2, 4).norm(dim=1), weights[15:].view(2, 4).norm(dim=1))
        assert not found[12:15].any(), "biases stay"
    assert not torch.allclose(first, second)
    torch.testing.assert_close(filter_normalised(shapes, weights, seed=5)[1], second)
    assert not torch.allclose(filter_normalised(shapes, weights, seed=6)[0], first)


# -- known landscapes --------------------------------------------------------------------------------------------------


def bowl(points: Tensor) -> dict[str, Tensor]:
    """2 a^2 + b^2 / 2 + rest^2 with its lowest point at 0."""
    along = points @ E.T
    return {"train_loss": 2 * along[:, 0] ** 2 + along[:, 1] ** 2 / 2 + along[:, 2:].square().sum(1)}


def test_a_bowl_has_closed_ellipses() -> None:
    """A path on both axes: values over the grid, level, lowest and closing level to their formulas."""
    turn = 2 * np.pi * torch.arange(12, dtype=torch.float64) / 12
    path = at(turn.cos(), 2 * turn.sin())  # on the ellipse of level 2, PC1 along b
    found = seen(bowl, {"main": path}, grid=(41, 81), since=0)
    x, y = found.data["x"].values, found.data["y"].values
    np.testing.assert_allclose(found.data["train_loss"], x**2 / 2 + 2 * y[:, None] ** 2, atol=1e-12)
    np.testing.assert_allclose(found.data["explained"], [0.8, 0.2])
    (one,) = found.level_sets
    assert (one.verdict, one.of) == ("closed", "train_loss")
    assert (one.level, one.lowest, one.share) == (pytest.approx(2), pytest.approx(0, abs=1e-12), 0)
    assert one.closing == pytest.approx(min(x[-1] ** 2 / 2, 2 * y[-1] ** 2)) == pytest.approx(8)
    assert one.rise == pytest.approx(4)
    least, most = ((x**2 / 2 + 2 * y[:, None] ** 2 <= 2 * (1 + sign * 1e-9)).sum() for sign in (-1, 1))
    assert least <= one.size <= most


def test_a_ring_is_open_where_it_leaves_the_frame_and_closed_where_it_does_not() -> None:
    """(|w| - 1)^2: on an arc the valley leaves the frame; from the whole ring it stays inside. Chords leave the valley."""

    def ring(points: Tensor) -> dict[str, Tensor]:
        inside = points @ E[:2].T
        return {"train_loss": (inside.norm(dim=1) - 1) ** 2 + points.square().sum(1) - inside.square().sum(1)}

    wiggle = 1 + 0.1 * torch.cos(torch.arange(41, dtype=torch.float64) * np.pi)

    def arc(phi: float) -> Tensor:
        turn = torch.linspace(-phi / 2, phi / 2, 41, dtype=torch.float64)
        return at(wiggle * turn.sin(), wiggle * turn.cos())

    part = seen(ring, {"main": arc(1.0)}, grid=(81, 61), since=0)
    (one,) = part.level_sets
    assert one.level == pytest.approx(0.01, rel=0.05)
    assert (one.verdict, one.lowest) == ("open", pytest.approx(0, abs=1e-3))
    assert 0 < one.share < 0.3
    whole = seen(ring, {"main": arc(6.2)}, grid=(81, 81), since=0)
    assert whole.level_sets[0].verdict == "closed", "it surrounds a hill, but nowhere reaches the frame"
    ends = arc(1.0)[[0, -1]] / wiggle[0]
    values = FunctionValues(ring, SIZE)
    chord = evaluate(values, geometry.line(*ends, 101))["train_loss"]
    assert float(geometry.barrier(chord)) == pytest.approx((1 - np.cos(0.5)) ** 2)
    turn = np.linspace(-0.5, 0.5, 101)
    along = Surface(Plane(torch.zeros(SIZE).double(), E[0], E[1])).points(np.sin(turn), np.cos(turn), torch.float64)
    assert float(geometry.barrier(evaluate(values, along)["train_loss"])) == pytest.approx(0, abs=1e-12)


def valley(points: Tensor) -> dict[str, Tensor]:
    """Training: a valley along the first axis, 0.02 high. Test: the same with a bowl around 1 on that axis."""
    along = points @ E.T
    train = along[:, 1:].square().sum(1) + 0.02
    return {"train_loss": train, "test_loss": train + 0.1 * (along[:, 0] - 1) ** 2}


def valley_paths() -> dict[str, Tensor]:
    """A main path along the valley, bouncing between its walls, with two that leave it and go to its floor."""
    x = torch.linspace(-1.5, 0.9, 24, dtype=torch.float64)
    y = 0.3 * torch.cos(np.pi * torch.arange(24, dtype=torch.float64))
    main = at(x, y)
    return {"main": main} | {
        f"from {k}": at(x[k].repeat(3), y[k] * torch.tensor([0.5, 0.2, 0.0]).double()) for k in (8, 16)
    }


@pytest.fixture(scope="module")
def found() -> Landscape:
    return seen(valley, valley_paths(), margin=1.0)


def test_the_training_valley_is_open_and_the_test_bowl_closed(found: Landscape) -> None:
    train, test = found.level_sets
    assert (train.of, train.verdict) == ("train_loss", "open")
    assert train.level == pytest.approx(0.02 + 0.3**2, rel=0.1)
    assert train.rise < 0.05
    assert train.own == pytest.approx(train.level, rel=0.1)
    assert f"({train.own:.3g} at the checkpoints' own weights)" in str(found)
    assert (test.of, test.verdict) == ("test_loss", "closed")
    assert found.data.sizes["x"] * found.data.sizes["y"] == 1302


def test_points_are_evaluated_on_the_device_of_the_examples() -> None:
    """`meta` stands in for a GPU: values that refuse points of any other device."""

    class Elsewhere:
        size = SIZE

        def at_once(self, memory: int, example: State) -> int:
            return 10

        def __call__(self, points: State) -> dict[str, Tensor]:
            assert (points.weights.device.type, points.weights.dtype) == ("meta", torch.float32)
            return {"train_loss": torch.ones(len(points.weights))}

    where = {"dtype": torch.float32, "device": torch.device("meta")}
    rows, paths = in_memory(valley_paths())
    made = survey_of(Elsewhere(), rows, paths, View(grid=(5, 4)), shapes={}, memory=1 << 20, **where)
    assert (made.data["train_loss"] == 1).all()


def test_long_evaluations_say_how_far_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter(np.arange(0, 1000, 2.0))
    monkeypatch.setattr(told.time, "monotonic", lambda: float(next(seconds)))
    values = told.Told(FunctionValues(bowl, SIZE), 100)
    evaluate(values, drawn(100, SIZE, key="long").split(10), memory=1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "landscape: 12% of 100 points, 88 s left"
    assert len(lines) == 9
    assert lines[-1].startswith("landscape: 9")


def test_paths_are_told_where_they_leave_and_what_they_are_worth(found: Landscape) -> None:
    assert found.data["leaves"].values.tolist() == [-1, 8, 16]
    branch = found.path("from 8")
    assert [str(label) for label in branch["label"].values] == ["from 8/0", "from 8/1", "from 8/2"]
    direct = valley(valley_paths()["from 8"])["test_loss"]
    np.testing.assert_allclose(branch["own_test_loss"], direct)
    np.testing.assert_allclose(branch["surface_test_loss"], direct, rtol=0.05)
    given = seen(valley, valley_paths(), leaves={"from 8": "3"}, grid=(5, 5))
    assert given.data["leaves"].values.tolist() == [-1, 3, 16]


def test_a_plane_through_three_checkpoints() -> None:
    paths = valley_paths()
    found = seen(valley, paths, through=["main/0", 5, "from 16/2"], grid=(9, 7))
    off = found.data["off"].values[[0, 5, 29]]
    np.testing.assert_allclose(off, 0, atol=1e-9)
    np.testing.assert_allclose([found.data["at_x"][0], found.data["at_y"][0]], 0, atol=1e-9)
    assert float(found.data["at_x"][5]) == pytest.approx(float((paths["main"][5] - paths["main"][0]).norm()))
    assert "explained" not in found.data
    assert "plane through main/0, main/5, from 16/2" in str(found)


def test_what_was_found_is_drawn_saved_and_said(found: Landscape, tmp_path: Path) -> None:
    check_drawn(found.chart())
    files = {path.name: path for path in found.save(tmp_path / "out")}
    assert set(files) == {"landscape.nc", "landscape.html", "loss.png"}
    with xr.open_dataset(files["landscape.nc"], engine="scipy") as data:
        xr.testing.assert_allclose(data.load()["train_loss"], found.data["train_loss"])
    page = files["landscape.html"].read_text()
    assert "heatmap" in page
    assert "level set open" in page
    about = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [row["leaves"] for row in about["paths"]] == [None, "main/8", "main/16"]
    assert [one["verdict"] for one in about["level_sets"]] == ["open", "closed"]
    assert sum(about["explained"]) == pytest.approx(1)
    assert "path from 8: 3 checkpoints, leaves at main/8" in str(found)
    with pytest.raises(LrscopeError, match="of: the landscape has no accuracy: choose one of loss"):
        found.chart("accuracy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"through": ["main/0", "main/1"]}, "through: 2 checkpoints make no plane: name three different ones"),
        ({"through": ["main/0", "0", 1]}, "through: 2 checkpoints make no plane"),
        ({"through": ["main/0", "main/x", 1]}, "through: no checkpoint is called 'main/x': use one of main/0"),
        ({"through": [0, 1, 99]}, "through: there is no checkpoint 99: they are numbered from 0 to 29"),
        ({"through": ["", 0, 1]}, "through: no checkpoint is called ''"),
        ({"since": 5, "until": 4}, "since: main/5 comes after until, main/4"),
        ({"since": "from 8/0"}, "since: from 8/0 is not on the main path main"),
        ({"leaves": {"from 9": 1}}, "leaves: there is no path from 9: name one of from 8, from 16"),
        ({"grid": (2, 5)}, "grid: 2 is too small: use 3 or more"),
        ({"grid": "5x5x5"}, "grid: .* is not a list|grid: .* items"),
        (
            {"surface": "flat", "through": [0, 1, 2]},
            "surface: flat is of no use, as a plane through three checkpoints has",
        ),
        ({"surface": "curved", "through": [0, 1, 2]}, "surface: curved is of no use"),
        ({"surface": "round"}, "surface: 'round' is unknown: choose curved or flat"),
    ],
)
def test_misuse_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        seen(valley, valley_paths(), **{"grid": (5, 5), **options})


def test_paths_of_other_sizes_are_refused() -> None:
    with pytest.raises(LrscopeError, match="paths: they have 5 parameters, the values 12"):
        seen(bowl, {"main": torch.randn(3, 5, generator=generator("tests", 0))})
    with pytest.raises(LrscopeError, match=r"paths: \{'main': None\} are no tensors by name"):
        function_landscape(FunctionValues(bowl, SIZE), {"main": None})
    with pytest.raises(LrscopeError, match="paths: their shapes are"):
        seen(bowl, {"main": torch.zeros(3)})


# -- level sets --------------------------------------------------------------------------------------------------------

X, Y = np.linspace(-3, 3, 61), np.linspace(-2, 2, 41)


def judged(height: Callable[[Any, Any], Any], path: Any, **options: Any) -> Any:
    points = np.asarray(path, float)
    return level_set(height(X, Y[:, None]) + 0 * X, X, Y, points, height(*points.T), **options)


def test_a_bowl_in_a_frame_that_is_too_small_is_undetermined() -> None:
    """A path down one side: at the level of its middle the other side lies beyond the frame."""
    found = judged(lambda x, y: (x - 2.4) ** 2 + y**2, [[-0.9, 0.0], [0.9, 0.0], [2.3, 0.0]])
    assert found.verdict == "undetermined"
    assert found.rise == pytest.approx(0.6**2 / 1.5**2, rel=0.01)
    assert "nearer to the path than 0.5 of its extent" in found.why


@pytest.mark.parametrize(
    ("height", "path", "verdict", "why"),
    [
        (lambda x, y: y**2 + 0 * x, [[-1, 0.5], [1, 0.5]], "open", "25% or less|holds"),
        (lambda x, y: y**2 + 0.2 * x**2 / 9, [[-1, 0.5], [1, 0.5]], "undetermined", "use a larger frame"),
        (lambda x, y: y**2 + x**2, [[-1, 0.5], [1, 0.5]], "closed", "would reach the frame at"),
        (lambda x, y: y**2 + 0 * x, [[-4, 0.5], [1, 0.5]], "undetermined", "the path leaves the frame"),
        (lambda x, y: y**2 + 0 * x, [[-2.9, 0.5], [2.9, 0.5]], "undetermined", "nearer to the path"),
        (lambda x, y: np.cos(40 * x) + 0 * y, [[0.0786, 0.0]], "undetermined", "above the path's level"),
        (lambda x, y: 300 * ((x - 0.05) ** 2 + (y - 0.05) ** 2), [[0.05, 0.09]], "undetermined", "above"),
        (lambda x, y: np.nan * (x + y), [[0, 0]], "undetermined", "no finite values"),
    ],
)
def test_verdicts(height: Callable[[Any, Any], Any], path: Any, verdict: str, why: str) -> None:
    with np.errstate(all="ignore"):
        found = judged(height, path)
    assert found.verdict == verdict, found
    assert re.search(why, found.why), found.why


def test_a_level_above_the_whole_grid_is_undetermined() -> None:
    values = np.add.outer(Y**2, X**2)
    found = level_set(values, X, Y, [[0, 0]], [50.0])
    assert found.verdict == "undetermined"
    assert "all of the frame is below the path's level" in found.why


def test_other_valleys_do_not_count() -> None:
    """Two parallel valleys; the path's own ends inside the frame, the other is open."""

    def height(x: Any, y: Any) -> Any:
        return np.minimum((y - 1) ** 2 + 0.2 * x**2, (y + 1) ** 2) + 0.01

    assert judged(height, [[-0.2, 0.9], [0.2, 1.1]]).verdict == "closed"
    assert judged(height, [[-0.2, -0.9], [0.2, -1.1]]).verdict == "open"


def test_a_hole_where_the_loss_overflows_is_a_wall() -> None:
    values = np.broadcast_to(Y[:, None] ** 2, (41, 61)).copy()
    assert level_set(values, X, Y, [[0, 0.5]], [0.25]).verdict == "open"
    values[:, [5, -5]] = np.nan
    assert level_set(values, X, Y, [[0, 0.5]], [0.25]).verdict == "closed"
    values[[5, -5]] = np.inf  # all around: there is no pass at any height
    found = level_set(values, X, Y, [[0, 0.5]], [0.25])
    assert (found.verdict, found.rise, found.why) == ("closed", np.inf, "what surrounds it is above every level")


def test_level_sets_refuse_shapes_that_do_not_fit() -> None:
    with pytest.raises(LrscopeError, match=r"values: shape \(41, 60\) over coordinates"):
        level_set(np.zeros((41, 60)), X, Y, [[0, 0]], [0])
    with pytest.raises(LrscopeError, match="path: shapes"):
        level_set(np.zeros((41, 61)), X, Y, [[0, 0]], [0, 1])
