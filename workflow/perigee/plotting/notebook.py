"""Executing a figure's notebook."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from perigee.errors import PerigeeError
from perigee.paths import FIGURE_FILES

QUIET_KERNEL = ["--IPKernelApp.log_level=40"]
"""The option without which each kernel warns of unencrypted messages on the loopback interface."""


def execute_notebook(
    template: Path,
    folder: Path,
    tables: Mapping[str, Path],
    stamp: Mapping[str, Any],
    failed_copy: Path,
    further: Mapping[str, Any] | None = None,
) -> None:
    """Run a template with papermill, which writes the figure and an executed copy beside it.

    Args:
        template: a notebook as text (jupytext's percent format) with a cell tagged "parameters".
        folder: the folder for `FIGURE_FILES`.
        tables: the tables' files by name.
        stamp: the text printed below the figure.
        failed_copy: where the partly executed notebook is kept if a cell fails.
        further: further parameters of the notebook.

    Raises:
        PerigeeError: a cell failed, or did not write one of the outputs.
    """
    executed = folder / "figure.ipynb"
    source = folder / "template.ipynb"
    nbformat.write(jupytext.read(template), source)
    parameters = {
        "tables": {name: str(path) for name, path in tables.items()},
        "folder": str(folder),
        "stamp": dict(stamp),
        **(further or {}),
    }
    try:
        papermill.execute_notebook(
            str(source),
            str(executed),
            parameters,
            kernel_name="python3",
            progress_bar=False,
            extra_arguments=QUIET_KERNEL,
        )
    except PapermillExecutionError as error:
        failed_copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(executed, failed_copy)
        raise PerigeeError(
            f"Notebook {template.name} failed: {error.ename}: {error.evalue}; see the cells "
            f"executed so far in {failed_copy}."
        ) from error
    finally:
        source.unlink(missing_ok=True)
    missing = [name for name in FIGURE_FILES if not (folder / name).is_file()]
    if missing:
        raise PerigeeError(f"Notebook {template.name} wrote no {missing[0]}; have it save one.")
