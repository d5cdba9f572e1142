"""Callbacks of a training job: progress, saving the state, stopping when told to."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from perigee.errors import StoppedBySignalError
from perigee.interruption import StopRequest
from perigee.jobs.following import Follower
from perigee.kernel.trainer import Trainer
from perigee.progress import RunProgress
from perigee.training.loop import Watch
from perigee.training.recording import Recorder
from perigee.training.saved_state import LOSSES, MEASURE, SavedState

logger = logging.getLogger("perigee")


class RunWatch(Watch):
    """Watches one training job.

    Where several processes share the run, a stop reaches all of them at the same step, and the
    first one saves.

    Args:
        digest: of the run.
        began_with: the saved state that the run goes on from; None for a fresh one.
        folder: for the saved state.
        save_interval: seconds between saves, at least 0.
        progress: prints lines.
        stop: is looked at after every step and mini-batch.
        session: hardware and versions of this process.

    Attributes:
        follower: compares every epoch with a finished run's, if there is one to follow.
    """

    def __init__(
        self,
        digest: str,
        began_with: SavedState | None,
        folder: Path,
        save_interval: float,
        progress: RunProgress,
        stop: StopRequest,
        session: Mapping[str, Any],
    ) -> None:
        self._digest = digest
        self._began_with = began_with
        self._folder = folder
        self._interval = save_interval
        self._progress = progress
        self._stop = stop
        self._session = session
        self.follower: Follower | None = None
        self._started = time.monotonic()
        self._last_save = self._started

    def sessions(self, trainer: Trainer) -> list[Mapping[str, Any]]:
        """The processes that trained the run up to now.

        Args:
            trainer: of this process, which knows by now whether its steps could be captured.

        Returns:
            Of each its hardware and versions, how it computed, and whether steps were captured.
        """
        earlier = self._began_with.sessions if self._began_with else ()
        return [*earlier, {**self._session, "captured": trainer.is_captured}]

    @property
    def seconds(self) -> float:
        """Wall time that training has taken, interrupted jobs included."""
        earlier = self._began_with.seconds if self._began_with else 0.0
        return earlier + time.monotonic() - self._started

    @property
    def first_epoch(self) -> int:
        """How many epochs there were when that training began."""
        return self._began_with.first_epoch if self._began_with else 0

    def after_step(self, recorder: Recorder) -> None:
        """Save and stop if it is time to."""
        self._look(recorder, may_save=True)

    def within_step(self, recorder: Recorder) -> None:
        """Stop if told to; the step is made again."""
        self._look(recorder, may_save=False)

    def while_measuring(self, recorder: Recorder) -> None:
        """Stop if told to; what was measured of the epoch so far is measured again."""
        self._look(recorder, may_save=False)

    def after_epoch(self, recorder: Recorder) -> None:
        """Tell of the epoch; save and stop if it is time to."""
        if self.follower is not None:
            self.follower.after_epoch(recorder)
        if recorder.trainer.ranks.is_main:
            self._progress.after_epoch(recorder)
        self._look(recorder, may_save=True)

    def _look(self, recorder: Recorder, may_save: bool) -> None:
        ranks = recorder.trainer.ranks
        told = ranks.any(bool(self._stop)) if ranks.world > 1 else bool(self._stop)
        if told:
            self._end(recorder)
        elif may_save and time.monotonic() - self._last_save >= self._interval:
            self._save(recorder)

    def _end(self, recorder: Recorder) -> None:
        saved = self._save(recorder)
        kept = "its state is saved" if saved else "its state could not be saved"
        received = self._stop.received_or_term
        raise StoppedBySignalError(
            f"{self._progress.name} was stopped by {received.name} after epoch "
            f"{recorder.position.epoch} of {self._progress.epochs}; {kept}, start it again to go "
            "on.",
            received,
        )

    def _save(self, recorder: Recorder) -> bool:
        """Save the state if this process is the one to.

        Returns:
            Whether it could be saved; if not, training goes on with the one before.
        """
        if not recorder.trainer.ranks.is_main:
            return True
        try:
            logs = recorder.saved()
            tensors = recorder.trainer.state()
            tensors[LOSSES] = torch.from_numpy(recorder.losses_of_epoch)
            for name, measure in recorder.measures.items():
                for part, value in measure.state.items():
                    tensors[f"{MEASURE}{name}.{part}"] = value.detach().cpu().clone()
            SavedState(
                digest=self._digest,
                tensors=tensors,
                position=recorder.position,
                logs=logs,
                seconds=self.seconds,
                sessions=tuple(self.sessions(recorder.trainer)),
                first_epoch=self.first_epoch,
            ).save(self._folder)
        except Exception as error:
            logger.warning(
                "%s: the state after epoch %d could not be saved in %s (%s); training goes on",
                self._progress.name,
                recorder.position.epoch,
                self._folder,
                error,
            )
            return False
        finally:
            self._last_save = time.monotonic()
        return True
