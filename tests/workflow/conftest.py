"""The project at smoke scale, made once and copied by the tests that change it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from support.workspace import FIGURES, Workspace


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Smoke figures and claims, made for real once for all test processes.

    Only the figures that show the machinery; test_main_text.py makes the others.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    workspace = Workspace(shared / "finished")
    with FileLock(shared / "finished.lock"):
        if not (shared / "finished.done").exists():
            Workspace.clone(workspace.root)
            workspace.edit_paper(_keep_figures)
            workspace.edit_yaml("config/config.yaml", lambda c: c.update(papers=["periodic"]))
            (shared / "finished.log").write_text(workspace.make("everything"))
            (shared / "finished.done").touch()
    return workspace


@pytest.fixture(scope="session")
def finished_log(finished: Workspace) -> str:
    """The output of Snakemake while it made everything."""
    return (finished.root.parent / "finished.log").read_text()


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy that a test may change."""
    return finished.copy(tmp_path / "workspace")


def _keep_figures(study: dict[str, Any]) -> None:
    study["figures"] = {name: study["figures"][name] for name in FIGURES}
    fig6 = study["figures"]["fig6"]
    # Both pairs are of the ConvNet, whose runs take less time.
    label = fig6["runs"]["resnet"]["label"]
    fig6["runs"]["resnet"] = fig6["runs"]["convnet"] | {"label": label}
