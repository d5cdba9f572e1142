"""List what the store holds: sizes, last use, and the figures that need it."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from perigee.cli import Configuration, ResultsFolder
from perigee.errors import PerigeeError
from perigee.planning.plan import plans_at_all_scales, references
from perigee.store.housekeeping import Stored, stored

WIDER_THAN_ANY_PATH = 10_000


def main(
    configuration: Configuration = None,
    results: ResultsFolder = None,
    figure: Annotated[
        str | None, typer.Option(help="Only what this figure needs, e.g. periodic_fig3.")
    ] = None,
    unused: Annotated[bool, typer.Option("--unused", help="Only what no figure needs.")] = False,
) -> None:
    """List what the store holds: sizes, last use, and the figures that need it at any scale.

    The last use is when a file was last changed or, as far as the file system notes that, read.
    """
    plans, store = plans_at_all_scales(configuration, results)
    known = {key for plan in plans for key in plan.figures}
    if figure is not None and figure not in known:
        raise PerigeeError(f"'{figure}' is not a figure; known are {', '.join(sorted(known))}.")
    shown = [
        item
        for item in stored(store, references(plans, store))
        if (figure is None or figure in item.figures) and not (unused and item.figures)
    ]
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDER_THAN_ANY_PATH)
    console.print(_table(shown, store, box.HEAVY_HEAD if console.is_terminal else None))


def _table(shown: list[Stored], store: Path, frame: box.Box | None) -> Table:
    table = Table(box=frame)
    for column in ("kind", "product", "MB", "last use", "needed by"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for item in shown:
        name = str(item.path.relative_to(store / item.kind))
        used = time.strftime("%Y-%m-%d", time.localtime(item.last_used))
        table.add_row(item.kind, name, _megabytes([item]), used, ", ".join(item.figures) or "-")
    table.add_section()
    for kind in dict.fromkeys(item.kind for item in shown):
        of_kind = [item for item in shown if item.kind == kind]
        table.add_row(kind, f"{len(of_kind)} in all", _megabytes(of_kind), "", "")
    table.add_row("all", f"{len(shown)} in all", _megabytes(shown), "", "")
    return table


def _megabytes(items: list[Stored]) -> str:
    return f"{sum(item.bytes for item in items) / 1e6:.2f}"
