"""Packages and plans of runs that `gpu_kit.py` brings to a machine with a GPU."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

KIT = Path(__file__).resolve().parents[2] / "gpu_kit"
FETCHED = "pydantic"
"""The package that the kit has."""
OLDEST = (2, 11)
"""Its first version that will do, as in pyproject.toml."""


def folder_for(python: str, machine: str) -> Path:
    """The folder of the kit's packages for a version of Python, as "3.12", and a processor."""
    return KIT / f"python{python}-{machine}"


def require(*names: str) -> None:
    """See that packages are there, and take those of the kit where one is not.

    The kit's are then found in processes that are started, too.

    Raises:
        SystemExit: a package is missing; says how to get it.
    """
    python, machine = ".".join(map(str, sys.version_info[:2])), platform.machine()
    packages = folder_for(python, machine)
    needed = *names, FETCHED
    if not all(map(_is_there, needed)) and packages.is_dir():
        sys.path.insert(0, str(packages))
        given = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(packages), *([given] if given else [])])
    if missing := [name for name in needed if not _is_there(name)]:
        told = f"This program needs {', '.join(missing)}, which this Python {python} lacks."
        if FETCHED in missing:
            told += (
                f" Where Perigee's environment and a network are, 'python benchmarks/gpu_kit.py "
                f"--python {python} --machine {machine}' makes {packages}; copy it here."
            )
        sys.exit(told)


def _is_there(name: str) -> bool:
    if find_spec(name) is None:
        return False
    return name != FETCHED or tuple(map(int, version(name).split(".")[:2])) >= OLDEST


def read_plan(path: Path) -> dict[str, Any]:
    """The runs that a file of the kit has.

    Raises:
        SystemExit: there is no such file; says how to make it.
    """
    from perigee.store.provenance import git_state  # once its packages are found

    if not path.is_file():
        sys.exit(f"There is no {path}: 'python benchmarks/gpu_kit.py' makes it in gpu_kit.")
    plan: dict[str, Any] = json.loads(path.read_bytes())
    before, now = plan.get("git"), git_state()
    if before and now and before["commit"] != now["commit"]:
        told = f"{path} was made at another commit, {before['commit']}: its runs may differ."
        print(told, flush=True)
    return plan
