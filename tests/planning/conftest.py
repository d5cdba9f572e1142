"""The small configuration of tests/support/planning.py, with its products and without."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.planning import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The configuration, without products."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def _complete_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("complete"))
    project.make()
    return project.store


@pytest.fixture
def made(tmp_path: Path, _complete_store: Path) -> Project:
    """The configuration, with all of its products."""
    project = Project(tmp_path)
    shutil.copytree(_complete_store, project.store)
    return project
