"""The executor of the profile `slurm/`: Snakemake's SLURM plugin, made to fail clearly.

It submits, tracks and cancels jobs as that plugin does (version 2.8.0), with these differences:

- All that is submitted together is one job step, with one Snakemake that runs its jobs side by
  side; the plugin runs the jobs of a group one after another, with two more Snakemakes each. What
  SLURM signals, before the time limit or by scancel, reaches the programs themselves (`forward`).
- Before a kind of job is first submitted SLURM is asked whether it would take it. If not, a
  sentence says which line of the profile to change (`refusals`).
- While SLURM does not answer, jobs stay tracked, and that is told (`silence`); the plugin forgets
  them and waits for ever.
- It asks at equal intervals; the plugin's grow to three minutes, in which a job may end and leave
  squeue's list.
- States are read as sacct writes them, "CANCELLED by 1000" too.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
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

from snakemake_executor_plugin_perigee_slurm.refusals import NO_ANSWER, WRONG_ACCOUNT, refusal
from snakemake_executor_plugin_perigee_slurm.silence import Silence, TooLongError

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

FORWARD = Path(__file__).with_name("forward.py")

ANSWER_SECONDS = 30
"""How long SLURM may take to say whether it would take a job."""

IDLE_SECONDS = 1
"""Between looks for jobs to ask about while there are none; the end of a workflow awaits one."""


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
                "There is no sbatch on this machine, so it is no login node of a SLURM "
                "cluster; run here without --profile slurm, or log in to the cluster."
            )
        super().__post_init__(test_mode)
        self._accepted: set[str] = set()
        self._silence = Silence()

    def additional_general_args(self) -> str:
        """What Snakemake is told within a job."""
        return "--executor local"

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
                self.logger.error(sentence)  # others are at work: let this job alone fail
        super().run_jobs(jobs)

    def report_job_error(
        self, job_info: SubmittedJobInfo, msg: str | None = None, **options: Any
    ) -> None:
        """Tell of a job that failed, of groups too, whose message Snakemake leaves out."""
        if msg and job_info.job.is_group():
            self.logger.error(msg)
        super().report_job_error(job_info, msg=msg, **options)

    def _refusal(self, job: JobExecutorInterface) -> str | None:
        """Why SLURM would not take the job; asked once for each kind of job."""
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
                call, shell=True, capture_output=True, text=True, timeout=ANSWER_SECONDS
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
        answers = self._status_query_calls
        async for job in super().check_active_jobs(active_jobs):
            yield job
        answered = self._status_query_calls > answers
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


_states_as_written = plugin.query_job_status


async def _states(*arguments: Any, **options: Any) -> tuple[dict[str, str] | None, float | None]:
    """States of jobs by id, each in one word."""
    states, seconds = await _states_as_written(*arguments, **options)
    if states is None:
        return None, seconds
    return {job: state.split()[0] if state else state for job, state in states.items()}, seconds


plugin.query_job_status = _states
