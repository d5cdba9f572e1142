"""Checks before any job starts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from perigee.data.manifest import MANIFEST
from perigee.errors import PerigeeError
from perigee.store.housekeeping import is_earlier
from perigee.store.provenance import PROVENANCE, read_product


def check_results(results: Path) -> None:
    """Prove that the results folder is a folder or can become one; nothing is written.

    Raises:
        PerigeeError: it, or one above it, is a file or a link to nothing.
    """
    for path in (results, *results.parents):
        if path.is_symlink() and not path.exists():
            raise PerigeeError(
                f"config/config.yaml: key 'results' is '{results}', but {path} is a link to "
                f"{path.readlink()}, which does not exist; make that folder or remove the link."
            )


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
    """Hold the data sets that have been built to their provenance, without reading the data.

    Args:
        store: the store's folder.
        folders: of data sets below it.

    Raises:
        PerigeeError: one was changed or damaged.
    """
    for folder in folders:
        path = store / folder
        if not (path / PROVENANCE).is_file():
            continue
        provenance = read_product(path, [MANIFEST])
        for name, told in provenance.files.items():
            found = (path / name).stat().st_size if (path / name).is_file() else None
            if found != told["bytes"]:
                size = f"has {found} bytes instead of {told['bytes']}"
                raise PerigeeError(
                    f"{path / name} {'is missing' if found is None else size}: the data set was "
                    "changed or damaged after it was made; delete its folder and run again."
                )


def earlier_products(store: Path) -> str | None:
    """A sentence on products of an earlier version of Perigee, told once; else None.

    Args:
        store: the store's folder.
    """
    told = store / ".earlier-products-told"
    if told.exists() or not store.is_dir():
        return None
    paths = (*store.glob(f"run/*/e*/{PROVENANCE}"), *store.glob(f"dataset/*/{PROVENANCE}"))
    earlier = sum(is_earlier(path.parent) for path in paths)
    with suppress(OSError):
        told.touch()
    if not earlier:
        return None
    return (
        f"{store} holds {earlier} data sets and runs of an earlier version of Perigee, which are "
        "not read any more; 'perigee store clean' lists them, and with --remove "
        "removes them."
    )
