"""What the command-line programs of workflow/scripts/ share."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import perigee
from perigee.errors import PerigeeError
from perigee.identity.products import Identity

logger = logging.getLogger("perigee")

LogFile = Annotated[
    Path | None, typer.Option(help="Also write messages here, with times; tracebacks only here.")
]
Digest = Annotated[
    str | None,
    typer.Option(help="The digest the product must have; stop if spec and code give another."),
]
Scale = Annotated[str | None, typer.Option(help="smoke, laptop or paper.")]
Papers = Annotated[
    list[str] | None, typer.Option("--paper", help="A paper to include; may be repeated.")
]
Results = Annotated[str | None, typer.Option(help="The results folder.")]


def program(main: Callable[..., None]) -> Callable[[], None]:
    """Make a command-line program of a function whose parameters are its options.

    A `PerigeeError` ends it with one sentence and exit status 1 (or its own). Any other exception
    does so too; its traceback goes to the file given as ``--log``, or to the terminal if there is
    none.
    """

    @functools.wraps(main)
    def logged(**options: Any) -> None:
        log: Path | None = options.get("log")
        _set_up_logging(log)
        name = Path(sys.argv[0]).name
        try:
            _require_own_library(Path(inspect.getfile(main)))
            main(**options)
        except (PerigeeError, OSError) as error:
            _fail(f"{name}: {error}", getattr(error, "exit_status", 1))
        except Exception as error:
            if log is None:
                raise
            logging.getLogger("perigee.traceback").exception("%s failed", name)
            _fail(f"{name} failed: {type(error).__name__}: {error} (traceback in {log})")

    def run() -> None:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(logged)
        app()

    return run


def _set_up_logging(log: Path | None) -> None:
    logger.setLevel(logging.INFO)
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("%(message)s"))
    terminal.addFilter(lambda record: record.name != "perigee.traceback")
    logger.handlers = [terminal]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(log, mode="w", encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.handlers.append(file)


def _fail(sentence: str, exit_status: int = 1) -> NoReturn:
    logger.error(sentence)
    raise typer.Exit(exit_status)


def _require_own_library(script: Path) -> None:
    """Refuse to run with the library of another checkout than the program's own."""
    own, imported = script.resolve().parents[1], Path(perigee.__file__).resolve().parents[1]
    if own != imported:
        raise PerigeeError(
            f"perigee is imported from {imported}, but this program belongs to {own}; activate "
            f"that checkout's environment or set PYTHONPATH={own}."
        )


def read_spec(text: str, *keys: str) -> Any:
    """JSON, given as such or as the path of a file that holds it.

    Args:
        text: the JSON or the path.
        keys: what the mapping has to hold.

    Raises:
        PerigeeError: it is neither, or a key is missing.
    """
    try:
        if not text.lstrip().startswith(("{", "[")):
            text = Path(text).read_text()
        spec = json.loads(text)
    except (OSError, ValueError) as error:
        raise PerigeeError(
            f"--spec is neither JSON nor the path of a JSON file ({error}); quote JSON in the "
            "shell with '...'."
        ) from error
    missing = [key for key in keys if not isinstance(spec, dict) or key not in spec]
    if missing:
        raise PerigeeError(f"--spec: key '{missing[0]}' is missing; add it.")
    return spec


def require_digest(identity: Identity, digest: str | None) -> None:
    """Refuse to make a product that the path was not named for.

    Raises:
        PerigeeError: spec, inputs and the code that is running give another digest.
    """
    if digest is not None and digest != identity.digest:
        raise PerigeeError(
            f"{identity.kind} {identity.name}: spec, inputs and code give the digest "
            f"{identity.digest}, not {digest}; the code was changed after the workflow was "
            "started, or another copy of perigee is installed: start the workflow again."
        )
