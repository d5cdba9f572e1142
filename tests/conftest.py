"""For all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Hear SIGINT, to which a shell makes background jobs deaf: what tests start inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
