"""Format, lint, types, architecture: the checks that CI holds the sources to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports"],
    "snakefmt": [
        "snakefmt",
        "--check",
        "Snakefile",
        "workflow/Snakefile",
        "workflow/rules",
        "workflow/project/Snakefile",
    ],
    "snakemake lint": ["snakemake", "--lint"],
}


@pytest.mark.parametrize("name", CHECKS)
def test_check(name: str) -> None:
    program, *arguments = CHECKS[name]
    result = subprocess.run(
        [PROGRAMS / program, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_rules_are_short_and_open_with_their_contract() -> None:
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        text = path.read_text()
        assert len(text.splitlines()) <= 150, path
        assert text.startswith('"""'), path
        assert "In:" in text, path
        assert "Out:" in text, path


def test_notebooks_store_no_outputs() -> None:
    assert not list((ROOT / "workflow").rglob("*.ipynb"))
