"""The packages of a machine with a GPU, and those that `gpu_kit.py` brings it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

KIT = Path(__file__).resolve().parents[2] / "gpu_kit"


def folder_for(kit: Path, python: str, machine: str) -> Path:
    """The folder of a kit's packages for a version of Python, as "3.12", and a processor."""
    return kit / f"python{python}-{machine}"


def require(*names: str) -> None:
    """Take the kit's packages where one is missing, here and in processes that are started.

    Raises:
        SystemExit: the kit lacks it, too; says how to bring it along.
    """
    python = ".".join(map(str, sys.version_info[:2]))
    packages = folder_for(KIT, python, platform.machine())
    if _missing(names) and packages.is_dir():
        sys.path.insert(0, str(packages))
        given = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(packages), *([given] if given else [])])
    if missing := _missing(names):
        sys.exit(
            f"This program needs {', '.join(missing)}, which this Python {python} lacks. Where "
            "Perigee's environment and a network are, 'python benchmarks/gpu_kit.py' fetches "
            "pydantic into gpu_kit, which is to be copied here; the others it does not."
        )


def _missing(names: Iterable[str]) -> list[str]:
    return [name for name in names if find_spec(name) is None]
