"""Several processes that share a run, through the rules: equal, stopped, resumed, one dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.workspace import Workspace, result_of, show_rates, sweep_of

EPOCHS = 24
RUN = f"store/run/convnet-digits-lr0.5-wd0.01-seed10-*/{{}}e{EPOCHS}"
SECONDS = 240
ENDED_WITHIN = 60
"""The seconds in which all processes of a run end, once one is dead or told to stop."""


def one_run(study: dict[str, Any]) -> None:
    """Figure 3 shows a single run, whose numbers the order of sums hardly changes."""
    study["figures"] = {"fig3": study["figures"]["fig3"]}
    study["runs"]["si_convnet"]["precision"] = "float64"
    show_rates(study, 0.5)
    sweep_of(study)["epochs"] = EPOCHS


def start(workspace: Workspace, processes: int) -> subprocess.Popen[str]:
    """A Snakemake whose signals do not reach this process."""
    program = str(Path(sys.executable).with_name("snakemake"))
    given = ("scale=smoke", "device=cpu", "save_interval=0.1", f"processes_per_run={processes}")
    return subprocess.Popen(
        [program, "periodic_fig3", "--cores=2", "--until=train_run", "--config", *given],
        cwd=workspace.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(workspace: Workspace, processes: int) -> Path:
    """The folder of the run, trained to its end."""
    snakemake = start(workspace, processes)
    printed, _ = snakemake.communicate(timeout=SECONDS)
    assert snakemake.returncode == 0, printed
    return next((workspace.root / "results").glob(RUN.format("")))


def ranks_at_work(workspace: Workspace) -> dict[int, int]:
    """The process of each rank that trains in the workspace."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = (process / "cwd").resolve() == workspace.root
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        for variable in variables if here else []:
            if variable.startswith(b"RANK="):
                found[int(variable[5:])] = int(process.name)
    return found


def wait_until(what: Callable[[], Any], seconds: float, why: str) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.02)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace.clone(tmp_path_factory.mktemp("shared") / "prepared")
    workspace.edit_yaml("config/config.yaml", lambda c: c.update(papers=["periodic"]))
    workspace.edit_paper(one_run)
    workspace.make("data")
    return workspace


@pytest.fixture(scope="module")
def of_two(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes that nothing interrupts."""
    return finished(prepared.copy(tmp_path_factory.mktemp("shared") / "two"), 2)


@pytest.fixture
def midway(
    prepared: Workspace, tmp_path: Path
) -> Iterator[tuple[Workspace, subprocess.Popen[str]]]:
    """A Snakemake whose two processes have saved a state."""
    workspace = prepared.copy(tmp_path / "workspace")
    snakemake = start(workspace, 2)
    try:
        state = RUN.format("unfinished/") + "/latest.safetensors"
        results = workspace.root / "results"
        wait_until(lambda: list(results.glob(state)), SECONDS, "no state was saved")
        yield workspace, snakemake
    finally:
        for process in ranks_at_work(workspace).values():
            os.kill(process, signal.SIGKILL)
        snakemake.kill()


def test_two_train_what_one_trains(prepared: Workspace, of_two: Path, tmp_path: Path) -> None:
    of_one = finished(prepared.copy(tmp_path / "one"), 1)
    assert of_one.parent.name == of_two.parent.name  # it is the same run
    ranks = [
        json.loads((run / "provenance.json").read_text())["details"]["ranks"]
        for run in (of_one, of_two)
    ]
    assert ranks == [1, 2]
    one, two = (np.load(run / "losses.npy") for run in (of_one, of_two))
    np.testing.assert_allclose(two[:100], one[:100], rtol=1e-9)


@pytest.mark.parametrize("whom", ["all, as by Ctrl-C", "one process"])
def test_stopped_they_save_and_go_on(
    whom: str, midway: tuple[Workspace, subprocess.Popen[str]], of_two: Path
) -> None:
    workspace, snakemake = midway
    if whom == "one process":
        os.kill(ranks_at_work(workspace)[1], signal.SIGTERM)
    else:
        os.killpg(snakemake.pid, signal.SIGINT)
    printed, _ = snakemake.communicate(timeout=ENDED_WITHIN)
    assert snakemake.returncode != 0, printed
    assert not ranks_at_work(workspace)
    assert "saving, then stopping" in printed
    assert "Traceback" not in printed
    assert result_of(finished(workspace, 2)) == result_of(of_two)
    logs = workspace.root.glob("results/logs/train_run/*/*.log")
    assert any("continuing after" in log.read_text() for log in logs)


def test_a_dead_one_ends_all(midway: tuple[Workspace, subprocess.Popen[str]], of_two: Path) -> None:
    workspace, snakemake = midway
    os.kill(ranks_at_work(workspace)[1], signal.SIGKILL)
    printed, _ = snakemake.communicate(timeout=ENDED_WITHIN)
    assert snakemake.returncode != 0, printed
    assert not ranks_at_work(workspace)
    assert "lost another one" in printed or "saving, then stopping" in printed
    assert result_of(finished(workspace, 2)) == result_of(of_two)
