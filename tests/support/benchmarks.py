"""The programs of benchmarks/ that run where most packages are missing."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from support.workspace import ROOT

ABSENT = (
    *("IPython", "jsonschema", "jupytext", "papermill", "requests", "rich", "safetensors"),
    *("scipy", "seaborn", "sklearn", "snakemake", "torchvision", "typer", "yaml"),
)
"""Packages that a machine with a GPU may lack."""

BLOCKED = """
from importlib.machinery import PathFinder
usual = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {absent} else usual(name, path, target)
PathFinder.find_spec = find_spec
"""


def with_few_packages(folder: Path, *absent: str) -> dict[str, str]:
    """An environment in which Python, and what it starts, does not find the others.

    Args:
        folder: is made for it.
        absent: further packages that it lacks.
    """
    folder.mkdir()
    blocked = BLOCKED.format(absent=(*ABSENT, *absent))
    (folder / "sitecustomize.py").write_text(blocked)
    return {**os.environ, "PYTHONPATH": str(folder)}


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
