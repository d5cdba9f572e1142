"""Show what would be trained, and what that would cost; nothing is made."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from perigee.cli import Papers, Results, Scale, program
from perigee.plan import Plan, plan_of_options
from perigee.registry import registration
from perigee.store.costs import Cost, estimate, read_records, total
from perigee.store.runs import METRICS, kept_epochs, longer_versions, planned_epochs


@program
def main(
    scale: Scale = None,
    papers: Papers = None,
    results: Results = None,
    figures: Annotated[
        list[str] | None, typer.Option("--figure", help="Plan only this figure; may be repeated.")
    ] = None,
) -> None:
    """Show what would be trained, and what that would cost; nothing is made.

    Options that are not given are taken from config/config.yaml. Times are those of one device,
    from the provenance of finished runs of the same network, data and batch size in the store.
    """
    plan, store = plan_of_options(scale, papers, results)
    plan = plan.of_figures(figures or list(plan.figures))
    costs = _costs(plan, store)
    table = Table(title=f"To be trained at {plan.scale} scale")
    for column in ("figure", "runs", "epochs", "steps", "device hours", "disk, MB"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for key, figure in plan.figures.items():
        folders = {run.folder for t in figure.tables.values() for run in t.runs} & costs.keys()
        table.add_row(key, *_cells(costs[folder] for folder in folders))
    table.add_section()
    table.add_row("all, shared runs once", *_cells(costs.values()))
    console = Console()
    console.print(table)
    together = total(cost for _, _, cost in costs.values())
    if together.hardware:
        console.print(f"Times and sizes as measured on: {together.hardware}.")
    if together.seconds is None:
        console.print(
            "No finished run tells the time of those marked '?': they are of another network, "
            "data set or batch size than all in the store. Their disk space is that of "
            "steps.parquet alone."
        )


Entry = tuple[int, int, Cost]
"""Epochs and steps still to be trained, and their cost."""


def _costs(plan: Plan, store: Path) -> dict[str, Entry]:
    """By folder, of the runs that are neither in the store nor to be read off a longer version."""
    records = read_records(store)
    read_off = longer_versions(store, plan.runs)
    planned = planned_epochs(plan.runs.values())
    costs: dict[str, Entry] = {}
    for folder, run in plan.runs.items():
        if (store / folder / METRICS).exists() or folder in read_off:
            continue
        images = registration("dataset", run.spec.dataset).train_images
        steps_per_epoch = math.ceil(images / run.spec.batch_size)
        done = kept_epochs(store / run.identity.folder) + planned[run.identity.folder]
        epochs = run.epochs - max((e for e in done if e < run.epochs), default=0)
        cost = estimate(run.spec.to_dict(), epochs, steps_per_epoch, records)
        costs[folder] = (epochs, epochs * steps_per_epoch, cost)
    return costs


def _cells(entries: Iterable[Entry]) -> tuple[str, ...]:
    every = list(entries)
    cost = total(cost for _, _, cost in every)
    hours = "?" if cost.seconds is None else f"{cost.seconds / 3600:.2f}"
    return (
        str(len(every)),
        f"{sum(epochs for epochs, _, _ in every):,}",
        f"{sum(steps for _, steps, _ in every):,}",
        hours,
        f"{cost.bytes / 1e6:.1f}",
    )


if __name__ == "__main__":
    main()
