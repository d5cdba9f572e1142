"""What happens beside training: progress, trajectory, saving the state, stopping when told to."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from perigee.errors import StoppedBySignalError
from perigee.interruption import StopRequest
from perigee.progress import RunProgress
from perigee.training.record import RunRecord
from perigee.training.saved_state import SavedState
from perigee.training.trainer import Trainer, Watch
from perigee.training.trajectory import TrajectoryWriter

logger = logging.getLogger("perigee")


class RunWatch(Watch):
    """Watches one training job.

    Args:
        trainer: whose state is saved.
        began_with: the state that it has.
        folder: for the saved state.
        save_interval: seconds between saves, at least 0.
        progress: prints lines.
        stop: is looked at after every step and mini-batch.
        trajectory: if checkpoints are kept.
        session: what this process runs on.
    """

    def __init__(
        self,
        trainer: Trainer,
        began_with: SavedState,
        folder: Path,
        save_interval: float,
        progress: RunProgress,
        stop: StopRequest,
        trajectory: TrajectoryWriter | None,
        session: Mapping[str, Any],
    ) -> None:
        self._trainer = trainer
        self._began_with = began_with
        self._folder = folder
        self._interval = save_interval
        self._progress = progress
        self._stop = stop
        self._trajectory = trajectory
        self._session = session
        self._started = time.monotonic()
        self._last_save = self._started
        self._progress.begin(began_with.record)

    @property
    def sessions(self) -> list[Mapping[str, Any]]:
        """What the processes that trained the run up to now ran on."""
        return [*self._began_with.sessions, self._session]

    @property
    def seconds(self) -> float:
        """Of wall time that training has taken, interrupted jobs included."""
        return self._began_with.seconds + time.monotonic() - self._started

    def after_step(self, record: RunRecord, rows: Tensor) -> None:
        """Save and stop if it is time to."""
        if self._stop or time.monotonic() - self._last_save >= self._interval:
            record.unfinished = rows.detach().cpu().numpy().copy()
            self._pause(record)
            record.unfinished = None

    def within_step(self, record: RunRecord) -> None:
        """Stop if told to; the step is made again."""
        if self._stop:
            self._pause(record)

    def while_measuring(self, record: RunRecord) -> None:
        """Stop if told to; what was measured so far is measured again."""
        if self._stop:
            self._pause(record)

    def after_epoch(self, record: RunRecord) -> None:
        """Tell of the epoch, keep its checkpoint, save and stop if it is time to."""
        self._progress.after_epoch(record)
        if self._trajectory is not None:
            self._trajectory.after_epoch(record)
        if self._stop or time.monotonic() - self._last_save >= self._interval:
            self._pause(record)

    def _pause(self, record: RunRecord) -> None:
        saved = self._save(record)
        if self._stop.received is not None:
            kept = "its state is saved" if saved else "its state could not be saved"
            raise StoppedBySignalError(
                f"{self._progress.name} was stopped by {self._stop.received.name} after epoch "
                f"{record.epochs} of {self._progress.epochs}; {kept}, start it again to go on.",
                self._stop.received,
            )

    def _save(self, record: RunRecord) -> bool:
        """Whether the state could be saved; if not, training goes on with the one before."""
        began = self._began_with
        try:
            if self._trajectory is not None:
                self._trajectory.flush()
            SavedState(
                digest=began.digest,
                tensors=self._trainer.state(),
                record=record,
                seconds=self.seconds,
                sessions=tuple(self.sessions),
                first_epoch=began.first_epoch,
            ).save(self._folder)
        except Exception as error:
            logger.warning(
                "%s: the state after epoch %d could not be saved in %s (%s); training goes on",
                self._progress.name,
                record.epochs,
                self._folder,
                error,
            )
            return False
        finally:
            self._last_save = time.monotonic()
        return True
