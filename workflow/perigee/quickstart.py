"""The figures made in an order that soon shows something, with a line on each in place of a log.

quickstart.py starts this module in its environment. Snakemake does the work, in turns; what it
prints goes to a file.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from perigee.paths import ROOT
from perigee.planning.layout import Layout
from perigee.planning.pages import PAGES
from perigee.planning.plan import Plan, make_plan
from perigee.planning.status import RunStatus, State, statuses, time_left
from perigee.reporting.pages import index_page
from perigee.store.figures import published_figure
from perigee.store.progress import duration
from perigee.store.writing import write_text_atomically

FIRST = "periodic_fig3"
"""The figure that is trained for before any other."""

SETTINGS = "PERIGEE_SETTINGS"
"""The environment variable that names a file to which the workflow writes its settings."""

HERE = Path.cwd()
"""The folder that the user is in."""

LOOK_S = 2.0
"""Seconds between two looks at the store."""

SAY_S = 30.0
"""Seconds after which a figure's progress is printed again where lines cannot be rewritten."""

LAST_LINES = 25
"""Lines of the log that are shown if Snakemake fails."""

GO_ON = "Stopped. What was computed is kept: the same command goes on from there."


@dataclass(frozen=True)
class Line:
    """The words said of one figure.

    Attributes:
        state: what happens to it, in a few words that change only when that does.
        detail: how far it is, how long it will take, or where it lies.
    """

    state: str
    detail: str = ""


@dataclass
class Board:
    """The figures of a plan, a line each.

    Attributes:
        plan: of the figures that are made.
        results: the results folder.
        cores: that Snakemake may use.
        turn: keys of the figures whose turn it is.
    """

    plan: Plan
    results: Path
    cores: int
    turn: frozenset[str] = frozenset()

    @property
    def folder(self) -> Path:
        """The folder of the report, results/<scale>."""
        return self.results / self.plan.scale

    def is_drawn(self, key: str) -> bool:
        """True if a figure is published in the version planned."""
        digest = self.plan.figures[key].identity.digest
        return published_figure(self.folder / "figures", key).is_current(digest)

    def lines(self) -> dict[str, Line]:
        """The line of each figure, and last that of all together."""
        layout = Layout(self.plan, str(self.results))
        undrawn = [key for key in self.plan.figures if not self.is_drawn(key)]
        runs = {key: statuses(layout, [key]) for key in undrawn}
        unfinished = {
            one.version: one
            for found in runs.values()
            for one in found
            if one.state is not State.DONE
        }
        at_work = sum(one.state is State.TRAINING for one in unfinished.values())
        lines = {}
        for key in self.plan.figures:
            if key in runs:
                lines[key] = self._line(key, layout, runs[key], at_work)
            else:
                lines[key] = Line("drawn", shown(self.folder / "figures" / f"{key}.png"))
        made = f"{len(lines) - len(undrawn)} of {len(lines)} drawn"
        left = self._left(layout, list(unfinished.values()), at_work) if unfinished else ""
        is_last = not undrawn and self.turn
        lines["all figures"] = Line(made, "claims and report are being made" if is_last else left)
        return lines

    def _line(self, key: str, layout: Layout, runs: list[RunStatus], at_work: int) -> Line:
        """The line of a figure that is not drawn."""
        its_turn = key in self.turn
        if not runs:
            return Line("is computed" if its_turn else "waits", "no training")
        unfinished = [one for one in runs if one.state is not State.DONE]
        done = f"{len(runs) - len(unfinished)} of {len(runs)} runs trained"
        if not unfinished:
            return Line("is evaluated and drawn" if its_turn else "waits", done)
        training = [one for one in unfinished if one.state is State.TRAINING]
        details = [done, *([f"{len(training)} at work"] if training else [])]
        details.append(self._left(layout, unfinished, at_work))
        return Line("trains" if training else "waits", ", ".join(details))

    def _left(self, layout: Layout, unfinished: list[RunStatus], at_work: int) -> str:
        """The time that training still takes, with as many runs at once as are at work now."""
        seconds, unknown = time_left(layout, unfinished, layout.records)
        if unknown:
            return "time unknown yet"
        at_once = max(1, min(at_work or self.cores, len(unfinished)))
        return f"about {duration(seconds / at_once)} of training left"


@dataclass
class Printer:
    """Shows a board: in place on a terminal, elsewhere a line whenever it has changed."""

    board: Board
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    _said: dict[str, tuple[Line, float]] = field(default_factory=dict)
    _drawn: int = -1

    @contextmanager
    def showing(self) -> Iterator[None]:
        """While the context is held, `show` may be called."""
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, auto_refresh=False) as self._live:
            yield

    def show(self) -> None:
        """Look at the store and say what has changed; renew the page if a figure was drawn."""
        lines = self.board.lines()
        drawn = sum(line.state == "drawn" for line in lines.values())
        if self._drawn < drawn < len(self.board.plan.figures):
            self._drawn = drawn
            write_index(self.board)
        if self.console.is_terminal:
            table = Table.grid(padding=(0, 2))
            for name, line in lines.items():
                table.add_row(name, line.state, line.detail)
            self._live.update(table, refresh=True)
            return
        for name, line in lines.items():
            before, when = self._said.get(name, (None, 0.0))
            is_old = time.monotonic() - when > SAY_S and line != before
            if before is None or line.state != before.state or is_old:
                self._said[name] = line, time.monotonic()
                detail = f": {line.detail}" if line.detail else ""
                self.console.print(f"{name} {line.state}{detail}")


