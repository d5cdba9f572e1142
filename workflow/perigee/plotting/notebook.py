"""Executing a figure's notebook."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from perigee.errors import PerigeeError
from perigee.paths import FIGURE_FILES

START_SECONDS = 600
"""How long a kernel may take to start (our choice): file systems of clusters may be slow."""

WITHOUT_CONFIGURATION = (
    "from ipykernel.kernelapp import IPKernelApp as Kernel;"
    "Kernel.load_config_file = Kernel._run_startup_files = lambda *_, **__: None;"
    "Kernel.launch_instance()"
)
"""A kernel that reads no configuration and runs no startup files of a user's IPython."""

KERNEL = [
    *(sys.executable, "-c", WITHOUT_CONFIGURATION, "-f", "{connection_file}"),
    # It would warn that its signed messages cross the loopback interface unencrypted.
    *("--IPKernelApp.log_level=40", "--HistoryManager.enabled=False"),
]


class _ThisPython(AsyncKernelManager):
    """Starts kernels with the Python that runs now, whatever kernels a user has installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=KERNEL, display_name="Python 3", language="python", env={})


@contextmanager
def _kernel_environment() -> Iterator[None]:
    """While the context is open, kernels find no files of the user's, and write none into HOME."""
    earlier = dict(os.environ)
    matplotlib = find_spec("matplotlib")
    assert matplotlib is not None
    assert matplotlib.origin is not None
    with tempfile.TemporaryDirectory(prefix="perigee-", ignore_cleanup_errors=True) as folder:
        os.environ.update(
            IPYTHONDIR=folder,
            JUPYTER_RUNTIME_DIR=folder,
            MATPLOTLIBRC=str(Path(matplotlib.origin).parent / "mpl-data" / "matplotlibrc"),
            MPLBACKEND="module://matplotlib_inline.backend_inline",
        )
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(earlier)


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
        stamp: what is printed below the figure.
        failed_copy: where the half-executed notebook is kept if it fails.
        further: parameters of the notebook beside these.

    Raises:
        PerigeeError: a cell or the kernel failed, or did not write one of the outputs.
    """
    executed = folder / "figure.ipynb"
    source = folder / "template.ipynb"
    nbformat.write(jupytext.read(template), source)
    # It runs in its folder, so that a copy can be run by hand in any.
    parameters = {
        "tables": {name: str(path.resolve()) for name, path in tables.items()},
        "folder": ".",
        "stamp": dict(stamp),
        **(further or {}),
    }
    try:
        with _kernel_environment():
            papermill.execute_notebook(
                str(source),
                str(executed),
                parameters,
                kernel_name="python3",
                progress_bar=False,
                start_timeout=START_SECONDS,
                cwd=str(folder),
                kernel_manager_class=_ThisPython,
            )
    except PapermillExecutionError as error:
        raise _failure(template, f"{error.ename}: {error.evalue}", executed, failed_copy) from error
    except (DeadKernelError, RuntimeError) as error:
        why = (
            "its kernel died, most likely for want of memory"
            if isinstance(error, DeadKernelError)
            else f"its kernel did not start ({error})"
        )
        raise _failure(template, why, executed, failed_copy) from error
    finally:
        source.unlink(missing_ok=True)
    missing = [name for name in FIGURE_FILES if not (folder / name).is_file()]
    if missing:
        raise PerigeeError(f"Notebook {template.name} wrote no {missing[0]}; have it save one.")


def _failure(template: Path, why: str, executed: Path, failed_copy: Path) -> PerigeeError:
    """The error for a notebook that failed, after what there is of it was kept."""
    failed_copy.parent.mkdir(parents=True, exist_ok=True)
    if executed.is_file():
        shutil.copyfile(executed, failed_copy)
    return PerigeeError(
        f"Notebook {template.name} failed: {why}; see the cells executed so far in {failed_copy}."
    )
