"""Evidence: criteria are committed before their runs, and what is committed keeps to the rules."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from lrscope.errors import LrscopeError
from lrscope.studies import evidence, judged, phrases, registry
from lrscope.studies.audit import audit
from lrscope.studies.history import History, criteria
from lrscope.studies.reproduction import Reproduction
from lrscope.studies.types import Change, Study
from test_config_hash import by_the_earlier_rule
from tiny_study import NOISE, STUDY

T2 = STUDY.claims[1]
OLD, NEW = "The effect exceeds 0.", "The effect exceeds 1."
HOUR = timedelta(hours=1)
START = datetime.now(UTC) - 10 * HOUR


def study_with(criterion: str, *, exploratory: bool = False, **more) -> Study:
    """One claim that rests on noise alone, so that nothing is trained."""
    claim = replace(T2, criterion=criterion, exploratory=exploratory, figures=())
    smoke = replace(STUDY.scales["smoke"], sweeps=(), measurements=(NOISE,))
    return replace(STUDY, claims=(claim,), figures=(), scales={"smoke": smoke}, **more)


class Repository:
    """A git repository with a study in it; every commit is an hour younger than the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.source, self.evidence = folder, folder / "study", folder / "evidence"
        self.time = START
        self.source.mkdir()
        self.git("init", "-q")

    def git(self, *words: str) -> str:
        stamp = self.time.isoformat(timespec="seconds")
        who = {f"GIT_{role}_{what}": "test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        dates = {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp, "GIT_CONFIG_GLOBAL": os.devnull}
        command = ["git", "-C", str(self.folder), *words]
        return subprocess.run(
            command, env={**os.environ, **who, **dates}, capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()

    def declare(self, criterion: str, *, file: str = "claims.py", more: str = "") -> str:
        """Commit the claim as a study writes it, over two literals; returns the hash."""
        half = len(criterion) // 2
        call = f'Claim(\n    id="T2",\n    criterion="{criterion[:half]}"\n    "{criterion[half:]}",\n)'
        (self.source / file).write_text(f"from x import Claim\n{more}\nCLAIMS = [types.{call}]\n")
        return self.commit()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        self.time += HOUR
        return self.git("rev-parse", "HEAD")

    @property
    def history(self) -> History:
        return History(self.source)

    def save(self, study: Study, root: Path) -> Path:
        reproduction = Reproduction(study, "smoke", root, quiet=True)
        reproduction.prepare(["noise"])
        return evidence.save(reproduction, study.claims, self.evidence, self.history)

    def audit(self, study: Study) -> list[str]:
        return audit(study, self.evidence, self.history)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    (tmp_path / "repository").mkdir()
    return Repository(tmp_path / "repository")


# --- what is committed in this repository ---


@pytest.mark.slow
def test_committed_evidence_keeps_to_the_rules():
    for name in registry.names():
        assert audit(registry.study(name), evidence.folder_of(name), History(registry.source(name))) == []


def test_committed_notes_say_no_nan():
    """A run that one part of a claim cannot use must not spoil the mean that its note gives."""
    files = [path for name in registry.names() for path in evidence.folder_of(name).glob("*/*.json")]
    assert files
    for path in files:
        for claim in json.loads(path.read_text())["claims"]:
            assert not re.search(r"\bnan\b", claim["note"]), (path.name, claim["id"])


def test_evidence_of_earlier_versions_is_shown_as_one_part():
    """Its claims have one verdict each, without parts and units."""
    row = {"id": "T1", "verdict": "contradicted", "effect": 0.4, "low": 0.3, "high": 0.5, "seeds": 5, "note": "Seen."}
    (part,) = evidence.parts_of(row)
    assert {key: part[key] for key in ("verdict", "value", "low", "high", "seeds", "unit")} == {
        "verdict": "contradicted",
        "value": 0.4,
        "low": 0.3,
        "high": 0.5,
        "seeds": 5,
        "unit": "",
    }
    assert phrases.effect(row) == "effect 0.4, 95% interval 0.3 to 0.5, 5 seeds"
    assert phrases.table(row) == []
    assert phrases.effect({**row, "effect": None, "low": None, "high": None}) == "no effect could be read"


# --- when a criterion was written ---


def test_criteria_are_read_from_literals():
    code = 'A = Claim(id="a", criterion="x " \'y\')\nB = t.Claim(criterion="z", id="b")\nC = Claim(id="c", criterion=f"{1}")\nD()'
    assert criteria(code) == {"a": "x y", "b": "z"}
    assert criteria("def (") == {}


def test_a_criterion_dates_from_the_commit_since_which_it_stands(repository):
    repository.declare(OLD)
    repository.declare(NEW)
    back = repository.declare(OLD)
    repository.declare(OLD, more="# a comment")
    (repository.source / "claims.py").rename(repository.source / "renamed.py")
    repository.commit()
    found = repository.history.standing("T2", OLD)
    assert found is not None
    assert found.hash == back, "not the first time that the text was there"
    assert repository.history.standing("T2", NEW) is None
    assert repository.history.standing("T3", OLD) is None


def test_no_repository_no_date(tmp_path):
    (tmp_path / "study").mkdir()
    with pytest.raises(LrscopeError, match=r"no git repository.*save evidence from a full clone"):
        evidence.fixed_before(T2, History(tmp_path / "study"), "2030-01-01T00:00:00+00:00")


def test_the_criterion_comes_before_the_run(repository, tmp_path):
    (repository.source / "claims.py").write_text("")
    repository.commit()
    study = study_with(OLD)
    with pytest.raises(LrscopeError, match=r"criterion of T2: it is not committed as it stands.*commit it"):
        repository.save(study, tmp_path / "runs")
    assert not repository.evidence.exists()
    repository.time = datetime.now(UTC) + HOUR  # committed after the measurement above was made
    late = repository.declare(OLD)
    with pytest.raises(LrscopeError, match=rf"commit {late[:9]} .* is younger than the runs.*another --root"):
        repository.save(study, tmp_path / "runs")
    assert repository.save(study_with(OLD, exploratory=True), tmp_path / "runs").exists()


def test_evidence_says_what_it_rests_on(repository, tmp_path):
    commit = repository.declare(OLD)
    path = repository.save(study_with(OLD), tmp_path / "runs")
    found = json.loads(path.read_text())
    assert path == repository.evidence / "tiny" / "smoke.json"
    assert set(found) == {
        *("study", "scale", "created", "versions", "code_hash", "machine", "sweeps", "measurements", "claims"),
    }
    assert set(found["versions"]) >= {"lrscope", "torch", "numpy"}
    (row,) = found["claims"]
    assert row["criterion_commit"] == commit
    assert row["criterion_date"].startswith(START.isoformat()[:13])
    assert (row["low"], row["high"], row["effect"], row["verdict"]) == (None, None, 1.0, "undetermined")
    assert row["rests_on"] == ["noise"]
    assert found["measurements"]["noise"]["identity"]
    assert repository.audit(study_with(OLD)) == []


# --- rules ---


def edited(path: Path, **changes) -> None:
    found = json.loads(path.read_text())
    found["claims"][0] |= changes
    path.write_text(json.dumps(found))


def test_other_claims_and_criteria_are_refused(repository, tmp_path):
    repository.declare(OLD)
    path = repository.save(study_with(OLD), tmp_path / "runs")
    assert any("another criterion" in words for words in repository.audit(study_with(NEW)))
    edited(path, id="T9")
    assert [w.split(": ")[1] for w in repository.audit(study_with(OLD))] == [
        "claim T9 is in the evidence only",
        "claim T2",
    ]


def changed(before: str, after: str) -> Change:
    return Change(claim="T2", date="2020-01-01", before=before, after=after, reason="A typing error.")


def test_a_record_by_a_logged_earlier_criterion_is_no_fault(repository, tmp_path):
    """It is the evidence that there was; over several changes too, and beside other claims."""
    repository.declare(OLD)
    path = repository.save(study_with(OLD), tmp_path / "runs")
    repository.commit()
    middle, last = "The effect exceeds 0.5.", NEW
    repository.declare(middle)
    log = (changed(middle, last), changed(OLD, middle))
    assert repository.audit(study_with(middle, changes=log)) == []
    repository.declare(last)
    assert repository.audit(study_with(last, changes=log)) == []
    assert repository.audit(study_with(last, changes=(*log, changed(last, OLD)))) == [], "a circle ends"
    (one, two) = repository.audit(study_with(last, changes=log[:1]))
    assert f"T2: judged by another criterion than the study's; add a Change (before: {OLD!r})" in one
    assert f"changed after evidence was committed; add a Change (before: {OLD!r})" in two
    assert repository.audit(study_with(last, changes=(changed(OLD, last),))) == [], "no evidence is of the text between"
    assert len(repository.audit(study_with(last, changes=log[:1]))) == 2, "only the text between leads on"
    other = replace(log[0], claim="T1"), log[1]
    assert any("another criterion" in words for words in repository.audit(study_with(last, changes=other)))
    edited(path, verdict="supported")
    assert repository.audit(study_with(last, changes=log)) == [
        f"{path}: claim T2: supported, but its weakest part is undetermined"
    ]


def test_a_record_by_an_earlier_criterion_is_dated_as_well(repository, tmp_path):
    first = repository.declare(OLD)
    path = repository.save(study_with(OLD), tmp_path / "runs")
    second = repository.declare(NEW)
    study = study_with(NEW, changes=(changed(OLD, NEW),))
    assert repository.audit(study) == []
    edited(path, criterion_commit=second)
    (problem,) = repository.audit(study)
    assert f"commit {second[:9]} did not bring the criterion; {first[:9]} did" in problem
    edited(path, criterion_commit=first, started=(START - HOUR).isoformat())
    assert any("younger than its runs" in words for words in repository.audit(study))
    edited(path, criterion="It never was in the study.")
    wild = study_with(NEW, changes=(changed("It never was in the study.", NEW),))
    assert any("not committed as it stands" in words for words in repository.audit(wild))


def test_a_claim_that_becomes_exploratory_is_a_change(repository, tmp_path):
    """The same words then judge nothing, or they judge what had been seen before."""
    repository.declare(OLD)
    for was in (True, False):
        path = repository.save(study_with(OLD, exploratory=was), tmp_path / f"runs {was}")
        now = study_with(OLD, exploratory=not was)
        assert repository.audit(now) == [
            f"{path}: claim T2: exploratory in one place and not in the other; add a Change"
        ]
        logged = replace(now, changes=(changed(OLD, OLD),))
        assert repository.audit(logged) == []
        assert set(judged.records(evidence.load(repository.evidence, logged, "smoke"), logged, judged.EARLIER)) == {
            "T2"
        }
        assert repository.audit(study_with(OLD, exploratory=was, changes=logged.changes)) == []


def test_a_new_claim_is_not_checked_yet(repository, tmp_path):
    repository.declare(OLD)
    path = repository.save(study_with(OLD), tmp_path / "runs")
    study = study_with(OLD)
    more = replace(study, claims=(*study.claims, replace(T2, id="T3", criterion=NEW)))
    assert repository.audit(more) == [], "it is not committed yet"
    three = f'THREE = Claim(id="T3", criterion="{NEW}")'
    left_out = repository.declare(OLD, more=three)
    (problem,) = repository.audit(more)
    assert problem.startswith(f"{path}: claim T3: its criterion (")
    assert "is older than the evidence" in problem
    repository.git("reset", "-q", "--hard", f"{left_out}^")
    repository.time = datetime.now(UTC) + HOUR
    repository.declare(OLD, more=three)
    assert repository.audit(more) == []


def test_a_claim_whose_criterion_is_new_needs_no_record(repository, tmp_path):
    """A claim that no scale could check gets what it needs, and a criterion for it."""
    repository.declare(OLD, more='THREE = Claim(id="T3", criterion="None yet.")')
    repository.save(study_with(OLD), tmp_path / "runs")
    study = study_with(OLD)
    repository.time = datetime.now(UTC) + HOUR
    repository.declare(OLD, more=f'THREE = Claim(id="T3", criterion="{NEW}")')
    more = replace(study, claims=(*study.claims, replace(T2, id="T3", criterion=NEW)))
    assert repository.audit(more) == []


def test_what_was_judged_earlier_stays_until_it_is_checked_anew(repository, tmp_path):
    three = f'THREE = Claim(id="T3", criterion="{NEW}")'
    study = study_with(OLD)
    both = replace(study, claims=(study.claims[0], replace(T2, id="T3", criterion=NEW, exploratory=False)))
    repository.declare(OLD, more=three)
    reproduction = Reproduction(both, "smoke", tmp_path / "runs", quiet=True)
    reproduction.prepare(["noise"])
    evidence.save(reproduction, both.claims, repository.evidence, repository.history)
    repository.declare(NEW, more=three)
    now = replace(
        both, claims=(replace(T2, criterion=NEW, exploratory=False), both.claims[1]), changes=(changed(OLD, NEW),)
    )
    again = Reproduction(now, "smoke", tmp_path / "runs", quiet=True)
    again.prepare(["noise"])
    evidence.save(again, [now.claims[1]], repository.evidence, repository.history)
    found = evidence.load(repository.evidence, now, "smoke")
    assert [row["criterion"] for row in found["claims"]] == [OLD, NEW]
    assert repository.audit(now) == []
    evidence.save(again, [now.claims[0]], repository.evidence, repository.history)
    found = evidence.load(repository.evidence, now, "smoke")
    assert set(judged.records(found, now)) == {"T2", "T3"}


def test_the_headline_is_that_of_the_weakest_part(repository, tmp_path):
    repository.declare(OLD)
    path = repository.save(study_with(OLD), tmp_path / "runs")
    (part,) = json.loads(path.read_text())["claims"][0]["parts"]
    parts = [{**part, "name": name, "verdict": name} for name in ("supported", "contradicted", "undetermined")]
    edited(path, parts=parts, verdict="undetermined")
    assert any(
        "undetermined, but its weakest part is contradicted" in words for words in repository.audit(study_with(OLD))
    )
    edited(path, verdict="contradicted")
    assert repository.audit(study_with(OLD)) == []


def test_dates_are_compared_with_git(repository, tmp_path):
    repository.declare(OLD)
    path = repository.save(study_with(OLD), tmp_path / "runs")
    commit = json.loads(path.read_text())["claims"][0]["criterion_commit"]
    edited(path, started=(START - HOUR).isoformat())
    assert any("younger than its runs" in words for words in repository.audit(study_with(OLD)))
    edited(path, started=datetime.now(UTC).isoformat(), criterion_commit="0" * 40)
    assert any("did not bring the criterion" in words for words in repository.audit(study_with(OLD)))
    edited(path, criterion_commit=commit)
    assert repository.audit(study_with(OLD)) == []
    (repository.source / "claims.py").write_text("")
    repository.commit()
    assert any("not committed as it stands" in words for words in repository.audit(study_with(OLD)))


def test_a_change_after_evidence_is_logged(repository, tmp_path):
    repository.declare("Before there was evidence.")
    repository.declare(OLD)
    repository.save(study_with(OLD), tmp_path / "old")
    repository.commit()
    assert repository.audit(study_with(OLD)) == [], "what came before the first evidence need not be logged"
    repository.declare(NEW)
    repository.save(study_with(NEW), tmp_path / "new")
    (problem,) = repository.audit(study_with(NEW))
    assert f"add a Change (before: {OLD!r})" in problem
    change = Change(claim="T2", date="2020-01-01", before=OLD, after=NEW, reason="A typing error.")
    assert repository.audit(study_with(NEW, changes=(change,))) == []
    assert repository.audit(study_with(NEW, changes=(replace(change, before="?"),))) != []


def other_noise(results):
    return xr.Dataset({"x": ("i", np.arange(6.0))})


def test_claims_saved_one_at_a_time_come_together(repository, tmp_path):
    study = study_with(OLD)
    both = replace(study, claims=(study.claims[0], replace(T2, id="T3", criterion=NEW, exploratory=True)))
    repository.declare(OLD, more=f'THREE = Claim(id="T3", criterion="{NEW}")')
    reproduction = Reproduction(both, "smoke", tmp_path / "runs", quiet=True)
    reproduction.prepare(["noise"])
    for claim in reversed(both.claims):
        path = evidence.save(reproduction, [claim], repository.evidence, repository.history)
    assert [row["id"] for row in json.loads(path.read_text())["claims"]] == ["T2", "T3"]
    # A measurement by other code: the claim that was not checked again is dropped, and that is said.
    smoke = replace(both.scales["smoke"], measurements=(replace(NOISE, run=other_noise),))
    other = Reproduction(replace(both, scales={"smoke": smoke}), "smoke", tmp_path / "runs", quiet=True)
    other.prepare(["noise"])
    with pytest.warns(UserWarning, match="evidence of T3 is left out: noise changed since") as said:
        evidence.save(other, [both.claims[0]], repository.evidence, repository.history)
    assert {warning.filename for warning in said} == {__file__}
    assert [row["id"] for row in json.loads(path.read_text())["claims"]] == ["T2"]


@pytest.mark.slow  # trains three small sweeps
def test_evidence_of_earlier_versions_stays_beside_claims_checked_anew(repository, tmp_path):
    """Their sweeps were known by another hash, and so were the measurements that rest on them."""
    claims = tuple(replace(STUDY.claims[0], id=i, criterion=OLD, exploratory=True, figures=()) for i in ("T1", "T2"))
    study = replace(STUDY, claims=claims, figures=())
    repository.declare(OLD, more=f'ONE = Claim(id="T1", criterion="{OLD}")')

    def rows(study: Study, root: str, checked: int) -> list[str]:
        reproduction = Reproduction(study, "smoke", tmp_path / root, quiet=True)
        reproduction.prepare(["double"])
        path = evidence.save(reproduction, study.claims[:checked], repository.evidence, repository.history)
        return [row["id"] for row in json.loads(path.read_text())["claims"]]

    with by_the_earlier_rule():
        assert rows(study, "earlier", 2) == ["T1", "T2"]
    assert rows(study, "fresh", 1) == ["T1", "T2"]
    smoke = study.scales["smoke"]
    more = replace(smoke, sweeps=(replace(smoke.sweeps[0], config=replace(smoke.sweeps[0].config, seeds=4)),))
    with pytest.warns(UserWarning, match="evidence of T2 is left out: double, losses, sphere changed since"):
        assert rows(replace(study, scales={"smoke": more}), "other", 1) == ["T1"]
