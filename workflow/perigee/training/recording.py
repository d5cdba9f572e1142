"""The logs of a run in progress: its fingerprint, and the rows of its measures."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perigee.checkpoints import KeptCheckpoints
from perigee.kernel.trainer import Trainer
from perigee.measures.base import Measure
from perigee.training.row_log import RowLog

logger = logging.getLogger("perigee")

LOSSES, WEIGHTS, EPOCH = "losses", "weights", "epoch"
FINGERPRINT: Mapping[str, np.dtype[Any]] = {
    LOSSES: np.dtype("<f8"),
    WEIGHTS: np.dtype([("epoch", "<i4"), ("sha256", "S64")]),
}
"""The logs that every run keeps, whatever its measures: the loss of every step, and a digest of the
trained weights after every epoch. A replay must reproduce them."""

BUFFERED_STEPS = 1024
"""The number of steps whose rows stay on the device until fetched, also at an epoch's end."""


@dataclass
class Position:
    """The position of a run in its training.

    Attributes:
        epoch: epochs whose steps and measures are complete.
        measured: whether the initialisation's measures are complete.
        taken: steps of the epoch in progress.
        steps: all steps taken before that epoch.
        stopped_at_step: the step at which the run diverged: the first step whose loss was not
            finite, counted from 0; training ends with its epoch. If the weights after an epoch are
            not finite, it is the step that would have come next. None for a run that did not
            diverge.
    """

    epoch: int = 0
    measured: bool = False
    taken: int = 0
    steps: int = 0
    stopped_at_step: int | None = None


