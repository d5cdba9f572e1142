"""Check that every product in the store is still as it was made."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import track

from perigee.cli import Configuration, ResultsFolder
from perigee.configuration.settings import read_settings
from perigee.errors import PerigeeError
from perigee.paths import configuration_file
from perigee.store.housekeeping import check_product, products

READERS = 2


def main(configuration: Configuration = None, results: ResultsFolder = None) -> None:
    """Check that every product in the store is still as it was made.

    Its provenance, its place and the checksums of all its files are verified. Products that jobs
    are making are passed over.
    """
    settings = read_settings([configuration or configuration_file()])
    store = (results or Path(settings["results"])) / "store"
    found = products(store)

    def outcome(folder: Path) -> int | str:
        try:
            return check_product(folder, store)
        except PerigeeError as error:
            return str(error)

    terminal = Console(stderr=True)
    with ThreadPoolExecutor(READERS) as readers:
        outcomes = list(
            track(
                readers.map(outcome, found),
                "verifying",
                len(found),
                console=terminal,
                transient=True,
                disable=not terminal.is_terminal,
            )
        )
    bad = {
        folder: told for folder, told in zip(found, outcomes, strict=True) if isinstance(told, str)
    }
    for folder, sentence in bad.items():
        typer.echo(f"{folder.relative_to(store)}: {sentence}")
    if bad:
        raise PerigeeError(f"{len(bad)} of {len(found)} products are not as they were made.")
    size = sum(told for told in outcomes if isinstance(told, int))
    typer.echo(f"{len(found)} products, {size / 1e9:.3f} GB: all as they were made.")
