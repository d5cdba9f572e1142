"""Configuration of all tests."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).resolve().parent
LANES = ("claims", "training", "processes", "workflow", "faults", "slurm", "project")
"""The folders whose tests plain `pytest` leaves out (pyproject.toml); each is a marker."""

WITHOUT_LANES = " and ".join(f"not {one}" for one in LANES)
"""The marker expression of plain `pytest`."""

# Tests run side by side on all cores; more threads than cores only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A GPU gives other bits than the CPU on which golden curves were made, and forbids forks after use.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

# The time of an example depends on the machine, not on the code.
settings.register_profile("perigee", deadline=None)
settings.load_profile("perigee")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A program that runs in the test's own process sets up logging for itself."""
    logger = logging.getLogger("perigee")
    level, handlers = logger.level, logger.handlers
    yield
    logger.setLevel(level)
    logger.handlers = handlers


@pytest.fixture
def figure_style() -> Iterator[None]:
    """The figures' style, in a backend without windows; all figures are closed afterwards."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from perigee.plotting.style import apply_style

    before = plt.get_backend()
    plt.switch_backend("agg")
    with mpl.rc_context():
        apply_style()
        yield
    plt.close("all")
    plt.switch_backend(before)


def pytest_configure(config: pytest.Config) -> None:
    """Run a folder that is named, and let processes receive SIGINT.

    A shell makes background jobs ignore SIGINT, and processes that tests start inherit that.
    """
    names_a_folder = config.args_source is pytest.Config.ArgsSource.ARGS
    if names_a_folder and config.option.markexpr == WITHOUT_LANES:
        config.option.markexpr = ""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing of the folders that are left out."""
    is_lane = collection_path.parent == TESTS and collection_path.name in LANES
    return True if is_lane and config.option.markexpr == WITHOUT_LANES else None


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and put those on SLURM first.

    One process runs these, which wait a lot, while others run the rest.
    """
    for item in items:
        if item.path.parent.name in LANES:
            item.add_marker(item.path.parent.name)
    items.sort(key=lambda item: item.path.parent.name != "slurm")
