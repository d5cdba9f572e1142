"""Keeping checkpoints: a run's weights over its epochs, stacked in one memory-mapped file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from torch import Tensor

from perigee.checkpoints import describe
from perigee.store.trajectories import DESCRIPTION, TRAJECTORY, kept_at
from perigee.store.writing import link_or_copy
from perigee.training.record import RunRecord
from perigee.training.trainer import Trainer

STATISTICS = ("running_mean", "running_var")


def unfinished_rows(every: int) -> str:
    """Of the file that a job at work writes its rows to."""
    return f"rows-every{every}.npy"


class TrajectoryWriter:
    """Writes a row for every kept checkpoint: trained parameters, then BatchNorm's statistics.

    ``trajectory.npy`` holds the rows, (kept epochs, numbers), in the run's precision;
    ``trajectory.json`` tells their epochs and, in order, the parts of a row: name, shape, whether
    they are scale-invariant weights, which come first.

    Args:
        folder: where the rows are written; those of an interrupted job may lie there.
        trainer: the run.
        epochs: how many the run will have.
        every: K, at least 1.

    Raises:
        OSError: there is no room for all rows.
    """

    def __init__(self, folder: Path, trainer: Trainer, epochs: int, every: int) -> None:
        self._path = folder / unfinished_rows(every)
        self._every = every
        self._planned = kept_at(epochs, every)
        self._written: list[int] = []
        self._begun_here = False
        self._parts = _parts(trainer)
        self._scale_invariant = frozenset(trainer.parameters.weight_names)
        width = sum(part.numel() for _, part in self._parts)
        shape = (len(self._planned), width)
        self._rows = self._opened(shape, self._parts[0][1].detach().cpu().numpy().dtype)

    def _opened(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> np.memmap[Any, Any]:
        try:
            # Read-only first: opened for writing, a file that was cut off is filled with zeros.
            rows = np.load(self._path, mmap_mode="r", allow_pickle=False)
            if rows.shape == shape and rows.dtype == dtype:
                self._begun_here = True
                return open_memmap(self._path, mode="r+")
        except (OSError, ValueError):
            pass  # there is none, or none that was begun for this
        self._path.parent.mkdir(parents=True, exist_ok=True)
        rows = open_memmap(self._path, mode="w+", dtype=dtype, shape=shape)
        # Writing to a page that the disk has no room for would kill the process.
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, 0, self._path.stat().st_size)
        finally:
            os.close(descriptor)
        return rows

    def take_over(self, folder: Path, epochs: int) -> bool:
        """Begin with the checkpoints that another job of the run has kept up to an epoch.

        Args:
            folder: of a finished shorter version, or of an interrupted job, perhaps this one.
            epochs: the last one that job has measured; -1 if it has not even epoch 0.

        Returns:
            Whether all of them are there; if not, nothing is taken over.
        """
        wanted = [epoch for epoch in self._planned if epoch <= epochs]
        path = folder / self._path.name
        if not path.exists():
            path = folder / TRAJECTORY
        if path == self._path:
            if wanted and not self._begun_here:
                return False
        else:
            try:
                rows = np.load(path, mmap_mode="r", allow_pickle=False)
                kept = (
                    json.loads((folder / DESCRIPTION).read_text())["epochs"]
                    if path.name == TRAJECTORY
                    else list(range(0, epochs + 1, self._every))
                )
                self._rows[: len(wanted)] = rows[[kept.index(epoch) for epoch in wanted]]
            except (OSError, ValueError, IndexError):
                return False
        self._written = wanted
        return True

    def after_epoch(self, record: RunRecord) -> None:
        """Keep the present weights if this epoch is to be kept, or is the last of a stopped run."""
        if record.epochs in self._planned or record.stopped_at_step is not None:
            row = np.concatenate([p.detach().cpu().numpy().ravel() for _, p in self._parts])
            self._rows[len(self._written)] = row
            self._written.append(record.epochs)

    def flush(self) -> None:
        """Have the rows so far on the disk."""
        self._rows.flush()

    def finish(self, folder: Path) -> None:
        """Put rows and description into a folder; a run that stopped early gets the rows it has."""
        target = folder / TRAJECTORY
        self.flush()
        if len(self._written) < len(self._planned):
            np.save(target, np.array(self._rows[: len(self._written)]))
        else:
            link_or_copy(self._path, target)
        parts: list[dict[str, Any]] = [
            {
                "name": name,
                "shape": list(part.shape),
                "scale_invariant": name in self._scale_invariant,
            }
            for name, part in self._parts
        ]
        describe(folder, self._written, parts)


def _parts(trainer: Trainer) -> list[tuple[str, Tensor]]:
    parameters = dict(trainer.model.named_parameters())
    statistics = [
        (name, buffer)
        for name, buffer in trainer.model.named_buffers()
        if name.rpartition(".")[2] in STATISTICS
    ]
    return [*((name, parameters[name]) for name in trainer.parameters.names), *statistics]
