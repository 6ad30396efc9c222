"""Is the set of points below the level of a path open or closed? Values [H, W] over coordinates y [H] and x [W].

The set is the part that hangs together, over all eight neighbours of a point, with the path's lowest point. `closing` is
the level at which it first reaches the frame: the lowest pass from the set's lowest point to the frame. Let

    rise  =  (closing - lowest) / (level - lowest)

- rise above 1: the set does not reach the frame. It is **closed**.
- rise of `OPEN` = 1/4 or less, in a frame that is `ROOM` = 1/2 of the path's extent away from it on every side: **open**. If
  the loss went on rising as a parabola does, the set would still reach beyond a frame twice as wide. A bowl in whose lowest
  point the path ends is not much wider, at the level of the path's middle, than such a frame.
- else: **undetermined**. A bowl in a frame that is too small looks like this.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from lrscope.checked import checked
from lrscope.errors import LrscopeError

Array = NDArray[np.float64]
Verdict = Literal["open", "closed", "undetermined"]
OPEN = 0.25  # ours: see the module
ROOM = 0.5  # ours, of the path's extent: see the module
LEAST = 4  # ours, points of the grid: a smaller set is not resolved


@dataclass(frozen=True, kw_only=True)
class LevelSet:
    """What is found of a level set.

    Attributes:
        of: which values, such as `train_loss`.
        verdict: `open`, `closed` or `undetermined`; `why` in words.
        level: the path's, in the values' unit.
        lowest: the least value in the set.
        closing: the lowest level at which the set that holds that point reaches the frame.
        rise: see the module.
        share: fraction of the frame's points that are in the set.
        size: points of the grid in the set.
        own: the level at the checkpoints' own weights, which need not lie on the surface; NaN where that is not known.
    """

    of: str
    verdict: Verdict
    why: str
    level: float
    lowest: float = np.nan
    closing: float = np.nan
    rise: float = np.nan
    share: float = np.nan
    size: int = 0
    own: float = np.nan

    def __str__(self) -> str:
        own = "" if np.isnan(self.own) else f" ({self.own:.3g} at the checkpoints' own weights)"
        return f"{self.of}: level set {self.verdict} at {self.level:.3g}{own}; {self.why}"


@checked
def level_set(
    values: ArrayLike, x: ArrayLike, y: ArrayLike, path: ArrayLike, at_path: ArrayLike, *, of: str = "loss"
) -> LevelSet:
    """The level set of a path, judged by the module's rule. Its level is the median of the values at the path's points.

    Args:
        values: [H, W]; what is not finite lies above every level.
        x, y: rising coordinates [W] and [H], evenly spaced.
        path: coordinates of the path's points [K, 2].
        at_path: values at these points [K].

    Raises:
        LrscopeError: shapes that do not fit, or no path.
    """
    grid, columns, rows = (np.asarray(v, dtype=np.float64) for v in (values, x, y))
    points, heights = np.asarray(path, dtype=np.float64), np.asarray(at_path, dtype=np.float64)
    if grid.shape != (*rows.shape, *columns.shape) or grid.ndim != 2 or min(grid.shape) < 3:
        raise LrscopeError(
            f"values: shape {grid.shape} over coordinates {rows.shape} and {columns.shape}: pass [H, W], 3 or more each"
        )
    if points.ndim != 2 or points.shape[1:] != (2,) or heights.shape != points.shape[:1] or not len(points):
        raise LrscopeError(
            f"path: shapes {points.shape} and {heights.shape} are no points with values: pass [K, 2] and [K]"
        )
    grid = np.where(np.isfinite(grid), grid, np.inf)
    level = float(np.median(np.where(np.isfinite(heights), heights, np.inf)))
    if why := _unclear(grid, columns, rows, points, level):
        return LevelSet(of=of, verdict="undetermined", why=why, level=level)
    start = _start(grid, columns, rows, points[int(np.nanargmin(heights))])
    return _judged(grid, start, level, of, roomy=_roomy(columns, rows, points))


def _unclear(grid: Array, x: Array, y: Array, points: Array, level: float) -> str:
    """Why nothing can be said, in words; empty where something can."""
    low, high = points.min(0), points.max(0)
    if (low < [x[0], y[0]]).any() or (high > [x[-1], y[-1]]).any():
        return "the path leaves the frame: use a larger one"
    there = grid[np.isfinite(grid)]
    if not there.size or not np.isfinite(level):
        return "there are no finite values"
    if level >= there.max():
        return "all of the frame is below the path's level: use a larger frame"
    if level <= there.min():
        return "all of the grid is above the path's level: the surface misses the path, or the grid is too coarse"
    return ""


def _roomy(x: Array, y: Array, points: Array) -> bool:
    """Is the frame far enough from the path?"""
    low, high = points.min(0), points.max(0)
    room = ROOM * (high - low) * (1 - 1e-9)
    return bool((low - room >= [x[0], y[0]]).all() and (high + room <= [x[-1], y[-1]]).all())


def _start(grid: Array, x: Array, y: Array, point: Array) -> tuple[int, int]:
    """The lowest of the grid's points around a place."""
    column, row = int(np.abs(x - point[0]).argmin()), int(np.abs(y - point[1]).argmin())
    near = [
        (r, c)
        for r in range(max(0, row - 1), min(len(y), row + 2))
        for c in range(max(0, column - 1), min(len(x), column + 2))
    ]
    return min(near, key=lambda at: float(grid[at]))


