"""Show what has become of every run that some targets need; nothing is made."""

import textwrap
import time
from collections import Counter
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console

from perigee.cli import Papers, Results, Scale, Seeds
from perigee.errors import PerigeeError
from perigee.planning.layout import Layout
from perigee.planning.plan import plan_of_options
from perigee.planning.status import RunStatus, State, figures_of, statuses, time_left
from perigee.slurm import Queue
from perigee.store.progress import duration

WIDTH = 100
"""Characters of a line; names and paths that are longer are not cut."""

INDENT = 13


def main(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Figures, papers, all_figures or everything, as Snakemake has them."),
    ] = None,
    scale: Scale = None,
    papers: Papers = None,
    results: Results = None,
    seeds: Seeds = None,
    every: Annotated[
        float | None,
        typer.Option(min=0.1, help="Show it again every so many seconds, until all is done."),
    ] = None,
) -> None:
    """Show what has become of every run that some targets need; nothing is made.

    Without targets, of the figures that `snakemake` alone makes. Options that are not given are
    taken from config/config.yaml; for a cluster that is --scale paper. What is shown comes from the
    store, the logs and, where there is SLURM, its queue.
    """
    plan, store, settings = plan_of_options(scale, papers, results, seeds)
    queue = Queue(store)
    console = Console()
    with suppress(KeyboardInterrupt):
        while True:
            layout = Layout(plan, str(store.parent), settings["data"])
            found, remark = _look(layout, targets or [], queue)
            lines = [*_summary(layout, found), *remark, "", *_table(found)]
            if every is not None:
                lines.insert(0, time.strftime("%Y-%m-%d %H:%M:%S"))
            if every is not None and console.is_terminal:
                console.clear()
                lines = _cut(lines, console.height)
            typer.echo("\n".join(lines))
            if every is None or all(status.state is State.DONE for status in found):
                return
            time.sleep(every)


def _look(layout: Layout, targets: list[str], queue: Queue) -> tuple[list[RunStatus], list[str]]:
    """The state of each run, and a line if the queue does not answer."""
    figures = figures_of(layout, targets)
    try:
        return statuses(layout, figures, queue.jobs()), []
    except PerigeeError as error:
        return statuses(layout, figures), [f"SLURM's queue is left out: {error}"]


def _summary(layout: Layout, found: list[RunStatus]) -> list[str]:
    counts = Counter(status.state for status in found)
    told = ", ".join(f"{counts[state]} {state}" for state in reversed(State) if counts[state])
    runs = "1 run" if len(found) == 1 else f"{len(found)} runs"
    lines = [f"{runs} at {layout.plan.scale} scale: {told or 'none is needed'}."]
    unfinished = [status for status in found if status.state is not State.DONE]
    if unfinished:
        seconds, unknown = time_left(layout, unfinished, layout.records)
        least = "at least " if unknown else ""
        known = "unknown" if unknown and not seconds else f"{least}{duration(seconds)}"
        lines.append(f"Training time left, of one device: {known}.")
    return lines


def _table(found: list[RunStatus]) -> list[str]:
    margin = " " * INDENT
    lines = []
    for status in found:
        lines.append(f"{status.state:<{INDENT}}{status.version}")
        lines += textwrap.wrap(
            status.detail,
            WIDTH,
            initial_indent=margin,
            subsequent_indent=margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
        if status.log:
            lines.append(f"{margin}log: {status.log}")
    return lines


def _cut(lines: list[str], height: int) -> list[str]:
    """The lines that fit on a terminal; the last one says how many are left out."""
    room = max(height - 2, 1)
    more = len(lines) - room
    return lines if more <= 0 else [*lines[:room], f"... and {more} lines more"]
