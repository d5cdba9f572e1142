"""Snakemake on the test cluster, and its jobs in SLURM."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.workspace import HOLD, Workspace, make_holdable, sessions, show_rates, sweep_of

SCRIPTS = Path(__file__).parent
"""The folder of the cluster's own scripts."""

SECONDS = 300
"""The seconds after which a test stops waiting."""

FILES = ("losses.npy", "weights.npy", "state.safetensors")

TRAINING = ("periodic_fig3", "--until", "train_run")
"""The targets that make the run of `one_run` but not the products that need it."""


def wait_until(what: Callable[[], Any], why: str, seconds: float = SECONDS) -> Any:
    """Wait for something to be true, and return it."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"{why}: not within {seconds:g} s"
        time.sleep(0.1)
    return found


@dataclass
class Started:
    """A Snakemake on the cluster.

    Attributes:
        process: the process, whose signals do not reach this one.
        output: the file that it prints to.
    """

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def printed(self) -> str:
        return self.output.read_text()

    @property
    def submitted(self) -> list[str]:
        """The ids of the SLURM jobs that it submitted."""
        return re.findall(r"submitted with SLURM jobid (\d+)", self.printed)

    def end(self, seconds: float = SECONDS) -> int:
        """Its exit status, once it has one."""
        return self.process.wait(timeout=seconds)


@dataclass
class OneRun:
    """A workspace whose figure 3 shows a single run, and that run as the target.

    Attributes:
        workspace: the workspace, at smoke scale.
        version: the run's version, as rules name it.
        started: all Snakemake processes, in order.
    """

    workspace: Workspace
    version: str
    started: list[Started] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.workspace.root / "results/store/run" / self.version

    @property
    def log(self) -> str:
        """The log of the training job's last attempt: Snakemake removes those of earlier ones."""
        logs = list(self.workspace.root.glob(f"results/logs/train_run/{self.version}.*.log"))
        return "".join(path.read_text() for path in logs)

    @property
    def sessions(self) -> list[str]:
        """The time at which each process that trained the finished run began."""
        return sessions(self.folder)

    def release(self) -> None:
        """Let training continue to its end."""
        (self.workspace.root / HOLD).unlink()

    def slurm_log(self, job: str) -> str:
        """The log of a SLURM job, which is kept unless the job was successful."""
        (path,) = self.workspace.root.glob(f".snakemake/slurm_logs/*/{job}.log")
        return path.read_text()

    @property
    def result(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in FILES}

    def start(self, *options: str, hold: bool = False) -> Started:
        """Start `snakemake --profile slurm` for the run; hold its training midway on request."""
        if hold:
            (self.workspace.root / HOLD).touch()
        output = self.workspace.root.parent / f"snakemake-{len(self.started)}.log"
        command = [
            *(str(Path(sys.executable).with_name("snakemake")), "--profile", "slurm", *TRAINING),
            *("--config", "scale=smoke", "save_interval=0.2", *options),
            *("--perigee-slurm-init-seconds-before-status-checks", "2"),
        ]
        with output.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=self.workspace.root,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(Started(process, output))
        return self.started[-1]

    def wait_for_training(self) -> None:
        """Wait until a state was saved midway through training."""
        unfinished = self.folder.parent / "unfinished" / self.folder.name
        wait_until((unfinished / "latest.safetensors").exists, "no state was saved")

    def stop(self) -> None:
        """End the processes that a failed test left."""
        for one in self.started:
            if one.process.poll() is None:
                one.process.send_signal(signal.SIGKILL)
                one.process.wait()


def one_run(workspace: Workspace, epochs: int) -> OneRun:
    """Make figure 3 of a workspace show one run with a number of epochs."""

    def edit(study: dict[str, Any]) -> None:
        study["figures"] = {"fig3": study["figures"]["fig3"]}
        show_rates(study, 0.5)
        sweep_of(study)["epochs"] = epochs

    workspace.edit_paper(edit)
    make_holdable(workspace)
    dry = workspace.snakemake("periodic_fig3", options=("-n",)).stdout
    (version,) = re.findall(r"^Job \d+: train_run (\S+)$", dry, flags=re.MULTILINE)
    return OneRun(workspace, version)


@dataclass(frozen=True)
class Cluster:
    """The test cluster.

    Attributes:
        root: its folder.
    """

    root: Path

    def job(self, number: str) -> dict[str, str]:
        """The output of `scontrol show job` for a job."""
        return dict(re.findall(r"(\w+)=(\S*)", self.command("scontrol", "show", "job", number)))

    def members(self, number: str) -> int:
        """The number of training runs in a SLURM job."""
        script = self.command("scontrol", "write", "batch_script", number, "-")
        return len(re.findall(r"[\s']train_run\w*:version=", script))

    def first_processes(self) -> list[int]:
        """The pids of the job steps that SLURM itself started, except batch scripts."""
        tree = subprocess.run(
            ["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        ).stdout
        processes = [line.split(maxsplit=2) for line in tree.splitlines()]
        steps = {pid for pid, _, args in processes if re.match(r"slurmstepd: \[\d+\.\d+\]", args)}
        return [int(pid) for pid, parent, _ in processes if parent in steps]

    def state(self, number: str) -> str:
        """The state of a job: PENDING, RUNNING, COMPLETED, FAILED, ..."""
        return self.job(number)["JobState"]

    def command(self, *words: str) -> str:
        """Run a command of SLURM."""
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout

    def clear(self) -> None:
        """Cancel the jobs that a failed test left, and wait until they are gone."""
        self.command("scancel", "--quiet", "--user=root")
        left = ["squeue", "--noheader", "--states=PENDING,RUNNING,COMPLETING"]
        wait_until(lambda: not self.command(*left), "jobs could not be cancelled", 60)

    def take_node_down(self) -> None:
        """Take the node down like a crash; SLURM takes it back even if nobody resumes it."""
        name = self.command("scontrol", "show", "node", "--oneliner").split()[0].split("=")[1]
        self.command("scontrol", "update", f"nodename={name}", "state=down", "reason=test")

    def take_node_up(self) -> None:
        """Resume the node if necessary, and wait until it can be used."""
        start = SCRIPTS / "start-cluster.sh"
        subprocess.run([start], check=True, timeout=90, stdout=subprocess.DEVNULL)

    def stop_controller(self) -> None:
        """End slurmctld, and wait until it does not answer."""
        pid = (self.root / "run/slurmctld.pid").read_text().strip()
        subprocess.run(["kill", pid], check=True)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "slurmctld did not end", 30)

    def start_controller(self) -> None:
        """Start slurmctld again."""
        start = SCRIPTS / "start-cluster.sh"
        subprocess.run([start], check=True, timeout=90, stdout=subprocess.DEVNULL)
