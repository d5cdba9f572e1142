"""Housekeeping of the store: list products and who needs them, remove, verify."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from perigee.errors import PerigeeError
from perigee.identity.canonical import digest
from perigee.identity.products import Identity
from perigee.store.locks import locked_if_free
from perigee.store.provenance import FORMAT, PROVENANCE, read_product, read_provenance
from perigee.store.runs import UNFINISHED, VERSION
from perigee.store.writing import WRITING, write_text_atomically, writers_lock

ABANDONED_AFTER_S = 24 * 3600
"""Files being written that were not touched for a day belong to a job that was killed."""

NO_FIGURE = "no figure refers to it"
FINISHED = "kept for a run that is finished"
KILLED = "left behind by a killed job"
EARLIER = "made by an earlier version of Perigee, and no longer read"

PROJECTS = "projects"
"""Folder below the results that names the projects which use them."""

EARLIER_SECOND_NAMES = "spare"
"""Folder of a run in which an earlier version of Perigee kept second names of its files."""


@dataclass(frozen=True)
class Stored:
    """A folder of the store that can go by itself.

    Attributes:
        path: of a product, of a version of a run, of a measure, or of the states of unfinished
            runs.
        kind: of product.
        bytes: on the disk, of all files in it; one of two names of a file counts for half of it.
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
        bytes: as in `Stored`.
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
        served = _serves(path, store, references)
        files = _stats(path)
        used = (max(file.st_mtime, file.st_atime) for file in files)
        found.append(
            Stored(
                path=path,
                kind=path.relative_to(store).parts[0],
                bytes=_bytes(files),
                last_used=max(used, default=path.stat().st_mtime),
                figures=tuple(sorted({key for folder in served for key in references[folder]})),
            )
        )
    return found


def leftovers(
    store: Path, referenced: Collection[str], to_make: Collection[str] = ()
) -> list[Leftover]:
    """Folders of the store that may go; what a job is at work on is not among them.

    Args:
        store: the store's folder.
        referenced: folders below it that some configured figure needs at some scale; of runs the
            versions, "run/<name>-<digest>/e<epochs>".
        to_make: folders of runs, "run/<name>-<digest>", that are still to be trained or measured:
            the states of their interrupted jobs stay.

    Returns:
        Products, versions of runs, measures, states of unfinished runs, and what killed jobs were
        writing, in the order of their paths.
    """
    found = []
    for path in _parts(store):
        reason = _reason_to_go(path, store, referenced, to_make)
        if reason and not _is_in_use(path, store):
            found.append(_leftover(path, reason))
    unused = {leftover.path for leftover in found}
    for path in store.rglob(f"{WRITING}*"):
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
    path = leftover.path
    with _locked(path, store) as free:
        if not free or _is_being_written(path):
            return False
        if path.exists():  # a measure may have gone with its version
            shutil.rmtree(path)
    writers_lock(path).unlink(missing_ok=True)
    for folder in path.parents[: len(path.relative_to(store).parts) - 2]:
        # What is left of a run but locks are versions, or files that belong to no product.
        if folder.is_dir() and all(left.name.startswith(".") for left in folder.iterdir()):
            shutil.rmtree(folder)
    return True


def products(store: Path) -> list[Path]:
    """Folders of all products that are not being made: whatever holds files."""
    return [
        path
        for path in _parts(store)
        if path.name != UNFINISHED
        if any(file.is_file() for file in path.iterdir()) and not _is_in_use(path, store)
    ]


def check_product(folder: Path, store: Path) -> int:
    """Prove that a product is complete, in its place, and as it was made.

    Returns:
        The size of its files.

    Raises:
        PerigeeError: it is not.
    """
    told = read_product(folder)
    kind = folder.relative_to(store).parts[0]
    made = Identity(told.kind, told.name, told.spec, told.code, told.inputs)
    if made.kind == "measure":
        kind = "measure"
    if (kind, told.digest) != (made.kind, made.digest):
        raise PerigeeError(
            f"{folder / PROVENANCE} was changed after it was made: what it tells is not what the "
            "digest was taken of; delete the folder and run again."
        )
    return sum(file["bytes"] for file in told.files.values())


