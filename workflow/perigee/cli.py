"""What the command-line programs of workflow/scripts/ share."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Annotated, Any

import typer

import perigee
from perigee.errors import PerigeeError
from perigee.failures import forget_failure, note_failure, reason
from perigee.identity.products import Identity

logger = logging.getLogger("perigee")

LogFile = Annotated[
    Path | None, typer.Option(help="Also write messages here, with times; tracebacks only here.")
]
Digest = Annotated[
    str | None,
    typer.Option(help="The digest the product must have; stop if spec and code give another."),
]
RunsPerGpu = Annotated[
    int, typer.Option(min=1, help="How many such jobs may share one GPU; more wait.")
]
Scale = Annotated[str | None, typer.Option(help="Such as smoke, laptop or paper.")]
Papers = Annotated[
    list[str] | None, typer.Option("--paper", help="A paper to include; may be repeated.")
]
Figures = Annotated[
    list[str] | None,
    typer.Option(
        "--figure", help="Only this figure; may be repeated. Without it, all of the papers."
    ),
]
Results = Annotated[str | None, typer.Option(help="The results folder.")]
Configuration = Annotated[
    Path, typer.Option("--config", help="The configuration whose figures count.")
]
ResultsFolder = Annotated[
    Path | None, typer.Option("--results", help="The results folder, if not the configuration's.")
]


def program(main: Callable[..., None]) -> Callable[[], None]:
    """Make a command-line program of a function whose parameters are its options.

    An exception ends it with exit status 1 (or its own) and one last line: the program, what it was
    to write, why it failed, and the log. The traceback of one that is no `PerigeeError` goes to the
    file given as ``--log``, or to the terminal if there is none. Beside the log the end is noted
    for programs to read (see `perigee.failures.noted_failure`).
    """

    @functools.wraps(main)
    def logged(**options: Any) -> None:
        log: Path | None = options.get("log")
        try:
            _set_up_logging(log)
            _require_own_library(Path(inspect.getfile(main)))
            main(**options)
        except Exception as error:
            foreseen = isinstance(error, PerigeeError | OSError)
            if log is None and not foreseen:
                raise
            if not foreseen:
                logging.getLogger("perigee.traceback").exception("failed")
            exit_status = getattr(error, "exit_status", 1)
            logger.error(_last_word(error, options.get("out"), log))
            if log is not None:
                note_failure(log, reason(error, options.get("out")), exit_status)
            raise typer.Exit(exit_status) from None

    def run() -> None:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(logged)
        app()

    return run


def is_main_rank() -> bool:
    """Whether this is the only process of its program, or the first of those of torchrun."""
    return os.environ.get("RANK", "0") == "0"


def _set_up_logging(log: Path | None) -> None:
    logger.setLevel(logging.INFO)
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("%(message)s"))
    terminal.addFilter(lambda record: record.name != "perigee.traceback")
    logger.handlers = [terminal]
    if not is_main_rank():
        terminal.setLevel(logging.WARNING)
        return
    logging.raiseExceptions = False  # a full disk is told once, by the program
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        forget_failure(log)
        # Added to: an earlier start's log may tell why it ended, and its job may still be at work.
        # Made anew if it is removed, as Snakemake does with the log of what it is about to start.
        file = _LogFile(log, mode="a", encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.handlers.append(file)


class _LogFile(WatchedFileHandler):
    """A file that is made anew if it is removed; that it cannot be written is passed over."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)


def _last_word(error: Exception, out: Path | None, log: Path | None) -> str:
    """One line: program, what it was to write, reason, log."""
    words = f"{Path(sys.argv[0]).name}: {f'{out}: ' if out else ''}{reason(error, out)}"
    return f"{words} (log: {log})" if log else words


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
            text = Path(text).read_text(encoding="utf-8")
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
