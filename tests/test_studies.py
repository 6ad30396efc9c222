"""Studies: the table, what is needed, the reproduction, and the commands, on a study that trains in seconds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import xarray as xr
from typer.testing import CliRunner

import tiny_study
from lrscope import cli
from lrscope.config import EngineConfig
from lrscope.engine.plan import Plan
from lrscope.errors import LrscopeError
from lrscope.studies import evidence, measurement_store, planning, registry
from lrscope.studies.cite import cite
from lrscope.studies.costs import cost, train_size
from lrscope.studies.dependencies import claims_at, closure
from lrscope.studies.gallery import publish
from lrscope.studies.lazy_functions import lazy
from lrscope.studies.phrases import plan
from lrscope.studies.planning import GPU_FLOPS, made_up
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.types import Change, Study
from lrscope.studies.verdicts import Undetermined
from lrscope.tasks.augment import Augmentation
from lrscope.tasks.builtin import named_task
from lrscope.tasks.builtin_sizes import TRAIN_TEST
from lrscope.tasks.data import names as data_names
from lrscope.tasks.data import spec
from tiny_study import CALLS, DOUBLE, LOSSES, NOISE, STUDY, SWEEP, tiny  # noqa: F401 - a fixture

ENGINE = EngineConfig(device="cpu", jobs=1, path="batched", chunk=8, compile=False)
SMOKE = STUDY.scales["smoke"]


def smoke(**changes) -> Study:
    return replace(STUDY, scales={"smoke": replace(SMOKE, **changes)})


def reproduction(root: Path, study: Study = STUDY, **options) -> Reproduction:
    return Reproduction(study, "smoke", root, engine=ENGINE, quiet=True, **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything of the smoke scale is there."""
    folder = tmp_path_factory.mktemp("studies")
    reproduction(folder).prepare(["double", "noise"])
    return folder


# --- declarations ---


def test_the_table_is_loaded_and_checked(tiny):  # noqa: F811
    assert "tiny" in registry.names()
    assert registry.study("tiny") is STUDY
    assert registry.study("tiny_study:STUDY") is STUDY
    assert registry.source("tiny") == Path(tiny_study.__file__)
    assert registry.is_own("tiny")
    for name in registry.names():
        registry.study(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tinny", "did you mean 'tiny'"),
        ("nowhere:STUDY", "no module nowhere"),
        ("tiny_study:NONE", "no Study of that name"),
    ],
)
def test_unknown_studies_are_named(tiny, name, words):  # noqa: F811
    with pytest.raises(LrscopeError, match=words):
        registry.study(name)


T1, T2 = STUDY.claims
FIGURE = STUDY.figures[0]
CHANGE = Change(claim="T9", date="2020-01-01", before="a", after="b", reason="c")
WRONG = {
    "'T1' is there twice": replace(STUDY, claims=(T1, T1)),
    "'1' is there twice": replace(STUDY, figures=(FIGURE, FIGURE)),
    "as file names": replace(STUDY, figures=(replace(FIGURE, number="1 a"), replace(FIGURE, number="1-a"))),
    "claim T1 needs 'doubel'.*did you mean 'double'": replace(STUDY, claims=(replace(T1, needs=("doubel",)),)),
    "figure 1 needs 'x'": replace(STUDY, figures=(replace(FIGURE, needs=("x",)),)),
    "no scale has all that figure 1 needs": replace(
        STUDY,
        claims=(),
        figures=(replace(FIGURE, needs=("losses", "noise")),),
        scales={"smoke": replace(SMOKE, measurements=(LOSSES,)), "laptop": replace(SMOKE, measurements=(NOISE,))},
    ),
    "claim T1 names figure '7'": replace(STUDY, claims=(replace(T1, figures=("7",)),)),
    "a change names claim 'T9'": replace(STUDY, changes=(CHANGE,)),
    "no such scale": replace(STUDY, scales={"huge": SMOKE}),
    "needs losses, which this scale does not have": smoke(measurements=(DOUBLE, NOISE)),
    "needs itself": smoke(measurements=(replace(LOSSES, needs=("double",)), DOUBLE, NOISE)),
    "losses: there is no function final_loss in tiny_study": smoke(
        measurements=(replace(LOSSES, run=lazy("tiny_study:final_loss")), DOUBLE, NOISE)
    ),
    "losses: there is no function final_losses in tiny_studies": smoke(
        measurements=(replace(LOSSES, run=lazy("tiny_studies:final_losses")), DOUBLE, NOISE)
    ),
    "becomes a folder": replace(STUDY, name="../x"),
    "sweep '../y': its name": smoke(sweeps=(SWEEP, replace(SWEEP, name="../y"))),
    "something else at another scale": replace(
        STUDY, scales={"smoke": SMOKE, "paper": replace(SMOKE, sweeps=(replace(SWEEP, name="noise"),), measurements=())}
    ),
}


