"""Sharing the GPUs of a machine among all jobs and all users.

A job holds its GPU by listening on a Unix socket with an abstract name: a name in the kernel, which
one process at a time can have, and which is free again the moment the process ends, however it
ends. No file has to be made, shared between users or cleaned up. Such names exist only on Linux and
belong to a network namespace: containers with networks of their own do not see each other's jobs.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import torch

from perigee.errors import PerigeeError
from perigee.mps import shared_gpus

logger = logging.getLogger("perigee")

NAMES = "perigee-gpu/"
"""The prefix of the socket names of all holds."""

ALONE = "alone"
"""The end of the name by which a job holds a GPU that nobody may join."""

NAMES_IN_USE = Path("/proc/net/unix")

PATIENCE = 1.0
"""The seconds between checks whether a GPU has become free (our choice)."""


@contextmanager
def own_gpu(
    device: str, runs_per_gpu: int, waiting: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """While the context is active, this job holds the GPU that it yields.

    It is the free GPU with the fewest jobs, and becomes PyTorch's current device. Jobs that share
    GPUs do so through CUDA MPS where that can be had, see `perigee.mps`.

    Args:
        device: "auto" or "cuda" for any GPU, "cuda:1" for that one and no other. Anything else is
            yielded unchanged, and so are these on a machine without GPUs.
        runs_per_gpu: the number of jobs from which a GPU is not free, at least 1.
        waiting: called repeatedly while no GPU is free, or MPS starts; what it raises ends the
            waiting.

    Yields:
        The device to compute on, as PyTorch names it.

    Raises:
        PerigeeError: there are GPUs, but not the requested one.
    """
    with shared_gpus(device, runs_per_gpu, waiting):
        gpus = _eligible(device)
        if not gpus:
            _warn_if_unseen(device)
            yield device
            return
        name, hold = _take_one(gpus, runs_per_gpu, waiting)
        with hold:
            logger.info("computing on %s (%s)", name, gpus[name])
            torch.cuda.set_device(name)
            yield name


@contextmanager
def own_gpus(
    device: str, wanted: int, waiting: Callable[[], None] = lambda: None
) -> Iterator[list[int]]:
    """While the context is active, this job holds so many GPUs, which nobody else computes on.

    It takes all of them at once or none, so that jobs which need several do not wait for each
    other.

    Args:
        device: "auto" or "cuda" for any GPUs. Of anything else, and on a machine without GPUs,
            none are held.
        wanted: how many.
        waiting: see `own_gpu`.

    Yields:
        Their numbers, as PyTorch counts in this process.

    Raises:
        PerigeeError: there are GPUs, but fewer.
    """
    uuids = list(_eligible(device).values()) if device in ("auto", "cuda") else []
    if not uuids:
        _warn_if_unseen(device)
        yield []
        return
    if len(uuids) < wanted:
        raise PerigeeError(
            f"Key 'processes_per_run' is {wanted}, but this machine has {len(uuids)} GPUs; set it "
            f"to {len(uuids)} at most in config/config.yaml, or 'device' to 'cpu'."
        )
    told = False
    while True:
        with ExitStack() as held:
            mine: list[int] = []
            for number, uuid in enumerate(uuids):
                if len(mine) < wanted and (hold := _hold_alone(uuid)) is not None:
                    held.enter_context(hold)
                    mine.append(number)
            if len(mine) == wanted:
                logger.info("computing on %s GPUs", wanted)
                yield mine
                return
        if not told:
            logger.info("waiting for %s GPUs: %s of %s are free", wanted, len(mine), len(uuids))
        told = True
        waiting()
        # Those that wait must not look at the same moments, when each holds what another needs.
        time.sleep(PATIENCE * (0.5 + random.random()))


def _hold_alone(uuid: str) -> socket.socket | None:
    """A socket that holds a GPU which no other job holds; None if one does."""
    hold = _listen(_alone(uuid))
    if hold is not None and _holds(uuid, _names_in_use()) != [_alone(uuid)]:
        hold.close()
        return None
    return hold


def visible_gpus() -> tuple[str, ...]:
    """The UUIDs of cuda:0, cuda:1, ...: CUDA_VISIBLE_DEVICES renumbers GPUs but keeps UUIDs."""
    if not torch.cuda.is_available():
        return ()
    numbers = range(torch.cuda.device_count())
    return tuple(str(torch.cuda.get_device_properties(number).uuid) for number in numbers)


def _warn_if_unseen(device: str) -> None:
    if device == "auto" and os.environ.get("CUDA_VISIBLE_DEVICES"):
        logger.warning("computing on the CPU: PyTorch does not see the GPU that there should be")


def _eligible(device: str) -> Mapping[str, str]:
    """The UUIDs, by PyTorch's names, of the GPUs that a device allows."""
    if device not in ("auto", "cuda") and not device.startswith("cuda:"):
        return {}  # without initialising CUDA
    gpus = {f"cuda:{number}": uuid for number, uuid in enumerate(visible_gpus())}
    if not gpus or device in ("auto", "cuda"):
        return gpus
    if device not in gpus:
        raise PerigeeError(
            f"Key 'device' is '{device}' but the GPUs of this machine are {', '.join(gpus)}; set "
            "it to one of them or to 'cuda' in config/config.yaml."
        )
    return {device: gpus[device]}