class Recorder:
    """The logs of a run in progress, each kind of row in a file of its own.

    Where processes share the run, all of them measure, and the first one writes. As a context
    manager, it closes its files at the end, whatever happened.

    Args:
        trainer: the run.
        folder: the folder of the files, <name>.npy; it may have those of an interrupted job.
        measures: the run's measures, by name.
        epochs: how many epochs the run will have.

    Attributes:
        position: how far the run has come.
        latest: the latest row of each log with rows at epochs.
        last_losses: the losses of the steps of the last finished epoch.
    """

    def __init__(
        self, trainer: Trainer, folder: Path, measures: Mapping[str, Measure], epochs: int
    ) -> None:
        self.trainer, self.measures, self.epochs = trainer, measures, epochs
        self.position = Position()
        self.latest: dict[str, np.void] = {}
        self.last_losses = np.empty(0)
        rows = {**FINGERPRINT, **{name: measure.row for name, measure in measures.items()}}
        self.logs = (
            {name: RowLog(folder / f"{name}.npy", row) for name, row in rows.items()}
            if trainer.ranks.is_main
            else {}
        )
        self._unwritten: dict[str, list[np.ndarray]] = {name: [] for name in rows}
        """The rows not written yet, perhaps because the disk was full."""
        self._buffers: dict[str, Tensor] = {}
        self._buffered = 0
        self._losses: list[np.ndarray] = []
        """The losses of the epoch in progress."""

    @property
    def is_done(self) -> bool:
        """True if nothing is left to train."""
        position = self.position
        return position.measured and (
            position.epoch >= self.epochs or position.stopped_at_step is not None
        )

    def begin(
        self, logged: Mapping[str, int], position: Position, losses: np.ndarray, again: bool
    ) -> None:
        """Continue from a position with a given number of rows in the logs.

        Args:
            logged: how many rows of each log count; later rows are truncated.
            position: the run's position.
            losses: the losses of the steps of the epoch in progress.
            again: whether to measure the last epoch again, since it was the last of a shorter run
                and is not the last of this one.

        Raises:
            PerigeeError: a log has fewer rows.
        """
        for name, log in self.logs.items():
            log.truncate(logged[name])
        self.position, self._buffered = position, 0
        self._losses = [losses] if len(losses) else []
        if again and not self.is_done:
            kept = {name for name, one in self.measures.items() if one.is_of_steps}
            for name, log in self.logs.items():
                if _is_of_epochs(log.row) and name not in kept:
                    rows = np.load(log.path, mmap_mode="r", allow_pickle=False)
                    log.truncate(int(np.searchsorted(rows[EPOCH], position.epoch)))
            self._measure(position.epoch, last=False, without=kept)

    def before_update(self) -> None:
        """Let the measures look at a step's gradient."""
        for measure in self.measures.values():
            measure.before_update()

    def after_update(self) -> None:
        """Let the measures look at the step, and keep its rows on the device."""
        found = {name: measure.after_update() for name, measure in self.measures.items()}
        rows = {name: row for name, row in found.items() if row is not None}
        rows[LOSSES] = self.trainer.loss
        for name, row in rows.items():
            if name not in self._buffers:
                self._buffers[name] = row.new_empty((BUFFERED_STEPS, row.numel()))
            self._buffers[name][self._buffered] = row
        self._buffered += 1
        self.position.taken += 1
        if self._buffered == BUFFERED_STEPS:
            self.fetch()

    def fetch(self) -> None:
        """Move the rows of steps from the device to the logs."""
        for name, buffer in self._buffers.items():
            # Copied: on a CPU these numbers are the buffer's own, which the next steps overwrite.
            numbers = buffer[: self._buffered].cpu().numpy().copy()
            if name == LOSSES:
                rows = numbers[:, 0].astype(FINGERPRINT[LOSSES])
                self._losses.append(rows)
            else:
                rows = numbers.view(self.measures[name].row)[:, 0]
            self._append(name, rows)
        self._buffered = 0

    def finish_epoch(self) -> None:
        """Measure the initialisation, or the epoch whose steps have all been taken."""
        position = self.position
        self.fetch()
        losses = self.losses_of_epoch
        finite = np.isfinite(losses)
        taken = len(losses) if finite.all() else int(np.argmin(finite)) + 1
        epoch = position.epoch + 1 if position.measured else 0
        stopped_at_step = None
        if taken < len(losses) or not finite.all():
            stopped_at_step = position.steps + taken - 1
        elif epoch and not self._weights_are_finite():
            stopped_at_step = position.steps + taken
        # Nothing is noted before all is measured: after an interruption it is measured again.
        self._measure(epoch, last=epoch == self.epochs or stopped_at_step is not None)
        for name, log in self.logs.items():
            if not _is_of_epochs(log.row):
                self._cut(name, len(losses) - taken)
        position.stopped_at_step = stopped_at_step
        position.epoch, position.measured = epoch, True
        position.steps += taken
        position.taken, self._losses = 0, []
        self.last_losses = losses[:taken]

    def _measure(self, epoch: int, last: bool, without: Collection[str] = ()) -> None:
        found: dict[str, np.ndarray | None] = {
            name: measure.after_epoch(epoch, last)
            for name, measure in self.measures.items()
            if name not in without
        }
        digest = weights_digest(self.trainer)
        found[WEIGHTS] = np.array([(epoch, digest)], FINGERPRINT[WEIGHTS])
        for name, rows in found.items():
            if rows is not None and len(rows):
                self._append(name, rows)
                self.latest[name] = rows[-1]

    def measure_checkpoints(self, kept: KeptCheckpoints, pause: Callable[[], None]) -> None:
        """Measure a finished run at its kept checkpoints instead of training it.

        Args:
            kept: the checkpoints of every epoch.
            pause: called between checkpoints; what it raises ends the measuring.
        """
        for measure in self.measures.values():
            measure.pause = pause
        for epoch in kept.epochs:
            self.trainer.load_network(kept.checkpoint(epoch))
            self._measure(epoch, last=epoch == kept.epochs[-1])
            pause()

    def saved(self) -> dict[str, dict[str, int]]:
        """Force all rows to the disk.

        Returns:
            The number of rows of each log, and their checksum.

        Raises:
            OSError: the disk is full; the rows are kept for the next time.
        """
        self.fetch()
        self._write()
        for log in self.logs.values():
            log.flush()
        return {
            name: {"rows": log.rows, "checksum": log.checksum()} for name, log in self.logs.items()
        }

    def close(self) -> None:
        """Write the rows not written yet, and close the logs.

        Raises:
            OSError: the disk is full.
        """
        self._write()
        for log in self.logs.values():
            log.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for log in self.logs.values():
            log.close()

    @property
    def losses_of_epoch(self) -> np.ndarray:
        """The losses of the epoch in progress that have been fetched so far."""
        return np.concatenate(self._losses) if self._losses else np.empty(0)

    def _append(self, name: str, rows: np.ndarray) -> None:
        if not self.logs:
            return
        self._unwritten[name].append(rows)
        try:
            self._write()
        except OSError as error:
            logger.warning(
                "%s cannot be written (%s); its rows are kept in memory",
                self.logs[name].path,
                error.strerror,
            )

    def _write(self) -> None:
        for name, waiting in self._unwritten.items():
            while waiting and self.logs:
                self.logs[name].append(waiting[0])
                waiting.pop(0)

    def _cut(self, name: str, rows: int) -> None:
        """Remove the last rows of a log, first those that are not written yet."""
        waiting, log = self._unwritten[name], self.logs[name]
        while rows and waiting:
            last = waiting.pop()
            kept = max(len(last) - rows, 0)
            rows -= len(last) - kept
            if kept:
                waiting.append(last[:kept])
        log.truncate(log.rows - rows)

    def _weights_are_finite(self) -> bool:
        return bool(torch.isfinite(self.trainer.parameters.values).all())


def _is_of_epochs(row: np.dtype[Any]) -> bool:
    """Return whether a log has rows at epochs; the others have one for every step."""
    return EPOCH in (row.names or ())


def weights_digest(trainer: Trainer) -> bytes:
    """The SHA-256 of the trained weights, tensor by tensor, in hexadecimal digits."""
    total = hashlib.sha256()
    parameters = dict(trainer.model.named_parameters())
    for name in trainer.parameters.names:
        total.update(parameters[name].detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest().encode()