@pytest.mark.parametrize("words", WRONG)
def test_contradictions_are_refused(words):
    registry.check(STUDY)
    with pytest.raises(LrscopeError, match=words):
        registry.check(WRONG[words])


def test_needs_are_followed_to_the_end_in_order():
    assert closure(SMOKE, ["double"]) == ("sphere", "losses", "double")
    assert closure(SMOKE, ["noise", "losses"]) == ("sphere", "noise", "losses")
    assert [c.id for c in claims_at(STUDY, "smoke")] == ["T1", "T2"]
    assert claims_at(STUDY, "paper") == ()


def test_costs_are_counted_without_training():
    assert (cost(SWEEP).runs, cost(SWEEP).run_steps) == (6, 24)
    paper = STUDY.scales["paper"].sweeps[0]  # two epochs of 50,000 // 32 steps
    assert cost(paper).run_steps == 6 * 2 * (50_000 // 32)
    longer = replace(paper.config, average=(2, 3), finetune_lrs=(1e-3, 1e-2), finetune_steps=10)
    assert cost(replace(paper, config=longer)).run_steps == 6 * (2 * 1562 + 2 * 1562 + 20)
    assert {name: (spec(name).train, spec(name).test) for name in data_names()} == TRAIN_TEST


def test_a_scale_says_once_where_seeds_begin():
    later = replace(SMOKE, first_seed=1000)
    begun = [later.begun(sweep).config for sweep in later.sweeps]
    assert [(config.first_seed, config.first_data_seed) for config in begun] == [(1000, 1000)]
    assert [replace(SMOKE, first_seed=0).begun(sweep) for sweep in later.sweeps] == list(SMOKE.sweeps)
    for own in ("first_seed", "first_data_seed"):
        with pytest.raises(LrscopeError, match=r"sweep sphere: its seeds begin at .*: leave first_seed and"):
            replace(SMOKE, sweeps=(replace(SWEEP, config=replace(SWEEP.config, **{own: 5})),))
    with pytest.raises(LrscopeError, match="first_seed: -1"):
        replace(SMOKE, first_seed=-1)


@pytest.mark.slow
def test_evidence_of_other_seeds_is_of_other_runs(tmp_path):
    study = replace(STUDY, scales={"smoke": replace(SMOKE, first_seed=1000)})
    there = reproduction(tmp_path, study)
    there.prepare(["double", "noise"])
    assert there.result("sphere").coords["seed"].values.tolist() == [1000, 1001, 1002]
    assert there.result("sphere").coords["data_seed"].values.tolist() == [1000]
    assert there.check(T1).verdict == "supported"
    assert there.view(["noise"]).first_seed == 1000
    usual = reproduction(tmp_path, STUDY)
    assert not usual.ready(["noise"]), "what a measurement draws by itself is another draw"


# --- the reproduction ---


@pytest.mark.slow
def test_what_is_missing_is_computed_once_and_kept(root):
    CALLS.clear()
    again = reproduction(root)
    assert again.ready(["double"])
    again.prepare(["double", "noise"])
    assert CALLS == []
    assert again.measurement("noise")["i"].values.tolist() == list("abcde")
    assert again.measurement("losses").attrs == {"unit": "nat"}
    xr.testing.assert_allclose(again.measurement("double"), 2 * again.measurement("losses"))
    sweeps, measurements = again.records(["double"])
    assert sweeps["sphere"]["plan"] == "batched 6"
    assert set(sweeps) == {"sphere"}
    assert set(measurements) == {"losses", "double"}
    assert sweeps["sphere"]["seconds"] > 0


def other_losses(results):
    CALLS.append("losses")
    return xr.Dataset({"loss": 3 * results.sweep("sphere")["pretrain/fixed_train_loss"].mean("data_seed")})


def test_other_code_is_computed_anew_with_all_that_rests_on_it(root, tmp_path, capsys):
    import shutil

    shutil.copytree(root / "tiny", tmp_path / "tiny")
    study = smoke(measurements=(replace(LOSSES, run=other_losses), DOUBLE, NOISE))
    CALLS.clear()
    there = reproduction(tmp_path, study)
    assert not there.ready(["double"])
    assert there.ready(["noise"])
    there.quiet = False
    there.prepare(["double", "noise"])
    assert CALLS == ["losses", "double"]
    said = capsys.readouterr().err
    assert said.count("what is stored is of other code, arguments or sweeps: it is computed anew") == 2
    other = smoke(sweeps=(replace(SWEEP, config=replace(SWEEP.config, steps=5)),))
    with pytest.raises(LrscopeError, match=r"sweep sphere.*differs in steps.*left as they are.*another --root"):
        reproduction(tmp_path, other).prepare(["sphere"])
    assert reproduction(tmp_path, study).ready(["double"])  # nothing was touched


@pytest.mark.slow
def test_the_time_of_a_sweep_that_was_moved_away_is_not_counted(root, tmp_path):
    import shutil

    shutil.copytree(root / "tiny", tmp_path / "tiny")
    timings = tmp_path / "tiny/smoke/timings.json"
    timings.write_text('{"sphere": 5000.0, "other": 7.0}')
    there = reproduction(tmp_path)
    there.prepare(["sphere"])
    assert json.loads(timings.read_text())["sphere"] == 5000.0, "nothing was trained"
    (tmp_path / "tiny/smoke/sphere").rename(tmp_path / "sphere")
    there = reproduction(tmp_path)
    there.prepare(["sphere"])
    found = json.loads(timings.read_text())
    assert 0 < found["sphere"] < 1000
    assert found["other"] == 7.0


def test_damage_is_noticed_and_mended(root, tmp_path):
    import shutil

    shutil.copytree(root / "tiny", tmp_path / "tiny")
    file = next((tmp_path / "tiny/smoke/measured/noise.zarr/x/c").rglob("0"))
    file.write_bytes(b"\0" + file.read_bytes()[1:])
    CALLS.clear()
    with pytest.warns(UserWarning, match=r"noise\.zarr is damaged; it is computed again") as said:
        reproduction(tmp_path).prepare(["noise"])
    assert {warning.filename for warning in said} == {__file__}
    assert CALLS == ["noise"]


SELF_EDITING = """
from pathlib import Path

import xarray as xr

VALUE = 1


def measure(results):
    FILE.write_text(FILE.read_text().replace("VALUE = 1", "VALUE = 2"))
    return xr.Dataset({"v": ("i", [float(VALUE)])})


FILE = Path(__file__)
"""


def test_numbers_belong_to_the_code_that_made_them(tmp_path, monkeypatch):
    """Whoever edits the code while a measurement is computed gets it anew with the new code."""
    file = tmp_path / "self_editing.py"
    file.write_text(SELF_EDITING)
    monkeypatch.syspath_prepend(tmp_path)
    study = smoke(measurements=(LOSSES, DOUBLE, replace(NOISE, run=lazy("self_editing:measure"))))
    first = reproduction(tmp_path / "root", study)
    with pytest.warns(UserWarning, match="noise: its code or arguments were changed while it was computed") as said:
        first.prepare(["noise"])
    assert {warning.filename for warning in said} == {__file__}
    assert first.measurement("noise")["v"] == 1
    assert not reproduction(tmp_path / "root", study).ready(["noise"])
    file.write_text(SELF_EDITING)
    assert reproduction(tmp_path / "root", study).ready(["noise"]), "it is of the code from before"
    del sys.modules["self_editing"]


@pytest.mark.slow
def test_code_that_changes_before_its_turn_is_not_run(tmp_path, monkeypatch):
    """While what comes first is trained or computed: nobody knows which code has been loaded by then."""
    file = tmp_path / "edited.py"
    file.write_text("import xarray as xr\n\n\ndef measure(results):\n    return xr.Dataset({'v': 1})\n")
    monkeypatch.syspath_prepend(tmp_path)

    def first(results):
        file.write_text(file.read_text().replace("1", "2"))
        return xr.Dataset({"v": 0})

    losses, noise = replace(LOSSES, needs=(), run=first), replace(NOISE, run=lazy("edited:measure"))
    study = smoke(measurements=(losses, DOUBLE, noise))
    there = reproduction(tmp_path / "root", study)
    with pytest.raises(
        LrscopeError, match=r"noise: its code was changed after this command had begun.*call the command"
    ):
        there.prepare(["losses", "noise"])
    again = reproduction(tmp_path / "root", study)
    assert again.ready(["losses"]), "what was there is kept"
    again.prepare(["noise"])
    assert again.measurement("noise")["v"] == 2
    del sys.modules["edited"]


def test_bound_arguments_are_part_of_the_identity():
    def identity(**words) -> str:
        return measurement_store.identity(
            [measurement_store.code_of(replace(NOISE, run=partial(tiny_study.noise, **words)))], {}
        )

    assert identity(count=3) == identity(count=3)
    assert identity(count=3) != identity(count=4)
    assert identity(count=object()) == identity(count=object())  # an address says nothing


def test_only_what_is_declared_can_be_read(root):
    there = reproduction(root)
    there.prepare(["double", "noise"])
    with pytest.raises(LrscopeError, match="'noise' is read but not declared"):
        there.view(["double"]).measurement("noise")
    assert there.view(["double"]).measurement("losses") is not None


def test_a_measurement_returns_a_dataset(tmp_path):
    study = smoke(measurements=(LOSSES, DOUBLE, replace(NOISE, run=lambda results: 3)))
    with pytest.raises(LrscopeError, match="noise: it returned int: return an xarray Dataset"):
        reproduction(tmp_path, study).prepare(["noise"])


def not_shown(results):
    CALLS.append("losses")
    raise Undetermined("0 learning rates lie in regime 3, 1 are needed")


def test_a_measurement_of_what_does_not_show_is_remembered_and_ends_nothing(root, tmp_path, capsys):
    """Claims and measurements that rest on it are undetermined with its reason, the others are judged."""
    import shutil

    shutil.copytree(root / "tiny/smoke/sphere", tmp_path / "tiny/smoke/sphere")
    study = smoke(measurements=(replace(LOSSES, run=not_shown), DOUBLE, NOISE))
    CALLS.clear()
    there = reproduction(tmp_path, study)
    there.quiet = False
    there.prepare(["double", "noise"])
    assert CALLS == ["losses", "double", "noise"]
    assert "it cannot be made, and what needs it is undetermined: 0 learning rates" in capsys.readouterr().err
    for one in (there, reproduction(tmp_path, study)):
        assert one.ready(["double", "noise"])
        one.prepare(["double", "noise"])
        (part,) = one.check(T1).parts
        assert (part.verdict, part.note) == ("undetermined", "0 learning rates lie in regime 3, 1 are needed")
        assert one.check(study.claims[1]).headline.seeds == 1
        with pytest.raises(Undetermined, match="0 learning rates lie in regime 3"):
            one.chart(study.figures[0])
    assert CALLS == ["losses", "double", "noise"], "it is known, not tried again"
    assert set(there.records(["double"])[1]) == {"losses", "double"}
    made = reproduction(tmp_path)  # other code: it can be made
    made.prepare(["double"])
    assert made.check(T1).verdict == "supported"


def test_commands_go_on_where_a_measurement_cannot_be_made(tiny, root, tmp_path, monkeypatch):  # noqa: F811
    import shutil

    shutil.copytree(root / "tiny/smoke/sphere", tmp_path / "tiny/smoke/sphere")
    study = smoke(measurements=(replace(LOSSES, run=not_shown), DOUBLE, NOISE))
    monkeypatch.setattr(registry, "study", lambda name: study)
    how = ("--scale", "smoke", "--root", str(tmp_path), "--jobs", "1")
    code, out, _ = call("verify", tiny, "--fresh", "--json", *how)
    assert code == 0
    found = {row["id"]: row["verdict"] for row in json.loads(out)["claims"]}
    assert found == {"T1": "undetermined", "T2": "reported"}
    with pytest.warns(UserWarning, match="figure 1 is not drawn: 0 learning rates lie in regime 3"):
        code, out, _ = call("reproduce", tiny, *how)
    assert code == 0
    assert "gallery.html" in out


# --- commands ---


def call(*words: str):
    """What the program would do: exit code, stdout and stderr."""
    done = CliRunner().invoke(cli.app, list(words))
    if isinstance(done.exception, LrscopeError):
        return 2, done.stdout, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.slow
def test_what_a_study_is_written_with_is_public_and_light():
    code = (
        "import sys, lrscope.studies as s; found = [getattr(s, name) for name in s.__all__];"
        "from lrscope.studies import lazy, check, part; print(all(map(callable, found)), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.slow
def test_listing_imports_no_torch():
    code = (
        "import sys, tiny_study; from lrscope.studies import registry; registry.TABLE['tiny'] = 'tiny_study:STUDY';"
        "from lrscope.studies.commands import list_studies; list_studies(as_json=True);"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=here, timeout=120
    )
    assert done.stderr.strip() == "False"
    row = next(row for row in json.loads(done.stdout) if row["name"] == "tiny")
    assert row["scales"][0] == {"scale": "smoke", "about": "digits, seconds", "runs": 6, "run_steps": 24}
    assert [c["verdicts"] for c in row["claims"]] == [{}, {}]


def test_verify_prints_what_is_found(tiny, root):  # noqa: F811
    code, out, _ = call("verify", tiny, "--scale", "smoke", "--fresh", "--root", str(root), "--json", "--jobs", "1")
    assert code == 0
    first, second = json.loads(out)["claims"]
    assert list(first) == [
        *(
            "id",
            "sentence",
            "criterion",
            "verdict",
            "headline",
            "effect",
            "low",
            "high",
            "unit",
            "seeds",
            "note",
            "parts",
        ),
        "earlier",
    ]
    assert (first["id"], first["verdict"], first["unit"], first["seeds"]) == ("T1", "supported", "nats", 3)
    assert [(one["name"], one["verdict"], one["criterion"]) for one in first["parts"]] == [
        ("ELR 0.01", "supported", "above 0"),
        ("ELR 0.1", "supported", "above 0"),
    ]
    assert 0 < first["low"] < first["effect"] < first["high"]
    assert (second["id"], second["verdict"], second["low"]) == ("T2", "reported", None)  # NaN is no JSON
    code, out, _ = call(
        "verify", tiny, "--scale", "smoke", "--fresh", "--root", str(root), "--claim", "T2", "--jobs", "1"
    )
    assert code == 0
    assert "T1" not in out
    assert "T2: reported, effect 1 fraction, no interval, 1 seed" in out


def test_parts_are_a_table(tiny, root):  # noqa: F811
    """One row each under the headline; columns in which nothing is said are left out."""
    code, out, _ = call(
        "verify", tiny, "--scale", "smoke", "--fresh", "--root", str(root), "--claim", "T1", "--jobs", "1"
    )
    assert code == 0
    lines = out.splitlines()
    assert re.match(
        r"T1: supported, effect [\d.]+ nats, 95% interval .*, 3 seeds; weakest of 2 parts: ELR 0.1$", lines[0]
    )
    heads = ["part", "verdict", "value", "95% interval", "unit", "criterion", "seeds"]
    rows = [re.split(r" {2,}", line.strip()) for line in lines[3:6]]
    assert rows[0] == heads
    assert [(row[0], row[1], row[4], row[6]) for row in rows[1:]] == [
        ("ELR 0.01", "supported", "nats", "3"),
        ("ELR 0.1", "supported", "nats", "3"),
    ]
    assert lines[4].index("supported") == lines[5].index("supported") == lines[3].index("verdict")


def test_missing_evidence_has_its_own_exit_code(tiny, tmp_path):  # noqa: F811
    code, out, said = call("verify", tiny, "--scale", "smoke", "--evidence", str(tmp_path), "--json")
    assert code == 3
    rows = json.loads(out)["claims"]
    assert [(row["id"], row["verdict"], row["effect"], row["parts"]) for row in rows] == [
        ("T1", "not checked yet", None, []),
        ("T2", "not checked yet", None, []),
    ]
    assert "no evidence for T1, T2" in said
    assert "lrscope verify tiny --scale smoke --fresh --save" in said
    words = call("verify", tiny, "--scale", "smoke", "--evidence", str(tmp_path), "--claim", "T2")[1]
    assert words.splitlines()[:2] == ["T2: not checked yet", "  There is noise."]
    old = {"id": "T2", "criterion": "Another one.", "verdict": "supported"}
    path = evidence.path_of(tmp_path, "tiny", "smoke")
    path.parent.mkdir()
    path.write_text(json.dumps({"claims": [old]}))  # judged by a criterion that no change names: no evidence
    assert call("verify", tiny, "--scale", "smoke", "--evidence", str(tmp_path), "--claim", "T2")[0] == 3
    path.write_text("{")
    assert call("verify", tiny, "--scale", "smoke", "--evidence", str(tmp_path))[0] == 2


@pytest.fixture
def judged_earlier(tiny, root, tmp_path, monkeypatch) -> Path:  # noqa: F811
    """Evidence of `tiny` from before the criterion of T1 was changed and the sentence of T2 was corrected."""
    first = reproduction(root)
    first.prepare(["double", "noise"])
    path = evidence.path_of(tmp_path, "tiny", "smoke")
    path.parent.mkdir()
    path.write_text(json.dumps({"claims": [evidence.record(first, claim) for claim in STUDY.claims]}))
    change = Change(claim="T1", date="2020-01-01", before=T1.criterion, after="Losses exceed 1.", reason="Stricter.")
    claims = replace(T1, criterion="Losses exceed 1."), replace(T2, sentence="There is some noise.")
    study = replace(STUDY, claims=claims, changes=(change,))
    monkeypatch.setattr(registry, "study", lambda name: study)
    return tmp_path


def test_an_earlier_criterion_is_said_plainly(judged_earlier):
    words = ("verify", "tiny", "--scale", "smoke", "--evidence", str(judged_earlier))
    code, out, said = call(*words)
    assert code == 3
    assert said == (
        "lrscope: T1: judged by an earlier criterion: lrscope verify tiny --scale smoke --fresh --save checks anew, with runs in "
        "another --root\n"
    )
    first, second = (block.splitlines() for block in out.strip().split("\n\n"))
    assert first[:4] == [
        "T1: judged by an earlier criterion",
        "  Losses are positive.",
        "  criterion: Losses exceed 1.",
        f"  earlier criterion: {T1.criterion}",
    ]
    assert first[4].startswith("  found by it: supported, effect ")
    assert first[5].split()[:2] == ["part", "verdict"]
    assert second[0].startswith("T2: reported, effect")
    assert second[1] == "  There is some noise.", "the sentence is that of today"
    assert call(*words, "--claim", "T2")[0] == 0


def test_programs_do_not_take_an_earlier_verdict_for_one_of_today(judged_earlier):
    code, out, _ = call("verify", "tiny", "--scale", "smoke", "--evidence", str(judged_earlier), "--json")
    assert code == 3
    first, second = json.loads(out)["claims"]
    assert (first["verdict"], first["criterion"]) == ("judged by an earlier criterion", "Losses exceed 1.")
    assert (first["effect"], first["parts"]) == (None, [])
    assert (first["earlier"]["verdict"], first["earlier"]["criterion"]) == ("supported", T1.criterion)
    assert len(first["earlier"]["parts"]) == 2
    assert (second["verdict"], second["earlier"]) == ("reported", None)


def test_the_list_of_studies_says_that_a_verdict_is_earlier(judged_earlier, monkeypatch):
    monkeypatch.setattr(evidence, "folder_of", lambda name: judged_earlier)
    monkeypatch.setattr(registry, "names", lambda: ["tiny"])
    assert "  T1: judged by an earlier criterion (smoke): Losses are positive." in call("studies")[1].splitlines()
    (row,) = json.loads(call("studies", "--json")[1])
    assert [claim["verdicts"] for claim in row["claims"]] == [
        {"smoke": "judged by an earlier criterion"},
        {"smoke": "reported"},
    ]


def test_the_page_says_that_a_verdict_is_earlier(judged_earlier, root):
    """Of claims that cannot be checked in what is there; those that can are checked by today's criterion."""
    again = reproduction(root, registry.study("tiny"))
    again.prepare(["double", "noise"])
    publish(again, [], judged_earlier, judged_earlier)
    assert "**T1, supported**" in (judged_earlier / "tiny.md").read_text()
    elsewhere = reproduction(judged_earlier / "empty", registry.study("tiny"))
    publish(elsewhere, [], judged_earlier, judged_earlier)
    page = (elsewhere.folder / "gallery.html").read_text()
    assert "Of 2 claims 1 is judged by an earlier criterion, 1 is reported." in page
    assert f"Seen: supported by the earlier criterion, which was: {T1.criterion}" in page
    assert "**T1, judged by an earlier criterion** (effect" in (judged_earlier / "tiny.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify", "tinny"], "did you mean 'tiny'"),
        (["verify", "tiny", "--scale", "large"], "scale: tiny has no 'large'"),
        (["verify", "tiny", "--scale", "smoke", "--claim", "T11"], "claim: tiny has no 'T11'"),
        (
            ["verify", "tiny", "--scale", "paper", "--claim", "T1"],
            "needs double, which scale paper leaves out.*--scale smoke",
        ),
        (["reproduce", "tiny", "--scale", "smoke", "--figure", "3"], "figure: tiny has no '3'"),
        (["cite", "tiny", "--format", "mla"], "format: 'mla' is unknown"),
    ],
)
def test_bad_input_ends_with_a_sentence(tiny, words, said):  # noqa: F811
    code, out, error = call(*words)
    assert code == 2
    assert out == ""
    assert re.search(said, error)


