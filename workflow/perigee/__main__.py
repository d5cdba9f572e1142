"""The command `perigee`, also `python -m perigee`; each subcommand is a module of `commands`.

A module is imported when its subcommand is called, so most need no torch; help on all of them comes
from the first lines of their docstrings, which are parsed.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import perigee
from perigee import commands
from perigee.cli import program

PANELS = {
    "Your commands": (
        "init",
        "plan",
        "status",
        "claims",
        "refine",
        "store list",
        "store clean",
        "store verify",
        "equivalence record",
    ),
    "Programs behind the rules (their logs show them as they can be run by hand)": (
        "build-dataset",
        "train",
        "calibrate",
        "evaluate",
        "make-table",
        "draw-figure",
        "publish-figure",
        "judge-claims",
        "gather-claims",
        "write-pages",
    ),
}
"""Subcommands by their place in the help; the first word of two names a group."""

GROUPS = {
    "store": "List, clean or verify the store.",
    "equivalence": "Keep finished results after a change of code that alters no number.",
}


class _Group(TyperGroup):
    """A group whose subcommands are imported when they are called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.loaded() if isinstance(command, _Unloaded) else command, rest


class _Unloaded(TyperCommand):
    """A subcommand as the help of its group shows it.

    Args:
        words: its full name, such as "store list".
        panel: the heading it stands under.
    """

    def __init__(self, words: str, panel: str | None = None) -> None:
        self._words = words
        self._module = words.replace(" ", "_").replace("-", "_")
        super().__init__(words.split()[-1], rich_help_panel=panel)

    def __getattribute__(self, name: str) -> Any:
        # Read when it is shown, and not by every program that starts.
        return self._first_line() if name == "help" else super().__getattribute__(name)

    def _first_line(self) -> str:
        source = Path(*commands.__path__, f"{self._module}.py").read_text(encoding="utf-8")
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

    def loaded(self) -> Any:
        """The subcommand itself."""
        module = importlib.import_module(f"{commands.__name__}.{self._module}")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        main = program(module.main, f"perigee {self._words}", in_project=self._words != "init")
        app.command(self.name)(main)
        return typer.main.get_command(app)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"perigee {perigee.__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=_Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback()
def _perigee(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Perigee re-creates and checks the figures of three papers, and answers questions of yours.

    What is made is asked of Snakemake (`snakemake all_figures`); these commands stand beside it and
    behind it. Run them in the folder of your project or clone.
    """


def main() -> None:
    """Run the command line."""
    group: Any = typer.main.get_command(app)
    for panel, names in PANELS.items():
        for words in names:
            first, _, second = words.partition(" ")
            if second:
                if first not in group.commands:
                    group.commands[first] = _Group(
                        name=first,
                        help=GROUPS[first],
                        rich_help_panel=panel,
                        no_args_is_help=True,
                        rich_markup_mode=group.rich_markup_mode,
                    )
                group.commands[first].commands[second] = _Unloaded(words)
            else:
                group.commands[first] = _Unloaded(words, panel)
    group(prog_name="perigee")


if __name__ == "__main__":
    main()
