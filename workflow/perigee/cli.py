"""Options and behaviour that all subcommands of `perigee` share."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, TypeVar

import typer

from perigee.blocks.base import Block
from perigee.configuration.own_blocks import register_own_blocks
from perigee.configuration.validation import validated_block
from perigee.errors import PerigeeError
from perigee.failures import forget_failure, note_failure, noted_failure, reason
from perigee.identity.products import Identity
from perigee.paths import configuration_file
from perigee.surroundings import print_in_any_locale

logger = logging.getLogger("perigee")

AnyBlock = TypeVar("AnyBlock", bound=Block)

LogFile = Annotated[
    Path | None, typer.Option(help="Also write messages here, with times; tracebacks only here.")
]
Digest = Annotated[
    str | None,
    typer.Option(help="The digest the product must have; stop if spec and code give another."),
]


Capture = Annotated[
    Literal["auto", "never"], typer.Option(help="Capture training steps as CUDA graphs, on a GPU.")
]
ChannelsLast = Annotated[
    Literal["auto", "always", "never"],
    typer.Option(help="Lay images and weights out channels-last, on a GPU."),
]
RunsPerGpu = Annotated[
    int, typer.Option(min=1, help="How many such jobs may share one GPU; more wait.")
]
Scale = Annotated[str | None, typer.Option(help="Such as smoke, laptop, workstation or paper.")]
Seeds = Annotated[
    int | None, typer.Option(min=1, help="How many seeds are judged: 10, 11 and so on.")
]
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
    Path | None,
    typer.Option("--config", help="The configuration whose figures count, if not the project's."),
]
ResultsFolder = Annotated[
    Path | None, typer.Option("--results", help="The results folder, if not the configuration's.")
]


def program(
    main: Callable[..., None], name: str, *, in_project: bool = True
) -> Callable[..., None]:
    """The function of a subcommand, with logging and one way to end.

    An exception ends it with exit status 1 (or its own) and one last line: the program, what it was
    to write, why it failed, and the log. The traceback of any but a `PerigeeError` goes to the file
    given as ``--log``, or to the terminal if there is none. Beside the log the end is noted
    for programs to read (see `perigee.failures.noted_failure`).

    Args:
        main: whose parameters are the options.
        name: of the subcommand, such as "perigee train", for the last line.
        in_project: whether it belongs in a project, and needs the blocks of the user's own.
    """

    @functools.wraps(main)
    def logged(**options: Any) -> None:
        log: Path | None = options.get("log")
        sys.excepthook = sys.__excepthook__  # it has started
        try:
            _set_up_logging(log)
            if in_project:
                register_own_blocks(configuration_file())
            main(**options)
        except Exception as error:
            foreseen = isinstance(error, PerigeeError | OSError)
            if log is None and not foreseen:
                raise
            if not foreseen:
                logging.getLogger("perigee.traceback").exception("failed")
            exit_status = getattr(error, "exit_status", 1)
            why = reason(error, options.get("out"), log)
            logger.error(_last_word(name, why, options.get("out"), log))
            if log is not None and not (is_one_of_several() and noted_failure(log)):
                note_failure(log, why, exit_status)
            raise typer.Exit(exit_status) from None

    return logged


def _tell_that_it_did_not_start(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Note an error of a program's imports in the file given as ``--log``, as its last word."""
    sys.__excepthook__(kind, error, traceback)
    words = [word for argument in sys.argv for word in argument.split("=", 1)]
    log = next((Path(after) for word, after in pairwise(words) if word == "--log"), None)
    if log is None or not isinstance(error, Exception):
        return
    with suppress(OSError):
        _set_up_logging(log)
        logging.getLogger("perigee.traceback").error("", exc_info=(kind, error, traceback))
        why = f"did not start: {reason(error, None, log)}"
        logger.error(_last_word(f"perigee {sys.argv[1]}", why, None, log))
        note_failure(log, why, 1)


sys.excepthook = _tell_that_it_did_not_start
"""Until `program` calls the program itself: what a program imports may be missing or damaged."""


def is_main_rank() -> bool:
    """True in the only process of a program, and in the first of those that torchrun starts."""
    return os.environ.get("RANK", "0") == "0"


def is_one_of_several() -> bool:
    """True in a process of several that share a program's work."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def _set_up_logging(log: Path | None) -> None:
    print_in_any_locale()
    logger.setLevel(logging.INFO)
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("%(message)s"))
    terminal.addFilter(lambda record: record.name != "perigee.traceback")
    logger.handlers = [terminal]
    if not is_main_rank():
        terminal.setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a full disk is told once, by the program
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        if not is_one_of_several():  # the first to fail tells why; the others lost it
            forget_failure(log)
        # Added to: an earlier start's log may tell why it ended, and its job may still be at work.
        # Made anew if it is removed, as Snakemake does with the log of what it is about to start.
        file = _LogFile(log, mode="a", encoding="utf-8")
        file.setLevel(terminal.level)
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.handlers.append(file)


class _LogFile(WatchedFileHandler):
    """A file that is made anew if it is removed; that it cannot be written is passed over."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)


def _last_word(name: str, why: str, out: Path | None, log: Path | None) -> str:
    """One line: program, what it was to write, reason, log."""
    words = f"{name}: {f'{out}: ' if out else ''}{why}"
    return f"{words} (log: {log})" if log else words


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


def spec_block(kind: type[AnyBlock], value: Any, key: str) -> AnyBlock:
    """A block of a spec.

    Args:
        kind: its class, such as `perigee.blocks.measures.Measure`.
        value: name and parameters.
        key: where it stands in the spec.

    Raises:
        PerigeeError: there is no such block, or its parameters are wrong.
    """
    block: AnyBlock = validated_block(kind.kind, value, "--spec", key)
    return block


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
