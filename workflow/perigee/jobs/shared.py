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
from collections.abc import Callable, Sequence
from contextlib import suppress
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
    return _status(_awaited(_started(arguments, here, gpus), lambda: bool(stop)), stop)


def run_on_nodes(arguments: Sequence[str], processes: int, nodes: int, stop: StopRequest) -> int:
    """Run `perigee` with these arguments as parts on the nodes of this SLURM job.

    Args:
        arguments: of the command line.
        processes: how many on all nodes together.
        nodes: how many, one for each of the job's tasks.
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
    store = _new_store()
    each = processes // nodes
    given = {"MASTER_ADDR": socket.gethostname(), "MASTER_PORT": str(store.port), PART: "1"}
    command = ("srun", "--overlap", f"--ntasks={nodes}", f"--cpus-per-task={each}")
    srun = subprocess.Popen(
        [*command, "--cpu-bind=quiet", *PROGRAM, *arguments], env=os.environ | given
    )
    # Told to stop itself srun would have the parts killed, and killed it would leave them alone.
    status = _awaited(
        [srun],
        lambda: bool(stop),
        tell=lambda _: store.set(STOP, ""),
        end=subprocess.Popen.terminate,
        more=ENDING,
    )
    return _status(status, stop)


def run_part(
    arguments: Sequence[str],
    processes: int,
    nodes: int,
    stop: StopRequest,
    gpus: Sequence[int] = (),
) -> int:
    """Run the processes of this part, and wait for them; see `run_on_nodes`.

    If one fails, or the program that started the parts is gone, all are told to stop.

    Args:
        arguments, processes, nodes, stop: see `run_on_nodes`.
        gpus: see `run_as_processes`.

    Returns:
        The exit status, as of `run_as_processes`.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(  # type: ignore[attr-defined]
        address, port, is_master=False, timeout=timedelta(seconds=JOINING)
    )
    each, part = processes // nodes, int(os.environ["SLURM_PROCID"])
    here = Meeting(address, port, range(each * part, each * (part + 1)), processes)
    status = _awaited(_started(arguments, here, gpus), lambda: bool(stop) or _is_told(store))
    if status:
        _tell(store)
    return _status(status, stop)


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
    started: Sequence[subprocess.Popen[bytes]],
    is_told: Callable[[], bool],
    tell: Callable[[subprocess.Popen[bytes]], None] = subprocess.Popen.terminate,
    end: Callable[[subprocess.Popen[bytes]], None] = subprocess.Popen.kill,
    more: float = 0.0,
) -> int:
    """Wait until all have ended; return the status of the first that failed, 0 if none did.

    Args:
        started: the processes.
        is_told: whether they have to stop, if not because one failed.
        tell: tells one to stop.
        end: ends one that has not stopped in time.
        more: seconds beyond `GRACE` in which they have to.
    """
    failed, told_at = 0, None
    while True:
        running = [process for process in started if process.poll() is None]
        failed = failed or next((one.returncode for one in started if one.returncode), 0)
        if not running:
            return failed
        if told_at is None and (failed or is_told()):
            told_at = time.monotonic()
            for process in running:
                tell(process)
        if told_at is not None and time.monotonic() > told_at + GRACE + more:
            for process in running:
                end(process)
        time.sleep(LOOK)
