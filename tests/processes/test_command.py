"""The command `perigee`: its help, what it imports, how it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import perigee
from perigee.__main__ import PANELS
from perigee.paths import ROOT

SUBCOMMANDS = [name for names in PANELS.values() for name in names]
OF_PRODUCTS = ("build-dataset", "train", "evaluate", "make-table", "draw-figure", "judge-claims")

EVERY_HELP = f"""
import contextlib, io, sys
from perigee.__main__ import main
for name in {SUBCOMMANDS}:
    sys.argv, printed = ["perigee", *name.split(), "--help"], io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main()
    print("=", name, "=", " ".join(printed.getvalue().split()))
"""
WITHOUT_TORCH = """
import sys
from perigee.__main__ import main
sys.argv = ["perigee", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert "torch" not in sys.modules
"""


def run(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_every_module_is_a_subcommand_with_help_on_every_option() -> None:
    modules = {path.stem for path in (ROOT / "workflow/perigee/commands").glob("[!_]*.py")}
    assert {name.replace(" ", "_").replace("-", "_") for name in SUBCOMMANDS} == modules
    result = run("-c", EVERY_HELP)
    assert result.returncode == 0, result.stdout
    told = dict(re.findall(r"^= (.+?) = (.+)$", result.stdout, flags=re.MULTILINE))
    assert set(told) == set(SUBCOMMANDS)
    for name, text in told.items():
        assert f"Usage: perigee {name} " in text
        if name in OF_PRODUCTS:
            assert {"--spec", "--out", "--digest", "--log"} <= set(re.findall("--[a-z-]+", text))


def test_the_help_lists_them_all() -> None:
    result = run("-m", "perigee", "--help")
    assert result.returncode == 0, result.stdout
    for name in SUBCOMMANDS:
        assert f" {name.split()[0]} " in result.stdout
    assert "Train one run and take its measures." in result.stdout
    assert "Check that every product" in run("-m", "perigee", "store").stdout
    assert run("-m", "perigee", "--version").stdout == f"perigee {perigee.__version__}\n"
    wrong = run("-m", "perigee", "trian")
    assert wrong.returncode == 2
    assert "Did you mean 'train'?" in wrong.stdout


@pytest.mark.parametrize(
    "arguments", [("--help",), ("status", "--scale", "smoke"), ("plan", "--scale", "smoke")]
)
def test_what_only_looks_needs_no_torch(arguments: tuple[str, ...]) -> None:
    result = run("-c", WITHOUT_TORCH, *arguments)
    assert result.returncode == 0, result.stdout


def test_a_subfolder_of_a_project_is_told_where_to_run() -> None:
    result = run("-m", "perigee", "status", folder=ROOT / "docs")
    assert result.returncode == 1
    (line,) = result.stdout.splitlines()
    assert line == f"perigee status: {ROOT / 'docs'} is not the project's folder; run it in {ROOT}."


def test_elsewhere_the_configuration_of_perigee_counts(tmp_path: Path) -> None:
    result = run("-m", "perigee", "status", "periodic_fig3", "--scale", "smoke", folder=tmp_path)
    assert result.returncode == 0, result.stdout
    assert "runs at smoke scale" in result.stdout
