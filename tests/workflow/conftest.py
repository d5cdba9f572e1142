"""The project at smoke scale, made once and copied by whoever wants to change it."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from workspace import Workspace

LEFT_OUT = ("fig1", "fig5", "fig7")
"""Of the periodic paper: they show nothing of the workflow that the others do not."""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Workspace:
    """Smoke figures and claims, made for real once for all test processes.

    `LEFT_OUT` is made in test_main_text.py. Beside the project's own figures there is appF1, which
    asks for the very runs of fig3.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = shared if worker_id == "master" else shared.parent
    workspace = Workspace(shared / "finished")
    with FileLock(shared / "finished.lock"):
        if not (shared / "finished.done").exists():
            Workspace.clone(workspace.root)
            workspace.edit_study(_change_figures)
            for kind, suffix in (("notebooks", "py"), ("report", "rst")):
                folder = workspace.root / "workflow" / kind
                shutil.copyfile(
                    folder / f"periodic_fig3.{suffix}", folder / f"periodic_appF1.{suffix}"
                )
            (shared / "finished.log").write_text(workspace.make("everything"))
            (shared / "finished.done").touch()
    return workspace


@pytest.fixture(scope="session")
def finished_log(finished: Workspace) -> str:
    """What Snakemake printed while it made everything."""
    return (finished.root.parent / "finished.log").read_text()


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy to be changed."""
    return finished.copy(tmp_path / "workspace")


@pytest.fixture(params=["metadata kept", "metadata lost"])
def prepare(request: pytest.FixtureRequest) -> Callable[[Workspace], None]:
    """What happens before a dry run: nothing, or the loss of .snakemake."""
    if request.param == "metadata lost":
        return Workspace.lose_metadata
    return lambda workspace: None


def _change_figures(study: dict[str, Any]) -> None:
    for name in LEFT_OUT:
        del study["figures"][name]
    study["figures"]["appF1"] = copy.deepcopy(study["figures"]["fig3"])
