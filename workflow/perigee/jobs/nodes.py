"""Processes that share a run on several nodes of a SLURM job.

SLURM starts the program once on each node, as a *part*, and each part starts the node's processes
(`perigee.jobs.shared`). Parts tell each other to stop through the store at which processes meet.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torch import distributed as dist

from perigee.errors import PerigeeError
from perigee.interruption import StopRequest
from perigee.jobs import shared
from perigee.jobs.shared import LOOK, Meeting, awaited, exit_status, new_store, run_here

ENDING = 15.0
"""The seconds that a part has besides, to see that it has to stop and to end (our choice)."""

PART = "PERIGEE_STARTED_AS_PART"
"""The variable that is set for a part: the program that started it holds the run's lock."""

STOP = "stop"
"""The key of the shared store by which parts tell each other to stop, or are told."""

JOINING = 300.0
"""The seconds that a part may take to find the store: importing PyTorch from a cluster's file
system can take minutes."""


def is_part() -> bool:
    """True in a program that `run_on_nodes` started on a node."""
    return PART in os.environ


def run_on_nodes(arguments: Sequence[str], processes: int, nodes: int, stop: StopRequest) -> int:
    """Run `perigee` with these arguments as parts on the nodes of this SLURM job.

    Args:
        arguments: of the command line.
        processes: how many on all nodes together.
        nodes: how many; where the job has fewer, parts share them.
        stop: is looked at all the time.

    Returns:
        The exit status, as of `perigee.jobs.shared.run_as_processes`.

    Raises:
        PerigeeError: this is not a SLURM job, or nodes would have different numbers of processes.
    """
    if processes % nodes:
        raise PerigeeError(
            f"Key 'processes_per_run' is {processes}, which {nodes} nodes (key 'nodes_per_run') "
            "cannot share out evenly; set it to a multiple of them."
        )
    if "SLURM_JOB_ID" not in os.environ or shutil.which("srun") is None:
        raise PerigeeError(
            f"Key 'nodes_per_run' is {nodes}, but this is not a SLURM job; set it to 1, or run "
            "with --profile slurm."
        )
    there = min(nodes, _nodes_of_job(nodes))
    store = new_store()
    given = {"MASTER_ADDR": socket.gethostname(), "MASTER_PORT": str(store.port), PART: "1"}
    srun = DetachedProgram(
        [
            *("srun", "--overlap", "--export=ALL", "--kill-on-bad-exit=0", "--wait=0"),
            *(f"--nodes={there}", f"--ntasks={nodes}", f"--ntasks-per-node={-(-nodes // there)}"),
            *(
                f"--cpus-per-task={processes // nodes}",
                "--cpu-bind=quiet",
                *shared.PROGRAM,
                *arguments,
            ),
        ],
        os.environ | given,
    )
    status = awaited([srun], lambda: bool(stop), lambda: _tell(store), ENDING)
    return exit_status(status, stop)


@contextmanager
def joined(processes: int, nodes: int, stop: StopRequest) -> Iterator[Part]:
    """This program as a part of those that `run_on_nodes` started.

    If it fails, all parts are told to stop.

    Args:
        processes, nodes, stop: see `run_on_nodes`.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(  # type: ignore[attr-defined]
        address, port, is_master=False, timeout=timedelta(seconds=JOINING)
    )
    each, number = processes // nodes, int(os.environ["SLURM_PROCID"])
    here = Meeting(address, port, range(each * number, each * (number + 1)), processes)
    try:
        yield Part(store, number, nodes, here, stop)
    except BaseException:
        _tell(store)
        raise


@dataclass(frozen=True)
class Part:
    """A part of a run, with the store by which parts hear of each other.

    Attributes:
        store: the store.
        number: its number, from 0.
        parts: how many there are.
        here: its processes.
        stop: is true once this part, or another one, is told to stop.
    """

    store: Any
    number: int
    parts: int
    here: Meeting
    stop: StopRequest

    def hear(self) -> None:
        """Note a request to stop that was told to others."""
        if not self.stop and _is_told(self.store):
            self.stop.note(signal.SIGTERM)

    def meet(self, waiting: Callable[[], None]) -> None:
        """Wait until all parts are ready, or told to stop: processes wait only so long.

        Args:
            waiting: called again and again; what it raises ends the waiting.
        """
        self.store.set(f"ready/{self.number}", "")
        while not self.store.check([f"ready/{part}" for part in range(self.parts)]):
            self.hear()
            waiting()
            if self.stop:
                return
            time.sleep(LOOK)

    def run(self, arguments: Sequence[str], gpus: Sequence[int] = ()) -> int:
        """Run the processes of this part, and wait for them; see `perigee.jobs.shared`.

        If one fails, or the program that started the parts is gone, all are told to stop.
        """

        def is_told() -> bool:
            self.hear()
            return bool(self.stop)

        status = run_here(arguments, self.here, gpus, is_told)
        if status:
            _tell(self.store)
        return exit_status(status, self.stop)


DETACHED = """
import os, subprocess, sys
if os.fork():
    os._exit(0)
program = subprocess.Popen(sys.argv[2:])
os.write(int(sys.argv[1]), b"%d " % program.pid)
os.write(int(sys.argv[1]), b"%d " % program.wait())
"""
"""A program that starts another one, tells its number and exit status, and is nobody's child."""


class DetachedProgram:
    """A program that no signal to this process, its group or its descendants reaches.

    Told to stop, srun has all tasks killed at once. SLURM tells all processes below a job's first
    one, or only that one, which tells all others; so this is not below it.

    Args:
        command: the program with its arguments.
        environment: its environment.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._reading, writing = os.pipe()
        subprocess.run(
            [sys.executable, "-c", DETACHED, str(writing), *command],
            env=environment,
            pass_fds=(writing,),
            start_new_session=True,
            check=True,
        )
        os.close(writing)
        os.set_blocking(self._reading, False)
        self._heard = b""
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status; None while the program runs, and 1 if nothing is known of its end."""
        with suppress(BlockingIOError):
            heard = os.read(self._reading, 100)
            self._heard += heard
            numbers = self._heard.split()
            if not heard:
                self.returncode = int(numbers[1]) if len(numbers) > 1 else 1
        return self.returncode

    def kill(self) -> None:
        """Have srun end its tasks, by the signal that makes it do so."""
        with suppress(ProcessLookupError, IndexError):
            os.kill(int(self._heard.split()[0]), signal.SIGTERM)


def _nodes_of_job(expected: int) -> int:
    """The number of nodes of this SLURM job; as many as expected if SLURM does not answer."""
    command = ["squeue", "--noheader", "--jobs", os.environ["SLURM_JOB_ID"], "--format", "%D"]
    try:
        told = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return expected
    return int(told) if told.strip().isdigit() else expected


def _is_told(store: Any) -> bool:
    """True if all are told to stop, or nobody is there any more to tell them."""
    try:
        return bool(store.check([STOP]))
    except RuntimeError:
        return True


def _tell(store: Any) -> None:
    """Have all parts told to stop, where anybody is left to tell them."""
    with suppress(RuntimeError):
        store.set(STOP, "")
