"""Interruption: SIGTERM and SIGINT become a request that work in progress checks."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from perigee.errors import StoppedBySignalError

logger = logging.getLogger("perigee")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

SAVING = "saving, then stopping"
"""The answer of a training job."""


class StopRequest:
    """A request to stop, which is true once a signal has come.

    Args:
        answer: what the process does then, for the log.

    Attributes:
        received: the first signal that came; None before.
    """

    def __init__(self, answer: str = SAVING) -> None:
        self._answer = answer
        self.received: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.received is not None

    def end_waiting_if_told(self, name: str, awaited: str) -> None:
        """End a wait if the process was told to stop.

        Args:
            name: of the product that is to be worked on.
            awaited: what is waited for.

        Raises:
            StoppedBySignalError: a signal has come.
        """
        if self.received is not None:
            raise StoppedBySignalError(
                f"{name}: stopped by {self.received.name} while waiting for {awaited}; start it "
                "again to go on.",
                self.received,
            )

    @property
    def received_or_term(self) -> signal.Signals:
        """The signal that came, or SIGTERM where another process of the run received one."""
        return self.received or signal.SIGTERM

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal. Further signals change nothing: saving must not be interrupted."""
        if self.received is None:
            self.received = signal.Signals(number)
            logger.warning("%s received: %s", self.received.name, self._answer)


@contextmanager
def stop_request(answer: str = SAVING) -> Iterator[StopRequest]:
    """While the context is active, `SIGNALS` are noted instead of ending the process.

    It may be used in the main thread only.

    Args:
        answer: see `StopRequest`.
    """
    request = StopRequest(answer)
    earlier = {number: signal.signal(number, request.note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
