"""The progress of a run, as the user sees it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from perigee.store.progress import (
    FIRST_WITHIN_S,
    PROGRESS,
    Progress,
    duration,
    read_progress,
    write_progress,
)
from perigee.training.recording import Position, Recorder

logger = logging.getLogger("perigee")

METRICS = ("metrics", "recomputed_metrics")
"""The measures of which lines tell, the first that is measured."""


class RunProgress:
    """A logger of progress lines: epoch, loss, norm, speed and the time left.

    Args:
        name: the run's name.
        epochs: how many epochs there are in all.
        interval: seconds between lines, greater than 0.
        folder: in which a file has the progress that the last line tells.
        position: where training begins: epochs done already do not count for the speed.
    """

    def __init__(
        self, name: str, epochs: int, interval: float, folder: Path, position: Position
    ) -> None:
        self.name = name
        self.epochs = epochs
        self.interval = interval
        self._folder = folder
        self._started = time.monotonic()
        self._steps_before, self._epochs_before = position.steps, position.epoch
        self._last_line = -math.inf

    def after_epoch(self, recorder: Recorder) -> None:
        """Log a line if one is due; called after the initial measures and after every epoch."""
        now = time.monotonic()
        if recorder.is_done or now - self._last_line >= self.interval:
            self._last_line = now
            progress = self._progress(recorder, now - self._started)
            logger.info("%s", self._line(recorder, progress))
            _note(self._folder, progress)

    def _progress(self, recorder: Recorder, seconds: float) -> Progress:
        speed = left = None
        within = FIRST_WITHIN_S
        position = recorder.position
        trained = position.epoch - self._epochs_before
        if trained and seconds > 0:
            speed = (position.steps - self._steps_before) / seconds
            left = seconds / trained * (self.epochs - position.epoch)
            within = max(self.interval, seconds / trained)
        return Progress(
            epochs=self.epochs,
            epoch=position.epoch,
            train_loss=_train_loss(recorder),
            steps_per_second=speed,
            seconds_left=left,
            next_within=within,
        )

    def _line(self, recorder: Recorder, progress: Progress) -> str:
        position = recorder.position
        parts = [f"epoch {position.epoch}/{self.epochs}"]
        if progress.train_loss is not None:
            parts.append(f"train loss {progress.train_loss:.3g}")
        row = _metrics(recorder)
        if row is not None:
            parts += [f"test error {row['test_error']:.1%}", f"ρ {row['weight_norm']:.3g}"]
        if progress.steps_per_second is not None:
            parts.append(f"{progress.steps_per_second:.0f} steps/s")
        line = f"{self.name}: {', '.join(parts)}"
        if position.stopped_at_step is not None:
            return f"{line}; stopped: the loss of step {position.stopped_at_step} is not finite"
        if progress.seconds_left is not None:
            line += f", {duration(progress.seconds_left)} left"
        return line


def _metrics(recorder: Recorder) -> Any:
    """The latest row of metrics, None if there are none."""
    return next((recorder.latest[name] for name in METRICS if name in recorder.latest), None)


def _train_loss(recorder: Recorder) -> float | None:
    """The train loss at the present weights, or the mean loss of the last epoch's steps."""
    row = _metrics(recorder)
    if row is not None:
        return float(row["train_loss"])
    losses = recorder.last_losses
    return float(losses.mean()) if len(losses) else None


@contextmanager
def noted_in(folder: Path, epochs: int) -> Iterator[None]:
    """While the context is active, a file in the folder has the latest progress.

    From the beginning the file names this process; epoch and loss are those of the previous process
    if that was interrupted. It is removed when the work is done, and so is its folder if that is
    empty.

    Args:
        folder: the folder of the run's unfinished state.
        epochs: how many epochs the run has in all.
    """
    before = read_progress(folder)
    _note(folder, Progress(epochs, before.epoch, before.train_loss) if before else Progress(epochs))
    yield
    with suppress(OSError):
        (folder / PROGRESS).unlink(missing_ok=True)
        folder.rmdir()
        folder.parent.rmdir()


def _note(folder: Path, progress: Progress) -> None:
    """Write the progress to the file; a failure to write it never ends the work."""
    with suppress(OSError):
        write_progress(folder, progress)
