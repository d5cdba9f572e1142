"""One process at a time works on a run, on this machine or on another that shares the store."""

from __future__ import annotations

import errno
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from perigee.errors import PerigeeError

logger = logging.getLogger("perigee")

LOCK, HOLDER = ".lock", ".lock-holder"
PATIENCE = 1.0
"""Seconds between looks at whether waiting should end."""

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""How file systems answer that know no locks, or whose lock service is away."""

MAY_NOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS)


def acquired(path: Path, timeout: float = -1) -> FileLock:
    """A file lock that this process holds; the caller releases it.

    The lock is the operating system's. Another kind, a file whose mere presence locks, would
    outlive a holder that is killed on another machine.

    Args:
        path: the file to lock; made if need be.
        timeout: seconds to wait, forever if negative.

    Raises:
        Timeout: another process holds the lock.
        PerigeeError: the file system has no locks.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise PerigeeError(
            f"{path} cannot be locked ({error.strerror}): its file system has no file locks; mount "
            "it with them (Lustre: -o flock; NFS: with its lock service) or set 'results' in "
            "config/config.yaml to a folder that has them."
        ) from error
    return lock


@contextmanager
def locked(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[bool]:
    """While the context is held, no other process holds this folder's lock.

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
    waited = False
    while True:
        try:
            lock = acquired(folder / LOCK, PATIENCE if waited else 0)
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
    """Lock a folder while the context is held; yield False at once if another process has the lock.

    A folder that was never locked stays without a lock. Who may not write in the folder goes by the
    note of the holder.
    """
    if not (folder / LOCK).exists():
        yield True
        return
    try:
        lock = acquired(folder / LOCK, timeout=0)
    except Timeout:
        yield False
        return
    except OSError as error:
        if error.errno not in MAY_NOT_WRITE:
            raise
        yield not (folder / HOLDER).exists()
        return
    try:
        yield True
    finally:
        lock.release()


def holder(folder: Path) -> str:
    """Who holds the lock of a folder, in words."""
    try:
        return (folder / HOLDER).read_text(encoding="utf-8") or "another process"
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
    (folder / HOLDER).write_text(text, encoding="utf-8")
