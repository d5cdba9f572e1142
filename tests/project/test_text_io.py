"""Text is read and written as UTF-8 in every locale, with the same line ends on every system."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    ROOT / "quickstart.py",
    *(ROOT / "workflow").rglob("*.py"),
    *(ROOT / "benchmarks").glob("*.py"),
]
RULES = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]


def faults(source: str) -> Iterator[str]:
    """The calls in a source whose result depends on locale or system."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        parts = [part for arg in (*node.args, *given.values()) for part in ast.walk(arg)]
        words = [part.value for part in parts if isinstance(part, ast.Constant)]
        binary = any(isinstance(w, str) and re.fullmatch("[rwax+]+b[+]?", w) for w in words)
        is_image = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "Image"
        opens = name in ("open", "fdopen") and not binary and not is_image
        opens = opens and not ast.unparse(node.func).startswith(("tarfile.", "os.open"))
        reads = name in ("read_text", "write_text") or opens
        runs = "text" in given or "universal_newlines" in given
        if (reads or runs) and "encoding" not in given:
            yield f"line {node.lineno}: {ast.unparse(node)} names no encoding"
        if name == "to_csv" and "lineterminator" not in given:
            yield f"line {node.lineno}: {ast.unparse(node)} names no line end"


@pytest.mark.parametrize(
    "source",
    [
        "path.read_text()",
        "path.write_text('x')",
        "open('x')",
        "path.open('w')",
        "subprocess.run(['x'], text=True)",
        "table.to_csv('x')",
    ],
)
def test_what_depends_on_the_locale_is_found(source: str) -> None:
    assert list(faults(source))


@pytest.mark.parametrize("source", ["path.open('rb')", "open('x', encoding='utf-8')"])
def test_what_does_not_is_passed_over(source: str) -> None:
    assert not list(faults(source))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_is_utf_8(path: Path) -> None:
    assert not list(faults(path.read_text(encoding="utf-8")))


def test_rules_read_and_write_utf_8() -> None:
    for path in RULES:
        for call in re.findall(r"(?:read_text|write_text|open)\([^)]*\)", path.read_text("utf-8")):
            assert "encoding=" in call, f"{path}: {call}"


def test_a_clone_has_the_same_line_ends_whatever_git_is_told() -> None:
    told = subprocess.run(
        ["git", "check-attr", "text", "eol", "--", "workflow/notebooks/study.py", "config/x.yaml"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    assert told.count("text: auto") == told.count("eol: lf") == 2
