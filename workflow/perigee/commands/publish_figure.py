"""Copy a figure from the store to the name that outsiders use."""

from pathlib import Path
from typing import Annotated

import typer

from perigee.cli import LogFile
from perigee.store.figures import publish


def main(
    figure: Annotated[Path, typer.Option(help="The figure's folder in the store.")],
    name: Annotated[str, typer.Option(help="Name of the copies, e.g. periodic_fig3.")],
    out: Annotated[Path, typer.Option(help="Folder that gets NAME.pdf, .png, .csv and so on.")],
    log: LogFile = None,
) -> None:
    """Copy a figure from the store to the name that outsiders use."""
    publish(figure, out, name)