def _judged(grid: Array, start: tuple[int, int], level: float, of: str, *, roomy: bool) -> LevelSet:
    if grid[start] > level:
        why = "the path's lowest point is above its level on the grid: use a finer one"
        return LevelSet(of=of, verdict="undetermined", why=why, level=level)
    numbers, _ = ndimage.label(grid <= level, np.ones((3, 3)))
    inside = numbers == numbers[start]
    bottom = np.unravel_index(int(np.where(inside, grid, np.inf).argmin()), grid.shape)
    lowest, closing = float(grid[bottom]), _pass_to_frame(grid, (int(bottom[0]), int(bottom[1])))
    rise = (closing - lowest) / (level - lowest) if level > lowest else np.nan
    share, size = float(inside[_frame(grid.shape)].mean()), int(inside.sum())
    verdict, why = _verdict(rise, share, size, roomy)
    found = {"level": level, "lowest": lowest, "closing": closing, "rise": rise, "share": share, "size": size}
    return LevelSet(of=of, verdict=verdict, why=why, **found)  # type: ignore[arg-type]


def _verdict(rise: float, share: float, size: int, roomy: bool) -> tuple[Verdict, str]:
    if size < LEAST or np.isnan(rise):
        return "undetermined", f"the set has {size} points of the grid: use a finer one"
    if np.isinf(rise):
        return "closed", "what surrounds it is above every level"
    if rise > 1:
        return "closed", f"it would reach the frame at {rise:.3g} times the height of its level over its lowest point"
    if not roomy:
        return (
            "undetermined",
            f"it reaches the frame, which is nearer to the path than {ROOM:g} of its extent: use a larger one",
        )
    if rise <= OPEN:
        return "open", f"it holds {share:.0%} of the frame, which it reaches at {rise:.0%} of its height"
    return "undetermined", (
        f"it holds {share:.0%} of the frame, but reaches it only at {rise:.0%} of its height (open: {OPEN:.0%} or less): "
        "use a larger frame"
    )


def _frame(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    found = np.ones(shape, dtype=bool)
    found[1:-1, 1:-1] = False
    return found


def _pass_to_frame(grid: Array, start: tuple[int, int]) -> float:
    """The lowest level at which a point is connected with the frame: flooding from it, always over the lowest rim."""
    frame, seen = _frame(grid.shape), np.zeros(grid.shape, dtype=bool)
    rim, level = [(float(grid[start]), start)], -np.inf
    seen[start] = True
    while rim:
        height, (row, column) = heapq.heappop(rim)
        level = max(level, height)
        if frame[row, column]:
            break
        for near in ((row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)):
            if not seen[near]:
                seen[near] = True
                heapq.heappush(rim, (float(grid[near]), near))
    return level
