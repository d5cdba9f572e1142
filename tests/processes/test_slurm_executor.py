"""The executor of the profile `slurm/` when SLURM does not answer, or answers differently."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import snakemake_executor_plugin_slurm as plugin
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

import snakemake_executor_plugin_perigee_slurm as executor
from perigee.failures import note_failure, noted_failure
from snakemake_executor_plugin_perigee_slurm.absence import LOST_SECONDS, Absence
from snakemake_executor_plugin_perigee_slurm.silence import (
    LONGEST_SECONDS,
    REMINDER_SECONDS,
    Silence,
    TooLongError,
)


def test_silence_is_told_once_and_so_is_its_end() -> None:
    silence = Silence()
    told = [silence.note(answered, now) for now, answered in enumerate([1, 0, 0, 0, 1, 1, 0])]
    assert [bool(words) for words in told] == [False, True, False, False, True, False, True]
    assert told[4] == "SLURM answers again, after 3 s."
    assert told[1] == told[6]


def test_long_silence_is_told_every_hour_and_ends_after_a_day() -> None:
    silence = Silence()
    told = []
    minutes = range(0, LONGEST_SECONDS, 60)
    for now in minutes:
        told.append(silence.note(False, now))
    reminders = [words for words in told[1:] if words]
    assert len(reminders) == LONGEST_SECONDS // REMINDER_SECONDS - 1
    assert reminders[4] == "SLURM has not answered for 5 h; asking on."
    with pytest.raises(TooLongError, match="for a day"):
        silence.note(False, LONGEST_SECONDS)


def test_a_job_that_slurm_does_not_list_for_long_is_lost() -> None:
    absence = Absence()
    assert not absence.note("1", True, 0)
    assert not absence.note("1", True, LOST_SECONDS - 1)
    assert not absence.note("1", False, LOST_SECONDS)  # there again
    assert not absence.note("1", True, LOST_SECONDS + 1)
    assert not absence.note("2", True, 2 * LOST_SECONDS)  # another one
    assert absence.note("1", True, 2 * LOST_SECONDS + 1)
    assert not absence.note("1", True, 2 * LOST_SECONDS + 2)  # told once


class Log:
    """A handler that collects messages."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda message, **options: self.told.append(str(message))


@dataclass
class PretendJob:
    """The part of a job, or of a group of one, that the executor uses."""

    output: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    resources: dict[str, Any] = field(default_factory=dict)
    name: str = "train_run"
    group: bool = False

    @property
    def jobs(self) -> list[PretendJob]:
        return [replace(self, group=False)]

    def is_group(self) -> bool:
        return self.group


class Pretend(executor.Executor):
    """An executor without a workflow, which notes what it would report to Snakemake."""

    def __init__(self) -> None:
        self.logger = Log()
        settings = SimpleNamespace(init_seconds_before_status_checks=0.01)
        self.workflow = SimpleNamespace(executor_settings=settings)
        self.run_uuid = "ours"
        self.reported: list[tuple[str, str | None]] = []
        self._absence, self._silence = Absence(), Silence()
        self._silence_before_submitting, self._has_submitted = Silence(), False
        self._states = None
        self._accounts = {}
        self._cancelled = threading.Event()
        self._submitted_job_clusters = set()

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        self.reported.append(("success", None))

    def _report_job_error_threadsafe(self, job_info: SubmittedJobInfo, msg: str) -> None:
        self.reported.append(("error", msg))


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    def report(
        self: Pretend, info: SubmittedJobInfo, msg: str | None = None, **options: Any
    ) -> None:
        self.reported.append(("error", msg))

    monkeypatch.setattr(plugin.Executor, "report_job_error", report)
    return Pretend()


def answering(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, str] | None) -> None:
    """Let SLURM give these answers, question by question."""
    left = iter(answers)

    async def answer() -> tuple[dict[str, str] | None, float | None]:
        return next(left), 0.1

    monkeypatch.setattr(executor, "_states_as_written", answer)


def test_states_are_read_as_sacct_writes_them(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, {"1": "CANCELLED by 1000", "2": "COMPLETED", "3": ""}, None)
    states, seconds = asyncio.run(pretend._ask())
    assert states == {"1": "CANCELLED", "2": "COMPLETED", "3": ""}
    assert seconds == 0.1
    assert asyncio.run(pretend._ask())[0] is None  # no answer stays none


