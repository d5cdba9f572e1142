"""The environment of the programs that are started, whatever the user's own is."""

from __future__ import annotations

import getpass
import io
import os
import sys
from pathlib import Path


def environment_of_jobs(library: Path | None) -> dict[str, str]:
    """Variables to be set for Snakemake and all its jobs.

    Jobs use this Python with its packages and no others: PYTHONPATH, as `module load` sets it,
    would come before them. Text is UTF-8 in every locale. A user id without a name, as containers
    have them, gets one.

    Args:
        library: the folder that holds the packages of this checkout; None if they are installed.
    """
    python = str(Path(sys.executable).parent)
    programs = [f for f in os.environ.get("PATH", "").split(os.pathsep) if f and f != python]
    found = {
        "PATH": os.pathsep.join([python, *programs]),
        "PYTHONPATH": str(library or ""),
        "PYTHONUTF8": "1",
    }
    try:
        getpass.getuser()
    except (KeyError, OSError):
        found["LOGNAME"] = f"user{os.getuid()}"
    return found


def print_in_any_locale() -> None:
    """Have characters that the terminal's encoding lacks printed as escapes, not raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def environment_of_git() -> dict[str, str]:
    """The environment without GIT_DIR and the like, which may name another repository."""
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
