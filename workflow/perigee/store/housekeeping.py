"""What the store holds, who needs it, what may go, and whether it is still as it was made."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.store.locks import LOCK
from perigee.store.provenance import PROVENANCE, read_product, read_provenance
from perigee.store.writing import writers_lock

ABANDONED_AFTER_S = 24 * 3600
"""Files being written that were not touched for a day belong to a job that was killed."""

KEPT_FOR_TRAINING = ("unfinished", "spare")
"""Folders of a run, beside its versions: what a killed job goes on from."""

NO_FIGURE = "no figure refers to it"
FINISHED = "kept for a run that is finished"
KILLED = "left behind by a killed job"


@dataclass(frozen=True)
class Stored:
    """A folder of the store that can go by itself.

    Attributes:
        path: of a product, of a version of a run, or of what a run keeps for its training.
        kind: of product.
        bytes: of all files in it.
        last_used: when a file in it was last changed or, as far as the file system notes it,
            read; seconds since 1970.
        figures: keys of the configured figures that need it at some scale.
    """

    path: Path
    kind: str
    bytes: int
    last_used: float
    figures: tuple[str, ...]


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


def stored(store: Path, references: Mapping[str, Collection[str]]) -> list[Stored]:
    """All that the store holds, in the order of the paths.

    Args:
        store: the store's folder.
        references: folders below it -> keys of the figures that need them; of runs the versions,
            "run/<name>-<digest>/e<epochs>".
    """
    found = []
    for path in _parts(store):
        files = _stats(path)
        used = (max(file.st_mtime, file.st_atime) for file in files)
        found.append(
            Stored(
                path=path,
                kind=path.relative_to(store).parts[0],
                bytes=sum(file.st_size for file in files),
                last_used=max(used, default=path.stat().st_mtime),
                figures=tuple(sorted(_figures_needing(path, store, references))),
            )
        )
    return found


def leftovers(store: Path, referenced: Collection[str]) -> list[Leftover]:
    """Folders of the store that may go; what a job is at work on is not among them.

    Args:
        store: the store's folder.
        referenced: folders below it that some configured figure needs at some scale; of runs the
            versions, "run/<name>-<digest>/e<epochs>".

    Returns:
        Products, versions of runs, what runs keep for their training, and what killed jobs were
        writing, in the order of their paths.
    """
    found = []
    for path in _parts(store):
        reason = _reason_to_go(path, store, referenced)
        if reason and not _is_in_use(path, store):
            found.append(_leftover(path, reason))
    unused = {leftover.path for leftover in found}
    for path in store.rglob(".writing-*"):
        leftover = _leftover(path, KILLED)
        abandoned = leftover.days * 86400 > ABANDONED_AFTER_S and not _is_in_use(path, store)
        if abandoned and not unused & set(path.parents):
            found.append(leftover)
    return sorted(found, key=lambda leftover: leftover.path)


def remove(leftover: Leftover, store: Path) -> bool:
    """Remove a folder unless a job has taken it up since it was listed.

    Returns:
        Whether it is gone.
    """
    run = _run_folder(leftover.path, store)
    with _locked(run) as free:
        if not free or _is_being_written(leftover.path):
            return False
        shutil.rmtree(leftover.path)
        writers_lock(leftover.path).unlink(missing_ok=True)
    if run is not None and all(path.name.startswith(".") for path in run.iterdir()):
        shutil.rmtree(run)
    return True


def products(store: Path) -> list[Path]:
    """Folders of all products that are not being made: whatever holds files, in order."""
    return [
        path
        for path in _parts(store)
        if path.name not in KEPT_FOR_TRAINING
        if any(file.is_file() for file in path.iterdir()) and not _is_in_use(path, store)
    ]


def check_product(folder: Path, store: Path) -> int:
    """Prove that a product is complete, in its place, and as it was made.

    Returns:
        The size of its files.

    Raises:
        PerigeeError: it is not.
    """
    told = read_provenance(folder)
    read_product(folder, told.files)
    kind = folder.relative_to(store).parts[0]
    made = Identity(told.kind, told.name, told.spec, told.code, told.inputs)
    if (kind, told.digest) != (made.kind, made.digest):
        raise PerigeeError(
            f"{folder / PROVENANCE} was changed after it was made: what it tells is not what the "
            "digest was taken of; delete the folder and run again."
        )
    return sum(file["bytes"] for file in told.files.values())


def _parts(store: Path) -> list[Path]:
    """Folders that can go by themselves: products, and of a run each of its own folders."""
    whole = [path for path in store.glob("*/*") if path.parent.name != "run"]
    of_runs = [
        path
        for path in store.glob("run/*/*")
        if re.fullmatch(r"e\d+", path.name) or path.name in KEPT_FOR_TRAINING
    ]
    return sorted(path for path in (*whole, *of_runs) if path.is_dir())


def _figures_needing(
    path: Path, store: Path, references: Mapping[str, Collection[str]]
) -> set[str]:
    if path.name not in KEPT_FOR_TRAINING:
        return set(references.get(str(path.relative_to(store)), ()))
    versions = _versions_of(path.parent, store, references)
    return {figure for version in versions for figure in references[version]}


def _versions_of(run: Path, store: Path, referenced: Collection[str]) -> list[str]:
    """Those folders of versions of a run that something refers to."""
    folder = f"{run.relative_to(store)}/"
    return [version for version in referenced if version.startswith(folder)]


def _reason_to_go(path: Path, store: Path, referenced: Collection[str]) -> str | None:
    if path.name not in KEPT_FOR_TRAINING:
        return None if str(path.relative_to(store)) in referenced else NO_FIGURE
    wanted = _versions_of(path.parent, store, referenced)
    if not wanted:
        return NO_FIGURE
    return FINISHED if all((store / v / PROVENANCE).is_file() for v in wanted) else None


def _is_in_use(path: Path, store: Path) -> bool:
    """Whether a job is at work in a folder or on its run."""
    with _locked(_run_folder(path, store)) as free:
        return not free or _is_being_written(path)


def _is_being_written(folder: Path) -> bool:
    """Whether a job is writing into a folder, or was within the last day."""
    ages = (_leftover(path, "").days for path in folder.glob(".writing-*"))
    return any(days * 86400 <= ABANDONED_AFTER_S for days in ages)


def _run_folder(path: Path, store: Path) -> Path | None:
    kind, name, *_ = path.relative_to(store).parts
    return store / kind / name if kind == "run" else None


@contextmanager
def _locked(run: Path | None) -> Iterator[bool]:
    """Within, a run's lock is held; yields False if a job holds it."""
    if run is None or not (run / LOCK).exists():
        yield True
        return
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _leftover(path: Path, reason: str) -> Leftover:
    files = _stats(path)
    newest = max(file.st_mtime for file in (path.stat(), *files))
    size = sum(file.st_size for file in files)
    return Leftover(path, size, (time.time() - newest) / 86400, reason)


def _stats(folder: Path) -> list[os.stat_result]:
    """Of all files in a folder and below; what a job removes meanwhile is passed over."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                found.append(Path(parent, name).stat())
    return found
