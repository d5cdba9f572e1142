"""The files of a figure, and their published copies."""

from __future__ import annotations

import json
import time
from pathlib import Path

from perigee.store.provenance import checksum, read_product
from perigee.store.writing import copy_atomically

FILES = ("figure.pdf", "figure.png", "figure.csv", "figure.ipynb")


def publish(figure: Path, folder: Path, key: str) -> None:
    """Copy a figure out of the store, and note last which version the copies are.

    Args:
        figure: its folder in the store.
        folder: gets <key>.pdf, .png, .csv and .ipynb.
        key: <paper>_<figure>.

    Raises:
        PerigeeError: the figure is incomplete or was changed.
    """
    provenance = read_product(figure, FILES)
    note = _note(folder, key)
    note.unlink(missing_ok=True)
    copies = _copies(folder, key)
    for file, copy in copies.items():
        copy_atomically(figure / file, copy)
    checksums = {copy.name: checksum(copy) for copy in copies.values()}
    note.parent.mkdir(exist_ok=True)
    note.write_text(json.dumps({"digest": provenance.digest, "files": checksums}, indent=1) + "\n")


def is_published(folder: Path, key: str, digest: str) -> bool:
    """Whether the copies are those of this version, unchanged."""
    try:
        note = json.loads(_note(folder, key).read_text())
        checksums = {copy.name: checksum(copy) for copy in _copies(folder, key).values()}
    except (OSError, ValueError):
        return False
    return bool(note == {"digest": digest, "files": checksums})


def outdated_notice() -> str:
    """A file newer than any published copy.

    Snakemake remakes an existing file only if one of its inputs is newer and has new content. The
    version that is to replace published copies may be an old one (a value was changed and changed
    back), so this file stands in for it. It lies in .snakemake/ and means nothing by itself.
    """
    notice = Path(".snakemake/perigee/outdated")
    notice.parent.mkdir(parents=True, exist_ok=True)
    notice.write_text(f"{time.time_ns()}\n")
    return str(notice)


def _copies(folder: Path, key: str) -> dict[str, Path]:
    return {file: folder / f"{key}{Path(file).suffix}" for file in FILES}


def _note(folder: Path, key: str) -> Path:
    return folder / ".version" / f"{key}.json"
