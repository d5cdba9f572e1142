"""Packages and plans of runs that `gpu_kit.py` brings to a machine with a GPU."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

KIT = Path(__file__).resolve().parents[2] / "gpu_kit"
FETCHED = "pydantic"
"""The package that the kit has."""


def folder_for(python: str, machine: str) -> Path:
    """The folder of the kit's packages for a version of Python, as "3.12", and a processor."""
    return KIT / f"python{python}-{machine}"


def require(*names: str) -> None:
    """Have the kit's packages found first, here and in processes that are started.

    Raises:
        SystemExit: a package is missing; says how to get it.
    """
    python, machine = ".".join(map(str, sys.version_info[:2])), platform.machine()
    packages = folder_for(python, machine)
    if packages.is_dir():
        sys.path.insert(0, str(packages))
        given = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(packages), *([given] if given else [])])
    missing = [name for name in (*names, FETCHED) if find_spec(name) is None]
    if missing == [FETCHED]:
        sys.exit(
            f"There is no {packages}. Where Perigee's environment and a network are, 'python "
            f"benchmarks/gpu_kit.py --python {python} --machine {machine}' makes it; copy it here."
        )
    if missing:
        sys.exit(f"This program needs {', '.join(missing)}, which this Python {python} lacks.")


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
        print(told, file=sys.stderr, flush=True)
    return plan
