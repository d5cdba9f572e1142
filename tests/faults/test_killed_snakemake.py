"""Snakemake killed in mid-training, or running twice: `snakemake` again just continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.workspace import (
    HOLD,
    Workspace,
    make_holdable,
    now,
    result_of,
    sessions,
    show_rates,
    sweep_of,
)

EPOCHS = 20
RUN = "convnet-digits-lr0.5-wd0.01-seed10"
SECONDS = 180
TRAINING = ("--until", "train_run")


def one_run(study: dict[str, Any]) -> None:
    """Figure 3 shows a single run; the other figures of the paper are left out."""
    study["figures"] = {"fig3": study["figures"]["fig3"]}
    show_rates(study, 0.5)
    sweep_of(study)["epochs"] = EPOCHS


def start(workspace: Workspace, *options: str) -> subprocess.Popen[str]:
    """A Snakemake whose signals do not reach this process."""
    program = str(Path(sys.executable).with_name("snakemake"))
    target = ("periodic_fig3", "--config", "scale=smoke", "save_interval=0.2")
    return subprocess.Popen(
        [program, *target, *options],
        cwd=workspace.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_until(what: Callable[[], Any], why: str) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.02)


def wait_for_state(results: Path) -> None:
    state = f"store/run/{RUN}-*/unfinished/e{EPOCHS}/latest.safetensors"
    wait_until(lambda: list(results.glob(state)), "no state was saved")


def training_logs(workspace: Workspace) -> str:
    logs = workspace.root.glob(f"results/logs/train_run/{RUN}-*/e{EPOCHS}.*.log")
    return "\n".join(path.read_text() for path in logs)


def finished_run(results: Path) -> Path:
    (folder,) = results.glob(f"store/run/{RUN}-*/e{EPOCHS}")
    return folder


@contextmanager
def held(*workspaces: Workspace) -> Iterator[Callable[[], None]]:
    """Hold training midway until the yielded function is called, or until the context ends."""

    def release() -> None:
        for workspace in workspaces:
            (workspace.root / HOLD).unlink(missing_ok=True)

    for workspace in workspaces:
        (workspace.root / HOLD).touch()
    try:
        yield release
    finally:
        release()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace.clone(tmp_path_factory.mktemp("killed") / "prepared")
    workspace.edit_paper(one_run)
    make_holdable(workspace)
    workspace.make("data")
    return workspace


@pytest.fixture(scope="module")
def uninterrupted(
    prepared: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    whole = prepared.copy(tmp_path_factory.mktemp("killed") / "whole")
    made = start(whole, *TRAINING)
    printed, _ = made.communicate(timeout=SECONDS)
    assert made.returncode == 0, printed
    return result_of(finished_run(whole.root / "results"))


@pytest.mark.parametrize(
    ("number", "whom"),
    [
        (signal.SIGINT, "all its processes"),
        (signal.SIGTERM, "Snakemake alone"),
        (signal.SIGKILL, "Snakemake alone"),
        (signal.SIGKILL, "all its processes"),
    ],
)
def test_snakemake_again_just_continues(
    number: signal.Signals,
    whom: str,
    prepared: Workspace,
    uninterrupted: dict[str, bytes],
    tmp_path: Path,
) -> None:
    workspace = prepared.copy(tmp_path / "workspace")
    with held(workspace) as release:
        killed = start(workspace, *TRAINING)
        try:
            wait_for_state(workspace.root / "results")
            killed_at = now()
            if whom == "Snakemake alone":
                killed.send_signal(number)
            else:  # as Ctrl-C does, and the end of a session
                os.killpg(killed.pid, number)
                killed.communicate(timeout=SECONDS)
                release()
            again = start(workspace, *TRAINING)
            if whom == "Snakemake alone":
                says = "the job that lived on is not waited for"
                wait_until(lambda: "waiting for process" in training_logs(workspace), says)
                release()
            printed, _ = again.communicate(timeout=SECONDS)
            assert again.returncode == 0, printed
            assert "LockException" not in printed
            killed.communicate(timeout=SECONDS)
        finally:
            killed.kill()
    assert result_of(finished_run(workspace.root / "results")) == uninterrupted
    # A killed job's run was resumed; a job that lived on was waited for.
    began, *went_on = sessions(finished_run(workspace.root / "results"))
    assert began <= killed_at
    assert len(went_on) == (1 if whom == "all its processes" else 0)
    # The log is complete to the end, though Snakemake removes those of the jobs that it starts.
    assert f"epoch {EPOCHS}/{EPOCHS}" in training_logs(workspace)


def test_two_clones_on_one_store_work_at_once(
    prepared: Workspace, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    """The data set is there; else the later one would make it again while the other uses it."""
    shared = tmp_path / "shared"
    clones = [prepared.copy(tmp_path / name) for name in ("one", "two")]
    data = clones[0].run("snakemake", "data", "--config", "scale=smoke", f"results={shared}")
    assert data.returncode == 0, data.stdout
    logs = shared / "logs/train_run"
    with held(*clones):
        jobs = [start(clone, f"results={shared}") for clone in clones]
        wait_until(
            lambda: any("waiting for process" in path.read_text() for path in logs.rglob("*.log")),
            "no job waits for the other",
        )
    printed = [job.communicate(timeout=SECONDS)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], "\n".join(printed)
    assert result_of(finished_run(shared)) == uninterrupted
    assert not list(shared.rglob(".writing-*"))
    for clone in clones:
        left = start(clone, f"results={shared}", "-n")
        printed_again, _ = left.communicate(timeout=SECONDS)
        assert left.returncode == 0
        assert "Nothing to be done" in printed_again or "train_run" not in printed_again
