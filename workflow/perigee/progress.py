"""What a user sees of a run in progress."""

from __future__ import annotations

import logging
import math
import time

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
            logger.info("%s", self._line(record, now - self._started))

    def _line(self, record: RunRecord, seconds: float) -> str:
        row = record.metrics[-1]
        line = (
            f"{self.name}: epoch {record.epochs}/{self.epochs}, "
            f"train loss {row['train_loss']:.3g}, test error {row['test_error']:.1%}, "
            f"ρ {row['weight_norm']:.3g}"
        )
        trained = record.epochs - self._epochs_before
        if trained and seconds > 0:
            line += f", {(record.steps_done - self._steps_before) / seconds:.0f} steps/s"
        if record.stopped_at_step is not None:
            return f"{line}; stopped: the loss of step {record.stopped_at_step} is not finite"
        if trained and seconds > 0:
            left = seconds / trained * (self.epochs - record.epochs)
            line += f", {_duration(left)} left"
        return line


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
