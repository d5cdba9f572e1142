"""The project at smoke scale, made once and copied by the tests that change it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from support.workspace import FIGURES, ROOT, Workspace


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Smoke figures and claims, made for real once for all test processes.

    Only the figures that show the machinery; `all_figures` has the others.
    """

    def make(root: Path) -> str:
        workspace = Workspace.clone(root)
        workspace.edit_paper(_keep_figures)
        workspace.edit_yaml("config/config.yaml", lambda c: c.update(papers=["periodic"]))
        return workspace.make("everything")

    return _made_once("finished", make, tmp_path_factory)


@pytest.fixture(scope="session")
def all_figures(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the published figures of all papers, made as a user has them made."""

    def make(root: Path) -> str:
        workspace = finished.copy(root)
        shutil.rmtree(root / "config")
        shutil.copytree(ROOT / "config", root / "config")
        output = workspace.make("periodic") + workspace.make("regimes") + workspace.make("smd")
        assert workspace.jobs("all_figures") == set()
        return output

    return _made_once("all_figures", make, tmp_path_factory).root / "results/smoke/figures"


def _made_once(
    name: str, make: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """A workspace that the first test process to ask for it makes; its output is kept beside it."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    log = shared / f"{name}.log"
    with FileLock(shared / f"{name}.lock"):
        if not log.exists():
            log.write_text(make(shared / name))
    return Workspace(shared / name)


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
