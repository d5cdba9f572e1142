"""Print the verdicts on the papers' claims, lock the rules of new ones, or keep seeds' numbers."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

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
from perigee.claims.seed_results import COLUMNS as SEED_COLUMNS
from perigee.claims.seed_results import merged, seed_results
from perigee.cli import Papers, Results, Scale, Seeds
from perigee.configuration.locks import lock_rules
from perigee.configuration.scales import papers as papers_known
from perigee.errors import PerigeeError
from perigee.paths import shown
from perigee.planning.plan import Plan, plan_of_options
from perigee.store.claims import CLAIMS
from perigee.store.provenance import git_state, hardware, versions
from perigee.store.tables import TABLE
from perigee.store.writing import written_atomically

COLOURS = {REPRODUCED: "green", HOLDS: "green", CONTRADICTED: "red", VIOLATED: "red"}
"""The colours of verdicts; that of others is yellow."""

WIDTH_OF_A_FILE = 200

KEPT = Path("evidence/seeds.csv")
"""The table of seeds' numbers, below the current folder."""


def main(
    action: Annotated[
        Literal["lock", "keep"] | None,
        typer.Argument(
            help="lock: note in claims.lock the rules of the papers' new claims. "
            "keep: add every seed's number to a table of them."
        ),
    ] = None,
    claims: Annotated[
        Path | None, typer.Option(help="The table, if not that of the project at its scale.")
    ] = None,
    scale: Scale = None,
    papers: Papers = None,
    results: Results = None,
    seeds: Seeds = None,
    copy: Annotated[Path | None, typer.Option(help="Also write what is printed here.")] = None,
    table: Annotated[
        Path, typer.Option(help="The table of seeds' numbers that 'keep' adds to.")
    ] = KEPT,
) -> None:
    """Print the verdicts on the papers' claims, in colour where the terminal shows it.

    `perigee claims lock` adds rules that are not locked yet to config/papers/<paper>/claims.lock,
    with the day and the version; do so before runs of judged seeds are looked at for them.

    `perigee claims keep` adds the number of every seed in every judged claim to a small table that
    can be kept in git. Further seeds, machines and versions add rows.
    """
    if action == "lock":
        _lock()
        return
    if action == "keep":
        plan, store, _ = plan_of_options(scale, papers, results, seeds)
        _keep(table, plan, store)
        return
    if claims is None:
        plan, store, _ = plan_of_options(scale, papers, results, seeds)
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
    for paper in papers_known():
        for path, locks in lock_rules(paper, today, perigee.__version__).items():
            names = ", ".join(f"{lock.figure}.{lock.claim}" for lock in locks) or "nothing new"
            typer.echo(f"{shown(path)}: {names}")


def _keep(path: Path, plan: Plan, store: Path) -> None:
    """Add the seeds' numbers of all figures whose claims are judged to a table of them."""
    commit = git_state() or {}
    about = {
        "scale": plan.scale,
        "commit": commit.get("commit", "") + "-dirty" * commit.get("dirty", False),
        "processor": hardware()["processor"],
        "torch": versions()["torch"],
        "date": datetime.now(UTC).date().isoformat(),
    }
    parts = []
    for figure in plan.of_papers.figures.values():
        if figure.claims is None or not figure.claims.is_complete(store):
            continue
        tables = {
            name: pd.read_parquet(store / one.folder / TABLE)
            for name, one in figure.claims.tables.items()
        }
        seeds = {name: one.seeds for name, one in figure.claims.tables.items()}
        of = {**about, "paper": figure.request.paper, "figure": figure.request.name}
        parts.append(seed_results(figure.claims.claims, tables, seeds, of))
    if not parts:
        raise PerigeeError(f"No claims are judged in {shown(store)}; run 'snakemake claims'.")
    new = pd.concat(parts, ignore_index=True)
    known = pd.DataFrame(columns=list(SEED_COLUMNS))
    if path.is_file():
        known = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(known.columns) != list(SEED_COLUMNS):
        raise PerigeeError(f"{shown(path)} is not a table of seeds' numbers; name another --table.")
    table = merged(known, new)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(path) as aside:
        table.to_csv(aside, index=False, lineterminator="\n")
    typer.echo(f"{shown(path)}: {len(new)} numbers of this scale, {len(table)} in all")


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
