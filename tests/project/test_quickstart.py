"""The front door tells what it does and what it lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
