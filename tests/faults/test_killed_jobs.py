"""A killed training job loses nothing, and its result is the same to the bit."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from killing import EPOCHS, ROOT, SPEC, STEPS, Jobs, resumed_after, trial, wait_for_saves

from perigee.configuration.studies import resolved_run
from perigee.identity.products import run_identity

TRIALS = int(os.environ.get("PERIGEE_KILL_TRIALS", "8"))
"""Of SIGKILL at random moments; the long mode sets 200."""


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "digits"
    build = [sys.executable, ROOT / "workflow/scripts/build_dataset.py"]
    subprocess.run([*build, "--spec", '{"name": "digits"}', "--out", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def uninterrupted(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    jobs = Jobs(dataset, tmp_path_factory.mktemp("whole"))
    assert resumed_after(jobs.finish()) == 0
    files = jobs.files()
    assert {"metrics.parquet", "steps.parquet", "state.safetensors"} < files.keys()
    assert {"trajectory.npy", "trajectory.json"} < files.keys()
    return files


@pytest.mark.parametrize("seed", range(TRIALS))
def test_killed_at_random_moments(
    seed: int, dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    jobs = Jobs(dataset, tmp_path / "run")
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
    """A second signal does not cut the saving short."""
    jobs = Jobs(dataset, tmp_path / "run")
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
    jobs = Jobs(dataset, tmp_path / "run")
    first, second = first_held_and_second_waiting(jobs)
    first.send_signal(signal.SIGCONT)
    printed = [job.communicate(timeout=120)[0] for job in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), printed
    assert "nothing to train" in printed[1]
    assert jobs.files() == uninterrupted


def test_when_the_first_dies_the_second_goes_on(
    dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    jobs = Jobs(dataset, tmp_path / "run")
    first, second = first_held_and_second_waiting(jobs)
    first.kill()
    first.wait()
    printed, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    assert 0 < resumed_after(printed) < STEPS
    assert jobs.files() == uninterrupted


def test_a_waiting_job_can_be_told_to_stop(dataset: Path, tmp_path: Path) -> None:
    jobs = Jobs(dataset, tmp_path / "run")
    first, second = first_held_and_second_waiting(jobs)
    second.send_signal(signal.SIGTERM)
    printed, _ = second.communicate(timeout=60)
    first.kill()
    first.wait()
    assert second.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM while waiting" in printed


def test_outputs_that_were_deleted_are_put_back(
    dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    """As Snakemake deletes them if it takes a job that had finished for failed."""
    jobs = Jobs(dataset, tmp_path / "run")
    jobs.finish()
    for path in jobs.out.iterdir():
        if path.is_file() and not path.name.startswith("."):
            path.unlink()
    printed = jobs.finish()
    assert "is put back" in printed
    assert "steps/s" not in printed
    assert jobs.files() == uninterrupted


def test_a_damaged_spare_is_not_put_back(
    dataset: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    jobs = Jobs(dataset, tmp_path / "run")
    jobs.finish()
    # One file with two names: damage to the one is damage to the other.
    with (jobs.out / "metrics.parquet").open("r+b") as file:
        file.seek(100)
        file.write(b"damage")
    printed = jobs.finish()
    assert "nothing to train" not in printed
    assert f"epoch {EPOCHS}/{EPOCHS}" in printed
    assert jobs.files() == uninterrupted


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
    """From the end of a shorter version, its trajectory too; killed on the way."""
    digest = json.loads((dataset / "provenance.json").read_text())["digest"]
    run = tmp_path / f"few-{run_identity(resolved_run(SPEC, 'run', ''), digest).digest}"
    assert resumed_after(Jobs(dataset, run / "e14-every7", epochs=14).finish()) == 0
    longer = Jobs(dataset, run / f"e{EPOCHS}-every7")
    status, printed = longer.kill(signal.SIGKILL, random.Random(0))
    assert status == -signal.SIGKILL
    assert resumed_after(printed) == 12 * 14
    assert resumed_after(longer.finish()) > 12 * 14
    files = longer.files()
    assert files["provenance.json"]["details"].pop("trained_epochs") == EPOCHS - 14
    expected = {**uninterrupted, "provenance.json": dict(uninterrupted["provenance.json"])}
    details = dict(expected["provenance.json"]["details"])
    assert details.pop("trained_epochs") == EPOCHS
    expected["provenance.json"]["details"] = details
    assert files == expected