@pytest.mark.slow
def test_reproduce_draws_what_it_has(tiny, root, tmp_path):  # noqa: F811
    words = ("reproduce", tiny, "--scale", "smoke", "--root", str(root), "--jobs", "1", "--docs", str(tmp_path))
    code, out, _ = call(*words)
    assert code == 0
    folder = root / "tiny" / "smoke"
    written = [Path(line) for line in out.split()]
    assert written == [
        folder / "figures" / "fig1.png",
        folder / "figures" / "fig1.pdf",
        folder / "gallery.html",
        tmp_path / "tiny" / "fig1.png",
        tmp_path / "tiny.md",
    ]
    assert (folder / "figures" / "fig1.pdf").read_bytes().startswith(b"%PDF")
    text = (tmp_path / "tiny.md").read_text()
    assert "](tiny/fig1.png)" in text
    assert "**T1, supported** (effect" in text
    assert "**T2, reported**" in text
    assert "  | part | verdict | value | 95% interval | unit | criterion | seeds |" in text.splitlines()
    assert re.search(
        r"^  \| ELR 0.1 \| supported \| [\d.]+ \| [\d.]+ to [\d.]+ \| nats \| above 0 \| 3 \|$", text, re.M
    )
    page = (folder / "gallery.html").read_text()
    assert page.count('<table class="parts">') == 1, "T2 has but one part"
    assert '<th scope="row">ELR 0.1</th>' in page


