"""Make a folder for a project of your own, with an example study."""

import shlex
import shutil
from pathlib import Path
from typing import Annotated

import typer

import perigee
from perigee.errors import PerigeeError
from perigee.paths import CARRIED, CONFIGURATION, PROJECT_TEMPLATE

COPIED = (
    "config/README.md",
    "config/cluster.yaml",
    "config/paper.yaml",
    "config/schemas",
    "profiles",
    "slurm",
)
"""The files and folders that a project gets as Perigee has them."""


def main(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or is empty.")],
) -> None:
    """Make a folder for a project of your own, with an example study.

    It gets a Snakefile that takes its rules from the installed Perigee, the configuration, the
    profiles, and a question in config/studies/ that a laptop answers in about a minute.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise PerigeeError(f"{folder} is not an empty folder; give the name of a new one.")
        shutil.copytree(PROJECT_TEMPLATE, folder, dirs_exist_ok=True)
        for name in COPIED:
            copy = shutil.copytree if (CARRIED / name).is_dir() else shutil.copyfile
            copy(CARRIED / name, folder / name)
        settings = (CARRIED / CONFIGURATION).read_text(encoding="utf-8")
        made_with = f"perigee: {perigee.__version__:<16} # the version that made this project\n"
        (folder / CONFIGURATION).write_text(f"{settings}{made_with}", encoding="utf-8")
    except OSError as error:
        raise PerigeeError(
            f"{folder} cannot be made ({error.strerror}: {error.filename}); give another name."
        ) from error
    typer.echo(
        f"{folder} is a project. Next:\n\n"
        f"    cd {shlex.quote(str(folder))}\n"
        "    snakemake study_weight_decay    # the example in config/studies/, about a minute\n"
        "    snakemake periodic_fig3         # a figure of a paper\n"
        "    perigee --help                  # what else there is"
    )
