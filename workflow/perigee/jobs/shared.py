"""A program as several processes that share its work, on this machine or on nodes of a SLURM job.

They are given what torchrun would give them. Its agent is not used: signals that come while it
starts processes are lost, a third one ends it before the processes, and processes outlive it. On
several nodes SLURM starts the program once on each of them, which is a *part* that starts the
node's processes.
"""

from __future__ import annotations

import ctypes
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

GRACE = 90.0
"""The seconds that told processes have to save and end before they are killed (our choice): a
cluster's profile asks for the signal two minutes before the time limit."""

ENDING = 15.0
"""The seconds that a part has besides, to see that it has to stop and to end (our choice)."""

LOOK = 0.1
"""The seconds between looks at the processes."""

KILLED = 128
"""The number that a shell adds to that of the signal which ended a program."""

STARTED = "PERIGEE_STARTED_AS_ONE_OF_SEVERAL"
"""The variable that is set for them: their parent holds the run's lock and their GPUs."""

PART = "PERIGEE_STARTED_AS_PART"
"""The variable that is set for a part: the program that started it holds the run's lock."""

STOP = "stop"
"""The key of the shared store by which parts tell each other to stop, or are told."""

JOINING = 300.0
"""The seconds that a part may take to find the store: importing PyTorch from a cluster's file
system can take minutes."""

PROGRAM = (sys.executable, "-m", "perigee")

PR_SET_PDEATHSIG = 1


def is_child() -> bool:
    """True in a process that `run_as_processes` started."""
    return STARTED in os.environ


def end_with_parent() -> None:
    """Have this process told to stop when its parent dies, where the system can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def is_part() -> bool:
    """True in a program that `run_on_nodes` started on a node."""
    return PART in os.environ


@dataclass(frozen=True)
class Meeting:
    """The place where the processes of a run meet, and those that are started here.

    Attributes:
        address, port: of the store that they share.
        ranks: the numbers of the processes here.
        world: how many processes there are in all.
    """

    address: str
    port: int
    ranks: range
    world: int


def run_as_processes(
    arguments: Sequence[str], processes: int, stop: StopRequest, gpus: Sequence[int] = ()
) -> int:
    """Run `perigee` with these arguments as several processes of this machine, and wait for them.

    They meet at a port that nothing else has. If this process is told to stop, they are; and so
    they are if one ends with an error.

    Args:
        arguments: of the command line.
        processes: how many.
        stop: is looked at all the time.
        gpus: the numbers, in this process, of the only GPUs that they see; without any the
            environment is left as it is.

    Returns:
        The exit status: 0 if all end so, or else 128 plus the signal's number if this process was
        told to stop, or that of the process that failed first.
    """
    store = _new_store()
    here = Meeting("localhost", store.port, range(processes), processes)
    status = _awaited(_started(arguments, here, gpus), lambda: bool(stop))
    return _status(status, stop)


def run_on_nodes(arguments: Sequence[str], processes: int, nodes: int, stop: StopRequest) -> int:
    """Run `perigee` with these arguments as parts on the nodes of this SLURM job.

    Args:
        arguments: of the command line.
        processes: how many on all nodes together.
        nodes: how many; where the job has fewer, parts share them.
        stop: is looked at all the time.

    Returns:
        The exit status, as of `run_as_processes`.

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
    store = _new_store()
    given = {"MASTER_ADDR": socket.gethostname(), "MASTER_PORT": str(store.port), PART: "1"}
    srun = DetachedProgram(
        [
            *("srun", "--overlap", "--export=ALL", "--kill-on-bad-exit=0", "--wait=0"),
            *(f"--nodes={there}", f"--ntasks={nodes}", f"--ntasks-per-node={-(-nodes // there)}"),
            *(f"--cpus-per-task={processes // nodes}", "--cpu-bind=quiet", *PROGRAM, *arguments),
        ],
        os.environ | given,
    )
    status = _awaited([srun], lambda: bool(stop), lambda: _tell(store), ENDING)
    return _status(status, stop)


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
        """Run the processes of this part, and wait for them; see `run_as_processes`.

        If one fails, or the program that started the parts is gone, all are told to stop.
        """

        def is_told() -> bool:
            self.hear()
            return bool(self.stop)

        status = _awaited(_started(arguments, self.here, gpus), is_told)
        if status:
            _tell(self.store)
        return _status(status, self.stop)


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


def _new_store() -> Any:
    """A store of this process, at a port that nothing else has."""
    return dist.TCPStore(  # type: ignore[attr-defined]
        "localhost", 0, is_master=True, wait_for_workers=False
    )


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


def _started(
    arguments: Sequence[str], here: Meeting, gpus: Sequence[int]
) -> list[subprocess.Popen[bytes]]:
    """Start the processes that belong here."""
    common = {
        "WORLD_SIZE": here.world,
        "LOCAL_WORLD_SIZE": len(here.ranks),
        "MASTER_ADDR": here.address,
        "MASTER_PORT": here.port,
        "TORCHELASTIC_USE_AGENT_STORE": True,
        STARTED: 1,
        **_seen(gpus),
    }
    started = []
    for place, rank in enumerate(here.ranks):
        given = {**common, "RANK": rank, "LOCAL_RANK": place}
        environment = os.environ | {name: str(value) for name, value in given.items()}
        started.append(subprocess.Popen([*PROGRAM, *arguments], env=environment))
    return started


def _status(failed: int, stop: StopRequest) -> int:
    """The exit status, from that of the first process that failed as subprocess has it."""
    if failed and stop.received is not None:
        return KILLED + stop.received
    return failed if failed >= 0 else KILLED - failed


def _seen(gpus: Sequence[int]) -> dict[str, str]:
    """The variable by which processes see a part of what this one sees."""
    if not gpus:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(gpu) for gpu in range(max(gpus) + 1)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[gpu] for gpu in gpus)}


def _awaited(
    started: Sequence[subprocess.Popen[bytes] | DetachedProgram],
    is_told: Callable[[], bool],
    tell: Callable[[], None] | None = None,
    more: float = 0.0,
) -> int:
    """Wait until all have ended; return the status of the first that failed, 0 if none did.

    Args:
        started: the programs.
        is_told: whether they have to stop, if not because one failed.
        tell: tells them to; without it they are sent SIGTERM.
        more: seconds beyond `GRACE` in which they have to.
    """
    failed, told_at = 0, None
    while True:
        running = [program for program in started if program.poll() is None]
        failed = failed or next((one.returncode for one in started if one.returncode), 0)
        if not running:
            return failed
        if told_at is None and (failed or is_told()):
            told_at = time.monotonic()
            if tell is not None:
                tell()
            for program in running:
                if isinstance(program, subprocess.Popen):
                    program.terminate()
        if told_at is not None and time.monotonic() > told_at + GRACE + more:
            for program in running:
                program.kill()
        time.sleep(LOOK)
