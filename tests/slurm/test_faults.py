"""What clusters do to jobs, and to whoever waits for them: nothing is lost, and nothing hangs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import Cluster, OneRun, one_run, wait_until
from workspace import Workspace

EPOCHS = 240
LONG = 900
"""Longer than the shortest time limit that SLURM knows, a minute, lets a job go on."""

pytestmark = pytest.mark.timeout(900)  # one may wait for another's turn


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> OneRun:
    """A workspace with the data set built."""
    run = one_run(Workspace.clone(tmp_path_factory.mktemp("slurm") / "prepared"), EPOCHS)
    run.workspace.make("data")
    return run


@pytest.fixture(scope="module")
def uninterrupted(prepared: OneRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The run's files as this machine makes them at one go, without SLURM."""
    whole = prepared.workspace.copy(tmp_path_factory.mktemp("slurm") / "whole")
    whole.make(f"results/store/run/{prepared.version}/provenance.json")
    return OneRun(whole, prepared.version).result


@pytest.fixture
def run(prepared: OneRun, cluster: Cluster, tmp_path: Path) -> Iterator[OneRun]:
    copy = OneRun(prepared.workspace.copy(tmp_path / "workspace"), prepared.version)
    try:
        yield copy
    finally:
        copy.stop()
        cluster.command("scancel", "--quiet", "--user=root")


def test_a_job_that_fails_once_is_submitted_again(
    run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    run.workspace.replace(
        "workflow/scripts/train.py",
        "    run = resolved_run(",
        "    if not (mark := Path('failed-once')).exists():\n"
        "        mark.touch()\n"
        "        raise OSError('a node hiccup')\n"
        "    run = resolved_run(",
    )
    snakemake = run.start()
    assert snakemake.end() == 0, snakemake.printed
    first, second = snakemake.submitted
    assert (cluster.state(first), cluster.state(second)) == ("FAILED", "COMPLETED")
    assert "a node hiccup" in run.slurm_log(first)
    assert run.result == uninterrupted


def test_a_cancelled_job_is_gone_on_with(
    run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    snakemake = run.start()
    run.wait_for_training()
    cluster.command("scancel", snakemake.submitted[0])
    assert snakemake.end() == 0, snakemake.printed
    first, second = snakemake.submitted
    assert (cluster.state(first), cluster.state(second)) == ("CANCELLED", "COMPLETED")
    assert "SIGTERM received: saving" in run.slurm_log(first)
    assert "continuing after epoch" in run.log
    assert run.result == uninterrupted


def test_a_job_saves_before_its_time_limit_and_is_gone_on_with(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The training process itself gets the signal, and the next attempt has more time."""
    run = one_run(Workspace.clone(tmp_path / "workspace"), LONG)
    # SLURM looks at time limits every half minute: this comes 25 to 55 s after the job's start.
    run.workspace.replace("slurm/profile.yaml", "--signal=TERM@120", "--signal=TERM@5")
    whole = OneRun(run.workspace.copy(tmp_path / "whole"), run.version)
    try:
        snakemake = run.start("unknown_run_minutes=1")
        whole.workspace.make(f"results/store/run/{run.version}/provenance.json")
        assert snakemake.end(400) == 0, snakemake.printed
    finally:
        run.stop()
    jobs = [cluster.job(number) for number in snakemake.submitted]
    assert len(jobs) >= 2
    assert [job["TimeLimit"] for job in jobs] == [f"00:0{n}:00" for n in range(1, len(jobs) + 1)]
    assert [job["JobState"] for job in jobs] == ["FAILED"] * (len(jobs) - 1) + ["COMPLETED"]
    for number in snakemake.submitted[:-1]:
        assert "SIGTERM received: saving" in run.slurm_log(number)
        assert "its state is saved" in run.slurm_log(number)
    assert "continuing after epoch" in run.log
    assert run.result == whole.result


def test_a_signal_to_the_first_process_alone_reaches_training(
    run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    """So SLURM signals where it tracks processes by cgroups, which this test cluster does not."""
    snakemake = run.start()
    run.wait_for_training()
    (first,) = cluster.first_processes()
    os.kill(first, signal.SIGTERM)
    assert snakemake.end() == 0, snakemake.printed
    assert "SIGTERM received: saving" in run.slurm_log(snakemake.submitted[0])
    assert "continuing after epoch" in run.log
    assert run.result == uninterrupted


def test_a_node_goes_down_and_comes_back(
    run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    snakemake = run.start()
    run.wait_for_training()
    cluster.take_node_down()
    try:
        (first,) = snakemake.submitted
        wait_until(lambda: cluster.state(first) != "RUNNING", "the job is still said to run")
    finally:
        cluster.take_node_up()
    assert snakemake.end() == 0, snakemake.printed
    assert snakemake.submitted == [first]
    assert run.log.count("continuing after epoch") == 1
    assert run.result == uninterrupted


def test_the_controller_is_away_for_a_while(
    run: OneRun, cluster: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    snakemake = run.start()
    run.wait_for_training()
    cluster.stop_controller()
    try:
        said = "SLURM does not say how its jobs are"
        wait_until(lambda: said in snakemake.printed, "nothing is said")
        # Longer than training takes: the job ends while nobody can be asked.
        wait_until(lambda: (run.folder / "provenance.json").exists(), "training did not end")
        time.sleep(5)
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


def cancelled(cluster: Cluster, job: str) -> None:
    wait_until(lambda: cluster.state(job) == "CANCELLED", "the job was not cancelled")


def finished(cluster: Cluster, job: str) -> None:
    wait_until(lambda: cluster.state(job) == "COMPLETED", "the job did not go on to its end")


@pytest.mark.parametrize(
    ("number", "job_is"),
    [(signal.SIGINT, cancelled), (signal.SIGTERM, finished), (signal.SIGKILL, finished)],
)
def test_snakemake_is_killed_and_started_again(
    number: signal.Signals,
    job_is: Callable[[Cluster, str], None],
    run: OneRun,
    cluster: Cluster,
    uninterrupted: dict[str, bytes],
) -> None:
    killed = run.start()
    run.wait_for_training()
    killed.process.send_signal(number)
    if number != signal.SIGTERM:  # Snakemake then waits for the jobs that run
        assert killed.end() != 0
    again = run.start()
    assert again.end() == 0, again.printed
    killed.end()
    assert len(killed.submitted) == 1
    job_is(cluster, killed.submitted[0])
    gone_on = "continuing after epoch" in run.log
    waited = "nothing to train" in run.log
    assert (gone_on, waited) == ((True, False) if number == signal.SIGINT else (False, True))
    assert run.result == uninterrupted
