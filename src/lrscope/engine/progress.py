"""How a sweep reports on itself: a Rich bar on a terminal or in a notebook, plain lines elsewhere, or nothing."""

from __future__ import annotations

import importlib
import math
import sys
import time
from typing import Any, Protocol

from lrscope.engine.tick import Tick
from lrscope.terminal import Steady, say

NOTEBOOK_SECONDS = 0.3  # ours: between two replacements of a notebook's output


class Progress(Protocol):
    """Told of a sweep's beginning, every logged window and the end. An adaptive sweep begins and ends once a round, its
    total growing."""

    def begin(self, runs: int, run_steps: int, done: int) -> None:
        """A sweep of `runs` runs and `run_steps` steps in all begins; `done` steps are on disk already."""

    def tick(self, tick: Tick) -> None:
        """A chunk logged a window."""

    def end(self) -> None:
        """The sweep ended or was stopped."""


class Silent:
    """Reports nothing."""

    def begin(self, runs: int, run_steps: int, done: int) -> None:
        """Nothing."""

    def tick(self, tick: Tick) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


def span(seconds: float) -> str:
    """A duration as people say it."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class _Account:
    """Keeps count and extrapolates from the speed since this process began."""

    def begin(self, runs: int, run_steps: int, done: int) -> None:
        self.runs, self.total, self.done, self.begun_at = runs, run_steps, done, done
        self.started = time.monotonic()
        self.low = self.high = math.nan

    def add(self, tick: Tick) -> None:
        self.done += tick.run_steps
        if not math.isnan(tick.loss_low):
            self.low, self.high = tick.loss_low, tick.loss_high

    @property
    def remaining(self) -> float:
        passed, steps = time.monotonic() - self.started, self.done - self.begun_at
        return passed / steps * (self.total - self.done) if steps else math.inf

    def losses(self) -> str:
        return "" if math.isnan(self.low) else f"loss {self.low:.3g} to {self.high:.3g}"


class Plain:
    """A line at every tenth of the way, for logs.

    Args:
        name: in front of each line, where several sweeps train side by side.
    """

    def __init__(self, name: str = "") -> None:
        self.account = _Account()
        self._next = 0.1
        self._name = f"{name}: " if name else ""

    def begin(self, runs: int, run_steps: int, done: int) -> None:
        """Say what begins."""
        self.account.begin(runs, run_steps, done)
        self._next = done / max(1, run_steps) + 0.1
        say(f"{self._name}training {runs} runs, {run_steps - done:,} run-steps to go")

    def tick(self, tick: Tick) -> None:
        """Print a line when another tenth is done."""
        self.account.add(tick)
        share = self.account.done / max(1, self.account.total)
        if share >= self._next:
            self._next = share + 0.1
            left = span(self.account.remaining)
            say(f"{self._name}{share:4.0%} of run-steps, {self.account.losses()}, {left} left")

    def end(self) -> None:
        """Nothing more to say."""


class Bar:
    """A Rich progress bar with runs, loss range and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self.account = _Account()
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[losses]}  {task.fields[left]} left"),
            console=Console(file=Steady(sys.stderr)),  # type: ignore[arg-type]
        )

    def begin(self, runs: int, run_steps: int, done: int) -> None:
        """Show the bar."""
        self._start(runs, run_steps, done)
        self._bar.start()

    def _start(self, runs: int, run_steps: int, done: int) -> None:
        self.account.begin(runs, run_steps, done)
        self._task = self._bar.add_task(
            f"{runs} runs of {run_steps // max(1, runs):,} steps", total=run_steps, completed=done, losses="", left="?"
        )

    def tick(self, tick: Tick) -> None:
        """Move the bar."""
        self.account.add(tick)
        self._bar.update(
            self._task, completed=self.account.done, losses=self.account.losses(), left=span(self.account.remaining)
        )

    def end(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()


class NotebookBar(Bar):
    """The same bar in a notebook's output cell.

    Rich itself draws a moving bar in a notebook through ipywidgets, and only warns where that is not installed. Here its bar
    is rendered as HTML and put into one output that is then replaced, which every front end can do by itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._output: Any = None
        self._shown = -math.inf

    def begin(self, runs: int, run_steps: int, done: int) -> None:
        """Show the bar; a later round of an adaptive sweep takes the same place."""
        if self._output is not None:
            self._bar.remove_task(self._task)
        self._start(runs, run_steps, done)
        self._show()

    def tick(self, tick: Tick) -> None:
        """Move the bar; the output is replaced a few times a second at most."""
        super().tick(tick)
        if time.monotonic() - self._shown >= NOTEBOOK_SECONDS:
            self._show()

    def end(self) -> None:
        """Leave the bar as it stands."""
        self._show()

    def _show(self) -> None:
        display = importlib.import_module("IPython.display").display  # the notebook itself, so no requirement
        self._shown = time.monotonic()
        if self._output is None:
            self._output = display(self._bar, display_id=True)
        else:
            self._output.update(self._bar)


def in_notebook() -> bool:
    """Does this process run cells of a notebook (Jupyter, VS Code, Colab)? Rich's own test is used."""
    if "IPython" not in sys.modules:
        return False
    from rich.console import Console

    return Console(stderr=True).is_jupyter


def default_progress() -> Progress:
    """A bar on a terminal or in a notebook, plain lines elsewhere."""
    if in_notebook():
        return NotebookBar()
    return Bar() if Steady(sys.stderr).isatty() else Plain()
