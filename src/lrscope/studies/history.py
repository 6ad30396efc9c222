"""When a criterion was written down, by git: the commit since which its text stands as it stands now.

Claims are declared as `Claim(id="...", criterion="...")` with plain string literals (neighbouring ones are joined by Python), so
the text at any commit is read from the syntax tree, without running old code.
"""

from __future__ import annotations

import ast
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Commit:
    """A commit and its committer's date, ISO 8601. (The author's date outlives an amendment; this one does not.)"""

    hash: str
    date: str


def criteria(code: str) -> dict[str, str]:
    """The criteria that a module declares, by claim; empty for what is no Python."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node.func) == "Claim":
            words = {k.arg: ast.literal_eval(k.value) for k in node.keywords if isinstance(k.value, ast.Constant)}
            if isinstance(words.get("id"), str) and isinstance(words.get("criterion"), str):
                found[words["id"]] = words["criterion"]
    return found


def _called(function: ast.expr) -> str:
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


class History:
    """The git history of a study's source: a Python file, or a folder of them."""

    def __init__(self, source: Path) -> None:
        self.source = source.resolve()
        self._blobs: dict[str, dict[str, str]] = {}
        self._states: dict[str, dict[str, str]] = {}

    @cached_property
    def repository(self) -> Path | None:
        """The root of the repository; None without git, outside of one, or where its history is cut off (a shallow clone)."""
        try:
            top = self._git("rev-parse", "--show-toplevel", at=self.source.parent).strip()
            shallow = self._git("rev-parse", "--is-shallow-repository", at=self.source.parent).strip()
        except (OSError, subprocess.SubprocessError):
            return None
        return Path(top) if shallow == "false" else None

    @cached_property
    def commits(self) -> list[Commit]:
        """The commits that changed the source, newest first."""
        return self._commits_of(self.source, self.repository) if self.repository else []

    def at(self, commit: str) -> dict[str, str]:
        """The criteria as a commit has them."""
        if commit not in self._states:
            self._states[commit] = self._read(commit)
        return self._states[commit]

    def _read(self, commit: str) -> dict[str, str]:
        listed = self._git("ls-tree", "-r", commit, "--", str(self.source)).splitlines()
        found: dict[str, str] = {}
        for line in listed:
            words, _, path = line.partition("\t")
            blob = words.split()[2]
            if path.endswith(".py"):
                if blob not in self._blobs:
                    self._blobs[blob] = criteria(self._git("cat-file", "blob", blob))
                found |= self._blobs[blob]
        return found

    def standing(self, claim: str, criterion: str) -> Commit | None:
        """The commit that brought the criterion as it stands: the oldest of the newest ones that have this very text. None
        where the newest has not."""
        newest = self.commits[:1]
        if not newest or self.at(newest[0].hash).get(claim) != criterion:
            return None
        return self.brought(claim, criterion)[0]

    def brought(self, claim: str, criterion: str) -> list[Commit]:
        """The commits that brought a text as a claim's criterion where it was none or another one, newest first."""
        texts = [self.at(commit.hash).get(claim) for commit in self.commits]
        earlier = [*texts[1:], None]
        return [
            commit
            for commit, text, before in zip(self.commits, texts, earlier, strict=True)
            if criterion == text != before
        ]

    def texts_with(self, claim: str, path: Path) -> list[str]:
        """The different texts that a claim's criterion had whenever something at `path` was committed, newest first."""
        if self.repository is None:
            return []
        states = [commit.hash for commit in self._commits_of(path.resolve(), self.repository)]
        return list(dict.fromkeys(text for state in states if (text := self.at(state).get(claim)) is not None))

    def _commits_of(self, path: Path, repository: Path) -> list[Commit]:
        try:
            listed = self._git("log", "--format=%H %cI", "HEAD", "--", str(path), at=repository)
        except subprocess.SubprocessError:  # no commit yet
            return []
        return [Commit(*line.split()) for line in listed.splitlines()]

    def _git(self, *words: str, at: Path | None = None) -> str:
        command = ["git", "-c", "safe.directory=*", *words]
        where = at or self.repository
        done = subprocess.run(command, cwd=where, capture_output=True, check=True, timeout=60)
        return done.stdout.decode("utf-8", errors="replace")
