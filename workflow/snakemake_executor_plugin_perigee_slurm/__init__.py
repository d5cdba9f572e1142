"""The executor of the profile `slurm/`: Snakemake's SLURM plugin, made to fail clearly.

It submits, tracks and cancels jobs as that plugin does, with four differences:
- all of a submission is one job step, with one Snakemake that runs its jobs side by side (that
  plugin runs the jobs of a group one after another, with two more Snakemakes each). What SLURM
  signals, before the time limit or by scancel, so reaches the programs themselves;
- before a kind of job is first submitted, SLURM is asked whether it would take it, and if not, one
  sentence says which line of the profile to change;
- while SLURM does not answer, jobs stay tracked (version 2.8.0 forgets them and then waits for
  ever), with a line when it stops and when it goes on answering;
- without sbatch it says so at once.

Beside it only `perigee.slurm`, which reads the queue to show it, knows of SLURM.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import AsyncGenerator

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings, common_settings
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string
from snakemake_executor_plugin_slurm_jobstep import get_cpu_setting, get_gpu_setting
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_perigee_slurm.refusals import refusal

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

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

    _silent_since: float | None = None

    def __post_init__(self, test_mode: bool = False) -> None:
        if shutil.which("sbatch") is None:
            raise RefusedError(
                "There is no sbatch on this machine, so it is no login node of a SLURM "
                "cluster; run here without --profile slurm, or log in to the cluster."
            )
        super().__post_init__(test_mode)
        self._accepted: set[str] = set()

    def additional_general_args(self) -> str:
        """What Snakemake is told within a submission."""
        return "--executor local"

    def format_job_exec(self, job: JobExecutorInterface) -> str:
        """The command of a submission: its one job step."""
        asks_for_gpu = bool(job.resources.get("gpu") or "gpu" in job.resources.get("gres", ""))
        share = f"{get_cpu_setting(job, asks_for_gpu)} {get_gpu_setting(job)}".strip()
        return f"srun --nodes=1 --ntasks=1 --cpu-bind=quiet {share} {super().format_job_exec(job)}"

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Submit jobs.

        Raises:
            RefusedError: SLURM would refuse one; what was submitted before is cancelled.
        """
        for job in jobs:
            if sentence := self._refusal(job):
                self.cancel()
                raise RefusedError(sentence)
        super().run_jobs(jobs)

    def _refusal(self, job: JobExecutorInterface) -> str | None:
        """Why SLURM would not take the job; asked once for each kind of job."""
        names = {"run_uuid": "check", "slurm_logfile": "/dev/null", "comment_str": "check"}
        asked_for = {
            "account": next(self.get_account_arg(job)),
            "partition": self.get_partition_arg(job),
            "workdir": self.workflow.workdir_init,
        }
        settings = self.workflow.executor_settings
        call = get_submit_command(job, names | asked_for, settings) + set_gres_string(job)
        if call in self._accepted:
            return None
        try:
            answer = subprocess.run(
                f"{call} --test-only --wrap true",
                shell=True,
                capture_output=True,
                text=True,
                timeout=ANSWER_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return None  # submitting will tell
        if answer.returncode == 0:
            self._accepted.add(call)
            return None
        return refusal(answer.stderr, job.name, dict(job.resources))

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
        if self._status_query_calls == answers:
            if self._silent_since is None:
                self._silent_since = time.time()
                self.logger.warning(
                    "SLURM does not say how its jobs are; asking on. Jobs that run are not touched."
                )
            for job in active_jobs:
                yield job
        elif self._silent_since is not None:
            seconds = time.time() - self._silent_since
            self.logger.warning(f"SLURM answers again, after {seconds:.0f} s.")
            self._silent_since = None
