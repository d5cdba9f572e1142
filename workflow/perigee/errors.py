"""The exceptions that a user is meant to read."""

from __future__ import annotations

import signal


class PerigeeError(Exception):
    """Something a user can mend.

    The message is one sentence that names the file, the key and the value concerned and
    says what to do; programs print it without a traceback and exit with status 1.
    """


class StoppedBySignalError(PerigeeError):
    """A program ends because a signal came; nothing is lost.

    Args:
        message: one sentence: what was interrupted, and how to resume it.
        received: the signal.
    """

    def __init__(self, message: str, received: signal.Signals) -> None:
        super().__init__(message)
        self.exit_status = 128 + received
