"""List what the store holds that no configured figure refers to, and remove it if told to."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from perigee.cli import program
from perigee.configuration.reading import read_yaml
from perigee.configuration.scales import SCALES
from perigee.plan import checked_configuration, make_plan
from perigee.store.housekeeping import leftovers
from perigee.store.runs import METRICS, longer_versions


@program
def main(
    configuration: Annotated[
        Path, typer.Option("--config", help="The configuration whose figures count.")
    ] = Path("config/config.yaml"),
    results: Annotated[
        Path | None, typer.Option(help="The results folder, if not the configuration's.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove what is listed.")] = False,
) -> None:
    """List what the store holds that no configured figure refers to, and remove it if told to.

    Figures of all three scales count as configured. Without --remove nothing is touched.
    """
    settings = checked_configuration(read_yaml(configuration))
    store = (results or Path(settings["results"])) / "store"
    referenced: set[str] = set()
    for scale in SCALES:
        plan = make_plan(settings["papers"], scale)
        # A longer version is needed for as long as the planned one is to be read off it.
        missing = {f: run for f, run in plan.runs.items() if not (store / f / METRICS).exists()}
        referenced |= plan.referenced_folders | set(longer_versions(store, missing).values())
    found = leftovers(store, referenced)
    for leftover in found:
        megabytes = leftover.bytes / 1e6
        typer.echo(
            f"{megabytes:10.1f} MB  {leftover.days:6.1f} days  {leftover.path}  {leftover.reason}"
        )
    total = sum(leftover.bytes for leftover in found) / 1e6
    if not remove:
        typer.echo(f"{len(found)} folders, {total:.1f} MB; --remove removes them.")
        return
    for leftover in found:
        shutil.rmtree(leftover.path)
        if leftover.path.parent.parent.name == "run" and not any(leftover.path.parent.iterdir()):
            leftover.path.parent.rmdir()
    typer.echo(f"{len(found)} folders, {total:.1f} MB removed.")


if __name__ == "__main__":
    main()
