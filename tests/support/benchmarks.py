"""The programs of benchmarks/ that run where most packages are missing."""

from __future__ import annotations

import importlib.util
import os
import sys
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.workspace import ROOT

SCRIPTS = ".."
"""The paths of installed programs begin with it, seen from the packages' folder."""


def machine_with(folder: Path, *names: str) -> Path:
    """The Python of a machine that has some packages, what these require, and no others.

    A folder in which several packages lie, such as `nvidia`, is there whole.

    Args:
        folder: is made for it.
        names: of the packages' distributions.

    Returns:
        The path of the program.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    for name in closure(names):
        for top in {Path(file).parts[0] for file in metadata.files(name) or ()} - {SCRIPTS}:
            there = site / top
            if not there.is_symlink():
                there.symlink_to(metadata.distribution(name).locate_file(top))
    return folder / "bin/python"


def without_path() -> dict[str, str]:
    """This environment, in which nobody adds to the packages of a Python."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def closure(names: Iterable[str]) -> set[str]:
    """Some distributions and all that they require here, directly or not."""
    found: set[tuple[str, str]] = set()
    left = [(name, "") for name in names]
    while left:
        name, extra = left.pop()
        if (canonicalize_name(name), extra) not in found:
            found.add((canonicalize_name(name), extra))
            for line in metadata.requires(name) or ():
                wanted = Requirement(line)
                if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                    left += [(wanted.name, one) for one in ("", *wanted.extras)]
    return {name for name, _ in found}


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of benchmarks/, which is no package."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # dataclasses look there
    spec.loader.exec_module(module)
    return module
