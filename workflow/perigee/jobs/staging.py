"""Images that a run streams, copied to a disk of its node before it reads them again and again."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from perigee.data.annotated_files import AnnotatedDataset
from perigee.data.arrays import ArrayDataset
from perigee.data.file_datasets import FileDataset
from perigee.data.image_folder import FileSplit
from perigee.data.saving import AnyDataset
from perigee.errors import PerigeeError
from perigee.store.locks import locked

logger = logging.getLogger("perigee")

TELL = 10.0
"""The seconds between lines on the progress of copying."""


def staged(dataset: AnyDataset, place: str, waiting: Callable[[], None]) -> AnyDataset:
    """Copy the images of a data set, but those that are there already, and read them from there.

    A user's jobs of one node share the copies; while one copies, the others wait. A file counts as
    copied if it has the size that is listed.

    Args:
        dataset: whose images are copied; one of arrays has none.
        place: a folder, with variables of the environment such as $TMPDIR.
        waiting: called again and again; what it raises ends the copying.

    Returns:
        The data set with other folders.

    Raises:
        PerigeeError: the place cannot be written or has too little room, or an image cannot be
            read.
    """
    if isinstance(dataset, ArrayDataset):
        return dataset
    folder = Path(os.path.expandvars(place)).expanduser()
    if not folder.is_absolute() or "$" in str(folder):
        raise PerigeeError(
            f"Key 'stage_images' is '{place}', which is not an absolute path on this node; name a "
            "folder, or set the variable in it to one."
        )
    copies = {name: folder / _name(source) for name, source in dataset.folders.items()}
    try:
        for name, split in _splits(dataset):
            with locked(copies[name], waiting):
                _copy(split, dataset.folders[name], copies[name], waiting)
    except OSError as error:
        raise PerigeeError(
            f"The images in {error.filename or folder} cannot be copied ({error.strerror}); name "
            "another folder as key 'stage_images' in config/config.yaml, or '' to read them where "
            "they are."
        ) from error
    return replace(dataset, folders=copies)


def _name(source: Path) -> str:
    """A folder's name for a user's copies of another one, which nothing else has."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    digest = hashlib.sha256(os.fsencode(source.resolve())).hexdigest()[:16]
    return f"perigee{user}-{source.name}-{digest}"


def _splits(dataset: FileDataset | AnnotatedDataset) -> Iterator[tuple[str, FileSplit]]:
    """The listing of each split's files, by name."""
    for name, split in dataset.splits.items():
        yield name, split if isinstance(split, FileSplit) else split.files


def _copy(split: FileSplit, source: Path, folder: Path, waiting: Callable[[], None]) -> None:
    """Copy the files of a split that a folder lacks."""
    sizes = split.sizes.tolist()
    missing = [
        number for number, size in enumerate(sizes) if _size(folder / split.path(number)) != size
    ]
    if not missing:
        return
    needed = sum(sizes[number] for number in missing)
    if needed > shutil.disk_usage(folder).free:
        raise PerigeeError(
            f"Key 'stage_images': {folder} has no room for {needed / 1e9:.3g} GB of images; name a "
            "folder on a larger disk in config/config.yaml, or '' to read them where they are."
        )
    logger.info("copying %s images (%.3g GB) to %s", len(missing), needed / 1e9, folder)
    told = time.monotonic()
    for place, number in enumerate(missing):
        waiting()
        path = split.path(number)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.unfinished")
        try:
            shutil.copyfile(source / path, unfinished)
        except OSError as error:
            if str(error.filename) != str(source / path):
                raise
            raise PerigeeError(
                f"{source / path} cannot be read ({error.strerror}); put it back, or have the "
                "folder listed anew."
            ) from error
        if (found := unfinished.stat().st_size) != sizes[number]:
            unfinished.unlink()
            raise PerigeeError(
                f"{source / path} has {found} bytes, but had {sizes[number]} when its folder was "
                "listed; put that image back, or have the folder listed anew."
            )
        unfinished.replace(target)
        if time.monotonic() > told + TELL:
            told = time.monotonic()
            logger.info("copied %s of %s images", place + 1, len(missing))


def _size(path: Path) -> int | None:
    """The size of a file in bytes; None if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
