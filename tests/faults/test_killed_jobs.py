"""A killed training job loses nothing, and its result is the same to the bit."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.killing import (
    EPOCHS,
    MEASURES,
    STEPS,
    Jobs,
    build_digits,
    resumed_after,
    trial,
    wait_for_saves,
)

TRIALS = int(os.environ.get("PERIGEE_KILL_TRIALS", "3"))
"""The number of SIGKILLs at random moments; the long mode sets 200."""


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_digits(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(scope="session")
def uninterrupted(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    jobs = Jobs.in_store(dataset, tmp_path_factory.mktemp("whole"))
    assert resumed_after(jobs.finish()) == 0
    files = jobs.files()
    assert {"losses.npy", "weights.npy", "state.safetensors", "provenance.json"} < files.keys()
    rows = [name.partition("-")[0] for name in files if name.endswith("/rows.npy")]
    assert sorted(rows) == sorted(measure["name"] for measure in MEASURES)
    return files


@pytest.mark.parametrize("seed", range(TRIALS))
def test_killed_at_random_moments(
    seed: int, dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    jobs = Jobs.in_store(dataset, tmp_path)
    trial(jobs, seed, kills=1 if TRIALS < 100 else 1 + seed % 2)
    assert jobs.files() == uninterrupted
    assert not (jobs.out / "unfinished").exists() or not list(jobs.state.parent.glob("*"))
    assert not list(jobs.out.glob(".writing-*"))


@pytest.mark.parametrize(
    "numbers", [[signal.SIGTERM], [signal.SIGINT, signal.SIGTERM, signal.SIGINT]]
)
def test_told_to_stop(
    numbers: list[signal.Signals], dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    """A second signal does not interrupt the saving."""
    jobs = Jobs.in_store(dataset, tmp_path)
    job = jobs.start(save_interval=3600)
    lines = iter(job.stdout or [])
    while not re.search(r"epoch ([5-9]|[12]\d)/", next(lines)):
        continue
    first, *further = numbers
    job.send_signal(first)
    printed = next(line for line in lines if f"{first.name} received: saving" in line)
    for number in further:
        job.send_signal(number)
    printed += "".join(lines)
    assert job.wait(timeout=60) == 128 + first
    *_, last = printed.strip().splitlines()
    assert f"was stopped by {first.name} after epoch" in last
    assert "its state is saved, start it again to go on" in last
    assert "Traceback" not in printed
    # Saved where it stopped, not at some interval before.
    assert resumed_after(jobs.finish()) >= 12 * 5
    assert jobs.files() == uninterrupted


def test_a_login_session_that_ends(
    dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    """SIGHUP comes, and nobody reads any more what the job prints."""
    jobs = Jobs.in_store(dataset, tmp_path)
    job = jobs.start(save_interval=3600)
    assert job.stdout is not None
    assert any(re.search(r"epoch ([5-9]|[12]\d)/", line) for line in job.stdout)
    job.stdout.close()
    job.send_signal(signal.SIGHUP)
    assert job.wait(timeout=60) == 128 + signal.SIGHUP
    assert resumed_after(jobs.finish()) >= 12 * 5
    assert jobs.files() == uninterrupted


def first_held_and_second_waiting(
    jobs: Jobs,
) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """Two jobs for one run, the first stopped by SIGSTOP in mid-training."""
    first = jobs.start()
    wait_for_saves(jobs.state, first, 3)  # the first may be that before any step
    first.send_signal(signal.SIGSTOP)
    second = jobs.start()
    assert any("waiting for process" in line for line in second.stdout or [])
    return first, second


def test_of_two_jobs_for_one_run_the_second_waits_and_leaves(
    dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    jobs = Jobs.in_store(dataset, tmp_path)
    first, second = first_held_and_second_waiting(jobs)
    first.send_signal(signal.SIGCONT)
    printed = [job.communicate(timeout=120)[0] for job in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), printed
    assert "nothing to train" in printed[1]
    assert jobs.files() == uninterrupted


def test_when_the_first_dies_the_second_goes_on(
    dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    jobs = Jobs.in_store(dataset, tmp_path)
    first, second = first_held_and_second_waiting(jobs)
    first.kill()
    first.wait()
    printed, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    assert 0 < resumed_after(printed) < STEPS
    assert jobs.files() == uninterrupted


def test_a_waiting_job_can_be_told_to_stop(dataset: Path, tmp_path: Path) -> None:
    jobs = Jobs.in_store(dataset, tmp_path)
    first, second = first_held_and_second_waiting(jobs)
    second.send_signal(signal.SIGTERM)
    printed, _ = second.communicate(timeout=60)
    first.kill()
    first.wait()
    assert second.returncode == 128 + signal.SIGTERM
    assert ": stopped by SIGTERM while waiting for the run's lock; start it again" in printed


@pytest.mark.parametrize("what", ["*-*", "losses.npy"])
def test_what_was_deleted_is_made_again(
    what: str, dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    """All measures, by a run that follows the finished one; a file of the run by training."""
    jobs = Jobs.in_store(dataset, tmp_path)
    jobs.finish()
    for path in jobs.out.glob(what):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    printed = jobs.finish()
    assert ("is trained again to measure" in printed) == (what != "losses.npy")
    files = jobs.files()
    for name, provenance in files.items():
        if name.endswith("/provenance.json") and provenance["details"]["by"] == "replay":
            provenance["details"]["by"] = "training"
    assert files == uninterrupted
    assert "nothing to train" in jobs.finish()


def test_a_replay_that_is_killed_goes_on(
    dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    jobs = Jobs.in_store(dataset, tmp_path)
    jobs.finish()
    (layers,) = jobs.out.glob("layers-*")
    shutil.rmtree(layers)
    job = jobs.start()
    wait_for_saves(jobs.state, job, 3)
    job.kill()
    printed, _ = job.communicate()
    assert "is trained again to measure layers" in printed
    assert not layers.exists(), "killed too late"
    assert 0 < resumed_after(jobs.finish()) < STEPS
    rows = f"{layers.name}/rows.npy"
    assert jobs.files()[rows] == uninterrupted[rows]


def test_another_number_of_epochs_in_a_folder_named_by_hand_is_trained(
    dataset: Path, tmp_path: Path
) -> None:
    for epochs in (3, 4):
        jobs = Jobs(dataset, tmp_path / "run", epochs=epochs)
        assert "nothing to train" not in jobs.finish()
        assert jobs.files()["provenance.json"]["details"]["epochs"] == epochs


def test_more_epochs_compute_only_the_new_ones(
    dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    """A killed run that continues a shorter version, measures included, gives the same result."""
    assert resumed_after(Jobs.in_store(dataset, tmp_path, epochs=14).finish()) == 0
    longer = Jobs.in_store(dataset, tmp_path)
    status, printed = longer.kill(signal.SIGKILL, random.Random(0))
    assert status == -signal.SIGKILL
    assert resumed_after(printed) == 12 * 14
    assert resumed_after(longer.finish()) > 12 * 14
    files = longer.files()
    for name, provenance in files.items():
        if name.endswith("provenance.json"):
            assert provenance["details"]["trained_epochs"] == EPOCHS - 14
            provenance["details"]["trained_epochs"] = EPOCHS
    assert files == uninterrupted