def _parts(store: Path) -> list[Path]:
    """Folders that can go by themselves: products, and of a run its versions and their measures."""
    products = [path for path in store.glob("*/[!.]*") if path.parent.name != "run"]
    # Runs of an earlier version of Perigee that kept checkpoints have more in their names.
    versions = [path for path in store.glob("run/*/e*") if VERSION.match(path.name)]
    measures = [path for version in versions for path in version.glob("[!.]*") if path.is_dir()]
    unfinished = store.glob(f"run/*/{UNFINISHED}")
    second_names = store.glob(f"run/*/{EARLIER_SECOND_NAMES}/e*")
    found = (*products, *versions, *measures, *unfinished, *second_names)
    return sorted(path for path in found if path.is_dir())


def _serves(path: Path, store: Path, needed: Collection[str]) -> list[str]:
    """Which needed products a folder serves: itself, or for the state of a run all of its own."""
    own = str(path.relative_to(store))
    if path.name == UNFINISHED:
        run = f"{path.parent.relative_to(store)}/"
        return [folder for folder in needed if folder.startswith(run)]
    return [own] if own in needed else []


def _reason_to_go(
    path: Path, store: Path, referenced: Collection[str], to_make: Collection[str]
) -> str | None:
    served = _serves(path, store, referenced)
    if not served:
        return EARLIER if is_earlier(path) else NO_FIGURE
    if path.name == UNFINISHED and str(path.parent.relative_to(store)) not in to_make:
        return FINISHED
    return None


def is_earlier(product: Path) -> bool:
    """True if a version of Perigee made the product whose products are not read any more."""
    try:
        return read_provenance(product).format < FORMAT
    except PerigeeError:
        return False


def _is_in_use(path: Path, store: Path) -> bool:
    """True while a job is at work in a folder or on its run."""
    with _locked(path, store) as free:
        return not free or _is_being_written(path)


def _locked(path: Path, store: Path) -> AbstractContextManager[bool]:
    """The lock of the run that a folder belongs to, if it does."""
    kind, name, *_ = path.relative_to(store).parts
    return locked_if_free(store / kind / name) if kind == "run" else nullcontext(True)


def _is_being_written(folder: Path) -> bool:
    """True if a job is writing into a folder, or was within the last day."""
    ages = (_leftover(path, "").days for path in folder.glob(f"{WRITING}*"))
    return any(days * 86400 <= ABANDONED_AFTER_S for days in ages)


def _leftover(path: Path, reason: str) -> Leftover:
    files = _stats(path)
    newest = max(file.st_mtime for file in (path.stat(), *files))
    return Leftover(path, _bytes(files), (time.time() - newest) / 86400, reason)


def _bytes(files: Iterable[os.stat_result]) -> int:
    return sum(file.st_size // file.st_nlink for file in files)


def _stats(folder: Path) -> list[os.stat_result]:
    """The stat results of all files in a folder and below; files removed meanwhile are passed over.

    The measures below a version of a run are counted by themselves.
    """
    found = []
    for parent, below, names in os.walk(folder):
        if VERSION.match(folder.name) and folder.parent.parent.name == "run":
            below.clear()
        for name in names:
            with suppress(FileNotFoundError):
                found.append(Path(parent, name).stat())
    return found


def note_project(results: Path) -> None:
    """Note that the project in the current folder uses a results folder, which others may share.

    Args:
        results: as the project's configuration names it.
    """
    told = {"folder": str(Path.cwd()), "results": str(results)}
    file = results / PROJECTS / f"{digest(told)}.json"
    if not file.is_file():
        write_text_atomically(file, json.dumps(told))


def other_projects(results: Path) -> list[str]:
    """The folders of the other projects that use a results folder, if they are still there."""
    found = []
    for file in (results / PROJECTS).glob("*.json"):
        told = json.loads(file.read_text(encoding="utf-8"))
        shared = Path(told["folder"], told["results"])
        if told["folder"] != str(Path.cwd()) and shared.is_dir() and shared.samefile(results):
            found.append(told["folder"])
    return sorted(found)
