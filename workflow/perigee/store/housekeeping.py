"""What the store holds that no configured figure refers to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

ABANDONED_AFTER_S = 24 * 3600
"""Files being written that were not touched for a day belong to a job that was killed."""


@dataclass(frozen=True)
class Leftover:
    """A folder that may go.

    Attributes:
        path: of the folder.
        bytes: of all files in it.
        days: since its newest file was last changed.
        reason: why it may go, in words.
    """

    path: Path
    bytes: int
    days: float
    reason: str


def leftovers(store: Path, referenced: set[str]) -> list[Leftover]:
    """Folders of the store that nothing refers to.

    Args:
        store: the store's folder.
        referenced: folders below it that some configured figure needs at some scale; of runs the
            versions, "run/<name>-<digest>/e<epochs>".

    Returns:
        Products, versions of runs, and what killed jobs were writing, in the order of their paths.
    """
    products = {path for path in store.glob("*/*") if path.parent.name != "run"}
    versions = set(store.glob("run/*/e*"))
    found = [
        _leftover(path, "no figure refers to it")
        for path in products | versions
        if path.is_dir() and str(path.relative_to(store)) not in referenced
        if not _is_being_written(path)
    ]
    unused = {leftover.path for leftover in found}
    for path in store.rglob(".writing-*"):
        leftover = _leftover(path, "left behind by a killed job")
        if path.parent not in unused and leftover.days * 86400 > ABANDONED_AFTER_S:
            found.append(leftover)
    return sorted(found, key=lambda leftover: leftover.path)


def _is_being_written(folder: Path) -> bool:
    """Whether a job is at work in a folder, or was within the last day."""
    ages = (_leftover(path, "").days for path in folder.glob(".writing-*"))
    return any(days * 86400 <= ABANDONED_AFTER_S for days in ages)


def _leftover(path: Path, reason: str) -> Leftover:
    files = [file for file in path.rglob("*") if file.is_file()]
    newest = max(file.stat().st_mtime for file in (path, *files))
    size = sum(file.stat().st_size for file in files)
    return Leftover(path, size, (time.time() - newest) / 86400, reason)
