"""Docstrings are sentences about the thing documented, and words are those of docs/glossary.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs/glossary.md"
OPENINGS = {"Of", "What", "Whether", "Within", "As"}
"""First words after which a docstring is a fragment whose subject the reader has to guess."""

SOURCES = ["benchmarks", "quickstart.py", "tests", "workflow"]
TEXTS = ["workflow/**/*.py", "workflow/**/*.smk", "docs/*.md", "README.md", "config/**/*.yaml"]


def files(patterns: Iterable[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """The line and the text of each docstring, those below attributes and constants included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str):
                yield node.lineno, text


def is_fragment(docstring: str) -> bool:
    """Return whether a docstring begins with one of `OPENINGS`."""
    return re.split(r"\W", docstring.strip(), maxsplit=1)[0] in OPENINGS


def words(cell: str) -> list[str]:
    """The texts in backticks in a cell of a table."""
    return re.findall(r"`([^`]+)`", cell)


def retired() -> tuple[list[str], list[str]]:
    """The retired words of the glossary, and the phrases in which they are still right."""
    found: dict[str, list[str]] = {"Retired words": [], "Still right": []}
    header: list[str] = []
    for line in GLOSSARY.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        header = (header or cells) if cells else []
        for name, cell in zip(header, cells, strict=True):
            if name in found:
                found[name] += words(cell)
    return found["Retired words"], found["Still right"]


def uses(text: str, unwanted: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """The unwanted words in a text, each with the words that follow it.

    Words may be on two lines, also of comments. Those inside a wanted phrase do not count.
    """
    text = re.sub(r"[\s#]+", " ", text)
    spans = [found.span() for found in matches(text, wanted)]
    return [
        text[found.start() : found.end() + 30]
        for found in matches(text, unwanted)
        if not any(start <= found.start() and found.end() <= end for start, end in spans)
    ]


def matches(text: str, phrases: Iterable[str]) -> Iterator[re.Match[str]]:
    for phrase in phrases:
        yield from re.finditer(rf"\b{re.escape(phrase)}\b", text, re.IGNORECASE)


@pytest.mark.parametrize("place", SOURCES)
def test_docstrings_name_what_they_document(place: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.strip().splitlines()[0]}"
        for path in files([place] if place.endswith(".py") else [f"{place}/**/*.py"])
        for line, text in docstrings(path.read_text())
        if is_fragment(text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("pattern", TEXTS)
def test_retired_words_are_not_used(pattern: str) -> None:
    unwanted, wanted = retired()
    found = [
        f"{path.relative_to(ROOT)}: {use}"
        for path in files([pattern])
        if path != GLOSSARY
        for use in uses(path.read_text(), unwanted, wanted)
    ]
    assert not found, "\n".join(found)


def test_the_glossary_has_retired_words_and_defines_a_term_once() -> None:
    unwanted, wanted = retired()
    assert {"shortly", "is no", "came out"} <= set(unwanted)
    assert "shortly before" in wanted
    assert len(unwanted) == len(set(unwanted))
    rows = [line.split("|")[1].strip() for line in GLOSSARY.read_text().splitlines() if "|" in line]
    terms = [term for term in rows if term not in ("Term", "Phrase") and set(term) != {"-"}]
    assert len(terms) == len(set(terms))


@pytest.mark.parametrize(
    ("docstring", "fragment"),
    [
        ("Of the run, whatever its epochs.", True),
        ("What is told of a run.", True),
        ("Whether it is done.", True),
        ("\n    Within, the lock is held.", True),
        ("As of the block.", True),
        ("The run's identity.", False),
        ("Whatever the device is, the order is the same.", False),
        ("Assets of the report.", False),
        ("Return whether it is done.", False),
    ],
)
def test_fragments_are_told_by_their_first_word(docstring: str, fragment: bool) -> None:
    assert is_fragment(docstring) is fragment


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("the figure is no\n    figure of the plan", True),
        ("# which claims came\n# out", True),
        ("the paper, shortly", True),
        ("there is no folder", False),
        ("it is no longer the last", False),
        ("fixed shortly before a jump", False),
        ("this is not a figure; is noted", False),
    ],
)
def test_words_are_found_across_lines_and_not_in_other_words(text: str, used: bool) -> None:
    assert bool(uses(text, *retired())) is used
