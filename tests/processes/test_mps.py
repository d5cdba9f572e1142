"""perigee.mps: jobs that share a GPU start one service together, and end it together.

The control program is a pretended one, which notes its calls; the trial of a GPU is replaced.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from perigee import gpus, mps
from perigee.mps import shared_gpus

VARIABLES = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
PROGRAM = """#!/bin/sh
echo "$* $(cat) ${CUDA_MPS_PIPE_DIRECTORY##*/} ${CUDA_VISIBLE_DEVICES-all}" >> "$CALLS"
sleep $SECONDS_TAKEN
case "$*" in -d) exit $STATUS;; *) exit $ALONE;; esac
"""
STARTED, ASKED, ENDED = "-d  pipe all", " get_server_list pipe all", " quit -t 1 pipe 1"

Calls = Callable[[], list[str]]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A pretended control program on PATH, and what it was called with so far."""
    programs, noted = tmp_path / "programs", tmp_path / "calls"
    programs.mkdir()
    (programs / mps.CONTROL).write_text(PROGRAM)
    (programs / mps.CONTROL).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(noted))
    monkeypatch.setenv("STATUS", "0")
    monkeypatch.setenv("ALONE", "0")
    monkeypatch.setenv("SECONDS_TAKEN", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is put back, whatever a test does
        monkeypatch.delenv(name)
    monkeypatch.setattr(mps, "PLACE", tmp_path)
    monkeypatch.setattr(mps, "TRIAL", "")
    return lambda: noted.read_text().splitlines() if noted.exists() else []


def variables() -> list[str | None]:
    return [os.environ.get(name) for name in VARIABLES]


def test_a_job_finds_the_service_while_it_computes(
    calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "perigee")
    with shared_gpus("auto", 2):
        own = mps.own_folder()
        assert variables() == [f"{own}/pipe", f"{own}/log"]
        assert (own / "pipe").is_dir()
        assert calls() == [STARTED]
    assert variables() == [None, None]
    assert len(caplog.messages) == 1


def test_the_first_job_starts_the_service_and_the_last_one_ends_it(calls: Calls) -> None:
    first, second = ExitStack(), ExitStack()
    first.enter_context(shared_gpus("auto", 2))
    second.enter_context(shared_gpus("cuda", 8))
    first.close()
    assert calls() == [STARTED]
    second.close()
    assert calls() == [STARTED, ENDED]
    with shared_gpus("auto", 2):
        assert calls() == [STARTED, ENDED, STARTED]


def test_a_job_that_was_killed_does_not_count_and_its_service_is_used(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import sys, time; from pathlib import Path; from perigee import mps\n"
        f"mps.PLACE, mps.TRIAL = Path({str(mps.PLACE)!r}), ''\n"
        "with mps.shared_gpus('auto', 2): print('in', flush=True); time.sleep(600)"
    )
    job = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert job.stdout is not None
        assert job.stdout.readline() == "in\n"
    finally:
        job.send_signal(signal.SIGKILL)
        job.communicate()
    assert calls() == [STARTED]
    monkeypatch.setenv("STATUS", "1")  # that of a start beside another daemon
    with shared_gpus("auto", 2):
        assert None not in variables()
    assert calls() == [STARTED, STARTED, ASKED, ENDED]


@pytest.mark.parametrize(
    ("trial", "status", "why", "called"),
    [
        ("raise SystemExit(5)", "0", "cannot use a GPU through it: it ended with 5", [ENDED]),
        ("", "3", "nvidia-cuda-mps-control -d: it ended with 3", [ASKED, ENDED]),
    ],
)
def test_without_a_service_jobs_compute_in_time_slices_and_one_says_so(
    trial: str,
    status: str,
    why: str,
    called: list[str],
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(mps, "TRIAL", trial)
    monkeypatch.setenv("STATUS", status)
    monkeypatch.setenv("ALONE", status)
    with shared_gpus("auto", 2), shared_gpus("auto", 2):
        assert variables() == [None, None]
    (message,) = caplog.messages
    assert "time slices" in message
    assert why in message
    assert calls() == [STARTED, *called]  # what has started is not left running


def test_a_folder_that_others_may_write_into_is_not_used(
    calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    mps.own_folder().chmod(0o777)
    with shared_gpus("auto", 2):
        assert variables() == [None, None]
    assert "only this user" in caplog.text
    assert calls() == []


def test_a_folder_that_cannot_be_made_ends_no_job(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mps, "PLACE", mps.PLACE / "absent")
    with shared_gpus("auto", 2):
        assert variables() == [None, None]
    assert "time slices" in caplog.text


@pytest.mark.parametrize(("device", "runs_per_gpu"), [("auto", 1), ("cpu", 4)])
def test_jobs_that_share_no_gpu_start_nothing(device: str, runs_per_gpu: int, calls: Calls) -> None:
    with shared_gpus(device, runs_per_gpu):
        assert variables() == [None, None]
    assert calls() == []


@pytest.mark.parametrize("has_gpus", [True, False])
def test_a_missing_control_program_is_told_where_there_are_gpus(
    has_gpus: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver = tmp_path / "driver"
    monkeypatch.setattr(mps, "DRIVER", driver)
    monkeypatch.setattr(mps, "PLACE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    if has_gpus:
        driver.mkdir()
    with shared_gpus("auto", 2), shared_gpus("auto", 2):
        assert None in variables()
    assert len(caplog.messages) == has_gpus
    assert all(mps.CONTROL in message for message in caplog.messages)


def test_slurm_jobs_have_services_of_their_own(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = mps.own_folder()
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert mps.own_folder() == before.with_name(f"{before.name}-17")


def test_a_job_finds_the_service_before_it_looks_for_gpus(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def no_gpus() -> tuple[str, ...]:
        seen.append(variables())
        return ()

    monkeypatch.setattr(gpus, "visible_gpus", no_gpus)
    with gpus.own_gpu("auto", 2) as device:
        assert device == "auto"
    ((pipe, log),) = seen
    assert pipe is not None
    assert log is not None


class ToldToStopError(Exception):
    """Raised by what is called while a job waits."""


def raise_at_call(number: int) -> Callable[[], None]:
    """A function that raises when it is called for the n-th time."""
    left = iter(range(number - 1, -1, -1))

    def waiting() -> None:
        if not next(left):
            raise ToldToStopError

    return waiting


def test_a_job_may_be_stopped_while_the_service_is_tried(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mps, "TRIAL", "import time; time.sleep(600)")
    with pytest.raises(ToldToStopError), shared_gpus("auto", 2, raise_at_call(3)):
        pytest.fail("the service was tried to its end")
    assert calls() == [STARTED, ENDED]  # nothing is left running
    monkeypatch.setattr(mps, "TRIAL", "")
    with shared_gpus("auto", 2):  # and the job that was stopped does not count
        assert calls() == [STARTED, ENDED, STARTED]


def test_a_job_may_be_stopped_while_the_service_starts(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECONDS_TAKEN", "5")

    def stopped() -> None:
        monkeypatch.setenv("SECONDS_TAKEN", "0")
        raise ToldToStopError

    with pytest.raises(ToldToStopError), shared_gpus("auto", 2, stopped):
        pytest.fail("the service was started to its end")
    assert calls() == [STARTED, ENDED]


def test_a_service_that_takes_its_time_is_told_once(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECONDS_TAKEN", str(2.5 * mps.PAUSE_S))
    monkeypatch.setenv("STATUS", "1")  # that of a start beside another daemon
    with shared_gpus("auto", 2):
        assert None not in variables()
    assert calls() == [STARTED, ASKED, ENDED]
    assert not (mps.own_folder() / "pipe").exists()


def test_a_job_may_be_stopped_while_another_one_joins(calls: Calls) -> None:
    with (mps.own_folder() / "turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ToldToStopError), shared_gpus("auto", 2, raise_at_call(2)):
            pytest.fail("two jobs had their turn at once")
    assert calls() == []


def test_a_program_that_hangs_counts_as_failed(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mps, "TRIAL", "import time; time.sleep(600)")
    monkeypatch.setattr(mps, "PATIENCE_S", 1)
    with shared_gpus("auto", 2):
        assert variables() == [None, None]
    assert "took more than 1 s" in caplog.text
    assert calls() == [STARTED, ENDED]
