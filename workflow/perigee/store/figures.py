"""The files of a figure, and their published copies."""

from __future__ import annotations

import shutil
from pathlib import Path

from perigee.paths import FIGURE_FILES
from perigee.store.provenance import read_product
from perigee.store.publishing import Publication
from perigee.store.writing import written_atomically

TRIES = 3
"""How often copies are made: another Snakemake that publishes into the same folder removes them
before it makes its own."""


def published_names(key: str) -> list[str]:
    """<key>.pdf, <key>_paper_width.pdf and so on, in the order of `FIGURE_FILES`."""
    return [key + file.removeprefix("figure") for file in FIGURE_FILES]


def published_figure(folder: Path, key: str) -> Publication:
    """The copies of a figure in the folder of published ones."""
    return Publication(folder, key, published_names(key))


def publish(figure: Path, folder: Path, key: str) -> None:
    """Copy a figure out of the store, and note last which version the copies are.

    Args:
        figure: its folder in the store.
        folder: gets the copies.
        key: <paper>_<figure>.

    Raises:
        PerigeeError: the figure is incomplete or was changed.
    """
    provenance = read_product(figure, FIGURE_FILES)
    publication = published_figure(folder, key)
    publication.withdraw()
    for attempt in range(1, TRIES + 1):
        for file, copy in zip(FIGURE_FILES, publication.paths, strict=True):
            with written_atomically(copy) as aside:
                shutil.copyfile(figure / file, aside)
        try:
            publication.confirm(provenance.digest)
            return
        except FileNotFoundError:
            if attempt == TRIES:
                raise
