"""Being told to stop: SIGTERM and SIGINT become a request that work in progress looks at."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger("perigee")

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether the process has been told to stop.

    Attributes:
        received: the first signal that came; None so far.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.received is not None

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """A signal handler. Further signals change nothing: saving is not to be cut short."""
        if self.received is None:
            self.received = signal.Signals(number)
            logger.warning("%s received: saving, then stopping", self.received.name)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within, `SIGNALS` are noted instead of ending the process. For the main thread."""
    request = StopRequest()
    earlier = {number: signal.signal(number, request.note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
