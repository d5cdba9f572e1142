"""Faults of clusters: nothing is lost, and nothing hangs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import TRAINING, Cluster, OneRun, one_run, wait_until
from support.workspace import Workspace, now

EPOCHS = 40

pytestmark = pytest.mark.timeout(590, func_only=True)  # not of waiting for one's turn


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> OneRun:
    """A workspace with the data set built."""
    run = one_run(Workspace.clone(tmp_path_factory.mktemp("slurm") / "prepared"), EPOCHS)
    run.workspace.make("data")
    return run


@pytest.fixture(scope="module")
def uninterrupted(prepared: OneRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The run's files as this machine makes them without interruption, without SLURM."""
    whole = prepared.workspace.copy(tmp_path_factory.mktemp("slurm") / "whole")
    whole.make(*TRAINING)
    return OneRun(whole, prepared.version).result


@pytest.fixture
def run(prepared: OneRun, cluster: Cluster, tmp_path: Path) -> Iterator[OneRun]:
    copy = OneRun(prepared.workspace.copy(tmp_path / "workspace"), prepared.version)
    try:
        yield copy
    finally:
        copy.stop()


def wait_for_end(cluster: Cluster, job: str) -> None:
    wait_until(lambda: cluster.state(job) not in ("RUNNING", "COMPLETING"), "the job does not end")


def test_a_job_that_fails_once_is_submitted_again(
    run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    run.workspace.hook("train", "fail", message="a node hiccup", once="failed-once")
    snakemake = run.start()
    assert snakemake.end() == 0, snakemake.printed
    first, second = snakemake.submitted
    assert (cluster.state(first), cluster.state(second)) == ("FAILED", "COMPLETED")
    assert "a node hiccup" in run.slurm_log(first)
    assert run.result == uninterrupted


def test_a_cancelled_job_is_gone_on_with(
    run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    snakemake = run.start(hold=True)
    run.wait_for_training()
    cluster.command("scancel", snakemake.submitted[0])
    wait_for_end(cluster, snakemake.submitted[0])
    run.release()
    assert snakemake.end() == 0, snakemake.printed
    first, second = snakemake.submitted
    assert (cluster.state(first), cluster.state(second)) == ("CANCELLED", "COMPLETED")
    assert "SIGTERM received: saving" in run.slurm_log(first)
    assert "continuing after epoch" in run.log
    assert run.result == uninterrupted


def test_a_job_saves_before_its_time_limit_and_is_gone_on_with(
    run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    """The training process itself gets the signal, and the next attempt has more time."""
    # SLURM looks at time limits every half minute: this comes 25 to 55 s after the job's start.
    run.workspace.replace("slurm/profile.yaml", "--signal=TERM@120", "--signal=TERM@5")
    snakemake = run.start("unknown_run_minutes=1", hold=True)
    first = wait_until(lambda: snakemake.submitted, "nothing is submitted")[0]
    wait_until(lambda: cluster.state(first) == "FAILED", "the job went on", 200)
    run.release()
    assert snakemake.end() == 0, snakemake.printed
    jobs = [cluster.job(number) for number in snakemake.submitted]
    assert [job["TimeLimit"] for job in jobs] == ["00:01:00", "00:02:00"]
    assert [job["JobState"] for job in jobs] == ["FAILED", "COMPLETED"]
    assert "SIGTERM received: saving" in run.slurm_log(first)
    assert "its state is saved" in run.slurm_log(first)
    assert "continuing after epoch" in run.log
    assert run.result == uninterrupted


def test_a_signal_to_the_first_process_alone_reaches_training(
    run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    """So SLURM signals where it tracks processes by cgroups, which this test cluster does not."""
    snakemake = run.start(hold=True)
    run.wait_for_training()
    (first,) = cluster.first_processes()
    os.kill(first, signal.SIGTERM)
    wait_for_end(cluster, snakemake.submitted[0])
    run.release()
    assert snakemake.end() == 0, snakemake.printed
    assert "SIGTERM received: saving" in run.slurm_log(snakemake.submitted[0])
    assert "continuing after epoch" in run.log
    assert run.result == uninterrupted


def test_a_node_goes_down_and_comes_back(
    run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    snakemake = run.start(hold=True)
    run.wait_for_training()
    cluster.take_node_down()
    try:
        (first,) = snakemake.submitted
        wait_until(lambda: cluster.state(first) != "RUNNING", "the job is still said to run")
    finally:
        cluster.take_node_up()
    wait_until(lambda: cluster.state(first) == "RUNNING", "the job was not requeued")
    run.release()
    assert snakemake.end() == 0, snakemake.printed
    assert snakemake.submitted == [first]
    assert run.log.count("continuing after epoch") == 1
    assert run.result == uninterrupted


def test_the_controller_is_away_for_a_while(
    run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    snakemake = run.start(hold=True)
    run.wait_for_training()
    cluster.stop_controller()
    try:
        said = "SLURM does not say how its jobs are"
        wait_until(lambda: said in snakemake.printed, "nothing is said")
        run.release()  # the job ends while nobody can be asked
        wait_until(lambda: (run.folder / "provenance.json").exists(), "training did not end")
        time.sleep(5)  # two questions
        assert snakemake.process.poll() is None
    finally:
        cluster.start_controller()
    assert snakemake.end() == 0, snakemake.printed
    assert "SLURM answers again" in snakemake.printed
    assert len(snakemake.submitted) == 1
    assert run.result == uninterrupted


def test_without_a_controller_nothing_is_submitted_and_the_end_is_clear(
    run: OneRun, cluster: Cluster
) -> None:
    cluster.stop_controller()
    try:
        snakemake = run.start()
        assert snakemake.end() == 1, snakemake.printed
    finally:
        cluster.start_controller()
    assert "SLURM does not answer" in snakemake.printed
    assert "Traceback" not in snakemake.printed
    assert snakemake.submitted == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_snakemake_is_killed_and_started_again(
    number: signal.Signals, run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    killed = run.start(hold=True)
    run.wait_for_training()
    killed_at = now()
    killed.process.send_signal(number)
    if number != signal.SIGTERM:  # Snakemake then waits for the jobs that run
        assert killed.end() != 0
    (first,) = killed.submitted
    if number == signal.SIGINT:
        wait_until(lambda: cluster.state(first) == "CANCELLED", "the job was not cancelled")
        run.release()
    again = run.start()
    if number != signal.SIGINT:
        wait_until(lambda: "waiting for process" in run.log, "the second job does not wait")
        run.release()
    assert again.end() == 0, again.printed
    killed.end()
    assert killed.submitted == [first]
    if number != signal.SIGINT:
        wait_until(lambda: cluster.state(first) == "COMPLETED", "the job did not go on to its end")
    began, *went_on = run.sessions
    assert began <= killed_at
    assert len(went_on) == (number == signal.SIGINT)
    assert run.result == uninterrupted