@pytest.mark.slow
def test_single_figures_are_drawn_anew_and_the_page_keeps_the_others(tiny, root, tmp_path, monkeypatch):  # noqa: F811
    second = replace(STUDY.figures[0], number="2", title="Once more")
    T1, T2 = STUDY.claims
    study = replace(STUDY, figures=(*STUDY.figures, second), claims=(T1, replace(T2, figures=("2",))))
    monkeypatch.setattr(registry, "study", lambda name: study)
    words = ("reproduce", tiny, "--scale", "smoke", "--root", str(root), "--jobs", "1", "--docs", str(tmp_path))
    assert call(*words)[0] == 0
    page = tmp_path / "tiny.md"
    whole = page.read_text()
    assert re.findall("^## .*", whole, re.M) == ["## Figure 1: " + STUDY.figures[0].title, "## Figure 2: Once more"]
    monkeypatch.setattr(Reproduction, "ready", lambda *_: False)
    page.write_text(whole.replace("T1, supported", "T1, contradicted").replace("![", "![before ", 1))
    assert call(*words, "--figure", "2")[0] == 0
    again = page.read_text()
    assert re.findall("^## .*", again, re.M) == re.findall("^## .*", whole, re.M)
    assert again.count("![before ") == 1, "the picture that was not drawn"
    assert "T1, contradicted" not in again, "claims are told as they are now"
    monkeypatch.setattr(registry, "study", lambda name: replace(study, figures=(second,)))
    assert call(*words, "--figure", "2")[0] == 0
    assert "Figure 1" not in page.read_text(), "a figure that the study has no more goes"
    page.write_text(whole.replace("--scale smoke", "--scale paper"))
    monkeypatch.setattr(registry, "study", lambda name: study)
    assert call(*words, "--figure", "2")[0] == 0
    assert "Figure 1" not in page.read_text(), "nor one of another scale"


