"""The front door tells what it does and what it lacks."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_help_names_all_commands() -> None:
    command = [sys.executable, ROOT / "quickstart.py", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "quickstart.py figures" in result.stdout
    assert "quickstart.py test" in result.stdout
    assert "quickstart.py environment" in result.stdout


def test_an_unknown_command_is_refused() -> None:
    command = [sys.executable, ROOT / "quickstart.py", "everything"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "invalid choice: 'everything'" in result.stderr


@pytest.fixture
def renamed(tmp_path: Path) -> Path:
    """A clone with an environment of fake programs, renamed after these were installed."""
    old = tmp_path / "old name"
    (old / "envs").mkdir(parents=True)
    shutil.copy(ROOT / "quickstart.py", old)
    shutil.copy(ROOT / "envs/perigee.lock.txt", old / "envs")
    programs = old / ".venv/bin"
    programs.mkdir(parents=True)
    lock = (old / "envs/perigee.lock.txt").read_bytes()
    digest = hashlib.sha256(lock + sys.version.encode()).hexdigest()
    (old / ".venv/perigee-lock.sha256").write_text(f"{digest}\n{old}")
    (programs / "python").write_text(FAKE_PYTHON)
    (programs / "python").chmod(0o755)
    (programs / "snakemake").write_text(f"#!{programs}/python\nimport snakemake\n")
    (programs / "compiled").write_bytes(b"\0" + str(old).encode())
    return old.rename(tmp_path / "new name")


FAKE_PYTHON = """#!/bin/sh
echo "$PWD: $*" >> "$(dirname "$0")/calls"
case "$*" in *pip*) for n in $(seq 40); do echo "line $n"; done; exit ${PIP_STATUS:-0};; esac
"""


def quickstart(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "quickstart.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        cwd=root.parent,
    )


def calls(root: Path) -> list[str]:
    return (root / ".venv/bin/calls").read_text().splitlines()


def test_a_renamed_clone_is_mended_once(renamed: Path) -> None:
    made = quickstart(renamed, "figures", "--paper", "periodic", "-n")
    assert made.returncode == 0, made.stderr
    assert "old name before: mending its environment" in made.stdout
    assert "line 1" not in made.stdout
    mended = (renamed / ".venv/bin/snakemake").read_text()
    assert mended == f"#!{renamed}/.venv/bin/python\nimport snakemake\n"
    assert b"old name" in (renamed / ".venv/bin/compiled").read_bytes()
    installed, started = calls(renamed)
    assert installed.endswith(f"--no-deps --no-build-isolation --editable {renamed}")
    assert started == f"{renamed.parent}: -u -m perigee.quickstart --paper periodic -n"
    assert quickstart(renamed, "figures").stdout == ""
    assert calls(renamed)[2:] == [f"{renamed.parent}: -u -m perigee.quickstart"]


def test_pips_last_lines_are_shown_if_it_fails(renamed: Path) -> None:
    failed = quickstart(renamed, "figures", PIP_STATUS="3")
    assert failed.returncode == 1
    lines = failed.stdout.splitlines()
    assert lines[1:-1] == [f"line {n}" for n in range(16, 41)]
    assert lines[-1] == (
        f"Installing failed (3); these are the last lines of {renamed}/.venv/pip.log."
    )
    # It is tried again.
    assert quickstart(renamed, "environment").returncode == 0
    assert len(calls(renamed)) == 2


def test_nothing_is_taken_from_pythonpath(renamed: Path) -> None:
    python = renamed / ".venv/bin/python"
    python.write_text(FAKE_PYTHON + 'echo "PYTHONPATH=$PYTHONPATH"\n')
    made = quickstart(renamed, "test", PYTHONPATH="/another/python")
    assert made.stdout.splitlines()[-1] == f"PYTHONPATH={renamed}/workflow"
    assert calls(renamed)[-1] == f"{renamed}: -u -m pytest -m "
