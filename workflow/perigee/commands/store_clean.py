"""List what the store holds that nothing needs any more, and remove it if told to."""

import sys
from typing import Annotated

import typer

from perigee.cli import Configuration, ResultsFolder
from perigee.errors import PerigeeError
from perigee.planning.plan import plans_at_all_scales, references, runs_to_make
from perigee.store.housekeeping import leftovers, other_projects, remove


def main(
    configuration: Configuration = None,
    results: ResultsFolder = None,
    remove_listed: Annotated[
        bool, typer.Option("--remove", help="Remove what is listed, once you have agreed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree beforehand, as scripts must.")] = False,
) -> None:
    """List what the store holds that nothing needs any more, and remove it if told to.

    Figures of every scale in config/scales and of the papers' own count, as config/config.yaml has
    them: what was made with --config alone is listed. Other projects that share the store are
    named. Without --remove nothing is touched.
    """
    plans, store = plans_at_all_scales(configuration, results)
    found = leftovers(store, set(references(plans, store)), runs_to_make(plans, store))
    for leftover in found:
        megabytes = leftover.bytes / 1e6
        typer.echo(
            f"{megabytes:10.1f} MB  {leftover.days:6.1f} days  {leftover.path}  {leftover.reason}"
        )
    total = f"{len(found)} folders, {sum(leftover.bytes for leftover in found) / 1e6:.1f} MB"
    others = other_projects(store.parent)
    if others:
        typer.echo(f"What only {', '.join(others)} needs, which shares this store, is listed too.")
    if not remove_listed or not found:
        typer.echo(f"{total}; --remove removes them." if found else total)
        return
    if yes and others:
        raise PerigeeError("--yes is not enough for a shared store; read the list, and agree.")
    if not yes:
        if not sys.stdin.isatty():
            raise PerigeeError(
                "--remove asks before it removes, and there is no terminal to ask in; give --yes "
                "too."
            )
        typer.confirm(f"Remove these {total}?", abort=True)
    gone = [leftover for leftover in found if remove(leftover, store)]
    for leftover in found:
        if leftover not in gone:
            typer.echo(f"{leftover.path} was left: a job is at work on it.")
    freed = sum(leftover.bytes for leftover in gone) / 1e6
    typer.echo(f"{len(gone)} folders, {freed:.1f} MB removed.")