def _take_one(
    gpus: Mapping[str, str], runs_per_gpu: int, waiting: Callable[[], None]
) -> tuple[str, socket.socket]:
    """Wait for a GPU; return its name, and the socket that holds it until it is closed."""
    told = False
    while True:
        in_use = _names_in_use()
        holds = {name: _holds(uuid, in_use) for name, uuid in gpus.items()}
        while (
            fewest := min(_jobs(names, runs_per_gpu) for names in holds.values())
        ) < runs_per_gpu:
            name = next(
                name for name, names in holds.items() if _jobs(names, runs_per_gpu) == fewest
            )
            # The lowest number: of jobs that start at once, all but one then look further.
            mine = next(n for n in _possible_names(gpus[name]) if n not in holds[name])
            hold = _listen(mine)
            if hold is not None and _alone(gpus[name]) not in _names_in_use():
                return name, hold
            if hold is not None:
                hold.close()  # another job took the whole GPU meanwhile
            holds[name].append(mine)
        if not told:
            held = "; ".join(
                f"{name} is held by {', '.join(map(_holder, names))}"
                for name, names in holds.items()
            )
            logger.info("waiting for a GPU: %s", held)
        told = True
        waiting()
        time.sleep(PATIENCE)


def _jobs(names: list[str], runs_per_gpu: int) -> int:
    """The number of jobs that the holds of a GPU count for; one that is alone fills it."""
    return runs_per_gpu if any(name.endswith(f"/{ALONE}") for name in names) else len(names)


def _alone(uuid: str) -> str:
    """The name by which a job holds this GPU alone."""
    return f"{NAMES}{uuid}/{ALONE}"


def _possible_names(uuid: str) -> Iterator[str]:
    """Yield, without end, the names by which jobs hold this GPU."""
    return (f"{NAMES}{uuid}/{number}" for number in count())


def _holds(uuid: str, names: set[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(f"{NAMES}{uuid}/"))


def _names_in_use() -> set[str]:
    """The names of the holds of all processes on this machine."""
    lines = NAMES_IN_USE.read_text(encoding="utf-8", errors="replace").splitlines()
    return {line.rpartition(" @")[2] for line in lines if f" @{NAMES}" in line}


def _listen(name: str) -> socket.socket | None:
    """Open a socket of that name; None if another process has it."""
    hold = socket.socket(socket.AF_UNIX)
    try:
        hold.bind(f"\0{name}")
        hold.listen()
    except OSError as error:
        hold.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return hold


def _holder(name: str) -> str:
    """The process that has that name; the kernel tells this to any process that connects."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.setblocking(False)  # after some hundred questions to one process none is answered
        try:
            asking.connect(f"\0{name}")
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return "another process"
    process, _user, _group = struct.unpack("3i", told)
    return f"process {process}" if process else "another process"
