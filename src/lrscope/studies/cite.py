"""How to cite a study's paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lrscope.checked import checked
from lrscope.errors import LrscopeError, nearest
from lrscope.studies.types import Paper

SPECIAL = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


@checked
def cite(paper: Paper, format: str) -> str:
    """The paper as `bibtex`, `ris` or `text`.

    Raises:
        LrscopeError: another format.
    """
    if format not in FORMATS:
        raise LrscopeError(f"format: {format!r} is unknown: {nearest(format, FORMATS)}")
    return FORMATS[format](paper)


def bibtex(paper: Paper) -> str:
    """One entry; what TeX would take for commands is escaped, capitals in the title are kept."""
    fields = {
        "author": " and ".join(map(_tex, paper.authors)),
        "title": "{" + _tex(paper.title) + "}",
        "year": str(paper.year),
        "booktitle": _tex(paper.venue),
        "eprint": paper.arxiv,
        "archiveprefix": "arXiv" if paper.arxiv else "",
        "url": _url(paper),
    }
    rows = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items() if value)
    return f"@inproceedings{{{paper.key},\n{rows}}}\n"


def ris(paper: Paper) -> str:
    """One record, for Zotero, EndNote and the like."""
    rows = [
        ("TY", "CPAPER"),
        *(("AU", author) for author in paper.authors),
        ("TI", paper.title),
        ("PY", str(paper.year)),
    ]
    rows += [("T2", paper.venue), ("UR", _url(paper)), ("ER", "")]
    return "".join(
        f"{tag}  - {value}".rstrip() + ("\n" if tag != "ER" else " \n") for tag, value in rows if value or tag == "ER"
    )


def text(paper: Paper) -> str:
    """One line for people."""
    names = [" ".join(reversed(author.split(", ", 1))) for author in paper.authors]
    authors = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    arxiv = f" arXiv:{paper.arxiv}." if paper.arxiv else ""
    return f"{authors}: {paper.title}. {paper.venue}, {paper.year}.{arxiv}\n"


FORMATS: Mapping[str, Callable[[Paper], str]] = {"bibtex": bibtex, "ris": ris, "text": text}


def _url(paper: Paper) -> str:
    return f"https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else ""


def _tex(words: str) -> str:
    return "".join(SPECIAL.get(c, c) for c in words)
