"""Print the verdicts on the papers' claims."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from perigee.claims.judging import NOT_REPRODUCED, NOT_TESTABLE, REPRODUCED
from perigee.cli import Results, Scale
from perigee.errors import PerigeeError
from perigee.planning.plan import plan_of_options
from perigee.store.claims import CLAIMS
from perigee.store.writing import written_atomically

COLOURS = {REPRODUCED: "green", NOT_REPRODUCED: "red", NOT_TESTABLE: "yellow"}
WIDTH_OF_A_FILE = 200


def main(
    claims: Annotated[
        Path | None, typer.Option(help="The table, if not that of the project at its scale.")
    ] = None,
    scale: Scale = None,
    results: Results = None,
    copy: Annotated[Path | None, typer.Option(help="Also write what is printed here.")] = None,
) -> None:
    """Print the verdicts on the papers' claims, in colour where the terminal shows it."""
    if claims is None:
        plan, store = plan_of_options(scale, None, results)
        claims = store.parent / plan.scale / CLAIMS
    if not claims.is_file():
        options = f" --config scale={scale}" if scale else ""
        raise PerigeeError(f"{claims} does not exist; make it with 'snakemake claims{options}'.")
    judged = pd.read_csv(claims, dtype=str, keep_default_na=False)
    console = Console()
    _print(judged, console if console.is_terminal else Console(width=WIDTH_OF_A_FILE))
    console.print(f"Quantities and sources are in {claims}.")
    if copy is not None:
        with written_atomically(copy) as aside, aside.open("w", encoding="utf-8") as file:
            _print(judged, Console(file=file, width=WIDTH_OF_A_FILE))


def _print(judged: pd.DataFrame, console: Console) -> None:
    table = Table(title="The papers' claims, and their verdicts", show_lines=True)
    for column in ("figure", "claim", "expected", "measured", "by seed", "verdict"):
        table.add_column(column, overflow="fold")
    for row in judged.to_dict("records"):
        colour = COLOURS.get(row["verdict"], "default")
        table.add_row(
            f"{row['paper']}_{row['figure']}",
            escape(row["claim"]),
            row["expected"],
            row["measured"],
            row["seeds"],
            f"[{colour}]{row['verdict']}[/{colour}]",
        )
    console.print(table)
    counts = Counter(judged["verdict"])
    console.print(", ".join(f"{counts[v]} {v}" for v in COLOURS if counts[v]) or "No claims.")