class Snakemake:
    """Snakemake in a group of processes of its own, to which signals are passed on."""

    def __init__(self, options: Sequence[str], log: Path) -> None:
        self.command = [sys.executable, "-m", "snakemake"]
        self.options = options
        self.log = log
        self.stopped_by: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def make(self, targets: Sequence[str], printer: Printer) -> int:
        """Make targets, showing how far they are; Snakemake's exit status."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command, *targets, *self.options],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        while True:
            printer.show()
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(timeout=LOOK_S)

    @contextmanager
    def passing_signals_on(self) -> Iterator[None]:
        """While the context is held, a signal to stop reaches Snakemake's processes, once each."""

        def pass_on(number: int, _: object) -> None:
            self.stopped_by = number
            if self._process is not None and self._process.poll() is None:
                os.killpg(self._process.pid, number)

        before = {
            number: signal.signal(number, pass_on)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def shown(path: Path) -> str:
    """A path as it is reached from where the user is."""
    full = path.resolve()
    return str(full.relative_to(HERE) if full.is_relative_to(HERE) else full)


def in_turn(board: Board) -> list[list[str]]:
    """Targets of Snakemake's turns: a computed figure, the first to train for, and all the rest."""
    figures = board.plan.figures
    computed = [key for key, figure in figures.items() if not figure.runs][:1]
    first = [*computed, *([FIRST] if FIRST in figures else [])]
    return [*([key] for key in first if not board.is_drawn(key)), ["report"]]


def write_index(board: Board) -> None:
    """Write the page of figures with those that are drawn so far."""
    page = index_page(board.plan, board.results / "store", board.folder, complete=False)
    with suppress(OSError):
        write_text_atomically(board.folder / PAGES[0], page)


def asked(options: Sequence[str]) -> dict[str, Any] | str:
    """The settings that Snakemake finds with some options, or its output if it finds none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings.json"
        command = [sys.executable, "-m", "snakemake", "report", "-n", "--quiet", "all", *options]
        found = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {SETTINGS: str(file)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        if found.returncode or not file.is_file():
            return found.stdout
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the figures and the report; the exit status."""
    parser = argparse.ArgumentParser(prog="quickstart.py figures", allow_abbrev=False)
    parser.add_argument("--paper", action="append", help="Only this paper; may be repeated.")
    parser.add_argument("--config", "-C", nargs="+", action="extend", default=[])
    parser.add_argument("--dry-run", "--dryrun", "-n", action="store_true")
    given, options = parser.parse_known_args(arguments)
    if given.paper:
        given.config.append(f"papers={json.dumps(given.paper)}")
    if given.config:
        options += ["--config", *given.config]
    try:
        settings = asked(options)
    except KeyboardInterrupt:
        print(GO_ON)
        return 128 + signal.SIGINT
    if isinstance(settings, str):
        print(settings.rstrip(), file=sys.stderr)
        return 1
    os.chdir(settings["folder"])  # so that all is read as Snakemake reads it
    results = Path.cwd() / settings["results"]
    plan = make_plan(settings["papers"], settings["scale"], settings["seeds"])
    plan = plan.of_figures(Layout(plan, str(results), settings["data"]).reported.figures)
    board = Board(plan, results, settings["cores"])
    index, report = (board.folder / name for name in (PAGES[0], "report.html"))
    if given.dry_run:
        for name, line in board.lines().items():
            print(f"{name}: {line.state}{', ' if line.detail else ''}{line.detail}")
        print(f"Nothing was made. The report would be {shown(index)} and {shown(report)}.")
        return 0
    log = results / "logs" / "quickstart.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    print(f"Figures as they are made: {shown(index)}; Snakemake's log: {shown(log)}")
    snakemake, printer = Snakemake(options, log), Printer(board)
    status = 0
    with snakemake.passing_signals_on(), printer.showing():
        for targets in in_turn(board):
            board.turn = frozenset(plan.figures if targets == ["report"] else targets)
            status = snakemake.make(targets, printer)
            if status or snakemake.stopped_by:
                break
        board.turn = frozenset()
        printer.show()
    if snakemake.stopped_by:
        print(GO_ON)
        return 128 + snakemake.stopped_by
    if status:
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()
        print(*said[-LAST_LINES:], sep="\n")
        print(f"Snakemake failed; these are the last lines of {shown(log)}.")
        return status
    print(f"The report is {shown(index)}; in one file: {shown(report)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