@pytest.mark.parametrize("state", [None, "PREEMPTED"])
@pytest.mark.parametrize("finished", [False, True])
def test_a_lost_job_has_failed_unless_its_files_are_there(
    state: str | None,
    finished: bool,
    pretend: Pretend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output, log = tmp_path / "metrics.parquet", tmp_path / "logs/e4.log"
    if finished:
        output.touch()
    job = PretendJob(output=[str(output)], log=[str(log)], group=True)
    info = SubmittedJobInfo(job, external_jobid="7", aux={"slurm_logfile": "7.log"})
    cancelled = tmp_path / "cancelled"
    programs(tmp_path, monkeypatch, scancel=f'echo "$*" > {cancelled}')
    clock = iter([0, LOST_SECONDS + 1])
    monkeypatch.setattr(executor, "time", SimpleNamespace(time=lambda: next(clock)))
    pretend._states = {} if state is None else {"7": state}
    assert not pretend._is_lost(info)
    assert not pretend.reported
    assert pretend._is_lost(info)
    ((what, why),) = pretend.reported
    assert what == ("success" if finished else "error")
    if not finished:
        assert "SLURM job 7" in str(why)
        failure = noted_failure(log)
        assert failure is not None
        assert failure.reason.endswith("SLURM's log: 7.log.")
        assert not failure.was_stopped
    assert cancelled.exists() == (not finished), "it may be at work all the same"


def test_a_cancelled_job_was_stopped_and_has_not_failed(pretend: Pretend, tmp_path: Path) -> None:
    log = tmp_path / "logs/e4.log"
    info = SubmittedJobInfo(
        PretendJob(output=[str(tmp_path / "none")], log=[str(log)]), external_jobid="7", aux={}
    )
    pretend.report_job_error(info, msg="SLURM-job '7' failed, SLURM status is: 'CANCELLED'.")
    failure = noted_failure(log)
    assert failure is not None
    assert failure.was_stopped


def test_what_a_program_said_of_its_end_is_kept(pretend: Pretend, tmp_path: Path) -> None:
    log = tmp_path / "e4.log"
    note_failure(log, "no such data set", exit_status=1)
    job = PretendJob(output=[str(tmp_path / "none")], log=[str(log)])
    info = SubmittedJobInfo(job, external_jobid="7", aux={})
    pretend.report_job_error(info, msg="SLURM-job '7' failed.")
    failure = noted_failure(log)
    assert failure is not None
    assert failure.reason == "no such data set"


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **bodies: str) -> None:
    """Shell scripts that stand first on PATH."""
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_job_waits_to_be_submitted_until_slurm_answers(
    pretend: Pretend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    body = f'echo "$*" >> {asked}; [ $(wc -l < {asked}) -ge 3 ]'
    programs(tmp_path, monkeypatch, squeue=body)
    submitted = []
    monkeypatch.setattr(plugin.Executor, "run_job", lambda self, job: submitted.append(job))
    pretend.run_job(PretendJob())
    assert asked.read_text().splitlines() == ["--noheader --name ours"] * 3
    assert len(submitted) == 1
    silent, again = pretend.logger.told
    assert silent.startswith("SLURM does not say how its jobs are")
    assert silent.endswith("New ones wait.")
    assert again.startswith("SLURM answers again")


def test_after_cancelling_nothing_is_submitted(
    pretend: Pretend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, squeue="exit 1")
    monkeypatch.setattr(plugin.Executor, "run_job", lambda self, job: pytest.fail("submitted"))
    waiting = threading.Thread(target=pretend.run_job, args=[PretendJob()])
    waiting.start()
    pretend._cancelled.set()
    waiting.join(timeout=20)
    assert not waiting.is_alive()
    assert not pretend.reported


def test_a_group_that_cannot_be_submitted_has_failed(
    pretend: Pretend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_job(self: Pretend, job: PretendJob) -> None:
        try:
            raise OSError("disk quota exceeded")
        except OSError:
            job.rule  # type: ignore[attr-defined]  # noqa: B018  as the plugin does; a group has none

    programs(tmp_path, monkeypatch, squeue="exit 0")
    monkeypatch.setattr(plugin.Executor, "run_job", run_job)
    pretend.run_job(PretendJob(group=True))
    assert pretend.reported == [
        ("error", "train_run could not be submitted: disk quota exceeded"),
    ]


def test_all_jobs_of_this_snakemake_are_cancelled(
    pretend: Pretend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those too that are asked about or submitted at that moment, and so not in the list."""
    programs(tmp_path, monkeypatch, scancel=f'echo "$*" > {tmp_path / "said"}')
    pretend.cancel_jobs([])
    assert not (tmp_path / "said").exists(), "nothing was submitted"
    pretend._has_submitted = True
    pretend.cancel_jobs([])
    assert (tmp_path / "said").read_text() == "--quiet --name=ours\n"
    programs(tmp_path, monkeypatch, scancel="echo no such user >&2; exit 1")
    pretend.cancel_jobs([])
    assert pretend.logger.told == ["The jobs could not be cancelled: no such user"]


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        ("The given account ours appears to be invalid. Available accounts:\ntheirs", True),
        ("The 'sacctmgr' reported: 'Unable to test ...'", False),
    ],
)
def test_an_account_that_cannot_be_checked_is_tried(
    error: str, refused: bool, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def check(self: Pretend, job: PretendJob) -> Iterator[str]:
        asked.append(job)
        raise WorkflowError(error)
        yield ""

    monkeypatch.setattr(plugin.Executor, "get_account_arg", check)
    job = PretendJob(resources={"slurm_account": "ours"})
    if refused:
        with pytest.raises(WorkflowError, match="appears to be invalid"):
            next(pretend.get_account_arg(job))
        return
    assert [next(pretend.get_account_arg(job)) for _ in range(2)] == [" -A ours"] * 2
    assert len(asked) == 1


FAMILY = """
import signal, subprocess, sys
def note(*_):  # as Snakemake, it waits for its jobs
    print("told after them", flush=True)
signal.signal(signal.SIGTERM, note)
script = "trap 'echo told' TERM; sleep 30 & echo ready; wait; sleep 3"
sys.exit(subprocess.Popen(["bash", "-c", script]).wait())
"""


def test_a_signal_is_passed_on_to_all_that_was_started() -> None:
    """To Snakemake later, which hangs if it hears two signals at once: SLURM may send one, too."""
    command = [sys.executable, str(executor.FORWARD), sys.executable, "-c", FAMILY]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert printed.splitlines() == ["told", "told after them"]
    assert process.returncode == 0


@pytest.mark.parametrize(("ended", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_the_status_of_the_command_is_passed_on(ended: str, status: int) -> None:
    command = [sys.executable, str(executor.FORWARD), "bash", "-c", ended]
    assert subprocess.run(command, check=False).returncode == status


def test_the_plugin_leaves_it_to_the_snakefile_which_library_is_used() -> None:
    """Snakemake imports plugins before it reads a Snakefile, perhaps of another checkout."""
    code = "import snakemake_executor_plugin_perigee_slurm, sys; print('perigee' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
