"""What is checked before any job starts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from perigee.errors import PerigeeError
from perigee.store.datasets import DATA
from perigee.store.provenance import PROVENANCE, read_product


def check_writable(results: Path) -> None:
    """Prove that the results folder, or the nearest folder above that exists, takes files.

    Raises:
        PerigeeError: it does not.
    """
    folder = results
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise PerigeeError(
            f"config/config.yaml: key 'results' is '{results}', but no file can be written in "
            f"{folder} ({error.strerror}); give another folder or make it writable."
        ) from error


def check_datasets(store: Path, folders: Iterable[str]) -> None:
    """Verify the checksums of those data sets that have been built.

    Args:
        store: the store's folder.
        folders: of data sets below it.

    Raises:
        PerigeeError: one was changed or damaged.
    """
    for folder in folders:
        if (store / folder / PROVENANCE).is_file() and (store / folder / DATA).is_file():
            read_product(store / folder, [DATA])
