"""Pilots of studies: each is a whole study of its own, with few seeds from 0 on, and one function carries them all out."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lrscope.charts import Axis, Chart, Line, Panel
from lrscope.studies.dependencies import claims_at, closure
from lrscope.studies.lazy_functions import Lazy
from lrscope.studies.types import StudyResults
from tiny_study import NOISE, STUDY

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
SCRIPTS = sorted(path.stem for path in EXPERIMENTS.glob("*_pilot.py"))
PIECES = {
    "feature_learning_pilot": {"sharpness": (3, None, None)},
    "late_decay_pilot": {"networks": (3, None, None), "elsewhere": (3, None, None), "model": (3, None, None)},
    "learning_order_pilot": {"images": (3, None), "theory": (3, None)},
}


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that imports a script as Python does that runs it; what it imported is forgotten."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in {"pilots", *SCRIPTS} - before:
        sys.modules.pop(name, None)


def noise_chart(results: StudyResults) -> Chart:
    noise = results.measurement("noise")["x"]
    axes = {"x": Axis(title="i"), "y": Axis(title="x")}
    return Chart(panels=[Panel(title="noise", layers=[Line(x=noise.values, y=noise.values)], **axes)])


def test_a_pilot_prints_what_claims_are_judged_by_and_draws_the_figures(
    experiment: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pilots: ModuleType = experiment("pilots")
    figure = replace(STUDY.figures[0], number="7", needs=("noise",), draw=noise_chart)
    study = pilots.part_of(replace(STUDY, figures=(figure,)), "tiny_pilot", ("T2",), (), (NOISE,))
    pilots.carry_out(study, tmp_path)
    out = capsys.readouterr().out
    assert "T2: Only one seed was there." in out
    assert re.search(r"^  noise: \S+ fraction \(.+\) \[.+, .+\]", out, flags=re.MULTILINE)
    assert "supported" not in out
    assert out.splitlines()[-1] == f"figures: {tmp_path / 'tiny_pilot' / 'laptop'}"
    assert (tmp_path / "tiny_pilot" / "laptop" / "fig7.png").exists()


def test_all_pilots_are_looked_at() -> None:
    assert list(PIECES) == SCRIPTS


@pytest.mark.parametrize(("script", "piece"), [(script, piece) for script in PIECES for piece in PIECES[script]])
def test_a_pilot_is_a_study_with_few_seeds_from_0_on(script: str, piece: str, experiment: Any) -> None:
    pilot = experiment(script)
    study = pilot.piloted(piece, *PIECES[script][piece])
    scale = study.scales["laptop"]
    assert len(closure(scale, [part.name for part in scale.parts])) == len(scale.parts), (
        "nothing that is needed is missing"
    )
    assert [claim.id for claim in claims_at(study, "laptop")] == list(pilot.CLAIMS[piece])
    assert scale.first_seed == 0
    assert {sweep.config.data_seeds for sweep in scale.sweeps} <= {3}
    arguments = [dict(m.run.arguments) for m in scale.measurements if isinstance(m.run, Lazy)]
    assert {given["seeds"] for given in arguments if "seeds" in given} <= {3}
    assert scale.sweeps or any("seeds" in given for given in arguments)


def test_pilots_share_what_is_no_ones_own() -> None:
    """One way to carry out a pilot, not a copy in each."""
    for script in SCRIPTS:
        text = (EXPERIMENTS / f"{script}.py").read_text()
        assert "pilots.carry_out(" in text
        assert "Reproduction" not in text
