"""Show what would be trained, and what that would cost; nothing is made."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from perigee.cli import Papers, Results, Scale, Seeds
from perigee.planning.costs import Source, total
from perigee.planning.forecast import Training, trainings
from perigee.planning.layout import Layout
from perigee.planning.plan import check_all_scales, plan_of_options
from perigee.planning.status import figures_of


def main(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Figures or papers. Without any, the papers' figures."),
    ] = None,
    scale: Scale = None,
    papers: Papers = None,
    results: Results = None,
    seeds: Seeds = None,
) -> None:
    """Show what would be trained, and what that would cost; nothing is made.

    Files are checked at every scale. Options that are not given are taken from
    config/config.yaml. Times are those of one device: from the provenance of finished runs of the
    same network, data and batch size in the store; without these, from what 'snakemake calibrate'
    measured; or else a guess from what was measured on another card.
    """
    plan, store, settings = plan_of_options(scale, papers, results, seeds)
    check_all_scales(settings["papers"], settings["seeds"])
    whole = Layout(plan, str(store.parent))
    plan = plan.of_figures(figures_of(whole, targets or ["all_figures"]))
    layout = Layout(plan, str(store.parent))
    costs = trainings(layout, plan.figures.values())
    table = Table(title=f"To be trained at {plan.scale} scale")
    for column in ("figure", "runs", "epochs", "steps", "device hours", "disk, MB"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for key, figure in plan.figures.items():
        table.add_row(key, *_cells(trainings(layout, [figure]).values()))
    table.add_section()
    table.add_row("all, shared runs once", *_cells(costs.values()))
    console = Console()
    console.print(table)
    together = total(training.cost for training in costs.values())
    for source, words in SOURCES.items():
        found = [training.cost for training in costs.values() if training.cost.source is source]
        if devices := total(found).hardware:
            console.print(words.format(len(found), devices))
    replays = sum(training.is_replay for training in costs.values())
    if replays:
        console.print(f"{replays} of them are finished, and trained again for missing measures.")
    waiting = layout.outstanding(plan.figures.values()).values()
    measured = sum(product.kind == "run" for product in waiting) - len(costs)
    if measured:
        console.print(
            f"Not counted: {measured} finished runs whose missing measures are computed at their "
            "kept checkpoints."
        )
    evaluations = sum(product.kind == "evaluation" for product in waiting)
    if evaluations:
        console.print(
            f"Not counted: {evaluations} evaluations of kept checkpoints, a forward pass each."
        )
    if together.seconds is None:
        console.print(
            "No finished run tells the time of those marked '?': they are of another network, "
            "data set or batch size than all in the store. Their disk space is that of "
            "their losses alone. 'snakemake calibrate' measures what they take on this device."
        )


SOURCES = {
    Source.RUN: "Times and sizes as measured on: {1}.",
    Source.CALIBRATION: "Times of {0} runs by 'snakemake calibrate', on: {1}. Their disk space is "
    "that of their losses alone.",
    Source.GUESS: "Times of {0} runs, marked '~', are a guess from one {1}, perhaps without the "
    "passes of their measures; 'snakemake calibrate' measures what they take on this device. Their "
    "disk space is that of their losses alone.",
}
"""The sentences on where times come from: of how many runs, and on which devices."""


def _cells(trainings: Iterable[Training]) -> tuple[str, ...]:
    every = list(trainings)
    cost = total(training.cost for training in every)
    is_guess = any(training.cost.source is Source.GUESS for training in every)
    hours = "?" if cost.seconds is None else f"{'~' * is_guess}{cost.seconds / 3600:.2f}"
    return (
        str(len(every)),
        f"{sum(training.epochs for training in every):,}",
        f"{sum(training.steps for training in every):,}",
        hours,
        f"{cost.bytes / 1e6:.1f}",
    )
