"""What a user sees of a run in progress."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from perigee.store.progress import FIRST_WITHIN_S, Progress, read_progress, write_progress
from perigee.training.record import RunRecord

logger = logging.getLogger("perigee")


class RunProgress:
    """Logs a line now and then: epoch, loss, norm, speed and the time left.

    Args:
        name: of the run.
        epochs: in all.
        interval: seconds between lines, greater than 0.
    """

    def __init__(self, name: str, epochs: int, interval: float) -> None:
        self.name = name
        self.epochs = epochs
        self.interval = interval
        self._started: float | None = None
        self._steps_before = 0
        self._epochs_before = 0
        self._last_line = -math.inf

    def begin(self, record: RunRecord) -> None:
        """To be called where training begins: what is in the record counts as done before."""
        self._started = time.monotonic()
        self._steps_before, self._epochs_before = record.steps_done, record.epochs

    def after_epoch(self, record: RunRecord) -> None:
        """To be called after the initial metrics and after every epoch."""
        now = time.monotonic()
        if self._started is None:
            self._started = now
            self._steps_before, self._epochs_before = record.steps_done, record.epochs
        last = record.epochs == self.epochs or record.stopped_at_step is not None
        if last or now - self._last_line >= self.interval:
            self._last_line = now
            progress = self._progress(record, now - self._started)
            logger.info("%s", self._line(record, progress), extra={"progress": progress})

    def _progress(self, record: RunRecord, seconds: float) -> Progress:
        speed = left = None
        within = FIRST_WITHIN_S
        trained = record.epochs - self._epochs_before
        if trained and seconds > 0:
            speed = (record.steps_done - self._steps_before) / seconds
            left = seconds / trained * (self.epochs - record.epochs)
            within = max(self.interval, seconds / trained)
        return Progress(
            epochs=self.epochs,
            epoch=record.epochs,
            train_loss=float(record.metrics[-1]["train_loss"]),
            steps_per_second=speed,
            seconds_left=left,
            next_within=within,
        )

    def _line(self, record: RunRecord, progress: Progress) -> str:
        row = record.metrics[-1]
        line = (
            f"{self.name}: epoch {record.epochs}/{self.epochs}, "
            f"train loss {row['train_loss']:.3g}, test error {row['test_error']:.1%}, "
            f"ρ {row['weight_norm']:.3g}"
        )
        if progress.steps_per_second is not None:
            line += f", {progress.steps_per_second:.0f} steps/s"
        if record.stopped_at_step is not None:
            return f"{line}; stopped: the loss of step {record.stopped_at_step} is not finite"
        if progress.seconds_left is not None:
            line += f", {duration(progress.seconds_left)} left"
        return line


@contextmanager
def noted_in(folder: Path, epochs: int) -> Iterator[None]:
    """Within, whoever looks from outside finds in a folder what the last progress line told.

    From the beginning it names this process; epoch and loss are those of the process before, if
    one was interrupted. That it cannot be written never stops the work.

    Args:
        folder: of the run's unfinished state.
        epochs: of the run in all.
    """
    notes = _Notes(folder)
    before = read_progress(folder)
    notes.write(Progress(epochs, before.epoch, before.train_loss) if before else Progress(epochs))
    logger.addHandler(notes)
    try:
        yield
    finally:
        logger.removeHandler(notes)


class _Notes(logging.Handler):
    """Writes down the progress that a log record carries."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        progress = getattr(record, "progress", None)
        if progress is not None:
            self.write(progress)

    def write(self, progress: Progress) -> None:
        with suppress(OSError):
            write_progress(self._folder, progress)


def duration(seconds: float) -> str:
    """In hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
