"""Show what would be trained, and what that would cost; nothing is made."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from perigee.cli import Figures, Papers, Results, Scale, program
from perigee.forecast import Training, predictions_to_make, runs_to_train, trainings
from perigee.plan import plan_of_options
from perigee.store.costs import read_records, total


@program
def main(
    scale: Scale = None,
    papers: Papers = None,
    results: Results = None,
    figures: Figures = None,
) -> None:
    """Show what would be trained, and what that would cost; nothing is made.

    Options that are not given are taken from config/config.yaml. Times are those of one device,
    from the provenance of finished runs of the same network, data and batch size in the store.
    """
    plan, store = plan_of_options(scale, papers, results)
    plan = plan.of_figures(figures) if figures else plan.of_papers
    costs = trainings(plan, store, runs_to_train(plan, store), read_records(store))
    table = Table(title=f"To be trained at {plan.scale} scale")
    for column in ("figure", "runs", "epochs", "steps", "device hours", "disk, MB"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for key, figure in plan.figures.items():
        folders = set(figure.folders) & costs.keys()
        table.add_row(key, *_cells(costs[folder] for folder in folders))
    table.add_section()
    table.add_row("all, shared runs once", *_cells(costs.values()))
    console = Console()
    console.print(table)
    together = total(training.cost for training in costs.values())
    if together.hardware:
        console.print(f"Times and sizes as measured on: {together.hardware}.")
    predictions = len(predictions_to_make(plan, store))
    if predictions:
        console.print(
            f"Not counted: {predictions} runs' kept checkpoints predict their test sets, a forward "
            "pass each."
        )
    if together.seconds is None:
        console.print(
            "No finished run tells the time of those marked '?': they are of another network, "
            "data set or batch size than all in the store. Their disk space is that of "
            "steps.parquet alone."
        )


def _cells(trainings: Iterable[Training]) -> tuple[str, ...]:
    every = list(trainings)
    cost = total(training.cost for training in every)
    hours = "?" if cost.seconds is None else f"{cost.seconds / 3600:.2f}"
    return (
        str(len(every)),
        f"{sum(training.epochs for training in every):,}",
        f"{sum(training.steps for training in every):,}",
        hours,
        f"{cost.bytes / 1e6:.1f}",
    )


if __name__ == "__main__":
    main()
