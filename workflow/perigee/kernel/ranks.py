"""One training run shared by several processes, which torchrun starts.

Every process, a *rank*, holds the whole network and takes its share of each mini-batch. Ranks meet
in collectives, to which all have to come in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous

from perigee.errors import PerigeeError

Indices = TypeVar("Indices", np.ndarray, Tensor)
Value = TypeVar("Value")

PATIENCE = 45.0
"""The number of seconds a rank waits in a collective for the others (our choice).

A rank that ends breaks its connections, and on a CPU the others notice at once. One that hangs, or
whose node is lost, breaks none: only this limit ends the others' wait, which by PyTorch's defaults
would take 10 or 30 minutes on machines that somebody pays for. So outside `Ranks.of_main` no rank
may do anything on its own that takes longer than this while the others wait for it.
"""

JOINING = 300.0
"""The number of seconds a rank waits at the start until all are there (our choice).

This is longer than `PATIENCE`, since importing PyTorch from a cluster's file system can take
minutes on one node.
"""

PATIENCE_WITH_MAIN = 3600.0
"""Seconds the others wait for what rank 0 does alone, such as writing files (our choice)."""

SET_BY_TORCHRUN = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)


@dataclass(frozen=True)
class Ranks:
    """This process among those that share a training run.

    Attributes:
        rank: this process's number, from 0.
        world: how many processes there are.
        store: the key-value store that they share; None if there is only one process.
    """

    rank: int
    world: int
    store: Any | None = field(default=None, compare=False, repr=False)
    _made: Iterator[int] = field(default_factory=count, compare=False, repr=False)

    @classmethod
    def alone(cls) -> Ranks:
        """The only process of its run, which never communicates."""
        return cls(rank=0, world=1)

    @classmethod
    def of_environment(
        cls, device: torch.device, backend: str | None = None, patience: float = PATIENCE
    ) -> Ranks:
        """Join the processes that torchrun started, if there are several.

        With GPUs, this process's own becomes PyTorch's current device: the one with the number
        LOCAL_RANK if ``device`` names none.

        Args:
            device: where the run computes.
            backend: "gloo" to communicate through the CPU from GPUs too; otherwise NCCL serves
                tensors on GPUs, and gloo those on the CPU.
            patience: seconds to wait for the others in a collective.

        Returns:
            `alone` where WORLD_SIZE is 1 or not set.

        Raises:
            PerigeeError: the environment is not as torchrun makes it, there are more processes
                than GPUs, or other processes do not come.
        """
        if (os.environ.get("WORLD_SIZE") or "1") == "1":
            return cls.alone()
        _require_torchrun()
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        if device.type == "cuda":
            torch.cuda.set_device(_own_gpu(device))
            backend = backend or "cpu:gloo,cuda:nccl"
        with _others_needed(rank):
            store, *_ = next(iter(rendezvous("env://", timeout=timedelta(seconds=JOINING))))
            store.set(f"joined/{rank}", "")
            store.wait([f"joined/{other}" for other in range(world)], timedelta(seconds=JOINING))
            dist.init_process_group(
                backend or "gloo",
                store=store,
                rank=rank,
                world_size=world,
                timeout=timedelta(seconds=patience),
            )
        return cls(rank, world, store)

    @property
    def is_main(self) -> bool:
        """True on rank 0, the one process that writes files and reports progress."""
        return self.rank == 0

    def share(self, indices: Indices) -> Indices:
        """This rank's part of a global mini-batch: a contiguous slice, a view.

        The parts of all ranks, in their order, are the mini-batch. Their sizes differ by at most
        one, so a part is empty where there are fewer images than ranks.

        Args:
            indices: the numbers of the mini-batch's images, or the images themselves,
                (images, ...); the same on all ranks.
        """
        images = len(indices)
        start, end = (images * rank // self.world for rank in (self.rank, self.rank + 1))
        return indices[start:end]

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over all ranks, which get the same bits.

        Args:
            tensor: a contiguous tensor of the same shape on all ranks; changed in place.

        Returns:
            The tensor.

        Raises:
            PerigeeError: another rank is gone.
        """
        if self.world > 1:
            with _others_needed(self.rank):
                dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Return True on all ranks if ``flag`` is True on any of them; a collective.

        Raises:
            PerigeeError: another rank is gone.
        """
        return bool(self.sum_(torch.tensor(int(flag))))

    def of_main(self, make: Callable[[], Value]) -> Value:
        """Return, on all ranks, the value that rank 0 makes; a collective.

        The others wait longer than usual: to make it, or before, rank 0 may read and write large
        files.

        Args:
            make: called on rank 0 only; what it returns must be picklable.

        Raises:
            PerigeeError: another rank is gone, or ``make`` failed. Rank 0 raises the exception of
                ``make`` itself.
        """
        if self.store is None:
            return make()
        key = f"made/{next(self._made)}"
        outcomes: list[tuple[Any, str | None]] = [(None, None)]
        failure: Exception | None = None
        if self.is_main:
            try:
                outcomes = [(make(), None)]
            except Exception as error:
                failure = error
                outcomes = [(None, str(error))]
        with _others_needed(self.rank):
            if self.is_main:
                self.store.set(key, "")
            else:
                self.store.wait([key], timedelta(seconds=PATIENCE_WITH_MAIN))
            dist.broadcast_object_list(outcomes, src=0)
        if failure is not None:
            raise failure
        ((value, told),) = outcomes
        if told is not None:
            raise PerigeeError(told)
        made: Value = value
        return made

    def close(self) -> None:
        """Disconnect from the others; no collective may follow."""
        if self.world > 1:
            dist.destroy_process_group()


def _require_torchrun() -> None:
    missing = [name for name in SET_BY_TORCHRUN if not os.environ.get(name)]
    if missing:
        raise PerigeeError(
            f"The environment variable WORLD_SIZE is '{os.environ['WORLD_SIZE']}' but "
            f"{', '.join(missing)} has no value; start a run of several processes with torchrun, "
            "which sets them all, or unset WORLD_SIZE."
        )


def _own_gpu(device: torch.device) -> int:
    """The number of this process's GPU; NCCL refuses two processes on one."""
    processes = int(os.environ["LOCAL_WORLD_SIZE"])
    gpus = torch.cuda.device_count() if device.index is None else 1
    if processes > gpus:
        raise PerigeeError(
            f"There are more processes than GPUs: {processes} on this node, but {gpus} for "
            f"'device: {device}'; start torchrun with --nproc-per-node {max(gpus, 1)}, or set "
            "'device' to 'cpu' in config/config.yaml."
        )
    return int(os.environ["LOCAL_RANK"]) if device.index is None else device.index


@contextmanager
def _others_needed(rank: int) -> Iterator[None]:
    """Turn what PyTorch raises because another rank is gone into an error that says so."""
    try:
        yield
    except RuntimeError as error:  # the base class of all that torch.distributed raises
        raise PerigeeError(
            f"Process {rank} of this run lost another one, which ended or did not answer; see its "
            f"log, then start the run again, which goes on from what was saved ({error})."
        ) from error
