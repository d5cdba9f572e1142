"""One process at a time works on a run, on this machine or on another that shares the store."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger("perigee")

LOCK, HOLDER = ".lock", ".lock-holder"
PATIENCE = 1.0
"""Seconds between looks at whether waiting should end."""


@contextmanager
def locked(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[bool]:
    """Within, no other process is within for the same folder.

    The lock is the operating system's (flock) and ends with the process that holds it, however
    that dies. Between machines it is as good as the shared file system's.

    Args:
        folder: to be locked; made if need be.
        waiting: called again and again while another process holds the lock; what it raises ends
            the waiting.

    Yields:
        Whether it had to wait.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    waited = False
    while True:
        try:
            lock.acquire(timeout=PATIENCE if waited else 0)
            break
        except Timeout:
            if not waited:
                logger.info("waiting for %s, which works on %s", holder(folder), folder)
            waited = True
            waiting()
    try:
        _note_holder(folder)
        yield waited
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


@contextmanager
def locked_if_free(folder: Path) -> Iterator[bool]:
    """Within, the folder is locked; yields False, at once, if another process holds the lock.

    A folder that was never locked stays without a lock.
    """
    if not (folder / LOCK).exists():
        yield True
        return
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def holder(folder: Path) -> str:
    """Who holds the lock of a folder, in words."""
    try:
        return (folder / HOLDER).read_text() or "another process"
    except OSError:
        return "another process"


def held_since(folder: Path) -> float | None:
    """When the holder of a folder's lock, or the last one if it was killed, began.

    Returns:
        Seconds since 1970, as the file system has it; None if nobody holds it.
    """
    try:
        return (folder / HOLDER).stat().st_mtime
    except OSError:
        return None


def _note_holder(folder: Path) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    text = f"process {os.getpid()} on {platform.node()} since {since}"
    (folder / HOLDER).write_text(text)
