"""For all tests."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

# How long an example takes tells of the machine, not of the code.
settings.register_profile("perigee", deadline=None)
settings.load_profile("perigee")


def pytest_configure() -> None:
    """Hear SIGINT, to which a shell makes background jobs deaf: what tests start inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on SLURM first: one process runs them, who wait a lot, while others run the rest."""
    items.sort(key=lambda item: item.path.parent.name != "slurm")
