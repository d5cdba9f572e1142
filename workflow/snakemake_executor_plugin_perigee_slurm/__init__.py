"""The executor of the profile `slurm/`: Snakemake's SLURM plugin, made to fail clearly.

It submits, tracks and cancels jobs as that plugin does (version 2.8.0), with these differences:

- All that is submitted together is one job step, with one Snakemake that runs its jobs side by
  side; the plugin runs the jobs of a group one after another, with two more Snakemakes each. What
  SLURM signals, before the time limit or by scancel, reaches the programs themselves (`forward`).
- Before a kind of job is first submitted SLURM is asked whether it would take it. If not, a
  sentence says which line of the profile to change (`refusals`).
- While SLURM does not answer, jobs stay tracked, new ones wait to be submitted, and that is told
  (`silence`); the plugin forgets the former and waits for ever, and lets the latter fail.
- A job that SLURM no longer lists, or that was preempted and does not come back, has failed
  (`absence`); the plugin waits for it for ever.
- It asks at equal intervals; the plugin's grow to three minutes, in which a job may end and leave
  squeue's list.
- States are read as sacct writes them, "CANCELLED by 1000" too.
- Whatever this Snakemake submitted is cancelled when it is told to stop; the plugin leaves out what
  it is asking about or submitting at that moment.
- A submission that fails for a reason of its own is a failed job, of groups too.
- How a job ended that could not tell itself, for want of memory for instance, is noted beside the
  logs of its runs, where `perigee status` finds it.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import snakemake_executor_plugin_slurm as plugin
from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings, common_settings
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string
from snakemake_executor_plugin_slurm_jobstep import get_cpu_setting, get_gpu_setting
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_perigee_slurm.absence import Absence
from snakemake_executor_plugin_perigee_slurm.refusals import NO_ANSWER, WRONG_ACCOUNT, refusal
from snakemake_executor_plugin_perigee_slurm.silence import Silence, TooLongError

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

FORWARD = Path(__file__).with_name("forward.py")

INVALID_ACCOUNT = "appears to be invalid"
"""The plugin's words about an account that is not among the user's."""

ANSWER_SECONDS = 30
"""How long SLURM may take to say whether it would take a job."""

CANCELLING_SECONDS = 60
"""How long it may take to cancel jobs."""

IDLE_SECONDS = 1
"""Between looks for jobs to ask about while there are none; the end of a workflow awaits one."""


PREEMPTED = "PREEMPTED"


class RefusedError(WorkflowError):
    """The cluster cannot do what is asked for; the message says what to change."""

    @property
    def __traceback__(self) -> None:  # type: ignore[override]
        """None: Snakemake would show lines of this file below the message."""

    @__traceback__.setter
    def __traceback__(self, traceback: object) -> None:
        pass


class Executor(SlurmExecutor):
    """See the module."""

    def __post_init__(self, test_mode: bool = False) -> None:
        if shutil.which("sbatch") is None:
            raise RefusedError(
                "There is no sbatch on this machine, so it is not a login node of a SLURM "
                "cluster; run here without --profile slurm, or log in to the cluster."
            )
        super().__post_init__(test_mode)
        self._accepted: set[str] = set()
        self._accounts: dict[str | None, str] = {}
        self._silence, self._silence_before_submitting = Silence(), Silence()
        self._absence = Absence()
        self._has_submitted = False
        self._states: dict[str, str] | None = None
        self._cancelled = threading.Event()
        plugin.query_job_status = self._ask

    def additional_general_args(self) -> str:
        """Snakemake's options within a job: a member that fails does not hold up the others."""
        return "--executor local --keep-going"

    def format_job_exec(self, job: JobExecutorInterface) -> str:
        """The command of a job: its one job step."""
        asks_for_gpu = bool(job.resources.get("gpu") or "gpu" in job.resources.get("gres", ""))
        share = f"{get_cpu_setting(job, asks_for_gpu)} {get_gpu_setting(job)}".strip()
        return (
            f"srun --nodes=1 --ntasks=1 --cpu-bind=quiet {share} {sys.executable} {FORWARD} "
            f"{super().format_job_exec(job)}"
        )

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Submit jobs.

        Raises:
            RefusedError: SLURM would refuse one, and has accepted none before.
        """
        for job in jobs:
            if sentence := self._refusal(job):
                if not self._accepted:
                    raise RefusedError(sentence)
                if sentence != NO_ANSWER:  # that is waited for
                    self.logger.error(sentence)  # others are at work: let this job alone fail
        super().run_jobs(jobs)

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit one job, once SLURM can be asked to."""
        try:
            self._wait_for_an_answer()
            if not self._cancelled.is_set():
                self._has_submitted = True
                super().run_job(job)
        except Exception as error:
            # The plugin fails in telling of what befell a group.
            cause = error.__context__ or error
            self._report_job_error_threadsafe(
                SubmittedJobInfo(job), f"{job.name} could not be submitted: {cause}"
            )

    def _wait_for_an_answer(self) -> None:
        """Return when the controller answers, or all is to be cancelled.

        Raises:
            TooLongError: it has not answered for a day.
        """
        silence = self._silence_before_submitting
        while not self._cancelled.is_set():
            answered = self._answers()
            if told := silence.note(answered, time.time()):
                self.logger.warning(told if answered else f"{told} New ones wait.")
            if answered:
                return
            settings = self.workflow.executor_settings
            self._cancelled.wait(settings.init_seconds_before_status_checks)

    def _answers(self) -> bool:
        """True if the controller answers."""
        question = ["squeue", "--noheader", "--name", self.run_uuid]
        try:
            return not subprocess.run(
                question, capture_output=True, timeout=ANSWER_SECONDS
            ).returncode
        except subprocess.TimeoutExpired:
            return False

    def cancel(self) -> None:
        """Cancel whatever was submitted, and submit no more."""
        try:
            self._end_submitting()
        finally:  # even if told a second time while it waits for a submission
            super().cancel()

    def shutdown(self) -> None:
        """End; what still waits to be submitted is not."""
        self._end_submitting()
        super().shutdown()

    def _end_submitting(self) -> None:
        self._cancelled.set()
        self._job_submission_executor.shutdown(wait=True, cancel_futures=True)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel all jobs of this Snakemake, which SLURM knows by their name."""
        if self._has_submitted:
            self._scancel(f"--name={self.run_uuid}")

    def _scancel(self, which: str) -> None:
        command = ["scancel", "--quiet", which]
        if self._submitted_job_clusters:
            command.append("--clusters=all")
        try:
            ended = subprocess.run(
                command,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=CANCELLING_SECONDS,
            )
        except subprocess.TimeoutExpired:
            self.logger.error(f"SLURM did not cancel the jobs within {CANCELLING_SECONDS} s.")
            return
        if ended.returncode:
            self.logger.error(f"The jobs could not be cancelled: {ended.stderr.strip()}")

    def report_job_error(
        self, job_info: SubmittedJobInfo, msg: str | None = None, **options: Any
    ) -> None:
        """Tell of a job that failed, of groups too, whose message Snakemake leaves out."""
        job = job_info.job
        if msg and job.is_group():
            self.logger.error(msg)
        if msg and job_info.external_jobid is not None and not self._cancelled.is_set():
            log = (job_info.aux or {}).get("slurm_logfile")
            for single in job.jobs if job.is_group() else [job]:
                note_end(single, f"{msg} SLURM's log: {log}.")
        super().report_job_error(job_info, msg=msg, **options)

    def get_account_arg(self, job: JobExecutorInterface) -> Iterator[str]:
        """The account as an option for sbatch, asked about once.

        Raises:
            WorkflowError: SLURM knows the account not to be this user's. That it cannot tell is
                left to submitting.
        """
        account = job.resources.get("slurm_account")
        if account not in self._accounts:
            try:
                self._accounts[account] = next(super().get_account_arg(job))
            except (WorkflowError, OSError) as error:
                if INVALID_ACCOUNT in str(error):
                    raise
                self.logger.warning(f"Whether the account is right is not known: {error}")
                self._accounts[account] = f" -A {shlex.quote(str(account))}" if account else ""
        yield self._accounts[account]

    def _refusal(self, job: JobExecutorInterface) -> str | None:
        """Why SLURM would not take the job; asked once for each kind of job."""
        from perigee.profiles import lost_resources  # not above, as in `note_end`

        for single in job.jobs if job.is_group() else [job]:
            if lost := lost_resources(sys.argv, single.rule.name, single.resources):
                return lost
        wanted = dict(job.resources)
        try:
            account = next(self.get_account_arg(job))
        except WorkflowError:
            return refusal(WRONG_ACCOUNT, job.name, wanted)
        asked_for = {
            "run_uuid": "check",
            "slurm_logfile": "/dev/null",
            "comment_str": "check",
            "account": account,
            "partition": self.get_partition_arg(job),
            "workdir": self.workflow.workdir_init,
        }
        call = get_submit_command(job, asked_for, self.workflow.executor_settings)
        call = f"{call} {set_gres_string(job)} --test-only --wrap true"
        if call in self._accepted:
            return None
        try:
            answer = subprocess.run(
                call,
                shell=True,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=ANSWER_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return NO_ANSWER
        if answer.returncode == 0:
            self._accepted.add(call)
            return None
        return refusal(answer.stderr, job.name, wanted)

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Yield the jobs that are still to be tracked."""
        if not active_jobs:
            # Also before __post_init__ has ended: this is called in a thread that starts earlier.
            self.next_seconds_between_status_checks = IDLE_SECONDS
            return
        self._states = None
        async for job in super().check_active_jobs(active_jobs):
            if not self._is_lost(job):
                yield job
        answered = self._states is not None
        if not answered:
            for job in active_jobs:
                yield job
        settings = self.workflow.executor_settings
        self.next_seconds_between_status_checks = settings.init_seconds_before_status_checks
        try:
            told = self._silence.note(answered, time.time())
        except TooLongError as error:
            raise WorkflowError(str(error)) from error
        if told:
            self.logger.warning(told)

    def _is_lost(self, info: SubmittedJobInfo) -> bool:
        """True if a job that the plugin would go on waiting for is gone; then that is reported."""
        assert self._states is not None  # it yields jobs after an answer only
        state = self._states.get(info.external_jobid)
        is_absent = state in (None, PREEMPTED)
        if not self._absence.note(info.external_jobid, is_absent, time.time()):
            return False
        what = "was preempted" if state else "is not in SLURM's list any more"
        if all(Path(file).exists() for file in info.job.output):
            self.logger.warning(f"Job {info.external_jobid} {what}; its files are there.")
            self.report_job_success(info)
        else:
            self._scancel(str(info.external_jobid))  # should it be there all the same
            self.report_job_error(info, msg=f"SLURM job {info.external_jobid} {what}.")
        return True

    async def _ask(
        self, *arguments: Any, **options: Any
    ) -> tuple[dict[str, str] | None, float | None]:
        """States of jobs by id, each in one word; kept, too."""
        states, seconds = await _states_as_written(*arguments, **options)
        if states is None:
            return None, seconds
        self._states = {job: (state.split() or [""])[0] for job, state in states.items()}
        return self._states, seconds


def note_end(job: JobExecutorInterface, why: str) -> None:
    """Note beside a job's log how it ended, unless its program did, or its files are there."""
    # Not above: Snakemake imports plugins first, and the library has to be that of its Snakefile.
    from perigee.failures import note_failure, noted_failure

    exit_status = 128 + signal.SIGTERM if "CANCELLED" in why else 1
    for log in map(Path, job.log):
        if noted_failure(log) is None and not all(Path(file).exists() for file in job.output):
            with suppress(OSError):
                log.parent.mkdir(parents=True, exist_ok=True)
            note_failure(log, why, exit_status)


_states_as_written = plugin.query_job_status
