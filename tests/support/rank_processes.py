"""Processes that share work, as torchrun starts them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import distributed as dist

from perigee.kernel.ranks import Ranks

SECONDS = 120
"""The seconds after which a test stops waiting for a process."""


def start_ranks(
    stack: ExitStack,
    work: Callable[..., Any],
    world: int,
    *arguments: Any,
    patience: float = 30,
    meetings: int = 0,
) -> list[tuple[multiprocessing.process.BaseProcess, Connection]]:
    """Start processes that call ``work(ranks, *arguments)``, each with a pipe for what it returns.

    They are forked from a process that has only imported the slow modules.
    They meet, as those of torchrun do, at a store that their parent holds, on a port that nothing
    else has.

    Args:
        stack: the stack that ends the processes when it closes.
        work: a function of a module.
        world: how many processes to start.
        arguments: picklable arguments of ``work``.
        patience: see `Ranks.of_environment`.
        meetings: how often they meet: each time, ``work(*arguments)`` calls `meet_anew` and then
            joins. By default they meet at once, and ``work`` is given the ranks.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "perigee.jobs.training", "support.stores"])
    stores = [
        dist.TCPStore(
            "localhost",
            0,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=SECONDS),
        )
        for _ in range(max(meetings, 1))
    ]
    stack.callback(lambda: stores)  # live as long as the processes
    ports = [store.port for store in stores]
    started = []
    for rank in range(world):
        environment = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": world,
            "LOCAL_WORLD_SIZE": world,
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": ports[0],
            "TORCHELASTIC_USE_AGENT_STORE": True,
        }
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(
            target=_be_a_rank,
            args=(sending, environment, patience, ports if meetings else [], work, arguments),
            daemon=True,
        )
        process.start()
        sending.close()
        stack.callback(process.join, SECONDS)
        stack.callback(process.kill)
        started.append((process, receiving))
    return started


def answer(receiving: Connection) -> Any:
    """Return what a process returned, or raise what it raised."""
    assert receiving.poll(SECONDS), "a process does not answer"
    value = pickle.loads(receiving.recv_bytes())
    if isinstance(value, Exception):
        raise value
    return value


def on_ranks(work: Callable[..., Any], world: int, *arguments: Any, meetings: int = 0) -> list[Any]:
    """Return what ``work`` returns on each of ``world`` processes; see `start_ranks`."""
    with ExitStack() as stack:
        started = start_ranks(stack, work, world, *arguments, meetings=meetings)
        return [answer(receiving) for _, receiving in started]


_further_ports: list[int] = []


def meet_anew() -> None:
    """Set the environment up as for a new start of the processes, which can then join again."""
    os.environ["MASTER_PORT"] = str(_further_ports.pop(0))


def _be_a_rank(
    sending: Connection,
    environment: dict[str, Any],
    patience: float,
    ports: list[int],
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.environ |= {name: str(value) for name, value in environment.items()}
    torch.set_num_threads(1)
    try:
        _further_ports.extend(ports)
        if not ports:
            ranks = Ranks.of_environment(torch.device("cpu"), patience=patience)
            value = work(ranks, *arguments)
            ranks.close()
        else:
            value = work(*arguments)
    except Exception as error:
        value = error
    # By itself PyTorch would send tensors as handles of memory that ends with this process.
    sending.send_bytes(pickle.dumps(value))