@pytest.mark.slow
def test_a_dry_run_needs_no_data_and_writes_nothing(tiny, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRSCOPE_DATA", str(tmp_path / "none"))
    small = replace(STUDY.scales["paper"].sweeps[0], task={"data": "svhn", "model": "mlp", "width": 4, "pool": 4})
    study = replace(STUDY, claims=(), scales={"paper": replace(STUDY.scales["paper"], sweeps=(small,))})
    monkeypatch.setattr(registry, "study", lambda name: study)
    words = ("reproduce", tiny, "--scale", "paper", "--dry-run", "--jobs", "1")
    code, out, told = call(*words, "--json")
    assert code == 0
    assert "[1/1] timing a few steps of sphere" in told
    made = json.loads(out)
    assert "estimate" in made["assumption"]
    (row,) = made["sweeps"]
    assert row["input_shape"] == [3, 8, 8]
    assert row["train_size"] == 73_257
    assert row["data_here"] is False
    assert row["run_steps"] == 6 * 2 * (73_257 // 32)
    assert row["seconds"] > 0
    layers = [m for m in named_task(**small.task, source=made_up).new_model(0).modules() if hasattr(m, "in_features")]
    assert len(layers) > 1
    weights = [(2 * m.weight.numel(), m.weight.requires_grad, m is not layers[0]) for m in layers]
    flops = sum(once * (1 + trained + deeper) for once, trained, deeper in weights)  # output, both gradients
    assert row["gpu_hours"] == pytest.approx(32 * row["run_steps"] * flops / GPU_FLOPS / 3600)
    assert row["seconds_timed"]
    said = call(*words)[1].splitlines()[2]
    assert "predicted" in said
    assert "estimated from" not in said
    monkeypatch.setattr(planning, "LONG_STEP", 0.0)
    monkeypatch.setattr(planning, "dry_run", None)  # not a step of a batch is trained
    code, out, _ = call(*words, "--json")
    (long,) = json.loads(out)["sweeps"]
    assert {name for name in row if row[name] != long[name]} <= {"seconds", "seconds_timed", "parameters"}
    assert row["parameters"] < long["parameters"] <= 2 * row["parameters"], "the frozen readout is counted"
    assert not long["seconds_timed"]
    assert long["seconds"] > 0
    assert "estimated from two examples" in call(*words)[1].splitlines()[2]
    assert list(tmp_path.iterdir()) == []


def test_a_figure_of_what_does_not_show_is_left_out(tiny, root, tmp_path, monkeypatch):  # noqa: F811
    def draw(results):
        raise Undetermined("0 learning rates lie in regime 2")

    unseen = replace(STUDY.figures[0], number="9", draw=draw)
    study = replace(STUDY, figures=(*STUDY.figures, unseen))
    monkeypatch.setattr(registry, "study", lambda name: study)
    with pytest.warns(UserWarning, match="figure 9 is not drawn: 0 learning rates lie in regime 2"):
        code, out, _ = call("reproduce", tiny, "--scale", "smoke", "--root", str(root), "--jobs", "1")
    assert code == 0
    names = [Path(line).name for line in out.split()]
    assert "fig1.png" in names
    assert "fig9.png" not in names


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names())
def test_every_network_of_the_paper_scale_can_be_planned_without_its_data(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LRSCOPE_DATA", str(tmp_path / "none"))
    for sweep in registry.study(name).scales["paper"].sweeps:
        task = named_task(**{"train_size": 64, "test_size": 16, **sweep.task, "source": made_up})
        config = sweep.config
        Augmentation(task.data(0), crops=config.augment, randaugment=config.randaugment)
        assert task.summary()["train_size"] == train_size(replace(sweep, task={"train_size": 64, **sweep.task}))


@pytest.mark.parametrize(
    ("compiled", "fused", "words"), [(False, False, ""), (True, False, ", compiled"), (True, True, ", fused")]
)
def test_plans_are_told_in_short(compiled, fused, words):
    assert plan(json.dumps(Plan("single", 1, compiled, "timed", 1.0, fused=fused).to_dict())) == "single 1" + words


# --- citations ---


def test_citations_name_everything():
    entry = cite(STUDY.paper, "bibtex")
    head, *rows = entry.strip().splitlines()
    assert head == "@inproceedings{doe2020tiny,"
    assert rows.pop() == "}"
    fields = dict(re.fullmatch(r"  (\w+) = \{(.*)\},", row).groups() for row in rows)
    assert fields == {
        "author": r"Doe, Jane and Müller \& Sons, K.",
        "title": r"{Tiny Nets: 100\% of What They Do}",
        "year": "2020",
        "booktitle": "Journal of Small Things",
        "eprint": "2001.00001",
        "archiveprefix": "arXiv",
        "url": "https://arxiv.org/abs/2001.00001",
    }
    ris = [line.split("  - ", 1) for line in cite(STUDY.paper, "ris").splitlines()]
    assert [tag for tag, _ in ris] == ["TY", "AU", "AU", "TI", "PY", "T2", "UR", "ER"]
    assert dict(ris)["TI"] == STUDY.paper.title
    text = cite(STUDY.paper, "text")
    assert text == (
        "Jane Doe and K. Müller & Sons: Tiny Nets: 100% of What They Do. Journal of Small Things, 2020. arXiv:2001.00001.\n"
    )
