"""What notebooks show: maps and tasks as HTML, and a moving bar that needs no ipywidgets."""

from __future__ import annotations

import builtins
import subprocess
import sys
import types
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fake_results import fake_map, fake_result
from lrscope import Task, learning_order
from lrscope.engine import progress
from lrscope.mapping.types import Border, RegimeMap
from lrscope.order.types import time_text
from test_order import result_with
from test_report import HOSTILE


class Words(HTMLParser):
    """Texts and tags of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_a_map_shows_its_answer_and_its_table():
    found = fake_map(fake_result(lrs=16), notes=("a note",))
    told = Words(found._repr_html_())
    assert told.said.startswith("Start at learning rate 0.0136, then decay to 0.0001.")
    assert "learning rate regime test accuracy after decay to 0.0001" in told.said
    for label in found.labels:
        assert f"{label.lr:.4g} {label.regime} {found.show(label.before)} {found.show(label.after)}" in told.said
    border = found.borders["1|2"]
    for words in (
        f"border 1|2 {border.lr:.3g} ({border.low:.3g} to {border.high:.3g})",
        "A note.",
        "Or: Without a decay",
    ):
        assert words in told.said
    assert told.tags <= {"div", "p", "b", "ul", "li", "details", "summary", "table", "tr", "th", "td", "span"}


def test_a_map_without_regimes_says_why():
    found = fake_map(fake_result(lrs=6, finetune=False), known=False)
    told = Words(found._repr_html_()).said
    assert "Where to start is undetermined: too few seeds" in told
    assert "border" not in told
    assert "after decay" not in told
    assert RegimeMap(labels=(), borders={}, recommended=found.recommended, seeds=1)._repr_html_()


def test_hostile_text_stays_text():
    found = fake_map(fake_result(lrs=5), notes=(HOSTILE,))
    labels = tuple(replace(x, flags=(HOSTILE,), votes={HOSTILE: 1}, regime=HOSTILE) for x in found.labels)
    hostile = replace(
        found,
        labels=labels,
        measure=HOSTILE,
        borders={HOSTILE: Border(between=HOSTILE, reason=HOSTILE)},
        recommended=replace(found.recommended, reason=HOSTILE, alternative=HOSTILE, chosen_by=HOSTILE),
    )
    pieces = [hostile._repr_html_(), small(name=HOSTILE)._repr_html_()]
    for piece in pieces:
        told = Words(piece)
        assert not told.tags & {"script", "img"}
        assert "<script>alert(1)</script>" in told.said


def small(**more: Any) -> Task:
    x, y = torch.linspace(-1, 1, 90).reshape(30, 3), torch.arange(30) % 2
    return Task(lambda: torch.nn.Linear(3, 2), (x, y), (x[:10], y[:10]), **more)


def test_a_task_shows_what_it_is_made_of():
    told = Words(small(name="mine", validation=6)._repr_html_()).said
    for words in ("Task mine", "kind classification", "train size 24", "validation size 6 (held out"):
        assert words in told
    assert "validation size none" in Words(small()._repr_html_()).said


def test_a_learning_order_is_a_table():
    """A group that is never learned, one whose order is undetermined, and a name that is hostile."""
    names, at = (HOSTILE, "middle"), np.arange(1, 41)
    rises = 1 - np.exp(-at[:, None] / np.array([2.0, 6.0]))
    result = result_with(list(names), values=np.broadcast_to(rises, (4, 1, 5, 40, 2)).copy())
    order = learning_order(result)
    told = Words(order._repr_html_())
    assert told.said.startswith("groups of training examples, pretrain 8 times learning rate group epochs to 90% place")
    assert f"0.0001 {HOSTILE} {time_text(order.times[0])} 1.0 5 of 5 1.00 [1.00, 1.00] 0.0001 middle" in told.said
    assert told.said.count("1.00 [1.00, 1.00]") == 2 + 3 * 4, (
        "at the rate that others are compared with there is one tau"
    )
    assert told.tags <= {"div", "p", "b", "ul", "li", "details", "summary", "table", "tr", "th", "td"}
    nothing = Words(learning_order(result, level=1)._repr_html_()).said
    assert "not reached (not before 40) 1.5 0 of 5 undetermined" in nothing
    assert "No group reaches 100%, so there is no order" in nothing


@pytest.mark.slow
def test_no_html_is_made_before_a_notebook_asks():
    code = "import sys, lrscope.mapping.types; print([m for m in sys.modules if m in ('lrscope.notebook', 'lrscope.reporting')])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.strip() == "[]"


# --- the bar ---


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A process that looks like a Jupyter kernel without ipywidgets; the outputs, each with all it ever showed."""
    shown: list[list[str]] = []

    class Handle:
        def __init__(self) -> None:
            self.mine: list[str] = []
            shown.append(self.mine)

        def update(self, thing: Any) -> None:
            self.mine.append(thing._repr_mimebundle_((), ())["text/plain"])

    def display(thing: Any, *, display_id: bool) -> Handle:
        assert display_id
        handle = Handle()
        handle.update(thing)
        return handle

    package, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    module.display = display  # type: ignore[attr-defined]
    shell = type("ZMQInteractiveShell", (), {})
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setattr(builtins, "get_ipython", shell, raising=False)
    return shown


def moved(steps: int) -> Any:
    return SimpleNamespace(run_steps=steps, loss_low=0.25, loss_high=2.0)


@pytest.mark.filterwarnings("error")
def test_a_notebook_gets_one_output_that_moves(outputs, monkeypatch, capsys):
    monkeypatch.setattr(progress, "NOTEBOOK_SECONDS", 0.0)
    bar = progress.default_progress()
    assert isinstance(bar, progress.NotebookBar)
    bar.begin(10, 1000, 0)
    bar.tick(moved(250))
    bar.tick(moved(250))
    bar.end()
    assert len(outputs) == 1, "one output, replaced"
    assert [f"{p}%" for p in (0, 25, 50, 50)] == [words.split("%")[0].split()[-1] + "%" for words in outputs[0]]
    assert "loss 0.25 to 2" in outputs[0][-1]
    bar.begin(20, 2000, 500)
    bar.end()
    assert len(outputs) == 1, "a round of an adaptive sweep takes the same place"
    assert "10 runs" not in outputs[0][-1]
    assert "20 runs" in outputs[0][-1]
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_a_notebook_is_not_flooded(outputs, monkeypatch):
    monkeypatch.setattr(progress, "NOTEBOOK_SECONDS", 1e9)
    bar = progress.default_progress()
    bar.begin(10, 1000, 0)
    for _ in range(100):
        bar.tick(moved(10))
    bar.end()
    assert len(outputs[0]) == 2, "the beginning and the end"
    assert "100%" in outputs[0][-1]


def test_elsewhere_lines_or_a_terminals_bar(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: False, write=lambda _: None))
    assert isinstance(progress.default_progress(), progress.Plain)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True, write=lambda _: None))
    assert type(progress.default_progress()) is progress.Bar
    terminal = type("TerminalInteractiveShell", (), {})
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setattr(builtins, "get_ipython", terminal, raising=False)
    assert type(progress.default_progress()) is progress.Bar, "IPython in a terminal"
