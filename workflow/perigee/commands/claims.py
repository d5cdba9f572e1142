"""Print the verdicts on the papers' claims, or lock the rules of new ones."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import perigee
from perigee.claims.outcomes import (
    COLUMNS,
    CONTRADICTED,
    HOLDS,
    NOT_LOCKED,
    REPRODUCED,
    VIOLATED,
    apart,
    headline,
)
from perigee.cli import Results, Scale
from perigee.configuration.locks import lock_rules
from perigee.configuration.scales import papers
from perigee.errors import PerigeeError
from perigee.paths import shown
from perigee.planning.plan import plan_of_options
from perigee.store.claims import CLAIMS
from perigee.store.writing import written_atomically

COLOURS = {REPRODUCED: "green", HOLDS: "green", CONTRADICTED: "red", VIOLATED: "red"}
"""The colours of verdicts; that of others is yellow."""

WIDTH_OF_A_FILE = 200


class Action(StrEnum):
    """The actions beside printing."""

    LOCK = "lock"


def main(
    action: Annotated[
        Action | None,
        typer.Argument(help="lock: note in claims.lock the rules of the papers' new claims."),
    ] = None,
    claims: Annotated[
        Path | None, typer.Option(help="The table, if not that of the project at its scale.")
    ] = None,
    scale: Scale = None,
    results: Results = None,
    copy: Annotated[Path | None, typer.Option(help="Also write what is printed here.")] = None,
) -> None:
    """Print the verdicts on the papers' claims, in colour where the terminal shows it.

    `perigee claims lock` adds rules that are not locked yet to config/papers/<paper>/claims.lock,
    with the day and the version; do so before runs of judged seeds are looked at for them.
    """
    if action is Action.LOCK:
        _lock()
        return
    if claims is None:
        plan, store = plan_of_options(scale, None, results)
        claims = store.parent / plan.scale / CLAIMS
    if not claims.is_file():
        options = f" --config scale={scale}" if scale else ""
        raise PerigeeError(f"{claims} does not exist; make it with 'snakemake claims{options}'.")
    judged = pd.read_csv(claims, dtype=str, keep_default_na=False)
    if list(judged.columns) != list(COLUMNS):
        raise PerigeeError(
            f"{claims} was made by another version of Perigee, with other columns; make it anew "
            "with 'snakemake claims'."
        )
    rows = judged.to_dict("records")
    console = Console()
    _print(rows, console if console.is_terminal else Console(width=WIDTH_OF_A_FILE))
    console.print(f"Quantities and sources are in {claims}.")
    if copy is not None:
        with written_atomically(copy) as aside, aside.open("w", encoding="utf-8") as file:
            _print(rows, Console(file=file, width=WIDTH_OF_A_FILE))


def _lock() -> None:
    """Lock the rules of all papers' claims, and say which are new."""
    today = datetime.now(UTC).date().isoformat()
    for paper in papers():
        for path, locks in lock_rules(paper, today, perigee.__version__).items():
            names = ", ".join(f"{lock.figure}.{lock.claim}" for lock in locks) or "nothing new"
            typer.echo(f"{shown(path)}: {names}")


def _print(rows: list[dict[Any, Any]], console: Console) -> None:
    empirical, identities = apart(rows)
    if empirical or not identities:
        console.print(_table("The papers' claims, and their verdicts", empirical))
    if identities:
        console.print(
            _table("Identities and theorems, which check this implementation", identities)
        )
    console.print(headline(rows))
    unlocked = sum(row["locked"].startswith(NOT_LOCKED) for row in rows)
    if unlocked:
        console.print(
            f"Rules that are not locked, or were changed since: {unlocked}; 'perigee claims lock' "
            "locks them."
        )


def _table(title: str, rows: Iterable[Any]) -> Table:
    table = Table(title=title, show_lines=True)
    for column in ("figure", "claim", "expected", "measured", "fulfilled", "by seed", "verdict"):
        table.add_column(column, overflow="fold")
    for row in rows:
        colour = COLOURS.get(row["verdict"], "yellow")
        interval = f"\n90 %: {row['interval']}" if row["interval"] else ""
        premise = f"\npremise: {row['premise']}" if row["premise"] else ""
        notes = [f"seen: {row['seen']}"] if row["seen"] else []
        notes += [row["locked"]] if row["locked"].startswith(NOT_LOCKED) else []
        table.add_row(
            f"{row['paper']}_{row['figure']}",
            escape(f"{row['claim']}\n{row['kind']}, by {row['unit']}"),
            row["expected"],
            escape(f"{row['estimate']}{interval}"),
            row["fulfilled"],
            escape(f"{row['measured_seeds']}{premise}".strip()),
            "\n".join([f"[{colour}]{row['verdict']}[/{colour}]", *map(escape, notes)]),
        )
    return table
