"""The programs themselves, several at a time, on a machine with pretend GPUs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from perigee.configuration.runs import resolved_run
from perigee.identity.products import run_identity
from support.killing import ROOT, SPEC, build_digits

TESTS = ROOT / "tests"
ON_PRETEND_GPUS = (
    "import sys; _, folder, gpus, *sys.argv[1:] = sys.argv; sys.path.append(folder); "
    "from support import hooks; hooks.pretend_gpus(gpus.split(',')); "
    "from perigee.__main__ import main; main()"
)
"""A program, after the folder of the tests and the GPUs' names."""
LONG = 100_000
"""A number of epochs that no test waits for."""

Job = subprocess.Popen[str]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_digits(tmp_path_factory.mktemp("data") / "digits")


def told(dataset: Path, seed: int, epochs: int) -> dict[str, Any]:
    """The spec that the training of a run with this seed is given."""
    return {
        "run": SPEC | {"seed": seed},
        "epochs": epochs,
        "measures": [{"name": "checkpoints", "interval": epochs}],
        "dataset": str(dataset),
    }


def run_folder(dataset: Path, seed: int, store: Path) -> Path:
    """The folder of all versions of such a run."""
    digest = json.loads((dataset / "provenance.json").read_text())["digest"]
    run = resolved_run(SPEC | {"seed": seed}, "run", "")
    return store / run_identity(run, digest).folder


@pytest.fixture
def start(dataset: Path, tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Start the training of a run with this seed, or another program, and end it with the test."""
    jobs: list[Job] = []

    def begin(gpus: list[str], *arguments: object, seed: int = 0, epochs: int = LONG) -> Job:
        if not arguments:
            out = run_folder(dataset, seed, tmp_path) / f"e{epochs}"
            arguments = (
                *("train", "--spec", json.dumps(told(dataset, seed, epochs))),
                *("--out", out, "--progress-interval", 0.1),
            )
        command = [sys.executable, "-c", ON_PRETEND_GPUS, TESTS, ",".join(gpus), *arguments]
        job = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        jobs.append(job)
        return job

    yield begin
    for job in jobs:
        end(job)


@pytest.fixture
def gpus() -> list[str]:
    return [f"GPU-{uuid4()}" for _ in range(2)]


def end(job: Job) -> None:
    job.kill()
    job.wait()
    if job.stdout:
        job.stdout.close()


def read_until(job: Job, pattern: str) -> re.Match[str]:
    printed = ""
    for line in job.stdout or []:
        printed += line
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"{pattern!r} was not printed:\n{printed}")


def gpu_of(job: Job) -> str:
    """The device that it reports once it trains."""
    found = read_until(job, r"computing on (cuda:\d) \((.+)\)")
    read_until(job, r"epoch [1-9]\d*/")
    return found[2]


def test_training_jobs_share_out_the_gpus(start: Callable[..., Job], gpus: list[str]) -> None:
    """Two train, the third waits; it trains as soon as one is killed, and where that one did."""
    first, second = start(gpus, seed=1), start(gpus[::-1], seed=2)
    held = {gpu_of(first), gpu_of(second)}
    assert held == set(gpus)
    third = start(gpus, seed=3)
    waits = read_until(third, "waiting for a GPU: (.+)")[1]
    assert Counter(map(int, re.findall(r"held by process (\d+)", waits))) == {
        first.pid: 1,
        second.pid: 1,
    }
    end(first)
    # No sooner, since reading begins where the line about waiting ended.
    free = gpu_of(third)
    assert free in held
    end(second)
    assert gpu_of(start(gpus, seed=4)) != free


def test_a_job_that_waits_for_a_gpu_can_be_told_to_stop(
    start: Callable[..., Job], gpus: list[str]
) -> None:
    gpu_of(start(gpus[:1], seed=1))
    waiting = start(gpus[:1], seed=2)
    read_until(waiting, "waiting for a GPU")
    waiting.send_signal(signal.SIGTERM)
    printed, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 128 + signal.SIGTERM, printed
    assert "stopped by SIGTERM while waiting for a GPU; start it again to go on" in printed
    assert "Traceback" not in printed


def test_predictions_wait_for_a_gpu_too(
    start: Callable[..., Job], gpus: list[str], dataset: Path, tmp_path: Path
) -> None:
    short, training = start(gpus[1:], seed=1, epochs=2), start(gpus[:1], seed=2)
    printed, _ = short.communicate(timeout=120)
    assert short.returncode == 0, printed
    gpu_of(training)
    run = told(dataset, 1, 2) | {"folder": str(run_folder(dataset, 1, tmp_path))}
    spec = json.dumps(run | {"evaluation": {"name": "predictions"}})
    command = ("evaluate", "--spec", spec, "--out", tmp_path / "predictions")
    alone = start(gpus[:1], *command)
    assert int(read_until(alone, r"held by process (\d+)")[1]) == training.pid
    shared = start(gpus[:1], *command, "--runs-per-gpu", 2)
    printed, _ = shared.communicate(timeout=120)
    assert shared.returncode == 0, printed
    assert f"computing on cuda:0 ({gpus[0]})" in printed
    predictions = np.load(tmp_path / "predictions/predictions.npy")
    np.testing.assert_allclose(predictions.sum(axis=2), 1, rtol=1e-5)
    assert alone.poll() is None
    alone.send_signal(signal.SIGTERM)
    printed, _ = alone.communicate(timeout=60)
    assert alone.returncode == 128 + signal.SIGTERM, printed
    assert "stopped by SIGTERM while waiting for a GPU; start it again to go on" in printed
