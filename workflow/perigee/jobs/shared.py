"""A program as several processes of this machine that share its work.

They are given what torchrun would give them. Its agent is not used: signals that come while it
starts processes are lost, a third one ends it before the processes, and processes outlive it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import distributed as dist

from perigee.interruption import StopRequest

GRACE = 90.0
"""The seconds that told processes have to save and end before they are killed (our choice): a
cluster's profile asks for the signal two minutes before the time limit."""

LOOK = 0.1
"""The seconds between looks at the processes."""

KILLED = 128
"""The number that a shell adds to that of the signal which ended a program."""

STARTED = "PERIGEE_STARTED_AS_ONE_OF_SEVERAL"
"""The variable that is set for them: their parent holds the run's lock and their GPUs."""

PROGRAM = (sys.executable, "-m", "perigee")

PR_SET_PDEATHSIG = 1


def is_child() -> bool:
    """True in a process that `run_as_processes` started."""
    return STARTED in os.environ


def end_with_parent() -> None:
    """Have this process told to stop when its parent dies, where the system can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Program(Protocol):
    """A program that was started, as `subprocess.Popen` has it."""

    returncode: int | Any

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""

    def kill(self) -> None:
        """End it."""


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
    store = new_store()
    here = Meeting("localhost", store.port, range(processes), processes)
    return exit_status(run_here(arguments, here, gpus, lambda: bool(stop)), stop)


def run_here(
    arguments: Sequence[str], here: Meeting, gpus: Sequence[int], is_told: Callable[[], bool]
) -> int:
    """Run the processes that belong here, and wait for them; see `awaited`."""
    started = _start(arguments, here, gpus)

    def tell() -> None:
        for process in started:
            process.terminate()

    return awaited(started, is_told, tell)


def new_store() -> Any:
    """A store of this process, at a port that nothing else has."""
    return dist.TCPStore(  # type: ignore[attr-defined]
        "localhost", 0, is_master=True, wait_for_workers=False
    )


def _start(
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


def exit_status(failed: int, stop: StopRequest) -> int:
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


def awaited(
    started: Sequence[Program],
    is_told: Callable[[], bool],
    tell: Callable[[], None],
    more: float = 0.0,
) -> int:
    """Wait until all have ended; return the status of the first that failed, 0 if none did.

    Args:
        started: the programs.
        is_told: whether they have to stop, if not because one failed.
        tell: tells them to.
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
            tell()
        if told_at is not None and time.monotonic() > told_at + GRACE + more:
            for program in running:
                program.kill()
        time.sleep(LOOK)
